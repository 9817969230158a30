"""`lockstep admin schedule`: the phases of coming days by a calendar, half days and holidays included."""

import datetime
import json
from pathlib import Path

import pytest

from cli.errors import WrongUse
from cli.operating.schedule import Plan, check_order, schedule_lines
from cli.operating.trading_calendar import Session, sessions
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.run import run_scenario
from notation.words import duration_ns, time_of
from tests.conftest import Lockstep

MINUTE_NS = 60_000_000_000
#: Thanksgiving of 2026 is a holiday, and the day after it a half day.
WEEK = """\
2026-11-25T14:30 2026-11-25T21:00
2026-11-27T14:30 2026-11-27T18:00   # the day after Thanksgiving
2026-11-30T14:30 2026-11-30T21:00
"""


def time_ns(text: str) -> int:
    return time_of(text).value_ns


@pytest.fixture
def week(tmp_path: Path) -> Path:
    path = tmp_path / "week.txt"
    path.write_text(WEEK)
    return path


def test_a_file_has_the_sessions_of_the_days_that_are_asked_for(week: Path) -> None:
    found = sessions(str(week), datetime.date(2026, 11, 26), 4)
    assert [(each.close_ns - each.open_ns) // MINUTE_NS for each in found] == [210]
    assert len(sessions(str(week), datetime.date(2026, 11, 25), 6)) == 3
    assert sessions(str(week), datetime.date(2026, 11, 26), 1) == []


def test_the_phases_of_a_half_day_open_call_uncross_and_close_by_the_clock(week: Path) -> None:
    (day,) = sessions(str(week), datetime.date(2026, 11, 27), 1)
    lines = [text for _, text in schedule_lines("*", day, Plan(60 * MINUTE_NS, 5 * MINUTE_NS, 5 * MINUTE_NS))]
    assert lines == [
        "schedule * 2026-11-27T13:30:00 pre_open",
        "schedule * 2026-11-27T14:25:00 opening_auction",
        "schedule * 2026-11-27T14:30:00 continuous",
        "schedule * 2026-11-27T17:55:00 closing_auction",
        "schedule * 2026-11-27T18:00:00 closed",
    ]
    played = "\n".join(
        (
            "at 2026-11-26T00:00:00",
            "instrument XYZ tick=0.01 lot=1 reference=10.00",
            *lines,
            "at 2026-11-27T14:29:59",
            "> phase XYZ pre_open",
            "> phase XYZ opening_auction",
            "at 2026-11-27T18:00:00",
            "> phase XYZ continuous",
            "> phase XYZ closing_auction",
            "> phase XYZ closed",
        )
    )
    outcome = run_scenario(parse(played, "day"), ReferenceEngine(), compare=True, name="day")
    assert all(each.passed for each in outcome.commands)


def test_a_call_of_no_time_is_left_out() -> None:
    lines = schedule_lines("XYZ", Session(10**18, 10**18 + MINUTE_NS), Plan(0, 0, 0))
    assert [text.split()[-1] for _, text in lines] == ["continuous", "closed"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-27T14:30\n", "week.txt:1: this is no session"),
        ("14:30 18:00\n", "week.txt:1: this is no session"),
        ("2026-11-27T18:00 2026-11-27T14:30\n", "week.txt:1: a session ends after it begins"),
        (
            "2026-11-27T14:30 never\n",
            "week.txt:1: the time is 'never'; write its opening and its close in UTC, such as",
        ),
        ("2026-11-27 14:30 18:00\n", "week.txt:1: the time is '2026-11-27'; write its opening and its close"),
    ],
)
def test_a_line_that_is_no_session_is_told_with_its_place(week: Path, text: str, said: str) -> None:
    week.write_text(text)
    with pytest.raises(WrongUse, match=said):
        sessions(str(week), datetime.date(2026, 11, 27), 1)


def test_the_commands_are_printed_and_a_calendar_without_a_session_is_refused(week: Path, lockstep: Lockstep) -> None:
    # A day that comes, whenever this is run.
    year = datetime.date.today().year + 1
    week.write_text(f"{year}-06-01T14:30 {year}-06-01T18:00\n")
    words = ("admin", "schedule", week.parent, "--calendar", week, "--from", f"{year}-06-01", "--days", "1")
    status, said, _ = lockstep(*words, "--symbol", "XYZ", "--opening", "0s", "--print")
    assert status == 0
    assert said.splitlines() == [
        f"schedule XYZ {year}-06-01T13:30:00 pre_open",
        f"schedule XYZ {year}-06-01T14:30:00 continuous",
        f"schedule XYZ {year}-06-01T17:55:00 closing_auction",
        f"schedule XYZ {year}-06-01T18:00:00 closed",
    ]
    status, _, told = lockstep(*words[:-4], "--from", f"{year}-07-01", "--days", "3")
    assert status == 2
    assert "has no session in 3 days" in " ".join(told.split())


def test_a_calendar_whose_sessions_are_past_is_told_so_and_not_that_it_has_none(week: Path, lockstep: Lockstep) -> None:
    week.write_text("2020-06-02T14:30 2020-06-02T18:00\n")
    status, out, told = lockstep(
        "admin", "schedule", week.parent, "--calendar", week, "--from", "2020-06-01", "--days", "2", "--print"
    )
    assert (status, out) == (2, "")
    assert "in 2 days from 2020-06-01 on are past: the last one closed at 2020-06-02T18:00:00" in " ".join(told.split())


def test_a_session_that_is_under_way_is_told_with_the_phase_that_it_lacks(
    week: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    week.write_text("2026-06-01T14:30 2026-06-01T18:00\n2026-06-02T14:30 2026-06-02T18:00\n")
    words = ("admin", "schedule", week.parent, "--calendar", week, "--from", "2026-06-01", "--days", "2", "--print")
    monkeypatch.setattr("cli.operating.schedule.time.time_ns", lambda: time_ns("2026-06-01T15:00:00"))
    status, out, told = lockstep(*words)
    assert (status, out.splitlines()[0]) == (0, "schedule * 2026-06-01T17:55:00 closing_auction")
    assert told == (
        "note: a session is under way, and what it has had until now is left out, at last 2026-06-01T14:30:00"
        " continuous; give the present phase by `lockstep admin phase DIR * continuous`\n"
    )
    for moment in ("2026-06-01T13:00:00", "2026-06-01T18:00:00"):
        monkeypatch.setattr("cli.operating.schedule.time.time_ns", lambda moment=moment: time_ns(moment))
        assert lockstep(*words)[2] == ""


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (("20h", "5m", "5m"), "would begin at 2026-11-29T18:30:00"),
        (("1h", "2h", "5m"), "--pre-open 1h is not longer than --opening 2h"),
        (("1h", "5m", "4h"), "--closing 4h leaves no continuous trading in the session from 2026-11-27T14:30:00"),
        (("0s", "23h", "5m"), "would begin at"),
    ],
)
def test_phases_that_overlap_are_refused(plan: tuple[str, str, str], said: str) -> None:
    week = [Session(time_ns("2026-11-27T14:30:00"), time_ns("2026-11-27T18:00:00"))]
    week += [Session(each.open_ns + 24 * 60 * MINUTE_NS * 3, each.close_ns + 24 * 60 * MINUTE_NS * 3) for each in week]
    if plan[0] in ("20h", "0s"):
        week.insert(1, Session(week[1].open_ns - 24 * 60 * MINUTE_NS, week[1].open_ns - MINUTE_NS))
    with pytest.raises(WrongUse, match=said):
        check_order(week, Plan(*(duration_ns(each, "") for each in plan)))


def test_sessions_that_follow_without_a_break_may_have_no_calls() -> None:
    round_the_clock = [Session(each * 10**15, (each + 1) * 10**15) for each in range(1, 5)]
    check_order(round_the_clock, Plan(0, 0, 0))
    with pytest.raises(WrongUse, match="would begin at"):
        check_order(round_the_clock, Plan(0, 1, 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "days", "count"),
    [("2026-11-29", 7, 5), ("2026-12-24", 2, 1), ("2026-12-31", 2, 1), ("2026-11-28", 1, 0), ("2026-12-25", 3, 0)],
)
def test_a_range_may_begin_and_end_on_days_without_a_session(first: str, days: int, count: int) -> None:
    pytest.importorskip("exchange_calendars")
    assert len(sessions("XNYS", datetime.date.fromisoformat(first), days)) == count


def test_state_lists_the_phases_that_are_to_come(tmp_path: Path, lockstep: Lockstep) -> None:
    market = tmp_path / "market.txt"
    coming = [f"schedule XYZ 2030-01-01T10:{minute:02}:00 continuous" for minute in range(20, 0, -1)]
    coming += ["schedule * 2030-01-01T09:00:00 pre_open", "schedule ABC 2030-01-01T10:00:00 continuous"]
    defined = [
        "at 2026-01-01T00:00:00",
        *(f"instrument {each} tick=0.01 lot=1 reference=10.00" for each in ("XYZ", "ABC")),
    ]
    market.write_text("\n".join([*defined, *coming]))
    assert lockstep("run", market, "--data", tmp_path / "data")[0] == 0
    status, said, _ = lockstep("state", tmp_path / "data")
    assert status == 0
    lines = [" ".join(line.split()) for line in said.splitlines()]
    begin = lines.index("time symbol phase to come") + 1
    assert lines[begin] == "2030-01-01T09:00:00 * pre_open"
    assert lines[begin + 1] == "2030-01-01T10:00:00 ABC continuous"
    assert lines[begin + 20] == "and 2 phases more; --json has all"
    found = json.loads(lockstep("state", tmp_path / "data", "--symbol", "ABC", "--json")[1])["schedules"]
    assert [(each["symbol"], each["phase"]) for each in found] == [("*", "pre_open"), ("ABC", "continuous")]


@pytest.mark.slow
def test_the_calendar_of_the_new_york_exchange_has_its_half_days_and_holidays() -> None:
    pytest.importorskip("exchange_calendars")
    found = sessions("XNYS", datetime.date(2026, 11, 25), 6)
    assert [(each.close_ns - each.open_ns) // MINUTE_NS for each in found] == [390, 210, 390]
