"""Packets of clients over SoupBinTCP: the kernels that cut and explain them, and the reading of all (``arrivals``)."""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, unpack_pointers
from gateway.arrivals import FOR_SESSION, HEARTBEAT, MESSAGE, read_all, unpack_arrivals
from gateway.ouch.reading import read_message
from gateway.ouch.recent import RECENT
from gateway.ouch.tables import OPEN, OPEN_REST
from gateway.symbols import SYMBOL
from wire import octets
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, PacketType


class Known(NamedTuple):
    """Instruments and orders of the users, with which a message is explained."""

    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]
    open: np.ndarray[Any, Any]  # OPEN[power of two]: ``StreamTables.open``
    rest: np.ndarray[Any, Any]  # OPEN_REST[as many]: ``StreamTables.rest``
    recent: np.ndarray[Any, Any]  # RECENT[RECENT_ROWS]


_unpack_known = unpack_pointers(
    Known(np.zeros(1, SYMBOL), np.zeros(1, OPEN), np.zeros(1, OPEN_REST), np.zeros(1, RECENT))
)
_packet_bytes: Final = inlined(octets.packet_bytes)


@inlined
def cut(buffer, at, end):
    """Size and kind of the packet at ``at``."""
    size = _packet_bytes(buffer, at, end, PAYLOAD_BYTES_MAX)
    kind = np.int64(FOR_SESSION)
    if size > 0:
        letter = np.int64(buffer[at + 2])
        if letter == PacketType.UNSEQUENCED:
            kind = np.int64(MESSAGE)
        elif letter == PacketType.CLIENT_HEARTBEAT and size == HEAD_BYTES:
            kind = np.int64(HEARTBEAT)
    return size, kind


@inlined
def explain(buffer, at, size, stream, known, commands, n):
    """Rows of the message in the packet at ``at``."""
    symbols, open_rows, rest, recent = known
    return read_message(
        buffer, at + HEAD_BYTES, size - HEAD_BYTES, stream, symbols, open_rows, rest, recent, commands, n
    )


@called
def read_streams(arrivals_pointers, known_pointers, count, rows_max, first, record_at):
    """Read streams into rows (``read_all``). Pointers: of the packed ``Arrivals`` and ``Known``."""
    arrays, known = unpack_arrivals(arrivals_pointers), _unpack_known(known_pointers)
    return read_all(arrays, known, count, rows_max, first, record_at, cut, explain)
