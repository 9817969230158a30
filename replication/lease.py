"""Lease of a primary, seen from the primary: pure, with times of a monotonic clock.

A lease counts from the *sending* of the last request that extended it. The arbiter counts from the arrival, which is
later, so the primary's view always ends first, whatever the delays. The margin covers clocks of different rate, and
the time between the check and the answer that leaves the machine. A primary that does not hold its lease answers
nobody; that it may again once a renewal is confirmed is sound, since nobody else was primary in between: the renewal
of its epoch would have failed.
"""

import time
from typing import Final

#: Largest difference of a clock's rate from real time, in millionths: 1%.
DRIFT_PPM: Final = 10_000
MARGIN_NS_MIN: Final = 50_000_000
#: Part of the usable time after which the lease is renewed; the rest is for attempts that fail.
_RENEWALS: Final = 4


def lease_clock_ns() -> int:
    """Time for leases: monotonic, and it goes on while the machine sleeps, as the lease does at the arbiter."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def margin_least_ns(ttl_ns: int, drift_ppm: int = DRIFT_PPM) -> int:
    """Smallest margin for which the primary's view ends first though its clock is slow and the arbiter's is fast.

    >>> margin_least_ns(1_000_000_000)
    19801982
    """
    return 1 + -(-ttl_ns * 2 * drift_ppm // (1_000_000 + drift_ppm))


def margin_default_ns(ttl_ns: int) -> int:
    """A fifth of the lease time, at least 50 ms.

    >>> margin_default_ns(600_000_000), margin_default_ns(200_000_000)
    (120000000, 50000000)
    """
    return max(ttl_ns // 5, MARGIN_NS_MIN)


class Lease:
    """Lease that was won by a request sent at ``sent_ns``. Raises ValueError for a margin that drift uses up.

    ttl_ns: granted by the arbiter, with the last renewal that was confirmed. margin_ns: time before its end at which it
    no longer counts; None: the default.
    """

    def __init__(self, ttl_ns: int, sent_ns: int, *, margin_ns: int | None = None, drift_ppm: int = DRIFT_PPM) -> None:
        self.margin_ns = margin_default_ns(ttl_ns) if margin_ns is None else margin_ns
        if not margin_least_ns(ttl_ns, drift_ppm) <= self.margin_ns < ttl_ns:
            raise ValueError(
                f"the margin of a lease of {ttl_ns} ns is {self.margin_ns} ns; give at least "
                f"{margin_least_ns(ttl_ns, drift_ppm)} ns, and less than the lease"
            )
        self.ttl_ns = ttl_ns
        self._confirmed_ns = sent_ns
        self._attempt_ns = sent_ns
        self._ended = False

    def __repr__(self) -> str:
        return f"<Lease of {self.ttl_ns} ns, confirmed at {self._confirmed_ns}{', ended' if self._ended else ''}>"

    @property
    def ends_ns(self) -> int:
        """Time from which the lease no longer counts, unless it is renewed."""
        return self._confirmed_ns + self.ttl_ns - self.margin_ns

    def holds(self, now_ns: int) -> bool:
        """True while this node is certainly primary."""
        return not self._ended and now_ns < self.ends_ns

    @property
    def next_renewal_ns(self) -> int:
        """Time of the next renewal: a quarter of the usable time after the last attempt."""
        return self._attempt_ns + (self.ttl_ns - self.margin_ns) // _RENEWALS

    def renewal_sent(self, sent_ns: int) -> None:
        """Note an attempt, whatever comes of it."""
        self._attempt_ns = max(self._attempt_ns, sent_ns)

    def renewed(self, sent_ns: int, ttl_ns: int) -> None:
        """Note that the renewal sent at ``sent_ns`` was confirmed, for ``ttl_ns``. Confirmations may come in any order.

        The arbiter may grant another time than before, such as an etcd whose election timeout was changed.
        """
        if sent_ns >= self._confirmed_ns:
            self._confirmed_ns, self.ttl_ns = sent_ns, ttl_ns

    def lost(self) -> None:
        """End the lease for good: the arbiter refused a renewal, or this node released it."""
        self._ended = True
