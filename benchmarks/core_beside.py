"""Cost of readers of the tape to the core: one core, in windows of milliseconds beside them and without, in turn.

python -m benchmarks.core_beside               all of it, as one JSON object a line
python -m benchmarks.core_beside NAME...       apart, shared
python -m benchmarks.core_beside --bursts 50   so many rounds of orders for each load

The core (``benchmarks.self_loaded_node``) gives itself the same orders in each burst, so there is no client. Beside it
are the multicast feed, the web process and market data by FIX, which stand still (SIGSTOP) where a window is without
them. Windows follow each other in cycles, one of each kind, in an order of its own:

    readers     they run; at a rate they have caught up when a burst begins, and else they are always behind
    counting    a program that does nothing but count runs in their place: the other processor is as busy
    again       the same once more: a control, which must differ by nothing
    planted     as counting, and the core counts 3% longer itself: a control, which must be seen
    nothing     nothing of ours runs there, so what else the machine has to do runs

Processors of virtual machines change from second to second, by more than what is asked for. Windows of a cycle are some
milliseconds apart: of each burst the blocks of all windows of a kind together are compared with those of ``counting``
and ``again`` together (``shared``: of ``nothing`` and ``again``). What is told is the median over all bursts, with the
interval that has it in 95 of 100 cases, whatever the distribution is (the sign test). All programs are of one session,
whose share of busy processors is raised where the system lets it.

``apart``: the core is bound to one processor, all others to another. What counts is the processor time of the market's
thread a command: as fast as can be, and at rates at which it sleeps between two blocks and readers are woken.

``shared``: core and readers share the two, as the system distributes them, and nothing counts in place of readers. What
counts is the clock: what readers take from the core is the processor itself.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from math import comb
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.feeds import Beside, readers_of
from benchmarks.measure import Row, machine, row
from benchmarks.ports import free_port
from benchmarks.processors import bind
from benchmarks.self_loaded_node import SelfLoad
from benchmarks.wire_node import Node, link_to, serving
from replay.forking import PROCESSORS

_BURSTS: Final = 200
_LOSS_PERCENT: Final = 3.0
_PLANTED: Final = 0.03
_SURE: Final = 0.95
_CAUGHT_UP_S: Final = 3.0
#: Bursts at the begin that are not told: two to warm up, and two that say how long the planted loop takes.
_FIRST: Final = 2
_LOOPS: Final = 300
#: Fewer blocks of a kind in a burst say nothing.
_BLOCKS_MIN: Final = 8
_ARGUMENTS: Final = ("--tape-mb", "64", "--ids-max", "40000000")
#: Kind of the system's clock of all processor time of a process, in the low bits of its number.
_PROCESS_CLOCK: Final = 2
_CLOCKS: Final = ("thread_ns", "process_ns", "wall_ns")


class Load(NamedTuple):
    """Commands of a burst, of a block, and a second (0: as fast as can be); seconds of a window, and of its begin that
    does not count, in which caches and readers come to what is theirs."""

    burst: int
    size: int
    rate: int
    window_s: float
    settle_s: float

    def __str__(self) -> str:
        return f"{self.rate:,} commands/s" if self.rate else "as fast as can be"


LOADS: Final = (
    Load(200_000, 256, 0, 0.005, 0.001),
    Load(50_000, 32, 100_000, 0.02, 0.005),
    Load(2_000, 1, 2_000, 0.04, 0.01),
)
KINDS: Final = ("readers", "counting", "again", "planted", "nothing")
#: Costs of a command in ns, by kind of window, then by clock.
_Costs = dict[str, dict[str, float]]


def interval(samples: Sequence[float]) -> tuple[float, float]:
    """The interval that has the median of what ``samples`` are drawn from in 95 of 100 cases, by the sign test.

    Fewer than six samples have none: it is all of them.
    """
    ordered, count = sorted(samples), len(samples)
    below, outside = 0, 0.0
    while below < count // 2:
        outside += 2 * comb(count, below) / 2**count
        if outside > 1 - _SURE:
            break
        below += 1
    first = max(below - 1, 0)
    return ordered[first], ordered[count - 1 - first]


class Bursts:
    """Bursts of one load on a core of its own. is_apart: the core has a processor to itself."""

    def __init__(self, ends: ExitStack, load: Load, *, is_apart: bool) -> None:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="lockstep-bench-")))
        self._ask, self._load = SelfLoad(folder, load.burst), load
        module = "benchmarks.self_loaded_node"
        port, pid = ends.enter_context(serving(folder / "node", "none", _ARGUMENTS, module))
        link = ends.enter_context(link_to(folder / "node"))
        self._node = Node("127.0.0.1", port, [], [], pid, link, folder / "node")
        ends.callback(self._ask.open().close)
        group = f"239.192.254.1:{free_port()}"
        self._readers = []
        for words in (["feed", "--group", group], ["web", "--port", "0"], ["fix-data", "--port", "0"]):
            program = Beside(self._node, words)
            ends.callback(program.end)
            self._readers.append(program.process.pid)
        self._counting: list[int] = []
        if is_apart:
            counting = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            ends.callback(counting.kill)
            self._counting.append(counting.pid)
            os.kill(counting.pid, signal.SIGSTOP)
            first, second, *_ = sorted(PROCESSORS)
            for each in (*self._readers, *self._counting, os.getpid()):
                bind(each, second)
            bind(pid, first)
        self._windows = 0
        self._order = random.Random(1)
        self.loops = _LOOPS
        self.busy: list[float] = []  # part of a processor that the readers had, of each of their windows

    def burst(self, kinds: Sequence[str]) -> _Costs:
        """Costs of a burst with windows of these kinds in turn; none where one kind has too few blocks."""
        if self._load.rate:
            self._await_readers()
        self._move(self._readers, [])
        windows: dict[str, list[int]] = {kind: [] for kind in kinds}
        self._ask.begin(self._load.size, self._load.rate)
        while not self._ask.ended:
            for kind in self._order.sample(kinds, len(kinds)):
                self._windows += 1
                windows[kind].append(self._windows)
                self._window(kind)
        self._move([], self._readers)
        blocks, costs = self._ask.blocks(), _Costs()
        for kind, numbers in windows.items():
            rows = blocks[np.isin(blocks["window"], numbers)]
            if len(rows) < _BLOCKS_MIN:
                return {}
            commands = int(rows["commands"].sum())
            costs[kind] = {clock: int(rows[clock].sum()) / commands for clock in (*_CLOCKS, "planted_ns")}
        return costs

    def _window(self, kind: str) -> None:
        """Have a window pass."""
        others = {"readers": self._readers, "nothing": []}.get(kind, self._counting)
        self._move([], others)
        time.sleep(self._load.settle_s)
        used_ns, began_ns = self._used_ns(), time.monotonic_ns()
        self._ask.enter(self._windows, self.loops if kind == "planted" else 0)
        time.sleep(self._load.window_s)
        self._ask.enter(0)
        took_ns = time.monotonic_ns() - began_ns
        self._move(others, [])
        if kind == "readers":
            self.busy.append((self._used_ns() - used_ns) / took_ns)

    def _used_ns(self) -> int:
        """Processor time of the readers so far."""
        return sum(time.clock_gettime_ns(~each << 3 | _PROCESS_CLOCK) for each in self._readers)

    @staticmethod
    def _move(stand: list[int], run: list[int]) -> None:
        for each in stand:
            os.kill(each, signal.SIGSTOP)
        for each in run:
            os.kill(each, signal.SIGCONT)

    def _await_readers(self) -> None:
        """Wait until readers have caught up, or for a time."""
        until_s = time.monotonic() + _CAUGHT_UP_S
        while any(each["lag_bytes"] for each in readers_of(self._node)) and time.monotonic() < until_s:
            time.sleep(0.01)


def _bursts(load: Load, bursts: int, *, is_apart: bool) -> tuple[list[_Costs], list[float]]:
    """Costs of each burst, and the part of a processor that the readers had."""
    kinds = KINDS if is_apart else [kind for kind in KINDS if kind != "counting"]
    with ExitStack() as ends:
        core = Bursts(ends, load, is_apart=is_apart)
        for _ in range(_FIRST):
            core.burst(kinds)
        first = [each for _ in range(_FIRST) if (each := core.burst(("again", "planted")))]
        plain_ns = median(each["again"]["thread_ns"] for each in first)
        loops_ns = median(each["planted"]["planted_ns"] for each in first)
        core.loops = max(round(_LOOPS * _PLANTED * plain_ns / loops_ns), 1)
        core.busy.clear()
        return [each for _ in range(bursts) if (each := core.burst(kinds))], core.busy


def _more(found: list[_Costs], kind: str, than: Sequence[str], clock: str) -> list[float]:
    """Excess of windows of a kind over those of others, by a clock, of each burst, in percent."""
    return [100 * (each[kind][clock] / (sum(each[other][clock] for other in than) / len(than)) - 1) for each in found]


def _rows(load: Load, bursts: int, clock: str, *, is_apart: bool) -> Iterator[Row]:
    """A row a kind: the excess of its windows over those it is compared with."""
    found, busy = _bursts(load, bursts, is_apart=is_apart)
    plain = ("counting" if is_apart else "nothing", "again")
    name = f"the core, {load}"
    yield row(f"{name}, beside {plain[0]}: {clock} a command", [each[plain[0]][clock] for each in found], "ns")
    others = [(kind, plain) for kind in found[0] if kind not in plain] + [(plain[1], plain[:1])]
    for kind, than in [*others, ("readers", ("nothing",))] if is_apart else others:
        for of in dict.fromkeys((clock, *_CLOCKS)) if kind == "readers" else (clock,):
            more = _more(found, kind, than, of)
            asked = _LOSS_PERCENT if is_apart and (kind, than, of) == ("readers", plain, clock) else None
            said = row(f"{name}, beside {kind}, to {' and '.join(than)}: {of}", more, "%", at_most=asked)
            said["from"], said["to"] = interval(more)
            said["quarters"] = np.percentile(more, (25, 75)).tolist()
            yield said
    planted = [100 * each["planted"]["planted_ns"] / each[plain[0]]["thread_ns"] for each in found]
    yield row(f"{name}: what was planted, of thread_ns", planted, "%")
    yield row(f"{name}: part of a processor that the readers had", [100 * each for each in busy], "%")


def apart(bursts: int) -> Iterator[Row]:
    """Processor time of the market's thread for a command beside readers on another processor."""
    for load in LOADS:
        yield from _rows(load, bursts, "thread_ns", is_apart=True)


def shared(bursts: int) -> Iterator[Row]:
    """Time by the clock for a command where readers and core share their processors."""
    yield from _rows(LOADS[0], bursts, "wall_ns", is_apart=False)


PARTS: Final[dict[str, Callable[[int], Iterator[Row]]]] = {"apart": apart, "shared": shared}


def _go_first() -> None:
    """Give this session, and with it all programs of a measurement, the largest share where the system lets it."""
    with suppress(OSError):
        os.setsid()
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("-20", encoding="ascii")


def main(words: Sequence[str]) -> None:
    """Print each row as soon as it is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.core_beside", allow_abbrev=False)
    parser.add_argument("parts", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--bursts", type=int, default=_BURSTS, help="of orders, for each load")
    asked: Any = parser.parse_args(words)
    _go_first()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # all that was started ends with it
    print(json.dumps(machine()), flush=True)
    for part in asked.parts or PARTS:
        for each in PARTS[part](asked.bursts):
            print(json.dumps(each), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
