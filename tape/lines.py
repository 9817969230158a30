"""Lines between the market and programs of the same user beside it, with their file, for Python. ``line_kernels`` has
the rings.

A client takes a free place by its lock, which ends with its process, and asks for the line by the next number. The
market then forgets what an earlier client has left there, and says that it serves that number. It sleeps in a poll of
descriptors, so a client that finds it asleep writes a byte to a pipe beside the file.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tape.errors import TapeBusy, TapeError
from tape.line_kernels import (
    ASKED,
    BROKEN,
    CLOSED,
    IN_PUT,
    IN_TAKEN,
    LINES_MAX,
    LINES_WORDS,
    OUT_PUT,
    OUT_TAKEN,
    RING_BYTES,
    SERVED,
    first_word,
    is_asleep,
    put_bytes,
    store_behind,
    take_bytes,
)
from tape.shared_file import OWNER_PLACE, Form, SharedFile, attach, create
from tape.words import load_sequence

_WORDS_OF_RING: Final = RING_BYTES // 8
Bytes = NDArray[np.uint8]


def lines_path(folder: Path) -> Path:
    """Path of the lines of a market in a folder of names."""
    return folder / "lines"


def pipe_of(path: Path) -> Path:
    """Path of the pipe beside the file of lines."""
    return path.with_name(f"{path.name}-wake")


def _form(journal_id: bytes) -> Form:
    return Form("lines", journal_id, {"byte": np.dtype(np.uint8)})


class LineStanding(NamedTuple):
    """A line that a living client has. Bytes that either side has put and the other not taken, of a ring's size."""

    line: int
    in_waiting_bytes: int
    out_waiting_bytes: int
    ring_bytes: int


class MarketLines:
    """The market's side of all lines, which owns the file and the pipe. Raises TapeBusy, TapeRoom, TapeError, OSError.

    ``words``, ``ring`` and ``counts`` are for kernels: line n has its rings at ``2 * n * RING_BYTES`` (in) and behind
    it (out), and its counts at 2 * n (taken) and 2 * n + 1 (put).
    """

    def __init__(self, path: Path, journal_id: bytes) -> None:
        self._file: SharedFile = create(path, _form(journal_id), words=LINES_WORDS, data=2 * LINES_MAX * _WORDS_OF_RING)
        self._pipe = pipe_of(path)
        self.words: NDArray[np.int64] = self._file.words
        self.ring: Bytes = self._file.data.view(np.uint8)
        self.counts: NDArray[np.int64] = np.zeros(2 * LINES_MAX, np.int64)
        try:
            self._pipe.unlink(missing_ok=True)
            os.mkfifo(self._pipe, 0o600)
            #: Readable once a client has woken the market.
            self.fd = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._file.close()
            raise

    def drain(self) -> None:
        """Take the bytes by which clients have woken the market."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 65_536)

    def client_of(self, line: int) -> int:
        """Number of the living client that has asked for a line; 0: there is none."""
        asked = int(load_sequence(self.words, first_word(line) + ASKED))
        return asked if asked and self._file.is_locked(line + 1) else 0

    def is_served(self, line: int, number: int) -> bool:
        """True if this client is served, or was."""
        return bool(load_sequence(self.words, first_word(line) + SERVED) == number)

    def serve(self, line: int, number: int) -> None:
        """Serve a client that has asked, from the bytes on that either side puts from now on.

        Its words may have anything: an earlier client could write to all of them.
        """
        word = first_word(line)
        self.counts[2 * line] = self.words[word + IN_TAKEN] = load_sequence(self.words, word + IN_PUT)
        self.words[word + OUT_PUT] = self.words[word + OUT_TAKEN] = self.counts[2 * line + 1]
        # Last: who finds it finds the counts.
        store_behind(self.words, word + SERVED, number)

    def take(self, line: int, room: Bytes) -> int:
        """Bytes that were taken of a client to the begin of ``room``; BROKEN if it puts what cannot be."""
        begin, word = 2 * line * RING_BYTES, first_word(line) + IN_PUT
        return int(take_bytes(self.words, self.ring, begin, word, self.counts, 2 * line, room, 0, len(room)))

    def put(self, line: int, data: bytes) -> int:
        """Bytes of ``data`` that were put for a client; BROKEN if it takes what cannot be."""
        begin, word = (2 * line + 1) * RING_BYTES, first_word(line) + OUT_PUT
        source = np.frombuffer(bytearray(data), np.uint8)
        return int(put_bytes(self.words, self.ring, begin, word, self.counts, 2 * line + 1, source, 0, len(source)))

    def standings(self) -> list[LineStanding]:
        """Lines that are in use. A client may write any word, so what is told is within a ring's bounds."""
        found = []
        for line in range(LINES_MAX):
            if self.client_of(line):
                word = first_word(line)
                incoming = int(load_sequence(self.words, word + IN_PUT)) - int(self.counts[2 * line])
                outgoing = int(self.counts[2 * line + 1]) - int(load_sequence(self.words, word + OUT_TAKEN))
                waiting = [min(max(each, 0), RING_BYTES) for each in (incoming, outgoing)]
                found.append(LineStanding(line, waiting[0], waiting[1], RING_BYTES))
        return found

    def end(self, line: int, number: int) -> None:
        """Say that a client gets nothing more than what was put."""
        store_behind(self.words, first_word(line) + CLOSED, number)

    def close(self) -> None:
        """Remove file and pipe."""
        with contextlib.suppress(OSError):
            self._pipe.unlink()
        os.close(self.fd)
        self._file.close()


class ClientLine:
    """A client's side of one line of a market. It begins with ``served`` true. Raises TapeBusy if no line is free,
    TapeError."""

    def __init__(self, path: Path, journal_id: bytes) -> None:
        self._file: SharedFile = attach(path, _form(journal_id))
        try:
            self.line = next(n for n in range(LINES_MAX) if self._file.lock(n + 1))
            self._pipe = os.open(pipe_of(path), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except StopIteration:
            self._file.close()
            raise TapeBusy(f"all {LINES_MAX} lines of {path} are in use; end a program, or connect by TCP") from None
        except OSError as error:
            self._file.close()
            raise TapeError(f"{pipe_of(path)} cannot be opened: {(error.strerror or str(error)).lower()}") from error
        self.words: NDArray[np.int64] = self._file.words
        self.ring: Bytes = self._file.data.view(np.uint8)
        #: Bytes put, and taken.
        self.counts: NDArray[np.int64] = np.zeros(2, np.int64)
        self.word = first_word(self.line)
        self._number = int(self.words[self.word + ASKED]) + 1
        self._begun = False
        self.words[self.word + ASKED] = self._number
        self._wake()

    def served(self) -> bool:
        """True once the market serves this client."""
        if not self._begun and load_sequence(self.words, self.word + SERVED) == self._number:
            self.counts[0] = self.words[self.word + IN_PUT]
            self.counts[1] = self.words[self.word + OUT_TAKEN]
            self._begun = True
        return self._begun

    def put(self, data: bytes) -> int:
        """Bytes of ``data`` for which there was room. Raises TapeError for a ring that is broken."""
        source = np.frombuffer(bytearray(data), np.uint8)
        begin, word = 2 * self.line * RING_BYTES, self.word + IN_PUT
        count = int(put_bytes(self.words, self.ring, begin, word, self.counts, 0, source, 0, len(source)))
        self._check(count)
        if count:
            self.wake_if_asleep()
        return count

    def wake_if_asleep(self) -> None:
        """Wake the market, if it sleeps, after bytes were put."""
        if is_asleep(self.words):
            self._wake()

    def take(self, room: Bytes) -> int:
        """Bytes that were taken to the begin of ``room``; 0 where there are none yet. Raises TapeError."""
        begin, word = (2 * self.line + 1) * RING_BYTES, self.word + OUT_PUT
        count = int(take_bytes(self.words, self.ring, begin, word, self.counts, 1, room, 0, len(room)))
        self._check(count)
        return count

    def _check(self, count: int) -> None:
        if count == BROKEN:
            raise TapeError(f"{self._file.path} has a count that no market writes; connect again")

    def is_over(self) -> bool:
        """True if nothing more comes than what is there. Ask before ``take``."""
        closed = load_sequence(self.words, self.word + CLOSED) == self._number
        return closed or not self._file.is_locked(OWNER_PLACE)

    def _wake(self) -> None:
        try:
            os.write(self._pipe, b"\0")
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EPIPE):
                raise

    def close(self) -> None:
        """Give the line back."""
        if self._file.words is not None and self._pipe >= 0:
            self._file.close()
            self._wake()
            os.close(self._pipe)
            self._pipe = -1
