"""Profile of a round trip through a pair in `both`: the time of each step on both nodes.

Under `replica` rows go ahead of their block, in compiled code on both nodes, and a block has those of many orders.

Run it as ``python -m benchmarks.pair_profile [ROUND_TRIPS]``. Both nodes note the monotonic time of each step of
each order (``benchmarks.stamped_node``), which the processes of one machine share. Only orders that were alone on
their way count. Prints the median and the 90th percentile of each step, in microseconds.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import pair_nodes
from benchmarks.measure import machine
from benchmarks.pair_cost import round_trips
from benchmarks.stamped_node import STEPS
from load.generator import Result

_STAMPED: Final = "benchmarks.stamped_node"
_BEFORE_SEAL: Final = ("bytes read", "rows complete")
#: Steps whose time is taken from another one than the step before them, since two nodes work at the same time.
_SINCE: Final = {
    "copy woke": "block sent",
    "block applied": "block sent",
    "acknowledgement read": "copy acknowledged",
    "copy applied": "copy acknowledged",
}


def profile(requests: int, policy: str = "both") -> tuple[Result, list[tuple[str, str, float, float, float]]]:
    """Round trips, and for each step: step, the step that it is measured from, median and 90th percentile in us."""
    pair_nodes.ENTRY = _STAMPED
    with tempfile.TemporaryDirectory(prefix="lockstep-stamps-") as name:
        os.environ["LOCKSTEP_STAMPS"] = name
        with pair_nodes.running_pair(arguments=["--durability", policy]) as pair:
            primary, _ = pair.in_sync()
            round_trips(primary.port, pair.users, max(requests // 10, 1))
            result = round_trips(primary.port, pair.users, requests)
        times = _times(Path(name).glob("*.stamps"))
    return result, _steps(times, requests)


def _times(files: Iterator[Path]) -> dict[int, dict[str, int]]:
    """Times of the steps of each block, by its last command."""
    found: dict[int, dict[str, int]] = {}
    for file in files:
        before: dict[str, int] = {}
        for number, seq, time_ns in np.frombuffer(file.read_bytes(), np.int64).reshape(-1, 3).tolist():
            step = STEPS[number]
            if not seq:
                before[step] = time_ns
                continue
            block = found.setdefault(seq, {})
            if step == "block sealed":
                block.update({each: before[each] for each in _BEFORE_SEAL if each in before})
            elif step == "copy checked" and "copy woke" in before:
                block["copy woke"] = before["copy woke"]
            # The bytes of an acknowledgement come before it is known which block it is of.
            read_ns = before.get(step, time_ns) if step == "acknowledgement read" else time_ns
            block.setdefault(step, read_ns)
    return found


def _steps(times: dict[int, dict[str, int]], last: int) -> list[tuple[str, str, float, float, float]]:
    whole = [block for _, block in sorted(times.items()) if len(block) == len(STEPS)][-last:]
    rows = []
    for step, earlier in zip(STEPS[1:], STEPS, strict=False):
        since = _SINCE.get(step, earlier)
        took_us = [(block[step] - block[since]) / 1_000 for block in whole]
        rows.append((step, since, *(float(np.percentile(took_us, p)) for p in (10, 50, 90))))
    took_us = [(block["answers sent"] - block["bytes read"]) / 1_000 for block in whole]
    rows.append(("all of the primary", "bytes read", *(float(np.percentile(took_us, p)) for p in (10, 50, 90))))
    return rows


def main(words: Sequence[str]) -> None:
    """Print the profile."""
    requests = int(words[0]) if words else 3_000
    result, rows = profile(requests, *words[1:2])
    print(
        f"load {machine().get('load', os.getloadavg()[0])}; p50 round trip {result.latencies.at(50.0) / 1_000:.0f} us"
    )
    for step, since, low_us, median_us, most_us in rows:
        print(f"{step:24} since {since:24} {low_us:8.1f} {median_us:8.1f} {most_us:8.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
