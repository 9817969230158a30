"""Stamping: the only place where time enters the market.

A command row has no time; its time is that of the newest CLOCK row before it. Live, the clock is read once a batch, and
a CLOCK row is put in front of it when the time has moved. Files (scenarios, LOBSTER) have their own CLOCK rows, which
stay as they are. In both cases the block in the journal has all that decides its outcome, and its header repeats the
clock in force at its end.
"""

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import COMMANDS_PER_CALL_MAX, TIME_NS_MAX
from engine.epochs import has_epochs
from engine.market_time import ClockPosition, clock_after, ends_extended
from engine.records import COMMAND, CommandKind

#: Rows of a block at most: the bound of one call of the engine.
BLOCK_COMMANDS_MAX: Final = COMMANDS_PER_CALL_MAX
_ROW_BYTES: Final = COMMAND.itemsize
_KIND_AT: Final = int(COMMAND.fields["kind"][1])  # type: ignore[index]
_CLOCK: Final = int(CommandKind.CLOCK)
_EXTEND: Final = int(CommandKind.EXTEND)
_EPOCH: Final = int(CommandKind.EPOCH)
#: Layout of a CLOCK row: time in the first place, and kind.
_CLOCK_ROW: Final = struct.Struct(f"<q{_KIND_AT - 8}xB{_ROW_BYTES - _KIND_AT - 1}x")


class StampError(ValueError):
    """A batch that may not be sequenced."""


class StampedBlock(NamedTuple):
    """Block for the journal: COMMAND rows (owned, contiguous), the clock in force at its end in ns, and the same rows
    as bytes. ``has_epochs``: False if there is no EPOCH row in it.
    """

    commands: NDArray[Any]
    time_ns: int
    rows: bytearray | memoryview
    has_epochs: bool = False


class FileStamp:
    """Stamp for batches with their own CLOCK rows. ``now_ns``: the clock in force before the first batch
    (``engine.now_ns``); ``extended``: True if an EXTEND row stands before it, which belongs to its first row.
    """

    def __init__(self, now_ns: int = 0, *, extended: bool = False) -> None:
        self._position = ClockPosition(now_ns, extended)

    def __call__(self, batch: NDArray[Any]) -> Iterator[StampedBlock]:
        """Cut a batch into blocks of at most ``BLOCK_COMMANDS_MAX``. Raises StampError unless it is COMMAND rows."""
        for commands in _cut(batch, BLOCK_COMMANDS_MAX):
            self._position = clock_after(commands, self._position)
            yield StampedBlock(commands, self._position.now_ns, commands.view(np.uint8).data, has_epochs(commands))


class LiveStamp:
    """Stamp for rows that arrive live: it puts a CLOCK row in front. The clock never goes back, whatever its source
    gives.

    ``now_ns``: the clock in force before the first batch (``engine.now_ns``). ``clock``: gives ns since 1970; of a
    node, a ``MarketClock``. ``extended``: True if an EXTEND row stands before the first batch. Rows are copied, so the
    caller may write over its batch at once.
    """

    def __init__(self, now_ns: int = 0, clock: Callable[[], int] = time.time_ns, *, extended: bool = False) -> None:
        self._now_ns = now_ns
        self._extended = extended
        self._clock = clock

    def __call__(self, batch: NDArray[Any]) -> Iterator[StampedBlock]:
        """Cut a batch into blocks with the time in front. Raises StampError if the batch has a CLOCK row or is no
        COMMAND rows.
        """
        if batch.dtype is not COMMAND or batch.ndim != 1:
            _check(batch)
        # Bytes are joined, not rows, which saves a few microseconds for a batch of one row.
        arrived = batch.tobytes() if batch.flags.c_contiguous else _owned(batch).tobytes()
        kinds = arrived[_KIND_AT::_ROW_BYTES]
        if _CLOCK in kinds:
            raise StampError("a live batch has a CLOCK row; only the sequencer sets the time; reject it at the gateway")
        step = (BLOCK_COMMANDS_MAX - 1) * _ROW_BYTES
        epochs = _EPOCH in kinds
        if len(arrived) <= step:
            return iter((self._block(arrived, epochs),) if arrived else ())
        return (self._block(arrived[start : start + step], epochs) for start in range(0, len(arrived), step))

    @property
    def now_ns(self) -> int:
        """The clock in force after the last block."""
        return self._now_ns

    @property
    def extended(self) -> bool:
        """True if an EXTEND row stands before the next batch."""
        return self._extended

    def go_on(self, now_ns: int, *, extended: bool) -> None:
        """Go on after blocks that were stamped elsewhere; the arguments are as of a new stamp."""
        self._now_ns, self._extended = now_ns, extended

    def alone(self) -> Iterator[StampedBlock]:
        """Make a block of the time alone, for timers on a quiet market. No block if the time has not moved, or if an
        EXTEND row waits for its command.
        """
        moved = not self._extended and min(self._clock(), TIME_NS_MAX) > self._now_ns
        return iter((self._block(b"", False),) if moved else ())

    def _block(self, arrived: bytes, epochs: bool) -> StampedBlock:
        now_ns = min(self._clock(), TIME_NS_MAX)
        # An EXTEND row and its command stay together, so the time then moves with the next block.
        if now_ns > self._now_ns and not self._extended:
            self._now_ns = now_ns
            rows = bytearray(_CLOCK_ROW.pack(now_ns, _CLOCK))
            rows += arrived
        else:
            rows = bytearray(arrived)
        commands = np.frombuffer(rows, COMMAND)
        # Equal to clock_after: the one CLOCK row is complete and later, and the last row may be an EXTEND.
        self._extended = rows[_KIND_AT - _ROW_BYTES] == _EXTEND and ends_extended(commands)
        return StampedBlock(commands, self._now_ns, rows, epochs)


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
