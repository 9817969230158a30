"""Rows as bytes, one at a time: for plain Python that makes or reads many rows of single values."""

import struct
from typing import Any, Final

import numpy as np

from engine.records import CommandKind

#: The fifteen places of a COMMAND row, in the order of ``records.COMMAND_PLACES``.
ROW: Final = struct.Struct("<6q2IBbBBHBB")

#: The thirteen places of an EVENT row, in the order of ``records.EVENT_PLACES``.
EVENT_ROW: Final = struct.Struct("<6q3I2BbB")


def event_values(events: "np.ndarray[Any, Any]") -> list[tuple[int, ...]]:
    """EVENT rows as tuples of their thirteen places."""
    return list(EVENT_ROW.iter_unpack(np.ascontiguousarray(events).view(np.uint8).data))


def clock_row(time_ns: int) -> bytes:
    """The CLOCK row of a time."""
    return ROW.pack(time_ns, 0, 0, 0, 0, 0, 0, 0, int(CommandKind.CLOCK), 0, 0, 0, 0, 0, 0)


def epoch_row(epoch: int, name: int) -> bytes:
    """The EPOCH row of an epoch and the name of its primary, as a number (``engine.names``)."""
    return ROW.pack(name, epoch, 0, 0, 0, 0, 0, 0, int(CommandKind.EPOCH), 0, 0, 0, 0, 0, 0)


def extend_row(*numbers: int) -> bytes:
    """The EXTEND row of six numbers."""
    return ROW.pack(*numbers, 0, 0, int(CommandKind.EXTEND), 0, 0, 0, 0, 0, 0)
