"""One run of the simulator: a pair, perhaps with a follower, an arbiter and clients; faults, then healing, twice.

First safety: whatever happens, what was told stays true. Then liveness: once all faults have ended there is within
bounded time one primary, with its standby in sync, and each command is answered.
"""

import traceback
from collections import Counter
from typing import Final, NamedTuple

from replication.arbiter import name_of
from replication.primary import Settings
from sequencer.release import REPLICATED
from tests.simulation.arbiters import SimArbiter
from tests.simulation.checks import Checker
from tests.simulation.clients import Client
from tests.simulation.faults import Faults
from tests.simulation.network import Network
from tests.simulation.node import PairSettings, Parts, SimNode
from tests.simulation.operators import Operator
from tests.simulation.world import MS, Broken, World

#: Virtual time after healing within which everything must be well again.
LIVENESS_NS: Final = 30_000 * MS
DRIFT_PPM: Final = 10_000
POLICIES_DRAWN: Final = ("both", "both", "both", "replica", "replica", "replica", "fsync", "none")


class Result(NamedTuple):
    """Outcome of a run. ``broken``: the promise that was broken, or ""."""

    seed: int
    broken: str
    struck: Counter[str]
    commands: int
    takeovers: int
    divergences: int
    lost_with_leave: int
    story: list[str]


class Setup(NamedTuple):
    """Settings not left to chance. ``drifts_ppm``: of A, B and the arbiter. ``only``: kinds of fault.

    ``late``: requests to the arbiter that meet a partition may arrive after it.
    """

    policy: str = ""
    drifts_ppm: tuple[int, int, int] = ()  # type: ignore[assignment]
    ttl_ms: int = 0
    only: tuple[str, ...] = ()
    late: bool = True


DEFAULT_PARTS: Final = Parts()
DEFAULT_SETUP: Final = Setup()


class Simulation:
    """A run. ``parts``: the cores, or the broken ones of a control."""

    def __init__(self, seed: int, parts: Parts = DEFAULT_PARTS, setup: Setup = DEFAULT_SETUP) -> None:
        self.world = world = World(seed)
        draw = world.draw
        self.network = Network(world)
        settings = Settings(
            policy=setup.policy or draw.choice(POLICIES_DRAWN),  # type: ignore[arg-type]
            alone=draw.choice(("continue", "continue", "stop")),
            backlog_bytes=draw.choice((2_000, 30_000, 1 << 20)),
            out_bytes_max=draw.choice((1_000, 8 << 20)),
            copy_stall_ns=600 * MS,
            own_stall_ns=1_200 * MS,
        )
        self.settings = settings
        self.checker = Checker(world, settings.policy)
        drifts = setup.drifts_ppm or tuple(draw.randint(-DRIFT_PPM, DRIFT_PPM) for _ in range(3))
        self.arbiter = SimArbiter(world, self.network, self.checker, drifts[2], late=setup.late)
        pair = PairSettings(settings, (setup.ttl_ms or draw.choice((300, 600, 2_000))) * MS)
        names = [("A", "standby"), ("B", "standby"), *([("C", "follower")] if draw.random() < 0.3 else [])]
        for number, (name, role) in enumerate(names):
            drift_ppm = drifts[min(number, 1)]
            node = SimNode(world, self.network, self.arbiter, self.checker, name, role, pair, parts, drift_ppm)
            self.checker.nodes.append(node)
        interval_ns = draw.choice((8, 25, 60)) * MS
        self.clients = [
            Client(world, self.network, self.checker, number, interval_ns) for number in range(draw.choice((1, 2, 3)))
        ]
        self.faults = Faults(world, self.network, self.arbiter, self.checker, settings, setup.only)
        self.operator = Operator(world, self.arbiter, self.checker, self.faults)
        world.say(
            "policy {}, alone {}, lease {} ms, {} clients",
            settings.policy,
            settings.alone,
            pair.ttl_ns // MS,
            len(self.clients),
        )

    def run(self) -> Result:
        """Run to the end, or to the first promise that is broken."""
        broken = ""
        try:
            self._run()
        except Broken as error:
            broken = str(error)
        except Exception as error:  # a core may raise nothing, whatever happens
            place = traceback.extract_tb(error.__traceback__)[-1]
            broken = f"{type(error).__name__}: {error} ({place.filename.rpartition('/')[2]}, line {place.lineno})"
        world = self.world
        world.say("{} commands, {}", len(self.checker.told), broken or "all promises held")
        return Result(
            world.seed,
            broken,
            world.struck,
            len(self.checker.told),
            self.checker.takeovers,
            self.checker.divergences,
            self.checker.lost_with_leave,
            world.story(),
        )

    def _run(self) -> None:
        for node in self.checker.nodes:
            node.start()
        for client in self.clients:
            client.start([node.name for node in self.checker.nodes if node.role == "standby"])
        self._heal("at the start")
        for part in ("first", "second"):
            self.world.say("--- faults, {} part", part)
            for client in self.clients:
                client.active = True
            self.operator.may_force = False
            self.faults.begin()
            self.world.run(self.world.now_ns + self.world.draw.randrange(1_500, 5_000) * MS)
            self.faults.end()
            self.world.say("--- healing, {} part", part)
            self._heal(f"after the {part} part")
            self.checker.at_end()

    def _heal(self, when: str) -> None:
        """Let everything heal, first with commands, then until each is answered."""
        self.operator.may_force = True
        deadline_ns = self.world.now_ns + LIVENESS_NS
        if not self.world.run(deadline_ns, self._is_well):
            raise Broken(f"{when} not well in time: {self._trouble()}")
        self.world.run(self.world.now_ns + 300 * MS)
        for client in self.clients:
            client.active = False
        deadline_ns = self.world.now_ns + LIVENESS_NS
        if not self.world.run(deadline_ns, lambda: self._is_well() and self._is_quiet()):
            raise Broken(f"{when} not quiet in time: {self._trouble()}")

    def _is_well(self) -> bool:
        return not self._trouble_of_nodes()

    def _is_quiet(self) -> bool:
        lengths = {len(node.rows) for node in self.checker.nodes}
        written = all(node.written == len(node.blocks) and not node.unapplied for node in self.checker.nodes)
        slices = {tuple(node.slices) for node in self.checker.nodes}
        if len(slices) > 1 or any(node.roll_wanted or node.ahead for node in self.checker.nodes):
            return False
        return len(lengths) == 1 and written and not any(client.unanswered for client in self.clients)

    def _trouble_of_nodes(self) -> str:
        primaries = [node for node in self.checker.nodes if node.primary is not None]
        if len(primaries) != 1 or primaries[0].primary is None:
            return f"{len(primaries)} nodes are primary"
        primary = primaries[0]
        if not primary.holds():
            return f"{primary.name} has no lease"
        names = {node.name for node in self.checker.nodes if node.role == "standby"}
        if self.settings.policy in REPLICATED and set(map(name_of, primary.primary.recorded)) != names:
            return f"{sorted(primary.primary.recorded)} are in sync"
        for node in self.checker.nodes:
            if not node.alive:
                return f"{node.name} is not up"
            if node is not primary and node.standby.state != "following":
                return f"{node.name} is {node.standby.state}: {node.standby.why}"
            if "incomplete" in node.disk.marks and node.role == "standby" and self.settings.policy in REPLICATED:
                return f"{node.name} is incomplete"
            if node.disk.settled_damage:
                return f"{node.name} has damage on its disk"
            if node.flips and node.role == "standby":
                return f"the flipped bit of {node.name} has not been noticed: {node.flips}"
        return ""

    def _trouble(self) -> str:
        whys = "; ".join(f"{node.name}: {node.candidacy.why}" for node in self.checker.nodes)
        waiting = sum(len(client.unanswered) for client in self.clients)
        return f"{self._trouble_of_nodes()}; {waiting} commands wait; {whys}"


def simulate(seed: int, parts: Parts = DEFAULT_PARTS, setup: Setup = DEFAULT_SETUP) -> Result:
    """Run a seed."""
    return Simulation(seed, parts, setup).run()
