"""States, ids and reasons that FIX tells of orders, by the specification's matrices of order state changes."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from engine import Engine
from engine.records import CommandKind
from engine.row_bytes import ROW
from gateway.fix import marks, records
from gateway.fix.answers import Answers
from gateway.fix.copies import CopyStreams
from gateway.fix.copy_answers import CopyAnswers
from gateway.fix.marks import Mark
from gateway.fix.session import COMP_ID, FixSession
from gateway.fix.streams import FixStreams
from gateway.streams import Segment
from notation.parse import parse
from notation.translate import Translator
from reports.rows import REPORT, ReportKind
from tests.fix_sessions import NOW_NS, live_session
from tests.test_fix_messages import CAPACITY, rows_in
from tests.test_fix_session import VALIDATORS
from wire.fix_codec import FrameWriter, Message, Times, body
from wire.fix_table import VERSIONS

_DEFINED = """at 2026-01-05T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
user UA participant=ALPHA
user UB participant=BETA
user UC participant=ALPHA
phase XYZ continuous
"""
_LONG = "a-name-that-is-longer-than-a-token"
UA, UB, UC = 1, 2, 3
#: Participants of the users.
_OF = {UA: 1, UB: 2, UC: 1}
#: OrdStatus from the highest precedence to the lowest (volume 4, order state changes), as far as versions have them.
_PRECEDENCE_4_2 = (b"6", b"E", b"3", b"B", b"2", b"7", b"9", b"4", b"C", b"1", b"5", b"0", b"8", b"A")
_PRECEDENCE = tuple(each for each in _PRECEDENCE_4_2 if each != b"5")


class Venue:
    """A market whose reports two streams take: one with kernels, and one that makes each record in Python."""

    def __init__(self, version: str = "FIX.4.4", *users: int) -> None:
        self.engine, self.seq, self.version = Engine(CAPACITY), 1, version
        self.told: tuple[list[Segment], list[Segment]] = [], []
        self.streams = [FixStreams(CAPACITY, told.append, lambda *_: None, lambda *_: None) for told in self.told]
        self.streams[1].has_kernel = False
        self.copied: list[records.Record] = []
        self.copies = CopyStreams(CAPACITY, self._deliver_copy, lambda *_: None, lambda *_: None)
        self.read(_DEFINED)
        self.next_in = dict.fromkeys(_OF, 2)
        self.sessions: dict[int, tuple[FixSession, FrameWriter]] = {}
        for user in users or (UA, UB):
            self.take(marks.mark_rows(marks.context_of(user, 2, Mark.SESSION), _OF[user], 1))
            self.sessions[user] = live_session(version, self.streams[0])

    def _deliver_copy(self, segment: Segment) -> None:
        self.copied += records.records_in(segment.data)

    def read(self, text: str) -> list[tuple[int, Message]]:
        """Take a scenario; the messages that it causes, with their users."""
        translator, said = Translator(parse(text, "venue"), self.engine.directory), []
        while (found := translator.next_batch(self.engine.directory)) is not None:
            said += self._take(found.rows)
        return said

    def take(self, rows: list[bytes]) -> list[tuple[int, Message]]:
        """Take rows as one block."""
        return self._take(rows_in(rows))

    def _take(self, rows: "np.ndarray[Any, Any]") -> list[tuple[int, Message]]:
        events = self.engine.apply(rows)
        for streams in (*self.streams, self.copies):
            streams(self.seq, rows, events)
        self.seq += len(rows)
        by_kernel, by_python = ([(each.user, each.data) for each in told] for told in self.told)
        for told in self.told:
            told.clear()
        assert by_kernel == by_python
        images = [{name: array.tobytes() for name, array in each.image().items()} for each in self.streams]
        assert images[0] == images[1]
        answers, said = Answers(self.version), []
        for user, data in by_kernel:
            for record in records.records_in(data):
                if answers.is_told(record):
                    kind, fields, time_ns = answers.message(record)
                    writer = FrameWriter(self.version, COMP_ID, "U", Times())
                    said.append((user, Message(writer.frame(kind, record.number, time_ns, fields))))
        for _, each in said:
            assert VALIDATORS[self.version].fault(each) is None, each.frame
        return said

    def rows(self, user: int, kind: bytes, **fields: Any) -> list[bytes]:
        """Rows that the session of a user makes of a message."""
        return self.read_frames(user, self.frame(user, kind, **fields))

    def read_frames(self, user: int, frames: bytes) -> list[bytes]:
        """Rows that the session of a user makes of what came in one write."""
        taken, rows, _ = self.sessions[user][0].read(memoryview(frames), 256, self.streams[0], user, _OF[user])
        assert taken == len(frames)
        return rows

    def frame(self, user: int, kind: bytes, **fields: Any) -> bytes:
        """The next message of a user."""
        _, writer = self.sessions[user]
        said = {int(tag[1:]): value for tag, value in fields.items()}
        if kind in (b"D", b"G"):
            said = {21: "1", 38: 10, 40: "2", 44: "10.00"} | said
        said = {54: "1", 55: "XYZ"} | said
        if kind != b"H":
            said[60] = Times().text(NOW_NS)
        frame = writer.frame(kind, self.next_in[user], NOW_NS, body(sorted(said.items())))
        self.next_in[user] += 1
        return frame

    def send(self, user: int, kind: bytes, **fields: Any) -> list[tuple[int, Message]]:
        """Send a message; the messages that it causes."""
        return self.take(self.rows(user, kind, **fields))

    def status(self, user: int, name: str) -> Message:
        """Answer to an OrderStatusRequest."""
        ((to, said),) = self.send(user, b"H", f11=name)
        assert to == user
        return said


def fields(message: Message, *tags: int) -> list[str | None]:
    values = [message.get(b"%d" % tag) for tag in tags]
    return [None if value is None else value.decode() for value in values]


def filled(venue: Venue, name: str, qty: int, of: int = 10) -> None:
    """Enter an order of UA, part of which is traded."""
    venue.send(UA, b"D", f11=name, f38=of)
    if qty:
        venue.send(UB, b"D", f11=f"of-{name}"[:14], f54="2", f38=qty)


@pytest.mark.slow_after(9)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize(("old", "new"), [("o3", "o4"), ("token-of-old", "token-of-new"), (_LONG, _LONG + "2")])
@pytest.mark.parametrize("qty", [4, 3])
def test_a_replace_to_what_was_executed_fills_the_order_under_its_new_id(
    version: str, delayed: bool, old: str, new: str, qty: int
) -> None:
    """Matrices D10 to D12: the quantity becomes that executed."""
    venue = Venue(version)
    filled(venue, old, 4)
    if delayed:
        venue.read("venue speed_bump=1s\n")
        assert venue.send(UA, b"G", f11=new, f41=old, f38=qty, f44="9.99") == []
        assert len(venue.streams[0].image()["delayed keys"]) >= 1
        said = venue.read("at 2026-01-05T09:31:00\n")
        venue.read("venue speed_bump=off\n")
    else:
        said = venue.send(UA, b"G", f11=new, f41=old, f38=qty, f44="9.99")
    ((user, told),) = said
    assert user == UA
    expected = [new, old, "5", "2", "4", "4", "0", "10", "9.99"]
    assert fields(told, 11, 41, 150, 39, 38, 14, 151, 6, 44) == expected
    assert len(venue.streams[0].image()["delayed keys"]) == 0, "nothing waits any more"
    assert int(venue.streams[0].next_in[UA]) == venue.next_in[UA], "its number is taken"
    assert fields(venue.status(UA, new), 11, 39, 38, 151) == [new, "2", "4", "0"]
    assert fields(venue.status(UA, old), 39) == ["8"], "as of any order that was replaced"
    ((_, late),) = venue.send(UA, b"F", f11="c1", f41=new)
    assert fields(late, 102, 39, 37) == ["0", "2", *fields(told, 37)]


@pytest.mark.parametrize("sender", [UA, UC])
def test_a_replace_to_what_was_executed_is_told_to_who_sent_it_and_to_who_entered_the_order(sender: int) -> None:
    venue = Venue("FIX.4.4", UA, UB, UC)
    filled(venue, "o3", 4)
    said = venue.send(sender, b"G", f11=_LONG, f41="o3", f38=4)
    assert sorted(user for user, _ in said) == sorted({UA, sender})
    for _, told in said:
        assert fields(told, 11, 41, 150, 39) == [_LONG, "o3", "5", "2"]
    assert fields(venue.status(sender, _LONG), 39) == ["2"]
    assert fields(venue.status(UA, "o3"), 39) == ["8"]


@pytest.mark.parametrize("delayed", [False, True])
def test_a_copy_of_a_replace_to_what_was_executed_says_the_same(delayed: bool) -> None:
    venue = Venue()
    venue.take(marks.mark_rows(marks.context_of(UC, 2, Mark.SESSION, marks.COPIES_NUMBER), _OF[UC], 1))
    filled(venue, "o3", 4)
    if delayed:
        venue.read("venue speed_bump=1s\n")
    venue.send(UA, b"G", f11=_LONG, f41="o3", f38=4)
    venue.read("at 2026-01-05T09:31:00\n")
    last = venue.copied[-1]
    assert (last.kind, last.cl_ord_id, last.orig_cl_ord_id) == (records.COPY, _LONG.encode(), b"o3")
    assert b"\x01150=5\x01" in CopyAnswers("FIX.4.4").message(last)[1]
    assert len(venue.copies.image()["delayed keys"]) == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("old", "new"), [("o1", "o2"), (_LONG, _LONG + "2")])
def test_a_copy_has_the_states_of_the_report_that_the_user_got(version: str, early: bool, old: str, new: str) -> None:
    """Also where the reader has come behind the replace."""
    venue, (entered, change) = Venue(version, UA, UB, UC), _stop_that_is_replaced(old, new)
    reads = marks.mark_rows(marks.context_of(UC, 2, Mark.SESSION, marks.COPIES_NUMBER), _OF[UC], 1)
    begun = venue.take(reads) if early else []
    begun += venue.send(UA, b"D", **entered)
    begun += venue.send(UA, b"G", **change)
    if not early:
        venue.copied.clear()
        begun = venue.take(reads)
    begun += venue.send(UB, b"D", f11="ask", f54="2", f38=1, f44="10.50")
    begun += venue.send(UC, b"D", f11="bid", f38=1, f44="10.50")
    begun += venue.send(UB, b"D", f11="part", f54="2", f38=1, f44="10.60")
    begun += venue.send(UA, b"F", f11="x3", f41=new)
    answers, copies = CopyAnswers(version), []
    for record in venue.copied:
        if record.kind == records.COPY:
            kind, said, time_ns = answers.message(record)
            copies.append(Message(FrameWriter(version, COMP_ID, "U", Times()).frame(kind, 5, time_ns, said)))
    told = sorted(fields(said, 17, 11, 41, 150, 39, 14, 151) for user, said in begun if _OF[user] == _OF[UC])
    assert sorted(fields(said, 17, 11, 41, 150, 39, 14, 151) for said in copies) == told
    replaced = "5" if version == "FIX.4.2" else "0"
    states = [fields(said, 39) for user, said in begun if user == UA]
    assert states == [[each] for each in (*(("0", replaced) if early else ()), replaced, "1", "4")]


def _stop_that_is_replaced(old: str, new: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of a stop and of its replace, which wait for a trade at 10.50."""
    stop = {"f40": "4", "f99": "10.50", "f44": "10.60"}
    return stop | {"f11": old, "f38": 10}, stop | {"f11": new, "f41": old, "f38": 12}


def test_an_order_that_another_user_has_replaced_is_open_under_its_new_id_alone() -> None:
    venue = Venue("FIX.4.4", UA, UB, UC)
    filled(venue, "o3", 4)
    venue.send(UC, b"G", f11="o4", f41="o3", f38=8)
    assert fields(venue.status(UA, "o3"), 39) == ["8"]
    assert fields(venue.status(UC, "o4"), 39, 151) == ["1", "4"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("asked", [b"F", b"G"])
@pytest.mark.parametrize(
    ("ends", "status"), [("filled", "2"), ("canceled", "4"), ("part filled, canceled", "4"), ("expired", "C")]
)
def test_it_is_too_late_to_change_an_order_that_is_closed(version: str, asked: bytes, ends: str, status: str) -> None:
    """Matrix D9. Else the client would take a filled order for one that was rejected."""
    venue = Venue(version)
    if ends == "expired":
        venue.send(UA, b"D", f11="o1", f59="6", f126="20260105-09:31:00")
        venue.read("at 2026-01-05T09:32:00\n")
    else:
        filled(venue, "o1", {"filled": 10, "canceled": 0}.get(ends, 3))
    if "canceled" in ends:
        venue.send(UA, b"F", f11="c0", f41="o1")
    number = fields(venue.status(UA, "o1"), 37)
    ((_, refused),) = venue.send(UA, asked, f11="x1", f41="o1")
    assert refused.msg_type == b"9"
    assert fields(refused, 11, 41, 102, 39, 58) == ["x1", "o1", "0", status, "too_late"]
    assert fields(refused, 37) == number != ["NONE"]
    assert fields(refused, 434) == ["1" if asked == b"F" else "2"]
    assert fields(venue.status(UA, "o1"), 39) == [status], "the same as an OrderStatusRequest says"


def test_an_order_that_is_not_known_any_more_is_unknown() -> None:
    venue = Venue()
    filled(venue, "o1", 10)
    unknown = ["1", "8", "NONE"]
    for name, others in (("never", ()), ("o1", ("day",))):
        if others:
            venue.read("at 2026-01-06T09:30:00\n")
        ((_, refused),) = venue.send(UA, b"F", f11="c1", f41=name)
        assert fields(refused, 102, 39, 37) == unknown, name


def statuses(kind: ReportKind, cum: int, leaves: int, version: str) -> set[bytes]:
    """All states that an order has at once after a report."""
    found = {b"0"}
    if kind == ReportKind.REPLACED and version == "FIX.4.2":
        found.add(b"5")
    if cum and leaves:
        found.add(b"1")
    if cum == 10:
        found.add(b"2")
    if kind == ReportKind.CANCELED:
        found.add(b"4")
    if kind in (ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY):
        found.add(b"C")
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_of_the_states_of_an_order_the_highest_is_told(version: str) -> None:
    precedence = _PRECEDENCE_4_2 if version == "FIX.4.2" else _PRECEDENCE
    seen = set()
    kinds = [kind for kind in ReportKind if kind <= ReportKind.REPRICED]
    for kind, cum in product(kinds, (0, 4, 10)):
        ends = kind in (ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY)
        open_in_full = kind in (ReportKind.RESTATED, ReportKind.TRIGGERED, ReportKind.REPLENISHED, ReportKind.REPRICED)
        if kind in (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED) or (kind == ReportKind.NEW and cum):
            continue
        if (kind == ReportKind.TRADE and not cum) or (cum == 10 and (ends or open_in_full)):
            continue
        row = np.zeros(1, REPORT)
        row["kind"], row["command_kind"], row["side"], row["qty"] = kind, CommandKind.ENTER, 1, 10
        row["symbol"], row["order_number"] = int.from_bytes(b"XYZ", "big"), 9
        row["cum_qty"], row["leaves_qty"] = cum, 0 if ends else 10 - cum
        (record,) = records.records_in(records.record_of(5, records.REPORT, row.tobytes(), b"a", b"b"))
        (status,) = records.records_in(records.record_of(5, records.STATUS, row.tobytes(), b"a"))
        of_order = statuses(kind, cum, 0 if ends else 10 - cum, version)
        highest = next(each for each in precedence if each in of_order)
        for each in (record, status):
            msg_type, said, time_ns = Answers(version).message(each)
            told = Message(FrameWriter(version, COMP_ID, "U", Times()).frame(msg_type, 5, time_ns, said))
            assert told.get(b"39") == highest, (kind, cum)
        session, _ = live_session(version)
        _, frame = session.outgoing(records.record_of(2, records.REPORT, row.tobytes(), b"a", b"b"))
        assert b"\x0139=%b\x01" % highest in frame, "by the kernel too"
        seen.add(highest)
    assert seen == {b"0", b"1", b"2", b"4", b"C"} | ({b"5"} if version == "FIX.4.2" else set())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize(("old", "new"), [("o1", "o2"), (_LONG, _LONG + "2")])
def test_an_order_is_replaced_in_fix_4_2_until_a_part_of_it_is_executed(
    version: str, replaced: bool, old: str, new: str
) -> None:
    """Of the states of an open order Replaced is above New (volume 4), whatever is told of it since."""
    venue = Venue(version, UA, UB, UC)
    stop, change = _stop_that_is_replaced(old, new)
    venue.send(UA, b"D", **stop)
    name = new if replaced else old
    if replaced:
        venue.send(UA, b"G", **change)
    open_status = "5" if replaced and version == "FIX.4.2" else "0"
    assert fields(venue.status(UA, name), 39) == [open_status]
    ((_, refused),) = venue.send(UA, b"G", **(stop | {"f11": "x1", "f41": name, "f44": "999999.00"}))
    assert (refused.msg_type, fields(refused, 39)) == (b"9", [open_status]), "refused by the gateway"
    venue.read("limits ALPHA max_order_qty=15\n")
    venue.send(UB, b"D", f11="ask", f54="2", f38=1, f44="10.50")
    told = venue.send(UC, b"D", f11="bid", f38=1, f44="10.50")
    (triggered,) = [said for user, said in told if user == UA]
    assert fields(triggered, 11, 150, 39) == [name, "L" if version == "FIXT.1.1" else "D", open_status]
    assert fields(venue.status(UA, name), 39) == [open_status]
    ((_, refused),) = venue.send(UA, b"G", f11="x2", f41=name, f38=20, f44="10.60")
    assert (refused.msg_type, fields(refused, 39)) == (b"9", [open_status]), "refused by the market"
    told = venue.send(UB, b"D", f11="hit", f54="2", f38=1, f44="10.60")
    assert [fields(said, 39) for user, said in told if user == UA] == [["1"]]
    assert fields(venue.status(UA, name), 39) == ["1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_status_has_exec_id_0(version: str) -> None:
    venue = Venue(version)
    ((_, new),) = venue.send(UA, b"D", f11="o1")
    for name in ("o1", "none"):
        said = venue.status(UA, name)
        assert fields(said, 17) == ["0"]
        assert fields(said, 20 if version == "FIX.4.2" else 150) == ["3" if version == "FIX.4.2" else "I"]
    assert fields(new, 17) != ["0"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("live", ["live", "a-live-token", _LONG])
@pytest.mark.parametrize("other", ["other", _LONG + "2"])
def test_a_cancel_by_the_id_of_another_open_order_is_refused(version: str, live: str, other: str) -> None:
    venue = Venue(version)
    venue.send(UA, b"D", f11=live, f44="9.00")
    filled(venue, other, 3)
    before = fields(venue.status(UA, other), 37, 39)
    ((_, refused),) = venue.send(UA, b"F", f11=live, f41=other)
    assert refused.msg_type == b"9"
    reason = "2" if version == "FIX.4.2" else "6"
    assert fields(refused, 11, 41, 102, 434, 58) == [live, other, reason, "1", "the ClOrdID is an open order's"]
    assert fields(refused, 37, 39) == before == [*before[:1], "1"]
    assert int(venue.streams[0].next_in[UA]) == venue.next_in[UA]
    assert fields(venue.status(UA, live), 39) == ["0"]
    assert fields(venue.status(UA, other), 39) == ["1"], "it stands"
    ((_, refused),) = venue.send(UA, b"F", f11=live, f41="none")
    assert fields(refused, 37, 39, 102) == ["NONE", "8", reason]
    ((_, canceled),) = venue.send(UA, b"F", f11=other, f41=other)
    assert fields(canceled, 11, 41, 39) == [other, other, "4"]
    ((_, canceled),) = venue.send(UA, b"F", f11="c1", f41=live)
    assert fields(canceled, 11, 41, 39) == ["c1", live, "4"]


@pytest.mark.parametrize("live", ["live", "a-live-token", _LONG])
def test_a_cancel_that_overtakes_the_report_of_the_order_whose_id_it_has_names_its_own_order(live: str) -> None:
    """The gateway has taken it before it has heard of that order."""
    venue = Venue()
    venue.send(UA, b"D", f11="other")
    rows = venue.rows(UA, b"D", f11=live) + venue.rows(UA, b"F", f11=live, f41="other")
    (_, new), (_, canceled) = venue.take(rows)
    assert fields(new, 11, 39) == [live, "0"]
    assert fields(canceled, 11, 41, 39) == ["other", "other", "4"]
    assert fields(venue.status(UA, live), 39) == ["0"]


_LATER = {"f40": "2", "f44": "10.00", "f38": 12}


_CHANGES: list[tuple[bytes, dict[str, Any], bytes]] = [
    (b"F", {}, b"8"),
    (b"G", _LATER, b"8"),
    (b"G", {**_LATER, "f59": "0"}, b"8"),
    (b"F", {"f54": "2"}, b"9"),
    (b"F", {"f55": "OTHER"}, b"9"),
    (b"F", {"f55": "NONE"}, b"9"),
    (b"G", {**_LATER, "f54": "2"}, b"9"),
    (b"G", {**_LATER, "f55": "OTHER"}, b"9"),
    (b"G", {**_LATER, "f59": "1"}, b"9"),
    (b"G", {**_LATER, "f18": "6"}, b"9"),
    (b"G", {**_LATER, "f110": 5}, b"9"),
]


def _early_changes() -> Iterator[Any]:
    """All cases. Those that are not slow have each change with each version, and with each kind of id."""
    lives = ("live", "a-live-token", _LONG)
    for places in product(range(len(VERSIONS)), range(len(lives)), range(len(_CHANGES)), range(2)):
        version, live, change, replaced = places
        marks_of_case = pytest.mark.slow if sum(places) % len(lives) else ()
        yield pytest.param(VERSIONS[version], lives[live], *_CHANGES[change], bool(replaced), marks=marks_of_case)


@pytest.mark.parametrize(("version", "live", "asked", "change", "answer", "replaced"), list(_early_changes()))
def test_a_change_that_comes_with_its_order_is_answered_as_one_that_comes_behind_its_report(
    version: str, live: str, asked: bytes, change: dict[str, Any], answer: bytes, replaced: bool
) -> None:
    """Else a cancel of another side or symbol than the order's would be carried out, if only it came soon enough."""
    told = Venue(version)
    of_order = [(b"D", {"f11": live}), *([(b"G", {**_LATER, "f11": "next", "f41": live})] if replaced else [])]
    messages = [*of_order, (asked, {**change, "f11": "x1", "f41": "next" if replaced else live})]
    other = "instrument OTHER tick=0.01 lot=1 reference=10.00\nphase OTHER continuous\n"
    told.read(other)
    expected = [each for kind, said in messages for each in told.send(UA, kind, **said)]
    for at_once in (True, False):  # in one write, or each before its order is told of
        early = Venue(version)
        early.read(other)
        frames = [early.frame(UA, kind, **said) for kind, said in messages]
        pieces = [b"".join(frames)] if at_once else frames
        came = early.take([row for piece in pieces for row in early.read_frames(UA, piece)])
        assert came[-1][1].msg_type == answer
        tags = (35, 34, 11, 41, 102, 434, 37, 38, 39, 150, 58)
        assert [fields(each, *tags) for _, each in came] == [fields(each, *tags) for _, each in expected]
        assert len(early.sessions[UA][0]._entering.untold) > 0, "the control: nothing had been told"
        early.rows(UA, b"F", f11="x2", f41=live)
        assert len(early.sessions[UA][0]._entering.untold) == 1, "what has been told of is forgotten"


def test_rows_of_which_nothing_is_told_are_bounded_and_what_is_forgotten_is_for_the_market() -> None:
    venue = Venue()
    rows = [row for n in range(700) for row in venue.rows(UA, b"D", f11=f"o{n}", f38=1)]
    rows += venue.rows(UA, b"F", f11="first", f41="o0", f54="2")
    rows += venue.rows(UA, b"F", f11="last", f41="o699", f54="2")
    assert sum(len(each) for _, each in venue.sessions[UA][0]._entering.untold) <= 600 * ROW.size
    said = [each for user, each in venue.take(rows) if user == UA]
    assert [fields(each, 35, 11)[0] for each in said[-2:]] == ["8", "9"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_price_of_a_peg_has_its_field(version: str) -> None:
    venue = Venue(version)
    venue.send(UA, b"D", f11="bid", f44="9.00")
    said = venue.send(UA, b"D", f11="peg", f40="P", f18="R", f44="9.50")
    said += venue.send(UA, b"D", f11="bid2", f44="9.01")
    pegged = [each for _, each in said if each.get(b"11") == b"peg" and each.get(b"378") == b"3"]
    assert len(pegged) >= 1
    last = pegged[-1]
    price = None if version == "FIX.4.2" else "9.01"
    assert fields(last, 44, 58, 839) == ["9.5", "price 9.01", price]
    assert fields(venue.status(UA, "peg"), 44, 839) == ["9.5", price]
