"""Replay from the journal, verified: every block's checksum, its chain and its event digest, and two checkpoints."""

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.measure import RUNS, Row, row
from benchmarks.traffic import days
from directory.recover import CheckpointEvery, create
from engine import Capacity
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp

DAYS: Final = 24


def run() -> list[Row]:
    """All measurements of replay."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory = Path(name) / "node"
        record(directory)
        rows = []
        for workers, target in ((1, 10e6), (2, None)):
            rates = [_verified(directory, workers) for _ in range(RUNS)]
            rows.append(row(f"verify, {workers} worker{'s' * (workers > 1)}", rates, "commands/s", at_least=target))
    return rows


def record(directory: Path) -> None:
    """A data directory with days of W1 and checkpoints at each quarter."""
    journal, engine = create(directory, Capacity(), durability="none")
    with journal:
        at_boundary = CheckpointEvery(DAYS * 1_000_000 // 4)
        pump(days(DAYS), FileStamp(), journal, engine, durability="none", at_boundary=at_boundary)


def _verified(directory: Path, workers: int) -> float:
    report = verify(directory, workers=workers)
    if not report.ok:
        raise ValueError("the benchmark's own journal does not verify")
    return report.commands_per_second
