"""The shipped order flow in LOBSTER's format: generated, the same as its generator writes, and run to the end."""

import importlib.util
from pathlib import Path

import pytest

from tests.conftest import Lockstep

FOLDER = Path(__file__).parent.parent / "examples" / "lobster"
ACME = "ACME_2024-01-15_0930"


def test_the_shipped_files_are_those_that_the_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.generated()
    assert {name: (FOLDER / name).read_text() for name in written} == written
    assert {file.name for file in FOLDER.glob("*.csv")} == set(written)


def test_the_best_bid_and_offer_of_every_shipped_row_are_the_published_ones(tmp_path: Path, lockstep: Lockstep) -> None:
    book = ("--book", FOLDER / f"{ACME}_book10.csv", "--check", FOLDER / f"{ACME}_top1.csv")
    line = ("run", FOLDER / f"{ACME}_message.csv", "--format", "lobster", *book, "--data", tmp_path / "acme")
    status, said, _ = lockstep(*line)
    assert (status, said.splitlines()[-1]) == (0, "equal on every row")


def test_all_ten_levels_of_every_shipped_row_are_the_published_ones(tmp_path: Path, lockstep: Lockstep) -> None:
    book = FOLDER / f"{ACME}_book10.csv"
    line = ("run", FOLDER / f"{ACME}_message.csv", "--format", "lobster", "--check", book, "--data", tmp_path / "acme")
    status, said, _ = lockstep(*line, "--book", book)
    assert (status, said.splitlines()[-1]) == (0, "equal on every row")
    assert "rows equal     400 of 400\n" in said
    assert " by later rows of the book file\n" in said


def test_a_check_of_which_most_rows_are_not_compared_whole_does_not_pass(tmp_path: Path, lockstep: Lockstep) -> None:
    """Only the best prices of the opening are given, so that nearly nothing of ten levels is known."""
    (tmp_path / "top.csv").write_text((FOLDER / f"{ACME}_top1.csv").read_text().split("\n")[0] + "\n")
    book = ("--book", tmp_path / "top.csv", "--check", FOLDER / f"{ACME}_book10.csv")
    line = ("run", FOLDER / f"{ACME}_message.csv", "--format", "lobster", *book)
    status, said, _ = lockstep(*line, "--data", tmp_path / "acme")
    assert status == 1
    assert said.splitlines()[-1].startswith("NOT SHOWN: the data determines only ")


@pytest.mark.slow
def test_a_check_of_a_directory_that_was_rolled_compares_what_its_earlier_slices_hold(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    book = ("--book", FOLDER / f"{ACME}_book10.csv", "--check", FOLDER / f"{ACME}_top1.csv")
    line = ("run", FOLDER / f"{ACME}_message.csv", "--format", "lobster", *book, "--data", tmp_path / "acme")
    assert lockstep(*line)[0] == 0
    assert lockstep("roll", tmp_path / "acme")[0] == 0
    for engine in ("kernel", "reference"):
        status, said, _ = lockstep(*line, "--engine", engine)
        assert (status, said.splitlines()[-1]) == (0, "equal on every row")
        assert "rows equal     400 of 400\n" in said
