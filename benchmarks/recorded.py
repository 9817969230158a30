"""The round trip of one order with the records of arrivals and latencies, and without.

    python -m benchmarks.recorded [TURNS] [ROUND_TRIPS]

Two nodes without sync, one of them with ``--no-arrivals``; one client asks them by turns, so that what else the machine
does meets both. Of each turn, the difference of the two is the cost of the records.
"""

import sys
from contextlib import ExitStack
from typing import Final

from benchmarks.measure import Row, machine, row, told
from benchmarks.wire import checked, generating
from benchmarks.wire_node import running_node
from load.generator import one_at_a_time

TURNS: Final = 15
ROUND_TRIPS: Final = 4_000
PERCENTILES: Final = (50.0, 99.0)


def run(turns: int = TURNS, round_trips: int = ROUND_TRIPS) -> list[Row]:
    """The round trips of both nodes and their difference, a row a percentile. Raises LoadError."""
    found: dict[str, list[list[float]]] = {"with records": [], "without": []}
    with ExitStack() as stack:
        nodes = {
            name: stack.enter_context(running_node("none", 1, 1, arguments))
            for name, arguments in (("with records", ()), ("without", ("--no-arrivals",)))
        }
        clients = {name: stack.enter_context(generating(node, window=1)) for name, node in nodes.items()}
        for turn in range(turns + 1):  # the first touches memory
            names = list(nodes) if turn % 2 else list(reversed(nodes))
            for name in names:
                latencies = checked(one_at_a_time(clients[name], round_trips), nodes[name]).latencies
                if turn:
                    found[name].append([latencies.at(percentile) / 1_000 for percentile in PERCENTILES])
    rows = []
    for at, percentile in enumerate(PERCENTILES):
        for name, each in found.items():
            rows.append(row(f"one at a time, {name}: p{percentile:g} round trip", [turn[at] for turn in each], "us"))
        both = zip(*found.values(), strict=True)
        rows.append(row(f"cost of the records: p{percentile:g}", [one[at] - other[at] for one, other in both], "us"))
    return rows


def main() -> int:
    """Print the rows."""
    for name, value in machine().items():
        print(f"{name:8} {value}")
    for each in run(*map(int, sys.argv[1:3])):
        words = told(each)
        print(f"{words['name']:48} {words['value']:>8} {words['unit']} ({words['min']} - {words['max']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
