"""Many seeds in several processes, and what they came to together."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.simulation.faults import KINDS
from tests.simulation.simulation import Result, simulate


@dataclass
class Total:
    """Sum over seeds. ``failed``: the broken promise by seed. ``struck``: faults by kind."""

    seeds: int = 0
    commands: int = 0
    takeovers: int = 0
    divergences: int = 0
    lost_with_leave: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    struck: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Add a run."""
        self.seeds += 1
        self.commands += result.commands
        self.takeovers += result.takeovers
        self.divergences += result.divergences
        self.lost_with_leave += result.lost_with_leave
        self.struck += result.struck
        if result.broken:
            self.failed[result.seed] = result.broken


def _run(seed: int) -> Result:
    result = simulate(seed)
    return result._replace(story=[])


def run_seeds(seeds: Sequence[int], jobs: int = 1) -> Total:
    """Run seeds one after the other in each of ``jobs`` processes."""
    total = Total()
    if jobs == 1:
        for seed in seeds:
            total.add(_run(seed))
        return total
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(_run, seeds, chunksize=4):
            total.add(result)
    return total


def kinds_that_never_struck(total: Total) -> list[str]:
    """Kinds of fault that no seed met."""
    return [kind for kind in KINDS if not total.struck[kind]]


def report(total: Total) -> str:
    """Table of the faults that struck, and the seeds in which a promise was broken."""
    lines = [
        f"{count:8,}  {kind}" for kind, count in sorted(total.struck.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    lines.append(
        f"{total.seeds:,} seeds, {len(total.struck)} kinds of fault and of recovery, {total.commands:,} commands, "
        f"{total.takeovers:,} reigns, {total.divergences:,} divergences, "
        f"{total.lost_with_leave:,} commands lost as the policy allows"
    )
    if missing := kinds_that_never_struck(total):
        lines.append(f"never struck: {', '.join(missing)}")
    for seed, why in sorted(total.failed.items()):
        lines.append(f"seed {seed}: {why}\n    python -m tests.simulation {seed}")
    return "\n".join(lines)
