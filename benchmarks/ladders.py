"""Cost of the ladders, of the statistics and of the ITCH feed beside the fold of reports, on the workload W1.

All take the same reports in turn, in one run, in processor time of their thread.
"""

import time
from typing import NamedTuple

from benchmarks.books import Rows
from benchmarks.engine import new_engine
from benchmarks.measure import RUNS, Row, row, show
from benchmarks.traffic import w1
from engine import Capacity
from marketdata import Ladders
from marketdata.itch import ItchFeed
from marketdata.statistics import Statistics
from reports import Reports


class _Times(NamedTuple):
    """Processor time of a run, in ns."""

    fold_ns: int
    ladders_ns: int
    statistics_ns: int
    itch_ns: int
    reports: int
    messages: int
    quotes: int


def run() -> list[Row]:
    """All measurements of ladders, statistics and feed."""
    rows = []
    for symbols in (1, 100):
        definitions, commands = w1(symbols)
        times = [_measure(definitions, commands) for _ in range(RUNS)]
        title = f"W1, {symbols} {'symbol' if symbols == 1 else 'symbols'}"
        rows += [
            row(f"{title}: fold of reports", [each.reports / each.fold_ns * 1e9 for each in times], "reports/s"),
            row(f"{title}: ladders, levels and quotes", _speeds(times, "ladders_ns"), "reports/s"),
            row(f"{title}: statistics, bars of a minute", _speeds(times, "statistics_ns"), "reports/s"),
            row(f"{title}: ITCH", [each.messages / each.itch_ns * 1e9 for each in times], "messages/s", at_least=5e6),
            row(f"{title}: reports that give a quote", [100 * each.quotes / each.reports for each in times], "%"),
        ]
    return rows


def _speeds(times: list[_Times], part: str) -> list[float]:
    return [each.reports / getattr(each, part) * 1e9 for each in times]


def _measure(definitions: Rows, commands: Rows, block: int = 4_096) -> _Times:
    engine, fold, ladders = new_engine(), Reports(Capacity()), Ladders(Capacity())
    counted = Statistics(width_ns=60 * 10**9)
    feed = ItchFeed(Capacity())
    feed.tables.shown_words[:] = 0  # the system provides the memory now, as it has after the first minutes of a day
    made = fold.make(1, definitions, engine.apply(definitions))
    ladders.take(made)
    feed.take(made, ends_block=True)
    fold_ns = ladders_ns = statistics_ns = itch_ns = count = quoted = 0
    clock = time.thread_time_ns
    for start in range(0, len(commands), block):
        batch = commands[start : start + block]
        first_seq = engine.seq + 1
        events = engine.apply(batch, copy=False)
        began_ns = clock()
        reports = fold.make(first_seq, batch, events)
        folded_ns = clock()
        _, quotes = ladders.take(reports)
        followed_ns = clock()
        counted.take(reports, quotes)
        counted_ns = clock()
        feed.take(reports, ends_block=True)
        itch_ns += clock() - counted_ns
        statistics_ns += counted_ns - followed_ns
        ladders_ns += followed_ns - folded_ns
        fold_ns += folded_ns - began_ns
        count += len(reports)
        quoted += len(quotes)
    return _Times(fold_ns, ladders_ns, statistics_ns, itch_ns, count, feed.messages, quoted)


if __name__ == "__main__":
    show(run())
