"""Rings of commands: one for each source, with one producer and one consumer.

``gateway.ring_reading`` takes from all of them in turn.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.jit import Packed
from tape.errors import TapeBusy, TapeError
from tape.form import Rows
from tape.places import RING_WORDS, RingPlace
from tape.ring import (
    BROKEN,
    HEAD,
    MESSAGE_ROWS_MAX,
    NOTE,
    NOTE_WORDS,
    OWN,
    SEEN,
    STATE,
    TAIL,
    TOO_LONG,
    Ring,
    consumer_sleeps,
    put_rows,
)
from tape.shared_file import OWNER_PLACE, SharedFile, attach, create
from tape.words import load_sequence

#: Rows of a ring where the caller names none.
RING_ROWS: Final = 4_096
_PRODUCER_PLACE: Final = 1


def _parts(data: NDArray[np.int64], rows: int, row_words: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return data[: rows * row_words], data[rows * row_words : rows * (row_words + NOTE_WORDS)]


class Inbound:
    """Consumer's side of a ring, which owns its file. rows: rounded up to a power of two.

    Raises TapeBusy, TapeRoom, TapeError.
    """

    def __init__(self, path: Path, journal_id: bytes, rows: Rows, *, size: int = RING_ROWS) -> None:
        count = 1 << max(size - 1, 1).bit_length()
        row_words = rows.commands.itemsize // 8
        form = rows.ring_form(journal_id)
        self._file: SharedFile = create(path, form, words=RING_WORDS, data=count * (row_words + NOTE_WORDS))
        words = self._file.words
        words[RingPlace.ROWS] = count
        self.dtype = rows.commands
        self.ring = Packed(
            Ring(
                words,
                *_parts(self._file.data, count, row_words),
                np.array([count, row_words], np.int64),
                np.zeros(3, np.int64),
            )
        )

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self._file.path

    @property
    def broken(self) -> bool:
        """True if the producer wrote what none of this release writes; nothing more is taken from it."""
        return bool(self.ring.arrays.mine[STATE])

    @property
    def taken_rows(self) -> int:
        """Rows that were taken since the ring began."""
        return int(self.ring.arrays.mine[OWN])

    def published_rows(self) -> int:
        """Rows that were published since the ring began, as the producer says."""
        return int(load_sequence(self._file.words, TAIL))

    def waiting_rows(self) -> int:
        """Rows that were published and not yet taken."""
        return int(self._file.words[TAIL]) - int(self.ring.arrays.mine[OWN])

    def has_producer(self) -> bool:
        """True while a living process produces."""
        return self._file.is_locked(_PRODUCER_PLACE)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


class Producer:
    """Producer's side of a ring. ``put`` never waits.

    Raises TapeBusy if another process produces, TapeError.
    """

    def __init__(self, path: Path, journal_id: bytes, rows: Rows) -> None:
        self._file: SharedFile = attach(path, rows.ring_form(journal_id))
        words, self._dtype = self._file.words, rows.commands
        count, row_words = int(words[RingPlace.ROWS]), rows.commands.itemsize // 8
        if not self._file.lock(_PRODUCER_PLACE):
            self._file.close()
            raise TapeBusy(f"another process sends commands by {path}; stop it first")
        if count < 2 or count & (count - 1) or count * (row_words + NOTE_WORDS) > len(self._file.data):
            self._file.close()
            raise TapeError(f"{path} says that it has {count} rows, which cannot be; start the market again")
        mine = np.zeros(3, np.int64)
        mine[OWN], mine[SEEN] = words[TAIL], words[HEAD]
        parts = _parts(self._file.data, count, row_words)
        size = np.array([count, row_words], np.int64)
        self.ring = Packed(Ring(words, *parts, size, mine))

    def __enter__(self) -> "Producer":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, commands: NDArray[Any], *, source: int = 0, tag: int = 0) -> bool:
        """Put one message, all of its rows or none; False if the ring is full. Raises TapeError."""
        notes = np.zeros(len(commands), NOTE)
        notes["source"], notes["tag"] = source, tag
        notes["rows"][:1] = len(commands)
        if not 1 <= len(commands) <= MESSAGE_ROWS_MAX:
            raise TapeError(f"a message has {len(commands)} rows; it must have 1 to {MESSAGE_ROWS_MAX}")
        return self.put_all(commands, notes)

    def put_all(self, commands: NDArray[Any], notes: NDArray[Any]) -> bool:
        """Put several messages at once, all or none; False if the ring is full. Each has its rows in its first note."""
        if commands.dtype != self._dtype or notes.dtype != NOTE or len(commands) != len(notes):
            raise TapeError("rows and notes of a ring must be of its types, and as many")
        return self.put_packed(bytearray(commands.tobytes()), bytearray(notes.tobytes()))

    def put_packed(self, commands: bytearray, notes: bytearray) -> bool:
        """``put_all`` of rows and notes as bytes: NumPy takes a while to see rows of named places as words."""
        rows, words = np.frombuffer(commands, np.int64), np.frombuffer(notes, np.int64)
        count = len(words) // NOTE_WORDS
        result = put_rows(self.ring.pointers, rows, words, count)
        if result == TOO_LONG:
            raise TapeError(f"{count} rows do not fit into a ring of {self.ring.arrays.size[0]} rows")
        if result == BROKEN:
            raise TapeError(f"the consumer of {self._file.path} took what was never put; start the market again")
        return bool(result > 0)

    @property
    def rows(self) -> int:
        """Rows of the ring."""
        return int(self.ring.arrays.size[0])

    def must_wake(self) -> bool:
        """True if the consumer sleeps in a poll of descriptors, after something was put."""
        return bool(consumer_sleeps(self._file.words))

    def untaken_rows(self) -> int:
        """Rows that were put and not yet taken."""
        return int(self.ring.arrays.mine[OWN]) - int(self._file.words[HEAD])

    def consumer_lives(self) -> bool:
        """False once the market has ended."""
        return self._file.is_locked(OWNER_PLACE)

    def close(self) -> None:
        """Give the ring to the next producer. What was put stays."""
        self._file.close()
