"""Calls, halts that end by the clock, and limits, as those who trade through the gateway are told of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.names import pack
from engine.records import CommandKind, EventKind, Limit, Phase, Reason, TimeInForce, concatenate
from gateway.ouch.streams import OuchStreams
from gateway.ouch.tables import CANCEL_REASONS, REJECT_REASONS
from tests.ouch_messages import IOC, cancel, enter, messages, replace
from tests.test_gateway import BEGIN_NS, CAPACITY, DAY_NS, Venue, row

SECOND_NS = 1_000_000_000
MARKET_E4 = 0x7FFFFFFF


def clock(after_s: int) -> NDArray[np.void]:
    return row(CommandKind.CLOCK, time_ns=BEGIN_NS + after_s * SECOND_NS)


def phase(name: Phase) -> NDArray[np.void]:
    return row(CommandKind.PHASE, name=pack("XYZ"), phase=int(name))


def liquidity(venue: Venue, user: int) -> list[tuple[str, str]]:
    return [(fields["order_token"], fields["liquidity"]) for kind, fields in venue.told(user) if kind == "EXECUTED"]


@pytest.mark.parametrize(
    ("call", "then", "code"),
    [
        (Phase.PRE_OPEN, Phase.CONTINUOUS, "O"),
        (Phase.OPENING_AUCTION, Phase.CONTINUOUS, "O"),
        (Phase.AUCTION, Phase.CONTINUOUS, "H"),
        (Phase.CLOSING_AUCTION, Phase.CONTINUOUS, "C"),
        (Phase.CLOSING_AUCTION, Phase.CLOSED, "C"),
    ],
)
def test_an_execution_in_an_uncross_says_of_which_call(call: Phase, then: Phase, code: str) -> None:
    venue = Venue()
    venue.take(phase(call))
    venue.send((1, enter("a1", "B", 5, 100_100)), (2, enter("b1", "S", 5, 100_000)), (3, enter("c1", "S", 4, 100_000)))
    assert venue.short(1) == ["ACCEPTED a1 5"]
    venue.sent.clear()
    venue.take(phase(then))
    assert (liquidity(venue, 1), liquidity(venue, 2)) == ([("a1", code)], [("b1", code)])
    assert venue.short(3) == (["CANCELED c1 4 E"] if then == Phase.CLOSED else [])
    match = [fields["match_number"] for user in (1, 2) for _, fields in venue.told(user)]
    assert match == [1, 1]


def test_indicative_events_are_counted_and_told_to_nobody() -> None:
    venue = Venue()
    venue.take(phase(Phase.OPENING_AUCTION))
    venue.send((1, enter("a1", "B", 5, 100_100)), (2, enter("b1", "S", 5, 100_000)))
    assert int(venue.streams.tallies[0, EventKind.INDICATIVE]) == 1
    assert (venue.short(1), venue.short(2), venue.sent.get(3)) == (["ACCEPTED a1 5"], ["ACCEPTED b1 5"], None)
    venue.send((1, cancel("a1")))
    assert venue.short(1) == ["CANCELED a1 5 U"]
    assert int(venue.streams.tallies[0, EventKind.INDICATIVE]) == 2


def test_in_a_call_orders_rest_and_what_must_trade_at_once_is_refused() -> None:
    venue = Venue()
    venue.take(phase(Phase.OPENING_AUCTION))
    sent = enter("a1", "B", 5, MARKET_E4) + enter("a2", "B", 5, 100_000, tif_s=IOC)
    venue.send((1, sent + enter("a3", "B", 5, 100_000, display="P") + enter("a4", "B", 5, 99_000)))
    assert venue.short(1) == ["ACCEPTED a1 5", "REJECTED a2 C", "REJECTED a3 C", "ACCEPTED a4 5"]
    venue.sent.clear()
    venue.take(phase(Phase.CONTINUOUS))
    assert venue.short(1) == ["CANCELED a1 5 C"], "what is left of a market order goes with the auction"


def test_what_a_clock_value_causes_is_told_with_its_time() -> None:
    """A halt ends, orders come in the call, and the next clock value uncrosses: no command of anybody's."""
    venue = Venue()
    venue.take(row(CommandKind.HALT, name=pack("XYZ"), duration_ns=300 * SECOND_NS))
    venue.send((1, enter("a0", "B", 5, 100_000)))
    assert venue.short(1) == ["REJECTED a0 H"]
    orders, _ = venue.read((1, enter("a1", "B", 5, 100_100)), (2, enter("b1", "S", 5, 100_000)))
    venue.sent.clear()
    late, _ = venue.read((1, enter("a2", "B", 1, 90_000)))
    venue.take(concatenate([clock(300), orders, clock(360), late]))
    told = {user: [(kind, fields["time_ns"] // SECOND_NS) for kind, fields in venue.told(user)] for user in (1, 2)}
    begin_s = BEGIN_NS % DAY_NS // SECOND_NS
    assert told == {
        1: [("ACCEPTED", begin_s + 300), ("EXECUTED", begin_s + 360), ("ACCEPTED", begin_s + 360)],
        2: [("ACCEPTED", begin_s + 300), ("EXECUTED", begin_s + 360)],
    }
    assert (liquidity(venue, 1), liquidity(venue, 2)) == ([("a1", "H")], [("b1", "H")])
    assert venue.streams.now_ns == BEGIN_NS + 360 * SECOND_NS


def _send_gtc(venue: Venue, user: int, data: bytes) -> None:
    """Orders that stay over the day, as no OUCH user can enter them."""
    rows, _ = venue.read((user, data))
    rows["time_in_force"] = TimeInForce.GTC
    venue.take(rows)


def test_a_clock_value_that_begins_a_day_and_ends_a_halt_is_told_in_the_new_stream() -> None:
    venue = Venue()
    venue.send((1, enter("a0", "B", 1, 100_000)))
    _send_gtc(venue, 1, enter("a1", "B", 5, 100_100))
    until = row(CommandKind.HALT, name=pack("XYZ"), duration_ns=60 * SECOND_NS)
    venue.take(concatenate([until, clock(60)]))
    _send_gtc(venue, 2, enter("b1", "S", 5, 100_000))
    venue.sent.clear()
    venue.take(row(CommandKind.CLOCK, time_ns=BEGIN_NS + DAY_NS))
    assert [kind for kind, _ in venue.told(1)] == ["CANCELED", "SYSTEM_EVENT", "SYSTEM_EVENT", "EXECUTED"]
    assert venue.sessions == ["20240115", "20240116"]
    assert int(venue.streams.row(1)["next_seq"]) == 3


def test_streams_with_calls_and_halts_are_a_function_of_the_journal() -> None:
    venue = Venue()
    venue.take(concatenate([phase(Phase.CLOSING_AUCTION), clock(1)]))
    venue.send((1, enter("a1", "B", 5, 100_100)), (2, enter("b1", "S", 9, 100_000)))
    venue.take(concatenate([phase(Phase.CONTINUOUS), row(CommandKind.HALT, name=pack("XYZ"), duration_ns=SECOND_NS)]))
    venue.take(clock(2))
    venue.send((1, enter("a2", "B", 2, 100_200) + replace("a2", "a3", 3, 100_200)))
    venue.take(concatenate([clock(70), phase(Phase.CLOSED)]))
    whole: dict[int, bytes] = {}

    def deliver(segment: object) -> None:
        user, data = segment.user, segment.data  # type: ignore[attr-defined]
        whole[user] = whole.get(user, b"") + data

    engine = type(venue.engine)(CAPACITY)
    streams = OuchStreams(CAPACITY, deliver, lambda _: None, users_max=8)
    rows = concatenate(venue.journal)
    for at in range(len(rows)):
        one = rows[at : at + 1].view("V64").copy().view(rows.dtype)
        streams(at + 1, one, engine.apply(one))
    shown = [kind for kind, _ in messages(whole[1])]
    assert shown == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED", "ACCEPTED", "REPLACED", "EXECUTED"]
    assert {user: data[-len(venue.sent.get(user, b"")) :] for user, data in whole.items() if user in venue.sent} == (
        venue.sent
    )


def limited(venue: Venue, limit: Limit, *, of_symbol: bool = False, **places: int) -> None:
    """Gives ALPHA a limit; places of the EXTEND row are those that have a name of it."""
    before = {name: places.pop(name) for name in ("rate_orders", "rate_window_ns", "adv_share_bps") if name in places}
    symbol = pack("XYZ") if of_symbol else 0
    rows = [row(CommandKind.LIMITS, name=pack("ALPHA"), symbol=symbol, limits=int(limit), **places)]
    if before:
        rows.insert(0, row(CommandKind.EXTEND, **before))
    venue.take(concatenate(rows))


def test_what_a_limit_refuses_is_answered_with_a_code_of_its_own_kind() -> None:
    venue = Venue()
    limited(venue, Limit.MAX_ORDER_QTY, max_order_qty=100)
    limited(venue, Limit.MAX_ORDER_VALUE, max_order_value_e4=500 * 10_000)
    limited(venue, Limit.CREDIT, credit_e4=300 * 10_000)
    limited(venue, Limit.MAX_POSITION, max_position_qty=35)
    venue.send(
        (
            1,
            enter("a1", "B", 101, 10_000)
            + enter("a2", "B", 51, 100_000)
            + enter("a3", "B", 36, 10_000)
            + enter("a4", "B", 31, 100_000)
            + enter("a5", "B", 30, 100_000),
        )
    )
    assert venue.short(1) == ["REJECTED a1 m", "REJECTED a2 n", "REJECTED a3 m", "REJECTED a4 n", "ACCEPTED a5 30"]
    venue.send((1, replace("a5", "a6", 31, 100_000)))
    assert venue.short(1) == ["REJECTED a6 n"], "the old order stands"
    limited(venue, Limit.ORDER_RATE, rate_orders=8, rate_window_ns=SECOND_NS)
    venue.send((1, enter("a7", "B", 1, 10_000) + enter("a8", "B", 1, 10_000)), (2, enter("b1", "S", 1, 200_000)))
    assert venue.short(1) == ["REJECTED a7 n", "REJECTED a8 n"]
    venue.send((1, enter("a9", "B", 1, 10_000)))
    assert venue.short(1) == ["REJECTED a9 a"], "eight entries of this second were counted"
    limited(venue, Limit.RESTRICTED, of_symbol=True)
    venue.send((1, enter("aa", "B", 1, 10_000) + cancel("a5")))
    assert venue.short(1) == ["REJECTED aa c", "CANCELED a5 30 U"]
    assert venue.short(2) == []


def test_every_reason_of_a_limit_and_of_a_call_has_a_code_of_its_own_or_a_reason_why_not() -> None:
    for reason in range(Reason.HALTED, Reason.CAPACITY):
        no_code = reason == Reason.STP_NOT_PERMITTED  # OUCH has none; it is OTHER
        assert (Reason(reason) in REJECT_REASONS) is not no_code, Reason(reason).name
    for reason in (Reason.AUCTION, Reason.END_OF_DAY, Reason.HALT, Reason.NO_LIQUIDITY):
        assert reason in CANCEL_REASONS
