"""The event rows of a closed slice, compressed, in a file beside it.

They are opaque rows here, in pieces that end where blocks end:

    magic 8 | header bytes u32 | checksum 16 | msgpack header
    piece: compressed bytes u32 | first_seq, last_seq, rows u64 | marks, 3 i64 | checksum 16 | compressed rows
    index: msgpack | trailer: magic 8 | index offset, index bytes u64 | checksum 16

Each checksum is xxh3-128 over the checksum before it and its own bytes, the first over the header alone, which has the
checksum of the slice's genesis record: a piece that is lost, swapped or of another slice does not fit. A range is read
by the index, without the pieces before it. Rows are turned into byte planes before compression
(``journal.byte_planes``), and the index says where in each piece they are (``planes``). Where it does not, since an
earlier release wrote it, all of a piece is inflated; a release that does not know ``planes`` reads such a file too.

The file is written under a temporary name, synced and renamed: it is complete or absent, and never changes.
"""

import fcntl
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgpack
import xxhash

from journal.byte_planes import Part, packed_planes, rows_of_planes
from journal.errors import JournalBusy, JournalDamaged, JournalFault
from journal.slices import sync_folder

VERSION: Final = 1
#: Rows of a piece; one with the last block may have more.
PIECE_ROWS: Final = 1 << 16
_MAGIC: Final = b"lkevents"
_END: Final = b"lkevtend"
_HEAD: Final = struct.Struct("<8sI16s")
_PIECE: Final = struct.Struct("<IQQQ3q")
_TRAILER: Final = struct.Struct("<8sQQ16s")
_RECORD_BYTES_MAX: Final = 1 << 30

#: Three numbers from the owner for a piece, on the state before its first block.
Marks = tuple[int, int, int]


class Piece(NamedTuple):
    """Rows caused by the commands ``first_seq`` to ``last_seq``, whole blocks; their memory is the owner's."""

    first_seq: int
    last_seq: int
    marks: Marks
    rows: bytearray


@dataclass(frozen=True)
class _Entry:
    """A piece in the index."""

    first_seq: int
    last_seq: int
    rows: int
    marks: Marks
    offset: int
    packed_bytes: int
    checksum: bytes
    parts: list[Part] | None


def _is_at(fd: int, path: Path) -> bool:
    """True if an open file still has a name."""
    try:
        found, own = path.stat(), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)


class EventRowsWriter:
    """Writer of the file ``path``: ``add`` block by block, then ``finish``; or ``close``, which leaves no file.

    ``genesis``: checksum of the slice's genesis record. ``head``: plain values for the reader. Raises JournalBusy where
    another process writes it, OSError.
    """

    def __init__(self, path: Path, genesis: bytes, row_bytes: int, head: dict[str, Any]) -> None:
        self._path, self._row_bytes = path, row_bytes
        self._aside = path.with_name(f"{path.name}.new")
        fd = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(fd, "wb")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(fd, self._aside):  # finished by another process meanwhile: not ours to write over
                raise BlockingIOError
        except OSError as error:
            self._file.close()
            raise JournalBusy(f"{path} is being written by another process; wait for it") from error
        os.ftruncate(fd, 0)
        header = msgpack.packb({"version": VERSION, "genesis": genesis, "row_bytes": row_bytes, "head": head})
        self._link = xxhash.xxh3_128_digest(header)
        self._file.write(_HEAD.pack(_MAGIC, len(header), self._link) + header)
        self._offset = _HEAD.size + len(header)
        self._entries: list[_Entry] = []
        self._held = bytearray()
        self._first_seq = self._last_seq = 0
        self._marks: Marks = (0, 0, 0)
        self.rows = 0

    def add(self, first_seq: int, last_seq: int, rows: bytes, marks: Marks) -> None:
        """Add the rows of a block. ``marks``: on the state before it."""
        if not self._first_seq:
            self._first_seq, self._marks = first_seq, marks
        self._held += rows
        self._last_seq = last_seq
        self.rows += len(rows) // self._row_bytes
        if len(self._held) >= PIECE_ROWS * self._row_bytes:
            self._flush()

    def _flush(self) -> None:
        if not self._first_seq:
            return
        packed, parts = packed_planes(self._held, self._row_bytes)
        rows = len(self._held) // self._row_bytes
        head = _PIECE.pack(len(packed), self._first_seq, self._last_seq, rows, *self._marks)
        checksum = xxhash.xxh3_128_digest(self._link + head + packed)
        self._file.write(head + checksum + packed)
        about = (self._first_seq, self._last_seq, rows, self._marks, self._offset, len(packed), checksum, parts)
        self._entries.append(_Entry(*about))
        self._offset += _PIECE.size + 16 + len(packed)
        self._link, self._first_seq = checksum, 0
        self._held.clear()

    def finish(self, end: dict[str, Any]) -> None:
        """Write the last piece and the index, and rename the file. ``end``: plain values for the reader."""
        self._flush()
        entries = [
            [each.first_seq, each.last_seq, each.rows, list(each.marks), each.offset, each.packed_bytes, each.checksum]
            for each in self._entries
        ]
        planes = [each.parts for each in self._entries]
        index = msgpack.packb({"end": end, "pieces": entries, "planes": planes})
        checksum = xxhash.xxh3_128_digest(self._link + index + struct.pack("<Q", self._offset))
        self._file.write(index + _TRAILER.pack(_END, self._offset, len(index), checksum))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._aside.rename(self._path)
        sync_folder(self._path.parent)
        self._file.close()

    def close(self) -> None:
        """Remove an unfinished file."""
        if not self._file.closed:
            with suppress(OSError):
                self._aside.unlink()
            self._file.close()


class EventRows:
    """The file ``path``, open for reading. ``head``, ``end``: the writer's plain values; ``rows``: their number.

    ``genesis``: checksum of the genesis record of the slice that it must be of. Raises JournalDamaged.
    """

    def __init__(self, path: Path, genesis: bytes) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise JournalFault(f"{path} cannot be read: {error.strerror}") from error
        try:
            self._read_records(genesis)
        except BaseException:
            self._file.close()
            raise

    def _damaged(self, why: str) -> JournalDamaged:
        return JournalDamaged(f"{self.path} {why}; remove it, and a replay of the slice writes it anew")

    def _read_records(self, genesis: bytes) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if size < _HEAD.size + _TRAILER.size:
            raise self._damaged("is cut short")
        magic, header_bytes, checksum = _HEAD.unpack(self._file.read(_HEAD.size))
        if magic != _MAGIC or header_bytes > min(size, _RECORD_BYTES_MAX):
            raise self._damaged("does not begin like a file of event rows")
        packed = self._file.read(header_bytes)
        if xxhash.xxh3_128_digest(packed) != checksum:
            raise self._damaged("is damaged: its header does not match its checksum")
        header = msgpack.unpackb(packed)
        if header.get("version") != VERSION:
            raise self._damaged(f"has format version {header.get('version')!r}, and this release reads {VERSION}")
        if header["genesis"] != genesis:
            raise self._damaged("is of another slice, or of another journal")
        self._first_link: bytes = checksum
        self.head: dict[str, Any] = header["head"]
        self._row_bytes = int(header["row_bytes"])
        self._file.seek(size - _TRAILER.size)
        magic, offset, index_bytes, checksum = _TRAILER.unpack(self._file.read(_TRAILER.size))
        if magic != _END or offset + index_bytes + _TRAILER.size != size or offset < _HEAD.size + header_bytes:
            raise self._damaged("is cut short or damaged at its end")
        self._file.seek(offset)
        packed = self._file.read(index_bytes)
        try:
            index = msgpack.unpackb(packed)
            planes = index["planes"] if "planes" in index else [None] * len(index["pieces"])
            found = [
                _Entry(first, last, rows, tuple(marks), at, length, bytes(link), parts)
                for (first, last, rows, marks, at, length, link), parts in zip(index["pieces"], planes, strict=True)
            ]
            self.end: dict[str, Any] = index["end"]
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged("is damaged: its index cannot be read") from error
        link = found[-1].checksum if found else self._first_link
        if xxhash.xxh3_128_digest(link + packed + struct.pack("<Q", offset)) != checksum:
            raise self._damaged("is damaged: its index does not match its checksum")
        self._entries = found
        self._lasts = [entry.last_seq for entry in found]
        self.rows = sum(entry.rows for entry in found)

    def pieces(self, from_seq: int, to_seq: int) -> Iterator[Piece]:
        """The pieces with commands of a range, each verified. Raises JournalDamaged at a damaged piece."""
        for at in range(bisect_left(self._lasts, from_seq), len(self._entries)):
            entry = self._entries[at]
            if entry.first_seq > to_seq:
                return
            yield self._piece(entry, self._entries[at - 1].checksum if at else self._first_link)

    def _piece(self, entry: _Entry, link: bytes) -> Piece:
        what = (
            f"is damaged: the events of commands {entry.first_seq:,} to {entry.last_seq:,} do not match their checksum"
        )
        self._file.seek(entry.offset)
        raw = self._file.read(_PIECE.size + 16 + entry.packed_bytes)
        head, checksum, packed = raw[: _PIECE.size], raw[_PIECE.size : _PIECE.size + 16], raw[_PIECE.size + 16 :]
        expected = _PIECE.pack(entry.packed_bytes, entry.first_seq, entry.last_seq, entry.rows, *entry.marks)
        if head != expected or xxhash.xxh3_128_digest(link + head + packed) != checksum or checksum != entry.checksum:
            raise self._damaged(what)
        rows = rows_of_planes(packed, entry.rows, self._row_bytes, entry.parts)
        if rows is None:
            raise self._damaged(what)
        return Piece(entry.first_seq, entry.last_seq, entry.marks, rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "EventRows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
