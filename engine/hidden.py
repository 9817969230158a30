"""Orders of the lit book that are not displayed: behind the displayed ones at their price (rulebook section 3).

Each side has its queues in a tree of its own (``far.py``), whatever the price: few orders are hidden, and none of the
displayed ones then has to look at them. Pegs that have a price are among them; those whose price is between two ticks,
which is one price, have a level of their own. The best of all these prices is beside that of the displayed orders
(``hidden_tick``): a price between two ticks as the better of the two, as it goes before displayed orders at the other.
"""

from typing import Final

import numpy as np

from engine.book import append, next_time, unlink
from engine.far import far_find, far_find_changed, far_insert, far_next, far_remove, leaf_level
from engine.jit import called, inlined, rare
from engine.places import between_level, hidden_row, side_row
from engine.records import Instruction
from engine.state import State

_PEG: Final = int(Instruction.PEG)


@called
def better_tick(price_e4, tick_e4, side):
    """A price in ticks; of one between two ticks the better one for the side."""
    return -(-price_e4 // tick_e4) if side > 0 else price_e4 // tick_e4


@called
def undisplayed_level(state: State, instrument, side, tick):
    """Row in ``levels`` of the first queue that a ``hidden_tick`` stands for."""
    leaf = far_find(state, hidden_row(state, instrument, side), tick)
    return leaf_level(state, leaf) if leaf != 0 else between_level(state, side_row(instrument, side))


@called
def undisplayed_e4(state: State, slot):
    """Price of an order that is not displayed, by which it trades."""
    order = state.orders[slot]
    return state.terms[slot]["peg_e4"] if np.int64(order["instructions"]) & _PEG else order["price_e4"]


@called
def _note_best(state: State, instrument, side):
    """Bring the best price of a side's orders that are not displayed up to date."""
    book = state.books[side_row(instrument, side)]
    tick = state.books[hidden_row(state, instrument, side)]["best_tick"]
    if book["price_e4"] != 0:
        between = better_tick(book["price_e4"], state.instruments[instrument - 1]["tick_e4"], side)
        if tick == 0 or (between - tick) * side > 0:
            tick = between
    book["hidden_tick"] = tick


@inlined
def _clear_links(order):
    """A peg without a price is in no queue."""
    order["next"] = 0
    order["prev"] = 0


@rare
def join_hidden(state: State, slot):
    """Put an order behind all other orders at its price that are not displayed."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    price_e4, tick_e4 = undisplayed_e4(state, slot), state.instruments[instrument - 1]["tick_e4"]
    tick = price_e4 // tick_e4
    state.times[slot] = next_time(state)
    if tick * tick_e4 != price_e4:
        lit = side_row(instrument, side)
        append(state, state.levels[between_level(state, lit)], slot)
        if state.books[lit]["price_e4"] == 0:
            state.books[lit]["price_e4"] = price_e4
            _note_best(state, instrument, side)
        return
    b = hidden_row(state, instrument, side)
    leaf, qty = far_find(state, b, tick), np.int64(order["leaves_qty"])
    if leaf != 0:
        far_find_changed(state, b, tick, qty)
    else:
        leaf = far_insert(state, b, tick, qty)
        book = state.books[b]
        if book["best_tick"] == 0 or (tick - book["best_tick"]) * side > 0:
            book["best_tick"] = tick
            _note_best(state, instrument, side)
    append(state, state.levels[leaf_level(state, leaf)], slot)


@rare
def leave_hidden(state: State, slot):
    """Take an order that is not displayed out of its queue; its leaves_qty is still the quantity that counts there."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    price_e4, tick_e4 = undisplayed_e4(state, slot), state.instruments[instrument - 1]["tick_e4"]
    tick = price_e4 // tick_e4
    if tick * tick_e4 != price_e4:
        lit = side_row(instrument, side)
        if unlink(state, state.levels[between_level(state, lit)], slot):
            state.books[lit]["price_e4"] = 0
            _note_best(state, instrument, side)
        _clear_links(order)
        return
    b = hidden_row(state, instrument, side)
    leaf = far_find_changed(state, b, tick, -np.int64(order["leaves_qty"]))
    if unlink(state, state.levels[leaf_level(state, leaf)], slot):
        if state.books[b]["best_tick"] == tick:
            state.books[b]["best_tick"] = far_next(state, b, side, tick)
            _note_best(state, instrument, side)
        far_remove(state, b, tick)
    _clear_links(order)


@rare
def shrink_hidden(state: State, slot, leaves_qty):
    """An order that is not displayed keeps its place with less."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    price_e4, tick_e4 = undisplayed_e4(state, slot), state.instruments[instrument - 1]["tick_e4"]
    tick = price_e4 // tick_e4
    less = np.int64(order["leaves_qty"]) - leaves_qty
    order["leaves_qty"] = leaves_qty
    if tick * tick_e4 != price_e4:
        state.levels[between_level(state, side_row(instrument, side))]["qty"] -= less
        return
    b = hidden_row(state, instrument, side)
    state.levels[leaf_level(state, far_find_changed(state, b, tick, -less))]["qty"] -= less
