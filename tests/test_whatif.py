"""`lockstep whatif` against a run in which the change really was made: the same events, and what they come to."""

import contextlib
import fcntl
import io
import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.main import run_line
from directory.recover import create
from engine.names import pack
from engine.records import CommandKind
from engine.reference import matching
from journal.history import History
from replay.outcome import Outcome
from replay.sides import Replayed
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.kills import calls_of, killed, places_among
from tests.question_day import SMALL, write_day
from tests.streams import random_stream

Fact = dict[str, Any]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whatif") / "node"
    write_day(directory, checkpoint_every=500)
    return directory


def told(lockstep: Lockstep, *words: object) -> list[Fact]:
    return [json.loads(line) for line in lockstep(*words, "--json")[1].splitlines()]


def outcome(lockstep: Lockstep, directory: Path) -> Fact:
    """Outcome of a directory from the JSON of its events, one by one."""
    held: dict[tuple[str, str], int] = Counter()
    money: dict[tuple[str, str], int] = Counter()
    last: dict[str, int] = {}
    shares: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    trades = 0
    for event in told(lockstep, "events", directory):
        if event["kind"] in ("rejected", "cancel_rejected"):
            refused[event["reason"]] += 1
        if event["kind"] != "trade":
            continue
        trades += 1
        symbol, qty, price_e4 = event["symbol"], event["qty"], event["price_e4"]
        shares[symbol] += qty
        last[symbol] = price_e4
        for side, sign in (("buy", 1), ("sell", -1)):
            held[event[f"{side}_participant"], symbol] += sign * qty
            money[event[f"{side}_participant"], symbol] += sign * qty * price_e4
    profit: dict[str, int] = defaultdict(int)
    for (name, symbol), qty in held.items():
        profit[name] += qty * last[symbol] - money[name, symbol]
    return {"trades": trades, "shares": shares, "last": last, "held": held, "profit": profit, "refused": refused}


def same(told_of: Fact, plain: Fact) -> None:
    assert (told_of["trades"], told_of["shares"]) == (plain["trades"], sum(plain["shares"].values()))
    for symbol, facts in told_of["instruments"].items():
        assert (facts["shares"], facts["last_price_e4"]) == (plain["shares"][symbol], plain["last"].get(symbol))
    for name, facts in told_of["participants"].items():
        assert facts["profit_e4"] == plain["profit"].get(name, 0)
        own = {symbol: qty for (owner, symbol), qty in plain["held"].items() if owner == name and qty}
        assert facts["positions"] == own
    assert told_of["refused"] == plain["refused"]


@pytest.mark.slow
def test_without_a_participant_it_is_the_market_that_never_had_its_orders(
    day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    (facts,) = checked(["whatif"], lockstep("whatif", day, "--without", "P2", "--data", tmp_path / "new", "--json")[1])
    rows = random_stream(14, 3_000, hostile=0.0, garbage=0.0, control=0.01)
    kept = [at for at in range(len(rows)) if not is_order_of_p2(rows, at)]
    made = tmp_path / "made"
    journal, engine = create(made, SMALL, durability="none")
    with journal:
        pump([rows.view("V64")[np.array(kept)].view(rows.dtype)], FileStamp(), journal, engine, durability="none")
    assert facts["event_digest"] == engine.event_digest.hex()
    assert (facts["left_out"], facts["seq"]) == (len(rows) - len(kept), len(kept))
    assert facts["left_out"] > 300
    same(facts["before"], outcome(lockstep, day))
    same(facts["after"], outcome(lockstep, made))
    assert facts["before"]["participants"]["P2"]["positions"]
    assert facts["after"]["participants"]["P2"] == {"profit_e4": 0, "positions": {}}
    assert lockstep("verify", tmp_path / "new", "--workers", 1)[0] == 0


DAY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00 token=ORDER-20240115
enter BETA b1 buy 60 XYZ @ 10.05
replace ALPHA a1 a2 80 @ 10.02
enter BETA a1 buy 10 XYZ @ 9.00
enter ALPHA a3 sell 50 XYZ @ 10.04
enter BETA b2 buy 40 XYZ @ 10.05
cancel ALPHA a3
"""


def written(text: str, directory: Path, lockstep: Lockstep) -> Path:
    file = directory.with_suffix(".txt")
    file.write_text(text)
    small = ["--orders-max", 64, "--ids-max", 256]
    assert lockstep("run", file, "--data", directory, "--block-rows", 3, *small)[0] == 0
    return directory


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["--order", "a2"], ["enter ALPHA a1", "replace ALPHA a1"]),
        (["--order", "a1", "--participant", "ALPHA"], ["enter ALPHA a1", "replace ALPHA a1"]),
        (["--order", "a1"], ["enter ALPHA a1", "replace ALPHA a1", "enter BETA a1"]),
        (["--order", "a3", "--order", "b2"], ["enter ALPHA a3", "cancel ALPHA a3", "enter BETA b2"]),
        (["--drop", "12"], ["enter BETA b2"]),
        (["--drop", "6"], ["enter ALPHA a1"]),
        (["--drop", "7", "--without", "BETA"], ["enter ALPHA a1", "enter BETA"]),
    ],
    ids=" ".join,
)
def test_what_is_left_out_is_as_if_its_lines_had_never_been(
    words: list[str], lines: list[str], tmp_path: Path, lockstep: Lockstep
) -> None:
    node = written(DAY, tmp_path / "node", lockstep)
    text = "".join(line for line in DAY.splitlines(keepends=True) if not line.startswith(tuple(lines)))
    made = written(text, tmp_path / "made", lockstep)
    (facts,) = told(lockstep, "whatif", node, *words, "--data", tmp_path / "new")
    assert lockstep("commands", tmp_path / "new")[1] == text
    (state,) = told(lockstep, "state", made)
    assert facts["event_digest"] == state["event_digest"]
    same(facts["after"], outcome(lockstep, made))


def test_text_has_what_differs_and_says_where_the_market_is(tmp_path: Path, lockstep: Lockstep) -> None:
    node = written(DAY, tmp_path / "node", lockstep)
    status, said, _ = lockstep("whatif", node, "--order", "b1", "--data", tmp_path / "new")
    assert status == 0
    assert said.startswith("without order b1: 1 row left out, the others as they were\n")
    assert "shares  100        40         -60\n" in said
    assert "ALPHA             XYZ -100   XYZ -40\n" in said
    assert said.endswith("has the market as it would have been; every other command reads it\n")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700  # others look into it no more than into any directory


@pytest.mark.parametrize(
    ("words", "inserted", "before"),
    [
        (["--set", "BETA max_order_qty=50"], "limits BETA max_order_qty=50", "phase XYZ"),
        (["--set", "BETA max_order_qty=50", "--from", "10"], "limits BETA max_order_qty=50", "enter BETA a1"),
        (["--set", "BETA symbol=XYZ max_order_qty=50"], "limits BETA symbol=XYZ max_order_qty=50", "phase XYZ"),
    ],
    ids=str,
)
def test_limits_that_are_set_are_as_if_they_had_been_commanded(
    words: list[str], inserted: str, before: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    node = written(DAY, tmp_path / "node", lockstep)
    lines = DAY.splitlines(keepends=True)
    at = next(place for place, line in enumerate(lines) if line.startswith(before))
    made = written("".join([*lines[:at], inserted + "\n", *lines[at:]]), tmp_path / "made", lockstep)
    (facts,) = checked(["whatif"], lockstep("whatif", node, *words, "--data", tmp_path / "new", "--json")[1])
    (state,) = told(lockstep, "state", made)
    assert (facts["event_digest"], facts["put_in"]) == (state["event_digest"], 1)
    same(facts["after"], outcome(lockstep, made))
    assert facts["after"]["refused"].get("max_order_qty", 0) == (before == "phase XYZ")
    assert lockstep("commands", tmp_path / "new")[1] == lockstep("commands", made)[1]


def test_limits_that_the_journal_sets_again_are_told(tmp_path: Path, lockstep: Lockstep) -> None:
    day = (
        "instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\nparticipant BETA\n"
        "limits ALPHA max_position=5 credit=100000.00\nphase XYZ continuous\nenter ALPHA a1 buy 10 XYZ @ 10.00\n"
        "limits ALPHA max_order_qty=7\nlimits BETA max_position=5\nlimits ALPHA symbol=XYZ max_position=4\n"
    )
    node = written(day, tmp_path / "node", lockstep)
    note = (
        "note: limits that --set names are set again by the journal, the last of them by command 5, and count as it "
        "says from there on; --from 6 sets them after it\n"
    )
    for number, (words, said) in enumerate(
        [
            (["--set", "ALPHA max_position=off"], note),
            (["--set", "ALPHA max_position=off", "--from", "6"], ""),
            (["--set", "ALPHA max_ids=9"], ""),
            (["--set", "ALPHA max_position=off", "--drop", "5"], ""),
        ]
    ):
        ended, _, notes = lockstep("whatif", node, *words, "--data", tmp_path / f"new{number}")
        assert (ended, notes) == (0, said), words


TIMES = DAY.replace("replace ALPHA", "at 2024-01-15T09:31:00\nreplace ALPHA").replace(
    "enter BETA b2", "at 2024-01-15T09:32:00\nenter BETA b2"
)
FILE = """\
at 2024-01-15T09:30:00
enter BETA n1 sell 30 XYZ @ 10.03
at 2024-01-15T09:31:30
cancel ALPHA a2
enter BETA n2 buy 10 XYZ @ 10.04
at 2024-01-15T10:00:00
enter BETA n3 sell 10 XYZ @ 9.00 token=A-LONG-TOKEN
"""


def test_commands_of_a_file_come_after_all_of_their_time(tmp_path: Path, lockstep: Lockstep) -> None:
    node = written(TIMES, tmp_path / "node", lockstep)
    (tmp_path / "file").write_text(FILE)
    first, second, third = (piece.splitlines(keepends=True) for piece in FILE.split("at 2024-01-15T")[1:])
    lines = []
    for line in TIMES.splitlines(keepends=True):
        if line == "at 2024-01-15T09:31:00\n":
            lines += first[1:]
        if line == "at 2024-01-15T09:32:00\n":
            lines += ["at 2024-01-15T" + second[0], *second[1:]]
        lines.append(line)
    lines += ["at 2024-01-15T" + third[0], *third[1:]]
    made = written("".join(lines), tmp_path / "made", lockstep)
    words = ["whatif", node, "--insert", tmp_path / "file", "--data", tmp_path / "new", "--json"]
    (facts,) = checked(["whatif"], lockstep(*words)[1])
    (state,) = told(lockstep, "state", made)
    assert lockstep("commands", tmp_path / "new")[1] == lockstep("commands", made)[1]
    assert (facts["event_digest"], facts["left_out"]) == (state["event_digest"], 0)
    assert facts["put_in"] == 4 + 2 + 1  # commands, clock values, and the row with the long token
    same(facts["after"], outcome(lockstep, made))


def test_a_participant_can_be_left_out_of_a_part_of_the_day(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    words = ["--without", "P2", "--from", "1000", "--to", "2000"]
    (facts,) = told(lockstep, "whatif", day, *words, "--data", tmp_path / "new")
    rows = random_stream(14, 3_000, hostile=0.0, garbage=0.0, control=0.01)
    kept = [at for at in range(len(rows)) if not (1_000 <= at + 1 <= 2_000 and is_order_of_p2(rows, at))]
    journal, engine = create(tmp_path / "made", SMALL, durability="none")
    with journal:
        pump([rows.view("V64")[np.array(kept)].view(rows.dtype)], FileStamp(), journal, engine, durability="none")
    assert facts["event_digest"] == engine.event_digest.hex()
    assert facts["left_out"] == len(rows) - len(kept) > 100
    assert facts["change"] == "without P2, from command 1,000, to command 2,000"


def is_order_of_p2(rows: Any, at: int) -> bool:
    """True for an order command of P2, and for the EXTEND row before one."""
    number = 1 + rows["name"][rows["kind"] == CommandKind.PARTICIPANT].tolist().index(pack("P2"))
    about = rows[at + 1] if rows["kind"][at] == CommandKind.EXTEND and at + 1 < len(rows) else rows[at]
    order_kinds = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
    if about["kind"] == CommandKind.CROSS:
        return pack("P2") in (about["buyer"], about["seller"]) or about["participant"] == number
    return about["kind"] in order_kinds and about["participant"] == number


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nothing is to change; give --without, --order, --drop, --set or --insert"),
        (["--set", "NOBODY credit=1.00"], "with a known name"),
        (["--set", "ALPHA"], "and a limit"),
        (["--set", "ALPHA symbol=XYZ"], "and a limit"),
        (["--set", ""], "and a limit"),
        (["--set", "ALPHA credit"], "--set:1"),
        (["--drop", "7", "--from", "3"], "--from and --to say where"),
        (["--insert", "nowhere"], "cannot be read"),
        (["--without", "NOBODY"], "there is no participant NOBODY"),
        (["--order", "never"], "ever had the id or token never"),
        (["--drop", "99"], "there is no command 99"),
    ],
)
def test_wrong_changes_are_refused_in_a_sentence_and_leave_nothing(
    words: list[str], why: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    node = written(DAY, tmp_path / "node", lockstep)
    status, said, sentence = lockstep("whatif", node, *words, "--data", tmp_path / "new")
    assert (status, said, why in sentence) == (2, "", True), sentence
    assert not (tmp_path / "new").exists()
    status, said, sentence = lockstep("whatif", node, "--drop", "7", "--data", node)
    assert (status, said, "is not empty" in sentence) == (2, "", True), sentence


@pytest.mark.slow
def test_a_whatif_that_is_killed_leaves_nothing_under_the_name_and_the_next_one_goes(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    """At some calls of compiled code. What it had begun is removed by the next; a market of that name is whole."""
    node = written(DAY, tmp_path / "node", lockstep)
    folder = tmp_path / "made"
    folder.mkdir()

    def run(data: Path) -> int:
        with contextlib.redirect_stdout(io.StringIO()):
            return run_line(["whatif", str(node), "--drop", "7", "--data", str(data), "--json"])

    assert run(folder / "whole") == 0
    calls = calls_of(lambda: run(folder / "counted"))
    wanted = told(lockstep, "events", folder / "whole")
    there, left = Counter[bool](), Counter[bool]()
    for at_call in places_among(calls, 12, seed=1):
        data = folder / f"new{at_call}"
        killed(lambda data=data: run(data), at_call)  # type: ignore[misc]
        there[data.exists()] += 1
        left[aside_of(data).exists()] += 1
        if not data.exists():
            assert run(data) == 0
        assert told(lockstep, "events", data) == wanted
        assert not aside_of(data).exists()
    assert there[True] > 0
    assert there[False] > 0
    assert left[True] > 0, "one was killed in the middle"


def aside_of(data: Path) -> Path:
    """Folder in which a market is made before it gets its name."""
    return data.with_name(f".{data.name}.whatif")


HALTED = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00 volatility=10%/5m/5m
instrument ABC tick=0.01 lot=1 reference=10.00 volatility=10%/5m/5m
participant ALPHA
participant BETA
phase * continuous
at 09:31:00
enter ALPHA a1 sell 100 XYZ @ 10.00
enter ALPHA a2 sell 100 XYZ @ 12.00
enter ALPHA a3 sell 100 ABC @ 12.00
enter BETA b1 buy 150 XYZ @ 12.00
at 09:32:00
enter BETA b2 buy 50 ABC @ 12.00
at 09:33:00
halt XYZ for=10m
"""


def test_halts_that_would_and_would_not_have_come_are_told_with_time_and_reason(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    node = written(HALTED, tmp_path / "node", lockstep)
    made = written(HALTED.replace("enter ALPHA a2", "# "), tmp_path / "made", lockstep)
    assert lockstep("whatif", node, "--order", "a2", "--data", tmp_path / "new")[0] == 0
    words = ["whatif", node, "--order", "a2", "--data", tmp_path / "again", "--json"]
    (facts,) = checked(["whatif"], lockstep(*words)[1])
    for key, directory in (("before", node), ("after", made)):
        came = [event for event in told(lockstep, "events", directory) if event["kind"] == "halted"]
        assert facts[key]["halts"] == [{name: event[name] for name in ("symbol", "time", "reason")} for event in came]
        assert facts[key]["instruments"]["XYZ"]["halts"] == sum(event["symbol"] == "XYZ" for event in came)
    reasons = [[(halt["symbol"], halt["reason"]) for halt in facts[key]["halts"]] for key in ("before", "after")]
    assert reasons[0] == [("XYZ", "volatility"), ("ABC", "volatility"), ("XYZ", "command")]
    assert reasons[1] == reasons[0][1:]
    said = lockstep("whatif", node, "--order", "a2", "--data", tmp_path / "third")[1]
    lines = [line.split() for line in said.splitlines()]
    assert ["halt", "times", "was", "would", "be"] in lines
    assert ["XYZ", "2024-01-15T09:31:00", "volatility", "1", "0"] in lines
    assert sum(line[:1] == ["ABC"] for line in lines) == 0, "what is the same is not told"
    assert "nobody reacts to the change" in said


@pytest.mark.parametrize("from_seq", [1, 8])
def test_halts_have_their_times_however_the_commands_are_cut(from_seq: int, tmp_path: Path, lockstep: Lockstep) -> None:
    node = written(HALTED, tmp_path / "node", lockstep)
    found = []
    for commands_at_once in (1, 3, 100):
        with History.open(node) as history:
            side = Replayed(history, "kernel", 1)
            side.play(from_seq - 1)
            outcome = Outcome(side.directory.now_ns)
            while side.seq < history.last_seq:
                first_seq = side.seq + 1
                played = side.play(min(side.seq + commands_at_once, history.last_seq))
                outcome.take(first_seq, played.commands, played.events)
        found.append([str(halt["time"])[11:19] for halt in outcome.facts(side.directory)["halts"]])
    assert found == [["09:31:00", "09:32:00", "09:33:00"]] * 3


@pytest.mark.slow
def test_either_engine_replays_the_change_and_the_one_that_was_asked_for_does(
    day: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(engine: str, name: str) -> Fact:
        words = ["whatif", day, "--without", "P2", "--engine", engine, "--data", tmp_path / name, "--json"]
        (facts,) = checked(["whatif"], lockstep(*words)[1])
        assert (facts.pop("engine"), facts.pop("data")) == (engine, str(tmp_path / name))
        return facts

    assert asked("reference", "reference") == asked("kernel", "kernel")
    monkeypatch.setattr(matching, "_prevented", lambda *_: False)  # a wrong rule in one engine
    wrong = asked("reference", "wrong")
    assert wrong["before"] == asked("kernel", "right")["before"]
    assert wrong["after"] != asked("kernel", "control")["after"]


def test_two_whatifs_do_not_make_the_same_directory(tmp_path: Path, lockstep: Lockstep) -> None:
    node = written(DAY, tmp_path / "node", lockstep)
    aside = aside_of(tmp_path / "new")
    aside.mkdir()
    fd = os.open(aside, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    status, _, sentence = lockstep("whatif", node, "--drop", "7", "--data", tmp_path / "new")
    os.close(fd)
    assert (status, "another whatif makes" in sentence) == (2, True)
    assert lockstep("whatif", node, "--drop", "7", "--data", tmp_path / "new")[0] == 0
