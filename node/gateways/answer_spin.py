"""A short spin for the core's answer before a gateway sleeps: waking a process takes longer than most answers do.

It lasts some tens of microseconds at most, and is given up where nothing came in time, as where answers wait for a
disk: then only one of many messages is followed by a spin, which finds out when that has changed.
"""

import time
from typing import Final

from tape.places import Place
from tape.reader import TapeReader

#: Longest spin, in ns.
SPIN_NS: Final = 40_000
#: Messages from one spin to the next at most, where the last ones found nothing.
_PAUSE_MAX: Final = 256
_RELEASED: Final = int(Place.RELEASED)


class AnswerSpin:
    """Spins of one gateway process, and whether they are worth their processor time."""

    def __init__(self) -> None:
        self._pause = 0  # messages without a spin, after one that found nothing
        self._passed = 0

    @property
    def is_due(self) -> bool:
        """True if a spin follows the present message; ask once a message."""
        self._passed += 1
        return self._passed > self._pause

    def finds(self, tape: TapeReader, seq: int) -> bool:
        """True if something behind command ``seq`` is released, now or in a moment."""
        until_ns = time.perf_counter_ns() + SPIN_NS
        while tape.load(_RELEASED) <= seq:
            if time.perf_counter_ns() > until_ns:
                self.note(found=False)
                return False
        self.note(found=True)
        return True

    def note(self, *, found: bool) -> None:
        """Note whether a spin has found something in time."""
        self._passed = 0
        self._pause = 0 if found else min(2 * self._pause + 1, _PAUSE_MAX)
