"""Replace and cancel (section 4, section 13: 3, 4, 8, 11) on the reference engine."""

from typing import NamedTuple

import pytest

from engine.capacity import Capacity
from engine.names import pack
from engine.records import EVENT, Instruction, Phase, Reason, SelfTrade, TimeInForce, concatenate
from engine.reference import ReferenceEngine
from tests.rows import (
    BUY,
    SELL,
    Rows,
    batch,
    cancel,
    enter,
    events_of,
    instrument,
    market_of,
    mass_cancel,
    mirrored,
    phase,
    replace,
)


class Situation(NamedTuple):
    name: str
    rows: list[Rows]
    answers: list[str]  # after the entries that set it up


QUEUE = [enter(1, "a1", SELL, 100, 100_000), enter(2, "b1", SELL, 100, 100_000)]

SITUATIONS = [
    Situation(
        "a smaller quantity keeps priority",
        [*QUEUE, replace(1, "a1", "a2", 60, 100_000), enter(3, "c1", BUY, 70, 100_000)],
        ["replaced a1 a2 60", "accepted c1", "trade 60 @ 100000 a2 c1", "trade 10 @ 100000 b1 c1"],
    ),
    Situation(
        "the same quantity keeps priority",
        [*QUEUE, replace(1, "a1", "a2", 100, 100_000), enter(3, "c1", BUY, 70, 100_000)],
        ["replaced a1 a2 100", "accepted c1", "trade 70 @ 100000 a2 c1"],
    ),
    Situation(
        "a larger quantity loses priority",
        [*QUEUE, replace(1, "a1", "a2", 101, 100_000), enter(3, "c1", BUY, 101, 100_000)],
        ["replaced a1 a2 101", "accepted c1", "trade 100 @ 100000 b1 c1", "trade 1 @ 100000 a2 c1"],
    ),
    Situation(
        "another price loses priority, also when it comes back",
        [
            *QUEUE,
            replace(1, "a1", "a2", 100, 100_100),
            replace(1, "a2", "a3", 100, 100_000),
            enter(3, "c1", BUY, 100, 100_000),
        ],
        ["replaced a1 a2 100", "replaced a2 a3 100", "accepted c1", "trade 100 @ 100000 b1 c1"],
    ),
    Situation(
        "a better price runs as incoming",
        [*QUEUE, enter(3, "c1", BUY, 50, 99_900), replace(2, "b1", "b2", 80, 99_900)],
        ["accepted c1", "replaced b1 b2 80", "trade 50 @ 99900 c1 b2"],
    ),
    Situation(
        "quantity is the total intended",
        [*QUEUE, enter(3, "c1", BUY, 40, 100_000), replace(1, "a1", "a2", 90, 100_000)],
        ["accepted c1", "trade 40 @ 100000 a1 c1", "replaced a1 a2 50"],
    ),
    Situation(
        "nothing left to be open: canceled, and the new id is not used",
        [
            *QUEUE,
            enter(3, "c1", BUY, 40, 100_000),
            replace(1, "a1", "a2", 40, 100_000),
            enter(1, "a2", SELL, 1, 100_000),
            enter(1, "a1", SELL, 1, 100_000),
        ],
        [
            "accepted c1",
            "trade 40 @ 100000 a1 c1",
            "canceled a1 60 replaced",
            "accepted a2",
            "rejected a1 duplicate_id",
        ],
    ),
    Situation(
        "what decrement took off may be asked for again, at the back of the queue",
        [
            *QUEUE,
            enter(1, "a9", BUY, 30, 100_000, stp=SelfTrade.DECREMENT),
            replace(1, "a1", "a2", 100, 100_000),
            enter(3, "c1", BUY, 101, 100_000),
        ],
        [
            "accepted a9",
            "canceled a1 30 self_trade",
            "canceled a9 30 self_trade",
            "replaced a1 a2 100",
            "accepted c1",
            "trade 100 @ 100000 b1 c1",
            "trade 1 @ 100000 a2 c1",
        ],
    ),
    Situation(
        "the old id is used, the new one is an open order's",
        [
            *QUEUE,
            replace(1, "a1", "a2", 50, 100_000),
            replace(1, "a2", "a1", 50, 100_000),
            replace(1, "a2", "a2", 50, 100_000),
            cancel(1, "a1"),
            cancel(1, "a2"),
            cancel(1, "a2"),
        ],
        [
            "replaced a1 a2 50",
            "rejected a1 duplicate_id",
            "rejected a2 duplicate_id",
            "cancel_rejected a1 unknown_order",
            "canceled a2 50 user",
            "cancel_rejected a2 unknown_order",
        ],
    ),
    Situation(
        "only the owner may replace or cancel",
        [
            *QUEUE,
            replace(2, "a1", "x", 50, 100_000),
            cancel(2, "a1"),
            replace(9, "a1", "x", 50, 100_000),
            cancel(9, "a1"),
        ],
        ["cancel_rejected a1 unknown_order"] * 4,
    ),
    Situation(
        "an unknown order goes before every fault in the new values",
        [*QUEUE, replace(1, "zz", "a1", 0, 0)],
        ["cancel_rejected zz unknown_order"],
    ),
    Situation(
        "faults in the order of section 8, and the old order stands untouched",
        [
            *QUEUE,
            replace(1, "a1", "b", 0, 0),
            replace(1, "a1", "b", 100_000_000, 0),
            replace(1, "a1", "b", 1, 0),
            replace(1, "a1", "b", 1, 10_000_000_000),
            replace(1, "a1", "b", 1, -100),
            replace(1, "a1", "b", 1, 100_001, instructions=Instruction.STOP, stop_e4=100_000),
            replace(1, "a1", "a1", 1, None),
            replace(1, "a1", "a1", 1, 100_000, instructions=Instruction.DISPLAY, display_qty=1),
            replace(1, "a1", "a1", 1, 100_000, instructions=Instruction.STOP, stop_e4=100_000),
            replace(1, "a1", "a1", 1, 100_000),
            enter(3, "c1", BUY, 100, 100_000),
        ],
        ["rejected b invalid_qty", "rejected b invalid_qty"]
        + ["rejected b invalid_price"] * 3
        + ["rejected b invalid_tick"]
        + ["rejected a1 invalid_instruction"] * 3
        + ["rejected a1 duplicate_id", "accepted c1", "trade 100 @ 100000 a1 c1"],
    ),
    Situation(
        "post-only is judged again when it loses its priority",
        [
            enter(1, "a1", SELL, 100, 100_100, post_only=True),
            enter(2, "b1", BUY, 100, 100_000),
            replace(1, "a1", "a2", 100, 100_000),
            replace(1, "a1", "a2", 90, 100_100),
            cancel(1, "a2"),
        ],
        ["rejected a2 would_cross", "replaced a1 a2 90", "canceled a2 90 user"],
    ),
]


@pytest.mark.parametrize("mirror", [False, True], ids=["as written", "mirrored"])
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_a_replace_does_what_section_4_says(situation: Situation, mirror: bool) -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(3))
    rows = batch(*situation.rows)
    answers = events_of(engine.apply(mirrored(rows) if mirror else rows), 100_000 if mirror else None)
    assert answers[2:] == situation.answers
    engine.check()


def test_a_replace_off_the_lot_is_refused_before_its_price_is_looked_at() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1, lot=10))
    answers = events_of(engine.apply(batch(enter(1, "a1", SELL, 100, 100_000), replace(1, "a1", "a2", 15, 0))))
    assert answers == ["accepted a1", "rejected a2 invalid_lot"]


def test_in_pre_open_a_replace_only_moves_the_order() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2, opening=Phase.PRE_OPEN))
    rows = batch(
        enter(1, "a1", SELL, 10, 100_100),
        enter(2, "b1", BUY, 10, 100_000),
        replace(1, "a1", "a2", 20, 99_900),
        enter(1, "m1", SELL, 10, None),
        enter(1, "m2", SELL, 10, None),
        replace(1, "m1", "m3", 11, None),
        replace(1, "m2", "m4", 10, 100_000),
    )
    assert events_of(engine.apply(rows))[2:] == [
        "replaced a1 a2 20",
        "accepted m1",
        "accepted m2",
        "replaced m1 m3 11",
        "rejected m4 invalid_instruction",
    ]
    assert engine.open_orders()["client_order_id"].tolist() == [pack(each) for each in ("b1", "m2", "m3", "a2")]


def test_a_replace_is_refused_by_the_phase_with_the_orders_own_instructions() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2))
    gtc = TimeInForce.GTC
    engine.apply(
        batch(enter(1, "a1", SELL, 10, 100_100, post_only=True, tif=gtc), enter(1, "a2", SELL, 10, 100_100, tif=gtc))
    )
    answers = []
    for named in (Phase.PRE_OPEN, Phase.CLOSED):
        rows = batch(phase("XYZ", named), replace(1, "a1", "x1", 0, 100_100), replace(1, "a2", f"n{named}", 0, 100_100))
        answers += events_of(engine.apply(rows))
    assert answers == [
        "phase 1 pre_open",
        "rejected x1 not_continuous",
        "rejected n2 invalid_qty",
        "phase 1 closed",
        "rejected x1 closed",
        "rejected n1 closed",
    ]
    assert events_of(engine.apply(cancel(1, "a1"))) == ["canceled a1 10 user"]


def test_a_mass_cancel_takes_what_it_names_in_order_of_acceptance() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(2), instrument("ABC"), phase("ABC", Phase.CONTINUOUS)))
    engine.apply(
        batch(
            enter(1, "a1", SELL, 10, 100_100),
            enter(1, "a2", BUY, 10, 99_900, instrument=2),
            enter(1, "a3", BUY, 10, 99_900),
            enter(2, "b1", BUY, 10, 99_800),
            enter(1, "a4", BUY, 10, 99_800),
            replace(1, "a1", "a5", 20, 100_200),
        )
    )
    assert events_of(engine.apply(mass_cancel("P1", "XYZ", BUY))) == [
        "canceled a3 10 mass_cancel",
        "canceled a4 10 mass_cancel",
    ]
    assert events_of(engine.apply(mass_cancel("P1", "XYZ", BUY))) == []
    left = ["canceled a5 20 disconnect", "canceled a2 10 disconnect"]
    assert events_of(engine.apply(mass_cancel("P1", reason=Reason.DISCONNECT))) == left
    assert engine.open_orders()["client_order_id"].tolist() == [pack("b1")]


def test_a_mass_cancel_of_an_unknown_name_is_rejected_participant_first() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1))
    answers = events_of(
        engine.apply(batch(mass_cancel("NO", "NONE"), mass_cancel("P1", "NONE"), mass_cancel("P1", "*")))
    )
    assert answers[:2] == ["rejected NO unknown_participant", "rejected NONE unknown_instrument"]
    assert answers[2].endswith("unknown_instrument")


def test_room_is_needed_for_one_order_and_one_id_even_to_trade_at_once() -> None:
    engine = ReferenceEngine(Capacity(orders_max=2, ids_max=4, instruments_max=1, participants_max=2))
    engine.apply(market_of(2))
    rows = batch(
        enter(1, "a1", SELL, 10, 100_000),
        enter(1, "a2", SELL, 10, 100_000),
        enter(2, "b1", BUY, 10, 100_000, tif=TimeInForce.IOC),
        replace(1, "a2", "a3", 10, 100_000),
        replace(1, "a3", "a4", 9, 100_000),
        replace(1, "a4", "a5", 8, 100_000),
        replace(1, "a4", "a5", 0, 100_000),
        cancel(1, "a1"),
        enter(2, "b1", BUY, 10, 100_000, tif=TimeInForce.IOC),
    )
    assert events_of(engine.apply(rows)) == [
        "accepted a1",
        "accepted a2",
        "rejected b1 capacity",
        "replaced a2 a3 10",
        "replaced a3 a4 9",
        "rejected a5 capacity",
        "rejected a5 invalid_qty",
        "canceled a1 10 user",
        "rejected b1 capacity",
    ]
    engine.check()


def test_an_open_quantity_of_zero_is_seen_before_room_for_the_new_id() -> None:
    engine = ReferenceEngine(Capacity(orders_max=2, ids_max=2))
    engine.apply(market_of(2))
    engine.apply(batch(enter(1, "a1", SELL, 10, 100_000), enter(2, "b1", BUY, 4, 100_000)))
    assert events_of(engine.apply(replace(1, "a1", "a2", 4, 100_000))) == ["canceled a1 6 replaced"]


def test_a_post_only_replace_that_would_cross_says_so_before_capacity() -> None:
    engine = ReferenceEngine(Capacity(orders_max=2, ids_max=2))
    engine.apply(market_of(2))
    engine.apply(batch(enter(1, "a1", SELL, 10, 100_100, post_only=True), enter(2, "b1", BUY, 4, 100_000)))
    answers = events_of(engine.apply(batch(replace(1, "a1", "a2", 10, 100_000), replace(1, "a1", "a2", 10, 100_200))))
    assert answers == ["rejected a2 would_cross", "rejected a2 capacity"]


def test_a_batch_may_be_cut_anywhere() -> None:
    whole, cut = ReferenceEngine(), ReferenceEngine()
    rows = batch(market_of(3), *QUEUE, replace(1, "a1", "a2", 60, 100_000), enter(3, "c1", BUY, 70, 100_000))
    together = whole.apply(rows)
    pieces = [cut.apply(rows[at : at + 1]) for at in range(len(rows))]
    assert concatenate(pieces, EVENT).tobytes() == together.tobytes()
    assert cut.seq == whole.seq == len(rows)
