"""Dormant stops of an instrument, by the price that elects them (rulebook section 4).

Each side has its queues by stop price in a tree of its own (``far.py``), of which the best price is the one that is
elected first: the lowest of buys, the highest of sells. An order is here as long as it has the instruction STOP; with
its election it is an order like any other.
"""

from typing import Final

import numpy as np

from engine.book import append, next_time, unlink
from engine.far import best_tick_below, far_find, far_insert, far_remove, leaf_level
from engine.jit import called, rare
from engine.pending import set_pending
from engine.places import stop_row
from engine.state import Pending, State

_STOPS: Final = int(Pending.STOPS)


@rare
def join_stops(state: State, slot, stop_tick):
    """Put an order behind all others that wait for the same price."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    state.terms[slot]["stop_tick"] = stop_tick
    b = stop_row(state, instrument, side)
    leaf = far_insert(state, b, stop_tick, np.int64(0))
    book = state.books[b]
    if book["best_tick"] == 0 or (book["best_tick"] - stop_tick) * side > 0:
        book["best_tick"] = stop_tick
    set_pending(state, instrument, _STOPS, True)
    append(state, state.levels[leaf_level(state, leaf)], slot)
    state.times[slot] = next_time(state)
    state.venue[0]["fresh_stop"] = 1


@rare
def leave_stops(state: State, slot):
    """Take a dormant order out of its queue; it has no terms any more."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    stop_tick = state.terms[slot]["stop_tick"]
    state.terms[slot]["stop_tick"] = 0
    b = stop_row(state, instrument, side)
    if unlink(state, state.levels[leaf_level(state, far_find(state, b, stop_tick))], slot):
        beside = far_remove(state, b, stop_tick)
        book = state.books[b]
        if book["best_tick"] == stop_tick:
            book["best_tick"] = best_tick_below(state, -side, beside)
        other = state.books[stop_row(state, instrument, -side)]
        if book["far_root"] == 0 and other["far_root"] == 0:
            set_pending(state, instrument, _STOPS, False)


@rare
def shrink_stop(state: State, slot, leaves_qty):
    """A dormant order keeps its place with less."""
    order = state.orders[slot]
    b = stop_row(state, np.int64(order["instrument"]), np.int64(order["side"]))
    level = state.levels[leaf_level(state, far_find(state, b, state.terms[slot]["stop_tick"]))]
    level["qty"] -= np.int64(order["leaves_qty"]) - leaves_qty
    order["leaves_qty"] = leaves_qty


@called
def next_stop(state: State, instrument):
    """Slot of the dormant order that the last trade elects next, or 0: buys before sells, then by price, then time."""
    row = state.instruments[instrument - 1]
    last_trade_e4 = row["last_trade_e4"]
    if last_trade_e4 == 0:
        return np.int64(0)
    for s in range(2):
        side = 1 - 2 * s
        b = stop_row(state, instrument, side)
        tick = state.books[b]["best_tick"]
        if tick != 0 and (last_trade_e4 - tick * row["tick_e4"]) * side >= 0:
            return np.int64(state.levels[leaf_level(state, far_find(state, b, tick))]["head"])
    return np.int64(0)
