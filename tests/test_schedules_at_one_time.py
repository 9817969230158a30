"""Schedules of one time: met instrument by instrument, of each in the order in which they were given, however many."""

import random
from typing import Any

import pytest

import engine.engine as engine_module
from engine import Capacity, Engine
from engine.bounds import SCHEDULES_MAX, SCHEDULES_OF_ALL_MAX
from engine.names import EVERY, pack, unpack
from engine.records import CommandKind, EventKind, Phase
from engine.reference import ReferenceEngine
from engine.room import THROUGH
from replay.audit import first_difference
from tests.rows import (
    BUY,
    NANOSECONDS_2024_01_15_0930,
    SELL,
    Rows,
    batch,
    clock,
    enter,
    halt,
    instrument,
    participant,
    phase,
    row,
)
from tests.test_command_parts import CAPACITY as TIGHT
from tests.test_command_parts import tighten

BEGIN_NS = NANOSECONDS_2024_01_15_0930
SECOND_NS = 10**9
NAMED = [each for each in Phase if each != Phase.HALTED]
CAPACITY = Capacity(orders_max=64, ids_max=256, instruments_max=8, participants_max=4)


def schedule(name: int, seconds: int, to: Phase) -> Rows:
    return row(CommandKind.SCHEDULE, name=name, due_ns=BEGIN_NS + seconds * SECOND_NS, phase=int(to))


def symbol(number: int) -> int:
    return pack("ABCDEFGH"[number])


def market() -> list[Rows]:
    rows = [clock(BEGIN_NS), *(instrument(unpack(symbol(each))) for each in range(8))]
    return [*rows, participant("ALPHA"), participant("BETA"), phase("*", Phase.PRE_OPEN)]


def day(seed: int) -> Rows:
    """Orders that cross in all instruments, halts that end at the times of schedules, and clock values that skip."""
    rng = random.Random(seed)
    rows = market()
    for turn in range(400):
        second = rng.choice((2, 2, 2, 4, 6)) + 8 * (turn // 100)
        name = EVERY if rng.random() < (0.0, 0.02, 0.3)[seed % 3] else symbol(rng.randrange(8))
        rows.append(schedule(name, second, rng.choice(NAMED)))
        if rng.random() < 0.1:
            rows.append(halt(unpack(symbol(rng.randrange(8))), second * SECOND_NS))
        if rng.random() < 0.3:
            number, side = rng.randrange(1, 9), rng.choice((BUY, SELL))
            owner = rng.randrange(1, 3)
            rows.append(enter(owner, f"o{turn}", side, 5, 100_000 + 100 * rng.randrange(-2, 3), instrument=number))
        if turn % 100 == 99:
            rows += [clock(BEGIN_NS + (8 * (turn // 100) + each) * SECOND_NS) for each in rng.choice(((3, 5, 7), (7,)))]
    return batch(*rows, clock(BEGIN_NS + 100 * SECOND_NS))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("room", ["ample", "tight"])
def test_both_engines_tell_the_same_of_many_schedules(seed: int, room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = day(seed)
    engine, reference = Engine(TIGHT), ReferenceEngine(TIGHT)
    apply, stopped = engine_module._apply, 0

    def counted(*arguments: Any) -> tuple[int, int]:
        nonlocal stopped
        found: tuple[int, int] = apply(*arguments)
        stopped += int(engine._state.venue[0]["halfway"] != THROUGH)
        return found

    monkeypatch.setattr(engine_module, "_apply", counted)
    phases = 0
    for at in range(len(rows)):
        if room == "tight":
            tighten(engine)
        events, expected = engine.apply(rows[at : at + 1]), reference.apply(rows[at : at + 1])
        assert first_difference(events, expected) is None, at
        phases += int((events["kind"] == EventKind.PHASE).sum()) if rows[at]["kind"] == CommandKind.CLOCK else 0
    engine.check()
    assert phases > 300
    assert (stopped > 0) == (room == "tight")


def test_of_one_instrument_those_of_all_and_its_own_come_in_the_order_given() -> None:
    engine = Engine(CAPACITY)
    engine.apply(batch(*market()))
    given = [
        schedule(symbol(7), 1, Phase.OPENING_AUCTION),
        schedule(EVERY, 1, Phase.CONTINUOUS),
        schedule(symbol(1), 1, Phase.AUCTION),
        schedule(symbol(7), 1, Phase.CLOSED),
        schedule(EVERY, 1, Phase.PRE_OPEN),
        schedule(symbol(1), 1, Phase.CONTINUOUS),
    ]
    engine.apply(batch(*given))
    events = engine.apply(clock(BEGIN_NS + SECOND_NS))
    told = [(int(each["instrument"]), Phase(int(each["phase"])).name) for each in events]
    assert [to for number, to in told if number == 1] == ["CONTINUOUS", "PRE_OPEN"]
    assert [to for number, to in told if number == 2] == ["CONTINUOUS", "AUCTION", "PRE_OPEN", "CONTINUOUS"]
    assert [to for number, to in told if number == 8] == ["OPENING_AUCTION", "CONTINUOUS", "CLOSED", "PRE_OPEN"]
    assert [number for number, _ in told] == sorted(number for number, _ in told)
    engine.check()


@pytest.mark.slow
@pytest.mark.parametrize("of_all", [0, SCHEDULES_OF_ALL_MAX])
def test_as_many_as_may_wait_come_at_one_time(of_all: int) -> None:
    """Given from the last instrument to the first, with those of all among them."""
    engine, reference = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    rows = [*market()]
    for at in range(SCHEDULES_MAX):
        name = EVERY if at % 16 == 3 and at // 16 < of_all else symbol(7 - at * 8 // SCHEDULES_MAX)
        rows.append(schedule(name, 1, NAMED[at % len(NAMED)]))
    rows += [clock(BEGIN_NS + SECOND_NS)]
    assert first_difference(engine.apply(batch(*rows)), reference.apply(batch(*rows))) is None
    assert engine._state.venue[0]["schedules"] == 0
    engine.check()
