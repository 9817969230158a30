"""Replay of past days by multicast: the same ITCH packets as then, with re-requests and snapshots.

    receivers <-- Outlet <-- FeedSender <-- ItchStream (reports, feed, spool) <-- PacedReplay <-- journal
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
from node.feeds.feed_sender import HEARTBEAT_S, FeedSender
from node.feeds.multicast import Outlet
from node.feeds.paced_replay import PacedReplay
from node.feeds.programs import Address
from node.feeds.snapshots import SnapshotServer
from node.programs.end_signals import on_end_signal
from replay.past import PlayedBlock

_BEAT_S: Final = 0.25
#: Silence of receivers after the end, in seconds: then nobody asks for what is missing any more.
LAST_S: Final = 3.0


@dataclass(frozen=True)
class ReplayFeedOptions:
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


class ReplayFeed:
    """A replay by multicast on a running event loop. ``sessions``: number of messages sent, by session."""

    def __init__(self, options: ReplayFeedOptions, capacity: Capacity, folder: Path) -> None:
        """``folder``: for the messages that may be asked for. Raises OSError."""
        self.options = options
        self.sessions: dict[str, int] = {}
        self._sends = False
        self._outlet = Outlet(options.groups, options.interface, options.ttl)
        self.stream = ItchStream(folder, capacity)
        self._sender = FeedSender(self.stream, self._outlet, options.requests, lambda: self.may_send)
        self.stream.on_messages = self._on_messages
        self._snapshots = SnapshotServer(self.stream)
        self._market: PacedReplay | None = None

    @property
    def may_send(self) -> bool:
        """True while the replay is within the range and the day that are to be sent."""
        return self._sends and self.options.day in (None, self.stream.feed.day)

    @property
    def sent(self) -> int:
        """Packets that were sent."""
        return self._outlet.sent

    @property
    def answered(self) -> int:
        """Packets that requests were answered with."""
        return self._sender.answered

    def stop(self) -> None:
        """End before what comes next."""
        if self._market is not None:
            self._market.stop()

    def _on_messages(self, day: int, number: int, count: int, framed: memoryview) -> None:
        if self.options.day is None:
            self._sender.on_messages(day, number, count, framed)
        elif day == self.options.day:
            self._sender.send(day, number, framed)
        if self.may_send:
            name = session_name(day)
            self.sessions[name] = self.sessions.get(name, 0) + count

    async def run(self, blocks: Generator[PlayedBlock, None, None], on_listening: Callable[[], None]) -> None:
        """Send the blocks of a journal, from its first command on. Raises what they raise."""
        only, feed = self.options.day, self.stream.feed
        market = self._market = PacedReplay(
            blocks, self.options.from_seq, self.options.speed, is_paced=lambda: only in (None, feed.day)
        )
        self._sender.listen()
        server = await asyncio.start_server(self._snapshots.serve, sock=self.options.snapshots)
        beating = asyncio.create_task(self._beat())
        try:
            on_listening()
            async for moment in market.moments():
                if not moment.is_before and not self._sends:
                    self._sends = True
                    self._sender.heartbeat()
                self.stream.observe(moment.rows.first_seq, moment.rows.commands, moment.rows.events)
                if only is not None and feed.day > only:
                    break
            await self._end(market)
        finally:
            beating.cancel()
            self._sender.stop()
            server.close()
            self._outlet.close()
            self.stream.close()

    async def _end(self, market: PacedReplay) -> None:
        """Say that the last session is over, and answer requests until none come."""
        self._sender.asked_s = time.monotonic()
        while not market.is_stopped and (left_s := self._sender.asked_s + LAST_S - time.monotonic()) > 0.0:
            for name in list(self.sessions)[-1:]:
                self._sender.end(name, (self.stream.spool.messages(name) or 0) + 1)
            await market.rest(min(left_s, HEARTBEAT_S))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            self._sender.beat()


def serve_replay_feed(
    options: ReplayFeedOptions,
    capacity: Capacity,
    blocks: Generator[PlayedBlock, None, None],
    *,
    on_listening: Callable[[], None] = lambda: None,
) -> ReplayFeed:
    """Send a past market until its end, SIGTERM or SIGINT; gives what sent it. Raises OSError, and what the blocks
    raise."""

    async def served() -> ReplayFeed:
        with tempfile.TemporaryDirectory(prefix="lockstep-replay-") as folder:
            past = ReplayFeed(options, capacity, Path(folder))
            on_end_signal(past.stop)
            await past.run(blocks, on_listening)
            return past

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(served())
