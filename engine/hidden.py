"""Orders of the lit book that are not displayed: behind the displayed ones at their price (rulebook section 3).

Each side has its queues in a tree of its own (``far.py``), whatever the price: few orders are hidden, and none of the
displayed ones then has to look at them. The best of their prices is beside that of the displayed ones
(``hidden_tick``).
"""

from typing import Final

import numpy as np

from engine.book import append, next_time, unlink
from engine.depth import add_far_depth
from engine.far import far_find, far_insert, far_next, far_remove, leaf_level
from engine.jit import called, inlined, rare
from engine.places import hidden_row, side_row
from engine.state import Pending, State

_CALL: Final = int(Pending.CALL)


@inlined
def _in_call(state: State, instrument):
    return state.instruments[instrument - 1]["pending"] & _CALL


@called
def hidden_head(state: State, instrument, side, tick):
    """Slot of the first hidden order at a tick at which a side has one."""
    leaf = far_find(state, hidden_row(state, instrument, side), tick)
    return np.int64(state.levels[leaf_level(state, leaf)]["head"])


@rare
def join_hidden(state: State, slot):
    """Put an order behind all other hidden ones at its price."""
    order = state.orders[slot]
    instrument, side, tick = np.int64(order["instrument"]), np.int64(order["side"]), order["tick"]
    b = hidden_row(state, instrument, side)
    leaf = far_find(state, b, tick)
    if leaf == 0:
        leaf = far_insert(state, b, tick)
        book = state.books[side_row(instrument, side)]
        if book["hidden_tick"] == 0 or (tick - book["hidden_tick"]) * side > 0:
            book["hidden_tick"] = tick
    append(state, state.levels[leaf_level(state, leaf)], slot)
    state.times[slot] = next_time(state)
    if _in_call(state, instrument):
        add_far_depth(state, b, tick, np.int64(order["leaves_qty"]))


@rare
def leave_hidden(state: State, slot):
    """Take a hidden order out of its queue; its leaves_qty is still the quantity that the level counts."""
    order = state.orders[slot]
    instrument, side, tick = np.int64(order["instrument"]), np.int64(order["side"]), order["tick"]
    b = hidden_row(state, instrument, side)
    if _in_call(state, instrument):
        add_far_depth(state, b, tick, -np.int64(order["leaves_qty"]))
    if unlink(state, state.levels[leaf_level(state, far_find(state, b, tick))], slot):
        book = state.books[side_row(instrument, side)]
        if book["hidden_tick"] == tick:
            book["hidden_tick"] = far_next(state, b, side, tick)
        far_remove(state, b, tick)


@rare
def shrink_hidden(state: State, slot, leaves_qty):
    """A hidden order keeps its place with less."""
    order = state.orders[slot]
    instrument = np.int64(order["instrument"])
    b = hidden_row(state, instrument, np.int64(order["side"]))
    less = np.int64(order["leaves_qty"]) - leaves_qty
    state.levels[leaf_level(state, far_find(state, b, order["tick"]))]["qty"] -= less
    if _in_call(state, instrument):
        add_far_depth(state, b, order["tick"], -less)
    order["leaves_qty"] = leaves_qty
