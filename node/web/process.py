"""Market data for web clients, in a process of its own beside the core of a node, by uvicorn: its only importer.

    clients <-- application, hub <-- WebMarket (reports, ladders, orders) <-- TapeFollower <-- tape, journal

What happened it reads from the tape, as far as it is released, and from the journal what the tape has lost. Whatever it
does, and however it ends, the market goes on. The market of viewers is a projection with an image in DIR/web: after
every end the numbers of messages go on from there.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from marketdata.web.answers import BadRequest
from marketdata.web.market import WebMarket
from node.feeds.folder_lock import FolderLock
from node.feeds.following_program import FollowingProgram
from node.feeds.tape_follower import TapeFollower, market_of
from node.programs.logs import Log
from node.programs.market_age import MarketAge
from node.programs.report import ProgramReport
from node.programs.serving import serve
from node.web.app import application
from node.web.hub import TICK_S, Hub
from node.web.keys import Key, NotAuthorized, checked
from node.web.operator_desk import Desk
from node.web.operators import Operators
from node.web.ticks import ticks
from node.web.trading import Trading
from node.web.unread import UNREAD_S, Unread

#: Look whether the server has started, in seconds.
_LOOK_S: Final = 0.002
#: Connections that wait, bytes of a request by WebSocket, and time for clients at the end.
_BACKLOG: Final = 2_048
_MESSAGE_BYTES_MAX: Final = 64 << 10
_LAST_S: Final = 2
#: Bytes of the head of a request, and of all of one; ``app`` takes a shorter body.
HEAD_BYTES_MAX: Final = 64 << 10
REQUEST_BYTES_MAX: Final = 1 << 20
#: Interval of signs of life to the supervisor, and of looks at clients that do not read, in seconds.
_REPORT_S: Final = 1.0
#: Path that a signature of a request to subscribe is over.
_VERIFIED_PATH: Final = "/users/self/verify"


@dataclass(frozen=True)
class WebOptions:
    """Options of the process. listens: a socket that is bound. rate: requests a second by address; 0: no limit.

    keys: of users who may trade; none: market data alone. orders_at: addresses of native order entry for them.
    """

    data: Path
    listens: socket.socket
    rate: int
    keys: Mapping[str, Key] = field(default_factory=dict)
    orders_at: str = ""
    proxies: frozenset[str] = frozenset()  # addresses that say for whom they ask
    report: ProgramReport | None = None  # to the supervisor of the node
    operators: Operators = field(default_factory=dict)  # who may sign in to the page


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


class _WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose close goes behind what waits: who does not read finds the reason there once it reads again.

    ``on_garbage``: called for a text that is none, with its address.
    """

    on_garbage: Callable[[str], None]

    def send_receive_event_to_app(self) -> None:
        """Hand on a message; end the connection over a text that is no UTF-8 (RFC 6455, section 8.1)."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.on_garbage(self.client[0] if self.client else "")
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send a message of the application."""
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)


class _Http(HttpToolsProtocol):
    """A connection whose requests have a longest time and a size. ``asked_s``: since when a request is waited for that
    is not whole yet; None while one is answered. ``on_garbage``: called for what is no HTTP, with its address."""

    on_garbage: Callable[[str], None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.asked_s: float | None = self.loop.time()
        self._bytes = 0
        self._in_head = True

    @property
    def has_begun(self) -> bool:
        """True where a part of the request is there."""
        return self._bytes > 0

    def data_received(self, data: bytes) -> None:
        """Take bytes, as many as a request may have."""
        if self.transport.is_closing():
            return
        self._bytes += len(data)
        super().data_received(data)
        if self.asked_s is not None and self._bytes > (HEAD_BYTES_MAX if self._in_head else REQUEST_BYTES_MAX):
            self._refuse(431, "the request is too long; send its head in 64 KB, and its body in 16 KB, at most")

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Have the request answered, as soon as its body comes."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait no more: the request is whole."""
        self.asked_s, self._bytes, self._in_head = None, 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request; for the rest of this one since its begin, if that has not come yet."""
        super().on_response_complete()
        if self.asked_s is None and not self.pipeline:
            self.asked_s = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        del msg
        self.on_garbage(self.client[0] if self.client else "")
        self._refuse(400, "this is no request of HTTP; a page is at /page/, the description at /openapi.json")

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer and close; without an answer, where one is under way."""
        if self.cycle is None or self.cycle.response_complete:
            body = b'{"message":"%s"}' % sentence.encode()
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()


def web_server(made: Any, unread: Unread) -> uvicorn.Server:
    """A server of an application, with the limits of this program. unread: gets its connections."""

    class _Counted(_Http):
        on_garbage = staticmethod(unread.on_garbage)

    class _CountedWebSocket(_WebSocket):
        on_garbage = staticmethod(unread.on_garbage)

    # It warns in a line of each request that is none: they are counted here. Faults of ours it still tells.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = _Server(
        uvicorn.Config(
            made,
            loop="none",
            http=_Counted,
            ws=_CountedWebSocket,
            ws_max_size=_MESSAGE_BYTES_MAX,
            ws_ping_interval=20.0,
            ws_ping_timeout=UNREAD_S,
            ws_per_message_deflate=False,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_LAST_S,
            backlog=_BACKLOG,
        )
    )
    unread.connections = server.server_state.connections
    return server


async def started(server: uvicorn.Server, serving: "asyncio.Task[None]") -> None:
    """Wait until a server takes connections, or has ended."""
    while not server.started and not serving.done():
        await asyncio.sleep(_LOOK_S)


class WebProcess(FollowingProgram):
    """Market data for web clients on a running event loop."""

    def __init__(self, options: WebOptions, log: Log) -> None:
        """Restore the market. Raises NoNode, FolderLocked, OSError, and what journal, tape and replay raise."""
        super().__init__(log, "the market data")
        self.options = options
        market = market_of(options.data)
        folder = options.data / "web"
        self._own = FolderLock(folder, "the market data of this node for the web", "end it first")
        self.hub = Hub()
        self.market = self.hub.market = WebMarket(market.capacity, self.hub.on_messages)
        self.trading: Trading | None = None
        if options.keys:
            self.trading = Trading(options.orders_at, options.keys, log, self.hub.on_told)
            self.hub.user_of = self._user_of
        self.desk: Desk | None = None
        if options.operators:
            self.desk = Desk(options.data, options.operators, self.market, log)
        self._unread = Unread()
        self.follower = TapeFollower(*(market, folder, "web", self.market, self.stop), on_no_image=self._on_no_image)
        self._age = MarketAge(self.follower.tape, lambda: self.follower.seq)
        if self.follower.why:
            log.info("books made from the journal", why=self.follower.why)

    async def _open(self) -> None:
        for product in self.market.products.values():
            product.levels.clear()  # nobody was told of the levels before
        self.hub.is_serving = True

    def _user_of(self, signed: dict[str, str]) -> str:
        try:
            return checked(self.options.keys, signed, "GET", _VERIFIED_PATH, b"", time.time()).user
        except NotAuthorized as error:
            raise BadRequest(str(error)) from error

    def _place(self) -> Mapping[str, Any]:
        host, port = self.options.listens.getsockname()[:2]
        return {"web": f"{host}:{port}"}

    async def _serve(self, on_listening: Callable[[], None]) -> None:
        options, unread = self.options, self._unread
        made = application(self.market, self.hub, options.rate, self.trading, options.proxies, self.desk, unread)
        server = web_server(made, unread)
        serving = asyncio.create_task(server.serve(sockets=[self.options.listens]))
        await started(server, serving)
        ticking = asyncio.create_task(self._tick())
        if self.trading is not None:
            self.trading.start()
        on_listening()
        try:
            self.follower.start()
            await self._until_end(serving, ticking)
        finally:
            self.hub.end_all("the market data ends")
            server.should_exit = True
            ticking.cancel()
            await asyncio.gather(serving, ticking, return_exceptions=True)

    def _last_steps(self) -> Iterable[Callable[[], Awaitable[None]]]:
        return (self._close_doors, self.follower.stop, self._close_port)

    async def _close_doors(self) -> None:
        if self.desk is not None:
            self.desk.close()
        if self.trading is not None:
            await self.trading.close()

    async def _close_port(self) -> None:
        self._own.release()
        with suppress(OSError):
            self.options.listens.close()

    def _look_at_age(self) -> None:
        market, was_stale = self.market, self.market.is_stale
        market.age_s = self._age.look()
        if market.is_stale and not was_stale:
            why = "the core does not beat, what happens is not released, or this process is behind"
            self.log.warning("the market is stale", age_s=round(market.age_s, 3), why=why, then="web clients are told")
        elif was_stale and not market.is_stale:
            self.log.info("the market goes on")

    def _look_at_readers(self, now_s: float) -> None:
        for address, reason in self.hub.take_ended():
            self.log.warning("a subscriber was ended", address=address, why=reason)
        for each in self._unread.look(now_s):
            why = "it takes nothing"
            self.log.warning("a connection was ended", address=each.address, waiting_bytes=each.waiting_bytes, why=why)
        if (garbage := self._unread.take_garbage()) is not None:
            count, address = garbage
            self.log.warning(
                "what came was no request", times=count, address=address, why="no HTTP, or not whole in time"
            )

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        report_due_s = loop.time()
        async for _ in ticks(TICK_S):
            self._look_at_age()
            self.hub.tick()
            if loop.time() >= report_due_s:
                report_due_s = loop.time() + _REPORT_S
                self._look_at_readers(loop.time())
                if self.options.report is not None:
                    self.options.report.write(agents=[])


def serve_web(options: WebOptions, log: Log, *, on_listening: Callable[[], None] = lambda: None) -> None:
    """Serve until the node, its operator, SIGTERM or SIGINT ends it. Raises NoNode, OSError, and the fault that ended
    it."""
    serve(lambda: WebProcess(options, log), log, on_listening)
