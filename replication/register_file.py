"""Registers of a witness on its disk: a small file for each market, replaced as a whole, with a checksum over it.

    lockstep register 1 CHECKSUM
    {"reign": {...}, "released": false, "revision": 7, "successor": "", "ttl_ns": 600000000}

A new file is written under another name, synced and renamed, and the folder is synced. So a crash leaves the old file
or the new one, never a part. Epochs depend on these files: one that is damaged is refused, since a register that began
anew would give epochs a second time.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any, Final

from replication.arbiter import EPOCH_MAX, checked_market
from replication.messages import decode_reign, from_json, reign_fields, to_json
from replication.register import Stored
from replication.sentences import in_words
from wire.errors import ProtocolError

FORMAT_VERSION: Final = 1
#: Markets of one witness at most.
MARKETS_MAX: Final = 64
#: Longest file; a record of the longest names has less than half of it.
FILE_BYTES_MAX: Final = 16_384

_MAGIC: Final = "lockstep register"
_SUFFIX: Final = ".register"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class RegisterError(Exception):
    """The registers of a directory cannot be used; the message says which, why and what to do."""


class RegisterBusy(RegisterError):
    """Another witness serves the directory."""


class RegisterKept(Exception):
    """A change could not be written, as on a full disk; the old register stands. The message says why."""


class RegisterFault(RegisterError):
    """A change may be on the disk or not: the witness has to end, and reads the disk at its next start."""


class Disk:
    """System calls on the files of a folder, one method each; tests replace it by disks that fail and crash."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the folder, and give up its lock."""
        os.close(self._fd)

    def lock(self) -> None:
        """Lock the folder for this process. Raises BlockingIOError if another has it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def names(self) -> list[str]:
        """Names of all files."""
        return os.listdir(self._fd)

    def read(self, name: str, bytes_max: int) -> bytes:
        """First bytes of a file."""
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd), "rb") as file:
            return file.read(bytes_max)

    def write(self, name: str, data: bytes) -> int:
        """Create a file with these bytes; its descriptor, for ``sync``."""
        fd = os.open(name, _NEW, 0o600, dir_fd=self._fd)
        try:
            os.fchmod(fd, 0o600)
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
        except BaseException:
            os.close(fd)
            raise
        return fd

    def sync(self, fd: int) -> None:
        """Sync a file that was written, and close it."""
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: str, target: str) -> None:
        """Rename a file over another."""
        os.replace(source, target, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=self._fd)

    def sync_folder(self) -> None:
        """Sync the names in the folder."""
        os.fsync(self._fd)


def make_folder(folder: Path) -> None:
    """Create a folder of mode 0700 with those above it, unless it exists; their names are on the disk then.

    Without that, a loss of power could take the folder away with all that was synced in it. Raises OSError.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def encode(stored: Stored) -> bytes:
    """Bytes of a file."""
    fields = stored._asdict() | {"reign": reign_fields(stored.reign)}
    body = to_json(fields) + b"\n"
    return f"{_MAGIC} {FORMAT_VERSION} {_checksum(body)}\n".encode("ascii") + body


def decode(data: bytes, where: str) -> Stored:
    """The register of a file. Raises RegisterError naming ``where``."""
    damaged = f"{where} is damaged; restore it from a copy that is not older, or see docs/OPERATIONS.md, Arbiter lost"
    head, _, body = data.partition(b"\n")
    magic, _, rest = head.decode("ascii", "replace").rpartition(f"{_MAGIC} ")
    version, _, checksum = rest.partition(" ")
    if magic or len(data) > FILE_BYTES_MAX or checksum != _checksum(body):
        raise RegisterError(damaged)
    if version != str(FORMAT_VERSION):
        raise RegisterError(f"{where} has format version {version}, and this release reads {FORMAT_VERSION}")
    try:
        return _stored(from_json(body, "the register"))
    except (ProtocolError, ValueError):
        raise RegisterError(damaged) from None


def _stored(fields: dict[str, Any]) -> Stored:
    given = fields | {"reign": None if fields.get("reign") is None else decode_reign(fields["reign"])}
    if set(given) != set(Stored._fields):
        raise ValueError("other fields")
    stored = Stored(**given)
    kinds = (type(stored.revision), type(stored.ttl_ns), type(stored.released), type(stored.successor))
    if kinds != (int, int, bool, str) or not 0 <= stored.revision <= EPOCH_MAX or stored.ttl_ns < 0:
        raise ValueError("other values")
    return stored


def _checksum(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


class RegisterFiles:
    """Registers of the markets in one folder. The constructor locks it, and raises RegisterError or OSError."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = Disk(folder) if disk is None else disk
        try:
            self._disk.lock()
        except BlockingIOError:
            self._disk.close()
            raise RegisterBusy(f"a witness serves {folder} already; end it, or name another directory") from None
        except BaseException:
            self._disk.close()
            raise

    def close(self) -> None:
        """Unlock the folder."""
        self._disk.close()

    def read(self) -> dict[str, Stored]:
        """Registers by market. Raises RegisterError for a damaged one, and OSError."""
        found = {}
        for name in sorted(self._disk.names()):
            market = name.removesuffix(_SUFFIX)
            if name.startswith(".") or market == name:
                continue
            where = str(self._folder / name)
            try:
                checked_market(market)
            except ValueError:
                raise RegisterError(f"{where} is not named after a market; move it away") from None
            found[market] = decode(self._disk.read(name, FILE_BYTES_MAX + 1), where)
        return found

    def write(self, market: str, stored: Stored) -> None:
        """Replace the register of a market. Raises RegisterKept, or RegisterFault."""
        name, aside = f"{market}{_SUFFIX}", f".{market}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(aside)  # left by a crash
            self._disk.sync(self._disk.write(aside, encode(stored)))
        except OSError as error:
            with contextlib.suppress(OSError):
                self._disk.remove(aside)
            raise RegisterKept(f"{self._folder / name} cannot be written: {_why(error)}") from error
        try:
            self._disk.rename(aside, name)
            self._disk.sync_folder()
        except OSError as error:
            raise RegisterFault(
                f"{self._folder / name} may be written or not: {_why(error)}; look at the system's log and start again"
            ) from error


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space"
    return in_words(error)
