"""Memory that the programs of a market share, each under the name of a file in its data directory.

The file is small: it says what the memory is, and in which process and under which descriptor it can be opened
(``tape.sealed``). So a program of the same user that cuts the file short, removes it or writes into it takes the way to
the memory from who comes later, and hurts nobody who has it. File and memory have mode 0600. The file is written under
another name and gets its own when it is complete, so whoever opens it sees all of it.

The owner holds a lock on its first byte, the user of place n one on byte n. The system ends a lock with its
process, so a dead owner is told from a living one without a process id, which may have been given to another.
"""

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import stat
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tape.errors import TapeBusy, TapeError
from tape.sealed import opened_memory, sealed_memory

PAGE_BYTES: Final = 4_096
MAGIC: Final = b"LOCKTAPE"
VERSION: Final = 4
OWNER_PLACE: Final = 0

#: Contents of the file: format of the memory, its owner, and the way to it.
HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<i8"),
        ("kind", "S8"),  # "tape", "ring" or "lines"
        ("journal_id", "V16"),
        ("dtypes_digest", "V16"),  # of the rows
        ("words_bytes", "<i8"),
        ("data_bytes", "<i8"),
        ("pid", "<i8"),  # of the owner
        ("memory_fd", "<i8"),  # its descriptor in the owner's process, and its number
        ("memory_number", "<i8"),
        ("created_ns", "<i8"),  # when the owner created it, since 1970; tells a file from the one before it
        ("checksum", "V16"),  # of all before it
    ]
)
_CHECKED_BYTES: Final = HEADER.itemsize - 16
_LOCK: Final = "hhqqi4x"  # struct flock
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True)
class Form:
    """Contents of a file, on which its owner and all others must agree. journal_id: 16 bytes."""

    kind: str
    journal_id: bytes
    dtypes: Mapping[str, "np.dtype[Any]"]

    def dtypes_digest(self) -> bytes:
        """Digest of names, places and types of all fields, 16 bytes."""
        hasher = hashlib.sha256()
        for name, dtype in sorted(self.dtypes.items()):
            fields = sorted((place[1], field, str(place[0])) for field, place in (dtype.fields or {}).items())
            hasher.update(repr((name, dtype.itemsize, fields)).encode())
        return hasher.digest()[:16]


def _checksum(header: bytes) -> bytes:
    return hashlib.sha256(header[:_CHECKED_BYTES]).digest()[:16]


class SharedFile:
    """Shared memory, mapped: int64 words and data. Made by ``create`` and ``attach``."""

    def __init__(self, path: Path, fd: int, header: Any, memory: int, *, owned: bool) -> None:
        self.path = path
        self.pid = int(header["pid"])
        self.created_ns = int(header["created_ns"])
        self._fd = fd
        self._memory = memory
        self._owned = owned
        words_bytes, data_bytes = int(header["words_bytes"]), int(header["data_bytes"])
        self.words: NDArray[np.int64] = _mapped(memory, 0, words_bytes, writable=True, touch=True)
        self.data: NDArray[np.int64] = _mapped(
            memory, words_bytes, data_bytes, writable=owned or header["kind"] != b"tape", touch=owned
        )

    def lock(self, place: int) -> bool:
        """Lock a place until the file is closed or the process ends; False where another has it."""
        return _lock(self._fd, place)

    def unlock(self, place: int) -> None:
        """Give a place back."""
        _unlock(self._fd, place, 1)

    def is_locked(self, place: int) -> bool:
        """True while a living process has the place, this one not counted."""
        return _is_locked(self._fd, place)

    def is_current(self) -> bool:
        """True while the path leads to this file."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        own = os.fstat(self._fd)
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def close(self) -> None:
        """Give up all locks; the owner removes the file. Its memory lives as long as the arrays."""
        if self._fd < 0:
            return
        if self._owned and self.is_current():
            self.path.unlink()
        _unlock(self._fd, 0, 0)  # all: a child may have the descriptor too, which would keep the locks
        os.close(self._fd)
        os.close(self._memory)
        self._fd = self._memory = -1


def _mapped(fd: int, offset: int, size: int, *, writable: bool, touch: bool) -> NDArray[np.int64]:
    """Part of the memory as an array. touch: let the system enter all its pages at once."""
    flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if touch else 0)
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    return np.frombuffer(mmap.mmap(fd, size, flags, protection, offset=offset), np.int64)


def _lock(fd: int, place: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _unlock(fd: int, place: int, count: int) -> None:
    """Unlock so many places, or with count 0 all from ``place`` on."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_LOCK, fcntl.F_UNLCK, os.SEEK_SET, place, count, 0))


def _is_locked(fd: int, place: int) -> bool:
    asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    return bool(struct.unpack(_LOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)


def create(path: Path, form: Form, *, words: int, data: int, first: Mapping[int, int] | None = None) -> SharedFile:
    """Create memory and own it. words, data: their numbers of int64. A file that a dead owner left is replaced.

    first: values of words, by their index, that nobody finds otherwise.

    Raises TapeBusy for one with a living owner, TapeRoom where the machine has no room, TapeError.
    """
    words_bytes = -(-8 * words // PAGE_BYTES) * PAGE_BYTES
    data_bytes = -(-8 * data // PAGE_BYTES) * PAGE_BYTES
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()
    try:
        fd = os.open(aside, _NEW, 0o600)
    except OSError as error:
        raise TapeError(
            f"{path} cannot be created: {(error.strerror or str(error)).lower()}; name a folder that this user may "
            "write"
        ) from error
    memory = -1
    try:
        os.fchmod(fd, 0o600)
        memory = sealed_memory(path.name, words_bytes + data_bytes)
        header = np.zeros((), HEADER)
        header["magic"], header["version"], header["kind"] = MAGIC, VERSION, form.kind
        header["journal_id"], header["dtypes_digest"] = form.journal_id, form.dtypes_digest()
        header["words_bytes"], header["data_bytes"] = words_bytes, data_bytes
        header["pid"], header["created_ns"] = os.getpid(), time.time_ns()
        header["memory_fd"], header["memory_number"] = memory, os.fstat(memory).st_ino
        header["checksum"] = _checksum(header.tobytes())
        os.pwrite(fd, header.tobytes(), 0)
        for index, value in (first or {}).items():
            os.pwrite(memory, struct.pack("<q", value), 8 * index)
        _lock(fd, OWNER_PLACE)
        _put_in_place(aside, path)
        return SharedFile(path, fd, header, memory, owned=True)
    except BaseException:
        os.close(fd)
        if memory >= 0:
            os.close(memory)
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


#: Time in which another process that removes a dead owner's file has given its lock back, and pause between two looks.
_SWEPT_S: Final = 0.5
_LOOK_S: Final = 0.005


def _put_in_place(aside: Path, path: Path) -> None:
    """Give the new file its name. Raises TapeBusy, TapeError."""
    until_s = time.monotonic() + _SWEPT_S
    while True:
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        else:
            aside.unlink()
            return
        try:
            fd = _opened(path)
        except FileNotFoundError:
            continue
        try:
            if not _lock(fd, OWNER_PLACE):
                if time.monotonic() > until_s:
                    raise TapeBusy(f"{path} is in use by process {_owner_pid(fd) or '(unknown)'}; stop it first")
                time.sleep(_LOOK_S)
                continue
            # Only who has the lock of the old file may replace it, and only while it is still the one of that name.
            if _is_at(fd, path):
                aside.replace(path)
                return
        finally:
            os.close(fd)


def _is_at(fd: int, path: Path) -> bool:
    own = os.fstat(fd)
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)


def _owner_pid(fd: int) -> int:
    """Process id of the owner; 0 where the file does not say it."""
    raw = os.pread(fd, HEADER.itemsize, 0)
    return int(np.frombuffer(raw, HEADER)[0]["pid"]) if len(raw) == HEADER.itemsize else 0


def _opened(path: Path) -> int:
    """Descriptor of a file of ours. Raises TapeError for one that another user could change, FileNotFoundError."""
    try:
        fd = os.open(path, _OLD)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise TapeError(f"{path} is a symbolic link; remove it") from error
        raise TapeError(f"{path} cannot be opened: {(error.strerror or str(error)).lower()}") from error
    found = os.fstat(fd)
    wrong = ""
    if not stat.S_ISREG(found.st_mode):
        wrong = f"{path} is no file; remove it"
    elif found.st_uid != os.geteuid():
        wrong = f"{path} belongs to user {found.st_uid}; run this as that user, or have it removed"
    elif stat.S_IMODE(found.st_mode) & 0o077:
        wrong = f"others may open {path}; remove it, and start the market again"
    if wrong:
        os.close(fd)
        raise TapeError(wrong)
    return fd


def attach(path: Path, form: Form) -> SharedFile:
    """Map memory whose owner lives. Raises TapeError if it is not there, not of this form, or left by a dead owner."""
    try:
        fd = _opened(path)
    except FileNotFoundError:
        raise TapeError(f"there is no {path}; is the market running?") from None
    try:
        header = _header(fd, path, form)
        if not _is_locked(fd, OWNER_PLACE):
            raise TapeError(f"{path} was left by process {int(header['pid'])}, which has ended; start the market again")
        size = int(header["words_bytes"]) + int(header["data_bytes"])
        memory = opened_memory(int(header["pid"]), int(header["memory_fd"]), int(header["memory_number"]), size)
        return SharedFile(path, fd, header, memory, owned=False)
    except BaseException:
        os.close(fd)
        raise


def _header(fd: int, path: Path, form: Form) -> Any:
    """Contents of a file of this form. Raises TapeError."""
    raw = os.pread(fd, HEADER.itemsize, 0)
    if len(raw) < HEADER.itemsize or raw[: len(MAGIC)] != MAGIC:
        raise TapeError(f"{path} is no file of lockstep's shared memory; remove it")
    header = np.frombuffer(raw, HEADER)[0]
    if header["version"] != VERSION:
        raise TapeError(f"{path} has version {header['version']}, this release has {VERSION}; use one release for both")
    if header["checksum"].tobytes() != _checksum(raw):
        raise TapeError(f"{path} is damaged; start the market again")
    _refuse_other_contents(header, path, form)
    return header


def _refuse_other_contents(header: Any, path: Path, form: Form) -> None:
    if header["kind"].decode("ascii", "replace") != form.kind:
        raise TapeError(f"{path} is a {header['kind'].decode('ascii', 'replace')}, not a {form.kind}; check the name")
    if header["journal_id"].tobytes() != form.journal_id:
        raise TapeError(
            f"{path} is of journal {header['journal_id'].tobytes().hex()}, not of {form.journal_id.hex()}; name the "
            "directory of the running market"
        )
    if header["dtypes_digest"].tobytes() != form.dtypes_digest():
        raise TapeError(f"{path} has rows of another release; use one release for the market and its readers")


def owner_of(path: Path) -> int:
    """Process id of the living owner of a file; 0 where there is none, or the file does not say. Raises TapeError."""
    try:
        fd = _opened(path)
    except FileNotFoundError:
        return 0
    try:
        return _owner_pid(fd) if _is_locked(fd, OWNER_PLACE) else 0
    finally:
        os.close(fd)


def remove_left(paths: Iterable[Path], beside: Callable[[Path], Path] | None = None) -> list[Path]:
    """Remove those files whose owner has ended; gives them. Raises TapeError.

    beside: path of what goes with a file. It is removed first: once the file is gone the next owner makes its own.
    """
    removed = []
    for path in paths:
        try:
            fd = _opened(path)
        except FileNotFoundError:
            continue
        try:
            if _lock(fd, OWNER_PLACE) and _is_at(fd, path):
                if beside is not None:
                    beside(path).unlink(missing_ok=True)
                path.unlink()
                removed.append(path)
        finally:
            os.close(fd)
    return removed
