"""Copies of a data directory: an older backup put back in its place, and a twin that runs beside it under its name."""

from collections.abc import Callable
from typing import Final

from journal import frame
from replication.arbiter import member_of
from tests.simulation.disk import Disk
from tests.simulation.node import SimNode
from tests.simulation.world import MS, World

#: Marks of a directory that takes nothing over anyway.
_UNFIT: Final = {"incomplete", "diverged"}


class Copies:
    """Copies of the directories of a run. ``may_wound``: the other disk has all that was told.

    ``acknowledged_seq``: of the arbiter's record.
    """

    def __init__(self, world: World, may_wound: Callable[[SimNode], bool], acknowledged_seq: Callable[[], int]) -> None:
        self.world = world
        self._may_wound, self._acknowledged_seq = may_wound, acknowledged_seq
        self._backups: dict[str, Disk] = {}
        self._twin: SimNode | None = None
        self._beside: SimNode | None = None

    def back_up(self, node: SimNode) -> None:
        """Take a backup of a directory, and put it back some time later, where it is old by then."""
        if node.role == "standby" and node.name not in self._backups and not node.disk.settled_damage:
            self._backups[node.name] = node.disk.copied()
            delay_ns = self.world.draw.randrange(300, 3_000) * MS
            self.world.after(delay_ns, lambda: self._put_back(node, self._backups.pop(node.name, None)))

    def forget_backups(self) -> None:
        """Put none back any more."""
        self._backups.clear()

    def _put_back(self, node: SimNode, backup: Disk | None) -> None:
        if backup is None or backup.marks.keys() & _UNFIT or not 0 < backup.last_seq < self._acknowledged_seq():
            return
        if not self._may_wound(node):
            return
        self.world.strike("older backup")
        self.world.say("fault: older backup of {}, up to command {}", node.name, backup.last_seq)
        node.crash("an older backup is put back", told=False)
        old, node.disk = node.disk, backup
        backup.ever |= old.ever
        backup.damaged |= old.ever - {frame.stored_checksum(each) for each in (*backup.slots, *backup.quarantine)}

    def start_twin(self, node: SimNode) -> None:
        """Start a copy of a directory beside it, under the same name; one at a time."""
        if (
            node.role != "standby"
            or self._twin is not None
            or node.disk.settled_damage
            or node.disk.marks.keys() & _UNFIT
        ):
            return
        self.world.strike("twin")
        self.world.say("fault: twin of {}", node.name)
        twin = SimNode(
            node.world, node.network, node.arbiter, node.checker, node.name, node.role, node.settings, node.parts, 0
        )
        node.network.hosts[node.name] = node
        twin.disk = node.disk.copied()
        if not node.parts.twins_keep_the_id:
            twin.disk.directory = self.world.draw.randbytes(16)
        twin.release = twin.world_release = node.release
        self._twin, self._beside = twin, node
        twin.start()
        self.world.after(self.world.draw.randrange(500, 4_000) * MS, lambda: self._end_if(twin))

    def _end_if(self, twin: SimNode) -> None:
        if self._twin is twin:
            self.end_twin()

    def end_twin(self) -> None:
        """End the twin. Where the record names its directory, that is the node's from now on."""
        twin, node = self._twin, self._beside
        if twin is None or node is None:
            return
        reign = twin.arbiter.register.stored.reign
        goes_on = (
            reign is not None
            and reign.has_in_sync(member_of(twin.name, twin.disk.directory))
            and not node.parts.twins_keep_the_id
        )
        twin.crash("it was a twin")
        self._twin = self._beside = None
        if goes_on:
            self.world.strike("twin in the place of its node")
            node.crash("its twin has taken its place")
            old, node.disk = node.disk, twin.disk
            node.disk.ever |= old.ever
            kept = {frame.stored_checksum(each) for each in (*node.disk.slots, *node.disk.quarantine)}
            node.disk.damaged |= node.disk.ever - kept
