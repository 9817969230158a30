"""Thread that puts extents of a spool on the disk and gives their memory back, for a node that catches up.

The system keeps what is written in memory, for readers. Where hundreds of megabytes are written that nobody reads, to
find fresh memory for each page takes longer than to copy its bytes: so the memory of the extents before is used again.
"""

import os
import threading
from queue import SimpleQueue
from typing import Final

#: Full extents that are put on the disk together.
EXTENTS: Final = 256


class WriteBehind:
    """The thread of one open file, from its start to ``close``.

    ``fd``: of the file, of which a copy is kept. ``extent_bytes``: size of an extent; ``first_byte``: place of the
    first. ``failure``: error of the disk, which the system reports once: nothing may count as written any more.
    """

    def __init__(self, fd: int, first_byte: int, extent_bytes: int) -> None:
        self._fd = os.dup(fd)
        self._first_byte, self._extent_bytes = first_byte, extent_bytes
        self._full: list[int] = []
        self._given: SimpleQueue[list[int]] = SimpleQueue()
        self.failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="spool behind", daemon=True)
        self._thread.start()

    def add(self, extent: int) -> None:
        """Note that an extent is full: nothing more is written to it."""
        self._full.append(extent)
        if len(self._full) >= EXTENTS:
            self._given.put(self._full)
            self._full = []

    def close(self) -> None:
        """End the thread once it has done what it was given. It is not waited for."""
        self._given.put([])

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while extents := self._given.get():
                os.fdatasync(self._fd)
                for first, count in runs(sorted(extents)):
                    start = self._first_byte + first * self._extent_bytes
                    os.posix_fadvise(self._fd, start, count * self._extent_bytes, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            self.failure = error
        finally:
            os.close(self._fd)


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Runs of successive numbers, each as its first one and their count.

    >>> runs([3, 4, 5, 9])
    [(3, 3), (9, 1)]
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and sum(found[-1]) == number:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found
