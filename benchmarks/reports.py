"""Speed of reports on the workload W1: reports per second, and their time as a share of the engine's.

Both take the same blocks in turn, in one run. The events of a block are in a near cache when its reports are made, as
they are in a node.
"""

import time

from benchmarks.books import Rows
from benchmarks.engine import new_engine
from benchmarks.measure import RUNS, Row, row
from benchmarks.traffic import w1
from engine import Capacity
from reports import Reports


def run() -> list[Row]:
    """All measurements of reports."""
    rows = []
    for symbols in (1, 100):
        definitions, commands = w1(symbols)
        rates, shares = [], []
        for _ in range(RUNS):
            rate, share = _measure(definitions, commands, 1_024)
            rates.append(rate)
            shares.append(100 * share)
        title = f"reports of W1, {symbols} {'symbol' if symbols == 1 else 'symbols'}"
        rows += [row(title, rates, "reports/s"), row(f"{title}: share of the engine's time", shares, "%")]
    return rows


def _measure(definitions: Rows, commands: Rows, block: int) -> tuple[float, float]:
    """Rate of reports per second, and their time by the engine's."""
    engine, fold = new_engine(), Reports(Capacity())
    fold.prefault()
    count, engine_ns, fold_ns = 0, 0, 0
    fold.observe(1, definitions, engine.apply(definitions))
    clock = time.perf_counter_ns
    for start in range(0, len(commands), block):
        batch = commands[start : start + block]
        first_seq = engine.seq + 1
        began_ns = clock()
        events = engine.apply(batch, copy=False)
        applied_ns = clock()
        for reports in fold.batches(first_seq, batch, events):
            count += len(reports)
        fold_ns += clock() - applied_ns
        engine_ns += applied_ns - began_ns
    return count / fold_ns * 1e9, fold_ns / engine_ns
