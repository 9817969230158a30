"""The file of a journal under its writer: removed, replaced, and saved before its content is lost with the process."""

import os
import shutil
from pathlib import Path

from journal.errors import JournalError


def check_place(path: Path, fd: int) -> None:
    """Raise JournalError unless the file at ``path`` is the one that is open as ``fd``.

    Whatever is made durable in a file that was removed or replaced is lost with this process. Costs a system call.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        fault = "is gone"
    except OSError:
        return  # it cannot be told now
    else:
        own = os.fstat(fd)
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            return
        fault = "was replaced by another file"
    raise JournalError(
        f"{path} {fault} while process {os.getpid()} writes it, so that nothing more can be made durable; put the "
        "data directory right before a new start"
    )


def save_removed(fd: int, to: Path) -> bool:
    """Copy the file that is open as ``fd`` to ``to`` where no name leads to it any more; True if it was copied.

    Raises OSError, also where ``to`` exists.
    """
    if os.fstat(fd).st_nlink:
        return False
    out = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(os.dup(fd), "rb") as removed, os.fdopen(out, "wb") as saved:
        shutil.copyfileobj(removed, saved, 1 << 22)
        saved.flush()
        os.fsync(out)
    return True
