"""Start-up time of commands: the help, one that needs the engine, and the first on a new machine."""

import tempfile
from pathlib import Path

from benchmarks.measure import RUNS, Row, child, row, seconds
from directory.recover import create
from engine import Capacity

_LOCKSTEP = ("-c", "from cli.main import main; main()")


def run() -> list[Row]:
    """All measurements of starting."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        cold = [seconds(lambda: child([*_LOCKSTEP, "warmup"], LOCKSTEP_CACHE_DIR=name))]
        directory = Path(name) / "node"
        create(directory, Capacity())[0].close()
        state = [seconds(lambda: child([*_LOCKSTEP, "state", str(directory)])) for _ in range(RUNS)]
    shown = [seconds(lambda: child([*_LOCKSTEP, "--help"])) for _ in range(RUNS)]
    return [
        row("first compile of the kernels", cold, "s", at_most=60.0),
        row("lockstep --help", shown, "s", at_most=0.3),
        row("lockstep state of an empty node", state, "s", at_most=2.0),
    ]
