"""Section 6 and the halt of section 9 on the reference engine: phases, the uncross and its price, the end of day."""

import itertools
import random
from collections.abc import Sequence

import pytest

from engine.names import pack
from engine.records import Phase, TimeInForce
from engine.reference import ReferenceEngine
from tests.rows import (
    BUY,
    SELL,
    Rows,
    batch,
    cancel,
    enter,
    events_of,
    halt,
    instrument,
    market_of,
    mirrored,
    phase,
    replace,
)

GTC = TimeInForce.GTC

Orders = Sequence[tuple[int, int, int | None]]  # side, quantity, price; None is a market order

# What rests, reference price, tick; and the price by rules 1 to 4 (0: no trade). Orders: side, quantity, price.
UNCROSSES = [
    (
        "the price with the most executable quantity",
        [(BUY, 100, 100_200), (BUY, 100, 100_100), (SELL, 150, 100_000)],
        100_000,
        100_100,
    ),
    ("market orders count at every price", [(BUY, 100, None), (SELL, 100, 100_300)], 100_000, 100_300),
    ("with only market orders the price is the reference", [(BUY, 100, None), (SELL, 70, None)], 100_000, 100_000),
    (
        "the least imbalance of those",
        [(BUY, 100, 100_300), (SELL, 100, 100_000), (SELL, 30, 100_200)],
        100_300,
        100_000,
    ),
    ("all imbalances are buy: the highest", [(BUY, 120, 100_300), (SELL, 100, 100_000)], 100_000, 100_300),
    ("all imbalances are sell: the lowest", [(BUY, 100, 100_300), (SELL, 120, 100_000)], 100_300, 100_000),
    ("no imbalance: the reference inside", [(BUY, 100, 100_300), (SELL, 100, 99_900)], 100_100, 100_100),
    ("no imbalance: the nearest to the reference above", [(BUY, 100, 100_300), (SELL, 100, 99_900)], 100_900, 100_300),
    ("no imbalance: the nearest to the reference below", [(BUY, 100, 100_300), (SELL, 100, 99_900)], 99_000, 99_900),
    ("the reference is rounded down to the tick", [(BUY, 100, 100_300), (SELL, 100, 99_900)], 100_199, 100_100),
    ("not crossed: no trade", [(BUY, 100, 99_900), (SELL, 100, 100_000)], 100_000, 0),
    ("one side only: no trade", [(BUY, 100, 99_900), (BUY, 100, None)], 100_000, 0),
]


def _entries(orders: Orders) -> Rows:
    return batch(*(enter(1 + at % 3, f"o{at}", side, qty, price) for at, (side, qty, price) in enumerate(orders)))


@pytest.mark.parametrize(("name", "orders", "reference_e4", "price_e4"), UNCROSSES, ids=[each[0] for each in UNCROSSES])
def test_the_uncross_price_is_found_by_rules_1_to_4(
    name: str, orders: Orders, reference_e4: int, price_e4: int
) -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(3, opening=Phase.PRE_OPEN, reference_e4=reference_e4))
    engine.apply(_entries(orders))
    trades = engine.apply(phase("XYZ", Phase.CONTINUOUS))
    trades = trades[trades["kind"] == 3]
    assert set(trades["price_e4"].tolist()) == ({price_e4} if price_e4 else set()), name
    assert engine.instruments()["last_trade_e4"].tolist() == [price_e4]
    engine.check()


def test_the_reference_of_an_uncross_is_at_least_one_tick() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2, opening=Phase.PRE_OPEN, reference_e4=60, tick_e4=100))
    rows = batch(enter(1, "a1", BUY, 1, None), enter(2, "b1", SELL, 1, None), phase("XYZ", Phase.CONTINUOUS))
    assert events_of(engine.apply(rows))[-1] == "trade 1 @ 100 a1 b1"


def test_the_last_trade_price_is_the_reference_of_the_next_uncross() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2))
    engine.apply(batch(enter(1, "a1", BUY, 1, 123_400), enter(2, "b1", SELL, 1, 123_400), phase("XYZ", Phase.PRE_OPEN)))
    rows = batch(enter(1, "a2", BUY, 1, None), enter(2, "b2", SELL, 1, None), phase("XYZ", Phase.CONTINUOUS))
    assert events_of(engine.apply(rows))[-1] == "trade 1 @ 123400 a2 b2"


@pytest.mark.parametrize("mirror", [False, True], ids=["as written", "mirrored"])
def test_an_uncross_trades_market_orders_first_then_price_then_time(mirror: bool) -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(3, opening=Phase.PRE_OPEN))
    rows = batch(
        enter(1, "b1", BUY, 100, 100_000),
        enter(1, "b2", BUY, 100, 100_100),
        enter(1, "b3", BUY, 100, 100_100),
        enter(1, "b4", BUY, 50, None),
        enter(1, "s1", SELL, 200, 100_000),
        enter(2, "s2", SELL, 70, 99_900),
        enter(3, "s3", SELL, 10, 100_100),
    )
    engine.apply(mirrored(rows) if mirror else rows)
    answers = events_of(engine.apply(phase("XYZ", Phase.CONTINUOUS)), 100_000 if mirror else None)
    assert answers == [
        "phase 1 continuous",
        "trade 50 @ 100000 b4 s2",
        "trade 20 @ 100000 b2 s2",
        "trade 80 @ 100000 b2 s1",
        "trade 100 @ 100000 b3 s1",
        "trade 20 @ 100000 b1 s1",
    ]
    engine.check()
    assert sorted(engine.open_orders()["leaves_qty"].tolist()) == [10, 80]


def test_what_is_left_of_market_orders_is_canceled_auction_in_order_of_acceptance() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2, opening=Phase.PRE_OPEN))
    rows = batch(
        enter(1, "m1", BUY, 10, None),
        enter(2, "m2", BUY, 10, None),
        enter(1, "m3", BUY, 10, None),
        replace(1, "m1", "m4", 20, None),
        enter(2, "s1", SELL, 15, 100_000),
    )
    engine.apply(rows)
    assert events_of(engine.apply(phase("XYZ", Phase.CONTINUOUS))) == [
        "phase 1 continuous",
        "trade 10 @ 100000 m2 s1",
        "trade 5 @ 100000 m3 s1",
        "canceled m4 20 auction",
        "canceled m3 5 auction",
    ]
    engine.check()


def test_market_orders_are_canceled_auction_where_nothing_trades() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2, opening=Phase.PRE_OPEN))
    engine.apply(enter(1, "m1", BUY, 10, None))
    answers = events_of(engine.apply(phase("XYZ", Phase.CONTINUOUS)))
    assert answers == ["phase 1 continuous", "canceled m1 10 auction"]


@pytest.mark.parametrize("left", [Phase.PRE_OPEN, Phase.CLOSED, Phase.HALTED])
def test_an_instrument_uncrosses_when_it_enters_continuous_from_any_other_phase(left: Phase) -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2, opening=Phase.PRE_OPEN))
    engine.apply(batch(enter(1, "a1", BUY, 10, 100_000, tif=GTC), enter(2, "b1", SELL, 10, 100_000, tif=GTC)))
    engine.apply(halt("XYZ") if left == Phase.HALTED else phase("XYZ", left))
    answers = events_of(engine.apply(phase("XYZ", Phase.CONTINUOUS)))
    assert answers == ["phase 1 continuous", "trade 10 @ 100000 a1 b1"]


def test_a_participant_trades_with_itself_in_an_uncross() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1, opening=Phase.PRE_OPEN))
    engine.apply(batch(enter(1, "s", SELL, 10, 100_000), enter(1, "b", BUY, 10, 100_000)))
    trade = engine.apply(phase("XYZ", Phase.CONTINUOUS))[1]
    assert (trade["client_order_id"], trade["contra_client_order_id"], trade["side"]) == (pack("b"), pack("s"), 0)
    assert (trade["participant"], trade["contra_participant"], trade["trade_number"]) == (1, 1, 1)


def test_day_orders_are_canceled_end_of_day_in_order_of_acceptance_and_gtc_stays() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2, opening=Phase.PRE_OPEN))
    engine.apply(
        batch(
            enter(1, "a1", SELL, 10, 100_300),
            enter(2, "b1", BUY, 10, 99_000),
            enter(1, "a2", SELL, 10, 100_300, tif=GTC),
            enter(2, "b2", BUY, 10, None),
            replace(1, "a1", "a3", 20, 100_200),
        )
    )
    answers = events_of(engine.apply(batch(phase("XYZ", Phase.CLOSED), phase("XYZ", Phase.CLOSED))))
    assert answers == [
        "phase 1 closed",
        "canceled a3 20 end_of_day",
        "canceled b1 10 end_of_day",
        "canceled b2 10 end_of_day",
        "phase 1 closed",
    ]
    assert engine.open_orders()["client_order_id"].tolist() == [pack("a2")]


def test_the_present_phase_is_answered_and_changes_nothing() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2))
    engine.apply(enter(1, "a1", SELL, 10, 100_000))
    assert events_of(engine.apply(phase("XYZ", Phase.CONTINUOUS))) == ["phase 1 continuous"]
    assert len(engine.open_orders()) == 1


def test_halted_is_no_phase_that_a_command_may_name() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1))
    assert events_of(engine.apply(phase("XYZ", Phase.HALTED))) == ["rejected XYZ invalid_command"]
    assert events_of(engine.apply(phase("ABC", Phase.HALTED))) == ["rejected ABC unknown_instrument"]
    engine.apply(halt("XYZ"))
    assert events_of(engine.apply(phase("XYZ", Phase.HALTED))) == ["rejected XYZ invalid_command"]
    assert engine.instruments()["phase"].tolist() == [Phase.HALTED]


def test_every_instrument_is_one_command_each_in_order_of_definition() -> None:
    engine = ReferenceEngine()
    assert events_of(engine.apply(batch(phase("*", Phase.CONTINUOUS), halt("*")))) == []
    engine.apply(batch(market_of(2, opening=Phase.PRE_OPEN), instrument("ABC"), phase("ABC", Phase.PRE_OPEN)))
    for number in (2, 1):
        engine.apply(
            batch(enter(1, f"b{number}", BUY, 1, 100_000, number), enter(2, f"s{number}", SELL, 1, 100_000, number))
        )
    assert events_of(engine.apply(phase("*", Phase.CONTINUOUS))) == [
        "phase 1 continuous",
        "trade 1 @ 100000 b1 s1",
        "phase 2 continuous",
        "trade 1 @ 100000 b2 s2",
    ]
    answers = events_of(engine.apply(phase("*", Phase.HALTED)))
    assert answers == ["rejected XYZ invalid_command", "rejected ABC invalid_command"]


def test_a_halt_is_answered_each_time_and_a_closed_instrument_is_skipped_or_rejected() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(2), instrument("ABC")))
    engine.apply(enter(1, "a1", SELL, 10, 100_000))
    answers = events_of(engine.apply(batch(halt("XYZ"), halt("XYZ"), halt("ABC"), halt("*"), halt("NONE"))))
    assert answers == [
        "halted 1 command",
        "halted 1 command",
        "rejected ABC closed",
        "halted 1 command",
        "rejected NONE unknown_instrument",
    ]
    assert events_of(engine.apply(batch(enter(1, "a2", SELL, 1, 100_000), replace(1, "a1", "a2", 1, 100_000)))) == [
        "rejected a2 halted",
        "rejected a2 halted",
    ]
    assert events_of(engine.apply(cancel(1, "a1"))) == ["canceled a1 10 user"]


def _best_price_by_trying_all(orders: Orders, reference_e4: int) -> int:
    """Rules 1 to 4 said a second time, price by price."""
    scored = []
    for price in {reference_e4, *(price for _, _, price in orders if price)}:
        buys = sum(qty for side, qty, limit in orders if side == BUY and (limit is None or limit >= price))
        sells = sum(qty for side, qty, limit in orders if side == SELL and (limit is None or limit <= price))
        scored.append((-min(buys, sells), abs(buys - sells), buys - sells, price))
    scored.sort()
    first = [each for each in scored if each[:2] == scored[0][:2]]
    if scored[0][0] == 0:
        return 0
    if first[0][2] > 0:
        return max(each[3] for each in first)
    if first[-1][2] < 0:
        return min(each[3] for each in first)
    return min((abs(each[3] - reference_e4), each[3]) for each in first)[1]


@pytest.mark.slow
def test_a_random_call_uncrosses_at_the_price_that_trying_all_finds_and_is_not_crossed_after() -> None:
    chance = random.Random(20120621)
    for _ in range(300):
        reference_e4 = chance.randrange(99_500, 100_600, 100)
        prices = [None, *range(99_600, 100_500, 100)]
        orders = [
            (chance.choice((BUY, SELL)), chance.randint(1, 9) * 10, chance.choice(prices))
            for _ in range(chance.randint(1, 14))
        ]
        engine = ReferenceEngine()
        engine.apply(market_of(3, opening=Phase.PRE_OPEN, reference_e4=reference_e4))
        engine.apply(_entries(orders))
        events = engine.apply(phase("XYZ", Phase.CONTINUOUS))
        engine.check()
        expected = _best_price_by_trying_all(orders, reference_e4)
        trades = events[events["kind"] == 3]
        assert set(trades["price_e4"].tolist()) == ({expected} if expected else set()), (orders, reference_e4)
        numbers = list(itertools.pairwise(trades["trade_number"].tolist()))
        assert all(later == earlier + 1 for earlier, later in numbers)
