"""Node of the simulation: a process that puts the cores of replication together as the real one has to.

Start: read the disk, cut off damage, replay. Then the node is a copy that follows whoever reigns, and a candidate. Once
it wins, all that it has is on its disk, and it begins its reign with an EPOCH row. A reign that ends makes it a copy
again. Blocks that are not of the new history are set aside first.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from journal import frame
from journal.errors import BlockRefused, JournalError
from replication import link
from replication import primary as primary_side
from replication.arbiter import Answer, Candidate, Reign, Request, Standing, Won
from replication.backlog import Backlog, SliceBegin
from replication.candidacy import Candidacy
from replication.comparison import Divergence
from replication.copy_connection import Copy
from replication.lease import Lease
from replication.link import FrameReader, Identity, Kind, LinkError, Position, Rows, Scrub
from replication.primary import Primary
from replication.standby import Settings, Standby, sparse_tail
from replication.tenure import Tenure
from tests.simulation import toy
from tests.simulation.arbiters import SimArbiter
from tests.simulation.checks import Checker, rows_of
from tests.simulation.disk import GENESIS, Checkpoint, Disk, DiskFailure
from tests.simulation.network import End, Network
from tests.simulation.toy import Flip, Machine, Slice
from tests.simulation.world import MS, Clock, World

SECRET = b"a secret of the pair"
TICK_NS = 10 * MS
ROWS_PER_BLOCK = 16
SCRUB_EVERY = 8
HANDOVER_NS = 600 * MS
#: Longest times between the acknowledgement of a block and its application, of which one is drawn.
APPLY_NS = (MS // 10, 2 * MS, 40 * MS)
#: Probability that a primary seals the time of day in a tick, as the real one does without clients too.
CLOCK_CHANCE = 0.2
#: Probability that rows are sent ahead of their block where they may be, and the longest time until it follows.
AHEAD_CHANCE = 0.5
AHEAD_NS = 6 * MS


class Release(NamedTuple):
    """Release of the software that a node runs."""

    rules_version: int = 5
    form: bytes = b"f" * 16
    build: str = "a"


class PairSettings(NamedTuple):
    """Settings of both nodes."""

    primary: primary_side.Settings
    ttl_ns: int


class Parts(NamedTuple):
    """Classes of the cores, which a control replaces by broken ones."""

    standby: type[Standby] = Standby
    primary: type[Primary] = Primary
    tenure: type[Tenure] = Tenure
    lease_margin_ns: int | None = None
    ignores_lease: bool = False
    drops_quarantine: bool = False
    reigns_unapplied: bool = False
    twins_keep_the_id: bool = False


class SimNode:
    """A node, with its disk and clocks. ``life``: number of its process."""

    def __init__(
        self,
        world: World,
        network: Network,
        arbiter: SimArbiter,
        checker: Checker,
        name: str,
        role: str,
        settings: PairSettings,
        parts: Parts,
        drift_ppm: int,
    ) -> None:
        self.world, self.network, self.arbiter, self.checker = world, network, arbiter, checker
        self.name, self.role, self.settings, self.parts = name, role, settings, parts
        self.clock = Clock(world, drift_ppm)
        self.disk = Disk(world, incomplete="" if name == "A" else "its disk is new")
        self.world_release = self.release = Release()
        self.life = 0
        self.alive = self.paused = False
        self.memory_lost_ns = 0
        self.force = ""
        self.flips_ever: list[Flip] = []
        self.exits_after_reign = False
        #: Step of the next roll at which this node dies: "", "before" or "after" the slice is on its disk.
        self.dies_in_roll = ""
        self._deferred: list[tuple[int, Callable[[], None]]] = []
        network.hosts[name] = self
        self._reset()

    def _reset(self) -> None:
        """Forget all that is in memory."""
        self.blocks: list[frame.Block] = []
        self.slices: list[Slice] = []
        self.roll_wanted = False
        self.rows: list[bytes] = []
        self.at: dict[int, bytes] = {0: GENESIS}
        self.machine = Machine()
        self.flips: list[Flip] = []
        self.written = 0
        self.writing: list[bytes] = []
        self.standby: Standby
        self.candidacy: Candidacy
        self.end: End | None = None
        self.connect_ns = 0
        self.followed_from_seq = 0
        self.unapplied: deque[frame.Block] = deque()
        self.applying = False
        self.copying = False
        self.acceding: tuple[Won, Lease] | None = None
        self.stopping = ""
        self.exits = self.whole = False
        self.primary: Primary | None = None
        self.tenure: Tenure | None = None
        self.copies: dict[End, Copy] = {}
        self.logins: dict[int, End] = {}
        self.intake: list[tuple[int, int, int]] = []
        self.waiting: dict[int, list[tuple[int, int]]] = {}
        self.closing_ns = 0
        self.handed = False
        self.blocks_since_scrub = self.turn = 0
        self.seals_time = False
        #: Rows that a primary has applied and sent ahead of their block, to whom, and what it heard of them.
        self.ahead: list[bytes] = []
        self.ahead_to: tuple[End, Copy] | None = None
        self.ahead_acks: list[bytes] = []
        self.ahead_told = FrameReader()

    # The process.

    def call(self, life: int, act: Callable[[], None]) -> None:
        """Call back into a life of this process; while it is paused, later."""
        if life != self.life or not self.alive:
            return
        if self.paused:
            self._deferred.append((life, act))
        else:
            act()

    def pause(self) -> None:
        """Stop the process where it is (SIGSTOP)."""
        self.paused = True

    def resume(self) -> None:
        """Let it go on: all that happened meanwhile arrives at once."""
        self.paused = False
        deferred, self._deferred = self._deferred, []
        for life, act in deferred:
            self.call(life, act)

    def crash(self, why: str, *, told: bool = True) -> None:
        """End the process at once; what was in memory is gone."""
        if not self.alive:
            return
        self.world.say("{} dies: {}", self.name, why)
        self.alive = self.paused = False
        self.life += 1
        self._deferred.clear()
        self.memory_lost_ns = self.world.now_ns
        self.network.drop_host(self, told=told)
        if self.writing:
            self.disk.crash_while_writing(self.writing)
        self._reset()

    def start(self) -> None:
        """Start the process. A journal of other rules or another form than the release has ends it again."""
        kept = self.disk.marks.get("release", self.release)
        assert isinstance(kept, Release)
        if (kept.rules_version, kept.form) != (self.release.rules_version, self.release.form) and self.disk.slots:
            self.world.strike("another release refused at the start")
            self.world.say("{} refuses to start: its journal is of other rules or another form", self.name)
            return
        self.disk.marks["release"] = self.release
        self.alive = True
        self._reset()
        self._read_disk()
        self.world.say("{} starts at command {}, build {}", self.name, len(self.rows), self.release.build)
        # After an orderly stop all that was in memory is on the disk.
        self._become_copy(memory_kept=self.disk.marks.pop("stopped in order", None) is not None)
        self._tick(self.life)

    def _read_disk(self) -> None:
        blocks, rest = self.disk.read()
        if rest:
            self.world.strike("damage found at the start")
            self.world.say("{} finds damage after command {}", self.name, blocks[-1].last_seq if blocks else 0)
            self.disk.marks["incomplete"] = "its journal was damaged"
            self.disk.quarantine += rest
            self.disk.slots = self.disk.slots[: len(blocks)]
            end_seq = blocks[-1].last_seq if blocks else 0
            self.disk.keep_slices([each for each in self.disk.slices if each.seq <= end_seq])
        self.slices = list(self.disk.slices)
        self.disk.settled_damage = False
        for block in blocks:
            self._keep(block)
        self.written = len(blocks)
        start = self.disk.checkpoint
        if start is not None and not start.is_whole():
            self.world.strike("bit flip in a checkpoint")
            start = None
        if start is not None and self.at.get(start.machine.seq) == start.link:
            self.machine, self.flips = start.machine.copy(), list(start.flips)
        for block in blocks:
            if block.last_seq > self.machine.seq:
                self.machine.apply(block.rows)

    def _identity(self) -> Identity:
        rules, form, build = self.release
        return Identity(self.name, bytes(16), rules, form, build, len(self.slices) + 1)

    def _become_copy(self, *, memory_kept: bool, epoch: int = 0) -> None:
        """Follow and stand by from where the journal ends, all of which is on the disk. ``epoch``: highest seen."""
        self.standby = self.parts.standby(
            self._identity(),
            self.role,
            SECRET,
            Settings(),
            epoch=max(self.blocks[-1].epoch if self.blocks else 0, epoch),
            seq=len(self.rows),
            event_digest=self.machine.digest,
            memory_kept=memory_kept,
            incomplete=str(self.disk.marks.get("incomplete", "")),
            directory=self.disk.directory,
        )
        if isinstance(found := self.disk.marks.get("diverged"), Divergence):
            self.standby.diverge(found)
        self._begin_candidacy()

    def _begin_candidacy(self) -> None:
        self.candidacy = Candidacy(
            Candidate(self.name, policy=self.settings.primary.policy, directory=self.disk.directory.hex()),
            self._fitness,
            ttl_ns=self.settings.ttl_ns,
            expected_min=self.standby.epoch,
        )
        self.candidacy.force = self.force

    def _fitness(self, reign: Reign | None) -> str:
        return self.standby.reason_not_to_take_over(reign)

    # Journal and disk.

    def _keep(self, block: frame.Block) -> None:
        self.blocks.append(block)
        self.rows += rows_of(block)
        self.at[block.last_seq] = block.checksum

    @property
    def sequenced(self) -> list[bytes]:
        """All rows, those ahead of their block among them."""
        return self.rows + self.ahead

    @property
    def link(self) -> bytes:
        """Checksum to which the next block is linked."""
        if self.slices and self.slices[-1].seq == len(self.rows):
            return self.slices[-1].link
        return self.blocks[-1].checksum if self.blocks else GENESIS

    @property
    def _slice_start(self) -> Position:
        return Position(self.slices[-1].seq, self.slices[-1].link) if self.slices else Position(0, GENESIS)

    def _checksum_at(self, seq: int) -> bytes | None:
        """Checksum of the chain after a command of the open slice."""
        start = self._slice_start
        return start.digest if seq == start.seq else self.at.get(seq) if seq > start.seq else None

    def _begin_slice(self, begun: Slice) -> None:
        """Go on in a slice, once all before it is on the disk. Raises JournalError where it does not follow, or where
        the disk has no room, or the process dies."""
        if (begun.seq, begun.before) != (len(self.rows), self.link):
            raise BlockRefused(f"slice {len(self.slices) + 2} does not follow command {len(self.rows)}")
        fate, self.dies_in_roll = self.dies_in_roll, ""
        try:
            if self.written < len(self.blocks):
                self.disk.write([bytes(block.sealed) for block in self.blocks[self.written :]])
                self.written, self.writing = len(self.blocks), []
            if fate == "before":
                self._die_in_roll()
            self.disk.write_slice(begun)
        except DiskFailure as failure:
            raise BlockRefused(str(failure)) from failure
        self.slices.append(begun)
        if fate == "after":
            self._die_in_roll()

    def _die_in_roll(self) -> None:
        self.world.strike("crash in the middle of a roll")
        self.crash("kill -9 in the middle of a roll")
        raise BlockRefused("the process is dead")

    def _append(self, sealed: bytes) -> frame.Block:
        """Check and append a block in memory, and begin to write it. Raises JournalError."""
        last = self.blocks[-1] if self.blocks else None
        block = frame.decode(sealed, len(self.rows) + 1, toy.ROW_BYTES)
        epoch, time_ns = (last.epoch, last.time_ns) if last else (0, 0)
        frame.check_continues(block, len(self.rows), self.link, epoch, time_ns)
        self._keep(block)
        self._write_out()
        return block

    def _write_out(self) -> None:
        if self.writing or self.written == len(self.blocks):
            return
        self.writing = [bytes(block.sealed) for block in self.blocks[self.written :]]
        life, batch = self.life, self.writing
        self.world.after(self.disk.delay_ns(), lambda: self._on_write_ended(life, batch))

    def _on_write_ended(self, life: int, batch: list[bytes]) -> None:
        if life != self.life or batch is not self.writing:
            return
        try:
            self.disk.write(batch)
        except DiskFailure as failure:
            why = str(failure)
            self.writing = []
            self.call(life, lambda: self.crash(why))
            return
        self.written += len(batch)
        self.writing = []
        self.call(life, self._on_journaled)

    def _on_journaled(self) -> None:
        if self.written:
            seq = self.blocks[self.written - 1].last_seq
            self.standby.on_journaled(seq)
            if self.primary is not None:
                self.primary.on_journaled(seq)
        self._write_out()
        self._turn()

    def _checkpoint(self) -> None:
        if self.written == len(self.blocks) and self.blocks and self.machine.seq == len(self.rows):
            self.disk.checkpoint = Checkpoint(self.machine, self.blocks[-1].checksum, self.flips)

    # Time.

    def _tick(self, life: int) -> None:
        if life == self.life and self.alive:
            self.world.after(TICK_NS, lambda: self.call(life, lambda: self._tick(life)))
            if self.world.chance(0.01):
                self._checkpoint()
            self.seals_time = self.primary is not None and self.world.chance(CLOCK_CHANCE)
            self._turn()

    def _turn(self) -> None:
        """Do all that is due."""
        if not self.alive:
            return
        if self.primary is not None:
            self._reign()
        elif self.stopping:
            self._stop()
        elif self.acceding is not None:
            self._accede()
        else:
            self._follow()

    # A copy.

    def _follow(self) -> None:
        now_ns = self.clock.mono_ns()
        self.candidacy.on_epoch_seen(self.standby.epoch)
        self.candidacy.force = self.force
        self._seal_received()
        request = self.candidacy.next_request(now_ns, self.clock.wall_ns())
        if request is not None:
            life, candidacy = self.life, self.candidacy
            self.arbiter.ask(
                self.name,
                request,
                lambda answer, why: self.call(life, lambda: self._on_arbiter(candidacy, answer, why)),
            )
        self.standby.tick(now_ns)
        self._take_blocks()
        if not self.alive:
            return
        self.standby.acknowledge(now_ns)
        self._send_to_primary()
        if self.standby.state in ("diverged", "elsewhere", "apart", "refused", "disconnected") and self.end is not None:
            self.end.close()
            self.end = None
        if self.standby.state == "diverged":
            self._on_diverged()
        elif self.standby.state == "apart":
            self._set_aside()
        elif self.standby.state == "elsewhere":
            self._catch_up()
        elif self.end is None and now_ns >= self.connect_ns:
            self._connect(now_ns)
        if not self.standby.incomplete and "incomplete" in self.disk.marks and self.written == len(self.blocks):
            del self.disk.marks["incomplete"]

    def _on_arbiter(self, candidacy: Candidacy, answer: Answer | None, why: str) -> None:
        if candidacy is not self.candidacy or self.primary is not None or self.acceding is not None or self.stopping:
            return
        now_ns = self.clock.mono_ns()
        if answer is None:
            candidacy.on_failure(why, now_ns)
            return
        candidacy.on_epoch_seen(self.standby.epoch)
        candidacy.on_answer(answer, now_ns)
        if isinstance(answer, Standing):
            self.standby.on_record_read(answer.reign)
        if candidacy.won is not None and candidacy.lease is not None:
            self._on_won(candidacy.won, candidacy.lease)
        self._turn()

    def _on_won(self, won: Won, lease: Lease) -> None:
        """Apply what has arrived, and begin the reign, or give it back where this node is unfit by now."""
        if self.unapplied:
            self.world.strike("reign won with blocks not applied")
        if not self.parts.reigns_unapplied:
            self._apply()
            if not self.alive:
                return
            self._seal_received(won=True)
            self._apply()
        why = self.standby.reason_not_to_begin(
            forced=bool(won.reign.forced), acknowledged_seq=won.reign.acknowledged_seq
        )
        if why:
            self.world.strike("reign given back")
            self.world.say("{} gives epoch {} back: {}", self.name, won.epoch, why)
            self._ask_in_turn(self.candidacy.give_back(why))
            return
        if self.parts.lease_margin_ns is not None:
            lease.margin_ns = self.parts.lease_margin_ns
        self.standby.reign(won.epoch)
        if self.end is not None:
            self.end.close()
            self.end = None
        self.acceding = won, lease

    def _ask_in_turn(self, requests: list[Request]) -> None:
        """Ask the arbiter one request after the other, whatever the answers."""
        if requests:
            life = self.life
            self.arbiter.ask(
                self.name,
                requests[0],
                lambda _answer, _why: self.call(life, lambda: self._ask_in_turn(requests[1:])),
            )

    def _connect(self, now_ns: int) -> None:
        standing = self.candidacy.standing
        named = standing.reign.primary if standing is not None and standing.reign is not None else ""
        others = [node.name for node in self.checker.nodes if node is not self and node.role == "standby"]
        target = named if named in others else self.world.draw.choice(others)
        self.connect_ns = now_ns + 60 * MS
        end = self.network.connect(self, target, "peer")
        end.on_data = lambda data: self._on_primary_data(end, data)
        end.on_close = lambda: self._on_primary_gone(end)
        self.end = end
        start = self._slice_start
        newest = [Position(seq, checksum) for seq, checksum in reversed(self.at.items()) if seq > start.seq]
        tail = sparse_tail([*newest, start], 8)
        self.standby.connect(self.world.draw.randbytes(16), tail, now_ns)
        self.followed_from_seq = len(self.rows)

    def _on_primary_data(self, end: End, data: object) -> None:
        if end is self.end and isinstance(data, bytes):
            self.standby.receive(data, self.clock.mono_ns())
            if self.acceding is None and not self.stopping:
                # As the real node: the positions at once, the digests with the next turn.
                self._take_blocks()
                if not self.alive:
                    return
                self.standby.acknowledge_taken(self.clock.mono_ns())
                self._send_to_primary()
                self._apply_soon()
            self._turn()

    def _on_primary_gone(self, end: End) -> None:
        if end is self.end:
            self.end = None
            self.standby.disconnect()
            self.candidacy.hurry(self.clock.mono_ns())
            self._turn()

    def _take_blocks(self) -> bool:
        """Append the blocks that have arrived, up to the next check of the state; they are applied later."""
        standby = self.standby
        blocks = standby.take_blocks()
        try:
            for sealed in blocks:
                if isinstance(sealed, Rows):
                    standby.take_rows(sealed)
                    continue
                block = self._append(sealed)
                self.unapplied.append(block)
                standby.on_taken(block.last_seq, block.epoch, block.rows)
        except JournalError as error:
            standby.on_block_refused(str(error))
            return False
        return bool(blocks)

    def _seal_received(self, *, won: bool = False) -> None:
        """Put rows whose block does not come any more into one: the primary that sent them is gone."""
        rows = self.standby.rows_without_block(self.candidacy.standing, won=won)
        if rows is not None:
            self.world.strike("rows of a dead primary put into a block")
            sealed = self._sealed(rows.data, rows.rows, rows.time_ns, self.standby.ahead_epoch)
            block = self._append(sealed)
            self.unapplied.append(block)
            self.standby.on_taken(block.last_seq, block.epoch, block.rows)
            self._apply_soon()

    def _apply_soon(self) -> None:
        """Apply what was taken a moment later, as the real node does once its acknowledgement has left."""
        if not self.applying:
            self.applying = True
            life = self.life
            self.world.after(
                self.world.draw.randrange(self.world.draw.choice(APPLY_NS)),
                lambda: self.call(life, self._on_time_to_apply),
            )

    def _on_time_to_apply(self) -> None:
        self.applying = False
        self._apply()
        self._turn()

    def _apply(self) -> None:
        """Apply all that was taken, and compare the state where the primary asks for it."""
        standby = self.standby
        try:
            moved = True
            while moved:
                while self.unapplied and standby.divergence is None:
                    block = self.unapplied.popleft()
                    standby.on_applied(block.first_seq, block.last_seq, self.machine.apply(block.rows))
                moved = self._check()
                moved = self._take_blocks() or moved
        except (JournalError, LinkError) as error:
            standby.on_block_refused(str(error))

    def _send_to_primary(self) -> None:
        if (out := b"".join(self.standby.take_out())) and self.end is not None:
            self.end.send(out)

    def _check(self) -> bool:
        checks = self.standby.take_checks()
        for check in checks:
            if isinstance(check, bytes):
                self._begin_same_slice(check)
            elif isinstance(check, Scrub):
                self.standby.compare_part(
                    check.seq, toy.PARTS[check.turn], self.machine.part_digest(check.turn), check.digest
                )
            elif isinstance(check, tuple) and check[0] == self.machine.seq:
                for turn, part in enumerate(toy.PARTS):
                    self.standby.compare_part(check[0], part, self.machine.part_digest(turn), check[1][part])
        return bool(checks)

    def _begin_same_slice(self, genesis: bytes) -> None:
        """Begin the slice that the primary has begun here. Raises JournalError."""
        if not genesis.endswith(self.machine.digest):
            raise BlockRefused("the events before the slice are not those of this node")
        self._begin_slice(Slice(len(self.rows), self.link, genesis))
        self.standby.on_slice_begun(len(self.slices) + 1)
        self.world.strike("slice begun with the primary")

    def _on_diverged(self) -> None:
        if "diverged" not in self.disk.marks and self.standby.divergence is not None:
            self.disk.marks["diverged"] = self.standby.divergence
            self.world.say("{}", self.standby.why)
            named = (node for node in self.checker.nodes if node.name == self.standby.primary)
            self.checker.on_divergence(self, next(named, None), self.standby.divergence)

    def _set_aside(self) -> None:
        """Set the blocks after the common one aside, and follow from there."""
        common = self.standby.common
        if self.writing or common is None:
            return
        self._cut_back(common)

    def _cut_back(self, common: Position) -> None:
        """Set the blocks and slices after a position aside, and follow from there."""
        count = sum(block.last_seq <= common.seq for block in self.blocks)
        slices = [each for each in self.slices if each.seq < common.seq or each.link == common.digest]
        tail = [bytes(block.sealed) for block in self.blocks[count:]]
        self.world.strike("tail set aside")
        self.world.say("{} sets {} blocks after command {} aside", self.name, len(tail), common.seq)
        if not self.parts.drops_quarantine:
            self.disk.quarantine += tail
        self.disk.slots = self.disk.slots[:count]
        self.disk.keep_slices(slices)
        self.slices = list(slices)
        memory_kept = self.standby.memory_kept and not self.standby.ahead
        kept, epoch = self.blocks[:count], self.standby.epoch
        self.blocks, self.rows, self.at, self.machine, self.flips = [], [], {0: GENESIS}, Machine(), []
        self.unapplied.clear()
        for block in kept:
            self._keep(block)
            self.machine.apply(block.rows)
        self.written = count
        if self.disk.checkpoint is not None and self.disk.checkpoint.machine.seq > common.seq:
            self.disk.checkpoint = None
        self._become_copy(memory_kept=memory_kept, epoch=epoch)

    def _catch_up(self) -> None:
        """Copy older blocks from the journal of the primary, which is a bulk transfer of its own."""
        told = self.standby.catch_up
        source = next((node for node in self.checker.nodes if node.primary is not None and node.alive), None)
        if self.copying or told is None or source is None or source is self:
            return
        self.copying = True
        self.world.strike("older blocks copied from the primary")
        life = self.life
        self.world.after(
            self.world.draw.randrange(5, 100) * MS,
            lambda: self.call(life, lambda: self._on_older_blocks(source, told.last_seq)),
        )

    def _on_older_blocks(self, source: "SimNode", last_seq: int) -> None:
        self.copying = False
        if self.standby.state != "elsewhere" or self.primary is not None or self.acceding is not None or self.stopping:
            return
        self._apply()
        paths = {(self.name, source.name), (source.name, self.name)}
        if source.primary is not None and not paths & self.network.blocked:
            common = self._common_with(source)
            if common != Position(len(self.rows), self.link):
                if not self.writing:
                    self.world.strike("slice of the old primary set aside")
                    self._cut_back(common)
                return
            try:
                self._copy_from(source, last_seq)
            except JournalError as error:
                self.world.say("{} cannot copy: {}", self.name, error)
            if not self.alive:
                return
        if self.standby.state == "elsewhere":
            now_ns = self.clock.mono_ns()
            self._connect(now_ns)

    def _common_with(self, source: "SimNode") -> Position:
        """Last position that the journals of both nodes have, slice by slice."""
        common = Position(0, GENESIS)
        for own, other in zip(self.blocks, source.blocks, strict=False):
            if own.checksum == other.checksum:
                common = Position(own.last_seq, own.checksum)
        for one, two in zip(self.slices, source.slices, strict=False):
            if one == two and one.seq >= common.seq:
                common = Position(one.seq, one.link)
        return common

    def _copy_from(self, source: "SimNode", last_seq: int) -> None:
        """Append the blocks and slices of another node up to a command. Raises JournalError."""
        for block in source.blocks:
            if len(self.rows) < block.last_seq <= last_seq:
                self._copy_slice(source)
                own = self._append(bytes(block.sealed))
                self.standby.on_taken(own.last_seq, own.epoch, own.rows)
                self.standby.on_applied(own.first_seq, own.last_seq, self.machine.apply(own.rows))
        self._copy_slice(source)

    def _copy_slice(self, source: "SimNode") -> None:
        for each in source.slices[len(self.slices) :]:
            if each.seq == len(self.rows):
                self._begin_slice(each)
                self.standby.on_slice_begun(len(self.slices) + 1)

    # A primary.

    def _accede(self) -> None:
        """Begin the reign once all is on the disk."""
        assert self.acceding is not None
        won, lease = self.acceding
        if self.written < len(self.blocks) and lease.holds(self.clock.mono_ns()):
            return
        self.acceding = None
        if not lease.holds(self.clock.mono_ns()):
            self._begin_candidacy()
            return
        self.checker.on_accession(self, forced=bool(won.reign.forced))
        self.world.say("{} reigns in epoch {} from command {} on", self.name, won.epoch, len(self.rows))
        self.force = ""
        self.primary = self.parts.primary(
            self._identity(),
            won.epoch,
            SECRET,
            self.settings.primary,
            last_seq=len(self.rows),
            checksum=self.link,
            event_digest=self.machine.digest,
            recorded=frozenset(won.reign.in_sync),
            directory=self.disk.directory,
            checksum_at=self._checksum_at,
            backlog=self._backlog() if self.world.chance(0.5) else None,
        )
        self.primary.history_port = 1  # served by ``_on_older_blocks`` of the copies
        self.tenure = self.parts.tenure(won, lease, self.primary)
        self._sequence([toy.epoch_row(won.epoch)])
        # An operator has made it primary, and what it has is the market now.
        self.disk.marks.pop("incomplete", None)
        self._reign()

    def _backlog(self) -> Backlog:
        """Blocks of the open slice at hand, as after a start."""
        bytes_max = self.settings.primary.backlog_bytes
        if not self.slices:
            backlog = Backlog(0, GENESIS, bytes_max)
        else:
            begun = self.slices[-1]
            backlog = Backlog(begun.seq, begun.before, bytes_max)
            backlog.add_slice(SliceBegin(len(self.slices) + 1, begun.genesis, begun.link))
        for block in self.blocks:
            if block.first_seq > self._slice_start.seq:
                backlog.add(block.first_seq, block.last_seq, bytes(block.sealed))
        return backlog

    def _roll(self) -> None:
        """Begin a slice where this primary stands, and announce it."""
        primary = self.primary
        assert primary is not None
        self.roll_wanted = False
        # A genesis record keeps the digest of a wrong state for good, and no copy can follow it then.
        if len(self.rows) == self._slice_start.seq or self.flips:
            return
        number = len(self.slices) + 2
        genesis = f"slice {number} of epoch {primary.epoch}".encode() + self.machine.digest
        begun = Slice(len(self.rows), self.link, genesis)
        try:
            self._begin_slice(begun)
        except JournalError as error:
            self.world.say("{} begins no slice: {}", self.name, error)
            return
        self.world.strike("slice begun by the primary")
        self.world.say("{} begins slice {} after command {}", self.name, number, begun.seq)
        primary.on_journaled(begun.seq)
        primary.add_slice(SliceBegin(number, genesis, begun.link))

    def _sealed(self, rows: bytes, count: int, time_ns: int, epoch: int) -> bytes:
        """The next block of the journal."""
        last = self.blocks[-1] if self.blocks else None
        sealed = frame.encode(
            rows,
            first_seq=len(self.rows) + 1,
            count=count,
            # The wall clock may step back; the history does not.
            time_ns=max(time_ns, last.time_ns if last else 0),
            epoch=epoch,
            source_digest="",
            rules_version=self.release.rules_version,
        )
        frame.seal(sealed, self.link)
        return bytes(sealed)

    def _send_ahead(self, rows: list[bytes]) -> bool:
        """Apply rows, and send them to the standby ahead of their block, which follows later; False if they cannot be.

        As in the compiled turn of the real node, nothing happens until then but further rows and answers.
        """
        assert self.primary is not None
        if self.ahead_to is None:
            copy = self.primary.ahead_copy()
            place = next(((end, each) for end, each in self.copies.items() if each is copy), None)
            if copy is None or place is None or not self.world.chance(AHEAD_CHANCE):
                return False
            self.ahead_to, self.ahead_told = place, FrameReader()
            life = self.life
            self.world.after(self.world.draw.randrange(AHEAD_NS), lambda: self.call(life, self._on_ahead_over))
        end, copy = self.ahead_to
        self.world.strike("rows sent ahead of their block")
        payload = link.pack_rows(Rows(len(self.sequenced) + 1, len(rows), self.clock.wall_ns(), b"".join(rows)))
        end.send(link.encode(Kind.ROWS, self.primary.epoch, payload))
        self.ahead += rows
        self.machine.apply(b"".join(rows))
        self.primary.on_rows_sent(copy, len(self.sequenced))
        return True

    def _on_ahead_over(self) -> None:
        self._seal_ahead()
        self._turn()

    def _seal_ahead(self) -> None:
        """Seal the block of the rows that were sent ahead, and then hear what the standby has acknowledged."""
        if self.ahead_to is None:
            return
        assert self.primary is not None
        (_, copy), acks = self.ahead_to, self.ahead_acks
        rows, self.ahead, self.ahead_to, self.ahead_acks = self.ahead, [], None, []
        self._sequence(rows, applied=True)
        for data in acks:
            self.primary.receive(copy, data, self.clock.mono_ns())

    def _answer_ahead(self, data: bytes) -> None:
        """Answer what the standby has acknowledged of the rows ahead, while the lease holds."""
        assert self.primary is not None
        self.ahead_acks.append(data)
        for each in self.ahead_told.feed(data):
            if each.kind == Kind.ACK and each.epoch == self.primary.epoch and self.holds():
                self.primary.on_told(link.unpack_ack(each.payload)[0])
        self._release()

    def _sequence(self, rows: list[bytes], *, applied: bool = False) -> None:
        """Seal a block, and give it to the copies, the disk and, unless it is applied, the machine."""
        assert self.primary is not None
        block = self._append(self._sealed(b"".join(rows), len(rows), self.clock.wall_ns(), self.primary.epoch))
        self.primary.add_block(block.first_seq, block.last_seq, bytes(block.sealed))
        digest = self.machine.digest if applied else self.machine.apply(block.rows)
        self.primary.add_digest(block.first_seq, block.last_seq, digest)
        self.blocks_since_scrub += 1
        if self.blocks_since_scrub % SCRUB_EVERY == 0:
            self.turn = (self.turn + 1) % len(toy.PARTS)
            digest = self.machine.part_digest(self.turn)
            self.primary.add_scrub(Scrub(block.last_seq, self.turn, 1 << 20, digest))
        if self.blocks_since_scrub % 200 == 0:
            parts = {part: self.machine.part_digest(turn) for turn, part in enumerate(toy.PARTS)}
            self.primary.add_parts(block.last_seq, parts)

    def holds(self) -> bool:
        """True while this node may answer."""
        return self.tenure is not None and (self.parts.ignores_lease or self.tenure.holds(self.clock.mono_ns()))

    def _reign(self) -> None:
        primary, tenure = self.primary, self.tenure
        assert primary is not None
        assert tenure is not None
        if self.ahead_to is not None:
            if self.intake and not self.closing_ns and not self.roll_wanted:
                self._take_commands()
            return
        now_ns = self.clock.mono_ns()
        for request in tenure.next_requests(now_ns):
            self._ask_about_reign(tenure, request)
        for end, copy in self.copies.items():
            copy.unsent_bytes = end.unsent_bytes
        primary.tick(now_ns, self.clock.wall_ns())
        # Nothing is in flight between engine and journal where a slice begins, so nothing is taken until then.
        if self.roll_wanted and primary.released_seq(lease_holds=self.holds()) == len(self.rows):
            self._roll()
            if not self.alive:
                return
        if not self.closing_ns and not self.roll_wanted:
            if self.seals_time:
                self.seals_time = False
                self._sequence([toy.clock_row()])
            if self.intake:
                self._take_commands()
        self._release()
        if self.closing_ns:
            self._hand_over(now_ns)
        self._send_to_copies()
        if primary.gives_up and self.tenure is not None and not tenure.why:
            self.world.strike("reign given up for a hung disk")
            self.arbiter.ask(self.name, tenure.release(), lambda _answer, _why: None)
        if self.tenure is not None and (tenure.why or primary.superseded):
            self.end_reign(tenure.why or f"epoch {primary.superseded} has begun")

    def _ask_about_reign(self, tenure: Tenure, request: Request) -> None:
        life = self.life

        def done(answer: Answer | None, why: str) -> None:
            if self.tenure is not tenure:
                return
            if answer is None:
                tenure.on_failure(request, why, self.clock.mono_ns())
            else:
                tenure.on_answer(request, answer)
            self._turn()

        self.arbiter.ask(self.name, request, lambda answer, why: self.call(life, lambda: done(answer, why)))

    def _take_commands(self) -> None:
        taken, self.intake = self.intake, []
        rows: list[bytes] = []
        new: dict[tuple[int, int], int] = {}
        for client, number, amount in taken:
            known = self.machine.ids.get((client, number)) or new.get((client, number))
            if known is None:
                rows.append(toy.command_row(client, number, amount))
                known = new[client, number] = len(self.sequenced) + len(rows)
            self.waiting.setdefault(known, []).append((client, number))
        for start in range(0, len(rows), ROWS_PER_BLOCK):
            part = rows[start : start + ROWS_PER_BLOCK]
            if not self._send_ahead(part):
                self._sequence(part)

    def _release(self) -> None:
        """Answer what may be answered; nothing at all without the lease."""
        assert self.primary is not None
        holds = self.holds()
        released = self.primary.released_seq(lease_holds=holds)
        if not holds:
            return
        if released > len(self.checker.told) or self.waiting:
            self.checker.on_release(self, released)
        for seq in [seq for seq in self.waiting if seq <= released]:
            for client, number in self.waiting.pop(seq):
                if (end := self.logins.get(client)) is not None:
                    self.checker.on_reply(self, self.primary.epoch)
                    end.send(("answer", number, seq, self.primary.epoch))

    def _send_to_copies(self) -> None:
        for end, copy in list(self.copies.items()):
            if out := b"".join(copy.take_out()):
                end.send(out)
            if copy.state == "closed":
                end.close()
                del self.copies[end]

    def switch_over(self) -> None:
        """Hand over to the standby, by an operator's command."""
        if self.primary is not None and not self.closing_ns:
            self.closing_ns, self.handed = self.clock.mono_ns(), False

    def _hand_over(self, now_ns: int) -> None:
        assert self.primary is not None
        assert self.tenure is not None
        if now_ns - self.closing_ns > HANDOVER_NS:
            self.closing_ns = 0
        elif not self.handed and self.primary.released_seq(lease_holds=self.holds()) == len(self.rows):
            self.handed = not self.primary.hand_over()
        elif self.handed and self.primary.is_ready:
            self.world.strike("switchover")
            self.world.say("{} hands over to {}", self.name, self.primary.handover_to)
            request = self.tenure.release(self.primary.handover_to)
            self.arbiter.ask(self.name, request, lambda _answer, _why: None)

    def end_reign(self, why: str) -> None:
        """Stop answering, and become a copy once all is on the disk; or exit, as a supervisor starts it again."""
        self._seal_ahead()
        self.world.say("{} ends its reign: {}", self.name, why)
        for end in [*self.copies, *self.logins.values()]:
            end.close()
        self.copies, self.logins, self.intake, self.waiting = {}, {}, [], {}
        self.primary = self.tenure = None
        self.closing_ns, self.roll_wanted = 0, False
        if self.exits_after_reign:
            self.crash("its reign has ended")
        else:
            # It has all that it told, and all that was told before it: it was fit.
            self.stopping, self.whole = why, True

    def stop_in_order(self, why: str) -> None:
        """Stop as an operator asks: once all is on the disk."""
        if self.primary is not None:
            self.end_reign(why)
        elif self.alive and not self.stopping and self.acceding is None:
            self.stopping, self.whole = why, self.standby.memory_kept
        self.exits = bool(self.stopping)

    def _stop(self) -> None:
        self._apply()
        if not self.alive or self.written < len(self.blocks):
            return
        if self.exits:
            if self.whole and not self.standby.ahead:
                self.disk.marks["stopped in order"] = True
            self.crash(f"it stops: {self.stopping}")
        else:
            self.stopping = ""
            self._become_copy(memory_kept=self.whole and not self.standby.ahead, epoch=self.standby.epoch)

    # Connections from outside.

    def on_connection(self, kind: str, end: End) -> None:
        """Take a connection of a copy or a client; a node that is not primary refuses."""
        if self.primary is None or (kind == "client" and not self.holds()):
            end.send(("refused", 0, 0, 0) if kind == "client" else b"")
            end.close()
        elif kind == "peer":
            copy = self.primary.connect(self.world.draw.randbytes(16), self.clock.mono_ns())
            self.copies[end] = copy
            end.on_data = lambda data: self._on_copy_data(end, data)
            end.on_close = lambda: self._on_copy_gone(end)
            self._send_to_copies()
        else:
            end.on_data = lambda data: self._on_client_data(end, data)
            end.on_close = lambda: self._on_client_gone(end)
            self.checker.on_reply(self, self.primary.epoch)
            end.send(("welcome", 0, 0, self.primary.epoch))

    def _on_copy_data(self, end: End, data: object) -> None:
        copy = self.copies.get(end)
        if self.ahead_to is not None and end is self.ahead_to[0] and isinstance(data, bytes):
            self._answer_ahead(data)
        elif copy is not None and self.primary is not None and isinstance(data, bytes):
            self.primary.receive(copy, data, self.clock.mono_ns())
            self._turn()

    def _on_copy_gone(self, end: End) -> None:
        if self.ahead_to is not None and self.primary is not None:
            self._seal_ahead()
        copy = self.copies.pop(end, None)
        if copy is not None and self.primary is not None:
            self.primary.disconnect(copy)
            self._turn()

    def _on_client_data(self, end: End, data: object) -> None:
        if self.primary is None or not isinstance(data, tuple):
            return
        what, client, number, amount = data
        self.logins[client] = end
        if what == "command":
            self.intake.append((client, number, amount))
        elif self.holds():
            self.checker.on_reply(self, self.primary.epoch)
            end.send(("beat", 0, 0, self.primary.epoch))
        self._turn()

    def _on_client_gone(self, end: End) -> None:
        self.logins = {client: each for client, each in self.logins.items() if each is not end}
