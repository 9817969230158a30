"""Counts a second over the last few seconds, from counts since the start."""

from collections import deque
from collections.abc import Mapping
from typing import Final

#: Seconds over which a rate is taken.
WINDOW_S: Final = 5


class Rates:
    """Rates of counts. Call ``roll`` once a second with the counts so far."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, dict[str, int]]] = deque(maxlen=WINDOW_S + 1)

    def roll(self, now_s: float, counts: Mapping[str, int]) -> None:
        """Take the counts after another second."""
        self._past.append((now_s, dict(counts)))

    def per_s(self) -> dict[str, float]:
        """Rates as ``NAME_per_s``; 0 before the second call of ``roll``."""
        if len(self._past) < 2:
            return {f"{name}_per_s": 0.0 for _, counts in self._past for name in counts}
        (then_s, before), (now_s, after) = self._past[0], self._past[-1]
        return {
            f"{name}_per_s": round((count - before.get(name, 0)) / max(now_s - then_s, 1e-9), 1)
            for name, count in after.items()
        }
