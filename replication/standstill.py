"""Standstill of a disk: the time for which its journal stands at one command while more is to be written. Pure."""


class Standstill:
    """Time since the last move of a position, while it is behind.

    >>> still = Standstill()
    >>> [still.look(now_ns, 7, 9) for now_ns in (100, 150)], still.look(160, 8, 9), still.look(200, 8, 9)
    ([0, 50], 0, 40)
    """

    def __init__(self) -> None:
        self._seq = -1
        self._since_ns: int | None = None

    def look(self, now_ns: int, seq: int, wanted_seq: int, pause_ns: int = 0) -> int:
        """Length of the standstill in nanoseconds; 0 if the position has moved, or has all that is wanted.

        now_ns: monotonic. pause_ns: time since the last look in which nobody could have seen a move.
        """
        if self._since_ns is None or seq != self._seq or seq >= wanted_seq:
            self._seq, self._since_ns = seq, now_ns
        self._since_ns = min(self._since_ns + pause_ns, now_ns)
        return now_ns - self._since_ns
