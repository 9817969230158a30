"""Arbiter of the simulation: the register of ``replication.register`` behind a network that loses, delays and repeats.

A request may take effect long after the node has given it up, or twice; an answer may be lost. The arbiter dies and
comes back with its register but without its leases, pauses, or loses its register.
"""

from collections.abc import Callable

from replication.arbiter import Answer, Request, Won
from replication.register import Register
from tests.simulation.checks import Checker
from tests.simulation.network import Network
from tests.simulation.world import MS, Clock, World

GIVEN_UP_NS = 200 * MS

Done = Callable[[Answer | None, str], None]


class SimArbiter:
    """An arbiter. ``weather``: probability of each trouble of a request. ``late``: as ``Setup`` has it."""

    name = "arbiter"

    def __init__(self, world: World, network: Network, checker: Checker, drift_ppm: int, *, late: bool = True) -> None:
        self.world, self.network, self.checker = world, network, checker
        self.clock = Clock(world, drift_ppm)
        self.register = Register(None, self.clock.mono_ns())
        self.alive = True
        self.life = 0
        self._late_share = 0.5 if late else 0.0
        self.weather: dict[str, float] = {}
        self._paused_ns: int | None = None
        self._waiting: list[Callable[[], None]] = []

    def _trouble(self, kind: str) -> bool:
        if self.world.chance(self.weather.get(kind, 0.0)):
            self.world.strike(f"arbiter: {kind}")
            return True
        return False

    def ask(self, source: str, request: Request, done: Done) -> None:
        """Send a request; ``done`` is called once, with the answer or the reason why there is none."""
        world = self.world
        open_until = [True]

        def finish(answer: Answer | None, why: str) -> None:
            if open_until[0]:
                open_until[0] = False
                done(answer, why)

        world.after(GIVEN_UP_NS, lambda: finish(None, "no answer in time"))
        life = self.life
        if not self.alive:
            world.after(MS, lambda: finish(None, "the arbiter cannot be reached"))
            return
        delay_ns = self.network.delay_ns(source, self.name)
        if (source, self.name) in self.network.blocked or self._trouble("request late"):
            # It may be lost, or arrive when nobody waits for it any more.
            if not world.chance(self._late_share):
                return
            delay_ns += world.draw.randrange(GIVEN_UP_NS // 2, 2_500 * MS)
        elif self._trouble("request lost"):
            return
        world.after(delay_ns, lambda: self._arrive(life, source, request, finish))
        if self._trouble("request repeated"):
            again_ns = delay_ns + world.draw.randrange(1_500 * MS)
            world.after(again_ns, lambda: self._arrive(life, source, request, lambda _answer, _why: None))

    def _arrive(self, life: int, source: str, request: Request, finish: Done) -> None:
        if life != self.life or not self.alive:
            return  # its connection has died with the process
        if self._paused_ns is not None:
            self._waiting.append(lambda: self._arrive(life, source, request, finish))
            return
        answer = self.register.ask(request, self.clock.mono_ns())
        self.checker.on_register(self.register)
        if isinstance(answer, Won) and answer.reign.epoch == answer.reign.revision and request[0] != answer.epoch:
            self.world.say("arbiter: {} wins epoch {}", answer.reign.primary, answer.epoch)
        if (self.name, source) in self.network.blocked or self._trouble("answer lost"):
            return
        self.world.after(self.network.delay_ns(self.name, source), lambda: finish(answer, ""))

    def crash(self) -> None:
        """Die; the register is on the disk."""
        self.alive = False
        self.life += 1
        self._paused_ns = None
        self._waiting.clear()

    def start(self, *, lost: bool = False) -> None:
        """Start again, with the register as the disk has it, or with none."""
        self.alive = True
        self.register = Register(None if lost else self.register.stored, self.clock.mono_ns())

    def pause(self) -> None:
        """Read nothing from now on."""
        if self.alive and self._paused_ns is None:
            self._paused_ns = self.clock.mono_ns()

    def resume(self) -> None:
        """Read what has arrived; leases are extended by the pause."""
        if self._paused_ns is not None:
            self.register.extend(self.clock.mono_ns() - self._paused_ns)
            self._paused_ns = None
            waiting, self._waiting = self._waiting, []
            for act in waiting:
                act()
