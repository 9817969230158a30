"""One writer for a data directory: an exclusive ``flock`` on DIR/lock, which the kernel drops when its process ends.

The file holds the writer's process id, for the sentence that a second one gets. Readers take no lock; they only
look whether there is a writer.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from journal.errors import JournalBusy, JournalError

LOCK_NAME: Final = "lock"
_TRIES: Final = 20
_TRY_S: Final = 0.005


def _pid(fd: int) -> str:
    text = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else "unknown"


def writer_pid(directory: Path) -> str | None:
    """The process id of the writer of ``directory``; None when nobody writes it."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(fd)
    finally:
        os.close(fd)
    return None


class WriterLock:
    """Held from construction to ``release``. Raises JournalBusy naming the process that holds it."""

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise JournalError(
                f"{path} cannot be opened for writing: {error.strerror}; the journal can be read, but to feed it the "
                "directory must be writable"
            ) from error
        try:
            self._acquire(directory)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._fd)
            raise JournalError(f"{path} cannot be written: {error.strerror}") from error
        except JournalBusy:
            os.close(self._fd)
            raise

    def _acquire(self, directory: Path) -> None:
        # A reader that looks for a writer holds a shared lock for some microseconds, so one refusal proves nothing.
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_TRY_S)
            else:
                return
        raise JournalBusy(
            f"{directory} is being written by process {_pid(self._fd)}; stop it first (reading is possible meanwhile)"
        )

    def release(self) -> None:
        """Let another writer in."""
        os.close(self._fd)
