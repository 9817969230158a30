"""A simulated trader's desk: one user's connection, what it asked for, and which of it is answered.

A connection that is lost is made again and the stream goes on where it was seen last. What was not answered by then
is sent again: an exchange refuses a token that it knows, so nothing is done twice. The refusal comes after the first
answer, and is no answer.
"""

import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from client.reconnect import cannot_connect
from load.lines import LoadError, User, connect
from load.ouch_traders import Request
from wire import ClientSession, Due, LoginRequest, ProtocolError, ouch
from wire.ouch import read_server
from wire.ouch_codes import CancelReason, Liquidity, RejectReason, ServerMessage
from wire.soup import EndOfSession, LoginAccepted, LoginRejected, RejectCode, Sequenced

#: The socket has nothing, or no room; TLS has names of its own for it.
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: A login is answered within this, or the connection is given up.
_LOGIN_S: Final = 10.0
_RECEIVE_BYTES: Final = 1 << 18
#: Bytes that wait for a socket with no room; beyond it nothing more is asked.
_WAITING_BYTES_MAX: Final = 1 << 20


_ACCEPTED: Final = int(ServerMessage.ACCEPTED)
_REPLACED: Final = int(ServerMessage.REPLACED)
_EXECUTED: Final = int(ServerMessage.EXECUTED)
_CANCELED: Final = int(ServerMessage.CANCELED)
_REJECTED: Final = int(ServerMessage.REJECTED)
_CANCEL_REJECT: Final = int(ServerMessage.CANCEL_REJECT)
_LENGTHS: Final = {int(kind): dtype.itemsize for kind, dtype in ouch.FROM_SERVER.items()}


def place(dtype: "np.dtype[Any]", name: str) -> slice:
    """Place of a field in the bytes of a message."""
    fields: Any = dtype.fields
    of, start = fields[name][:2]
    return slice(int(start), int(start) + int(of.itemsize))


#: Offset of the token in every message about an order; of a Replaced, the new order's.
TOKEN: Final = place(ouch.ACCEPTED, "order_token")
LIQUIDITY: Final = place(ouch.EXECUTED, "liquidity").start
_CANCEL_REASON: Final = place(ouch.CANCELED, "cancel_reason").start
_REJECT_REASON: Final = place(ouch.REJECTED, "reject_reason").start


class LoginFailed(LoadError):
    """The node does not let the user in, now or ever; the message says so."""


class SentRequest:
    """A request that is not answered, when it was to be sent, and how often it was."""

    __slots__ = ("intended_ns", "request", "times")

    def __init__(self, request: Request, intended_ns: int) -> None:
        self.request = request
        self.intended_ns = intended_ns
        self.times = 1


class Desk:
    """One user. ``taken_ns``: latencies of answers since they were last taken away.

    from_seq: where the stream is to begin, 0 for nothing of the past. heard: is told the number and the payload of
    each message of the stream.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: User,
        *,
        from_seq: int = 0,
        heard: Callable[[int, bytes], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port, self.user = host, port, user
        self._tls = tls
        self.socket: socket.socket | None = None
        self._session = ClientSession(time.monotonic_ns())
        self._day = ""
        self._next_seq = from_seq
        self._heard = heard
        self._out = bytearray()
        self._making: dict[bytes, SentRequest] = {}
        self._changing: dict[bytes, SentRequest] = {}
        self._again: set[bytes] = set()
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.taken_ns: list[int] = []

    @property
    def unanswered(self) -> int:
        """Requests without an answer."""
        making = sum(1 for sent in self._making.values() if not sent.request.existing)
        return making + len(self._changing)

    @property
    def wants_to_send(self) -> bool:
        """True if bytes wait for room in the socket."""
        return bool(self._out)

    def login(self) -> None:
        """Connect and log in where the stream was left, and send open requests again. Raises LoadError."""
        self.close()
        self._session = ClientSession(time.monotonic_ns())
        connection = connect(self._host, self._port)
        connection.settimeout(_LOGIN_S)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_hostname=self._host)
            accepted, rest = self._let_in(connection)
        except (LoadError, OSError) as error:
            connection.close()
            if isinstance(error, LoadError):
                raise
            if isinstance(error, ssl.SSLError):
                raise LoadError(str(cannot_connect(error, self._host, self._port))) from None
            raise LoadError(f"the login of user {self.user.name} broke off: {error}") from None
        connection.setblocking(False)
        self.socket = connection
        self._day = accepted.session
        self._out.clear()
        self._take(rest)
        self._ask_again()

    def _let_in(self, connection: socket.socket) -> tuple[LoginAccepted, list[object]]:
        request = LoginRequest(self.user.name, self.user.password, self._day, self._next_seq)
        connection.sendall(self._session.login(request, time.monotonic_ns()))
        while True:
            data = connection.recv(_RECEIVE_BYTES)
            if not data:
                raise LoadError(f"the node closed the connection of user {self.user.name} instead of an answer")
            events: list[object] = list(self._session.receive(data, time.monotonic_ns()))
            for place, event in enumerate(events):
                if isinstance(event, LoginAccepted):
                    return event, events[place + 1 :]
                if isinstance(event, LoginRejected):
                    raise self._refused(event)
                if isinstance(event, ProtocolError):
                    raise LoadError(f"the node answered the login of user {self.user.name} with nonsense: {event}")

    def _refused(self, event: LoginRejected) -> LoadError:
        if event.code is RejectCode.SESSION_NOT_AVAILABLE and self._day:
            # A new trading day has another stream, which is wanted from its beginning.
            self._day, self._next_seq = "", 1
            return LoadError(f"the session of user {self.user.name} is over; the next login is for the new day's")
        return LoginFailed(f"the node refused the login of user {self.user.name} ({event.code.name.lower()})")

    def _ask_again(self) -> None:
        for sent in dict.fromkeys((*self._making.values(), *self._changing.values())):
            sent.times += 1
            self.counts["sent_again"] += 1
            self._again.update(token for token in (sent.request.token, sent.request.existing) if token)
            self._out += self._session.unsequenced([sent.request.message], time.monotonic_ns())
        self.flush()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def logout(self) -> None:
        """Log out, if the connection still stands."""
        if self.socket is not None and not self._session.ended:
            try:
                self.socket.settimeout(1.0)
                self.socket.sendall(bytes(self._out) + self._session.logout(time.monotonic_ns()))
            except OSError:
                pass
        self.close()

    def ask(self, request: Request, intended_ns: int) -> None:
        """Send a request. Nothing is sent without a connection, or when the node reads too slowly: it is left out."""
        if self.socket is None or len(self._out) > _WAITING_BYTES_MAX:
            self.counts["left_out"] += 1
            return
        sent = SentRequest(request, intended_ns)
        if request.token:
            self._making[request.token] = sent
        if request.existing:
            self._changing[request.existing] = sent
        self.counts["orders"] += 1
        self._out += self._session.unsequenced([request.message], time.monotonic_ns())

    def flush(self) -> None:
        """Send as much as the socket takes. Raises LoadError when the connection is lost."""
        if self.socket is None or not self._out:
            return
        try:
            sent = self.socket.send(self._out)
        except _NOT_NOW:
            return
        except OSError as error:
            raise LoadError(error.strerror or str(error)) from None
        del self._out[:sent]

    def beat(self) -> None:
        """A heartbeat, if one is due. Raises LoadError when the node has been silent for too long."""
        now_ns = time.monotonic_ns()
        due = self._session.tick(now_ns)
        if due is Due.HEARTBEAT:
            self._out += self._session.heartbeat(now_ns)
        elif due is Due.TIMED_OUT:
            raise LoadError("the node has been silent for too long")

    def receive(self) -> None:
        """Receive the messages that came. Raises LoadError when the connection is lost."""
        if self.socket is None:
            return
        connection, more = self.socket, True
        while more:
            try:
                data = connection.recv(_RECEIVE_BYTES)
            except _NOT_NOW:
                return
            except OSError as error:
                raise LoadError(error.strerror or str(error)) from None
            if not data:
                raise LoadError("the node closed the connection")
            self._take(self._session.receive(data, time.monotonic_ns()))
            # What TLS has deciphered already is seen by no poll.
            more = isinstance(connection, ssl.SSLSocket) and connection.pending() > 0

    def _take(self, events: object) -> None:
        for event in events if isinstance(events, list) else []:
            if isinstance(event, Sequenced):
                self._next_seq = event.seq + 1
                if self._heard is not None:
                    self._heard(event.seq, event.payload)
                try:
                    self._message(event.payload)
                except ProtocolError as error:
                    raise LoadError(f"the node sent nonsense: {error}") from None
            elif isinstance(event, EndOfSession):
                raise LoadError("the node ended the session")
            elif isinstance(event, ProtocolError):
                raise LoadError(f"the node sent nonsense: {event}")

    def _message(self, payload: bytes) -> None:
        # As bytes at their places, since a NumPy row for each message would be most of the work.
        kind = payload[0] if payload else 0
        if _LENGTHS.get(kind) != len(payload):
            read_server(payload)  # which says what is wrong with it
        self.counts["messages"] += 1
        token = payload[TOKEN]
        if kind in (_ACCEPTED, _REPLACED):
            self._made(token)
        elif kind == _EXECUTED:
            # Both sides of a trade are told of it; the one that came later counts it.
            self.counts["trades"] += payload[LIQUIDITY] == Liquidity.REMOVED
        elif kind == _CANCELED:
            if payload[_CANCEL_REASON] == CancelReason.USER:
                self._changed(token)
        elif kind == _REJECTED:
            if self._made(token):
                self.counts["rejects"] += 1
                self.reasons[_reason(payload[_REJECT_REASON])] += 1
        elif kind == _CANCEL_REJECT and self._changed(token):
            self.counts["too_late"] += 1

    def _made(self, token: bytes) -> bool:
        """The order of a token is accepted or refused; False if that was said before, of a request sent again."""
        sent = self._making.pop(token, None)
        if sent is None:
            self._unexpected(token)
            return False
        if sent.request.existing:
            self._changing.pop(sent.request.existing, None)
        self._answered(sent)
        return True

    def _changed(self, token: bytes) -> bool:
        sent = self._changing.pop(token, None)
        if sent is None:
            self._unexpected(token)
            return False
        if sent.request.token:
            self._making.pop(sent.request.token, None)
        self._answered(sent)
        return True

    def _unexpected(self, token: bytes) -> None:
        if token in self._again:
            self.counts["answered_again"] += 1
        else:
            self.counts["unexpected"] += 1

    def _answered(self, sent: SentRequest) -> None:
        self.counts["answers"] += 1
        self.taken_ns.append(time.monotonic_ns() - sent.intended_ns)


def _reason(code: int) -> str:
    try:
        return RejectReason(code).name.lower()
    except ValueError:
        return f"0x{code:02x}"
