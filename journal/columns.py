"""A file of named arrays with a checksum each, for what is derived from a journal and can be made again.

    magic 8 | header bytes u32 | checksum 16 | msgpack header | arrays, each at a multiple of 8

The header has plain values of the owner, and of each array its type, length, place and checksum (xxh3-128). It is
checked when the file is opened, an array when it is first asked for. The file is written under a temporary name, synced
and renamed: it is complete or absent, and never changes. Of two writers of one file the later one wins.
"""

import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgpack
import xxhash

from journal.errors import JournalDamaged
from journal.slices import sync_folder

_MAGIC: Final = b"lkcolumn"
_HEAD: Final = struct.Struct("<8sI16s")
_ALIGNED: Final = 8

#: An array of one dimension: its type as NumPy writes it (`<u4`), its length, and its bytes.
Array = tuple[str, int, "bytes | memoryview"]


def write_columns(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a file. ``meta``: plain values for the reader. Raises OSError, after which the file is as it was."""
    places, offset = {}, 0
    for name, (form, count, content) in arrays.items():
        places[name] = [form, count, offset, len(content), xxhash.xxh3_128_digest(content)]
        offset += -(-len(content) // _ALIGNED) * _ALIGNED
    header = msgpack.packb({"meta": dict(meta), "arrays": places, "bytes": offset})
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(_HEAD.pack(_MAGIC, len(header), xxhash.xxh3_128_digest(header)) + header)
            file.write(b"\0" * (-(_HEAD.size + len(header)) % _ALIGNED))
            for _, _, content in arrays.values():
                file.write(content)
                file.write(b"\0" * (-len(content) % _ALIGNED))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            aside.unlink()


class Columns:
    """A file of arrays, mapped. ``meta``: the plain values of its writer. Raises JournalDamaged, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEAD.size:
                raise JournalDamaged(f"{path} is too short")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, header_bytes, checksum = _HEAD.unpack_from(self._map)
        header = self._map[_HEAD.size : _HEAD.size + header_bytes]
        if magic != _MAGIC or xxhash.xxh3_128_digest(header) != checksum:
            raise JournalDamaged(f"{path} has a damaged header")
        found = msgpack.unpackb(header)
        self.meta: dict[str, Any] = found["meta"]
        self._arrays: dict[str, list[Any]] = found["arrays"]
        self._begin = -(-(_HEAD.size + header_bytes) // _ALIGNED) * _ALIGNED
        self._checked: set[str] = set()
        if size != self._begin + found["bytes"]:
            raise JournalDamaged(f"{path} has {size} bytes in place of {self._begin + found['bytes']}")

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def arrays(self) -> Iterator[tuple[str, tuple[str, int, memoryview]]]:
        """All arrays by name, as ``array`` gives them. Raises JournalDamaged."""
        return ((name, self.array(name)) for name in self._arrays)

    def array(self, name: str) -> tuple[str, int, memoryview]:
        """Type, length and bytes of an array. Raises KeyError, JournalDamaged."""
        form, count, offset, size, checksum = self._arrays[name]
        content = memoryview(self._map)[self._begin + offset : self._begin + offset + size]
        if name not in self._checked:
            if xxhash.xxh3_128_digest(content) != checksum:
                raise JournalDamaged(f"{self.path} has a damaged array {name}")
            self._checked.add(name)
        return form, count, content
