"""Stamping: the only place where time enters the market.

A command bears no time of its own; its time is the newest CLOCK row before it. Live, the clock is read once a
batch, and a CLOCK row is put in front of it when the time has moved. Files (scenarios, LOBSTER) bring their own
CLOCK rows, which are taken as they are. Either way the block that goes into the journal holds all that decides
its outcome, and its header repeats the clock in force at its end.
"""

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.limits import COMMANDS_PER_CALL_MAX, TIME_NS_MAX
from engine.market_time import ClockPosition, clock_after, ends_extended
from engine.records import COMMAND, CommandKind

#: Rows of one block at most: the bound of the engine's one call.
BLOCK_COMMANDS_MAX: Final = COMMANDS_PER_CALL_MAX
_ROW_BYTES: Final = COMMAND.itemsize
_KIND_AT: Final = int(COMMAND.fields["kind"][1])  # type: ignore[index]
_CLOCK: Final = int(CommandKind.CLOCK)
_EXTEND: Final = int(CommandKind.EXTEND)
#: A CLOCK row: its time in the first place, its kind, and nothing else.
_CLOCK_ROW: Final = struct.Struct(f"<q{_KIND_AT - 8}xB{_ROW_BYTES - _KIND_AT - 1}x")


class StampError(ValueError):
    """A batch that may not be sequenced."""


class StampedBlock(NamedTuple):
    """A block as it goes into the journal: COMMAND rows (owned, contiguous), the clock in force at its end in ns, and
    the same rows as bytes."""

    commands: NDArray[Any]
    time_ns: int
    rows: bytearray | memoryview


class FileStamp:
    """For rows that hold their own CLOCK rows. ``now_ns``: the clock in force before the first batch
    (``engine.now_ns``); ``extended``: whether an EXTEND row stands before it, which then belongs to its first row."""

    def __init__(self, now_ns: int = 0, *, extended: bool = False) -> None:
        self._position = ClockPosition(now_ns, extended)

    def __call__(self, batch: NDArray[Any]) -> Iterator[StampedBlock]:
        """The batch in blocks of at most ``BLOCK_COMMANDS_MAX`` rows. Raises StampError unless it is COMMAND rows."""
        for commands in _cut(batch, BLOCK_COMMANDS_MAX):
            self._position = clock_after(commands, self._position)
            yield StampedBlock(commands, self._position.now_ns, commands.view(np.uint8).data)


class LiveStamp:
    """For rows that arrive now: puts the CLOCK row in front. The clock never goes back, whatever its source does.

    ``now_ns``: the clock in force before the first batch (``engine.now_ns``). ``clock``: gives ns since 1970; of a
    node, a ``MarketClock``. ``extended``: whether an EXTEND row stands before the first batch. Rows are copied, so the
    caller may write over its batch at once.
    """

    def __init__(self, now_ns: int = 0, clock: Callable[[], int] = time.time_ns, *, extended: bool = False) -> None:
        self._now_ns = now_ns
        self._extended = extended
        self._clock = clock

    def __call__(self, batch: NDArray[Any]) -> Iterator[StampedBlock]:
        """The batch in blocks, the time in front. Raises StampError when the batch has a CLOCK row or is no COMMAND
        rows; nothing of a batch with a CLOCK row is stamped."""
        if batch.dtype is not COMMAND or batch.ndim != 1:
            _check(batch)
        # Bytes are looked at and joined, not rows: that costs a batch of one a few microseconds less each time.
        arrived = batch.tobytes() if batch.flags.c_contiguous else _owned(batch).tobytes()
        if _CLOCK in arrived[_KIND_AT::_ROW_BYTES]:
            raise StampError(
                "a live batch has a CLOCK row; only the sequencer sets the time, so refuse it at the gateway"
            )
        step = (BLOCK_COMMANDS_MAX - 1) * _ROW_BYTES
        if len(arrived) <= step:
            return iter((self._block(arrived),) if arrived else ())
        return (self._block(arrived[start : start + step]) for start in range(0, len(arrived), step))

    def alone(self) -> Iterator[StampedBlock]:
        """The time alone, for what happens by the clock where nobody sends anything. No block where it has not moved,
        or where an EXTEND row waits for its command."""
        moved = not self._extended and min(self._clock(), TIME_NS_MAX) > self._now_ns
        return iter((self._block(b""),) if moved else ())

    def _block(self, arrived: bytes) -> StampedBlock:
        now_ns = min(self._clock(), TIME_NS_MAX)
        # An EXTEND row and its command stay together, so the time then moves with the next block.
        if now_ns > self._now_ns and not self._extended:
            self._now_ns = now_ns
            rows = bytearray(_CLOCK_ROW.pack(now_ns, _CLOCK))
            rows += arrived
        else:
            rows = bytearray(arrived)
        commands = np.frombuffer(rows, COMMAND)
        # What clock_after finds for any rows: the one CLOCK row is whole and later, and the last row may be an EXTEND.
        self._extended = rows[_KIND_AT - _ROW_BYTES] == _EXTEND and ends_extended(commands)
        return StampedBlock(commands, self._now_ns, rows)


def _check(batch: NDArray[Any]) -> None:
    if batch.dtype != COMMAND or batch.ndim != 1:
        raise StampError(f"a batch must be one row of COMMAND rows; this is {batch.ndim} dimensions of {batch.dtype}")


def _owned(commands: NDArray[Any]) -> NDArray[Any]:
    # Bytes are copied, not rows: NumPy copies overlapping fields one by one, a hundred times slower.
    owned: NDArray[Any] = np.ascontiguousarray(commands).view(np.uint8).copy().view(COMMAND)
    return owned


def _cut(batch: NDArray[Any], rows_max: int) -> Iterator[NDArray[Any]]:
    _check(batch)
    for start in range(0, len(batch), rows_max):
        commands = batch[start : start + rows_max]
        owned = commands.flags.c_contiguous and commands.flags.aligned and commands.flags.writeable
        # The engine's kernels are compiled for owned rows; a strided or read-only view would compile another variant.
        yield commands if owned else _owned(commands)
