"""A market data feed in a process of its own, beside the core of a node: ITCH over MoldUDP64.

What happened it reads from the tape, as far as it is released, and from the journal what the tape has lost. Whatever it
does, and however it ends, the market goes on. Its messages are a projection of the journal: after every restart, and on
the other node of a pair, they are the same bytes under the same numbers.

    receivers <-- Outlet (multicast, A and B) <-- ItchStream (reports, feed, spool) <-- TapeFollower <-- tape <-- core
    receivers --> requests (UDP)              --> spool
    receivers --> snapshots (SoupBinTCP)      --> tables of the feed

Of a pair only the node that reigns sends, as the last EPOCH in the journal has it. What happened before the process had
caught up is not sent: receivers see a heartbeat with a higher number and ask for what is before it.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from marketdata.itch.stream import ItchStream
from node.feeds.compiled_feed import CompiledFeed
from node.feeds.feed_sender import FeedSender
from node.feeds.folder_lock import FolderLock
from node.feeds.following_program import CoreWatch, FollowingProgram
from node.feeds.multicast import Outlet
from node.feeds.programs import Address
from node.feeds.snapshots import SnapshotServer
from node.feeds.tape_follower import TapeFollower, market_of
from node.programs.logs import Log
from node.programs.report import ProgramReport, agent_values
from node.programs.serving import serve
from sequencer.reign import name_in_row

#: Interval of looks at heartbeats, in seconds.
_BEAT_S: Final = 0.25


@dataclass(frozen=True)
class FeedOptions:
    """Options of a feed's process. node: name of the node in its pair; None: a market of its own. requests, snapshots:
    sockets, the second of which listens. spins: it waits for blocks without sleep, and takes a processor."""

    data: Path
    name: str
    groups: tuple[Address, ...]
    interface: str
    ttl: int
    node: str | None
    requests: socket.socket
    snapshots: socket.socket
    spins: bool = False
    report: ProgramReport | None = None  # to the supervisor of the node


class FeedProcess(FollowingProgram):
    """One feed on a running event loop."""

    def __init__(self, options: FeedOptions, log: Log) -> None:
        """Restore the stream. Raises NoNode, FolderLocked, OSError, and what journal, tape and replay raise."""
        super().__init__(log, "the feed")
        self.options = options
        self._loop = asyncio.get_running_loop()
        market = market_of(options.data)
        self._outlet = Outlet(options.groups, options.interface, options.ttl)
        folder = options.data / "feeds" / options.name
        self._own = FolderLock(folder, f"the feed {options.name}", "end it, or give another name")
        self.stream = ItchStream(folder, market.capacity)
        self.sender = FeedSender(self.stream, self._outlet, options.requests, lambda: self.may_send)
        self.stream.on_messages = self.sender.on_messages
        direct = CompiledFeed(self.stream, self._outlet, lambda: self.may_send, self.sender.on_sent)
        self.follower = TapeFollower(
            *(market, folder, options.name, self.stream, self.stop),
            direct=direct,
            spins=options.spins,
            on_no_image=self._on_no_image,
        )
        if self.follower.why:
            log.info("feed made from the journal", why=self.follower.why)
        self._name = None if options.node is None else name_in_row(options.node)
        self._beats = 0
        self._core = CoreWatch(self.follower, log, _BEAT_S, "the feed has no heartbeats until it goes on")
        self._snapshots = SnapshotServer(self.stream, self._on_slow, self._on_no_snapshot)
        self._server: asyncio.Server | None = None

    # The life of the process.

    async def _open(self) -> None:
        self._loop.set_exception_handler(self._on_loop_error)
        self.sender.listen()
        self._server = await asyncio.start_server(self._snapshots.serve, sock=self.options.snapshots)
        self._loop.call_later(_BEAT_S, self._beat)
        self.sender.heartbeat()
        self.follower.start()

    def _place(self) -> Mapping[str, Any]:
        options = self.options
        groups = [str(each) for each in options.groups]
        return {"feed": options.name, "groups": groups, "interface": options.interface}

    def _take_last(self) -> None:
        """Send what is released now."""
        self.follower.take_last()

    def _last_steps(self) -> Iterable[Callable[[], Awaitable[None]]]:
        return (self._close_server, self.follower.stop, self._close_files)

    def _last_words(self) -> Mapping[str, Any]:
        return {"feed": self.options.name, "seq": self.follower.seq}

    async def _close_server(self) -> None:
        self.sender.stop()
        if self._server is not None:
            self._server.close()

    async def _close_files(self) -> None:
        self._outlet.close()
        self.stream.close()
        self._own.release()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and context.get("transport") is not None:
            return  # a client of snapshots has left
        self.stop(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    def _on_slow(self, address: str) -> None:
        self.log.warning("a client of snapshots was ended", address=address, why="it sent or took nothing for too long")

    def _on_no_snapshot(self, why: str) -> None:
        self.log.warning("a snapshot was not made", why=why, then="its clients were ended and may ask again")

    def _beat(self) -> None:
        if self._stopping:
            return
        self._loop.call_later(_BEAT_S, self._beat)
        self._core.look()
        if not self._core.is_silent:
            self.sender.beat()
        self._beats += 1
        if self._beats % round(1.0 / _BEAT_S) == 0:
            self._report_figures()

    def _report_figures(self) -> None:
        """Report to the supervisor, which may be gone, or reading nothing."""
        if self.options.report is not None:
            with suppress(OSError):
                self.options.report.write(agents=agent_values([self.follower.agent]))

    # What happened, to the groups.

    @property
    def may_send(self) -> bool:
        """True if this process sends: it has caught up, and its node reigns, or is no part of a pair."""
        return self.caught_up and (self._name is None or self._name == self.stream.reign)


def serve_feed(options: FeedOptions, log: Log, *, on_listening: Callable[[], None] = lambda: None) -> None:
    """Run a feed until its node, its operator, SIGTERM or SIGINT ends it. Raises NoNode, OSError, and the fault that
    ended it."""
    serve(lambda: FeedProcess(options, log), log, on_listening)
