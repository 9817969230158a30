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

    def look(self, now_ns: int) -> int:
        """Length of the pause that ends now, in nanoseconds; 0 for none. ``now_ns``: monotonic."""
        before_ns = now_ns if self._looked_ns is None else self._looked_ns
        self._looked_ns = now_ns
        apart_ns = now_ns - before_ns
        return apart_ns if apart_ns > PAUSE_NS else 0
