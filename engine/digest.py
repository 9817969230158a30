"""Digests: what two replicas compare. The only file of the engine that imports xxhash (ADR 2)."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xxhash

Rows = np.ndarray[Any, Any]

#: Hasher of bytes that come in pieces: xxh3-64 (``update``, ``copy``, ``intdigest``).
ByteHash = xxhash.xxh3_64

#: The same for a digest of 16 bytes: xxh3-128.
PartHash = xxhash.xxh3_128

DIGEST_BYTES: Final = 16
GENESIS: Final = bytes(DIGEST_BYTES)

#: EVENT rows of one link of the event digest: 32 KB, so that a link costs a microsecond and a block of one less.
LINK_EVENTS: Final = 512
_LINK_BYTES: Final = 64 * LINK_EVENTS


class EventChain:
    """The event digest: a function of all events so far and of nothing else, so not of how they came in blocks.

    Every 512 events are a link: xxh3-128 over the link before (16 bytes, at first zeros) and their rows. The digest
    is xxh3-128 over the last link and the rows since; where there are none, the link itself.

    >>> from engine.records import EVENT
    >>> whole, pieces, rows = EventChain(), EventChain(), np.ones(1_000, EVENT)
    >>> whole.add(rows), pieces.add(rows[:700]), pieces.add(rows[700:])
    (None, None, None)
    >>> whole.digest() == pieces.digest() != EventChain().digest()
    True
    """

    def __init__(self, link: bytes = GENESIS, tail: bytes = b"") -> None:
        if len(link) != DIGEST_BYTES or len(tail) >= _LINK_BYTES or len(tail) % 64:
            raise ValueError("a link is 16 bytes, and less than 512 rows of 64 bytes follow it")
        self._link = link
        self._tail = bytearray(tail)
        # Over the link and the tail, so that a digest costs the same however long the tail is.
        self._hasher = xxhash.xxh3_128(self._link)
        self._hasher.update(self._tail)

    def add(self, events: Rows | memoryview) -> None:
        """Add the next EVENT rows, contiguous, or their bytes."""
        raw = events if isinstance(events, memoryview) else memoryview(events.view(np.uint8).data)
        start = 0
        while len(raw) - start >= _LINK_BYTES - len(self._tail):
            end = start + _LINK_BYTES - len(self._tail)
            self._hasher.update(raw[start:end])
            self._link = self._hasher.digest()
            self._hasher = xxhash.xxh3_128(self._link)
            self._tail.clear()
            start = end
        rest = raw[start:] if start else raw
        self._hasher.update(rest)
        self._tail += rest

    def digest(self) -> bytes:
        """16 bytes: what all events so far come to."""
        return self._hasher.digest() if self._tail else self._link

    def arrays(self) -> dict[str, Rows]:
        """The chain as arrays, for a checkpoint; ``from_arrays`` reads them."""
        return {"link": np.frombuffer(self._link, np.uint8), "tail": np.frombuffer(bytes(self._tail), np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Rows]) -> "EventChain":
        """The chain of a checkpoint. Raises KeyError or ValueError when the arrays are no chain."""
        return cls(arrays["link"].tobytes(), arrays["tail"].tobytes())


def checksum(raw: Any) -> bytes:
    """xxh3-128 (16 bytes) over a bytes-like object."""
    return xxhash.xxh3_128_digest(raw)


def layout_digest(arrays: Mapping[str, Rows]) -> bytes:
    """xxh3-128 over the layout of arrays in their order: name, shape, and the fields of a row with format and offset.

    The content does not count. Two images with the same layout digest have the same bytes for the same content.
    """
    described = ";".join(f"{name}{list(array.shape)}:{_described(array.dtype)}" for name, array in arrays.items())
    return checksum(described.encode())


def _described(dtype: "np.dtype[Any]") -> str:
    """A dtype in words: of a plain one its format, of a row its size and each field with its offset.

    >>> _described(np.dtype([("qty", "<i4"), ("reserved", "<i8", (2,))]))
    '20(qty@0:<i4,reserved@4:<i8[2])'
    """
    if dtype.subdtype is not None:
        return f"{_described(dtype.subdtype[0])}{list(dtype.shape)}"
    if dtype.fields is None:
        return dtype.str
    fields = ((name, *dtype.fields[name][:2]) for name in dtype.names or ())
    return f"{dtype.itemsize}({','.join(f'{name}@{offset}:{_described(field)}' for name, field, offset in fields)})"


def part_digest(arrays: Mapping[str, Rows]) -> bytes:
    """xxh3-128 over the names, shapes and bytes of one part's arrays, in name order."""
    hasher = xxhash.xxh3_128()
    for name in sorted(arrays):
        array = arrays[name]
        hasher.update(f"{name}:{array.dtype.itemsize}:{array.shape};".encode())
        hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hasher.digest()


def state_digest(parts: Mapping[str, bytes]) -> bytes:
    """The digest of the whole state out of those of its parts."""
    return xxhash.xxh3_128_digest(b"".join(name.encode() + parts[name] for name in sorted(parts)))
