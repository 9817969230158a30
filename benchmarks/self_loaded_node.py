"""`lockstep` whose core gives itself orders, for measurements of a core that shares its processor with no client.

Run it as ``python -m benchmarks.self_loaded_node serve ...`` beside a ``SelfLoad``, which says what to take: so many
rounds of W1, in blocks of so many commands, at a rate a second (0: as fast as can be). It answers with what that took.

A round ends with a cancel of each order that is left, and the next has ids of its own: all are the same work.
"""

import asyncio
import json
import os
import resource
import runpy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.traffic import with_ends
from benchmarks.workload import W1, definitions, workload
from node.node import Node

#: Commands of a round before its last cancels, and its instruments.
ROUND: Final = 100_000
SYMBOLS: Final = 8
_NS: Final = 1_000_000_000
#: Variable with the folder of the two pipes.
_FOLDER: Final = "LOCKSTEP_LOAD"


class SelfLoad:
    """Load of a node that is started with this module, by two named pipes in a folder. Make it before the node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("asks", "answers"):
            os.mkfifo(folder / name)
        os.environ[_FOLDER] = str(folder)

    def open(self) -> "SelfLoad":
        """Open the pipes, once the node listens."""
        self._asks = (self._folder / "asks").open("w", encoding="ascii")
        self._answers = (self._folder / "answers").open(encoding="ascii")
        return self

    def take(self, rounds: int, size: int, rate: int) -> dict[str, int]:
        """Have the market take rounds; gives ``commands``, and the time that they took it in ns, by kind."""
        print(rounds, size, rate, file=self._asks, flush=True)
        found: dict[str, int] = json.loads(self._answers.readline())
        return found

    def close(self) -> None:
        """Close the pipes."""
        self._asks.close()
        self._answers.close()


def _used() -> dict[str, int]:
    """Processor time so far, of the market's thread and of the process, and how often that thread gave up its turn."""
    thread = resource.getrusage(resource.RUSAGE_THREAD)
    return {
        "thread_ns": time.thread_time_ns(),
        "process_ns": time.process_time_ns(),
        "system_ns": int(thread.ru_stime * _NS),
        "wall_ns": time.monotonic_ns(),
        "sleeps": thread.ru_nvcsw,
        "taken_away": thread.ru_nivcsw,
    }


class _Load:
    """Rounds of orders for the market of a node."""

    def __init__(self, node: Node, rows: "np.ndarray[Any, Any]") -> None:
        self._market, self._rows = node.market, rows
        self._entered = int(self._rows["client_order_id"].max())
        self._rounds = 0
        self._market.take_own(definitions(SYMBOLS))

    def _blocks(self, rounds: int, size: int) -> "Iterator[np.ndarray[Any, Any]]":
        for _ in range(rounds):
            rows = self._rows.copy()
            rows["client_order_id"] += self._rounds * self._entered
            self._rounds += 1
            yield from (rows[start : start + size] for start in range(0, len(rows), size))

    async def take(self, rounds: int, size: int, rate: int) -> dict[str, int]:
        """Have the market take rounds; gives what that took it."""
        blocks = list(self._blocks(rounds, size))
        before = _used()
        due_ns = time.monotonic_ns()
        for rows in blocks:
            while not self._market.has_room:
                await asyncio.sleep(0.000_5)
            self._market.take_own(rows)
            await asyncio.sleep(0)
            if rate:
                due_ns += len(rows) * _NS // rate
                if (left_ns := due_ns - time.monotonic_ns()) > 0:
                    await asyncio.sleep(left_ns / _NS)
        after = _used()
        return {"commands": sum(map(len, blocks)), **{name: after[name] - before[name] for name in before}}


async def _serve(node: Node, folder: Path, rows: "np.ndarray[Any, Any]") -> None:
    load = _Load(node, rows)
    asks = await asyncio.to_thread(open, folder / "asks", "r", encoding="ascii")
    answers = await asyncio.to_thread(open, folder / "answers", "w", encoding="ascii")
    while line := await asyncio.to_thread(asks.readline):
        rounds, size, rate = map(int, line.split())
        print(json.dumps(await load.take(rounds, size, rate)), file=answers, flush=True)


def _load_itself() -> None:
    plain = Node.start
    rows = with_ends(*workload(W1, SYMBOLS, ROUND))  # before the node serves anybody
    kept: list[asyncio.Task[None]] = []

    async def start(self: Node) -> None:
        await plain(self)
        kept.append(asyncio.get_running_loop().create_task(_serve(self, Path(os.environ[_FOLDER]), rows)))

    Node.start = start  # type: ignore[method-assign]


if __name__ == "__main__":
    _load_itself()
    runpy.run_module("cli.main", run_name="__main__", alter_sys=True)
