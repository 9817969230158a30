"""Repeated log lines, counted in one line. Pure: times are given.

Of lines with the same level, event, reason and subject ``BURST`` are written within ``WINDOW_S``; further ones are
counted, with one line for the count at the end of the window: "… 1,299 more like this in 10 s". The subject is the
user, so that lines of one user do not hide those of another. Login requests can have any name, so lines about them have
at most ``SUBJECTS_MAX`` subjects; lines about connections without a login have none. Lines about the operator are never
counted.

What a peer does again and again for more than a minute, such as a program that asks a standby for a login each second,
has one line in ``LASTING_S`` from then on, and the count.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

WINDOW_S: Final = 10.0
BURST: Final = 10
#: Window of a kind without a login that had so many lines or more in each of so many windows, without a pause.
LASTING_S: Final = 600.0
LASTING_AFTER: Final = 6
LASTING_LINES: Final = 3
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
    within_s: float = WINDOW_S


class _Window:
    def __init__(self, began_s: float, length_s: float = WINDOW_S, burst: int = BURST) -> None:
        self.end_s, self.length_s, self.burst = began_s + length_s, length_s, burst
        self.written = self.folded = 0


class _Row(NamedTuple):
    """Windows of a kind in a row, and the end of the last."""

    windows: int
    end_s: float


class RepeatFilter:
    """Filter of repeated lines."""

    def __init__(self) -> None:
        self._windows: dict[Kind, _Window] = {}  # the oldest first
        self._lasting: dict[Kind, _Window] = {}  # likewise, those of ``LASTING_S``
        self._rows: dict[Kind, _Row] = {}  # of kinds without a login, the oldest first
        self._counting: dict[Kind, _Window] = {}  # those with lines to report
        self._subjects: Counter[Kind] = Counter()  # of lines without a login, by kind without subject

    def writes(self, kind: Kind, now_s: float) -> bool:
        """True if a line of this kind is written; else it is counted. Call ``ended`` first."""
        window = self._window(kind)
        if window is None and kind.subject and kind.event in OF_STRANGERS:
            general = kind._replace(subject="")
            if self._subjects[general] < SUBJECTS_MAX:
                self._subjects[general] += 1
            else:
                kind = general
                window = self._window(kind)
        if window is None:
            if len(self._windows) + len(self._lasting) >= KINDS_MAX:
                return True
            row = self._rows.get(kind, _Row(0, 0.0))
            if row.windows >= LASTING_AFTER and now_s - row.end_s < WINDOW_S:
                window = self._lasting[kind] = _Window(now_s, LASTING_S, 1)
            else:
                window = self._windows[kind] = _Window(now_s)
        if window.written < window.burst:
            window.written += 1
            return True
        window.folded += 1
        self._counting[kind] = window
        return False

    def ended(self, now_s: float, *, every: bool = False) -> list[RepeatCount]:
        """Counts of the windows that have ended (``every``: of all windows); they begin anew with the next line."""
        found = []
        for windows in (self._windows, self._lasting):
            while windows:
                kind, window = next(iter(windows.items()))
                if not every and now_s < window.end_s:
                    break
                del windows[kind]
                self._counting.pop(kind, None)
                if kind.event in OF_STRANGERS:
                    self._end(kind, window)
                if window.folded:
                    found.append(RepeatCount(kind, window.folded, window.length_s))
        return found

    def _window(self, kind: Kind) -> _Window | None:
        return self._windows.get(kind) or self._lasting.get(kind)

    def _end(self, kind: Kind, window: _Window) -> None:
        """End the window of a kind without a login: it goes on in a row with those before, or the row is over."""
        if kind.subject:
            self._subjects[kind._replace(subject="")] -= 1
        row = self._rows.pop(kind, _Row(0, 0.0))
        if window.written + window.folded >= LASTING_LINES:
            goes_on = window.end_s - window.length_s - row.end_s < WINDOW_S
            self._rows[kind] = _Row(row.windows + 1 if goes_on else 1, window.end_s)
            if len(self._rows) > KINDS_MAX:
                del self._rows[next(iter(self._rows))]

    def next_end_s(self) -> float | None:
        """End of the next window that has a count to report; None: there is none."""
        return min((each.end_s for each in self._counting.values()), default=None)
