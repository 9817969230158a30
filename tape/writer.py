"""The tape's one writer, which owns its file."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.jit import Packed
from tape.blocks import (
    BLOCK,
    BLOCK_WORDS_MAX,
    CLAIMED_TO,
    FULL,
    HEAD_WORDS,
    LIMIT,
    MINE,
    PUBLISHED,
    SIZES,
    Tape,
    claim,
    publish,
    write_block,
)
from tape.doorbell import Doorbell, take_part
from tape.errors import ReaderLost, TapeError
from tape.form import Rows
from tape.places import (
    LINE,
    READER_GATES,
    READER_NAME,
    READER_PID,
    READER_POSITION,
    READERS_MAX,
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
    gates: bool
    alive: bool
    lag_words: int


@dataclass(frozen=True)
class Claim:
    """Room for rows of a block, as arrays on the tape itself. Fill it and ``publish`` it."""

    commands: NDArray[Any]
    rest: NDArray[np.int64]


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
        mine[LIMIT], mine[CLAIMED_TO] = -1, 0
        head = np.zeros(HEAD_WORDS, np.int64)
        self._counts = np.zeros(3, np.int64)
        self.tape = Packed(Tape(self._file.words, self._file.data, self._size, mine, head))
        take_part(self._file.words, Place.READERS_BELL)

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

    @property
    def core_bell(self) -> Doorbell:
        """Doorbell on which the core sleeps."""
        return Doorbell(self._file.words, Place.CORE_BELL)

    def write(
        self,
        first_seq: int,
        epoch: int,
        time_ns: int,
        commands: NDArray[Any],
        events: NDArray[Any],
        reports: NDArray[Any],
    ) -> bool:
        """Publish a block with copies of the rows; False if a reader that gates has not read what it would overwrite.

        Raises TapeError for more rows than a block may have.
        """
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
        return self._told(result)

    def claim(self, commands: int, rest_bytes: int = 0) -> Claim | None:
        """Room for so many COMMAND rows and bytes of other rows behind them; None where there is none, as in ``write``.

        EVENT rows follow the COMMAND rows at once, and REPORT rows the EVENT rows, as many as ``publish`` is told.
        """
        begin = HEAD_WORDS + commands * self._rows.commands.itemsize // 8
        room = begin + -(-rest_bytes // 8)
        at = claim(self.tape.pointers, room)
        if not self._told(BLOCK if at >= 0 else at):
            return None
        block = self._file.data[at : at + room]
        return Claim(block[HEAD_WORDS:begin].view(self._rows.commands), block[begin:])

    def publish(self, first_seq: int, epoch: int, time_ns: int, commands: int, events: int, reports: int) -> None:
        """Publish the block that was claimed. Raises TapeError for more rows than were claimed."""
        self._told(publish(self.tape.pointers, first_seq, epoch, time_ns, commands, events, reports))

    def _told(self, result: int) -> bool:
        if result not in (BLOCK, FULL):
            longest = int(self._size[1]) * 8
            raise TapeError(f"a block is longer than was claimed or than {longest:,} bytes, a quarter of the tape")
        return bool(result == BLOCK)

    def gate(self, name: str) -> None:
        """Wait from now on for a reader of this name: nothing that it has not read is overwritten.

        It begins with the next block. Any process may then attach as this reader, and another after it if it ends.
        """
        words, packed = self._file.words, packed_name(name)
        if any(words[slot(n) + READER_NAME] == packed for n in range(READERS_MAX)):
            raise TapeError(f"there is a reader {name} on the tape already; choose another name")
        for n in range(READERS_MAX):
            place = slot(n)
            if not words[place + READER_GATES] and self._file.lock(n + 1):
                words[place + READER_NAME], words[place + READER_PID] = packed, 0
                words[place + READER_POSITION] = words[PUBLISHED]
                words[place + READER_GATES] = 1
                self.tape.arrays.mine[LIMIT] = -1
                self._file.unlock(n + 1)
                return
        raise TapeError(f"the tape has {READERS_MAX} readers, which is the most; end one first")

    def release_gate(self, name: str) -> None:
        """Wait for this reader no more."""
        words = self._file.words
        for n in range(READERS_MAX):
            if words[slot(n) + READER_GATES] and unpacked_name(words[slot(n) + READER_NAME]) == name:
                words[slot(n) + READER_GATES] = words[slot(n) + READER_NAME] = words[slot(n) + READER_PID] = 0
                self.tape.arrays.mine[LIMIT] = -1

    def readers(self) -> list[Standing]:
        """All readers with a place."""
        return standings(self._file)

    def check_gates(self) -> None:
        """Raise ReaderLost if a reader that gates has died, or none has attached under its name yet.

        Call it where there is no room, and now and then.
        """
        for each in self.readers():
            if each.gates and not each.alive:
                who = f"process {each.pid} has ended" if each.pid else "no process reads it"
                raise ReaderLost(
                    f"the market waits for the reader {each.name} of the tape, but {who}; start it again, or stop the "
                    "market"
                )

    def store(self, place: Place, seq: int) -> None:
        """Store a sequence number, one of ``SEQUENCE_WORDS``, and wake who waits for it."""
        _check_place(place)
        store_sequence(self._file.words, int(place), seq)

    def load(self, place: Place) -> int:
        """The sequence number at a place."""
        return int(load_sequence(self._file.words, int(place)))

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
        gates, alive = bool(words[place + READER_GATES]), file.is_locked(n + 1)
        alive = alive or (own != "" and unpacked_name(name) == own)
        if name and (gates or alive):
            lag = published - int(words[place + READER_POSITION])
            found.append(Standing(unpacked_name(name), int(words[place + READER_PID]), gates, alive, lag))
    return found
