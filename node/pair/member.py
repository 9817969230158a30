"""A node of a pair: primary or copy, as the arbiter decides, around the pure cores of ``replication``.

One event loop calls everything here. While another node is primary, its blocks come over a connection, are journaled
and applied, and acknowledged. Once the arbiter gives this node the reign, it sequences, and its blocks go out to the
copies that connect. The end of a reign ends the node (``Node.depose``); the program then starts it again as a copy.
"""

import asyncio
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from directory.divergence import directory_id
from directory.incomplete import clear_incomplete, why_incomplete
from engine.engine import compile_kernels as engine_kernels
from gateway.ouch.kernels import compile_kernels as gateway_kernels
from journal import JournalError
from node.core.control import OperationRefused
from node.core.lapse import Lapse
from node.pair import promotion, switchover
from node.pair import status as pair_status
from node.pair.arbiter_notices import ArbiterNotices
from node.pair.connections import FromCopy, ToPrimary
from node.pair.copy_age import CopyAge
from node.pair.copy_blocks import CopyBlocks
from node.pair.copy_notices import CopyNotices, Notice
from node.pair.disks import PairDisks
from node.pair.history_process import HistoryProcess
from node.pair.live_fetch import LIVE_MAX, LiveFetch, Outcome
from node.pair.orderly_end import EndMark
from node.pair.outcomes import TailApart, TooFarBehind
from node.pair.plan import PairOptions
from node.pair.recent_blocks import RecentBlocks
from node.pair.rows_ahead import RowsAhead
from node.pair.standby_line import PairLine
from node.pair.state_comparison import StateComparison
from replication.arbiter import Arbiter, ArbiterError, Reign, Request, Standing, Won
from replication.candidacy import Candidacy
from replication.copy_connection import Copy
from replication.death_watch import DeathWatch
from replication.history import Peer
from replication.identity import identity_of
from replication.lease import lease_clock_ns
from replication.link import Position
from replication.primary import Primary
from replication.standby import Settings as CopySettings
from replication.standby import Standby
from replication.tenure import Tenure
from sequencer.reign import begin_reign

if TYPE_CHECKING:
    from node.node import Node

#: Interval of looks at time: beats, requests to the arbiter, lost connections.
TICK_S: Final = 0.005
#: Least time between two starts of the watch beside this process.
WATCH_AGAIN_NS: Final = 10_000_000_000
#: Wait before the next attempt to connect to the primary, the longest attempt, and the wait after a refusal.
RECONNECT_S: Final = 0.05
CONNECT_S: Final = 1.0
REFUSED_S: Final = 0.5
#: Longest wait for the own disk before a reign that was won: longer, and another node had better take over.
DISK_S: Final = 0.5


class Pair:
    """Replication of one node: ``primary`` while it reigns, ``standby`` while it follows.

    ``start`` opens the link; the node calls ``on_progress`` when something became durable, and ``close`` at its end.
    ``outcome``: why the node must be opened again, if it must: an exception of ``node.pair.outcomes``.
    """

    def __init__(self, node: "Node", options: PairOptions, arbiter: Arbiter, watch: DeathWatch | None = None) -> None:
        self.options = options
        self._watch = watch
        self._watch_next_ns = 0
        self._node, self._arbiter, self._log = node, arbiter, node.log
        self._loop = asyncio.get_running_loop()
        self._recent = RecentBlocks(node.journal, options.settings.backlog_bytes)
        self.identity = identity_of(node.journal, node.engine.capacity, options.candidate.name)
        self.states = StateComparison(node, options.candidate.name)
        self._end_mark = EndMark(node.options.data, node.journal, self._recent, self._log)
        directory = directory_id(node.options.data)
        self.primary: Primary | None = None
        self.tenure: Tenure | None = None
        self._notices: CopyNotices | None = None
        self._arbiter_notices = ArbiterNotices()
        self.standby = Standby(
            self.identity,
            "follower" if options.follower else "standby",
            options.secret,
            CopySettings(silence_ns=options.settings.silence_ns),
            epoch=node.journal.epoch,
            seq=node.journal.last_seq,
            event_digest=node.engine.event_digest,
            memory_kept=self._end_mark.is_set,
            directory=directory,
            incomplete=why_incomplete(node.options.data),
        )
        self._marked_incomplete = bool(self.standby.incomplete)
        self.states.follow(self.standby)
        self.standby.on_journaled(node.journal.durable_seq)
        self.candidacy = Candidacy(
            options.candidate._replace(directory=directory.hex()),
            self._fitness,
            ttl_ns=arbiter.ttl_ns,
            expected_min=node.journal.epoch,
        )
        self._lapse = Lapse(node.gateway, node.await_absent)
        self.outcome: Exception | None = None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._history: HistoryProcess | None = None
        self._primary_host = ""
        self._to_primary: ToPrimary | None = None
        self._from_copies: dict[Copy, FromCopy] = {}
        self._blocks = CopyBlocks(
            node,
            self.standby,
            self.states,
            self._recent,
            connection=lambda: self._to_primary,
            on_turn=self._on_turn,
        )
        self._rows_ahead = RowsAhead(
            node,
            self.standby,
            connection=lambda: self._to_primary,
            on_bytes=self.on_bytes,
            has_work=lambda: self._blocks.has_work,
        )
        self._rows_taken = 0
        self._busy_poll_ns = node.options.busy_poll_us * 1_000
        self._busy_until_ns = 0
        self._polling = False
        self._connecting = False
        self._fetch: LiveFetch | None = None
        #: The primary has taken this connection, or the last one.
        self._followed = False
        self._next_attempt_s = 0.0
        self._asking: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = self.handed_over = False
        self._disks = PairDisks(node.journal, self._log)
        self._said = ""
        age_ns = time.time_ns() - node.engine.now_ns if node.engine.now_ns else 0
        self._began_ns = lease_clock_ns()
        self._age = CopyAge(self._began_ns, age_ns)
        #: The arbiter's record as last read; None: not yet.
        self._reign_read: Reign | None = None
        #: The other node was asked once, or cannot be reached.
        self._peer_tried = options.peer is None

    def status(self) -> dict[str, Any]:
        """Report of the pair by this node: values by ``node.core.control.PAIR_KEYS``."""
        primary, tenure, standby, node = self.primary, self.tenure, self.standby, self._node
        reign = tenure.reign if tenure is not None else self._reign_read
        report = {
            "node": self.identity.name,
            "epoch": node.journal.epoch,
            "policy": self.options.settings.policy,
            "seq": node.engine.seq,
            "event_digest": node.engine.event_digest.hex(),
            "speed_bump_ns": node.engine.speed_bump_ns,
            "divergences": self.divergences,
            **pair_status.of_reign(reign, standby.primary),
        }
        if primary is not None and tenure is not None:
            released_seq = self.released_seq()
            return report | pair_status.of_primary(
                primary, tenure, seq=node.engine.seq, released_seq=released_seq, unsure=self.unsure()
            )
        return report | pair_status.of_copy(
            standby,
            self.candidacy,
            self._age,
            why_not=self._fitness(reign),
            said=self._said,
            began_ns=self._began_ns,
            now_ns=lease_clock_ns(),
        )

    @property
    def divergences(self) -> list[str]:
        """Sentences on this node, or on its copies, where they have diverged."""
        if self.primary is not None:
            own = self.identity.name
            return [each.sentence(own, name) for name, each in sorted(self.primary.divergences.items())]
        return [self.standby.why] if self.standby.divergence is not None else []

    @property
    def watch_pid(self) -> int:
        """Number of the process that ends the lease when this one is dead; 0: there is none."""
        return self._watch.pid if self._watch is not None and self._watch.is_alive else 0

    @property
    def policy(self) -> str:
        """Release policy: what an answer waits for."""
        return self.options.settings.policy

    def warnings(self) -> list[str]:
        """Sentences of a primary for the operator while no node could take over."""
        return self._notices.warnings() if self._notices is not None else []

    def unsure(self) -> str:
        """Reason for which this primary may not answer now, "" if it may or is a copy."""
        tenure = self.tenure
        if tenure is None or tenure.holds(lease_clock_ns()):
            return ""
        why = tenure.failure or tenure.why or "no answer came yet"
        return f"the arbiter does not confirm that this node is primary, so nothing is answered: {why}"

    def lapsed(self) -> str:
        """Reason for which nothing is taken: the lease was not confirmed for a while; "" if it is, or on a copy."""
        return self.unsure() if self._lapse.is_long else ""

    @property
    def age_s(self) -> float:
        """Time since this node certainly knew all of the market, in seconds."""
        return self._age.seconds(lease_clock_ns())

    @property
    def disk_lag_s(self) -> float:
        """Time for which this node's journal has stood still on the disk while there was more to write, in seconds."""
        return self._disks.own_still_ns / 1e9

    def waits_for(self) -> str:
        """Name of the node whose acknowledgement answers wait for now; "" if they wait for none."""
        return " and ".join(self.primary.waits_for()) if self.primary is not None and not self.unsure() else ""

    # The life of a pair.

    async def start(self) -> None:
        """Listen for copies, and begin to look for the primary. Raises OSError.

        All kernels are loaded first: a lease must not end while the first command waits for them.
        """
        engine_kernels()
        gateway_kernels()
        options = self.options
        self._server = await self._loop.create_server(lambda: FromCopy(self), options.host, options.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.candidacy.candidate = self.candidacy.candidate._replace(
            address=f"{options.host}:{self.port}", clients=f"{options.clients_host}:{self._node.port}"
        )
        self._tick()

    def close(self) -> None:
        """End all connections, and give up the reign. May be repeated."""
        if self._closed:
            return
        self._blocks.apply(whole=True)
        self._closed = True
        self.states.close()
        if self._ticker is not None:
            self._ticker.cancel()
        if self._server is not None:
            self._server.close()
        self._rows_ahead.close()
        if self._to_primary is not None:
            self._to_primary.close()
        for each in list(self._from_copies.values()):
            each.close()
        for task in list(self._asking):
            task.cancel()
        if self._history is not None:
            self._history.close()
        self._stop_fetch()
        if self._watch is not None:
            self._watch.close()

    async def note_end(self) -> None:
        """Note in the directory that this node has ended in order, if it lacks nothing that it has acknowledged.

        Call it after ``close``, once nothing is sequenced here any more.
        """
        if self._end_mark.is_set or self.standby.divergence is not None or self.standby.ahead:
            return  # rows that are in no block are in this memory alone
        if self.primary is not None or self.standby.memory_kept:
            await self._end_mark.write(self.standby.epoch)
        elif self.standby.synced_epoch:
            await self._end_mark.write(self.standby.synced_epoch)  # in sync, and the record was not read since

    async def close_arbiter(self) -> None:
        """End the connection to the arbiter; call it last."""
        await self._arbiter.close()

    async def release_reign(self, successor: str = "") -> None:
        """Give the reign up at the arbiter, so that a standby takes over at once. Nothing is answered after it."""
        if self.tenure is not None and not self.tenure.why:
            request = self.tenure.release(successor)
            with suppress(ArbiterError):
                await self._arbiter.ask(request)

    def part(self) -> None:
        """End the connections of the copies, which then look for the next primary at once."""
        for connection in list(self._from_copies.values()):
            connection.close()

    async def leave(self) -> bool:
        """Leave in order: hand the reign to a standby that is in sync; False if there is none, or it is not ready."""
        if not switchover.has_standby_in_sync(self.primary):
            return False
        try:
            await self.switch_over()
        except OperationRefused as refused:
            self._log.warning("no switchover at the end", why=str(refused))
            return self.handed_over
        return True

    async def switch_over(self) -> str:
        """Hand the reign to the standby; gives its name. Raises OperationRefused; then nothing changed.

        Raises OperationUnfinished where the reign was given up and nobody has begun the next one.
        """
        return await switchover.switch_over(self, self._node, self._arbiter, self.identity.name)

    async def survey_promotion(self) -> dict[str, Any]:
        """Consequences of a promotion of this copy: values by ``PROMOTION_KEYS``. Raises OperationRefused."""
        return await promotion.survey(self, self._node, self._arbiter)

    async def promote(self, reason: str) -> dict[str, Any]:
        """Make this copy primary by the operator's word; gives the survey with the epoch. Raises OperationRefused."""
        return await promotion.promote(self, self._node, self._arbiter, reason)

    def _tick(self) -> None:
        if self._closed:
            return
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        now_ns = lease_clock_ns()
        self._disks.look(now_ns)
        self._look_at_watch(now_ns)
        for notice in self._arbiter_notices.look(self.candidacy, self.tenure, now_ns):
            self._tell(notice)
        if self.primary is not None and self.tenure is not None:
            self._tick_primary(self.primary, self.tenure, now_ns)
        else:
            self._tick_copy(now_ns)

    def _look_at_watch(self, now_ns: int) -> None:
        """Start the watch beside this process again if it has ended; once in ``WATCH_AGAIN_NS`` at most."""
        if self._watch is None or self._watch.is_alive or now_ns < self._watch_next_ns:
            return
        self._watch_next_ns = now_ns + WATCH_AGAIN_NS
        try:
            self._watch.revive()
        except OSError as error:
            self._log.warning("no watch beside this process", why=str(error), then="it is tried again")
        else:
            self._log.warning("the watch beside this process had ended", then="it was started again")

    # The reign.

    def _tick_primary(self, primary: Primary, tenure: Tenure, now_ns: int) -> None:
        primary.on_journaled(self._node.journal.durable_seq)
        primary.tick(now_ns, time.time_ns())
        if tenure.holds(now_ns):
            self._age.on_current(now_ns)
        self._disks.tell(self._from_copies)
        if primary.gives_up and not self.handed_over:
            self.handed_over = True
            self._begin(self._give_up(primary.gives_up))
        self.states.tick_primary(primary, now_ns)
        for request in tenure.next_requests(now_ns):
            self._ask_in_reign(tenure, request)
        for notice in self._notices.look() if self._notices is not None else ():
            self._tell(notice)
        self.send_all()
        self._node.market.release()
        why = tenure.why or (f"epoch {primary.superseded} has begun" if primary.superseded else "")
        if why and not self.handed_over:
            self._node.depose(why)
        elif not why:
            self._lapse.look(tenure.holds(now_ns), now_ns)

    async def _give_up(self, why: str) -> None:
        """Give up the reign to a standby, and end as deposed."""
        self._log.error("the reign is given up", why=why)
        await self.release_reign()
        self._node.depose(why)

    def _ask_in_reign(self, tenure: Tenure, request: Request) -> None:
        async def ask() -> None:
            try:
                answer = await self._arbiter.ask(request)
            except ArbiterError as error:
                self._tell(self._arbiter_notices.on_failure(str(error), lease_clock_ns()))
                tenure.on_failure(request, str(error), lease_clock_ns())
                return
            tenure.on_answer(request, answer)
            self._node.market.release()
            self.send_all()

        self._begin(ask())

    def _begin(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._asking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._node.fail(error)

    def _reign(self) -> None:
        """Begin the reign that was won."""
        won, lease = self.candidacy.won, self.candidacy.lease
        assert won is not None, "a reign begins once it is won"
        assert lease is not None, "a reign has a lease"
        node, journal = self._node, self._node.journal
        self._stop_fetch()
        self._end_mark.clear()
        self.standby.reign(won.epoch)
        self._rows_ahead.close()
        if self._to_primary is not None:
            self._to_primary.close()
        self.primary = Primary(
            self.identity,
            won.epoch,
            self.options.secret,
            self.options.settings,
            last_seq=journal.last_seq,
            checksum=journal.link,
            event_digest=node.engine.event_digest,
            recorded=frozenset(won.reign.in_sync),
            directory=bytes.fromhex(self.candidacy.candidate.directory),
            backlog=self._recent.backlog,
            checksum_at=self._recent.checksum_at,
        )
        self.states.reign(self.primary)
        self.tenure = Tenure(won, lease, self.primary)
        node.gateway.unsure = self.unsure
        if self.options.settings.policy == "replica":
            node.gateway.lead(PairLine(node, self.primary, self.tenure, self._from_copies))
        self._notices = CopyNotices(self.primary)
        if self._watch is not None:
            self._watch.reign(won.epoch)
            if not self._watch.is_alive:
                self._log.warning("no watch beside this process", then="a takeover waits until the lease has run out")
        self._history = HistoryProcess(
            node.supervisor,
            node.options.data,
            self.options.secret,
            self.options.host,
            self.identity.name,
            on_port=self._on_history_port,
        )
        node.market.replicate(self)
        node.suspension.succeed()
        begin_reign(journal, node.engine, node.market.take_own, won.epoch, self.options.candidate.name)
        if self._marked_incomplete:
            self._clear_mark()  # an operator has made it primary, and what it has is the market now
        node.reign()
        self._log.info("reign", epoch=won.epoch, node=self.options.candidate.name, seq=node.engine.seq)

    def _on_history_port(self, port: int) -> None:
        if self.primary is not None:
            self.primary.history_port = port

    # The pipeline's side (``sequencer.pump.Replication``).

    def on_block(self, first_seq: int, last_seq: int, sealed: bytes) -> None:
        """Send a block to the copies."""
        assert self.primary is not None, "a node replicates while it reigns"
        self.primary.add_block(first_seq, last_seq, sealed)
        for connection in self._from_copies.values():
            connection.send(urgent=True)

    def on_applied(self, first_seq: int, last_seq: int, digest: bytes) -> None:
        """Note the event digest after a block; it goes out with what is sent next."""
        assert self.primary is not None, "a node replicates while it reigns"
        self.primary.add_digest(first_seq, last_seq, digest)

    def released_seq(self) -> int:
        """Last command whose events may leave now."""
        assert self.primary is not None, "a node replicates while it reigns"
        assert self.tenure is not None, "a node replicates while it reigns"
        self.primary.on_journaled(self._node.journal.durable_seq)
        self._node.journal.lingers = self.primary.waits_for_memory_alone
        return self.primary.released_seq(lease_holds=self.tenure.holds(lease_clock_ns()))

    def send_all(self) -> None:
        """Send what the copies are to get."""
        for connection in list(self._from_copies.values()):
            connection.send()

    # Following.

    def _fitness(self, reign: Reign | None) -> str:
        """Reason that keeps this node from taking over after a reign; "" if nothing does."""
        if reign is None and not self._peer_tried:
            # A market without a record is new, or the directory is of another market: then the other node refuses it.
            return "the other node has not answered yet whether it is of this market"
        if self._end_mark.is_older_than(reign, self.standby.member):
            self.standby.memory_kept = False
        return self.standby.reason_not_to_take_over(reign)

    def _tick_copy(self, now_ns: int) -> None:
        if self._to_primary is not None and self._to_primary.paused:
            self.standby.heard_ns = now_ns  # it is this node that does not listen
            self._blocks.pause_or_resume()
        self.standby.tick(now_ns)
        self.standby.acknowledge(now_ns)
        if self._to_primary is not None and self.standby.is_connection_over(now_ns):
            self._to_primary.give_up()  # its machine may be gone, so that nothing else would end the connection
        self._flush()
        self.states.tick_copy()
        standby = self.standby
        if self._marked_incomplete and not standby.incomplete and standby.journaled_seq == standby.taken_seq:
            self._clear_mark()  # it was in sync, and all of that is on this disk
        if self.standby.state == "diverged":
            self._look_at_state()
        try:
            self._blocks.seal_ahead(self.candidacy.standing)
        except JournalError as error:
            self._node.fail(error)
            return
        # A follower reads the register too: it shows which node to copy. Its fitness keeps it from asking for more.
        request = self.candidacy.next_request(now_ns, time.time_ns())
        if request is not None:
            self._begin(self._ask_for_reign(request))
        if self._fetch is not None:
            self._make_room(self._fetch)
        elif self._to_primary is None and not self._connecting and time.monotonic() >= self._next_attempt_s:
            self._begin(self._connect())

    async def _ask_for_reign(self, request: Request) -> None:
        try:
            answer = await self._arbiter.ask(request)
        except ArbiterError as error:
            self._tell(self._arbiter_notices.on_failure(str(error), lease_clock_ns()))
            self.candidacy.on_failure(str(error), lease_clock_ns())
            return
        self.candidacy.on_epoch_seen(self.standby.epoch)
        self.candidacy.on_answer(answer, lease_clock_ns())
        self._name_primary()
        if isinstance(answer, Standing):
            self.standby.on_record_read(answer.reign)
            if self.standby.state == "disconnected" and self._to_primary is not None:
                self._to_primary.close()  # its reign is over
        won = self.candidacy.won
        if won is None or self.primary is not None or self._closed:
            return
        # What arrived while the request was under way comes before the reign, and may show that this node is unfit.
        self._blocks.apply(whole=True)
        try:
            self._blocks.seal_ahead(self.candidacy.standing, won=True)
        except JournalError as error:
            self._node.fail(error)
            return
        self._blocks.apply(whole=True)
        why = self._reason_not_to_begin(won.reign)
        if why:
            await self._give_back(won, why)
        else:
            self._reign()

    def _reason_not_to_begin(self, reign: Reign) -> str:
        """Reason that keeps this node from a reign that it has just won; "" if nothing does."""
        if self.outcome is not None:
            return str(self.outcome)
        if self._node.ended.is_set():
            return f"{self.identity.name} is ending"
        if why := self.standby.reason_not_to_begin(forced=bool(reign.forced), acknowledged_seq=reign.acknowledged_seq):
            return why
        if not self._node.journal.wait_durable(self._node.journal.last_seq, DISK_S):
            return f"the disk of {self.identity.name} has not written all that it received within {DISK_S} s; check it"
        return ""

    async def _give_back(self, won: Won, why: str) -> None:
        """Give back a reign that is not begun, so that the primary before it may reign again."""
        self._log.warning("the reign is given back", epoch=won.epoch, why=why)
        for request in self.candidacy.give_back(why):
            with suppress(ArbiterError):
                await self._arbiter.ask(request)

    def _clear_mark(self) -> None:
        """Remove the mark of a directory that was begun anew: nothing that was told is missing here any more."""
        clear_incomplete(self._node.options.data)
        self._marked_incomplete = False

    def _name_primary(self) -> None:
        """Note the arbiter's record, and let refusals of commands and logins name the primary."""
        standing = self.candidacy.standing
        if standing is None:
            return
        before, reign = self._reign_read, standing.reign
        self._reign_read = reign
        if reign is None or reign == before or self.primary is not None:
            return
        if reign.primary != self.options.candidate.name:
            self._node.follow_primary(reign.primary, reign.clients)

    def _address(self) -> tuple[str, int] | None:
        """Address of the primary's link: by the arbiter's record, else the peer's."""
        standing = self.candidacy.standing
        reign = standing.reign if standing is not None else None
        if reign is not None and reign.primary != self.options.candidate.name and reign.address:
            host, _, port = reign.address.rpartition(":")
            if port.isdigit():
                return host, int(port)
        return self.options.peer

    async def _connect(self) -> None:
        address = self._address()
        self._next_attempt_s = time.monotonic() + RECONNECT_S
        if address is None or (self.standby.state == "diverged" and not self.standby.has_divergence_to_report):
            return
        self._connecting = True
        self._primary_host = address[0]
        connection = ToPrimary(self)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._loop.create_connection(lambda: connection, *address)
        except (OSError, TimeoutError):
            self._peer_tried = True
            connection.give_up()  # it may have been made just before the time was up
        finally:
            self._connecting = False

    def on_connect(self, connection: ToPrimary) -> bool:
        """Begin a greeting on a new connection to the primary; False if it is not wanted any more."""
        if self.primary is not None or self._to_primary is not None or self._closed:
            return False
        self._to_primary = connection
        self._followed = False
        if self.standby.state == "diverged":
            self.standby.connect_to_report(os.urandom(16), lease_clock_ns())
        else:
            self.standby.connect(os.urandom(16), self._recent.tail(), lease_clock_ns())
        return True

    def on_disconnect(self, connection: ToPrimary) -> None:
        """Note that the connection to the primary is gone."""
        if self._to_primary is not connection:
            return
        self._rows_ahead.leave()
        self._to_primary = None
        self._peer_tried = True
        self._node.journal.lingers = False
        self.standby.disconnect()
        # A primary that ends a connection which it had taken is called again soon: it has heard nothing for a while.
        turned_away = self.standby.state in ("elsewhere", "apart", "diverged") or (
            self.standby.state == "refused" and not self._followed
        )
        self._next_attempt_s = time.monotonic() + (REFUSED_S if turned_away else RECONNECT_S)
        self.candidacy.hurry(lease_clock_ns())

    def on_bytes(self, data: bytes) -> None:
        """Take bytes of the primary: queue its blocks for the journal, and acknowledge them; then they are applied.

        A primary that waits for this memory alone does not wait for the engine here.
        """
        now_ns = lease_clock_ns()
        self.standby.receive(data, now_ns)
        try:
            if self.standby.state == "following":
                self._end_mark.clear()
            blocks = self._blocks.take()
        except (JournalError, OSError) as error:
            self._node.fail(error)
            return
        self.standby.on_journaled(self._node.journal.durable_seq)
        self.standby.acknowledge_taken(now_ns)
        self._flush()
        # The acknowledgement has left.
        self._blocks.keep(blocks)
        self._node.journal.lingers = self._memory_is_enough
        self._blocks.apply_soon()
        if self.standby.rows_taken != self._rows_taken:
            self._rows_taken = self.standby.rows_taken
            self._rows_ahead.begin()
        if blocks and not self._rows_ahead.is_reading:
            self.poll(now_ns)

    @property
    def _memory_is_enough(self) -> bool:
        """True while nobody waits for this disk: the primary waits for the memory of this copy."""
        return self.options.settings.policy == "replica" and self.standby.state == "following"

    def poll(self, now_ns: int) -> None:
        """Keep the loop polling for a while after traffic, as the gateway does: waking up takes longer than the work
        for a block.
        """
        self._busy_until_ns = now_ns + self._busy_poll_ns
        if not self._polling:
            self._polling = True
            self._loop.call_soon(self._poll)

    def _poll(self) -> None:
        if lease_clock_ns() < self._busy_until_ns:
            self._loop.call_soon(self._poll)
        else:
            self._polling = False

    def _on_turn(self) -> None:
        """Acknowledge after a turn in which blocks were applied, and look at what they showed."""
        standby = self.standby
        if self._fetch is not None:
            self._make_room(self._fetch)
        standby.on_journaled(self._node.journal.durable_seq)
        now_ns = lease_clock_ns()
        # The digests go with the next tick: nobody waits for them.
        if standby.handover is None:
            standby.acknowledge_taken(now_ns)
        else:
            standby.acknowledge(now_ns)
        if standby.state == "following" and not standby.lag_commands:
            self._age.on_current(now_ns)
        self._flush()
        self._look_at_state()

    def on_slice(self) -> None:
        """Note that this node has begun a new slice of its journal; a primary has its copies begin the same one."""
        begun = self._recent.begin_slice()
        self.identity = self.identity._replace(slice_number=begun.number)
        if self.primary is not None:
            self.primary.add_slice(begun)
            self.send_all()
        else:
            self._recent.backlog.add_slice(begun)
            self.standby.on_slice_begun(begun.number)

    def on_progress(self) -> None:
        """Note that blocks became durable."""
        if self.primary is None:
            self.standby.on_journaled(self._node.journal.durable_seq)
            self.standby.acknowledge(lease_clock_ns())
            self._flush()

    def _flush(self) -> None:
        if self._to_primary is not None:
            self._to_primary.send(self.standby.take_out())

    def _look_at_state(self) -> None:
        standby = self.standby
        if self._fetch is not None and standby.state == "elsewhere":
            return
        self._stop_fetch()
        if standby.state in ("greeting", "following"):
            if standby.state == "following":
                if not self._followed:
                    self._node.market.note_following()
                self._followed = True
                self._say("")
            return
        if self._to_primary is not None and not standby.has_divergence_to_report:
            self._to_primary.close()
        if standby.state == "refused" and self._followed:
            self._say(f"the connection to the primary ended: {standby.why}; this node connects again")
        elif standby.state == "refused":
            self._say(f"the primary refuses this node: {standby.why}; it tries again")
        elif standby.state == "diverged":
            self.states.on_diverged(standby, self._recent.backlog)
        elif standby.state == "apart" and standby.common is not None:
            self._end(TailApart(standby.common, (self._primary_host, standby.history_port)))
        elif standby.state == "elsewhere" and standby.history_port:
            self._fetch_live((self._primary_host, standby.history_port))
        elif standby.state == "elsewhere":
            self._say("this node is far behind, and the primary does not serve its history yet; it tries again")

    # A copy that is far behind.

    def _fetch_live(self, address: tuple[str, int]) -> None:
        """Fetch blocks while this node runs, where they are not too many and all of this slice; else start again."""
        standby, journal = self.standby, self._node.journal
        told = standby.catch_up
        assert told is not None, "the primary has said where it stands"
        behind = told.last_seq - standby.taken_seq
        if told.slice_number != self.identity.slice_number or behind > LIVE_MAX:
            self._end(TooFarBehind(address))
            return
        self._log.info("catch-up", seq=standby.taken_seq, primary_seq=told.last_seq)
        standby.on_fetch_begun()
        self._pass_through(True)
        self._fetch = LiveFetch(
            address,
            self.options.secret,
            Peer(self.identity.name, journal.journal_id),
            self.identity.slice_number,
            Position(standby.taken_seq, journal.link),
            on_blocks=self._on_fetched,
            on_digests=standby.on_recorded,
            on_end=lambda outcome: self._on_fetch_end(outcome, address),
        )

    def _stop_fetch(self) -> None:
        if self._fetch is not None:
            self._fetch.close()
            self._fetch = None
            self._node.journal.lingers = False
            self._pass_through(False)

    def _pass_through(self, passes_through: bool) -> None:
        """Have journal and streams keep nothing in memory that is written, since nobody reads it during a catch-up."""
        self._node.journal.passes_through = passes_through
        self._node.outbox.pass_through(passes_through)

    def _on_fetched(self, sealed_blocks: list[bytes]) -> int:
        """Queue fetched blocks for the journal and the engine; gives their last command."""
        self._node.journal.lingers = True  # nobody waits for this disk meanwhile
        try:
            self._blocks.keep(self._blocks.journal(sealed_blocks))
        except JournalError as error:
            self._node.fail(error)
        if self.standby.state == "refused":
            self._next_attempt_s = time.monotonic() + REFUSED_S
        self._blocks.apply_soon()
        return self.standby.taken_seq

    def _make_room(self, fetch: LiveFetch) -> None:
        """Let further blocks come once those before are applied, unless they wait for the disk here."""
        if not self._node.journal.crowded:
            fetch.on_applied(self.standby.applied_seq)

    def _on_fetch_end(self, outcome: Outcome, address: tuple[str, int]) -> None:
        self._stop_fetch()
        if outcome.why and not outcome.again:
            self._log.warning("catch-up", why=outcome.why)
            self._end(TooFarBehind(address))
            return
        if not outcome.why:
            self._log.info("blocks fetched", seq=self.standby.taken_seq)
        self.standby.on_caught_up()
        self._next_attempt_s = 0.0
        if outcome.why:
            self._say(outcome.why)
            self._next_attempt_s = time.monotonic() + REFUSED_S

    def _end(self, outcome: Exception) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._node.depose(str(outcome))

    def _tell(self, notice: Notice | None) -> None:
        if notice is not None:
            (self._log.info if notice.level == "info" else self._log.warning)(notice.event, **notice.fields)

    def _say(self, sentence: str) -> None:
        if sentence and sentence != self._said:
            self._log.warning("replication", why=sentence)
        self._said = sentence

    # The primary's side of a connection.

    def on_copy(self, connection: FromCopy) -> Copy | None:
        """Take a new connection of a copy; None if this node is not primary."""
        if self.primary is None or self._closed or self.handed_over:
            return None
        copy = self.primary.connect(os.urandom(16), lease_clock_ns())
        self._from_copies[copy] = connection
        return copy

    def on_copy_bytes(self, copy: Copy, data: bytes) -> None:
        """Take bytes of a copy, and release what it has acknowledged."""
        if self.primary is not None:
            now_ns = lease_clock_ns()
            self.primary.receive(copy, data, now_ns)
            if (replicated := self.primary.replicated) is not None:
                self._node.market.note_replicated(replicated.received_seq)
            self._node.market.release()
            if copy.state == "live":
                self.poll(now_ns)

    def on_copy_disconnect(self, copy: Copy) -> None:
        """Note that a connection of a copy is gone."""
        self._from_copies.pop(copy, None)
        if self.primary is not None:
            self.primary.disconnect(copy)
        if self._notices is not None:
            self._tell(self._notices.of_end(copy, lease_clock_ns()))
