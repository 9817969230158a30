"""Times in texts for people have one form, that of an ``at`` line; those of JSON have nine places and Z."""

import re
from pathlib import Path
from typing import Final

import pytest

from notation.words import time, time_of
from tests.conftest import Lockstep

#: An order and schedules with times, a halt that ends, and an order that waits for the entry delay.
DAY: Final = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=10.00
participant ALPHA
schedule XYZ 17:00 closed
phase * continuous
enter ALPHA a1 buy 100 XYZ @ 10.00 tif=gtd until=2024-01-16T10:00
enter ALPHA a2 buy 100 XYZ @ 10.00 tif=gtd until=09:32
at 09:31
halt ABC for=5m
at 09:32:00.25
venue speed_bump=1m
enter ALPHA a3 buy 100 XYZ @ 10.00
"""
_LINES: Final = (
    *("state NODE", "book NODE XYZ --orders", "book NODE ABC", "book NODE XYZ --at 09:31", "why NODE 7", "why NODE 9"),
    *("why NODE 10", "why NODE 12", "order NODE a2", "order NODE a3", "events NODE --with-time", "limits NODE"),
    *(
        "commands NODE --with-time",
        "positions NODE",
        "stats NODE --bars 1m",
        "journal info NODE",
        "checkpoint list NODE",
    ),
    *("incident NODE --no-pictures --out REPORT", "doctor NODE"),
)
_OF_JSON: Final = re.compile(r"\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| UTC)")
_ANY: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("times")
    (folder / "day.txt").write_text(DAY)
    assert run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "4"]) == 0
    return folder / "node"


def texts(line: str, node: Path, lockstep: Lockstep) -> str:
    """All that a command line prints, and writes."""
    report = node.parent / "report.md"
    report.unlink(missing_ok=True)
    words = [{"NODE": node, "REPORT": report}.get(word, word) for word in line.split()]
    _, said, complaint = lockstep(*words)
    return said + complaint + (report.read_text() if report.exists() else "")


@pytest.mark.parametrize("line", _LINES)
def test_every_time_of_a_text_is_as_an_at_line_has_it(line: str, node: Path, lockstep: Lockstep) -> None:
    text = texts(line, node, lockstep)
    assert not _OF_JSON.findall(text)
    for found in _ANY.findall(text):
        assert time(time_of(found).value_ns) == found


def test_a_time_in_the_form_of_json_is_found(node: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr("cli.questions.market_tables.plain_time", str)
    assert _OF_JSON.findall(texts("book NODE XYZ --orders", node, lockstep)) == [
        "10:00:00.000000000Z",
        "09:33:00.250000000Z",
    ]


#: A market over midnight: its last day has not reached the time of day at which most of it happened.
_NIGHT: Final = """\
at 2024-01-15T23:50
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
at 23:55
enter ALPHA a1 buy 100 XYZ @ 10.00 tif=gtc
at 2024-01-16T00:05
cancel ALPHA a1
"""


@pytest.mark.parametrize(
    "line",
    [
        *("book NODE XYZ --at 23:56", "positions NODE --at 23:56", "state NODE --at 23:56", "limits NODE --at 23:56"),
        *("events NODE --from 23:56", "commands NODE --to 23:56", "events NODE --reports --from 23:56"),
    ],
)
def test_a_time_that_may_be_meant_of_the_day_before_says_of_which_day_it_is(
    tmp_path: Path, lockstep: Lockstep, line: str
) -> None:
    (tmp_path / "night.txt").write_text(_NIGHT)
    assert lockstep("run", tmp_path / "night.txt", "--data", tmp_path / "node")[0] == 0
    note = (
        "note: 23:56 is of the day of the last command, 2024-01-16T23:56:00, which is not reached: that one is of "
        "2024-01-16T00:05:00; for another day give its date, such as 2024-01-15T23:56:00\n"
    )
    words = line.replace("NODE", str(tmp_path / "node"))
    assert note in lockstep(*words.split())[2]
    # Of no use where the day is named, the time is reached, or no earlier day has it.
    for other in ("2024-01-15T23:56", "00:04", "23:49"):
        assert "is not reached" not in lockstep(*words.replace("23:56", other).split())[2]
