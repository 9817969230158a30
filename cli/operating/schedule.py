"""`lockstep admin schedule`: phases of the coming days by a trading calendar, as commands to a running node."""

import datetime
import time
from pathlib import Path
from typing import Final, NamedTuple

from cli.errors import WrongUse
from cli.operating.admin import check_instrument, send_lines, word
from cli.operating.trading_calendar import Session, sessions
from cli.screen import counted, notice, print_line
from engine.bounds import SCHEDULES_MAX, SCHEDULES_OF_ALL_MAX
from notation.words import Fault, duration, duration_ns
from notation.words import time as time_word

_DAYS_MAX: Final = 366


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
    """Send the phases of ``days`` days whose time has not passed; or print them as commands."""
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
    most = SCHEDULES_OF_ALL_MAX if symbol == "*" else SCHEDULES_MAX
    if found and not lines:
        raise WrongUse(
            f"the sessions of {calendar} in {counted(days, 'day')} from {begun} on are past: the last one closed at"
            f" {time_word(found[-1].close_ns)}, and it is {time_word(now_ns // 1_000_000_000 * 1_000_000_000)}; give"
            " another --from, or more --days"
        )
    if not lines:
        raise WrongUse(f"{calendar} has no session in {days} days from {begun} on; give another --from, or more --days")
    if len(lines) > most:
        raise WrongUse(f"{len(lines)} phases are more than the {most} that may wait; give fewer --days")
    if not only_print and symbol != "*":
        check_instrument(directory, symbol)  # once, and not by a reject of each phase
    for session in planned:
        _tell_of_begun(symbol, session, now_ns)
    if only_print:
        for text in lines:
            print_line(text)
        return 0
    status = send_lines(directory, lines, as_json=as_json)
    if not as_json:
        coming = f"{counted(len(lines), 'phase')} will come, from {_told(lines[0])} to {_told(lines[-1])}"
        print_line(f"{coming}; `lockstep state` lists them")
    return status


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
