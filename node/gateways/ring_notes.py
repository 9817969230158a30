"""Notes of the rows that a gateway puts into its ring (``tape.ring``): user, rows of the message, time of arrival."""

import struct
from collections.abc import Callable
from typing import Final

import numpy as np

from engine.records import COMMAND, CommandKind
from engine.row_bytes import ROW
from tape.ring import NOTE

#: Times, in ns since 1970, at which the last bytes of users came.
Received = Callable[[list[int]], list[int]]

_EXTEND, _REPLACE = int(CommandKind.EXTEND), int(CommandKind.REPLACE)
#: Rows up to which plain Python is faster than NumPy, whose every step costs as much as a row here.
_FEW: Final = 16
_NOTE: Final = struct.Struct("<qii")
#: Bits of a context that are its user.
_USER: Final = 0xFFFF


def notes_of(packed: bytearray, received_ns: Received) -> bytearray:
    """NOTE rows of COMMAND rows, both as bytes: of an EXTEND row and the command behind it as of one message."""
    if len(packed) <= _FEW * ROW.size:
        return _notes_of_few(packed, received_ns)
    rows = np.frombuffer(packed, COMMAND)
    extends = rows["kind"] == CommandKind.EXTEND
    notes = np.zeros(len(rows), NOTE)
    replaces = rows["kind"] == CommandKind.REPLACE
    notes["source"] = np.where(replaces, rows["new_context"], rows["context"]) & _USER
    follows = np.zeros(len(rows), bool)
    follows[1:] = extends[:-1]
    notes["rows"] = np.where(follows, 0, np.where(extends, 2, 1))
    first = np.flatnonzero(extends)
    notes["source"][first] = notes["source"][np.minimum(first + 1, len(rows) - 1)]
    notes["tag"] = received_ns(notes["source"].tolist())
    return bytearray(notes.tobytes())


def _notes_of_few(packed: bytearray, received_ns: Received) -> bytearray:
    last = ROW.unpack_from(packed, len(packed) - ROW.size)
    alone = len(packed) == ROW.size and last[8] != _EXTEND
    if alone or (len(packed) == 2 * ROW.size and ROW.unpack_from(packed)[8] == _EXTEND):  # one message, as mostly
        user = (last[4] if last[8] == _REPLACE else last[1]) & _USER
        (time_ns,) = received_ns([user])
        if alone:
            return bytearray(_NOTE.pack(time_ns, user, 1))
        return bytearray(_NOTE.pack(time_ns, user, 2) + _NOTE.pack(time_ns, user, 0))
    values = list(ROW.iter_unpack(packed))
    users, counts, follows = [], [], False
    for at, row in enumerate(values):
        extends = row[8] == _EXTEND
        command = values[min(at + 1, len(values) - 1)] if extends else row
        users.append((command[4] if command[8] == _REPLACE else command[1]) & _USER)
        counts.append(0 if follows else 2 if extends else 1)
        follows = extends
    times = received_ns(users)
    return bytearray(b"".join(map(_NOTE.pack, times, users, counts)))
