"""The client for asyncio, on any event loop: a thin shell around ``client.order_entry``.

A method that sends a request waits for a connection, sends, and waits for the answer, all within ``timeout_s``.
``OutcomeUnknown`` then means that the answer is missing, not that nothing happened; the request is still settled later.
A connection that breaks is made again, for up to ``reconnect_for_s`` at a time.

Events wait until they are read by ``events()``. There is room for ``events_max``; if more come, the oldest are
dropped, and ``EventsLost`` says how many. Orders and answers do not depend on that.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import ClassVar, cast

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
_GOODBYE_S = 1.0
#: Interval of looks for the answer to a mass cancel, in seconds.
_LOOK_S = 0.01


@dataclass(slots=True, eq=False)
class AsyncOrder(Order):
    """An order with methods that act on it.

    Each method returns when its request is done. Raises NotConnected, RequestRejected, RequestNotReceived,
    OutcomeUnknown.
    """

    client: "AsyncClient" = field(kw_only=True, repr=False)

    async def cancel(self, qty: int = 0) -> None:
        """Cancel the open quantity; or reduce the order to a total of ``qty``, the executed included."""
        await self.client.cancel(self, qty)

    async def replace(
        self, qty: int | None = None, price: Price | Keep = KEEP, token: str | None = None, terms: str = ""
    ) -> None:
        """Replace the order: another total quantity (the executed included), or price, or both; and another token."""
        await self.client.replace(self, qty, price, token, terms)

    async def modify(self, side: Side, qty: int | None = None) -> None:
        """Change the kind of a sale, or reduce the order: ``qty`` as in ``cancel``."""
        await self.client.modify(self, side, qty)


class _Connection(asyncio.Protocol):
    """One connection; its work is in the client."""

    def __init__(self, client: "AsyncClient", on_disconnect: "asyncio.Future[str]") -> None:
        self._client = client
        self._on_disconnect = on_disconnect
        self.transport: asyncio.Transport | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No check of its type: transports of other event loops are not of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)
        self._client._made(self)

    def data_received(self, data: bytes) -> None:
        self._client._pump(self._client.core.receive(data, time.monotonic_ns()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()
        if not self._on_disconnect.done():
            self._on_disconnect.set_result("the connection broke" if exc else "the exchange closed the connection")

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class AsyncClient:
    """A user's order entry. Use it as ``async with``, or ``connect`` and ``close``.

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
            partial(AsyncOrder, client=self),
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
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._connection: _Connection | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_s = 0.0  # a handle of uvloop that is due at once does not tell when
        self._task: asyncio.Task[None] | None = None
        self._was_live = False
        self._closing = False
        self._ended = False
        self._error: ClientError | None = None

    def __repr__(self) -> str:
        return f"<AsyncClient {self._retry.rotation} {self.core!r}>"

    async def __aenter__(self) -> "AsyncClient":
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connect, log in, and read the stream so far.

        Raises CannotConnect, LoginRefused, ConnectionLost. The first connection is tried once; of several addresses,
        each. Where a node answers and none is primary yet, the client tries on, for ``timeout_s``.
        """
        self._loop = asyncio.get_running_loop()
        self._live: asyncio.Future[None] = self._loop.create_future()
        self._news = asyncio.Event()
        self._task = self._loop.create_task(self._run())
        try:
            await self._until_live(self._loop.time() + self._timeout_s)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Log out and disconnect. Requests without an answer end as unknown for good."""
        if self._task is None or self._ended:
            return
        self._closing = True
        self.core.logout(time.monotonic_ns())
        self._pump([])
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.close()
            await asyncio.wait({self._on_disconnect}, timeout=_GOODBYE_S)
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.abort()
        self._task.cancel()
        await asyncio.wait({self._task})
        self._end(None)

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
    def orders(self) -> dict[str, AsyncOrder]:
        """Orders of the day, by each token that they have had."""
        return self.core.day.orders

    def open_orders(self) -> list[AsyncOrder]:
        """Open orders, in order of their tokens."""
        return self.core.open_orders()

    def open_requests(self) -> list[Request]:
        """Requests without an outcome yet."""
        return list(self.core.day.requests)

    @property
    def is_live(self) -> bool:
        """True if there is a connection that has caught up with the stream."""
        return self.core.phase is Phase.LIVE

    @property
    def outage(self) -> str:
        """Sentence on why there is no connection, at each address that was tried; "" while there is one, or none was
        tried yet.
        """
        return self._retry.why

    async def events(self) -> AsyncIterator[Event]:
        """Events as they come, for one reader, until the client is closed. Raises ConnectionLost if it failed."""
        while True:
            while (event := self._queue.take()) is not None:
                yield event
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            self._news.clear()
            await self._news.wait()

    def events_now(self) -> list[Event]:
        """Events so far, without waiting."""
        return list(iter(self._queue.take, None))

    # # Requests

    async def enter(
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
    ) -> AsyncOrder:
        """Enter an order, and return it when it is accepted. Raises as the methods of an order do.

        price: "10.05", a Decimal, or None for a market order. time_in_force_s: 0 for immediate or cancel.
        """
        return await self.submit(
            NewOrder(symbol, side, qty, price, time_in_force_s, display, min_qty, terms=terms), token
        )

    async def submit(self, new: NewOrder, token: str | None = None) -> AsyncOrder:
        """``enter`` for an order with all its terms."""
        deadline_s = await self._ready()
        order, request = self.core.enter(new, token)
        await self._answered(request, deadline_s)
        return order

    async def send(self, new: NewOrder, token: str | None = None) -> tuple[AsyncOrder, Request]:
        """``submit`` without waiting for the answer: for that there is ``outcome``."""
        await self._ready()
        order, request = self.core.enter(new, token)
        self._pump([])
        return order, request

    async def cancel(self, order: Order, qty: int = 0) -> None:
        """See ``AsyncOrder.cancel``."""
        deadline_s = await self._ready()
        await self._answered(self.core.cancel(order, qty), deadline_s)

    async def replace(
        self,
        order: Order,
        qty: int | None = None,
        price: Price | Keep = KEEP,
        token: str | None = None,
        terms: str = "",
    ) -> None:
        """See ``AsyncOrder.replace``."""
        deadline_s = await self._ready()
        await self._answered(self.core.replace(order, qty, price, token, terms), deadline_s)

    async def modify(self, order: Order, side: Side, qty: int | None = None) -> None:
        """See ``AsyncOrder.modify``."""
        deadline_s = await self._ready()
        await self._answered(self.core.modify(order, side, qty), deadline_s)

    async def mass_cancel(self, symbol: str = "", side: Side | None = None) -> bool:
        """Cancel all open orders of the participant (``OrderEntry.mass_cancel``); False if no answer came in time.

        It may be repeated then. The event ``MassCanceled`` says how many orders it took.
        """
        deadline_s, before = await self._ready(), self.core.mass_cancels
        self.core.mass_cancel(symbol, side)
        self._pump([])
        while self.core.mass_cancels == before and self._loop.time() < deadline_s:
            await asyncio.sleep(_LOOK_S)
        return self.core.mass_cancels > before

    async def outcome(self, request: Request) -> None:
        """Wait for the outcome of a request; may be called again. Returns and raises as an order's methods do."""
        await self._answered(request, self._loop.time() + self._timeout_s)

    # Inside

    async def _ready(self) -> float:
        """Wait until a request can be sent. Returns the deadline of its answer, on the loop's clock."""
        if self._task is None:
            raise NotConnected("nothing was sent: this client was not connected; use `async with`, or connect()")
        deadline_s = self._loop.time() + self._timeout_s
        while not self._ended and self._connection is not None and not self._connection.writable.is_set():
            try:
                await asyncio.wait_for(self._connection.writable.wait(), deadline_s - self._loop.time())
            except TimeoutError:
                raise outcome.not_live(self._timeout_s, self.outage) from None
        await self._until_live(deadline_s)
        return deadline_s

    async def _until_live(self, deadline_s: float) -> None:
        while self.core.phase is not Phase.LIVE or self._ended:
            done, _ = await asyncio.wait({self._live}, timeout=max(0.0, deadline_s - self._loop.time()))
            if not done:
                raise outcome.not_live(self._timeout_s, self.outage)
            self._live.result()

    async def _answered(self, request: Request, deadline_s: float) -> None:
        self._pump([])
        if not request.settled:
            answered = self._waiting.get(request.number)
            if answered is None:
                answered = self._waiting[request.number] = self._loop.create_future()
            done, _ = await asyncio.wait({answered}, timeout=max(0.0, deadline_s - self._loop.time()))
            if not done:
                raise outcome.too_late(request, self._timeout_s)
        outcome.check(request, self.orders.get(request.token))

    async def _run(self) -> None:
        """Make one connection after another, until the last one ends."""
        try:
            while True:
                self._was_live = False
                error = await self._one_connection()
                now_s = self._loop.time()
                delay_s = self._retry.delay_s(self.core, was_live=self._was_live, error=error, now_s=now_s)
                await asyncio.sleep(delay_s)
        except ClientError as error:
            self._end(error)

    async def _one_connection(self) -> ClientError:
        """Serve one connection until it ends; gives the reason."""
        self._on_disconnect: asyncio.Future[str] = self._loop.create_future()
        try:
            async with asyncio.timeout(self._retry.connect_s(self._timeout_s)):
                await self._loop.create_connection(
                    partial(_Connection, self, self._on_disconnect), *self._retry.address, ssl=self._tls
                )
        except OSError as error:
            return cannot_connect(error, *self._retry.address)
        why = await self._on_disconnect
        why = "this client was closed" if self._closing else self.core.why or why
        why = why if self._closing else closed_early(why, self.core, tls=self._tls is not None)
        self._connection = None
        self._pump(self.core.lost(why))
        return self.core.refused or ConnectionLost(f"{self._retry.address}: {why}")

    def _made(self, connection: _Connection) -> None:
        self._connection = connection
        self.core.connected(time.monotonic_ns(), str(self._retry.address))
        self._pump([])

    def _pump(self, events: list[Event]) -> None:
        """Pass the core's output on: bytes to the exchange, events and outcomes to the waiting callers."""
        transport = self._connection.transport if self._connection is not None else None
        data = self.core.take()
        if data and transport is not None:
            transport.write(data)
        if transport is not None and self.core.over:
            transport.close() if data else transport.abort()
        if events:
            self._queue.put(events)
            self._news.set()
        for request in self.core.day.requests.take_settled():
            answered = self._waiting.pop(request.number, None)
            if answered is not None and not answered.done():
                answered.set_result(None)
        if self.core.phase is Phase.LIVE:
            if not self._was_live:
                self._was_live = True
                self._retry.on_live()
            if not self._live.done():
                self._live.set_result(None)
        elif self._live.done() and not self._ended:
            self._live = self._loop.create_future()
        self._schedule()

    def _schedule(self) -> None:
        due_ns = self.core.due_ns()
        if due_ns is None:
            return
        when_s = self._loop.time() + max(0, due_ns - time.monotonic_ns()) / 1e9
        if self._timer is None or when_s < self._timer_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_s = self._loop.call_at(when_s, self._tick), when_s

    def _tick(self) -> None:
        self._timer = None
        self.core.tick(time.monotonic_ns())
        self._pump([])

    def _end(self, error: ClientError | None) -> None:
        """Wake all waiting callers: no more events come."""
        if self._ended:
            return
        self._connection = None
        self._pump(self.core.lost("this client was closed"))
        self._pump(self.core.give_up())
        self._ended = True
        self._error = error
        if self._live.done():
            self._live = self._loop.create_future()
        self._live.set_exception(error or NotConnected("nothing was sent: this client was closed"))
        self._live.exception()  # without a waiting caller there is no report
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._news.set()


class AsyncNativeClient(AsyncClient):
    """A user's order entry at a port of native order entry: ``terms`` are words of the rulebook's notation."""

    PROTOCOL = "native"
