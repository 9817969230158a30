"""The client for plain scripts: blocking calls, a thin shell around ``client.order_entry``.

One thread in the background reads the stream, sends heartbeats and makes a connection that breaks again, for up to
``reconnect_for_s`` at a time; so a script may sleep or compute as long as it likes. Requests are sent by the caller.

A method that sends a request waits for a connection, sends, and waits for the answer, all within ``timeout_s``.
``OutcomeUnknown`` then means that the answer is missing, not that nothing happened; the request is still settled later.
Events wait until they are read, as with ``client.async_client``: the oldest of too many are dropped.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import ClassVar, Final

from client import outcome
from client.addresses import parse_addresses
from client.errors import ClientError, ConnectionLost, NotConnected
from client.event_queue import EVENTS_MAX, EventQueue
from client.events import CaughtUp, Disconnected, Event, Side
from client.order_entry import OrderEntry, Phase
from client.orders import NewOrder, Order, Request
from client.prices import KEEP, Keep, Price
from client.reconnect import SILENCE_NS, Retry, cannot_connect, closed_early
from wire.ouch_codes import Display, TimeInForce

#: Longest wait for a logout to leave.
_GOODBYE_S: Final = 1.0
_READ_BYTES: Final = 65_536
#: The socket has nothing, or no room; TLS has names of its own for it.
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: With more than that unsent, who wants to send more waits.
_UNSENT_BYTES_MAX: Final = 1_048_576


@dataclass(slots=True, eq=False)
class SyncOrder(Order):
    """An order with methods that act on it.

    Each method returns when its request is done. Raises NotConnected, RequestRejected, RequestNotReceived,
    OutcomeUnknown.
    """

    client: "Client" = field(kw_only=True, repr=False)

    def cancel(self, qty: int = 0) -> None:
        """Cancel the open quantity; or reduce the order to a total of ``qty``, the executed included."""
        self.client.cancel(self, qty)

    def replace(
        self, qty: int | None = None, price: Price | Keep = KEEP, token: str | None = None, terms: str = ""
    ) -> None:
        """Replace the order: another total quantity (the executed included), or price, or both; and another token."""
        self.client.replace(self, qty, price, token, terms)

    def modify(self, side: Side, qty: int | None = None) -> None:
        """Change the kind of a sale, or reduce the order: ``qty`` as in ``cancel``."""
        self.client.modify(self, side, qty)


class Client:
    """A user's order entry. Use it as ``with``, or ``connect`` and ``close``. Several threads may use it.

    host: HOST, or the addresses of the market's nodes: ``HOST:PORT,HOST:PORT`` or a list; port: of those without one.
    from_seq: 1 for the day's orders from the beginning, 0 for nothing of the past. resend: True to send a request again
    that was lost with its connection; else it ends as ``RequestNotReceived``. reconnect_for_s: 0 for no reconnect.
    tls: of ``client_context``; None for a connection that is not encrypted. keep_closed: False to forget closed orders,
    see ``OrderEntry``.
    """

    #: Protocol of the port.
    PROTOCOL: ClassVar[str] = "ouch"

    def __init__(
        self,
        host: str | Sequence[str],
        port: int | None,
        user: str,
        password: str,
        *,
        session: str = "",
        from_seq: int = 1,
        resend: bool = True,
        timeout_s: float = 10.0,
        reconnect_for_s: float = 60.0,
        events_max: int = EVENTS_MAX,
        tls: ssl.SSLContext | None = None,
        keep_closed: bool = True,
    ) -> None:
        """Set up without a connection. Raises ValueError for an address, or values that do not fit into a login."""
        self._retry = Retry(reconnect_for_s, parse_addresses(host, port))
        self.core = OrderEntry(
            user,
            password,
            partial(SyncOrder, client=self),
            session=session,
            next_seq=from_seq,
            resend=resend,
            keep_closed=keep_closed,
            several=self._retry.has_several,
            silence_ns=SILENCE_NS if self._retry.has_several else None,
        )
        self.core.speak(self.PROTOCOL)
        self._tls = tls
        self._timeout_s = timeout_s
        self._queue = EventQueue(events_max)
        self._changed = threading.Condition()  # its lock is held for whatever is done with what is below
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._unsent = bytearray()
        self._was_live = False
        self._closing = False
        self._ended = False
        self._error: ClientError | None = None

    def __repr__(self) -> str:
        return f"<Client {self._retry.rotation} {self.core!r}>"

    def __enter__(self) -> "Client":
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Connect, log in, and read the stream so far.

        Raises CannotConnect, LoginRefused, ConnectionLost. The first connection is tried once; of several addresses,
        each. Where a node answers and none is primary yet, the client tries on, for ``timeout_s``.
        """
        if self._thread is not None:
            raise RuntimeError("this client was connected before; make another")
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="lockstep client", daemon=True)
        self._thread.start()
        try:
            with self._changed:
                self._until_live(time.monotonic() + self._timeout_s)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Log out and disconnect. Requests without an answer end as unknown for good."""
        if self._thread is None:
            return
        with self._changed:
            already, self._closing = self._closing, True
            self.core.logout(time.monotonic_ns())
            self._pump([])
            self._wake()
            self._changed.notify_all()
        self._thread.join(_GOODBYE_S + self._timeout_s)
        if not already:
            self._wake_reader.close()
            self._wake_writer.close()

    # # State

    @property
    def on_message(self) -> Callable[[int, bytes], object] | None:
        """Called with each message of the stream as it came, see ``OrderEntry``; set it before ``connect``."""
        return self.core.on_message

    @on_message.setter
    def on_message(self, callback: Callable[[int, bytes], object] | None) -> None:
        self.core.on_message = callback

    @property
    def on_disconnect(self) -> Callable[[Disconnected], object] | None:
        """Called when the connection was lost; it must be quick. Set it before ``connect``."""
        return self.core.on_disconnect

    @on_disconnect.setter
    def on_disconnect(self, callback: Callable[[Disconnected], object] | None) -> None:
        self.core.on_disconnect = callback

    @property
    def on_caught_up(self) -> Callable[[CaughtUp], object] | None:
        """Called when all that was missed has come, with address, epoch and outage. Set it before ``connect``."""
        return self.core.on_caught_up

    @on_caught_up.setter
    def on_caught_up(self, callback: Callable[[CaughtUp], object] | None) -> None:
        self.core.on_caught_up = callback

    @property
    def orders(self) -> dict[str, SyncOrder]:
        """Orders of the day, by each token that they have had."""
        return self.core.day.orders

    def open_orders(self) -> list[SyncOrder]:
        """Open orders, in order of their tokens."""
        with self._changed:
            return self.core.open_orders()

    def open_requests(self) -> list[Request]:
        """Requests without an outcome yet."""
        with self._changed:
            return list(self.core.day.requests)

    @property
    def is_live(self) -> bool:
        """True if there is a connection that has caught up with the stream."""
        return self.core.phase is Phase.LIVE

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event; None if none comes in time. Raises ConnectionLost if the client failed."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) or self._ended, timeout_s)
            event = self._queue.take()
            if event is None and self._error is not None:
                raise self._error
            return event

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """Events as they come, until none comes for ``timeout_s`` or the client is closed. Raises ConnectionLost."""
        return iter(partial(self.next_event, timeout_s), None)

    # # Requests

    def enter(
        self,
        symbol: str,
        side: Side,
        qty: int,
        price: Price,
        *,
        time_in_force_s: int = TimeInForce.MARKET_HOURS,
        display: Display = Display.ANONYMOUS,
        min_qty: int = 0,
        terms: str = "",
        token: str | None = None,
    ) -> SyncOrder:
        """Enter an order, and return it when it is accepted. Raises as the methods of an order do.

        price: "10.05", a Decimal, or None for a market order. time_in_force_s: 0 for immediate or cancel.
        """
        return self.submit(NewOrder(symbol, side, qty, price, time_in_force_s, display, min_qty, terms=terms), token)

    def submit(self, new: NewOrder, token: str | None = None) -> SyncOrder:
        """``enter`` for an order with all its terms."""
        with self._changed:
            deadline_s = self._ready()
            order, request = self.core.enter(new, token)
            self._answered(request, deadline_s)
            return order

    def send(self, new: NewOrder, token: str | None = None) -> tuple[SyncOrder, Request]:
        """``submit`` without waiting for the answer: for that there is ``outcome``."""
        with self._changed:
            self._ready()
            order, request = self.core.enter(new, token)
            self._pump([])
            return order, request

    def cancel(self, order: Order, qty: int = 0) -> None:
        """See ``SyncOrder.cancel``."""
        self._ask(lambda: self.core.cancel(order, qty))

    def replace(
        self,
        order: Order,
        qty: int | None = None,
        price: Price | Keep = KEEP,
        token: str | None = None,
        terms: str = "",
    ) -> None:
        """See ``SyncOrder.replace``."""
        self._ask(lambda: self.core.replace(order, qty, price, token, terms))

    def modify(self, order: Order, side: Side, qty: int | None = None) -> None:
        """See ``SyncOrder.modify``."""
        self._ask(lambda: self.core.modify(order, side, qty))

    def mass_cancel(self, symbol: str = "", side: Side | None = None) -> bool:
        """Cancel all open orders of the participant (``OrderEntry.mass_cancel``); False if no answer came in time.

        It may be repeated then. The event ``MassCanceled`` says how many orders it took.
        """
        with self._changed:
            deadline_s, before = self._ready(), self.core.mass_cancels
            self.core.mass_cancel(symbol, side)
            self._pump([])
            return self._changed.wait_for(lambda: self.core.mass_cancels > before, deadline_s - time.monotonic())

    def outcome(self, request: Request) -> None:
        """Wait for the outcome of a request; may be called again. Returns and raises as an order's methods do."""
        with self._changed:
            self._answered(request, time.monotonic() + self._timeout_s)

    # Inside, with the lock held

    def _ask(self, make: Callable[[], Request]) -> None:
        with self._changed:
            deadline_s = self._ready()
            self._answered(make(), deadline_s)

    def _ready(self) -> float:
        """Wait until a request can be sent. Returns the deadline of its answer, on the monotonic clock."""
        if self._thread is None:
            raise NotConnected("nothing was sent: this client was not connected; use `with`, or connect()")
        deadline_s = time.monotonic() + self._timeout_s
        self._until_live(deadline_s)
        return deadline_s

    def _until_live(self, deadline_s: float) -> None:
        def can_send() -> bool:
            return self._ended or (self.core.phase is Phase.LIVE and len(self._unsent) <= _UNSENT_BYTES_MAX)

        came = self._changed.wait_for(can_send, deadline_s - time.monotonic())
        if self._ended:
            raise self._error or NotConnected("nothing was sent: this client was closed")
        if not came:
            raise outcome.not_live(self._timeout_s, self._retry.why)

    def _answered(self, request: Request, deadline_s: float) -> None:
        self._pump([])
        if not self._changed.wait_for(lambda: request.settled, deadline_s - time.monotonic()):
            raise outcome.too_late(request, self._timeout_s)
        outcome.check(request, self.orders.get(request.token))

    def _pump(self, events: list[Event]) -> None:
        """Pass the core's output on: bytes to the exchange, events and outcomes to the waiting callers."""
        self._unsent += self.core.take()
        self._flush()
        self._queue.put(events)
        if self.core.phase is Phase.LIVE and not self._was_live:
            self._was_live = True
            self._retry.on_live()
        if self.core.day.requests.take_settled() or events:
            self._changed.notify_all()

    def _flush(self) -> None:
        """Send as much as the socket takes at once; the thread sends the rest."""
        if self._socket is None or not self._unsent:
            return
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except _NOT_NOW:
            pass
        except OSError:
            return  # the thread reads that the connection is gone
        if self._unsent or self.core.over:
            self._wake()

    def _wake(self) -> None:
        """Wake the thread, which has something to do."""
        with contextlib.suppress(OSError):  # full: it has been woken; closed: it has ended
            self._wake_writer.send(b"\0")

    # The thread

    def _run(self) -> None:
        """Make one connection after the other, until one ends that is to be the last."""
        failure: ClientError | None = None
        try:
            while not self._closing:
                self._was_live = False
                error = self._one_connection()
                now_s = time.monotonic()
                with self._changed:
                    delay_s = self._retry.delay_s(self.core, was_live=self._was_live, error=error, now_s=now_s)
                    self._changed.wait_for(lambda: self._closing, delay_s)
        except ClientError as error:
            failure = error
        with self._changed:
            self._ended = True
            self._error = None if self._closing else failure
            self._pump(self.core.give_up())
            self._changed.notify_all()

    def _one_connection(self) -> ClientError:
        """Serve one connection until it ends; gives the reason."""
        try:
            connection = self._connected()
        except OSError as error:
            return cannot_connect(error, *self._retry.address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        with self._changed:
            self._unsent.clear()
            self._socket = connection
            self.core.connected(time.monotonic_ns(), str(self._retry.address))
            self._pump([])
        why = ""
        while not why:
            why = self._turn(connection)
        with self._changed:
            why = "this client was closed" if self._closing else self.core.why or why
            why = why if self._closing else closed_early(why, self.core, tls=self._tls is not None)
            self._socket = None
            connection.close()
            self._pump(self.core.lost(why))
            self._changed.notify_all()
        return self.core.refused or ConnectionLost(f"{self._retry.address}: {why}")

    def _connected(self) -> socket.socket:
        """A connection, its TLS handshake done. Raises OSError."""
        connection = socket.create_connection(self._retry.address, self._retry.connect_s(self._timeout_s))
        if self._tls is None:
            return connection
        try:
            return self._tls.wrap_socket(connection, server_hostname=self._retry.address.host)
        except BaseException:
            connection.close()
            raise

    def _turn(self, connection: socket.socket) -> str:
        """Wait for bytes, room to send, or the next heartbeat, and do it. Gives why the connection ended, or ""."""
        poll = select.poll()
        with self._changed:
            poll.register(connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            due_ns = self.core.due_ns()
        poll.register(self._wake_reader, select.POLLIN)
        wait_ns = max(0, due_ns - time.monotonic_ns()) if due_ns is not None else 1_000_000_000
        pending = isinstance(connection, ssl.SSLSocket) and connection.pending()  # deciphered already: no poll sees it
        ready = dict(poll.poll(0 if pending else wait_ns / 1e6))
        if self._wake_reader.fileno() in ready:
            self._wake_reader.recv(_READ_BYTES)
        data = None
        if pending or ready.get(connection.fileno(), 0) & ~select.POLLOUT:
            try:
                with self._changed:  # one thread at a time: TLS reads and writes share their state
                    data = connection.recv(_READ_BYTES)
            except _NOT_NOW:
                data = None
            except OSError:
                return self._ended_by("the connection broke")
            if data == b"":
                return self._ended_by("the exchange closed the connection")
        with self._changed:
            now_ns = time.monotonic_ns()
            events = self.core.receive(data, now_ns) if data else []
            self.core.tick(now_ns)
            self._pump(events)
            if len(self._unsent) <= _UNSENT_BYTES_MAX:
                self._changed.notify_all()
            return "this client was closed" if self.core.over or self._closing else ""

    def _ended_by(self, why: str) -> str:
        """Reason for the end of the connection: after our own logout both sides close it, in either order."""
        with self._changed:
            return "this client was closed" if self.core.over or self._closing else why


class NativeClient(Client):
    """A user's order entry at a port of native order entry: ``terms`` are words of the rulebook's notation."""

    PROTOCOL = "native"
