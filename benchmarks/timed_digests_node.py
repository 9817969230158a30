"""`lockstep` that measures the processor time of its comparison of digests, for ``benchmarks.pair_cost``.

Run it as ``python -m benchmarks.timed_digests_node serve ...`` with the name of a folder in ``LOCKSTEP_TIMED``: on each
SIGUSR2 it writes there what it has measured since its start, in a file with the number of its process. A call that is
measured costs about a microsecond more, which counts too.
"""

import json
import os
import runpy
import signal
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from directory.small_file import write_whole
from node.pair.state_comparison import StateComparison
from replication.comparison import Comparison
from replication.pieces import PieceWalk
from replication.primary import Primary
from replication.standby import Standby

#: Methods that compare or send digests, by what they compare. Some do a little more: what they cost is at most that.
TIMED: Final[dict[str, tuple[tuple[type, str], ...]]] = {
    "pieces of the state": (
        (PieceWalk, "turn"),
        (Primary, "add_scrub"),
        (StateComparison, "check"),
        (Standby, "take_checks"),
    ),
    "events of blocks": (
        (Primary, "add_digest"),
        (Primary, "_put_digests"),
        (Standby, "on_applied"),
        (Standby, "acknowledge"),
        (Comparison, "own"),
        (Comparison, "other"),
    ),
}


class Times(NamedTuple):
    """Processor time since the start, in ns: of the process, and of the methods by what they compare."""

    process_ns: int
    by_kind_ns: dict[str, int]


_found: Final = dict.fromkeys(TIMED, 0)
#: The measured method that runs now, if one does: what it calls is a part of it.
_running: Final[list[str]] = []


def _measure(kind: str, owner: Any, name: str) -> None:
    plain = getattr(owner, name)

    def measured(*given: Any, **named: Any) -> Any:
        if _running:
            return plain(*given, **named)
        _running.append(name)
        began_ns = time.thread_time_ns()
        try:
            return plain(*given, **named)
        finally:
            _found[kind] += time.thread_time_ns() - began_ns
            _running.clear()

    setattr(owner, name, measured)


def _write(*_: Any) -> None:
    times = Times(time.process_time_ns(), _found)
    write_whole(_file(os.getpid()), json.dumps(times))


def _file(pid: int) -> Path:
    return Path(os.environ["LOCKSTEP_TIMED"]) / f"{pid}.times"


def times_of(pid: int, within_s: float = 10.0) -> Times:
    """Times of a process so far. Raises TimeoutError."""
    path, until_s = _file(pid), time.monotonic() + within_s
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    while not path.exists():
        if time.monotonic() > until_s:
            raise TimeoutError(f"process {pid} does not say what it has measured")
        time.sleep(0.01)
    return Times(*json.loads(path.read_bytes()))


if __name__ == "__main__":
    for of, methods in TIMED.items():
        for its_class, method in methods:
            _measure(of, its_class, method)
    signal.signal(signal.SIGUSR2, _write)
    runpy.run_module("cli.main", run_name="__main__", alter_sys=True)
