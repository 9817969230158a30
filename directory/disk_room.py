"""Room on the disk for a new slice or an archived one: measured before it is written, and told where it runs out."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from journal import JournalFault

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def room_for(what: str, folder: Path, needed_bytes: int, is_there: Callable[[], bool]) -> Iterator[None]:
    """Context in which ``what`` is written to the disk of ``folder``, which has to have ``needed_bytes``, about.

    Raises JournalFault, with the room that there is, before anything is written, or where the disk fills up on the
    way. ``is_there``: true once ``what`` has its name; an error after that is raised as it is.
    """
    if free_bytes(folder) < needed_bytes:
        raise _no_room(what, folder, needed_bytes)
    try:
        yield
    except Exception as error:
        if is_there() or not _is_full_disk(error):
            raise
        raise _no_room(what, folder, needed_bytes) from error


def free_bytes(folder: Path) -> int:
    """Bytes that this user can still write to the disk of a folder. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _no_room(what: str, folder: Path, needed_bytes: int) -> JournalFault:
    free = free_bytes(folder)
    needs = f"it needs about {_megabytes(needed_bytes)}, and" if free < needed_bytes else "the disk filled up;"
    return JournalFault(
        f"there is no room for {what} on the disk of {folder}: {needs} {_megabytes(free)} are free; it was not "
        "written: "
        "free some space and repeat the command"
    )


def _is_full_disk(error: BaseException | None) -> bool:
    """True if a full disk, or a used-up quota, is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if isinstance(error, JournalFault) and "the disk is full" in str(error):
            return True  # LMDB does not say why it failed; the journal has looked
        error = error.__cause__
    return False


def _megabytes(number_bytes: int) -> str:
    return f"{number_bytes / 1e6:,.1f} MB"
