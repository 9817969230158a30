"""Packets and numbers in a buffer of bytes: plain functions, which the kernels of gateway/ and load/ compile.

``buffer`` is an array of uint8, numbers are big-endian and come as int64. ``engine.jit.inlined`` puts a function into
the kernel that uses it; nothing here knows of a compiler. ``wire.soup.packet_bytes`` is the same cut for Python.
"""

from typing import Any

import numpy as np


def packet_bytes(buffer: Any, at: Any, end: Any, payload_bytes_max: Any) -> Any:
    """Bytes of the SoupBinTCP packet that begins at ``at``, its head included.

    0: not all of it is there (``end``: where the bytes end). -1: its length field cannot be right.
    """
    if end - at < 2:
        return np.int64(0)
    length = (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])
    if length < 1 or length > payload_bytes_max + 1:
        return np.int64(-1)
    return 2 + length if end - at >= 2 + length else np.int64(0)


def u32(buffer: Any, at: Any) -> Any:
    """The number in 4 bytes."""
    return (
        (np.int64(buffer[at]) << 24)
        | (np.int64(buffer[at + 1]) << 16)
        | (np.int64(buffer[at + 2]) << 8)
        | np.int64(buffer[at + 3])
    )


def put_u32(buffer: Any, at: Any, number: Any) -> None:
    """Write the low 4 bytes of a number."""
    buffer[at] = (number >> 24) & 255
    buffer[at + 1] = (number >> 16) & 255
    buffer[at + 2] = (number >> 8) & 255
    buffer[at + 3] = number & 255
