"""A past market in its own time: which commands came together, and when they are due on another clock.

Nothing here reads a clock or waits; who sends does.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from engine.bounds import DAY_NS
from engine.market_time import clock_rows
from replay.past import PlayedBlock, PlayedRows, RowRange, parted

#: Distance of commands that are told apart, on the clock of who receives, in nanoseconds.
STEP_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000


class Pace:
    """Times at which the past is due, on a clock in seconds that only rises. ``speed``: times as fast as it was; None:
    at once.

    The time between two dates is not waited for: the first command of a date is due at once.

    >>> pace = Pace(10.0)
    >>> pace.due_s(1_000_000_000, 50.0), pace.due_s(3_000_000_000, 50.0)
    (50.0, 50.2)
    """

    def __init__(self, speed: float | None) -> None:
        self.speed = speed
        self._from_ns, self._from_s = -1, 0.0

    def due_s(self, time_ns: int, now_s: float) -> float:
        """The clock when what happened at ``time_ns`` (ns since 1970) is due, given the clock now."""
        if self.speed is None:
            return now_s
        if self._from_ns < 0 or time_ns // DAY_NS != self._from_ns // DAY_NS:
            self._from_ns, self._from_s = time_ns, now_s
        return self._from_s + (time_ns - self._from_ns) / (_SECOND_NS * self.speed)

    def postpone(self, seconds: float) -> None:
        """Have all that is still to come so much later."""
        self._from_s += seconds


class Moment(NamedTuple):
    """Rows that came together. ``time_ns``: the clock at the first. ``is_before``: they are before the range."""

    rows: PlayedRows
    time_ns: int
    is_before: bool


def moments(block: PlayedBlock, from_seq: int, speed: float | None, rows_max: int) -> Iterator[Moment]:
    """Rows of a block cut before ``from_seq``, and from there on where the clock goes on by ``STEP_NS`` at ``speed``.

    None has more than ``rows_max`` rows.
    """
    at, values = clock_rows(block.play.commands, block.position)
    times = np.concatenate((np.array([block.position.now_ns], np.int64), values))
    if speed is None:
        cuts = np.zeros(0, np.int64)
    else:
        steps = times // max(int(STEP_NS * speed), 1)
        cuts = block.play.first_seq + at[steps[1:] != steps[:-1]]
    for part, is_before in parted(block.play, from_seq):
        end = part.first_seq + len(part.commands)
        inner = [] if is_before else cuts[(cuts > part.first_seq) & (cuts < end)].tolist()
        for rows in _cut(part, [part.first_seq, *inner, end], rows_max):
            now = int(np.searchsorted(at, rows.first_seq - block.play.first_seq, side="right"))
            yield Moment(rows, int(times[now]), is_before)


def _cut(rows: PlayedRows, bounds: list[int], rows_max: int) -> Iterator[RowRange]:
    """Rows between numbers of commands, and again where they are more than ``rows_max``."""
    for begin, end in pairwise(bounds):
        for first in range(begin, end, rows_max):
            last = min(first + rows_max, end)
            low, high = np.searchsorted(rows.events["seq"], (first, last)).tolist()
            commands = rows.commands[first - rows.first_seq : last - rows.first_seq]
            yield RowRange(first, commands, rows.events[low:high])
