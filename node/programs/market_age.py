"""Age of a market as a program beside the core sees it: that the program lives says nothing of the market.

Three things may stand still while a program goes on: the core, whose beat is on the tape; the release, where something
is applied and may not be told; and the program itself, where something is released and not taken. A quiet market has
none of them, so it is young.
"""

import time
from collections.abc import Callable
from typing import Protocol

from tape.places import Place


class Words(Protocol):
    """Words of a tape, as ``tape.reader.TapeReader`` gives them."""

    def load(self, place: Place) -> int:
        """The sequence number at a place."""
        ...

    def beat_ns(self) -> int:
        """Time of the monotonic clock at which the core last knew the market to go on; 0: not yet."""
        ...


class _Standstill:
    """Time since a number last moved, from the first look that found it behind another."""

    def __init__(self, now_ns: int) -> None:
        self._number, self._moved_ns = -1, now_ns

    def age_ns(self, number: int, to: int, now_ns: int) -> int:
        if number >= to:
            self._number = -1
            return 0
        if number != self._number:
            self._number, self._moved_ns = number, now_ns
        return now_ns - self._moved_ns


class MarketAge:
    """Time for which a market was not seen to go on. taken_seq: the last command that the program has, a function."""

    def __init__(
        self, tape: Words, taken_seq: Callable[[], int], *, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._tape, self._taken_seq, self._now_ns = tape, taken_seq, now_ns
        self._began_ns = now_ns()
        self._release, self._taking = _Standstill(self._began_ns), _Standstill(self._began_ns)

    def look(self) -> float:
        """Seconds; call it some times a second."""
        tape, taken_seq, now_ns = self._tape, self._taken_seq(), self._now_ns()
        released_seq, applied_seq = tape.load(Place.RELEASED), tape.load(Place.APPLIED)
        ages_ns = (
            now_ns - max(tape.beat_ns(), self._began_ns),
            self._release.age_ns(released_seq, applied_seq, now_ns),
            self._taking.age_ns(taken_seq, released_seq, now_ns),
        )
        return max(*ages_ns, 0) / 1e9
