"""Runners: agents on one thread, turn by turn, and what that thread does while none has anything to do.

Where cores are few, one runner has all agents of a program; where there are enough, each agent has a runner and a
thread of its own. Nothing that an agent does depends on that: agents share words and rings of shared memory, and no
variables. A compiled agent holds no interpreter lock while it works, so its thread runs beside others.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tape.agents import Agent, Measured
from tape.doorbell import Doorbell

#: Longest sleep on a doorbell: a word that is stored without a ring, such as the end of a writer, is seen after it.
SLEEP_NS: Final = 50_000_000


class Idle(Protocol):
    """Strategy of a runner between two rounds in which no agent did anything."""

    def rest(self, rounds: int, look: Callable[[], int]) -> int:
        """Spend the time. rounds: those without work so far, from 1. look: one more round, for who must look again
        before it sleeps; gives what that did."""
        ...


class Spin:
    """Begin the next round at once: for an agent with a core of its own."""

    def rest(self, _rounds: int, _look: Callable[[], int]) -> int:
        """Do nothing."""
        return 0


class Yield:
    """Give the core to another thread that waits for one."""

    def rest(self, _rounds: int, _look: Callable[[], int]) -> int:
        """Yield."""
        os.sched_yield()
        return 0


class Doze:
    """Sleep ``least_s``, then twice as long each time, up to ``most_s``: for work that nobody announces."""

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s, self._most_s = least_s, most_s

    def rest(self, rounds: int, _look: Callable[[], int]) -> int:
        """Sleep."""
        time.sleep(min(self._least_s * 2 ** min(rounds - 1, 30), self._most_s))
        return 0


class SleepOn:
    """Sleep on a doorbell, after ``spins`` rounds without work."""

    def __init__(self, bell: Doorbell, *, spins: int = 100, sleep_ns: int = SLEEP_NS) -> None:
        self._bell, self._spins, self._sleep_ns = bell, spins, sleep_ns

    def rest(self, rounds: int, look: Callable[[], int]) -> int:
        """Sleep until the bell rings, unless the look after arming it finds work."""
        if rounds < self._spins:
            return 0
        self._bell.arm()
        done = look()
        if not done:
            self._bell.sleep(self._sleep_ns)
        return done


class Runner:
    """Agents on one thread: ``run`` on the caller's, ``start`` on one of its own. ``measured``: their counters."""

    def __init__(self, agents: Sequence[Agent], idle: Idle, *, name: str = "") -> None:
        self.name = name or "+".join(each.name for each in agents)
        self.measured = [Measured(each) for each in agents]
        self._idle = idle
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def round(self) -> int:
        """Have each agent work once; gives what they did together."""
        return sum(each.turn() for each in self.measured)

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Work until ``until`` is true after a round, or ``stop``. Raises what an agent raises."""
        idle_rounds = 0
        while not self._stopped:
            idle_rounds = 0 if self.round() else idle_rounds + 1
            if until():
                return
            if idle_rounds and self._idle.rest(idle_rounds, self.round):
                idle_rounds = 0

    def start(self, until: Callable[[], bool] = lambda: False) -> None:
        """Work on a thread of its own; ``join`` waits for its end."""

        def work() -> None:
            try:
                self.run(until)
            except BaseException as error:  # for who joins
                self._failure = error

        self._thread = threading.Thread(target=work, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have it end after the present round and rest."""
        self._stopped = True

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end of its thread; False if it takes longer. Raises what an agent raised there."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return False
        if self._failure is not None:
            raise self._failure
        return True


def dedicated(agents: Sequence[Agent], idle: Callable[[Agent], Idle]) -> list[Runner]:
    """A runner for each agent, not yet started."""
    return [Runner([each], idle(each)) for each in agents]
