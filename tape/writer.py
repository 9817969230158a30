"""The tape's one writer, which owns its file."""

from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.jit import Packed
from tape.blocks import (
    BLOCK,
    BLOCK_WORDS_MAX,
    HEAD_WORDS,
    MINE,
    PUBLISHED,
    SIZES,
    Tape,
    write_block,
)
from tape.doorbell import take_part
from tape.errors import TapeError
from tape.form import Rows
from tape.places import (
    BELL_FENCED,
    LINE,
    READER_NAME,
    READER_PID,
    READER_POSITION,
    READERS_MAX,
    RELEASE_BELLS_MAX,
    SEQUENCE_WORDS,
    TAPE_WORDS,
    Place,
)
from tape.shared_file import SharedFile, create
from tape.words import load_sequence, store_sequence

#: Size of a tape where the caller names none.
TAPE_BYTES: Final = 64 << 20
_STRIDE_WORDS: Final = 8_192
NAME_BYTES: Final = 8


def sizes(words: int, rows: Rows) -> NDArray[np.int64]:
    """``Tape.size`` of a tape with so many words, a power of two."""
    size = np.zeros(SIZES, np.int64)
    row_words = [dtype.itemsize // 8 for dtype in (rows.commands, rows.events, rows.reports)]
    size[:] = [words, words // 4, min(_STRIDE_WORDS, words // 16), *row_words]
    return size


def slot(number: int) -> int:
    """Index of the words of reader place ``number``, from 0."""
    return int(Place.READERS) + number * LINE


def release_bell(number: int) -> int:
    """Index of the words of a doorbell of those who wait for what may be told, from 0."""
    return int(Place.RELEASE_BELLS) + number * LINE


def packed_name(name: str) -> int:
    """A name of 1 to 8 ASCII characters as a word. Raises TapeError."""
    if not name.isascii() or not 1 <= len(name) <= NAME_BYTES:
        raise TapeError(f"{name!r} is no name of a reader; use 1 to {NAME_BYTES} characters of ASCII")
    return int.from_bytes(name.encode().ljust(NAME_BYTES, b"\0"), "little", signed=True)


def unpacked_name(word: int) -> str:
    """The name in a word."""
    return int(word).to_bytes(NAME_BYTES, "little", signed=True).rstrip(b"\0").decode("ascii", "replace")


class Standing(NamedTuple):
    """A reader as the words show it. lag_words: between it and the last published block."""

    name: str
    pid: int
    lag_words: int


class TapeWriter:
    """Writer and owner of a tape. ``tape`` is for kernels that write blocks in place.

    path: of its file. size_bytes: of the ring, rounded up to a power of two. seq: last command before the tape, which
    is applied and journaled. released_seq: last one that may be told then; None: as ``seq``. Raises TapeBusy, TapeRoom,
    TapeError.
    """

    def __init__(
        self,
        path: Path,
        journal_id: bytes,
        rows: Rows,
        *,
        size_bytes: int = TAPE_BYTES,
        seq: int = 0,
        released_seq: int | None = None,
    ) -> None:
        words = 1 << max(size_bytes // 8 - 1, 1).bit_length()
        self._rows = rows
        self._file: SharedFile = create(
            path,
            rows.tape_form(journal_id),
            words=TAPE_WORDS,
            data=words,
            first={
                Place.APPLIED: seq,
                Place.JOURNALED: seq,
                Place.RELEASED: seq if released_seq is None else released_seq,
            },
        )
        self._size = sizes(words, rows)
        mine = np.zeros(MINE, np.int64)
        head = np.zeros(HEAD_WORDS, np.int64)
        self._counts = np.zeros(3, np.int64)
        self.tape = Packed(Tape(self._file.words, self._file.data, self._size, mine, head))
        take_part(self._file.words, Place.READERS_BELL)
        # Who waits for answers is woken for each block on a quiet market: a barrier everywhere would cost all of them.
        for number in range(RELEASE_BELLS_MAX):
            self._file.words[release_bell(number) + BELL_FENCED] = 1

    def __enter__(self) -> "TapeWriter":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def words(self) -> NDArray[np.int64]:
        """The shared words, by ``Place``."""
        return self._file.words

    @property
    def ring_bytes(self) -> int:
        """Size of the ring."""
        return 8 * len(self._file.data)

    def takes(self, commands: int, events: int, reports: int) -> bool:
        """True if a block with so many rows is not too long for the tape."""
        rows = self._rows
        sizes = commands * rows.commands.itemsize, events * rows.events.itemsize, reports * rows.reports.itemsize
        return HEAD_WORDS + sum(sizes) // 8 <= int(self._size[BLOCK_WORDS_MAX])

    def write(
        self,
        first_seq: int,
        epoch: int,
        time_ns: int,
        commands: NDArray[Any],
        events: NDArray[Any],
        reports: NDArray[Any],
    ) -> None:
        """Publish a block with copies of the rows. Raises TapeError for more rows than a block may have."""
        self._counts[:] = len(commands), len(events), len(reports)
        result = write_block(
            self.tape.pointers,
            first_seq,
            epoch,
            time_ns,
            _as_words(commands, self._rows.commands),
            _as_words(events, self._rows.events),
            _as_words(reports, self._rows.reports),
            self._counts,
        )
        if result != BLOCK:
            longest = 8 * int(self._size[BLOCK_WORDS_MAX])
            raise TapeError(f"a block is longer than {longest:,} bytes, a quarter of the tape")

    def readers(self) -> list[Standing]:
        """All readers with a place."""
        return standings(self._file)

    def store(self, place: Place, seq: int) -> None:
        """Store a sequence number, one of ``SEQUENCE_WORDS``, and wake who waits for it."""
        _check_place(place)
        store_sequence(self._file.words, int(place), seq)

    def load(self, place: Place) -> int:
        """The sequence number at a place."""
        return int(load_sequence(self._file.words, int(place)))

    def beat(self, time_ns: int) -> None:
        """Store the time up to which the market is known to go on, by the monotonic clock. Wakes nobody."""
        self._file.words[Place.BEAT] = time_ns  # eight aligned bytes: stored in one piece

    def pulse(self, time_ns: int) -> None:
        """Store the time at which the core runs, by the monotonic clock. Wakes nobody."""
        self._file.words[Place.PULSE] = time_ns

    def end(self) -> None:
        """Say that no more blocks follow."""
        store_sequence(self._file.words, int(Place.ENDED), 1)

    def close(self) -> None:
        """Say that no more blocks follow, and remove the file. Readers keep what they have mapped."""
        self.end()
        self._file.close()


def _check_place(place: Place) -> None:
    if place not in SEQUENCE_WORDS:
        raise TapeError(f"{place.name} is no sequence number")


def _as_words(rows: NDArray[Any], dtype: "np.dtype[Any]") -> NDArray[np.int64]:
    """The rows as int64, without a copy where they lie one after the other."""
    if rows.dtype != dtype:
        raise TapeError(f"rows of {rows.dtype.itemsize} bytes are not of the tape's type")
    return np.ascontiguousarray(rows).reshape(-1).view(np.int64)


def standings(file: SharedFile, own: str = "") -> list[Standing]:
    """All readers with a place on the tape in a file. own: name of the reader who asks, whose lock it does not see."""
    words = file.words
    published = int(words[PUBLISHED])
    found = []
    for n in range(READERS_MAX):
        place = slot(n)
        name = int(words[place + READER_NAME])
        if name and (file.is_locked(n + 1) or (own != "" and unpacked_name(name) == own)):
            lag = published - int(words[place + READER_POSITION])
            found.append(Standing(unpacked_name(name), int(words[place + READER_PID]), lag))
    return found
