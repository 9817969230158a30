"""Repeated log lines, counted in one line. Pure: times are given.

Of lines with the same level, event, reason and subject ``BURST`` are written within ``WINDOW_S``; further ones are
counted, with one line for the count at the end of the window: "… 1,299 more like this in 10 s". The subject is the
user, so that lines of one user do not hide those of another. Login requests can have any name, so lines about them have
at most ``SUBJECTS_MAX`` subjects; lines about connections without a login have none. Lines about the operator are never
counted.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

WINDOW_S: Final = 10.0
BURST: Final = 10
#: Kinds of line that are counted at one time; lines of further kinds are all written.
KINDS_MAX: Final = 1_000
#: Subjects of lines without a login, for each event and reason; further lines are counted without a subject.
SUBJECTS_MAX: Final = 256
#: Events that need no login: any peer can cause them, under any user name.
OF_STRANGERS: Final = frozenset({"connection refused", "connection ended", "login refused"})
#: First words of the event of each line about the operator.
OPERATOR: Final = "the operator "
#: Event of a FIX message that the operator wants to see: each is written.
FIX_MESSAGE: Final = "fix message"
#: Fields with the subject of a line.
_SUBJECTS: Final = ("user", "note", "room", "process")
_NUMBER: Final = re.compile(r"[0-9]+")


class Kind(NamedTuple):
    """Key of lines that count as repeated."""

    logger: str
    level: int
    event: str
    why: str = ""
    subject: str = ""


def kind_of(logger: str, level: int, event: str, fields: Mapping[str, Any]) -> Kind | None:
    """Kind of a line; None if it is always written. Numbers in reasons do not count."""
    if event.startswith(OPERATOR) or event == FIX_MESSAGE:
        return None
    subject = " ".join(str(fields[name]) for name in _SUBJECTS if fields.get(name))
    return Kind(logger, level, event, _NUMBER.sub("N", str(fields.get("why", ""))), subject)


class RepeatCount(NamedTuple):
    """Count of the lines of one kind that were not written within a window."""

    kind: Kind
    lines: int


class _Window:
    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.written = self.folded = 0


class RepeatFilter:
    """Filter of repeated lines."""

    def __init__(self) -> None:
        self._windows: dict[Kind, _Window] = {}  # the oldest first
        self._counting: dict[Kind, _Window] = {}  # those with lines to report
        self._subjects: Counter[Kind] = Counter()  # of lines without a login, by kind without subject

    def writes(self, kind: Kind, now_s: float) -> bool:
        """True if a line of this kind is written; else it is counted. Call ``ended`` first."""
        window = self._windows.get(kind)
        if window is None and kind.subject and kind.event in OF_STRANGERS:
            general = kind._replace(subject="")
            if self._subjects[general] < SUBJECTS_MAX:
                self._subjects[general] += 1
            else:
                kind = general
                window = self._windows.get(kind)
        if window is None:
            if len(self._windows) >= KINDS_MAX:
                return True
            window = self._windows[kind] = _Window(now_s)
        if window.written < BURST:
            window.written += 1
            return True
        window.folded += 1
        self._counting[kind] = window
        return False

    def ended(self, now_s: float, *, every: bool = False) -> list[RepeatCount]:
        """Counts of the windows that have ended (``every``: of all windows); they begin anew with the next line."""
        found = []
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if not every and now_s - window.began_s < WINDOW_S:
                break
            del self._windows[kind]
            self._counting.pop(kind, None)
            if kind.subject and kind.event in OF_STRANGERS:
                self._subjects[kind._replace(subject="")] -= 1
            if window.folded:
                found.append(RepeatCount(kind, window.folded))
        return found

    def next_end_s(self) -> float | None:
        """End of the next window that has a count to report; None: there is none."""
        return min((each.began_s + WINDOW_S for each in self._counting.values()), default=None)
