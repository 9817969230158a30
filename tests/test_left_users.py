"""Orders that a node canceled as their user left: questions find and tell them by that reason.

Where the participant has other users, the node cancels them one by one, and the market knows one reason of a CANCEL.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.records import Reason
from notation.rules import OF_NO_USER, RULES
from replay import event_index
from tests.conftest import Lockstep

DAY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 buy 100 XYZ @ 10.00
enter ALPHA a2 sell 100 XYZ @ 10.10
enter ALPHA a3 buy 100 XYZ @ 10.00
enter BETA b1 buy 200 XYZ @ 10.00
enter BETA b2 buy 30 XYZ @ 9.98
cancel ALPHA a1 context=0800000000000000
cancel ALPHA a2 context=0800000000000000
cancel ALPHA a3
cancel ALPHA a3 context=0800000000000000
cancel BETA b1 context=0000000000420001
mass_cancel BETA reason=disconnect
"""
LOST = RULES[Reason.DISCONNECT].sentence


@pytest.fixture
def node(tmp_path: Path, lockstep: Lockstep) -> Path:
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    return tmp_path / "node"


def told(answer: tuple[int, str, str]) -> list[Any]:
    status, said, _ = answer
    assert status == 0
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("is_indexed", [False, True], ids=["replay", "index"])
def test_a_reason_finds_orders_whose_user_left_and_no_other_cancel(
    node: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch, *, is_indexed: bool
) -> None:
    if is_indexed:
        monkeypatch.setattr(event_index, "WORTH_COMMANDS", 1)
        monkeypatch.setattr("cli.questions.history.chosen_plays", None)
    assert lockstep("events", node, "--reason", "disconnect")[1].splitlines() == [
        f"> canceled a1 qty=100 reason=user  # ALPHA: {LOST}",
        f"> canceled a2 qty=100 reason=user  # ALPHA: {LOST}",
        "> canceled b2 qty=30 reason=disconnect  # BETA",
    ]
    assert lockstep("commands", node, "--reason", "disconnect")[1].splitlines() == [
        f"cancel ALPHA a1 context=0800000000000000  # {LOST}",
        f"cancel ALPHA a2 context=0800000000000000  # {LOST}",
        "mass_cancel BETA reason=disconnect",
    ]
    sold = lockstep("events", node, "--reason", "disconnect", "--side", "sell", "--symbol", "XYZ")[1]
    assert sold == f"> canceled a2 qty=100 reason=user  # ALPHA: {LOST}\n"
    by_market = lockstep("events", node, "--reason", "user", "--reason", "disconnect")[1]
    assert by_market.count("canceled") == 5, "the reasons of the market as they are"


def test_reports_and_exports_have_the_reason_itself(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    reports = told(lockstep("events", node, "--reports", "--kind", "canceled", "--json"))
    reasons = {"a1": "disconnect", "a2": "disconnect", "a3": "user", "b1": "user", "b2": "disconnect"}
    assert {each["client_order_id"]: each["reason"] for each in reports} == reasons
    for form in ("parquet", "csv"):
        out = tmp_path / form
        assert lockstep("export", node, "--format", form, "--out", out)[0] == 0
        assert lockstep("export", node, "--check", "--out", out)[0] == 0
    ends = told(lockstep("ask", tmp_path / "parquet", "SELECT client_order_id, end_reason FROM orders", "--json"))
    assert {each["client_order_id"]: each["end_reason"] for each in ends} == reasons
    events = "SELECT client_order_id, reason FROM events WHERE kind = 'canceled'"
    by_market = told(lockstep("ask", tmp_path / "parquet", events, "--json"))
    assert {each["client_order_id"]: each["reason"] for each in by_market} == reasons | {"a1": "user", "a2": "user"}


def test_an_order_and_a_command_say_that_the_user_left(node: Path, lockstep: Lockstep) -> None:
    left, canceled = (told(lockstep("order", node, name, "--json"))[0] for name in ("a1", "a3"))
    assert left["rules"] == [{"reason": "disconnect", "section": "9", "sentence": LOST}]
    assert canceled["rules"][0]["sentence"] == OF_NO_USER
    why = json.loads(lockstep("why", node, 11, "--json")[1])
    assert [(each["because"], each["section"]) for each in why["consequences"]] == [(LOST, "9")]
    why = json.loads(lockstep("why", node, 13, "--json")[1])
    assert [(each["because"], each["section"]) for each in why["consequences"]] == [(OF_NO_USER, "4")]


def test_an_incident_report_tells_orders_of_a_user_who_left_as_one(
    node: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    assert lockstep("incident", node, "--out", tmp_path / "report.md")[0] == 0
    said = (tmp_path / "report.md").read_text()
    assert "| 11 | 2 orders canceled reason=disconnect | the node, for a user who left |" in said
    assert said.count("reason=disconnect |") == 3, "that, and the mass cancel with its cause"
