"""COMMAND rows as bytes, one at a time: for plain Python that makes many rows of single values."""

import struct
from typing import Final

from engine.records import CommandKind

#: The fifteen places of a COMMAND row, in the order of ``records.COMMAND_PLACES``.
ROW: Final = struct.Struct("<6q2IBbBBHBB")


def clock_row(time_ns: int) -> bytes:
    """The CLOCK row of a time."""
    return ROW.pack(time_ns, 0, 0, 0, 0, 0, 0, 0, int(CommandKind.CLOCK), 0, 0, 0, 0, 0, 0)


def extend_row(*numbers: int) -> bytes:
    """The EXTEND row of six numbers."""
    return ROW.pack(*numbers, 0, 0, int(CommandKind.EXTEND), 0, 0, 0, 0, 0, 0)
