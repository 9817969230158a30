"""Desk of a simulated trader: one user's order entry (``client.OrderEntry``) over a non-blocking socket.

The library continues the stream after a reconnect, settles open requests, and sends lost ones again. The desk moves its
bytes, carries out the traders' actions, and counts the outcomes.
"""

import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from client import (
    CancelRejected,
    Event,
    Executed,
    Order,
    OrderEntry,
    Phase,
    Rejected,
    Request,
    RequestKind,
    RequestState,
)
from client.addresses import Rotation, parse_addresses
from client.reconnect import SILENCE_NS, cannot_connect
from load.actions import Action
from load.lines import LoadError, User, connect
from wire.ouch_codes import Liquidity

#: The socket has nothing, or no room; TLS has names of its own for it.
#: Liquidity of both sides of a trade in an uncross.
UNCROSS: Final = frozenset({Liquidity.OPENING_CROSS, Liquidity.CLOSING_CROSS, Liquidity.HALT_OR_IPO_CROSS})
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: A login goes on as long as something comes within this.
_LOGIN_S: Final = 10.0
#: The same where there is another address: a node that was stopped takes connections, and answers none.
_LOGIN_OF_SEVERAL_S: Final = SILENCE_NS / 1e9
_RECEIVE_BYTES: Final = 1 << 18
#: Bytes that wait for a socket with no room; beyond it nothing more is asked.
_WAITING_BYTES_MAX: Final = 1 << 20


class LoginFailed(LoadError):
    """The node rejected the login of a user."""


class Desk:
    """One user. ``taken_ns``: latencies of answers since they were last taken away.

    from_seq: the first message of the stream that is wanted, 0 for nothing of the past. on_message: as that of
    ``OrderEntry``. on_event: called with each event.
    """

    def __init__(
        self,
        host: str,
        port: int | None,
        user: User,
        *,
        from_seq: int = 0,
        on_message: Callable[[int, bytes], object] | None = None,
        on_event: Callable[[Event], object] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rotation = Rotation(parse_addresses(host, port))
        self.user = user
        self._tls = tls
        self.socket: socket.socket | None = None
        self._entry: OrderEntry[Order] = OrderEntry(
            user.name,
            user.password,
            Order,
            next_seq=from_seq,
            on_message=self._on_message,
            keep_closed=False,
            several=self._rotation.has_several,
            silence_ns=SILENCE_NS if self._rotation.has_several else None,
        )
        self._forward = on_message
        self._on_event = on_event
        self._out = bytearray()
        self._orders: dict[int, Order] = {}
        self._intended_ns: dict[int, int] = {}
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[int] = Counter()
        self.taken_ns: list[int] = []

    @property
    def unanswered(self) -> int:
        """Requests without an answer."""
        return len(self._entry.day.requests)

    @property
    def wants_to_send(self) -> bool:
        """True if bytes wait for room in the socket."""
        return bool(self._out)

    # The connection

    def await_marker(self) -> None:
        """Have the next login wait for the answer to all that the user has under way."""
        self._entry.asks_end = False

    def login(self) -> None:
        """Connect and log in where the stream was left, until it has caught up; of several addresses try each once.

        Raises LoadError, that of the last address.
        """
        self.close()
        for left in reversed(range(len(self._rotation.addresses))):
            try:
                self._login_here()
            except LoadError:
                self._rotation.move_on()
                if not left:
                    raise
            else:
                return

    def _login_here(self) -> None:
        while True:
            connection = connect(*self._rotation.now)
            connection.settimeout(_LOGIN_OF_SEVERAL_S if self._rotation.has_several else _LOGIN_S)
            try:
                connection = self._encrypted(connection)
                self._catch_up(connection)
            except (LoadError, OSError) as error:
                connection.close()
                self._entry.lost()
                if self._entry.at_once:  # the session of this stream is over, or may be: the next one is asked for
                    continue
                if isinstance(error, LoadError):
                    raise
                raise LoadError(f"the login of user {self.user.name} broke off: {error}") from None
            connection.setblocking(False)
            self.socket = connection
            self.counts["sent_again"] += self.unanswered
            self._collect()
            return

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=self._rotation.now.host)
        except ssl.SSLError as error:
            raise LoadError(str(cannot_connect(error, *self._rotation.now))) from None

    def _catch_up(self, connection: socket.socket) -> None:
        """Log in and read what was missed; what is to be sent then is left in ``_entry``."""
        self._out.clear()
        self._entry.connected(time.monotonic_ns(), str(self._rotation.now))
        while self._entry.phase is not Phase.LIVE:
            connection.sendall(self._entry.take())
            data = connection.recv(_RECEIVE_BYTES)
            if not data:
                raise LoadError(f"the node closed the connection of user {self.user.name} instead of an answer")
            self._read(data)
            if self._entry.refused is not None:
                raise LoginFailed(str(self._entry.refused))
            if self._entry.over:
                raise LoadError(f"the login of user {self.user.name} broke off: {self._entry.why or 'it was refused'}")

    def close(self) -> None:
        """Close the connection, if there is one. Requests without an answer are settled after the next login, which
        the next address has first.
        """
        if self.socket is not None:
            self.socket.close()
            self.socket = None
            self._entry.lost()
            self._rotation.move_on()

    def logout(self) -> None:
        """Log out, if the connection still stands."""
        if self.socket is not None:
            self._entry.logout(time.monotonic_ns())
            self._collect()
            try:
                self.socket.settimeout(1.0)
                self.socket.sendall(self._out)
            except OSError:
                pass
        self.close()

    def flush(self) -> None:
        """Send as much as the socket takes. Raises LoadError when the connection is lost."""
        if self.socket is None or not self._out:
            return
        try:
            del self._out[: self.socket.send(self._out)]
        except _NOT_NOW:
            return
        except OSError as error:
            raise LoadError(error.strerror or str(error)) from None

    def beat(self) -> None:
        """A heartbeat, if one is due. Raises LoadError when the node has been silent for too long."""
        self._entry.tick(time.monotonic_ns())
        self._check()

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
            self._read(data)
            self._check()
            # What TLS has deciphered already is seen by no poll.
            more = isinstance(connection, ssl.SSLSocket) and connection.pending() > 0

    def _check(self) -> None:
        self._collect()
        if self._entry.over:
            raise LoadError(self._entry.why)

    def _collect(self) -> None:
        self._out += self._entry.take()

    # # Actions

    def ask(self, action: Action, intended_ns: int) -> None:
        """Carry out an action of a trader. It is skipped without a connection, if the node reads too slowly, or if its
        order was skipped.
        """
        request = None
        if self.socket is not None and len(self._out) <= _WAITING_BYTES_MAX:
            request = self._request(action)
        if request is None:
            self.counts["left_out"] += 1
            return
        self._intended_ns[request.number] = intended_ns
        self.counts["orders"] += 1
        self._collect()

    def _request(self, action: Action) -> Request | None:
        if action.new is not None:
            order, request = self._entry.enter(action.new)
            if action.new.time_in_force_s:  # nobody comes back to an order that is over at once
                self._orders[action.number] = order
            return request
        known = self._orders.pop(action.number, None)
        if known is None:
            return None
        if action.kind is RequestKind.CANCEL:
            return self._entry.cancel(known)
        self._orders[action.new_number] = known
        return self._entry.replace(known, action.qty, action.price)

    # # Messages

    def _read(self, data: bytes) -> None:
        self._count(self._entry.receive(data, time.monotonic_ns()))
        now_ns = time.monotonic_ns()
        day = self._entry.day
        for request in day.requests.take_settled():
            intended_ns = self._intended_ns.pop(request.number, now_ns)
            if request.state in (RequestState.DONE, RequestState.REFUSED):
                self.counts["answers"] += 1
                self.taken_ns.append(now_ns - intended_ns)
            if isinstance(request.answer, CancelRejected):
                self.counts["too_late"] += 1
        self.counts["answered_again"], self.counts["unexpected"] = day.duplicates, day.unasked

    def _on_message(self, seq: int, payload: bytes) -> None:
        self.counts["messages"] += 1
        if self._forward is not None:
            self._forward(seq, payload)

    def _count(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Executed):
                # Both sides of a trade get a message; the later order counts it, and in an uncross each a half.
                self.counts["trades"] += event.liquidity == Liquidity.REMOVED
                self.counts["uncross_sides"] += event.liquidity in UNCROSS
            elif isinstance(event, Rejected):
                self.counts["rejects"] += 1
                self.reasons[event.reason] += 1
            if self._on_event is not None:
                self._on_event(event)
