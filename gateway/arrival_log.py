"""Arrival records for fairness audits: a side file that says when each row was received, on which connection, and at
which place of which turn.

The files are no part of the journal, and nothing is decided by them. A thread writes them, so the market never waits:
what cannot be written, or comes faster than the disk takes it, is counted, told once, and left out.

DIR/arrivals holds files of ARRIVAL rows (``gateway.arrivals``, 32 bytes, little-endian, nothing else), named by the
sequence number of their first row in 20 digits. The oldest file is removed when there are more than ``FILES_MAX``.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.arrivals import ARRIVAL

ARRIVAL_BYTES: Final = ARRIVAL.itemsize
#: A file of so many bytes is followed by another.
FILE_BYTES_MAX: Final = 32 << 20
FILES_MAX: Final = 8
#: Bytes that may wait for the thread; more are left out.
WAITING_BYTES_MAX: Final = 32 << 20
_SUFFIX: Final = ".arrivals"


class ArrivalFiles:
    """The files: ARRIVAL rows are appended. One thread's; raises OSError."""

    def __init__(self, directory: Path, file_bytes_max: int = FILE_BYTES_MAX, files_max: int = FILES_MAX) -> None:
        self._directory = directory
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._file: int | None = None
        self._room = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Write the rows, which are in order of sequence number, at the end of the newest file or to another one."""
        while len(rows):
            if self._room < ARRIVAL_BYTES:
                self._begin(int(rows[0]["seq"]))
            piece = rows[: self._room // ARRIVAL_BYTES]
            self._write(piece.tobytes())
            rows = rows[len(piece) :]

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        while data:
            try:
                written = os.write(self._file, data)
            except OSError:
                self.close()  # half a row may stand there, so the next rows begin another file
                raise
            self._room -= written
            data = data[written:]

    def _begin(self, first_seq: int) -> None:
        self.close()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / f"{first_seq:020}{_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._room = self._file_bytes_max
        for old in _paths(self._directory)[: -self._files_max]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; a later ``append`` begins another."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._room = None, 0


class ArrivalLog:
    """Record of the arrivals of each turn. All calls are of the event loop's thread, and none blocks.

    last_seq: the sequence number of the newest row, which is that of the turn's last. failed: is told, once until rows
    are written again, why they are not.
    """

    def __init__(self, files: ArrivalFiles, last_seq: Callable[[], int], failed: Callable[[str], None]) -> None:
        self._files = files
        self._last_seq = last_seq
        self._failed = failed
        self._turns: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._queue: Queue[list[tuple[int, bytes]] | None] = Queue(64)
        self._told = False
        #: Rows that were left out since the start.
        self.lost = 0
        self._lost_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)
        self._thread.start()

    def add(self, rows: bytes) -> None:
        """The ARRIVAL rows of a turn that was taken; sequence numbers are put in later."""
        self._turns.append((self._last_seq(), rows))
        self._bytes += len(rows)
        if self._bytes >= WAITING_BYTES_MAX // 32:
            self.flush()

    def flush(self) -> None:
        """Hand over what there is to the thread that writes."""
        if not self._turns:
            return
        turns, count, self._turns, self._bytes = self._turns, self._bytes // ARRIVAL_BYTES, [], 0
        try:
            if self._queue.qsize() >= 32:
                raise Full
            self._queue.put_nowait(turns)
        except Full:
            self._lose(count, "the disk takes them too slowly")

    def close(self, wait_s: float = 2.0) -> None:
        """Write what there is and end the thread. A disk that takes longer than ``wait_s`` is not waited for."""
        self.flush()
        try:
            self._queue.put_nowait(None)
        except Full:
            return
        self._thread.join(wait_s)

    def _lose(self, rows: int, why: str) -> None:
        with self._lost_lock:
            self.lost += rows
            told, self._told = self._told, True
        if not told:
            self._failed(why)

    def _run(self) -> None:
        while (turns := self._queue.get()) is not None:
            more = self._more(turns)
            rows = numbered(turns)
            try:
                self._files.append(rows)
            except OSError as error:
                self._lose(len(rows), error.strerror or str(error))
            else:
                self._told = False
            if not more:
                break
        self._files.close()

    def _more(self, turns: list[tuple[int, bytes]]) -> bool:
        """Add what else waits to ``turns``; False where the end is among it."""
        while True:
            try:
                others = self._queue.get_nowait()
            except Empty:
                return True
            if others is None:
                return False
            turns += others


def numbered(turns: list[tuple[int, bytes]]) -> NDArray[Any]:
    """ARRIVAL rows of turns, with their sequence numbers; ``turns``: the last number of each, and its rows."""
    rows = np.frombuffer(bytearray(b"".join(data for _, data in turns)), ARRIVAL)
    counts = np.array([len(data) // ARRIVAL_BYTES for _, data in turns], np.int64)
    last_seqs = np.array([seq for seq, _ in turns], np.int64)
    ends = np.cumsum(counts)
    rows["seq"] = np.repeat(last_seqs - ends + 1, counts) + np.arange(len(rows))
    return rows


def _paths(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{_SUFFIX}"))


def read_arrivals(directory: Path) -> Iterator[NDArray[Any]]:
    """ARRIVAL rows of DIR/arrivals, file by file, in order of sequence number. A row that is cut short is left out."""
    for path in _paths(directory):
        data = path.read_bytes()
        yield np.frombuffer(data[: len(data) // ARRIVAL_BYTES * ARRIVAL_BYTES], ARRIVAL)
