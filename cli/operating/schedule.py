"""`lockstep admin schedule`: phases of the coming days by a trading calendar, as commands to a running node."""

import datetime
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from cli.errors import WrongUse
from cli.operating.admin import phases_to_come, send_lines, word
from cli.operating.trading_calendar import Session, sessions
from cli.screen import counted, notice, print_line
from engine.bounds import SCHEDULES_MAX, SCHEDULES_OF_ALL_MAX
from notation.moments import plain_time
from notation.words import Fault, duration, duration_ns, time_of
from notation.words import time as time_word

_DAYS_MAX: Final = 366
#: Phases that are named of a session which is planned in another way.
_OTHERS_SHOWN: Final = 3


class Plan(NamedTuple):
    """Times from the first phases to the opening, and of the closing call to the close; 0: no such phase."""

    pre_open_ns: int
    opening_ns: int
    closing_ns: int


def schedule_lines(symbol: str, day: Session, plan: Plan) -> list[tuple[int, str]]:
    """Phases of a session by their time: its calls, its opening and its close. ``check_order`` has checked the plan."""
    phases = [
        (day.open_ns - plan.pre_open_ns if plan.pre_open_ns > plan.opening_ns else 0, "pre_open"),
        (day.open_ns - plan.opening_ns if plan.opening_ns else 0, "opening_auction"),
        (day.open_ns, "continuous"),
        (day.close_ns - plan.closing_ns if plan.closing_ns else 0, "closing_auction"),
        (day.close_ns, "closed"),
    ]
    return [(at_ns, f"schedule {symbol} {time_word(at_ns)} {phase}") for at_ns, phase in phases if at_ns]


def check_order(days: list[Session], plan: Plan) -> None:
    """Check that each session's phases follow one another, and the close of the session before. Raises WrongUse."""
    if 0 < plan.pre_open_ns <= plan.opening_ns:
        raise WrongUse(
            f"--pre-open {duration(plan.pre_open_ns)} is not longer than --opening {duration(plan.opening_ns)}:"
            " both are counted back from the opening; give a longer --pre-open, or 0s for none"
        )
    closed_ns = 0
    for day in days:
        if plan.closing_ns >= day.close_ns - day.open_ns:
            raise WrongUse(
                f"--closing {duration(plan.closing_ns)} leaves no continuous trading in the session from"
                f" {time_word(day.open_ns)} to {time_word(day.close_ns)}; give a shorter one"
            )
        begin_ns = day.open_ns - max(plan.pre_open_ns, plan.opening_ns)
        if begin_ns < closed_ns:
            raise WrongUse(
                f"the session that opens at {time_word(day.open_ns)} would begin at {time_word(begin_ns)}, before the"
                f" close of the last one at {time_word(closed_ns)}; give a shorter --pre-open and --opening"
            )
        closed_ns = day.close_ns


def schedule(
    directory: Path,
    symbol: str,
    calendar: str,
    first: str | None,
    days: int,
    plan: tuple[str, str, str],
    *,
    only_print: bool,
    as_json: bool,
) -> int:
    """Send the phases of ``days`` days whose time has not passed and that no schedule brings yet; or print them as
    commands.
    """
    word(symbol, "the symbol")
    if not 1 <= days <= _DAYS_MAX:
        raise WrongUse(f"--days is {days}; give a number from 1 to {_DAYS_MAX}")
    now_ns = time.time_ns()
    today = datetime.datetime.fromtimestamp(now_ns // 1_000_000_000, datetime.UTC).date()
    begun = _date(first) if first else today
    lengths = (_length(text, option) for text, option in zip(plan, ("pre-open", "opening", "closing"), strict=True))
    wanted = Plan(*lengths)
    found = sessions(calendar, begun, days)
    check_order(found, wanted)
    planned = [schedule_lines(symbol, session, wanted) for session in found]
    lines = [text for session in planned for at_ns, text in session if at_ns > now_ns]
    if found and not lines:
        raise WrongUse(
            f"the sessions of {calendar} in {counted(days, 'day')} from {begun} on are past: the last one closed at"
            f" {time_word(found[-1].close_ns)}, and it is {time_word(now_ns // 1_000_000_000 * 1_000_000_000)}; give"
            " another --from, or more --days"
        )
    if not lines:
        raise WrongUse(f"{calendar} has no session in {days} days from {begun} on; give another --from, or more --days")
    _check_room(lines, [], symbol)
    waiting = [] if only_print else phases_to_come(directory, symbol)
    left = [text for text in lines if _told(text) not in _brought(waiting, symbol)]
    _check_others(planned, lines, waiting, symbol)
    _check_room(left, waiting, symbol)
    for session in planned:
        _tell_of_begun(symbol, session, now_ns)
    if only_print:
        for text in lines:
            print_line(text)
        return 0
    if symbol == "*":
        _tell_of_single(lines, waiting)
    if known := _days(planned, set(left), now_ns):
        notice(f"note: planned already, and left out: {known}")
    lines = left
    if not lines and not as_json:
        print_line("nothing is left to plan; `lockstep state` lists the phases to come")
        return 0
    status = send_lines(directory, lines, as_json=as_json)
    if not as_json:
        coming = f"{counted(len(lines), 'phase')} will come, from {_told(lines[0])} to {_told(lines[-1])}"
        print_line(f"{coming}; `lockstep state` lists them")
    return status


def _brought(waiting: list[dict[str, Any]], symbol: str) -> set[str]:
    """Time and phase, as ``_told`` has them, that schedules bring to a symbol; to * those of every instrument alone."""
    return {_phase_of(each) for each in waiting if each["symbol"] in (symbol, "*")}


def _phase_of(schedule: dict[str, Any]) -> str:
    """Time and phase of a schedule that waits, as ``_told`` has them."""
    return f"{plain_time(schedule['time'])} {schedule['phase']}"


def _tell_of_single(lines: list[str], waiting: list[dict[str, Any]]) -> None:
    """Tell which instruments have some of these phases planned by themselves: they are met twice."""
    wanted = set(map(_told, lines))
    twice = Counter(each["symbol"] for each in waiting if each["symbol"] != "*" and _phase_of(each) in wanted)
    if twice:
        shown = ", ".join(list(twice)[:_OTHERS_SHOWN]) + (", ..." if len(twice) > _OTHERS_SHOWN else "")
        notice(
            f"note: planned by single instruments already ({shown}): {counted(twice.total(), 'phase')}, which they "
            "meet twice; the second time changes nothing"
        )


def _check_room(lines: list[str], waiting: list[dict[str, Any]], symbol: str) -> None:
    """Check that so many schedules may wait beside those that do. Raises WrongUse."""
    of_all = sum(each["symbol"] == "*" for each in waiting)
    for most, here in ((SCHEDULES_MAX, len(waiting)), *([(SCHEDULES_OF_ALL_MAX, of_all)] if symbol == "*" else [])):
        if len(lines) + here > most:
            beside = f", beside {here} that wait already," if here else ""
            raise WrongUse(f"{len(lines)} phases{beside} are more than the {most} that may wait; give fewer --days")


def _check_others(
    planned: list[list[tuple[int, str]]], lines: list[str], waiting: list[dict[str, Any]], symbol: str
) -> None:
    """Check that no session has another phase planned, from the close before it to its own. Raises WrongUse.

    What is planned for all comes to each instrument, so for * all that any of them has planned is looked at.
    """
    wanted = set(map(_told, lines))
    others = _brought(waiting, symbol) - wanted
    if symbol == "*":
        single = [each for each in waiting if each["symbol"] != "*"]
        others |= {f"{said} of {each['symbol']}" for each in single if (said := _phase_of(each)) not in wanted}
    begin = planned[0][0][0] - 1
    for session in planned:
        end = session[-1][0]
        found = sorted(each for each in others if begin < time_of(each.split()[0]).value_ns <= end)
        if found:
            raise WrongUse(
                f"{_day(session)} is planned in another way already: {', '.join(found[:_OTHERS_SHOWN])}; no schedule is"
                " withdrawn, so plan other days, or send single phases by `lockstep admin do`"
            )
        begin = end


def _day(session: list[tuple[int, str]]) -> str:
    """Date of a session: that of its close."""
    return _told(session[-1][1])[: len("2026-11-27")]


def _days(planned: list[list[tuple[int, str]]], left: set[str], now_ns: int) -> str:
    """Days that are planned already: of which no phase to come is left, with those between them in one range."""
    coming = [session for session in planned if session[-1][0] > now_ns]
    ranges: list[list[str]] = []
    follows = False
    for session in coming:
        is_left = any(text in left for _, text in session)
        if not is_left and follows:
            ranges[-1][1:] = [_day(session)]
        elif not is_left:
            ranges.append([_day(session)])
        follows = not is_left
    return ", ".join(" to ".join(each) for each in ranges)


def _tell_of_begun(symbol: str, session: list[tuple[int, str]], now_ns: int) -> None:
    """Tell that a session is under way: its phases that are past are not sent, the present one neither."""
    past = [text for at_ns, text in session if at_ns <= now_ns]
    if past and len(past) < len(session):
        notice(
            f"note: a session is under way, and what it has had until now is left out, at last {_told(past[-1])};"
            f" give the present phase by `lockstep admin phase DIR {symbol} {past[-1].split()[-1]}`"
        )


def _told(line: str) -> str:
    """Time and phase of a command."""
    return line.split(maxsplit=2)[2]


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"--from is {text!r}; give a date, such as 2026-11-27") from None


def _length(text: str, option: str) -> int:
    try:
        length_ns = duration_ns(text, f"--{option}")
    except Fault as fault:
        raise WrongUse(f"{fault}") from fault
    if length_ns < 0:
        raise WrongUse(f"--{option} is {text}; give a time of 0s or more, such as 5m")
    return length_ns
