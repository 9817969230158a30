"""Readers of the tape, in any process of the same user."""

import os
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.jit import Packed
from tape import blocks
from tape.bell_watch import BellWatch
from tape.blocks import AT, COMMANDS, EPOCH, EVENTS, FIRST_SEQ, HEAD_WORDS, LENGTH, MINE, REPORTS, SLOT, TIME_NS
from tape.doorbell import Doorbell, take_part
from tape.errors import TapeError
from tape.form import Rows
from tape.places import (
    BELL_ARMED,
    READER_NAME,
    READER_PID,
    READER_POSITION,
    READERS_MAX,
    RELEASE_BELLS_MAX,
    Place,
)
from tape.shared_file import OWNER_PLACE, SharedFile, attach
from tape.words import load_sequence
from tape.writer import Standing, packed_name, release_bell, sizes, slot, standings, unpacked_name

_ROWS_AT_FIRST: Final = 4_096
_ENDED: Final = int(Place.ENDED)


class Result(IntEnum):
    """Result of a reading."""

    BLOCK = blocks.BLOCK
    NOTHING = blocks.NOTHING
    OVERRUN = blocks.OVERRUN
    AHEAD = blocks.AHEAD


class Block(NamedTuple):
    """A block. Its rows are overwritten by the next reading of the same reader: copy what is to be kept."""

    first_seq: int
    epoch: int
    time_ns: int
    commands: NDArray[Any]
    events: NDArray[Any]
    reports: NDArray[Any]

    @property
    def last_seq(self) -> int:
        """Sequence number of its last command."""
        return self.first_seq + len(self.commands) - 1


class TapeReader:
    """A reader, which begins with the next block (``join`` goes elsewhere). A name shows in ``readers``.

    ``tape`` is for kernels that read blocks. Raises TapeError.
    """

    def __init__(self, path: Path, journal_id: bytes, rows: Rows, *, name: str = "") -> None:
        self._rows = rows
        self._file: SharedFile = attach(path, rows.tape_form(journal_id))
        words = self._file.words
        self._mine = np.zeros(MINE, np.int64)
        self._head = np.zeros(HEAD_WORDS, np.int64)
        self._room: NDArray[np.int64] = np.zeros(_ROWS_AT_FIRST * 8, np.int64)
        self.tape = Packed(
            blocks.Tape(words, self._file.data, sizes(len(self._file.data), rows), self._mine, self._head)
        )
        self._mine[AT] = load_sequence(words, int(Place.PUBLISHED))
        take_part(words, Place.READERS_BELL)  # a thread of a reader may wake another
        self.next_seq = 0
        self._release_place = 0  # of its own doorbell, once it has one
        if name:
            try:
                self._take_place(name)
            except TapeError:
                self._file.close()
                raise

    def __enter__(self) -> "TapeReader":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_place(self, name: str) -> None:
        words, packed = self._file.words, packed_name(name)
        for n in range(READERS_MAX):
            place = slot(n)
            if self._file.lock(n + 1):
                words[place + READER_POSITION] = self._mine[AT]
                words[place + READER_PID], words[place + READER_NAME] = os.getpid(), packed
                self._mine[SLOT] = place
                return

    @property
    def bell(self) -> Doorbell:
        """Doorbell on which readers sleep. It rings for each block and each word."""
        return Doorbell(self._file.words, Place.READERS_BELL)

    @property
    def release_bell(self) -> Doorbell:
        """Doorbell that rings for what may be told, and for the end, and for nothing else; of this reader alone.

        Raises TapeError where all have an owner.
        """
        return Doorbell(self._file.words, self.release_place)

    def release_watch(self) -> BellWatch:
        """Watch of that doorbell for an event loop. Raises TapeError."""
        return BellWatch(self._file.words, self.release_place)

    @property
    def release_place(self) -> int:
        """Index of the words of that doorbell. Raises TapeError."""
        if not self._release_place:
            taken = (n for n in range(RELEASE_BELLS_MAX) if self._file.lock(1 + READERS_MAX + n))
            number = next(taken, -1)
            if number < 0:
                raise TapeError(f"{RELEASE_BELLS_MAX} programs wait for answers from {self._file.path}; end one")
            self._release_place = release_bell(number)
            self._file.words[self._release_place + BELL_ARMED] = 0  # as a killed one may have left it
        return self._release_place

    def read(self) -> tuple[Result, Block | None]:
        """Copy the next block: BLOCK, NOTHING, or OVERRUN if it is no longer there (``join`` says what is).

        Raises TapeError for bytes that no writer writes.
        """
        while True:
            result = blocks.read_block(self.tape.pointers, self._room)
            if result != blocks.TOO_LONG:
                break
            self._room = np.zeros(2 * int(self._head[LENGTH]), np.int64)
        return self._told(result), self._block(self._room) if result == blocks.BLOCK else None

    def join(self, seq: int) -> tuple[Result, int]:
        """Go to the block with this sequence number; gives the result and the first number that is on the tape.

        BLOCK: ``read`` gives the block that has it. NOTHING: it is the next one. AHEAD: it comes later. OVERRUN: it was
        before the first number on the tape, where the reader now stands; read the journal up to there, and join again.
        The number is 0 where there is no block.
        """
        result, first = blocks.join(self.tape.pointers, seq)
        return self._told(result), int(first)

    def _told(self, result: int) -> Result:
        if result == blocks.DAMAGED:
            raise TapeError(f"{self._file.path} has a block that no writer of this release writes; stop the market")
        return Result(result)

    def _block(self, words: NDArray[np.int64]) -> Block:
        head, parts, at = self._head, [], 0
        for count, dtype in (
            (COMMANDS, self._rows.commands),
            (EVENTS, self._rows.events),
            (REPORTS, self._rows.reports),
        ):
            # No view of a slice: NumPy looks at each place of the type then.
            rows = int(head[count])
            parts.append(np.ndarray((rows,), dtype, words.data, 8 * at))
            at += rows * (dtype.itemsize // 8)
        self.next_seq = int(head[FIRST_SEQ]) + int(head[COMMANDS])
        return Block(int(head[FIRST_SEQ]), int(head[EPOCH]), int(head[TIME_NS]), *parts)

    def lag_words(self) -> int:
        """Words between this reader and the last published block."""
        return int(load_sequence(self._file.words, int(Place.PUBLISHED))) - int(self._mine[AT])

    def load(self, place: int) -> int:
        """The sequence number at a place."""
        return int(load_sequence(self._file.words, int(place)))

    def beat_ns(self) -> int:
        """Time of the monotonic clock at which the core last knew the market to go on; 0: not yet."""
        return int(load_sequence(self._file.words, int(Place.BEAT)))

    def pulse_ns(self) -> int:
        """Time of the monotonic clock at which the core last ran, whatever it knew of the market; 0: not yet."""
        return int(load_sequence(self._file.words, int(Place.PULSE)))

    def readers(self) -> list[Standing]:
        """All readers with a place, this one included."""
        own = unpacked_name(self._file.words[self._mine[SLOT] + READER_NAME]) if self._mine[SLOT] else ""
        return standings(self._file, own)

    def writer_lives(self) -> bool:
        """False once the core has ended or died: what was published can still be read."""
        return self._file.is_locked(OWNER_PLACE) and not load_sequence(self._file.words, _ENDED)

    def ended(self) -> bool:
        """True if the core ended in order: no more blocks follow those that are published."""
        return bool(load_sequence(self._file.words, int(Place.ENDED)))

    def close(self) -> None:
        """Give up the place."""
        if self._mine[SLOT]:
            self._file.words[self._mine[SLOT] + READER_NAME] = 0
        self._file.close()
