"""A catch-up gives the memory of what it has written back, and loses none of it; otherwise the memory is kept."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from gateway import spool as spool_module
from gateway.contention import CONTENDED_NS, LOOK_NS, Contention
from gateway.ouch.outbox import OuchOutbox
from gateway.spool import EXTENT_BYTES, Spool
from gateway.write_behind import EXTENTS, WriteBehind
from journal import Journal
from tests.journals import META, rows_of

SESSION = "20240115"
JOURNAL_ID = bytes(range(16))
HEAD_BYTES = spool_module._HEAD_BYTES
#: Messages of two users that fill some more extents than are put on the disk together.
PIECE = bytes(range(256)) * 300
PIECES = 2 * EXTENT_BYTES * EXTENTS // len(PIECE) + 20

Given = list[tuple[int, int]]


@pytest.fixture(name="given")
def given_back(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Start and end of each part of a file whose memory is given back."""
    found: Given = []

    def advise(_fd: int, start: int, size_bytes: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        found.append((start, start + size_bytes))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    return found


def filled(spool: Spool, pieces: int = PIECES) -> None:
    for number in range(pieces):
        spool.append(1 + number % 2, 1 + number // 2, 1, PIECE)
    spool.flush()


def folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def behind_of(spool: Spool) -> WriteBehind:
    assert spool._behind is not None
    return spool._behind


def test_a_spool_gives_full_extents_back_alone_and_has_the_same_bytes(tmp_path: Path, given: Given) -> None:
    kept, spool = (OuchOutbox.open_spool(folder(tmp_path, name), SESSION, JOURNAL_ID) for name in ("kept", "given"))
    filled(kept)
    assert not given, "a spool that does not pass through keeps its memory"
    spool.pass_through(True)
    filled(spool)
    behind = behind_of(spool)
    for user in (1, 2):
        assert spool.read(user, 0, 1 << 30) == kept.read(user, 0, 1 << 30)
    spool.close()
    behind.join()
    assert given
    size_bytes = spool.path.stat().st_size
    for start, end in given:
        assert HEAD_BYTES <= start < end <= size_bytes
        assert (start - HEAD_BYTES) % EXTENT_BYTES == (end - HEAD_BYTES) % EXTENT_BYTES == 0
    unfinished = {stream.extents[-1] for stream in spool._streams.values() if stream.bytes % EXTENT_BYTES}
    assert unfinished
    for extent in unfinished:
        at = HEAD_BYTES + extent * EXTENT_BYTES
        assert not any(start <= at < end for start, end in given), "more is to be written there"
    kept.close()


def test_an_error_of_the_disk_behind_a_spool_ends_its_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = OuchOutbox.open_spool(tmp_path, SESSION, JOURNAL_ID)
    spool.pass_through(True)

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    filled(spool, 10)
    assert behind_of(spool).failure is None
    monkeypatch.setattr(os, "fdatasync", fail)
    with suppress(OSError):  # it may notice already
        filled(spool)
    behind_of(spool).join()
    with pytest.raises(OSError, match="broken"):
        spool.flush()
    with pytest.raises(OSError, match="broken"):
        filled(spool, 10)


def test_a_journal_that_passes_through_gives_its_new_pages_back_and_can_be_read(tmp_path: Path, given: Given) -> None:
    with Journal.create(tmp_path, META) as journal:
        sizes = []
        for passes_through in (False, True, True, False):
            journal.passes_through = passes_through
            before = len(given)
            for _ in range(20):
                journal.append(1_000, rows_of(1, 1_000), 0)
            journal.wait_durable(journal.last_seq)
            sizes.append((tmp_path / "journal" / "data.mdb").stat().st_size)
            assert (len(given) > before) == passes_through
        # All that was added meanwhile, and nothing of before.
        assert min(start for start, _ in given) <= sizes[0] < max(end for _, end in given) <= sizes[2]
        assert sum(block.count for block in journal.blocks()) == 80_000


def test_a_journal_without_sync_keeps_its_memory(tmp_path: Path, given: Given) -> None:
    with Journal.create(tmp_path, META, durability="none") as journal:
        journal.passes_through = True
        journal.append(1_000, rows_of(1, 1_000), 0)
        journal.wait_durable(journal.last_seq)
    assert not given


def test_a_thread_that_waits_for_its_core_stops_polling_for_a_while() -> None:
    contention = Contention()
    try:
        at_ns = 10 * LOOK_NS
        assert not contention.at(at_ns, 0)
        assert not contention.at(at_ns + LOOK_NS, LOOK_NS // 20), "a twentieth of its time"
        assert contention.at(at_ns + 2 * LOOK_NS, LOOK_NS // 4), "a fifth of it"
        assert contention.at(at_ns + 3 * LOOK_NS, LOOK_NS // 4)
        assert not contention.at(at_ns + 2 * LOOK_NS + CONTENDED_NS, LOOK_NS // 4)
    finally:
        contention.close()
