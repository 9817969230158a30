"""Pauses of a node itself, such as a sync of its disk: meanwhile it hears nobody, which is no silence of others."""

from typing import Final

#: Longest time between two looks that is no pause.
PAUSE_NS: Final = 100_000_000


class OwnPauses:
    """Pauses between the looks of a node at its clock.

    >>> pauses = OwnPauses()
    >>> [pauses.look(now_ns) // 1_000_000 for now_ns in (5_000_000, 10_000_000, 410_000_000)]
    [0, 0, 400]
    """

    def __init__(self) -> None:
        self._looked_ns: int | None = None
        #: Last pause: when it ended, and its length.
        self._last = (0, 0)

    def look(self, now_ns: int) -> int:
        """Length of the pause that ends now, in nanoseconds; 0 for none. ``now_ns``: monotonic."""
        before_ns = now_ns if self._looked_ns is None else self._looked_ns
        self._looked_ns = now_ns
        apart_ns = now_ns - before_ns
        if apart_ns <= PAUSE_NS:
            return 0
        self._last = (now_ns, apart_ns)
        return apart_ns

    def recent_ns(self, now_ns: int, within_ns: int) -> int:
        """Length of the pause that ends now, or has ended ``within_ns`` ago; 0 for none. The next look is as without.

        >>> pauses = OwnPauses()
        >>> [pauses.look(now_ns) // 1_000_000 for now_ns in (5_000_000, 405_000_000)]
        [0, 400]
        >>> [pauses.recent_ns(now_ns, 50_000_000) // 1_000_000 for now_ns in (415_000_000, 460_000_000, 705_000_000)]
        [400, 0, 300]
        """
        apart_ns = 0 if self._looked_ns is None else now_ns - self._looked_ns
        ended_ns, length_ns = (now_ns, apart_ns) if apart_ns > PAUSE_NS else self._last
        return length_ns if now_ns - ended_ns <= within_ns else 0
