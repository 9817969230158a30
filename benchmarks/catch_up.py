"""Catch-up of a standby that stood still while the market went on: commands a second, while the primary takes orders.

The standby is stopped as SIGSTOP does, the primary takes the commands that it is to miss, and then it runs again beside
clients at a fixed rate. The time is from there until the arbiter's record names it in sync.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from benchmarks.measure import Row, row
from benchmarks.pair_nodes import Member, PairOfNodes, running_pair
from benchmarks.wire_node import symbol_names
from load.generator import Generator, Result
from load.lines import LoadError, close_lines, cpu_s, open_lines

_COMMANDS_PER_S: Final = 3e6
#: No takeover is to be measured: the lease outlasts a client that takes both cores.
_SERVE: Final = ("--durability", "replica", "--lease-ms", "3000")
_WINDOW: Final = 32_768
_OPEN_WINDOW: Final = 1 << 18
_LOOK_S: Final = 0.05
_WITHIN_S: Final = 120.0


@dataclass(frozen=True)
class Plan:
    """Settings of a run. ``commands``: number that the standby misses. ``rate``: orders a second meanwhile.

    ``load_s``: seconds for which these orders come; a catch-up must not take longer.
    """

    commands: int = 5_000_000
    rate: float = 1_000.0
    load_s: float = 20.0
    runs: int = 3


def run(plan: Plan | None = None) -> Iterator[Row]:
    """All measurements. Raises LoadError."""
    plan = plan or Plan()
    caught = [_catch_up(plan) for _ in range(plan.runs)]
    name = f"a standby {plan.commands / 1e6:g} M commands behind"
    yield row(
        f"{name}: catch-up", [each.commands / each.took_s for each in caught], "commands/s", at_least=_target(plan)
    )
    costs_ns = [1e9 * each.cpu_s / each.commands for each in caught]
    yield row(f"{name}: processor time of the standby", costs_ns, "ns/command")
    yield row(f"{name}: until it is in sync", [each.took_s for each in caught], "s")
    for step in caught[0].steps_s:
        yield row(f"{name}: until it logs '{step}'", [each.steps_s.get(step, 0.0) for each in caught], "s")
    for percentile in (50.0, 99.0, 100.0):
        values = [each.load.latencies.at(percentile) / 1e3 for each in caught]
        yield row(f"{plan.rate:,.0f} orders/s meanwhile: p{percentile:g} from the intended time", values, "us")


def _target(plan: Plan) -> float | None:
    """Commands a second that are to be reached; a few commands say nothing about it."""
    return _COMMANDS_PER_S if plan.commands >= 1_000_000 else None


@dataclass(frozen=True)
class _Caught:
    """Result of one catch-up.

    ``cpu_s``: processor time of the standby. ``steps_s``: seconds from the begin to each step that the standby logs.
    """

    commands: int
    took_s: float
    cpu_s: float
    load: Result
    steps_s: dict[str, float]


def _catch_up(plan: Plan) -> _Caught:
    with running_pair(arguments=_SERVE) as pair, _client(pair) as generator:
        primary, standby = pair.in_sync()
        _checked(generator.saturate(max(plan.commands // 50, 1)))  # memory touched, on both nodes
        primary, standby = pair.in_sync()
        before_seq = int(standby.pair()["seq"])
        assert standby.child is not None, "it runs"
        os.kill(standby.child.pid, signal.SIGSTOP)
        try:
            pair.until(lambda: primary.pair().get("in_sync") == [primary.name], "the primary did not go on alone")
            _checked(generator.saturate(plan.commands))
        finally:
            began_ns, began_cpu_s = time.time_ns(), cpu_s(standby.child.pid)
            began_s = time.monotonic()
            os.kill(standby.child.pid, signal.SIGCONT)
        with _Clients(generator, plan) as clients:
            _until_in_sync(pair, primary)
            took_s = time.monotonic() - began_s
            used_s = cpu_s(standby.child.pid) - began_cpu_s
            seq = int(standby.pair()["seq"])
            if not clients.trade:
                raise LoadError(f"the standby took {took_s:.1f} s, and the clients ended before; give them more time")
        assert clients.result is not None, "they traded to the end"
        return _Caught(seq - before_seq, took_s, used_s, _checked(clients.result), _steps(standby, began_ns, took_s))


@contextmanager
def _client(pair: PairOfNodes) -> Iterator[Generator]:
    lines = open_lines("127.0.0.1", pair.a.port, pair.users)
    try:
        generator = Generator(lines, symbol_names(1), window=_WINDOW, latencies_max=1 << 20, in_flight_max=_OPEN_WINDOW)
        try:
            yield generator
        finally:
            generator.close()
    finally:
        close_lines(lines)


def _checked(result: Result) -> Result:
    if not result.good:
        raise LoadError(result.complaint())
    return result


class _Clients:
    """Orders at a fixed rate in a thread of its own, while the block runs and until their time is over."""

    def __init__(self, generator: Generator, plan: Plan) -> None:
        self._generator, self._plan = generator, plan
        self.result: Result | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="clients")

    @property
    def trade(self) -> bool:
        """True until their last order is answered."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.result = self._generator.at_rate(int(self._plan.rate * self._plan.load_s), self._plan.rate)
        except LoadError as error:
            self._error = error

    def __enter__(self) -> "_Clients":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


def _until_in_sync(pair: PairOfNodes, primary: Member) -> None:
    """Wait until the arbiter's record names the standby; the primary is not asked often, since it is its own time."""
    until_s = time.monotonic() + _WITHIN_S
    while len(primary.pair().get("in_sync", ())) < 2:
        if time.monotonic() > until_s:
            raise LoadError(f"the standby did not come in sync; see the logs: {pair.a.log}, {pair.b.log}")
        time.sleep(_LOOK_S)


def _steps(standby: Member, began_ns: int, took_s: float) -> dict[str, float]:
    """Seconds from the begin to each kind of line in the log of the standby, until it is in sync."""
    steps: dict[str, float] = {}
    for line in standby.log.read_text().splitlines():
        try:
            told: dict[str, Any] = json.loads(line)
            at_ns = 1e9 * datetime.fromisoformat(told["time"]).timestamp()
        except (ValueError, KeyError):
            continue
        if 0 <= at_ns - began_ns <= 1e9 * took_s:
            steps.setdefault(str(told.get("event")), (at_ns - began_ns) / 1e9)
    return steps
