"""Publication of a market through NATS, in a process of its own beside the core of a node.

Whole blocks of the journal and messages of the ITCH feed go out on two subjects, each with its place, the epoch and a
digest (``client.publication``). NATS brings them to many readers and is no record: a reader that misses something asks
this process, which has journal and spool, at its port for requests.

    readers <-- NATS server <-- NatsLine <-- journal, spool <-- TapeFollower <-- tape <-- core
    readers --> requests (TCP)          --> journal, spool

What is published is read where it lies, from the place on that the server has confirmed last. So no buffer grows while
the server is stopped or dead, nothing of the node waits for it, and everything goes out in order once it is back. Of a
pair only the node that reigns publishes.
"""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from client.errors import CannotConnect, ConnectionLost
from client.nats_line import NatsLine
from client.publication import BLOCKS, ITCH, SLICES, Gone, Publication, Refused, Request, subject
from directory.small_file import write_whole
from engine.epochs import epoch_after
from journal import SliceMissing
from journal.history import History
from marketdata.itch import session_name
from marketdata.itch.stream import ItchStream
from node.feeds.folder_lock import FolderLock
from node.feeds.following_program import CoreWatch, FollowingProgram
from node.feeds.tape_follower import TapeFollower, market_of
from node.nats.requests import RequestServer, check_has
from node.nats.source import ChainedMessages, JournalBlocks
from node.programs.logs import Log
from node.programs.report import ProgramReport, agent_values
from node.programs.serving import serve
from replay.past import PlayedRows
from sequencer.reign import name_in_row

#: Bytes that are published before the server must confirm that it has them, and time for that, in seconds.
WINDOW_BYTES: Final = 1 << 20
_CONFIRM_S: Final = 2.0
#: Bytes of messages in one publication, and room for headers below what the server takes.
_MESSAGES_BYTES_MAX: Final = 64 << 10
_HEADERS_BYTES_MAX: Final = 1_024
#: Bytes that a server must take in one publication: headers, and one message with its length.
PAYLOAD_BYTES_MIN: Final = _HEADERS_BYTES_MAX + 64
#: Interval of looks whether the node goes on, in seconds.
_BEAT_S: Final = 0.1
#: Silence after which a heartbeat says what comes next: at first, and then, in seconds.
_FIRST_HEARTBEAT_S: Final = 0.05
HEARTBEAT_S: Final = 1.0
#: Time before another try to reach the server: at first, and at most, in seconds.
_RETRY_S: Final = 0.05
_RETRY_MAX_S: Final = 1.0
#: Wait for what the journal has not yet, and interval of notes of the place and of reports, in seconds.
_LOOK_S: Final = 0.02
_REPORT_S: Final = 1.0
_PLACE: Final = "place.json"
#: Time for the last publications at the end, in seconds.
_LAST_S: Final = 3.0


class At(NamedTuple):
    """Place in what is published: the next command, and the next message of a session."""

    seq: int
    session: str
    number: int


@dataclass(frozen=True)
class NatsOptions:
    """Options of the process. url: of the server; login: "user:password", a token, or "". requests: a socket that
    listens. node: name of the node in its pair; None: a market of its own."""

    data: Path
    name: str
    url: str
    venue: str
    requests: socket.socket
    login: str = ""
    node: str | None = None
    report: ProgramReport | None = None  # to the supervisor of the node


class NatsProcess(FollowingProgram):
    """The publication of one market on a running event loop. ``published``: publications that the server confirmed."""

    def __init__(self, options: NatsOptions, log: Log) -> None:
        """Restore the feed. Raises NoNode, FolderLocked, OSError, and what journal, tape and replay raise."""
        super().__init__(log, "the publication")
        self.options = options
        market = market_of(options.data)
        self._folder = options.data / "nats"
        self._own = FolderLock(self._folder, "the publication of this node", "end it first")
        self.stream = ItchStream(self._folder, market.capacity)
        self._news = asyncio.Event()
        self.follower = TapeFollower(
            *(market, self._folder, options.name, self.stream, self.stop, self._news.set, self._on_rows),
            on_no_image=self._on_no_image,
        )
        if self.follower.why:
            log.info("feed made from the journal", why=self.follower.why)
        self._journal_id = market.journal_id.hex()
        self._name = None if options.node is None else name_in_row(options.node)
        self._disk = ThreadPoolExecutor(1, "journal")
        self._blocks = JournalBlocks(options.data)
        self._messages = ChainedMessages(self.stream.spool)
        self._epoch = 0
        self._at = self._confirmed = self._noted = At(1, "", 1)
        self.published = self.lines = 0
        self._sent_s = 0.0
        self._quiet = False  # the first heartbeat behind what was sent last has gone out
        self._core = CoreWatch(self.follower, log, _BEAT_S, "there are no heartbeats until it goes on")
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._requests = RequestServer(self)

    # The life of the process.

    async def _open(self) -> None:
        self._epoch = self._epoch_at(self.follower.seq)
        self._at = self._confirmed = self._noted = self._from_place()
        self._server = await asyncio.start_server(self._requests.serve, sock=self.options.requests)
        self.follower.start()
        asyncio.get_running_loop().call_later(_BEAT_S, self._beat)
        self._tasks = [asyncio.create_task(each) for each in (self._publish(), self._report())]

    def _place(self) -> Mapping[str, Any]:
        return {"requests": self.options.requests.getsockname()[1], "venue": self.options.venue}

    async def _serve(self, on_listening: Callable[[], None]) -> None:
        on_listening()
        await self._until_end(*self._tasks)

    def _take_last(self) -> None:
        self.follower.take_last()

    def stop(self, failure: BaseException | None = None) -> None:
        """End in order, with what was released."""
        super().stop(failure)
        self._news.set()

    def _last_steps(self) -> Iterable[Callable[[], Awaitable[None]]]:
        return (self._end_tasks, self._close_server, self.follower.stop, self._close_files)

    async def _end_tasks(self) -> None:
        """Give the last publications their time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _close_files(self) -> None:
        self._note_place()
        self._disk.shutdown(wait=True)
        self._blocks.close()
        self.stream.close()
        self._own.release()

    def _beat(self) -> None:
        """Look whether the node goes on: while it does not, no heartbeat says so."""
        if self._stopping:
            return
        asyncio.get_running_loop().call_later(_BEAT_S, self._beat)
        self._core.look()

    async def _report(self) -> None:
        """Note the place, and report to the supervisor, which may be gone, or reading nothing."""
        while not self._stopping:
            await asyncio.sleep(_REPORT_S)
            await asyncio.get_running_loop().run_in_executor(self._disk, self._note_place)
            if self.options.report is not None:
                with suppress(OSError):
                    self.options.report.write(agents=agent_values([self.follower.agent]))

    # What happens.

    def _on_rows(self, rows: PlayedRows) -> None:
        self._epoch = epoch_after(rows.commands, self._epoch)

    def _epoch_at(self, seq: int) -> int:
        """Epoch of the block with a command, or of the last one that the journal has. Raises JournalError."""
        with History.open(self.options.data) as history:
            seq = min(seq, history.last_seq)
            return next((each.epoch for each in history.blocks(seq, seq)), 0) if seq else 0

    @property
    def may_publish(self) -> bool:
        """True if this process publishes: its node reigns, or is no part of a pair."""
        return self._name is None or self._name == self.stream.reign

    def _now_at(self) -> At:
        """The place behind all that has happened."""
        feed = self.stream.feed
        session = session_name(feed.day) if feed.messages else ""
        return At(self.follower.seq + 1, session, feed.messages + 1)

    # Where publication goes on.

    def _from_place(self) -> At:
        """The place that was noted, if the market has it still; else that of now."""
        now = self._now_at()
        try:
            found = json.loads((self._folder / _PLACE).read_bytes())
            at = At(int(found["seq"]), str(found["session"]), int(found["number"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return now
        there = self._messages.messages(at.session) if at.session else 0
        if found.get("journal") != self._journal_id or there is None:
            return now
        return At(min(max(at.seq, 1), now.seq), at.session, min(max(at.number, 1), there + 1))

    def _note_place(self) -> None:
        """Note the place that the server has confirmed. What is lost of it is published twice."""
        if self._confirmed == self._noted:
            return
        self._noted = self._confirmed
        with suppress(OSError):
            write_whole(self._folder / _PLACE, json.dumps({"journal": self._journal_id, **self._noted._asdict()}))

    # Publication.

    async def _publish(self) -> None:
        """Have a line to the server, and another one after each end."""
        wait_s, told = _RETRY_S, False
        while not self._stopping:
            try:
                line = await self._connected()
            except CannotConnect as error:
                if not told:
                    self.log.warning("the NATS server is away", why=str(error), then="what happens is published later")
                told = True
                if not self.may_publish:
                    self._at = self._confirmed = self._now_at()
                await asyncio.sleep(wait_s)
                wait_s = min(2.0 * wait_s, _RETRY_MAX_S)
                continue
            self.lines += 1
            self.log.info("publishing", venue=self.options.venue, **self._confirmed._asdict())
            wait_s, told = _RETRY_S, False
            try:
                await self._publish_on(line)
            except ConnectionLost as error:
                self.log.warning("the NATS server is lost", why=str(error), then="publication goes on from there")
            finally:
                await line.close()
            self._at = self._confirmed

    async def _connected(self) -> NatsLine:
        """A line to the server. Raises CannotConnect, also where the server takes less than one message."""
        line = await NatsLine.connect(self.options.url, name=f"lockstep {self.options.venue}", login=self.options.login)
        if (takes := line.payload_bytes_max) < PAYLOAD_BYTES_MIN:
            await line.close()
            raise CannotConnect(
                f"it takes {takes:,} bytes a publication, and one message with its headers has up to "
                f"{PAYLOAD_BYTES_MIN:,}; set its max_payload to 1MB, its default"
            )
        return line

    async def _publish_on(self, line: NatsLine) -> None:
        """Publish what there is, and then what happens. Raises ConnectionLost."""
        while not self._stopping:
            self._news.clear()
            if not self.may_publish:
                self._at = self._confirmed = self._now_at()
                if not line.is_open:
                    return
                await self._rest(_FIRST_HEARTBEAT_S)
                continue
            count, size = await self._publish_window(line)
            if count:
                self._sent_s, self._quiet = time.monotonic(), False
            elif time.monotonic() - self._sent_s >= (HEARTBEAT_S if self._quiet else _FIRST_HEARTBEAT_S):
                if self._core.is_silent:
                    await self._rest(HEARTBEAT_S)
                    if line.is_open:
                        continue
                    return
                await self._heartbeat(line)
            else:
                await self._rest(_LOOK_S)
                continue
            await self._confirm(line, count)
            if size < WINDOW_BYTES:
                await self._rest(_LOOK_S)
        until_s = time.monotonic() + _CONFIRM_S
        while self.may_publish and self._at.seq <= self.follower.seq and time.monotonic() < until_s:
            count, _ = await self._publish_window(line)
            await self._confirm(line, count)
            await asyncio.sleep(_LOOK_S)

    async def _confirm(self, line: NatsLine, count: int) -> None:
        """Wait until the server has what was published: publication never begins again before that."""
        await line.flush(_CONFIRM_S)
        self._confirmed = self._at
        self.published += count

    async def _rest(self, seconds: float) -> None:
        """Wait for something new, or a time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _publish_window(self, line: NatsLine) -> tuple[int, int]:
        """Publish about as much as may be unconfirmed; gives number and bytes of publications."""
        count, size = 0, 0
        bytes_max = line.payload_bytes_max - _HEADERS_BYTES_MAX
        while size < WINDOW_BYTES and (found := await self._next_messages(min(bytes_max, _MESSAGES_BYTES_MAX))):
            await line.publish(subject(self.options.venue, ITCH), found.headers(), found.payload)
            count, size = count + 1, size + len(found.payload)
        for block in await self._next_blocks(WINDOW_BYTES):
            headers = block.headers()
            records = len(headers.get(SLICES, ""))
            if len(block.payload) + records > bytes_max:  # its readers ask for it
                await line.publish(subject(self.options.venue, BLOCKS), block._replace(slices=()).headers(), b"")
            else:
                await line.publish(subject(self.options.venue, BLOCKS), headers, block.payload)
            self._at = self._at._replace(seq=block.end)
            count, size = count + 1, size + len(block.payload)
        return count, size

    async def _next_messages(self, bytes_max: int) -> Publication | None:
        """The next messages, or the end of their session; the place moves behind them."""
        at = self._at
        if not at.session and self.stream.feed.messages:
            at = At(at.seq, session_name(self.stream.feed.day), 1)
        if not at.session:
            return None
        found = await self._messages.read(self._epoch, at.session, at.number, bytes_max)
        if found is not None:
            self._at = self._at._replace(session=at.session, number=found.end)
        elif (then := self._messages.after(at.session)) and self._messages.messages(at.session) is None:
            # No end of that session is told: readers in it would take what they lack for never having been.
            why = f"the spool has no messages of {at.session} any more"
            self.log.warning("messages are not published", why=why, then=f"it goes on from the first of {then}")
            self._at = self._at._replace(session=then, number=1)
        elif then:
            found = Publication(self._epoch, at.session, at.number, 0, then=then)
            self._at = self._at._replace(session=then, number=1)
        return found

    async def _next_blocks(self, bytes_max: int) -> list[Publication]:
        """The next blocks; the caller moves the place behind each. Raises JournalError."""
        loop, to_seq = asyncio.get_running_loop(), self.follower.seq
        if self._at.seq > to_seq:
            return []
        try:
            found = await loop.run_in_executor(self._disk, self._blocks.read, self._at.seq, to_seq, bytes_max)
        except SliceMissing as error:
            from_seq = await loop.run_in_executor(self._disk, self._blocks.there_from_seq)
            self.log.warning("commands are not published", why=str(error), then=f"it goes on from {from_seq}")
            self._at = self._at._replace(seq=max(from_seq, self._at.seq + 1))
            return []
        return [each._replace(epoch=self._epoch) for each in found]

    async def _heartbeat(self, line: NatsLine) -> None:
        """Say what comes next on both subjects."""
        for kind, found in ((BLOCKS, self._next_block_is(self._at.seq)), (ITCH, self._next_message_is(self._at))):
            if found is not None:
                await line.publish(subject(self.options.venue, kind), found.headers(), b"")
        self._sent_s, self._quiet = time.monotonic(), True

    def _next_block_is(self, seq: int) -> Publication:
        return Publication(self._epoch, self._journal_id, seq, 0)

    def _next_message_is(self, at: At) -> Publication | None:
        return Publication(self._epoch, at.session, at.number, 0) if at.session else None

    # What readers ask for.

    async def answers(self, asked: Request) -> AsyncIterator[Publication]:
        """Publications from a number on, as far as they are released. Raises Refused, JournalError."""
        async for each in self._asked_blocks(asked) if asked.kind == BLOCKS else self._asked_messages(asked):
            yield each

    async def _asked_blocks(self, asked: Request) -> AsyncIterator[Publication]:
        if asked.session not in ("", self._journal_id):
            raise Gone(f"this node has the journal {self._journal_id}, and not {asked.session}")
        check_has(BLOCKS, asked, self.follower.seq + 1)
        loop, seq, source = asyncio.get_running_loop(), asked.first, JournalBlocks(self.options.data)
        try:
            while found := await loop.run_in_executor(self._disk, source.read, seq, self.follower.seq, WINDOW_BYTES):
                for each in found:
                    yield each._replace(epoch=self._epoch)
                seq = found[-1].end
        finally:
            await loop.run_in_executor(self._disk, source.close)
        yield self._next_block_is(seq)

    async def _asked_messages(self, asked: Request) -> AsyncIterator[Publication]:
        now = self._now_at()
        session, number = asked.session or now.session, asked.first
        there = self._messages.messages(session) if session else None
        if there is None:
            why = f"this node has no messages of session {session or 'any'}; it keeps those of a few days"
            raise (Gone if session < now.session else Refused)(why)
        check_has(ITCH, asked, there + 1)
        while (found := await self._messages.read(self._epoch, session, number, _MESSAGES_BYTES_MAX)) is not None:
            yield found
            number = found.end
        yield Publication(self._epoch, session, number, 0, then=self._messages.after(session))


def serve_nats(options: NatsOptions, log: Log, *, on_listening: Callable[[], None] = lambda: None) -> None:
    """Publish until the node, its operator, SIGTERM or SIGINT ends it. Raises NoNode, OSError, and the fault that ended
    it."""
    serve(lambda: NatsProcess(options, log), log, on_listening)
