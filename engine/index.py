"""Client order ids of the trading day: which were used, and which slot their order has.

A table with open addressing, no deletion before the day ends. Clients count their ids up, so 1,024 neighbouring ids
of a participant have their rows together: the pages of memory that will be asked for next are those in use already,
and one prefetch brings a row. Where the line of four rows of an id is full, its next line is elsewhere, with 1,024
neighbours again.

The search is short: an id whose ``ID_LINES_MAX`` lines are full is in a tree (``idtree.py``) instead, whose depth
is bounded, so that no choice of ids makes a command slow.

A row says that a participant used an id, and which slot the order had. Whether that order is still open is seen at
the slot itself: its participant and id are the row's, or it is another order by now. So nothing is written here
when an order goes.

An id of an earlier day is in use only as long as its open order bears it. Such an id has a row of the new day, marked
as carried over; the row of one whose order has gone counts as free. How the others are forgotten is told in
``forgetting.py``: what is here finds only rows of the day.
"""

from typing import Final

import numpy as np

from engine.bounds import ID_LINES_MAX
from engine.idtree import leaf_of, plant, set_slot_at_leaf, slot_at_leaf
from engine.jit import inlined, prefetch, rare, wrapping_multiply
from engine.state import ID_MARK_ROWS, State

#: Bit of a row's slot: the id is of an earlier day.
CARRIED: Final = 2**31
_NEIGHBOURS_BITS: Final = 10
_NEIGHBOURS: Final = 2**_NEIGHBOURS_BITS - 1
#: Bits of a row's number within the rows that share a mark.
ID_MARK_BITS: Final = ID_MARK_ROWS.bit_length() - 1
_MIX: Final = np.int64(-7046029254386353131)  # 2**64 / golden ratio, odd
_MIX_PARTICIPANT: Final = np.int64(-4658895280553007687)
_MIX_LINE: Final = np.int64(-2643881736870682267)


@inlined
def first_place(state: State, participant, client_order_id, line):
    """Row of ``ids`` where the search in a line (0: the first) of an id starts."""
    mixed = (client_order_id >> _NEIGHBOURS_BITS) ^ wrapping_multiply(participant, _MIX_PARTICIPANT)
    mixed = wrapping_multiply(mixed ^ wrapping_multiply(line, _MIX_LINE), _MIX)
    mixed ^= mixed >> 29
    return (mixed ^ (client_order_id & _NEIGHBOURS)) & (len(state.ids) - 1)


@inlined
def bears(state: State, slot, participant, client_order_id):
    """True if the order in a slot is open and has an id."""
    order = state.orders[slot]
    return (order["client_order_id"] == client_order_id) & (np.int64(order["participant"]) == participant)


@inlined
def find_place(state: State, participant, client_order_id):
    """Row of an id that was used today: of ``ids``, or beyond its end of the tree. Else -1 minus a free row for it."""
    place = first_place(state, participant, client_order_id, 0)
    for probe in range(1, 4 * ID_LINES_MAX + 1):
        row = state.ids[place]
        owner = np.int64(row["participant"])
        if owner == 0:
            return -1 - place
        if (row["client_order_id"] == client_order_id) & (owner == participant):
            return place
        if probe & 3:
            place = (place & -4) | ((place + 1) & 3)
        else:
            place = first_place(state, participant, client_order_id, probe >> 2)
    leaf = leaf_of(state, participant, client_order_id)
    return len(state.ids) + leaf if leaf != 0 else -1 - len(state.ids)


@inlined
def _slot_at(state: State, place):
    if place < len(state.ids):
        return np.int64(state.ids[place]["slot"])
    return slot_at_leaf(state, place - len(state.ids))


@inlined
def find_id(state: State, participant, client_order_id):
    """At least 0 for an id of a participant that is in use; else a number below 0 for ``take_id``."""
    place = find_place(state, participant, client_order_id)
    if place < 0:
        return place
    slot = _slot_at(state, place)
    if slot & CARRIED and not bears(state, slot - CARRIED, participant, client_order_id):
        return -1 - place
    return place


@inlined
def open_slot(state: State, participant, client_order_id):
    """Slot of the open order of a participant that bears an id, or 0."""
    place = find_place(state, participant, client_order_id)
    if place < 0:
        return np.int64(0)
    slot = _slot_at(state, place) & (CARRIED - 1)
    return slot if bears(state, slot, participant, client_order_id) else np.int64(0)


@inlined
def take_id(state: State, free, participant, client_order_id, slot):
    """Write an id that ``find_id`` did not find (its result is ``free``)."""
    state.venue[0]["ids_used"] += 1
    state.participants[participant - 1]["ids_used"] += 1
    place = -1 - free
    if place < len(state.ids):
        take_place_of_id(state, place, participant, client_order_id, slot)
    elif place > len(state.ids):
        set_slot_at_leaf(state, place - len(state.ids), slot)
    else:
        plant(state, participant, client_order_id, slot)


@inlined
def take_place_of_id(state: State, place, participant, client_order_id, slot):
    """Write a row of ``ids``."""
    row = state.ids[place]
    row["client_order_id"] = client_order_id
    row["participant"] = participant
    row["slot"] = slot
    state.id_marks[place >> ID_MARK_BITS] = 1


@inlined
def ask_for_id(state: State, participant, client_order_id):
    """Prefetch the row of an id; any numbers are safe."""
    prefetch(state.ids, first_place(state, participant, client_order_id, 0))


@inlined
def ask_for_place(state: State, participant, client_order_id):
    """``ask_for_id``; returns the place of the row."""
    place = first_place(state, participant, client_order_id, 0)
    prefetch(state.ids, place)
    return place


@inlined
def slot_named_at(state: State, place, client_order_id):
    """Slot that a row of ``ids`` names, if it is of that id, else 0: to ask for memory by, nothing else."""
    row = state.ids[place]
    if row["client_order_id"] != client_order_id:
        return np.int64(0)
    return np.int64(row["slot"]) & (CARRIED - 1)


@inlined
def drop_carried_id(state: State, order):
    """An order that goes, or takes another id, no longer bears its own: one of an earlier day is free by that."""
    if np.int64(order["id_day"]) != state.venue[0]["id_day"]:
        _free_id(state, order)


@rare
def _free_id(state: State, order):
    venue = state.venue[0]
    order["id_day"] = venue["id_day"]
    venue["ids_used"] -= 1
    state.participants[np.int64(order["participant"]) - 1]["ids_used"] -= 1
