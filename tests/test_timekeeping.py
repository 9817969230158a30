"""Time on a quiet market: halts and days end without an order, and the clock's jumps are in the journal."""

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import Projections
from engine import Capacity, Engine
from engine.bounds import DAY_NS
from engine.names import pack
from engine.records import COMMAND, RULES_VERSION, CommandKind, Permission, Phase, UserPermission, concatenate
from gateway.ouch.outbox import OuchOutbox
from journal import Journal
from node.core.clock_watch import JUMPS_MAX
from node.core.market import Market
from node.core.stages import StageClock
from node.core.timekeeping import LOOK_S, Timekeeping
from sequencer.clock import MarketClock
from sequencer.stamp import LiveStamp
from tests.ouch_messages import messages
from tests.rows import NANOSECONDS_2024_01_15_0930 as MORNING_NS
from tests.rows import clock as clock_row
from tests.rows import row

SECOND_NS = 1_000_000_000
SMALL = Capacity(orders_max=64, ids_max=256, instruments_max=4, participants_max=4)


class Quiet:
    """A market on which nobody sends anything, and its two clocks."""

    def __init__(self, directory: Path) -> None:
        self.wall_ns, self.monotonic_ns = MORNING_NS, 5 * SECOND_NS
        self.room = True
        self.sent: dict[int, bytes] = {}
        self.journal = Journal.create(directory, {"rules_version": RULES_VERSION}, durability="none")
        self.engine = Engine(SMALL)
        outbox = OuchOutbox(directory, SMALL, self.journal.journal_id)
        outbox.on_segment = lambda segment: self.sent.__setitem__(
            segment.user, self.sent.get(segment.user, b"") + segment.data
        )
        self.jumps: deque[tuple[int, int]] = deque(maxlen=JUMPS_MAX)
        clock = MarketClock(
            wall=lambda: self.wall_ns,
            monotonic=lambda: self.monotonic_ns,
            on_jump=self.on_jump,
        )
        self.market = Market(
            self.journal,
            self.engine,
            Projections([outbox]),
            LiveStamp(0, clock),
            durability="none",
            stages=StageClock(),
            served=outbox.name,
        )
        self.timekeeping = Timekeeping(
            self.engine,
            clock,
            self.jumps,
            has_room=lambda: self.room,
            take=self.market.take_own,
            tick=self.market.tick,
        )

    def on_jump(self, _was_ns: int, now_ns: int, expected_ns: int) -> None:
        self.jumps.append((now_ns, now_ns - expected_ns))

    def passes(self, time_ns: int) -> None:
        self.wall_ns += time_ns
        self.monotonic_ns += time_ns

    def do(self, kind: CommandKind, **places: int) -> None:
        self.market.take(row(kind, **places), 0)

    def looks(self, times: int = 1) -> list[CommandKind]:
        """The kinds of command that as many looks have sequenced."""
        before = self.engine.seq
        for _ in range(times):
            self.timekeeping.look()
        return [CommandKind(kind) for kind in self.rows(before)["kind"].tolist()]

    def rows(self, after_seq: int = 0) -> NDArray[Any]:
        assert self.journal.wait_durable(self.engine.seq, 10)
        blocks = [np.frombuffer(bytes(block.rows), COMMAND) for block in self.journal.blocks(after_seq + 1)]
        rows = concatenate(blocks)
        return rows[len(rows) - (self.engine.seq - after_seq) :] if self.engine.seq > after_seq else rows[:0]


def quiet(test: Any) -> Any:
    """The test on an event loop, with a quiet market in ``tmp_path``."""

    def run(tmp_path: Path) -> None:
        async def with_market() -> None:
            venue = Quiet(tmp_path / "node")
            venue.do(CommandKind.INSTRUMENT, name=pack("XYZ"), tick_e4=100, lot=1, reference_e4=100_000)
            venue.do(CommandKind.PARTICIPANT, name=pack("ALPHA"), permissions=int(Permission.MARKET))
            venue.do(
                CommandKind.USER,
                name=pack("ALICE"),
                participant_name=pack("ALPHA"),
                permissions=int(UserPermission.ENABLED),
            )
            venue.do(CommandKind.PHASE, name=pack("XYZ"), phase=int(Phase.CONTINUOUS))
            test(venue)
            venue.journal.close()

        asyncio.run(with_market())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@quiet
def test_nothing_is_sequenced_while_nothing_is_due(venue: Quiet) -> None:
    venue.passes(3_600 * SECOND_NS)
    assert venue.looks(100) == []


@quiet
def test_the_next_look_comes_when_something_is_due_and_soon_enough_for_what_comes_meanwhile(venue: Quiet) -> None:
    assert venue.timekeeping.pause_s() == LOOK_S
    venue.do(CommandKind.HALT, name=pack("XYZ"), duration_ns=10 * SECOND_NS)
    assert venue.timekeeping.pause_s() == LOOK_S
    venue.passes(10 * SECOND_NS - 30_000_000)
    assert venue.timekeeping.pause_s() == pytest.approx(0.03, abs=1e-6)
    venue.passes(SECOND_NS)
    assert 0 < venue.timekeeping.pause_s() < LOOK_S  # it is due: soon, and never without a pause


@quiet
def test_a_halt_ends_by_the_clock_alone_and_so_does_the_call_after_it(venue: Quiet) -> None:
    venue.do(CommandKind.HALT, name=pack("XYZ"), duration_ns=300 * SECOND_NS)
    venue.passes(300 * SECOND_NS - 1)
    assert venue.looks(3) == []
    venue.passes(1)
    assert venue.looks(3) == [CommandKind.CLOCK]
    assert venue.engine.instruments()["phase"][0] == Phase.AUCTION
    venue.passes(60 * SECOND_NS)
    assert venue.looks(3) == [CommandKind.CLOCK]
    assert venue.engine.instruments()["phase"][0] == Phase.CONTINUOUS


@quiet
def test_what_is_due_waits_for_room(venue: Quiet) -> None:
    venue.do(CommandKind.HALT, name=pack("XYZ"), duration_ns=SECOND_NS)
    venue.passes(2 * SECOND_NS)
    venue.room = False
    assert venue.looks(3) == []
    venue.room = True
    assert venue.looks(3) == [CommandKind.CLOCK]


@quiet
def test_a_day_ends_for_every_user_at_midnight_though_nobody_sends_anything(venue: Quiet) -> None:
    venue.sent.clear()
    venue.passes(DAY_NS - MORNING_NS % DAY_NS - 1)
    assert venue.looks(3) == []
    assert venue.sent == {}
    venue.passes(1)
    assert venue.looks(3) == [CommandKind.CLOCK]
    assert [fields["event_code"] for _, fields in messages(venue.sent[1])] == ["E", "S"]


@quiet
def test_a_jump_of_the_clock_back_and_ahead_is_journaled_once_and_moves_nothing(venue: Quiet) -> None:
    before = venue.engine.seq
    venue.wall_ns -= 30 * SECOND_NS
    assert venue.looks(3)[-1:] == [CommandKind.CLOCK_JUMP]
    venue.wall_ns += 3_600 * SECOND_NS
    assert venue.looks(3)[-1:] == [CommandKind.CLOCK_JUMP]
    rows = venue.rows(before)
    jumps = rows[rows["kind"] == CommandKind.CLOCK_JUMP]
    assert jumps["jump_ns"].tolist() == [-30 * SECOND_NS, 3_600 * SECOND_NS]
    assert jumps["time_ns"].tolist() == [MORNING_NS - 30 * SECOND_NS, MORNING_NS + 3_570 * SECOND_NS]
    times = rows["time_ns"][rows["kind"] == CommandKind.CLOCK].tolist()
    assert times == sorted(times)
    assert venue.engine.instruments()["phase"][0] == Phase.CONTINUOUS


@quiet
def test_of_many_jumps_at_once_the_newest_are_journaled(venue: Quiet) -> None:
    for number in range(3 * JUMPS_MAX):
        venue.jumps.append((number, -number))
    kinds = venue.looks(10)
    assert kinds.count(CommandKind.CLOCK_JUMP) == JUMPS_MAX
    assert venue.rows()["jump_ns"][-JUMPS_MAX:].tolist() == [-n for n in range(2 * JUMPS_MAX, 3 * JUMPS_MAX)]


@quiet
def test_the_time_alone_never_parts_an_extend_row_from_its_command(venue: Quiet) -> None:
    venue.do(CommandKind.HALT, name=pack("XYZ"), duration_ns=SECOND_NS)
    venue.do(CommandKind.EXTEND, name=pack("ALPHA"))
    venue.passes(2 * SECOND_NS)
    assert venue.looks(3) == []
    venue.do(CommandKind.CANCEL, client_order_id=pack("a1"), participant=1)
    assert venue.looks(3) == [CommandKind.CLOCK]


def test_a_market_that_never_had_a_clock_value_gets_none() -> None:
    fresh = Engine(SMALL)
    ticked: list[int] = []
    keeping = Timekeeping(
        fresh,
        lambda: 5 * DAY_NS,
        deque(),
        has_room=lambda: True,
        take=lambda _: None,
        tick=lambda: ticked.append(1),
    )
    keeping.look()
    fresh.apply(clock_row(4 * DAY_NS))
    assert ticked == []
    keeping.look()
    assert ticked == [1]
