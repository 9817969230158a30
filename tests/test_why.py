"""`lockstep why`: each check with limit and value, against what the market did with the orders of a generated day."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.records import EventKind, Reason
from notation.rules import OF_NO_USER, RULES, link_of, section_of
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.question_day import write_day

Fact = dict[str, Any]

#: Checks that refuse what is above their limit.
LIMITS = ("order quantity", "order value", "order rate", "share of daily volume", "position", "credit")
ABOVE = (*LIMITS, "quantity", "price")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("why") / "node"
    write_day(directory, checkpoint_every=500, commands=6_000, seed=35)
    return directory


def told(lockstep: Lockstep, day: Path, *words: object) -> list[Fact]:
    status, said, complaint = lockstep("why", day, *words, "--json")
    assert status == 0, complaint
    return checked(["why"], said)


def commands(lockstep: Lockstep, day: Path, *words: object) -> list[Fact]:
    said = lockstep("commands", day, "--with-events", "--json", *words)[1]
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.slow
def test_the_check_that_refused_is_the_first_whose_limit_does_not_hold(day: Path, lockstep: Lockstep) -> None:
    orders = commands(lockstep, day, "--kind", "enter", "--kind", "replace", "--kind", "cancel")
    by_reason: dict[str, list[Fact]] = {}
    for command in orders:
        refusals = [event for event in command["events"] if event["kind"] in ("rejected", "cancel_rejected")]
        by_reason.setdefault(refusals[0]["reason"] if refusals else "", []).append(command)
    assert {"", "unknown_order", "max_order_qty", "position_limit", "credit"} <= set(by_reason)
    limited = 0
    for reason, found in by_reason.items():
        for command in [*found[:: max(1, len(found) // 3)][:3], *([] if reason else found[:: len(found) // 9])]:
            (facts,) = told(lockstep, day, command["seq"])
            assert facts["command"] == command | {"events": None}
            assert [each["event"] for each in facts["consequences"]] == command["events"]
            verdicts = [check["verdict"] for check in facts["checks"]]
            refused = [check for check in facts["checks"] if check["verdict"] == "refused"]
            if not reason:
                assert (set(verdicts), facts["refused"]) == ({"passed"}, None)
            elif reason != "invalid_command":
                assert facts["refused"]["reason"] == reason
                assert [reason in check["reasons"] for check in refused] == [True], reason
                assert verdicts == sorted(verdicts, key=["passed", "refused", "not_reached"].index)
            for check in facts["checks"]:
                if check["check"] in ABOVE and check["limit"] is not None and check["verdict"] != "not_reached":
                    over = check["value"] > check["limit"]
                    if reason not in ("invalid_qty", "invalid_price"):
                        assert over == (check["verdict"] == "refused"), (command["seq"], check)
                    limited += check["check"] in LIMITS
    assert limited > 15, "or no limit was ever met"


@pytest.mark.slow
def test_the_books_before_and_after_are_those_of_the_moments(day: Path, lockstep: Lockstep) -> None:
    for command in commands(lockstep, day, "--kind", "enter", "--symbol", "I1", "--side", "buy")[5::230]:
        (facts,) = told(lockstep, day, command["seq"])
        first_seq = command["seq"] - bool(command["token"])  # an EXTEND row belongs to the command
        for key, at in (("book_before", first_seq - 1), ("book_after", command["seq"])):
            book = lockstep("book", day, "I1", "--at", at, "--depth", 5, "--json")[1]
            found = json.loads(book)
            found["halt"] = None  # a command has its own causes
            assert facts[key] == found


@pytest.mark.slow
def test_an_order_is_explained_by_the_commands_that_began_and_ended_it(day: Path, lockstep: Lockstep) -> None:
    accepted = next(
        each
        for each in commands(lockstep, day, "--kind", "enter")[40:]
        if each["events"] and each["events"][0]["kind"] == "accepted"
    )
    words = (accepted["client_order_id"], "--participant", accepted["participant"])
    lives = [json.loads(line) for line in lockstep("order", day, *words, "--json")[1].splitlines()]
    wanted = sorted({life["history"][at]["event"]["seq"] for life in lives for at in (0, -1)})
    facts = told(lockstep, day, "--order", *words)
    assert [each["command"]["seq"] for each in facts] == wanted


@pytest.mark.slow
def test_an_extend_row_is_explained_as_its_command(day: Path, lockstep: Lockstep) -> None:
    with_token = next(each for each in commands(lockstep, day, "--kind", "enter") if each["token"])
    assert told(lockstep, day, with_token["seq"] - 1) == told(lockstep, day, with_token["seq"])


def test_text_has_the_command_the_refusal_and_the_section(day: Path, lockstep: Lockstep) -> None:
    refused = commands(lockstep, day, "--kind", "enter", "--reason", "max_order_qty")[0]
    status, said, _ = lockstep("why", day, refused["seq"])
    assert status == 0
    assert said.startswith(f"command {refused['seq']:,} at ")
    assert re.search(r"order quantity +- +[\d,]+ +[\d,]+ +refused +8\n", said)
    assert "reason=max_order_qty" in said
    assert "the quantity of the order is above its limit (rulebook section 8)" in said


CROSSES = """instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
participant MAKER
limits ALPHA max_position=100
limits BETA max_position=40
phase XYZ continuous
enter MAKER m1 buy 10 XYZ @ 9.95
cross MAKER x1 10 XYZ @ 9.94 buyer=ALPHA seller=BETA
cross MAKER x1 100 XYZ @ 10.00 buyer=ALPHA seller=BETA
cross MAKER x1 40 XYZ @ 9.95 buyer=ALPHA seller=BETA
"""


def test_a_cross_is_explained_by_the_quotes_and_the_limits_of_both_sides(tmp_path: Path, lockstep: Lockstep) -> None:
    """A buyer that is at its limit passes where the seller is beyond its own."""
    (tmp_path / "day.txt").write_text(CROSSES)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    crosses = commands(lockstep, tmp_path / "node", "--kind", "cross")
    refused = []
    for command in crosses:
        (facts,) = told(lockstep, tmp_path / "node", command["seq"])
        refused.append(
            [(each["check"], each["limit"], each["value"]) for each in facts["checks"] if each["verdict"] == "refused"]
        )
    assert refused == [
        [("not below the bid", 99_500, 99_400)],
        [("position of the seller", 40, 100)],
        [],
    ]


def test_what_is_left_at_a_collar_is_explained_with_its_price(tmp_path: Path, lockstep: Lockstep) -> None:
    scenario = Path(__file__).parent / "scenarios" / "collar-moves-with-the-last-trade-and-not-within-an-order.txt"
    assert lockstep("run", scenario, "--data", tmp_path / "node")[0] == 0
    (first, second, third) = commands(lockstep, tmp_path / "node", "--kind", "enter", "--side", "buy")
    said = [
        told(lockstep, tmp_path / "node", each["seq"])[0]["consequences"][-1]["because"] for each in (first, second)
    ]
    assert [each.partition("; ")[2] for each in said] == [
        "its collar was 10.10, 1% from 10.00",
        "its collar was 10.1909, 1% from 10.09",
    ]
    (facts,) = told(lockstep, tmp_path / "node", third["seq"])
    assert "collar was" not in facts["consequences"][-1]["because"], "no order was left to meet beyond it"


HALTS = """instrument ABC tick=0.01 lot=1 reference=10.00 volatility=10%/1m/5m
instrument XYZ tick=0.01 lot=1 reference=20.00
participant ALPHA
participant BETA
index ALL members=ABC:2,XYZ:1 levels=5%/1m,40%/close
phase * continuous
enter ALPHA a1 buy 1 ABC @ 9.00
enter BETA b1 sell 1 ABC @ 9.00
resume *
at +1m
enter ALPHA a2 buy 2 ABC @ 7.89
enter BETA b2 sell 1 ABC @ 7.89
halt XYZ
phase * continuous
enter ALPHA a3 buy 1 XYZ @ 8.21
enter BETA b3 sell 1 XYZ @ 8.21
"""


@pytest.mark.slow
def test_a_halt_by_a_breaker_is_explained_by_what_it_looked_at(tmp_path: Path, lockstep: Lockstep) -> None:
    """A trade at exactly the percentage halts nothing of its instrument, and an index that fell 5% does."""
    (tmp_path / "day.txt").write_text(HALTS)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    said = []
    for command in commands(lockstep, tmp_path / "node"):
        (facts,) = told(lockstep, tmp_path / "node", command["seq"])
        said += [
            (each["text"], each["because"].partition("; ")[2])
            for each in facts["consequences"]
            if each["because"] and "; " in each["because"]
        ]
    fall = "index ALL was 38.00, at least 5% below its opening value, 40.00"
    close = "index ALL was 23.99, at least 40% below its opening value, 40.00"
    assert said == [
        *((f"halted {symbol} reason=market_wide", fall) for symbol in ("ABC", "XYZ")),
        ("halted ABC reason=volatility", "7.89 was more than 10% from 9.00, in force 60 s before"),
        *((f"phase {symbol} closed", close) for symbol in ("ABC", "XYZ")),
    ]


@pytest.mark.parametrize(
    ("symbol", "until", "text", "because"),
    [
        ("XYZ", 13, "halted XYZ reason=command", None),
        ("ABC", 13, "halted ABC reason=volatility", "7.89 was more than 10% from 9.00, in force 60 s before"),
        ("ABC", 8, "halted ABC reason=market_wide", "index ALL was 38.00, at least 5% below its opening value, 40.00"),
    ],
)
def test_the_book_of_a_halted_instrument_says_why_it_is_halted(
    symbol: str, until: int, text: str, because: str | None, tmp_path: Path, lockstep: Lockstep
) -> None:
    lines = HALTS.splitlines(keepends=True)
    (tmp_path / "day.txt").write_text("".join(lines[:until]))
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    (book,) = checked(["book"], lockstep("book", tmp_path / "node", symbol, "--json")[1])
    halt = book["halt"]
    assert (book["phase"], halt["text"]) == ("halted", text)
    assert halt["because"].partition("; ")[2] == (because or "")
    (line,) = [line for line in lockstep("book", tmp_path / "node", symbol)[1].splitlines() if text in line]
    assert line == f"{text} by command {halt['seq']}: {halt['because']}"
    before = halt["seq"] - 1
    (book,) = checked(["book"], lockstep("book", tmp_path / "node", symbol, "--at", str(before), "--json")[1])
    assert (book["phase"], book["halt"]) == ("continuous", None)


REFUSED = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase * continuous
enter ALPHA a0 buy 100 XYZ @ 9.00 tif=ioc
at +1s
halt XYZ
at +1s
enter ALPHA a1 buy 100 XYZ @ 9.00
halt ABC
members halted ABC:4
enter ALPHA a2 buy 100 ABC @ 9.00
kill BETA
kill ALPHA
unkill BETA
enter ALPHA a3 buy 100 XYZ @ 9.00
phase XYZ closed
enter BETA b1 buy 100 XYZ @ 9.00
phase XYZ pre_open
enter BETA b2 buy 100 XYZ @ 9.00 tif=ioc
enter BETA b3 buy 7 XYZ @ 9.005
"""


@pytest.mark.parametrize("has_index", [True, False])
def test_a_refusal_names_the_command_that_halted_killed_or_brought_the_phase(
    has_index: bool, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "day.txt").write_text(REFUSED)
    node = tmp_path / "node"
    assert lockstep("run", tmp_path / "day.txt", "--data", node)[0] == 0
    printed = lockstep("commands", node, "--with-seq")[1].splitlines()
    seqs = {line.partition("  # ")[0]: int(line.partition("  # ")[2].split()[0]) for line in printed if "  # " in line}
    if has_index:
        monkeypatch.setattr("replay.event_index.WORTH_COMMANDS", 1)
        assert lockstep("journal", "index", node)[0] == 0
        monkeypatch.setattr("cli.questions.halts.plays", lambda *_, **__: pytest.fail("commands were replayed"))

    def seq_of(begin: str) -> int:
        return next(seq for line, seq in seqs.items() if line.startswith(begin))

    for refused, by, text, said in (
        ("enter ALPHA a1", "halt XYZ", "halted XYZ reason=command", "the operator halted it"),
        ("enter ALPHA a2", "halt ABC", "halted ABC reason=command", "the node itself halted it"),
        ("enter ALPHA a3", "kill ALPHA", "killed ALPHA", ""),
        ("enter BETA b1", "phase XYZ closed", "phase XYZ closed", ""),
        ("enter BETA b2", "phase XYZ pre_open", "phase XYZ pre_open", ""),
    ):
        (facts,) = checked(["why"], lockstep("why", node, seq_of(refused), "--json")[1])
        assert (facts["since"]["seq"], facts["since"]["text"]) == (seq_of(by), text), refused
        assert said in (facts["since"]["because"] or "")
        (line,) = [each for each in lockstep("why", node, seq_of(refused))[1].splitlines() if each.startswith("> rej")]
        assert f"; since command {seq_of(by)} at 2024-01-15T09:30:0" in line
        assert f": {text}" in line
    for refused in ("enter BETA b3", "enter ALPHA a0"):
        (facts,) = checked(["why"], lockstep("why", node, seq_of(refused), "--json")[1])
        assert facts["since"] is None


@pytest.mark.parametrize("has_index", [True, False])
def test_a_halt_is_not_looked_for_without_bound(
    has_index: bool, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an index only so many commands are replayed, and the user is told; with one nothing is."""
    (tmp_path / "day.txt").write_text("".join(HALTS.splitlines(keepends=True)[:13]) + "at +1s\n" * 1_000)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", 20)[0] == 0
    monkeypatch.setattr("cli.questions.halts._COMMANDS", 10)
    monkeypatch.setattr("cli.questions.halts._COMMANDS_MAX", 500)
    if has_index:
        monkeypatch.setattr("replay.event_index.WORTH_COMMANDS", 100)
        assert lockstep("journal", "index", tmp_path / "node")[0] == 0
        monkeypatch.setattr("cli.questions.halts.plays", lambda *_, **__: pytest.fail("commands were replayed"))
    status, said, noted = lockstep("book", tmp_path / "node", "XYZ", "--json")
    (book,) = checked(["book"], said)
    assert (status, book["phase"]) == (0, "halted")
    if has_index:
        assert (book["halt"]["text"], noted) == ("halted XYZ reason=command", "")
    else:
        assert book["halt"] is None
        assert "its cause was not looked for there; `lockstep journal index" in noted


#: Reasons to refuse what is no order, which no check is told of.
NO_ORDER = {"invalid_command", "not_halted"}
SCENARIOS = Path(__file__).parent / "scenarios"


@pytest.mark.slow
@pytest.mark.parametrize("reason", [each.name.lower() for each in Reason if each < Reason.USER])
def test_each_refusal_is_explained_by_the_check_that_refused(reason: str, tmp_path: Path, lockstep: Lockstep) -> None:
    refused = re.compile(rf"^(?:enter|replace|cancel|cross) [^>]*\n> (?:cancel_)?rejected \S+ reason={reason}$", re.M)
    of_all = re.compile(rf"^> (?:cancel_)?rejected \S+ reason={reason}$", re.M)
    shows = of_all if reason in NO_ORDER else refused
    scenario = next(each for each in sorted(SCENARIOS.glob("*.txt")) if shows.search(each.read_text()))
    assert lockstep("run", scenario, "--data", tmp_path / "node")[0] == 0
    kinds = [] if reason in NO_ORDER else [word for kind in ("enter", "replace", "cancel") for word in ("--kind", kind)]
    kinds += ["--kind", "cross"] if kinds else []
    command = commands(lockstep, tmp_path / "node", "--reason", reason, *kinds)[0]
    (facts,) = told(lockstep, tmp_path / "node", command["seq"])
    assert facts["refused"]["reason"] == reason
    checks = [each for each in facts["checks"] if each["verdict"] == "refused"]
    if reason not in NO_ORDER:
        (check,) = checks
        assert reason in check["reasons"]
        assert (check["limit"] is None) == (check["value"] is None)
        assert (check["limit"] is not None) == (reason in WITH_NUMBERS), check


#: Reasons whose check holds a number against a limit.
WITH_NUMBERS = {
    *("invalid_qty", "invalid_lot", "invalid_price", "invalid_tick", "price_band", "max_order_qty", "max_order_value"),
    *("order_rate", "adv", "position_limit", "credit", "capacity"),
}


#: Reasons to cancel or halt behind which there is a limit, a term or a price, and a word of the sentence that has it.
WITH_WORDS = {
    "fok": "at least",
    "min_qty": "at least",
    "expired": "good until",
    "volatility": "more than",
    "market_wide": "below its opening value",
}


@pytest.mark.slow
@pytest.mark.parametrize("reason", [each.name.lower() for each in Reason if each >= Reason.USER])
def test_each_end_of_an_order_and_each_halt_is_explained_by_its_rule(
    reason: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    shows = re.compile(rf"^> (?:canceled|halted) .*reason={reason}$", re.M)
    scenario = next(each for each in sorted(SCENARIOS.glob("*.txt")) if shows.search(each.read_text()))
    assert lockstep("run", scenario, "--data", tmp_path / "node")[0] == 0
    caused = commands(lockstep, tmp_path / "node", "--reason", reason)
    seq = next(each["seq"] for each in caused if any(event["reason"] == reason for event in each["events"]))
    (facts,) = told(lockstep, tmp_path / "node", seq)
    found = [each for each in facts["consequences"] if each["event"]["reason"] == reason]
    assert found
    for each in found:
        sentence, _, value = each["because"].partition("; ")
        rule = RULES[Reason[reason.upper()]]
        why = OF_NO_USER if reason == "user" else rule.sentence  # a command of a file names no user
        assert (sentence, each["section"], each["link"]) == (why, rule.section, link_of(rule.section))
        assert WITH_WORDS.get(reason, "") in value
        assert (value != "") == (reason in WITH_WORDS), each


def test_every_section_is_linked_to_a_heading_of_the_rulebook() -> None:
    text = (Path(__file__).parent.parent / "docs" / "RULEBOOK.md").read_text()
    heads = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in text.splitlines()
        if line[:3] == "## "
    }
    sections = {rule.section for rule in RULES.values()} | {section_of(kind) for kind in EventKind}
    assert {link_of(section).partition("#")[2] for section in sections} <= heads


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give the number of a command, or --order"),
        (["3", "--order", "a1"], "give the number of a command, or --order"),
        (["3", "--participant", "P1"], "--participant goes with --order"),
        (["99999"], "there is no command 99,999"),
        (["--order", "NEVER"], "ever had the id or token NEVER"),
    ],
)
def test_wrong_questions_are_refused_in_a_sentence(words: list[str], why: str, day: Path, lockstep: Lockstep) -> None:
    status, said, sentence = lockstep("why", day, *words)
    assert (status, said, why in sentence) == (2, "", True), sentence


SECTIONS = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
index IDX members=XYZ:1 levels=5%/close
phase XYZ opening_auction
enter ALPHA a1 sell 5 XYZ @ 10.00
enter BETA b1 buy 5 XYZ @ 10.00
phase XYZ continuous
enter ALPHA a2 sell 5 XYZ @ 9.00
enter BETA b2 buy 5 XYZ @ 9.00
phase XYZ continuous
enter ALPHA a3 sell 5 XYZ @ 9.00 tif=gtc
emergency_close
"""


def test_each_consequence_names_the_section_of_its_cause(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(SECTIONS)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    said = lockstep("commands", tmp_path / "node", "--with-seq")[1].splitlines()
    numbers = [(line.partition("  # ")[0], int(line.partition("  # ")[2])) for line in said]

    def told(line: str) -> list[tuple[str, str]]:
        seq = next(number for text, number in numbers if text.startswith(line))
        (facts,) = (json.loads(each) for each in lockstep("why", tmp_path / "node", seq, "--json")[1].splitlines())
        return [(each["event"]["kind"], each["section"]) for each in facts["consequences"]]

    assert told("phase XYZ continuous") == [("phase", "6"), ("trade", "6")]
    assert told("enter BETA b2") == [("accepted", "4"), ("trade", "3"), ("phase", "9")]
    assert told("emergency_close") == [("phase", "9"), ("canceled", "9")]


DROPPED = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=10.00
phase * continuous
schedule * 09:31:00 closing_auction
schedule XYZ 09:31:30 continuous
schedule XYZ 09:32:00 closed
halt XYZ
at 09:31:45
at 09:33:00
"""


@pytest.mark.slow
def test_a_schedule_that_finds_its_instrument_halted_is_told_with_its_clock_value(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    (tmp_path / "day.txt").write_text(DROPPED)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    said = lockstep("commands", tmp_path / "node", "--with-seq")[1].splitlines()
    first, second = (int(each.partition("  # ")[2]) for each in said[-2:])
    (facts,) = told(lockstep, tmp_path / "node", first)
    assert [each["text"].split("  # ")[0] for each in facts["consequences"]] == ["phase ABC closing_auction"]
    assert facts["dropped_schedules"] == [
        {"symbol": "XYZ", "time": "2024-01-15T09:31:00.000000000Z", "phase": "closing_auction"},
        {"symbol": "XYZ", "time": "2024-01-15T09:31:30.000000000Z", "phase": "continuous"},
    ]
    text = " ".join(lockstep("why", tmp_path / "node", first)[1].split())
    assert "the schedule of XYZ for continuous at 2024-01-15T09:31:30 had no effect: XYZ was halted" in text
    (facts,) = told(lockstep, tmp_path / "node", second)
    assert facts["dropped_schedules"] == [], "a schedule that closes is kept"
    assert [each["text"].split("  # ")[0] for each in facts["consequences"]] == ["phase XYZ closed"]


def test_the_check_of_the_phase_says_the_phase_and_what_it_takes(tmp_path: Path, lockstep: Lockstep) -> None:
    """It had neither, also where the phase refused the order."""
    (tmp_path / "day.txt").write_text(
        """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ pre_open
enter ALPHA a1 buy 5 XYZ @ 10.00
enter ALPHA a2 buy 5 XYZ @ 10.00 tif=ioc
replace ALPHA a1 a3 4 @ 10.00
phase XYZ closed
"""
    )
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    found = []
    seqs = [each["seq"] for each in commands(lockstep, tmp_path / "node", "--participant", "ALPHA")][1:]
    for seq in seqs:
        (facts,) = told(lockstep, tmp_path / "node", seq)
        (phase,) = [check for check in facts["checks"] if check["check"] == "phase"]
        found.append((phase["met"], phase["takes"], phase["verdict"]))
    assert found == [
        ("pre_open", "all but closed, halted", "passed"),
        ("pre_open", "continuous", "refused"),
        ("pre_open", "all but closed, halted", "passed"),
    ]
    said = lockstep("why", tmp_path / "node", seqs[1])[1]
    assert "phase - pre_open continuous refused" in " ".join(said.split())


USED = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant A
participant B
limits A max_position=500 credit=10000 margin=20% order_rate=9/1s
phase XYZ continuous
enter B b1 sell 300 XYZ @ 10.00
enter A a1 buy 300 XYZ @ 10.00
enter A a2 buy 100 XYZ @ 9.00
enter A a3 buy 200 XYZ @ 9.50
replace A a2 a4 50 @ 8.00
"""


def test_a_check_says_what_of_its_limit_was_in_use_before(tmp_path: Path, lockstep: Lockstep) -> None:
    """300 shares at 10.00 are held, margin 600; then an order of 100 at 9.00 is open."""
    (tmp_path / "day.txt").write_text(USED)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--orders-max", 64)[0] == 0
    entered = commands(lockstep, tmp_path / "node", "--participant", "A", "--kind", "enter", "--kind", "replace")
    explained = [told(lockstep, tmp_path / "node", command["seq"]) for command in entered]
    facts = [{check["check"]: check for check in each["checks"]} for (each,) in explained]

    def of(check: str) -> list[tuple[int, int, int]]:
        return [tuple(found[check][key] for key in ("used", "value", "limit")) for found in facts]

    assert of("order rate") == [(0, 1, 9), (1, 2, 9), (2, 3, 9), (3, 4, 9)]
    assert of("position") == [(0, 300, 500), (300, 400, 500), (400, 600, 500), (400, 350, None)]
    e4 = [(0, 3_000), (600, 1_500), (1_500, 3_400), (1_500, 1_000)]
    assert [found[:2] for found in of("credit")] == [(used * 10_000, value * 10_000) for used, value in e4]
    assert [found["own order ids"]["used"] for found in facts] == [0, 1, 2, 2]
    others = {check["check"] for found in facts for check in found.values() if check["used"] is None}
    assert {"order quantity", "lot", "price"} <= others
    said = lockstep("why", tmp_path / "node", "--order", "a3")[1].splitlines()
    (position,) = [line.split() for line in said if line.startswith("position ")]
    assert position == ["position", "400", "600", "500", "refused", "8"]
