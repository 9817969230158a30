"""Digests: what two replicas compare (design section 7). The only file of the engine that imports xxhash (ADR 2)."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xxhash

DIGEST_BYTES: Final = 16
GENESIS: Final = bytes(DIGEST_BYTES)


def chain(previous: bytes, events: "np.ndarray[Any, Any]") -> bytes:
    """The event digest after a block: xxh3-128 over the previous digest (16 bytes) and the block's EVENT rows.

    A block that causes no event moves the digest too. ``events`` is contiguous.
    """
    hasher = xxhash.xxh3_128(previous)
    hasher.update(events.view(np.uint8).data)
    return hasher.digest()


def checksum(raw: Any) -> bytes:
    """xxh3-128 (16 bytes) over a bytes-like object."""
    return xxhash.xxh3_128_digest(raw)


def part_digest(arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> bytes:
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
