"""Byte planes of rows, compressed: byte 0 of all rows, then byte 1, and so on, as one stream of zlib.

Each plane is a part of the stream that can be inflated without the others. One that compression makes little smaller
is stored as it is: to inflate it takes fifty times as long as to copy it. Where planes are in the stream is told beside
it, but for those of zeros, which most are, and which are not looked at. A reader that is not told so inflates all.
"""

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

Octets = bytes | bytearray

#: Part of its size from which on a plane is stored as it is.
STORED_FROM: Final = 0.7
#: Planes that are inflated at once where nobody says where they are.
_PLANES: Final = 8
#: Rows of 64 bytes that are in a near cache: 256 KB.
_CACHED_ROWS: Final = 1 << 12
#: Head of a stream of zlib, and the checksum at its end.
_HEAD: Final = b"\x78\x01"
_CHECKSUM_BYTES: Final = 4
#: Block of deflate that is the last one and empty.
_END: Final = b"\x03\x00"
#: Head of a block of deflate that is stored as it is: its size, and the same with all bits turned.
_STORED: Final = struct.Struct("<BHH")
_STORED_BYTES_MAX: Final = 0xFFFF
_LEVEL: Final = 1
#: Ways to compress a plane: with what is repeated in it, or by the frequency of its bytes alone.
_WAYS: Final = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)

#: Plane of a stream: which of the row's bytes, first byte of its part, and bytes of that.
Part = tuple[int, int, int]


def packed_planes(rows: Octets, row_bytes: int) -> tuple[bytes, list[Part]]:
    """A stream of the planes of rows, and where in it those are that have something else than 0."""
    planes = np.frombuffer(rows, np.uint8).reshape(-1, row_bytes).T.tobytes()
    nothing = bytes(len(planes) // row_bytes)
    of_nothing = _deflated(nothing, zlib.Z_DEFAULT_STRATEGY)
    stream, parts = bytearray(_HEAD), list[Part]()
    for at in range(row_bytes):
        plane = planes[at * len(nothing) : (at + 1) * len(nothing)]
        part = of_nothing if plane == nothing else _packed(plane)
        if plane != nothing:
            parts.append((at, len(stream), len(part)))
        stream += part
    stream += _END + zlib.adler32(planes).to_bytes(_CHECKSUM_BYTES, "big")
    return bytes(stream), parts


def _packed(plane: bytes) -> bytes:
    """The shortest part for a plane, or the plane as it is where that is not much longer."""
    best = min((_deflated(plane, way) for way in _WAYS), key=len)
    return best if len(best) < STORED_FROM * len(plane) else _stored(plane)


def _deflated(plane: bytes, way: int) -> bytes:
    packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, way)
    return packing.compress(plane) + packing.flush(zlib.Z_FULL_FLUSH)  # to the end of a byte, and forgets what was


def _stored(plane: bytes) -> bytes:
    blocks = (plane[begin : begin + _STORED_BYTES_MAX] for begin in range(0, len(plane), _STORED_BYTES_MAX))
    return b"".join(_STORED.pack(0, len(each), len(each) ^ _STORED_BYTES_MAX) + each for each in blocks)


def rows_of_planes(packed: bytes, count: int, row_bytes: int, parts: list[Part] | None) -> bytearray | None:
    """Rows of a stream of planes; None where they are not ``count`` rows. parts: None where nobody says.

    The checksum of the stream is not looked at: what has it should have one of its own.
    """
    if parts is None:
        found = _all_planes(memoryview(packed)[len(_HEAD) : -_CHECKSUM_BYTES], count, row_bytes)
    else:
        found = _told_planes(memoryview(packed), count, parts)
    if found is None:
        return None
    # Planes are put into some rows after the others, which stay in a near cache meanwhile.
    rows = bytearray(count * row_bytes)
    by_row = np.frombuffer(rows, np.uint8).reshape(count, row_bytes)
    for begin in range(0, count, _CACHED_ROWS):
        some_rows = by_row[begin : begin + _CACHED_ROWS]
        for at, plane in found:
            some_rows[:, at] = plane[begin : begin + _CACHED_ROWS]
    return rows


def _told_planes(packed: memoryview, count: int, parts: list[Part]) -> list[tuple[int, NDArray[np.uint8]]] | None:
    planes = []
    for at, begin, size in parts:
        try:
            octets = zlib.decompress(b"".join((packed[begin : begin + size], _END)), -zlib.MAX_WBITS, max(count, 1))
        except zlib.error:
            return None
        if len(octets) != count:
            return None
        planes.append((at, np.frombuffer(octets, np.uint8)))
    return planes


def _all_planes(packed: memoryview, count: int, row_bytes: int) -> list[tuple[int, NDArray[np.uint8]]] | None:
    """The planes of a stream that is inflated from its begin to its end, but for those of zeros."""
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    planes: list[tuple[int, NDArray[np.uint8]]] = []
    left: bytes | memoryview = packed
    for first in range(0, row_bytes if count else 0, _PLANES):
        width = min(_PLANES, row_bytes - first)
        octets = inflating.decompress(left, width * count)
        left = inflating.unconsumed_tail
        if len(octets) != width * count:
            return None
        some = np.frombuffer(octets, np.uint8).reshape(width, count)
        planes += [(first + at, some[at]) for at in np.flatnonzero(some.max(axis=1)).tolist()]
    if inflating.decompress(left, 1) or not inflating.eof:
        return None
    return planes
