"""Questions about a venue with an entry delay: whose an effect is, and what became of a command that waited."""

import json
from pathlib import Path
from typing import Any

import pytest

from notation.moments import plain_time
from tests.conftest import Lockstep
from tests.json_schemas import checked

Fact = dict[str, Any]

DAY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
limits BETA max_order_qty=100
phase XYZ continuous
venue speed_bump=350us
enter ALPHA a1 sell 100 XYZ @ 10.00
at +100us
enter BETA b1 buy 60 XYZ @ 10.00
enter BETA b9 buy 101 XYZ @ 10.00
at +250us
replace BETA b1 b2 70 @ 10.00
at +100us
cancel ALPHA a1
at +350us
enter ALPHA a5 sell 7 XYZ @ 11.00
"""


@pytest.fixture
def day(tmp_path: Path, lockstep: Lockstep) -> Path:
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", 3)[0] == 0
    return tmp_path / "node"


@pytest.fixture
def numbers(day: Path, lockstep: Lockstep) -> dict[str, int]:
    """Numbers of the commands by their words: of clock values the last one of each time."""
    said = lockstep("commands", day, "--with-seq")[1].splitlines()
    return {line.partition("  # ")[0]: int(line.partition("  # ")[2]) for line in said}


def why(lockstep: Lockstep, day: Path, seq: int) -> Fact:
    (facts,) = checked(["why"], lockstep("why", day, seq, "--json")[1])
    return facts


def test_an_effect_names_the_command_that_waited_for_it(day: Path, numbers: dict[str, int], lockstep: Lockstep) -> None:
    entered = {each: seq for line, seq in numbers.items() for each in ("a1", "b1", "b9") if f" {each} " in line}
    entered["b1"] = numbers["enter BETA b1 buy 60 XYZ @ 10.00"]
    effect = why(lockstep, day, numbers["enter BETA b1 buy 60 XYZ @ 10.00"])["effect"]
    facts = why(lockstep, day, effect["seq"])
    assert [(each["text"].split("  # ")[0], each["delayed_seq"]) for each in facts["consequences"]] == [
        ("accepted b1", entered["b1"]),
        ("trade XYZ 60 @ 10.00 resting=a1 incoming=b1", entered["b1"]),
        ("rejected b9 reason=max_order_qty", numbers["enter BETA b9 buy 101 XYZ @ 10.00"]),
    ]
    assert (facts["refused"], facts["effect"]) == (None, None), "the clock value was not refused"
    said = lockstep("why", day, effect["seq"])[1]
    assert f"> accepted b1  # BETA (rulebook section 4, by command {entered['b1']}, which waited for it)" in said


@pytest.mark.slow
def test_a_command_that_waited_names_its_effect(day: Path, numbers: dict[str, int], lockstep: Lockstep) -> None:
    facts = why(lockstep, day, numbers["enter BETA b9 buy 101 XYZ @ 10.00"])
    effect = facts["effect"]
    assert facts["consequences"] == []
    assert effect["waited_ns"] == 350_000
    assert effect["time"] == facts["waits_until"] == "2024-01-15T09:30:00.000450000Z"
    assert [each["event"]["reason"] for each in effect["consequences"]] == ["max_order_qty"]
    assert facts["refused"]["reason"] == "max_order_qty"
    first = why(lockstep, day, numbers["enter ALPHA a1 sell 100 XYZ @ 10.00"])
    assert (first["book_before"]["seq"], first["book_after"]["seq"]) == (
        first["effect"]["seq"] - 1,
        first["effect"]["seq"],
    )
    assert [level["qty"] for level in first["book_after"]["offers"]] == [100]
    said = lockstep("why", day, numbers["enter BETA b9 buy 101 XYZ @ 10.00"])[1]
    assert (
        f"it took effect by command {effect['seq']} at {plain_time(effect['time'])}, 350us later\n> rejected b9" in said
    )


def test_a_command_that_waits_still_has_no_effect_yet(day: Path, numbers: dict[str, int], lockstep: Lockstep) -> None:
    seq = numbers["enter ALPHA a5 sell 7 XYZ @ 11.00"]
    facts = why(lockstep, day, seq)
    assert (facts["waits_until"], facts["effect"]) == ("2024-01-15T09:30:00.001150000Z", None)
    status, _, complaint = lockstep("order", day, "a5")
    assert status == 2
    assert f"command {seq} of {day} names it, and waits for the entry delay" in complaint
    assert "at or after 2024-01-15T09:30:00.00115;" in complaint


def test_the_history_of_an_order_has_entry_wait_and_effect(
    day: Path, numbers: dict[str, int], lockstep: Lockstep
) -> None:
    (life,) = checked(["order"], lockstep("order", day, "a1", "--json")[1])
    told = [(each["event"]["kind"], each["delayed"]["seq"], each["delayed"]["waited_ns"]) for each in life["history"]]
    assert told == [
        ("accepted", numbers["enter ALPHA a1 sell 100 XYZ @ 10.00"], 350_000),
        ("trade", numbers["enter BETA b1 buy 60 XYZ @ 10.00"], 350_000),
        ("canceled", numbers["cancel ALPHA a1"], 350_000),
    ]
    assert life["history"][0]["delayed"]["time"] == "2024-01-15T09:30:00.000000000Z"
    assert f"command {told[0][1]} at 2024-01-15T09:30:00, 350us before" in lockstep("order", day, "a1")[1]


def test_the_delay_in_force_is_shown_with_the_book(day: Path, numbers: dict[str, int], lockstep: Lockstep) -> None:
    (book,) = checked(["book"], lockstep("book", day, "XYZ", "--json")[1])
    assert book["speed_bump_ns"] == 350_000
    assert "\nentry delay 350us\n" in lockstep("book", day, "XYZ")[1]
    before = json.loads(lockstep("book", day, "XYZ", "--at", numbers["venue speed_bump=350us"] - 1, "--json")[1])
    assert before["speed_bump_ns"] == 0


BEGINNING = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
limits BETA max_order_qty=100 max_position=150
phase XYZ continuous
"""
CLOSE_BY_SCHEDULE = """\
schedule XYZ 2024-01-15T09:30:00.0005 closed
venue speed_bump=350us
enter ALPHA a1 sell 50 XYZ @ 10.00
enter ALPHA a2 sell 80 XYZ @ 10.00
enter BETA b1 buy 60 XYZ @ 10.00
at +1ms
"""
CLOSE_BY_BREAKER = """\
index IDX members=XYZ:1 levels=5%/close
venue speed_bump=350us
enter ALPHA a1 sell 50 XYZ @ 9.50
enter BETA b1 buy 50 XYZ @ 9.50
at +1ms
"""
REFUSED_HALFWAY = """\
venue speed_bump=350us
enter ALPHA a1 sell 150 XYZ @ 10.00
enter BETA b1 buy 90 XYZ @ 10.00
enter BETA b2 buy 70 XYZ @ 10.00
at +1ms
"""


def journal_of(lines: str, folder: Path, lockstep: Lockstep) -> tuple[Path, dict[str, int]]:
    """A data directory with the commands of a scenario, and their numbers by their first three words."""
    (folder / "day.txt").write_text(BEGINNING + lines)
    assert lockstep("run", folder / "day.txt", "--data", folder / "node", "--block-rows", 3)[0] == 0
    said = lockstep("commands", folder / "node", "--with-seq")[1].splitlines()
    numbers = {" ".join(line.split()[:3]): int(line.partition("  # ")[2]) for line in said}
    return folder / "node", numbers


def told(facts: list[Fact]) -> list[tuple[str, int | None]]:
    return [(each["text"].split("  # ")[0], each["delayed_seq"]) for each in facts]


@pytest.mark.slow
def test_a_close_by_a_schedule_is_none_of_the_command_that_traded_before_it(tmp_path: Path, lockstep: Lockstep) -> None:
    node, numbers = journal_of(CLOSE_BY_SCHEDULE, tmp_path, lockstep)
    entered = numbers["enter BETA b1"]
    effect = why(lockstep, node, entered)["effect"]
    assert [each["text"].split("  # ")[0] for each in effect["consequences"]] == [
        "accepted b1",
        "trade XYZ 50 @ 10.00 resting=a1 incoming=b1",
        "trade XYZ 10 @ 10.00 resting=a2 incoming=b1",
    ]
    assert told(why(lockstep, node, effect["seq"])["consequences"])[-3:] == [
        ("trade XYZ 10 @ 10.00 resting=a2 incoming=b1", entered),
        ("phase XYZ closed", None),
        ("canceled a2 qty=70 reason=end_of_day", None),
    ]
    (life,) = checked(["order"], lockstep("order", node, "a2", "--json")[1])
    by = [(each["event"]["kind"], each["delayed"] and each["delayed"]["seq"]) for each in life["history"]]
    assert by == [("accepted", numbers["enter ALPHA a2"]), ("trade", entered), ("canceled", None)]


@pytest.mark.slow
def test_a_close_by_a_breaker_is_that_of_the_command_that_traded_and_names_its_limit(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    node, numbers = journal_of(CLOSE_BY_BREAKER, tmp_path, lockstep)
    effect = why(lockstep, node, numbers["enter BETA b1"])["effect"]
    assert [each["text"].split("  # ")[0] for each in effect["consequences"]][-1] == "phase XYZ closed"
    assert "index IDX was 9.50, at least 5% below its opening value" in effect["consequences"][-1]["because"]
    assert told(why(lockstep, node, effect["seq"])["consequences"])[-1] == (
        "phase XYZ closed",
        numbers["enter BETA b1"],
    )


@pytest.mark.slow
def test_a_command_that_waited_and_was_refused_has_the_limit_and_its_value_at_the_effect(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    """Within one clock value: the position that the limit meets was made by the command before it."""
    node, numbers = journal_of(REFUSED_HALFWAY, tmp_path, lockstep)
    facts = why(lockstep, node, numbers["enter BETA b2"])
    assert facts["refused"]["reason"] == "position_limit"
    refused = [each for each in facts["checks"] if each["verdict"] == "refused"]
    assert [(each["limit"], each["value"]) for each in refused] == [(150, 160)]
    of_order = checked(["why"], lockstep("why", node, "--order", "b2", "--json")[1])
    assert of_order == [facts], "the order is explained by the command that waited, with its checks"
    passed = why(lockstep, node, numbers["enter BETA b1"])
    assert passed["refused"] is None
    assert {each["verdict"] for each in passed["checks"]} == {"passed"}
