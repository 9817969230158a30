"""Merkle trees of SHA-256, as RFC 6962 has them: the hash of a leaf begins with a 0 byte, that of a node with a 1.

A tree of n leaves has one root, and a leaf a path of at most log2 n hashes to it. Nobody can find another leaf, or
another place for it, that leads to the same root.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
_LEAF: Final = b"\0"
_NODE: Final = b"\1"
#: Bytes of a level that are hashed before their hashes are put together.
_PIECE: Final = 2 * HASH_BYTES * 4096
#: Root of a tree without leaves.
EMPTY: Final = sha256(b"").digest()


def leaf_hash(content: bytes) -> bytes:
    """Hash of a leaf."""
    return sha256(_LEAF + content).digest()


def root(leaves: bytes | bytearray) -> bytes:
    """Root over the hashes of leaves, which stand one after the other.

    >>> root(b"") == EMPTY, root(leaf_hash(b"a")) == leaf_hash(b"a")
    (True, True)
    """
    level = leaves
    while len(level) > HASH_BYTES:
        level = _above(level)
    return bytes(level) or EMPTY


def path(leaves: bytes | bytearray, index: int) -> list[bytes]:
    """Hashes by which the leaf at ``index`` leads to the root, from below."""
    level, found = leaves, []
    while len(level) > HASH_BYTES:
        beside = index ^ 1
        if beside * HASH_BYTES < len(level):
            found.append(bytes(level[beside * HASH_BYTES : (beside + 1) * HASH_BYTES]))
        level, index = _above(level), index // 2
    return found


def led_to(leaf: bytes, index: int, size: int, hashes: Sequence[bytes]) -> bytes | None:
    """Root to which a leaf at ``index`` of ``size`` leads by its path; None where the path is not of that length.

    >>> leaves = b"".join(leaf_hash(bytes([n])) for n in range(5))
    >>> led_to(leaf_hash(b"\\4"), 4, 5, path(leaves, 4)) == root(leaves)
    True
    """
    if not 0 <= index < size:
        return None
    left = list(hashes)
    while size > 1:
        if index ^ 1 < size:
            if not left:
                return None
            beside = left.pop(0)
            if len(beside) != HASH_BYTES:
                return None
            leaf = sha256(_NODE + (beside + leaf if index & 1 else leaf + beside)).digest()
        index, size = index // 2, (size + 1) // 2
    return None if left else leaf


def _above(level: bytes | bytearray) -> bytearray:
    """The next level; the last hash of an odd number goes up as it is."""
    ends = len(level) // (2 * HASH_BYTES) * 2 * HASH_BYTES
    above = bytearray()
    for begin in range(0, ends, _PIECE):  # a hash of its own for each pair of a day would take twice the day's memory
        pairs = range(begin, min(begin + _PIECE, ends), 2 * HASH_BYTES)
        above += b"".join([sha256(_NODE + level[at : at + 2 * HASH_BYTES]).digest() for at in pairs])
    return above + level[ends:]
