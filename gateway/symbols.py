"""Kernels of a table of symbols: the number of an instrument, for those that read messages of clients."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.jit import called, inlined, lshr, wrapping_multiply

_MIX: Final = np.int64(-7046029254386353131)
#: Rows of a table of symbols: open addressing, symbol 0 free.
SYMBOL: Final = np.dtype([("symbol", "<i8"), ("instrument", "<i8")])


def new_symbols(instruments_max: int) -> NDArray[Any]:
    """SYMBOL rows for so many instruments, all free."""
    rows = 4
    while rows < 2 * instruments_max + 2:
        rows *= 2
    return np.zeros(rows, SYMBOL)


@inlined
def symbol_place(symbols, symbol):
    """Row of a symbol in a table, or the free row for it; -1 where the table is full."""
    mask = len(symbols) - 1
    place = lshr(wrapping_multiply(symbol, _MIX), 40) & mask
    for _ in range(len(symbols)):
        there = symbols[place]["symbol"]
        if there == symbol or there == 0:
            return place
        place = (place + 1) & mask
    return np.int64(-1)


@called
def add_symbol(symbols, symbol, instrument):
    """Write the number of a new instrument into the table; it must have more rows than there are instruments."""
    place = symbol_place(symbols, symbol)
    if place >= 0:
        row = symbols[place]
        row["symbol"] = symbol
        row["instrument"] = instrument
