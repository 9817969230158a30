"""Calls, timers and limits where the compiled engine has bounds of its own: rings, chains, ladders and room for events.

What they do is in the scenarios; here both engines must agree where there is much of it, and a restored one with both.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine, InvariantError
from engine.bounds import CALL_AFTER_HALT_NS, DAY_NS, RATE_ORDERS_MAX, TIME_NS_MAX
from engine.capacity import events_max
from engine.records import EventKind, Phase, Reason, TimeInForce
from engine.reference import ReferenceEngine
from tests.limit_rows import limits, resume
from tests.rows import (
    BUY,
    NANOSECONDS_2024_01_15_0930,
    SELL,
    Rows,
    batch,
    clock,
    enter,
    events_of,
    halt,
    instrument,
    market_of,
    participant,
    phase,
)
from tests.streams import call_stream, random_stream

NOW_NS = NANOSECONDS_2024_01_15_0930
CAPACITY = Capacity(orders_max=200, ids_max=20_000, instruments_max=64, participants_max=8)


def both(rows: Rows) -> tuple[Engine, ReferenceEngine]:
    """Both engines after the rows, which they answered alike."""
    engine, reference = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    assert engine.apply(rows).tobytes() == reference.apply(rows).tobytes()
    return engine, reference


def restored(engine: Engine) -> Engine:
    """Another engine with the state of the first."""
    parts = {name: {key: array.copy() for key, array in arrays.items()} for name, arrays in engine.parts().items()}
    again = Engine.restore(CAPACITY, engine.seq, engine.event_digest, parts)
    again.check()
    return again


@pytest.mark.slow
@pytest.mark.parametrize("stride_ns", [0, 1, 3])
@pytest.mark.parametrize("orders", [1, 2, RATE_ORDERS_MAX - 1, RATE_ORDERS_MAX])
def test_an_order_rate_looks_back_over_as_many_entries_as_it_says(orders: int, stride_ns: int) -> None:
    """Of entries ``stride_ns`` apart, the one that is refused is the first with so many before it in the window."""
    engine, reference = both(market_of(1))
    # Where few are looked back over, the ring of times comes round in one of the cases.
    count = 100 + (RATE_ORDERS_MAX if orders > 2 or stride_ns == 1 else orders)
    rows = [enter(1, 1_000 + at, BUY, 1, 100, tif=4) for at in range(count)]
    if stride_ns:
        rows = [each for at, row in enumerate(rows) for each in (clock(NOW_NS + stride_ns * at), row)]
    before = batch(*rows)
    window_ns = max(orders * stride_ns, 1)
    last_ns = NOW_NS + stride_ns * (count - 1)
    after = batch(
        limits("P1", order_rate=(orders, min(window_ns + 1, DAY_NS))),
        enter(1, 1, BUY, 1, 100),
        limits("P1", order_rate=(orders, window_ns)),
        enter(1, 2, BUY, 1, 100),
        clock(last_ns + 1),
        enter(1, 3, BUY, 1, 100),
        clock(last_ns + 1 + window_ns),
        enter(1, 4, BUY, 1, 100),
        enter(1, 5, BUY, 1, 100),
    )
    for venue in (engine, reference):
        venue.apply(before)
    engine = restored(engine)
    answers = engine.apply(after)
    assert answers.tobytes() == reference.apply(after).tobytes()
    assert answers[0]["reason"] == Reason.ORDER_RATE
    engine.check()


@pytest.mark.slow
def test_a_clock_value_meets_many_timers_in_order_of_their_time_and_then_of_definition() -> None:
    count = 60
    draw = np.random.default_rng(5)
    names = [f"T{at}" for at in range(count)]
    opening = batch(clock(NOW_NS), *(instrument(name) for name in names), phase("*", Phase.CONTINUOUS))
    engine, reference = both(opening)
    due_ns: dict[int, int] = {}
    for at in draw.permutation(count).tolist():
        duration_ns = int(draw.integers(1, 12))
        row = halt(names[at], duration_ns)
        assert engine.apply(row).tobytes() == reference.apply(row).tobytes()
        due_ns[at + 1] = NOW_NS + duration_ns
        assert engine.next_due_ns == reference.next_due_ns == min(due_ns.values())
    engine.check()
    for at in draw.permutation(count).tolist()[: count // 3]:  # some are halted for longer, or let go
        row = halt(names[at], 20) if at % 2 else phase(names[at], Phase.PRE_OPEN)
        assert engine.apply(row).tobytes() == reference.apply(row).tobytes()
        due_ns.pop(at + 1)
        if at % 2:
            due_ns[at + 1] = NOW_NS + 20
    engine.check()
    engine = restored(engine)
    answers = engine.apply(clock(NOW_NS + 30))
    assert answers.tobytes() == reference.apply(clock(NOW_NS + 30)).tobytes()
    assert answers["instrument"].tolist() == sorted(due_ns, key=lambda number: (due_ns[number], number))
    assert engine.next_due_ns == reference.next_due_ns == NOW_NS + 30 + CALL_AFTER_HALT_NS
    answers = engine.apply(clock(NOW_NS + 30 + CALL_AFTER_HALT_NS))
    assert answers["instrument"].tolist() == sorted(due_ns)
    assert engine.next_due_ns == 0
    engine.check()


@pytest.mark.slow
def test_halts_and_resumptions_of_all_stand_in_the_chain_as_those_of_one_do() -> None:
    count = 40
    draw = np.random.default_rng(6)
    names = [f"T{at}" for at in range(count)]
    engine, reference = both(batch(clock(NOW_NS), *(instrument(name) for name in names), phase("*", Phase.CONTINUOUS)))
    now_ns = NOW_NS
    for _ in range(100):
        name = "*" if draw.random() < 0.2 else names[int(draw.integers(count))]
        row = halt(name, int(draw.choice([0, 1, 5, 5, 9, 2 * CALL_AFTER_HALT_NS])))
        if draw.random() < 0.4:
            row = resume(name)
        elif draw.random() < 0.2:
            now_ns += int(draw.choice([0, 3, CALL_AFTER_HALT_NS]))
            row = clock(now_ns)
        assert engine.apply(row).tobytes() == reference.apply(row).tobytes()
        engine.check()


@pytest.mark.parametrize("setting", ["volatility=1%/1s/1d", "levels=1%/1d"])
def test_the_halt_of_a_breaker_may_end_after_the_end_of_time(setting: str, lockstep: Any, tmp_path: Path) -> None:
    """A halt by command may not; the clock has no value at which this one ends."""
    of_instrument = setting if setting.startswith("volatility") else ""
    index = "" if of_instrument else f"index ALL members=XYZ:1 {setting}\n"
    market = tmp_path / "market.txt"
    market.write_text(
        f"at 2116-02-20T23:00:00\ninstrument XYZ tick=0.01 lot=1 reference=10.00 {of_instrument}\nparticipant A\n"
        f"participant B\n{index}phase XYZ continuous\nenter A a1 sell 10 XYZ @ 9.00\nenter B b1 buy 10 XYZ @ 9.00\n"
    )
    assert lockstep("run", market, "--data", tmp_path / "data")[0] == 0
    status, said, wrong = lockstep("doctor", tmp_path / "data")
    assert status == 0, (said, wrong)


@pytest.mark.parametrize("engine", [Engine, ReferenceEngine])
def test_a_call_whose_end_is_after_the_end_of_time_does_not_end(engine: Any) -> None:
    venue = engine(CAPACITY)
    venue.apply(batch(market_of(1), clock(TIME_NS_MAX - 5), halt("XYZ", 5)))
    assert venue.next_due_ns == TIME_NS_MAX
    assert events_of(venue.apply(batch(halt("XYZ", 6), clock(TIME_NS_MAX)))) == [
        "rejected XYZ invalid_command",
        "phase 1 auction",
    ]
    assert venue.next_due_ns == 0
    assert len(venue.apply(clock(TIME_NS_MAX))) == 0
    venue.check()


@pytest.mark.slow
def test_halts_calls_and_limits_outlive_a_restore() -> None:
    rows = random_stream(31, 3_000, hostile=0.05, control=0.05, participants=6)
    capacity = Capacity(orders_max=300, ids_max=4_000, instruments_max=4, participants_max=8)
    whole, pieces = Engine(capacity), Engine(capacity)
    for start in range(0, len(rows), 100):
        whole.apply(rows[start : start + 100])
        pieces.apply(rows[start : start + 100])
        pieces = Engine.restore(capacity, pieces.seq, pieces.event_digest, pieces.parts())
        assert pieces.part_digests() == whole.part_digests()
        for view in ("positions", "participants", "limits", "instruments", "open_orders"):
            assert getattr(pieces, view)().tobytes() == getattr(whole, view)().tobytes()
        assert pieces.next_due_ns == whole.next_due_ns
    assert len(whole.limits()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_command_causes_more_events_than_there_is_room_kept_for(seed: int) -> None:
    """The bound is that of ``apply_batch``."""
    rows = call_stream(seed, 1_500)
    engine = Engine(CAPACITY)
    most = 0
    for start in range(len(rows)):
        open_orders, participants = len(engine.open_orders()), len(engine.participants())
        venue = engine._state.venue[0]
        bound = events_max(
            open_orders, int(venue["slices"]), int(venue["phase_changes"]), participants, int(venue["pegs"])
        )
        count = len(engine.apply(rows[start : start + 1]))
        assert count <= bound
        most = max(most, count)
    assert most > 30


def test_a_day_that_ends_in_many_calls_and_halts_keeps_within_the_room_for_the_events_of_a_command() -> None:
    count = 60
    names = [f"T{at}" for at in range(count)]
    each = range(1, count + 1)
    engine, reference = both(
        batch(
            clock(NOW_NS),
            *(instrument(name) for name in names),
            participant("P1"),
            phase("*", Phase.AUCTION),
            *(enter(1, 10 * at, BUY, 9, 100_000, at) for at in each),
            *(enter(1, 10 * at + 1, SELL, 9, 100_000, at, TimeInForce.GTC) for at in each),
            *(enter(1, 10 * at + 2, BUY, 5, 100_000, at, TimeInForce.GTC) for at in each),
            *(halt(name, DAY_NS // 2) for name in names[::2]),
        )
    )
    end = clock(NOW_NS + DAY_NS)
    answers = engine.apply(end)
    assert answers.tobytes() == reference.apply(end).tobytes()
    # A cancel of each, an indicative of each that is in a call, then the call of each that was halted, with its own.
    assert len(answers) == count + count // 2 + 2 * (count // 2) <= events_max(2 * count, 0, count, 1, 0)
    engine.check()
    assert engine.participants()["ids_used"].tolist() == reference.participants()["ids_used"].tolist() == [2 * count]


def test_positions_and_limits_are_a_part_of_the_state_of_their_own() -> None:
    engine, _ = both(batch(market_of(2), enter(1, "a", BUY, 10, 100_000)))
    before = engine.part_digests()
    engine.apply(limits("P2", max_order_qty=5))
    assert {part for part, digest in engine.part_digests().items() if digest != before[part]} >= {"risk"}
    before = engine.part_digests()
    engine.apply(enter(2, "b", SELL, 5, 100_000))
    changed = {part for part, digest in engine.part_digests().items() if digest != before[part]}
    assert changed == {"venue", "reference", "orders", "ids", "books", "risk", "events"}
    assert engine.positions()[["participant", "position_qty"]].tolist() == [(1, 5), (2, -5)]


def _wrong_position(engine: Engine) -> None:
    engine._state.exposures[4 * (len(engine._state.instruments) + 2)] += 1


def _wrong_notional(engine: Engine) -> None:
    engine._state.participants[0]["open_notional_e4"] += 1


def _wrong_limits(engine: Engine) -> None:
    engine._state.participants[1]["limits_count"] = 0


def _wrong_indicative(engine: Engine) -> None:
    engine._state.instruments[0]["paired_qty"] += 1


def _wrong_calls(engine: Engine) -> None:
    engine._state.venue[0]["calls"] = 0


def _wrong_timer(engine: Engine) -> None:
    engine._state.instruments[1]["due_ns"] += 1


@pytest.mark.parametrize(
    ("spoil", "promise"),
    [
        (_wrong_position, "what one participant holds"),
        (_wrong_notional, "open notional"),
        (_wrong_limits, "whether it has limits"),
        (_wrong_indicative, "the last indicative event of a call"),
        (_wrong_calls, "counts the instruments in a call"),
        (_wrong_timer, "timer"),
    ],
)
def test_a_state_that_is_wrong_is_found(spoil: Any, promise: str) -> None:
    rows = batch(
        market_of(2),
        instrument("ABC"),
        instrument("DEF"),
        phase("*", Phase.CONTINUOUS),
        halt("ABC", 10),
        halt("DEF", 10),
        phase("XYZ", Phase.AUCTION),
        limits("P2", "XYZ", max_order_qty=5),
        enter(1, "a", BUY, 10, 100_000),
    )
    engine, _ = both(rows)
    engine.check()
    spoil(engine)
    with pytest.raises(InvariantError, match=promise):
        engine.check()


@pytest.mark.slow
@pytest.mark.parametrize("engine", [Engine, ReferenceEngine])
def test_a_deep_crossed_book_with_market_orders_has_the_price_of_the_whole_of_it(engine: Any) -> None:
    """Far from the market only what the other side's market orders leave decides."""
    venue = engine(Capacity(orders_max=4_000, ids_max=8_000, instruments_max=1, participants_max=4))
    venue.apply(market_of(3, opening=Phase.OPENING_AUCTION))
    for at in range(300):
        venue.apply(enter(1, 10_000 + at, SELL, 1, 100_000 + 7_700 * at))
        venue.apply(enter(2, 20_000 + at, BUY, 1, 99_900 - 300 * at))
    said = venue.apply(enter(3, "m", BUY, 250, None))
    assert events_of(said)[1:] == [f"indicative 1 250 @ {100_000 + 7_700 * 249} 0 0"]
    said = venue.apply(enter(3, "n", SELL, 100, None))
    assert said["kind"].tolist() == [EventKind.ACCEPTED, EventKind.INDICATIVE]
    venue.check()
    assert events_of(venue.apply(batch(halt("XYZ"), resume("XYZ"))))[:2] == ["halted 1 command", "phase 1 auction"]
    venue.check()
