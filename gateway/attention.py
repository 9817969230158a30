"""Reading time of a node: the time up to which it has read its clients' bytes, measured by beats.

A node that was stopped or busy must not take its own absence for a client's silence. Each beat has the time since the
last, the part of it in which the node was away, and the time up to which all arrived bytes were read: the last beat,
since the event loop polls every socket between two beats.
"""

from typing import Final, NamedTuple

#: Periods after which a late beat shows that the node was away.
LATE_BEATS: Final = 2


class Beat(NamedTuple):
    """One reading of the clock, in nanoseconds. passed_ns: since the last beat. away_ns: part of it in which the node
    did not run. read_ns: everything that arrived before this time has been read, except what waits in a connection's
    region.
    """

    now_ns: int
    passed_ns: int
    away_ns: int
    read_ns: int


class Attention:
    """Source of beats. ``period_ns``: time between beats of a running node; times never go back."""

    def __init__(self, now_ns: int, period_ns: int) -> None:
        self._last_ns = now_ns
        self._period_ns = period_ns
        #: Running time of the node since the start.
        self.present_ns = 0

    def beat(self, now_ns: int) -> Beat:
        """Make the beat at ``now_ns``."""
        last_ns, self._last_ns = self._last_ns, now_ns
        passed_ns = now_ns - last_ns
        away_ns = passed_ns - self._period_ns if passed_ns > LATE_BEATS * self._period_ns else 0
        self.present_ns += passed_ns - away_ns
        return Beat(now_ns, passed_ns, away_ns, last_ns)
