"""Orders of the lit book that are not displayed: behind the displayed ones at their price (rulebook section 3).

Each side has its queues in a tree of its own (``far.py``), whatever the price: few orders are hidden, and none of the
displayed ones then has to look at them. Pegs that have a price are among them; those whose price is between two ticks,
which is one price, have a level of their own. The best of all these prices is beside that of the displayed orders
(``hidden_tick``): a price between two ticks as the better of the two, as it goes before displayed orders at the other.
"""

from typing import Final

import numpy as np

from engine.book import append, next_time, unlink
from engine.far import (
    best_tick_below,
    far_find,
    far_find_changed,
    far_insert,
    far_move,
    far_remove,
    find_changed_leaf,
    leaf_level,
)
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


@inlined
def join_undisplayed(state: State, slot, price_e4, tick_e4, tick):
    """Put an order behind all others at its price that are not displayed. tick: the price in ticks, rounded down."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    state.times[slot] = next_time(state)
    if tick * tick_e4 != price_e4:
        lit = side_row(instrument, side)
        append(state, state.levels[between_level(state, lit)], slot)
        if state.books[lit]["price_e4"] == 0:
            state.books[lit]["price_e4"] = price_e4
            _note_best(state, instrument, side)
        return
    b = hidden_row(state, instrument, side)
    leaf = far_insert(state, b, tick, np.int64(order["leaves_qty"]))
    append(state, state.levels[leaf_level(state, leaf)], slot)
    book = state.books[b]
    if book["best_tick"] == 0 or (tick - book["best_tick"]) * side > 0:
        book["best_tick"] = tick
        _note_best(state, instrument, side)


@rare
def join_hidden(state: State, slot):
    """Put an order behind all other orders at its price that are not displayed."""
    tick_e4 = state.instruments[np.int64(state.orders[slot]["instrument"]) - 1]["tick_e4"]
    price_e4 = undisplayed_e4(state, slot)
    join_undisplayed(state, slot, price_e4, tick_e4, price_e4 // tick_e4)


@inlined
def leave_undisplayed(state: State, slot):
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
    leaf = find_changed_leaf(state, b, tick, -np.int64(order["leaves_qty"]))
    if unlink(state, state.levels[leaf_level(state, leaf)], slot):
        beside = far_remove(state, b, tick)
        if state.books[b]["best_tick"] == tick:
            state.books[b]["best_tick"] = best_tick_below(state, side, beside)
            _note_best(state, instrument, side)
    _clear_links(order)


@inlined
def move_undisplayed(state: State, slot, price_e4, other_e4, tick_e4):
    """An order that is alone at its price takes another one, behind whom nobody stands, and is as if it came now.

    True if it did; False, and nothing is changed, where it has to leave and join.
    """
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    if (np.int64(order["next"]) | np.int64(order["prev"])) != 0:
        return False
    tick, other = price_e4 // tick_e4, other_e4 // tick_e4
    between, to_between = tick * tick_e4 != price_e4, other * tick_e4 != other_e4
    if between != to_between:
        return False
    if between:
        state.books[side_row(instrument, side)]["price_e4"] = other_e4
        _note_best(state, instrument, side)
    else:
        b = hidden_row(state, instrument, side)
        if not far_move(state, b, tick, other):
            return False
        book = state.books[b]
        if book["best_tick"] == tick:
            book["best_tick"] = other
            _note_best(state, instrument, side)
    state.times[slot] = next_time(state)
    return True


@rare
def leave_hidden(state: State, slot):
    """``leave_undisplayed``, where it is not frequent."""
    leave_undisplayed(state, slot)


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
