"""A gateway in a process of its own: clients of one protocol on a port, beside the core of a node.

It has all that a gateway has: sessions, passwords, streams, spools, slow readers. What happened it reads from the tape,
as far as it is released; commands it puts into its ring, and the core takes from it in turn. Whatever it does, and
however it ends, the market goes on. Its streams are a projection of the journal like those of the node, so a client
finds the same bytes here and there, and after every restart.

    clients --> Gateway (sessions, read_streams) --> ring --> core
    clients <-- Gateway (streams, spool)         <-- tape <-- core           CoreLink: logins, one of a user at a time
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import uvloop
from numpy.typing import NDArray

from engine.records import CommandKind
from gateway.connection import Connection
from gateway.direct import poll_of
from gateway.fix.alone import MISSED, TAKEN, Stay, Stays
from gateway.fix.protocol import Fix
from gateway.fix.session import FixSession
from gateway.fix.short_way import ShortWay
from gateway.fix.streams import FixStreams
from gateway.fix.taking import OTHER
from gateway.outbox import PAST_DAYS, Outbox
from gateway.protocol import Entrance, OrderProtocol
from gateway.server import BEAT_S, ROWS_MAX, Gateway
from gateway.tls import TlsDoor
from journal import Journal
from node.gateways import image as gateway_image
from node.gateways.alone_client import AloneClient
from node.gateways.answer_spin import SPIN_NS, AnswerSpin
from node.gateways.core_link import CoreLink, attach
from node.gateways.fix_watch import SessionFacts
from node.gateways.image_schedule import ImageSchedule
from node.gateways.ring_notes import notes_of
from node.programs.core_silence import SILENT, CoreSilence
from node.programs.end_signals import on_end_signal
from node.programs.given_back import give_back
from node.programs.logs import Log
from node.programs.report import ProgramReport, agent_values
from replay.feed import Feed
from replay.market_rows import MARKET_ROWS, ring_of, tape_of
from replay.rebuild import capacity_of
from tape.agents import Call, Measured
from tape.doorbell import UNSURE_NS
from tape.errors import TapeError
from tape.inbound import Producer
from tape.places import Place
from tape.reader import TapeReader
from tape.writer import NAME_BYTES

#: Longest work on blocks before the loop has its turn, in ns.
_TURN_NS: Final = 5_000_000
#: Wait where the journal has not yet what the tape has lost, in seconds.
_LAG_S: Final = 0.002
#: Interval of reports to the supervisor, in seconds, and what they have of the gateway.
_REPORT_S: Final = 1.0
_FIGURES: Final = (
    "orders", "bytes_in", "bytes_out", "slow_readers", "failed_logins", "refused_connections", "displaced_connections"
)  # fmt: skip
#: Time for clients to take the last messages, in seconds.
_LEAVE_S: Final = 1.0
#: Time in which a gateway that is asked to end learns whether the node ends too, in seconds.
_TOLD_S: Final = 0.05
#: Time for which a ring may be full before clients that send are ended, where the gateway refuses then.
_FULL_S: Final = 0.25
_RING_FULL: Final = "the market takes no orders from this gateway now; orders without an answer may be sent again"
_GATEWAY_ENDS: Final = "the gateway ends"
_NODE_ENDED: Final = "the node has ended"
_LINK_FAILED: Final = "the gateway has lost the node; log in again"

#: As plain numbers: each look at a name of an enumeration takes a part of a microsecond.
_RELEASED, _JOURNALED, _EXTEND = int(Place.RELEASED), int(Place.JOURNALED), int(CommandKind.EXTEND)

WhenFull = Literal["wait", "refuse"]


class CoreGone(Exception):
    """The core has ended without a word; the gateway can do nothing without it."""


class GatewayStopped(Exception):
    """The machine has ended the gateway: its port is taken, or the disk is full; the text says what to do."""


@dataclass(frozen=True)
class GatewayOptions:
    """Options of a gateway process. listening: a socket that listens already, in place of host and port."""

    data: Path
    name: str
    protocol: OrderProtocol
    host: str = "127.0.0.1"
    port: int = 0
    listening: socket.socket | None = None
    when_full: WhenFull = "wait"
    connections_max: int = 1_024
    connections_per_address_max: int | None = None
    waiting_per_address_max: int | None = None
    past_days: int = PAST_DAYS
    tls: ssl.SSLContext | None = None
    report: ProgramReport | None = None  # to the supervisor of the node


class GatewayProcess:
    """One gateway process on a running event loop."""

    def __init__(self, options: GatewayOptions, log: Log) -> None:
        """Attach to the core, and restore the streams. Raises GatewayRefused, and what journal, tape, replay raise."""
        self.options, self.log = options, log
        connected, told, rest = attach(options.data, options.name, options.protocol.number, os.getpid())
        self._connected, self._rest = connected, rest
        with Journal.open(options.data, readonly=True) as journal:
            self._journal_id, capacity = journal.journal_id, capacity_of(journal)
        self.producer = Producer(ring_of(options.data, options.name), self._journal_id, MARKET_ROWS)
        self._tape = TapeReader(tape_of(options.data), self._journal_id, MARKET_ROWS)
        self._folder = gateway_image.folder_of(options.data, options.name)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.outbox: Outbox[Any] = options.protocol.outbox(
            self._folder, capacity, self._journal_id, past_days=options.past_days
        )
        self._images = ImageSchedule(
            *(self._folder, options.data, self.outbox, self._standing, self._on_no_image, self._on_image_fault)
        )
        seq, why = gateway_image.restore(self._folder, options.data, self.outbox)
        if why and (
            seq := gateway_image.begin_behind_archive(self._folder, options.data, self.outbox, int(told["seq"]))
        ):
            log.info("streams made from a checkpoint of the node", why=why, seq=seq)
        elif why:
            log.info("streams made from the journal", why=why)
        self.feed = Feed(options.data, self._journal_id, seq, name=options.name[:NAME_BYTES])
        self._images.begin_behind(seq)
        self._carries = False
        self._first_seq = int(told["seq"])
        self._elsewhere = str(told["elsewhere"])
        self._seen: list[tuple[int, Callable[[], None]]] = []
        self._loop = asyncio.get_running_loop()
        self.link = CoreLink(self)
        self.gateway: Gateway | None = None
        self._silence: CoreSilence | None = None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self._telling: asyncio.Task[None] | None = None  # sessions are told that they end
        self._working = False
        self._spin = AnswerSpin()
        self._way: ShortWay | None = None
        self._alone: AloneClient | None = None
        self._bell = self._tape.release_bell
        self._watch = self._tape.release_watch()
        self._full_since_s = 0.0
        self._ends_with_core = False
        #: Work on what happened, as the report of this process has it.
        self._streams = Measured(Call("streams", self._take_blocks))
        self._more = False
        self._sessions = SessionFacts(self._folder, log)
        self._beats = self._waits = 0  # ``_waits``: times that the ring was full

    # The life of the process.

    async def start(self) -> None:
        """Catch up with the core, and listen for clients. Raises OSError, CoreGone."""
        options = self.options
        while self.feed.seq < self._first_seq:
            seq = self.feed.seq
            self._streams.turn()
            if self.feed.ended:
                raise CoreGone(_NODE_ENDED)
            # A node of a pair may tell nothing yet.
            await asyncio.sleep(0 if self.feed.seq > seq or self._more else _LAG_S)
        entrance = Entrance(options.protocol, self.outbox, options.port)
        gateway = self.gateway = Gateway(
            [entrance],
            take=self._put,
            has_room=self._has_room,
            on_user_disconnect=self._on_user_disconnect,
            on_users_absent=lambda _users: None,  # the core knows who has left without a cancel
            report=self.log.info,
            warn=self.log.warning,
            connections_max=options.connections_max,
            per_address_max=options.connections_per_address_max,
            waiting_per_address_max=options.waiting_per_address_max,
        )
        gateway.on_session_end = partial(self._sessions.note_end, gateway)
        if isinstance(options.protocol, Fix):
            options.protocol.accounts.journaled_ns = self.outbox.streams.signed_ns
            options.protocol.accounts.on_fault = lambda why: self.log.warning("accounts not read again", why=why)
            if self.outbox.streams.has_kernel:
                streams = self.outbox.streams
                self._way = ShortWay(
                    *(gateway.buffer, self.producer, streams.symbols, streams.price_max_e4),
                    *(streams.telling, streams.taking),
                )
                gateway.take_alone = self._take_alone
                self._alone = self._alone_client(self._way, gateway)
        gateway.claims, gateway.alarm = self.link, self.log.error
        gateway.on_failed_login = self.link.failed
        gateway.on_mass_cancel_asked = self.link.mass_cancel
        self._silence = CoreSilence(self._tape.pulse_ns, gateway.attention.present_ns)
        gateway.elsewhere = self._elsewhere
        gateway.limit_rows(min(ROWS_MAX, self.producer.rows // 4))
        await self.link.start(self._connected, self._rest)
        made: Callable[[], asyncio.BaseProtocol] = partial(gateway.connection, entrance)
        if options.tls is not None:
            made = partial(TlsDoor, gateway, entrance, options.tls)
        if options.listening is not None:
            self._server = await self._loop.create_server(made, sock=options.listening, backlog=1_024)
        else:
            self._server = await self._loop.create_server(made, options.host, options.port, backlog=1_024)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._loop.set_exception_handler(self._on_loop_error)
        self._loop.call_later(BEAT_S, self._beat)
        # A thread that loads a kernel disturbs another that runs one, so all are loaded before there are two.
        gateway.load_kernels()
        self.producer.put_packed(bytearray(), bytearray())
        self.producer.must_wake()
        self._bell.arm()
        self._bell.ring()
        give_back()
        self._watch.start()
        self._loop.add_reader(self._watch.fd, self._on_bell)
        self._turn()

    def _alone_client(self, way: ShortWay, gateway: Gateway) -> AloneClient | None:
        """The client with which a kernel stays; None where the event loop has no poll for that."""
        loop_fd = poll_of(self._loop)
        if loop_fd < 0:
            return None
        stays = Stays(way, self.outbox.streams, gateway.buffer, self._tape.release_place, loop_fd)
        return AloneClient(self, stays)

    async def run(self) -> None:
        """Run until the core or the operator ends it. Raises the fault that ended it, if any."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End in order: users have their time to come back, here or elsewhere.

        Where the node ends too, it says so at the same moment, and the sessions are ended then.
        """
        self._loop.call_later(_TOLD_S, self._stop_alone)

    def _stop_alone(self) -> None:
        if not self._ends_with_core:
            self._tell_and_stop(_GATEWAY_ENDS)

    def _tell_and_stop(self, why: str, failure: BaseException | None = None) -> None:
        """End while core and streams are whole: sessions that tell their ends by the journal do so first."""
        if self._stopping or self._telling is not None or self.gateway is None:
            self._stop(why, failure)
            return
        self._failure = failure
        self._telling = self._loop.create_task(self._tell(self.gateway, why, failure))

    async def _tell(self, gateway: Gateway, why: str, failure: BaseException | None) -> None:
        if self._server is not None:
            self._server.close()
        gateway.leave(why)
        deadline_s = time.monotonic() + _LEAVE_S
        while not self._stopping and time.monotonic() < deadline_s:
            if not any(each.row_session is not None and each.live for each in gateway.connections):
                break
            await asyncio.sleep(0.002)
        self._stop(why, failure)

    def _stop(self, why: str, failure: BaseException | None = None) -> None:
        if self._stopping:
            return
        self._stopping, self._failure = True, failure or self._failure
        if self._watch.fd >= 0:
            self._loop.remove_reader(self._watch.fd)
            self._watch.end()
        if self._alone is not None:
            self._alone.close()
            self._alone = None
        self.link.close()  # first: what ends from now on is no disconnect of a user
        self._loop.create_task(self._leave(why))

    async def _leave(self, why: str) -> None:
        """End: each step is done though one before it has failed, since a gateway that does not end keeps its port."""
        for step in (partial(self._end_clients, why), self._save_last_image, self._close_files):
            try:
                await step()
            except Exception as error:  # it ended the step, and the process ends with it
                self._failure = self._failure or error
        self._ended.set()

    async def _end_clients(self, why: str) -> None:
        gateway = self.gateway
        if gateway is None:
            return
        if self._server is not None:
            self._server.close()
        self._sessions.write(gateway)
        for connection in list(gateway.connections):
            connection.close(why)
        deadline_s = time.monotonic() + _LEAVE_S
        while gateway.connections and time.monotonic() < deadline_s:
            await asyncio.sleep(0.005)
        self._sessions.write(gateway)
        gateway.close()

    async def _save_last_image(self) -> None:
        await self._images.save_last()

    async def _close_files(self) -> None:
        try:
            self.outbox.close()
        finally:
            self.feed.close()
            self.producer.close()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and context.get("transport") is not None:
            return  # a connection broke; the gateway is notified by other means
        fault = error if isinstance(error, BaseException) else RuntimeError(str(context.get("message")))
        self.log.error("the gateway stops", why=str(fault))
        self._stop("the gateway stops", fault)

    def _beat(self) -> None:
        if self._stopping or self.gateway is None:
            return
        self._loop.call_later(BEAT_S, self._beat)
        self.gateway.beat()
        if self._alone is not None:
            self._alone.beat()
        self._turn()  # a ring is missed where the core dies in the middle of it
        self._look_at_core(self.gateway)
        self.outbox.flush()
        self._sessions.beat(self.gateway)
        self.link.past(frozenset(each.user for each in self.gateway.connections if each.past and each.user))
        self._refuse_where_full()
        self._beats += 1
        if self._beats % round(_REPORT_S / BEAT_S) == 0:
            self._report_figures(self.gateway)
        self._images.look()

    def _look_at_core(self, gateway: Gateway) -> None:
        """Send clients away while the core is silent: heartbeats would say that the market lives. What they have put
        into the ring is taken if the core goes on, and the streams tell of it."""
        silence = self._silence
        if silence is None or self._ends_with_core or not silence.look(gateway.attention.present_ns):
            return
        gateway.elsewhere = SILENT if silence.lasts else self._elsewhere
        if silence.lasts:
            self.log.warning("the node is silent", then="clients are sent away until it goes on")
            gateway.send_away(SILENT, tells=True)
        else:
            self.log.info("the node goes on", logins=self._elsewhere or "taken")

    def _report_figures(self, gateway: Gateway) -> None:
        """Report to the supervisor, which may be gone, or reading nothing."""
        if self.options.report is None:
            return
        figures = {name: getattr(gateway, name) for name in _FIGURES}
        figures |= {"connections": len(gateway.connections), "logged_in": len(gateway.logged_in)}
        ring = {
            "ring": self.options.name,
            "size_rows": self.producer.rows,
            "waiting_rows": self.producer.untaken_rows(),
            "waits": self._waits,
        }
        orders = {"agent": "orders", "turns": gateway.turns, "worked": gateway.orders, "busy_s": None}
        with suppress(OSError):
            self.options.report.write(figures=figures, rings=[ring], agents=[orders, *agent_values([self._streams])])

    # What happened: from the tape to the streams.

    def _on_bell(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._watch.fd)
        self._wait_for_bell()  # mostly for a block that a look has found: nothing else is behind it

    def _turn(self) -> None:
        if self._stopping or self._working:
            return
        self._working = True
        try:
            self._streams.turn()
        finally:
            self._working = False
        if self._more:
            self._loop.call_soon(self._turn)
        elif self.feed.lags:
            self._loop.call_later(_LAG_S, self._turn)
        else:
            self._loop.call_soon(self._wait_for_bell)  # once the loop has sent the answers
        if self.gateway is not None:
            self.gateway.resume()
        if self._alone is not None:
            self._alone.on_blocks(durable=self._tape.load(_JOURNALED) >= self.feed.seq)

    def _wait_for_bell(self) -> None:
        """Wait for the bell, unless something came before it is armed."""
        if self._stopping:
            return
        self._bell.arm()
        if self._tape.load(_RELEASED) > self.feed.seq:
            self._turn()
        elif not self._bell.is_sure:
            self._loop.call_later(UNSURE_NS / 1e9, self._turn)

    def _take_blocks(self) -> int:
        """Take blocks for a while; gives the number of commands. ``_more`` is True then if there may be more now."""
        seq, until_ns = self.feed.seq, time.monotonic_ns() + _TURN_NS
        self._more = True
        while self._more and time.monotonic_ns() <= until_ns:
            taken = self._take_taped() or self._take_block()
            released = taken and self._tape.load(_RELEASED) > self.feed.seq
            self._more = released or self.feed.replays
        self._call_seen()
        return self.feed.seq - seq

    def _call_seen(self) -> None:
        """Call who waits for commands that the streams have by now."""
        if self._seen:
            due = [then for seq, then in self._seen if seq <= self.feed.seq]
            self._seen = [each for each in self._seen if each[0] > self.feed.seq]
            for then in due:
                then()

    def _take_taped(self) -> bool:
        """Take a block by a kernel of the streams; False where they have none for it, or none is released."""
        reader = self.feed.standing()
        commands = 0 if reader is None else self.outbox.streams.take_taped(reader.tape, self.feed.seq)
        self._note_taken(commands)
        return commands > 0

    def _note_taken(self, commands: int) -> None:
        """Note that a kernel has taken a block of so many commands from the tape; 0: none."""
        if commands:
            self.feed.passed(self.feed.seq + commands, 1)
            self._carries = self.outbox.streams.ends_extended

    def _take_block(self) -> bool:
        """Take a block from tape or journal; False where none is released."""
        rows = self.feed.take()
        if rows is None:
            return False
        self.outbox.observe(rows.first_seq, rows.commands, rows.events)
        self._carries = int(rows.commands["kind"][-1]) == _EXTEND
        return True

    def has_seen(self, seq: int, then: Callable[[], None]) -> None:
        """Call ``then`` once the streams have all up to command ``seq``."""
        if self.feed.seq >= seq:
            then()
        else:
            self._seen.append((seq, then))

    def _standing(self) -> int | None:
        """The last command that the streams have, where there can be an image of it."""
        seq = self.feed.seq
        return seq if not self._carries and self._tape.load(_JOURNALED) >= seq else None

    def _on_no_image(self, why: str) -> None:
        then = "the one before stays, and the next is tried when it is due"
        self.log.warning("no image of the streams was written", why=why, then=then)

    def _on_image_fault(self, error: BaseException) -> None:
        self.log.error("the gateway stops", why=str(error))
        self._tell_and_stop("the gateway stops", error)

    # Commands: to the ring.

    def _has_room(self) -> bool:
        """True if the ring has room for a turn."""
        if self.producer.rows - self.producer.untaken_rows() >= self.producer.rows // 4:
            self._full_since_s = 0.0
            return True
        if not self._full_since_s:
            self._full_since_s = time.monotonic()
            self._waits += 1
        return False

    def _put(self, rows: NDArray[Any], _began_ns: int) -> None:
        """Put the messages of a turn into the ring. Raises TapeError if it is broken."""
        assert self.gateway is not None, "it has read the rows"
        if self._alone is not None:
            self._alone.leave()
        packed = bytearray(rows.tobytes())
        if not self.producer.put_packed(packed, notes_of(packed, self.gateway.received_ns)):
            raise TapeError("the ring to the core has less room than it said; start the gateway again")
        if self.producer.must_wake():
            self.link.wake()
        if self._spin.is_due:
            self._bell.disarm()  # till the look
            self._loop.call_soon(self._wait_a_moment)

    def _take_alone(self, connection: Connection) -> int:
        """Put the messages of a connection into the ring by a kernel, and answer them by another, where the core is as
        quick as a look; gives their number. 0: nothing was taken."""
        session, reader, way = connection.row_session, self.feed.standing(), self._way
        if not isinstance(session, FixSession) or reader is None or way is None or self._stopping or self._working:
            return 0
        if self._alone is not None:
            self._alone.leave()
        streams = self.outbox.streams
        messages = connection.of_session(
            *(session.put, way, connection.begin, connection.end, connection.received_ns, streams),
            *(connection.user, connection.participant),
            otherwise=0,
        )
        if not messages:
            if connection.closing:  # at a fault, before which the kernel may have put them
                self.link.wake()
            return 0
        if self.producer.must_wake():
            self.link.wake()
        if self._spin.is_due:
            self._bell.disarm()  # till the look is over
            pointers = streams.taking_pointers(reader.tape)
            if pointers is None:
                self._loop.call_soon(self._wait_a_moment)
            else:
                self._answer_alone(way, session, connection, pointers)
        elif self._alone is not None:
            self._alone.expect(connection)
        return messages

    def _answer_alone(
        self, way: ShortWay, session: FixSession, connection: Connection, pointers: tuple[Any, ...]
    ) -> None:
        """Answer the client of a connection from the next block, if it comes in a moment."""
        began_ns, seq, streams = time.perf_counter_ns(), self.feed.seq, self.outbox.streams
        self._working = True
        try:
            sent = session.answer(way, pointers, seq, streams.highest_e4, connection.open_fd, SPIN_NS)
            connection.of_session(session.note_answer, sent, otherwise=None)
            connection.note_told(sent.written, sent.rest)
            commands = streams.took_taped(sent.taken, seq)
        finally:
            self._working = False
        self._streams.count(commands, began_ns)
        self._spin.note(found=commands > 0)
        self._note_taken(commands)
        self._call_seen()
        self._loop.call_soon(self._wait_for_bell)  # which arms the bell, and finds what came before that
        if self._alone is not None and sent.taken == OTHER:
            self._alone.expect(connection)
        elif self._alone is not None:
            self._alone.note(connection, answered=sent.written > 0 and not sent.rest)

    def _wait_a_moment(self) -> None:
        """Take what the core makes of a message at once, where it waits for no disk: to sleep until the bell rings
        would take longer."""
        if self._stopping:
            return
        if self._spin.finds(self._tape, self.feed.seq):
            self._turn()
        else:
            self._wait_for_bell()

    # A client alone, with which a kernel stays.

    def pointers_to_stay(self) -> tuple[Any, ...] | None:
        """Pointers with which a kernel takes the next blocks; None: it cannot, or others wait."""
        reader, gateway = self.feed.standing(), self.gateway
        if reader is None or gateway is None or gateway.reads_others():
            return None
        if self._stopping or self._working or self._seen or self._telling is not None:
            return None
        pointers: tuple[Any, ...] | None = self.outbox.streams.taking_pointers(reader.tape)
        return pointers

    def seen(self) -> tuple[FixStreams, int]:
        """The streams, and the last command that they have."""
        return self.outbox.streams, self.feed.seq

    def on_stay(self, connection: Connection, stay: Stay) -> None:
        """Take what a stay has come to: as of messages alone, one after the other."""
        gateway, streams = self.gateway, self.outbox.streams
        assert gateway is not None, "it has connections"
        began_ns, seq = time.perf_counter_ns(), self.feed.seq
        connection.begin, connection.end = connection.region, stay.end
        if stay.came_ns:
            connection.received_ns = stay.came_ns
        if stay.messages:
            gateway.turns += max(stay.blocks, 1)
            gateway.orders += stay.messages
            gateway.bytes_in += stay.bytes_in
            connection.session.heard_ns = gateway.now_ns()
        self._working = True
        try:
            if stay.told:
                connection.note_told(stay.bytes_out, stay.rest)
                streams.told_alone(connection.user, stay.records, stay.told, stay.kind)
                self.feed.passed(stay.seq, stay.blocks)
                self._carries = streams.ends_extended
            if stay.why == TAKEN:
                self._note_taken(streams.took_taped(stay.taken, self.feed.seq))
        finally:
            self._working = False
        self._streams.count(self.feed.seq - seq, began_ns - stay.awake_ns)
        if stay.told or stay.why == MISSED:
            self._spin.note(found=stay.why != MISSED)
        self._call_seen()

    def look_at_tape(self) -> None:
        """Take what was released, and have the doorbell wake the loop for what comes."""
        self._wait_for_bell()

    def wake_core(self) -> None:
        """Wake the core, and wait a moment for what it makes of a message."""
        self.link.wake()
        self._wait_a_moment()

    def read_again(self, connection: Connection) -> None:
        """Have the next turn read what came of a client."""
        assert self.gateway is not None, "it has connections"
        self.gateway.on_bytes(connection)

    def _refuse_where_full(self) -> None:
        """End clients that send while the ring is full, where this gateway refuses then: nothing of what they have sent
        behind their last answer is lost without a word."""
        if self.options.when_full != "refuse" or not self._full_since_s or self.gateway is None:
            return
        if not self._has_room() and time.monotonic() - self._full_since_s >= _FULL_S:
            for connection in self.gateway.waiting():
                connection.close(_RING_FULL)

    def _on_user_disconnect(self, user: int) -> None:
        """Have the core cancel a user's orders; not of one who is sent away, who has its time to come back."""
        if self._telling is None and (self._silence is None or not self._silence.lasts):
            self.link.cancel(user)

    # What the core tells.

    def is_logged_in(self, user: int) -> bool:
        """True if a connection here has the user's login."""
        return self.gateway is not None and user in self.gateway.logged_in

    def on_told(self, told: dict[str, Any]) -> None:
        """Do what the core tells."""
        gateway = self.gateway
        if gateway is None:
            return
        if "displace" in told:
            gateway.displace(int(told["displace"]), str(told["why"]))
        elif "disconnect" in told:
            gateway.disconnect(int(told["disconnect"]), str(told["why"]))
        elif "failed" in told:
            gateway.note_failed_login(str(told["network"]), str(told["failed"]))
        elif "elsewhere" in told:
            self._elsewhere = str(told["elsewhere"])
            if self._silence is None or not self._silence.lasts:
                gateway.elsewhere = self._elsewhere
        elif "away" in told:
            gateway.send_away(str(told["away"]))
        elif "leave" in told:
            gateway.leave(str(told["leave"]))
        elif "refused" in told:
            self.log.error("the node refuses this gateway", why=str(told["refused"]))
            self._stop(str(told["refused"]), CoreGone(str(told["refused"])))
        elif "end" in told:
            self._ends_with_core = True
            self.has_seen(int(told["end"]), self._end_sessions)

    def _end_sessions(self) -> None:
        """End in order, with the core: the streams are complete."""
        if self.gateway is not None:
            self.gateway.open_for_logins = False
            self.gateway.end_sessions()
        self._loop.create_task(self._end_with_core())

    async def _end_with_core(self) -> None:
        deadline_s = time.monotonic() + _LEAVE_S
        while self.gateway is not None and self.gateway.connections and time.monotonic() < deadline_s:
            await asyncio.sleep(0.002)
        self._stop(_NODE_ENDED)

    def on_core_gone(self, why: str) -> None:
        """End without the core: clients are told, and log in elsewhere or later."""
        if self._ends_with_core:  # it said so before
            self._stop(_NODE_ENDED)
            return
        self.log.warning("the gateway ends", why=f"its link to the node has failed: {why}" if why else _NODE_ENDED)
        if why:
            self._stop(_LINK_FAILED, CoreGone(f"the link to the node of {self.options.data} has failed: {why}"))
        else:
            self._stop(_NODE_ENDED, CoreGone(f"the node of {self.options.data} has ended; start it again"))


def serve_gateway(
    options: GatewayOptions, log: Log, *, on_listening: Callable[[GatewayProcess], None] = lambda _: None
) -> None:
    """Run a gateway process until its core, its operator, SIGTERM or SIGINT ends it.

    Raises GatewayRefused, CoreGone, OSError, and the fault that ended it.
    """
    with log.adopted(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_served(options, log, on_listening))


async def _served(options: GatewayOptions, log: Log, on_listening: Callable[[GatewayProcess], None]) -> None:
    process = GatewayProcess(options, log)
    on_end_signal(process.stop)
    await process.start()
    log.info(
        "listening",
        host=options.host,
        port=process.port,
        gateway=options.name,
        protocol=options.protocol.name,
        seq=process.feed.seq,
    )
    on_listening(process)
    try:
        await process.run()
    finally:
        log.info("ended", gateway=options.name, seq=process.feed.seq)
