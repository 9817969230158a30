"""Takeovers: seconds from the death of the primary to the first answer of the new one, as a client sees it.

A client enters an order at the node that is to take over, over and over until it is answered: connect, log in, order,
answer. So the number has the discovery of the death, the arbiter, the epoch in the journal, and the login.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.measure import Row, row
from benchmarks.pair_cost import REPLICA_US, beside_a_node
from benchmarks.pair_nodes import Member, PairOfNodes, running_pair
from load.lines import LoadError, User

_SUPERVISED_S: Final = 0.5
_WITNESS_S: Final = 1.5
_ETCD_S: Final = 3.5
_SWITCHOVER_S: Final = 0.2
_WITHIN_S: Final = 30.0


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
    yield from beside_a_node(("none", "replica"), plan.orders, plan.round_trips, plan.runs, more_us_max=REPLICA_US)
    with running_pair() as pair:
        yield from _rows("kill -9, supervised", _kills(pair, plan.supervised, watched=True), _SUPERVISED_S)
        yield from _rows("planned switchover: silence", _switchovers(pair, plan.switchovers), _SWITCHOVER_S)
        yield from _rows("kill -9, witness alone (lease 600 ms)", _kills(pair, plan.witness, watched=False), _WITNESS_S)
    if plan.etcd:
        with running_pair(with_etcd=True) as pair:
            yield from _rows("kill -9, etcd (lease 2 s)", _kills(pair, plan.etcd, watched=False), _ETCD_S)


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
        watch = [] if watched else primary.watch_pids()
        if not watched and not watch:
            raise LoadError("the watch beside the primary was not found, so its lease would not be measured")
        for pid in watch:  # not killed: a dead one is begun again
            os.kill(pid, signal.SIGSTOP)
        assert primary.child is not None, "it runs"
        began_s = time.monotonic()
        os.kill(primary.child.pid, signal.SIGKILL)
        _until_answered(standby, pair.users[0], number)
        took_s.append(time.monotonic() - began_s)
        for pid in watch:
            os.kill(pid, signal.SIGKILL)
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
