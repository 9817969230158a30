"""Places of an instrument's books in the arrays of the state: rows of its sides, of their market levels and windows."""

from engine.jit import inlined
from engine.state import WINDOW, State


@inlined
def side_row(instrument, side):
    """Row of ``books`` of an instrument's side of the lit book."""
    return 2 * instrument - 2 + ((1 - side) >> 1)


@inlined
def stop_row(state: State, instrument, side):
    """Row of ``books`` of an instrument's dormant stops of a side."""
    return 2 * len(state.instruments) + side_row(instrument, side)


@inlined
def hidden_row(state: State, instrument, side):
    """Row of ``books`` of an instrument's orders of a side that are not displayed."""
    return 4 * len(state.instruments) + side_row(instrument, side)


@inlined
def midpoint_row(state: State, instrument, side):
    """Row of ``books`` of a side of an instrument's midpoint book."""
    return 6 * len(state.instruments) + side_row(instrument, side)


@inlined
def peg_row(state: State, instrument, side, peg):
    """Row of ``books`` of an instrument's pegs of a side with one reference (``Peg``)."""
    return 8 * len(state.instruments) + 3 * side_row(instrument, side) + peg - 1


@inlined
def hidden_beside(state: State, b):
    """Row of the hidden orders of the same side as a side of a lit book."""
    return 4 * len(state.instruments) + b


@inlined
def instrument_row(b):
    """Row of ``instruments`` that a side of a lit book is of."""
    return b >> 1


@inlined
def market_level(state: State, b):
    """Row of ``levels`` where a side's resting market orders are."""
    return 2 * WINDOW * len(state.instruments) + b


@inlined
def between_level(state: State, b):
    """Row in ``levels`` of a side's pegs whose price is between two ticks: all of them have the same."""
    return 2 * WINDOW * len(state.instruments) + 2 * len(state.instruments) + b


@inlined
def in_window(state: State, b, tick):
    """True if a tick is one of the window."""
    offset = tick - state.instruments[instrument_row(b)]["window_tick"]
    return (offset >= 0) & (offset < WINDOW)
