"""The slow tests of a day: a rotating part, the same for the same seed."""

import os
from pathlib import Path

import pytest

from tests.parts import SEED, mark_slow_cases, part_of, parts_asked_for, seed_of_the_day

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent

FILE = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("number", range(6))
def test_slow(number):
    pass

def test_quick():
    pass
"""


@pytest.mark.parametrize(("count", "parts"), [(0, 3), (1, 3), (7, 3), (9, 3), (5, 1)])
def test_each_slow_test_runs_on_exactly_one_of_as_many_days_as_there_are_parts(count: int, parts: int) -> None:
    days = [part_of(count, parts, 20261126 + day) for day in range(parts)]
    assert sorted(place for day in days for place in day) == list(range(count))
    assert part_of(count, parts, 20261126) == part_of(count, parts, 20261126)


@pytest.mark.slow
def test_a_run_says_its_seed_and_the_same_seed_gives_the_same_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n slow: x\n slow_after(n): x\n")
    pytester.makepyfile(FILE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ran = []
    for seed in ("20261126", "20261127", "20261126"):
        monkeypatch.setenv(SEED, seed)
        result = pytester.runpytest_subprocess("--part", "slow=3", "-p", "no:cacheprovider", "-v")
        result.assert_outcomes(passed=3, deselected=4)
        result.stdout.fnmatch_lines([f"*{SEED}={seed}*"])
        ran.append([line.split()[0] for line in result.outlines if "PASSED" in line])
    assert ran[0] == ran[2] != ran[1]
    assert all(any("test_quick" in name for name in names) for names in ran)
    result = pytester.runpytest_subprocess("--rest", "slow=3", "-p", "no:cacheprovider", "-v")
    rest = [line.split()[0] for line in result.outlines if "PASSED" in line]
    assert len(rest) == 5
    assert not [name for name in rest if name in ran[2] and "test_slow" in name], "two runs of a day have each once"


def test_of_a_test_with_many_cases_those_after_its_first_ones_are_slow(pytester: pytest.Pytester) -> None:
    items = pytester.getitems(
        FILE.replace("slow\n", "slow_after(2)\n").replace(
            "range(6)", "[pytest.param(0, marks=pytest.mark.slow), 1, 2, 3, 4]"
        )
    )
    mark_slow_cases(items)
    slow = [item.name for item in items if item.get_closest_marker("slow") is not None]
    assert slow == ["test_slow[0]", "test_slow[3]", "test_slow[4]"]


@pytest.mark.parametrize("word", ["slow", "slow=", "slow=0", "slow=x"])
def test_a_part_that_is_no_number_is_refused(word: str) -> None:
    with pytest.raises(pytest.UsageError, match="give a marker and a number of parts"):
        parts_asked_for([word])


def test_the_seed_is_the_day_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED, "7")
    assert seed_of_the_day() == 7
    monkeypatch.delenv(SEED)
    assert 20260101 < seed_of_the_day() < 99991231
    assert os.environ[SEED]
