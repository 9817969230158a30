"""A past market by multicast: its days again, as its feed sent them, with requests and snapshots as then.

    receivers <-- Outlet <-- FeedVoice <-- ItchStream (reports, feed, spool) <-- PastMarket <-- journal
    receivers --> requests, snapshots

The messages are those of the feed, the same bytes under the same numbers. What was before the range is not sent:
receivers take a snapshot, or ask for it.
"""

import asyncio
import socket
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop

from engine.capacity import Capacity
from marketdata.itch import session_name
from marketdata.itch.stream import ItchStream
from node.feeds.multicast import Outlet
from node.feeds.past_market import PastMarket
from node.feeds.programs import Address
from node.feeds.snapshots import SnapshotServer
from node.feeds.voice import HEARTBEAT_S, FeedVoice
from node.programs.end_signals import on_end_signal
from replay.past import PlayedBlock

_BEAT_S: Final = 0.25
#: Silence of receivers after the end, in seconds: then nobody asks for what is missing any more.
LAST_S: Final = 3.0


@dataclass(frozen=True)
class PastFeedOptions:
    """Options of the process. requests, snapshots: sockets, the second of which listens. from_seq: command from which
    on it is sent. speed: times as fast as it was; None: as fast as can be. day: the one session that is sent, in days
    since 1970; None: all."""

    groups: tuple[Address, ...]
    interface: str
    ttl: int
    requests: socket.socket
    snapshots: socket.socket
    from_seq: int
    speed: float | None
    day: int | None = None


class PastFeed:
    """A past market on a running event loop. ``sessions``: messages that were sent, by session."""

    def __init__(self, options: PastFeedOptions, capacity: Capacity, folder: Path) -> None:
        """``folder``: for the messages that may be asked for. Raises OSError."""
        self.options = options
        self.sessions: dict[str, int] = {}
        self._sends = False
        self._outlet = Outlet(options.groups, options.interface, options.ttl)
        self.stream = ItchStream(folder, capacity)
        self._voice = FeedVoice(self.stream, self._outlet, options.requests, lambda: self.speaks)
        self.stream.on_messages = self._on_messages
        self._snapshots = SnapshotServer(self.stream)
        self._market: PastMarket | None = None

    @property
    def speaks(self) -> bool:
        """True while what happens is sent: it is in the range, and of the day that is asked for."""
        return self._sends and self.options.day in (None, self.stream.feed.day)

    @property
    def sent(self) -> int:
        """Packets that were sent."""
        return self._outlet.sent

    @property
    def answered(self) -> int:
        """Packets that requests were answered with."""
        return self._voice.answered

    def stop(self) -> None:
        """End before what comes next."""
        if self._market is not None:
            self._market.stop()

    def _on_messages(self, day: int, number: int, count: int, framed: memoryview) -> None:
        if self.options.day is None:
            self._voice.on_messages(day, number, count, framed)
        elif day == self.options.day:
            self._voice.send(day, number, framed)
        if self.speaks:
            name = session_name(day)
            self.sessions[name] = self.sessions.get(name, 0) + count

    async def run(self, blocks: Generator[PlayedBlock, None, None], on_listening: Callable[[], None]) -> None:
        """Send the blocks of a journal, from its first command on. Raises what they raise."""
        only, feed = self.options.day, self.stream.feed
        market = self._market = PastMarket(
            blocks, self.options.from_seq, self.options.speed, is_paced=lambda: only in (None, feed.day)
        )
        self._voice.listen()
        server = await asyncio.start_server(self._snapshots.serve, sock=self.options.snapshots)
        beating = asyncio.create_task(self._beat())
        try:
            on_listening()
            async for moment in market.moments():
                if not moment.is_before and not self._sends:
                    self._sends = True
                    self._voice.heartbeat()
                self.stream.observe(moment.rows.first_seq, moment.rows.commands, moment.rows.events)
                if only is not None and feed.day > only:
                    break
            await self._end(market)
        finally:
            beating.cancel()
            self._voice.stop()
            server.close()
            self._outlet.close()
            self.stream.close()

    async def _end(self, market: PastMarket) -> None:
        """Say that the last session is over, and answer requests until none come."""
        self._voice.asked_s = time.monotonic()
        while not market.is_stopped and (left_s := self._voice.asked_s + LAST_S - time.monotonic()) > 0.0:
            for name in list(self.sessions)[-1:]:
                self._voice.end(name, (self.stream.spool.messages(name) or 0) + 1)
            await market.rest(min(left_s, HEARTBEAT_S))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            self._voice.beat()


def serve_past_feed(
    options: PastFeedOptions,
    capacity: Capacity,
    blocks: Generator[PlayedBlock, None, None],
    *,
    on_listening: Callable[[], None] = lambda: None,
) -> PastFeed:
    """Send a past market until its end, SIGTERM or SIGINT; gives what sent it. Raises OSError, and what the blocks
    raise."""

    async def served() -> PastFeed:
        with tempfile.TemporaryDirectory(prefix="lockstep-replay-") as folder:
            past = PastFeed(options, capacity, Path(folder))
            on_end_signal(past.stop)
            await past.run(blocks, on_listening)
            return past

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(served())
