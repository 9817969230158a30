"""Journal, engine and event digest in one process, through the pump, over days of W1 traffic; and the raw append."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks import checkpoint
from benchmarks.books import Rows
from benchmarks.measure import RUNS, Row, row, seconds
from benchmarks.traffic import days
from directory.recover import create
from engine import Capacity
from journal import Durability, Journal
from sequencer.pump import pump
from sequencer.stamp import FileStamp

DAYS: Final = 30  # about six seconds of traffic at the target
_RAW_DAYS: Final = 6


@cache
def traffic() -> list[Rows]:
    """The blocks of a run."""
    return list(days(DAYS))


def run() -> list[Row]:
    """All measurements of the journal, and of the checkpoints beside it."""
    rows = []
    traffic()
    for durability, target in (("fsync", 5e6), ("none", None)):
        rates = [_pumped("fsync" if durability == "fsync" else "none") for _ in range(RUNS)]
        rows.append(row(f"pump, durability {durability}: {DAYS} M commands", rates, "commands/s", at_least=target))
    rows.append(row("journal alone, fsync: append", [_appended() for _ in range(RUNS)], "rows/s", at_least=5e6))
    return rows + checkpoint.run()


def _pumped(durability: Durability) -> float:
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        journal, engine = create(Path(name) / "node", Capacity(), durability=durability)
        with journal:
            took_s = seconds(lambda: pump(traffic(), FileStamp(), journal, engine, durability=durability))
        return engine.seq / took_s


def _appended() -> float:
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        blocks = list(days(_RAW_DAYS))
        with Journal.create(Path(name) / "node", {"rules_version": 1}) as journal:
            took_s = seconds(lambda: _append_all(journal, blocks))
            return journal.last_seq / took_s


def _append_all(journal: Journal, blocks: list[Rows]) -> None:
    for block in blocks:
        journal.append(len(block), block.view("u1").data, 0)
    journal.wait_durable(journal.last_seq)
