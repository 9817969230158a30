"""Commits of the journal's writer: at once where somebody waits, in groups where nobody does."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import lmdb
import pytest

from journal import Journal, JournalBusy, JournalError, JournalHangs, frame, group
from journal.group import Entry
from journal.store import Store
from tests.journals import META, digest_of, fill, read_all


class Counting(Store):
    """Counts blocks and digests of each commit."""

    def commit(self, group: Sequence[Entry]) -> None:
        super().commit(group)
        blocks = sum(entry.frame is not None for entry in group)
        self.__dict__.setdefault("commits", []).append((blocks, len(group) - blocks))


class Chosen(Journal):
    store_class = Counting


def opened(path: Path, durability: str) -> Chosen:
    Journal.create(path, META).close()
    return Chosen.open(path, durability=durability)  # type: ignore[return-value]


def commits(journal: Journal) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = getattr(journal._store, "commits", [])
    return found


def until(done: object) -> None:
    ends_s = time.monotonic() + 20
    while not done():  # type: ignore[operator]
        assert time.monotonic() < ends_s
        time.sleep(0.001)


def test_with_fsync_a_block_is_committed_at_once_and_its_digest_with_the_next(tmp_path: Path) -> None:
    with opened(tmp_path, "fsync") as journal:
        for _ in range(30):
            fill(journal, [1])
        in_time = commits(journal)[:]
    # The digest of a block is with it, or with the next block: no order waits for a commit of a digest alone.
    assert [blocks for blocks, _ in in_time if blocks] == [1] * 30
    assert len(in_time) < 35
    assert sum(digests for _, digests in commits(journal)) == 30
    assert [digest for _, digest in read_all(tmp_path).digests] == [digest_of(seq) for seq in range(1, 31)]


def test_a_digest_that_no_block_follows_is_committed_soon_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path, "fsync") as journal:
        fill(journal, [1])
        until(lambda: journal._store.mark.digests == 1)
    with opened(tmp_path / "other", "none") as journal:
        journal.put_digest(journal.append(1, bytes(64), 0), bytes(16))
        until(lambda: journal._store.mark.digests == 1)


def test_without_durability_blocks_wait_for_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "LINGER_S", 0.5)
    with opened(tmp_path, "none") as journal:
        for seq in range(1, 101):
            journal.append(1, bytes(64), 0)
            journal.put_digest(seq, bytes(16))
        until(lambda: journal.durable_seq == 100)
        assert commits(journal) == [(100, 100)]


@pytest.mark.parametrize("how", ["wait_durable", "close", "bytes"])
def test_whoever_waits_cuts_the_wait_for_company_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(group, "LINGER_S", 60.0)
    journal = opened(tmp_path, "none")
    began_s = time.monotonic()
    for _ in range(3):
        last_seq = journal.append(1, bytes(64), 0)
        if how == "wait_durable":
            assert journal.wait_durable(last_seq, 20)
    if how == "bytes":
        while journal.last_seq * 64 < group.LINGER_BYTES_MAX:
            journal.append(1_000, bytes(64_000), 0)
        until(lambda: journal.durable_seq > 0)
    journal.close()
    assert time.monotonic() - began_s < 10


def test_a_thread_that_has_gone_to_sleep_is_called_by_the_next_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "DIGEST_LINGER_S", 0.01)
    monkeypatch.setattr(group, "_EMPTY_TURNS_MAX", 3)
    for durability in ("fsync", "none"):
        with opened(tmp_path / durability, durability) as journal:
            for seq in (1, 2, 3):
                until(lambda: journal._writer._state == group._Thread.ASLEEP)
                journal.append(1, bytes(64), 0)
                until(lambda: journal.durable_seq == seq)  # noqa: B023  it is called before the next turn


@pytest.mark.parametrize("durability", ["fsync", "none"])
def test_the_owner_is_told_whenever_the_durable_mark_moved(tmp_path: Path, durability: str) -> None:
    marks: list[tuple[int, str]] = []
    journal = opened(tmp_path, durability)
    fill(journal, [2])
    journal.on_durable = lambda: marks.append((journal.durable_seq, threading.current_thread().name))
    for _ in range(5):
        fill(journal, [2])
    journal.close()
    assert marks[-1] == (12, "journal writer")
    assert [seq for seq, _ in marks] == sorted({seq for seq, _ in marks}), "once for each move"


class Failing(Store):
    def commit(self, _group: Sequence[Entry]) -> None:
        raise lmdb.Error("mdb_txn_commit: Input/output error")


class Broken(Journal):
    store_class = Failing


def test_the_owner_is_told_when_the_writer_has_failed(tmp_path: Path) -> None:
    Journal.create(tmp_path, META).close()
    journal = Broken.open(tmp_path)
    told = threading.Event()
    journal.on_durable = told.set
    journal.raise_failure()
    journal.append(1, bytes(64), 0)
    assert told.wait(120)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.raise_failure()
    with pytest.raises(JournalError):
        journal.close()


class Slow(Store):
    """Disk that takes ``each_s`` for a commit, and as long as ``goes`` is not set."""

    each_s = 0.0
    goes = threading.Event()

    def commit(self, group: Sequence[Entry]) -> None:
        time.sleep(self.each_s)
        self.goes.wait()
        super().commit(group)


class Delayed(Journal):
    store_class = Slow


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """A journal on such a disk, with a block that is on its way."""
    monkeypatch.setattr(group, "STANDSTILL_S", 0.2)
    monkeypatch.setattr(Slow, "goes", threading.Event())
    Journal.create(tmp_path, META).close()
    journal = Delayed.open(tmp_path)
    try:
        fill(journal, [1], blocks_per_commit=2)
        yield journal
    finally:
        Slow.goes.set()
        journal.close()


def test_an_end_waits_no_longer_than_its_bound_for_a_disk_that_hangs(slow: Journal, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(JournalHangs, match=r"has written nothing for .* look at the disk"):
            slow.close()
    with pytest.raises(JournalBusy):
        Journal.open(tmp_path)
    fill(slow, [1], blocks_per_commit=2)  # it is open still, and its writer takes more
    Slow.goes.set()
    slow.close()
    assert len(read_all(tmp_path).blocks) == 2


def test_a_slice_that_cannot_begin_on_a_disk_that_hangs_begins_once_that_goes(slow: Journal) -> None:
    def begin() -> None:
        slow.begin_slice(META, event_digest=bytes(16), image={})

    with pytest.raises(JournalHangs):
        begin()
    assert not slow.is_closed
    fill(slow, [1], blocks_per_commit=2)
    Slow.goes.set()
    begin()
    assert (slow.start_seq, slow.place.number) == (2, 2)


def test_an_end_waits_for_a_disk_that_is_slow_and_moves(
    slow: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "STANDSTILL_S", 1.5)
    monkeypatch.setattr(group, "GROUP_BYTES_MAX", 1)
    monkeypatch.setattr(Slow, "each_s", 0.2)
    Slow.goes.set()
    fill(slow, [1] * 4, blocks_per_commit=5)
    slow.close()
    assert len(read_all(tmp_path).blocks) == 5


@pytest.mark.parametrize("journal_class", [Journal, Broken])
def test_what_the_owner_raises_when_told_is_not_lost(tmp_path: Path, journal_class: type[Journal]) -> None:
    Journal.create(tmp_path, META).close()
    journal = journal_class.open(tmp_path)

    def closed() -> None:
        raise RuntimeError("the loop is closed")

    journal.on_durable = closed
    journal.append(1, bytes(64), 0)
    until(lambda: not journal._writer._thread.is_alive())
    with pytest.raises(JournalError) as caught:
        journal.append(1, bytes(64), 0)
    cause = caught.value.__cause__
    assert cause is not None
    if journal_class is Broken:
        assert "Input/output error" in str(caught.value)
    else:
        assert "the loop is closed" in str(caught.value)
    assert any("the loop is closed" in note for note in cause.__notes__)
    with pytest.raises(JournalError):
        journal.close()


def test_a_header_put_together_from_pieces_is_the_one_that_msgpack_makes_of_the_whole() -> None:
    import msgpack

    for number in (1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**62):
        values = {"rules_version": 2, "source_digest": "ab" * 16, "epoch": min(number, 2**31)}
        first_seq, count, time_ns = number, min(number, frame.ROWS_PER_BLOCK_MAX), number
        made = frame.encode(b"rows", first_seq=first_seq, count=count, time_ns=time_ns, **values)  # type: ignore[arg-type]
        header = {"version": 1, **values, "first_seq": first_seq, "count": count, "time_ns": time_ns}
        assert bytes(made[frame.FIXED_BYTES : -4]) == msgpack.packb({**header, "previous": bytes(16)})


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1_000])
def test_short_and_long_frames_have_the_checksum_of_all_but_the_checksum(size: int) -> None:
    import xxhash

    sealed = frame.encode(
        bytes(range(64)) * size, first_seq=1, count=size, time_ns=5, epoch=0, source_digest="", rules_version=1
    )
    checksum = frame.seal(sealed, b"p" * 16)
    assert checksum == xxhash.xxh3_128_digest(bytes(sealed[:16]) + bytes(sealed[32:])) == bytes(sealed[16:32])
    assert frame.decode(bytes(sealed), 1, 64).previous == b"p" * 16
