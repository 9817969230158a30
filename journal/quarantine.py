"""Quarantine: blocks that a primary journaled and no other node has, set aside when it comes back as a standby.

DIR/quarantine holds one file for each part of a slice that was set aside:

    magic 8 | header bytes u32 | sealed header (msgpack) | sealed blocks, as they were in the journal

The header names journal, node, time and reason, and the checksums before the first block and of the last one; the
blocks are linked to each other, so whatever is lost or changed is noticed. The file is written aside, synced and
renamed before the journal is cut back. Nothing removes it, and its commands never come back into a journal.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgpack

from journal import frame, marks
from journal.errors import JournalDamaged, JournalError, JournalFault
from journal.frame import Block
from journal.slices import sync_folder

FOLDER: Final = "quarantine"
SUFFIX: Final = ".blocks"
_MAGIC: Final = b"lkaside\x01"
_HEAD: Final = struct.Struct("<8sI")
_HEADER_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True)
class Quarantine:
    """A part of a slice that was set aside.

    Commands ``first_seq`` to ``last_seq``; none, where a slice without commands was set aside. ``link``: checksum of
    the chain before them, ``checksum``: after them. ``first_epoch``, ``last_epoch``: of the first and last block.
    ``time_ns``: wall time of the setting aside; ``node``, ``why``: the node that did it, and the reason in a sentence.
    ``genesis``: sealed record of the slice.
    """

    journal_id: bytes
    slice_number: int
    first_seq: int
    last_seq: int
    link: bytes
    checksum: bytes
    first_epoch: int
    last_epoch: int
    time_ns: int
    node: str
    why: str
    genesis: bytes

    @property
    def name(self) -> str:
        """Name of the file without its ending: the first command, and the beginning of the last checksum."""
        return f"{self.first_seq}-{self.checksum.hex()[:8]}"

    @property
    def commands(self) -> int:
        """Number of commands."""
        return self.last_seq - self.first_seq + 1


def path_of(directory: Path, name: str) -> Path:
    """File of a quarantine of a data directory. ``name``: with or without the suffix."""
    return directory / FOLDER / f"{name.removesuffix(SUFFIX)}{SUFFIX}"


def write_quarantine(directory: Path, quarantine: Quarantine, blocks: Iterable[Block]) -> Path:
    """Write a quarantine; gives its file once that is on the disk. One that is there already and whole stays as it is.

    One that is damaged is kept under another name. ``blocks``: all of it, verified, in order. Raises OSError, and what
    reading raises; then there is no file.
    """
    path = path_of(directory, quarantine.name)
    if path.exists():
        try:
            check_quarantine(directory, quarantine)
            return path
        except JournalError:
            path.rename(_free_name(path))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    sync_folder(directory)
    aside = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            sealed = marks.seal(msgpack.packb(asdict(quarantine)))
            file.write(_HEAD.pack(_MAGIC, len(sealed)) + sealed)
            checksum = quarantine.link
            for block in blocks:
                file.write(block.sealed)
                checksum = block.checksum
            if checksum != quarantine.checksum:
                raise JournalError(f"the blocks to be set aside in {directory} changed meanwhile; repeat the command")
            file.flush()
            os.fsync(fd)
        aside.rename(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            aside.unlink()
    return path


def _free_name(path: Path) -> Path:
    """Name for a damaged quarantine, which no listing takes for one."""
    aside, number = path.with_name(f"{path.name}.damaged"), 2
    while aside.exists():
        aside, number = path.with_name(f"{path.name}.damaged-{number}"), number + 1
    return aside


def check_quarantine(directory: Path, wanted: Quarantine) -> None:
    """Read a quarantine back, to its last byte. Raises JournalDamaged where it has other blocks than it is to have."""
    found = read_quarantine(directory, wanted.name)
    # Another attempt may have written it, at another time.
    if replace(wanted, time_ns=found.time_ns, node=found.node, why=found.why) != found:
        raise JournalDamaged(f"{path_of(directory, wanted.name)} is a quarantine of other blocks; move it away")
    if found.commands:
        for _ in quarantined_blocks(directory, wanted.name):
            pass


def quarantines(directory: Path) -> tuple[list[Quarantine], list[str]]:
    """The quarantines of a data directory by first command, and a sentence on each file that cannot be read."""
    found, wrong = [], []
    for path in sorted((directory / FOLDER).glob(f"*{SUFFIX}")):
        try:
            found.append(read_quarantine(directory, path.name.removesuffix(SUFFIX)))
        except JournalError as error:
            wrong.append(str(error))
    return sorted(found, key=lambda each: (each.first_seq, each.time_ns)), wrong


def read_quarantine(directory: Path, name: str) -> Quarantine:
    """The header of a quarantine. Raises JournalError where there is none of this name, JournalDamaged."""
    with _open(directory, name) as file:
        return _header(file, path_of(directory, name))


def _open(directory: Path, name: str) -> BinaryIO:
    path = path_of(directory, name)
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise JournalError(
            f"{directory} has no quarantine {name!r}; `lockstep doctor {directory}` lists those that there are"
        ) from None
    except OSError as error:
        raise JournalFault(f"{path} cannot be read: {error.strerror}") from error


def _header(file: BinaryIO, path: Path) -> Quarantine:
    head = file.read(_HEAD.size)
    magic, size = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0)
    if magic != _MAGIC or size > _HEADER_BYTES_MAX:
        raise JournalDamaged(f"{path} does not begin like a quarantine; restore it from a copy")
    record = marks.unseal(file.read(size), f"the header of {path}")
    try:
        return Quarantine(**msgpack.unpackb(record))
    except (TypeError, ValueError) as error:
        raise JournalDamaged(f"the header of {path} has other fields than this release writes") from error


def quarantined_blocks(directory: Path, name: str) -> Iterator[Block]:
    """The blocks of a quarantine, each verified, with its link. Raises JournalDamaged at the first that is not right,
    and at an end that comes too early."""
    with _open(directory, name) as file:
        known = _header(file, path_of(directory, name))
        genesis = marks.decode_genesis(known.genesis)
        seq, link = known.first_seq, known.link
        while seq <= known.last_seq:
            block = frame.decode(_frame(file), seq, genesis.row_bytes)
            frame.check_link(block, seq, link, genesis.start_seq)
            yield block
            seq, link = block.last_seq + 1, block.checksum
        if link != known.checksum or file.read(1):
            raise JournalDamaged(f"{path_of(directory, name)} does not end with the block that its header names")


def _frame(file: BinaryIO) -> bytes:
    """The next frame as far as it is there; ``frame.decode`` judges it."""
    head: bytes = file.read(frame.FIXED_BYTES)
    size: Any = frame.frame_bytes(head)
    return head if size is None else head + file.read(size - len(head))
