"""Calls and their indicative events, and the uncross that ends them (section 6, section 13: 25), on the reference.

In a line ``indicative INSTRUMENT QTY @ PRICE IMBALANCE SIDE`` a price of 0 is none.
"""

import random
import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest

from engine.bounds import PRICE_E4_MAX, QTY_MAX, TIME_NS_MAX
from engine.names import pack
from engine.records import EVENT, Book, EventKind, Instruction, Phase, SelfTrade, TimeInForce
from engine.reference import ReferenceEngine
from tests.limit_rows import emergency_close, limits, resume, told
from tests.rows import (
    BUY,
    NANOSECONDS_2024_01_15_0930,
    SELL,
    Rows,
    batch,
    cancel,
    clock,
    enter,
    halt,
    instrument,
    kill,
    market_of,
    mass_cancel,
    phase,
    replace,
)

IOC, FOK, GTC, OPENING, CLOSING = (
    TimeInForce.IOC,
    TimeInForce.FOK,
    TimeInForce.GTC,
    TimeInForce.OPENING,
    TimeInForce.CLOSING,
)
CALLS = (Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION)
TOP = PRICE_E4_MAX // 100 * 100
NOTHING = "indicative 1 0 @ 0 0 none"


def _in(opening: int) -> ReferenceEngine:
    engine = ReferenceEngine()
    engine.apply(market_of(3, opening=opening))
    return engine


CROSSED = batch(enter(1, "b", BUY, 30, 100_200, tif=GTC), enter(2, "s", SELL, 20, 100_100, tif=GTC))
NAMED = [each for each in Phase if each != Phase.HALTED]


@pytest.mark.parametrize("old", Phase)
@pytest.mark.parametrize("new", NAMED)
def test_a_phase_command_goes_from_any_phase_to_any_but_halted(old: Phase, new: Phase) -> None:
    """An uncross comes with entering continuous from any other phase, and with closing_auction to closed."""
    engine = _in(Phase.PRE_OPEN)
    engine.apply(CROSSED)
    if old == Phase.HALTED:
        engine.apply(halt("XYZ"))
    elif old != Phase.CONTINUOUS:
        engine.apply(phase("XYZ", old))
    else:
        engine.apply(batch(phase("XYZ", old), enter(2, "s2", SELL, 20, 100_300, tif=GTC)))
    crossed = old != Phase.CONTINUOUS
    answers = told(engine.apply(phase("XYZ", new)))
    expected = [f"phase 1 {new.name.lower()}"]
    if new != old and crossed:
        if new == Phase.CONTINUOUS or (old, new) == (Phase.CLOSING_AUCTION, Phase.CLOSED):
            expected.append("trade 20 @ 100200 b s")
        elif new in CALLS:
            expected.append("indicative 1 20 @ 100200 10 buy")
    assert answers == expected
    engine.check()


@pytest.mark.parametrize("call", CALLS)
def test_in_a_call_orders_rest_without_matching_and_only_what_can_wait_is_taken(call: Phase) -> None:
    engine = _in(call)
    refused = batch(
        enter(1, "a1", BUY, 0, 100_000, tif=IOC),
        enter(1, "a1", BUY, 0, 100_000, tif=FOK),
        enter(1, "a1", BUY, 0, 100_000, post_only=True),
        enter(1, "a1", BUY, 0, 100_000, book=Book.MIDPOINT),
        enter(1, "a1", BUY, 0, None, tif=IOC),
        enter(1, "a1", BUY, 1, 100_000, tif=OPENING, instructions=Instruction.POST_ONLY),
    )
    assert told(engine.apply(refused)) == ["rejected a1 not_continuous"] * 6
    answers = told(
        engine.apply(batch(enter(1, "a1", BUY, 0, 100, tif=OPENING), enter(1, "a1", BUY, 1, 100, tif=TimeInForce.GTD)))
    )
    opening = "invalid_qty" if call == Phase.OPENING_AUCTION else "not_auction"
    assert answers == [f"rejected a1 {opening}", "rejected a1 invalid_instruction"]
    taken = batch(
        enter(1, "a1", SELL, 10, 100_000),
        enter(2, "b1", BUY, 10, 100_500, tif=GTC),
        enter(1, "a2", BUY, 5, None),
        enter(1, "a3", BUY, 5, 100_000, tif=CLOSING),
    )
    answers = [each for each in told(engine.apply(taken)) if not each.startswith("indicative")]
    assert answers == ["accepted a1", "accepted b1", "accepted a2", "accepted a3"]
    assert len(engine.open_orders()) == 4
    engine.check()


@pytest.mark.parametrize("call", CALLS)
def test_a_resting_post_only_order_cannot_be_replaced_in_a_call(call: Phase) -> None:
    engine = _in(Phase.CONTINUOUS)
    engine.apply(batch(enter(1, "a1", BUY, 5, 100_000, post_only=True), phase("XYZ", call)))
    assert told(engine.apply(replace(1, "a1", "a2", 4, 100_000))) == ["rejected a2 not_continuous"]
    assert told(engine.apply(cancel(1, "a1"))) == ["canceled a1 5 user"]


STEPS: list[tuple[str, Rows, list[str]]] = [
    ("one side only", enter(1, "s1", SELL, 100, 100_000), ["accepted s1"]),
    (
        "both sides",
        enter(2, "b1", BUY, 150, 100_200),
        ["accepted b1", "indicative 1 100 @ 100200 50 buy"],
    ),
    ("no change of what the uncross gives", enter(3, "c1", BUY, 500, 90_000), ["accepted c1"]),
    (
        "the imbalance alone",
        enter(3, "c2", BUY, 1, 100_200),
        ["accepted c2", "indicative 1 100 @ 100200 51 buy"],
    ),
    (
        "a market order",
        enter(3, "c3", SELL, 50, None),
        ["accepted c3", "indicative 1 150 @ 100200 1 buy"],
    ),
    (
        "a cancel that leaves a part",
        cancel(3, "c3", qty=20),
        ["canceled c3 30 user", "indicative 1 120 @ 100200 31 buy"],
    ),
    ("a refused entry", enter(1, "s1", SELL, 100, 100_000), ["rejected s1 duplicate_id"]),
    ("a refused cancel", cancel(1, "c3"), ["cancel_rejected c3 unknown_order"]),
    ("a clock value", clock(NANOSECONDS_2024_01_15_0930 + 1), []),
    ("a row that cannot be interpreted", enter(1, 0, BUY, 1, 1), ["rejected ~0000000000000000 invalid_command"]),
    ("the present phase", phase("XYZ", Phase.OPENING_AUCTION), ["phase 1 opening_auction"]),
    (
        "a replace that keeps its priority",
        replace(2, "b1", "b2", 149, 100_200),
        ["replaced b1 b2 149", "indicative 1 120 @ 100200 30 buy"],
    ),
    (
        "a replace that loses it",
        replace(2, "b2", "b3", 149, 99_000),
        ["replaced b2 b3 149", "indicative 1 20 @ 99000 130 buy"],
    ),
    (
        "a mass cancel, all of it before",
        mass_cancel("P3"),
        ["canceled c1 500 mass_cancel", "canceled c2 1 mass_cancel", "canceled c3 20 mass_cancel", NOTHING],
    ),
    ("nothing again", enter(3, "c4", BUY, 1, 90_000), ["accepted c4"]),
    (
        "something again",
        enter(3, "c5", BUY, 1, None),
        ["accepted c5", "indicative 1 1 @ 100000 99 sell"],
    ),
    ("a kill", kill("P1"), ["killed 1", "canceled s1 100 kill", NOTHING]),
]


def test_an_indicative_event_is_told_last_and_only_when_it_changes() -> None:
    """The imbalance is of the price that the uncross would take, by rules 1 to 4 of section 6."""
    engine = _in(Phase.OPENING_AUCTION)
    for name, rows, answers in STEPS:
        assert told(engine.apply(rows)) == answers, name
        engine.check()


def test_an_indicative_event_has_its_places_and_no_other() -> None:
    engine = _in(Phase.CLOSED)
    engine.apply(batch(instrument("ABC"), phase("ABC", Phase.AUCTION), enter(1, "s", SELL, 7, 100_000, 2)))
    events = engine.apply(batch(enter(2, "b", BUY, 3, None, 2), cancel(2, "b")))
    expected = np.zeros(2, EVENT)
    expected["kind"], expected["instrument"], expected["seq"] = EventKind.INDICATIVE, 2, [engine.seq - 1, engine.seq]
    expected[0]["price_e4"], expected[0]["qty"], expected[0]["imbalance_qty"], expected[0]["side"] = 100_000, 3, 4, -1
    assert events[1::2].tobytes() == expected.tobytes()


def test_the_largest_quantities_are_told() -> None:
    engine = _in(Phase.AUCTION)
    rows = [enter(1, f"b{n}", BUY, QTY_MAX, TOP) for n in range(9)]
    assert len(told(engine.apply(batch(*rows)))) == 9
    answers = told(engine.apply(enter(2, "s", SELL, 1, 100)))
    assert answers == ["accepted s", f"indicative 1 1 @ {TOP} {9 * QTY_MAX - 1} buy"]


def test_in_pre_open_nothing_is_told_and_a_call_that_begins_tells_what_is_there() -> None:
    engine = _in(Phase.PRE_OPEN)
    assert told(engine.apply(CROSSED)) == ["accepted b", "accepted s"]
    first = "indicative 1 20 @ 100200 10 buy"
    assert told(engine.apply(phase("XYZ", Phase.OPENING_AUCTION))) == ["phase 1 opening_auction", first]
    assert told(engine.apply(phase("XYZ", Phase.AUCTION))) == ["phase 1 auction", first]
    assert told(engine.apply(phase("XYZ", Phase.PRE_OPEN))) == ["phase 1 pre_open"]
    assert told(engine.apply(cancel(1, "b"))) == ["canceled b 30 user"]
    assert told(engine.apply(phase("XYZ", Phase.CLOSING_AUCTION))) == ["phase 1 closing_auction"]
    assert told(engine.apply(halt("XYZ"))) == ["halted 1 command"]
    engine.check()


def test_what_ends_a_call_tells_nothing() -> None:
    for end, answers in (
        (phase("XYZ", Phase.CONTINUOUS), ["phase 1 continuous", "trade 20 @ 100200 b s"]),
        (phase("XYZ", Phase.CLOSED), ["phase 1 closed"]),
        (halt("XYZ"), ["halted 1 command"]),
        (emergency_close(), ["phase 1 closed", "canceled b 30 kill", "canceled s 20 kill"]),
    ):
        engine = _in(Phase.OPENING_AUCTION)
        engine.apply(CROSSED)
        assert told(engine.apply(end)) == answers
        engine.check()


def _two(opening: int = Phase.OPENING_AUCTION) -> ReferenceEngine:
    """XYZ and ABC, a bid of P1 in each and an offer of P2 in each, entered in ABC first."""
    engine = _in(opening)
    engine.apply(batch(instrument("ABC"), phase("ABC", opening)))
    for number in (2, 1):
        rows = batch(
            enter(1, f"b{number}", BUY, 5, 100_000, number, tif=GTC),
            enter(2, f"s{number}", SELL, 5, 100_000, number, tif=GTC),
        )
        engine.apply(rows)
    return engine


def test_after_a_command_the_instruments_in_a_call_tell_in_order_of_definition() -> None:
    assert told(_two().apply(mass_cancel("P1"))) == [
        "canceled b2 5 mass_cancel",
        "canceled b1 5 mass_cancel",
        NOTHING,
        "indicative 2 0 @ 0 0 none",
    ]


def test_a_command_that_is_many_tells_after_each_of_them() -> None:
    engine = _two(Phase.PRE_OPEN)
    assert told(engine.apply(phase("*", Phase.AUCTION))) == [
        "phase 1 auction",
        "indicative 1 5 @ 100000 0 none",
        "phase 2 auction",
        "indicative 2 5 @ 100000 0 none",
    ]
    engine.apply(halt("*"))
    assert told(engine.apply(resume("*"))) == [
        "phase 1 auction",
        "indicative 1 5 @ 100000 0 none",
        "phase 2 auction",
        "indicative 2 5 @ 100000 0 none",
    ]
    assert told(engine.apply(kill("*"))) == [
        "killed 1",
        "canceled b2 5 kill",
        "canceled b1 5 kill",
        NOTHING,
        "indicative 2 0 @ 0 0 none",
        "killed 2",
        "canceled s2 5 kill",
        "canceled s1 5 kill",
        "killed 3",
    ]


def test_a_clock_value_by_which_several_things_are_due_tells_after_each_of_them() -> None:
    engine = _two(Phase.PRE_OPEN)
    engine.apply(batch(halt("XYZ", 20), halt("ABC", 10)))
    assert told(engine.apply(clock(NANOSECONDS_2024_01_15_0930 + 100))) == [
        "phase 2 auction",
        "indicative 2 5 @ 100000 0 none",
        "phase 1 auction",
        "indicative 1 5 @ 100000 0 none",
    ]


CLOSING_ORDERS = batch(
    enter(1, "m1", BUY, 10, None),
    enter(2, "d1", SELL, 12, 100_000),
    enter(3, "g1", SELL, 9, 100_100, tif=GTC),
    enter(3, "m2", BUY, 10, None),
    enter(1, "d2", BUY, 5, 99_000),
)


def test_the_closing_uncross_cancels_market_orders_auction_then_day_orders_end_of_day() -> None:
    engine = _in(Phase.CLOSING_AUCTION)
    engine.apply(CLOSING_ORDERS)
    engine.apply(enter(1, "m3", BUY, 4, None))
    assert told(engine.apply(phase("XYZ", Phase.CLOSED))) == [
        "phase 1 closed",
        "trade 10 @ 100100 m1 d1",
        "trade 2 @ 100100 m2 d1",
        "trade 8 @ 100100 m2 g1",
        "trade 1 @ 100100 m3 g1",
        "canceled m3 3 auction",
        "canceled d2 5 end_of_day",
    ]
    assert engine.instruments()["last_trade_e4"].tolist() == [100_100]
    assert len(engine.open_orders()) == 0
    engine.check()


def test_what_is_left_of_a_closing_uncross_and_good_till_canceled_stays() -> None:
    engine = _in(Phase.CLOSING_AUCTION)
    engine.apply(batch(CLOSING_ORDERS, cancel(3, "m2")))
    assert told(engine.apply(phase("XYZ", Phase.CLOSED))) == [
        "phase 1 closed",
        "trade 10 @ 100000 m1 d1",
        "canceled d1 2 end_of_day",
        "canceled d2 5 end_of_day",
    ]
    assert engine.open_orders()["client_order_id"].tolist() == [pack("g1")]


@pytest.mark.parametrize("call", [Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.AUCTION])
def test_from_another_phase_to_closed_nothing_trades_and_market_orders_end_with_the_day(call: Phase) -> None:
    engine = _in(call)
    engine.apply(CLOSING_ORDERS)
    assert told(engine.apply(phase("XYZ", Phase.CLOSED))) == [
        "phase 1 closed",
        "canceled m1 10 end_of_day",
        "canceled d1 12 end_of_day",
        "canceled m2 10 end_of_day",
        "canceled d2 5 end_of_day",
    ]


@pytest.mark.parametrize("call", CALLS)
def test_market_orders_stay_in_the_book_from_call_to_call_and_from_halt_to_call(call: Phase) -> None:
    engine = _in(Phase.PRE_OPEN)
    engine.apply(enter(1, "m1", BUY, 10, None))
    for rows in (phase("XYZ", call), halt("XYZ"), resume("XYZ"), phase("XYZ", Phase.PRE_OPEN), phase("XYZ", call)):
        assert len(told(engine.apply(rows))) == 1
        engine.check()
    answers = told(engine.apply(batch(enter(2, "s", SELL, 3, 90_000), phase("XYZ", Phase.CONTINUOUS))))
    assert answers == [
        "accepted s",
        "indicative 1 3 @ 100000 7 buy",
        "phase 1 continuous",
        "trade 3 @ 100000 m1 s",
        "canceled m1 7 auction",
    ]


def test_self_trade_prevention_does_not_act_in_the_uncross_of_a_call() -> None:
    engine = _in(Phase.CLOSING_AUCTION)
    engine.apply(batch(enter(1, "s", SELL, 5, 100_000), enter(1, "b", BUY, 5, 100_000, stp=SelfTrade.CANCEL_BOTH)))
    assert told(engine.apply(phase("XYZ", Phase.CLOSED))) == ["phase 1 closed", "trade 5 @ 100000 b s"]


def test_limits_hold_in_a_call_and_what_is_refused_tells_nothing() -> None:
    engine = _in(Phase.OPENING_AUCTION)
    engine.apply(batch(limits("P1", max_position_qty=10), enter(2, "s", SELL, 50, 100_000)))
    assert told(engine.apply(enter(1, "m1", BUY, 11, None))) == ["rejected m1 position_limit"]
    assert told(engine.apply(enter(1, "m1", BUY, 10, None))) == ["accepted m1", "indicative 1 10 @ 100000 40 sell"]
    assert told(engine.apply(limits("P1", restricted=True))) == []
    ended = ["canceled s 50 end_of_day", "canceled m1 10 end_of_day", "indicative 1 0 @ 0 0 none"]
    assert told(engine.apply(clock(TIME_NS_MAX))) == ended


@pytest.mark.slow
def test_the_uncross_trades_what_the_last_indicative_event_told() -> None:
    chance = random.Random(20240115)
    for _ in range(150):
        call = chance.choice(CALLS)
        engine = _in(Phase.PRE_OPEN)
        entries = [
            enter(
                chance.randint(1, 3),
                f"o{at}",
                chance.choice((BUY, SELL)),
                chance.randint(1, 50),
                chance.choice((None, *range(99_500, 100_600, 100))),
            )
            for at in range(chance.randint(2, 16))
        ]
        begun = chance.randint(0, len(entries))
        events = engine.apply(batch(*entries[:begun], phase("XYZ", call), *entries[begun:]))
        indicatives = [event for event in events if event["kind"] == EventKind.INDICATIVE]
        end = Phase.CLOSED if call == Phase.CLOSING_AUCTION else Phase.CONTINUOUS
        engine.check()
        trades = [event for event in engine.apply(phase("XYZ", end)) if event["kind"] == EventKind.TRADE]
        last = indicatives[-1] if indicatives else np.zeros(1, EVENT)[0]
        assert sum(int(trade["qty"]) for trade in trades) == last["qty"]
        assert {int(trade["price_e4"]) for trade in trades} == ({int(last["price_e4"])} if trades else set())


def _steps_of_an_order(levels: int) -> int:
    """Lines that run for an entry and a cancel in a call with so many prices a side, all of them crossed."""
    engine = _in(Phase.OPENING_AUCTION)
    rows = [
        enter(who, f"{name}{at}", side, 10, 100_000 + side * 100 * (1 + at))
        for at in range(levels)
        for who, name, side in ((1, "b", BUY), (2, "s", SELL))
    ]
    engine.apply(batch(*rows))
    steps = 0

    def count(_frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    asked = batch(enter(3, "c", BUY, 5, 100_000 + 50 * levels // 100 * 100), cancel(3, "c"))
    before = sys.gettrace()
    sys.settrace(count)
    try:
        answers = engine.apply(asked)
    finally:
        sys.settrace(before)
    assert len(told(answers)) == 4, "both change what is indicative"
    return steps


def test_an_order_in_a_call_takes_no_more_steps_for_more_prices() -> None:
    few, many = _steps_of_an_order(50), _steps_of_an_order(800)
    assert many < 1.5 * few, f"{few} lines at 50 prices a side, {many} at 800"
