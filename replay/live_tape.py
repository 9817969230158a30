"""Reading of a running node's tape; a reader goes on from the journal where the tape does not hold what it wants."""

from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND, EVENT
from replay.market_rows import MARKET_ROWS, tape_of
from tape import TapeError
from tape.places import Place
from tape.reader import Block, Result, TapeReader

_RELEASED: Final = int(Place.RELEASED)


class TapedRows(NamedTuple):
    """Released rows of a block of the tape: COMMAND rows from ``first_seq`` on, with their EVENT rows; copies."""

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]
    time_ns: int  # market time at the end of the block
    extended: bool = False  # a node orders no clock value behind an EXTEND row


class Why(Enum):
    """Reason why there are no rows."""

    #: Nothing was released since.
    NOTHING = "nothing"
    #: The tape has only later commands: it was overrun, or the block was too long for it.
    LOST = "lost"
    #: There is no tape, or its node has ended.
    NONE = "none"


class LiveTape:
    """The tape of whatever node runs in a data directory. It finds that of the next node by itself.

    ``attached``: times that a tape was found; ``lost``: times that what came next was not on it. name: under which the
    node shows this reader; "": not at all.
    """

    def __init__(self, directory: Path, journal_id: bytes, name: str = "") -> None:
        self._directory, self._journal_id, self._name = directory, journal_id, name
        self._reader: TapeReader | None = None
        self._standing = False  # the reader stands where it has to read
        self._held: Block | None = None  # read, and not released when last looked
        self.attached = self.lost = 0

    def find(self) -> bool:
        """True if there is a tape, after a look for one."""
        return self._reader is not None or self._attach()

    def take(self, seq: int) -> TapedRows | Why:
        """Rows of a block that were released, from command ``seq`` on, or the reason for none. Raises TapeError."""
        if not self.find():
            return Why.NONE
        assert self._reader is not None
        found = self._take(self._reader, seq)
        if found is Why.NOTHING and not self._reader.writer_lives():
            found = self._take(self._reader, seq)  # what it published before its end
            if found is Why.NOTHING:
                self.close()
                return Why.NONE
        if found is Why.LOST:
            self.go_back()
            self.lost += 1
        return found

    def standing(self) -> TapeReader | None:
        """The reader for a kernel that takes the next block itself; None where ``take`` has to find it first."""
        return self._reader if self._standing and self._held is None else None

    @property
    def applied_seq(self) -> int | None:
        """Last command of the node; None where there is no tape, as far as the last ``take`` has seen."""
        return None if self._reader is None else self._reader.load(Place.APPLIED)

    @property
    def released_seq(self) -> int | None:
        """Last command of the node that may be told; None where there is no tape, as ``applied_seq``."""
        return None if self._reader is None else self._reader.load(Place.RELEASED)

    def go_back(self) -> None:
        """Forget where the reader stands: the block that was taken last is read elsewhere, or again."""
        self._standing, self._held = False, None

    def _attach(self) -> bool:
        try:
            path = tape_of(self._directory)
            self._reader = TapeReader(path, self._journal_id, MARKET_ROWS, name=self._name)
        except (TapeError, OSError):  # no node runs, or one without a tape
            return False
        self._standing, self._held = False, None
        self.attached += 1
        return True

    def _take(self, reader: TapeReader, seq: int) -> TapedRows | Why:
        released_seq = reader.load(_RELEASED)
        if released_seq < seq:
            return Why.NOTHING
        # It was released, so its block was published before, unless it had no room.
        if not self._standing:
            self._standing = reader.join(seq)[0] is Result.BLOCK
            if not self._standing:
                return Why.LOST
        if self._held is None:
            self._held = reader.read()[1]
        block = self._held
        if block is None or block.first_seq > seq:
            return Why.LOST
        if block.last_seq > released_seq:
            return Why.NOTHING
        self._held = None
        if block.last_seq < seq:
            return self._take(reader, seq)
        return _from(block, seq)

    def close(self) -> None:
        """Leave the tape; the next ``take`` looks for one again."""
        reader, self._reader, self._held = self._reader, None, None
        if reader is not None:
            reader.close()


def _from(block: Block, seq: int) -> TapedRows:
    """Rows of a block from command ``seq`` on, as copies."""
    commands, events = block.commands, block.events
    if seq > block.first_seq:
        commands, events = commands[seq - block.first_seq :], events[int(np.searchsorted(events["seq"], seq)) :]
    return TapedRows(max(seq, block.first_seq), _copied(commands, COMMAND), _copied(events, EVENT), block.time_ns)


def _copied(rows: NDArray[Any], dtype: "np.dtype[Any]") -> NDArray[Any]:
    # As bytes: NumPy would pack rows whose places overlap.
    return np.frombuffer(bytearray(rows.tobytes()), dtype)
