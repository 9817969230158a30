"""Packets of clients over SoupBinTCP: the kernels that explain them, and the reading of all (``arrivals``)."""

from typing import Any, NamedTuple

import numpy as np

from engine.jit import called, inlined, unpack_pointers
from gateway.arrivals import read_all, unpack_arrivals
from gateway.ouch.reading import read_message
from gateway.ouch.recent import RECENT
from gateway.ouch.tables import OPEN, OPEN_REST
from gateway.packets import cut_packet
from gateway.symbols import SYMBOL
from wire.soup import HEAD_BYTES


class Known(NamedTuple):
    """Instruments and orders of the users, with which a message is explained."""

    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]
    open: np.ndarray[Any, Any]  # OPEN[power of two]: ``StreamTables.open``
    rest: np.ndarray[Any, Any]  # OPEN_REST[as many]: ``StreamTables.rest``
    recent: np.ndarray[Any, Any]  # RECENT[RECENT_ROWS]


_unpack_known = unpack_pointers(
    Known(np.zeros(1, SYMBOL), np.zeros(1, OPEN), np.zeros(1, OPEN_REST), np.zeros(1, RECENT))
)


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
    return read_all(arrays, known, count, rows_max, first, record_at, cut_packet, explain)
