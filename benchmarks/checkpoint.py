"""A checkpoint of one million resting orders: how long it is in the way, its size, and how soon a node is back.

A fork of the pump writes it (``directory.checkpoint_fork``). Measured are the pause of the pump, and its rate while the
child writes, with which it shares processor, memory and disk, beside the rate without a child.
"""

import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.books import RESTING_SYMBOLS, resting
from benchmarks.measure import RUNS, Row, row, seconds
from benchmarks.traffic import day
from benchmarks.workload import definitions
from checkpoints import CheckpointStore
from directory.checkpoint_fork import CheckpointFork
from directory.recover import create
from engine import Capacity
from engine.interface import MarketEngine, prefault
from journal import Journal
from replay.rebuild import rebuild
from sequencer.pump import Boundary, pump
from sequencer.stamp import FileStamp

_BLOCK: Final = 4_096


def run() -> list[Row]:
    """All measurements of checkpoints."""
    stalls, alone, beside, writes, restores = [], [], [], [], []
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory = Path(name) / "node"
        journal, engine = create(directory, Capacity(), durability="none")
        prefault(engine)
        store = CheckpointStore(directory)
        with journal:
            pump([definitions(RESTING_SYMBOLS), *resting(_BLOCK)], FileStamp(), journal, engine, durability="none")
            for run in range(RUNS):
                alone.append(_rate(2 * run + 1, journal, engine, None))
                every = _Timed(CheckpointFork(journal, 1, keep=2))
                began_s = time.perf_counter()
                beside.append(_rate(2 * run + 2, journal, engine, every))
                every.aside.finish()
                writes.append(time.perf_counter() - began_s)
                stalls.append(every.longest_ms)
            size = store.list()[-1].bytes / 2**20
            ends = engine.event_digest
        for _ in range(RUNS):
            restores.append(seconds(lambda: _restore(directory, ends)))
    return [
        row("checkpoint, 1 M resting orders: the pump stands still", stalls, "ms", at_most=10.0),
        row("checkpoint: pump without", alone, "commands/s"),
        row("checkpoint: pump while it is written", beside, "commands/s"),
        row("checkpoint: from fork to name, pump included", writes, "s"),
        row("checkpoint: size", [size], "MB"),
        row("checkpoint: restored, and 1 M commands of tail verified", restores, "s", at_most=1.0),
    ]


def _rate(number: int, journal: Journal, engine: MarketEngine, at_boundary: Boundary | None) -> float:
    """Commands per second of a day of W1 through the pump."""
    blocks = day(number, RESTING_SYMBOLS, _BLOCK)
    began_s = time.perf_counter()
    pumped = pump(blocks, FileStamp(engine.now_ns), journal, engine, durability="none", at_boundary=at_boundary)
    return pumped.commands / (time.perf_counter() - began_s)


class _Timed:
    """The first call takes the checkpoint, the others look after it; the longest is how long the pump stood still."""

    def __init__(self, aside: CheckpointFork) -> None:
        self.aside = aside
        self.longest_ms = 0.0
        self._begun = False

    def __call__(self, journal: Journal, engine: MarketEngine) -> None:
        began_s = time.perf_counter()
        if not self._begun or self.aside.busy:
            self.aside(journal, engine)
            self._begun = True
        self.longest_ms = max(self.longest_ms, 1e3 * (time.perf_counter() - began_s))


def _restore(directory: Path, event_digest: bytes) -> None:
    rebuilt = rebuild(directory)
    if rebuilt.checkpoint_seq == 0 or rebuilt.engine.event_digest != event_digest:
        raise ValueError("the benchmark did not restore what it wrote")
