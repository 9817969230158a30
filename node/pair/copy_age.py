"""Age of a copy: the time since it certainly had all that its primary had. Pure.

A copy that follows is never older than the interval of the primary's beats. Once it is cut off its age grows: what the
primary did in that time may be missing here. Times are nanoseconds of a monotonic clock.
"""


class CopyAge:
    """Age of this node's state, from the last moment at which it was certainly up to date."""

    def __init__(self, now_ns: int, last_command_age_ns: int) -> None:
        """``last_command_age_ns``: age of the last command at the start; nothing later is known before a primary is
        heard.
        """
        self._current_ns = now_ns - max(last_command_age_ns, 0)

    def on_current(self, now_ns: int) -> None:
        """Note that this node has all that the primary says it has."""
        self._current_ns = max(self._current_ns, now_ns)

    def seconds(self, now_ns: int) -> float:
        """Age in seconds.

        >>> age = CopyAge(5_000_000_000, 2_000_000_000)
        >>> age.seconds(5_500_000_000)
        2.5
        >>> age.on_current(5_500_000_000)
        >>> age.seconds(6_000_000_000)
        0.5
        """
        return round(max(now_ns - self._current_ns, 0) / 1e9, 3)
