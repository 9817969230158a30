"""A protocol of text lines, as small as can be: proof that the gateway knows no protocol.

    LOGIN user password session seq     session "-": the present one       OK session seq | NO reason
    E id B|S qty symbol price_e4 tag    enter; tag: a number that every report of the order repeats
    X id                                cancel
    PING                                heartbeat, of either side
    AGAIN seq                           the messages from a number on once more
    BYE                                 logout

Every message of a stream is sent as ``seq line``; the streams have the lines without numbers. Passwords have up to 64
characters, capital and small letters apart where they are longer than ten: more than OUCH takes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.jit import Packed, called, inlined, unpack_pointers
from engine.names import unpack
from engine.records import CommandKind, Reason, SelfTrade, TimeInForce
from gateway.arrivals import BROKEN, FOR_SESSION, HEARTBEAT, MESSAGE, UNREADABLE, read_all, unpack_arrivals
from gateway.outbox import PAST_DAYS, Outbox
from gateway.protocol import Refusal, Taken
from gateway.report_streams import ReportStreams
from gateway.symbols import SYMBOL, symbol_place
from reports.rows import ReportKind
from wire.errors import ProtocolError
from wire.session_state import Due, State

#: Number of the protocol in contexts.
NUMBER: Final = 15
LINE_BYTES_MAX: Final = 128
HEARTBEAT_NS: Final = 1_000_000_000
SILENCE_NS: Final = 15_000_000_000
PING: Final = b"PING\n"

_KIND_BYTES: Final = {ReportKind.NEW: "A", ReportKind.TRADE: "T", ReportKind.REPLACED: "U", ReportKind.RESTATED: "P"}
_ENDS: Final = (ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY)


class Known(NamedTuple):
    """Instruments, with which a line is explained."""

    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]


_unpack_known = unpack_pointers(Known(np.zeros(1, SYMBOL)))


@inlined
def cut(buffer, at, end):  # type: ignore[no-untyped-def]
    """Size and kind of the line at ``at``."""
    for place in range(at, min(end, at + LINE_BYTES_MAX)):
        if buffer[place] == 10:
            size = np.int64(place + 1 - at)
            letter = np.int64(buffer[at])
            if size > 1 and np.int64(buffer[at + 1]) == 32 and (letter == 69 or letter == 88):  # noqa: PLR1714
                return size, np.int64(MESSAGE)
            return size, np.int64(HEARTBEAT if size == 5 and letter == 80 else FOR_SESSION)
    return np.int64(-1 if end - at >= LINE_BYTES_MAX else 0), np.int64(FOR_SESSION)


@inlined
def _word(buffer, at, end):  # type: ignore[no-untyped-def]
    """(the next word as the number of a name, place behind it); 0 where it has other than 1 to 8 characters."""
    name, place = np.int64(0), at
    while place < end and np.int64(buffer[place]) > 32:
        name = (name << 8) | np.int64(buffer[place])
        place += 1
    return (name if 0 < place - at <= 8 else np.int64(0)), place + 1


@inlined
def _number(buffer, at, end):  # type: ignore[no-untyped-def]
    """(the next word as a number, place behind it); -1 where it is none."""
    number, place = np.int64(0), at
    while place < end and np.int64(buffer[place]) > 32:
        digit = np.int64(buffer[place]) - 48
        number = np.int64(-1) if digit < 0 or digit > 9 or number < 0 or place - at > 9 else 10 * number + digit
        place += 1
    return (number if place > at else np.int64(-1)), place + 1


@inlined
def explain(buffer, at, size, stream, known, commands, n):  # type: ignore[no-untyped-def]
    """The row of an ``E`` or an ``X`` line."""
    end = at + size - 1
    order_id, place = _word(buffer, at + 2, end)
    side = np.int64(0)
    qty, symbol, price_e4, tag = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    enters = np.int64(buffer[at]) == 69
    if enters:
        letter, place = _word(buffer, place, end)
        side = np.int64(1 if letter == 66 else -1 if letter == 83 else 0)
        qty, place = _number(buffer, place, end)
        symbol, place = _word(buffer, place, end)
        price_e4, place = _number(buffer, place, end)
        tag, place = _number(buffer, place, end)
        if side == 0 or qty < 0 or symbol == 0 or price_e4 < 0 or tag < 0 or tag > 65_535:
            return np.int64(UNREADABLE)
    if order_id == 0 or place != end + 1:
        return np.int64(UNREADABLE)
    instrument = np.int64(0)
    if enters:
        found = symbol_place(known.symbols, symbol)
        instrument = known.symbols[found]["instrument"] if found >= 0 else np.int64(0)
        if instrument == 0:
            return np.int64(UNREADABLE)
    row = commands[n]
    row["client_order_id"] = order_id
    row["new_client_order_id"] = 0
    row["context"] = np.int64(stream["user"]) | (tag << 16) | (np.int64(NUMBER - 16) << 60)
    row["price_e4"] = price_e4
    row["qty"] = qty
    row["min_qty"] = 0
    row["display_qty"] = 0
    row["participant"] = stream["participant"]
    row["instrument"] = instrument
    row["kind"] = CommandKind.ENTER if enters else CommandKind.CANCEL
    row["side"] = side
    row["time_in_force"] = TimeInForce.DAY if enters else 0
    row["self_trade"] = SelfTrade.CANCEL_NEWEST if enters else 0
    row["instructions"] = 0
    row["book"] = 0
    row["phase"] = 0
    return n + 1


@called
def read_streams(arrivals_pointers, known_pointers, count, rows_max, first, record_at):  # type: ignore[no-untyped-def]
    """Read lines into rows."""
    arrays, known = unpack_arrivals(arrivals_pointers), _unpack_known(known_pointers)
    return read_all(arrays, known, count, rows_max, first, record_at, cut, explain)


def frame(reports: NDArray[Any]) -> Iterator[tuple[int, bytes]]:
    """A line for each report of an order, to the order's user."""
    for row in reports:
        user = int(row["user"])
        if not user:
            continue
        kind, tag = ReportKind(int(row["kind"])), int(row["context"]) >> 16 & 0xFFFF
        name = unpack(int(row["client_order_id"]))
        if kind in _KIND_BYTES:
            what = f"{row['last_qty']} at {row['last_price_e4']}" if kind is ReportKind.TRADE else f"{row['price_e4']}"
            yield user, f"{_KIND_BYTES[kind]} {name} {what} leaves {row['leaves_qty']} tag {tag}\n".encode()
        elif kind in _ENDS:
            yield user, f"C {name} {Reason(int(row['reason'])).name} tag {tag}\n".encode()
        elif kind in (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED):
            yield user, f"R {name} {Reason(int(row['reason'])).name}\n".encode()


class LineOutbox(Outbox[ReportStreams]):
    """Streams of lines."""

    name = "line streams"
    version = 1
    folder = "line-streams"

    @staticmethod
    def message_bytes(data: bytes, at: int = 0, /) -> int:
        """Bytes of the line at ``at``; 0 where not all of it is there."""
        return data.find(b"\n", at) + 1 - at if data.find(b"\n", at) >= 0 else 0

    def _new_streams(self) -> ReportStreams:
        return ReportStreams(
            self._capacity,
            self._deliver,
            self._new_session,
            self._on_login_end,
            frame=frame,
            day_begins=b"DAY\n",
            day_ends=b"NIGHT\n",
        )


class LineLogin(NamedTuple):
    """A ``LOGIN`` line."""

    user: str
    password: str
    session: str
    requested_seq: int


class LineSession:
    """Session of one connection."""

    def __init__(self, now_ns: int) -> None:
        self.state = State.LOGIN
        self.next_seq = 1
        self.heard_ns = self.sent_ns = now_ns
        self._rest = b""

    def ask(self, data: bytes, _now_ns: int) -> list[LineLogin | ProtocolError]:
        self._rest += data
        line, newline, rest = self._rest.partition(b"\n")
        if self.state is not State.LOGIN or not newline:
            return []
        self._rest = rest
        words = line.decode("ascii", "replace").split(" ")
        if len(words) != 5 or words[0] != "LOGIN" or not words[4].isdigit():
            self.state = State.ENDED
            error = ProtocolError("a connection begins with LOGIN user password session seq")
            error.answer = b"NO that is no login\n"
            return [error]
        self.state = State.ASKED
        self._requested_seq = int(words[4])
        return [LineLogin(words[1], words[2], words[3].replace("-", ""), self._requested_seq)]

    def accept_login(self, session: str, end_seq: int, _epoch: int, now_ns: int) -> bytes:
        self.next_seq = self._requested_seq or end_seq
        self.state = State.LIVE
        self.heard_ns = self.sent_ns = now_ns
        return f"OK {session} {self.next_seq}\n".encode()

    def tell_end(self, _end_seq: int) -> bytes:
        return b""

    def refuse(self, refusal: Refusal, _why: str) -> bytes:
        self.state = State.ENDED
        return f"NO {refusal.name}\n".encode()

    def release(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest

    def take(self, region: memoryview, stop: int, now_ns: int) -> Taken:
        line = bytes(region[:LINE_BYTES_MAX]).partition(b"\n")[0]
        text = line.decode("ascii", "replace")
        if stop == BROKEN:
            return Taken(0, f"this is no order: {text[:20]}")
        self.heard_ns = now_ns
        word, _, number = text.partition(" ")
        if word == "AGAIN" and number.isdigit() and int(number):
            self.next_seq = int(number)
            return Taken(len(line) + 1, resend_from=int(number))
        if word == "BYE":
            self.state = State.ENDED
            return Taken(len(line) + 1, "the client said BYE", tells=False)
        return Taken(len(line) + 1, f"nobody says {text[:20]}")

    def survey(self, region: memoryview) -> tuple[int, bool]:
        at, data = 0, bytes(region[:4_096])
        while data[at : at + len(PING)] == PING:
            at += len(PING)
        return at, b"\n" in data[at:] and data[at : at + 2] not in (b"E ", b"X ")

    def outgoing(self, stored: bytes) -> tuple[int, bytes]:
        whole = stored.rfind(b"\n") + 1
        lines = stored[:whole].splitlines(keepends=True)
        numbered = [b"%d %b" % (seq, line) for seq, line in enumerate(lines, self.next_seq)]
        self.next_seq += len(lines)
        return whole, b"".join(numbered)

    def sent(self, _messages: int, now_ns: int) -> None:
        self.sent_ns = now_ns

    def shorten_silence(self, away_ns: int, now_ns: int) -> None:
        self.heard_ns = max(self.heard_ns, min(self.heard_ns + away_ns, now_ns))

    def tick(self, now_ns: int, read_ns: int | None = None) -> Due:
        if (now_ns if read_ns is None else read_ns) - self.heard_ns >= SILENCE_NS:
            self.state = State.ENDED
            return Due.TIMED_OUT
        return Due.HEARTBEAT if self.state is State.LIVE and now_ns - self.sent_ns >= HEARTBEAT_NS else Due.NOTHING

    def heartbeat(self, now_ns: int) -> bytes:
        self.sent_ns = now_ns
        return PING

    def notice(self, why: str) -> bytes:
        return f"CLOSED {why}\n".encode()

    def farewell(self) -> bytes:
        return b"END\n"

    def shown(self, data: bytes) -> tuple[str, bool]:
        return f"{len(data)} bytes", True


class Lines:
    """The protocol (``gateway.protocol.OrderProtocol``)."""

    name = "lines"
    number = NUMBER
    outbox_name = LineOutbox.name
    password_characters_max = 64
    read_streams = staticmethod(read_streams)
    answer_block = None
    heartbeat = PING
    heartbeat_ns = HEARTBEAT_NS
    silence_ns = SILENCE_NS

    def session(self, now_ns: int) -> LineSession:
        return LineSession(now_ns)

    def outbox(
        self, directory: Path, capacity: Capacity, journal_id: bytes, *, past_days: int = PAST_DAYS
    ) -> LineOutbox:
        return LineOutbox(directory, capacity, journal_id, past_days=past_days)

    def known(self, outbox: Outbox[Any]) -> Packed[Known]:
        return Packed(Known(outbox.streams.symbols))


LINES: Final = Lines()
