"""Cost of a standby: orders a second and round trips of a pair beside those of a node alone, in turn.

Run it as ``python -m benchmarks.pair_cost``; `lockstep bench takeover` has its first rows. With the word ``digests`` it
measures the comparison of digests alone, in one pair.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from benchmarks import pair_nodes
from benchmarks.bare_chain import floor_us
from benchmarks.measure import Row, machine, row, told
from benchmarks.pair_nodes import PairOfNodes, running_pair
from benchmarks.timed_digests_node import TIMED, times_of
from benchmarks.wire_node import running_node, symbol_names
from load.generator import Generator, Result, one_at_a_time
from load.lines import LoadError, User, close_lines, cpu_s, open_lines

_SHARE_PERCENT: Final = 40.0
REPLICA_US: Final = 60.0
_DIGESTS_PERCENT: Final = 3.0
_WINDOW: Final = 32_768
_UNDIGESTED: Final = "benchmarks.undigested_node"
_TIMED: Final = "benchmarks.timed_digests_node"
#: A client that takes both cores must not end a reign.
_LEASE: Final = ("--lease-ms", "3000")


def run(orders: int, trips: int, runs: int) -> Iterator[Row]:
    """All rows. Raises LoadError."""
    yield from beside_a_node(("none", "replica"), orders, trips, runs, more_us_max=REPLICA_US)
    yield from _floor(trips, runs)
    yield from beside_a_node(("fsync", "both"), orders, trips, runs)
    yield from _digests(orders, runs)
    yield from _digests_timed(orders, runs)


def beside_a_node(
    policies: tuple[str, str], orders: int, trips: int, runs: int, *, more_us_max: float | None = None
) -> Iterator[Row]:
    """Rows of a node alone and of a pair under their policies, in turn, and what the pair costs."""
    with ExitStack() as stack:
        alone = stack.enter_context(running_node(policies[0], 1))
        pair = stack.enter_context(running_pair(arguments=["--durability", policies[1], *_LEASE]))
        names = f"a node alone, {policies[0]}", f"a pair, {policies[1]}"
        ports, users = (alone.port, pair.in_sync()[0].port), (alone.users, pair.users)
        rates: tuple[list[float], list[float]] = ([], [])
        trips_us: tuple[list[float], list[float]] = ([], [])
        for _ in range(runs):
            for which in (0, 1):
                rates[which].append(_saturated(ports[which], users[which], orders))
                trips_us[which].append(round_trips(ports[which], users[which], trips).latencies.at(50.0) / 1_000)
    for which, name in enumerate(names):
        yield row(f"{name}: orders in and answered", rates[which], "orders/s")
        yield row(f"{name}: p50 round trip", trips_us[which], "us")
    shares = [100 * pair / single for single, pair in zip(*rates, strict=True)]
    yield row(f"{names[1]}: share of the orders of {names[0]}", shares, "%", at_least=_SHARE_PERCENT)
    more = [pair - single for single, pair in zip(*trips_us, strict=True)]
    yield row(f"{names[1]}: round trip more than {names[0]}", more, "us", at_most=more_us_max)


def _floor(trips: int, runs: int) -> Iterator[Row]:
    """The same for processes that only pass bytes on."""
    found = [floor_us(trips) for _ in range(runs)]
    yield row("a bare process: p50 round trip", [alone for alone, _ in found], "us")
    yield row("a bare chain of two: round trip more than one", [chain - alone for alone, chain in found], "us")


def _digests(orders: int, runs: int) -> Iterator[Row]:
    """Orders a second and processor time of a pair with the comparison of digests and without, in turn.

    Both are judged. Pieces of the state are compared at fixed times, so a slow run has more of them an order.
    """
    with ExitStack() as stack:
        compared = stack.enter_context(_pair("cli.main"))
        alone = stack.enter_context(_pair(_UNDIGESTED))
        rates: tuple[list[float], list[float]] = ([], [])
        costs_ns: tuple[list[float], list[float]] = ([], [])
        for number in range(runs + 1):
            for which, pair in enumerate((alone, compared)):
                rate, cost_ns = _loaded(pair, orders)
                if number:  # the first one touches the memory
                    rates[which].append(rate)
                    costs_ns[which].append(cost_ns)
    for which, name in enumerate(("without digests", "with digests")):
        yield row(f"a pair {name}: orders in and answered", rates[which], "orders/s")
        yield row(f"a pair {name}: processor time of both nodes", costs_ns[which], "ns/order")
    more = [100 * (one / other - 1) for other, one in zip(*costs_ns, strict=True)]
    yield row("comparison of digests: processor time of both nodes more", more, "%", at_most=_DIGESTS_PERCENT)
    fewer = [100 * (1 - one / other) for other, one in zip(*rates, strict=True)]
    yield row("comparison of digests: orders a second fewer", fewer, "%", at_most=_DIGESTS_PERCENT)


def _digests_timed(orders: int, runs: int) -> Iterator[Row]:
    """Share of the processor time of both nodes that the methods take which compare digests.

    One run says it: other programs on the machine slow both alike, but for the pieces of the state that are compared at
    fixed times.
    """
    shares: dict[str, list[float]] = {kind: [] for kind in (*TIMED, "all")}
    with tempfile.TemporaryDirectory(prefix="lockstep-timed-") as folder:
        os.environ["LOCKSTEP_TIMED"] = folder
        with _pair(_TIMED) as pair:
            pids = [each.child.pid for each in pair.in_sync() if each.child is not None]
            _loaded(pair, max(orders // 10, 1))
            for _ in range(runs):
                before = [times_of(pid) for pid in pids]
                _loaded(pair, orders)
                after = [times_of(pid) for pid in pids]
                each_node = list(zip(before, after, strict=True))
                process_ns = sum(end.process_ns - begin.process_ns for begin, end in each_node)
                of_all = 0.0
                for kind in TIMED:
                    took_ns = sum(end.by_kind_ns[kind] - begin.by_kind_ns[kind] for begin, end in each_node)
                    shares[kind].append(100 * took_ns / process_ns)
                    of_all += shares[kind][-1]
                shares["all"].append(of_all)
    for kind in TIMED:
        yield row(f"comparison of digests: processor time of both nodes for {kind}", shares[kind], "%")
    name = "comparison of digests: processor time of both nodes, measured in its methods"
    yield row(name, shares["all"], "%", at_most=_DIGESTS_PERCENT)


@contextmanager
def _pair(entry: str) -> Iterator[PairOfNodes]:
    before, pair_nodes.ENTRY = pair_nodes.ENTRY, entry
    try:
        with running_pair(arguments=["--durability", "replica", *_LEASE]) as pair:
            pair_nodes.ENTRY = before
            yield pair
    finally:
        pair_nodes.ENTRY = before


def _loaded(pair: PairOfNodes, orders: int) -> tuple[float, float]:
    """Orders a second, and processor time of both nodes an order, until the standby has all of them."""
    primary, standby = pair.in_sync()
    pids = [each.child.pid for each in (primary, standby) if each.child is not None]
    before_s = sum(map(cpu_s, pids))
    rate = _saturated(primary.port, pair.users, orders)
    pair.in_sync()
    return rate, 1e9 * (sum(map(cpu_s, pids)) - before_s) / orders


def _saturated(port: int, users: Sequence[User], orders: int) -> float:
    with _generator(port, users, _WINDOW) as generator:
        return _checked(generator.saturate(orders)).orders_per_s


def round_trips(port: int, users: Sequence[User], requests: int) -> Result:
    """Round trips of a client that sleeps until the answer comes. Raises LoadError for a wrong answer."""
    with _generator(port, users, 1) as generator:
        return _checked(one_at_a_time(generator, requests))


def _checked(result: Result) -> Result:
    if not result.good:
        raise LoadError(result.complaint())
    return result


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


def main(words: Sequence[str]) -> None:
    """Print the machine and all rows. words: "digests" for the last rows alone; orders, round trips and runs."""
    digests_alone = list(words[:1]) == ["digests"]
    words = words[digests_alone:]
    orders, trips, runs = (int(words[at]) if len(words) > at else most for at, most in enumerate((500_000, 5_000, 5)))
    lines = [f"{name:8} {value}" for name, value in machine().items()]
    sys.stdout.write("\n".join(lines) + "\n\n")
    for each in _digests_timed(orders, runs) if digests_alone else run(orders, trips, runs):
        said = told(each)
        verdict = f"target {said['target']}: {said['met']}" if said["target"] else ""
        sys.stdout.write(
            f"{said['name']:68} {said['value']:>12} {said['unit']:10} ({said['min']} - {said['max']}) {verdict}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
