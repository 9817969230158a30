"""`lockstep order` by number, trade, token and id, each against the events of the day read one by one."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from cli.questions import order as order_command
from engine.records import Reason
from notation.rules import OF_NO_USER, RULES
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.question_day import write_day

Fact = dict[str, Any]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("orders") / "node"
    write_day(directory, checkpoint_every=500, seed=20)  # in which an order is replaced twice
    return directory


@pytest.fixture(scope="module")
def lives(day: Path) -> dict[int, list[Fact]]:
    """Events of each order by its number, of those that change it."""
    from contextlib import redirect_stdout
    from io import StringIO

    from cli.main import run_line

    with redirect_stdout(StringIO()) as out:
        assert run_line(["events", str(day), "--json"]) == 0
    found: dict[int, list[Fact]] = defaultdict(list)
    bearers: dict[tuple[str, str], int] = {}
    for line in out.getvalue().splitlines():
        event = json.loads(line)
        if event["kind"] in ("accepted", "replaced", "triggered", "replenished", "repriced", "canceled"):
            number, owner = event["order_number"], event["participant"]
            if event["kind"] == "accepted" and event["side"] is None:
                continue  # a cross, which is no order of a book
            bearers[owner, event["new_client_order_id"] or event["client_order_id"]] = number
            found[number].append(event)
        elif event["kind"] == "trade":
            sides = [(event[f"{side}_participant"], event[f"{side}_client_order_id"]) for side in ("buy", "sell")]
            for number in {bearers[side] for side in sides if side in bearers}:
                found[number].append(event)
    return found


def changes(life: Fact) -> list[Fact]:
    """Events of a told history that change the order."""
    refusals = ("rejected", "cancel_rejected")
    return [moment["event"] for moment in life["history"] if moment["event"]["kind"] not in refusals]


def told(lockstep: Lockstep, day: Path, *words: object) -> list[Fact]:
    status, said, complaint = lockstep("order", day, *words, "--json")
    assert status == 0, complaint
    return checked(["order"], said)


@pytest.mark.slow
def test_an_order_by_its_number_has_all_its_events(day: Path, lives: dict[int, list[Fact]], lockstep: Lockstep) -> None:
    assert len(lives) > 500
    for number in (*range(1, len(lives), 41), len(lives)):
        (life,) = told(lockstep, day, "--number", number)
        assert (life["order_number"], changes(life)) == (number, lives[number])


@pytest.mark.slow
def test_a_trade_has_both_its_orders(day: Path, lives: dict[int, list[Fact]], lockstep: Lockstep) -> None:
    by_trade: dict[int, set[int]] = defaultdict(set)
    for number, events in lives.items():
        for event in events:
            if event["kind"] == "trade":
                by_trade[event["trade_number"]].add(number)
    for trade in sorted(by_trade)[::31]:
        found = told(lockstep, day, "--trade", trade)
        assert {life["order_number"]: changes(life) for life in found} == {
            number: lives[number] for number in by_trade[trade]
        }


@pytest.mark.slow
@pytest.mark.parametrize("far", [0, 200, 10**9], ids=["jump", "some", "through"])
def test_an_id_has_every_order_that_bore_it_however_far_they_lie(
    far: int, day: Path, lives: dict[int, list[Fact]], lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_command, "_FAR_COMMANDS", far)
    bearers: dict[str, set[int]] = defaultdict(set)
    for number, events in lives.items():
        for event in events:
            if event["kind"] in ("accepted", "replaced"):
                bearers[event["new_client_order_id"] or event["client_order_id"]].add(number)
    replaced = [number for number, events in lives.items() if sum(each["kind"] == "replaced" for each in events) > 1]
    assert replaced, "an id in the middle of a chain is asked for"
    ids = sorted(bearers)[:: max(1, len(bearers) // 12)]
    ids += [event["new_client_order_id"] for event in lives[replaced[0]] if event["kind"] == "replaced"]
    for word in ids:
        found = {life["order_number"]: changes(life) for life in told(lockstep, day, word) if life["order_number"]}
        assert found == {number: lives[number] for number in bearers[word]}, word


# The queue, by hand.

BOOK = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
participant GAMMA
participant DELTA
limits BETA max_order_qty=500
phase XYZ continuous
enter BETA b1 buy 200 XYZ @ 10.00
enter GAMMA c1 buy 100 XYZ @ 10.00
enter GAMMA c2 buy 70 XYZ @ 10.01
enter ALPHA a1 buy 300 XYZ @ 10.00
enter DELTA d2 sell 170 XYZ @ 10.00
cancel GAMMA c1
enter DELTA d3 sell 150 XYZ @ 10.00
replace ALPHA a1 a2 200 @ 9.99
cancel ALPHA a2
enter BETA b9 buy 501 XYZ @ 10.00
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("queue")
    (folder / "day.txt").write_text(BOOK)
    assert run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "3"]) == 0
    return folder / "node"


def test_the_queue_says_who_was_ahead_after_each_event(small: Path, lockstep: Lockstep) -> None:
    (life,) = told(lockstep, small, "a1", "--queue")
    places = [(moment["event"]["kind"], moment["queue"]) for moment in life["history"]]
    kinds = ["accepted", "trade", "replaced", "canceled"]
    assert [kind for kind, _ in places] == kinds
    entry, trade, replaced, canceled = (place for _, place in places)
    assert entry["ahead"] == [
        {"participant": "BETA", "client_order_id": "b1", "order_number": 1, "leaves_qty": 200},
        {"participant": "GAMMA", "client_order_id": "c1", "order_number": 2, "leaves_qty": 100},
    ]
    assert (entry["ahead_orders"], entry["ahead_qty"], entry["better_orders"], entry["better_qty"]) == (2, 300, 1, 70)
    assert (trade["ahead_orders"], trade["better_qty"], replaced["ahead_orders"], canceled) == (0, 0, 0, None)
    said = lockstep("order", small, "a1", "--queue")[1]
    assert "2 orders, 300: BETA b1 200, GAMMA c1 100; 70 at better prices" in said
    (plain,) = told(lockstep, small, "a1")
    assert {moment["queue"] for moment in plain["history"]} == {None}


WAITING = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter BETA b1 buy 200 XYZ @ 10.00
enter BETA h1 buy 30 XYZ @ 9.98 hidden
enter BETA b9 buy 10 XYZ @ 10.30 stop=10.20
enter ALPHA p1 buy 50 XYZ @ market peg=primary offset=0.02
cancel BETA b1
"""


def test_a_peg_without_a_price_and_a_dormant_stop_are_in_no_queue(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(WAITING)
    node = tmp_path / "node"
    assert lockstep("run", tmp_path / "day.txt", "--data", node)[0] == 0
    (peg,), (stop,) = told(lockstep, node, "p1", "--queue"), told(lockstep, node, "b9", "--queue")
    accepted, priced, unpriced = (moment["queue"] for moment in peg["history"])
    assert accepted == priced
    assert [each["client_order_id"] for each in priced["ahead"]] == ["h1"]
    assert (priced["better_orders"], priced["better_qty"]) == (1, 200)
    assert unpriced is None
    assert [moment["queue"] for moment in stop["history"]] == [None]
    said = lockstep("order", node, "p1", "--queue")[1]
    assert "buy 50 XYZ @ market peg=primary offset=0.02; traded 0, open 50" in said
    assert (peg["peg"], peg["offset_e4"], peg["stop_e4"], peg["dormant"]) == ("primary", 200, None, False)
    assert "buy 10 XYZ @ 10.30 stop=10.20, dormant; traded 0, open 10" in lockstep("order", node, "b9")[1]
    assert (stop["peg"], stop["offset_e4"], stop["stop_e4"], stop["dormant"]) == (None, None, 102_000, True)
    assert "1 order, 30: BETA h1 30; 200 at better prices" in said
    assert said.rstrip().endswith("in no queue")


def test_text_names_the_other_side_and_the_rule(small: Path, lockstep: Lockstep) -> None:
    said = lockstep("order", small, "a1")[1]
    trade = next(line for line in said.splitlines() if " trade " in line)
    assert trade.split()[-2:] == ["DELTA", "250"]
    assert said.endswith(f"user: {OF_NO_USER} (rulebook section 4)\n"), "commands of a file name no user"
    refused = told(lockstep, small, "b9")
    assert refused[0]["rules"] == [
        {"reason": "max_order_qty", "section": "8", "sentence": "the quantity of the order is above its limit"}
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give one of: a client order id or token, --token, --number, --trade"),
        (["a1", "--number", "3"], "give one of"),
        (["--number", "999"], "no order in"),
        (["--trade", "999"], "has trade 999"),
        (["--token", "NEVER"], "ever had the id or token NEVER"),
        (["--number", "0"], "--number is '0'; give 1 or more"),
    ],
)
def test_wrong_questions_are_refused_in_a_sentence(words: list[str], why: str, small: Path, lockstep: Lockstep) -> None:
    status, said, sentence = lockstep("order", small, *words)
    assert (status, said, why in sentence) == (2, "", True), sentence


def test_every_reason_has_a_rule_in_a_section_of_the_rulebook() -> None:
    text = (Path(__file__).parent.parent / "docs" / "RULEBOOK.md").read_text()
    assert set(RULES) == set(Reason)
    for rule in RULES.values():
        assert f"\n## {rule.section}. " in text


def test_a_cancel_that_names_no_user_is_not_said_to_be_its_owners(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(
        "instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\nphase XYZ continuous\n"
        "enter ALPHA a1 buy 100 XYZ @ 10.00 context=2000000000030007\n"
        "cancel ALPHA a1\n"
        "enter ALPHA a2 buy 100 XYZ @ 10.00 context=2000000000050007\n"
        "cancel ALPHA a2 qty=50 context=2000000000060007\n"
        "cancel ALPHA a2\n"
        "enter ALPHA a3 buy 100 XYZ @ 10.00 context=2000000000070007\n"
        "cancel ALPHA a3 context=2000000000080007\n"
    )
    node = tmp_path / "node"
    assert lockstep("run", tmp_path / "day.txt", "--data", node)[0] == 0
    owners, nobodys = (
        RULES[Reason.USER].sentence,
        "the cancel names no user: a file or an operator gave it, or a node of an earlier release, when a user with "
        "cancel_on_disconnect had left",
    )
    for order_id, said in (("a1", [nobodys]), ("a2", [owners, nobodys]), ("a3", [owners])):
        text = lockstep("order", node, order_id)[1]
        assert [each for each in (owners, nobodys) if f"user: {each} (rulebook section 4)" in text] == said
        (life,) = told(lockstep, node, order_id)
        assert [rule["sentence"] for rule in life["rules"]] == said
    for seq, sentence in ((6, nobodys), (8, owners), (9, nobodys), (11, owners)):
        assert f"ALPHA: {sentence} (rulebook section 4)" in lockstep("why", node, seq)[1]


def test_orders_ahead_are_named_by_their_tokens(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(
        "instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\nphase XYZ continuous\n"
        "enter ALPHA ~f293cd041f1bf10f buy 100 XYZ @ 10.00 token=BEFORE-THE\n"
        "enter ALPHA a1 buy 100 XYZ @ 10.00\n"
    )
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    said = lockstep("order", tmp_path / "node", "a1", "--queue")[1]
    assert "1 order, 100: ALPHA BEFORE-THE 100" in said
