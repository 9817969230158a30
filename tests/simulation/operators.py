"""Operator and supervisors of the simulation: they start what died, rebuild what diverged, and force as a last resort.

They do what docs/OPERATIONS.md tells people to do; nothing here is part of the protocol.
"""

from journal import frame
from journal.errors import JournalDamaged
from tests.simulation.arbiters import SimArbiter
from tests.simulation.checks import Checker, replayed
from tests.simulation.disk import GENESIS
from tests.simulation.faults import Faults
from tests.simulation.node import SimNode
from tests.simulation.toy import ROW_BYTES, Slice
from tests.simulation.world import MS, World

#: Time without a primary after which the operator acts, once everything else has healed.
STUCK_NS = 3_000 * MS


class Operator:
    """Supervisors beside the nodes, and a person who acts when nobody reigns. ``may_force``: everything has healed."""

    def __init__(self, world: World, arbiter: SimArbiter, checker: Checker, faults: Faults) -> None:
        self.world, self.arbiter, self.checker, self.faults = world, arbiter, checker, faults
        self._may_force = False
        self._dead_since_ns: dict[str, int] = {}
        self._reigned_ns = 0
        self._tick()

    @property
    def may_force(self) -> bool:
        """True once everything else has healed."""
        return self._may_force

    @may_force.setter
    def may_force(self, value: bool) -> None:
        self._may_force = value
        self._reigned_ns = self.world.now_ns

    def _tick(self) -> None:
        self.world.after(50 * MS, self._tick)
        for node in self.checker.nodes:
            self._supervise(node)
        primary = next((node for node in self.checker.nodes if node.primary is not None and node.holds()), None)
        if primary is not None:
            self._reigned_ns = self.world.now_ns
            for node in self.checker.nodes:
                node.force = ""
            self._rebuild(primary)
        elif self.may_force and self.world.now_ns - self._reigned_ns > STUCK_NS:
            self._help()

    def _supervise(self, node: SimNode) -> None:
        """Start a process that died, after a while; put a wrong release right."""
        now_ns = self.world.now_ns
        unlike = node.alive and node.release != node.world_release and bool(node.standby.unlike)
        if unlike and self.world.chance(0.2):
            self.world.strike("another release refused by the peer")
            node.release = node.world_release
            node.crash("it gets the release of the pair")
        if node.alive:
            self._dead_since_ns.pop(node.name, None)
            return
        since_ns = self._dead_since_ns.setdefault(node.name, now_ns)
        if now_ns - since_ns > self.world.draw.randrange(2_000) * MS or self.may_force:
            if self.may_force:
                node.release = node.world_release
            node.start()
            if not node.alive:
                node.release = node.world_release

    def _rebuild(self, primary: SimNode) -> None:
        """Rebuild a copy that has diverged; before that, the primary if a replay shows that it is the wrong one."""
        if self.may_force:
            for node in self.checker.nodes:
                if node.disk.settled_damage and node.alive and not node.stopping:
                    node.stop_in_order("the operator has verified its journal, which is damaged")
                    return
        for node in self.checker.nodes:
            known = "diverged" in node.disk.marks
            if node is primary or not node.alive or node.paused or primary.paused or not known:
                continue
            if not self.may_force and self.world.chance(0.9):
                continue
            if primary.machine.dump() != replayed(primary.blocks, primary.machine.seq).dump():
                self.world.say("operator: the audit shows that {} is wrong", primary.name)
                primary.disk.checkpoint = None
                primary.stop_in_order("its state is wrong")
                return
            self.world.say("operator: {} is rebuilt", node.name)
            node.disk.checkpoint = None
            del node.disk.marks["diverged"]
            node.disk.directory = self.world.draw.randbytes(16)
            node.crash("it is rebuilt")
            return

    def _help(self) -> None:
        """Nobody reigns, though all is up: repair a damaged journal, then force the node that has the most."""
        nodes = [node for node in self.checker.nodes if node.role == "standby"]
        if any(node.stopping or node.acceding for node in nodes) or not all(node.alive for node in nodes):
            return
        self._reigned_ns = self.world.now_ns
        for node in nodes:
            if node.disk.marks.get("incomplete") == "its journal was damaged" and self._repair(node):
                return
        diverged = [node for node in nodes if "diverged" in node.disk.marks]
        if diverged:
            self.world.say("operator: {} is rebuilt, and nobody reigns", diverged[0].name)
            diverged[0].disk.checkpoint = None
            del diverged[0].disk.marks["diverged"]
            diverged[0].disk.directory = self.world.draw.randbytes(16)
            diverged[0].stop_in_order("it is rebuilt")
            return
        best = max(nodes, key=self._has)
        why = "; ".join(node.candidacy.why for node in nodes)
        self.world.say("operator: forces {}, since: {}", best.name, why)
        self.world.strike("forced takeover")
        best.force = "nobody else can"

    @staticmethod
    def _has(node: SimNode) -> tuple[int, int]:
        return (node.blocks[-1].epoch if node.blocks else 0, len(node.rows))

    def _repair(self, node: SimNode) -> bool:
        """Put damaged blocks back from the other disk, and what lay behind them; the bytes must fit the chain."""
        other = next(each for each in self.checker.nodes if each.role == "standby" and each is not node)
        pool = [*other.disk.slots, *other.disk.quarantine, *node.disk.quarantine]
        by_link: dict[bytes, list[frame.Block]] = {}
        for sealed in pool:
            announced = frame.peek(sealed)
            if announced is not None:
                try:
                    block = frame.decode(sealed, announced[0], ROW_BYTES)
                except JournalDamaged:
                    continue
                by_link.setdefault(block.previous, []).append(block)
        blocks, _ = node.disk.read()
        link = blocks[-1].checksum if blocks else GENESIS
        slices = {each.before: each for each in (*other.disk.slices, *other.disk.slices_aside, *node.disk.slices_aside)}
        begun = [each for each in node.disk.slices if each.before == link]
        if begun:
            link = begun[-1].link
        own = {frame.stored_checksum(sealed) for sealed in node.disk.quarantine} | node.disk.damaged
        found = []
        put_back: list[Slice] = []
        while link in by_link or link in slices:
            if link not in by_link:
                put_back.append(slices.pop(link))
                link = put_back[-1].link
                continue
            # Of two histories it follows its own.
            choice = max(by_link[link], key=lambda block: block.checksum in own)
            found.append(choice)
            link = choice.checksum
        if not found or not any(block.checksum in own for block in found):
            return False
        self.world.strike("journal repaired from the peer")
        self.world.say("operator: repairs {} blocks of {} from {}", len(found), node.name, other.name)
        node.crash("it is repaired")
        node.disk.slots += [bytes(block.sealed) for block in found]
        node.disk.slices += put_back
        del node.disk.marks["incomplete"]
        return True
