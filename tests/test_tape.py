"""The tape: every reader sees whole blocks in order, or is told that they are gone and from where on it can go on."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from engine.records import COMMAND, EVENT
from tape import blocks
from tape.bell_watch import BellWatch
from tape.errors import TapeError
from tape.form import Rows, tape_path
from tape.places import RELEASE_BELLS_MAX, SEQUENCE_WORDS, Place
from tape.reader import Block, Result, TapeReader
from tape.writer import TapeWriter, packed_name
from tests.tape_traffic import claim, publish

ROOT = Path(__file__).parent.parent
ID = bytes(range(16))
REPORT = np.dtype([("seq", "<i8"), ("rest", "<i8", 23)])
ROWS = Rows(COMMAND, EVENT, REPORT)
BYTES = 1 << 14


def rows_of(first_seq: int, counts: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """Rows of a block, each word of which tells its place."""
    made = [np.zeros(count, dtype) for count, dtype in zip(counts, (COMMAND, EVENT, REPORT), strict=True)]
    for kind, rows in enumerate(made):
        words = rows.view(np.int64)
        words[:] = np.arange(len(words)) + 1_000_000 * first_seq + 100_000 * kind
    return made[0], made[1], made[2]


def same(block: Block | None, first_seq: int, counts: tuple[int, int, int]) -> bool:
    """True if a block is the one that was written with these."""
    assert block is not None
    expected = rows_of(first_seq, counts)
    got = (block.commands, block.events, block.reports)
    assert [len(each) for each in got] == list(counts)
    assert (block.first_seq, block.epoch, block.time_ns) == (first_seq, 7, 10 * first_seq)
    return all(one.tobytes() == other.tobytes() for one, other in zip(got, expected, strict=True))


def write(writer: TapeWriter, first_seq: int, counts: tuple[int, int, int]) -> None:
    writer.write(first_seq, 7, 10 * first_seq, *rows_of(first_seq, counts))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tape_path(tmp_path)


@pytest.fixture
def writer(path: Path) -> Iterator[TapeWriter]:
    with TapeWriter(path, ID, ROWS, size_bytes=BYTES) as made:
        yield made


def test_a_block_arrives_with_all_its_rows(writer: TapeWriter, path: Path) -> None:
    with TapeReader(path, ID, ROWS) as reader:
        assert reader.read() == (Result.NOTHING, None)
        for first_seq, counts in ((1, (3, 5, 2)), (4, (1, 0, 0)), (5, (2, 0, 1)), (7, (0, 1, 0))):
            write(writer, first_seq, counts)
            result, block = reader.read()
            assert result == Result.BLOCK
            assert same(block, first_seq, counts)
            assert reader.next_seq == first_seq + counts[0]
        assert reader.lag_words() == 0


def test_a_block_longer_than_a_quarter_of_the_tape_is_refused(writer: TapeWriter) -> None:
    fits = (BYTES // 4 - 64) // 64
    write(writer, 1, (fits, 0, 0))
    with pytest.raises(TapeError, match="longer than 4,096 bytes, a quarter of the tape"):
        write(writer, 1, (fits + 1, 0, 0))
    with pytest.raises(TapeError, match="not of the tape's type"):
        writer.write(1, 0, 0, np.zeros(1, EVENT), np.zeros(1, EVENT), np.zeros(1, REPORT))


def test_a_reader_that_was_overrun_is_told_and_goes_on_from_what_is_there(writer: TapeWriter, path: Path) -> None:
    reader = TapeReader(path, ID, ROWS)
    for seq in range(1, 1_001):
        write(writer, seq, (1, 1, 0))
    assert reader.read() == (Result.OVERRUN, None)
    assert reader.read() == (Result.OVERRUN, None), "nothing moves by itself"
    result, first = reader.join(1)
    assert result == Result.OVERRUN
    assert 1 < first < 1_000
    for seq in range(first, 1_001):
        assert same(reader.read()[1], seq, (1, 1, 0))
    assert reader.read() == (Result.NOTHING, None)
    kept = (1_000 - first + 1) * 192
    assert kept > BYTES // 2, "at least half of the tape can be read"


def test_a_reader_joins_at_any_sequence_number_on_the_tape(writer: TapeWriter, path: Path) -> None:
    reader = TapeReader(path, ID, ROWS)
    assert reader.join(5) == (Result.NOTHING, 0)
    for block in range(100):
        write(writer, 1 + 3 * block, (3, 2, 0))
    _, first = reader.join(1)
    for seq in range(first, 301):
        assert reader.join(seq) == (Result.BLOCK, first)
        _, got = reader.read()
        assert got is not None
        assert got.first_seq <= seq <= got.last_seq
    assert reader.join(first - 1) == (Result.OVERRUN, first)
    assert reader.join(301) == (Result.NOTHING, first)
    assert reader.join(302) == (Result.AHEAD, first)
    write(writer, 301, (1, 0, 0))
    assert same(reader.read()[1], 301, (1, 0, 0))


def test_a_claim_that_is_not_published_is_not_seen_and_forgotten(writer: TapeWriter, path: Path) -> None:
    reader = TapeReader(path, ID, ROWS)
    at = claim(writer, 32)
    writer.tape.arrays.data[at : at + 40] = 99
    assert reader.read() == (Result.NOTHING, None)
    write(writer, 1, (1, 1, 0))
    assert same(reader.read()[1], 1, (1, 1, 0))
    assert publish(writer, 2, (1, 0, 0)) == blocks.TOO_LONG, "nothing is claimed"
    claim(writer, 8)
    assert publish(writer, 2, (2, 0, 0)) == blocks.TOO_LONG, "less is claimed"
    assert reader.read() == (Result.NOTHING, None)
    assert publish(writer, 2, (1, 0, 0)) == blocks.BLOCK
    assert reader.read()[0] is Result.BLOCK


def test_readers_with_a_name_are_seen_until_they_end(writer: TapeWriter, path: Path) -> None:
    with TapeReader(path, ID, ROWS, name="feed") as feed, TapeReader(path, ID, ROWS):
        write(writer, 1, (1, 0, 0))
        assert [(each.name, each.pid, each.lag_words) for each in writer.readers()] == [("feed", os.getpid(), 16)]
        with TapeReader(path, ID, ROWS, name="feed") as second:
            assert [each.name for each in second.readers()] == ["feed", "feed"]
        feed.read()
        assert [(each.name, each.lag_words) for each in feed.readers()] == [("feed", 0)]
    assert writer.readers() == []
    for name in ("", "123456789", "ä"):
        with pytest.raises(TapeError, match="is no name of a reader"):
            packed_name(name)


READER = """
import os, signal, sys
from pathlib import Path
from tests.test_tape import ID, ROWS
from tape.reader import TapeReader
reader = TapeReader(Path(sys.argv[1]), ID, ROWS, name="feed")
print(len(reader.readers()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_reader_that_dies_keeps_no_place_and_the_writer_never_waits(writer: TapeWriter, path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.stdout.split(), done.returncode) == (["1"], -9), done.stderr
    assert writer.readers() == []
    for seq in range(1, 300):
        write(writer, seq, (1, 0, 0))
    with TapeReader(path, ID, ROWS, name="next"):
        assert [each.name for each in writer.readers()] == ["next"]


def test_words_of_the_writer_are_seen_by_readers(writer: TapeWriter, path: Path) -> None:
    with TapeReader(path, ID, ROWS) as reader:
        writer.store(Place.APPLIED, 12)
        writer.store(Place.JOURNALED, 11)
        assert (reader.load(Place.APPLIED), reader.load(Place.JOURNALED), reader.load(Place.RELEASED)) == (12, 11, 0)
        with pytest.raises(TapeError, match="PUBLISHED is no sequence number"):
            writer.store(Place.PUBLISHED, 1)
        assert reader.writer_lives()
        assert not reader.ended()
        writer.close()
        assert reader.ended()
        assert not reader.writer_lives()


def test_words_only_rise(writer: TapeWriter) -> None:
    """Sequence numbers come from several places of a node, and nodes come and go for which answers wait."""
    for place in SEQUENCE_WORDS:
        for seq, wanted in ((5, 5), (3, 5), (0, 5), (6, 6)):
            writer.store(place, seq)
            assert writer.load(place) == wanted


def test_what_was_published_is_read_after_the_writer_has_ended(writer: TapeWriter, path: Path) -> None:
    reader = TapeReader(path, ID, ROWS)
    write(writer, 1, (2, 0, 0))
    writer.close()
    assert same(reader.read()[1], 1, (2, 0, 0))
    with pytest.raises(TapeError, match="there is no"):
        TapeReader(path, ID, ROWS)


@pytest.mark.parametrize(
    ("word", "value"),
    [(blocks.LENGTH, 0), (blocks.LENGTH, 2**40), (blocks.LENGTH, -8), (blocks.POSITION, 64), (blocks.COMMANDS, -1),
     (blocks.COMMANDS, 2**61), (blocks.EVENTS, 1), (blocks.LENGTH, 24)],
)  # fmt: skip
def test_a_block_that_no_writer_writes_is_told_and_reads_nothing_outside(
    writer: TapeWriter, path: Path, word: int, value: int
) -> None:
    reader = TapeReader(path, ID, ROWS)
    write(writer, 1, (1, 0, 0))
    writer.tape.arrays.data[word] = value
    with pytest.raises(TapeError, match="has a block that no writer of this release writes"):
        reader.read()
    with pytest.raises(TapeError, match="has a block that no writer"):
        reader.join(1)


def test_rows_must_fill_cache_lines() -> None:
    with pytest.raises(TapeError, match="a row has 100 bytes; it must have a multiple of 64"):
        Rows(COMMAND, EVENT, np.dtype("V100"))


class Tapes(RuleBasedStateMachine):
    """A real tape beside a list of all blocks: two readers, and claims that come to nothing."""

    folder: Path
    made = 0

    @initialize()
    def begin(self) -> None:
        Tapes.made += 1
        path = self.folder / f"tape-{Tapes.made}"
        self.path = path
        self.writer = TapeWriter(path, ID, ROWS, size_bytes=1 << 12)
        self.written: list[tuple[int, tuple[int, int, int]]] = []
        self.next_seq = 1
        self.free = [TapeReader(path, ID, ROWS) for _ in range(2)]
        self.free_at = [0, 0]

    @rule(commands=st.integers(1, 6), events=st.integers(0, 6), reports=st.integers(0, 2))
    def writes(self, commands: int, events: int, reports: int) -> None:
        counts = (commands, events, reports)
        words = 8 + 8 * commands + 8 * events + 24 * reports
        if words > 128:
            with pytest.raises(TapeError):
                write(self.writer, self.next_seq, counts)
        else:
            write(self.writer, self.next_seq, counts)
            self.written.append((self.next_seq, counts))
            self.next_seq += commands

    @rule(rows=st.integers(0, 8))
    def claims_and_writes_without_publishing(self, rows: int) -> None:
        at = claim(self.writer, 8 * rows)
        self.writer.tape.arrays.data[at : at + 8 * rows] = -5

    @rule(which=st.integers(0, 1))
    def reads(self, which: int) -> None:
        at = self.free_at[which]
        result, block = self.free[which].read()
        if at == len(self.written):
            assert result == Result.NOTHING
        elif result == Result.BLOCK:
            assert same(block, *self.written[at])
            self.free_at[which] += 1
        else:
            assert result == Result.OVERRUN
            assert sum(8 + 8 * c + 8 * e + 24 * r for _, (c, e, r) in self.written[at:]) > 512 // 4

    @rule(which=st.integers(0, 1), back=st.integers(-2, 40))
    def joins(self, which: int, back: int) -> None:
        seq = max(self.next_seq - back, 1)
        result, first = self.free[which].join(seq)
        if not self.written:
            assert (result, first) == (Result.NOTHING, 0)
            return
        place = next((n for n, (begin, counts) in enumerate(self.written) if seq < begin + counts[0]), None)
        if place is None:
            assert result == (Result.NOTHING if seq == self.next_seq or not first else Result.AHEAD)
            self.free_at[which] = len(self.written)
        elif result == Result.BLOCK:
            self.free_at[which] = place
        else:
            assert result in (Result.OVERRUN, Result.NOTHING)
            if result == Result.OVERRUN:
                assert first > self.written[place][0]
                self.free_at[which] = next(n for n, (begin, _) in enumerate(self.written) if begin == first)
            else:  # a claim has taken all room: no block is there
                assert first == 0
                self.free_at[which] = len(self.written)

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            for each in self.free:
                each.close()
            self.writer.close()


@pytest.mark.slow
def test_a_tape_does_what_a_list_of_blocks_does(tmp_path: Path) -> None:
    class Machine(Tapes):
        folder = tmp_path

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_bell_of_what_is_released_rings_for_that_and_the_end_alone(tmp_path: Path) -> None:
    writer = TapeWriter(tape_path(tmp_path), ID, ROWS)
    with TapeReader(tape_path(tmp_path), ID, ROWS) as reader:
        bell, watch = reader.release_bell, reader.release_watch()
        watch.start()

        def rings(act: Callable[[], object]) -> bool:
            bell.arm()
            assert bell.is_sure
            act()
            return has_written(watch)

        assert not rings(lambda: write(writer, 1, (2, 1, 0)))
        assert not rings(lambda: writer.store(Place.APPLIED, 2))
        assert not rings(lambda: writer.store(Place.JOURNALED, 2))
        assert rings(lambda: writer.store(Place.RELEASED, 2))
        assert not has_written(watch)
        assert not rings(lambda: writer.store(Place.RELEASED, 2))  # it was told before
        assert rings(writer.close)
        watch.end()


def test_a_bell_that_is_not_armed_does_not_ring(tmp_path: Path) -> None:
    with TapeWriter(tape_path(tmp_path), ID, ROWS) as writer, TapeReader(tape_path(tmp_path), ID, ROWS) as reader:
        watch = reader.release_watch()
        watch.start()
        writer.store(Place.RELEASED, 2)
        assert not has_written(watch)
        watch.end()


def test_a_bell_that_is_disarmed_is_silent_and_rings_again_once_it_is_armed(tmp_path: Path) -> None:
    with TapeWriter(tape_path(tmp_path), ID, ROWS) as writer, TapeReader(tape_path(tmp_path), ID, ROWS) as reader:
        bell, watch = reader.release_bell, reader.release_watch()
        watch.start()
        bell.arm()
        bell.disarm()
        writer.store(Place.RELEASED, 2)
        assert not has_written(watch)
        bell.arm()
        writer.store(Place.RELEASED, 3)
        assert has_written(watch)
        watch.end()


def test_each_who_waits_for_what_is_released_has_a_bell_of_its_own(tmp_path: Path) -> None:
    with TapeWriter(tape_path(tmp_path), ID, ROWS) as writer, contextlib.ExitStack() as open_ones:
        readers = [open_ones.enter_context(TapeReader(tape_path(tmp_path), ID, ROWS)) for _ in range(RELEASE_BELLS_MAX)]
        assert len({reader.release_place for reader in readers}) == RELEASE_BELLS_MAX
        watches = [reader.release_watch() for reader in readers]
        for watch in watches:
            watch.start()
        for reader in readers[1:]:
            reader.release_bell.arm()
        writer.store(Place.RELEASED, 2)
        assert [has_written(watch) for watch in watches] == [False, *[True] * (RELEASE_BELLS_MAX - 1)]
        with TapeReader(tape_path(tmp_path), ID, ROWS) as one_more:
            with pytest.raises(TapeError, match="16 programs wait for answers"):
                one_more.release_bell.arm()
            place = readers[3].release_place
            readers[3].close()
            assert one_more.release_place == place
        for watch in watches:
            watch.end()


def test_a_watch_that_has_ended_closes_its_descriptor_though_the_bell_is_silent(tmp_path: Path) -> None:
    with TapeWriter(tape_path(tmp_path), ID, ROWS), TapeReader(tape_path(tmp_path), ID, ROWS) as reader:
        watch = reader.release_watch()
        watch.start()
        watch.end()
        deadline_s = time.monotonic() + 10
        while os.path.exists(f"/proc/self/fd/{watch.fd}") and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert not os.path.exists(f"/proc/self/fd/{watch.fd}")


def has_written(watch: BellWatch) -> bool:
    """True if a watch writes within a moment, or has written."""
    if not select.select([watch.fd], [], [], 0.03)[0]:
        return False
    os.eventfd_read(watch.fd)
    return True
