"""Time on a quiet market: halts and days end without orders, and jumps of the clock are journaled.

Market time stands in CLOCK rows only, and those come with commands. Without commands the node reads the clock itself,
so that the end of a halt, of the call after it, and of a trading day is sequenced within ``LOOK_S``.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS
from engine.interface import MarketEngine
from engine.records import COMMAND, CommandKind

#: Interval at which the clock is read, in seconds.
LOOK_S: Final = 0.02


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
        """Sequence commands that are due; call it every ``LOOK_S``."""
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

    def _is_due(self, now_ns: int) -> bool:
        since_ns, due_ns = self._engine.now_ns, self._engine.next_due_ns
        if 0 < due_ns <= now_ns:
            return True
        return since_ns > 0 and now_ns // DAY_NS > since_ns // DAY_NS
