"""Ends of a journal in the near past, to measure in time how far a copy is behind, whatever the size of its blocks."""

from collections import deque


class EndsByTime:
    """Last command at each look at the clock, as far back as ``kept_ns``; ``seq``: of all times before the first look.

    >>> ends = EndsByTime(5, 100)
    >>> for now_ns, seq in (10, 7), (20, 9), (90, 30):
    ...     ends.note(now_ns, seq)
    >>> [ends.at(time_ns) for time_ns in (0, 10, 89, 95)]
    [5, 7, 9, 30]
    """

    def __init__(self, seq: int, kept_ns: int) -> None:
        self._before, self._kept_ns = seq, kept_ns
        self._looks: deque[tuple[int, int]] = deque()

    def note(self, now_ns: int, seq: int) -> None:
        """Note the last command now. ``now_ns``: monotonic."""
        self._looks.append((now_ns, seq))
        while self._looks[0][0] < now_ns - self._kept_ns:
            self._before = self._looks.popleft()[1]

    def at(self, time_ns: int) -> int:
        """Last command at a time."""
        return next((seq for at_ns, seq in reversed(self._looks) if at_ns <= time_ns), self._before)
