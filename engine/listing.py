"""Open orders in the order in which the book would trade them: for sweeps over a book, for people and tests."""

from typing import Final

import numpy as np

from engine.book import level_of, next_tick
from engine.far import far_find, far_next, leaf_level
from engine.jit import called, inlined
from engine.pegs import list_unpriced
from engine.places import between_level, hidden_row, market_level, midpoint_row, side_row, stop_row
from engine.state import State

#: Above every tick.
_ABOVE_ALL: Final = 2**34


@called
def list_open_orders(state: State, instrument, out):
    """Write the slots of an instrument's orders to ``out`` (int64): buys before sells, of each the dormant
    stops, then those of the midpoint book, and then pegs without a price last.

    Gives their number.
    """
    return list_open_orders_up_to(state, instrument, out, state.venue[0]["orders_open"])


@called
def list_open_orders_up_to(state: State, instrument, out, most):
    """``list_open_orders``, which ends early where there are more than ``most``: it gives a greater number then."""
    count = 0
    for s in range(2):
        b = side_row(instrument, 1 - 2 * s)
        side = 1 - 2 * s
        count = list_level(state, market_level(state, b), out, count, most)
        tick = state.books[b]["best_tick"]
        row = hidden_row(state, instrument, side)
        hidden_tick, between_e4 = state.books[row]["best_tick"], state.books[b]["price_e4"]
        tick_e4 = state.instruments[instrument - 1]["tick_e4"]
        for _ in range(state.venue[0]["orders_open"]):
            if count > most:
                return count
            best = tick
            if hidden_tick != 0 and (tick == 0 or (hidden_tick - tick) * side > 0):
                best = hidden_tick
            if between_e4 != 0 and (best == 0 or (between_e4 - best * tick_e4) * side > 0):
                count = list_level(state, between_level(state, b), out, count, most)
                between_e4 = np.int64(0)
            elif best == 0:
                break
            elif best == tick:
                count = list_level(state, level_of(state, b, tick), out, count, most)
                tick = next_tick(state, b, side, tick)
            else:
                leaf = far_find(state, row, hidden_tick)
                count = list_level(state, leaf_level(state, leaf), out, count, most)
                hidden_tick = far_next(state, row, side, hidden_tick)
        count = _list_tree(state, stop_row(state, instrument, side), -side, out, count, most)
        count = list_level_of(state, state.books[b], out, count, most)
        count = _list_tree(state, midpoint_row(state, instrument, side), side, out, count, most)
        count = list_unpriced(state, instrument, side, out, count, most)
    return count


@called
def _list_tree(state: State, b, side, out, count, most):
    """``list_level`` of all levels of a tree, the best of a side first (buys: the highest)."""
    tick = far_next(state, b, side, _ABOVE_ALL if side > 0 else 0)
    for _ in range(state.venue[0]["orders_open"]):
        if tick == 0 or count > most:
            break
        count = list_level(state, leaf_level(state, far_find(state, b, tick)), out, count, most)
        tick = far_next(state, b, side, tick)
    return count


@called
def list_level(state: State, row, out, count, most):
    """Write the slots of a level's queue to ``out`` from ``count`` on; returns the new count, ``most`` + 1 at most."""
    return list_level_of(state, state.levels[row], out, count, most)


@inlined
def list_level_of(state: State, level, out, count, most):
    """``list_level``, given what has its head."""
    slot = np.int64(level["head"])
    for _ in range(most + 1 - count):
        if slot == 0:
            break
        out[count] = slot
        count += 1
        slot = np.int64(state.orders[slot]["next"])
    return count
