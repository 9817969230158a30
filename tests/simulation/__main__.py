"""Command of the simulator: the story of one seed, or many seeds and the count of faults that struck."""

import argparse
import sys

from tests.simulation.many import kinds_that_never_struck, report, run_seeds
from tests.simulation.simulation import simulate

SEEDS_THAT_MEET_ALL = 300


def main() -> int:
    """Run what the command line says; exit status 1 if a promise was broken, or 300 seeds did not meet each fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="tell the story of this seed")
    parser.add_argument("--seeds", type=int, default=300, help="run as many seeds (default 300)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    given = parser.parse_args()
    if given.seed is not None:
        result = simulate(given.seed)
        print("\n".join(result.story))
        return 1 if result.broken else 0
    total = run_seeds(range(given.first, given.first + given.seeds), given.jobs)
    print(report(total))
    return 1 if total.failed or (total.seeds >= SEEDS_THAT_MEET_ALL and kinds_that_never_struck(total)) else 0


if __name__ == "__main__":
    sys.exit(main())
