"""A node: market, gateway, checkpoints and clock on one event loop, from start to end."""

import asyncio
import gc
import math
import ssl
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from engine.engine import Engine
from engine.names import Directory
from engine.records import CommandKind
from gateway.ouch.protocol import OUCH
from gateway.outbox import PAST_DAYS
from gateway.protocol import Entrance, MassCancel, OrderProtocol
from gateway.server import BEAT_S, ROWS_MAX, Gateway
from gateway.tls import TlsDoor, TlsFiles
from journal import Durability, JournalError
from node.core import health, lapse
from node.core.checkpointing import CheckpointSchedule
from node.core.clock_watch import ClockWatch
from node.core.command_entry import CommandEntry, opens_phase
from node.core.control import OperationRefused, PairControl, RefusedForNow, Status, SubmissionResult
from node.core.disconnects import AbsentUsers, DisconnectCancels
from node.core.event_keeper import EventKeeper
from node.core.far_prices import UntoldMessages
from node.core.feed_prices import far_symbols
from node.core.halts_in_journal import newest_first
from node.core.intake import Intake
from node.core.market import Market
from node.core.market_tape import open_shared
from node.core.mass_cancels import MassCancels
from node.core.opening import OpenDirectory
from node.core.rates import Rates
from node.core.roll_policy import RollPolicy
from node.core.scarcity import FULL_ROWS, Scarcity
from node.core.side_records import SideRecords
from node.core.slice_signer import SliceSigner
from node.core.stages import StageClock
from node.core.suspension import Suspension
from node.core.timekeeping import Timekeeping
from node.feeds.fix_data_programs import FixDataOption, FixDataPrograms
from node.feeds.programs import FeedOption, FeedPrograms
from node.gateways.door import GatewayDoor
from node.gateways.programs import GatewayOption, GatewayPrograms
from node.nats.programs import NatsOption, NatsPrograms
from node.operator import account, workings
from node.operator.capacity import CapacityWatch, room_status
from node.operator.defaults import OFF
from node.programs.logs import Log
from node.programs.pinning import CorePin, Pins
from node.programs.process_names import CHECKPOINT, DEATH_WATCH
from node.programs.supervisor import Supervisor
from node.web.programs import WebOption, WebPrograms
from sequencer.clock import AHEAD_MAX_NS
from sequencer.room import RoomWatch
from sequencer.stamp import LiveStamp
from tape.agents import Always, Measured

#: Time for users that cancel on disconnect to log in again after a start, in seconds.
GRACE_S: Final = 10.0
#: Longest wait at the end for a batch to become durable, in seconds.
END_S: Final = 10.0
#: Longest part of it for what only the arbiter or the other node can give, in seconds: more than a standby that has
#: stopped takes to be taken out of the record (``replication.primary.Settings``).
OTHERS_S: Final = 3.0
_LOOK_S: Final = 0.01
#: Time for clients at the end to take the last messages, in seconds.
LEAVE_S: Final = 1.0
#: Interval at which the room for the journal is measured, in seconds.
ROOM_S: Final = 0.5
#: Symbols that a line of the log names at most.
_HALTED_SHOWN: Final = 10
_STOPS: Final = "the node stops"
#: States that the report of a pair has as its own.
_OF_THE_PAIR: Final = frozenset({"standby", "unsure", "diverged"})
#: States after which a phase can be opened, by themselves or once the machine is mended.
_PASSING: Final = frozenset({"stalled", "ending", "draining", "unsure", "disk low", "disk full", "disk gone"})
_NOT_DURABLE: Final = "the commands did not become durable in time; check the disk"


@dataclass(frozen=True)
class NodeOptions:
    """Options of a node, under the names of the options of `lockstep serve`."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 0  # of OUCH
    durability: Durability = "fsync"
    checkpoint_every: int = 4_000_000
    connections_max: int = 1_024
    connections_per_address_max: int | None = None  # None: no bound but connections_max
    waiting_per_address_max: int | None = None  # None: a quarter of connections_max
    arrivals: bool = True
    tls: ssl.SSLContext | None = None  # of order entry
    tls_files: TlsFiles | None = None  # of the same, for gateways in processes of their own
    grace_s: float = GRACE_S
    busy_poll_us: int = 200
    clock_error_max_ns: int | None = None  # None: a clock without synchronization is only reported
    past_days: int = PAST_DAYS
    fix_accounts: Path | None = None  # terms of users of gateways of FIX
    roll_at_bytes: int | None = None  # size of a slice of the journal at which the next one begins; None: any
    keep_events: bool = True  # keep the events of closed slices, in a process of low priority
    attest_key: Path | None = None  # private key that signs closed slices, in a process of low priority
    roll_daily: bool = False  # begin a slice once the market has closed for the day
    clock_ahead_max_ns: int = AHEAD_MAX_NS  # a larger step of the wall clock ahead is refused
    accept_clock: bool = False  # accept a clock at the start that was refused before
    default_order_rate: str = OFF  # of participants that the operator defines, as `limits` takes it
    default_share_bps: int = 0  # of open orders and ids, for each of them; 0: no limit
    warnings: tuple[str, ...] = ()  # warnings from before the start, for `status` and monitors
    tape_bytes: int = 0  # size of the tape for readers in other processes; 0: none is written
    protocols: tuple[tuple[OrderProtocol, int], ...] = ()  # beside OUCH, each with its port
    gateways: tuple[GatewayOption, ...] = ()  # in processes of their own
    feeds: tuple[FeedOption, ...] = ()  # of market data, in processes of their own
    web: WebOption | None = None  # for web clients, in a process of its own
    nats: NatsOption | None = None  # publication through NATS, in a process of its own
    fix_data: FixDataOption | None = None  # for subscribers of market data by FIX, in a process of its own
    dedicated: bool = False  # OUCH in a process of its own too, so that this one has the market alone
    pins: Pins = field(default_factory=dict)  # processors of programs, by name
    follows: bool = False  # begin as a copy of another node: nothing is sequenced before ``Node.reign``


class RoomGone(Exception):
    """The node ended in order, without room for its journal; the message says what to do."""


class Deposed(Exception):
    """The node was primary, and is not any more; the message says why. Start it again as a copy."""


class Node:
    """A running node; ``node.core.control.NodeControl`` is its interface for the operator's side."""

    #: Work of Python beside the compiled turn that comes again and again, from ``start`` on.
    agents: tuple[Measured, ...] = ()
    #: True while new orders are refused by the operator's word, and from the beginning of the end on.
    draining = False
    _ending = False
    #: Reason of an end that was not in order, and of one for want of room.
    _failure: BaseException | None = None
    _no_room: RoomGone | None = None
    _pin: CorePin | None = None
    _orders_before = 0  # a second ago
    _seq_before = -1

    def __init__(self, opened: OpenDirectory, options: NodeOptions, log: Log) -> None:
        """Make the node on a running event loop. The caller closes the journal."""
        self.options = options
        self.stages = StageClock()
        self.journal, self.engine, self.outbox = opened.journal, opened.engine, opened.outbox
        self.projections = opened.projections
        self.log = log
        self.began_s = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self.rates = Rates()
        self._capacity_watch = CapacityWatch(log.warning)
        self._untold = UntoldMessages(self.outbox.streams, log.warning)
        self.ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        #: Port of OUCH, and of each protocol by its name.
        self.port = 0
        self.ports: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []
        #: Programs of the node in processes of their own.
        self.supervisor = Supervisor(log)
        self.gateway_programs = GatewayPrograms(self.supervisor, options)
        # Each part is given those that were made before it.
        self.clock_watch = ClockWatch(
            self.engine,
            options.data,
            log,
            ahead_max_ns=options.clock_ahead_max_ns,
            accept=options.accept_clock,
            error_max_ns=options.clock_error_max_ns,
        )
        self.clock = self.clock_watch.clock
        # A node of a pair does not know what its standby has of the slice: it reigns, or follows, before that is told.
        shared = open_shared(
            options.data,
            self.journal.journal_id,
            seq=self.engine.seq,
            released_seq=self.journal.start_seq if options.follows else self.engine.seq,
            tape_bytes=options.tape_bytes,
            log=log,
        )
        #: Memory for programs beside the node, with lines of local clients; None: there is none.
        self.tape, self.lines = shared.tape, shared.lines
        #: Sentences that hold for the whole life of the node.
        self._lasting = (*options.warnings, *shared.warnings)
        self._records = SideRecords(
            options.data, self.journal, self.outbox.streams.name, log.warning, kept=options.arrivals
        )
        self.market = Market(
            self.journal,
            self.engine,
            self.projections,
            LiveStamp(self.engine.now_ns, self.clock, extended=opened.extended),
            durability=options.durability,
            stages=self.stages,
            tape=self.tape,
            served=self.outbox.name,
            latencies=self._records.latencies,
            alone=not options.follows,
        )
        self.command_entry = CommandEntry(self.market, self.clock_watch, self.outbox.streams, self.engine)
        self.suspension = Suspension(
            self.engine,
            self.command_entry.submit,
            self.clock,
            log.warning,
            options.data,
            partial(newest_first, self.journal),
        )
        self.scarcity = Scarcity(self._room_watch(), self.engine, self.suspension, log.info, log.warning)
        self.checkpointing = CheckpointSchedule(
            self.journal,
            self.engine,
            self.projections,
            options.checkpoint_every,
            market=self.market,
            scarcity=self.scarcity,
            report=log.info,
            warn=log.warning,
        )
        self._event_keeper = EventKeeper(self.journal, self.supervisor, log.info, log.warning)
        self.roll_policy = RollPolicy(
            self.journal, self.engine, self.outbox.streams, options.roll_at_bytes, options.roll_daily
        )
        self.intake = Intake(self.journal, self.market, self.checkpointing, self.scarcity)
        self.gateway = Gateway(
            self._entrances(opened),
            take=self.market.take,
            has_room=self.intake.has_room,
            on_user_disconnect=self._on_user_disconnect,
            on_users_absent=self._on_users_absent,
            report=log.info,
            warn=log.warning,
            connections_max=options.connections_max,
            per_address_max=options.connections_per_address_max,
            waiting_per_address_max=options.waiting_per_address_max,
            busy_poll_ns=options.busy_poll_us * 1_000,
            arrival_log=self._records.arrivals,
        )
        if isinstance(self.engine, Engine):
            tape = None if self.tape is None else self.tape.packed
            self.gateway.serve_directly(self.engine, self.market, self.clock, tape, self.lines)
        if self.lines is not None:
            self.gateway.serve_lines(self.lines)
        self.timekeeping = Timekeeping(
            self.engine,
            self.clock,
            self.clock_watch.jumps,
            has_room=self.intake.has_room,
            take=self.market.take_own,
            tick=self.market.tick,
        )
        self.disconnects = DisconnectCancels(
            self.outbox.streams, self.command_entry.submit, self.scarcity.has_room_for_cancels, log.info
        )
        self.absent_users = AbsentUsers(self.gateway, options.grace_s, self._cancel_all)
        #: Gateway processes; they read the tape.
        self.gateways = None if self.tape is None else self._gateway_door()
        # Parts that call others which were made after them.
        #: Replication of a node of a pair; set before ``start``.
        self.pair: PairControl | None = None
        self.market.on_failure = self._fail
        self.market.on_release = self._on_release
        self.checkpointing.on_begin = self.gateway.resume
        self.checkpointing.on_slice = self._on_slice
        self._loop.set_exception_handler(self._on_loop_error)
        if options.follows:
            self._follow("this node is a copy: another one is primary")

    def _entrances(self, opened: OpenDirectory) -> list[Entrance]:
        """OUCH, and what else the options name, with the streams of each."""
        others: dict[str, Any] = {each.name: each for each in opened.projections}
        ouch = Entrance(OUCH, self.outbox, self.options.port)
        beside = self.options.protocols
        return [ouch, *(Entrance(protocol, others[protocol.outbox_name], port) for protocol, port in beside)]

    @cached_property
    def _slice_signer(self) -> SliceSigner | None:
        """Signer of closed slices; None: there is no key."""
        if self.options.attest_key is None:
            return None
        return SliceSigner(
            self.journal,
            self.supervisor,
            self.options.attest_key,
            self.log.info,
            self.log.warning,
            awaits_events=self.options.keep_events,
        )

    @cached_property
    def mass_cancels(self) -> MassCancels:
        """Mass cancels that users ask for."""
        streams, may_write = self.outbox.streams, self.scarcity.has_room_for_cancels
        return MassCancels(streams, self.command_entry.submit, may_write, self._end_login, self.log.info)

    def _gateway_door(self) -> GatewayDoor:
        return GatewayDoor(
            self.options.data,
            self.journal.journal_id,
            self.gateway,
            self.outbox.streams,
            published_seq=self._published_seq,
            on_user_disconnect=self._on_user_disconnect,
            on_users_absent=self._on_users_absent,
            report=self.log.info,
            warn=self.log.warning,
        )

    def _published_seq(self) -> int:
        return self.market.told_seq

    def _room_watch(self) -> RoomWatch:
        watch = RoomWatch(self.options.data, self.journal.room)
        if watch.complaint:
            self.log.warning("volume too small", why=watch.complaint)
            self._lasting = (*self._lasting, watch.complaint)
        return watch

    @property
    def lost_records(self) -> int:
        """Records of arrivals, latencies and logins that were not written since the start."""
        return self.gateway.lost_arrivals + self._records.lost

    # The life of a node.

    async def start(self) -> None:
        """Listen for clients. Raises OSError."""
        self.gateway.register.watcher = self._records.logins
        self.gateway.on_mass_cancel_asked = self._on_mass_cancel_asked
        self.gateway.alarm = self.log.error
        if self.gateways is not None:
            await self.gateways.start()
        for entrance in self.gateway.entrances:
            if self.options.dedicated and entrance.name == OUCH.name:
                await self.open_gateway(GatewayOption(OUCH.name, OUCH.name, entrance.port))
                self.ports[OUCH.name] = self.gateway_programs.ports[OUCH.name]
            else:
                await self._open(entrance)
        self.port = self.ports[OUCH.name]
        self._pin = CorePin(self.options.pins)
        beat = Measured(Always("beat", self._beat))
        second = Measured(Always("second", self._second))
        timekeeping = Measured(Always("timekeeping", self.timekeeping.look))
        self.agents = (beat, second, timekeeping)
        self._begin(self._every(BEAT_S, beat))
        self._begin(self._every(1.0, second))
        self._begin(self._keep_time(timekeeping))
        if self.reigns:
            self.await_absent()
            self._begin(self._recall_halts())  # before a look at the room, which may halt or restore
        self._begin(self._watch_room())
        gc.collect()
        gc.freeze()  # the present objects stay; a full collection would stop the market

    async def open_gateway(self, option: GatewayOption) -> None:
        """Open the port of a gateway in a process of its own, and start it. Raises OSError."""
        self.gateway_programs.open(option)

    @cached_property
    def feed_programs(self) -> FeedPrograms:
        """Market data feeds of the node."""
        return FeedPrograms(self.supervisor, self.options)

    async def open_feed(self, option: FeedOption, name: str | None) -> None:
        """Open the ports of a market data feed, and start its process. Raises OSError.

        name: of the node in its pair.
        """
        self.command_entry.has_feed = True
        if symbols := far_symbols(self.engine):
            why = "their prices are higher than those of ITCH"
            self.log.warning("instruments are not in the feed", feed=option.name, symbols=symbols, why=why)
        self.feed_programs.open(option, name)

    @cached_property
    def web_programs(self) -> WebPrograms:
        """The process for web clients of the node."""
        return WebPrograms(self.supervisor, self.options)

    async def open_web(self, option: WebOption) -> None:
        """Open the port for web clients, and start their process. Raises OSError."""
        native = [each.name for each in self.options.gateways if each.protocol == "native"]
        at = f"{self.options.host}:{self.gateway_programs.ports[native[0]]}" if native else ""
        self.web_programs.open(option, at)

    @cached_property
    def nats_programs(self) -> NatsPrograms:
        """The process that publishes the market through NATS."""
        return NatsPrograms(self.supervisor, self.options)

    async def open_nats(self, option: NatsOption, name: str | None) -> None:
        """Open the port for readers of what is published, and start the process. Raises OSError.

        name: of the node in its pair.
        """
        self.command_entry.has_feed = True
        self.nats_programs.open(option, name)

    @cached_property
    def fix_data_programs(self) -> FixDataPrograms:
        """The process of market data by FIX of the node."""
        return FixDataPrograms(self.supervisor, self.options)

    async def open_fix_data(self, option: FixDataOption) -> None:
        """Open the port for subscribers of market data by FIX, and start their process. Raises OSError."""
        self.fix_data_programs.open(option)

    async def _open(self, entrance: Entrance) -> None:
        """Listen for the clients of an entrance. Raises OSError."""
        tls, gateway = self.options.tls, self.gateway
        made = partial(gateway.connection, entrance) if tls is None else partial(TlsDoor, gateway, entrance, tls)
        server = await self._loop.create_server(made, self.options.host, entrance.port, backlog=1_024)
        self._servers.append(server)
        self.ports[entrance.name] = int(server.sockets[0].getsockname()[1])

    def _beat(self) -> None:
        self.gateway.beat()
        if self.tape is not None:
            age_ns = 0 if self.pair is None else int(self.pair.age_s * 1e9)
            self.tape.beat(time.monotonic_ns() - age_ns)
        self._records.flush()
        self._untold.look()
        if self.gateways is not None:
            self.gateways.beat()
        if self.tape is not None:
            self.tape.pulse(time.monotonic_ns())  # last: gateways have been told by now what the core has become

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self.gateway_programs.close()

    def await_absent(self) -> None:
        """Give users that cancel on disconnect ``grace_s`` to log in; then their open orders are canceled."""
        self._begin(self._cancel_all_absent())

    # A node of a pair.

    @property
    def ending(self) -> bool:
        """True once the node ends by its operator's word."""
        return self._ending

    @property
    def reigns(self) -> bool:
        """True if this node sequences; False while it is a copy."""
        return self.intake.reigns

    def _follow(self, why: str) -> None:
        self.intake.reigns = False
        self.scarcity.follows = True
        self.gateway.elsewhere = self.command_entry.elsewhere = why

    def follow_primary(self, primary: str, clients: str) -> None:
        """Name the primary to whoever sends a command or a login here. ``clients``: its order entry; "": unknown."""
        at = f", whose order entry is at {clients}" if clients else ""
        self._follow(f"this node is a copy of {primary}{at}; send it to {primary}")

    def reign(self) -> None:
        """Become primary, after the last block that was followed: take logins and commands, and keep time.

        Users that cancel on disconnect have ``grace_s`` to log in here.
        """
        self.clock.go_on(self.engine.now_ns)
        self.clock_watch.jumps.clear()
        self.intake.reigns = True
        self.scarcity.follows = False
        self.gateway.elsewhere = self.command_entry.elsewhere = ""
        self.gateway.epoch = self.journal.epoch
        self.await_absent()
        self._begin(self._recall_halts())

    async def _recall_halts(self) -> None:
        """Find the instruments that a primary has halted for itself, which the next look at the room may restore; those
        that others have halted are told at the beginning of a reign.
        """
        try:
            await self.suspension.recall()
        except OperationRefused as refused:
            self.log.warning("phases are not restored yet", why=str(refused))
        if self.pair is not None and (halted := self.suspension.left_halted()):
            self.log.warning(
                "instruments are halted without an end",
                symbols=", ".join(halted[:_HALTED_SHOWN]) + (" and more" if len(halted) > _HALTED_SHOWN else ""),
                then="`lockstep admin resume` ends a halt",
            )

    def depose(self, why: str) -> None:
        """End at once, without another word to clients: another node is primary, or may be."""
        if self._failure is None:
            self._failure = Deposed(why)
            # A primary that hands over takes nothing any more, and is no copy yet.
            self.log.warning("this copy starts again" if self.scarcity.follows else "the reign has ended", why=why)
            self.gateway.send_away("another node is primary")
            self._stop()

    async def run(self) -> None:
        """Run until the node has ended. Raises the fault that ended it, if any."""
        await self.ended.wait()
        if self._failure is not None or self._no_room is not None:
            raise self._failure or self._no_room or RuntimeError

    async def drain(self) -> None:
        """Refuse logins and halt the market: new orders are rejected, cancels work. May be repeated.

        The halt lasts until the node has ended; then the phases are restored. Raises OperationRefused.
        """
        if not self.reigns:
            raise OperationRefused(f"nothing is drained: {self.command_entry.elsewhere}")
        if not self.draining:
            self.draining = self.scarcity.draining = True
            self.gateway.open_for_logins = False
            self._close_servers()
            self.log.info("draining")
        await self._within_end(self.suspension.halt())
        await self._settled()

    async def shutdown(self) -> None:
        """Begin an orderly end and return. May be repeated."""
        if not self._ending:
            self._ending = True
            self._begin(self._end())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a task beside the market; an exception in it ends the node."""
        task = self._loop.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.remove(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _end(self) -> None:
        if not self.reigns:
            await self._end_of_copy()
            return
        if self.pair is not None:
            await self._take_leave()  # behind a handover nothing of it is journaled here
            if await self.pair.leave():
                return
        try:
            if self.pair is not None and (unsure := self.pair.unsure()):
                raise OperationRefused(unsure)
            await self.drain()
            await self._cancel_at_end()
            await self._take_leave()
            self.intake.open = False
            await self._settled()
        except OperationRefused as refused:
            if self._awaits() == _NOT_DURABLE:
                raise
            # No wait helps: a later primary has the commands, or clients send them again.
            self.log.warning("the node ends with commands that are not answered", why=str(refused))
            self._stop()
            return
        self.gateway.end_sessions()
        if self.gateways is not None:
            self.gateways.end_sessions()
        # Those that serve clients have all that these may be told.
        await self.supervisor.stop()
        deadline_s = time.monotonic() + LEAVE_S
        try:
            if self.scarcity.state == "fine":
                await self._within_end(self.suspension.put_back())
        except OperationRefused as refused:
            self.log.warning("phases are restored by the next primary", why=str(refused))
        try:
            await self._unless_in_vain(self.checkpoint(), math.inf)
        except OperationRefused as refused:
            self.log.warning("no checkpoint at the end", why=str(refused))
        while (self.gateway.connections or self.gateways) and time.monotonic() < deadline_s:
            await asyncio.sleep(0.002)  # they take the last messages, and disconnect
        self._stop()

    async def _end_of_copy(self) -> None:
        """End a node that follows: nothing is sequenced, so its journal stays that of the primary."""
        if self.pair is not None:
            self.pair.close()  # first: a primary that ends meanwhile would hand its reign to a node that is ending too
        await self.supervisor.stop()
        try:
            await self.checkpoint()
        except OperationRefused as refused:
            self.log.warning("no checkpoint at the end", why=str(refused))
        self._stop()

    def _stop(self) -> None:
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        self.command_entry.closed = True
        self.market.leave()
        self.checkpointing.give_up()
        self.supervisor.close()
        self.feed_programs.close()
        self.web_programs.close()
        self.nats_programs.close()
        self.fix_data_programs.close()
        if self._pin is not None:
            self._pin.close()
        self.gateway.close()
        self.lines = None  # closed with it, and reports are asked for behind it
        if self._records.latencies is not None:
            self._records.latencies.close()
        if self.gateways is not None:
            self.gateways.close()
        if self._records.logins is not None:
            self._records.logins.close()  # behind the gateways, whose logins end
        self._close_servers()
        try:
            self.projections.close()
        except OSError as error:
            self._failure = self._failure or error
        self.ended.set()

    async def _within_end(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for work of the end, ``END_S`` at most. Raises OperationRefused."""
        await self._unless_in_vain(work, END_S)

    async def _unless_in_vain(self, work: Coroutine[Any, Any, object], seconds: float) -> None:
        """Wait for work of the end, so long at most, and no longer than ``OTHERS_S`` for others alone: an arbiter that
        answers no more, or a standby that is gone and that the record still names. Raises OperationRefused.
        """
        task = self._loop.create_task(work)
        task.add_done_callback(_hear_out)
        began_s = own_s = time.monotonic()  # since then others have held up the last commands
        try:
            while not task.done():
                now_s = time.monotonic()
                own_s = own_s if self._others_hold() else now_s
                in_vain = own_s < now_s and self.pair is not None and bool(self.pair.lapsed())
                if in_vain or now_s - own_s > OTHERS_S or now_s - began_s > seconds:
                    raise OperationRefused(self._awaits())
                await asyncio.wait((task,), timeout=_LOOK_S)
            await task
        finally:
            task.cancel()

    def _others_hold(self) -> bool:
        """True while the last commands wait for the arbiter, or for another node."""
        if self.pair is None or self.market.published_seq >= self.engine.seq:
            return False
        return bool(self.pair.unsure() or self.pair.waits_for())

    def _awaits(self) -> str:
        """Sentence on what the last commands wait for."""
        if self.pair is not None and (unsure := self.pair.unsure()):
            return unsure
        if self.pair is not None and (name := self.pair.waits_for()):
            return f"{name} has not acknowledged the last commands in time; check {name}"
        return _NOT_DURABLE

    async def _settled(self) -> None:
        """Wait until all commands taken so far are published; under load more follow. Raises OperationRefused."""
        await self._within_end(self._published())

    def fail(self, error: BaseException) -> None:
        """End the node for a fault that a part of it found."""
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End the node for a fault of the machine or a defect: nothing is answered any more."""
        if self._failure is None:
            self._failure = error
            self.log.error("the node stops", why=str(error))
            self.gateway.send_away(_STOPS)
            self._stop()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and context.get("transport") is not None:
            return  # a connection broke; the gateway is notified by other means
        self._fail(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    # Time.

    async def _every(self, seconds: float, agent: Measured) -> None:
        while True:
            await asyncio.sleep(seconds)
            agent.turn()

    async def _keep_time(self, agent: Measured) -> None:
        while True:
            await asyncio.sleep(self.timekeeping.pause_s())
            agent.turn()

    def _second(self) -> None:
        if self._pin is not None:
            self._pin.look()
        self.supervisor.look()
        self.stages.roll()
        self.rates.roll(time.monotonic(), {**account.counts(self), "orders": self.gateway.orders})
        # A busy node writes the users' streams bit by bit between its turns: all at once would hold up the orders.
        if self.gateway.orders == self._orders_before:
            self.projections.flush()
        self._orders_before = self.gateway.orders
        self.clock_watch.read_discipline()
        self.clock_watch.look()
        if self.reigns and self.roll_policy.is_due() and self.scarcity.state == "fine" and not self._ending:
            self.checkpointing.want_slice()
        if self.options.keep_events and self.scarcity.state == "fine":
            self._event_keeper.look()
        if self._slice_signer is not None and self.scarcity.state == "fine":
            self._slice_signer.look()
        self.checkpointing.look()
        if self.engine.seq != self._seq_before:  # nothing takes room but commands
            self._capacity_watch.look(room_status(self.engine, sum(1 for _ in self.outbox.streams.users())))
        self._seq_before = self.engine.seq
        try:
            self.journal.check_place()
        except JournalError as error:
            self._fail(error)

    async def _watch_room(self) -> None:
        while self.intake.open:
            await self.scarcity.look()
            state = self.scarcity.state
            self.gateway.limit_rows(FULL_ROWS if state in ("full", "gone") else ROWS_MAX)
            if state != "fine":
                self.checkpointing.drop(self.scarcity.sentence)
            if state == "gone" and not self._ending:
                self._no_room = RoomGone(self.scarcity.sentence)
                self.log.error("the node ends", why=str(self._no_room))
                await self.shutdown()
            await asyncio.sleep(ROOM_S)

    def _on_slice(self) -> None:
        if self.pair is not None:
            self.pair.on_slice()

    def _on_release(self) -> None:
        if self.pair is not None:
            self.pair.on_progress()
        if self.checkpointing.wanted:
            self.checkpointing.look()
        self.gateway.resume()

    # Users that cancel on disconnect.

    def _on_users_absent(self, users: list[int]) -> None:
        self._begin(self.absent_users.wait(users))

    def _on_user_disconnect(self, user: int) -> None:
        if self.intake.open and self._failure is None and not self.gateway.elsewhere:
            self._begin(self._cancel_all([user]))

    def _on_mass_cancel_asked(self, user: int, asked: MassCancel) -> None:
        if self.intake.open and self._failure is None and not self.gateway.elsewhere and self.mass_cancels.admit(user):
            self._begin(self.mass_cancels.cancel(user, asked))

    async def _take_leave(self) -> None:
        """Have clients of FIX told by a Logout, whose number comes from the journal, while the journal takes commands;
        for a short time: who does not take it is told nothing."""
        if self.gateways is None or not self.gateways.leave(_STOPS):
            return
        deadline_s = time.monotonic() + LEAVE_S
        while self.gateways.fix_users() and self._failure is None and time.monotonic() < deadline_s:
            await asyncio.sleep(0.002)

    async def _cancel_at_end(self) -> None:
        """Cancel the orders of users that cancel on disconnect, connected or not, while messages still reach them."""
        try:
            await self._within_end(self.disconnects.cancel(self.disconnects.users()))
        except OperationRefused as refused:
            self.log.warning("orders of users that cancel on disconnect are left to the next start", why=str(refused))

    async def _cancel_all_absent(self) -> None:
        """Cancel the orders of all users that cancel on disconnect and do not log in again in time."""
        await self._published()  # the streams have all orders then
        if absent := self.disconnects.users():
            await self.absent_users.wait(absent)

    async def _cancel_all(self, users: list[int]) -> None:
        """Cancel the open orders of users that have disconnected, by commands (rulebook section 9).

        Their last messages may still be on the way to the disk, so wait for these first, however slow the disk is. A
        user that has logged in again meanwhile loses the orders all the same: otherwise a client could not know which
        are left.
        """
        await self._published()
        try:
            await self.disconnects.cancel(users)
        except OperationRefused as refused:
            for user in users:
                name = self.outbox.streams.name(user)
                self.log.error("orders not canceled on disconnect", user=name, why=str(refused))

    async def _published(self) -> None:
        """Wait until all commands taken so far are published, however slow the disk is, or the node has failed."""
        seq = self.engine.seq
        while self.market.published_seq < seq and self._failure is None:
            await asyncio.sleep(0.002)

    # The operator's side (``NodeControl``).

    async def submit(self, rows: NDArray[Any]) -> SubmissionResult:
        """Submit COMMAND rows to sequencer, journal and engine; done when they are durable. Raises OperationRefused."""
        if self.pair is not None:
            lapse.check(self.pair)
        state, why = self.standing()
        if state != "open" and opens_phase(rows):
            raise (RefusedForNow if state in _PASSING else OperationRefused)(f"nothing is opened: {why}")
        self.suspension.commanded(rows)
        return await self.command_entry.submit(rows)

    def directory(self) -> Directory:
        """Symbols and participants defined so far."""
        return self.engine.directory

    def market_time_ns(self) -> int:
        """Market time now, in ns since 1970."""
        return max(self.clock_watch.market_time_ns(), self.engine.now_ns)

    def has_user(self, user: str) -> bool:
        """True if a USER row has defined the user."""
        return self.outbox.streams.user(user) != 0

    def definition(self, kind: CommandKind, name: str) -> str:
        """Values of the definition of an instrument, a participant or a user; "" for an unknown name."""
        return account.definition(self, kind, name)

    def unhealthy(self) -> list[str]:
        """Faults that only a restart ends."""
        if self._failure is not None:
            return [str(self._failure)]
        # A restart of a primary does not end a wait for the other node.
        return health.stopped(self.market.durable_lag_s if self.pair is None else self.pair.disk_lag_s)

    @property
    def durable_lag_s(self) -> float:
        """Age of the oldest command that is not durable as the release policy asks, in seconds; 0 where all are."""
        return max(self.market.durable_lag_s, self.pair.disk_lag_s if self.pair is not None else 0.0)

    def unready(self) -> list[str]:
        """Reasons why the node takes no new orders now, or answers none; the first is that of ``standing``."""
        return [why for _, why in self._standings()]

    def warnings(self) -> list[str]:
        """Warnings for the operator while orders are taken and answered."""
        diverged = self.pair.divergences if self.pair is not None and self.reigns else []
        alone = self.pair.warnings() if self.pair is not None and self.reigns else []
        return [*diverged, *alone, *self.supervisor.warnings(), *self.clock_watch.warnings(), *self._lasting]

    @property
    def policy(self) -> str:
        """Release policy: what an answer waits for."""
        return self.options.durability if self.pair is None else self.pair.policy

    def standing(self) -> tuple[str, str]:
        """State of the node in a word or two, and its reason: ("open", "") if it takes and answers orders."""
        return next(self._standings(), ("open", ""))

    def _standings(self) -> Iterator[tuple[str, str]]:
        """States for which the node takes no new orders or answers none, the gravest first, with their reasons."""
        if unhealthy := self.unhealthy():
            yield "stopped", unhealthy[0]
        elif late := health.late(self.durable_lag_s, self.pair.waits_for() if self.pair is not None else ""):
            yield "stalled", late[0]
        if self._ending:
            yield "ending", "the node is ending: sessions are ended, then it stops"
        elif self.draining:
            yield (
                "draining",
                "the node is draining: new orders are rejected as in a halt and cancels work, until it is shut "
                "down; it restores the phases when it ends; if it is killed, the next primary does",
            )
        if not self.reigns and self.pair is not None and self.pair.divergences:
            yield "diverged", self.pair.divergences[0]
        if not self.reigns:
            yield "standby", self.command_entry.elsewhere
        elif self.pair is not None and (unsure := self.pair.unsure()):
            yield "unsure", unsure
        if self.scarcity.state != "fine":
            yield f"disk {self.scarcity.state}", self.scarcity.sentence
        complaint = self.clock_watch.complaint()
        if complaint is not None:
            yield "clock", complaint

    def accept_clock(self) -> None:
        """Accept the time of a refused wall clock. Raises OperationRefused if none was refused."""
        self.clock_watch.accept()

    def children(self) -> dict[str, int]:
        """Numbers of the processes that have another owner than the supervisor, by name."""
        watch = 0 if self.pair is None else self.pair.watch_pid
        found = {DEATH_WATCH: watch, CHECKPOINT: self.checkpointing.child_pid}
        supervised = {each.program.name for each in self.supervisor}
        links = {} if self.gateways is None else self.gateways.links
        found |= {name: each.pid for name, each in links.items() if name not in supervised}
        return {name: pid for name, pid in found.items() if pid}

    def workings(self) -> dict[str, Any]:
        """Report of what works in the node."""
        return workings.workings(self)

    def sessions(self) -> list[dict[str, int | str]]:
        """Connections of clients, one object each."""
        return account.sessions(self)

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        """Ladder of one instrument. Raises OperationRefused for an unknown symbol."""
        return account.book(self, symbol, depth)

    def schedules(self, first: int, most: int) -> list[dict[str, Any]]:
        """Phases to come by schedules."""
        return account.schedules(self, first, most)

    def account(self, participant: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Open orders, positions and limits of a participant. Raises OperationRefused for an unknown one."""
        return account.account(self, participant)

    async def checkpoint(self) -> dict[str, Any]:
        """Write a checkpoint; done when it is on the disk."""
        if self.scarcity.state != "fine":
            raise RefusedForNow(f"no checkpoint is written now: {self.scarcity.sentence}")
        return await self.checkpointing.take()

    async def roll(self) -> dict[str, Any]:
        """Begin a new slice of the journal; done when the image that it starts from is on the disk."""
        if not self.reigns:
            raise OperationRefused(f"no new slice is begun: {self.command_entry.elsewhere}")
        if self.scarcity.state != "fine":
            raise RefusedForNow(f"no new slice is begun now: {self.scarcity.sentence}")
        return await self.checkpointing.roll()

    def pair_status(self) -> dict[str, Any]:
        """Report of the pair by this node; of a node that is not of a pair: role ``single``."""
        report = account.single(self) if self.pair is None else self.pair.status()
        own = [] if self.pair is None else [why for word, why in self._standings() if word not in _OF_THE_PAIR]
        warnings = [*own, *self.supervisor.warnings(), *self.clock_watch.warnings(), *self._lasting]
        return report | {"warnings": warnings, "processes": workings.process_states(self)}

    async def survey_promotion(self) -> dict[str, Any]:
        """Consequences of a promotion of this copy. Raises OperationRefused."""
        return await self._of_pair().survey_promotion()

    async def promote(self, reason: str) -> dict[str, Any]:
        """Make this copy primary by the operator's word. Raises OperationRefused."""
        return await self._of_pair().promote(reason)

    async def switch_over(self) -> str:
        """Hand the reign to the standby; gives its name. Raises OperationRefused."""
        return await self._of_pair().switch_over()

    def _of_pair(self) -> PairControl:
        if self.pair is None:
            raise OperationRefused("this node is not of a pair; start it with --arbiter")
        return self.pair

    def disconnect(self, user: str, why: str) -> bool:
        """End the connection of a user; False if there is none."""
        number = self.outbox.streams.user(user)
        return bool(number) and self._end_login(number, why)

    def _end_login(self, user: int, why: str) -> bool:
        elsewhere = self.gateways is not None and self.gateways.disconnect(user, why)
        return self.gateway.disconnect(user, why) or elsewhere

    def status(self) -> Status:
        """Report of the node: values by ``node.core.control.STATUS_KEYS``."""
        return account.status(self)


def _hear_out(task: "asyncio.Task[object]") -> None:
    """Take the outcome of a task for which nobody may wait any more: the loop reports one that nobody took."""
    if not task.cancelled():
        task.exception()
