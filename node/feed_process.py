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
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from gateway.attention import Attention
from journal.slices import make_private
from marketdata.itch import session_name
from marketdata.itch.stream import ItchStream
from node.core_silence import CoreSilence
from node.direct_feed import DirectFeed
from node.end_signals import on_end_signal
from node.feed_programs import Address
from node.feed_snapshots import SnapshotServer
from node.logs import Log
from node.multicast import Outlet
from node.program_report import ProgramReport, agent_values
from node.tape_follower import NoNode, TapeFollower, market_of
from sequencer.reign import name_in_row
from wire.errors import ProtocolError
from wire.mold import HEAD_BYTES, PACKET_BYTES_MAX, Request, end_of_session, heartbeat, packets, read_request

#: Interval of looks at heartbeats, and silence of the feed after which it sends a heartbeat, in seconds.
_BEAT_S: Final = 0.25
HEARTBEAT_S: Final = 1.0
#: Silence after messages that a first heartbeat ends, in seconds: who lost the last message knows it by then.
_FIRST_HEARTBEAT_S: Final = 0.05
#: Heartbeats of the feed that are also sent as the end of a session that is over.
_ENDS: Final = 3
#: Packets that one request gives at most: what a receiver's system keeps for it by default.
REQUEST_PACKETS_MAX: Final = 64


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


class FeedProcess:
    """One feed on a running event loop."""

    def __init__(self, options: FeedOptions, log: Log) -> None:
        """Restore the stream. Raises NoNode, OSError, and what journal, tape and replay raise."""
        self.options, self.log = options, log
        self._loop = asyncio.get_running_loop()
        market = market_of(options.data)
        self._outlet = Outlet(options.groups, options.interface, options.ttl)
        self._folder = options.data / "feeds" / options.name
        make_private(self._folder)
        self.stream = ItchStream(self._folder, market.capacity, self._on_messages)
        direct = DirectFeed(self.stream, self._outlet, lambda: self.speaks, self._on_sent)
        self.follower = TapeFollower(
            market, self._folder, options.name, self.stream, self.stop, direct=direct, spins=options.spins
        )
        if self.follower.why:
            log.info("feed made from the journal", why=self.follower.why)
        self._name = None if options.node is None else name_in_row(options.node)
        self.caught_up = False
        self._sent_s = 0.0
        self._ends_silence = False  # a first heartbeat is due
        self._over: tuple[str, int, int] | None = None  # session that is over, its next number, times left to say so
        self._beats = 0
        self._attention = Attention(time.monotonic_ns(), int(_BEAT_S * 1e9))
        self._silence = CoreSilence(self.follower.tape.pulse_ns, self._attention.present_ns)
        self._stopping = False
        self._failure: BaseException | None = None
        self._ended = asyncio.Event()
        self._snapshots = SnapshotServer(self.stream)
        self._server: asyncio.Server | None = None
        self.answered = 0  # packets that requests were answered with

    # The life of the process.

    async def start(self) -> None:
        """Catch up with what is released now, and open the ports. Raises OSError, NoNode."""
        await self.follower.catch_up()
        if self._stopping:
            return
        self.caught_up = True
        self._loop.set_exception_handler(self._on_loop_error)
        self.options.requests.setblocking(False)
        self._loop.add_reader(self.options.requests.fileno(), self._answer_requests)
        self._server = await asyncio.start_server(self._snapshots.serve, sock=self.options.snapshots)
        self._loop.call_later(_BEAT_S, self._beat)
        self._heartbeat()
        self.follower.start()

    async def run(self) -> None:
        """Run until the node or the operator ends it. Raises the fault that ended it, if any."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self, failure: BaseException | None = None) -> None:
        """End in order: what is released now is sent first."""
        if self._stopping:
            return
        if isinstance(failure, NoNode):
            self.log.warning("the feed ends", why="the node has ended")
        elif failure is not None:
            self.log.error("the feed stops", why=str(failure))
        elif self.caught_up:
            self.follower.take_last()
        else:
            self.follower.give_up()
        self._stopping, self._failure = True, failure
        self._loop.create_task(self._leave())

    async def _leave(self) -> None:
        """End: each step is done though one before it has failed."""
        self._loop.remove_reader(self.options.requests.fileno())
        for step in (self._close_server, self.follower.stop, self._close_files):
            try:
                await step()
            except Exception as error:  # it ended the step, and the process ends with it
                self._failure = self._failure or error
        self._ended.set()

    async def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _close_files(self) -> None:
        self._outlet.close()
        self.stream.close()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and context.get("transport") is not None:
            return  # a client of snapshots has left
        self.stop(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    def _beat(self) -> None:
        if self._stopping:
            return
        self._loop.call_later(_BEAT_S, self._beat)
        self._attention.beat(time.monotonic_ns())
        if self._silence.look(self._attention.present_ns):
            if self._silence.lasts:
                self.log.warning("the node is silent", then="the feed has no heartbeats until it goes on")
            else:
                self.log.info("the node goes on")
        if not self._silence.lasts and time.monotonic() - self._sent_s >= HEARTBEAT_S:
            self._heartbeat()
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
    def speaks(self) -> bool:
        """True if this process sends: it has caught up, and its node reigns, or is no part of a pair."""
        return self.caught_up and (self._name is None or self._name == self.stream.reign)

    def _on_messages(self, day: int, number: int, _count: int, framed: memoryview) -> None:
        """Send messages as they are made."""
        if number == 1 and day:
            self._begin_session(day)
        if self.speaks:
            for packet in packets(session_name(day), number, framed):
                self._outlet.send(packet)
            self._on_sent()

    def _on_sent(self) -> None:
        """Note that messages were sent: a first heartbeat is due once no more come."""
        self._sent_s = time.monotonic()
        if not self._ends_silence:
            self._ends_silence = True
            self._loop.call_later(_FIRST_HEARTBEAT_S, self._end_silence)

    def _end_silence(self) -> None:
        """Send the first heartbeat behind messages, once none came for a while."""
        left_s = self._sent_s + _FIRST_HEARTBEAT_S - time.monotonic()
        self._ends_silence = left_s > 0.0 and not self._stopping
        if self._ends_silence:
            self._loop.call_later(left_s, self._end_silence)
        elif not self._stopping:
            self._heartbeat()

    def _begin_session(self, day: int) -> None:
        """Say that the session before is over, if there was one."""
        before = self.stream.spool.newest_before(day)
        if before is not None and (messages := self.stream.spool.messages(before)) is not None:
            self._over = (before, messages + 1, _ENDS)
            self._end_session()

    def _end_session(self) -> None:
        if self._over is not None and self.speaks:
            name, number, left = self._over
            self._outlet.send(end_of_session(name, number))
            self._over = (name, number, left - 1) if left > 1 else None

    def _heartbeat(self) -> None:
        self._end_session()
        feed = self.stream.feed
        if self.speaks and feed.messages:
            self._outlet.send(heartbeat(session_name(feed.day), feed.messages + 1))
            self._sent_s = time.monotonic()

    # What receivers ask for.

    def _answer_requests(self) -> None:
        """Send again what was asked for, some requests at once."""
        for _ in range(64):
            try:
                data, sender = self.options.requests.recvfrom(2_048)
            except OSError:
                return
            with suppress(ProtocolError):
                self._answer(read_request(data), sender)

    def _answer(self, asked: Request, sender: tuple[str, int]) -> None:
        bytes_max = REQUEST_PACKETS_MAX * (PACKET_BYTES_MAX - HEAD_BYTES - 64)
        framed = self.stream.spool.read(asked.session, asked.sequence, asked.message_count, bytes_max)
        with suppress(OSError):
            for packet in packets(asked.session, asked.sequence, framed):
                self.options.requests.sendto(packet, sender)
                self.answered += 1


def serve_feed(options: FeedOptions, log: Log, *, on_listening: Callable[[FeedProcess], None] = lambda _: None) -> None:
    """Run a feed until its node, its operator, SIGTERM or SIGINT ends it. Raises NoNode, OSError, and the fault that
    ended it."""
    with log.adopted(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_served(options, log, on_listening))


async def _served(options: FeedOptions, log: Log, on_listening: Callable[[FeedProcess], None]) -> None:
    process = FeedProcess(options, log)
    on_end_signal(process.stop)
    await process.start()
    if process.caught_up:  # else its end was asked for meanwhile
        log.info(
            "listening",
            feed=options.name,
            groups=[str(each) for each in options.groups],
            interface=options.interface,
            seq=process.follower.seq,
            pid=os.getpid(),
        )
        on_listening(process)
    try:
        await process.run()
    finally:
        log.info("ended", feed=options.name, seq=process.follower.seq)
