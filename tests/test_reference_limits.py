"""``limits`` and what they refuse in an entry or a replace (section 8, section 13: 1, 12, 20 to 22), on the reference.

Order rate, position and credit have files of their own.
"""

from typing import Any

import numpy as np
import pytest

from engine.bounds import (
    ADV_QTY_MAX,
    BPS_MAX,
    DAY_NS,
    INT64_MAX,
    PRICE_E4_MAX,
    QTY_MAX,
    RATE_ORDERS_MAX,
    RATE_WINDOW_NS_MAX,
)
from engine.capacity import IDS_MAX_MAX, ORDERS_MAX_MAX
from engine.names import pack
from engine.records import EVENT, CommandKind, EventKind, Limit, Phase, Reason, SelfTrade, TimeInForce, limit_places
from engine.reference import ReferenceEngine
from engine.views import LIMITS_STATE
from tests.limit_rows import OFF, limits, told
from tests.rows import (
    BUY,
    SELL,
    Rows,
    batch,
    cancel,
    clock,
    enter,
    extend,
    instrument,
    market_of,
    participant,
    phase,
    replace,
    row,
)

IOC, FOK, GTC = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTC
LEAST = -(2**63)


def _market(*set_before: Rows, **terms: int) -> ReferenceEngine:
    """XYZ and ABC in continuous trading, P1 to P3, and what is given."""
    engine = ReferenceEngine()
    engine.apply(batch(market_of(3, **terms), instrument("ABC", adv_qty=1_000), phase("ABC", Phase.CONTINUOUS)))
    for rows in set_before:
        assert told(engine.apply(rows)) == []
    return engine


def _limits_row(named: int, off: int = 0, **places: int) -> Rows:
    return row(CommandKind.LIMITS, name=pack("P1"), **limit_places(named, off), **places)


QTY, VALUE, RATE, POSITION = Limit.MAX_ORDER_QTY, Limit.MAX_ORDER_VALUE, Limit.ORDER_RATE, Limit.MAX_POSITION
CREDIT, MARGIN, ADV, RESTRICTED = Limit.CREDIT, Limit.MARGIN, Limit.ADV, Limit.RESTRICTED
OPEN_ORDERS, IDS = Limit.MAX_OPEN_ORDERS, Limit.MAX_IDS

UNREADABLE: dict[str, Rows] = {
    **{f"{each.name} off without its own bit": _limits_row(0, each) for each in Limit},
    "a bit of off beside others": _limits_row(RESTRICTED, RESTRICTED | QTY),
    "max_order_qty not named": _limits_row(0, max_order_qty=1),
    "max_order_value not named": _limits_row(0, max_order_value_e4=1),
    "max_position not named": _limits_row(0, max_position_qty=-1),
    "credit not named": _limits_row(QTY, credit_e4=1, max_order_qty=1),
    "max_order_qty that is off": _limits_row(QTY, QTY, max_order_qty=1),
    "max_order_value that is off": _limits_row(VALUE, VALUE, max_order_value_e4=1),
    "max_position that is off": _limits_row(POSITION, POSITION, max_position_qty=1),
    "credit that is off": _limits_row(CREDIT, CREDIT, credit_e4=1),
    **{
        f"{place} not named": batch(row(CommandKind.EXTEND, **{place: 1}), _limits_row(0))
        for place in ("rate_orders", "rate_window_ns", "margin_bps", "adv_share_bps", "max_open_orders", "max_ids")
    },
    **{
        f"{place} that is off": batch(row(CommandKind.EXTEND, **{place: 1}), _limits_row(each, each))
        for place, each in (
            ("rate_orders", RATE),
            ("rate_window_ns", RATE),
            ("margin_bps", MARGIN),
            ("adv_share_bps", ADV),
            ("max_open_orders", OPEN_ORDERS),
            ("max_ids", IDS),
        )
    },
    **{
        f"{place} of the further row": batch(extend(**{place: value}), limits("P1", max_order_qty=1))
        for place, value in (("new_token_head", 1), ("new_token_tail", LEAST))
    },
    "order rate beside a symbol": limits("P1", "XYZ", order_rate=(1, 1)),
    "order rate off beside a symbol": limits("P1", "XYZ", order_rate=OFF),
    "credit beside a symbol": limits("P1", "XYZ", credit_e4=1),
    "credit off beside a symbol": limits("P1", "XYZ", credit_e4=OFF, max_order_qty=5),
    "margin beside a symbol": limits("P1", "XYZ", margin_bps=1),
    "margin off beside a symbol that is unknown": limits("P1", "NONE", margin_bps=OFF),
    "a limit that there is none of": _limits_row(1_024),
    "max_open_orders beside a symbol": limits("P1", "XYZ", max_open_orders=1),
    "max_ids off beside a symbol": limits("P1", "XYZ", max_ids=OFF),
    "order rate without a further row": _limits_row(RATE),
    "max_ids without a further row": _limits_row(IDS),
    **{f"max_open_orders {at}": limits("P1", max_open_orders=at) for at in (0, -1, LEAST, ORDERS_MAX_MAX + 1)},
    **{f"max_ids {at}": limits("P1", max_ids=at) for at in (0, -1, LEAST, IDS_MAX_MAX + 1)},
    "order rate without a window": limits("P1", order_rate=(1, 0)),
    "order rate without orders": limits("P1", order_rate=(0, 1)),
    "order rate of too many": limits("P1", order_rate=(RATE_ORDERS_MAX + 1, 1)),
    "order rate of a longer window": limits("P1", order_rate=(1, RATE_WINDOW_NS_MAX + 1)),
    **{f"order rate {at}": limits("P1", order_rate=(at, at)) for at in (-1, LEAST, INT64_MAX)},
    **{f"max_order_qty {at}": limits("P1", max_order_qty=at) for at in (0, -1, LEAST, QTY_MAX + 1, INT64_MAX)},
    **{f"max_order_value {at}": limits("P1", max_order_value_e4=at) for at in (0, -1, LEAST)},
    **{f"max_position {at}": limits("P1", max_position_qty=at) for at in (-1, LEAST)},
    **{f"credit {at}": limits("P1", credit_e4=at) for at in (-1, LEAST)},
    **{f"margin {at}": limits("P1", margin_bps=at) for at in (-1, LEAST, BPS_MAX + 1, INT64_MAX)},
    **{f"adv {at}": limits("P1", adv_share_bps=at) for at in (-1, LEAST, BPS_MAX + 1, INT64_MAX)},
    "a value out of bounds of one that is unknown": limits("P1", "NONE", max_order_qty=0),
    "one of two values out of bounds": limits("P1", max_order_qty=1, max_position_qty=-1),
}


@pytest.mark.parametrize("command", UNREADABLE.values(), ids=UNREADABLE)
def test_limits_that_cannot_be_interpreted_or_are_out_of_bounds_are_answered_with_the_name_alone(command: Rows) -> None:
    engine = _market(limits("P1", max_order_qty=7, credit_e4=8))
    before = engine.limits().tobytes()
    answer = engine.apply(command)
    expected = np.zeros(1, EVENT)
    expected["seq"], expected["kind"] = engine.seq, EventKind.REJECTED
    expected["client_order_id"], expected["reason"] = pack("P1"), Reason.INVALID_COMMAND
    assert answer.tobytes() == expected.tobytes()
    assert engine.limits().tobytes() == before
    engine.check()


def _state(**values: int) -> dict[str, int]:
    return {name: values.get(name, 0) for name in LIMITS_STATE.names or ()}


BOUNDS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    **{
        f"{name} {value}": ({name: value}, {"limits": int(limit), name: value})
        for name, limit, values in (
            ("max_order_qty", QTY, (1, QTY_MAX)),
            ("max_order_value_e4", VALUE, (1, INT64_MAX)),
            ("max_position_qty", POSITION, (0, INT64_MAX)),
            ("credit_e4", CREDIT, (0, INT64_MAX)),
            ("margin_bps", MARGIN, (0, BPS_MAX)),
            ("adv_share_bps", ADV, (0, BPS_MAX)),
            ("max_open_orders", OPEN_ORDERS, (1, ORDERS_MAX_MAX)),
            ("max_ids", IDS, (1, IDS_MAX_MAX)),
        )
        for value in values
    },
    **{
        f"order_rate {orders} in {window}": (
            {"order_rate": (orders, window)},
            {"limits": int(RATE), "rate_orders": orders, "rate_window_ns": window},
        )
        for orders, window in ((1, 1), (RATE_ORDERS_MAX, RATE_WINDOW_NS_MAX))
    },
    "restricted": ({"restricted": True}, {"limits": int(RESTRICTED)}),
}


@pytest.mark.parametrize(("given", "state"), BOUNDS.values(), ids=BOUNDS)
def test_a_limit_may_be_at_its_bounds_is_seen_and_taken_away_by_off(
    given: dict[str, Any], state: dict[str, int]
) -> None:
    engine = _market(limits("P2", **given))
    rows = engine.limits()
    assert rows.dtype == LIMITS_STATE
    assert [dict(zip(rows.dtype.names, each, strict=True)) for each in rows.tolist()] == [
        _state(participant=2, **state)
    ]
    engine.check()
    taken = {name: False if name == "restricted" else OFF for name in given}
    assert told(engine.apply(limits("P2", **taken))) == []
    assert len(engine.limits()) == 0


def test_margin_and_share_without_a_further_row_are_zero() -> None:
    engine = _market(_limits_row(MARGIN | ADV))
    assert engine.limits().tolist() == [(1, 0, MARGIN | ADV, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]


def test_a_further_row_of_zeros_and_one_that_another_took_are_none() -> None:
    engine = _market(batch(extend(), limits("P1", max_order_qty=5)))
    rows = batch(limits("P1", margin_bps=5)[:1], cancel(1, "x"), limits("P1", max_order_qty=6))
    assert told(engine.apply(rows)) == ["cancel_rejected x unknown_order"]
    rows = batch(limits("P1", margin_bps=5)[:1], limits("P2", margin_bps=6))
    assert told(engine.apply(rows)) == []
    assert engine.limits()[["participant", "max_order_qty", "margin_bps"]].tolist() == [(1, 6, 0), (2, 0, 6)]


def test_an_unknown_participant_is_told_before_an_unknown_instrument() -> None:
    engine = _market()
    rows = batch(limits("NO", "NONE"), limits("P1", "NONE"), limits(0), limits("XYZ"), limits("P1", "P1"))
    answers = engine.apply(rows)
    assert told(answers) == [
        "rejected NO unknown_participant",
        "rejected NONE unknown_instrument",
        "rejected ~0000000000000000 unknown_participant",
        "rejected XYZ unknown_participant",
        "rejected P1 unknown_instrument",
    ]
    assert not answers["participant"].any()
    assert not answers["instrument"].any()


def test_limits_given_again_replace_what_they_name_and_nothing_else() -> None:
    engine = _market(limits("P1", max_order_qty=5, credit_e4=9, order_rate=(1, 2), restricted=True))
    before = engine.limits().tobytes()
    engine.apply(batch(limits("P1"), limits("P1", "XYZ")))
    assert engine.limits().tobytes() == before
    engine.apply(limits("P1", max_order_qty=6, max_position_qty=0, credit_e4=OFF))
    engine.apply(limits("P1", "ABC", max_order_qty=7, adv_share_bps=1, restricted=False))
    engine.apply(limits("P1", "XYZ", restricted=True))
    assert engine.limits().tolist() == [
        (1, 0, QTY | RATE | POSITION | RESTRICTED, 6, 0, 1, 2, 0, 0, 0, 0, 0, 0),
        (1, 1, RESTRICTED, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 2, QTY | ADV, 7, 0, 0, 0, 0, 0, 0, 1, 0, 0),
    ]
    engine.check()


def test_what_is_set_for_the_instrument_goes_before_field_by_field_until_it_is_off() -> None:
    engine = _market(
        limits("P1", max_order_qty=5, max_order_value_e4=10 * 100_000),
        limits("P1", "XYZ", max_order_qty=20),
    )

    def answers(*entries: Rows) -> list[str]:
        return [each.split(" ", 2)[2] if "rejected" in each else "" for each in told(engine.apply(batch(*entries)))]

    entries = (enter(1, "a", BUY, 6, 100_000, 2), enter(1, "b", BUY, 10, 100_000), enter(1, "c", BUY, 11, 100_000))
    assert answers(*entries) == ["max_order_qty", "", "max_order_value"]
    engine.apply(limits("P1", "XYZ", max_order_qty=OFF, max_order_value_e4=1))
    entries = (enter(1, "d", BUY, 6, 100), enter(1, "e", BUY, 5, 100), enter(1, "f", BUY, 5, 100, 2))
    assert answers(*entries) == ["max_order_qty", "max_order_value", ""]


def test_a_restriction_in_either_restricts() -> None:
    engine = _market(limits("P1", restricted=True), limits("P1", "XYZ", restricted=False))
    engine.apply(limits("P2", "XYZ", restricted=True))
    rows = batch(
        *(enter(1, f"a{n}", BUY, 1, 100, n) for n in (1, 2)), *(enter(2, f"b{n}", BUY, 1, 100, n) for n in (1, 2))
    )
    assert told(engine.apply(rows)) == [
        "rejected a1 restricted",
        "rejected a2 restricted",
        "rejected b1 restricted",
        "accepted b2",
    ]
    engine.apply(batch(limits("P1", restricted=False), limits("P2", "XYZ", restricted=False)))
    rows = batch(enter(1, "a1", BUY, 1, 100), enter(2, "b1", BUY, 1, 100))
    assert told(engine.apply(rows)) == ["accepted a1", "accepted b1"]


# Each limit alone, an entry that meets it exactly and one that goes past it.
EDGES: dict[str, tuple[Rows, Rows, Rows, str]] = {
    "max_order_qty": (
        limits("P1", max_order_qty=100),
        enter(1, "a", BUY, 100, 100),
        enter(1, "b", BUY, 101, 100),
        "max_order_qty",
    ),
    "max_order_value": (
        limits("P1", max_order_value_e4=1_000_000),
        enter(1, "a", SELL, 5, 200_000),
        enter(1, "b", SELL, 5, 200_100),
        "max_order_value",
    ),
    "max_order_value of a market order": (
        limits("P1", max_order_value_e4=500_000),
        enter(1, "a", BUY, 5, None),
        enter(1, "b", BUY, 6, None),
        "max_order_value",
    ),
    "max_order_value of the largest order": (
        limits("P1", max_order_value_e4=PRICE_E4_MAX // 100 * 100 * QTY_MAX - 1),
        enter(1, "a", BUY, QTY_MAX - 1, PRICE_E4_MAX // 100 * 100),
        enter(1, "b", BUY, QTY_MAX, PRICE_E4_MAX // 100 * 100),
        "max_order_value",
    ),
    "adv": (
        limits("P1", adv_share_bps=1_234),
        enter(1, "a", BUY, 123, 100, 2),
        enter(1, "b", BUY, 124, 100, 2),
        "adv",
    ),
    "adv of an instrument": (
        limits("P1", "ABC", adv_share_bps=10),
        enter(1, "a", BUY, 1, 100, 2),
        enter(1, "b", BUY, 2, 100, 2),
        "adv",
    ),
    "adv of nothing": (
        limits("P1", adv_share_bps=0),
        enter(1, "a", BUY, QTY_MAX, 100, 1),
        enter(1, "b", BUY, 1, 100, 2),
        "adv",
    ),
}


@pytest.mark.parametrize(("limit", "met", "passed", "reason"), EDGES.values(), ids=EDGES)
def test_a_limit_is_passed_when_it_is_met_exactly(limit: Rows, met: Rows, passed: Rows, reason: str) -> None:
    engine = _market(limit)
    assert told(engine.apply(met))[0] == "accepted a"
    assert told(engine.apply(passed)) == [f"rejected b {reason}"]
    engine.check()


def test_the_largest_volume_times_the_largest_share_fits() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(1, adv_qty=ADV_QTY_MAX), limits("P1", adv_share_bps=BPS_MAX)))
    assert told(engine.apply(enter(1, "a", BUY, QTY_MAX, 100))) == ["accepted a"]


def _limited() -> ReferenceEngine:
    """P1 has every limit and may do nothing special, so that one entry can break all of them."""
    engine = ReferenceEngine()
    engine.apply(
        batch(
            clock(),
            instrument("XYZ", adv_qty=1_000),
            participant("P1", permissions=0),
            participant("P2"),
            phase("XYZ", Phase.CONTINUOUS),
            enter(2, "b1", SELL, 1, 100_000),
            limits("P1", "XYZ", max_order_qty=100, max_order_value_e4=100 * 100_000, max_position_qty=100),
            limits("P1", order_rate=(1, 1), credit_e4=100 * 100_000, adv_share_bps=1_000),
        )
    )
    return engine


# What is taken away before each entry, and the reason that is then the first: the order of section 8.
ORDER: list[tuple[Rows, str]] = [
    (limits("P1", "XYZ", restricted=True), "restricted"),
    (limits("P1", "XYZ", restricted=False), "stp_not_permitted"),
    (limits("P1"), "max_order_qty"),
    (limits("P1", "XYZ", max_order_qty=OFF), "max_order_value"),
    (limits("P1", "XYZ", max_order_value_e4=OFF), "order_rate"),
    (limits("P1", order_rate=OFF), "adv"),
    (limits("P1", adv_share_bps=OFF), "position_limit"),
    (limits("P1", "XYZ", max_position_qty=OFF), "credit"),
    (limits("P1", credit_e4=OFF), "would_cross"),
]


def test_the_limits_are_looked_at_in_the_order_of_section_8() -> None:
    engine = _limited()
    for at, (change, reason) in enumerate(ORDER):
        stp = SelfTrade.NONE if reason in ("restricted", "stp_not_permitted") else SelfTrade.CANCEL_NEWEST
        entry = enter(1, "a1", BUY, 101, 100_000, post_only=True, stp=stp)
        assert told(engine.apply(batch(change, entry))) == [f"rejected a1 {reason}"], at
    assert told(engine.apply(enter(1, "a1", BUY, 101, None))) == ["rejected a1 market_not_permitted"]
    engine.apply(batch(limits("P1", restricted=True), enter(1, "a1", BUY, 5, 90_000)))
    assert told(engine.apply(enter(1, "a1", BUY, 101, None))) == ["rejected a1 restricted"]
    assert told(engine.apply(enter(2, "b1", BUY, 101, None))) == ["rejected b1 duplicate_id"]


def test_a_restriction_is_seen_after_the_id_and_before_the_permissions() -> None:
    engine = _limited()
    engine.apply(batch(enter(1, "a1", BUY, 1, 90_000), limits("P1", restricted=True)))
    assert told(engine.apply(enter(1, "a1", BUY, 1, None))) == ["rejected a1 duplicate_id"]
    assert told(engine.apply(enter(1, "a2", BUY, 1, None))) == ["rejected a2 restricted"]


def test_a_replace_is_checked_in_the_same_order_with_the_total_after_its_id_and_open_quantity() -> None:
    engine = _limited()
    engine.apply(limits("P1", order_rate=OFF))
    engine.apply(enter(1, "a1", BUY, 50, 90_000))
    engine.apply(enter(2, "s1", SELL, 20, 90_000, tif=IOC))  # a1 has executed 20, and 30 are open
    engine.apply(batch(limits("P1", "XYZ", restricted=True), limits("P1", order_rate=(1, 1))))
    assert told(engine.apply(replace(1, "zz", "a1", 0, 0))) == ["cancel_rejected zz unknown_order"]
    assert told(engine.apply(replace(1, "a1", "a1", 101, 200_000))) == ["rejected a1 duplicate_id"]
    assert told(engine.apply(replace(1, "a1", "a2", 101, 200_000))) == ["rejected a2 restricted"]
    engine.apply(limits("P1", "XYZ", restricted=False))
    for taken, reason in ORDER[2:8]:
        assert told(engine.apply(batch(taken, replace(1, "a1", "a2", 121, 100_000)))) == [f"rejected a2 {reason}"]
    assert engine.open_orders()["qty"].tolist() == [50, 1]
    engine.check()


def test_a_replace_to_what_was_executed_is_canceled_whatever_the_limits_say() -> None:
    engine = _market()
    engine.apply(batch(enter(1, "a1", BUY, 50, 90_000), enter(2, "s1", SELL, 20, 90_000)))
    engine.apply(limits("P1", restricted=True, max_order_qty=1, order_rate=(1, DAY_NS), credit_e4=0))
    assert told(engine.apply(replace(1, "a1", "a2", 20, 90_000))) == ["canceled a1 30 replaced"]
    assert len(engine.open_orders()) == 0


@pytest.mark.parametrize("qty", [99, 100])
def test_quantity_and_value_of_a_replace_are_of_the_whole_order(qty: int) -> None:
    """Also where the replace takes the order down, so that position and credit pass it."""
    engine = _market()
    engine.apply(batch(enter(1, "a1", BUY, 150, 90_000), enter(2, "s1", SELL, 80, 90_000)))
    engine.apply(limits("P1", max_order_qty=99, max_position_qty=0, credit_e4=0))
    expected = "replaced a1 a2 19" if qty == 99 else "rejected a2 max_order_qty"
    assert told(engine.apply(replace(1, "a1", "a2", qty, 90_000))) == [expected]
    engine = _market()
    engine.apply(batch(enter(1, "a1", BUY, 150, 90_000), enter(2, "s1", SELL, 80, 90_000)))
    engine.apply(limits("P1", max_order_value_e4=99 * 90_000, max_position_qty=0, credit_e4=0))
    expected = "replaced a1 a2 19" if qty == 99 else "rejected a2 max_order_value"
    assert told(engine.apply(replace(1, "a1", "a2", qty, 90_000))) == [expected]


def test_an_entry_that_would_trade_or_go_at_once_is_checked_like_any_other() -> None:
    engine = _market(limits("P1", max_order_qty=10), limits("P2", max_order_qty=10))
    rows = batch(
        enter(3, "s", SELL, 30, 100_000, tif=GTC),
        enter(1, "a", BUY, 11, 100_000, tif=IOC),
        enter(1, "b", BUY, 11, 100_000, tif=FOK),
        enter(2, "c", BUY, 11, None),
        enter(2, "d", BUY, 10, None),
    )
    assert told(engine.apply(rows)) == [
        "accepted s",
        "rejected a max_order_qty",
        "rejected b max_order_qty",
        "rejected c max_order_qty",
        "accepted d",
        "trade 10 @ 100000 s d",
    ]
