"""The compiled engine alone: throughput, latency of one command, hostile books, memory; and the reference engine.

Every figure includes all rules and risk checks, the EVENT rows and the event digest; the engine's memory was found
before (``prefault``), as a node does. A shared machine takes the processor away at any time. So each command of a
hostile book is timed in every run, which does the same work each time: its median is the command's own time, the
largest single value is also the machine's. Beside it stand cancels of an unknown id, which have no work to do.
"""

import time
from typing import Any, Final

import numpy as np

from benchmarks.books import Rows, cancels, hostile, hostile_ids
from benchmarks.measure import RUNS, Row, child, row, seconds
from benchmarks.traffic import w1, w2, w3
from benchmarks.workload import MANY_PARTICIPANTS, PARTICIPANTS, limits
from engine import Capacity, Engine
from engine.records import CommandKind, concatenate
from engine.reference import ReferenceEngine

_BLOCK: Final = 4_096
_LATENCY_COMMANDS: Final = 200_000
_HOSTILE_PAIRS: Final = 200_000
_REFERENCE_COMMANDS: Final = 100_000
_SLOW_NS: Final = 50_000
_WARM_UP: Final = 200


def run() -> list[Row]:
    """All measurements of the engine."""
    rows = []
    for name, make, symbols, target in (("W1", w1, 1, 20e6), ("W1", w1, 100, 14e6), ("W2", w2, 100, 12e6)):
        over = f"{name}, {symbols} symbol{'s' * (symbols > 1)}"
        rates = [rate(*make(symbols), _BLOCK) for _ in range(RUNS)]
        rows.append(row(f"{over}, blocks of {_BLOCK:,}", rates, "commands/s", at_least=target))
        rates = [rate(*make(symbols), 1_024) for _ in range(RUNS)]
        rows.append(row(f"{over}, blocks of 1,024", rates, "commands/s"))
        rows += _many_participants(over, make(symbols), make(symbols, MANY_PARTICIPANTS))
    rates = [rate(*w3(100), _BLOCK, limited=True) for _ in range(RUNS)]
    name = f"W3, 100 symbols, {MANY_PARTICIPANTS} participants, all with limits, blocks of {_BLOCK:,}"
    rows.append(row(name, rates, "commands/s", at_least=5e6))
    rows += _latency()
    rows += _hostile("hostile book, spread", *hostile(True, _HOSTILE_PAIRS))
    rows += _hostile("hostile book, dense", *hostile(False, _HOSTILE_PAIRS))
    rows += _hostile("hostile ids", *hostile_ids(_HOSTILE_PAIRS))
    return rows + _memory() + _reference()


def _many_participants(over: str, few: tuple[Rows, Rows], many: tuple[Rows, Rows]) -> list[Row]:
    """A workload of 50 and of 999 participants in turn, without limits and with limits for each of them."""
    rows = []
    for limited in (False, True):
        pairs = [(rate(*few, _BLOCK, limited=limited), rate(*many, _BLOCK, limited=limited)) for _ in range(RUNS)]
        name = f"{over}, {MANY_PARTICIPANTS} participants" + ", all with limits" * limited
        rows.append(row(name, [there for _, there in pairs], "commands/s"))
        lost = [100 * (1 - there / here) for here, there in pairs]
        rows.append(row(f"{name}: fewer than with {PARTICIPANTS}", lost, "%", at_most=None if limited else 15.0))
    return rows


def rate(definitions: Rows, commands: Rows, block: int, *, limited: bool = False) -> float:
    """Commands per second of a new engine. limited: whether each participant has limits."""
    engine = new_engine()
    engine.apply(definitions)
    if limited:
        engine.apply(limits(int(np.count_nonzero(definitions["kind"] == CommandKind.PARTICIPANT))))
    return len(commands) / seconds(lambda: apply_all(engine, commands, block))


def new_engine() -> Engine:
    """An engine of the default capacity whose memory is there."""
    engine = Engine(Capacity())
    engine.prefault()
    return engine


def apply_all(engine: Engine, commands: Rows, block: int) -> None:
    """Apply the commands in blocks, the events written over by the next."""
    for start in range(0, len(commands), block):
        engine.apply(commands[start : start + block], copy=False)


def one_by_one(engine: Engine, commands: Rows) -> Rows:
    """Nanoseconds of each command in a batch of its own."""
    batches = [commands[n : n + 1] for n in range(len(commands))]
    # Making so many objects has left nothing of the engine in the processor's caches.
    for _ in range(_WARM_UP):
        engine.apply(cancels(np.full(1, 99_999_999)), copy=False)
    took_ns = np.empty(len(batches), np.int64)
    clock, apply = time.perf_counter_ns, engine.apply
    for n, batch in enumerate(batches):
        began_ns = clock()
        apply(batch, copy=False)
        took_ns[n] = clock() - began_ns
    return took_ns


def _latency() -> list[Row]:
    definitions, commands = w1(1)
    took: list[Any] = []
    for _ in range(RUNS):
        engine = new_engine()
        engine.apply(definitions)
        apply_all(engine, commands[:_LATENCY_COMMANDS], 4_096)
        took.append(one_by_one(engine, commands[_LATENCY_COMMANDS : 2 * _LATENCY_COMMANDS]) / 1_000)
    return [
        row(f"batch of one, W1: p{percent}", [float(np.percentile(us, percent)) for us in took], "µs", at_most=at_most)
        for percent, at_most in ((50, None), (99, 10.0), (99.9, None), (100, None))
    ]


def _hostile(title: str, book: Rows, commands: Rows) -> list[Row]:
    rates, longest, slow, idle_longest = [], [], [], []
    took_ns = np.empty((RUNS, len(commands)), np.int64)
    for run in range(RUNS):
        engine = new_engine()
        apply_all(engine, book, 4_096)
        rates.append(len(commands) / seconds(lambda engine=engine: apply_all(engine, commands, 4_096)))  # type: ignore[misc]
        engine = new_engine()
        apply_all(engine, book, 4_096)
        took_ns[run] = one_by_one(engine, commands)
        longest.append(float(took_ns[run].max()) / 1_000)
        slow.append(float((took_ns[run] > _SLOW_NS).sum()))
        idle_ns = one_by_one(engine, cancels(np.full(len(commands), 99_999_999)))
        idle_longest.append(float(idle_ns.max()) / 1_000)
    own_us = float(np.median(took_ns, axis=0).max()) / 1_000
    return [
        row(title, rates, "commands/s", at_least=1e6),
        row(f"{title}: longest of {len(commands):,}, each the median of its runs", [own_us], "µs", at_most=50.0),
        row(f"{title}: longest single value", longest, "µs"),
        row(f"{title}: single values above 50 µs", slow, "commands"),
        row(f"{title}: longest single value without work", idle_longest, "µs"),
    ]


def _memory() -> list[Row]:
    sizes = [float(child(["-m", "benchmarks.resident"])) for _ in range(3)]
    return [row("resident memory with 1 M resting orders", sizes, "MB", at_most=512.0)]


def _reference() -> list[Row]:
    definitions, limited = w3(100)[0], limits(MANY_PARTICIPANTS)
    return [
        row("reference engine, W1, 1 symbol", _reference_rates(*w1(1)), "commands/s", at_least=100e3),
        row(
            f"reference engine, W3, 100 symbols, {MANY_PARTICIPANTS} participants, all with limits",
            _reference_rates(concatenate([definitions, limited]), w3(100)[1]),
            "commands/s",
            at_least=50e3,
        ),
    ]


def _reference_rates(definitions: Rows, commands: Rows) -> list[float]:
    commands = commands[:_REFERENCE_COMMANDS]
    rates = []
    for _ in range(RUNS):
        engine = ReferenceEngine(Capacity())
        engine.apply(definitions)
        rates.append(len(commands) / seconds(lambda engine=engine: engine.apply(commands)))  # type: ignore[misc]
    return rates
