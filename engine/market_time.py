"""Market time among COMMAND rows: the clock in force at each of them, by the engine's own rule (``engine.clock``).

Time is input: the clock in force at a command is the newest CLOCK row before it that the engine accepted. A CLOCK row
that is malformed, that goes back, or that follows an EXTEND row is refused (rulebook section 13) and moves nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS
from engine.records import COMMAND, CommandKind

_CLOCK: Final = int(CommandKind.CLOCK)
_EXTEND: Final = int(CommandKind.EXTEND)


def session_day_of(time_ns: int, day_start_ns: int) -> int:
    """Date of the session of the trading day that a time is in: that of its last moment, in days since 1970-01-01."""
    return (time_ns - day_start_ns) // DAY_NS + (day_start_ns != 0)


@cache
def _kernel() -> Callable[..., int]:
    """The engine's own rule. Loaded at the first CLOCK row: what meets none starts half a second sooner."""
    from engine import clock, jit

    return jit.quiet(clock.clock_rows)


@dataclass(frozen=True)
class ClockPosition:
    """The clock in force after a command, in ns since 1970, and whether an EXTEND row waits for its command."""

    now_ns: int = 0
    extended: bool = False


def clock_rows(commands: NDArray[Any], position: ClockPosition) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Index and value (ns) of the CLOCK rows among ``commands`` that the engine takes, given the position before
    them."""
    if not (commands["kind"] == _CLOCK).any():
        return np.empty(0, np.intp), np.empty(0, np.int64)
    at, values_ns = np.empty(len(commands), np.int64), np.empty(len(commands), np.int64)
    # A compiled kernel knows one type of array: rows that it could write to. A copy of a read-only block costs little.
    rows = commands if commands.flags.writeable else commands.view(np.uint8).copy().view(COMMAND)
    count = _kernel()(rows, position.now_ns, int(position.extended), at, values_ns)
    return at[:count], values_ns[:count]


def clock_at_each(commands: NDArray[Any], position: ClockPosition) -> NDArray[np.int64]:
    """The clock in force at each of ``commands`` (ns): a CLOCK row that the engine takes already counts at itself."""
    at, values = clock_rows(commands, position)
    clock: NDArray[np.int64] = np.concatenate((np.array([position.now_ns], np.int64), values))
    return clock[np.searchsorted(at, np.arange(len(commands)), side="right")]


def clock_after(commands: NDArray[Any], position: ClockPosition) -> ClockPosition:
    """The clock's position after ``commands``."""
    if len(commands) == 0:
        return position
    values = clock_rows(commands, position)[1]
    now_ns = int(values[-1]) if len(values) else position.now_ns
    return ClockPosition(now_ns, ends_extended(commands))


def ends_extended(commands: NDArray[Any]) -> bool:
    """True if the last of ``commands`` is an EXTEND row that waits for the next command."""
    last = commands[-1:]
    if int(last["kind"][0]) != _EXTEND:
        return False
    from engine.form import UNUSED

    return not (last.view(np.int64) & UNUSED[_EXTEND]).any()
