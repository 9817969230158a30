"""Promises of the sequencer: what the stamp puts in front, and what the pump lets out, and when."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from directory.recover import create, recover
from engine.bounds import COMMANDS_PER_CALL_MAX
from engine.capacity import Capacity
from engine.names import pack
from engine.records import COMMAND, CommandKind
from engine.reference import ReferenceEngine
from journal import JournalError
from replay.times import seq_at
from sequencer.pump import HELD_BLOCKS_MAX, HELD_ROWS_MAX, PumpError, pump
from sequencer.stamp import FileStamp, LiveStamp, StampError
from tests.streams import OPEN_NS, random_stream

SMALL = Capacity(orders_max=2_048, ids_max=65_536, instruments_max=16, participants_max=32)


def batches(rows: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def clock(time_ns: int) -> NDArray[Any]:
    row = np.zeros(1, COMMAND)
    row["kind"], row["time_ns"] = CommandKind.CLOCK, time_ns
    return row


def one(kind: int) -> NDArray[Any]:
    row = np.zeros(1, COMMAND)
    row["kind"], row["name"] = kind, pack("A")
    return row


def joined(*rows: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([row.view(np.uint8) for row in rows]).view(COMMAND)


class SlowDisk:
    """A journal in memory whose durable mark moves only when somebody waits for it."""

    def __init__(self) -> None:
        self.last_seq = self.durable_seq = self.epoch = 0
        self.digests: list[tuple[int, bytes]] = []
        self.waits = 0
        self.fails = False

    def append(self, count: int, _rows: memoryview, _time_ns: int) -> int:
        self.last_seq += count
        return self.last_seq - count + 1

    def put_digest(self, first_seq: int, digest: bytes) -> None:
        self.digests.append((first_seq, digest))

    def wait_durable(self, seq: int, _timeout_s: float | None = None) -> bool:
        if self.fails:
            raise JournalError("the disk is full")
        self.waits += 1
        self.durable_seq = max(self.durable_seq, seq)
        return True


class Loud:
    """An engine without a market that answers each command with a number of empty events."""

    def __init__(self, events: int = 1) -> None:
        from engine.records import EVENT

        self.seq, self.event_digest = 0, bytes(16)
        self._event, self._events = EVENT, events

    def apply(self, commands: NDArray[Any]) -> NDArray[Any]:
        self.seq += len(commands)
        return np.zeros(len(commands) * self._events, self._event)


def test_a_live_batch_gets_its_time_in_front_only_when_the_time_moved() -> None:
    times = iter([50, 50, 40, 60])
    stamp = LiveStamp(clock=lambda: next(times))
    blocks = [next(stamp(one(CommandKind.PHASE))) for _ in range(4)]
    assert [list(block.commands["kind"]) for block in blocks] == [[1, 13], [13], [13], [1, 13]]
    assert [block.time_ns for block in blocks] == [50, 50, 50, 60]


def test_a_live_clock_goes_on_from_where_the_journal_left_it() -> None:
    stamp = LiveStamp(now_ns=1_000, clock=lambda: 999)
    assert [list(block.commands["kind"]) for block in stamp(one(CommandKind.PHASE))] == [[13]]


def test_no_clock_row_comes_between_an_extend_row_and_its_command() -> None:
    times = iter([10, 20, 30])
    stamp = LiveStamp(clock=lambda: next(times))
    kinds = [
        list(next(stamp(one(kind))).commands["kind"])
        for kind in (CommandKind.EXTEND, CommandKind.PHASE, CommandKind.PHASE)
    ]
    assert kinds == [[1, 19], [13], [1, 13]]


def test_nobody_but_the_sequencer_sets_the_time_of_a_live_market() -> None:
    with pytest.raises(StampError, match="CLOCK"):
        list(LiveStamp(clock=lambda: 5)(clock(7)))


def test_a_batch_of_anything_but_commands_is_refused() -> None:
    with pytest.raises(StampError, match="COMMAND rows"):
        list(FileStamp()(np.zeros(3, np.int64)))


def test_a_block_is_never_longer_than_one_call_of_the_engine() -> None:
    rows = joined(*[one(CommandKind.PHASE)] * (2 * COMMANDS_PER_CALL_MAX + 5))
    for stamp in (FileStamp(), LiveStamp(clock=lambda: 9)):
        blocks = list(stamp(rows))
        assert max(len(block.commands) for block in blocks) <= COMMANDS_PER_CALL_MAX
        kinds = np.concatenate([block.commands["kind"] for block in blocks])
        assert (kinds == CommandKind.PHASE).sum() == len(rows)


def test_rows_that_are_read_only_or_strided_reach_the_engine_owned() -> None:
    rows = random_stream(1, 50)
    frozen = np.frombuffer(rows.tobytes(), COMMAND)
    for batch in (frozen, np.repeat(rows, 2)[::2]):
        (block,) = FileStamp()(batch)
        assert block.commands.flags.writeable
        assert block.commands.flags.c_contiguous
        assert block.commands.tobytes() == rows.tobytes()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_header_of_every_block_bears_the_clock_that_the_engine_has_after_it(seed: int) -> None:
    rows = random_stream(seed, 6_000, garbage=0.2, control=0.05)
    rng = np.random.default_rng(seed)
    at = rng.integers(0, len(rows), 200)
    rows["time_ns"][at] = rng.choice([0, -1, 2**62, 2**62 + 1, OPEN_NS, OPEN_NS + 10**9], len(at))
    rows["kind"][at[:150]] = CommandKind.CLOCK
    rows["kind"][np.maximum(at[:40] - 1, 0)] = CommandKind.EXTEND
    engine, stamp = ReferenceEngine(SMALL), FileStamp()
    for batch in batches(rows, 7):
        for block in stamp(batch):
            engine.apply(block.commands)
            assert block.time_ns == engine.now_ns


def test_events_are_held_until_their_block_is_durable() -> None:
    disk, seen = SlowDisk(), []
    source = iter([one(CommandKind.PHASE), one(CommandKind.PHASE), np.zeros(0, COMMAND), one(CommandKind.PHASE)])

    def publish(first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        assert first_seq + len(commands) - 1 <= disk.durable_seq
        seen.append((first_seq, len(events), disk.last_seq))

    pump(source, FileStamp(), disk, Loud(), publishers=[publish])
    # The empty batch released the first two while nothing else waited.
    assert seen == [(1, 1, 2), (2, 1, 2), (3, 1, 3)]
    assert disk.waits == 2


def test_without_durability_events_leave_at_once() -> None:
    disk, seen = SlowDisk(), []
    source = (one(CommandKind.PHASE) for _ in range(3))
    pump(
        source,
        FileStamp(),
        disk,
        Loud(),
        publishers=[lambda *held: seen.append((held[0], disk.durable_seq))],
        durability="none",
    )
    assert seen == [(1, 0), (2, 0), (3, 0)]


@pytest.mark.parametrize("events", [1, 5_000])
def test_what_is_held_is_bounded_in_blocks_and_rows(events: int) -> None:
    disk, behind = SlowDisk(), []
    released = 0

    def publish(first_seq: int, commands: NDArray[Any], _events: NDArray[Any]) -> None:
        nonlocal released
        released = first_seq + len(commands) - 1

    def boundary(journal: Any, _engine: Any) -> None:
        behind.append(journal.last_seq - released)

    source = (one(CommandKind.PHASE) for _ in range(2_000))
    pump(source, FileStamp(), disk, Loud(events), publishers=[publish], at_boundary=boundary)
    assert released == 2_000
    assert max(behind) == min(HELD_BLOCKS_MAX, HELD_ROWS_MAX // (events + 1))


def test_nothing_is_published_when_the_journal_fails() -> None:
    disk, seen = SlowDisk(), []
    disk.fails = True
    with pytest.raises(JournalError, match="full"):
        pump([one(CommandKind.PHASE)], FileStamp(), disk, Loud(), publishers=[lambda *held: seen.append(held)])
    assert seen == []


def test_a_publisher_that_fails_stops_the_pump() -> None:
    def publish(*_held: object) -> None:
        raise OSError("the feed is gone")

    with pytest.raises(OSError, match="gone"):
        pump([one(CommandKind.PHASE)], FileStamp(), SlowDisk(), Loud(), publishers=[publish])


def test_a_journal_and_an_engine_at_different_commands_are_not_pumped() -> None:
    disk = SlowDisk()
    disk.last_seq = 3
    with pytest.raises(PumpError, match="recover"):
        pump([], FileStamp(), disk, Loud())
    with pytest.raises(PumpError, match="fsync or none"):
        pump([], FileStamp(), SlowDisk(), Loud(), durability="perhaps")


def test_the_journal_holds_what_was_stamped_and_the_digest_of_every_block(tmp_path: Path) -> None:
    rows = random_stream(5, 3_000)
    journal, engine = create(tmp_path, SMALL, engine="reference")
    caused: list[bytes] = []
    with journal:
        done = pump(
            batches(rows, 256),
            FileStamp(),
            journal,
            engine,
            publishers=[lambda _seq, _rows, ev: caused.append(ev.tobytes())],
        )
    with recover(tmp_path, engine="reference")[0] as journal:
        assert b"".join(block.rows for block in journal.blocks()) == rows.tobytes()
        digests = dict(journal.digests(1, journal.last_seq))
        assert list(digests) == list(range(1, 3_001, 256))
        assert digests[max(digests)] == done.event_digest
    assert (done.blocks, done.commands, done.seq) == (12, 3_000, 3_000)
    assert sum(map(len, caused)) == 64 * done.events


def test_a_time_names_the_newest_command_that_is_not_later(tmp_path: Path) -> None:
    rows = joined(
        clock(OPEN_NS), one(CommandKind.PHASE), clock(OPEN_NS + 5), one(CommandKind.PHASE), one(CommandKind.PHASE)
    )
    rows = joined(rows, clock(OPEN_NS + 2), one(CommandKind.PHASE), clock(OPEN_NS + 10**9))
    for size in (1, 2, 3, 8):
        path = tmp_path / str(size)
        journal, engine = create(path, SMALL, engine="reference")
        with journal:
            pump(batches(rows, size), FileStamp(), journal, engine)
        times = [
            "09:29",
            "09:30:00",
            "09:30:00.000000004",
            "09:30:00.000000005",
            "2024-01-15T09:30:00.999999999",
            "09:30:01",
        ]
        assert [seq_at(path, time) for time in times] == [0, 2, 2, 7, 7, 8]
        assert seq_at(path, 4) == seq_at(path, "4") == 4


@pytest.mark.parametrize("when", ["9", "yesterday", "25:00:00", "2024-02-30 10:00", "-1", "09:30:00.0000000001", ""])
def test_a_place_that_is_none_is_refused_in_a_sentence(tmp_path: Path, when: str) -> None:
    from replay.errors import ReplayError

    journal, engine = create(tmp_path, SMALL, engine="reference")
    with journal:
        pump([clock(OPEN_NS)], FileStamp(), journal, engine)
    with pytest.raises(ReplayError):
        seq_at(tmp_path, when)
