"""A CLOCK row behind an EXTEND row is refused, and every question says so, wherever a block of the journal ends."""

from pathlib import Path
from typing import Final

import pytest

from engine.records import CommandKind, concatenate
from engine.row_bytes import clock_row
from journal import Journal
from replay.rebuild import owned_rows
from tests.conftest import Lockstep
from tests.nodes import write_node

_EXTEND: Final = bytes(56) + bytes([CommandKind.EXTEND]) + bytes(7)
#: The refused clock value is an hour and a day later.
_LATER_NS: Final = 1_705_311_000 * 10**9 + 90_000 * 10**9
DAY: Final = f"""\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
raw {_EXTEND.hex()}
raw {clock_row(_LATER_NS).hex()}
enter BETA b1 buy 60 XYZ @ 10.00
cancel ALPHA a1
"""
#: Row behind which a block ends: the EXTEND row, since the clock value of the first line is row 1.
_AT: Final = 7
QUESTIONS: Final = (
    "events DIR --with-time --with-seq",
    "events DIR --from 8 --with-time",
    "events DIR --reports --json",
    "commands DIR --with-time --with-seq",
    "commands DIR --from 8 --with-time",
    "order DIR a1 --json",
    "why DIR 9 --json",
    "stats DIR --json",
    "stats DIR --bars 1m --json",
    "incident DIR --no-pictures --json --out OUT.md",
    "export DIR --json --out OUT",
)


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_is_the_same_wherever_a_block_ends(question: str, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "whole")[0] == 0
    with Journal.open(tmp_path / "whole", readonly=True) as journal:
        rows = concatenate([owned_rows(block.rows) for block in journal.blocks()])
    answers = []
    for number, block_rows in enumerate((100, _AT)):
        place = tmp_path / str(number)
        place.mkdir()
        write_node(place / "node", rows, block_rows)
        with Journal.open(place / "node", readonly=True) as journal:
            assert [block.last_seq for block in journal.blocks(_AT, _AT)] == [10 if number == 0 else _AT]
        words = question.replace("DIR", str(place / "node")).replace("OUT", str(place / "out")).split()
        status, said, noted = lockstep(*words)
        assert status == 0, noted
        files = sorted((place / "out").glob("*.csv")) if (place / "out").is_dir() else []
        answers.append((said.replace(str(place), ""), [each.read_bytes() for each in files]))
    (one, files_one), (other, files_other) = answers
    if not question.startswith(("incident", "export")):  # they name the journal, which each run makes anew
        assert one == other
    assert files_one == files_other
    if not question.startswith("commands"):  # which print the row itself
        assert "2024-01-16" not in one + other, "the refused clock value counts nowhere"
