"""Closing orders, which are kept aside until the closing auction (rulebook section 4).

Those of a side wait in one queue, in the order of their time, whatever their price; ``closing.py`` takes them into the
book.
"""

import numpy as np

from engine.book import append, next_time, unlink
from engine.jit import rare
from engine.places import side_row
from engine.state import ASIDE, State


@rare
def put_aside(state: State, slot):
    """Put an order behind all others of its side that wait."""
    order = state.orders[slot]
    order["instructions"] = np.int64(order["instructions"]) | ASIDE
    append(state, state.books[side_row(np.int64(order["instrument"]), np.int64(order["side"]))], slot)
    state.times[slot] = next_time(state)


@rare
def leave_aside(state: State, slot):
    """Take an order out of the queue of those that wait."""
    order = state.orders[slot]
    unlink(state, state.books[side_row(np.int64(order["instrument"]), np.int64(order["side"]))], slot)


@rare
def shrink_aside(state: State, slot, leaves_qty):
    """An order that waits keeps its place with less."""
    order = state.orders[slot]
    book = state.books[side_row(np.int64(order["instrument"]), np.int64(order["side"]))]
    book["qty"] -= np.int64(order["leaves_qty"]) - leaves_qty
    order["leaves_qty"] = leaves_qty
