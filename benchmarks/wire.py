"""OUCH over loopback TCP: a node in a process of its own, loaded by this one, both on the same machine.

Every request is answered and every answer checked; a run with a fault is no measurement and ends the benchmark. The
numbers include the client. What the client alone costs is measured against a server that has no market
(``load.sink``): the row "client alone".
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.measure import Row, row, seconds
from benchmarks.wire_node import Node, running_node, stages
from benchmarks.wire_readers import readers
from benchmarks.wire_restart import restart
from engine.records import COMMAND, RULES_VERSION
from journal import Journal
from load import echo
from load.generator import Generator, Result, one_at_a_time
from load.lines import LoadError, User, close_lines, idle, open_lines
from load.local_line import LocalLine
from replay.forking import PROCESSORS

#: Orders/s that are to be reached with a number of connections.
_TARGETS: Final = {1: 3.5e6, 100: 2.5e6, 1_000: 1.5e6}
#: Round trips at most above those of a bare echo, by percentile: of a client that spins, and of one that sleeps.
_OVER_ECHO_US: Final = {True: {50.0: 8.0, 99.0: 25.0}, False: {50.0: 12.0}}
#: Longest delay of an answer after the commit of its order.
_OVER_COMMIT_US: Final = 20.0
#: Longest round trips of a local client that spins, by percentile.
_LOCAL_US: Final = {50.0: 3.0, 99.0: 15.0}
#: Processor time of a node that nobody uses, and of one with idle sessions, in percent of a core.
_IDLE_NODE: Final = 1.0
_IDLE_SESSIONS_NODE: Final = 2.0
#: Longest delay of an answer in an open loop, at the 99th percentile, from the intended time of its order.
_OPEN_P99_US: Final = 300.0
_COMMITS: Final = 300
_WINDOW: Final = 32_768
#: Requests of a connection that may be unanswered at least: fewer would measure the round trip.
_WINDOW_EACH: Final = 64
#: Requests in flight in an open loop, on all connections: a second and more of a node that has stalled.
_OPEN_WINDOW: Final = 1 << 18
_RUNS: Final = 3
_IDLE_SESSIONS: Final = 1_000


@dataclass(frozen=True)
class Plan:
    """Settings of a run. rate: requests a second of an open loop; 0: none. idle_s: watch of idle sessions."""

    connections: tuple[int, ...] = (1, 100, 1_000)
    orders: int = 500_000
    round_trips: int = 20_000
    rate: float = 20_000.0
    rate_s: float = 3.0
    durability: tuple[str, ...] = ("none", "fsync")
    idle_sessions: int = _IDLE_SESSIONS
    idle_s: float = 10.0
    tail_commands: int = 1_000_000
    runs: int = _RUNS
    symbols: int = 1

    def quick(self) -> "Plan":
        """The same, in a fraction of the time; the numbers are rough."""
        return replace(self, orders=min(self.orders, 100_000), round_trips=2_000, rate_s=1.0, idle_s=3.0, runs=1)


def run(plan: Plan | None = None) -> Iterator[Row]:
    """All measurements against nodes of its own, one after the other. Raises LoadError when one cannot be taken."""
    plan = plan or Plan()
    yield client_alone(plan)
    for durability in plan.durability:
        for connections in plan.connections:
            # A node takes so many orders a day, so each measurement has a node of its own.
            with running_node(durability, connections, plan.symbols) as node:
                yield from _saturated(node, plan, durability)
        with running_node(durability, 1, plan.symbols) as node:
            yield from _round_trips(node, plan, durability)
        if durability == "none":
            with running_node(durability, 1, plan.symbols) as node:
                yield from _local_client(node, plan)
            with running_node(durability, 1, plan.symbols) as node:
                yield from readers(node, plan.orders, plan.runs)
        if plan.rate:
            connections = plan.connections[len(plan.connections) // 2]
            with running_node(durability, connections, plan.symbols) as node:
                yield from _open_loop(node, plan, durability)
            if len(PROCESSORS) > 1:
                with running_node(durability, connections, plan.symbols) as node, _apart(node):
                    yield from _open_loop(node, plan, f"{durability}, node and client bound")
    yield restart(plan.tail_commands, plan.runs)
    with running_node(plan.durability[0], 0, plan.symbols) as node:
        yield _idle(node, plan)
    if plan.idle_sessions:
        with running_node(plan.durability[0], plan.idle_sessions, plan.symbols) as node:
            yield _idle(node, plan)


def run_on(node: Node, plan: Plan) -> Iterator[Row]:
    """The measurements that an existing node allows: with each number of connections that there are users for."""
    durability = "as it is"
    yield client_alone(plan)  # and the client is compiled before it logs in, or it would be silent for too long
    for connections in plan.connections:
        if connections <= len(node.users):
            some = node._replace(users=node.users[:connections])
            yield from _saturated(some, plan, durability)
    yield from _round_trips(node._replace(users=node.users[:1]), plan, durability)
    if plan.rate:
        yield from _open_loop(node, plan, durability)


@contextmanager
def generating(
    node: Node, *, window: int, latencies_max: int = 0, in_flight_max: int | None = None
) -> Iterator[Generator]:
    """A load generator on the connections of a node's users. Raises LoadError."""
    lines = open_lines(node.host, node.port, node.users)
    try:
        generator = Generator(
            lines, node.symbols, window=window, latencies_max=latencies_max, in_flight_max=in_flight_max
        )
        try:
            yield generator
        finally:
            generator.close()
    finally:
        close_lines(lines)


def checked(result: Result, node: Node) -> Result:
    """The result, when nothing was wrong with it. Raises LoadError with what was.

    Of a node of its own, what was bought must be what was sold. An existing one may have users' orders of earlier days
    and runs, and tells of them.
    """
    if node.pid is None:
        result = replace(result, faults={**result.faults, "unknown": 0})
    if not result.good:
        raise LoadError(f"of {result.requests:,} requests and their answers: {result.complaint()}")
    if node.pid is not None and result.unpaired_qty:
        raise LoadError(f"{abs(result.unpaired_qty):,} shares more were bought than sold, or the reverse")
    rejected = result.counts["rejected"]
    if rejected * 100 > result.requests:
        raise LoadError(f"the node rejected {rejected:,} of {result.requests:,} orders; see its log and its limits")
    return result


def _window(connections: int) -> int:
    return max(_WINDOW, _WINDOW_EACH * connections)


def _saturated(node: Node, plan: Plan, durability: str) -> list[Row]:
    count = len(node.users)
    with generating(node, window=_window(count)) as generator:
        checked(generator.saturate(max(plan.orders // 10, 1)), node)  # memory touched, buffers grown, caches warm
        results = [checked(generator.saturate(plan.orders), node) for _ in range(plan.runs)]
    name = f"{count:,} connection{'s' * (count > 1)}, {durability}"
    target = _TARGETS.get(count)
    return [
        row(f"{name}: orders in and answered", [r.orders_per_s for r in results], "orders/s", at_least=target),
        row(f"{name}: messages out", [r.messages_per_s for r in results], "messages/s"),
        *stages(node, name),
    ]


def _round_trips(node: Node, plan: Plan, durability: str) -> list[Row]:
    """One request at a time, by a client that sleeps until the answer comes, and by one that asks for it all the time,
    which is what a trader in a hurry does, at the price of a core. Each in turn with a bare echo, and with a journal
    alone where answers wait for one."""
    rows = []
    with generating(node, window=1) as generator, echo.serving() as port:
        checked(one_at_a_time(generator, max(plan.round_trips // 10, 1)), node)
        for busy in (False, True) if durability == "none" else (False,):
            how = f"client {'spins' if busy else 'sleeps'}"
            bare, results, commits = [], [], []
            for _ in range(plan.runs):
                if durability == "fsync":
                    commits.append(_commit_us())
                bare.append(echo.round_trips(port, plan.round_trips, busy=busy))
                results.append(checked(one_at_a_time(generator, plan.round_trips, busy=busy), node))
            name = f"one at a time, {durability}, {how}"
            if commits:
                rows.append(row("the journal alone: commit of one order, p50", commits, "us"))
            for percentile in (50.0, 99.0, 99.9):
                echoes = [each.at(percentile) / 1_000 for each in bare]
                rows.append(row(f"bare echo, {how}: p{percentile:g} round trip", echoes, "us"))
                over = _OVER_ECHO_US[busy].get(percentile)
                bound = median(echoes) + over if over is not None and durability == "none" else None
                if commits and percentile == 50.0:
                    bound = median(commits) + _OVER_COMMIT_US
                values = [result.latencies.at(percentile) / 1_000 for result in results]
                rows.append(row(f"{name}: p{percentile:g} round trip", values, "us", at_most=bound))
            rows += stages(node, name)
    return rows


def _commit_us() -> float:
    """Microseconds that the journal takes to make one row durable, in the middle."""
    rows = np.zeros(1, COMMAND)
    took_us = []
    with (
        tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name,
        Journal.create(Path(name) / "node", {"rules_version": RULES_VERSION}) as journal,
    ):
        for _ in range(_COMMITS):
            took_us.append(1e6 * seconds(lambda: _commit(journal, rows)))
    return median(took_us)


def _commit(journal: Journal, rows: "np.ndarray[Any, Any]") -> None:
    journal.append(len(rows), rows.view("u1").data, 0)
    journal.wait_durable(journal.last_seq)


def _open_loop(node: Node, plan: Plan, durability: str) -> list[Row]:
    count = len(node.users)
    requests = int(plan.rate * plan.rate_s)
    each = requests // count + 1
    results = []
    with generating(node, window=_OPEN_WINDOW, latencies_max=each, in_flight_max=_OPEN_WINDOW // count) as generator:
        checked(generator.at_rate(max(requests // 10, 1), plan.rate), node)
        for _ in range(plan.runs):
            results.append(checked(generator.at_rate(requests, plan.rate), node))
    rows = []
    name = f"{plan.rate:,.0f} orders/s over {count:,}, {durability}"
    for percentile in (50.0, 99.0, 99.9, 100.0):
        values = [result.latencies.at(percentile) / 1_000 for result in results]
        bound = _OPEN_P99_US if percentile == 99.0 and durability.startswith("none") else None
        rows.append(row(f"{name}: p{percentile:g} from the intended time", values, "us", at_most=bound))
    return rows + stages(node, name)


@contextmanager
def _apart(node: Node) -> Iterator[None]:
    """The market's thread and the client, each on a processor of its own, as `serve --pin` binds the first.

    Unbound, the system brings them together now and then, since each wakes the other, and both wait.
    """
    assert node.pid is not None, "a node of its own"
    first, second, *_ = sorted(PROCESSORS)
    os.sched_setaffinity(node.pid, {first})
    os.sched_setaffinity(0, {second})
    try:
        yield
    finally:
        os.sched_setaffinity(0, PROCESSORS)


def _local_client(node: Node, plan: Plan) -> list[Row]:
    """One request at a time by a program beside the node, without a socket; both spin."""
    assert node.directory is not None, "a node of its own"
    with Journal.open(node.directory, readonly=True) as journal:
        journal_id = journal.journal_id
    line = LocalLine(node.directory, journal_id, node.users[0], node.symbols)
    try:
        line.round_trips(max(plan.round_trips // 10, 1))
        results = [line.round_trips(plan.round_trips) for _ in range(plan.runs)]
    finally:
        line.close()
    return [
        row(
            f"local client, both spin: p{percentile:g} round trip",
            [result.at(percentile) / 1_000 for result in results],
            "us",
            at_most=_LOCAL_US.get(percentile),
        )
        for percentile in (50.0, 99.0, 99.9)
    ]


def _idle(node: Node, plan: Plan) -> Row:
    lines = open_lines(node.host, node.port, node.users)
    try:
        used = idle(lines, plan.idle_s, node.pid)
    finally:
        close_lines(lines)
    what = f"{len(lines):,} idle sessions" if lines else "an idle node"
    bound = _IDLE_SESSIONS_NODE if lines else _IDLE_NODE
    return row(f"{what}: processor time of the node", [100 * (used or 0.0)], "% of a core", at_most=bound)


def client_alone(plan: Plan) -> Row:
    """Processor time of the client an order, over one connection, against the server without a market."""
    command = [sys.executable, "-m", "load.sink"]
    root = Path(__file__).parent.parent
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL  # quiet: a Ctrl-C goes to the child too
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True, cwd=root) as child:
        line = child.stdout.readline() if child.stdout else ""
        if not line:
            raise LoadError("the server without a market did not start; run `python -m load.sink`")
        sink = Node("127.0.0.1", int(json.loads(line)["listening"]["port"]), [User("U0000", "any")], ["S0"])
        costs = []
        with generating(sink, window=_WINDOW) as generator:
            generator.saturate(max(plan.orders // 10, 1))
            for _ in range(plan.runs):
                result = checked(generator.saturate(plan.orders), sink)
                costs.append(1e9 * result.cpu_s / result.answered)
        if child.stdin is not None:
            child.stdin.close()
    return row("client alone, 1 connection: processor time", costs, "ns/order")
