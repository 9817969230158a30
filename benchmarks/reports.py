"""Cost of telling others what happens, on the workload W1, as a share of the engine's time: the copy of commands and
events to the tape, and the reports made of them.

All take the same blocks in turn, in one run, and are measured in processor time of their thread. The events of a block
are in a near cache when they are copied, or their reports made, as they are in a node.
"""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.books import Rows
from benchmarks.engine import new_engine
from benchmarks.measure import RUNS, Row, row
from benchmarks.traffic import w1
from engine import Capacity
from replay.market_rows import MARKET_ROWS
from reports import Reports
from tape.form import tape_path
from tape.writer import TapeWriter

_TAPE_BYTES = 16 << 20


class _Times(NamedTuple):
    """Processor time of a run, in ns."""

    engine_ns: int
    tape_ns: int
    reports_ns: int
    reports: int


def run() -> list[Row]:
    """All measurements of the tape's writer and of reports."""
    rows = []
    for symbols in (1, 100):
        definitions, commands = w1(symbols)
        times = [_measure(definitions, commands, 1_024) for _ in range(RUNS)]
        title = f"W1, {symbols} {'symbol' if symbols == 1 else 'symbols'}"
        rows += [
            row(f"{title}: commands and events to the tape, of the engine's time", _shares(times, "tape_ns"), "%"),
            row(f"{title}: reports, of the engine's time", _shares(times, "reports_ns"), "%"),
            row(f"{title}: reports", [each.reports / each.reports_ns * 1e9 for each in times], "reports/s"),
        ]
    return rows


def _shares(times: list[_Times], part: str) -> list[float]:
    return [100 * getattr(each, part) / each.engine_ns for each in times]


def _measure(definitions: Rows, commands: Rows, block: int) -> _Times:
    """The workload through engine, tape and fold, block by block."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-", dir="/dev/shm") as name:
        journal_id = bytes(16)
        path = tape_path(Path(name))
        with TapeWriter(path, journal_id, MARKET_ROWS, size_bytes=_TAPE_BYTES) as tape:
            return _through(definitions, commands, block, tape)


def _through(definitions: Rows, commands: Rows, block: int, tape: TapeWriter) -> _Times:
    engine, fold = new_engine(), Reports(Capacity())
    fold.prefault()
    count, engine_ns, tape_ns, fold_ns = 0, 0, 0, 0
    none = np.zeros(0, MARKET_ROWS.reports)
    fold.observe(1, definitions, engine.apply(definitions))
    clock = time.thread_time_ns
    for start in range(0, len(commands), block):
        batch = commands[start : start + block]
        first_seq = engine.seq + 1
        began_ns = clock()
        events = engine.apply(batch, copy=False)
        applied_ns = clock()
        tape.write(first_seq, 0, 0, batch, events, none)
        taped_ns = clock()
        for reports in fold.batches(first_seq, batch, events):
            count += len(reports)
        fold_ns += clock() - taped_ns
        tape_ns += taped_ns - applied_ns
        engine_ns += applied_ns - began_ns
    return _Times(engine_ns, tape_ns, fold_ns, count)
