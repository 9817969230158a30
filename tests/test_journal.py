"""Promises of a sound journal: order, links, durability, and answers from what was written."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest

from journal import Journal, JournalBusy, JournalDamaged, JournalError, JournalForeign, frame, group
from journal.report import Checker
from journal.store import Store
from tests.journals import META, digest_of, fill, read_all, rows_of, small_journal

ROOT = Path(__file__).parent.parent


def settle(journal: Journal, digests: int) -> None:
    """Wait until so many event digests are committed."""
    until_s = time.monotonic() + 20
    while journal._store.mark.digests < digests:
        assert time.monotonic() < until_s
        time.sleep(0.002)


def test_a_check_beside_a_writer_finds_nothing_wrong_with_what_is_appended_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.create(tmp_path / "node", META) as journal:
        for first_seq in (1, 3, 5):
            journal.append(2, bytes(128), first_seq)
            journal.put_digest(first_seq, bytes([first_seq]) * 16)
        read_blocks = Checker._blocks

        def and_the_writer_goes_on(self: Checker) -> None:
            read_blocks(self)
            journal.append(2, bytes(128), 7)
            journal.put_digest(7, bytes([7]) * 16)
            settle(journal, 4)

        monkeypatch.setattr(Checker, "_blocks", and_the_writer_goes_on)
        settle(journal, 3)
        report = journal.check()
    assert report.problems == []
    assert (report.blocks, report.digests) == (3, 4)


def test_the_disk_has_given_the_room_of_the_reader_table_before_lmdb_maps_it(tmp_path: Path) -> None:
    """Or a full disk ends the process by SIGBUS."""
    with Journal.create(tmp_path / "node", META):
        table = (tmp_path / "node" / "journal" / "lock.mdb").stat()
    assert table.st_blocks * 512 >= table.st_size > 0


def test_what_is_appended_is_read_back_in_order_and_linked(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        fill(journal, [1, 500, 3, 4_096])
        assert journal.wait_durable(journal.last_seq)
        blocks = list(journal.blocks())
    assert [(block.first_seq, block.count) for block in blocks] == [(1, 1), (2, 500), (502, 3), (505, 4_096)]
    assert all(block.rows == rows_of(block.first_seq, block.count) for block in blocks)
    assert [block.previous for block in blocks[1:]] == [block.checksum for block in blocks[:-1]]
    assert {(block.rules_version, block.source_digest) for block in blocks} == {(1, META["source_digest"])}


def test_a_journal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        fill(journal, [3, 3])
    with Journal.open(tmp_path) as journal:
        assert (journal.meta, journal.last_seq, journal.durable_seq) == (META, 6, 6)
        journal.epoch, journal.source_digest = 7, "cd" * 16
        fill(journal, [2])
    blocks, digests, sentences = read_all(tmp_path)
    assert [block.first_seq for block in blocks] == [1, 4, 7]
    assert (blocks[-1].epoch, blocks[-1].source_digest) == (7, "cd" * 16)
    assert digests == [(seq, digest_of(seq)) for seq in (1, 4, 7)]
    assert sentences == []
    with Journal.open(tmp_path, readonly=True) as journal:
        info = journal.info()
        assert journal.check().ok
    assert (info.blocks, info.first_seq, info.last_seq, info.digests) == (3, 1, 8, 3)
    assert info.source_digests == ("ab" * 16, "cd" * 16)
    assert info.rules_versions == (1,)


@pytest.mark.slow_after(6)
@pytest.mark.parametrize("from_seq", [1, 2, 500, 501, 900, 1_000])
@pytest.mark.parametrize("to_seq", [None, 1, 501, 1_000, 5_000])
def test_a_range_starts_and_ends_with_the_blocks_that_hold_its_ends(
    tmp_path_factory: pytest.TempPathFactory, from_seq: int, to_seq: int | None
) -> None:
    directory = tmp_path_factory.mktemp("range")
    with Journal.create(directory, META, durability="none") as journal:
        fill(journal, [1] * 500 + [100] * 5)
    last = 1_000 if to_seq is None else min(to_seq, 1_000)
    expected = [seq for seq in [*range(1, 501), *range(501, 1_001, 100)] if seq <= last]
    if from_seq > 500:
        expected = [seq for seq in expected if seq >= (from_seq - 501) // 100 * 100 + 501]
    else:
        expected = [seq for seq in expected if seq >= from_seq]
    with Journal.open(directory, readonly=True) as journal:
        assert [block.first_seq for block in journal.blocks(from_seq, to_seq)] == (expected if from_seq <= last else [])


def test_rows_may_be_written_over_as_soon_as_append_returns(tmp_path: Path) -> None:
    rows = np.zeros(64 * 1_000, np.uint8)
    with Journal.create(tmp_path, META) as journal:
        for number in range(50):
            rows[:] = number
            journal.append(1_000, rows.data, number)
            rows[:] = 255
    blocks = read_all(tmp_path).blocks
    assert [set(block.rows) for block in blocks] == [{number} for number in range(50)]


def test_an_empty_journal_answers_too(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        assert list(journal.blocks()) == []
        assert list(journal.digests()) == []
        assert journal.digest(1) is None
        assert (journal.last_seq, journal.durable_seq, journal.seq_at_time(10)) == (0, 0, 0)
        assert journal.info().first_time_ns is None
        assert journal.check().ok


def test_a_time_finds_the_last_block_that_is_not_after_it(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        for time_ns in (100, 100, 250, 200, 300):  # 200 counts as 250: time does not go back
            journal.append(10, bytes(640), time_ns)
        journal.wait_durable(50)
        times = (0, 99, 100, 249, 250, 299, 300, 10**18)
        assert [journal.seq_at_time(time_ns) for time_ns in times] == [0, 0, 20, 20, 40, 40, 50, 50]
        assert [block.time_ns for block in journal.blocks()] == [100, 100, 250, 250, 300]


def test_a_digest_that_is_not_there_yet_is_none_and_comes_later(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        for _ in range(3):
            journal.append(2, bytes(128), 0)
        journal.put_digest(1, digest_of(1))
    with Journal.open(tmp_path) as journal:
        assert [journal.digest(seq) for seq in (1, 3, 5)] == [digest_of(1), None, None]
        journal.put_digest(3, digest_of(3))
    with Journal.open(tmp_path, readonly=True) as journal:
        assert [journal.digest(seq) for seq in (1, 3, 5)] == [digest_of(1), digest_of(3), None]
        assert list(journal.digests(2, 10)) == [(3, digest_of(3))]


def test_digests_come_in_order_or_are_refused(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        journal.append(2, bytes(128), 0)
        journal.put_digest(1, bytes(16))
        for first_seq in (1, 3):
            with pytest.raises(ValueError, match="does not come next"):
                journal.put_digest(first_seq, bytes(16))
        with pytest.raises(ValueError, match="16 bytes"):
            journal.put_digest(2, bytes(8))


@pytest.mark.parametrize(("count", "size"), [(1, 63), (2, 64), (0, 0), (70_000, 70_000 * 64)])
def test_rows_of_a_wrong_size_are_refused_and_nothing_is_appended(tmp_path: Path, count: int, size: int) -> None:
    with Journal.create(tmp_path, META) as journal:
        with pytest.raises(ValueError, match=r"cannot be|must be"):
            journal.append(count, bytes(size), 0)
        assert journal.last_seq == 0


def test_a_reader_beside_the_writer_sees_every_durable_block_and_keeps_no_snapshot(tmp_path: Path) -> None:
    """A reader that held one would make the file grow with every commit."""
    with Journal.create(tmp_path, META) as journal:
        fill(journal, [10] * 20)
        reading = journal.blocks()
        next(reading)
        size = journal.info().bytes
        for _ in range(100):
            fill(journal, [1])
        assert journal.info().bytes - size < 400_000
        assert sum(block.count for block in reading) == 190  # what was there when reading began
        script = (
            "import sys; from tests.journals import *\n"
            "answer = read_all(Path(sys.argv[1])); print(sum(b.count for b in answer.blocks), answer.sentences)"
        )
        outcome = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert outcome.stdout == "300 []\n"


def test_readers_are_right_while_the_writer_commits(tmp_path: Path) -> None:
    """Each pass over a growing journal is whole: the pages of a snapshot are not used again under a reader."""
    script = (
        "import sys; from tests.journals import *\n"
        "for _ in range(40):\n"
        "    answer = read_all(Path(sys.argv[1]))\n"
        "    if answer.sentences: raise SystemExit(answer.sentences[0])\n"
        "    if any(b.rows != rows_of(b.first_seq, b.count) for b in answer.blocks): raise SystemExit('wrong rows')\n"
        "    if any(d != digest_of(s) for s, d in answer.digests): raise SystemExit('wrong digest')\n"
    )
    with Journal.create(tmp_path, META) as journal:
        fill(journal, [1])
        reader = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        commits = 0
        while reader.poll() is None:
            fill(journal, [1 + commits % 3] if commits < 600 else [])
            commits += 1
        assert reader.stderr is not None
        assert (reader.returncode, reader.stderr.read()) == (0, "")


def test_a_second_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    script = (
        "import sys; from journal import *\ntry: Journal.open(sys.argv[1])\nexcept JournalBusy as error: print(error)\n"
    )
    with Journal.create(tmp_path, META) as journal:
        fill(journal, [1])
        outcome = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert f"process {os.getpid()}" in outcome.stdout
        with pytest.raises(JournalBusy):
            Journal.open(tmp_path)
        Journal.open(tmp_path, readonly=True).close()
    Journal.open(tmp_path).close()


def test_readers_and_the_writer_of_one_process_come_and_go_in_any_order(tmp_path: Path) -> None:
    """LMDB forbids a file to be open twice in a process; ours must not notice."""
    Journal.create(tmp_path, META).close()
    early = Journal.open(tmp_path, readonly=True)
    writer = Journal.open(tmp_path)
    fill(writer, [5, 5])
    late = Journal.open(tmp_path, readonly=True)
    assert [sum(block.count for block in reader.blocks()) for reader in (early, late)] == [10, 10]
    writer.close()
    early.close()
    with Journal.open(tmp_path) as writer:
        fill(writer, [1])
        assert sum(block.count for block in late.blocks()) == 11
    assert late.last_seq == 10
    late.close()
    with pytest.raises(JournalError, match="closed"):
        list(late.blocks())


def test_a_forked_process_cannot_write(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        pid = os.fork()
        if pid == 0:
            try:
                journal.append(1, bytes(64), 0)
            except JournalError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_what_is_no_journal_is_foreign(tmp_path: Path) -> None:
    with pytest.raises(JournalForeign, match="holds no journal"):
        Journal.open(tmp_path / "missing")
    (tmp_path / "journal").mkdir()
    with pytest.raises(JournalForeign, match="holds no journal"):
        Journal.open(tmp_path)
    for content in (b"", b"hello", bytes(100_000), os.urandom(100_000)):
        (tmp_path / "journal" / "data.mdb").write_bytes(content)
        for readonly in (False, True):
            with pytest.raises(JournalForeign, match="no journal that can be recognised"):
                Journal.open(tmp_path, readonly=readonly)


def test_an_environment_of_another_program_is_foreign(tmp_path: Path) -> None:
    environment = lmdb.open(str(tmp_path / "journal"), max_dbs=3, map_size=1 << 40, lib_version=0)
    tree = environment.open_db(b"blocks")
    with environment.begin(write=True) as transaction:
        transaction.put(b"key", b"value", db=tree)
    environment.close()
    for readonly in (False, True):
        with pytest.raises(JournalForeign, match="no journal"):
            Journal.open(tmp_path, readonly=readonly)


def test_a_journal_of_another_format_version_is_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("journal.marks._FIRST_SLICE_VERSION", 4)
    Journal.create(tmp_path, META).close()
    monkeypatch.undo()
    for readonly in (False, True):
        with pytest.raises(JournalForeign, match="format version 4 and this release reads 1 to 3"):
            Journal.open(tmp_path, readonly=readonly)


def test_a_journal_is_not_created_over_another(tmp_path: Path) -> None:
    Journal.create(tmp_path, META).close()
    with pytest.raises(JournalError, match="already"):
        Journal.create(tmp_path, META)


def test_a_creation_that_was_killed_leaves_no_journal_and_does_not_hinder(tmp_path: Path) -> None:
    (tmp_path / "journal.new").mkdir()
    (tmp_path / "journal.new" / "data.mdb").write_bytes(b"half")
    with pytest.raises(JournalForeign):
        Journal.open(tmp_path)
    Journal.create(tmp_path, META).close()


class FailingStore(Store):
    """Store that fails like a disk: with LMDB's own exception, after some commits."""

    failing = False

    def commit(self, group: object) -> None:
        if self.failing:
            raise lmdb.Error("mdb_txn_commit: Input/output error")
        super().commit(group)  # type: ignore[arg-type]


def test_a_failed_commit_fails_the_journal_for_good_and_everybody_who_waits(tmp_path: Path) -> None:
    class Failing(Journal):
        store_class = FailingStore

    Journal.create(tmp_path, META).close()
    journal = Failing.open(tmp_path)
    fill(journal, [5])
    FailingStore.failing = True
    heard: list[str] = []

    def wait() -> None:
        try:
            journal.wait_durable(10)
        except JournalError as error:
            heard.append(str(error))

    journal.append(5, rows_of(6, 5), 0)
    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(10)
    FailingStore.failing = False
    for step in (lambda: journal.append(1, bytes(64), 0), lambda: journal.put_digest(6, bytes(16)), journal.close):
        with pytest.raises(JournalError, match=r"Input/output error.*open the journal again"):
            step()
    assert len(heard) == 1
    with Journal.open(tmp_path) as journal:
        assert journal.last_seq == 5


def test_a_full_queue_makes_append_wait_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "QUEUE_BYTES_MAX", 10_000)
    with Journal.create(tmp_path, META, durability="none") as journal:
        for number in range(60):
            journal.append(100, rows_of(number * 100 + 1, 100), 0)
    assert sum(block.count for block in read_all(tmp_path).blocks) == 6_000


def test_waiting_ends_after_the_time_given(tmp_path: Path) -> None:
    class Slow(Store):
        gate = threading.Event()

        def commit(self, group: object) -> None:
            self.gate.wait(120)
            super().commit(group)  # type: ignore[arg-type]

    class SlowJournal(Journal):
        store_class = Slow

    with SlowJournal.create(tmp_path, META) as journal:
        journal.append(1, bytes(64), 0)
        assert not journal.wait_durable(1, 0.01)
        Slow.gate.set()
        assert journal.wait_durable(1, 10)
        with pytest.raises(ValueError, match="cannot become durable"):
            journal.wait_durable(2)


def test_durability_none_says_so(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META, durability="none") as journal:
        assert "lose" in journal.info().durability
    with pytest.raises(ValueError, match="durability"):
        Journal.open(tmp_path, durability="maybe")


def test_each_flipped_bit_of_a_frame_is_damage_and_nothing_else_is_raised() -> None:
    encoded = frame.encode(bytes(128), first_seq=9, count=2, time_ns=5, epoch=1, source_digest="ab", rules_version=1)
    frame.seal(encoded, bytes(range(16)))
    good = bytes(encoded)
    assert frame.decode(good, 9, 64).previous == bytes(range(16))
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(JournalDamaged):
            frame.decode(bytes(bad), 9, 64)
    for size in range(len(good)):
        with pytest.raises(JournalDamaged):
            frame.decode(good[:size], 9, 64)
    with pytest.raises(JournalDamaged, match="wrong place"):
        frame.decode(good, 10, 64)
    with pytest.raises(JournalDamaged, match="not 32 bytes"):
        frame.decode(good, 9, 32)


def test_the_small_journal_of_the_damage_tests_has_pages_of_every_kind(tmp_path: Path) -> None:
    small_journal(tmp_path)
    with Journal.open(tmp_path, readonly=True) as journal, journal._source.pin() as snapshot:
        for tree in (snapshot.blocks, snapshot.digests):
            assert min(tree.branch_pages, tree.leaf_pages - 2) > 0
        assert min(snapshot.blocks.overflow_pages, snapshot.meta.free.entries) > 0


@pytest.mark.parametrize("writes", [False, True])
def test_a_snapshot_that_an_interrupt_left_open_does_not_hold_up_the_end(tmp_path: Path, writes: bool) -> None:
    """The thread that closes the journal would wait for itself."""
    with Journal.create(tmp_path, META) as journal:
        fill(journal, (3, 1, 5))

    def leave_and_close() -> None:
        journal = Journal.open(tmp_path, readonly=not writes)
        left = journal._snapshots.pin()  # type: ignore[union-attr]
        left.__enter__()
        journal.close()
        left.__exit__(None, None, None)

    thread = threading.Thread(target=leave_and_close, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert len(read_all(tmp_path).blocks) == 3
