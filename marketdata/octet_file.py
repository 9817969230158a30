"""A file of bytes that a thread writes and hashes while the next are made."""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Bytes that are written at once, and pieces of them that wait to be.
_PIECE_BYTES: Final = 1 << 20
_PIECES_MAX: Final = 8


@dataclass
class Written:
    """File of a session. digest: SHA-256 of its bytes."""

    session: str
    path: Path
    messages: int = 0
    size_bytes: int = 0
    digest: str = ""


class OctetFile:
    """The file. Raises OSError, for what was added before too."""

    def __init__(self, path: Path, head: bytes = b"") -> None:
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        # Pieces are used again: the system clears each page of memory that it gives out.
        self._piece, self._end = memoryview(bytearray(_PIECE_BYTES)), 0
        self._writer = ThreadPoolExecutor(1, "file of the feed")
        self._waiting: deque[Future[memoryview]] = deque()
        self.add(head)

    def add(self, octets: bytes | memoryview) -> None:
        """Add bytes."""
        left = memoryview(octets)
        while left:
            some, left = left[: _PIECE_BYTES - self._end], left[_PIECE_BYTES - self._end :]
            self._piece[self._end : self._end + len(some)] = some
            self._end += len(some)
            if self._end == _PIECE_BYTES:
                self._give()

    def _give(self) -> None:
        """Give the piece to the thread, and take one that it has written, or another."""
        self._size_bytes += self._end
        self._waiting.append(self._writer.submit(self._write, self._piece, self._end))
        if len(self._waiting) >= _PIECES_MAX:
            self._piece = self._waiting.popleft().result()
        else:
            self._piece = memoryview(bytearray(_PIECE_BYTES))
        self._end = 0

    def _write(self, piece: memoryview, end: int) -> memoryview:
        left = piece[:end]
        self._hash.update(left)
        while left:
            left = left[self._file.write(left) :]
        return piece

    def close(self) -> tuple[int, str]:
        """End it. Gives its bytes and their SHA-256. Raises OSError."""
        try:
            self._give()
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._writer.shutdown()
            self._file.close()
        return self._size_bytes, self._hash.hexdigest()
