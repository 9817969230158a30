"""A checkpoint of one million resting orders: how long it is in the way, its size, and how soon a node is back.

A node's checkpoints can be taken by another process (``replay.recover.checkpoint``), which the pump does not wait for;
what that costs the pump in processor and disk is not measured here. A copy within the process is.
"""

import tempfile
from pathlib import Path

from benchmarks.books import RESTING_SYMBOLS, resting
from benchmarks.measure import RUNS, Row, row, seconds
from benchmarks.traffic import w1
from benchmarks.workload import definitions
from checkpoints import CheckpointStore
from engine import Capacity, Engine
from replay.rebuild import rebuild
from replay.recover import create, image
from sequencer.pump import pump
from sequencer.stamp import FileStamp


def run() -> list[Row]:
    """All measurements of checkpoints."""
    copies, writes, restores, sizes = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory = Path(name) / "node"
        journal, engine = create(directory, Capacity(), durability="none")
        if not isinstance(engine, Engine):
            raise TypeError("checkpoints need the compiled engine")
        with journal:
            pump([definitions(RESTING_SYMBOLS), *resting()], FileStamp(), journal, engine, durability="none")
            for _ in range(RUNS):
                copies.append(1e3 * seconds(lambda: _copy(engine)))
                store = CheckpointStore(directory)
                writes.append(seconds(lambda store=store: store.write(image(engine, Capacity()))))  # type: ignore[misc]
            sizes.append(store.list()[0].bytes / 2**20)
            commands = w1(RESTING_SYMBOLS)[1]
            blocks = [commands[start : start + 4_096] for start in range(0, len(commands), 4_096)]
            pump(blocks, FileStamp(), journal, engine, durability="none")
            ends = engine.event_digest
        for _ in range(RUNS):
            restores.append(seconds(lambda: _restore(directory, ends)))
    return [
        row("checkpoint, 1 M resting orders: copy of the state in process", copies, "ms", at_most=10.0),
        row("checkpoint: written and synced", writes, "s"),
        row("checkpoint: size", sizes, "MB"),
        row("checkpoint: restored, and 1 M commands of tail verified", restores, "s", at_most=1.0),
    ]


def _copy(engine: Engine) -> object:
    return {part: {name: array.copy() for name, array in arrays.items()} for part, arrays in engine.parts().items()}


def _restore(directory: Path, event_digest: bytes) -> None:
    rebuilt = rebuild(directory)
    if rebuilt.checkpoint_seq == 0 or rebuilt.engine.event_digest != event_digest:
        raise ValueError("the benchmark did not restore what it wrote")
