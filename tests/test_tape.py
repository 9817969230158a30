"""The tape: every reader sees whole blocks in order, or is told that they are gone and from where on it can go on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.records import COMMAND, EVENT
from tape import blocks
from tape.errors import ReaderLost, TapeBusy, TapeError
from tape.form import Rows, tape_path
from tape.places import SEQUENCE_WORDS, Place
from tape.reader import Block, Result, TapeReader
from tape.writer import TapeWriter

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


def write(writer: TapeWriter, first_seq: int, counts: tuple[int, int, int]) -> bool:
    return writer.write(first_seq, 7, 10 * first_seq, *rows_of(first_seq, counts))


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
            assert write(writer, first_seq, counts)
            result, block = reader.read()
            assert result == Result.BLOCK
            assert same(block, first_seq, counts)
            assert reader.next_seq == first_seq + counts[0]
        assert reader.lag_words() == 0


def test_rows_are_written_in_place_and_seen_when_they_are_published(writer: TapeWriter, path: Path) -> None:
    reader = TapeReader(path, ID, ROWS)
    claim = writer.claim(2, rest_bytes=3 * 64 + 192)
    assert claim is not None
    commands, events, reports = rows_of(1, (2, 3, 1))
    claim.commands[:] = commands
    claim.rest[: 3 * 8] = events.view(np.int64)
    claim.rest[3 * 8 :] = reports.view(np.int64)
    assert reader.read() == (Result.NOTHING, None)
    writer.publish(1, 7, 10, 2, 3, 1)
    assert same(reader.read()[1], 1, (2, 3, 1))


def test_a_claim_that_is_not_published_is_forgotten(writer: TapeWriter, path: Path) -> None:
    reader = TapeReader(path, ID, ROWS)
    claim = writer.claim(4)
    assert claim is not None
    claim.commands["qty"] = 99
    assert write(writer, 1, (1, 1, 0))
    assert same(reader.read()[1], 1, (1, 1, 0))
    with pytest.raises(TapeError, match="longer than was claimed"):
        writer.publish(2, 7, 20, 1, 0, 0)
    assert writer.claim(1) is not None
    with pytest.raises(TapeError, match="longer than was claimed"):
        writer.publish(2, 7, 20, 2, 0, 0)
    assert reader.read() == (Result.NOTHING, None)


def test_a_block_longer_than_a_quarter_of_the_tape_is_refused(writer: TapeWriter) -> None:
    fits = (BYTES // 4 - 64) // 64
    assert write(writer, 1, (fits, 0, 0))
    with pytest.raises(TapeError, match="longer than was claimed or than 4,096 bytes, a quarter of the tape"):
        write(writer, 1, (fits + 1, 0, 0))
    with pytest.raises(TapeError, match="not of the tape's type"):
        writer.write(1, 0, 0, np.zeros(1, EVENT), np.zeros(1, EVENT), np.zeros(1, REPORT))


def test_a_reader_that_was_overrun_is_told_and_goes_on_from_what_is_there(writer: TapeWriter, path: Path) -> None:
    reader = TapeReader(path, ID, ROWS)
    for seq in range(1, 1_001):
        assert write(writer, seq, (1, 1, 0))
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
        assert write(writer, 1 + 3 * block, (3, 2, 0))
    _, first = reader.join(1)
    for seq in range(first, 301):
        assert reader.join(seq) == (Result.BLOCK, first)
        _, got = reader.read()
        assert got is not None
        assert got.first_seq <= seq <= got.last_seq
    assert reader.join(first - 1) == (Result.OVERRUN, first)
    assert reader.join(301) == (Result.NOTHING, first)
    assert reader.join(302) == (Result.AHEAD, first)
    assert write(writer, 301, (1, 0, 0))
    assert same(reader.read()[1], 301, (1, 0, 0))


def test_nothing_that_a_gating_reader_has_not_read_is_overwritten(writer: TapeWriter, path: Path) -> None:
    writer.gate("journal")
    seq = 1
    while write(writer, seq, (1, 2, 0)):
        seq += 1
    assert not write(writer, seq, (1, 2, 0))
    reader = TapeReader(path, ID, ROWS, name="journal")
    assert reader.gates
    for each in range(1, seq):
        result, block = reader.look()
        assert result == Result.BLOCK
        assert same(block, each, (1, 2, 0))
        reader.leave()
        if each == 20:
            assert write(writer, seq, (1, 2, 0)), "room that was given back is used"
    assert same(reader.look()[1], seq, (1, 2, 0))
    with pytest.raises(TapeError, match="cannot join elsewhere"):
        reader.join(3)
    reader.close()


def test_a_gating_reader_may_read_by_copies_as_well(writer: TapeWriter, path: Path) -> None:
    writer.gate("journal")
    with TapeReader(path, ID, ROWS, name="journal") as reader:
        for seq in range(1, 500):
            assert write(writer, seq, (1, 0, 1))
            assert same(reader.read()[1], seq, (1, 0, 1))


def test_only_a_gating_reader_reads_in_place(writer: TapeWriter, path: Path) -> None:
    write(writer, 1, (1, 0, 0))
    with (
        TapeReader(path, ID, ROWS, name="feed") as reader,
        pytest.raises(TapeError, match="may read the tape in place"),
    ):
        reader.look()


READER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from tests.test_tape import ID, ROWS
from tape.reader import TapeReader
reader = TapeReader(Path(sys.argv[1]), ID, ROWS, name="journal")
for _ in range(int(sys.argv[2])):
    print(reader.look()[1].first_seq, flush=True)
    reader.leave()
reader.look()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_gating_reader_that_dies_is_told_and_its_successor_goes_on_where_it_stopped(
    writer: TapeWriter, path: Path
) -> None:
    writer.gate("journal")
    with pytest.raises(ReaderLost, match="waits for the reader journal of the tape, but no process reads it"):
        writer.check_gates()
    for seq in range(1, 6):
        write(writer, seq, (1, 0, 0))
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path), "3"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.stdout.split(), done.returncode) == (["1", "2", "3"], -9), done.stderr
    with pytest.raises(ReaderLost, match=r"journal of the tape, but process \d+ has ended; start it again"):
        writer.check_gates()
    with TapeReader(path, ID, ROWS, name="journal") as successor:
        writer.check_gates()
        assert same(successor.look()[1], 4, (1, 0, 0)), "a block that was looked at and not left is read again"
        with pytest.raises(TapeBusy, match="reads the tape as journal already"):
            TapeReader(path, ID, ROWS, name="journal")
    with pytest.raises(ReaderLost):
        writer.check_gates()
    writer.release_gate("journal")
    writer.check_gates()
    for seq in range(6, 300):
        assert write(writer, seq, (1, 0, 0)), "a reader that was released is waited for no more"


def test_readers_with_a_name_are_seen_until_they_end(writer: TapeWriter, path: Path) -> None:
    writer.gate("journal")
    with TapeReader(path, ID, ROWS, name="feed") as feed, TapeReader(path, ID, ROWS):
        write(writer, 1, (1, 0, 0))
        seen = {each.name: each for each in writer.readers()}
        assert {name: (each.gates, each.alive, each.lag_words) for name, each in seen.items()} == {
            "journal": (True, False, 16),
            "feed": (False, True, 16),
        }
        assert [each.name for each in feed.readers()] == [each.name for each in writer.readers()]
        feed.read()
        assert {each.name: each.lag_words for each in writer.readers()} == {"journal": 16, "feed": 0}
    assert [each.name for each in writer.readers()] == ["journal"]
    with pytest.raises(TapeError, match="there is a reader journal on the tape already"):
        writer.gate("journal")
    for name in ("", "123456789", "ä"):
        with pytest.raises(TapeError, match="is no name of a reader"):
            writer.gate(name)


def test_words_have_one_meaning_on_both_sides(writer: TapeWriter, path: Path) -> None:
    with TapeReader(path, ID, ROWS) as reader:
        writer.store(Place.APPLIED, 12)
        reader.store(Place.JOURNALED, 11)
        assert (reader.load(Place.APPLIED), writer.load(Place.JOURNALED), reader.load(Place.RELEASED)) == (12, 11, 0)
        with pytest.raises(TapeError, match="PUBLISHED is no sequence number"):
            reader.store(Place.PUBLISHED, 1)
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
    """A real tape beside a list of all blocks: three readers, one of which gates, and claims that come to nothing."""

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
        self.writer.gate("gate")
        self.gating = True
        self.gate = TapeReader(path, ID, ROWS, name="gate")
        self.gate_at = 0
        self.free = [TapeReader(path, ID, ROWS) for _ in range(2)]
        self.free_at = [0, 0]

    @rule(commands=st.integers(1, 6), events=st.integers(0, 6), reports=st.integers(0, 2))
    def writes(self, commands: int, events: int, reports: int) -> None:
        counts = (commands, events, reports)
        words = 8 + 8 * commands + 8 * events + 24 * reports
        if words > 128:
            with pytest.raises(TapeError):
                write(self.writer, self.next_seq, counts)
        elif write(self.writer, self.next_seq, counts):
            self.written.append((self.next_seq, counts))
            self.next_seq += commands
        else:
            unread = sum(8 + 8 * c + 8 * e + 24 * r for _, (c, e, r) in self.written[self.gate_at :])
            assert self.gating
            assert unread > 512 - 2 * 128, "there was room for it"

    @rule(rows=st.integers(0, 8))
    def claims_and_writes_without_publishing(self, rows: int) -> None:
        claim = self.writer.claim(rows)
        if claim is not None:
            claim.commands.view(np.int64)[:] = -5

    @precondition(lambda self: self.gating)
    @rule(in_place=st.booleans())
    def gate_reads(self, in_place: bool) -> None:
        result, block = self.gate.look() if in_place else self.gate.read()
        if self.gate_at == len(self.written):
            assert result == Result.NOTHING
        else:
            assert result == Result.BLOCK, "what was not read is never overwritten"
            assert same(block, *self.written[self.gate_at])
            self.gate_at += 1
            if in_place:
                self.gate.leave()

    @precondition(lambda self: self.gating)
    @rule()
    def gate_dies_and_another_process_takes_its_place(self) -> None:
        self.gate.look()
        self.gate.close()
        self.gate = TapeReader(self.path, ID, ROWS, name="gate")

    @precondition(lambda self: self.gating and len(self.written) > 8)
    @rule()
    def gate_is_released(self) -> None:
        self.writer.release_gate("gate")
        self.gating = False

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

    @invariant()
    def gates_agree(self) -> None:
        if hasattr(self, "writer") and self.gating:
            self.writer.check_gates()

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            for each in (*self.free, self.gate):
                each.close()
            self.writer.close()


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
