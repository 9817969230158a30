"""`lockstep admin`: each command against a node, its output for people and for programs, and its exit status."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import app
from cli.operating.admin import phases_to_come
from engine.records import CommandKind
from gateway.passwords import COST_GENERATED, GENERATED_CHARACTERS, salt_and_hash, verify
from node.operator.link import FILE
from node.programs.operator_socket import BoundSocket
from notation.moments import plain_time
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.operated import MARKET, Operated, on_terminal


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """A node that is operated, with a market in it."""
    with Operated(tmp_path / "node") as running:
        with running.peer() as peer:
            assert peer.ask({"do": "commands", "text": MARKET})["ok"] is True
        yield running


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()


#: Words after `lockstep admin COMMAND NODE`, and what a person reads.
LINES = [
    ("do", ["phase XYZ closed", "# nothing"], "> phase XYZ closed\n> canceled a1 qty=70 reason=end_of_day\n"),
    ("instrument", ["NEW", "--tick", "0.01", "--reference", "5.00", "--adv", "50000"], "done, command "),
    ("index", ["ALL", "--members", "XYZ:3"], "done, command "),
    ("participant", ["GAMMA", "--group", "G1", "--allow", "market,stp_none"], "done, command "),
    ("phase", ["*", "pre_open"], "> phase XYZ pre_open\n"),
    ("halt", ["XYZ", "--for", "5m"], "> halted XYZ reason=command\n"),
    ("resume", ["*"], "done, command "),
    ("limits", ["ALPHA", "--credit", "5000", "--not-restricted"], "done, command "),
    ("mass-cancel", ["BETA", "--symbol", "XYZ", "--side", "buy"], "> canceled b2 qty=70 reason=mass_cancel\n"),
    ("checkpoint", [], "a checkpoint was written\n  at command  "),
    ("roll", [], "a new slice of the journal was begun\n  slice  "),
    ("sessions", [], "user    participant  address"),
    ("status", [], "  process  "),
    ("book", ["XYZ", "--depth", "1"], "XYZ  continuous  last 10.00  after command "),
    ("disconnect", ["TRADER"], "the connection of TRADER was ended\n"),
    ("accept-clock", [], "market time follows the machine's clock again\n"),
    (
        "drain",
        [],
        "the node drains: no logins, new orders are rejected, cancels work; end it with `lockstep admin shutdown`\n",
    ),
    ("shutdown", [], "the node ends\n"),
]


@pytest.mark.parametrize(("command", "words", "said"), LINES, ids=[command for command, *_ in LINES])
def test_a_command_says_what_came_of_it_to_people_and_to_programs(
    command: str, words: list[str], said: str, operated: Operated, lockstep: Lockstep
) -> None:
    status, out, complaint = lockstep("admin", command, operated.directory, *words)
    assert (status, complaint) == (0, "")
    assert re.sub(" +", " ", out).startswith(re.sub(" +", " ", said))


@pytest.mark.parametrize(("command", "words"), [line[:2] for line in LINES], ids=[command for command, *_ in LINES])
def test_a_command_writes_one_json_object_with_json(
    command: str, words: list[str], operated: Operated, lockstep: Lockstep
) -> None:
    status, out, complaint = lockstep("admin", command, operated.directory, *words, "--json")
    assert (status, complaint, out.count("\n")) == (0, "", 1)
    if command != "status":  # which this node has only a part of; tests/test_json_node.py reads a real one's
        checked(("admin", command), out)


def test_every_command_of_the_operator_is_run_here() -> None:
    others = {"kill", "unkill", "emergency-close", "user", "schedule"}
    commands = get_command(app).commands["admin"].commands  # type: ignore[attr-defined]
    assert {command for command, *_ in LINES} | others == set(commands)


def test_kill_unkill_and_an_emergency_close_are_sent(operated: Operated, lockstep: Lockstep) -> None:
    directory = operated.directory
    assert lockstep("admin", "kill", directory, "BETA")[:2] == (0, "> killed BETA\n> canceled b2 qty=70 reason=kill\n")
    assert lockstep("admin", "unkill", directory, "*")[0] == 0
    assert lockstep("admin", "emergency-close", directory, "--yes")[:2] == (
        0,
        "> phase XYZ closed\n> canceled a1 qty=70 reason=kill\n",
    )


def test_a_halt_and_a_mass_cancel_of_all_are_the_kill_switch_of_an_instrument(
    operated: Operated, lockstep: Lockstep
) -> None:
    directory = operated.directory
    words = "instrument ABC tick=0.01 lot=1 reference=10.00", "phase ABC continuous", "enter ALPHA a9 buy 5 ABC @ 9.00"
    assert lockstep("admin", "do", directory, *words)[0] == 0
    assert lockstep("admin", "halt", directory, "XYZ")[0] == 0
    every = "> canceled a1 qty=70 reason=mass_cancel\n> canceled b2 qty=70 reason=mass_cancel\n"
    assert lockstep("admin", "mass-cancel", directory, "*", "--symbol", "XYZ")[:2] == (0, every)
    assert lockstep("admin", "do", directory, "enter BETA b7 buy 5 XYZ @ 9.00")[1] == "> rejected b7 reason=halted\n"
    assert lockstep("admin", "mass-cancel", directory, "*")[:2] == (0, "> canceled a9 qty=5 reason=mass_cancel\n")


def test_a_halt_is_ended_by_the_operator_and_a_call_follows(operated: Operated, lockstep: Lockstep) -> None:
    directory = operated.directory
    assert lockstep("admin", "halt", directory, "*")[0] == 0
    assert lockstep("admin", "resume", directory, "XYZ")[:2] == (0, "> phase XYZ auction\n")
    told = "> accepted b3\n> indicative XYZ 70 @ 10.00 imbalance=30 side=buy\n"
    assert lockstep("admin", "do", directory, "enter BETA b3 buy 100 XYZ @ 10.00")[:2] == (0, told)
    status, out, complaint = lockstep("admin", "resume", directory, "XYZ")
    assert (status, out) == (1, "> rejected XYZ reason=not_halted\n")
    said = "rejected XYZ reason=not_halted; only a halted instrument resumes (rulebook section 9)"
    assert complaint.endswith(f"the first: {said}\n")
    for call in ("opening_auction", "closing_auction"):
        assert lockstep("admin", "phase", directory, "XYZ", call)[1].startswith(f"> phase XYZ {call}\n")


def test_an_instrument_has_the_breakers_that_the_operator_gave_it(operated: Operated, lockstep: Lockstep) -> None:
    directory = operated.directory
    words = ["--tick", "0.01", "--reference", "10.00", "--midpoint", "--band", "50%", "--volatility", "10%/1m/5m"]
    assert lockstep("admin", "instrument", directory, "NEW", *words, "--cancel-on-halt")[0] == 0
    assert lockstep("admin", "index", directory, "ALL", "--members", "NEW:2,XYZ:1", "--levels", "30%/1m")[0] == 0
    assert lockstep("admin", "phase", directory, "NEW", "continuous")[0] == 0
    lines = [
        *("enter ALPHA n1 buy 1 NEW @ market book=midpoint", "enter ALPHA n2 buy 1 NEW @ 15.01"),
        *("enter ALPHA n3 buy 2 NEW @ 5.00", "enter BETA n4 sell 1 NEW @ 5.00"),
    ]
    status, out, _ = lockstep("admin", "do", directory, *lines)
    # The volatility breaker looks first; the index fell from 30.00 to 20.00, a third.
    assert (status, out.splitlines()) == (
        1,
        [
            *("> accepted n1", "> rejected n2 reason=price_band", "> accepted n3", "> accepted n4"),
            "> trade NEW 1 @ 5.00 resting=n3 incoming=n4",
            "> halted NEW reason=volatility",
            "> canceled n1 qty=1 reason=halt",
            "> canceled n3 qty=1 reason=halt",
            "> halted XYZ reason=market_wide",
            "> halted NEW reason=market_wide",
        ],
    )
    assert lockstep("admin", "index", directory, "ALL", "--members", "NEW:1")[0] == 1, "there is one of that name"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["instrument", "NEW", "--tick", "1", "--reference", "1", "--volatility", "10%"], "volatility"),
        (["index", "ALL", "--members", "XYZ"], "members"),
        (["index", "ALL", "--members", "XYZ:1", "--levels", "7%"], "levels"),
    ],
)
def test_breakers_that_are_none_are_refused_in_a_sentence(
    words: list[str], why: str, operated: Operated, lockstep: Lockstep
) -> None:
    status, out, complaint = lockstep("admin", words[0], operated.directory, *words[1:])
    assert (status, out, why in complaint, "Traceback" in complaint) == (2, "", True, False), complaint


def test_limits_are_set_in_a_line_and_shown_with_what_they_are_of(operated: Operated, lockstep: Lockstep) -> None:
    directory = operated.directory
    every = [
        "--max-order-qty",
        "1000",
        "--max-order-value",
        "2500.5",
        "--order-rate",
        "100/1s",
        "--max-position",
        "500",
    ]
    every += ["--credit", "5000", "--margin", "20%", "--adv", "10%", "--restricted"]
    assert lockstep("admin", "limits", directory, "ALPHA", *every)[0] == 0
    assert operated.node.rows[-1]["kind"].tolist()[-2:] == [CommandKind.EXTEND, CommandKind.LIMITS]
    own = ["--symbol", "XYZ", "--max-order-qty", "7", "--not-restricted"]
    assert lockstep("admin", "limits", directory, "ALPHA", *own)[0] == 0
    assert lockstep("admin", "limits", directory, "ALPHA", "--margin", "off", "--adv", "off")[0] == 0
    status, out, complaint = lockstep("admin", "limits", directory, "ALPHA")
    assert (status, complaint) == (0, "")
    assert out == (
        "  participant    ALPHA\n"
        "  allowed        market\n"
        "  open orders    1\n"
        "  order ids      1\n"
        "  open notional  700.00\n"
        "  limits         max_order_qty=1000 max_order_value=2500.50 order_rate=100/1s max_position=500 "
        "credit=5000.00 restricted\n"
        "symbol  position qty  open buy qty  open sell qty  limits\n"
        "XYZ              -30             0             70  max_order_qty=7\n"
    )
    assert lockstep("admin", "instrument", directory, "ABC", "--tick", "0.01", "--reference", "5.00")[0] == 0
    status, out, _ = lockstep("admin", "limits", directory, "ALPHA", "--symbol", "ABC", "--json")
    told = json.loads(out)
    assert (told["instruments"], told["limits"]["max_position_qty"], told["limits"]["restricted"]) == ([], 500, True)
    status, out, complaint = lockstep("admin", "do", directory, "enter ALPHA a9 sell 1 XYZ @ 10.00")
    assert (status, out) == (1, "> rejected a9 reason=restricted\n")


def test_limits_out_of_bounds_are_refused_with_the_bounds(operated: Operated, lockstep: Lockstep) -> None:
    status, out, complaint = lockstep("admin", "limits", operated.directory, "ALPHA", "--order-rate", "4097/1s")
    assert (status, out) == (1, "> rejected ALPHA reason=invalid_command\n")
    assert "bounds are" in complaint
    assert "1 to 4,096 entries" in complaint


def test_the_limits_of_one_who_has_none_and_holds_nothing(operated: Operated, lockstep: Lockstep) -> None:
    assert lockstep("admin", "participant", operated.directory, "GAMMA", "--allow", "none")[0] == 0
    status, out, _ = lockstep("admin", "limits", operated.directory, "GAMMA")
    assert (status, out.splitlines()[1:]) == (
        0,
        [
            "  allowed        nothing",
            "  open orders    0",
            "  order ids      0",
            "  open notional  0.00",
            "  limits         none",
        ],
    )


def test_a_command_that_the_market_refuses_ends_with_1_and_its_reason(operated: Operated, lockstep: Lockstep) -> None:
    for as_json in ([], ["--json"]):
        status, out, complaint = lockstep("admin", "phase", operated.directory, "GHOST", "closed", *as_json)
        assert (status, complaint) == (
            1,
            "lockstep: the market refused 1 command, the first: rejected GHOST reason=unknown_instrument;"
            " there is no instrument GHOST; there are XYZ\n",
        )
        if as_json:
            (event,) = checked(("admin", "phase"), out)[0]["events"]
            assert (event["kind"], event["refused"], event["reason"]) == ("rejected", "GHOST", "unknown_instrument")
        else:
            assert "rejected GHOST reason=unknown_instrument" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["do", "NODE", "frob"], "commands:1: there is no command 'frob'"),
        (["do", "NODE", "at 09:30"], "commands:1: at sets the clock, which only the sequencer may do; leave it out."),
        (["do", "NODE", ""], "word 4 of the command is empty: give a value"),
        (["do", "NODE", "# x", "\n"], "there is no command to send; give one"),
        (["phase", "NODE", "XYZ", "closed # x"], "a word of the command is 'closed # x'; give one word"),
        (["phase", "NODE", "XYZ\nkill *", "closed"], r"a word of the command is 'XYZ\nkill *'; give one word"),
        (["phase", "NODE", "XYZ", "halted"], "a halt is a command of its own: lockstep admin halt"),
        (["phase", "NODE", "XYZ", "open"], "the phase is 'open'; give one of closed, pre_open, opening_auction"),
        (["phase", "NODE", "", "closed"], "word 4 of the command is empty: give a value"),
        (["halt", "NODE", "XYZ", "--for", "5 m"], "--for is '5 m'; give one word"),
        (["limits", "NODE", "ALPHA", "--symbol", "NOPE"], "there is no instrument NOPE; there are XYZ"),
        (
            ["limits", "NODE", "ALPHA", "--symbol", "XYZ", "--credit", "5"],
            "--credit applies to all instruments together",
        ),
        (["limits", "NODE", "GHOST"], "there is no participant GHOST; there are ALPHA, BETA."),
        (["limits", "NODE", "ALPHA", "--margin", "20"], "--margin is '20'; write a decimal number with"),
        (["limits", "NODE", "ALPHA", "--order-rate", "5/s"], "--order-rate is '5/s'; write a whole number, / and a"),
        (["participant", "NODE", "NEW", "--allow", "all"], "--allow is 'all'; write one of market, stp_none"),
        (["index", "NODE", "ALL", "--members", "XYZ:1", "--levels", "7"], "--levels is '7'; write falls with what"),
        (["limits", "NODE", "ALPHA", "--order-rate", "100 /1s"], "--order-rate is '100 /1s'; give one word"),
        (["halt", "NODE", "XYZ", "--for", "0s"], "--for is 0s, which would be a halt without an end"),
        (["schedule", "NODE", "--calendar", "NOPE"], "the calendar NOPE cannot be used: "),
        (["book", "NODE", "GHOST"], "there is no instrument GHOST; there are XYZ."),
        (["book", "NODE", "XYZ", "--depth", "0"], "--depth is '0'; give 1 or more"),
        (["status", "NOWHERE"], "NOWHERE does not exist; check the path"),
        (["emergency-close", "NODE"], "This closes every instrument and cancels every order"),
        (["user", "add", "NODE", "T", "--participant", "A"], "standard input is no terminal to ask for a password"),
        (["user", "password", "NODE", "T"], "standard input is no terminal to ask for a password"),
    ],
    ids=lambda value: ascii(" ".join(value)) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_sentence_and_2_and_the_market_stays_as_it_is(
    words: list[str], sentence: str, operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    seq = operated.node.engine.seq
    status, out, complaint = lockstep("admin", *(str(operated.directory) if word == "NODE" else word for word in words))
    assert (status, out, complaint.count("\n")) == (2, "", 1)
    assert complaint.startswith(f"lockstep: {sentence}")
    assert operated.node.engine.seq == seq


OF_PARTICIPANT = "there is no participant GHOST; there are ALPHA, BETA"
OF_INSTRUMENT = "there is no instrument GHOST; there are XYZ"
UNKNOWN = [
    (["halt", "GHOST"], OF_INSTRUMENT),
    (["resume", "GHOST"], OF_INSTRUMENT),
    (["kill", "GHOST"], OF_PARTICIPANT),
    (["unkill", "GHOST"], OF_PARTICIPANT),
    (["mass-cancel", "GHOST"], OF_PARTICIPANT),
    (["mass-cancel", "BETA", "--symbol", "GHOST"], OF_INSTRUMENT),
    (["limits", "GHOST", "--credit", "1"], OF_PARTICIPANT),
    (["limits", "BETA", "--symbol", "GHOST", "--max-position", "1"], OF_INSTRUMENT),
    (["index", "ALL", "--members", "XYZ:1,GHOST:1"], OF_INSTRUMENT),
    (["do", "user T participant=GHOST"], OF_PARTICIPANT),
    (["do", "enter GHOST g1 buy 1 XYZ @ 9", "enter GHOST g2 buy 1 XYZ @ 9"], OF_PARTICIPANT),
    (["do", "enter BETA g1 buy 1 GHOST @ 9"], OF_INSTRUMENT),
    (["do", "schedule GHOST 2099-01-01T10:00 closed"], OF_INSTRUMENT),
]


@pytest.mark.parametrize(("words", "said"), UNKNOWN, ids=[" ".join(words[:2]) for words, _ in UNKNOWN])
def test_a_name_that_is_not_defined_is_told_once_with_those_that_are(
    words: list[str], said: str, operated: Operated, lockstep: Lockstep
) -> None:
    command, *rest = words
    status, _, complaint = lockstep("admin", command, operated.directory, *rest)
    assert (status, complaint.count("\n"), complaint.count("there is no")) == (1, 1, 1)
    assert complaint.endswith(f"; {said}\n")


def test_of_many_names_the_first_are_listed_and_the_others_counted(operated: Operated, lockstep: Lockstep) -> None:
    lines = [f"participant P{number}" for number in range(12)]
    assert lockstep("admin", "do", operated.directory, *lines)[0] == 0
    complaint = lockstep("admin", "kill", operated.directory, "GHOST")[2]
    assert complaint.endswith("there are ALPHA, BETA, P0, P1, P2, P3, P4, P5, P6, P7 and 4 more\n")


def test_a_schedule_whose_time_has_passed_is_told_and_one_to_come_is_not(
    operated: Operated, lockstep: Lockstep
) -> None:
    lines = ["schedule XYZ 2020-01-01T10:00 pre_open", "schedule XYZ 2099-01-01T10:00 closed"]
    lines.append("schedule GHOST 2020-01-01T10:00 closed")
    status, _, complaint = lockstep("admin", "do", operated.directory, *lines[:2])
    assert (status, complaint) == (
        0,
        "note: the time 2020-01-01T10:00:00 for the phase pre_open of XYZ has passed, so it comes at once; give the"
        " date of a day to come\n",
    )
    status, _, complaint = lockstep("admin", "do", operated.directory, *lines[2:])
    assert (status, "has passed" in complaint) == (1, False)
    complaint = lockstep("admin", "do", operated.directory, "schedule * 2020-01-01T10:00 closed")[2]
    assert "for the phase closed of every instrument has passed" in complaint


def test_the_calendar_of_an_unknown_instrument_is_refused_before_a_phase_is_sent(
    operated: Operated, lockstep: Lockstep, tmp_path: Path
) -> None:
    (tmp_path / "days").write_text("2099-06-01T14:30 2099-06-01T18:00\n")
    words = ["schedule", operated.directory, "--calendar", tmp_path / "days", "--from", "2099-06-01", "--days", "1"]
    seq = operated.node.engine.seq
    status, out, complaint = lockstep("admin", *words, "--symbol", "GHOST")
    assert (status, out, complaint) == (2, "", "lockstep: there is no instrument GHOST; there are XYZ.\n")
    assert operated.node.engine.seq == seq
    assert lockstep("admin", *words, "--symbol", "XYZ")[0] == 0


DAYS = """\
2099-06-01T14:30 2099-06-01T21:00
2099-06-02T14:30 2099-06-02T18:00
2099-06-03T14:30 2099-06-03T21:00
2099-06-04T14:30 2099-06-04T21:00
"""


def phases(operated: Operated) -> list[tuple[str, str, str]]:
    """Time, symbol and phase of each schedule that waits."""
    return [(each["time"], each["symbol"], each["phase"]) for each in operated.node.schedules(0, 9_999)]


def test_days_that_are_planned_already_are_told_and_not_planned_twice(
    operated: Operated, lockstep: Lockstep, tmp_path: Path
) -> None:
    (tmp_path / "days").write_text(DAYS)
    words = ("admin", "schedule", operated.directory, "--calendar", tmp_path / "days", "--from")
    assert lockstep(*words, "2099-06-01", "--days", "2")[0] == 0
    two_days = phases(operated)
    assert len(two_days) == 10
    status, out, told = lockstep(*words, "2099-06-01", "--days", "2")
    assert (status, out) == (0, "nothing is left to plan; `lockstep state` lists the phases to come\n")
    assert told == "note: planned already, and left out: 2099-06-01 to 2099-06-02\n"
    assert phases(operated) == two_days
    status, out, _ = lockstep(*words, "2099-06-01", "--days", "2", "--json")
    assert (status, [each["commands"] for each in checked(("admin", "schedule"), out)]) == (0, [0])
    status, out, told = lockstep(*words, "2099-06-02", "--days", "3", "--symbol", "XYZ")
    assert (status, "10 phases will come, from 2099-06-03T13:30:00 pre_open" in out) == (0, True)
    assert told == "note: planned already, and left out: 2099-06-02\n", "what comes to all comes to each"
    status, out, told = lockstep(*words, "2099-06-01", "--days", "4")
    assert (status, "10 phases will come" in out) == (0, True), "what comes to one does not come to all"
    assert told == (
        "note: planned by single instruments already (XYZ): 10 phases, which they meet twice; the second time changes"
        " nothing\nnote: planned already, and left out: 2099-06-01 to 2099-06-02\n"
    )
    assert [len([at for at in phases(operated) if at[1] == symbol]) for symbol in ("*", "XYZ")] == [20, 10]


def test_a_day_of_which_a_part_is_planned_gets_the_rest(operated: Operated, lockstep: Lockstep, tmp_path: Path) -> None:
    (tmp_path / "days").write_text(DAYS)
    assert lockstep("admin", "do", operated.directory, "schedule * 2099-06-02T14:30 continuous")[0] == 0
    words = ("admin", "schedule", operated.directory, "--calendar", tmp_path / "days", "--from", "2099-06-02")
    status, out, told = lockstep(*words, "--days", "1")
    assert (status, told, "4 phases will come" in out) == (0, "", True)
    assert len(set(phases(operated))) == len(phases(operated)) == 5


def test_a_day_that_is_planned_in_another_way_is_refused_whole(
    operated: Operated, lockstep: Lockstep, tmp_path: Path
) -> None:
    (tmp_path / "days").write_text(DAYS)
    words = ("admin", "schedule", operated.directory, "--calendar", tmp_path / "days", "--days", "2", "--from")
    assert lockstep(*words, "2099-06-02", "--opening", "10m")[0] == 0
    before = phases(operated)
    status, out, complaint = lockstep(*words, "2099-06-01")
    assert (status, out, phases(operated)) == (2, "", before)
    assert complaint == (
        "lockstep: 2099-06-02 is planned in another way already: 2099-06-02T14:20:00 opening_auction; no schedule is"
        " withdrawn, so plan other days, or send single phases by `lockstep admin do`\n"
    )


def test_a_day_that_one_instrument_has_planned_in_another_way_is_not_planned_for_all(
    operated: Operated, lockstep: Lockstep, tmp_path: Path
) -> None:
    """All would meet both: XYZ would call at 14:20, and again at 14:25."""
    (tmp_path / "days").write_text(DAYS)
    words = ("admin", "schedule", operated.directory, "--calendar", tmp_path / "days", "--days", "2", "--from")
    assert lockstep(*words, "2099-06-02", "--opening", "10m", "--symbol", "XYZ")[0] == 0
    before = phases(operated)
    status, out, complaint = lockstep(*words, "2099-06-01")
    assert (status, out, phases(operated)) == (2, "", before)
    assert "2099-06-02 is planned in another way already: 2099-06-02T14:20:00 opening_auction of XYZ; no" in complaint


def test_more_phases_than_may_wait_are_refused_before_one_is_sent(
    operated: Operated, lockstep: Lockstep, tmp_path: Path
) -> None:
    (tmp_path / "days").write_text(DAYS)
    wait = "\n".join(f"schedule * 2098-01-01T10:{at // 60:02}:{at % 60:02} continuous" for at in range(250))
    with operated.peer() as peer:
        assert peer.ask({"do": "commands", "text": wait})["rejected"] == 0
    words = ("admin", "schedule", operated.directory, "--calendar", tmp_path / "days", "--days", "2", "--from")
    status, out, complaint = lockstep(*words, "2099-06-01")
    assert (status, out, len(phases(operated))) == (2, "", 250)
    assert "10 phases, beside 250 that wait already, are more than the 256 that may wait" in complaint


def test_the_phases_to_come_are_answered_in_parts(operated: Operated) -> None:
    wait = [f"schedule XYZ 2098-01-01T10:{at // 60:02}:{at % 60:02} continuous" for at in range(900)]
    with operated.peer() as peer:
        assert peer.ask({"do": "commands", "text": "\n".join(wait)})["rejected"] == 0
    found = phases_to_come(operated.directory, "*")
    assert [f"schedule {each['symbol']} {plain_time(each['time'])} {each['phase']}" for each in found] == wait


DEFINED = [
    (["instrument", "XYZ", "--tick", "0.05", "--reference", "9"], "instrument XYZ", "tick=0.01 lot=1 reference=10.00"),
    (
        ["do", "instrument SET tick=0.01 lot=5 reference=9 band=on volatility=10%/5m/1h books=lit,midpoint\n" * 2],
        "instrument SET",
        "tick=0.01 lot=5 reference=9.00 books=lit,midpoint band=5% volatility=10%/5m/1h",
    ),
    (["participant", "ALPHA", "--allow", "none"], "participant ALPHA", "allow=market"),
    (["do", "participant NEW", "participant NEW"], "participant NEW", "allow=market"),
]


@pytest.mark.parametrize(("words", "name", "what"), DEFINED, ids=[name for _, name, _ in DEFINED])
def test_a_definition_of_a_name_that_exists_is_refused_with_what_it_is(
    words: list[str], name: str, what: str, operated: Operated, lockstep: Lockstep
) -> None:
    command, *rest = words
    status, _, complaint = lockstep("admin", command, operated.directory, *rest)
    assert (status, complaint.count("\n")) == (1, 1)
    assert complaint.endswith(f"reason=invalid_command; {name} exists already with {what}, and stays as it is\n")
    status, out, _ = lockstep("admin", command, operated.directory, *rest, "--json")
    told = checked(("admin", command), out)[0]
    assert (status, told["existing"][0]) == (1, f"{name} exists already with {what}, and stays as it is")


def test_a_definition_that_is_refused_for_its_values_does_not_say_that_the_name_exists(
    operated: Operated, lockstep: Lockstep
) -> None:
    words = ["NEW", "--tick", "0.01", "--reference", "99999999"]
    status, _, complaint = lockstep("admin", "instrument", operated.directory, *words)
    assert (status, "exists" in complaint) == (1, False)
    assert "; the reference price is 99999999.00; give 0.0001 to 999999.9999" in complaint


def test_a_user_that_exists_is_changed_and_the_operator_is_told_what_it_was(
    operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
        return lockstep("admin", "user", "add", operated.directory, "T1", "--password-stdin", *options)

    assert add("--participant", "ALPHA", "--firm", "F1")[::2] == (0, "")
    was = "user T1 existed already with participant=ALPHA firm=F1 allow=login; it has the new values now"
    assert add("--participant", "BETA", "--allow", "none")[::2] == (0, f"note: {was}\n")
    status, out, _ = add("--participant", "BETA", "--json")
    was = "user T1 existed already with participant=BETA allow=none; it has the new values now"
    assert (status, checked(("admin", "user", "add"), out)[0]["existing"]) == (0, [was])


def test_a_user_without_a_connection_cannot_be_disconnected(operated: Operated, lockstep: Lockstep) -> None:
    assert lockstep("admin", "disconnect", operated.directory, "GHOST") == (
        1,
        "",
        "lockstep: 'GHOST' has no connection\n",
    )


def test_a_stale_file_a_draining_node_and_open_permissions_are_told_as_what_they_are(
    operated: Operated, lockstep: Lockstep, tmp_path: Path
) -> None:
    (operated.directory / FILE).chmod(0o644)
    status, _, complaint = lockstep("admin", "drain", operated.directory)
    assert (status, complaint.startswith("note: others may read ")) == (0, True)
    (operated.directory / FILE).chmod(0o600)
    status, _, complaint = lockstep("admin", "phase", operated.directory, "XYZ", "closed")
    assert (status, complaint) == (2, "lockstep: the node is draining and takes no commands.\n")
    BoundSocket(tmp_path).socket.close()
    status, _, complaint = lockstep("admin", "status", tmp_path)
    assert (status, "or this directory is a copy of one in use; start one with" in complaint) == (2, True)


def test_commands_of_standard_input_are_sent_in_as_many_requests_as_they_need(
    operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [f"enter ALPHA o{number} sell 1 XYZ @ 12.00" for number in range(200)]
    cancels = [f"cancel ALPHA o{number}" for number in range(200)]
    text = "\n".join([*orders, *cancels] * 5) + "\n"
    text = text.replace("ALPHA o", "ALPHA p", 400)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.replace("\n", "  # a comment\n")))
    status, out, complaint = lockstep("admin", "do", operated.directory, "-", "--json")
    told = json.loads(out)
    assert (told["commands"], len(told["events"]) + told["left_out"], told["seq"]) == (
        2_000,
        2_000,
        operated.node.engine.seq,
    )
    assert (status, told["rejected"] > 0, "the market refused" in complaint) == (1, True, True)  # ids are used once


def test_a_fault_in_the_last_line_of_a_long_input_keeps_the_first_from_being_sent(
    operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = operated.node.engine.seq
    monkeypatch.setattr(sys, "stdin", io.StringIO("phase XYZ closed\n" * 2_000 + "frob\n"))
    status, _, complaint = lockstep("admin", "do", operated.directory, "-")
    assert (status, complaint.startswith("lockstep: commands:2001: there is no command 'frob'")) == (2, True)
    assert operated.node.engine.seq == seq
    # What only the node can refuse comes as far as it comes, and it is said how far that is.
    monkeypatch.setattr(sys, "stdin", io.StringIO("phase XYZ closed\n" * 700 + "at 09:30\n"))
    status, _, complaint = lockstep("admin", "do", operated.directory, "-")
    assert (
        status,
        "This is about the part that begins at line 501; the commands before it were done." in complaint,
    ) == (
        2,
        True,
    )


def test_a_node_without_instruments_sessions_and_orders_says_so(tmp_path: Path, lockstep: Lockstep) -> None:
    with Operated(tmp_path / "node") as running:
        running.node.listed = []
        assert lockstep("admin", "sessions", running.directory)[:2] == (0, "nobody is connected\n")
        assert lockstep("admin", "instrument", running.directory, "A", "--tick", "1", "--reference", "1")[0] == 0
        assert lockstep("admin", "book", running.directory, "A")[1].endswith("the book is empty\n")


# What must never be seen.


def test_a_password_comes_from_standard_input_and_is_nowhere_afterwards(
    operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Zq9!xyWv#K\n"))
    status, out, complaint = lockstep("admin", "user", "password", operated.directory, "TRADER", "--password-stdin")
    row = operated.node.rows[-1][-1]
    assert verify("zq9!xywv#k", *salt_and_hash(row), int(row["cost"]))
    seen = (out + complaint + operated.said()).encode() + b"".join(r.tobytes() for r in operated.node.rows)
    assert b"zq9!xywv" not in seen.lower()
    assert status == 0


def test_a_user_is_added_with_a_password(
    operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["add", operated.directory, "T1", "--participant", "ALPHA", "--firm", "FIRM", "--password-stdin"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    status, out, complaint = lockstep("admin", "user", *words, "--allow", "login,cancel_on_disconnect", "--json")
    assert (status, complaint) == (0, "")
    assert json.loads(out)["seq"] == operated.node.engine.seq
    assert verify("SECRET", *salt_and_hash(operated.node.rows[-1][-1]), 4)
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    words[3:5] = ["--participant", "GHOST"]
    count = len(operated.node.rows)
    status, _, complaint = lockstep("admin", "user", *words)
    assert (status, "reason=unknown_participant" in complaint) == (1, True)
    assert len(operated.node.rows) == count + 1  # no password for a user who is none


def test_the_node_draws_a_password_that_is_shown_once(operated: Operated, lockstep: Lockstep) -> None:
    words = ["T1", "--participant", "ALPHA", "--generate"]
    status, out, complaint = lockstep("admin", "user", "add", operated.directory, *words)
    shown = out.splitlines()[-1].removeprefix("password: ")
    assert (status, len(shown), "at most 10 characters" in complaint) == (0, GENERATED_CHARACTERS, True)
    assert verify(shown, *salt_and_hash(operated.node.rows[-1][-1]), COST_GENERATED)
    status, out, _ = lockstep("admin", "user", "password", operated.directory, "T1", "--generate", "--json")
    (told,) = checked(("admin", "user", "password"), out)
    assert (status, verify(told["password"], *salt_and_hash(operated.node.rows[-1][-1]), COST_GENERATED)) == (0, True)
    assert told["password"] != shown
    count = len(operated.node.rows)
    status, out, complaint = lockstep("admin", "user", "add", operated.directory, *words, "--password-stdin")
    assert (status, out, "give one of them" in complaint, len(operated.node.rows)) == (2, "", True, count)


@pytest.mark.parametrize("given", ["", "\n", "elevenchars\n", "a b\n", "x" * 5_000])
def test_a_password_that_cannot_be_is_refused_before_anything_is_sent(
    given: str, operated: Operated, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(operated.node.rows)
    for words in (["password"], ["add", "--participant", "ALPHA"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        status, _, complaint = lockstep("admin", "user", *words, operated.directory, "TRADER", "--password-stdin")
        assert (status, complaint.startswith("lockstep: the password has ")) == (2, True)
        assert not given.strip() or given.strip() not in complaint
    assert len(operated.node.rows) == count


@pytest.mark.slow
def test_on_a_terminal_a_password_is_asked_for_twice_and_not_shown(operated: Operated) -> None:
    words = ["admin", "user", "password", str(operated.directory), "TRADER"]
    status, seen = on_terminal(words, [(b"Password: ", b"hunter2"), (b"again: ", b"hunter2")])
    assert (status, b"hunter2" in seen) == (0, False), seen
    row = operated.node.rows[-1][-1]
    assert verify("hunter2", *salt_and_hash(row), int(row["cost"]))
    status, seen = on_terminal(words, [(b"Password: ", b"hunter2"), (b"again: ", b"hunter3")])
    assert (status, b"the two passwords differ" in seen, b"hunter" in seen) == (2, True, False)


@pytest.mark.slow
def test_on_a_terminal_an_emergency_close_is_done_only_after_yes(operated: Operated) -> None:
    words = ["admin", "emergency-close", str(operated.directory)]
    count = len(operated.node.rows)
    status, seen = on_terminal(words, [(b"Type yes to confirm: ", b"y")])
    assert (status, b"nothing was done" in seen, len(operated.node.rows)) == (1, True, count)


@pytest.mark.slow
def test_after_yes_an_emergency_close_is_done(operated: Operated) -> None:
    words = ["admin", "emergency-close", str(operated.directory)]
    status, seen = on_terminal(words, [(b"Type yes to confirm: ", b"yes")])
    assert (status, b"> phase XYZ closed" in seen) == (0, True)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("words", "done"),
    [
        (["phase", "NODE", "XYZ", "closed"], "the market took 1 command, the last is N"),
        (["do", "NODE", "enter ALPHA a1 buy 1 XYZ @ 9"], "the market took 1 command, the last is N, 1 of them refused"),
        (["checkpoint", "NODE", "--json"], "a checkpoint was written"),
        (["disconnect", "NODE", "TRADER"], "the connection of TRADER was ended"),
        (["drain", "NODE"], "drain was done"),
    ],
)
def test_what_was_done_is_not_to_be_repeated_where_its_answer_cannot_be_written(
    words: list[str], done: str, operated: Operated
) -> None:
    line = [str(operated.directory) if word == "NODE" else word for word in words]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "cli.main", "admin", *line],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    why = "do not repeat it: the output cannot be written: no space left on device"
    said = re.sub(r"the last is \d+", "the last is N", ended.stderr)
    assert (ended.returncode, said) == (1, f"lockstep: {done}; {why}\n")
