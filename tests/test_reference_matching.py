"""Sections 3, 4 and 5 on the reference engine: who trades with whom, at what price, and what becomes of the rest.

Every situation is played as written and as its mirror image, with buy and sell and the prices about 10.00 changed
for each other; both must give the same answers.
"""

from typing import NamedTuple

import pytest

from engine.records import SelfTrade, TimeInForce
from engine.reference import ReferenceEngine
from tests.rows import (
    BUY,
    SELL,
    Rows,
    batch,
    cancel,
    enter,
    events_of,
    market_of,
    mirrored,
    participant,
    phase,
    replace,
)

IOC, FOK, GTC = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTC
NEWEST, OLDEST, BOTH, DECREMENT, NONE = SelfTrade


class Situation(NamedTuple):
    name: str
    rows: list[Rows]
    answers: list[str]


SITUATIONS = [
    Situation(
        "better price first, then earlier time, at the resting price",
        [
            enter(1, "a1", SELL, 100, 100_200),
            enter(2, "b1", SELL, 100, 100_100),
            enter(2, "b2", SELL, 100, 100_100),
            enter(3, "c1", BUY, 250, 100_300),
        ],
        [
            "accepted a1",
            "accepted b1",
            "accepted b2",
            "accepted c1",
            "trade 100 @ 100100 b1 c1",
            "trade 100 @ 100100 b2 c1",
            "trade 50 @ 100200 a1 c1",
        ],
    ),
    Situation(
        "what is left rests, and trades later",
        [enter(1, "a1", SELL, 60, 100_000), enter(2, "b1", BUY, 100, 100_000), enter(1, "a2", SELL, 40, 99_900)],
        ["accepted a1", "accepted b1", "trade 60 @ 100000 a1 b1", "accepted a2", "trade 40 @ 100000 b1 a2"],
    ),
    Situation(
        "what an ioc has left is canceled, and it is gone",
        [enter(1, "a1", SELL, 60, 100_000), enter(2, "b1", BUY, 100, 100_000, tif=IOC), cancel(2, "b1")],
        [
            "accepted a1",
            "accepted b1",
            "trade 60 @ 100000 a1 b1",
            "canceled b1 40 ioc",
            "cancel_rejected b1 unknown_order",
        ],
    ),
    Situation(
        "an ioc that meets nothing",
        [enter(1, "a1", SELL, 60, 100_100), enter(2, "b1", BUY, 10, 100_000, tif=IOC)],
        ["accepted a1", "accepted b1", "canceled b1 10 ioc"],
    ),
    Situation(
        "a market order trades at any price and never rests",
        [
            enter(1, "a1", SELL, 10, 100_000),
            enter(1, "a2", SELL, 10, 199_900),
            enter(2, "b1", BUY, 30, None),
            enter(2, "b2", BUY, 30, None, tif=IOC),
            enter(2, "b3", BUY, 30, None, tif=FOK),
        ],
        [
            "accepted a1",
            "accepted a2",
            "accepted b1",
            "trade 10 @ 100000 a1 b1",
            "trade 10 @ 199900 a2 b1",
            "canceled b1 10 no_liquidity",
            "accepted b2",
            "canceled b2 30 no_liquidity",
            "accepted b3",
            "canceled b3 30 fok",
        ],
    ),
    Situation(
        "fok trades in full or not at all",
        [
            enter(1, "a1", SELL, 50, 100_000),
            enter(1, "a2", SELL, 49, 100_100),
            enter(2, "b1", BUY, 100, 100_100, tif=FOK),
            enter(2, "b2", BUY, 99, 100_000, tif=FOK),
            enter(2, "b3", BUY, 99, 100_100, tif=FOK),
        ],
        [
            "accepted a1",
            "accepted a2",
            "accepted b1",
            "canceled b1 100 fok",
            "accepted b2",
            "canceled b2 99 fok",
            "accepted b3",
            "trade 50 @ 100000 a1 b3",
            "trade 49 @ 100100 a2 b3",
        ],
    ),
    Situation(
        "a market fok trades in full",
        [enter(1, "a1", SELL, 50, 100_000), enter(2, "b1", BUY, 50, None, tif=FOK)],
        ["accepted a1", "accepted b1", "trade 50 @ 100000 a1 b1"],
    ),
    Situation(
        "min_qty needs at least that much at once, and takes what there is beyond",
        [
            enter(1, "a1", SELL, 40, 100_000),
            enter(2, "b1", BUY, 100, 100_000, tif=IOC, min_qty=41),
            enter(2, "b2", BUY, 100, 100_000, tif=IOC, min_qty=40),
        ],
        [
            "accepted a1",
            "accepted b1",
            "canceled b1 100 min_qty",
            "accepted b2",
            "trade 40 @ 100000 a1 b2",
            "canceled b2 60 ioc",
        ],
    ),
    Situation(
        "a market order may have a min_qty",
        [enter(1, "a1", SELL, 40, 100_000), enter(2, "b1", BUY, 50, None, tif=IOC, min_qty=41)],
        ["accepted a1", "accepted b1", "canceled b1 50 min_qty"],
    ),
    Situation(
        "post-only rests behind the other side, and would cross at its price, the own order too",
        [
            enter(1, "a1", SELL, 40, 100_000),
            enter(2, "b1", BUY, 40, 99_900, post_only=True),
            enter(1, "a2", BUY, 40, 100_000, post_only=True),
            enter(2, "b2", BUY, 40, 100_100, post_only=True, tif=GTC),
        ],
        ["accepted a1", "accepted b1", "rejected a2 would_cross", "rejected b2 would_cross"],
    ),
    Situation(
        "cancel_newest is the default of clients: the incoming order goes, what it traded stands",
        [
            enter(2, "b1", SELL, 10, 100_000),
            enter(1, "a1", SELL, 10, 100_000),
            enter(3, "c1", SELL, 10, 100_000),
            enter(1, "a2", BUY, 30, 100_000, stp=NEWEST),
            enter(3, "c2", BUY, 10, 100_000, stp=NEWEST),
        ],
        [
            "accepted b1",
            "accepted a1",
            "accepted c1",
            "accepted a2",
            "trade 10 @ 100000 b1 a2",
            "canceled a2 20 self_trade",
            "accepted c2",
            "trade 10 @ 100000 a1 c2",
        ],
    ),
    Situation(
        "cancel_oldest: the resting order goes and matching goes on",
        [
            enter(1, "a1", SELL, 10, 100_000),
            enter(2, "b1", SELL, 10, 100_000),
            enter(1, "a2", BUY, 15, 100_000, stp=OLDEST),
            cancel(1, "a2"),
        ],
        [
            "accepted a1",
            "accepted b1",
            "accepted a2",
            "canceled a1 10 self_trade",
            "trade 10 @ 100000 b1 a2",
            "canceled a2 5 user",
        ],
    ),
    Situation(
        "cancel_both: the resting one first",
        [enter(1, "a1", SELL, 10, 100_000), enter(1, "a2", BUY, 15, 100_000, stp=BOTH)],
        ["accepted a1", "accepted a2", "canceled a1 10 self_trade", "canceled a2 15 self_trade"],
    ),
    Situation(
        "decrement: both lose the smaller, the resting one first, and the incoming one goes on",
        [
            enter(1, "a1", SELL, 10, 100_000),
            enter(2, "b1", SELL, 10, 100_000),
            enter(1, "a2", BUY, 25, 100_000, stp=DECREMENT),
            cancel(1, "a1"),
            cancel(1, "a2"),
        ],
        [
            "accepted a1",
            "accepted b1",
            "accepted a2",
            "canceled a1 10 self_trade",
            "canceled a2 10 self_trade",
            "trade 10 @ 100000 b1 a2",
            "cancel_rejected a1 unknown_order",
            "canceled a2 5 user",
        ],
    ),
    Situation(
        "decrement: a larger resting order keeps its place with the rest",
        [
            enter(1, "a1", SELL, 30, 100_000),
            enter(2, "b1", SELL, 10, 100_000),
            enter(1, "a2", BUY, 25, 100_000, stp=DECREMENT),
            enter(3, "c1", BUY, 6, 100_000),
        ],
        [
            "accepted a1",
            "accepted b1",
            "accepted a2",
            "canceled a1 25 self_trade",
            "canceled a2 25 self_trade",
            "accepted c1",
            "trade 5 @ 100000 a1 c1",
            "trade 1 @ 100000 b1 c1",
        ],
    ),
    Situation(
        "stp=none trades with itself",
        [enter(1, "a1", SELL, 10, 100_000), enter(1, "a2", BUY, 10, 100_000, stp=NONE)],
        ["accepted a1", "accepted a2", "trade 10 @ 100000 a1 a2"],
    ),
    Situation(
        "the incoming order chooses",
        [enter(1, "a1", SELL, 10, 100_000, stp=OLDEST), enter(1, "a2", BUY, 10, 100_000, stp=NEWEST)],
        ["accepted a1", "accepted a2", "canceled a2 10 self_trade"],
    ),
    Situation(
        "fok passes over its own orders under cancel_oldest, and cancels them when it trades",
        [
            enter(1, "a1", SELL, 10, 100_000),
            enter(2, "b1", SELL, 10, 100_000),
            enter(1, "a2", BUY, 11, 100_000, tif=FOK, stp=OLDEST),
            enter(1, "a3", BUY, 10, 100_000, tif=FOK, stp=OLDEST),
        ],
        [
            "accepted a1",
            "accepted b1",
            "accepted a2",
            "canceled a2 11 fok",
            "accepted a3",
            "canceled a1 10 self_trade",
            "trade 10 @ 100000 b1 a3",
        ],
    ),
    Situation(
        "fok counts nothing from its own order on under cancel_newest and cancel_both",
        [
            enter(2, "b1", SELL, 10, 100_000),
            enter(1, "a1", SELL, 10, 100_000),
            enter(2, "b2", SELL, 10, 100_000),
            enter(1, "a2", BUY, 11, 100_000, tif=FOK, stp=NEWEST),
            enter(1, "a3", BUY, 11, 100_000, tif=FOK, stp=BOTH),
            enter(1, "a4", BUY, 10, 100_000, tif=FOK, stp=BOTH),
        ],
        [
            "accepted b1",
            "accepted a1",
            "accepted b2",
            "accepted a2",
            "canceled a2 11 fok",
            "accepted a3",
            "canceled a3 11 fok",
            "accepted a4",
            "trade 10 @ 100000 b1 a4",
        ],
    ),
    Situation(
        "min_qty does not count what decrement would take off, which is off the order all the same",
        [
            enter(1, "a1", SELL, 10, 100_000),
            enter(2, "b1", SELL, 30, 100_000),
            enter(1, "a2", BUY, 20, 100_000, tif=IOC, min_qty=11, stp=DECREMENT),
            enter(1, "a3", BUY, 20, 100_000, tif=FOK, stp=DECREMENT),
            enter(1, "a4", BUY, 20, 100_000, tif=IOC, min_qty=10, stp=DECREMENT),
        ],
        [
            "accepted a1",
            "accepted b1",
            "accepted a2",
            "canceled a2 20 min_qty",
            "accepted a3",
            "canceled a3 20 fok",
            "accepted a4",
            "canceled a1 10 self_trade",
            "canceled a4 10 self_trade",
            "trade 10 @ 100000 b1 a4",
        ],
    ),
    Situation(
        "min_qty under stp=none counts the own order",
        [enter(1, "a1", SELL, 10, 100_000), enter(1, "a2", BUY, 20, 100_000, tif=IOC, min_qty=10, stp=NONE)],
        ["accepted a1", "accepted a2", "trade 10 @ 100000 a1 a2", "canceled a2 10 ioc"],
    ),
]


@pytest.mark.parametrize("mirror", [False, True], ids=["as written", "mirrored"])
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_an_incoming_order_trades_as_sections_3_to_5_say(situation: Situation, mirror: bool) -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(3))
    rows = batch(*situation.rows)
    answers = events_of(engine.apply(mirrored(rows) if mirror else rows), 100_000 if mirror else None)
    assert answers == situation.answers
    engine.check()


def test_a_group_is_one_participant_to_self_trade_prevention() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(1), participant("G1", group="FUNDS"), participant("G2", group="FUNDS")))
    rows = batch(enter(2, "a1", SELL, 10, 100_000), enter(3, "b1", BUY, 10, 100_000), enter(1, "c1", BUY, 10, 100_000))
    assert events_of(engine.apply(rows)) == [
        "accepted a1",
        "accepted b1",
        "canceled b1 10 self_trade",
        "accepted c1",
        "trade 10 @ 100000 a1 c1",
    ]


def test_a_group_named_like_another_participant_does_not_include_it() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(1), participant("G1", group="P1")))
    rows = batch(enter(1, "a1", SELL, 10, 100_000), enter(2, "b1", BUY, 10, 100_000))
    assert events_of(engine.apply(rows))[-1] == "trade 10 @ 100000 a1 b1"


def test_a_replaced_order_runs_with_its_own_self_trade_choice() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2))
    rows = batch(
        enter(1, "a1", SELL, 10, 100_100),
        enter(1, "a2", BUY, 10, 100_000, stp=DECREMENT),
        replace(1, "a2", "a3", 15, 100_100),
    )
    assert events_of(engine.apply(rows))[2:] == [
        "replaced a2 a3 15",
        "canceled a1 10 self_trade",
        "canceled a3 10 self_trade",
    ]
    assert engine.open_orders()[["leaves_qty", "cum_qty", "qty"]].tolist() == [(5, 0, 15)]


def test_open_orders_are_shown_in_the_order_in_which_the_book_trades_them() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(2, opening=2), phase("XYZ", 2)))
    engine.apply(
        batch(
            enter(1, "s1", SELL, 10, 100_200),
            enter(1, "b1", BUY, 10, 100_000),
            enter(1, "s2", SELL, 10, 100_100),
            enter(1, "b2", BUY, 10, 100_100),
            enter(1, "b3", BUY, 10, None),
            enter(1, "b4", BUY, 10, 100_100),
        )
    )
    assert engine.open_orders()["order_number"].tolist() == [5, 4, 6, 2, 3, 1]
    assert engine.open_orders(1)["order_number"].tolist() == [5, 4, 6, 2, 3, 1]
    assert len(engine.open_orders(2)) == 0
