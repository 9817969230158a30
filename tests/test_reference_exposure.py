"""Positions, open quantity, open notional and the position limit (section 8, section 13: 21, 23): the reference.

``Held`` below is position, open buys, open sells. ``check()`` counts all sums afresh.
"""

import pytest

from engine.bounds import INT64_MAX, PRICE_E4_MAX, QTY_MAX
from engine.records import Phase, SelfTrade, TimeInForce
from engine.reference import ReferenceEngine
from engine.views import PARTICIPANT_STATE, POSITION
from tests.limit_rows import OFF, emergency_close, limits, told
from tests.rows import (
    BUY,
    DAY_NS,
    NANOSECONDS_2024_01_15_0930,
    SELL,
    Rows,
    batch,
    cancel,
    clock,
    enter,
    instrument,
    kill,
    market_of,
    mass_cancel,
    phase,
    replace,
)

IOC, GTC = TimeInForce.IOC, TimeInForce.GTC
TOP = PRICE_E4_MAX // 100 * 100

Held = dict[tuple[int, int], tuple[int, int, int]]


def _market(opening: int = Phase.CONTINUOUS) -> ReferenceEngine:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(3, opening=opening), instrument("ABC"), phase("ABC", Phase.CONTINUOUS)))
    return engine


def _held(engine: ReferenceEngine) -> Held:
    engine.check()
    rows = engine.positions()
    assert rows.dtype == POSITION
    return {(one, two): (held, buys, sells) for one, two, held, buys, sells in rows.tolist()}


def _open_e4(engine: ReferenceEngine) -> list[int]:
    engine.check()
    values: list[int] = engine.participants()["open_notional_e4"].tolist()
    return values


STEPS: list[tuple[Rows, Held, list[int]]] = [
    (enter(1, "a1", BUY, 100, 90_000), {(1, 1): (0, 100, 0)}, [9_000_000, 0, 0]),
    (
        enter(2, "b1", SELL, 30, 80_000),
        {(1, 1): (30, 70, 0), (2, 1): (-30, 0, 0)},
        [6_300_000, 0, 0],
    ),
    (
        replace(1, "a1", "a2", 80, 90_000),
        {(1, 1): (30, 50, 0), (2, 1): (-30, 0, 0)},
        [4_500_000, 0, 0],
    ),
    (
        replace(1, "a2", "a3", 90, 70_000),
        {(1, 1): (30, 60, 0), (2, 1): (-30, 0, 0)},
        [4_200_000, 0, 0],
    ),
    (
        cancel(1, "a3", qty=50),
        {(1, 1): (30, 20, 0), (2, 1): (-30, 0, 0)},
        [1_400_000, 0, 0],
    ),
    (
        enter(1, "a4", SELL, 10, 95_000, 2),
        {(1, 1): (30, 20, 0), (1, 2): (0, 0, 10), (2, 1): (-30, 0, 0)},
        [2_350_000, 0, 0],
    ),
    (
        enter(3, "c1", BUY, 25, 99_000, 2, tif=IOC),
        {(1, 1): (30, 20, 0), (1, 2): (-10, 0, 0), (2, 1): (-30, 0, 0), (3, 2): (10, 0, 0)},
        [1_400_000, 0, 0],
    ),
    (
        cancel(1, "a3"),
        {(1, 1): (30, 0, 0), (1, 2): (-10, 0, 0), (2, 1): (-30, 0, 0), (3, 2): (10, 0, 0)},
        [0, 0, 0],
    ),
    (
        batch(enter(1, "a5", SELL, 30, 50_000), enter(2, "b2", BUY, 40, 50_000)),
        {(1, 2): (-10, 0, 0), (2, 1): (0, 10, 0), (3, 2): (10, 0, 0)},
        [0, 500_000, 0],
    ),
    (
        mass_cancel("P2"),
        {(1, 2): (-10, 0, 0), (3, 2): (10, 0, 0)},
        [0, 0, 0],
    ),
]


def test_positions_and_open_sums_move_with_every_accept_trade_cancel_and_replace() -> None:
    engine = _market()
    assert _held(engine) == {}
    for rows, held, open_e4 in STEPS:
        engine.apply(rows)
        assert (_held(engine), _open_e4(engine)) == (held, open_e4)


@pytest.mark.parametrize("stp", SelfTrade)
def test_only_what_trades_moves_a_position(stp: SelfTrade) -> None:
    engine = _market()
    engine.apply(batch(enter(1, "a1", SELL, 30, 90_000), enter(1, "a2", BUY, 50, 90_000, stp=stp)))
    left: dict[SelfTrade, tuple[int, int]] = {
        SelfTrade.CANCEL_NEWEST: (0, 30),
        SelfTrade.CANCEL_OLDEST: (50, 0),
        SelfTrade.CANCEL_BOTH: (0, 0),
        SelfTrade.DECREMENT: (20, 0),
        SelfTrade.NONE: (20, 0),  # it traded with itself: bought as much as it sold
    }
    buys, sells = left[stp]
    assert _held(engine) == ({(1, 1): (0, buys, sells)} if buys or sells else {})
    assert _open_e4(engine)[0] == 90_000 * (buys + sells)


def test_decrement_takes_off_what_is_open_of_an_order_that_stays() -> None:
    engine = _market()
    engine.apply(enter(1, "a1", SELL, 30, 90_000))
    engine.apply(enter(1, "a2", BUY, 10, 95_000, stp=SelfTrade.DECREMENT))
    assert (_held(engine), _open_e4(engine)) == ({(1, 1): (0, 0, 20)}, [1_800_000, 0, 0])
    # What was taken off is neither executed nor open, and a replace may ask for it again.
    engine.apply(replace(1, "a1", "a3", 30, 90_000))
    assert (_held(engine), _open_e4(engine)) == ({(1, 1): (0, 0, 30)}, [2_700_000, 0, 0])


def test_an_uncross_moves_positions_whoever_is_on_both_sides() -> None:
    engine = _market(Phase.PRE_OPEN)
    engine.apply(
        batch(
            enter(1, "a1", BUY, 50, 101_000),
            enter(1, "a2", SELL, 20, 99_000),
            enter(2, "b1", SELL, 40, None),
            enter(3, "c1", BUY, 5, None),
        )
    )
    assert _held(engine) == {(1, 1): (0, 50, 20), (2, 1): (0, 0, 40), (3, 1): (0, 5, 0)}
    assert _open_e4(engine) == [50 * 101_000 + 20 * 99_000, 40 * 100_000, 5 * 100_000]
    engine.apply(phase("XYZ", Phase.CONTINUOUS))
    assert _held(engine) == {(1, 1): (35, 0, 5), (2, 1): (-40, 0, 0), (3, 1): (5, 0, 0)}


@pytest.mark.parametrize("end", [phase("XYZ", Phase.CLOSED), kill("P1"), kill("*"), emergency_close()])
def test_what_goes_at_once_is_no_longer_open(end: Rows) -> None:
    engine = _market(Phase.PRE_OPEN)
    engine.apply(batch(enter(1, "a1", BUY, 50, 101_000), enter(1, "a2", SELL, 20, None)))
    engine.apply(end)
    assert (_held(engine), _open_e4(engine)) == ({}, [0, 0, 0])


def test_positions_and_what_is_open_outlive_the_day() -> None:
    engine = _market()
    engine.apply(batch(enter(1, "a1", BUY, 50, 90_000, tif=GTC), enter(2, "b1", SELL, 20, 90_000)))
    before = _held(engine)
    engine.apply(batch(phase("*", Phase.CLOSED), clock(NANOSECONDS_2024_01_15_0930 + DAY_NS)))
    assert _held(engine) == before == {(1, 1): (20, 30, 0), (2, 1): (-20, 0, 0)}


def test_the_view_of_participants_is_in_order_of_definition() -> None:
    engine = _market()
    engine.apply(batch(enter(2, "b1", BUY, 50, 90_000), enter(2, "b2", BUY, 1, 90_000), kill("P3")))
    rows = engine.participants()
    assert rows.dtype == PARTICIPANT_STATE
    assert rows["open_notional_e4"].tolist() == [0, 51 * 90_000, 0]
    assert rows["orders_open"].tolist() == [0, 2, 0]
    assert rows["permissions"].tolist() == [3, 3, 3]
    assert rows["killed"].tolist() == [0, 0, 1]
    assert not rows["reserved"].any()


def _with_position(position_qty: int) -> ReferenceEngine:
    """P1 holds that much of XYZ, bought from (or sold to) P2 at 10.00."""
    engine = _market()
    side = BUY if position_qty > 0 else SELL
    if position_qty:
        rows = batch(enter(1, "p", side, abs(position_qty), 100_000), enter(2, "q", -side, abs(position_qty), 100_000))
        engine.apply(rows)
    return engine


@pytest.mark.parametrize("mirror", [1, -1], ids=["buy", "sell"])
@pytest.mark.parametrize(("position_qty", "room_qty"), [(0, 100), (40, 60), (100, 0), (-40, 140), (160, 0)])
def test_a_position_limit_counts_the_position_the_open_orders_of_the_side_and_this(
    mirror: int, position_qty: int, room_qty: int
) -> None:
    engine = _with_position(mirror * position_qty)
    engine.apply(limits("P1", max_position_qty=100))
    price = 100_000 - mirror * 1_000
    assert told(engine.apply(enter(1, "a1", mirror, room_qty + 1, price))) == ["rejected a1 position_limit"]
    # The other side does not count, nor what is open in another instrument.
    engine.apply(batch(enter(1, "o", -mirror, 1, 100_000 + mirror * 1_000), enter(1, "i", mirror, 500, price, 2)))
    if room_qty:
        half = room_qty // 2
        rows = batch(enter(1, "a1", mirror, half, price), enter(1, "a2", mirror, room_qty - half, price))
        assert told(engine.apply(rows)) == ["accepted a1", "accepted a2"]
    assert told(engine.apply(enter(1, "a3", mirror, 1, price))) == ["rejected a3 position_limit"]
    engine.check()


def test_a_position_limit_of_nothing_lets_a_position_be_closed_only() -> None:
    engine = _with_position(50)
    engine.apply(limits("P1", "XYZ", max_position_qty=0))
    rows = batch(
        enter(1, "b", BUY, 1, 90_000),
        enter(1, "s1", SELL, 51, 110_000),
        enter(1, "s2", SELL, 50, 110_000),
        enter(1, "s3", SELL, 1, 110_000),
    )
    assert told(engine.apply(rows)) == [
        "rejected b position_limit",
        "rejected s1 position_limit",
        "accepted s2",
        "rejected s3 position_limit",
    ]


def test_the_largest_position_limit_stops_nothing() -> None:
    engine = _with_position(-QTY_MAX)
    engine.apply(limits("P1", max_position_qty=INT64_MAX))
    rows = batch(*(enter(1, f"s{n}", SELL, QTY_MAX, TOP) for n in range(3)))
    assert told(engine.apply(rows)) == ["accepted s0", "accepted s1", "accepted s2"]
    engine.check()


def test_a_replace_takes_its_own_open_quantity_out_of_the_position() -> None:
    engine = _market()
    engine.apply(batch(enter(1, "a1", BUY, 60, 90_000), enter(1, "a2", BUY, 40, 90_000), enter(2, "s", SELL, 10, 100)))
    # a1 has executed 10: position 10, open 50 + 40.
    engine.apply(limits("P1", max_position_qty=100))
    assert told(engine.apply(replace(1, "a1", "a3", 61, 90_000))) == ["rejected a3 position_limit"]
    engine.apply(limits("P1", max_position_qty=105))
    assert told(engine.apply(replace(1, "a1", "x", 65, 90_000))) == ["replaced a1 x 55"]
    assert told(engine.apply(replace(1, "x", "a1b", 60, 90_000))) == ["replaced x a1b 50"]
    engine.apply(limits("P1", max_position_qty=100))
    assert told(engine.apply(replace(1, "a1b", "a3", 60, 90_100))) == ["replaced a1b a3 50"]
    engine.apply(limits("P1", max_position_qty=0))
    assert told(engine.apply(replace(1, "a3", "a4", 61, 90_100))) == ["rejected a4 position_limit"]
    assert told(engine.apply(replace(1, "a3", "a4", 60, 95_000))) == ["replaced a3 a4 50"]
    assert told(engine.apply(replace(1, "a4", "a5", 20, 95_000))) == ["replaced a4 a5 10"]
    assert told(engine.apply(replace(1, "a5", "a6", 21, 95_000))) == ["rejected a6 position_limit"]
    engine.check()


def test_after_a_decrement_a_replace_that_asks_for_it_again_raises() -> None:
    engine = _market()
    engine.apply(batch(enter(1, "a1", SELL, 30, 90_000), enter(1, "x", BUY, 10, 90_000, stp=SelfTrade.DECREMENT)))
    engine.apply(limits("P1", max_position_qty=0, credit_e4=0))
    assert told(engine.apply(replace(1, "a1", "a2", 21, 90_000))) == ["rejected a2 position_limit"]
    engine.apply(limits("P1", max_position_qty=OFF))
    assert told(engine.apply(replace(1, "a1", "a2", 21, 90_000))) == ["rejected a2 credit"]
    assert told(engine.apply(replace(1, "a1", "a2", 20, 90_000))) == ["replaced a1 a2 20"]
    engine.check()


def test_limits_do_not_stop_a_resting_order_from_trading() -> None:
    engine = _market()
    engine.apply(enter(1, "a1", BUY, 10, 100_000))
    engine.apply(limits("P1", max_position_qty=0, credit_e4=0, restricted=True))
    assert told(engine.apply(enter(2, "s", SELL, 10, 100_000))) == ["accepted s", "trade 10 @ 100000 a1 s"]
    assert _held(engine)[1, 1] == (10, 0, 0)
