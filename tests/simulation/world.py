"""Virtual time, the one source of chance, the story of a run, and the count of the faults that struck."""

import heapq
import random
from collections import Counter
from collections.abc import Callable

MS = 1_000_000


class Broken(AssertionError):
    """A promise was broken; the message says which."""


def demand(holds: bool, why: str) -> None:
    """Raise Broken unless a promise holds; unlike ``assert``, always on."""
    if not holds:
        raise Broken(why)


class World:
    """Events in order of a virtual time in nanoseconds. ``struck``: faults by kind, counted when they take effect."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ns = 0
        self.draw = random.Random(f"simulation {seed}")
        self.struck: Counter[str] = Counter()
        self.lines: list[tuple[int, str, tuple[object, ...]]] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Call ``act`` in a while."""
        self._count += 1
        heapq.heappush(self._events, (self.now_ns + delay_ns, self._count, act))

    def run(self, until_ns: int, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass until ``until_ns``, or until ``done``, which is asked every 20 ms; True if done."""
        ask_ns = self.now_ns
        while self._events and self._events[0][0] <= until_ns:
            self.now_ns, _, act = heapq.heappop(self._events)
            act()
            if done is not None and self.now_ns >= ask_ns:
                ask_ns = self.now_ns + 20 * MS
                if done():
                    return True
        self.now_ns = until_ns
        return False

    def strike(self, kind: str) -> None:
        """Count a fault."""
        self.struck[kind] += 1

    def say(self, line: str, *values: object) -> None:
        """Add a line to the story; ``values`` go into its braces when it is told."""
        self.lines.append((self.now_ns, line, values))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.draw.random() < probability

    def story(self) -> list[str]:
        """The story so far, a line for each event, with the time in milliseconds."""
        return [f"{now_ns / MS:10.3f}  {line.format(*values)}" for now_ns, line, values in self.lines]


class Clock:
    """Clocks of a machine: a monotonic one with its own rate, and a wall clock that steps."""

    def __init__(self, world: World, drift_ppm: int) -> None:
        self._world = world
        self._start_ns = world.draw.randrange(1 << 40)
        self.drift_ppm = drift_ppm
        self.step_ns = world.draw.randrange(-1_000, 1_000) * MS

    def mono_ns(self) -> int:
        """Monotonic time."""
        now_ns = self._world.now_ns
        return self._start_ns + now_ns + now_ns * self.drift_ppm // 1_000_000

    def wall_ns(self) -> int:
        """Time of day."""
        return 1_700_000_000_000_000_000 + self._world.now_ns + self.step_ns
