"""Time on a quiet market: halts and days end without orders, and jumps of the clock are journaled.

Market time stands in CLOCK rows only, and those come with commands. Without commands the node reads the clock itself,
so that the end of a halt, of the call after it, and of a trading day is sequenced at its time: within a few
milliseconds, or within ``LOOK_S`` where it was set less than that before. So is the effect of a command that waits.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS
from engine.interface import MarketEngine
from engine.records import COMMAND, CommandKind

#: Longest interval at which the clock is read, in seconds. A look costs an idle node up to 0.4 ms: its memory is cold.
LOOK_S: Final = 0.25
#: The same while the venue has an entry delay: a command that comes now may be due before the next look.
DELAYED_LOOK_S: Final = 0.001
#: Interval while something is due and there is no room for it, as on a copy.
_OVERDUE_S: Final = 0.02


class Timekeeping:
    """Sequencer of commands that are due by time alone.

    clock: market time. jumps: of the wall clock, not journaled yet, as (time, length) in ns; emptied here. has_room:
    True if anything may be sequenced now. take, tick: sequence rows, or the time alone.
    """

    def __init__(
        self,
        engine: MarketEngine,
        clock: Callable[[], int],
        jumps: deque[tuple[int, int]],
        *,
        has_room: Callable[[], bool],
        take: Callable[[NDArray[Any]], None],
        tick: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._has_room = has_room
        self._take = take
        self._tick = tick
        self._jumps = jumps

    def look(self) -> None:
        """Sequence commands that are due; call it after each ``pause_s``."""
        if not self._has_room():
            return
        now_ns = self._clock()
        if self._jumps:
            rows = np.zeros(len(self._jumps), COMMAND)
            rows["kind"] = CommandKind.CLOCK_JUMP
            rows["time_ns"], rows["jump_ns"] = zip(*self._jumps, strict=True)
            self._jumps.clear()
            self._take(rows)
        elif self._is_due(now_ns):
            self._tick()

    def pause_s(self) -> float:
        """Time until the next look: to what is due next, at most ``LOOK_S``, or ``DELAYED_LOOK_S``."""
        longest_s = DELAYED_LOOK_S if self._engine.speed_bump_ns else LOOK_S
        due_ns = self._due_ns()
        until_s = (due_ns - self._clock()) / 1e9 if due_ns else longest_s
        return min(until_s, longest_s) if until_s > 0 else _OVERDUE_S

    def _is_due(self, now_ns: int) -> bool:
        return 0 < self._due_ns() <= now_ns

    def _due_ns(self) -> int:
        """Time of what is due next, an end of a day among it; 0: nothing."""
        since_ns, due_ns, start_ns = self._engine.now_ns, self._engine.next_due_ns, self._engine.day_start_ns
        day_ns = ((since_ns - start_ns) // DAY_NS + 1) * DAY_NS + start_ns if since_ns > 0 else 0
        return min(due_ns or day_ns, day_ns or due_ns)
