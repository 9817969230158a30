"""Clients of the simulation: commands with ids, sent again to whichever node is primary until they are answered."""

from tests.simulation.checks import Checker
from tests.simulation.network import End, Network
from tests.simulation.world import MS, World


class Client:
    """A client with a few commands under way. ``unanswered``: by number, with what was answered before it was sent."""

    life = 0
    alive = True

    def __init__(self, world: World, network: Network, checker: Checker, number: int, interval_ns: int) -> None:
        self.world, self.network, self.checker = world, network, checker
        self.name = f"client {number}"
        self.number, self.interval_ns = number, interval_ns
        self.sent = 0
        self.unanswered: dict[int, tuple[int, tuple[int, int]]] = {}
        self.active = True
        self.epoch = 0
        self._end: End | None = None
        self._logged_in = False
        self._heard_ns = 0
        self._target = 0
        self._targets: list[str] = []
        network.hosts[self.name] = self

    def start(self, targets: list[str]) -> None:
        """Begin."""
        self._targets = targets
        self._tick()

    def call(self, _life: int, act: "object") -> None:
        """A client does not fail."""
        assert callable(act)
        act()

    def on_connection(self, kind: str, end: End) -> None:
        """Nobody connects to a client."""
        raise NotImplementedError

    def _tick(self) -> None:
        world = self.world
        world.after(world.draw.randrange(self.interval_ns // 2, self.interval_ns * 3 // 2), self._tick)
        if self._end is not None and world.now_ns - self._heard_ns > 300 * MS:
            self._end.close()
            self._end = None
        if self._end is None:
            self._connect()
        elif self._logged_in and self.active and len(self.unanswered) < 3:
            self.sent += 1
            self.unanswered[self.sent] = world.draw.randrange(1 << 20), self.checker.floor
            self._send(self.sent)
        elif self._logged_in:
            self._end.send(("beat", self.number, 0, 0))

    def _connect(self) -> None:
        self._target += 1
        end = self.network.connect(self, self._targets[self._target % len(self._targets)], "client")
        end.on_data = lambda data: self._on_data(end, data)
        end.on_close = lambda: self._on_close(end)
        self._end, self._logged_in, self._heard_ns = end, False, self.world.now_ns

    def _on_close(self, end: End) -> None:
        if end is self._end:
            self._end = None

    def _send(self, number: int) -> None:
        assert self._end is not None
        self._end.send(("command", self.number, number, self.unanswered[number][0]))

    def _on_data(self, end: End, data: object) -> None:
        if end is not self._end or not isinstance(data, tuple):
            return
        what, number, seq, epoch = data
        if what == "refused" or epoch < self.epoch:
            end.close()
            self._end = None
            return
        self.epoch = epoch
        self._heard_ns = self.world.now_ns
        if what == "welcome":
            self._logged_in = True
            for each in self.unanswered:
                self._send(each)
        elif what == "answer" and number in self.unanswered:
            self.checker.on_answer(self.number, number, seq, self.unanswered.pop(number)[1])
