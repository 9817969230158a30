"""The simulator of a pair: many seeds of faults with every promise checked, and broken cores that it must notice."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.controls import CONTROLS
from tests.simulation.faults import KINDS
from tests.simulation.many import report, run_seeds
from tests.simulation.simulation import simulate

ROOT = Path(__file__).parent.parent
#: Seeds within which a broken core must show.
CONTROL_SEEDS = 150


@pytest.mark.slow
@pytest.mark.parametrize(
    "seeds", [range(1, 9), pytest.param(range(9, 41), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_whatever_fails_in_whatever_order_what_was_told_stays_true_and_the_pair_is_well_again_after_it(
    seeds: range,
) -> None:
    """CI runs 300 seeds besides, by `make simulation`."""
    total = run_seeds(seeds)
    assert not total.failed, report(total)
    assert total.takeovers > 2 * len(seeds)
    if len(seeds) > 20:
        assert total.divergences
        assert len([kind for kind in KINDS if total.struck[kind]]) >= 20


@pytest.mark.slow
def test_a_seed_tells_the_same_story_in_another_process() -> None:
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "5"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert told.stdout.splitlines() == simulate(5).story
    assert told.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
def test_a_broken_core_is_noticed(name: str) -> None:
    control = CONTROLS[name]
    seeds = [control.seed, *range(1, CONTROL_SEEDS + 1)]
    found = (simulate(seed, control.parts, control.setup).broken for seed in seeds)
    assert any(re.search(control.broken, broken) for broken in found), name
