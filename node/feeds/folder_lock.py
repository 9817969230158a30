"""Lock of the folder of a program beside a node: one process at a time writes it.

A feed keeps the messages of its days there, and adds each as it comes. Two processes of one name, as `lockstep feed`
beside the feed of `lockstep serve --feed`, would both add it: receivers that ask again would be told other messages
under its number.
"""

import fcntl
import os
import struct
import time
from pathlib import Path
from typing import Final

from journal.slices import make_private

_NAME: Final = "lock"
#: Time for a process that is about to end, as that of a node that was killed, and interval of looks, in seconds.
WAIT_S: Final = 5.0
_LOOK_S: Final = 0.05
#: ``struct flock`` of Linux on 64 bits: type, whence, start, length, process.
_FLOCK: Final = "hhqqi4x"


class FolderLocked(OSError):
    """Another process has locked the folder; the message names it, then says what to do."""


class FolderLock:
    """An exclusive lock of a folder, from construction to ``release`` or the end of the process.

    what: the program, such as "the feed itch"; then: what to do where another process is that. A child does not
    inherit the lock, so a snapshot that a child still makes holds up no successor. Raises FolderLocked,
    OSError.
    """

    def __init__(self, path: Path, what: str, then: str, wait_s: float = WAIT_S) -> None:
        make_private(path)
        self._fd = os.open(path / _NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        until_s = time.monotonic() + wait_s
        try:
            while not self._is_locked():
                if time.monotonic() > until_s:
                    raise FolderLocked(f"process {self._holder()} is {what} already; {then}")
                time.sleep(_LOOK_S)
        except OSError:
            os.close(self._fd)
            raise

    def _is_locked(self) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # either says that another has it
            return False
        return True

    def _holder(self) -> int:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return int(struct.unpack(_FLOCK, fcntl.fcntl(self._fd, fcntl.F_GETLK, asked))[-1])

    def release(self) -> None:
        """Unlock the folder for another process. May be repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
