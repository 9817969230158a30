"""Measurements: the median of several runs with the smallest and the largest, and the machine.

Nothing is subtracted and no run is left out. A row says what was measured, the number and its target, so that a
missed target shows in the same line.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

Row = dict[str, Any]

RUNS: Final = 5


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call, in seconds."""
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s


def row(
    name: str, samples: Sequence[float], unit: str, *, at_least: float | None = None, at_most: float | None = None
) -> Row:
    """One line of a report: the median of ``samples`` with its range, and whether it reaches the target."""
    value = median(samples)
    target, met = "", ""
    if at_least is not None:
        target, met = f">= {short(at_least)}", "yes" if value >= at_least else "NO"
    if at_most is not None:
        target, met = f"<= {short(at_most)}", "yes" if value <= at_most else "NO"
    return {
        "name": name,
        "value": short(value),
        "unit": unit,
        "min": short(min(samples)),
        "max": short(max(samples)),
        "runs": len(samples),
        "target": target,
        "met": met,
    }


def short(number: float) -> str:
    """A number with three digits, or whole."""
    return f"{number:,.0f}" if abs(number) >= 1_000 else f"{number:.3g}"


def child(arguments: Sequence[str], **environment: str) -> str:
    """Output of a new Python process. Raises CalledProcessError when it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env=os.environ | environment,
    )
    return done.stdout


def machine() -> dict[str, str]:
    """The machine: processor, kernel, and versions of Python and libraries."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    names = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    return {
        "cpu": f"{models[0] if models else platform.machine()} (family {names.get('cpu family', '?')})",
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "lmdb")},
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
