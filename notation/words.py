"""The values of scenario files, read and written: numbers, prices, ids, durations, times (rulebook section 12).

Any number of 64 bits is a value, even an absurd one: rejecting it is for the engine. Others are a ``Fault``.
"""

import datetime
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from engine.bounds import MINUTE_NS, TIME_NS_MAX
from engine.names import ID_CHARACTERS
from notation import decimals
from notation.moments import moment_text

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
UNIT_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}

_RAW_ID: Final = re.compile(r"~[0-9a-f]{16}")
_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]{1,4})?")
_PERCENT: Final = re.compile(r"-?[0-9]+(?:\.[0-9]{1,2})?%")
_WHOLE: Final = re.compile(r"-?[0-9]+")
_DURATION: Final = re.compile(r"(-?[0-9]+)(ns|us|ms|s|m|h|d)")
_TIME: Final = re.compile(r"(?:(\d{4})-(\d\d)-(\d\d)T)?(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?", re.ASCII)
_OF_DAY: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]+")
_TOKEN_SIZE: Final = 14
#: Not the ``#`` that begins a comment, nor at first the ``~`` that begins hexadecimal digits.
_TOKEN: Final = re.compile(r"(?!~)[!\"$-~]{1,14}")
#: Names that a sentence has at most.
_NAMED_MAX: Final = 10
_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()


class Fault(ValueError):
    """An error in one line; ``parse`` adds file and line number."""


class Time(NamedTuple):
    """The value of an ``at`` line. form: ``dated`` (since 1970), ``of_day`` (since midnight), ``later`` (relative)."""

    form: str
    value_ns: int


def whole(word: str, what: str) -> int:
    """A whole number of 64 bits. Raises Fault."""
    if not _WHOLE.fullmatch(word):
        raise Fault(f"{what} is {word!r}; write a whole number")
    return _fits(int(word) if len(word) < 40 else INT64_MAX + 1, word, what)


def price_e4(word: str, what: str) -> int:
    """A decimal with up to four places, as a count of 1/10000. Raises Fault."""
    if not _DECIMAL.fullmatch(word):
        raise Fault(f"{what} is {word!r}; write a decimal number with at most four places, such as 10.05")
    return _decimal(word, 4, word, what)


def percent_bps(word: str, what: str) -> int:
    """A decimal with up to two places and %, as a count of hundredths of a percent. Raises Fault.

    >>> percent_bps("20%", "margin"), percent_bps("0.5%", "margin")
    (2000, 50)
    """
    if not _PERCENT.fullmatch(word):
        raise Fault(f"{what} is {word!r}; write a decimal number with at most two places and %, such as 12.5%")
    return _decimal(word[:-1], 2, word, what)


def _decimal(text: str, places: int, word: str, what: str) -> int:
    """The decimal ``text`` as a count of its smallest step, of ``places`` places."""
    units, _, decimals = text.removeprefix("-").partition(".")
    if len(units) > 40:
        return _fits(INT64_MAX + 1, word, what)
    value = int(units + decimals.ljust(places, "0"))
    return _fits(-value if text[0] == "-" else value, word, what)


def _fits(value: int, word: str, what: str) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise Fault(f"{what} is {word[:40]}, which does not fit 64 bits; write a smaller number")
    return value


def id_number(word: str, what: str) -> int:
    """The number of an id or name, or of its raw form ``~`` and 16 hexadecimal digits. Raises Fault.

    Small letters pass in names too: the market refuses them, which is for scenarios to show.
    """
    if 1 <= len(word) <= 8 and ID_CHARACTERS.issuperset(word):
        return int.from_bytes(word.encode("ascii"), "big")
    if _RAW_ID.fullmatch(word):
        value = int(word[1:], 16)
        return value - 2**64 if value > INT64_MAX else value
    small = " a-z" if what.endswith("id") else ""
    most = 6 if what == "the user" else 8  # longer names of users are for the market to refuse, as far as they fit
    raise Fault(f"{what} is {word!r}; write 1 to {most} characters of A-Z{small} 0-9 . -")


def hexadecimal(word: str, size: int, what: str) -> tuple[int, ...]:
    """``size`` bytes, a multiple of eight, as numbers of eight bytes, big-endian. Raises Fault."""
    if len(word) != 2 * size or not _HEXADECIMAL.fullmatch(word):
        raise Fault(f"{what} is {word[:60]!r}; write {2 * size} hexadecimal digits")
    raw = bytes.fromhex(word)
    return tuple(int.from_bytes(raw[at : at + 8], "big", signed=True) for at in range(0, size, 8))


def token_of(word: str, what: str) -> tuple[int, int]:
    """Head and tail of an order token: 1 to 14 characters, to which spaces are added, or ``~`` and 28 hexadecimal
    digits. Raises Fault.

    >>> token_of("A", "token") == token_of("~" + b"A".ljust(14).hex(), "token")
    True
    """
    if word[0] == "~" and len(word) == 2 * _TOKEN_SIZE + 1 and _HEXADECIMAL.fullmatch(word[1:]):
        raw = bytes.fromhex(word[1:])
    elif _TOKEN.fullmatch(word):
        raw = word.encode("ascii").ljust(_TOKEN_SIZE)
    else:
        raise Fault(f"{what} is {word[:60]!r}; write 1 to 14 printable characters, or ~ and 28 hexadecimal digits")
    return int.from_bytes(raw[:8], "big", signed=True), int.from_bytes(raw[8:] + bytes(2), "big", signed=True)


def token_word(head: int, tail: int) -> str:
    """The word that ``token_of`` reads as these two numbers, if there is one."""
    raw = (head.to_bytes(8, "big", signed=True) + tail.to_bytes(8, "big", signed=True))[:_TOKEN_SIZE]
    text = raw.rstrip(b" ").decode("latin-1")
    return text if _TOKEN.fullmatch(text) else f"~{raw.hex()}"


def duration_ns(word: str, what: str) -> int:
    """A whole number and its unit, such as 350us. Raises Fault."""
    match = _DURATION.fullmatch(word)
    if match is None:
        raise Fault(f"{what} is {word!r}; write a whole number and one of ns us ms s m h d, such as 350us")
    return _fits(whole(match[1], what) * UNIT_NS[match[2]], word, what)


def rate_of(word: str, what: str) -> tuple[int, int]:
    """A number of entries and a duration in ns, such as 100/1s. Raises Fault."""
    orders, _, window = word.partition("/")
    if not (orders and _DURATION.fullmatch(window)):
        raise Fault(f"{what} is {word!r}; write a whole number, / and a duration, such as 100/1s")
    return whole(orders, what), duration_ns(window, what)


def time_of(word: str) -> Time:
    """The value of an ``at`` line: ``09:30:00.000350``, ``2024-01-16T09:30``, ``+350us``. Raises Fault."""
    if word.startswith("+"):
        return Time("later", duration_ns(word[1:], "the time"))
    match = _TIME.fullmatch(word)
    if match is None:
        raise Fault(f"the time is {word!r}; write 09:30:00.000350, 2024-01-16T09:30:00 or +350us")
    year, month, day, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
        raise Fault(f"the time is {word!r}; there is no such time of day")
    of_day = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)) * UNIT_NS["s"] + int(
        (fraction or "").ljust(9, "0")
    )
    if year is None:
        return Time("of_day", of_day)
    try:
        days = datetime.date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        raise Fault(f"the time is {word!r}; there is no such date") from None
    return Time("dated", _fits(days * UNIT_NS["d"] + of_day, word, "the time"))


#: A price as a decimal with at least two places.
price: Final = decimals.price


def time(time_ns: int) -> str:
    """A clock value as an ``at`` line has it.

    >>> time(1_705_311_000_000_350_000)
    '2024-01-15T09:30:00.00035'
    """
    return moment_text(time_ns)


def duration(duration_ns: int) -> str:
    """A duration in the largest unit that is exact.

    >>> duration(350_000), duration(300_000_000_000)
    ('350us', '5m')
    """
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if duration_ns and duration_ns % UNIT_NS[unit] == 0:
            return f"{duration_ns // UNIT_NS[unit]}{unit}"
    return f"{duration_ns}ns"


def percent(bps: int) -> str:
    """Hundredths of a percent as a percentage.

    >>> percent(2_000), percent(50), percent(-1)
    ('20%', '0.5%', '-0.01%')
    """
    units, places = divmod(abs(bps), 100)
    decimals = f".{places:02d}".rstrip("0").rstrip(".")
    return f"{'-' if bps < 0 else ''}{units}{decimals}%"


@lru_cache(maxsize=4096)
def iso_time(time_ns: int) -> str | None:
    """A clock value (ns since 1970) as ISO 8601 in UTC; None for 0, a clock that was never set, and what is no time.

    >>> iso_time(1_705_311_000_250_114_003), iso_time(0)
    ('2024-01-15T09:30:00.250114003Z', None)
    """
    if not 0 < time_ns <= TIME_NS_MAX:
        return None
    seconds, fraction_ns = divmod(time_ns, UNIT_NS["s"])
    return f"{np.datetime64(seconds, 's')}.{fraction_ns:09d}Z"


def of_day_ns(text: str, what: str) -> int:
    """Nanoseconds after 00:00 of a time of day such as ``17:00``. Raises Fault.

    >>> of_day_ns("17:30", "day_start")
    63000000000000
    """
    found = _OF_DAY.fullmatch(text)
    if found is None:
        raise Fault(f"{what} is {text!r}; write hours and minutes, such as 17:00")
    hours, minutes = map(int, found.groups())
    return (60 * hours + minutes) * MINUTE_NS


def of_day_word(time_ns: int) -> str:
    """Inverse of ``of_day_ns``, for whole minutes of a day.

    >>> of_day_word(63000000000000)
    '17:30'
    """
    hours, minutes = divmod(time_ns // MINUTE_NS, 60)
    return f"{hours:02d}:{minutes:02d}"


def there_are(names: Sequence[str]) -> str:
    """End of a sentence about a name that is not defined: those that are.

    >>> there_are(["ABC", "XYZ"]), there_are([])
    ('there are ABC, XYZ', 'none is defined')
    >>> there_are([f"S{number}" for number in range(12)])
    'there are S0, S1, S2, S3, S4, S5, S6, S7, S8, S9 and 2 more'
    """
    further = f" and {len(names) - _NAMED_MAX:,} more" if len(names) > _NAMED_MAX else ""
    return f"there are {', '.join(names[:_NAMED_MAX])}{further}" if names else "none is defined"
