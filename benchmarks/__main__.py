"""`python -m benchmarks`: everything, with the machine it ran on; about five minutes."""

import sys
import time

from benchmarks import engine, journal, replay, start
from benchmarks.measure import Row, machine, told


def _say(row: Row) -> None:
    said = told(row)
    spread = f"({said['min']} - {said['max']}, {said['runs']} runs)"
    verdict = f"target {said['target']}: {said['met']}" if said["target"] else ""
    print(f"{said['name']:68} {said['value']:>12} {said['unit']:11} {spread:40} {verdict}".rstrip(), flush=True)


def main() -> int:
    """Print every measurement; 1 when a target was missed."""
    began_s = time.monotonic()
    for name, value in machine().items():
        print(f"{name:8} {value}")
    missed = 0
    for part in (engine, journal, replay, start):
        print()
        for row in part.run():
            _say(row)
            missed += row["met"] is False
    print(f"\n{missed} targets missed; {time.monotonic() - began_s:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
