"""The compiled engine alone: throughput, latency of one command, hostile books, memory; and the reference engine.

Every figure includes all rules and risk checks, the EVENT rows and the event digest. A shared machine takes the
processor away at any time, and nothing here hides it: beside the slow commands of a hostile book stand those of the
same number of cancels of an unknown id, which have no work to do and so are slow only when preempted.
"""

import time
from typing import Any, Final

import numpy as np

from benchmarks.books import Rows, cancels, hostile
from benchmarks.measure import RUNS, Row, child, row, seconds
from benchmarks.traffic import w1, w2
from engine import Capacity, Engine
from engine.reference import ReferenceEngine

_LATENCY_COMMANDS: Final = 200_000
_HOSTILE_PAIRS: Final = 200_000
_REFERENCE_COMMANDS: Final = 100_000
_SLOW_NS: Final = 50_000


def run() -> list[Row]:
    """All measurements of the engine."""
    rows = []
    for name, (definitions, commands), target in (
        ("W1, 1 symbol", w1(1), 20e6),
        ("W1, 100 symbols", w1(100), 14e6),
        ("W2, 100 symbols", w2(100), 12e6),
    ):
        for block in (4_096, 1_024):
            rates = [rate(definitions, commands, block) for _ in range(RUNS)]
            goal = target if block == 4_096 else None
            rows.append(row(f"{name}, blocks of {block:,}", rates, "commands/s", at_least=goal))
    return rows + _latency() + _hostile("spread", True) + _hostile("dense", False) + _memory() + _reference()


def rate(definitions: Rows, commands: Rows, block: int) -> float:
    """Commands per second of a new engine."""
    engine = Engine(Capacity())
    engine.apply(definitions)
    return len(commands) / seconds(lambda: apply_all(engine, commands, block))


def apply_all(engine: Engine, commands: Rows, block: int) -> None:
    """Applies the commands in blocks, the events written over by the next."""
    for start in range(0, len(commands), block):
        engine.apply(commands[start : start + block], copy=False)


def one_by_one(engine: Engine, commands: Rows) -> Rows:
    """Nanoseconds of each command in a batch of its own."""
    batches = [commands[n : n + 1] for n in range(len(commands))]
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
        engine = Engine(Capacity())
        engine.apply(definitions)
        apply_all(engine, commands[:_LATENCY_COMMANDS], 4_096)
        took.append(one_by_one(engine, commands[_LATENCY_COMMANDS : 2 * _LATENCY_COMMANDS]) / 1_000)
    return [
        row(f"batch of one, W1: p{percent}", [float(np.percentile(us, percent)) for us in took], "µs", at_most=at_most)
        for percent, at_most in ((50, None), (99, 10.0), (99.9, None), (100, None))
    ]


def _hostile(name: str, spread: bool) -> list[Row]:
    book, commands = hostile(spread, _HOSTILE_PAIRS)
    rates, p9999, longest, slow, idle_longest, idle_slow = [], [], [], [], [], []
    for _ in range(RUNS):
        engine = Engine(Capacity())
        apply_all(engine, book, 4_096)
        rates.append(len(commands) / seconds(lambda engine=engine: apply_all(engine, commands, 4_096)))  # type: ignore[misc]
        engine = Engine(Capacity())
        apply_all(engine, book, 4_096)
        took_ns = one_by_one(engine, commands)
        p9999.append(float(np.percentile(took_ns, 99.99)) / 1_000)
        longest.append(float(took_ns.max()) / 1_000)
        slow.append(float((took_ns > _SLOW_NS).sum()))
        idle_ns = one_by_one(engine, cancels(np.full(len(commands), 99_999_999)))
        idle_longest.append(float(idle_ns.max()) / 1_000)
        idle_slow.append(float((idle_ns > _SLOW_NS).sum()))
    title = f"hostile book, {name}"
    return [
        row(title, rates, "commands/s", at_least=1e6),
        row(f"{title}: p99.99 of one", p9999, "µs", at_most=50.0),
        row(f"{title}: longest of {len(commands):,}", longest, "µs", at_most=50.0),
        row(f"{title}: longer than 50 µs", slow, "commands"),
        row(f"{title}: longest without work", idle_longest, "µs"),
        row(f"{title}: without work, longer than 50 µs", idle_slow, "commands"),
    ]


def _memory() -> list[Row]:
    sizes = [float(child(["-m", "benchmarks.resident"])) for _ in range(3)]
    return [row("resident memory with 1 M resting orders", sizes, "MB", at_most=512.0)]


def _reference() -> list[Row]:
    definitions, commands = w1(1)
    commands = commands[:_REFERENCE_COMMANDS]
    rates = []
    for _ in range(RUNS):
        engine = ReferenceEngine(Capacity())
        engine.apply(definitions)
        rates.append(len(commands) / seconds(lambda engine=engine: engine.apply(commands)))  # type: ignore[misc]
    return [row("reference engine, W1, 1 symbol", rates, "commands/s", at_least=100e3)]
