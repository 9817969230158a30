"""One writer for a data directory: an exclusive ``flock`` on DIR/lock, which the kernel releases when the process ends.

The file has the writer's process id, for the message to a second writer. It has mode 0600 and is never a symbolic link,
so that no other user can lock or redirect it. Readers lock it only for the moment in which they look for a writer.
"""

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Final

from journal.errors import JournalBusy, JournalError, JournalFault

LOCK_NAME: Final = "lock"
_TRIES: Final = 20
_TRY_S: Final = 0.005
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def _pid(fd: int) -> str:
    text = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else "unknown"


def writer_pid(directory: Path) -> str | None:
    """The process id of the writer of ``directory``; None when nobody writes it."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDONLY | _FLAGS)
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
    """Lock of the one writer, from construction to ``release``. Raises JournalBusy with the process that has it."""

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        if path.is_symlink():
            raise JournalError(f"{path} is a symbolic link, which a lock must not be; remove it")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        except OSError as error:
            raise JournalError(
                f"{path} cannot be opened for writing: {error.strerror}; the journal can be read, but to feed it the "
                "directory must be writable"
            ) from error
        try:
            self._make_private(path)
            self._acquire(directory)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._fd)
            then = "make room on its disk, or look at that, and repeat the command"
            raise JournalFault(f"{path} cannot be written: {error.strerror}; {then}") from error
        except JournalError:
            os.close(self._fd)
            raise

    def _make_private(self, path: Path) -> None:
        """Remove other users' access to the file. Raises JournalError for a file that belongs to another user."""
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise JournalError(f"{path} is no file; remove it")
        if os.geteuid() not in (0, found.st_uid):
            raise JournalError(f"{path} belongs to user {found.st_uid}, who could hold it; run this as that user")
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            os.fchmod(self._fd, stat.S_IMODE(found.st_mode) & stat.S_IRWXU)

    def _acquire(self, directory: Path) -> None:
        # A reader that looks for a writer holds a shared lock for some microseconds, so one refusal proves nothing.
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_TRY_S)
            else:
                return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalBusy(
                f"{directory} is being written by process {_pid(self._fd)}; stop it first (reading is possible "
                "meanwhile)"
            ) from None
        raise JournalBusy(
            f"{directory / LOCK_NAME} is held by {_holder(self._fd)} with a shared lock, which no command of lockstep "
            "keeps; end it first"
        )

    def release(self) -> None:
        """Release the lock."""
        os.close(self._fd)


def _holder(fd: int) -> str:
    """Another process that has a lock on the file, by /proc/locks."""
    inode, own = os.fstat(fd).st_ino, str(os.getpid())
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if "FLOCK" in words and words[-3].rpartition(":")[2] == str(inode) and own not in words:
            return f"process {words[words.index('FLOCK') + 3]}"
    return "another process"
