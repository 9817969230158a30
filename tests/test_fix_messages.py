"""Messages of FIX order entry as rows, ids as numbers, and records as messages, without a node."""

import re
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.capacity import waiting_max
from engine.records import COMMAND, CommandKind, Instruction, Reason, Side, TimeInForce
from engine.row_bytes import ROW
from gateway.fix import marks, names, orders, records
from gateway.fix.answers import Answers, average_text
from gateway.fix.marks import Mark
from gateway.fix.orders import Refused
from gateway.fix.session import COMP_ID, FixSession
from gateway.fix.streams import FixStreams
from gateway.ouch.context import order_id
from notation.parse import parse
from notation.translate import Translator
from reports.rows import REPORT, ReportKind
from tests import fix_sessions
from wire.errors import ProtocolError
from wire.fix_codec import FrameWriter, Message, Times, body
from wire.fix_dictionary import joined, read_xml
from wire.fix_table import VERSIONS, own
from wire.fix_validation import Validator
from wire.session_state import State

_ENDS = (ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY, ReportKind.REJECTED)
#: OrdStatus of each kind of report, in all versions.
_STATUSES = {
    ReportKind.NEW: (b"0",),
    ReportKind.TRADE: (b"1",),
    ReportKind.CANCELED: (b"4",),
    ReportKind.REPLACED: (b"0", b"1", b"5"),
    ReportKind.REJECTED: (b"8",),
    ReportKind.RESTATED: (b"0", b"1"),
    ReportKind.EXPIRED: (b"C",),
    ReportKind.DONE_FOR_DAY: (b"C",),
    ReportKind.TRIGGERED: (b"0", b"1"),
    ReportKind.REPLENISHED: (b"0", b"1"),
    ReportKind.REPRICED: (b"0", b"1"),
}
ORDER = {11: "a1", 21: "1", 38: "10", 40: "2", 44: "10.05", 54: "1", 55: "XYZ", 60: "20260101-00:00:00"}


def message(kind: bytes = b"D", **changes: "str | None") -> Message:
    fields: dict[int, str | None] = ORDER | {int(tag[1:]): value for tag, value in changes.items()}
    said = body([(tag, value) for tag, value in sorted(fields.items()) if value is not None])
    return Message(FrameWriter("FIX.4.4", "UA", COMP_ID, Times()).frame(kind, 2, time.time_ns(), said))


def _as_session(made: Message) -> list[bytes]:
    orders.symbol_in(made)
    return orders.enter_rows(made, 3, 4, 8, 5)


def entered(**changes: "str | None") -> np.void:
    rows = orders.enter_rows(message(**changes), 3, 4, 8, 5)
    return np.frombuffer(rows[-1], COMMAND)[0]


def test_an_order_says_its_terms_in_its_row() -> None:
    row = entered(f59="6", f126="20990101-00:00:00", f111="4", f18="6")
    assert (row["kind"], row["client_order_id"]) == (CommandKind.ENTER, 0x6131)
    assert [int(row[place]) for place in ("price_e4", "qty", "participant", "instrument")] == [100_500, 10, 4, 5]
    assert (row["side"], row["time_in_force"], row["display_qty"]) == (Side.BUY, TimeInForce.GTD, 4)
    assert row["instructions"] == Instruction.UNTIL | Instruction.DISPLAY | Instruction.POST_ONLY
    context = int(row["context"])
    assert (context & 0xFFFF, marks.next_in_of(context), marks.mark_of(context)) == (3, 8, 0)
    assert entered(f54="2", f40="1", f44=None)["instructions"] == Instruction.MARKET
    assert entered(f40="3", f44=None, f99="9")["stop_e4"] == 90_000
    least = entered(f110="4")
    assert (least["min_qty"], least["instructions"]) == (4, Instruction.MIN_QTY)


def test_what_no_row_can_say_is_refused_and_what_is_out_of_bounds_is_for_the_market() -> None:
    for changes in (
        *({"f11": None}, {"f11": "a b"}, {"f11": "x" * 65}, {"f38": None}, {"f38": "1.5"}, {"f44": None}),
        *({"f44": "10.00001"}, {"f44": "1e40"}, {"f54": "3"}, {"f40": "K"}, {"f59": "5"}, {"f18": "Z"}),
        *({"f38": "1000000"}, {"f38": "99999999999"}, {"f44": "199999.9901"}, {"f44": "99999999"}),
        *({"f55": "TOO-LONG-A-NAME"}, {"f40": "P"}, {"f59": "6"}, {"f2964": "9"}, {"f100": "ELSEWHERE"}, {"f40": "4"}),
    ):
        with pytest.raises(Refused) as refused:
            _as_session(message(**changes))
        assert len(str(refused.value)) <= marks.TEXT_CHARACTERS
    for name, words in (("a b", "field 11 has a bad character"), ("x" * 65, "field 11 is longer than 64")):
        with pytest.raises(Refused, match=words):
            _as_session(message(f11=name))
    assert entered(f38="-5")["qty"] == -5, "the market rejects it, and the reject is in the journal"
    assert entered(f44="-5")["price_e4"] == -50_000
    unknown = orders.enter_rows(message(f55="NONE"), 3, 4, 8, 0)
    assert np.frombuffer(unknown[0], COMMAND)[0]["symbol"] == int.from_bytes(b"NONE", "big")


def test_an_id_is_a_token_up_to_14_characters_and_derived_above() -> None:
    for size in range(1, 15):
        text = b"x" * size
        assert names.id_of(text) == order_id(text.ljust(14))
    ids = {names.id_of(b"order-number-%06d-of-the-day" % each) for each in range(20_000)}
    assert len(ids) == 20_000
    assert max(ids) < 0, "none is a short id"
    for size in (15, 47, 48, 49, 64):
        text = bytes(range(0x21, 0x21 + size))
        rows = marks.name_rows(3, 4, text)
        assert len(rows) == (1 if size <= 48 else 2)
        words = [marks.text_in(tuple(np.frombuffer(extend, "<i8")[:6].tolist())) for extend, _ in rows]
        assert b"".join(words)[:size] == text
        assert all(np.frombuffer(row, COMMAND)[0]["client_order_id"] == 0 for _, row in rows)


def reported(kind: ReportKind, filled: int) -> bytes:
    """A record of a report of an order."""
    row = np.zeros(1, REPORT)
    row["kind"], row["command_kind"], row["seq"], row["number"] = kind, CommandKind.ENTER, 77, 2
    row["side"], row["symbol"], row["qty"], row["time_in_force"] = 1, int.from_bytes(b"XYZ", "big"), 10, 1
    row["cum_qty"], row["notional_e4"], row["order_number"] = filled, filled * 100_001, 9
    row["liquidity"], row["instructions"] = 1, Instruction.HIDDEN
    row["reason"] = Reason.USER if kind != ReportKind.NEW else 0
    row["leaves_qty"] = 0 if kind in _ENDS else 10 - filled
    return records.record_of(5, records.REPORT, row.tobytes(), b"new-id", b"old-id")


_KINDS_OF_ORDERS = [kind for kind in ReportKind if kind <= ReportKind.REPRICED]


def framed(version: str, kind: ReportKind, filled: int) -> Message:
    """The message of a report."""
    (record,) = records.records_in(reported(kind, filled))
    msg_type, fields, time_ns = Answers(version).message(record)
    return Message(FrameWriter(version, COMP_ID, "UA", Times()).frame(msg_type, 5, time_ns, fields))


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_of_each_kind_of_report_are_what_the_tables_say(version: str) -> None:
    for kind, filled in product(_KINDS_OF_ORDERS, (0, 3)):
        said = framed(version, kind, filled)
        fault = Validator(own(version)).fault(said)
        assert fault is None, (fault, said.frame)
        if said.msg_type == b"8":
            total = sum(int(said.fields[tag]) for tag in (b"14", b"151"))
            assert total == (filled if kind in _ENDS else 10)
            assert said.get(b"39") in _STATUSES[kind], (kind, said.frame)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_dictionaries_of_others_take_messages_of_each_kind_of_report(version: str) -> None:
    fixcore = pytest.importorskip("fixcore", reason="fixcore-engine is not installed: make .venv/.extras")
    folder = Path(fixcore.__file__).parent / "specs"
    files = {"FIX.4.2": "FIX42.xml", "FIX.4.4": "FIX44.xml", "FIXT.1.1": "FIX50SP2.xml"}
    theirs = read_xml(folder / files[version])
    if version == "FIXT.1.1":
        theirs = joined(read_xml(folder / "FIXT11.xml"), theirs)
    for kind, filled in product(_KINDS_OF_ORDERS, (0, 3)):
        said = framed(version, kind, filled)
        assert Validator(theirs).fault(said) is None, said.frame


def test_average_prices_are_exact_or_rounded_half_to_even() -> None:
    assert average_text(10**16 * 9, 9) == str(10**12)
    assert average_text(100_001, 2) == "5.00005"
    assert average_text(1, 3) == "0.00003333"
    assert average_text(2, 3) == "0.00006667"


def test_a_record_is_whole_or_not_there() -> None:
    one = records.record_of(1, records.MARK, records.OF_MARK.pack(7, 8, Mark.SESSION))
    both = one + records.record_of(2, records.BUSINESS, b"x" * 30, b"text")
    assert [each.number for each in records.records_in(both)] == [1, 2]
    for end in range(len(one)):
        assert records.record_bytes(one[:end]) == 0


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "what came first is no logon"),
        (b"8=FIX.4.4\x019=5\x0135=0\x0110=161\x01", "length or checksum"),
        (b"8=" + b"9" * 20_000, "length or checksum"),
    ],
)
def test_what_is_no_logon_is_said_in_the_log(first: bytes, why: str) -> None:
    (error,) = FixSession(0).ask(first, 0)
    assert isinstance(error, ProtocolError)
    assert why in str(error)


def test_a_logon_for_somebody_else_or_of_another_version_is_refused() -> None:
    for version, target, why in (("FIX.4.4", "OTHER", "TargetCompID"), ("FIX.4.3", COMP_ID, "another version")):
        fields = body([(98, 0), (108, 30), (554, "secret")])
        frame = FrameWriter(version, "UA", target, Times()).frame(b"A", 1, time.time_ns(), fields)
        session = FixSession(0)
        for at in range(len(frame) - 1):
            assert session.ask(frame[at : at + 1], 0) == []
        (error,) = session.ask(frame[-1:], 0)
        assert why in str(error)
        assert "secret" not in str(error)
        assert session.state is State.LOGIN


# Streams of users, by blocks of an engine.

CAPACITY = Capacity(orders_max=200, ids_max=2_000, instruments_max=4, participants_max=8)
DEFINED = """at 2026-01-05T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
user UA participant=ALPHA
phase XYZ continuous
"""


class Market:
    """An engine whose blocks FIX streams take. ``streams``: those; ``seq``: number of the next command."""

    def __init__(self) -> None:
        self.engine, self.streams, self.seq = Engine(CAPACITY), fix_streams(), 1
        self.read(DEFINED)

    def read(self, text: str) -> None:
        """Take a scenario."""
        translator = Translator(parse(text, "market"), self.engine.directory)
        while (found := translator.next_batch(self.engine.directory)) is not None:
            self.take(found.rows)

    def take(self, rows: "np.ndarray[Any, Any]") -> None:
        """Take COMMAND rows as one block."""
        self.streams(self.seq, rows, self.engine.apply(rows))
        self.seq += len(rows)

    def mark(self, mark: Mark, next_in: int, words: list[int]) -> None:
        """Take a mark of the user."""
        self.take(rows_in(marks.mark_rows(marks.context_of(1, next_in, mark), 1, next_in, words)))


def fix_streams() -> FixStreams:
    return FixStreams(CAPACITY, lambda *_, **__: None, lambda *_, **__: None, lambda *_, **__: None)


def rows_in(parts: "list[bytes]") -> "np.ndarray[Any, Any]":
    return np.frombuffer(b"".join(parts), COMMAND).copy()


def test_an_image_of_streams_goes_on_as_they_do_also_with_orders_that_wait() -> None:
    market = Market()
    long = [b"an-order-with-a-long-name-%d" % number for number in range(3)]
    for name in long:
        for row in marks.name_rows(1, 1, name):
            market.take(rows_in(row))
    market.mark(Mark.MASS_CANCEL, 2, [0, 0, 0, 0, 0, 0])
    market.read("venue speed_bump=1s\n")
    for number, name in enumerate(long, 3):
        market.take(rows_in(orders.enter_rows(message(t11=name.decode()), 1, 1, number, 1)))
    image = market.streams.image()
    assert len(image["delayed keys"]) == 3
    again = fix_streams()
    again.restore({name: array.copy() for name, array in image.items()}, market.seq - 1)
    for name, array in again.image().items():
        assert array.tobytes() == image[name].tobytes(), name
    assert again.unmet_mass_cancel(1) == (0, 0)
    assert again.names_held(1) == market.streams.names_held(1) == 3


def test_a_number_is_consumed_as_its_command_is_journaled_also_where_a_logon_finds_no_room_to_wait() -> None:
    """Else the client is asked for an order again that waits for its effect, and is told that it was refused."""
    market = Market()
    market.read("venue speed_bump=1s\n")
    room = waiting_max(CAPACITY.orders_max)
    for number in range(room):
        market.take(rows_in(orders.enter_rows(message(f11=f"o{number}"), 1, 1, 2 + number, 1)))
    assert int(market.streams.next_in[1]) == room + 1
    told: list[records.Record] = []
    market.streams._deliver = lambda segment: told.extend(records.records_in(segment.data))
    market.mark(Mark.SESSION, 0, [])
    (answer,) = [each for each in told if each.kind == records.MARK]
    assert records.OF_MARK.unpack(answer.data)[1] == room + 1, "the number behind the last that waits"


@pytest.mark.parametrize("together", [False, True])
def test_a_user_who_has_not_spoken_has_numbers_and_no_records_wherever_a_block_ends(together: bool) -> None:
    market = Market()
    told: list[records.Record] = []
    market.streams._deliver = lambda segment: told.extend(records.records_in(segment.data))
    silent = [ROW.unpack(row) for row in orders.enter_rows(message(f11="quiet"), 1, 1, 2, 1)]
    by_ouch = [ROW.pack(*(1 if at == 1 else value for at, value in enumerate(row))) for row in silent]
    mark = marks.mark_rows(marks.context_of(1, 1, Mark.SESSION), 1, 7)
    status = marks.mark_rows(marks.context_of(1, 2, Mark.STATUS), 1, 8, [names.id_of(b"quiet"), 0, 0, 0, 1, 0])
    for rows in [[*by_ouch, *mark, *status]] if together else [by_ouch, mark, status]:
        market.take(rows_in(rows))
    assert [(each.number, each.kind) for each in told] == [(2, records.MARK), (3, records.STATUS)]
    assert records.PLACES.unpack(told[1].data[: records.ROW_BYTES])[records.PLACE["leaves_qty"]] == 10, (
        "its open order is known"
    )


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_status_is_sent_at_the_time_of_its_answer_however_old_its_order_is(version: str, again: bool) -> None:
    """Clients end a session whose messages are more than two minutes old, as QuickFIX does."""
    market = Market()
    told: list[records.Record] = []
    market.streams._deliver = lambda segment: told.extend(records.records_in(segment.data))
    market.mark(Mark.SESSION, 1, [])
    market.take(rows_in(orders.enter_rows(message(f11="a1"), 1, 1, 2, 1)))
    market.read("at 2026-01-05T11:30:00\n")
    if again:  # a copy of the order, as a client resends it that knows of no answer
        market.take(rows_in(marks.with_flags(orders.enter_rows(message(f11="a1"), 1, 1, 3, 1), marks.RESENT)))
    else:
        market.mark(Mark.STATUS, 3, [names.id_of(b"a1"), 0, 0, 0, 1, 0])
    answers = [Answers(version).message(each) for each in told if each.kind in (records.REPORT, records.STATUS)]
    assert len(answers) == 2
    (_, _, entered_ns), (_, fields, told_ns) = answers
    assert b"\x0137=1\x01" in fields
    assert b"\x0139=0\x01" in fields
    assert told_ns - entered_ns >= 7_200 * 10**9
    assert b"\x0160=%b\x01" % Times().text(entered_ns) in fields, "what it tells of the order was so since then"


def test_a_reset_begins_both_numbers_of_its_user_again() -> None:
    market = Market()
    for next_in in (2, 7):
        market.mark(Mark.SESSION, next_in, [])
    assert (market.streams.next_in[1], market.streams.next_out[1]) == (7, 3)
    market.mark(Mark.RESET, 0, [])
    assert (market.streams.next_in[1], market.streams.next_out[1]) == (1, 2), "the answer to the logon has number 1"
    market.mark(Mark.SESSION, 3, [])
    assert (market.streams.next_in[1], market.streams.next_out[1]) == (3, 3)


def test_a_mass_cancel_is_met_by_one_of_its_participant_and_of_what_it_names() -> None:
    market = Market()
    market.read("participant BETA\n")
    market.mark(Mark.MASS_CANCEL, 2, [0, 0, 0, 0, 0, 0])
    market.read("mass_cancel BETA\n")
    assert market.streams.unmet_mass_cancel(1) == (0, 0)
    market.read("mass_cancel ALPHA symbol=XYZ\n")
    assert market.streams.unmet_mass_cancel(1) == (0, 0)
    market.read("mass_cancel ALPHA\n")
    assert market.streams.unmet_mass_cancel(1) is None


@pytest.mark.parametrize(("code", "side"), [("1", Side.BUY), ("2", Side.SELL), (None, 0)])
def test_a_mass_cancel_is_of_the_symbol_and_the_side_that_it_names(code: str | None, side: int) -> None:
    market = Market()
    made, writer = live_session(market.streams)
    fields = [(11, "m1"), *([(54, code)] if code else []), (55, "XYZ"), (60, "20260101-00:00:00"), (530, "1")]
    _, rows, _ = made.read(memoryview(writer.frame(b"q", 2, time.time_ns(), body(fields))), 256, market.streams, 1, 1)
    market.take(rows_in(rows))
    assert market.streams.unmet_mass_cancel(1) == (int.from_bytes(b"XYZ", "big"), side)
    if code:
        market.read(f"mass_cancel ALPHA symbol=XYZ side={'sell' if code == '1' else 'buy'}\n")
        assert market.streams.unmet_mass_cancel(1) is not None, "the other side was canceled"
    market.read(f"mass_cancel ALPHA symbol=XYZ{(' side=buy', ' side=sell')[code == '2'] if code else ''}\n")
    assert market.streams.unmet_mass_cancel(1) is None


def test_a_mass_cancel_that_was_lost_is_not_done_to_later_orders() -> None:
    for day in (False, True):
        market = Market()
        market.mark(Mark.MASS_CANCEL, 2, [0, 0, 0, 0, 0, 0])
        assert market.streams.unmet_mass_cancel(1) == (0, 0)
        if day:
            market.read("at 2026-01-06T09:30:00\n")
        else:
            market.take(rows_in(orders.enter_rows(message(), 1, 1, 3, 1)))
        assert market.streams.unmet_mass_cancel(1) is None


def test_a_time_that_no_row_holds_is_refused() -> None:
    for text in ("99991231-23:59:59", "22620412-00:00:00", "21160220-23:53:39"):
        with pytest.raises(Refused, match="after the year 2115"):
            orders.enter_rows(message(t59="6", t126=text), 1, 1, 3, 1)
    assert orders.enter_rows(message(t59="6", t126="21160220-23:53:38"), 1, 1, 3, 1)


def test_a_reason_is_told_to_its_end() -> None:
    """A business reject has room for 32 characters of text: what is longer would be cut."""
    folder = Path(orders.__file__).parent
    said = [text for path in folder.glob("*.py") for text in re.findall(r'Refused\(\s*f?"([^"]*)"', path.read_text())]
    said += re.findall(r'mark_business_reject\([^"]*"([^"]+)"', (folder / "session.py").read_text())
    assert len(said) > 20
    assert [text for text in said if len(text.replace("{tag.decode()}", "1138")) > marks.TEXT_CHARACTERS] == []


def live_session(streams: FixStreams) -> tuple[FixSession, FrameWriter]:
    """A session that is logged on as user 1, and what frames its messages."""
    writer = FrameWriter("FIX.4.4", "UA", COMP_ID, Times())
    made = FixSession(0)
    made.ask(writer.frame(b"A", 1, time.time_ns(), body([(98, "0"), (108, 30), (554, "x")])), 0)
    made.accept_login("", 1, 0, 0)
    _, rows, _ = made.read(memoryview(b""), 256, streams, 1, 1)
    number = ROW.unpack(rows[-1])[3]
    made.outgoing(records.record_of(1, records.MARK, records.OF_MARK.pack(number, 1, 1)))
    return made, writer


def rejects(rows: "list[bytes]") -> list[Mark]:
    """Marks of refusals among rows."""
    found = [marks.mark_of(ROW.unpack(row)[1]) for row in rows if ROW.unpack(row)[8] == CommandKind.CANCEL]
    return [Mark(each) for each in found if each in (Mark.BUSINESS_REJECT, Mark.REFUSED)]


@pytest.mark.parametrize("version", ["FIX.4.2", "FIX.4.4", "FIXT.1.1"])
def test_each_type_that_is_not_served_has_one_business_reject_with_its_type_and_a_text(version: str) -> None:
    """Replace and cancel of a cross say why there is none."""
    streams = Market().streams
    made, writer = fix_sessions.live_session(version, streams)
    unserved = sorted(own(version).unserved)
    assert {"t", "u", "i", "a"} <= set(unserved)
    assert not {"D", "G", "F", "H"} & set(unserved)
    for number, kind in enumerate(unserved, 2):
        frame = writer.frame(kind.encode(), number, fix_sessions.NOW_NS, body([(1, "x")]))
        _, rows, _ = made.read(memoryview(frame), 256, streams, 1, 1)
        (extend, mark) = [ROW.unpack(row) for row in rows]
        assert marks.mark_of(mark[1]) == Mark.BUSINESS_REJECT
        assert marks.next_in_of(mark[1]) == number + 1, "its number is used"
        assert extend[0].to_bytes(8, "big").lstrip(bytes(1)) == kind.encode()
        text = marks.text_in((*extend[2:6], 0, 0)).rstrip(bytes(1)).decode()
        assert (extend[1], text) == (3, "a cross is executed at once" if kind in "tu" else "Unsupported Message Type")
    refusal = body([(45, 1), (58, "no"), (372, "8"), (380, 3)])
    frame = writer.frame(b"j", len(unserved) + 2, fix_sessions.NOW_NS, refusal)
    _, rows, _ = made.read(memoryview(frame), 256, streams, 1, 1)
    assert rows == [], "a reject is not rejected: that would go on without end"
    assert made._core is not None
    assert made._core.store.in_seq == len(unserved) + 3, "its number is used"
    assert made.state is State.LIVE


def test_a_message_that_no_row_holds_is_rejected_and_the_session_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many users have one gateway, which no message of one of them may end."""
    streams = Market().streams
    made, writer = live_session(streams)
    order = {**ORDER, 59: "6", 126: "99991231-23:59:59"}
    far = writer.frame(b"D", 2, time.time_ns(), body(sorted(order.items())))
    _, rows, _ = made.read(memoryview(far), 256, streams, 1, 1)
    assert len(rejects(rows)) == 1
    monkeypatch.setattr(orders, "_until_ns", lambda _message: 2**70)
    unforeseen = writer.frame(b"D", 3, time.time_ns(), body(sorted(order.items())))
    _, rows, _ = made.read(memoryview(unforeseen), 256, streams, 1, 1)
    assert len(rejects(rows)) == 1
    assert made.state is State.LIVE


def test_long_ids_of_a_user_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.fix.entering.NAMES_MAX", 3)
    market = Market()
    made, writer = live_session(market.streams)
    rejected = []
    for number in range(5):
        asked = body([(11, f"status of a long name {number}".replace(" ", "-")), (54, "1"), (55, "XYZ")])
        frame = writer.frame(b"H", 2 + number, time.time_ns(), asked)
        _, rows, _ = made.read(memoryview(frame), 256, market.streams, 1, 1)
        rejected.append(len(rejects(rows)))
        market.take(rows_in(rows))
    assert rejected == [0, 0, 0, 1, 1]
    assert market.streams.names_held(1) == 3
    market.read("at 2026-01-06T09:30:00\n")
    assert market.streams.names_held(1) == 0


# Crosses.

CROSSING = """participant FIRM
participant BETA
user UF participant=FIRM firm=FIRM
user UB participant=BETA firm=FIRM
user UX participant=ALPHA firm=FIRM
user UA participant=ALPHA firm=FIRM
user UG participant=GAMMA firm=ELSE
"""


def crossing(**changes: "str | None") -> dict[int, "str | None"]:
    fields: dict[int, str | None] = {548: "X1", 549: "1", 550: "0", 55: "XYZ", 40: "2", 44: "10.05", 60: ORDER[60]}
    return fields | {int(tag[1:]): value for tag, value in changes.items()}


def cross_frame(
    writer: FrameWriter, seq: int, sides: "list[tuple[str, str, str, str]]", **changes: "str | None"
) -> bytes:
    """A NewOrderCross. sides: Side, ClOrdID, quantity, participant ("": none)."""
    pairs: list[tuple[int, Any]] = [(tag, value) for tag, value in crossing(**changes).items() if value is not None]
    pairs.append((552, len(sides)))
    for side, name, qty, participant in sides:
        pairs += [(54, side), (11, name)]
        if participant:
            pairs += [(453, 2), (448, "somebody"), (447, "D"), (452, 11), (448, participant), (447, "D"), (452, 1)]
        pairs.append((38, qty))
    return writer.frame(b"s", seq, time.time_ns(), body(pairs))


class Crosses:
    """A market with a firm, and the session of its user."""

    def __init__(self, version: str = "FIX.4.4", speed_bump: bool = False) -> None:
        self.market = Market()
        self.market.read("participant GAMMA\n" + CROSSING)
        self.told: list[records.Record] = []
        self.market.streams._deliver = lambda segment: self.told.extend(
            records.records_in(segment.data) if segment.user == self.user else ()
        )
        self.user = self.market.streams.user("UF")
        self.participant = int(self.market.streams.row(self.user)["participant"])
        self.market.take(rows_in(marks.mark_rows(marks.context_of(self.user, 2, Mark.SESSION), self.participant, 1)))
        if speed_bump:
            self.market.read("venue speed_bump=1s\n")
        self.session, self.writer = live_session(self.market.streams)
        self.answers, self.version, self.seq = Answers(version), version, 2
        self.told.clear()

    def send(self, sides: "list[tuple[str, str, str, str]]", **changes: "str | None") -> list[Message]:
        """Send a cross; the messages that it causes."""
        frame = cross_frame(self.writer, self.seq, sides, **changes)
        self.seq += 1
        _, rows, _ = self.session.read(memoryview(frame), 256, self.market.streams, self.user, self.participant)
        self.market.take(rows_in(rows))
        told, self.told[:] = list(self.told), []
        writer = FrameWriter(self.version, COMP_ID, "UF", Times())
        parts = [(each.number, *self.answers.message(each)) for each in told if self.answers.is_told(each)]
        return [Message(writer.frame(kind, number, time_ns, said)) for number, kind, said, time_ns in parts]


LONG = "a-name-that-is-longer-than-any-order-token-and-than-48-characters"[:64]
BUY, SELL = ("1", "b1", "7", "ALPHA"), ("2", "s1", "7", "BETA")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("speed_bump", [False, True])
@pytest.mark.parametrize("names_of", [("X1", "b1", "s1"), ("X" * 14, "b" * 9, "s" * 14), (LONG, LONG[1:], LONG[2:])])
def test_a_cross_is_told_with_both_of_its_sides(version: str, speed_bump: bool, names_of: tuple[str, str, str]) -> None:
    fix, (cross, buy, sell) = Crosses(version, speed_bump), names_of
    said = fix.send([("1", buy, "7", "ALPHA"), ("2", sell, "7", "BETA")], f548=cross)
    assert [each.msg_type for each in said] == [b"8"] * 4
    traded = b"2" if version == "FIX.4.2" else b"F"
    assert [(each.get(b"150"), each.get(b"39"), each.get(b"54"), each.get(b"11")) for each in said] == [
        (b"0", b"0", b"1", buy.encode()),
        (b"0", b"0", b"2", sell.encode()),
        (traded, b"2", b"1", buy.encode()),
        (traded, b"2", b"2", sell.encode()),
    ]
    for each, filled in zip(said, (0, 0, 7, 7), strict=True):
        assert [each.number(tag) for tag in (b"38", b"14", b"151")] == [7, filled, 7 - filled]
        assert Validator(own(version)).fault(each) is None, each.frame
    party = b"76" if version == "FIX.4.2" else b"448"
    assert [each.get(party) for each in said] == [b"ALPHA", b"BETA"] * 2
    assert [each.get(b"6") for each in said] == [b"0", b"0", b"10.05", b"10.05"]
    assert len({each.get(b"17") for each in said}) == 4
    assert len({each.get(b"37") for each in said}) == 1
    if version != "FIX.4.2":
        assert {(each.get(b"548"), each.get(b"549")) for each in said} == {(cross.encode(), b"1")}
    assert int(fix.market.streams.next_in[fix.user]) == 3


def test_a_cross_that_the_market_refuses_is_told_with_both_of_its_sides() -> None:
    fix = Crosses()
    fix.send([BUY, SELL])
    for changes, sides, reason in (
        ({}, [BUY, SELL], b"duplicate_id"),
        ({"f548": "X2", "f44": "10.005"}, [BUY, SELL], b"invalid_tick"),
        ({"f548": "X3"}, [BUY, ("2", "s1", "7", "ALPHA")], b"invalid_instruction"),
    ):
        said = fix.send(sides, **changes)
        assert [(each.get(b"150"), each.get(b"39"), each.get(b"54"), each.get(b"151")) for each in said] == [
            (b"8", b"8", b"1", b"0"),
            (b"8", b"8", b"2", b"0"),
        ]
        assert {each.get(b"58") for each in said} == {reason}
        assert {each.get(b"55") for each in said} == {b"XYZ"}


def test_a_cross_that_the_gateway_does_not_take_gets_a_business_reject() -> None:
    fix = Crosses()
    fix.market.read("user UG participant=ALPHA firm=ELSE\n")  # a user of ALPHA trades for somebody else too
    own_side = ("1", "b1", "7", "")
    for changes, sides, reason in (
        ({}, [BUY, SELL], b"6"),
        ({}, [own_side, ("2", "s1", "7", "GAMMA")], b"6"),
        ({}, [own_side, ("2", "s1", "7", "NOBODY")], b"6"),
        ({}, [own_side, own_side], b"0"),
        ({}, [own_side], b"0"),
        ({}, [own_side, SELL, ("2", "s2", "7", "BETA")], b"0"),
        ({}, [own_side, ("2", "s1", "8", "BETA")], b"0"),
        ({}, [own_side, ("2", "s1", "7", "NINE-CHAR")], b"0"),
        ({"f549": "2"}, [own_side, SELL], b"0"),
        ({"f550": "1"}, [own_side, SELL], b"0"),
        ({"f40": "1"}, [own_side, SELL], b"0"),
        ({"f44": None}, [own_side, SELL], b"5"),
        ({"f55": "NONE"}, [own_side, SELL], b"2"),
        ({"f59": "1"}, [own_side, SELL], b"0"),
        ({"f100": "MIDPOINT"}, [own_side, SELL], b"0"),
        ({"f548": "a b"}, [own_side, SELL], b"0"),
    ):
        (said,) = fix.send(sides, **changes)
        assert (said.msg_type, said.get(b"372"), said.get(b"380")) == (b"j", b"s", reason), (changes, sides)
    assert [each.get(b"448") for each in fix.send([own_side, SELL])] == [b"FIRM", b"BETA"] * 2
