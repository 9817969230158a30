"""Agents: what works in a program of the market, each with a name and counters.

An agent's ``work`` does what there is to do, says how much that was, and never waits. Its
program calls it from an event loop; who measures the program reads the counters.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Agent(Protocol):
    """A piece of work that comes again and again."""

    @property
    def name(self) -> str:
        """Name in metrics, a word or two."""
        ...

    def work(self) -> int:
        """Do what there is to do, without waiting; gives how much was done, 0 for nothing."""
        ...


@dataclass
class Counters:
    """Counters of one agent since it began. busy_ns: time of those turns that found something to do."""

    turns: int = 0
    worked: int = 0
    busy_ns: int = 0


class Call:
    """An agent of a function that does its work, given how much it did."""

    def __init__(self, name: str, call: Callable[[], int]) -> None:
        self.name, self._call = name, call

    def work(self) -> int:
        """Call it."""
        return self._call()


class Always:
    """An agent of a function that always has something to do, such as a look at a clock; it counts calls."""

    def __init__(self, name: str, call: Callable[[], object]) -> None:
        self.name, self._call = name, call

    def work(self) -> int:
        """Call it; 1."""
        self._call()
        return 1


class Measured:
    """An agent with its counters."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.counters = agent, Counters()

    def turn(self) -> int:
        """Have it work once; gives how much it did."""
        began_ns = time.perf_counter_ns()
        done = self.agent.work()
        self.count(done, began_ns)
        return done

    def count(self, done: int, began_ns: int) -> None:
        """Count work that was done since a time (``perf_counter_ns``)."""
        counters = self.counters
        counters.turns += 1
        if done:
            counters.worked += done
            counters.busy_ns += time.perf_counter_ns() - began_ns
