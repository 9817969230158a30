"""LOBSTER files that are not what they should be, from the command line: what is told, and how far a check went."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import run_line

MESSAGES = """\
34200.000000001,1,11,100,100000,1
34200.5,1,12,50,100200,-1
34201,2,11,40,100000,1
34201,4,12,20,100200,-1
34202,3,11,60,100000,1
"""
#: The book after each message: two levels, all that there is.
ROWS = (
    "100300,10,100000,100,9999999999,0,99900,30\n",
    "100200,50,100000,100,100300,10,99900,30\n",
    "100200,50,100000,60,100300,10,99900,30\n",
    "100200,30,100000,60,100300,10,99900,30\n",
    "100200,30,99900,30,100300,10,-9999999999,0\n",
)


class Checked:
    """Runs MESSAGES beside a check file of some rows: (exit status, standard output, standard error)."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._directory = directory
        self._capsys = capsys
        self._runs = 0

    def __call__(self, rows: tuple[str, ...], *more: str) -> tuple[int, str, str]:
        files = {"messages": MESSAGES, "book": "".join(ROWS), "check": "".join(rows)}
        for name, text in files.items():
            (self._directory / f"{name}.csv").write_text(text)
        self._runs += 1
        line = ["run", str(self._directory / "messages.csv"), "--format", "lobster", "--engine", "reference"]
        line += ["--symbol", "XYZ", "--date", "2012-06-21", "--data", str(self._directory / f"node{self._runs}")]
        for name in ("book", "check"):
            line += [f"--{name}", str(self._directory / f"{name}.csv")]
        self._capsys.readouterr()
        status = run_line([*line, *more])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def facts(self, rows: tuple[str, ...]) -> dict[str, Any]:
        """The check in the output of --json."""
        found: dict[str, Any] = json.loads(self(rows, "--json")[1])["lobster"][0]["check"]
        return found


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Checked:
    """Runs MESSAGES beside a check file."""
    return Checked(tmp_path, capsys)


@pytest.mark.parametrize(
    ("right", "wrong", "level", "published", "lockstep"),
    [
        ("99900,30", "99900,31", 2, "offer 10 @ 10.03, bid 31 @ 9.99", "offer 10 @ 10.03, bid 30 @ 9.99"),
        ("100300,10", "100400,10", 2, "offer 10 @ 10.04, bid 30 @ 9.99", "offer 10 @ 10.03, bid 30 @ 9.99"),
        ("100000,60", "100000,61", 1, "offer 50 @ 10.02, bid 61 @ 10.00", "offer 50 @ 10.02, bid 60 @ 10.00"),
    ],
)
def test_the_first_difference_is_told_with_both_sides_of_the_level_that_differs(
    right: str, wrong: str, level: int, published: str, lockstep: str, checked: Checked
) -> None:
    spoilt = (*ROWS[:2], ROWS[2].replace(right, wrong), *ROWS[3:])
    status, said, _ = checked(spoilt)
    lines = said.splitlines()
    assert (status, lines[-1]) == (1, "DIFFERENT where the data determines the book")
    at = next(number for number, line in enumerate(lines) if line.startswith("first difference: "))
    assert lines[at].startswith(f"first difference: message 3, level {level}: ")
    assert [line.split(maxsplit=1) for line in lines[at + 1 : at + 3]] == [
        ["published", published],
        ["lockstep", lockstep],
    ]
    first = checked.facts(spoilt)["first"]
    assert (first["line"], first["level"]) == (3, level)


def test_messages_without_a_published_row_are_counted_and_not_called_equal(checked: Checked) -> None:
    status, said, _ = checked(ROWS[:3])
    assert status == 0
    assert "3 of 3\n" in said
    assert "2 messages without a published row\n" in said
    assert said.endswith("equal on all 3 rows; the last 2 messages had no published row to compare with\n")
    assert checked.facts(ROWS[:3])["unpublished"] == 2

    status, said, _ = checked(ROWS)
    assert (status, "without a published row" in said) == (0, False)
    assert said.endswith("\nequal on every row\n")
    assert checked.facts(ROWS)["unpublished"] == 0


@pytest.mark.parametrize("rows", [("",), ("\n",)])
def test_an_empty_book_file_is_said_to_be_empty(rows: tuple[str, ...], checked: Checked, tmp_path: Path) -> None:
    status, said, complaint = checked(rows)
    assert (status, said) == (2, "")
    assert complaint == f"lockstep: {tmp_path / 'check.csv'}: the file is empty; give one with rows.\n"
