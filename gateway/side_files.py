"""Side files of a running node: records that are no part of the journal, in files of bounded size, by a thread.

The market never waits for them: what cannot be written in time is counted, reported once, and left out. A folder holds
files that are named by the sequence number of their first record in 20 digits; the oldest is removed when there are
more than a number of them. Each begins with 8 bytes that tell its kind and version, and the id of the journal.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from queue import Full, Queue
from typing import Final

#: Bytes that tell kind and version, and those with the id of the journal.
MAGIC_BYTES: Final = 8
HEAD_BYTES: Final = MAGIC_BYTES + 16
#: Pieces that may wait for the thread.
PIECES_MAX: Final = 32
_NAME: Final = re.compile("[0-9]{20}")


class SideFileError(Exception):
    """A side file is damaged, or of another version or journal; the text says which and where."""


class SideFiles:
    """The files of a folder: whole records are appended. One thread's; raises OSError."""

    def __init__(self, directory: Path, suffix: str, head: bytes, file_bytes_max: int, files_max: int) -> None:
        """``head``: ``HEAD_BYTES`` bytes. ``file_bytes_max``: size above which another file is begun."""
        self._directory, self._suffix = directory, suffix
        self._head = head
        self._file_bytes_max = file_bytes_max
        self._files_max = files_max
        self._file: int | None = None
        self._room = 0

    def append(self, first_seq: int, records: bytes) -> None:
        """Write whole records at the end of the newest file, or to another where that is full.

        first_seq: the sequence number of the first.
        """
        if self._file is None or self._room <= 0:
            self._begin(first_seq)
        self._write(records)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        while data:
            try:
                written = os.write(self._file, data)
            except OSError:
                self.close()  # half a record may stand there, so the next ones begin another file
                raise
            self._room -= written
            data = data[written:]

    def _begin(self, first_seq: int) -> None:
        self.close()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / f"{first_seq:020}{self._suffix}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._room = self._file_bytes_max
        self._write(self._head)
        paths = side_paths(self._directory, self._suffix)
        # A file that begins later has rows that a crash took before they were durable; their numbers are used again.
        for left in paths[: -self._files_max] + paths[paths.index(path) + 1 :]:
            left.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; a later ``append`` begins another."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._room = None, 0


#: Records for the thread: the first sequence number, how many rows, and the bytes.
_Piece = tuple[int, int, bytes]


class SideWriter:
    """Thread that writes pieces of records into side files; ``give`` never blocks.

    on_failure: called with the reason why rows are not written, once until they are again.
    """

    def __init__(self, files: SideFiles, name: str, on_failure: Callable[[str], None]) -> None:
        self._files = files
        self._on_failure = on_failure
        self._queue: Queue[_Piece | None] = Queue(2 * PIECES_MAX)
        self._reported = False
        #: Rows that were left out since the start.
        self.lost = 0
        self._lost_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def give(self, first_seq: int, rows: int, records: bytes) -> None:
        """Pass records to the thread, or leave them out where it is too far behind."""
        try:
            if self._queue.qsize() >= PIECES_MAX:
                raise Full
            self._queue.put_nowait((first_seq, rows, records))
        except Full:
            self._lose(rows, "the disk takes them too slowly")

    def close(self, wait_s: float) -> None:
        """End the thread when all is written; wait for the disk at most ``wait_s``."""
        try:
            self._queue.put_nowait(None)
        except Full:
            return
        self._thread.join(wait_s)

    def _lose(self, rows: int, why: str) -> None:
        with self._lost_lock:
            self.lost += rows
            reported, self._reported = self._reported, True
        if not reported:
            self._on_failure(why)

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            first_seq, rows, records = piece
            try:
                self._files.append(first_seq, records)
            except OSError as error:
                self._lose(rows, error.strerror or str(error))
            else:
                self._reported = False
        self._files.close()


def side_files(
    directory: Path, suffix: str, magic: bytes, journal_id: bytes, what: str
) -> Iterator[tuple[Path, bytes, int | None]]:
    """Path and bytes of each file that has its head, and the number that the file after it begins with, in order.

    Raises SideFileError for a file of another kind, version or journal. ``what``: the records, in a sentence.
    """
    paths = side_paths(directory, suffix)
    for path, after in zip_longest(paths, paths[1:]):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # the node has removed it meanwhile
            continue
        if why := head_fault(data, magic, journal_id, what):
            raise SideFileError(f"{path} {why}; move it away")
        if len(data) >= HEAD_BYTES:
            yield path, data, None if after is None else int(after.stem)


def head_fault(data: bytes, magic: bytes, journal_id: bytes, what: str) -> str:
    """Fault in the head of a side file, as the end of a sentence; "" where it is right, or was cut short."""
    if data[:MAGIC_BYTES] != magic[: len(data)]:
        return f"is no file of {what} of this version"
    if data[MAGIC_BYTES:HEAD_BYTES] != journal_id[: max(0, len(data) - MAGIC_BYTES)]:
        return "was taken from another journal"
    return ""


def side_paths(directory: Path, suffix: str) -> list[Path]:
    """The side files of a folder, in order; whatever else lies there is none of them."""
    paths = (path for path in directory.glob(f"*{suffix}") if _NAME.fullmatch(path.name.removesuffix(suffix)))
    return sorted(path for path in paths if not path.is_dir())
