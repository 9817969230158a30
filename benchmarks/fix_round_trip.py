"""Times of the steps of a round trip by FIX, one message at a time, in both processes: gateway and core.

`python -m benchmarks.fix_round_trip [fsync|none]`. All are monotonic times of one machine. Of each step the time since
the step before it that was seen in the same round trip, in the middle; the stamps themselves cost some us in all.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.fix_wire import fix_node, logged_on
from benchmarks.stamped_fix_node import IN_THE_RING, STEPS

_ROUND_TRIPS: Final = 2_000


def run(durability: str) -> list[tuple[str, float, float, float]]:
    """Step, time since the message was sent, and since the step before, in us: the middle of all round trips, and of
    the second also the fastest tenth."""
    with tempfile.TemporaryDirectory(prefix="lockstep-stamps-") as folder:
        os.environ["LOCKSTEP_STAMPS"] = folder
        moments = np.zeros((_ROUND_TRIPS, 2), np.int64)
        with fix_node(1, durability, module="benchmarks.stamped_fix_node") as (node, port, _):
            (line,) = logged_on(port, node.users)
            for number, frame in enumerate(line.orders(200 + _ROUND_TRIPS), -200):
                began_ns = time.perf_counter_ns()
                line.socket.sendall(frame)
                line.receive(1)
                moments[max(number, 0)] = began_ns, time.perf_counter_ns()
        noted = np.concatenate([np.fromfile(each, np.int64).reshape(-1, 2) for each in Path(folder).glob("*.stamps")])
    return _steps(moments, noted)


def _steps(moments: NDArray[np.int64], noted: NDArray[np.int64]) -> list[tuple[str, float, float, float]]:
    began, ended = moments[:, 0].astype(float), moments[:, 1].astype(float)
    columns: list[tuple[str, NDArray[Any]]] = []
    behind = began  # the way back begins behind the ring
    for number, step in enumerate(STEPS):
        found = _first(np.sort(noted[noted[:, 0] == number, 1]), behind, ended)
        if np.count_nonzero(~np.isnan(found)) * 2 > len(found):
            columns.append((step, (found - began) / 1_000))
        if step in IN_THE_RING and not np.isnan(found).all():
            behind = np.where(np.isnan(found), behind, found)  # a kernel that stays notes none
    columns.append(("answer has come", (ended - began) / 1_000))
    columns.sort(key=lambda each: float(np.nanmedian(each[1])))
    rows, before = [], np.zeros(len(began))
    for step, since in columns:
        more = since - before
        rows.append((step, float(np.nanmedian(since)), float(np.nanmedian(more)), float(np.nanpercentile(more, 10))))
        before = np.where(np.isnan(since), before, since)
    return rows


def _first(times: NDArray[Any], behind: NDArray[Any], ended: NDArray[Any]) -> NDArray[Any]:
    """The first of some times in each round trip that is behind another; NaN where there is none."""
    if not len(times):
        return np.full(len(behind), np.nan)
    at = np.searchsorted(times, behind)
    found = times[np.minimum(at, len(times) - 1)].astype(float)
    return np.where((at < len(times)) & (found <= ended), found, np.nan)


if __name__ == "__main__":
    for each in sys.argv[1:] or ["fsync", "none"]:
        print(f"one at a time, {each}: us since the message was sent, and since the step before")
        for step, *values in run(each):
            print(f"  {step:<30}" + "".join(f"{value:>10.1f}" for value in values))
