"""Promises of the pipeline that a node pushes batches into: it never waits, says when it is full, and lets nothing out
that is not durable."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from directory.recover import create
from engine.bounds import COMMANDS_PER_CALL_MAX
from engine.market_time import ClockPosition, clock_after
from engine.records import COMMAND, CommandKind
from journal import Journal, JournalError, group
from sequencer.pump import HELD_BLOCKS_MAX, HELD_ROWS_MAX, Pipeline, PumpError
from sequencer.stamp import FileStamp, LiveStamp, StampError
from tests.nodes import SMALL
from tests.streams import OPEN_NS, random_stream
from tests.test_pump import Loud, SlowDisk, clock, joined, one


class Disk(SlowDisk):
    """A disk that becomes durable when the test says so; to wait for it is a mistake."""

    crowded = False

    def wait_durable(self, seq: int, _timeout_s: float | None = None) -> bool:
        raise AssertionError(f"waited for {seq}")

    def raise_failure(self) -> None:
        if self.fails:
            raise JournalError("the disk is full")


def pipeline(
    disk: Any, events: int = 1, durability: Any = "fsync"
) -> tuple[Pipeline, list[tuple[int, NDArray[Any], NDArray[Any]]]]:
    seen: list[tuple[int, NDArray[Any], NDArray[Any]]] = []
    engine: Any = Loud(events)
    made = Pipeline(FileStamp(), disk, engine, publishers=[lambda *held: seen.append(held)], durability=durability)
    return made, seen


def test_a_batch_is_sequenced_at_once_and_let_out_only_when_it_is_durable() -> None:
    disk = Disk()
    pushed, seen = pipeline(disk)
    assert pushed.take(joined(one(CommandKind.PHASE), one(CommandKind.PHASE))) == 2
    assert pushed.take(one(CommandKind.PHASE)) == 1
    assert (disk.last_seq, len(disk.digests), seen, pushed.held_rows) == (3, 2, [], 6)
    assert pushed.release() == 0
    disk.durable_seq = 2
    assert pushed.release() == 2
    assert [(first_seq, len(commands), len(events)) for first_seq, commands, events in seen] == [(1, 2, 2)]
    assert pushed.held_rows == 2
    disk.durable_seq = 3
    assert pushed.release() == 1
    assert (pushed.blocks, pushed.commands, pushed.events, pushed.held_rows) == (2, 3, 3, 0)


def test_a_batch_lets_out_what_became_durable_before_it() -> None:
    disk = Disk()
    pushed, seen = pipeline(disk)
    pushed.take(one(CommandKind.PHASE))
    disk.durable_seq = 1
    pushed.take(one(CommandKind.PHASE))
    assert [first_seq for first_seq, _, _ in seen] == [1]


class Lease:
    """A replication whose lease ends while something is published."""

    def __init__(self) -> None:
        self.holds = True

    def on_block(self, first_seq: int, last_seq: int, sealed: bytes) -> None:
        """Nobody is there."""

    def on_applied(self, first_seq: int, last_seq: int, digest: bytes) -> None:
        """Nobody is there."""

    def released_seq(self) -> int:
        """All, or nothing more."""
        return 100 if self.holds else 0


def test_a_lease_that_ends_during_a_release_ends_it_behind_the_block_that_is_told() -> None:
    disk, lease, told = Disk(), Lease(), []
    disk.sealed, disk.seals = b"", False  # type: ignore[attr-defined]

    def publish(first_seq: int, _commands: NDArray[Any], _events: NDArray[Any]) -> None:
        told.append(first_seq)
        lease.holds = False

    engine: Any = Loud(1)
    pushed = Pipeline(FileStamp(), disk, engine, publishers=[publish])  # type: ignore[arg-type]
    for _ in range(5):
        pushed.take(one(CommandKind.PHASE))
    pushed.replicate(lease)
    pushed.release()
    assert told == [1]
    lease.holds = True
    pushed.release()
    assert told == [1, 2]


def test_a_long_release_is_cut_between_two_blocks_and_goes_on_when_asked() -> None:
    disk = Disk()
    pushed, seen = pipeline(disk)
    cuts: list[int] = []
    pushed.bound_release(0, lambda: cuts.append(len(seen)))
    for _ in range(3):
        pushed.take(one(CommandKind.PHASE))
    disk.durable_seq = 3
    assert [pushed.release(), pushed.release(), pushed.release(), pushed.release()] == [1, 1, 1, 0]
    assert cuts == [1, 2]


def test_without_durability_a_batch_is_let_out_in_the_call_that_takes_it() -> None:
    disk = Disk()
    pushed, seen = pipeline(disk, durability="none")
    assert pushed.take(one(CommandKind.PHASE)) == 1
    assert (len(seen), disk.durable_seq, pushed.held_rows) == (1, 0, 0)


@pytest.mark.parametrize("events", [1, 5_000])
def test_the_pipeline_says_that_it_is_full_and_never_waits_itself(events: int) -> None:
    disk = Disk()
    pushed, _ = pipeline(disk, events)
    taken = 0
    while not pushed.full:
        taken += pushed.take(one(CommandKind.PHASE))
    assert taken == min(HELD_BLOCKS_MAX, HELD_ROWS_MAX // (events + 1)) + 1
    pushed.take(one(CommandKind.PHASE))  # as a node would not: more is held, and nothing is lost
    disk.durable_seq = disk.last_seq
    assert pushed.release() == taken + 1
    assert not pushed.full


def test_a_queue_that_waits_for_the_disk_makes_the_pipeline_full_even_where_nothing_is_held() -> None:
    disk = Disk()
    pushed, _ = pipeline(disk, durability="none")
    disk.crowded = True
    assert pushed.full


def test_a_journal_that_fails_is_told_after_all_that_is_durable_was_let_out() -> None:
    disk = Disk()
    pushed, seen = pipeline(disk)
    pushed.take(one(CommandKind.PHASE))
    pushed.take(one(CommandKind.PHASE))
    disk.durable_seq, disk.fails = 1, True
    with pytest.raises(JournalError, match="full"):
        pushed.release()
    assert [first_seq for first_seq, _, _ in seen] == [1]


def test_a_pipeline_over_a_journal_at_another_command_is_refused() -> None:
    disk = Disk()
    disk.last_seq = 3
    with pytest.raises(PumpError, match="recover"):
        pipeline(disk)


def test_a_real_journal_wakes_whoever_releases(tmp_path: Path) -> None:
    import threading

    journal, engine = create(tmp_path, SMALL)
    woken = threading.Event()
    journal.on_durable = woken.set
    let_out: list[int] = []
    with journal:
        pushed = Pipeline(
            LiveStamp(engine.now_ns), journal, engine, publishers=[lambda seq, rows, _: let_out.append(seq + len(rows))]
        )
        for number in range(20):
            woken.clear()
            pushed.take(random_stream(number, 3)[-1:])
            while pushed.held_rows:
                assert woken.wait(120)
                woken.clear()
                pushed.release()
        assert let_out[-1] == journal.last_seq + 1
        assert pushed.commands == journal.last_seq


def test_a_live_batch_may_be_written_over_as_soon_as_it_is_stamped() -> None:
    batch = random_stream(3, 40)
    batch = np.ascontiguousarray(batch[batch["kind"] != CommandKind.CLOCK])
    expected = batch.tobytes()
    times = iter([5, 5, 5])
    stamp = LiveStamp(clock=lambda: next(times))
    (first,), (second,) = stamp(batch), stamp(batch)
    batch.view(np.uint8)[:] = 255
    assert first.commands[1:].tobytes() == second.commands.tobytes() == expected
    assert bytes(first.rows) == first.commands.tobytes()
    assert first.commands.flags.writeable
    assert first.commands.flags.c_contiguous


def test_live_rows_that_are_strided_or_read_only_are_stamped_whole() -> None:
    rows = random_stream(1, 50)
    rows = np.ascontiguousarray(rows[rows["kind"] != CommandKind.CLOCK])
    for batch in (np.frombuffer(rows.tobytes(), COMMAND), np.repeat(rows, 2)[::2]):
        (block,) = LiveStamp(clock=lambda: 7)(batch)
        assert block.commands[1:].tobytes() == rows.tobytes()


def test_an_empty_live_batch_makes_no_block() -> None:
    assert list(LiveStamp(clock=lambda: 5)(np.zeros(0, COMMAND))) == []


def test_nothing_of_a_live_batch_is_stamped_that_has_a_clock_row_anywhere() -> None:
    rows = joined(*[one(CommandKind.PHASE)] * (COMMANDS_PER_CALL_MAX + 100), clock(7))
    with pytest.raises(StampError, match="CLOCK"):
        LiveStamp(clock=lambda: 5)(rows)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_clock_of_a_live_block_is_the_one_that_any_reader_finds_in_its_rows(seed: int) -> None:
    rows = random_stream(seed, 4_000, garbage=0.2)
    rows = rows[rows["kind"] != CommandKind.CLOCK]
    rng = np.random.default_rng(seed)
    rows["kind"][rng.integers(0, len(rows), 400)] = CommandKind.EXTEND
    # Whole EXTEND rows too, at the end of batches above all.
    whole = np.zeros(300, COMMAND)
    whole["kind"] = CommandKind.EXTEND
    rows.view(np.uint8).reshape(-1, 64)[rng.integers(0, len(rows), 300)] = whole.view(np.uint8).reshape(-1, 64)
    now = iter(range(OPEN_NS, OPEN_NS + 10**7))
    stamp, position, at = LiveStamp(clock=lambda: next(now)), ClockPosition(), 0
    while at < len(rows):
        size = int(rng.integers(1, 6))
        for block in stamp(np.ascontiguousarray(rows[at : at + size])):
            position = clock_after(block.commands, position)
            assert block.time_ns == position.now_ns
        at += size


def test_a_live_market_restarted_behind_an_extend_row_puts_no_clock_before_its_command() -> None:
    stamp = LiveStamp(clock=lambda: 9, extended=True)
    assert [list(block.commands["kind"]) for block in stamp(one(CommandKind.PHASE))] == [[13]]
    assert [list(block.commands["kind"]) for block in stamp(one(CommandKind.PHASE))] == [[1, 13]]


def test_a_queue_half_full_counts_as_crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal.create(tmp_path, {"rules_version": 1}, durability="none") as journal:
        assert not journal.crowded
        monkeypatch.setattr(journal._writer, "queue_bytes", group.QUEUE_BYTES_MAX // 2 + 1)
        assert journal.crowded
        monkeypatch.undo()
