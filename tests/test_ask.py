"""Questions to a journal: every filter of `lockstep events`, `commands` and their reports, by one that is plain.

The plain one knows the JSON of all commands and events of a generated day, and selects from it object by object.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Lockstep
from tests.question_day import write_day

Fact = dict[str, Any]

FILTERS: dict[str, tuple[str | None, ...]] = {
    "--participant": (None, "P2", "P4"),
    "--contra": (None, "P1"),
    "--side": (None, "buy", "sell"),
    "--symbol": (None, "I2"),
    "--reason": (None, "unknown_order", "user"),
    "--kind": (None, "trade", "cancel_rejected", "canceled"),
}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of 3,000 commands with refusals of each kind, in blocks of 100 rows, cut anywhere."""
    directory = tmp_path_factory.mktemp("ask") / "node"
    write_day(directory)
    return directory


@pytest.fixture(scope="module")
def facts(day: Path) -> tuple[list[Fact], list[Fact]]:
    """All commands and all events of the day as JSON objects, with the symbol and side of each refused order."""
    from contextlib import redirect_stdout
    from io import StringIO

    from cli.main import run_line

    def told(*words: str) -> list[Fact]:
        with redirect_stdout(StringIO()) as out:
            assert run_line([words[0], str(day), *words[1:], "--json"]) == 0
        return [json.loads(line) for line in out.getvalue().splitlines()]

    commands, events = told("commands", "--with-events"), told("events")
    known: dict[tuple[str, str], tuple[str, str]] = {}
    by_seq: dict[int, tuple[str, str] | None] = {}
    for command in commands:
        owner = (command["participant"], command["client_order_id"])
        if command["kind"] == "enter":
            known[owner] = by_seq[command["seq"]] = (command["symbol"], command["side"])
        elif command["kind"] in ("cancel", "replace"):
            by_seq[command["seq"]] = known.get(owner)
        for event in command["events"]:
            if event["kind"] == "replaced":
                known[event["participant"], event["new_client_order_id"]] = (event["symbol"], event["side"])
    for fact in (*commands, *events):
        fact["order"] = by_seq.get(fact["seq"])
    return commands, events


def event_fits(event: Fact, chosen: dict[str, str | None]) -> bool:
    """True if an event is selected."""
    refusal = event["kind"] in ("rejected", "cancel_rejected")
    sides = {event["participant"]: event["side"], None: event["side"] or event["imbalance_side"]}
    if event["kind"] == "trade":
        sides = {None: event["aggressor_side"]}
        sides_of: dict[str, set[str]] = {}
        for side in ("buy", "sell"):
            sides_of.setdefault(event[f"{side}_participant"], set()).add(side)
        parties = set(sides_of)
    else:
        sides_of, parties = {}, {event["participant"]}
    symbol = event["symbol"]
    if refusal and event["order"]:
        symbol = symbol or event["order"][0]
        sides = dict.fromkeys(sides, event["order"][1])
    own, contra = chosen["--participant"], chosen["--contra"]
    if chosen["--kind"] not in (None, event["kind"]) or chosen["--reason"] not in (None, event["reason"]):
        return False
    if own is not None and own not in parties:
        return False
    if contra is not None and (event["kind"] != "trade" or contra not in parties):
        return False
    if contra is not None and own == contra and len(parties) > 1:
        return False
    if chosen["--side"] is not None:
        side_set = sides_of[own] if own in sides_of else {sides.get(own, sides.get(None))}
        if chosen["--side"] not in side_set:
            return False
    return chosen["--symbol"] in (None, symbol)


def command_fits(command: Fact, chosen: dict[str, str | None]) -> bool:
    """True if an order's command is selected."""
    own, contra, events = chosen["--participant"], chosen["--contra"], command["events"]
    symbol, side = command["order"] or (None, None)
    if chosen["--reason"] is not None and chosen["--reason"] not in {event["reason"] for event in events}:
        return False
    if own not in (None, command["participant"]):
        return False
    trades = [{event["buy_participant"], event["sell_participant"]} for event in events if event["kind"] == "trade"]
    if contra is not None and not any(contra in pair and own in (None, *pair) for pair in trades):
        return False
    return chosen["--side"] in (None, side) and chosen["--symbol"] in (None, symbol)


def combinations(*names: str) -> list[dict[str, str | None]]:
    every = dict.fromkeys(FILTERS)
    return [every | dict(zip(names, values, strict=True)) for values in itertools.product(*(FILTERS[n] for n in names))]


def words_of(chosen: dict[str, str | None]) -> list[str]:
    return [word for name, value in chosen.items() if value is not None for word in (name, value)]


def asked(lockstep: Lockstep, command: str, day: Path, chosen: dict[str, str | None], *more: str) -> list[Fact]:
    status, said, _ = lockstep(command, day, *words_of(chosen), *more, "--json")
    assert status == 0
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.slow
def test_events_are_selected_as_one_by_one(day: Path, facts: Any, lockstep: Lockstep) -> None:
    chance = np.random.default_rng(3)
    every = combinations(*FILTERS)
    met: dict[str, int] = dict.fromkeys(FILTERS, 0)
    for chosen in [*combinations("--side"), *combinations("--contra"), *chance.choice(np.array(every), 70).tolist()]:
        got = [(each["seq"], each) for each in asked(lockstep, "events", day, chosen)]
        wanted = [
            (event["seq"], {key: value for key, value in event.items() if key != "order"})
            for event in facts[1]
            if event_fits(event, chosen)
        ]
        assert got == wanted, words_of(chosen)
        for name, value in chosen.items():
            met[name] += bool(value and wanted)
    assert min(met.values()) > 3, met


@pytest.mark.slow
def test_commands_of_orders_are_selected_as_one_by_one(day: Path, facts: Any, lockstep: Lockstep) -> None:
    every = combinations("--participant", "--contra", "--side", "--symbol", "--reason")
    found = 0
    for chosen in np.random.default_rng(4).choice(np.array(every), 40).tolist():
        kinds = ["--kind", "enter", "--kind", "cancel", "--kind", "replace"]
        got = [each["seq"] for each in asked(lockstep, "commands", day, chosen, *kinds)]
        orders = [command for command in facts[0] if command["kind"] in ("enter", "cancel", "replace")]
        wanted = [command["seq"] for command in orders if command_fits(command, chosen)]
        assert got == wanted, words_of(chosen)
        found += bool(wanted)
    assert found > 10


@pytest.mark.slow
def test_reports_take_the_same_filters(day: Path, lockstep: Lockstep) -> None:
    whole = asked(lockstep, "events", day, {}, "--reports")
    trades = [each for each in whole if each["kind"] == "trade"]
    questions: list[tuple[list[str], Callable[[Fact], bool]]] = [
        (["--contra", "P1"], lambda one: "P1" in (one["participant"], one["contra_participant"])),
        (
            ["--participant", "P2", "--contra", "P1"],
            lambda one: {"P1", "P2"} == {one["participant"], one["contra_participant"]},
        ),
        (
            ["--participant", "P2", "--side", "buy", "--kind", "trade"],
            lambda one: (one["participant"], one["side"]) == ("P2", "buy"),
        ),
    ]
    for words, fits in questions:
        status, said, _ = lockstep("events", day, "--reports", *words, "--json")
        got = [json.loads(line) for line in said.splitlines()]
        assert (status, got) == (0, [each for each in trades if fits(each)]), words
        assert got
    status, said, _ = lockstep("events", day, "--reports", "--reason", "unknown_order", "--json")
    wanted = [each for each in whole if each["reason"] == "unknown_order"]
    assert [json.loads(line) for line in said.splitlines()] == wanted != []


@pytest.mark.slow
def test_a_range_of_times_has_the_commands_with_those_clock_values(day: Path, facts: Any, lockstep: Lockstep) -> None:
    times = sorted({command["time"] for command in facts[0] if command["time"]})
    first, last = times[len(times) // 3], times[len(times) // 2]
    for begin, end in ((first, last), (first, None), (None, last), (first, first)):
        words = [*(["--from", begin[:-1]] if begin else []), *(["--to", end[:-1]] if end else [])]
        _, said, _ = lockstep("commands", day, *words, "--json")
        got = [json.loads(line)["seq"] for line in said.splitlines()]
        wanted = [each["seq"] for each in facts[0] if (begin or "") <= (each["time"] or "") <= (end or "~")]
        assert got == wanted != [], words


def test_a_time_without_commands_is_an_empty_answer_with_a_note(day: Path, lockstep: Lockstep) -> None:
    for command in ("events", "commands"):
        status, said, note = lockstep(command, day, "--from", "2031-01-01T00:00")
        assert (status, said) == (0, "")
        assert note == f"note: {day} has no command from 2031-01-01T00:00\n"
    assert lockstep("events", day, "--to", "2001-01-01T00:00")[:2] == (0, "")


def test_text_names_the_participants_and_the_time(day: Path, facts: Any, lockstep: Lockstep) -> None:
    trade = next(event for event in facts[1] if event["kind"] == "trade" and event["aggressor_side"] == "buy")
    seq = str(trade["seq"])
    _, said, _ = lockstep("events", day, "--kind", "trade", "--from", seq, "--to", seq, "--with-seq", "--with-time")
    comment = said.splitlines()[0].partition("  # ")[2]
    moment = trade["time"].rstrip("Z")
    assert comment.split()[0] == seq
    assert moment.startswith(comment.split()[1])
    assert comment.split(maxsplit=2)[2] == f"{trade['sell_participant']}, {trade['buy_participant']}"
    _, said, _ = lockstep("commands", day, "--from", seq, "--to", seq, "--with-time", "--with-events")
    assert said.splitlines()[0].partition("  # ")[2] == comment.split()[1]
    assert comment.split(maxsplit=2)[2] in said


def test_tail_takes_the_same_filters(day: Path, facts: Any, lockstep: Lockstep) -> None:
    words = ["--from", "1", "--contra", "P1", "--side", "sell", "--with-time"]
    assert lockstep("tail", day, *words, "--to", facts[0][-1]["seq"])[1] == lockstep("events", day, *words)[1] != ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--reason", "mood"], "there is no reason 'mood'; the reasons are unknown_participant"),
        (["--contra", "NOBODY"], "there is no participant NOBODY"),
        (["--contra", "much too long"], "is not a valid participant name"),
        (["--side", "long"], "--side is 'long'"),
        (["--from", "0"], "--from is 0; commands are numbered from 1"),
        (["--to", "tomorrow"], "'tomorrow' is neither a sequence number nor a time"),
        (["--to", "25:00"], "'25:00' is no time"),
    ],
)
@pytest.mark.parametrize("command", ["events", "commands", "tail"])
def test_wrong_filters_are_refused_in_a_sentence(
    command: str, words: list[str], why: str, day: Path, lockstep: Lockstep
) -> None:
    end = ["--to", "1"] if command == "tail" and "--to" not in words else []
    begin = ["--from", "1"] if command == "tail" and "--from" not in words else []
    status, said, sentence = lockstep(command, day, *words, *begin, *end)
    assert (status, said, why in sentence) == (2, "", True), sentence


@pytest.mark.parametrize("command", ["events", "commands"])
def test_times_the_wrong_way_round_are_refused(
    command: str, day: Path, facts: tuple[list[Fact], list[Fact]], lockstep: Lockstep
) -> None:
    first, last = (facts[0][at]["time"].rstrip("Z") for at in (100, -1))
    status, said, sentence = lockstep(command, day, "--from", last, "--to", first)
    assert (status, said, sentence) == (2, "", f"lockstep: --from {last} is later than --to {first}\n")
    assert lockstep(command, day, "--from", first, "--to", last)[0] == 0


def test_a_tail_does_not_end_at_a_time_that_may_come(day: Path, lockstep: Lockstep) -> None:
    status, said, sentence = lockstep("tail", day, "--to", "2031-01-01T00:00")
    assert (status, said) == (2, "")
    assert "may not be past yet" in sentence
