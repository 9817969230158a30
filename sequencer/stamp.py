"""Stamping: the only place where time enters the market.

A command bears no time of its own; its time is the newest CLOCK row before it. Live, the clock is read once a
batch, and a CLOCK row is put in front of it when the time has moved. Files (scenarios, LOBSTER) bring their own
CLOCK rows, which are taken as they are. Either way the block that goes into the journal holds all that decides
its outcome, and its header repeats the clock in force at its end.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.limits import COMMANDS_PER_CALL_MAX, TIME_NS_MAX
from engine.records import COMMAND, CommandKind
from replay.times import ClockPosition, clock_after

#: Rows of one block at most: the bound of the engine's one call.
BLOCK_COMMANDS_MAX: Final = COMMANDS_PER_CALL_MAX


class StampError(ValueError):
    """A batch that may not be sequenced."""


class Stamped(NamedTuple):
    """A block as it goes into the journal: COMMAND rows (owned, contiguous) and the clock in force at its end, in
    ns."""

    commands: NDArray[Any]
    time_ns: int


class FileStamp:
    """For rows that hold their own CLOCK rows. ``now_ns``: the clock in force before the first batch
    (``engine.now_ns``); ``extended``: whether an EXTEND row stands before it, which then belongs to its first row."""

    def __init__(self, now_ns: int = 0, *, extended: bool = False) -> None:
        self._position = ClockPosition(now_ns, extended)

    def __call__(self, batch: NDArray[Any]) -> Iterator[Stamped]:
        """The batch in blocks of at most ``BLOCK_COMMANDS_MAX`` rows. Raises StampError unless it is COMMAND rows."""
        for commands in _cut(batch, BLOCK_COMMANDS_MAX):
            self._position = clock_after(commands, self._position)
            yield Stamped(commands, self._position.now_ns)


class LiveStamp:
    """For rows that arrive now: puts the CLOCK row in front. The clock never goes back, whatever its source does.

    ``now_ns``: the clock in force before the first batch (``engine.now_ns``). ``clock``: gives ns since 1970.
    """

    def __init__(self, now_ns: int = 0, clock: Callable[[], int] = time.time_ns) -> None:
        self._position = ClockPosition(now_ns)
        self._clock = clock

    def __call__(self, batch: NDArray[Any]) -> Iterator[Stamped]:
        """The batch in blocks, the time in front. Raises StampError when the batch has a CLOCK row or is no COMMAND
        rows."""
        for arrived in _cut(batch, BLOCK_COMMANDS_MAX - 1):
            commands = arrived
            if bool((commands["kind"] == CommandKind.CLOCK).any()):
                raise StampError(
                    "a live batch has a CLOCK row; only the sequencer sets the time, so refuse it at the gateway"
                )
            now_ns = min(self._clock(), TIME_NS_MAX)
            # An EXTEND row and its command stay together, so the time then moves with the next block.
            if now_ns > self._position.now_ns and not self._position.extended:
                commands = np.concatenate((_clock_row(now_ns), commands.view(np.uint8))).view(COMMAND)
            self._position = clock_after(commands, self._position)
            yield Stamped(commands, self._position.now_ns)


def _clock_row(now_ns: int) -> NDArray[np.uint8]:
    row = np.zeros(1, COMMAND)
    row["kind"] = CommandKind.CLOCK
    row["time_ns"] = now_ns
    return row.view(np.uint8)


def _cut(batch: NDArray[Any], rows_max: int) -> Iterator[NDArray[Any]]:
    if batch.dtype != COMMAND or batch.ndim != 1:
        raise StampError(f"a batch must be one row of COMMAND rows; this is {batch.ndim} dimensions of {batch.dtype}")
    for start in range(0, len(batch), rows_max):
        commands = batch[start : start + rows_max]
        owned = commands.flags.c_contiguous and commands.flags.aligned and commands.flags.writeable
        # The engine's kernels are compiled for owned rows; a strided or read-only view would compile another variant.
        # Bytes are copied, not rows: NumPy copies overlapping fields one by one, a hundred times slower.
        yield commands if owned else np.ascontiguousarray(commands).view(np.uint8).copy().view(COMMAND)
