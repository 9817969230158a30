"""Hours of a session by day: when it may be logged on, and when its numbers begin again."""

import re
from typing import Final, NamedTuple

from engine.bounds import DAY_NS

_SECOND_NS: Final = 1_000_000_000
_TIME: Final = r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?"
_HOURS: Final = re.compile(rf"{_TIME}(?:-{_TIME})?")


class Hours(NamedTuple):
    """Begin and end of each day's session, in ns after 00:00 UTC. With both alike it lasts until the next begins."""

    begin_ns: int
    end_ns: int

    @classmethod
    def read(cls, text: str) -> "Hours | None":
        """Read HH:MM-HH:MM, or HH:MM; seconds may follow. None for anything else.

        >>> Hours.read("22:00-21:30"), Hours.read("22") is None
        (Hours(begin_ns=79200000000000, end_ns=77400000000000), True)
        """
        found = _HOURS.fullmatch(text)
        if found is None:
            return None
        parts = found.groups()
        begin_ns = _time_ns(*parts[:3])
        return cls(begin_ns, begin_ns if parts[3] is None else _time_ns(*parts[3:]))

    def begun_ns(self, time_ns: int) -> int:
        """When the session began that a time belongs to, or the last before it, in ns since 1970."""
        return time_ns - (time_ns - self.begin_ns) % DAY_NS

    def are_open(self, time_ns: int) -> bool:
        """True while the session lasts.

        >>> night = Hours.read("22:00-06:00")
        >>> [night.are_open(hour * 3600 * 10**9) for hour in (21, 22, 5, 6)]
        [False, True, True, False]
        """
        length_ns = (self.end_ns - self.begin_ns) % DAY_NS or DAY_NS
        return (time_ns - self.begin_ns) % DAY_NS < length_ns

    def __str__(self) -> str:
        """Begin and end.

        >>> str(Hours.read("07:30-18:00")), str(Hours.read("22:00:05"))
        ('07:30-18:00', '22:00:05')
        """
        begin = _text(self.begin_ns)
        return begin if self.begin_ns == self.end_ns else f"{begin}-{_text(self.end_ns)}"


def _time_ns(hour: str, minute: str, second: "str | None") -> int:
    return (3_600 * int(hour) + 60 * int(minute) + int(second or 0)) * _SECOND_NS


def _text(time_ns: int) -> str:
    hour, second = divmod(time_ns // _SECOND_NS, 3_600)
    minute, second = divmod(second, 60)
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
