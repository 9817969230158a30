"""Capacity options of `lockstep run` and `lockstep serve`: fixed for a new directory, refused where they differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import node.program
from engine.capacity import Capacity
from journal import Journal
from tests.conftest import Lockstep

SMALL = ("--orders-max", 16, "--ids-max", 32, "--instruments-max", 2, "--participants-max", 3)
DAY = "instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\n"


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A scenario file."""
    (tmp_path / "day.txt").write_text(DAY)
    return tmp_path / "day.txt"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Capacity]:
    """The capacities with which a node was to be started; none is."""
    capacities: list[Capacity] = []

    def serve(_options: object, capacity: Capacity, *_: object, **_named: object) -> None:
        capacities.append(capacity)

    monkeypatch.setattr(node.program, "serve", serve)
    return capacities


def capacity(directory: Path) -> Any:
    """The capacity that a directory was created with."""
    with Journal.open(directory, readonly=True) as journal:
        return journal.meta["capacity"]


def test_a_new_directory_has_the_capacity_of_the_options_and_the_same_again_is_fine(
    day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    for _ in range(2):
        status, _, complaint = lockstep("run", day, "--data", tmp_path / "new", *SMALL)
        assert status == 0, complaint
    assert capacity(tmp_path / "new") == {
        "orders_max": 16,
        "ids_max": 32,
        "instruments_max": 2,
        "participants_max": 3,
    }


@pytest.mark.slow
def test_without_options_each_command_has_its_defaults(
    day: Path, tmp_path: Path, lockstep: Lockstep, served: list[Capacity]
) -> None:
    assert lockstep("run", day, "--data", tmp_path / "new")[0] == 0
    assert Capacity(**capacity(tmp_path / "new")) == Capacity()
    assert lockstep("serve", "--data", tmp_path / "other")[0] == 0
    assert served == [Capacity(1 << 20, 1 << 23, 256, 2_048)]


def run_line(day: Path, directory: Path) -> list[object]:
    """The words of a run into a directory."""
    return ["run", day, "--data", directory]


def append_line(day: Path, directory: Path) -> list[object]:
    """The words of a run that appends."""
    return ["run", day, "--append", "--data", directory]


def serve_line(_day: Path, directory: Path) -> list[object]:
    """The words that start a node."""
    return ["serve", "--data", directory]


@pytest.mark.slow
@pytest.mark.parametrize("line", [run_line, append_line, serve_line])
@pytest.mark.parametrize(
    "option", [("--orders-max", 15), ("--ids-max", 1 << 21), ("--instruments-max", 256), ("--participants-max", 4)]
)
def test_another_capacity_than_an_existing_directory_has_is_refused_with_how_to_get_it(
    line: Callable[[Path, Path], list[object]],
    option: tuple[str, int],
    day: Path,
    tmp_path: Path,
    lockstep: Lockstep,
    served: list[Capacity],
) -> None:
    there = tmp_path / "there"
    assert lockstep("run", day, "--data", there, *SMALL)[0] == 0
    status, said, complaint = lockstep(*line(day, there), *option)
    assert (status, said, served) == (2, "", [])
    name, value = option
    assert f"{there} has {name[2:].replace('-', '_')} {SMALL[SMALL.index(name) + 1]}, not {value:,}" in complaint
    assert f"leave out {name}" in complaint
    # Its advice gives the directory the wanted capacity.
    before, commands = capacity(there), lockstep("commands", there)[1]
    advice = complaint.rpartition("`lockstep ")[2].rstrip("`\n").split()
    assert lockstep(*advice)[0] == 0
    assert capacity(there) == before | {name[2:].replace("-", "_"): value}
    assert lockstep("commands", there)[1] == commands


@pytest.mark.parametrize("line", [run_line, serve_line])
def test_a_capacity_that_none_can_have_is_refused_before_anything_is_made(
    line: Callable[[Path, Path], list[object]], day: Path, tmp_path: Path, lockstep: Lockstep, served: list[Capacity]
) -> None:
    for options in (("--orders-max", 64, "--ids-max", 32), ("--participants-max", 70_000)):
        status, _, complaint = lockstep(*line(day, tmp_path / "new"), *options)
        assert (status, served) == (2, [])
        assert options[-2].replace("-", "_").strip("_") in complaint
    assert not (tmp_path / "new").exists()
