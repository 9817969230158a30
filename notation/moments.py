"""A moment of the market's clock as people write it, without what numbers and names of rows need."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_DAY_NS: Final = 86_400 * 10**9
_MINUTE_NS: Final = 60 * 10**9
_TIME: Final = re.compile(
    r"(?:(?P<date>\d{4}-\d{2}-\d{2})[T ])?"
    r"(?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<off_hours>\d{2}):(?P<off_minutes>\d{2}))?",
    re.ASCII,
)
_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z", re.ASCII)


def plain_time(text: str | None) -> str:
    """A time of JSON, with nine places and Z, as texts for people have every time: as an ``at`` line does.

    None, no time, is -; another text stays as it is.

    >>> plain_time("2024-01-15T09:30:00.250000000Z"), plain_time("2024-01-15T09:30:00.000000000Z")
    ('2024-01-15T09:30:00.25', '2024-01-15T09:30:00')
    >>> plain_time("unset"), plain_time(None)
    ('unset', '-')
    """
    if text is None:
        return "-"
    return text[:-1].rstrip("0").rstrip(".") if _ISO.fullmatch(text) else text


def moment_text(time_ns: int) -> str:
    """A clock value (ns since 1970) as an ``at`` line has it.

    >>> moment_text(1_705_311_000_000_350_000), moment_text(-1)
    ('2024-01-15T09:30:00.00035', '1969-12-31T23:59:59.999999999')
    """
    seconds, fraction_ns = divmod(time_ns, 10**9)
    text = (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()
    return f"{text}.{fraction_ns:09d}".rstrip("0") if fraction_ns else text


def not_reached(when: str, time_ns: int, begin_ns: int, end_ns: int) -> str | None:
    """Sentence on a time without a date that the day of the newest clock value has not reached, though the market had
    it a day before; None for all else.

    ``time_ns``: what ``when`` stands for. ``begin_ns``, ``end_ns``: first and newest clock value; all ns since 1970.
    """
    if is_seq(when) or is_dated(when) or time_ns <= end_ns or time_ns - _DAY_NS < begin_ns:
        return None
    meant, end, before = map(moment_text, (time_ns, end_ns, time_ns - _DAY_NS))
    return (
        f"{when.strip()} is of the day of the last command, {meant}, which is not reached: that one is of {end}; for "
        f"another day give its date, such as {before}"
    )


def is_seq(when: str) -> bool:
    """True if a word is a sequence number, not a time."""
    return re.fullmatch(r"\d{1,18}", when.strip(), re.ASCII) is not None


def is_dated(when: str) -> bool:
    """True if a word is a time with its date."""
    found = _TIME.fullmatch(when.strip())
    return found is not None and found["date"] is not None


def moment_ns(text: str, today_ns: int) -> int:
    """Nanoseconds since 1970 of ``[YYYY-MM-DD[T ]]HH:MM[:SS[.nnnnnnnnn]][Z|+HH:MM]``; UTC where no zone is named.

    A time without a date is of the day of ``today_ns``. Raises ValueError with a sentence for another text.

    >>> moment_ns("2024-01-15T09:30", 0), moment_ns("2024-01-15 10:30+01:00", 0)
    (1705311000000000000, 1705311000000000000)
    """
    found = _TIME.fullmatch(text)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no date: {error}") from None
        raise ValueError(f"{text!r} is a date without a time of day; add one, such as {text}T16:00")
    if found is None:
        raise ValueError(
            f"{text!r} is neither a sequence number nor a time such as 09:31:07.250114003 or 2024-01-15T09:30:00"
        )
    try:
        day_ns = today_ns - today_ns % _DAY_NS
        if found["date"]:
            day_ns = int(datetime.fromisoformat(found["date"]).replace(tzinfo=UTC).timestamp()) * 10**9
        clock = datetime(1970, 1, 1, int(found["hour"]), int(found["minute"]), int(found["second"] or 0), tzinfo=UTC)
        off_ns = 0
        if found["sign"]:
            zone = datetime(1970, 1, 1, int(found["off_hours"]), int(found["off_minutes"]))
            off_ns = int(f"{found['sign']}1") * (60 * zone.hour + zone.minute) * _MINUTE_NS
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: {error}") from error
    return day_ns + int(clock.timestamp()) * 10**9 + int((found["fraction"] or "").ljust(9, "0")) - off_ns
