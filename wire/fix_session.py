"""The acceptor's side of a FIX session: bytes and time in; events and frames out. It touches no socket and no clock.

    ENDED -- connected() --> LOGIN -- logon --> ASKED -- accept() --> LIVE -- logout, fault, silence --> ENDED

A session outlives its connections: its numbers and messages are in a ``Store`` that the caller gives. What arrives
becomes events for the caller to act upon; what is to be written collects until ``take``. A number is consumed in
``store.in_seq`` as its event is given: a caller that journals writes that number with the commands it made, and lets
the frames go when both are safe. A caller that dies before begins again with the number before, so the peer sends the
message again.

A resend goes in slices: ``resend_more`` has the next one, so that a long one holds no other session up. Times are
nanoseconds since 1970 of a clock that does not go back. Tolerance and wording are QuickFIX's, whose suite of
definitions is the judge.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from wire.fix_codec import Cutter, FrameWriter, Garbled, Message, Times, body
from wire.fix_dictionary import ADMIN_TYPES
from wire.fix_events import Event, LoggedOut, LogonAsked, Received, Restarted, Terms, begins_again
from wire.fix_store import SEQ_MAX, Sent, Store
from wire.fix_validation import REASON_TEXTS, Fault, RejectReason, Validator
from wire.session_state import State

_SECOND_NS: Final = 1_000_000_000
#: Difference between a message's SendingTime and the time here above which it is refused.
TOLERANCE_NS: Final = 120 * _SECOND_NS
#: Time for a logout to be answered.
LOGOUT_NS: Final = 2 * _SECOND_NS
#: Silence of the peer, in tenths of a heartbeat interval, after which it is asked, and after which it counts as gone.
_ASKED_AFTER_TENTHS: Final = 12
_GONE_AFTER_TENTHS: Final = 24
#: Interval between heartbeats at most, in seconds.
HEARTBEAT_SECONDS_MAX: Final = 3_600
#: Messages that wait for a gap before them to be filled; what comes beyond is asked for again.
EARLY_MAX: Final = 10_000
EARLY_BYTES_MAX: Final = 1_048_576
#: Time without progress after which a gap is asked for again: a message of the resend may be garbled too.
GAP_NS: Final = 10 * _SECOND_NS
#: Bytes that a peer may send behind its logon before that is answered.
HELD_BYTES_MAX: Final = 65_536
#: Resends of a session that may wait; a peer that asks for more is logged out.
RESENDS_MAX: Final = 16
#: Messages of a slice of a resend.
SLICE_MESSAGES: Final = 256
_USED_UP: Final = "the numbers are used up: log on with ResetSeqNumFlag (141) Y"
_NO_NUMBER: Final = "MsgSeqNum (34) is no number of at most 18 digits"
_ADMIN: Final = frozenset(kind.encode() for kind in ADMIN_TYPES)
#: Fields that route a message for a third party, and the field of the answer that each becomes.
_REVERSED: Final[Mapping[bytes, int]] = {b"115": 128, b"116": 129, b"144": 145, b"128": 115, b"129": 116, b"145": 144}
_LOGON, _LOGOUT, _REJECT, _RESEND, _RESET = b"A", b"5", b"3", b"2", b"4"
_HEARTBEAT, _TEST, _BUSINESS_REJECT = b"0", b"1", b"j"


class _Resend:
    """A resend that is under way: messages from ``at`` to ``end``."""

    def __init__(self, begin: int, end: int, messages: Iterator[Sent]) -> None:
        self.at, self.end, self.messages = begin, end, messages


class Session:
    """A session with one peer, seen from the acceptor."""

    def __init__(self, terms: Terms, validator: Validator, store: Store) -> None:
        self.terms = terms
        self.store = store
        self.state = State.ENDED
        self._validator = validator
        self._times = Times()
        self._writer = FrameWriter(terms.version, terms.sender, terms.target, self._times)
        self._version, self._sender = terms.version.encode(), terms.sender.encode()
        self._target = terms.target.encode()
        self._reject_reason_max = 11 if terms.version == "FIX.4.2" else 99
        self._out: list[bytes] = []
        self._forget(0)

    def __repr__(self) -> str:
        return (
            f"<Session {self.terms.version} {self.terms.sender} with {self.terms.target}, {self.state.value}, "
            f"{self.store.in_seq} expected, {self.store.out_seq} to be sent>"
        )

    def _forget(self, now_ns: int) -> None:
        """Forget the connection."""
        self._cutter = Cutter()
        self._early: dict[int, Message | None] = {}
        self._early_bytes = 0
        self._gap_ns = now_ns
        self._gap: tuple[int, int] | None = None
        self._resends: deque[_Resend] = deque()
        self._logon: Message | None = None
        self._logout_sent_ns: int | None = None
        self._tests = 0
        self._heartbeat_ns = 0
        self.heard_ns = self.sent_ns = now_ns

    # The connection.

    def connected(self, now_ns: int) -> None:
        """Begin with a new connection. Raises RuntimeError if there is one: the caller cuts a second."""
        if self.state is not State.ENDED:
            raise RuntimeError(f"{self!r} has a connection")
        self._forget(now_ns)
        self._out = []
        self.state = State.LOGIN

    def disconnected(self) -> None:
        """End with the connection: it is gone, or is closed by the caller."""
        self._forget(self.heard_ns)
        self._out = []
        self.state = State.ENDED

    def take(self) -> list[bytes]:
        """Frames to be written now, in order. Each is given once."""
        out, self._out = self._out, []
        return out

    @property
    def resending(self) -> bool:
        """True if a resend has more to send; ``resend_more`` sends it."""
        return bool(self._resends)

    # What arrives.

    def receive(self, data: bytes | bytearray | memoryview, now_ns: int) -> list[Event]:
        """Events of the bytes, in order. After a ``LogonAsked`` what follows is kept until the answer.

        An ended session takes bytes and gives nothing.
        """
        events: list[Event] = []
        if self.state is State.ENDED:
            return events
        self._cutter.feed(data)
        self._go_on(events, now_ns)
        if self.state is State.ASKED and self._cutter.held_bytes > HELD_BYTES_MAX:
            self._end(events, f"more than {HELD_BYTES_MAX} bytes came before the logon was answered")
        return events

    def _go_on(self, events: list[Event], now_ns: int) -> None:
        while self.state in (State.LOGIN, State.LIVE) and (cut := self._cutter.next()) is not None:
            frame, whole = cut
            try:
                if not whole:
                    raise Garbled("a frame has a wrong length or checksum")
                message = Message(frame)
                fault = self._validator.fault(message)
            except Garbled as error:
                if self.state is State.LOGIN:
                    self._end(events, f"before the logon {error}")
                continue
            if self.state is State.LOGIN and message.msg_type != _LOGON:
                self._end(events, "the first message is no logon")
                return
            self._message(message, fault, events, now_ns)
            self._filled(events, now_ns)

    def _message(self, message: Message, fault: Fault | None, events: list[Event], now_ns: int) -> None:
        if message.fields.get(b"8") != self._version:
            self._other_version(message, events, now_ns)
            return
        if self.state is State.LIVE and self.store.in_seq >= SEQ_MAX and message.msg_type not in (_LOGON, _LOGOUT):
            self.logout(_USED_UP, now_ns)
            return
        if fault is not None:
            if self.state is State.LOGIN:
                why = f"the logon is not valid: {REASON_TEXTS[fault.reason]}, field {fault.tag}"
                self._end_before_logon(message, why, events, now_ns)
                return
            self._reject(message, fault, now_ns)
            return
        kind = message.msg_type
        if kind not in _ADMIN:
            seq = self._in_turn(message, events, now_ns, check_high=True, check_low=True)
            if seq is None:
                return
            self.store.in_seq += 1
            if kind == _BUSINESS_REJECT:
                return  # as a reject of the session: an answer could be answered by another, without end
            if kind in self._validator.unserved:
                self.business_reject(message, 3, "Unsupported Message Type", now_ns)
            else:
                events.append(Received(seq, message))
            return
        self._ADMIN_STEPS[kind](self, message, events, now_ns)

    def _other_version(self, message: Message, events: list[Event], now_ns: int) -> None:
        if self.state is State.LOGIN:
            self._end(events, "the logon is of another version")
        elif message.msg_type == _LOGOUT:
            self._on_logout(message, events, now_ns)
        else:
            self._say_goodbye("Incorrect BeginString", now_ns)
            self.store.in_seq += 1

    def _in_turn(
        self, message: Message, events: list[Event], now_ns: int, *, check_high: bool, check_low: bool
    ) -> int | None:
        """The message's number if it may be acted upon; otherwise what is wrong has been answered.

        check_high, check_low: whether a number that is too high or too low matters.
        """
        get = message.fields.get
        sending_ns = self._times.nanoseconds(get(b"52", b""))
        seq = message.number(b"34")
        if seq is None:
            if self.state is State.LIVE:
                self._say_goodbye(_NO_NUMBER, now_ns)
            self._end(events, _NO_NUMBER)
            return None
        if sending_ns is None or abs(now_ns - sending_ns) > TOLERANCE_NS:
            self._refuse(message, RejectReason.SENDING_TIME, events, now_ns)
            return None
        if get(b"49") != self._target or get(b"56") != self._sender:
            self._refuse(message, RejectReason.COMP_ID, events, now_ns)
            return None
        if check_high and seq > self.store.in_seq:
            self._too_high(seq, message, now_ns)
            return None
        if check_low and seq < self.store.in_seq:
            self._too_low(seq, sending_ns, message, events, now_ns)
            return None
        if self._gap is not None and (check_high or check_low):
            self._gap_ns = now_ns
            if seq >= self._gap[1]:
                self._gap = None
        self.heard_ns = now_ns
        self._tests = 0
        return seq

    def _refuse(self, message: Message, reason: RejectReason, events: list[Event], now_ns: int) -> None:
        """Reject a message of the session itself and log out; a logon has no reject."""
        if self.state is State.LOGIN:
            self._end_before_logon(message, f"the logon is refused: {REASON_TEXTS[reason]}", events, now_ns)
            return
        self._reject(message, Fault(reason), now_ns)
        self._say_goodbye("", now_ns)

    def _end_before_logon(self, logon: Message, why: str, events: list[Event], now_ns: int) -> None:
        """End before a logon is accepted. A Logout says why only where it takes no number that is kept: where numbers
        are, ``LoggedOut.logon`` lets the owner of the session decide.
        """
        if self.terms.reset_on_logon and begins_again(logon):
            self._say_goodbye(why, now_ns)
        self._end(events, why, logon)

    def _too_high(self, seq: int, message: Message, now_ns: int) -> None:
        self.heard_ns = now_ns
        if not self._early:
            self._early_bytes = 0
        if len(self._early) < EARLY_MAX and self._early_bytes < EARLY_BYTES_MAX and seq not in self._early:
            self._early[seq] = message
            self._early_bytes += len(message.frame)
        if self._gap is not None and seq >= self._gap[0] and now_ns - self._gap_ns < GAP_NS:
            return
        self._ask_from(seq, now_ns)

    def _ask_from(self, seq: int, now_ns: int) -> None:
        """Ask for what is missing before ``seq``."""
        self._gap = (self.store.in_seq, seq - 1)
        self._gap_ns = now_ns
        self._send_admin(_RESEND, body([(7, self.store.in_seq), (16, 0)]), now_ns)

    def _too_low(self, seq: int, sending_ns: int, message: Message, events: list[Event], now_ns: int) -> None:
        if message.get(b"43") != b"Y":
            text = f"MsgSeqNum too low, expecting {self.store.in_seq} but received {seq}"
            self._say_goodbye(text, now_ns)
            self._end(events, text)
            return
        if message.msg_type == _RESET:
            return
        first_text = message.get(b"122")
        if first_text is None:
            self._reject(message, Fault(RejectReason.REQUIRED_TAG_MISSING, 122), now_ns)
            return
        first_ns = self._times.nanoseconds(first_text)
        if first_ns is None or first_ns > sending_ns:
            self._refuse(message, RejectReason.SENDING_TIME, events, now_ns)

    def _filled(self, events: list[Event], now_ns: int) -> None:
        """Act upon messages that came early and whose turn it is."""
        while self._early and self.state is State.LIVE and self.store.in_seq in self._early:
            seq = self.store.in_seq
            message = self._early.pop(seq)
            if message is None or message.msg_type in (_LOGON, _RESEND):
                self.store.in_seq += 1
                continue
            # It was valid when it came.
            self._message(message, None, events, now_ns)
            if self.store.in_seq == seq:
                return

    # Messages of the session.

    def _on_logon(self, message: Message, events: list[Event], now_ns: int) -> None:
        again = self.state is State.LIVE
        resets = message.get(b"141") == b"Y"
        if again and not resets:
            self._end(events, "a second logon came")
            return
        # Numbers begin again when the logon is accepted, and not before: anybody may send one.
        numbered = not (resets or self.terms.reset_on_logon)
        if self._in_turn(message, events, now_ns, check_high=False, check_low=numbered) is None:
            if self.state is State.LOGIN:
                self._end(events, "the logon has a number that was used before")
            return
        self._logon = message
        if again:
            events += self.accept(now_ns)
            return
        self.state = State.ASKED
        events.append(LogonAsked(message))

    def accept(self, now_ns: int, more: Iterable[tuple[int, bytes | str | int]] = ()) -> list[Event]:
        """Accept the logon, and give the events of what came behind it. more: fields of the answer."""
        message = self._asked()
        if why := self.fault_of(message):
            self._logon = message
            return self.refuse(why, now_ns)
        get = message.fields.get
        events: list[Event] = []
        if get(b"141") == b"Y" or self.terms.reset_on_logon:
            self.store.reset()
            self._early.clear()
            self._resends.clear()
            self._gap = None
            events.append(Restarted())
        elif self.store.in_seq >= SEQ_MAX:
            self._logon = message
            return self.refuse(_USED_UP, now_ns)
        seconds = message.number(b"108") or 0
        self._heartbeat_ns = seconds * _SECOND_NS
        self.heard_ns = now_ns
        seq = message.number(b"34") or 0
        resets = get(b"141") == b"Y"
        fields: list[tuple[int, bytes | str | int]] = [(98, 0), (108, get(b"108", b"0"))]
        if resets:
            fields.append((141, b"Y"))
        expected = message.number(b"789")
        if expected is not None:
            if expected > self.store.out_seq:
                text = f"NextExpectedMsgSeqNum too high, expecting {self.store.out_seq} but received {expected}"
                self._say_goodbye(text, now_ns)
                self._end(events, text)
                return events
            fields.append((789, self.store.in_seq + (seq == self.store.in_seq)))
        if self.terms.application_version is not None:
            fields.append((1137, self.terms.application_version))
        answer_seq = self.store.out_seq
        self.state = State.LIVE
        self._send_admin(_LOGON, body(sorted([*fields, *more], key=lambda pair: pair[0])), now_ns)
        if seq > self.store.in_seq and not resets:
            self._early[seq] = None
            # With the number that it is to expect, the peer sends what is missing by itself.
            if expected is None:
                self._ask_from(seq, now_ns)
            else:
                self._gap = (self.store.in_seq, seq - 1)
        else:
            self.store.in_seq += 1
        if expected is not None and expected < answer_seq:
            self._begin_resend(max(expected, 1), answer_seq - 1, now_ns)
        self._filled(events, now_ns)
        self._go_on(events, now_ns)
        return events

    def fault_of(self, logon: Message) -> str:
        """Reason for which a logon is not accepted, whoever sends it; "": there is none."""
        get = logon.fields.get
        if get(b"98") != b"0":
            return "EncryptMethod (98) is 0"
        seconds = logon.number(b"108")
        if seconds is None or seconds > HEARTBEAT_SECONDS_MAX:
            return f"HeartBtInt (108) is 0, or 1 to {HEARTBEAT_SECONDS_MAX} seconds"
        version = self.terms.application_version
        if version is not None and get(b"1137", b"").decode("latin-1") != str(version):
            return f"DefaultApplVerID (1137) is {version}"
        if get(b"789") is not None and logon.number(b"789") is None:
            return "NextExpectedMsgSeqNum (789) is no number of at most 18 digits"
        if get(b"141") == b"Y" and logon.number(b"34") != 1:
            return "ResetSeqNumFlag (141) goes with MsgSeqNum 1"
        return ""

    def refuse(self, text: str, now_ns: int) -> list[Event]:
        """Refuse the logon with a text for the peer. Its number is not consumed, and that of this answer is."""
        self._asked()
        events: list[Event] = []
        self._send_admin(_LOGOUT, body([(58, text)]), now_ns)
        self._end(events, f"the logon is refused: {text}")
        return events

    def _asked(self) -> Message:
        if self._logon is None:
            raise RuntimeError(f"no logon waits for an answer in {self!r}")
        message, self._logon = self._logon, None
        return message

    def _on_heartbeat(self, message: Message, events: list[Event], now_ns: int) -> None:
        if self._in_turn(message, events, now_ns, check_high=True, check_low=True) is not None:
            self.store.in_seq += 1

    def _on_test(self, message: Message, events: list[Event], now_ns: int) -> None:
        if self._in_turn(message, events, now_ns, check_high=True, check_low=True) is not None:
            self.store.in_seq += 1
            self._send_admin(_HEARTBEAT, body([(112, message.fields.get(b"112", b""))]), now_ns)

    def _on_reject(self, message: Message, events: list[Event], now_ns: int) -> None:
        seq = self._in_turn(message, events, now_ns, check_high=False, check_low=True)
        if seq is None:
            return
        if seq > self.store.in_seq:
            self._too_high(seq, message, now_ns)
        else:
            self.store.in_seq += 1

    def _on_logout(self, message: Message, events: list[Event], now_ns: int) -> None:
        seq = None
        if message.fields.get(b"8") == self._version:
            seq = self._in_turn(message, events, now_ns, check_high=False, check_low=False)
            if seq is None:
                return
        if seq == self.store.in_seq < SEQ_MAX:
            self.store.in_seq += 1
        if self._logout_sent_ns is None:
            self._send_admin(_LOGOUT, b"", now_ns)
        self._end(events, "the peer logged out")

    def _on_sequence_reset(self, message: Message, events: list[Event], now_ns: int) -> None:
        fills = message.get(b"123") == b"Y"
        if self._in_turn(message, events, now_ns, check_high=fills, check_low=fills) is None:
            return
        new = message.number(b"36") or 0
        if new > SEQ_MAX:
            self._reject(message, Fault(RejectReason.VALUE_INCORRECT, 36), now_ns)
        elif new > self.store.in_seq:
            self.store.in_seq = new
            for seq in [seq for seq in self._early if seq < new]:
                del self._early[seq]
            if self._gap is not None and new > self._gap[1]:
                self._gap = None
        elif new < self.store.in_seq or fills:
            self._reject(message, Fault(RejectReason.VALUE_INCORRECT), now_ns)

    def _on_resend(self, message: Message, events: list[Event], now_ns: int) -> None:
        # It is answered even while this side waits for a resend of its own: otherwise both might wait for ever.
        seq = self._in_turn(message, events, now_ns, check_high=False, check_low=False)
        if seq is None:
            return
        begin, end = message.number(b"7"), message.number(b"16")
        if begin is None or end is None:
            self._reject(message, Fault(RejectReason.VALUE_INCORRECT, 7 if begin is None else 16), now_ns)
            return
        last = self.store.out_seq - 1
        wrong = 16 if 0 < end < begin else 7 if begin > last else 0
        if wrong:  # there is nothing to send, and a peer that gets no answer waits for ever
            self._reject(message, Fault(RejectReason.VALUE_INCORRECT, wrong), now_ns)
            if seq <= self.store.in_seq:
                return
        else:
            self._begin_resend(max(begin, 1), last if end == 0 or end > last else end, now_ns)
        if seq == self.store.in_seq:
            self.store.in_seq += 1
        elif seq > self.store.in_seq and len(self._early) < EARLY_MAX:
            self._early[seq] = None
            if self._gap is None:
                self._ask_from(seq, now_ns)

    _ADMIN_STEPS: Final = {
        _LOGON: _on_logon,
        _HEARTBEAT: _on_heartbeat,
        _TEST: _on_test,
        _REJECT: _on_reject,
        _LOGOUT: _on_logout,
        _RESET: _on_sequence_reset,
        _RESEND: _on_resend,
    }

    # Resends.

    def _begin_resend(self, begin: int, end: int, now_ns: int) -> None:
        if len(self._resends) >= RESENDS_MAX:
            self.logout(f"more than {RESENDS_MAX} resends were asked for at once", now_ns)
        elif begin <= end:
            self._resends.append(_Resend(begin, end, iter(self.store.messages(begin, end))))
            if len(self._resends) == 1:
                self.resend_more(now_ns)

    def resend_more(self, now_ns: int, messages_max: int = SLICE_MESSAGES) -> None:
        """Put the next messages of a resend among the frames to be written."""
        for _ in range(messages_max):
            if not self._resends:
                return
            resend = self._resends[0]
            sent = next(resend.messages, None)
            upto = resend.end + 1 if sent is None else sent.seq
            if upto > resend.at:
                fields = body([(36, upto), (123, b"Y")])
                self._put(self._writer.routed(_RESET, resend.at, now_ns, fields, first_sent_ns=now_ns), now_ns)
            if sent is None:
                self._resends.popleft()
                continue
            frame = self._writer.routed(
                sent.msg_type, sent.seq, now_ns, sent.fields, first_sent_ns=sent.sent_ns, header=sent.header
            )
            self._put(frame, now_ns)
            resend.at = sent.seq + 1

    # What is sent.

    def send(self, msg_type: bytes, fields: bytes, now_ns: int, header: Iterable[tuple[int, bytes]] = ()) -> int:
        """Send a message of the application, and keep it; the number that it has.

        Without a connection it is kept, and the peer asks for it at its next logon.
        """
        seq = self.store.out_seq
        more = tuple(header)
        self.store.keep(Sent(seq, msg_type, now_ns, more, fields))
        self.store.out_seq = seq + 1
        if self.state is State.LIVE:
            if more:
                frame = self._writer.routed(msg_type, seq, now_ns, fields, header=more)
            else:
                frame = self._writer.frame(msg_type, seq, now_ns, fields)
            self._put(frame, now_ns)
        return seq

    def business_reject(
        self,
        message: Message,
        reason: int,
        text: str,
        now_ns: int,
        more: Iterable[tuple[int, bytes | str | int]] = (),
    ) -> int:
        """Answer a message that is valid and cannot be served: BusinessMessageReject; the number that it has.

        reason: BusinessRejectReason, field 380: 3 for a type that is not served, 5 for a field that is missing here, 6
        for a peer that may not do it.
        """
        fields: list[tuple[int, bytes | str | int]] = [
            (45, message.fields.get(b"34", b"0")),
            (58, text),
            (372, message.msg_type),
            (380, reason),
        ]
        ordered = sorted([*fields, *more], key=lambda pair: pair[0])
        return self.send(_BUSINESS_REJECT, body(ordered), now_ns, self.route_back(message))

    def logout(self, text: str, now_ns: int) -> None:
        """Ask the peer to end the session; it ends with the answer, or when none comes."""
        if self.state is State.LIVE and self._logout_sent_ns is None:
            self._say_goodbye(text, now_ns)

    def _send_admin(
        self, msg_type: bytes, fields: bytes, now_ns: int, header: Iterable[tuple[int, bytes]] = ()
    ) -> None:
        """Send a message of the session itself, which is not kept."""
        seq = self.store.out_seq
        self.store.out_seq = seq + 1
        more = tuple(header)
        if more:
            self._put(self._writer.routed(msg_type, seq, now_ns, fields, header=more), now_ns)
        else:
            self._put(self._writer.frame(msg_type, seq, now_ns, fields), now_ns)

    def _put(self, frame: bytes, now_ns: int) -> None:
        self._out.append(frame)
        self.sent_ns = now_ns

    def _say_goodbye(self, text: str, now_ns: int) -> None:
        self._send_admin(_LOGOUT, body([(58, text)]) if text else b"", now_ns)
        self._logout_sent_ns = now_ns

    @staticmethod
    def route_back(message: Message) -> list[tuple[int, bytes]]:
        """Fields that send an answer back to the third party of a message."""
        get = message.fields.get
        return [(back, value) for tag, back in _REVERSED.items() if (value := get(tag))]

    def _reject(self, message: Message, fault: Fault, now_ns: int) -> None:
        fields: list[tuple[int, bytes | str | int]] = []
        seq = message.number(b"34")
        if seq is not None:
            fields.append((45, seq))
        fields.append((58, REASON_TEXTS[fault.reason]))
        if fault.tag is not None:
            fields.append((371, fault.tag))
        if message.msg_type:
            fields.append((372, message.msg_type))
        if fault.reason <= self._reject_reason_max:
            fields.append((373, int(fault.reason)))
        if message.msg_type not in (_LOGON, _RESET) and seq == self.store.in_seq < SEQ_MAX:
            self.store.in_seq += 1
        self._send_admin(_REJECT, body(fields), now_ns, self.route_back(message))

    def _end(self, events: list[Event], reason: str, logon: Message | None = None) -> None:
        self.state = State.ENDED
        self._cutter.clear()
        self._early.clear()
        self._resends.clear()
        self._logon = None
        events.append(LoggedOut(reason, logon))

    # Time.

    def tick(self, now_ns: int) -> list[Event]:
        """Do what is due: heartbeats, a question to a silent peer, the end of one that stays silent."""
        events: list[Event] = []
        if self.state is not State.LIVE:
            return events
        if self._logout_sent_ns is not None and now_ns - self._logout_sent_ns >= LOGOUT_NS:
            self._end(events, "a logout was not answered in time")
            return events
        interval_ns = self._heartbeat_ns
        if interval_ns == 0:
            return events
        silence_tenths_ns = (now_ns - self.heard_ns) * 10
        if silence_tenths_ns >= _GONE_AFTER_TENTHS * interval_ns:
            self._end(events, "the peer was silent")
        elif silence_tenths_ns >= _ASKED_AFTER_TENTHS * interval_ns * (self._tests + 1):
            self._tests += 1
            self._send_admin(_TEST, body([(112, b"TEST")]), now_ns)
        elif not self._tests and now_ns - self.sent_ns >= interval_ns:
            self._send_admin(_HEARTBEAT, b"", now_ns)
        return events

    def due_ns(self) -> int | None:
        """Time at which ``tick`` next has something to do if nothing happens until then; None: never."""
        if self.state is not State.LIVE:
            return None
        times = [] if self._logout_sent_ns is None else [self._logout_sent_ns + LOGOUT_NS]
        if self._heartbeat_ns:
            asked = min(_ASKED_AFTER_TENTHS * (self._tests + 1), _GONE_AFTER_TENTHS)
            times.append(self.heard_ns + asked * self._heartbeat_ns // 10)
            if not self._tests:
                times.append(self.sent_ns + self._heartbeat_ns)
        return min(times, default=None)
