"""Measurements: the median of several runs with the smallest and the largest, and the machine.

Nothing is subtracted and no run is left out. A row says what was measured, the number and its target, so that a
missed target shows in the same line.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
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
    """One line of a report: the median of ``samples`` with its range. met: whether it reaches its target, if any."""
    value = median(samples)
    met = None
    if at_least is not None:
        met = value >= at_least
    if at_most is not None:
        met = value <= at_most
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "min": min(samples),
        "max": max(samples),
        "runs": len(samples),
        "at_least": at_least,
        "at_most": at_most,
        "met": met,
    }


def told(row: Row) -> dict[str, str]:
    """A row in words, for a table: numbers short, the target and whether it is met, "" where there is none."""
    bounds = [
        f"{sign} {short(row[key])}" for key, sign in (("at_least", ">="), ("at_most", "<=")) if row[key] is not None
    ]
    numbers = {key: short(row[key]) for key in ("value", "min", "max")}
    words = {"name": row["name"], "value": numbers["value"], "unit": row["unit"], "min": numbers["min"]}
    met = "" if row["met"] is None else "yes" if row["met"] else "NO"
    return words | {"max": numbers["max"], "runs": str(row["runs"]), "target": "".join(bounds), "met": met}


def show(rows: Iterable[Row]) -> None:
    """Print the machine, and each row as soon as it is there."""
    for name, value in machine().items():
        print(f"{name:8} {value}")
    for each in rows:
        said = told(each)
        between = f"({said['min']} - {said['max']})"
        print(
            f"{said['name']:60} {said['value']:>12} {said['unit']:11} {between} {said['target']}".rstrip(), flush=True
        )


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


def machine() -> dict[str, Any]:
    """The machine: processor, kernel, and versions of Python and libraries."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    names = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    return {
        "cpu": f"{models[0] if models else platform.machine()} (family {names.get('cpu family', '?')})",
        "cores": os.cpu_count() or 1,
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "lmdb")},
        "load": [round(load, 2) for load in os.getloadavg()],
    }
