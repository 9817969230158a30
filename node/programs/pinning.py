"""Processors to which programs of a node are bound, as `lockstep serve --pin` names them.

Only the thread of the market is bound to the core's processor. What begins in it would be bound with it, so other
threads, and children, are given back all the processors that the node began with.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from node.programs.process_names import CORE
from replay.forking import PROCESSORS

#: Processors by the name of a program.
Pins = dict[str, frozenset[int]]


class PinnedNode(Protocol):
    """Options of a node that the programs beside it need (``node.node.NodeOptions``)."""

    @property
    def data(self) -> Path:
        """Data directory."""
        ...

    @property
    def pins(self) -> Pins:
        """Processors of programs, by name."""
        ...


def pins(text: str) -> Pins:
    """Read NAME=CPU,NAME=CPU. Raises ValueError with a sentence.

    >>> pins("core=0")
    {'core': frozenset({0})}
    """
    found: Pins = {}
    for each in filter(None, text.split(",")):
        name, _, cpu = each.partition("=")
        if not name or not cpu.isdecimal():
            raise ValueError(f"{each!r} binds nothing; give NAME=CPU, such as core=0, with commas between several")
        if name in found:
            raise ValueError(f"{name} is bound twice; name it once")
        if int(cpu) not in PROCESSORS:
            have = ", ".join(map(str, sorted(PROCESSORS)))
            raise ValueError(f"there is no processor {cpu} for {name}; there are {have}")
        found[name] = frozenset({int(cpu)})
    return found


def check_names(found: Pins, names: set[str]) -> None:
    """Raise ValueError for a name that no program has."""
    for name in found:
        if name not in names:
            raise ValueError(f"there is no program {name} to bind; there are {', '.join(sorted(names))}")


class CorePin:
    """Binding of this thread, that of the market, to the core's processor, until ``close``; none if none is named."""

    def __init__(self, found: Pins) -> None:
        self._cpus = found.get(CORE, frozenset())
        self._thread = threading.get_native_id()
        if self._cpus:
            os.sched_setaffinity(self._thread, self._cpus)

    def look(self) -> None:
        """Free threads that began in this one since the last look. Call it about once a second."""
        if not self._cpus or self._cpus == PROCESSORS:
            return
        for name in os.listdir("/proc/self/task"):
            number = int(name)
            with suppress(OSError):  # it has ended
                if number != self._thread and os.sched_getaffinity(number) == self._cpus:
                    os.sched_setaffinity(number, PROCESSORS)

    def close(self) -> None:
        """Free this thread."""
        if self._cpus:
            os.sched_setaffinity(self._thread, PROCESSORS)
