"""The closing auction begins: orders that were kept aside go into the book (rulebook section 4).

They have the time of their entry there: at each price the queue of the book and theirs become one, in a pass over both.
"""

from typing import Final

import numpy as np

from engine.book import append, open_level
from engine.depth import add_depth
from engine.ending import begin_ending
from engine.jit import called
from engine.listing import list_level_of
from engine.places import side_row
from engine.state import ASIDE, State
from engine.sweep import sort_by_keys

_MARKET_TICK: Final = -1


@called
def take_in(state: State, instrument):
    """The closing auction begins: the orders that wait go into the book, each with the time of its entry."""
    for s in range(2):
        side = 1 - 2 * s
        b = side_row(instrument, side)
        count = list_level_of(state, state.books[b], state.scratch, np.int64(0), state.venue[0]["orders_open"])
        if count == 0:
            continue
        book = state.books[b]
        book["head"], book["tail"], book["qty"] = 0, 0, 0
        for place in range(count):
            state.ladder[place] = max(state.orders[state.scratch[place]]["tick"], _MARKET_TICK)
        sort_by_keys(state, count)
        start = 0
        for place in range(count):
            if place + 1 == count or state.ladder[place + 1] != state.ladder[start]:
                _merge_in(state, b, side, state.ladder[start], start, place + 1)
                start = place + 1


@called
def _merge_in(state: State, b, side, tick, start, end):
    """Orders of one price, ``scratch`` from ``start`` to ``end``, go into the queue there by their time."""
    qty = np.int64(0)
    for place in range(start, end):
        qty += np.int64(state.orders[state.scratch[place]]["leaves_qty"])
    row = open_level(state, b, side, tick, qty)
    add_depth(state, b, tick, qty)
    level = state.levels[row]
    behind = np.int64(level["head"])
    for place in range(start, end):
        slot = state.scratch[place]
        for _ in range(state.venue[0]["orders_open"]):
            if behind == 0 or state.times[behind] > state.times[slot]:
                break
            behind = np.int64(state.orders[behind]["next"])
        order = state.orders[slot]
        order["instructions"] = np.int64(order["instructions"]) & ~ASIDE
        begin_ending(state, slot)
        if behind == 0:
            append(state, level, slot)
        else:
            _insert_before(state, level, slot, behind)


@called
def _insert_before(state: State, level, slot, behind):
    order, other = state.orders[slot], state.orders[behind]
    ahead = np.int64(other["prev"])
    order["prev"] = ahead
    order["next"] = behind
    other["prev"] = slot
    if ahead == 0:
        level["head"] = slot
    else:
        state.orders[ahead]["next"] = slot
    level["qty"] += np.int64(order["leaves_qty"])
