"""Replay of past days to web clients by REST and WebSocket.

    clients <-- application, hub <-- WebMarket (reports, ladders, orders) <-- PacedReplay <-- journal

It begins with the first subscriber, so that none misses the start. At full speed it waits for the slowest reader.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final

import uvloop

from engine.capacity import Capacity
from marketdata.web.market import WebMarket
from marketdata.web.product import Product
from node.feeds.paced_replay import PacedReplay
from node.programs.end_signals import on_end_signal
from node.web.app import application
from node.web.hub import CONFLATED_BYTES, TICK_S, Hub
from node.web.process import started, web_server
from node.web.ticks import ticks
from node.web.unread import Unread
from replay.past import PlayedBlock

_LOOK_S: Final = 0.01
#: Time for subscribers to read what is left at the end, in seconds.
LAST_S: Final = 30.0
OVER: Final = "the replay is over"


@dataclass(frozen=True)
class ReplayWebOptions:
    """Options of the process. listens: a socket that is bound. from_seq: command from which on it is told. speed: times
    as fast as it was; None: as fast as can be. symbols: those of all instruments, so that they can be subscribed to
    before they are defined."""

    listens: socket.socket
    from_seq: int
    speed: float | None
    symbols: Sequence[str] = ()


class ReplayWeb:
    """A past market on a running event loop. ``messages``: those of channel full, with or without a subscriber."""

    def __init__(self, options: ReplayWebOptions, capacity: Capacity) -> None:
        self.options = options
        self.hub = Hub()
        self.market = self.hub.market = WebMarket(capacity, self.hub.on_messages)
        for number, symbol in enumerate(options.symbols, 1):
            product = Product(number, symbol)
            self.market.products[number] = self.market.by_id[product.id] = product
        self._past: PacedReplay | None = None
        self._unread = Unread()

    @property
    def messages(self) -> dict[str, int]:
        """Number of messages of channel full, by product."""
        return {product.id: product.sequence for product in self.market.products.values()}

    def stop(self) -> None:
        """End before what comes next."""
        if self._past is not None:
            self._past.stop()

    async def run(self, blocks: Generator[PlayedBlock, None, None], on_listening: Callable[[], None]) -> None:
        """Serve until the last block was told. Raises what the blocks raise."""
        past = self._past = PacedReplay(
            blocks,
            self.options.from_seq,
            self.options.speed,
            is_ready=lambda: self.hub.waiting_bytes < CONFLATED_BYTES // 2,
        )
        server = web_server(application(self.market, self.hub, 0, unread=self._unread), self._unread)
        serving = asyncio.create_task(server.serve(sockets=[self.options.listens]))
        await started(server, serving)
        ticking = asyncio.create_task(self._tick())
        on_listening()
        try:
            await self._tell(past)
        finally:
            self.hub.end_all(OVER)
            server.should_exit = True
            ticking.cancel()
            await asyncio.gather(serving, ticking, return_exceptions=True)

    async def _tell(self, past: PacedReplay) -> None:
        async for moment in past.moments():
            if not moment.is_before and not self.hub.is_serving:
                for product in self.market.products.values():
                    product.levels.clear()  # nobody was told of the levels before
                began_s = time.monotonic()
                while not self.hub.has_subscriptions and not past.is_stopped:
                    await past.rest(_LOOK_S)
                past.postpone(time.monotonic() - began_s)  # else all that was due meanwhile would come at once
                self.hub.is_serving = True
            self.market.observe(moment.rows.first_seq, moment.rows.commands, moment.rows.events)
        self.hub.tick()
        ends_s = time.monotonic() + LAST_S
        while (self.hub.waiting_bytes or self.hub.owes_books) and time.monotonic() < ends_s and not past.is_stopped:
            await past.rest(_LOOK_S)

    async def _tick(self) -> None:
        async for _ in ticks(TICK_S):
            self.hub.tick()
            self.hub.take_ended()
            self._unread.look(time.monotonic())


def serve_replay_web(
    options: ReplayWebOptions,
    capacity: Capacity,
    blocks: Generator[PlayedBlock, None, None],
    *,
    on_listening: Callable[[], None] = lambda: None,
) -> ReplayWeb:
    """Serve a past market until its end, SIGTERM or SIGINT; gives what served it. Raises OSError, and what the blocks
    raise."""

    async def served() -> ReplayWeb:
        past = ReplayWeb(options, capacity)
        on_end_signal(past.stop)
        await past.run(blocks, on_listening)
        return past

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(served())
