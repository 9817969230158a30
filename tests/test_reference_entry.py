"""Sections 2, 8, 11 and 13 on the reference engine: what is refused, why, in which order, in which bytes."""

from typing import Any

import numpy as np
import pytest

from engine.bounds import PRICE_E4_MAX, QTY_MAX
from engine.capacity import Capacity
from engine.digest import EventChain
from engine.names import pack
from engine.records import (
    COMMAND,
    EVENT,
    EVENT_FIELDS,
    Book,
    EventKind,
    Instruction,
    Permission,
    Phase,
    Reason,
    SelfTrade,
    TimeInForce,
    concatenate,
)
from engine.reference import ReferenceEngine
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
    events_of,
    halt,
    instrument,
    market_of,
    mass_cancel,
    participant,
    phase,
    replace,
)

GTC, GTD, IOC, FOK = TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK
OPENING = TimeInForce.OPENING
LATER = ("DISPLAY", "OFFSET", "UNTIL")


def _market() -> ReferenceEngine:
    """P1 may do all, P2 nothing more than limit orders; lot 10; b1 of P2 offers 10 at 10.00, a1 of P1 bids 9.00."""
    engine = ReferenceEngine(Capacity(orders_max=3, ids_max=6))
    engine.apply(batch(market_of(1, lot=10), participant("P2", permissions=0), instrument("ABC")))
    engine.apply(batch(enter(2, "b1", SELL, 10, 100_000), enter(1, "a1", BUY, 10, 90_000)))
    return engine


# Each row of the table has the fault of its line and every fault of the lines below it, as far as one row can.
FAULTS: list[tuple[Reason, Rows]] = [
    (Reason.UNKNOWN_PARTICIPANT, enter(3, "a1", BUY, 5, 0, instrument=9)),
    (Reason.UNKNOWN_PARTICIPANT, enter(0, "a1", BUY, 5, 100_000)),
    (Reason.UNKNOWN_INSTRUMENT, enter(1, "a1", BUY, 5, 100_000, instrument=3)),
    (Reason.UNKNOWN_INSTRUMENT, enter(1, "a1", BUY, 5, 100_000, instrument=0)),
    (Reason.CLOSED, enter(1, "a1", BUY, 0, 0, instrument=2)),
    (Reason.NOT_AUCTION, enter(1, "a1", BUY, 0, 0, tif=OPENING)),
    (Reason.INVALID_QTY, enter(1, "a1", BUY, 0, 0, tif=GTD)),
    (Reason.INVALID_QTY, enter(1, "a1", BUY, -10, 0, tif=GTD)),
    (Reason.INVALID_QTY, enter(1, "a1", BUY, QTY_MAX + 1, 0, tif=GTD)),
    (Reason.INVALID_LOT, enter(1, "a1", BUY, QTY_MAX, 0, tif=GTD)),
    (Reason.INVALID_PRICE, enter(1, "a1", BUY, 10, 0, tif=GTD)),
    (Reason.INVALID_PRICE, enter(1, "a1", BUY, 10, -100, tif=GTD)),
    (Reason.INVALID_PRICE, enter(1, "a1", BUY, 10, PRICE_E4_MAX + 1, tif=GTD)),
    (Reason.INVALID_TICK, enter(1, "a1", BUY, 10, PRICE_E4_MAX, tif=GTD)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, tif=GTD)),
    *((Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, instructions=Instruction[each])) for each in LATER),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, book=Book.MIDPOINT)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, None, tif=GTC)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, None, post_only=True)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, post_only=True, tif=IOC)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, post_only=True, tif=FOK)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, min_qty=1)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, min_qty=1, tif=FOK)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, min_qty=0, tif=IOC)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, min_qty=11, tif=IOC)),
    (Reason.INVALID_INSTRUCTION, enter(1, "a1", BUY, 10, 100_000, min_qty=-1, tif=IOC)),
    (Reason.DUPLICATE_ID, enter(2, "b1", BUY, 10, None, stp=SelfTrade.NONE)),
    (Reason.DUPLICATE_ID, enter(1, "a1", BUY, 10, 100_000, post_only=True)),
    (Reason.MARKET_NOT_PERMITTED, enter(2, "b2", BUY, 10, None, stp=SelfTrade.NONE)),
    (Reason.STP_NOT_PERMITTED, enter(2, "b2", BUY, 10, 100_000, stp=SelfTrade.NONE, post_only=True)),
    (Reason.WOULD_CROSS, enter(2, "b2", BUY, 10, 100_000, post_only=True)),
]


@pytest.mark.parametrize(("reason", "entry"), FAULTS, ids=[f"{at}-{each[0].name}" for at, each in enumerate(FAULTS)])
def test_the_first_check_of_section_8_that_fails_gives_the_reason(reason: Reason, entry: Rows) -> None:
    engine = _market()
    before = engine.open_orders().tobytes()
    answer = engine.apply(entry)
    assert [Reason(each) for each in answer["reason"]] == [reason]
    assert engine.open_orders().tobytes() == before
    engine.check()


def test_room_is_the_last_thing_that_is_looked_at() -> None:
    engine = _market()
    full = batch(
        enter(1, "a2", BUY, 10, 90_000),
        enter(1, "a3", BUY, 10, 100_000, post_only=True),
        enter(1, "a4", BUY, 10, 90_000),
    )
    assert events_of(engine.apply(full)) == ["accepted a2", "rejected a3 would_cross", "rejected a4 capacity"]


@pytest.mark.parametrize("quantity", [10, QTY_MAX // 10 * 10])
@pytest.mark.parametrize("price_e4", [100, PRICE_E4_MAX // 100 * 100])
def test_a_bound_is_passed_when_it_is_met(quantity: int, price_e4: int) -> None:
    assert events_of(_market().apply(enter(1, "a2", SELL, quantity, price_e4)))[0] == "accepted a2"


def test_in_pre_open_only_what_can_wait_is_taken() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1, opening=Phase.PRE_OPEN))
    refused = batch(
        enter(1, "a1", BUY, 0, 100_000, tif=IOC),
        enter(1, "a1", BUY, 0, 100_000, tif=FOK),
        enter(1, "a1", BUY, 0, 100_000, post_only=True, instructions=Instruction.HIDDEN),
        enter(1, "a1", BUY, 0, 100_000, book=Book.MIDPOINT),
        enter(1, "a1", BUY, 0, 100_000, tif=OPENING),
        enter(1, "a1", BUY, 1, 100_000, tif=OPENING),
        enter(1, "a2", BUY, 1, 100_000, tif=GTC),
        enter(1, "a3", BUY, 1, None),
    )
    assert events_of(engine.apply(refused)) == [
        *["rejected a1 not_continuous"] * 4,
        "rejected a1 invalid_qty",
        "accepted a1",
        "accepted a2",
        "accepted a3",
    ]


def test_on_another_day_ids_are_free_again_unless_an_open_order_bears_them() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1))
    engine.apply(
        batch(
            enter(1, "a1", BUY, 10, 90_000, tif=GTC),
            enter(1, "a2", BUY, 10, 90_000, tif=GTC),
            enter(1, "a3", BUY, 10, 90_000),
            replace(1, "a2", "a4", 10, 90_000),
            cancel(1, "a3"),
        )
    )
    used = batch(*(enter(1, each, BUY, 10, 90_000) for each in ("a1", "a2", "a3", "a4")))
    assert events_of(engine.apply(used)) == [f"rejected a{n} duplicate_id" for n in (1, 2, 3, 4)]
    engine.apply(clock(NANOSECONDS_2024_01_15_0930 + DAY_NS // 2))
    assert events_of(engine.apply(used)) == [f"rejected a{n} duplicate_id" for n in (1, 2, 3, 4)]
    engine.apply(clock(NANOSECONDS_2024_01_15_0930 + DAY_NS))
    assert events_of(engine.apply(used)) == [
        "rejected a1 duplicate_id",
        "accepted a2",
        "accepted a3",
        "rejected a4 duplicate_id",
    ]
    assert events_of(engine.apply(batch(cancel(1, "a1"), used[:1]))) == ["canceled a1 10 user", "accepted a1"]
    assert events_of(engine.apply(batch(cancel(1, "a1"), used[:1]))) == [
        "canceled a1 10 user",
        "rejected a1 duplicate_id",
    ]
    engine.check()


def test_ids_are_unique_for_each_participant_and_a_rejected_command_uses_none() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(2))
    rows = batch(
        enter(1, "a", BUY, 0, 90_000), enter(1, "a", BUY, 1, 90_000), enter(2, "a", BUY, 1, 90_000), cancel(2, "a")
    )
    answers = engine.apply(rows)
    assert events_of(answers) == ["rejected a invalid_qty", "accepted a", "accepted a", "canceled a 1 user"]
    assert answers["participant"].tolist() == [1, 1, 2, 2]


def test_any_number_but_zero_is_an_id() -> None:
    engine = ReferenceEngine()
    engine.apply(market_of(1))
    rows = batch(*(enter(1, number, BUY, 1, 90_000) for number in (-1, -(2**63), 2**63 - 1, 1)))
    assert engine.apply(rows)["kind"].tolist() == [EventKind.ACCEPTED] * 4


def _event(kind: EventKind, seq: int, **places: int) -> np.ndarray[Any, Any]:
    made = np.zeros(1, EVENT)
    made["kind"], made["seq"] = kind, seq
    for name, value in places.items():
        if name not in EVENT_FIELDS[kind]:
            raise ValueError(f"{kind.name} has no {name}")
        made[name] = value
    return made


def test_every_answer_has_its_places_and_no_other() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(2), instrument("ABC")))
    seq = engine.seq
    a1, a2, b1, b2, xx = (pack(each) for each in ("a1", "a2", "b1", "b2", "xx"))
    events = engine.apply(
        batch(
            enter(1, "a1", BUY, 100, 90_000),
            enter(2, "b1", SELL, 30, None),
            replace(1, "a1", "a2", 90, 80_000),
            replace(1, "a2", "xx", 0, 80_000),
            cancel(2, "xx"),
            cancel(9, "xx"),
            enter(2, "xx", SELL, 1, 100, instrument=7),
            enter(7, "xx", SELL, 1, 100, instrument=2),
            cancel(1, "a2"),
            halt("XYZ"),
            phase("ABC", Phase.PRE_OPEN),
            phase("NO", Phase.PRE_OPEN),
            enter(2, "b2", SELL, 5, None, instrument=2),
            mass_cancel("P2"),
        )
    )
    order_a = {"participant": 1, "instrument": 1, "side": 1, "order_number": 1}
    order_b = {"participant": 2, "instrument": 1, "side": -1, "order_number": 2}
    order_b2 = {"client_order_id": b2, "participant": 2, "instrument": 2, "side": -1, "order_number": 3, "qty": 5}
    unknown = Reason.UNKNOWN_ORDER
    expected = [
        _event(EventKind.ACCEPTED, seq + 1, client_order_id=a1, price_e4=90_000, qty=100, **order_a),
        _event(EventKind.ACCEPTED, seq + 2, client_order_id=b1, qty=30, **order_b),
        _event(
            EventKind.TRADE,
            seq + 2,
            client_order_id=a1,
            contra_client_order_id=b1,
            price_e4=90_000,
            qty=30,
            trade_number=1,
            participant=1,
            contra_participant=2,
            instrument=1,
            side=-1,
        ),
        _event(
            EventKind.REPLACED,
            seq + 3,
            client_order_id=a1,
            contra_client_order_id=a2,
            price_e4=80_000,
            qty=60,
            **order_a,
        ),
        _event(EventKind.REJECTED, seq + 4, client_order_id=xx, participant=1, instrument=1, reason=Reason.INVALID_QTY),
        _event(EventKind.CANCEL_REJECTED, seq + 5, client_order_id=xx, participant=2, reason=unknown),
        _event(EventKind.CANCEL_REJECTED, seq + 6, client_order_id=xx, reason=unknown),
        _event(EventKind.REJECTED, seq + 7, client_order_id=xx, participant=2, reason=Reason.UNKNOWN_INSTRUMENT),
        _event(EventKind.REJECTED, seq + 8, client_order_id=xx, instrument=2, reason=Reason.UNKNOWN_PARTICIPANT),
        _event(EventKind.CANCELED, seq + 9, client_order_id=a2, price_e4=80_000, qty=60, reason=Reason.USER, **order_a),
        _event(EventKind.HALTED, seq + 10, instrument=1, reason=Reason.COMMAND, phase=Phase.HALTED),
        _event(EventKind.PHASE, seq + 11, instrument=2, phase=Phase.PRE_OPEN),
        _event(EventKind.REJECTED, seq + 12, client_order_id=pack("NO"), reason=Reason.UNKNOWN_INSTRUMENT),
        _event(EventKind.ACCEPTED, seq + 13, **order_b2),
        _event(EventKind.CANCELED, seq + 14, reason=Reason.MASS_CANCEL, **order_b2),
    ]
    assert events.tolist() == concatenate(expected, EVENT).tolist()
    assert events.tobytes() == concatenate(expected, EVENT).tobytes()


def test_the_event_digest_is_of_the_events_and_of_nothing_else() -> None:
    engine = ReferenceEngine()
    chain = EventChain()
    for rows in (market_of(2), np.zeros(0, COMMAND), enter(1, "a1", BUY, 1, 100_000)):
        chain.add(engine.apply(rows))
        assert engine.event_digest == chain.digest()
    assert engine.seq == len(market_of(2)) + 1


def test_what_is_no_array_of_commands_is_refused_with_a_sentence() -> None:
    for wrong in (np.zeros(3, EVENT), np.zeros((2, 2), COMMAND), np.zeros(64, np.uint8)):
        with pytest.raises(ValueError, match="one-dimensional array of COMMAND rows"):
            ReferenceEngine().apply(wrong)


def test_permissions_are_those_of_the_definition() -> None:
    engine = ReferenceEngine()
    engine.apply(batch(market_of(1), participant("P2", permissions=int(Permission.STP_NONE))))
    rows = batch(enter(2, "a", BUY, 1, None), enter(2, "b", BUY, 1, 90_000, stp=SelfTrade.NONE))
    assert events_of(engine.apply(rows)) == ["rejected a market_not_permitted", "accepted b"]
