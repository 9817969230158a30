"""SoupBinTCP 3.00, the sessions: bytes in, time in, decisions out. No socket and no clock is touched here.

    server   LOGIN -- login request --> ASKED -- accept() --> LIVE -- logout, end of session, error --> ENDED
    client   LOGIN -- login() --------> ASKED -- accepted --> LIVE -- logout, end of session, error --> ENDED

A decision is an event (``LoginRequest``, ``Unsequenced`` ...) for the caller to act upon. A fault of the peer is the
last event, a ``ProtocolError``; the packets before it count. A fault of the caller (sending before the login, ending
twice) raises RuntimeError.

Times are nanoseconds of a clock that does not go back. Only complete packets end a silence, so a peer that trickles
bytes counts as silent; and until the login is answered nothing else counts.
"""

from collections.abc import Iterable
from typing import Final

from wire import soup
from wire.errors import ProtocolError
from wire.session_state import Due, State
from wire.soup import (
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRequest,
    Logout,
    PacketType,
    RejectCode,
    Sequenced,
    Unsequenced,
)

#: Silence of a side after which it sends a heartbeat.
HEARTBEAT_NS: Final = 1_000_000_000
#: Silence of a peer after which it counts as gone. A login must be complete, or answered, within it too.
SILENCE_NS: Final = 15_000_000_000
#: Bytes that a client may send before its login is answered; they are kept until then.
HELD_BYTES_MAX: Final = 65_536

ServerEvent = LoginRequest | Unsequenced | Logout | Debug | ProtocolError
ClientEvent = LoginAccepted | LoginRejected | Sequenced | EndOfSession | Debug | ProtocolError


class _Session:
    """Base of both sides of a session: clock, bytes that are not cut yet, and state."""

    _HEARTBEAT: PacketType

    def __init__(self, now_ns: int, payload_bytes_max: int = soup.PAYLOAD_BYTES_MAX) -> None:
        self.state = State.LOGIN
        self.next_seq = 1
        self._cutter = soup.PacketCutter(payload_bytes_max)
        #: Time of the last whole packet of the peer; whoever cuts packets elsewhere sets it.
        self.heard_ns = now_ns
        #: Time of the last packet to the peer; whoever sends packets elsewhere sets it with ``sent``.
        self.sent_ns = now_ns
        #: Bound of the peer's silence; None: that of the protocol.
        self.silence_ns: int | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value}, message {self.next_seq} next>"

    @property
    def ended(self) -> bool:
        """True if this side has ended; close the connection then."""
        return self.state is State.ENDED

    @property
    def _silence_max_ns(self) -> int:
        return SILENCE_NS if self.silence_ns is None else self.silence_ns

    def shorten_silence(self, away_ns: int, now_ns: int) -> None:
        """Subtract time that ends now from the peer's silence: this side was not reading."""
        self.heard_ns = max(self.heard_ns, min(self.heard_ns + away_ns, now_ns))

    def tick(self, now_ns: int, read_ns: int | None = None) -> Due:
        """The action that is due now. A session that timed out has ended; close its connection.

        read_ns: what arrived before this time was read, so silence is judged up to it; None: up to ``now_ns``.
        """
        judged_ns = now_ns if read_ns is None else read_ns
        if self._silence_counts() and judged_ns - self.heard_ns >= self._silence_max_ns:
            self.state = State.ENDED
            return Due.TIMED_OUT
        if self.state is State.LIVE and now_ns - self.sent_ns >= HEARTBEAT_NS:
            return Due.HEARTBEAT
        return Due.NOTHING

    def due_ns(self) -> int | None:
        """Time at which ``tick`` next has an action if nothing happens until then; None: never."""
        times = []
        if self._silence_counts():
            times.append(self.heard_ns + self._silence_max_ns)
        if self.state is State.LIVE:
            times.append(self.sent_ns + HEARTBEAT_NS)
        return min(times, default=None)

    def heartbeat(self, now_ns: int) -> bytes:
        """Heartbeat of this side."""
        return self._send(soup.packet(self._HEARTBEAT), now_ns)

    def debug(self, text: str, now_ns: int) -> bytes:
        """A packet with text for a person. Raises ValueError for one that is too long."""
        return self._send(Debug(text).packet(), now_ns)

    def release(self) -> bytes:
        """Hand over the bytes that are not cut yet, for a caller that cuts by itself (``gateway.ouch.reading``).

        Of what it cuts, the caller then gives this session ``heard_ns``, and every packet but messages to ``packet``.
        """
        return self._cutter.release()

    def _silence_counts(self) -> bool:
        return not self.ended

    def _send(self, data: bytes, now_ns: int) -> bytes:
        if self.state is not State.LIVE:
            raise RuntimeError(f"a {type(self).__name__} that is not live ({self.state.value}) has nothing to send")
        self.sent_ns = now_ns
        return data

    def _broken(self, error: ProtocolError) -> ProtocolError:
        self.state = State.ENDED
        self._cutter.release()
        return error

    def _check_payload(self, kind: int, payload: bytes) -> None:
        """Check the length of a payload by its type and the bound. Raises ProtocolError."""
        if len(payload) > self._cutter.payload_bytes_max:
            raise soup.length_error(len(payload) + 1, self._cutter.payload_bytes_max)
        if kind in soup.PAYLOAD_BYTES and len(payload) != soup.PAYLOAD_BYTES[PacketType(kind)]:
            raise ProtocolError(
                f"{soup.named(kind)} with {len(payload)} bytes of payload came; "
                f"it has {soup.PAYLOAD_BYTES[PacketType(kind)]}"
            )


class ServerSession(_Session):
    """A server's side of one connection. ``next_seq`` is the number of the next sequenced message to be sent."""

    _HEARTBEAT = PacketType.SERVER_HEARTBEAT

    def __init__(self, now_ns: int, payload_bytes_max: int = soup.PAYLOAD_BYTES_MAX) -> None:
        """``now_ns``: when the connection was made. Packets with a longer payload than this end the session."""
        super().__init__(now_ns, payload_bytes_max)
        self._requested_seq = 0

    def receive(self, data: bytes | bytearray | memoryview, now_ns: int) -> list[ServerEvent]:
        """The requests in the bytes, in order. A ProtocolError is the last event, and ends the session.

        A login request stops the cutting: what comes after it is kept until it is answered, and then given by the
        next call (also with no bytes). An ended session takes bytes and gives nothing.
        """
        events: list[ServerEvent] = []
        if self.ended:
            return events
        self._cutter.feed(data)
        try:
            while self.state in (State.LOGIN, State.LIVE) and (cut := self._cutter.next()):
                event = self.packet(*cut, now_ns)
                if event is not None:
                    events.append(event)
            if self.state is State.ASKED and self._cutter.held_bytes > HELD_BYTES_MAX:
                raise ProtocolError(f"more than {HELD_BYTES_MAX} bytes came before the login was answered")
        except ProtocolError as error:
            events.append(self._broken(error))
        return events

    def packet(self, kind: int, payload: bytes, now_ns: int) -> ServerEvent | None:
        """The request in one packet; None for a heartbeat, and for all packets after the end.

        Raises ProtocolError, and the session has ended. A malformed login request is answered: see ``answer``.
        """
        if self.ended:
            return None
        try:
            self._check_payload(kind, payload)
            return self._before_login(kind, payload) if self.state is not State.LIVE else self._live(kind, payload)
        except ProtocolError as error:
            if self.state is State.LOGIN and kind == PacketType.LOGIN_REQUEST:
                error.answer = error.answer or LoginRejected(RejectCode.NOT_AUTHORIZED).packet()
            raise self._broken(error) from None
        finally:
            if self.state is State.LIVE:
                self.heard_ns = now_ns

    def _before_login(self, kind: int, payload: bytes) -> ServerEvent | None:
        if kind == PacketType.DEBUG:
            return Debug.read(payload)
        if self.state is not State.LOGIN or kind != PacketType.LOGIN_REQUEST:
            raise ProtocolError(f"{soup.named(kind)} came before a login was asked for and answered")
        request = LoginRequest.read(payload)
        self._requested_seq = request.requested_seq
        self.state = State.ASKED
        return request

    def _live(self, kind: int, payload: bytes) -> ServerEvent | None:
        match kind:
            case PacketType.UNSEQUENCED:
                return Unsequenced(payload)
            case PacketType.CLIENT_HEARTBEAT:
                return None
            case PacketType.DEBUG:
                return Debug.read(payload)
            case PacketType.LOGOUT:
                self.state = State.ENDED
                self._cutter.release()
                return Logout()
            case PacketType.LOGIN_REQUEST:
                raise ProtocolError("a second login request came; a connection has one login")
        raise ProtocolError(f"{soup.named(kind)} came, which no client sends")

    def accept(self, session: str, end_seq: int, now_ns: int) -> bytes:
        """Accept the login; from here on ``next_seq`` says which message it gets first.

        end_seq: the number of the stream's next message, of which there is none yet. A request for 0 starts there.
        Raises ValueError for a request beyond it: that stream does not exist, and the login is to be rejected.
        """
        self._must_be_asked()
        if self._requested_seq > end_seq:
            raise ValueError(f"message {self._requested_seq} was asked for and the stream ends before {end_seq}")
        self.next_seq = self._requested_seq or end_seq
        answer = LoginAccepted(session, self.next_seq).packet()
        self.state = State.LIVE
        self.heard_ns = self.sent_ns = now_ns
        return answer

    def reject(self, code: RejectCode) -> bytes:
        """Reject the login; the connection is to be closed after these bytes."""
        self._must_be_asked()
        self.state = State.ENDED
        self._cutter.release()
        return LoginRejected(code).packet()

    def sequenced(self, payloads: Iterable[bytes], now_ns: int) -> bytes:
        """The next messages of the stream as packets, which count ``next_seq`` up."""
        packets = [soup.packet(PacketType.SEQUENCED, payload) for payload in payloads]
        if packets:
            self.sent(len(packets), now_ns)
        return b"".join(packets)

    def sent(self, messages: int, now_ns: int) -> None:
        """Count messages of the stream that were framed elsewhere and sent."""
        if self.state is not State.LIVE:
            raise RuntimeError(f"a {type(self).__name__} that is not live ({self.state.value}) has nothing to send")
        self.sent_ns = max(self.sent_ns, now_ns)
        self.next_seq += messages

    def end_session(self, now_ns: int) -> bytes:
        """End the session: its stream is complete; the connection is to be closed after these bytes."""
        data = self._send(soup.packet(PacketType.END_OF_SESSION), now_ns)
        self.state = State.ENDED
        self._cutter.release()
        return data

    def _must_be_asked(self) -> None:
        if self.state is not State.ASKED:
            raise RuntimeError(f"no login waits for an answer here: the session is {self.state.value}")

    def _silence_counts(self) -> bool:
        """While a login is being decided it is not the client that keeps the other waiting."""
        return self.state in (State.LOGIN, State.LIVE)


class ClientSession(_Session):
    """A client's side of one connection. ``next_seq`` is what to ask for after a reconnect: the first not seen yet."""

    _HEARTBEAT = PacketType.CLIENT_HEARTBEAT

    def login(self, request: LoginRequest, now_ns: int) -> bytes:
        """The packet that must be sent first. Raises ValueError for what does not fit. Nothing of it is kept."""
        if self.state is not State.LOGIN:
            raise RuntimeError(f"a connection has one login, and this one is {self.state.value}")
        data = request.packet()
        self.state = State.ASKED
        self.heard_ns = self.sent_ns = now_ns
        return data

    def receive(self, data: bytes | bytearray | memoryview, now_ns: int) -> list[ClientEvent]:
        """The events in the bytes, in order. A ProtocolError is the last event, and ends the session."""
        events: list[ClientEvent] = []
        if self.ended:
            return events
        self._cutter.feed(data)
        try:
            while not self.ended and (cut := self._cutter.next()):
                event = self.packet(*cut, now_ns)
                if event is not None:
                    events.append(event)
        except ProtocolError as error:
            events.append(self._broken(error))
        return events

    def packet(self, kind: int, payload: bytes, now_ns: int) -> ClientEvent | None:
        """The event in one packet; None for a heartbeat, and for all packets after the end.

        Raises ProtocolError, and the session has ended.
        """
        if self.ended:
            return None
        try:
            self._check_payload(kind, payload)
            if kind == PacketType.DEBUG:
                return Debug.read(payload)
            if kind == PacketType.SERVER_HEARTBEAT:
                return None
            return self._live(kind, payload) if self.state is State.LIVE else self._before_live(kind, payload)
        except ProtocolError as error:
            raise self._broken(error) from None
        finally:
            if self.state is State.LIVE:
                self.heard_ns = now_ns

    def _before_live(self, kind: int, payload: bytes) -> ClientEvent:
        if self.state is State.ASKED and kind == PacketType.LOGIN_ACCEPTED:
            accepted = LoginAccepted.read(payload)
            self.next_seq = accepted.next_seq
            self.state = State.LIVE
            return accepted
        if self.state is State.ASKED and kind == PacketType.LOGIN_REJECTED:
            rejected = LoginRejected.read(payload)
            self.state = State.ENDED
            self._cutter.release()
            return rejected
        raise ProtocolError(f"{soup.named(kind)} came before the login was asked for and answered")

    def _live(self, kind: int, payload: bytes) -> ClientEvent:
        match kind:
            case PacketType.SEQUENCED:
                self.next_seq += 1
                return Sequenced(self.next_seq - 1, payload)
            case PacketType.END_OF_SESSION:
                self.state = State.ENDED
                self._cutter.release()
                return EndOfSession()
            case PacketType.LOGIN_ACCEPTED | PacketType.LOGIN_REJECTED:
                raise ProtocolError("a second answer to the login came")
        raise ProtocolError(f"{soup.named(kind)} came, which no server sends")

    def unsequenced(self, payloads: Iterable[bytes], now_ns: int) -> bytes:
        """Messages to the server as packets."""
        return self._send(b"".join(soup.packet(PacketType.UNSEQUENCED, payload) for payload in payloads), now_ns)

    def logout(self, now_ns: int) -> bytes:
        """Log out: nothing more is sent; the connection is to be closed after these bytes."""
        data = self._send(soup.packet(PacketType.LOGOUT), now_ns)
        self.state = State.ENDED
        self._cutter.release()
        return data
