"""Doorbells for those who sleep in Python. ``bell`` has the protocol."""

from typing import Any, Final

import numpy as np

from engine.jit import INTERPRETED
from tape.bell import arm_bell, ring_alone
from tape.machine import barrier_everywhere, register_for_barriers, wait_on
from tape.places import BELL_ARMED, BELL_FENCED, BELL_RINGS

#: Longest sleep where the barrier failed: a ring that was missed costs no more than that.
UNSURE_NS: Final = 1_000_000

#: Result of the registration of this process, once it has one.
_registered: list[bool] = []


def take_part(words: "np.ndarray[Any, Any]", bell: int) -> None:
    """Register this process as one that rings the bell; where it cannot be, all who ring it use fences from then on."""
    if not _registered:
        _registered.append(register_for_barriers())
    if not _registered[0]:
        words[bell + BELL_FENCED] = 1


class Doorbell:
    """Doorbell at a place of shared words."""

    def __init__(self, words: "np.ndarray[Any, Any]", place: int) -> None:
        self._words = words
        self._place = int(place)
        self._rings = 0
        self._sure = False

    def arm(self) -> None:
        """Say that one is about to sleep. Look for work after this, and call ``sleep`` if there is none."""
        self._rings = arm_bell(self._words, self._place)
        fenced = bool(self._words[self._place + BELL_FENCED]) and not INTERPRETED
        self._sure = fenced or barrier_everywhere()

    def disarm(self) -> None:
        """Say that one is awake, and looks by itself: it does not ring until ``arm``."""
        self._words[self._place + BELL_ARMED] = 0

    def sleep(self, wait_ns: int) -> None:
        """Sleep until the bell rings, after ``arm`` was called, but no longer than ``wait_ns``. It may end for no
        reason."""
        limit_ns = wait_ns if self._sure else min(wait_ns, UNSURE_NS)
        wait_on(self._words, self._place + BELL_RINGS, self._rings, limit_ns)

    @property
    def is_sure(self) -> bool:
        """True if no ring is missed since the bell was armed; else look again within ``UNSURE_NS``."""
        return self._sure

    def ring(self) -> None:
        """Wake who sleeps."""
        ring_alone(self._words, self._place)
