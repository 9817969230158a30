"""Faults of a run: each seed has its own mixture of kinds, struck at random times and places.

A fault of a disk strikes only where the other disk has a good copy of all that was told, and then waits until both are
whole again: what both disks have lost, nothing can bring back.
"""

from collections.abc import Callable
from typing import Final

from replication.arbiter import Release as ReleaseLease
from replication.primary import Settings
from sequencer.release import REPLICATED
from tests.simulation.arbiters import SimArbiter
from tests.simulation.checks import Checker, rows_of
from tests.simulation.copies import Copies
from tests.simulation.disk import Disk
from tests.simulation.network import Network
from tests.simulation.node import Release, SimNode
from tests.simulation.toy import CELLS, Flip
from tests.simulation.world import MS, World

TROUBLES_OF_REQUESTS: Final = ("request lost", "request late", "request repeated", "answer lost")
SHAPES: Final = ("both ways", "outward", "inward")
#: Kinds that each run of 300 seeds must have met, as the run prints them.
KINDS: Final = (
    "connection reset",
    "half-open connection",
    "late bytes of an old connection",
    "stream cut within a frame",
    "slow network",
    *(f"partition: {node} isolated, {shape}" for node in ("primary", "standby", "arbiter") for shape in SHAPES),
    "partition: primary from arbiter alone",
    "pause of the primary",
    "pause of a standby",
    "crash of the primary",
    "crash of a standby",
    "crash of both",
    "crash while a standby joins",
    "crash with rows told ahead of their block",
    "cascade of faults",
    "torn write",
    "failed write",
    "misdirected write",
    "full disk",
    "slow disk",
    "hung disk",
    "reign given up for a hung disk",
    "lost disk",
    "older backup",
    "twin",
    "bit flip in a stored block",
    "bit flip in a checkpoint",
    "bit flip in memory",
    "clock step",
    "restart with another build",
    "restart with another release",
    "another release refused at the start",
    "switchover",
    "slice begun by the primary",
    "slice begun with the primary",
    "slice of the old primary set aside",
    "crash in the middle of a roll",
    "supervisor ends the lease",
    "arbiter crash",
    "arbiter pause",
    "lost register",
    *(f"arbiter: {trouble}" for trouble in TROUBLES_OF_REQUESTS),
)


class Faults:
    """Faults by name. ``strike_one`` draws one of the kinds of this seed."""

    def __init__(
        self,
        world: World,
        network: Network,
        arbiter: SimArbiter,
        checker: Checker,
        settings: Settings,
        only: tuple[str, ...],
    ) -> None:
        self.world, self.network, self.arbiter, self.checker = world, network, arbiter, checker
        self.settings = settings
        self.active = False
        self.copies = Copies(world, self._may_wound, self._acknowledged_seq)
        self.kinds: dict[str, Callable[[SimNode], None]] = {
            "connection reset": lambda _: self._end_connection(told=True),
            "half-open connection": lambda _: self._end_connection(told=False),
            "partition": self._isolate_node,
            "arbiter partition": lambda _: self._isolate_arbiter(),
            "primary without arbiter": lambda _: self._part_primary_from_arbiter(),
            "slow network": lambda _: self._slow_network(),
            "pause": self._pause,
            "crash": self._crash,
            "crash of the primary": lambda _: self._crash_primary(),
            "crash in a write": self._crash_in_a_write,
            "crash while a standby joins": lambda _: self._crash_at_join(),
            "crash with rows ahead": lambda _: self._crash_with_rows_ahead(),
            "cascade": lambda _: self._cascade(),
            "crash of both": lambda _: self._crash_both(),
            "crash and exit at the end of a reign": self._exits,
            "failed write": lambda node: setattr(node.disk, "fails_next", True),
            "full disk": self._fill_disk,
            "slow disk": self._slow_disk,
            "hung disk": lambda node: setattr(node.disk, "hang_ns", world.draw.randrange(300, 4_000) * MS),
            "misdirected write": self._misdirect,
            "bit flip in a stored block": self._flip_block,
            "bit flip in a checkpoint": self._flip_checkpoint,
            "bit flip in memory": self._flip_memory,
            "lost disk": self._lose_disk,
            "clock step": self._step_clock,
            "another build": self._change_build,
            "another release": self._change_release,
            "arbiter crash": lambda _: self._crash_arbiter(lost=False),
            "arbiter pause": lambda _: self._pause_arbiter(),
            "lost register": lambda _: self._crash_arbiter(lost=True),
            "switchover": lambda _: self._switch_over(),
            "roll": lambda _: self._roll(),
            "older backup": self.copies.back_up,
            "twin": self.copies.start_twin,
            "orderly restart": lambda node: node.stop_in_order("an operator restarts it"),
        }
        # A swarm: each seed leaves some kinds out, so that others come together more often.
        draw = world.draw
        self.weights = {kind: draw.choice((0, 1, 1, 3)) for kind in self.kinds}
        for rare in ("lost register", "lost disk", "crash of both"):
            self.weights[rare] = draw.choice((0, 0, 1))
        for often in ("crash", "partition", "pause"):
            self.weights[often] += draw.choice((0, 2, 4))
        if only:
            self.weights = dict.fromkeys(only, 1)
        self.interval_ns = draw.choice((60, 150, 400)) * MS
        self.supervised = draw.random() < 0.4

    @property
    def data_nodes(self) -> list[SimNode]:
        """The two that may reign."""
        return [node for node in self.checker.nodes if node.role == "standby"]

    @property
    def primary(self) -> SimNode | None:
        """A node that believes it is primary."""
        return next((node for node in self.checker.nodes if node.primary is not None), None)

    def begin(self) -> None:
        """Let faults strike from now on."""
        draw = self.world.draw
        self.active = True
        self.arbiter.weather = {kind: draw.choice((0.0, 0.0, 0.02, 0.1, 0.3)) for kind in TROUBLES_OF_REQUESTS}
        self._next()

    def end(self) -> None:
        """Heal what is not a node: paths, disks, clocks, the arbiter."""
        self.active = False
        self.copies.forget_backups()
        self.copies.end_twin()
        self.arbiter.weather = {}
        self.network.slow = 1
        self.network.unblock(set(self.network.blocked))
        for node in self.checker.nodes:
            node.disk.is_full = node.disk.fails_next = node.disk.misdirects_next = False
            node.disk.slow, node.disk.hang_ns = 1, 0
            node.exits_after_reign = False
            node.dies_in_roll = ""
            if node.paused:
                node.resume()
        self.arbiter.resume()
        if not self.arbiter.alive:
            self.arbiter.start()

    def _next(self) -> None:
        if not self.active:
            return
        draw = self.world.draw
        self.world.after(draw.randrange(self.interval_ns // 2, 2 * self.interval_ns), self._next)
        kind = draw.choices(list(self.weights), list(self.weights.values()))[0]
        self.kinds[kind](draw.choice(self.checker.nodes))

    def _later(self, low_ms: int, high_ms: int, act: Callable[[], None]) -> None:
        self.world.after(self.world.draw.randrange(low_ms, high_ms) * MS, act)

    def _strike(self, kind: str, *values: object) -> None:
        self.world.strike(kind)
        self.world.say("fault: " + kind + " {}" * len(values), *values)

    # The network.

    def _end_connection(self, *, told: bool) -> None:
        ends = [end for end in self.network.ends if end.is_open and end.peer.is_open and not end.vanished]
        if ends:
            end = self.world.draw.choice(ends)
            self._strike("connection reset" if told else "half-open connection", end.host.name, end.peer.host.name)
            self.network.reset(end, told=told)

    def _block(self, name: str, what: str, others: list[str]) -> None:
        shape = self.world.draw.choice(SHAPES)
        out = {(name, other) for other in others}
        into = {(other, name) for other in others}
        paths = {"both ways": out | into, "outward": out, "inward": into}[shape]
        self._strike(f"partition: {what}, {shape}")
        self.network.block(paths)
        self._later(50, self.world.draw.choice((500, 2_000, 4_000)), lambda: self.network.unblock(paths))

    def _isolate_node(self, node: SimNode) -> None:
        others = [each.name for each in self.checker.nodes if each is not node]
        others += self.world.draw.choice(([], ["arbiter"], ["arbiter"]))
        if self.world.chance(0.3):
            others += [name for name in self.network.hosts if name.startswith("client")]
        self._block(node.name, "primary isolated" if node.primary is not None else "standby isolated", others)

    def _isolate_arbiter(self) -> None:
        names = [node.name for node in self.checker.nodes]
        if self.world.chance(0.5):
            names = [self.primary.name if self.primary is not None else "A"]
        self._block("arbiter", "arbiter isolated", names)

    def _part_primary_from_arbiter(self) -> None:
        """Part the primary alone from the arbiter, for long enough that its lease ends."""
        if self.primary is not None and not self.network.blocked:
            paths = {(self.primary.name, "arbiter")}
            if self.world.chance(0.5):
                paths.add(("arbiter", self.primary.name))
            self._strike("partition: primary from arbiter alone", self.primary.name)
            self.network.block(paths)
            self._later(300, self.world.draw.choice((1_000, 4_500)), lambda: self.network.unblock(paths))

    def _slow_network(self) -> None:
        self._strike("slow network")
        self.network.slow = self.world.draw.choice((5, 40, 150))
        self._later(100, 1_500, lambda: setattr(self.network, "slow", 1))

    # Processes.

    def _pause(self, node: SimNode) -> None:
        if node.alive and not node.paused:
            self._strike("pause of the primary" if node.primary is not None else "pause of a standby", node.name)
            node.pause()
            self._later(20, 2_000, lambda: node.resume() if node.paused else None)

    def _crash(self, node: SimNode) -> None:
        if not node.alive:
            return
        reign = node.tenure.reign if node.tenure is not None else None
        self.world.strike("crash of the primary" if reign is not None else "crash of a standby")
        host_dies = self.world.chance(0.3)
        node.crash("kill -9" if not host_dies else "its machine lost power", told=not host_dies)
        if reign is not None and self.supervised and not host_dies:
            self._strike("supervisor ends the lease", reign.epoch)
            self.arbiter.ask(node.name, ReleaseLease(reign.epoch), lambda _answer, _why: None)

    def _crash_in_a_write(self, node: SimNode) -> None:
        """End a node while its disk is at work."""
        life = node.life

        def look(tries: int) -> None:
            if node.alive and node.life == life and node.writing:
                self._crash(node)
            elif tries and self.active:
                self.world.after(700_000, lambda: look(tries - 1))

        look(100)

    def _crash_at_join(self) -> None:
        """End the primary while its standby does not have all that was told."""

        def look(tries: int) -> None:
            primary = self.primary
            told = len(self.checker.told)
            if primary is not None and any(
                copy.state == "live" and copy.role == "standby" and copy.journaled_seq < told - 1
                for copy in primary.copies.values()
            ):
                self._strike("crash while a standby joins")
                self._crash(primary)
            elif tries and self.active:
                self.world.after(400_000, lambda: look(tries - 1))

        look(2_000)

    def _crash_with_rows_ahead(self) -> None:
        """End the primary while it has told of commands that only the memory of its standby has, and no block."""

        def look(tries: int) -> None:
            primary = self.primary
            if primary is not None and primary.ahead_to is not None and len(self.checker.told) > len(primary.rows):
                self._strike("crash with rows told ahead of their block")
                self._crash(primary)
            elif tries and self.active:
                self.world.after(200_000, lambda: look(tries - 1))

        look(4_000)

    def _cascade(self) -> None:
        """Let one disk of the two fall behind, and then lose both nodes, one after the other."""
        primary = self.primary
        standby = next((node for node in self.data_nodes if node is not primary and node.alive), None)
        if primary is None or standby is None or primary.disk.slow > 1 or standby.disk.slow > 1:
            return
        self.world.strike("cascade of faults")
        behind, other = (primary, standby) if self.world.chance(0.5) else (standby, primary)
        behind.disk.slow = 100
        self._later(500, 1_500, lambda: setattr(behind.disk, "slow", 1))
        self._later(10, 250, lambda: self.world.draw.choice((self._crash, self._crash, self._pause))(other))
        self._later(70, 300, lambda: self._crash(behind))

    def _crash_primary(self) -> None:
        if self.primary is not None:
            self._crash(self.primary)

    def _crash_both(self) -> None:
        self._strike("crash of both")
        for node in self.data_nodes:
            self._crash(node)

    def _exits(self, node: SimNode) -> None:
        node.exits_after_reign = not node.exits_after_reign

    def _step_clock(self, node: SimNode) -> None:
        self._strike("clock step", node.name)
        node.clock.step_ns += self.world.draw.randrange(-3_600_000, 3_600_000) * MS

    def _change_build(self, node: SimNode) -> None:
        if node.alive:
            self._strike("restart with another build", node.name)
            build = "b" if node.release.build == "a" else "a"
            node.release = node.world_release = node.world_release._replace(build=build)
            node.stop_in_order("it is upgraded")

    def _change_release(self, node: SimNode) -> None:
        if node.alive:
            self._strike("restart with another release", node.name)
            node.crash("it is upgraded")
            node.release = Release(rules_version=6) if self.world.chance(0.5) else Release(form=b"x" * 16)

    def _switch_over(self) -> None:
        if self.primary is not None:
            self.primary.switch_over()

    def _roll(self) -> None:
        """Begin a slice of the journal; often one of the nodes dies before or after it is on its disk."""
        if self.primary is not None:
            self.primary.roll_wanted = True
            if self.world.chance(0.6):
                node = self.world.draw.choice(self.data_nodes)
                node.dies_in_roll = self.world.draw.choice(("before", "after"))

    # Disks and memory.

    def _fill_disk(self, node: SimNode) -> None:
        node.disk.is_full = True
        self._later(50, 1_000, lambda: setattr(node.disk, "is_full", False))

    def _slow_disk(self, node: SimNode) -> None:
        node.disk.slow = self.world.draw.choice((10, 100))
        self._later(50, 1_500, lambda: setattr(node.disk, "slow", 1))

    def _may_wound(self, node: SimNode) -> bool:
        if node.role != "standby":
            return True
        for each in self.data_nodes:
            if (
                each.disk.settled_damage
                or each.disk.misdirects_next
                or each.disk.marks.keys() & {"incomplete", "diverged"}
            ):
                return False
        other = next(each for each in self.data_nodes if each is not node)
        told = self.checker.told
        blocks, _ = other.disk.read()
        return len(blocks) > 2 and [row for block in blocks for row in rows_of(block)][: len(told)] == told

    def _acknowledged_seq(self) -> int:
        reign = self.arbiter.register.stored.reign
        return reign.acknowledged_seq if reign is not None else 0

    def _misdirect(self, node: SimNode) -> None:
        # The block that is written goes nowhere: it must be on the other disk already, so the node is a standby.
        if self._may_wound(node) and node.alive and node.primary is None and self.primary is not None:
            node.disk.misdirects_next = True
            self._later(20, 21, lambda: setattr(node.disk, "misdirects_next", False))

    def _flip_block(self, node: SimNode) -> None:
        if self._may_wound(node):
            # A block that the other disk lacks would be lost for good.
            others = {bytes(sealed) for each in self.data_nodes if each is not node for sealed in each.disk.slots}
            places = [place for place, sealed in enumerate(node.disk.slots) if sealed in others]
            if places:
                self._strike("bit flip in a stored block", node.name)
                node.disk.flip_block(self.world.draw.choice(places), self.world.draw.randrange(1 << 16))

    def _flip_checkpoint(self, node: SimNode) -> None:
        if node.disk.checkpoint is not None:
            node.disk.checkpoint.flipped = True

    def _flip_memory(self, node: SimNode) -> None:
        # One at a time: two could hide each other.
        if node.alive and node.role == "standby" and not any(each.flips for each in self.checker.nodes):
            draw = self.world.draw
            flip = Flip(node.machine.seq, draw.randrange(4), draw.randrange(CELLS))
            self._strike("bit flip in memory", node.name, flip)
            node.machine.flip(flip.part, flip.cell, draw.randrange(31))
            node.flips.append(flip)
            node.flips_ever.append(flip)

    def _lose_disk(self, node: SimNode) -> None:
        if self._may_wound(node) and self.settings.policy in REPLICATED:
            self._strike("lost disk", node.name)
            node.crash("its disk is lost", told=False)
            node.disk = Disk(self.world, incomplete="its disk is new")
            if self.world.chance(0.3):
                node.release = Release(form=b"x" * 16)

    # The arbiter.

    def _crash_arbiter(self, *, lost: bool) -> None:
        if self.arbiter.alive:
            self._strike("lost register" if lost else "arbiter crash")
            self.arbiter.crash()
            self._later(20, 1_500, lambda: None if self.arbiter.alive else self.arbiter.start(lost=lost))

    def _pause_arbiter(self) -> None:
        self._strike("arbiter pause")
        self.arbiter.pause()
        self._later(20, 1_500, self.arbiter.resume)
