"""Throttle of a session: messages of the application that a user may send in a second. Pure: times are given."""

from typing import Final

_SECOND_NS: Final = 1_000_000_000


class Throttle:
    """Tokens that fill by the clock, one for each message. rate: of them a second; burst: that it holds at most."""

    def __init__(self, rate: int, burst: int, now_ns: int) -> None:
        self._rate, self._full = rate, burst * _SECOND_NS
        self._held, self._at_ns = self._full, now_ns  # in parts of a token: a second's worth of one

    def left(self, now_ns: int) -> int:
        """Messages that may be taken now.

        >>> throttle = Throttle(2, 3, 0)
        >>> throttle.take(3), throttle.left(0), throttle.left(600_000_000)
        (None, 0, 1)
        """
        passed_ns = max(now_ns - self._at_ns, 0)  # a clock that goes back gives nothing
        self._held = min(self._full, self._held + passed_ns * self._rate)
        self._at_ns = now_ns
        return self._held // _SECOND_NS

    def take(self, messages: int) -> None:
        """Count messages, as many as ``left`` said at most."""
        self._held -= messages * _SECOND_NS

    def wait_ns(self) -> int:
        """Time from the last ``left`` until a message may be taken; 0: now."""
        return -(min(self._held - _SECOND_NS, 0) // self._rate)
