"""Trading sessions of an exchange: by the package exchange_calendars, whose only importer this is, or from a file.

The engine reads no calendar: ``cli/operating/schedule.py`` writes what one says into commands. A file has a line for
each session, its opening and its close in UTC, such as ``2026-11-27T14:30 2026-11-27T18:00``; ``#`` begins a comment.
"""

import datetime
from pathlib import Path
from typing import Final, NamedTuple

from cli.errors import WrongUse
from notation.words import Fault, time_of

_NS: Final = 1_000_000_000
_FORM: Final = "write its opening and its close in UTC, such as 2026-11-27T14:30 2026-11-27T18:00"


class Session(NamedTuple):
    """Continuous trading of a day, from its opening to its close; of a half day the early close."""

    open_ns: int
    close_ns: int


def sessions(calendar: str, first: datetime.date, days: int) -> list[Session]:
    """Sessions of ``days`` days from ``first`` on, by their date, in order. Days without a session have none.

    calendar: a file, or the name of an exchange (its MIC, such as XNYS). Raises WrongUse.
    """
    path = Path(calendar)
    if path.is_file():
        return [each for each in _of_file(path) if 0 <= (_date(each.open_ns) - first).days < days]
    return _of_exchange(calendar, first, days)


def _date(time_ns: int) -> datetime.date:
    return datetime.datetime.fromtimestamp(time_ns // _NS, datetime.UTC).date()


def _of_file(path: Path) -> list[Session]:
    found: list[Session] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"the calendar {path} cannot be read: {error}; give a text file") from error
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            times = [time_of(word) for word in words]
        except Fault as fault:
            wrong, *_ = str(fault).split(";")  # what it says to write is for lines that may have times without a date
            raise WrongUse(f"{path}:{number}: {wrong}; {_FORM}") from fault
        if len(times) != 2 or any(each.form != "dated" for each in times):
            raise WrongUse(f"{path}:{number}: this is no session; {_FORM}")
        session = Session(times[0].value_ns, times[1].value_ns)
        if session.close_ns <= session.open_ns or (found and session.open_ns < found[-1].close_ns):
            raise WrongUse(f"{path}:{number}: a session ends after it begins, and the next begins after that")
        found.append(session)
    return found


def _of_exchange(name: str, first: datetime.date, days: int) -> list[Session]:
    try:
        import exchange_calendars
    except ImportError as error:
        raise WrongUse(
            f"there is no file {name}, and the calendar of an exchange needs the package exchange_calendars, which is"
            " not installed: pip install 'lockstep[calendar]', or give a file with a line for each session"
        ) from error
    last = first + datetime.timedelta(days=days - 1)
    try:
        # A calendar answers nothing before its first session or after its last: a month more has one, by any holiday.
        month = datetime.timedelta(days=31)
        start, end = (first - month).isoformat(), (last + month).isoformat()
        calendar = exchange_calendars.get_calendar(name, start=start, end=end)
        dates = calendar.sessions_in_range(first.isoformat(), last.isoformat())
        opens = [calendar.session_open(each) for each in dates]
        closes = [calendar.session_close(each) for each in dates]
    except (exchange_calendars.errors.CalendarError, ValueError) as error:
        raise WrongUse(
            f"the calendar {name} cannot be used: {str(error).rstrip('.')}; give the MIC of an exchange, such as XNYS, "
            "or a file with a line for each session"
        ) from error
    return [Session(_whole_ns(a), _whole_ns(b)) for a, b in zip(opens, closes, strict=True)]


def _whole_ns(moment: datetime.datetime) -> int:
    return int(moment.timestamp()) * _NS
