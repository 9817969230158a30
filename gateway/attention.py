"""Reading time: how far a node has read what its clients sent, by its own beats.

A node that was stopped, or that was busy for long, must not take its own absence for a client's silence. Each beat says
how much time passed, how much of it the node was away, and up to which time everything that had arrived was read: up to
the beat before, since the event loop has polled every socket between two beats.
"""

from typing import Final, NamedTuple

#: Beats that come later than this many periods show that the node was away in between.
LATE_BEATS: Final = 2


class Beat(NamedTuple):
    """One look at the clock, in nanoseconds.

    passed_ns: since the beat before. away_ns: of these, the time in which the node did not run. read_ns: everything
    that arrived before this time has been read, except what waits in a connection's region.
    """

    now_ns: int
    passed_ns: int
    away_ns: int
    read_ns: int


class Attention:
    """Source of the beats. ``period_ns``: how far apart they are on a node that runs; times never go back."""

    def __init__(self, now_ns: int, period_ns: int) -> None:
        self._last_ns = now_ns
        self._period_ns = period_ns
        #: Time in which the node was running, since the start.
        self.present_ns = 0

    def beat(self, now_ns: int) -> Beat:
        """The beat at ``now_ns``."""
        last_ns, self._last_ns = self._last_ns, now_ns
        passed_ns = now_ns - last_ns
        away_ns = passed_ns - self._period_ns if passed_ns > LATE_BEATS * self._period_ns else 0
        self.present_ns += passed_ns - away_ns
        return Beat(now_ns, passed_ns, away_ns, last_ns)
