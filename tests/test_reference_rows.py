"""Rows that cannot be interpreted, definitions and further rows (section 13: 1, 2, 12) on the reference engine."""

import numpy as np
import pytest

from engine.bounds import ADV_QTY_MAX, PRICE_E4_MAX, QTY_MAX, TIME_NS_MAX
from engine.capacity import Capacity
from engine.records import (
    COMMAND,
    COMMAND_FIELDS,
    COMMAND_PLACES,
    EVENT,
    CommandKind,
    EventKind,
    Instruction,
    Phase,
    Reason,
)
from engine.reference import ReferenceEngine
from tests.limit_rows import clock_jump, epoch, limits, resume
from tests.rows import (
    BUY,
    NANOSECONDS_2024_01_15_0930,
    SELL,
    Rows,
    batch,
    cancel,
    clock,
    credential,
    enter,
    events_of,
    extend,
    halt,
    instrument,
    kill,
    market_of,
    mass_cancel,
    participant,
    phase,
    replace,
    row,
    unkill,
    user,
)


def _market() -> ReferenceEngine:
    """P1 may do all, P2 nothing more than limit orders; lot 10; b1 of P2 offers 10 at 10.00, a1 of P1 bids 9.00."""
    engine = ReferenceEngine(Capacity(orders_max=3, ids_max=6))
    engine.apply(batch(market_of(1, lot=10), participant("P2", permissions=0), instrument("ABC")))
    engine.apply(batch(enter(2, "b1", SELL, 10, 100_000), enter(1, "a1", BUY, 10, 90_000)))
    return engine


TO_THE_LAST = TIME_NS_MAX - NANOSECONDS_2024_01_15_0930
ORDER = {"participant": 1, "instrument": 1}
UNREADABLE: list[Rows] = [
    *(row(kind) for kind in (0, 25, 255)),
    *(row(kind) for kind in CommandKind if kind not in COMMAND_FIELDS),
    enter(1, 0, BUY, 10, 100_000),
    enter(1, "x", 0, 10, 100_000),
    enter(1, "x", 2, 10, 100_000),
    enter(1, "x", -128, 10, 100_000),
    enter(1, "x", BUY, 10, 100_000, tif=0),
    enter(1, "x", BUY, 10, 100_000, tif=8),
    enter(1, "x", BUY, 10, 100_000, stp=0),
    enter(1, "x", BUY, 10, 100_000, stp=6),
    enter(1, "x", BUY, 10, 100_000, book=2),
    enter(1, "x", BUY, 10, 100_000, instructions=512),
    enter(1, "x", BUY, 10, 100_000, instructions=0x8000),
    enter(1, "x", BUY, 10, 100_000, display_qty=1),
    row(
        CommandKind.ENTER,
        client_order_id=1,
        side=1,
        time_in_force=1,
        self_trade=1,
        qty=10,
        price_e4=100,
        min_qty=1,
        **ORDER,
    ),
    row(
        CommandKind.ENTER,
        client_order_id=1,
        side=1,
        time_in_force=1,
        self_trade=1,
        qty=10,
        price_e4=100,
        instructions=1,
        **ORDER,
    ),
    replace(1, "a1", 0, 10, 90_000),
    replace(1, "zz", 0, 10, 90_000),
    *(
        replace(1, "a1", "x", 10, 90_000, instructions=bit)
        for bit in Instruction
        if bit.name not in ("MARKET", "DISPLAY", "STOP")
    ),
    replace(1, "a1", "x", 10, 90_000, instructions=512),
    replace(1, "a1", "x", 10, 90_000, display_qty=-1),
    replace(1, "a1", "x", 10, 90_000, instructions=Instruction.MARKET),
    mass_cancel("P1", side=2),
    mass_cancel("P1", reason=0),
    mass_cancel("P1", reason=Reason.USER),
    phase("XYZ", 0),
    phase("XYZ", 8),
    phase("*", 255),
    clock(-1),
    clock(TIME_NS_MAX + 1),
    clock(NANOSECONDS_2024_01_15_0930 - 1),
    clock(0),
    *(instrument(name) for name in (0, "XYZ", "xyz", "A B", -1, 1 << 62)),
    *(instrument("NEW", tick_e4=tick) for tick in (0, -1, PRICE_E4_MAX + 1)),
    *(instrument("NEW", lot=lot) for lot in (0, -1, QTY_MAX + 1)),
    *(instrument("NEW", reference_e4=reference) for reference in (0, -1, PRICE_E4_MAX + 1)),
    *(instrument("NEW", adv_qty=adv) for adv in (-1, ADV_QTY_MAX + 1, 2**63 - 1, -(2**63))),
    *(participant(name) for name in (0, "P1", "p1", "*")),
    *(participant("NEW", group=group) for group in ("g", -1, "*")),
    *(participant("NEW", permissions=bits) for bits in (4, 0x8000)),
    row(CommandKind.EMERGENCY_CLOSE, name=1),
    *(halt(name, ns) for name in ("XYZ", "*", "NO") for ns in (-1, -(2**63), 2**63 - 1, TO_THE_LAST + 1)),
    *(user(name, "P1") for name in (0, "u", "SEVEN-7", "*", -1)),
    *(user("U", "NOBODY", firm) for firm in ("FIRM5", "a", "A.B", "A-B", "*", -1, 1 << 40)),
    *(user("U", "NOBODY", permissions=bits) for bits in (8, 0x8000)),
    *(credential(name) for name in (0, "u", "SEVEN-7", "*", -1)),
    *(credential("U", cost) for cost in (0, 3, 21, 255)),
]


@pytest.mark.parametrize(
    "command", UNREADABLE, ids=[f"{at}-kind{each['kind'][0]}" for at, each in enumerate(UNREADABLE)]
)
def test_a_row_that_cannot_be_interpreted_is_answered_with_its_id_alone(command: Rows) -> None:
    engine = _market()
    before = (engine.open_orders().tobytes(), engine.instruments().tobytes(), engine.directory)
    expected = np.zeros(1, EVENT)
    expected["seq"] = engine.seq + 1
    expected["client_order_id"] = command["client_order_id"]
    expected["kind"] = EventKind.REJECTED
    expected["reason"] = Reason.INVALID_COMMAND
    assert engine.apply(command).tobytes() == expected.tobytes()
    assert (engine.open_orders().tobytes(), engine.instruments().tobytes(), engine.directory) == before


READABLE: list[Rows] = [
    clock(),
    instrument("NEW"),
    participant("NEW"),
    enter(1, "x", BUY, 10, 90_000),
    cancel(1, "a1"),
    replace(1, "a1", "x", 10, 90_000),
    mass_cancel("P1"),
    phase("XYZ", Phase.CONTINUOUS),
    halt("XYZ"),
    halt("XYZ", TO_THE_LAST),
    resume("XYZ"),
    clock_jump(-1, -(2**63)),
    epoch(1, "NODE-1.A"),
    limits("P1", "XYZ", max_order_qty=1, max_order_value_e4=1, max_position_qty=1),
    limits("P1", credit_e4=1),
    kill("P1"),
    unkill("P1"),
    row(CommandKind.EMERGENCY_CLOSE),
    user("USER-1", "P1", "FRM1", 7),
    credential("USER-1", salt_0=-1, salt_1=1, hash_0=-1, hash_1=1, hash_2=-1),
    extend("NO", "NONE", token_head=-1, token_tail=1, new_token_head=-1, new_token_tail=1),
]


@pytest.mark.parametrize("command", READABLE, ids=[CommandKind(int(each["kind"][0])).name for each in READABLE])
def test_a_place_that_its_kind_does_not_use_must_be_zero(command: Rows) -> None:
    kind = CommandKind(int(command["kind"][0]))
    used = {*COMMAND_FIELDS[kind], "kind"}
    for offset, names in COMMAND_PLACES.items():
        if used.isdisjoint(names):
            spoilt = command.copy()
            spoilt.view(np.uint8)[offset + COMMAND[names[0]].itemsize - 1] = 0x80
            assert events_of(_market().apply(spoilt))[0].endswith("invalid_command"), names
    assert all("invalid_command" not in each for each in events_of(_market().apply(command)))


ANYTHING = (1, -1, 2**63 - 1, -(2**63))


@pytest.mark.parametrize("value", ANYTHING)
def test_what_is_there_for_the_record_changes_no_answer(value: int) -> None:
    tokens = {"token_head": value, "token_tail": value, "new_token_head": value, "new_token_tail": value}
    plain = (enter(1, "a2", BUY, 10, 90_000), replace(1, "a2", "a3", 20, 90_000), cancel(1, "a3", qty=10))
    noted = (
        enter(1, "a2", BUY, 10, 90_000, context=value),
        replace(1, "a2", "a3", 20, 90_000, new_context=value),
        cancel(1, "a3", qty=10, context=value),
    )
    answers = _market().apply(batch(*plain))
    assert _market().apply(batch(*noted)).tobytes() == answers.tobytes()
    extended = _market().apply(batch(*(each for one in noted for each in (extend(**tokens), one))))
    assert events_of(extended) == events_of(answers) == ["accepted a2", "replaced a2 a3 20", "canceled a3 10 user"]


def test_a_user_may_be_said_before_and_after_its_password_and_again() -> None:
    rows = batch(credential("U"), user("U", "P1"), user("U", "P2"), credential("U", 15), user("P1", "P1"))
    assert events_of(_market().apply(rows)) == []
    assert events_of(_market().apply(user("U", 0))) == ["rejected ~0000000000000000 unknown_participant"]
    assert events_of(_market().apply(user("U", "XYZ"))) == ["rejected XYZ unknown_participant"]


def test_definitions_are_refused_capacity_after_everything_else() -> None:
    engine = ReferenceEngine(Capacity(orders_max=1, ids_max=1, instruments_max=1, participants_max=1))
    rows = batch(
        instrument("XYZ"),
        instrument("ABC"),
        instrument("ABC", lot=0),
        participant("P1"),
        participant("P2"),
        participant("P2", group="no"),
    )
    assert events_of(engine.apply(rows)) == [
        "rejected ABC capacity",
        "rejected ABC invalid_command",
        "rejected P2 capacity",
        "rejected P2 invalid_command",
    ]
    assert (engine.directory.symbols, engine.directory.participants) == (("XYZ",), ("P1",))


def test_definitions_and_the_clock_cause_no_events_when_accepted() -> None:
    engine = ReferenceEngine()
    assert (
        len(engine.apply(batch(clock(5), clock(5), instrument("XYZ"), participant("XYZ", group="XYZ"), clock(6)))) == 0
    )
    assert (engine.now_ns, engine.directory.now_ns, engine.seq) == (6, 6, 5)


def test_a_further_row_may_stand_only_before_limits_an_epoch_and_an_order_command() -> None:
    engine = _market()
    rows = batch(
        extend("NO"),
        enter(0, "x", BUY, 10, 100_000),
        extend(0, "NONE"),
        extend("NO", "NONE"),
        cancel(0, "x"),
        extend("NO"),
        replace(0, "x", "y", 10, 100_000),
        extend("NO"),
        clock(TIME_NS_MAX),
        clock(NANOSECONDS_2024_01_15_0930),
        extend("NO"),
    )
    seq = engine.seq
    answers = engine.apply(rows)
    assert (answers["seq"] - seq).tolist() == [2, 5, 7, 9]
    assert answers["reason"].tolist() == [
        Reason.UNKNOWN_PARTICIPANT,
        Reason.UNKNOWN_ORDER,
        Reason.UNKNOWN_ORDER,
        Reason.INVALID_COMMAND,
    ]
    assert engine.apply(phase("XYZ", Phase.CLOSED))["reason"].tolist() == [Reason.INVALID_COMMAND]
    for other in (resume("XYZ"), clock_jump(1, 1), halt("XYZ", 1)):
        assert engine.apply(batch(extend(), other))["reason"].tolist() == [Reason.INVALID_COMMAND]
    assert events_of(engine.apply(batch(extend(), limits("P1"), extend("NO"), epoch(3)))) == []
    assert engine.epoch == 3
    assert events_of(engine.apply(phase("XYZ", Phase.CONTINUOUS))) == ["phase 1 continuous"]
