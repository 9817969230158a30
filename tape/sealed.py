"""Memory that processes share and nobody can make shorter: a file without a name, sealed in its size.

A file in /dev/shm can be cut short by any program of the same user, and whoever has mapped it then dies by SIGBUS at
the next touch. The size of this memory is fixed by the system (``memfd_create``, ``F_SEAL_SHRINK``), for its owner
too. Another process of the user opens it by the owner's descriptor, /proc/PID/fd/N. It lives as long as somebody has
it open or mapped. All its pages are reserved at the beginning.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from tape.errors import TapeError, TapeRoom

#: Seals: neither shorter nor longer, and no seal is added or taken off.
SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_FLAGS: Final = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
_NOEXEC: Final = 0x8  # MFD_NOEXEC_SEAL: some systems demand it, older ones do not know it
_GROUP: Final = Path("/sys/fs/cgroup")


def sealed_memory(name: str, size: int) -> int:
    """Descriptor of ``size`` bytes of zeros. name: shown in /proc. Raises TapeRoom, TapeError."""
    _check_room(size)
    try:
        try:
            fd = os.memfd_create(name, _FLAGS | _NOEXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fd = os.memfd_create(name, _FLAGS)
    except OSError as error:
        raise TapeError(f"this system gives no memory to share: {(error.strerror or str(error)).lower()}") from error
    try:
        os.fchmod(fd, 0o600)
        os.posix_fallocate(fd, 0, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
            raise _no_room(size, 0) from error
        raise
    return fd


def opened_memory(pid: int, fd: int, number: int, size: int) -> int:
    """Own descriptor of the memory that a process has as ``fd``. number: of its file (st_ino).

    Raises TapeError if it is not that one, or may become shorter.
    """
    path = f"/proc/{pid}/fd/{fd}"
    try:
        own = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise TapeError(
            f"the memory of process {pid} cannot be opened: {why}; run this on the same machine, as the same user and "
            "in the same container"
        ) from error
    found = os.fstat(own)
    seals = 0
    with suppress(OSError):  # a file of another kind has none
        seals = fcntl.fcntl(own, fcntl.F_GET_SEALS)
    if (found.st_ino, found.st_size) != (number, size) or seals & SEALS != SEALS:
        os.close(own)
        raise TapeError(f"{path} is not the memory of the market; start the market again")
    return own


def _check_room(size: int) -> None:
    """Look first: a try would take all the memory that others need. Raises TapeRoom."""
    free_bytes = _free_bytes()
    if free_bytes is not None and size > free_bytes:
        raise _no_room(size, free_bytes)


def _no_room(size: int, free_bytes: int) -> TapeRoom:
    return TapeRoom(
        f"the machine has no room for {size >> 20:,} MB of shared memory ({free_bytes >> 20:,} MB are free); "
        "free some, or choose a smaller tape"
    )


def _free_bytes() -> int | None:
    """Memory that the machine, or the group of this process where it is a container's, can give; None: not known."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):
        limit = int((_GROUP / "memory.max").read_text(encoding="ascii"))  # a word where there is none
        found.append(max(limit - int((_GROUP / "memory.current").read_text(encoding="ascii")), 0))
    return min(found, default=None)
