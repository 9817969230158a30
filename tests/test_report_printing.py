"""`lockstep events --reports`: reports with names, sums and averages, as text and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notation.reports import REPORT_KEYS
from reports.rows import REPORT_FIELDS, ReportKind
from tests.conftest import Lockstep
from tests.json_schemas import checked, schemas

DAY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
user ALICE participant=ALPHA firm=FRM1
phase XYZ continuous
enter ALPHA a1 sell 300 XYZ @ 10.05 context=0000000000530001
enter ALPHA a2 sell 200 XYZ @ 10.03
enter BETA b1 buy 350 XYZ @ 10.05
enter BETA b1 buy 1 XYZ @ 9.00
limits BETA credit=500.00 order_rate=10/1s
mass_cancel ALPHA
"""


@pytest.fixture
def node(tmp_path: Path, lockstep: Lockstep) -> Path:
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", "4")[0] == 0
    return tmp_path / "node"


def test_reports_name_user_participants_and_symbol_and_have_sums_and_an_average(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("events", node, "--reports", "--with-seq", "--kind", "trade")
    assert status == 0
    lines = said.splitlines()
    assert len(lines) == 4
    assert lines[3].startswith("> trade command=enter ")
    for words in ("participant=BETA", "contra_participant=ALPHA", "symbol=XYZ", "last_price=10.05", "last_qty=150"):
        assert words in lines[3].split()
    for words in ("cum_qty=350", "notional=3513.50", "avg=10.03857142", "liquidity=removed", "side=buy"):
        assert words in lines[3].split()
    assert "user=ALICE" in lines[2].split()
    assert "firm=FRM1" in lines[2].split()


def test_reports_as_json_have_the_same_keys_and_fit_the_schema(node: Path, lockstep: Lockstep) -> None:
    told = checked(["events"], lockstep("events", node, "--reports", "--json")[1])
    assert all(tuple(each) == REPORT_KEYS for each in told)
    rejected = next(each for each in told if each["kind"] == "rejected")
    assert (rejected["reason"], rejected["command"], rejected["client_order_id"]) == ("duplicate_id", "enter", "b1")
    limits = next(each for each in told if each["kind"] == "limits")
    assert (limits["limits"], limits["credit_e4"], limits["rate_orders"]) == (["order_rate", "credit"], 5_000_000, 10)
    assert [each["orders"] for each in told if each["kind"] == "mass_cancel"] == [1]


def test_the_schema_of_a_report_has_every_kind_and_key() -> None:
    schema = schemas()["shared"]["$defs"]["report"]
    assert schema["properties"]["kind"]["enum"] == [kind.name.lower() for kind in ReportKind if kind in REPORT_FIELDS]
    assert tuple(schema["properties"]) == tuple(schema["required"]) == REPORT_KEYS


def test_a_report_of_the_venue_names_what_it_sets(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "venue.txt").write_text("venue speed_bump=350us day_start=17:00\nvenue speed_bump=off\n")
    assert lockstep("run", tmp_path / "venue.txt", "--data", tmp_path / "node")[0] == 0
    told = checked(["events"], lockstep("events", tmp_path / "node", "--reports", "--json", "--kind", "venue")[1])
    assert [(each["settings"], each["speed_bump_ns"], each["day_start_ns"]) for each in told] == [
        (["speed_bump", "day_start"], 350_000, 61_200_000_000_000),
        (["speed_bump"], 0, 0),
    ]


def test_a_range_of_reports_has_the_sums_of_the_commands_before_it(node: Path, lockstep: Lockstep) -> None:
    whole = [json.loads(line) for line in lockstep("events", node, "--reports", "--json")[1].splitlines()]
    seq = next(each["seq"] for each in whole if each["kind"] == "canceled")
    part = lockstep("events", node, "--reports", "--json", "--from", str(seq), "--symbol", "XYZ")[1]
    assert [json.loads(line) for line in part.splitlines()] == [
        each for each in whole if each["seq"] >= seq and each["symbol"] == "XYZ"
    ]


_SELECTIONS: tuple[tuple[tuple[str, ...], Callable[[dict[str, Any]], bool]], ...] = (
    (("--participant", "BETA"), lambda each: "BETA" in (each["participant"], each["contra_participant"])),
    (("--participant", "BETA", "--side", "buy"), lambda each: (each["participant"], each["side"]) == ("BETA", "buy")),
    (
        ("--contra", "ALPHA"),
        lambda each: each["kind"] == "trade" and "ALPHA" in (each["participant"], each["contra_participant"]),
    ),
    (
        ("--participant", "ALPHA", "--contra", "BETA"),
        lambda each: each["kind"] == "trade" and {each["participant"], each["contra_participant"]} == {"ALPHA", "BETA"},
    ),
    (("--kind", "new", "--kind", "trade", "--symbol", "XYZ"), lambda each: each["kind"] in ("new", "trade")),
    (("--reason", "duplicate_id"), lambda each: each["reason"] == "duplicate_id"),
    (("--price", "10.05"), lambda each: each["price_e4"] == 100_500),
    (("--from", "8", "--to", "9"), lambda each: 8 <= each["seq"] <= 9),
    ((), bool),
)


@pytest.mark.parametrize(("words", "is_selected"), _SELECTIONS)
@pytest.mark.parametrize("held", [1, 3, 4_096])
def test_a_selection_has_the_reports_that_meet_all_of_its_conditions(
    held: int,
    words: tuple[str, ...],
    is_selected: Callable[[dict[str, Any]], bool],
    node: Path,
    lockstep: Lockstep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many are printed at once, in JSON and as lines."""
    whole = [json.loads(line) for line in lockstep("events", node, "--reports", "--json")[1].splitlines()]
    lines = lockstep("events", node, "--reports")[1].splitlines()
    wanted = [number for number, each in enumerate(whole) if is_selected(each)]
    assert 0 < len(wanted) <= len(whole)
    monkeypatch.setattr("cli.questions.reports._ROWS_HELD", held)
    told = lockstep("events", node, "--reports", "--json", *words)[1].splitlines()
    assert [json.loads(line) for line in told] == [whole[number] for number in wanted]
    assert lockstep("events", node, "--reports", *words)[1].splitlines() == [lines[number] for number in wanted]


def test_an_unknown_kind_name_or_command_is_refused_in_a_sentence(node: Path, lockstep: Lockstep) -> None:
    for arguments, why in (
        (("--kind", "accepted"), "there is no kind 'accepted'; the kinds are new, trade"),
        (("--participant", "GAMMA"), "there is no participant GAMMA"),
        (("--from", "99"), "there is no command 99"),
    ):
        status, _, said = lockstep("events", node, "--reports", *arguments)
        assert (status, why in said) == (2, True), said
