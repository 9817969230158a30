"""Market data for web clients, in a process of its own beside the core of a node, by uvicorn: its only importer.

    clients <-- application, hub <-- WebMarket (reports, ladders, orders) <-- replay.feed: tape, journal

What happened it reads from the tape, as far as it is released, and from the journal what the tape has lost. Whatever it
does, and however it ends, the market goes on. The market of viewers is a projection with an image in DIR/web: after
every end the numbers of messages go on from there.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from engine.records import CommandKind
from journal.history import History
from marketdata.web.answers import BadRequest
from marketdata.web.market import WebMarket
from node import gateway_image
from node.end_signals import on_end_signal
from node.feed_process import NoNode
from node.logs import Log
from node.operator_desk import Desk
from node.operators import Operators
from node.program_report import ProgramReport
from node.web_app import application
from node.web_hub import TICK_S, Hub
from node.web_keys import Key, NotAuthorized, checked
from node.web_trading import Trading
from replay.feed import Feed
from replay.live_reports import room_of
from replay.market_rows import MARKET_ROWS, tape_of
from tape.errors import TapeError
from tape.places import Place
from tape.reader import TapeReader

#: Longest work on blocks before the loop has its turn, in ns.
_TURN_NS: Final = 5_000_000
#: Wait where the journal has not yet what the tape has lost, and longest sleep for a block.
_LAG_S: Final = 0.002
_SLEEP_NS: Final = 100_000_000
#: Interval of images, in seconds, and the commands between two of them at least.
_IMAGE_S: Final = 30.0
_IMAGE_COMMANDS: Final = 10_000
#: Connections that wait, bytes of a request by WebSocket, and time for clients at the end.
_BACKLOG: Final = 2_048
_REQUEST_BYTES_MAX: Final = 64 << 10
_LAST_S: Final = 2
#: Interval of signs of life to the supervisor, in seconds.
_REPORT_S: Final = 1.0
#: Path that a signature of a request to subscribe is over.
_VERIFIED_PATH: Final = "/users/self/verify"
_NODE_ENDED: Final = "the market's node has ended"


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


class WebProcess:
    """Market data for web clients on a running event loop."""

    def __init__(self, options: WebOptions, log: Log) -> None:
        """Restore the market. Raises NoNode, OSError, and what journal, tape and replay raise."""
        self.options, self.log = options, log
        with History.open(options.data) as history:
            journal_id, capacity = history.journal_id, room_of(history)
        try:
            self._tape = TapeReader(tape_of(options.data), journal_id, MARKET_ROWS)
        except (TapeError, OSError) as error:
            raise NoNode(
                f"no node writes a tape in {options.data}; start it with `lockstep serve`, --tape-mb above 0"
            ) from error
        self.hub = Hub()
        self.market = self.hub.market = WebMarket(capacity, self.hub.on_messages)
        self.trading: Trading | None = None
        if options.keys:
            self.trading = Trading(options.orders_at, options.keys, log, self.hub.on_told)
            self.hub.user_of = self._user_of
        self.desk: Desk | None = None
        if options.operators:
            self.desk = Desk(options.data, options.operators, self.market, log)
        self._folder = options.data / "web"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seq, why = gateway_image.restore(self._folder, options.data, self.market)
        if why:
            log.info("books made from the journal", why=why)
        self.feed = Feed(options.data, journal_id, seq, name="web")
        self._imaged_seq = seq
        self._image_due_s = time.monotonic() + _IMAGE_S
        self._carries = self._more = self._stopping = False
        self._bell = ThreadPoolExecutor(1, "tape")

    async def start(self) -> None:
        """Catch up with what is released now. Raises NoNode, and what replay raises."""
        released_seq = self._tape.load(Place.RELEASED)
        while self.feed.seq < released_seq:
            seq = self.feed.seq
            self._take_blocks()
            if self.feed.ended:
                raise NoNode(_NODE_ENDED)
            await asyncio.sleep(0 if self.feed.seq > seq or self._more else _LAG_S)
        for product in self.market.products.values():
            product.levels.clear()  # nobody was told of the levels before
        self.hub.speaks = True

    def _user_of(self, signed: dict[str, str]) -> str:
        try:
            return checked(self.options.keys, signed, "GET", _VERIFIED_PATH, b"", time.time()).user
        except NotAuthorized as error:
            raise BadRequest(str(error)) from error

    async def run(self, on_listening: Callable[[], None]) -> None:
        """Serve until the node or the operator ends it. Raises NoNode where the node has ended."""
        config = uvicorn.Config(
            application(self.market, self.hub, self.options.rate, self.trading, self.options.proxies, self.desk),
            loop="none",
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=_REQUEST_BYTES_MAX,
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
            ws_per_message_deflate=False,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_LAST_S,
            backlog=_BACKLOG,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[self.options.listens]))
        while not server.started and not serving.done():
            await asyncio.sleep(_LAG_S)
        ticking = asyncio.create_task(self._tick())
        if self.trading is not None:
            self.trading.start()
        on_listening()
        try:
            await self._follow(serving, ticking)
        finally:
            self.hub.end_all("the market data ends")
            server.should_exit = True
            ticking.cancel()
            await asyncio.gather(serving, ticking, return_exceptions=True)
            if self.trading is not None:
                await self.trading.close()
            if self.desk is not None:
                self.desk.close()
            await self._save_image()
            self._tape.bell.ring()
            self._bell.shutdown(wait=True)
            self.feed.close()
        if self.feed.ended:
            raise NoNode(f"the node of {self.options.data} has ended; start it again")

    def stop(self) -> None:
        """End in order."""
        self._stopping = True

    async def _follow(self, serving: "asyncio.Task[None]", ticking: "asyncio.Task[None]") -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping and not self.feed.ended:
            for task in (serving, ticking):
                if task.done():
                    task.result()
                    return
            self._take_blocks()
            if self._more:
                await asyncio.sleep(0)
            elif self.feed.lags:
                await asyncio.sleep(_LAG_S)
            else:
                await loop.run_in_executor(self._bell, self._wait_for_block)
            if time.monotonic() >= self._image_due_s and self.feed.seq - self._imaged_seq >= _IMAGE_COMMANDS:
                self._image_due_s = time.monotonic() + _IMAGE_S
                await self._save_image()

    def _wait_for_block(self) -> None:
        """Sleep on the tape's doorbell, in a thread of its own."""
        bell = self._tape.bell
        bell.arm()
        if self._tape.load(Place.RELEASED) <= self.feed.seq and self._tape.writer_lives():
            bell.sleep(_SLEEP_NS)

    def _take_blocks(self) -> None:
        """Take blocks for a while. ``_more`` is True then if there may be more now."""
        until_ns = time.monotonic_ns() + _TURN_NS
        self._more = True
        while self._more and time.monotonic_ns() <= until_ns:
            rows = self.feed.take()
            if rows is not None:
                self.market.observe(rows.first_seq, rows.commands, rows.events)
                self._carries = bool(rows.commands["kind"][-1] == CommandKind.EXTEND)
            self._more = rows is not None or self.feed.replays

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = report_due_s = loop.time()
        while True:
            due_s = max(due_s + TICK_S, loop.time())
            await asyncio.sleep(due_s - loop.time())
            self.hub.tick()
            if self.options.report is not None and loop.time() >= report_due_s:
                report_due_s = loop.time() + _REPORT_S
                self.options.report.write(agents=[])

    async def _save_image(self) -> None:
        """Write an image, where the journal has all that it is of, in another thread."""
        seq = self.feed.seq
        if self._carries or seq <= self._imaged_seq or self._tape.load(Place.JOURNALED) < seq:
            return
        image = gateway_image.take(self.market, seq)
        if await asyncio.to_thread(gateway_image.save, self._folder, self.options.data, image):
            self._imaged_seq = seq


def serve_web(options: WebOptions, log: Log, *, on_listening: Callable[[], None] = lambda: None) -> None:
    """Serve until the node, its operator, SIGTERM or SIGINT ends it. Raises NoNode, OSError, and the fault that ended
    it."""
    with log.adopted(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_served(options, log, on_listening))


async def _served(options: WebOptions, log: Log, on_listening: Callable[[], None]) -> None:
    process = WebProcess(options, log)
    on_end_signal(process.stop)
    await process.start()
    host, port = options.listens.getsockname()[:2]
    log.info("listening", web=f"{host}:{port}", seq=process.feed.seq, pid=os.getpid())
    try:
        await process.run(on_listening)
    finally:
        with suppress(OSError):
            options.listens.close()
