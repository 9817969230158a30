"""Requests of FIX order entry that are not taken as they are, answered where their senders look for it."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.fix import records
from gateway.fix.answers import Answers
from gateway.fix.marks import Mark
from gateway.fix.session import COMP_ID, FixSession
from tests import fix_sessions
from tests.test_fix_messages import Market, rows_in
from tests.test_fix_session import VALIDATORS
from wire.fix_codec import Cutter, FrameWriter, Message, Times, body
from wire.fix_table import VERSIONS

TIME = "20260101-00:00:00"
ORDER = {11: "a1", 21: "1", 38: "10", 40: "2", 44: "10.00", 54: "1", 55: "XYZ", 60: TIME}
CHANGE = {11: "c1", 41: "a1", 54: "1", 55: "XYZ", 60: TIME}
REPLACE = {**CHANGE, 21: "1", 38: "12", 40: "2", 44: "10.00"}


class Desk:
    """A session of user UA on a market in this process."""

    def __init__(self, version: str = "FIX.4.4") -> None:
        self.market, self.version, self.seq = Market(), version, 2
        self.stored = b""
        self.market.streams._deliver = self._deliver
        self.session, self.writer = fix_sessions.live_session(version, self.market.streams)
        self.market.mark(Mark.SESSION, 2, [])
        self.stored = b""  # the answer to its logon

    def _deliver(self, segment: Any) -> None:
        self.stored += segment.data

    def _taken(self) -> bytes:
        stored, self.stored = self.stored, b""
        return stored

    def arrive(self, *messages: "tuple[bytes, Mapping[int, str | bytes | None]]", **header: str) -> None:
        """Take messages of the client in one turn, into one block of the market."""
        said = [(int(tag[1:]), value.encode()) for tag, value in header.items()]
        data = b""
        for kind, fields in messages:
            pairs = body(sorted((tag, value) for tag, value in fields.items() if value is not None))
            data += self.writer.routed(kind, self.seq, fix_sessions.NOW_NS, pairs, header=said)
            self.seq += 1
        while data or self.session.asks:
            taken, rows, _ = self.session.read(memoryview(data), 256, self.market.streams, 1, 1)
            data = data[taken:]
            self.market.take(rows_in(rows))

    def send(self, kind: bytes, fields: "Mapping[int, str | bytes | None]", **header: str) -> list[Message]:
        """Send a message; what the market and the gateway say to it."""
        self.arrive((kind, fields), **header)
        found: list[Message] = []
        for each in records.records_in(self._taken()):
            answers = Answers(self.version)
            if answers.is_told(each):
                msg_type, said, time_ns = answers.message(each)
                route = [pair.split(b"=", 1) for pair in each.route.split(b"\x01") if pair]
                writer = FrameWriter(self.version, COMP_ID, "UA", Times())
                more = [(int(tag), value) for tag, value in route]
                found.append(Message(writer.routed(msg_type, each.number, time_ns, said, header=more)))
        for message in found:
            assert VALIDATORS[self.version].fault(message) is None, message.frame
        return found

    def answer(self, kind: bytes, fields: "dict[int, str | None]", **header: str) -> Message:
        """Send a message; the one answer."""
        (found,) = self.send(kind, fields, **header)
        return found


#: Values that a field may come with, whatever it is.
BROKEN = (
    *(b"", b" ", b"  ", b"x", b"-1", b"0", b"1.5", b"\x02", b"\x00", b"\xff\xfe", b"9" * 30, b"A" * 300, b"=", b"a=b"),
    *(
        b"ZZZ",
        b"1 2",
        b"Y",
        b"-",
        b"1e9",
        b"NaN",
        b"\x7f" * 8,
        b"4294967296",
        b"9223372036854775808",
        TIME.encode(),
        b"\n",
    ),
)
#: Messages of which each field is broken, and fields that they do not have.
WHOLE: dict[bytes, dict[int, str]] = {
    b"D": ORDER,
    b"F": CHANGE,
    b"G": REPLACE,
    b"H": {11: "a1", 54: "1", 55: "XYZ"},
    b"q": {11: "m1", 530: "7", 60: TIME},
    b"s": {**ORDER, 548: "x1", 549: "1", 550: "0", 552: "2"},
    b"R": {131: "r", 146: "1", 55: "XYZ"},
    b"V": {262: "v"},
    b"t": {548: "c", 551: "o"},
}
FURTHER = (1, 15, 18, 41, 59, 97, 99, 100, 110, 111, 115, 116, 126, 211, 379, 432, 528, 529, 530, 548, 1138, 2964, 9999)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("version", VERSIONS)
def test_no_broken_field_ends_the_gateway_and_each_answer_is_valid(version: str, kind: bytes) -> None:
    assert not broken_answers(version, kind)


def test_answers_that_repeat_what_no_message_may_have_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a refusal of a change that repeats a broken OrigClOrdID is not valid."""
    monkeypatch.setattr("gateway.fix.entering._has_room_for", lambda *_: True)
    assert {tag for tag, _, _ in broken_answers("FIX.4.4", b"F")} == {41}


def broken_answers(version: str, kind: bytes) -> list[tuple[int, bytes, str]]:
    """Tags and values of messages with a fault in their answers, and what it is."""
    found, number, desk = [], 0, Desk(version)
    for tag in (*WHOLE[kind], *FURTHER):
        for broken in BROKEN:
            number += 1
            fields = {**WHOLE[kind], tag: broken} | ({11: f"n{number}"} if 11 in WHOLE[kind] and tag != 11 else {})
            try:
                desk.send(kind, fields)
            except Exception as fault:
                found.append((tag, broken, f"{type(fault).__name__}: {fault}"))
                desk = Desk(version)
            if desk.session.over:
                desk = Desk(version)
    return found


def said(message: Message, *tags: int) -> list[str]:
    """Type and fields of a message."""
    return [message.msg_type.decode(), *((message.get(b"%d" % tag) or b"-").decode() for tag in tags)]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_cancel_or_replace_of_another_side_or_symbol_is_of_an_unknown_order(
    version: str, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not plain:
        monkeypatch.setattr(FixSession, "_reads_plain", lambda *_: False)
    desk = Desk(version)
    desk.send(b"D", ORDER)
    text = "not the Side or Symbol of it"
    for wrong in ({54: "2"}, {55: "ZZZ"}, {55: "XYZA"}, {55: "XY"}, {55: "A-LONG-SYMBOL"}, {54: "2", 55: "ZZZ"}):
        refused = desk.answer(b"F", CHANGE | wrong)
        assert said(refused, 11, 41, 37, 39, 102, 434, 58) == ["9", "c1", "a1", "NONE", "8", "1", "1", text]
        refused = desk.answer(b"G", REPLACE | wrong)
        assert said(refused, 11, 41, 37, 39, 102, 434, 58) == ["9", "c1", "a1", "NONE", "8", "1", "2", text]
        unknown = desk.answer(b"H", {11: "a1", 54: "1", 55: "XYZ"} | wrong)
        if "A-LONG-SYMBOL" in wrong.values():
            assert said(unknown, 379, 380) == ["j", "a1", "2"]
        else:
            assert said(unknown, 11, 39, 37) == ["8", "a1", "8", "NONE"]
    known = desk.answer(b"H", {11: "a1", 54: "1", 55: "XYZ"})
    assert said(known, 39, 38) == ["8", "0", "10"], "nothing happened to it"
    assert said(desk.answer(b"G", REPLACE), 150, 38) == ["8", "5", "12"]
    assert said(desk.answer(b"F", CHANGE | {11: "c2", 41: "c1"}), 150) == ["8", "4"]
    assert said(desk.answer(b"F", CHANGE | {41: "nobody"}), 102) == ["9", "1"]


@pytest.mark.parametrize("plain", [True, False])
def test_a_replace_that_asks_for_what_no_replace_changes_is_refused_and_one_that_repeats_it_is_fine(
    plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not plain:
        monkeypatch.setattr(FixSession, "_reads_plain", lambda *_: False)
    until = "20990101-00:00:00"
    for terms, repeats, changes in (
        ({}, {59: "0"}, {59: "3"}),
        ({}, {59: "0", 18: "1"}, {18: "6"}),
        ({}, {2964: "1"}, {2964: "2"}),
        ({}, {}, {100: "MIDPOINT"}),
        ({59: "1"}, {59: "1"}, {59: "0"}),
        ({59: "6", 126: until}, {59: "6", 126: until}, {126: "20990102-00:00:00"}),
        ({18: "6"}, {18: "6"}, {18: "1"}),
        ({}, {}, {110: "6"}),
        ({111: "5"}, {111: "5", 1084: "1"}, {1084: "3"}),
        ({59: "1"}, {}, {432: "20990101"}),
        ({40: "P", 18: "R"}, {40: "P", 18: "R", 211: "0"}, {211: "-0.02"}),
        ({40: "P", 18: "R"}, {40: "P"}, {40: "P", 18: "M"}),
    ):
        desk = Desk()
        desk.send(b"D", ORDER | {38: "8"} | terms)
        tag = next(iter(set(changes) - {40}))
        refused = desk.answer(b"G", REPLACE | changes)
        assert said(refused, 434, 102, 58, 39) == ["9", "2", "99", f"no replace changes field {tag}", "0"]
        assert not (desk.send(b"G", REPLACE | repeats)[0].get(b"58") or b"").startswith(b"no replace"), repeats


@pytest.mark.parametrize("version", VERSIONS)
def test_an_order_that_no_row_can_say_is_rejected_by_an_execution_report(version: str) -> None:
    desk = Desk(version)
    old = version == "FIX.4.2"
    long = "a-name-that-is-longer-than-any-order-token-and-than-48-characters"[:64]
    for wrong, later in (
        ({54: "5"}, "11"),
        ({40: "K"}, "11"),
        ({59: "6"}, "99"),
        ({38: "1.5"}, "13"),
        ({44: "10.00001"}, "11"),
        ({38: "1000000"}, "13"),
        ({44: "200000"}, "11"),
        ({55: "A-LONG-SYMBOL"}, "1"),
    ):
        for name in ("a1", long):
            fields = ORDER | wrong | {11: name}
            rejected = desk.answer(b"D", fields)
            assert said(rejected, 150, 39, 11, 37, 54, 55) == ["8", "8", "8", name, "NONE", fields[54], fields[55]]
            assert rejected.get(b"103") == (b"0" if old and later != "1" else later.encode()), wrong
            assert rejected.get(b"58")
    assert said(desk.answer(b"D", ORDER), 150) == ["8", "0"], "the id was not used"
    refused = desk.answer(b"G", REPLACE | {40: "K"})
    assert said(refused, 434, 102, 39, 41) == ["9", "2", "2" if old else "99", "0", "a1"]
    assert int(desk.market.streams.next_in[1]) == desk.seq


@pytest.mark.parametrize("version", VERSIONS)
def test_a_term_that_does_not_go_with_the_order_is_refused_and_not_left_out(version: str) -> None:
    """Else the order works by other terms than its client has asked for."""
    desk, until = Desk(version), "20990101-00:00:00"
    stop, peg = {40: "4", 99: "11.00", 44: "11.10"}, {40: "P", 18: "R"}
    for terms, why in (
        ({99: "9.00"}, "field 99 is of stop orders"),
        ({40: "1", 44: None, 59: "3", 99: "9.00"}, "field 99 is of stop orders"),
        ({40: "1", 59: "3"}, "field 44 is of limit orders"),
        ({40: "1", 44: "0.0001", 59: "3"}, "field 44 is of limit orders"),
        ({40: "3", 99: "11.00"}, "field 44 is of limit orders"),
        ({211: "-0.01"}, "field 211 is of pegged orders"),
        ({126: until}, "fields 126 and 432 go with 59=6"),
        ({59: "3", 126: until}, "fields 126 and 432 go with 59=6"),
        ({432: "20990101"}, "fields 126 and 432 go with 59=6"),
        ({59: "6", 432: "20990101"}, "give field 126 in place of 432"),
        ({59: "6", 126: until, 432: "20990101"}, "give field 126 in place of 432"),
        ({59: "6", 126: until, 110: "5"}, "no field 110 with 59=6"),
        (stop | {111: "5"}, "a stop or peg shows no part"),
        (peg | {111: "5"}, "a stop or peg shows no part"),
        (peg | {18: "R M"}, "field 18 names two pegs"),
        ({111: "5", 1138: "4"}, "fields 111 and 1138 differ"),
        ({111: "5", 1084: "3"}, "this DisplayMethod is not served"),
    ):
        assert said(desk.answer(b"D", ORDER | terms), 150, 39, 58) == ["8", "8", "8", why], terms
    known = desk.answer(b"D", ORDER | stop)
    assert said(known, 150, 99) == ["8", "0", "11"]
    for terms, why in (
        ({99: "9.00"}, "field 99 is of stop orders"),
        (stop | {111: "5"}, "a stop or peg shows no part"),
        ({40: "1"}, "field 44 is of limit orders"),
    ):
        assert said(desk.answer(b"G", REPLACE | terms), 58, 39) == ["9", why, "0"]
    for name, none in (("m1", None), ("m2", "0"), ("m3", "0.00")):
        new, *_ = desk.send(b"D", ORDER | {11: name, 40: "1", 44: none, 59: "3"})
        assert said(new, 150, 11) == ["8", "0", name], "no price, or 0, is that of a market order"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("side", "away", "toward"), [("1", "-0.02", "0.02"), ("2", "0.02", "-0.02")])
@pytest.mark.parametrize("peg", ["R", "P"])
def test_an_offset_is_added_to_what_a_peg_follows(version: str, side: str, away: str, toward: str, peg: str) -> None:
    """PegOffsetValue has a sign of its own; the rulebook's offset always leads away from the market."""
    desk = Desk(version)
    pegged = {11: "a2", 40: "P", 18: peg, 54: side}
    told = desk.answer(b"D", ORDER | pegged | {211: away})
    assert said(told, 150, 40, 18, 211) == ["8", "0", "P", peg, away]
    (order,) = desk.market.streams._orders.open_orders().rows
    assert records.PLACES.unpack(order.tobytes())[records.PLACE["offset_e4"]] == 200
    change = REPLACE | pegged | {11: "a3", 41: "a2"}
    assert said(desk.answer(b"G", change | {211: toward}), 58) == ["9", "no replace changes field 211"]
    assert said(desk.answer(b"G", change | {211: away}), 150, 211) == ["8", "5", away]
    assert said(desk.answer(b"D", ORDER | pegged | {11: "a4", 211: toward}), 150, 211) == ["8", "8", toward]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_quantity_or_price_beyond_the_bounds_is_told_as_it_came(version: str) -> None:
    """The market was given the number negated, and told it so."""
    desk = Desk(version)
    for tag, number, text in (
        (38, "1000000", "field 38 is above 999999"),
        (38, "100000000000", "field 38 is above 999999"),
        (44, "200000", "field 44 is above 199999.99"),
    ):
        for kind, fields, more in ((b"D", ORDER, {}), (b"D", ORDER, {18: "1"}), (b"G", REPLACE, {})):
            rejected = desk.answer(kind, fields | more | {tag: number})
            assert rejected.get(b"58") == text.encode(), (kind, more)
            assert rejected.get(b"38") in (None, fields[38].encode(), number.encode())
            assert rejected.get(b"44") in (None, fields[44].encode(), number.encode())
    assert said(desk.answer(b"D", ORDER | {38: "999999", 44: "199999.99"}), 150, 38, 44) == [
        "8",
        "0",
        "999999",
        "199999.99",
    ]


@pytest.mark.parametrize("version", ["FIX.4.4", "FIXT.1.1"])
def test_a_mass_cancel_that_is_not_done_is_said_in_its_report(version: str) -> None:
    desk = Desk(version)
    for fields, reason in (({530: "2"}, "0"), ({530: "1", 55: "NONE"}, "1"), ({530: "1", 55: "A-LONG-SYMBOL"}, "1")):
        rejected = desk.answer(b"q", {11: "m1", 60: TIME} | fields)
        assert said(rejected, 11, 530, 531, 532) == ["r", "m1", fields[530], "0", reason]
    assert desk.session.take_mass_cancel() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_business_reject_names_the_message_that_it_is_about(version: str) -> None:
    desk = Desk(version)
    for kind, fields, name in (
        (b"H", {11: "a1", 54: "5", 55: "XYZ"}, "a1"),
        (b"i", {117: "q1"}, "q1"),
        (b"D", ORDER | {11: "x" * 65}, "x" * 65),
        (b"D", ORDER | {11: "a b"}, "a b"),
    ):
        rejected = desk.answer(kind, fields)
        assert said(rejected, 372, 379) == ["j", kind.decode(), name]
        assert rejected.get(b"45") == b"%d" % (desk.seq - 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_order_that_may_have_come_before_is_told_as_it_is(version: str) -> None:
    desk = Desk(version)
    assert said(desk.answer(b"D", ORDER, f97="Y"), 150, 39) == ["8", "0", "0"], "it had not come"
    status = "0" if version == "FIX.4.2" else "I"
    known = desk.answer(b"D", ORDER, f97="Y")
    assert said(known, 150, 39, 11, 151) == ["8", status, "0", "a1", "10"]
    assert known.get(b"37") != b"NONE"
    desk.send(b"F", CHANGE)
    ended = desk.answer(b"D", ORDER, f97="Y")
    assert said(ended, 150, 39, 11) == ["8", "4" if version == "FIX.4.2" else "I", "4", "a1"]
    desk.arrive((b"D", ORDER | {11: "a2"}))
    told = desk.send(b"D", ORDER | {11: "a2"})
    assert [said(each, 150, 58)[1:] for each in told] == [["0", "-"], ["8", "duplicate_id"]], "it says no PossResend"
    refused = desk.answer(b"D", ORDER | {11: "a3", 55: "NONE"}, f97="Y")
    assert said(refused, 150, 39, 11) == ["8", "8", "8", "a3"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_goes_back_to_the_third_party_that_its_request_came_from(version: str) -> None:
    desk = Desk(version)
    route: dict[str, str] = {"f115": "DESK-7", "f116": "trader"}

    def routed(message: Message) -> list[str]:
        return said(message, 128, 129)[1:]

    assert routed(desk.answer(b"D", ORDER, **route)) == ["DESK-7", "trader"]
    for kind, fields in (
        (b"H", {11: "a1", 54: "1", 55: "XYZ"}),
        (b"D", ORDER | {11: "a2", 40: "K"}),
        (b"D", ORDER),
        (b"G", REPLACE | {54: "2"}),
        (b"G", REPLACE | {41: "nobody"}),
        (b"i", {117: "q1"}),
    ):
        assert routed(desk.answer(kind, fields, **route)) == ["DESK-7", "trader"], kind
        assert routed(desk.answer(kind, fields)) == ["-", "-"], "it came from no third party"
    assert routed(desk.answer(b"F", CHANGE, f115="OTHER")) == ["OTHER", "-"]
    long = "x" * 200
    assert routed(desk.answer(b"F", CHANGE, f115=long, f116="s")) == [long, "s"]


def test_a_message_of_a_third_party_is_sent_with_its_route_also_when_it_is_sent_again() -> None:
    desk = Desk()
    desk.arrive((b"D", ORDER), f115="DESK-7")
    stored = desk._taken()
    _, first = desk.session.outgoing(stored)
    cutter = Cutter()
    cutter.feed(first)
    frames = []
    while (cut := cutter.next()) is not None:
        frames.append(Message(cut[0]))
    assert [(each.msg_type, each.get(b"128")) for each in frames] == [(b"8", b"DESK-7")]
    number = frames[0].number(b"34") or 0
    desk.session.resend(number, number)
    desk.session.take_resend()
    _, again = desk.session.outgoing(stored)
    assert b"\x01128=DESK-7\x01" in again
    assert b"\x0143=Y\x01" in again
