"""Credit: open notional and a margin of positions (section 8, section 13: 21, 23), on the reference engine."""

import pytest

from engine.bounds import BPS_MAX, INT64_MAX, PRICE_E4_MAX, QTY_MAX
from engine.records import Phase, TimeInForce
from engine.reference import ReferenceEngine
from tests.limit_rows import OFF, limits, told
from tests.rows import (
    BUY,
    SELL,
    batch,
    cancel,
    enter,
    instrument,
    market_of,
    phase,
    replace,
)

FOK = TimeInForce.FOK
TOP = PRICE_E4_MAX // 100 * 100
LARGEST = TOP * QTY_MAX


def _market(opening: int = Phase.CONTINUOUS) -> ReferenceEngine:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(3, opening=opening), instrument("ABC"), phase("ABC", Phase.CONTINUOUS)))
    return engine


def _open_e4(engine: ReferenceEngine) -> list[int]:
    engine.check()
    values: list[int] = engine.participants()["open_notional_e4"].tolist()
    return values


def _with_position(position_qty: int) -> ReferenceEngine:
    """P1 holds that much of XYZ, bought from (or sold to) P2 at 10.00."""
    engine = _market()
    side = BUY if position_qty > 0 else SELL
    if position_qty:
        rows = batch(enter(1, "p", side, abs(position_qty), 100_000), enter(2, "q", -side, abs(position_qty), 100_000))
        engine.apply(rows)
    return engine


def test_credit_counts_open_notional_in_all_instruments_and_both_sides_and_this() -> None:
    engine = _market()
    engine.apply(limits("P1", credit_e4=1_000_000))
    rows = batch(
        enter(1, "a1", BUY, 3, 100_000),
        enter(1, "a2", SELL, 3, 120_000, 2),
        enter(1, "a3", BUY, 1, 340_100, 2),
        enter(1, "a4", BUY, 1, 340_000, 2),
    )
    answers = told(engine.apply(rows))
    assert answers[:4] == ["accepted a1", "accepted a2", "rejected a3 credit", "accepted a4"]
    engine.check()


def test_credit_is_passed_when_it_is_met_exactly_and_zero_stops_everything() -> None:
    engine = _market()
    engine.apply(batch(limits("P1", credit_e4=500_000), limits("P2", credit_e4=0)))
    rows = batch(
        enter(1, "a1", BUY, 5, 100_000),
        enter(1, "a2", BUY, 1, 100),
        enter(2, "b1", SELL, 1, 200_000),
        enter(2, "b2", SELL, 1, 100_000, tif=FOK),
    )
    assert told(engine.apply(rows)) == [
        "accepted a1",
        "rejected a2 credit",
        "rejected b1 credit",
        "rejected b2 credit",
    ]


# Margin rate, position bought at 10.00, last price, and what a margin on it comes to.
MARGINS = [
    (None, 100, 100_000, 10_000_000),
    (BPS_MAX, 100, 100_000, 10_000_000),
    (2_000, 100, 100_000, 2_000_000),
    (2_000, -100, 100_000, 2_000_000),
    (2_000, 100, 120_000, 2_400_000),
    (0, 100, 100_000, 0),
    (1, 3, 33_300, 9),  # 9.99, rounded down
    (3_333, 1, 99_900, 33_296),  # 33,296.67
]


@pytest.mark.parametrize(("margin_bps", "position_qty", "last_e4", "margin_e4"), MARGINS)
def test_a_margin_of_the_positions_at_the_reference_price_is_taken_of_the_credit(
    margin_bps: int | None, position_qty: int, last_e4: int, margin_e4: int
) -> None:
    engine = _with_position(position_qty)
    engine.apply(batch(enter(2, "r", BUY, 1, last_e4), enter(3, "s", SELL, 1, last_e4)))
    assert engine.instruments()["last_trade_e4"][0] == last_e4
    engine.apply(limits("P1", credit_e4=margin_e4 + 100))
    if margin_bps is not None:
        engine.apply(limits("P1", margin_bps=margin_bps))
    assert told(engine.apply(enter(1, "a1", BUY, 1, 200, 2))) == ["rejected a1 credit"]
    assert told(engine.apply(enter(1, "a1", BUY, 1, 100, 2))) == ["accepted a1"]
    engine.check()


def test_a_margin_is_rounded_down_once_over_all_instruments() -> None:
    """0.6 and 0.6 of a ten-thousandth make one, not none; and a short position is no less than a long one."""
    engine = ReferenceEngine()
    engine.apply(batch(market_of(2, tick_e4=1), instrument("ABC", tick_e4=1), phase("ABC", Phase.CONTINUOUS)))
    engine.apply(batch(enter(1, "a", BUY, 1, 6_000), enter(2, "b", SELL, 1, 6_000)))
    engine.apply(batch(enter(1, "c", SELL, 1, 6_000, 2), enter(2, "d", BUY, 1, 6_000, 2)))
    engine.apply(limits("P1", margin_bps=1, credit_e4=1))
    assert told(engine.apply(enter(1, "e", BUY, 1, 1, 2))) == ["rejected e credit"]
    engine.apply(limits("P1", margin_bps=1, credit_e4=2))
    assert told(engine.apply(enter(1, "e", BUY, 1, 1, 2))) == ["accepted e"]


def test_margin_off_is_the_whole_value() -> None:
    engine = _with_position(10)
    engine.apply(limits("P1", margin_bps=0, credit_e4=1_000_000))
    assert told(engine.apply(enter(1, "a1", BUY, 1, 100, 2))) == ["accepted a1"]
    engine.apply(limits("P1", margin_bps=OFF))
    assert told(engine.apply(enter(1, "a2", BUY, 1, 100, 2))) == ["rejected a2 credit"]
    assert told(engine.apply(batch(cancel(1, "a1"), limits("P1", credit_e4=1_000_100)))) == ["canceled a1 1 user"]
    assert told(engine.apply(enter(1, "a2", BUY, 1, 100, 2))) == ["accepted a2"]


def test_a_margin_without_a_credit_limit_is_not_looked_at() -> None:
    engine = _with_position(QTY_MAX)
    engine.apply(batch(enter(2, "r", BUY, 1, TOP), enter(3, "s", SELL, 1, TOP), limits("P1", margin_bps=BPS_MAX)))
    assert told(engine.apply(enter(1, "a1", BUY, 1, 100, 2))) == ["accepted a1"]


@pytest.mark.parametrize(("margin_bps", "fits"), [(9, True), (10, False), (BPS_MAX, False), (0, True)])
def test_margin_times_positions_that_would_leave_int64_fails_the_check(margin_bps: int, fits: bool) -> None:
    """10^18 times 9 is within int64, times 10 it is not, whatever is divided after that."""
    engine = _with_position(QTY_MAX)
    engine.apply(batch(enter(2, "r", BUY, 1, TOP), enter(3, "s", SELL, 1, TOP)))
    engine.apply(limits("P1", margin_bps=margin_bps, credit_e4=INT64_MAX))
    answer = told(engine.apply(enter(1, "a1", BUY, 1, 100, 2)))
    assert answer == (["accepted a1"] if fits else ["rejected a1 credit"])
    engine.check()


def test_a_sum_of_positions_that_would_leave_int64_fails_the_check_even_at_a_margin_of_nothing() -> None:
    engine = _market()
    engine.apply(batch(enter(2, "r", BUY, 1, TOP), enter(3, "s", SELL, 1, TOP)))
    for n in range(10):
        assert told(engine.apply(enter(1, f"l{n}", BUY, 1, 100, 2))) == [f"accepted l{n}"]
        engine.apply(cancel(1, f"l{n}"))
        engine.apply(batch(enter(1, f"a{n}", BUY, QTY_MAX, TOP), enter(2, f"b{n}", SELL, QTY_MAX, TOP)))
        engine.apply(limits("P1", margin_bps=0, credit_e4=INT64_MAX))
        answer = told(engine.apply(enter(1, f"m{n}", BUY, 1, 100, 2)))
        if (n + 1) * LARGEST <= INT64_MAX:
            assert answer == [f"accepted m{n}"]
            engine.apply(batch(cancel(1, f"m{n}"), limits("P1", credit_e4=OFF)))
    assert answer == ["rejected m9 credit"]
    assert engine.positions()["position_qty"][0] == 10 * QTY_MAX
    engine.check()


@pytest.mark.parametrize("credit_e4", [None, INT64_MAX])
def test_open_notional_is_never_let_past_int64(credit_e4: int | None) -> None:
    engine = _market()
    if credit_e4 is not None:
        engine.apply(limits("P1", credit_e4=credit_e4))
    full = [enter(1, f"a{n}", BUY, QTY_MAX, TOP) for n in range(9)]
    assert told(engine.apply(batch(*full))) == [f"accepted a{n}" for n in range(9)]
    rest = INT64_MAX - 9 * LARGEST
    assert told(engine.apply(enter(1, "b1", SELL, QTY_MAX, TOP, 2))) == ["rejected b1 credit"]
    assert told(engine.apply(enter(1, "b1", SELL, rest // TOP + 1, TOP, 2))) == ["rejected b1 credit"]
    assert told(engine.apply(enter(1, "b1", SELL, rest // TOP, TOP, 2))) == ["accepted b1"]
    left = INT64_MAX - _open_e4(engine)[0]
    assert told(engine.apply(enter(1, "b2", SELL, 1, left // 100 * 100, 2))) == ["accepted b2"]
    assert told(engine.apply(enter(1, "b3", SELL, 1, 100, 2))) == ["rejected b3 credit"]
    assert told(engine.apply(replace(1, "a0", "c0", QTY_MAX, TOP))) == ["replaced a0 c0 99999999"]
    assert told(engine.apply(replace(1, "b2", "c2", 1, left // 100 * 100 + 100))) == ["rejected c2 credit"]
    assert told(engine.apply(replace(1, "b2", "c2", 1, left // 100 * 100))) == ["replaced b2 c2 1"]
    # Another participant has its own.
    assert told(engine.apply(enter(2, "o", BUY, QTY_MAX, 100))) == ["accepted o"]
    engine.check()


@pytest.mark.parametrize("credit_e4", [None, INT64_MAX])
def test_open_notional_may_be_all_of_int64(credit_e4: int | None) -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1, tick_e4=1))
    if credit_e4 is not None:
        engine.apply(limits("P1", credit_e4=credit_e4))
    engine.apply(batch(*(enter(1, f"a{n}", BUY, QTY_MAX, PRICE_E4_MAX) for n in range(9))))
    rest = INT64_MAX - 9 * QTY_MAX * PRICE_E4_MAX
    engine.apply(enter(1, "b", BUY, rest // PRICE_E4_MAX, PRICE_E4_MAX))
    last = rest % PRICE_E4_MAX
    assert told(engine.apply(enter(1, "c", BUY, 1, last + 1))) == ["rejected c credit"]
    assert told(engine.apply(enter(1, "c", BUY, 1, last))) == ["accepted c"]
    assert _open_e4(engine) == [INT64_MAX]


def test_a_replace_takes_its_own_open_notional_out_of_the_credit() -> None:
    engine = _market()
    engine.apply(batch(enter(1, "a1", BUY, 10, 50_000), enter(1, "a2", BUY, 10, 50_000), enter(2, "s", SELL, 4, 100)))
    # a1 has executed 4 at 5.00: 6 and 10 are open, which is 800,000, and the position's value is 200,000.
    assert _open_e4(engine)[0] == 800_000
    engine.apply(limits("P1", credit_e4=1_000_000))
    assert told(engine.apply(replace(1, "a1", "a3", 11, 50_000))) == ["rejected a3 credit"]
    assert told(engine.apply(replace(1, "a1", "a3", 9, 60_000))) == ["replaced a1 a3 5"]  # 300,000 as before
    assert told(engine.apply(replace(1, "a3", "a4", 9, 60_100))) == ["rejected a4 credit"]
    engine.apply(limits("P1", credit_e4=0))
    assert told(engine.apply(replace(1, "a3", "a4", 14, 30_100))) == ["rejected a4 credit"]
    assert told(engine.apply(replace(1, "a3", "a4", 14, 30_000))) == ["replaced a3 a4 10"]  # does not raise it
    assert told(engine.apply(replace(1, "a4", "a5", 13, 30_000))) == ["replaced a4 a5 9"]
    engine.check()


def test_a_market_order_counts_with_the_reference_price_of_its_entry_for_its_life() -> None:
    engine = _market(Phase.PRE_OPEN)
    engine.apply(batch(limits("P1", credit_e4=1_000_000), enter(1, "m1", BUY, 6, None)))
    assert _open_e4(engine)[0] == 600_000
    assert told(engine.apply(enter(1, "m2", SELL, 5, None))) == ["rejected m2 credit"]
    assert told(engine.apply(replace(1, "m1", "m3", 11, None))) == ["rejected m3 credit"]
    assert told(engine.apply(replace(1, "m1", "m3", 10, None))) == ["replaced m1 m3 10"]
    assert _open_e4(engine)[0] == 1_000_000


def test_a_replace_leaves_the_reference_price_that_a_market_order_was_entered_with() -> None:
    """Nothing trades while a market order waits, so only an uncross before its entry shows which price it has."""
    engine = _market(Phase.PRE_OPEN)
    engine.apply(batch(enter(1, "m1", BUY, 5, None), enter(2, "s", SELL, 9, 120_000)))
    engine.apply(phase("XYZ", Phase.CONTINUOUS))
    assert engine.instruments()["last_trade_e4"][0] == 120_000
    engine.apply(phase("XYZ", Phase.PRE_OPEN))
    engine.apply(enter(1, "m2", BUY, 5, None))
    assert _open_e4(engine)[0] == 600_000
    engine.apply(replace(1, "m2", "m3", 7, None))
    assert _open_e4(engine)[0] == 840_000


def test_an_incoming_market_order_is_held_against_its_credit_with_the_reference_price() -> None:
    engine = _market()
    engine.apply(batch(enter(2, "s", SELL, 10, 500_000), limits("P1", credit_e4=1_000_000)))
    rows = batch(enter(1, "m1", BUY, 11, None), enter(1, "m2", BUY, 10, None))
    assert told(engine.apply(rows)) == ["rejected m1 credit", "accepted m2", "trade 10 @ 500000 s m2"]
    engine.check()
