"""Market data by FIX in a process of its own, beside the core of a node.

    subscribers <-- Connection, Subscribers <-- FixMarket (reports, ladders) <-- TapeFollower: tape, journal

The public data of instruments is a projection with an image in DIR/fix-data, so the count of updates of each goes on
from there (``node.feeds.tape_follower``).

A turn takes changes for a while, sends whole books for a while, and then the loop serves everybody else. The longest
step is one command's changes, told to all who follow them: 8 subscriptions to an instrument in each of 1,024 sessions
at most.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from gateway.session_faults import SessionFault
from marketdata.fix.market import FixMarket
from marketdata.fix.session import DataSession, Subscribers
from node.feeds.folder_lock import FolderLock
from node.feeds.following_program import FollowingProgram
from node.feeds.tape_follower import TapeFollower, market_of
from node.programs.logs import Log
from node.programs.market_age import MarketAge
from node.programs.report import ProgramReport
from node.programs.serving import serve
from replay.past import PlayedRows

#: Longest work on whole books before the loop has its turn, in ns.
_BOOKS_NS: Final = 4_000_000
#: Connections at once, those of one address, and those that wait for the loop.
CONNECTIONS_MAX: Final = 1_024
_PER_ADDRESS_MAX: Final = 256
_BACKLOG: Final = 256
#: Bytes that wait for a subscriber from which on it is paused, and below which it goes on.
PAUSED_BYTES: Final = 256 << 10
READING_BYTES: Final = 32 << 10
#: Time that a subscriber may be paused, and time for its logon, in seconds.
SLOW_S: Final = 30.0
LOGON_S: Final = 10.0
#: Time for the peer of a session that has ended to read the rest, in seconds.
ENDED_S: Final = 5.0
#: Interval of looks at heartbeats and silence, and of signs of life to the supervisor, in seconds.
_BEAT_S: Final = 0.25
_REPORT_S: Final = 1.0
#: Time for the last messages at the end, and interval of looks whether they are gone, in seconds.
_LAST_S: Final = 1.0
_LOOK_S: Final = 0.002
SLOW: Final = "slow consumer: you read less than you subscribed to"
#: Time for which the market may stand still until sessions are ended, in seconds: more than a takeover takes.
STALE_S: Final = 5.0
STALE: Final = "the market was not seen to go on: log on again later"
_ENDS: Final = "the market data ends"
#: Reason that a client is told of a fault of our code in its session.
FAULT: Final = "a fault of the exchange ended this session; log on again"


@dataclass(frozen=True)
class FixDataOptions:
    """Options of the process. listens: a socket that is bound."""

    data: Path
    listens: socket.socket
    report: ProgramReport | None = None  # to the supervisor of the node


class Connection(asyncio.Protocol):
    """One connection of a subscriber."""

    def __init__(self, process: "FixDataProcess") -> None:
        self._process = process
        self._transport: asyncio.Transport | None = None
        self.session: DataSession | None = None
        self.address = ""
        self.paused_s = 0.0  # when it was paused; 0: it is not
        self.ended_s = 0.0  # when its session was seen to have ended; 0: it was not

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, where there is room."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        if not self._process.join(self):
            transport.abort()
            return
        transport.set_write_buffer_limits(PAUSED_BYTES, READING_BYTES)
        self.session = DataSession(self._process.subscribers, time.time_ns())
        self._process.by_session[self.session] = self

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._process.leave(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and act upon them in the next turn."""
        if self.session is not None:
            with self.own_faults():
                self.session.receive(data, time.time_ns())
            self.write()
            self._process.wake()

    def pause_writing(self) -> None:
        """Note that it reads slowly. It is not read meanwhile, so that answers do not pile up."""
        self.paused_s = time.monotonic()
        if self.session is not None:
            self.session.paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Note that it reads again: whole books are due."""
        self.paused_s = 0.0
        if self.session is not None:
            self.session.paused = False
            self.session.note_not_reading(time.time_ns())
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._process.wake()

    @contextmanager
    def own_faults(self) -> Iterator[None]:
        """Have a fault in the code of this session end it, and no other."""
        try:
            yield
        except Exception as error:
            if self.session is not None:
                self._process.on_fault(self.session, error)

    def write(self) -> None:
        """Write what the session has to say, and close where it has ended."""
        with self.own_faults():
            self._write()

    def _write(self) -> None:
        session, transport = self.session, self._transport
        if session is None or transport is None or transport.is_closing():
            return
        data = session.take()
        if data:
            transport.write(data)
        if session.ends:
            self._process.log.info("session ended", user=session.name, address=self.address, why=session.ends)
            transport.close()

    def end(self, why: str) -> None:
        """Log the session out, and close, also where its code cannot say so any more."""
        try:
            if self.session is not None:
                self.session.log_out(why, time.time_ns())
            self._write()
        except Exception:  # the fault that ends it is in the log
            self.abort()

    def abort(self) -> None:
        """Close without waiting for what is not written."""
        if self._transport is not None:
            self._transport.abort()

    def beat(self, now_ns: int, now_s: float) -> None:
        """Do what is due by time."""
        session = self.session
        if session is None:
            return
        if session.ends:  # its place is free once its peer has read all, or the time for that is over
            self.ended_s = self.ended_s or now_s
            if now_s - self.ended_s > ENDED_S:
                self.abort()
            return
        if self.paused_s:
            session.note_not_reading(now_ns)
            if now_s - self.paused_s > SLOW_S:
                self._process.log.warning("slow reader", user=session.name, address=self.address)
                session.log_out(SLOW, now_ns)
                self.abort()
                return
        if session.live:
            session.tick(now_ns)
        elif now_ns - session.began_ns > LOGON_S * 1e9:
            session.ends = "no logon came"
            self._process.subscribers.written.add(session)


class FixDataProcess(FollowingProgram):
    """Market data by FIX on a running event loop."""

    def __init__(self, options: FixDataOptions, log: Log) -> None:
        """Restore the market. Raises NoNode, FolderLocked, OSError, and what journal, tape and replay raise."""
        super().__init__(log, "the market data")
        self.options = options
        market = market_of(options.data)
        folder = options.data / "fix-data"
        self._own = FolderLock(folder, "the market data of this node by FIX", "end it first")
        self.market = FixMarket(market.capacity)
        self.subscribers = Subscribers(self.market, self.on_fault)
        self.by_session: dict[DataSession, Connection] = {}
        self._addresses: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._sends_soon = False
        self.follower = TapeFollower(
            *(market, folder, "fix-data", self.market, self.stop, self._send),
            in_steps=self._told,
            on_no_image=self._on_no_image,
        )
        if self.follower.why:
            log.info("books made from the journal", why=self.follower.why)
        self._age = MarketAge(self.follower.tape, lambda: self.follower.seq)
        self._is_stale = False
        self.refused = 0

    # Connections.

    def join(self, connection: Connection) -> bool:
        """Take a new connection; False where there are too many."""
        of_address = self._addresses.get(connection.address, 0)
        if len(self.by_session) >= CONNECTIONS_MAX or of_address >= _PER_ADDRESS_MAX:
            self.refused += 1
            if self.refused & (self.refused - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                self.log.warning("connection refused", address=connection.address, refused=self.refused)
            return False
        self._addresses[connection.address] = of_address + 1
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        session, connection.session = connection.session, None
        if session is None:
            return
        self.by_session.pop(session, None)
        self.subscribers.leave(session)
        left = self._addresses[connection.address] - 1
        if left:
            self._addresses[connection.address] = left
        else:
            del self._addresses[connection.address]

    def on_fault(self, session: DataSession, error: Exception) -> None:
        """Tell the log of a fault of our code in one session, and end that session: all others go on."""
        connection = self.by_session.get(session)
        if connection is None or session.ends:
            return  # it has ended, or had its fault
        fault = SessionFault(error, secret=not session.live)  # a logon has a password
        self.log.error(
            "a fault of ours ends a session",
            **{"user": session.name, "address": connection.address, "why": fault.why, "traceback": fault.traceback},
        )
        connection.end(FAULT)

    def wake(self) -> None:
        """Answer soon: somebody asked for something."""
        if not self._sends_soon:
            self._sends_soon = True
            self._loop.call_soon(self._answer)

    # Its life.

    def _place(self) -> Mapping[str, Any]:
        host, port = self.options.listens.getsockname()[:2]
        return {"fix_data": f"{host}:{port}"}

    async def _serve(self, on_listening: Callable[[], None]) -> None:
        self.options.listens.setblocking(False)
        server = await self._loop.create_server(lambda: Connection(self), sock=self.options.listens, backlog=_BACKLOG)
        beating = asyncio.create_task(self._beat())
        on_listening()
        try:
            self.follower.start()
            await self._until_end(beating)
        finally:
            self.follower.give_up()
            server.close()
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    def _last_steps(self) -> Iterable[Callable[[], Awaitable[None]]]:
        return (self._end_sessions, self.follower.stop, self._close_port)

    async def _close_port(self) -> None:
        self._own.release()
        with suppress(OSError):
            self.options.listens.close()

    async def _end_sessions(self) -> None:
        now_ns = time.time_ns()
        for session, connection in list(self.by_session.items()):
            session.log_out(_ENDS, now_ns)
            connection.write()
        until_s = time.monotonic() + _LAST_S
        while self.by_session and time.monotonic() < until_s:
            await asyncio.sleep(_LOOK_S)
        for connection in list(self.by_session.values()):
            connection.abort()

    def _told(self, rows: PlayedRows) -> Iterator[None]:
        """Take a block, and tell its changes: those of a command are a step."""
        for changes in self.market.follow(rows.first_seq, rows.commands, rows.events):
            self.subscribers.tell(changes, time.time_ns())
            yield

    def _answer(self) -> None:
        self._sends_soon = False
        if self._stopping:
            return
        try:
            self._send()
        except Exception as error:  # a defect: it ends the process, which is started again
            self.stop(error)

    def _send(self) -> None:
        """Send what was told, and whole books and parts of long answers for a while."""
        self._write()
        until_ns = time.monotonic_ns() + _BOOKS_NS
        now_ns = time.time_ns()
        while self.subscribers.refresh(now_ns):
            self._write()
            if time.monotonic_ns() > until_ns:
                self.wake()
                break
        for session in [each for each in self.by_session if each.has_more and not each.paused]:
            with self.by_session[session].own_faults():
                session.go_on(now_ns)
            self.wake()
            if time.monotonic_ns() > until_ns:
                break
        self._write()

    def _write(self) -> None:
        written = self.subscribers.written
        while written:
            connection = self.by_session.get(written.pop())
            if connection is not None:
                connection.write()

    async def _beat(self) -> None:
        report_due_s = time.monotonic()
        while True:
            await asyncio.sleep(_BEAT_S)
            now_ns, now_s = time.time_ns(), time.monotonic()
            self._judge_age(now_ns)
            for connection in list(self.by_session.values()):
                with connection.own_faults():
                    connection.beat(now_ns, now_s)
            self._write()
            if self.options.report is not None and now_s >= report_due_s:
                report_due_s = now_s + _REPORT_S
                with suppress(OSError):
                    self.options.report.write(agents=[])

    def _judge_age(self, now_ns: int) -> None:
        """Log subscribers out while the market stands still: heartbeats would say that their books are the market's."""
        age_s = self._age.look()
        if age_s <= STALE_S:
            if self._is_stale:
                self._is_stale = False
                self.log.info("the market goes on")
            return
        if not self._is_stale:
            self._is_stale = True
            self.log.warning("the market is stale", age_s=round(age_s, 3), then="subscribers are logged out")
        for session in list(self.by_session):
            if session.live and not session.ends:
                session.log_out(STALE, now_ns)
                self.subscribers.written.add(session)


def serve_fix_data(options: FixDataOptions, log: Log, *, on_listening: Callable[[], None] = lambda: None) -> None:
    """Serve until the node, its operator, SIGTERM or SIGINT ends it. Raises NoNode, OSError, and the fault that ended
    it."""
    serve(lambda: FixDataProcess(options, log), log, on_listening)
