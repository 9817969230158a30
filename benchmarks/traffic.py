"""The workloads of this process, made once, and W1 as traffic that can go on for any time.

A day of traffic is a CLOCK row of the next trading day, W1, and a cancel of each order left, so that the ids are
free again and the next day is the same rows after another CLOCK row.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np

from benchmarks.books import Rows
from benchmarks.workload import MANY_PARTICIPANTS, PARTICIPANTS, W1, W2, W3, workload
from engine import Capacity, Engine
from engine.bounds import DAY_NS
from engine.records import COMMAND, CommandKind, concatenate


@cache
def w1(symbols: int, participants: int = PARTICIPANTS) -> tuple[Rows, Rows]:
    """Definitions, and one million commands of W1."""
    return workload(W1, symbols, participants=participants)


@cache
def w2(symbols: int, participants: int = PARTICIPANTS) -> tuple[Rows, Rows]:
    """Definitions, and one million commands of W2."""
    return workload(W2, symbols, participants=participants)


@cache
def w3(symbols: int, participants: int = MANY_PARTICIPANTS) -> tuple[Rows, Rows]:
    """Definitions, and one million commands of W3."""
    return workload(W3, symbols, participants=participants)


@cache
def _day(symbols: int) -> Rows:
    return with_ends(*w1(symbols))


def with_ends(definitions: Rows, rows: Rows) -> Rows:
    """Rows behind their definitions, and a cancel of each order that they leave."""
    engine = Engine(Capacity())
    engine.apply(definitions)
    engine.apply(rows)
    left = engine.open_orders()
    cancels = np.zeros(len(left), COMMAND)
    cancels["kind"] = CommandKind.CANCEL
    for name in ("client_order_id", "participant"):
        cancels[name] = left[name]
    return concatenate([rows, cancels])


def day(number: int, symbols: int, block: int = 4_096) -> list[Rows]:
    """The ``number``-th day, from 1 on, in blocks."""
    clock = np.zeros(1, COMMAND)
    clock["kind"], clock["time_ns"] = CommandKind.CLOCK, number * DAY_NS
    rows = _day(symbols)
    return [clock, *(rows[start : start + block] for start in range(0, len(rows), block))]


def days(count: int, block: int = 4_096) -> Iterator[Rows]:
    """W1 over one symbol on ``count`` days, in blocks; the definitions come first."""
    yield w1(1)[0]
    for number in range(1, count + 1):
        yield from day(number, 1, block)
