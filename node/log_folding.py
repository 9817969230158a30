"""Repeated log lines folded into one count. Pure: times are given.

Of lines with the same level, event and reason ``BURST`` are written within ``WINDOW_S``; the others are counted, and
the count is one line at the end of the window: "… 1,299 more like this in 10 s".
"""

from typing import Final, NamedTuple

WINDOW_S: Final = 10.0
BURST: Final = 10
#: Kinds of line that are counted at once; lines of further kinds are not folded.
KINDS_MAX: Final = 1_000


#: What makes lines alike: logger, level, event, and the reason that they give.
Kind = tuple[str, int, str, str]


class Folded(NamedTuple):
    """Lines of one kind that were not written within a window."""

    kind: Kind
    lines: int


class _Window:
    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.written = self.folded = 0


class Folding:
    """Decides line by line."""

    def __init__(self) -> None:
        self._windows: dict[Kind, _Window] = {}  # the oldest first

    def writes(self, kind: Kind, now_s: float) -> bool:
        """True if a line of this kind is written; else it is counted. Call ``ended`` first."""
        window = self._windows.get(kind)
        if window is None:
            if len(self._windows) >= KINDS_MAX:
                return True
            window = self._windows[kind] = _Window(now_s)
        if window.written < BURST:
            window.written += 1
            return True
        window.folded += 1
        return False

    def ended(self, now_s: float, *, every: bool = False) -> list[Folded]:
        """The counts of windows that have ended (``every``: of all), which begin anew with the next line."""
        found = []
        for kind, window in list(self._windows.items()):
            if not every and now_s - window.began_s < WINDOW_S:
                break
            del self._windows[kind]
            if window.folded:
                found.append(Folded(kind, window.folded))
        return found

    def next_end_s(self) -> float | None:
        """End of the next window that has a count to report; None: there is none."""
        return min((each.began_s + WINDOW_S for each in self._windows.values() if each.folded), default=None)
