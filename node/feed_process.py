"""A market data feed in a process of its own, beside the core of a node: ITCH over MoldUDP64.

What happened it reads from the tape, as far as it is released, and from the journal what the tape has lost. Whatever it
does, and however it ends, the market goes on. Its messages are a projection of the journal: after every restart, and on
the other node of a pair, they are the same bytes under the same numbers.

    receivers <-- Outlet (multicast, A and B) <-- ItchStream (reports, feed, spool) <-- tape <-- core
    receivers --> requests (UDP)              --> spool
    receivers --> snapshots (SoupBinTCP)      --> tables of the feed

Of a pair only the node that reigns sends, as the last EPOCH in the journal has it. What happened before the process had
caught up is not sent: receivers see a heartbeat with a higher number and ask for what is before it.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from engine.records import CommandKind
from journal.history import History
from marketdata.itch import session_name
from marketdata.itch.stream import ItchStream
from node import gateway_image
from node.end_signals import on_end_signal
from node.feed_programs import Address
from node.feed_snapshots import SnapshotServer
from node.logs import Log
from node.multicast import Outlet
from node.program_report import ProgramReport, agent_values
from replay.feed import Feed
from replay.live_reports import room_of
from replay.market_rows import MARKET_ROWS, tape_of
from sequencer.reign import name_in_row
from tape.agents import Call, Measured
from tape.errors import TapeError
from tape.places import Place
from tape.reader import TapeReader
from tape.writer import NAME_BYTES
from wire.errors import ProtocolError
from wire.mold import HEAD_BYTES, PACKET_BYTES_MAX, Request, end_of_session, heartbeat, packets, read_request

#: Longest work on blocks before the loop has its turn, in ns.
_TURN_NS: Final = 5_000_000
#: Wait where the journal has not yet what the tape has lost, and longest sleep for a block.
_LAG_S: Final = 0.002
_SLEEP_NS: Final = 100_000_000
#: Interval of looks at heartbeats and images, and silence of the feed after which it sends a heartbeat, in seconds.
_BEAT_S: Final = 0.25
HEARTBEAT_S: Final = 1.0
#: Silence after messages that a first heartbeat ends, in seconds: who lost the last message knows it by then.
_FIRST_HEARTBEAT_S: Final = 0.05
#: Heartbeats of the feed that are also sent as the end of a session that is over.
_ENDS: Final = 3
#: Interval of images, in seconds, and the commands between two of them at least.
_IMAGE_S: Final = 30.0
_IMAGE_COMMANDS: Final = 10_000
#: Packets that one request gives at most: what a receiver's system keeps for it by default.
REQUEST_PACKETS_MAX: Final = 64
#: Time for the last messages at the end, in seconds.
_LAST_S: Final = 1.0
_NODE_ENDED: Final = "the node has ended"


class NoNode(Exception):
    """No node writes a tape in the directory; the message says what to do."""


@dataclass(frozen=True)
class FeedOptions:
    """Options of a feed's process. node: name of the node in its pair; None: a market of its own. requests, snapshots:
    sockets, the second of which listens."""

    data: Path
    name: str
    groups: tuple[Address, ...]
    interface: str
    ttl: int
    node: str | None
    requests: socket.socket
    snapshots: socket.socket
    report: ProgramReport | None = None  # to the supervisor of the node


class FeedProcess:
    """One feed on a running event loop."""

    def __init__(self, options: FeedOptions, log: Log) -> None:
        """Restore the stream. Raises NoNode, OSError, and what journal, tape and replay raise."""
        self.options, self.log = options, log
        self._loop = asyncio.get_running_loop()
        with History.open(options.data) as history:
            journal_id, capacity = history.journal_id, room_of(history)
        try:
            self._tape = TapeReader(tape_of(options.data), journal_id, MARKET_ROWS)
        except (TapeError, OSError) as error:
            raise NoNode(
                f"no node writes a tape in {options.data}; start it with `lockstep serve`, --tape-mb above 0"
            ) from error
        self._outlet = Outlet(options.groups, options.interface, options.ttl)
        self._folder = options.data / "feeds" / options.name
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.stream = ItchStream(self._folder, capacity, self._on_messages)
        seq, why = gateway_image.restore(self._folder, options.data, self.stream)
        if why:
            log.info("feed made from the journal", why=why)
        self.feed = Feed(options.data, journal_id, seq, name=options.name[:NAME_BYTES])
        self._name = None if options.node is None else name_in_row(options.node)
        self._caught_up = False
        self._imaged_seq = seq
        self._image_due_s = time.monotonic() + _IMAGE_S
        self._saving: asyncio.Task[None] | None = None
        self._carries = False
        self._sent_s = 0.0
        self._ends_silence = False  # a first heartbeat is due
        self._over: tuple[str, int, int] | None = None  # session that is over, its next number, times left to say so
        self._beats = 0
        self._more = False
        self._working = False
        self._stopping = False
        self._failure: BaseException | None = None
        self._idle = threading.Event()
        self._ended = asyncio.Event()
        self._watch = threading.Thread(target=self._watch_tape, name="tape", daemon=True)
        self._agent = Measured(Call("feed", self._take_blocks))
        self._snapshots = SnapshotServer(self.stream)
        self._server: asyncio.Server | None = None
        self.answered = 0  # packets that requests were answered with

    # The life of the process.

    async def start(self) -> None:
        """Catch up with what is released now, and open the ports. Raises OSError, NoNode."""
        released_seq = self._tape.load(Place.RELEASED)
        while self.feed.seq < released_seq:
            seq = self.feed.seq
            self._agent.turn()
            if self.feed.ended:
                raise NoNode(_NODE_ENDED)
            await asyncio.sleep(0 if self.feed.seq > seq or self._more else _LAG_S)
        self._caught_up = True
        self._loop.set_exception_handler(self._on_loop_error)
        self.options.requests.setblocking(False)
        self._loop.add_reader(self.options.requests.fileno(), self._answer_requests)
        self._server = await asyncio.start_server(self._snapshots.serve, sock=self.options.snapshots)
        self._loop.call_later(_BEAT_S, self._beat)
        self._heartbeat()
        self._tape.bell.arm()
        self._tape.bell.ring()
        self._watch.start()
        self._turn()

    async def run(self) -> None:
        """Run until the node or the operator ends it. Raises the fault that ended it, if any."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self, failure: BaseException | None = None) -> None:
        """End in order: what is released now is sent first."""
        if self._stopping:
            return
        if failure is None:
            until_s = time.monotonic() + _LAST_S
            with suppress(TapeError, OSError):
                while self._take_blocks() and time.monotonic() < until_s:
                    pass
        self._stopping, self._failure = True, failure
        self._loop.create_task(self._leave())

    async def _leave(self) -> None:
        """End: each step is done though one before it has failed."""
        self._loop.remove_reader(self.options.requests.fileno())
        for step in (self._close_server, self._save_last_image, self._close_files):
            try:
                await step()
            except Exception as error:  # it ended the step, and the process ends with it
                self._failure = self._failure or error
        self._ended.set()

    async def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _save_last_image(self) -> None:
        self._idle.set()
        if self._saving is not None:
            await asyncio.wait([self._saving])
        await self._save_image()

    async def _close_files(self) -> None:
        self._outlet.close()
        self.stream.close()
        self.feed.close()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and context.get("transport") is not None:
            return  # a client of snapshots has left
        fault = error if isinstance(error, BaseException) else RuntimeError(str(context.get("message")))
        self.log.error("the feed stops", why=str(fault))
        self.stop(fault)

    def _beat(self) -> None:
        if self._stopping:
            return
        self._loop.call_later(_BEAT_S, self._beat)
        if time.monotonic() - self._sent_s >= HEARTBEAT_S:
            self._heartbeat()
        self._beats += 1
        if self._beats % round(1.0 / _BEAT_S) == 0:
            self._report_figures()
        if time.monotonic() >= self._image_due_s and self.feed.seq - self._imaged_seq >= _IMAGE_COMMANDS:
            self._image_due_s = time.monotonic() + _IMAGE_S
            if self._saving is None:
                self._saving = self._loop.create_task(self._save_image())
                self._saving.add_done_callback(self._on_saved)

    def _report_figures(self) -> None:
        """Report to the supervisor, which may be gone, or reading nothing."""
        if self.options.report is not None:
            with suppress(OSError):
                self.options.report.write(agents=agent_values([self._agent]))

    # What happened: from the tape to the groups.

    def _watch_tape(self) -> None:
        """Wake the loop for each block that is released, in a thread that sleeps on the tape's doorbell."""
        bell = self._tape.bell
        while not self._stopping:
            bell.arm()
            if self._tape.load(Place.RELEASED) <= self.feed.seq and self._tape.writer_lives():
                bell.sleep(_SLEEP_NS)
            self._idle.clear()
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:
                return  # the loop has ended
            self._idle.wait()

    def _turn(self) -> None:
        if self._stopping or self._working:
            return
        self._working = True
        try:
            self._agent.turn()
        finally:
            self._working = False
        if self.feed.ended:
            self.log.warning("the feed ends", why=_NODE_ENDED)
            self.stop(NoNode(f"the node of {self.options.data} has ended; start it again"))
        elif self._more:
            self._loop.call_soon(self._turn)
        elif self.feed.lags:
            self._loop.call_later(_LAG_S, self._turn)
        else:
            self._idle.set()

    def _take_blocks(self) -> int:
        """Take blocks for a while; gives the number of commands. ``_more`` is True then if there may be more now."""
        seq, until_ns = self.feed.seq, time.monotonic_ns() + _TURN_NS
        self._more = True
        while self._more and time.monotonic_ns() <= until_ns:
            rows = self.feed.take()
            if rows is not None:
                self.stream.observe(rows.first_seq, rows.commands, rows.events)
                self._carries = bool(rows.commands["kind"][-1] == CommandKind.EXTEND)
            self._more = rows is not None or self.feed.replays
        return self.feed.seq - seq

    @property
    def speaks(self) -> bool:
        """True if this process sends: it has caught up, and its node reigns, or is no part of a pair."""
        return self._caught_up and (self._name is None or self._name == self.stream.reign)

    def _on_messages(self, day: int, number: int, _count: int, framed: memoryview) -> None:
        """Send messages as they are made."""
        if number == 1 and day:
            self._begin_session(day)
        if self.speaks:
            for packet in packets(session_name(day), number, framed):
                self._outlet.send(packet)
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

    # Images.

    async def _save_image(self) -> None:
        """Write an image, where the journal has all that it is of, in another thread."""
        seq = self.feed.seq
        if self._carries or seq <= self._imaged_seq or self._tape.load(Place.JOURNALED) < seq:
            return
        image = gateway_image.take(self.stream, seq)
        if await asyncio.to_thread(gateway_image.save, self._folder, self.options.data, image):
            self._imaged_seq = seq

    def _on_saved(self, saving: "asyncio.Task[None]") -> None:
        self._saving = None
        if not saving.cancelled() and (error := saving.exception()) is not None and not self._stopping:
            self.log.error("the feed stops", why=str(error))
            self.stop(error)


def serve_feed(options: FeedOptions, log: Log, *, on_listening: Callable[[FeedProcess], None] = lambda _: None) -> None:
    """Run a feed until its node, its operator, SIGTERM or SIGINT ends it. Raises NoNode, OSError, and the fault that
    ended it."""
    with log.adopted(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_served(options, log, on_listening))


async def _served(options: FeedOptions, log: Log, on_listening: Callable[[FeedProcess], None]) -> None:
    process = FeedProcess(options, log)
    on_end_signal(process.stop)
    await process.start()
    log.info(
        "listening",
        feed=options.name,
        groups=[str(each) for each in options.groups],
        interface=options.interface,
        seq=process.feed.seq,
        pid=os.getpid(),
    )
    on_listening(process)
    try:
        await process.run()
    finally:
        log.info("ended", feed=options.name, seq=process.feed.seq)
