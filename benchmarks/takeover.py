"""Takeovers: seconds from the death of the primary to the first answer of the new one, as a client sees it.

A client enters an order at the node that is to take over, over and over until it is answered: connect, log in, order,
answer. So the number has the discovery of the death, the arbiter, the epoch in the journal, and the login.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.measure import Row, row
from benchmarks.pair_nodes import Member, PairOfNodes, running_pair
from benchmarks.wire_node import running_node, symbol_names
from load.generator import Generator, Result, one_at_a_time
from load.lines import LoadError, User, close_lines, open_lines

_SUPERVISED_S: Final = 0.5
_WITNESS_S: Final = 1.5
_ETCD_S: Final = 3.5
_SWITCHOVER_S: Final = 0.2
_WITHIN_S: Final = 30.0
_SHARE_PERCENT: Final = 40.0
_REPLICA_US: Final = 60.0
_WINDOW: Final = 32_768


@dataclass(frozen=True)
class Plan:
    """Number of takeovers of each kind."""

    supervised: int = 100
    witness: int = 30
    etcd: int = 20
    switchovers: int = 30
    orders: int = 500_000
    round_trips: int = 5_000
    runs: int = 3

    def quick(self) -> "Plan":
        """The same with a few of each."""
        return replace(self, supervised=5, witness=3, etcd=2, switchovers=5, orders=100_000, round_trips=1_000, runs=1)


def run(plan: Plan | None = None) -> Iterator[Row]:
    """All measurements. Raises LoadError."""
    plan = plan or Plan()
    yield from _replication(plan)
    with running_pair() as pair:
        yield from _rows("kill -9, supervised", _kills(pair, plan.supervised, watched=True), _SUPERVISED_S)
        yield from _rows("planned switchover: silence", _switchovers(pair, plan.switchovers), _SWITCHOVER_S)
        yield from _rows("kill -9, witness alone (lease 600 ms)", _kills(pair, plan.witness, watched=False), _WITNESS_S)
    if plan.etcd:
        with running_pair(with_etcd=True) as pair:
            yield from _rows("kill -9, etcd (lease 2 s)", _kills(pair, plan.etcd, watched=False), _ETCD_S)


def _replication(plan: Plan) -> Iterator[Row]:
    """Orders a second and round trips with a standby, beside those of a node alone, in turn."""
    with ExitStack() as stack:
        alone = stack.enter_context(running_node("none", 1))
        replica = stack.enter_context(running_pair(arguments=["--durability", "replica"]))
        ports = {"a node alone, none": alone.port, "a pair, replica": replica.in_sync()[0].port}
        users = {"a node alone, none": alone.users, "a pair, replica": replica.users}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        trips_us: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(plan.runs):
            for name, port in ports.items():
                rates[name].append(_saturated(port, users[name], plan.orders))
                trips_us[name].append(_round_trip_us(port, users[name], plan.round_trips))
        for name in ports:
            yield row(f"{name}: orders in and answered", rates[name], "orders/s")
            yield row(f"{name}: p50 round trip", trips_us[name], "us")
        (first, second) = (rates[name] for name in ports)
        shares = [100 * pair / single for single, pair in zip(first, second, strict=True)]
        yield row("a pair, share of the orders of a node alone", shares, "%", at_least=_SHARE_PERCENT)
        (first, second) = (trips_us[name] for name in ports)
        more = [pair - single for single, pair in zip(first, second, strict=True)]
        yield row("a pair, round trip more than that of a node alone", more, "us", at_most=_REPLICA_US)


def _saturated(port: int, users: Sequence[User], orders: int) -> float:
    with _generator(port, users, _WINDOW) as generator:
        result = generator.saturate(orders)
    if not result.good:
        raise LoadError(result.complaint())
    return result.orders_per_s


def round_trips(port: int, users: Sequence[User], requests: int) -> Result:
    """Round trips of a client that sleeps until the answer comes. Raises LoadError for a wrong answer."""
    with _generator(port, users, 1) as generator:
        result = one_at_a_time(generator, requests)
    if not result.good:
        raise LoadError(result.complaint())
    return result


def _round_trip_us(port: int, users: Sequence[User], requests: int) -> float:
    return round_trips(port, users, requests).latencies.at(50.0) / 1_000


@contextmanager
def _generator(port: int, users: Sequence[User], window: int) -> Iterator[Generator]:
    lines = open_lines("127.0.0.1", port, users)
    try:
        generator = Generator(lines, symbol_names(1), window=window)
        try:
            yield generator
        finally:
            generator.close()
    finally:
        close_lines(lines)


def _rows(name: str, samples: Sequence[float], at_most: float) -> Iterator[Row]:
    ordered = sorted(samples)
    worst = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    yield row(f"{name}: median of {len(samples)}", samples, "s")
    yield row(f"{name}: p99", [worst], "s", at_most=at_most)


def _kills(pair: PairOfNodes, count: int, *, watched: bool) -> list[float]:
    """Seconds from each kill to the first answer."""
    took_s = []
    for number in range(count):
        primary, standby = pair.in_sync()
        if not watched:
            for pid in primary.watch_pids():
                os.kill(pid, signal.SIGKILL)
        assert primary.child is not None, "it runs"
        began_s = time.monotonic()
        os.kill(primary.child.pid, signal.SIGKILL)
        _until_answered(standby, pair.users[0], number)
        took_s.append(time.monotonic() - began_s)
        primary.child.process.wait()
        primary.start()
        primary.wait()
    return took_s


def _switchovers(pair: PairOfNodes, count: int) -> list[float]:
    """Longest silence of a client that enters orders at whichever node answers, for each switchover."""
    took_s = []
    for number in range(count):
        primary, standby = pair.in_sync()
        _until_answered(primary, pair.users[0], number)
        began_s = time.monotonic()
        primary.ask("switchover")
        _until_answered(standby, pair.users[0], number)
        took_s.append(time.monotonic() - began_s)
    return took_s


def _until_answered(member: Member, user: User, number: int) -> None:
    """Enter an order at a node until it is answered. Raises LoadError."""
    from client import Client, ClientError, Side

    until_s = time.monotonic() + _WITHIN_S
    while time.monotonic() < until_s:
        with suppress(OSError, ClientError):
            _probe(member.port)
            with Client("127.0.0.1", member.port, user.name, user.password, from_seq=0, reconnect_for_s=0) as trader:
                trader.enter("S0", Side.BUY, 1, "1.00").cancel()
                return
        time.sleep(0.002)
    raise LoadError(f"node {member.name} answered nothing within {_WITHIN_S:.0f} s (takeover {number + 1})")


def _probe(port: int) -> None:
    """Raise OSError unless something listens."""
    with socket.create_connection(("127.0.0.1", port), 0.2):
        pass
