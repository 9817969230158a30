"""`lockstep` whose core gives itself orders, for measurements of a core that shares its processor with no client.

Run it as ``python -m benchmarks.self_loaded_node serve ...`` beside a ``SelfLoad``, which has it take a round of W1 in
blocks of so many commands, at a rate a second (0: as fast as can be). It answers with what that took, block by block.

Whoever measures changes the surroundings meanwhile, in windows: it numbers them in two shared words, and says in the
other how far the core is to count behind each block: a cost that is planted, as a control.

A round ends with a cancel of each order that is left, and the next has ids of its own: all are the same work.
"""

import asyncio
import os
import runpy
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.traffic import with_ends
from benchmarks.workload import W1, definitions, workload
from node.node import Node

SYMBOLS: Final = 8
_NS: Final = 1_000_000_000
#: Variables with the folder of pipes and shared words, and with the commands of a round before its last cancels.
_FOLDER: Final = "LOCKSTEP_LOAD"
_ROUND: Final = "LOCKSTEP_LOAD_ROUND"
#: Shared words: number of the window; how far to count behind each block; whether the market takes a round.
_WINDOW, _LOOPS, _TAKING, _WORDS = 0, 1, 2, 3
#: A block that the core took. window: its number, 0 where there was none or another began meanwhile. planted_ns: of
#: ``thread_ns``, what it counted.
BLOCK: Final = np.dtype(
    [(name, "i8") for name in ("window", "commands", "planted_ns", "thread_ns", "process_ns", "wall_ns")]
)


class SelfLoad:
    """Load of a node that is started with this module, by two named pipes in a folder. Make it before the node.

    commands: of a round before its last cancels.
    """

    def __init__(self, folder: Path, commands: int) -> None:
        self._folder = folder
        for name in ("asks", "answers"):
            os.mkfifo(folder / name)
        (folder / "words").write_bytes(bytes(8 * _WORDS))
        self._words = _words_of(folder)
        os.environ[_FOLDER], os.environ[_ROUND] = str(folder), str(commands)

    def open(self) -> "SelfLoad":
        """Open the pipes, once the node listens."""
        self._asks = (self._folder / "asks").open("w", encoding="ascii")
        self._answers = (self._folder / "answers").open(encoding="ascii")
        return self

    def begin(self, size: int, rate: int) -> None:
        """Have the market take a round; returns when it begins to."""
        print(size, rate, file=self._asks, flush=True)
        while not self._words[_TAKING]:
            time.sleep(0.000_5)

    @property
    def ended(self) -> bool:
        """True once it has taken it."""
        return not self._words[_TAKING]

    def blocks(self) -> "np.ndarray[Any, Any]":
        """BLOCK rows of the round, once it has ended."""
        self._answers.readline()
        return np.fromfile(self._folder / "blocks", BLOCK)

    def enter(self, window: int, loops: int = 0) -> None:
        """Begin a window with this number; 0: none, while the surroundings change."""
        self._words[_LOOPS], self._words[_WINDOW] = loops, window

    def close(self) -> None:
        """Close the pipes."""
        self._asks.close()
        self._answers.close()


def _words_of(folder: Path) -> "np.ndarray[Any, Any]":
    return np.memmap(folder / "words", np.int64, "r+")


class _Load:
    """Rounds of orders for the market of a node."""

    def __init__(self, node: Node, rows: "np.ndarray[Any, Any]", words: "np.ndarray[Any, Any]") -> None:
        self._market, self._rows, self._words = node.market, rows, words
        self._entered = int(self._rows["client_order_id"].max())
        self._rounds = 0
        self._market.take_own(definitions(SYMBOLS))

    def _blocks(self, size: int) -> "Iterator[np.ndarray[Any, Any]]":
        rows = self._rows.copy()
        rows["client_order_id"] += self._rounds * self._entered
        self._rounds += 1
        return (rows[start : start + size] for start in range(0, len(rows), size))

    async def take(self, size: int, rate: int) -> "np.ndarray[Any, Any]":
        """Have the market take a round; gives BLOCK rows of what that took it. A block ends where the next begins."""
        words, taken, blocks = self._words, array("q"), list(self._blocks(size))
        words[_TAKING] = 1
        due_ns = time.monotonic_ns()
        window, before = int(words[_WINDOW]), _used()
        for rows in blocks:
            while not self._market.has_room:
                await asyncio.sleep(0.000_5)
            self._market.take_own(rows)
            planted_ns = _count(int(words[_LOOPS]))
            await asyncio.sleep(0)
            if rate:
                due_ns += len(rows) * _NS // rate
                if (left_ns := due_ns - time.monotonic_ns()) > 0:
                    await asyncio.sleep(left_ns / _NS)
            began, start = window, before
            window, before = int(words[_WINDOW]), _used()
            taken.extend((began if began == window else 0, len(rows), planted_ns))
            taken.extend(now - then for now, then in zip(before, start, strict=True))
        words[_TAKING] = 0
        return np.frombuffer(taken, BLOCK)


def _count(to: int) -> int:
    """Count; gives the processor time that it took, in ns."""
    if not to:
        return 0
    began_ns = time.thread_time_ns()
    for _ in range(to):
        pass
    return time.thread_time_ns() - began_ns


def _used() -> tuple[int, int, int]:
    """Processor time so far, of the market's thread and of the process, and the clock."""
    return time.thread_time_ns(), time.process_time_ns(), time.monotonic_ns()


async def _serve(node: Node, folder: Path, rows: "np.ndarray[Any, Any]") -> None:
    load = _Load(node, rows, _words_of(folder))
    asks = await asyncio.to_thread(open, folder / "asks", "r", encoding="ascii")
    answers = await asyncio.to_thread(open, folder / "answers", "w", encoding="ascii")
    while line := await asyncio.to_thread(asks.readline):
        size, rate = map(int, line.split())
        (await load.take(size, rate)).tofile(folder / "blocks")
        print(file=answers, flush=True)


def _load_itself() -> None:
    plain = Node.start
    rows = with_ends(*workload(W1, SYMBOLS, int(os.environ[_ROUND])))  # before the node serves anybody
    kept: list[asyncio.Task[None]] = []

    async def start(self: Node) -> None:
        await plain(self)
        kept.append(asyncio.get_running_loop().create_task(_serve(self, Path(os.environ[_FOLDER]), rows)))

    Node.start = start  # type: ignore[method-assign]


if __name__ == "__main__":
    _load_itself()
    runpy.run_module("cli.main", run_name="__main__", alter_sys=True)
