"""Client order ids of the trading day: open addressing, no deletion before the day ends.

An entry says that a participant used an id, and which slot the order had. Whether that order is still open is
seen at the slot itself: its participant and id are the entry's, or it is another order by now. So nothing has to
be written here when an order goes.

An id of an earlier day is in use only as long as its open order bears it. A new day writes the table anew with just
those, marked as carried over, and the orders too; the row of one whose order has gone counts as free.

Ids that a client counts up are neighbours: four of them share one cache line, whatever the participant.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, prefetch, shl, wrapping_multiply
from engine.state import State

#: Bit of an entry's slot: the id is of an earlier day.
_CARRIED: Final = 2**31
_MIX_ID: Final = np.int64(-7046029254386353131)  # 2**64 / golden ratio, odd
_MIX_PARTICIPANT: Final = np.int64(-4658895280553007687)


@inlined
def first_place(state: State, participant, client_order_id):
    """Row of ``ids`` where the search for an id starts."""
    mixed = wrapping_multiply((client_order_id >> 2) ^ wrapping_multiply(participant, _MIX_PARTICIPANT), _MIX_ID)
    mixed ^= mixed >> 29
    return (shl(mixed, 2) | (client_order_id & 3)) & (len(state.ids) - 1)


@inlined
def _bears(state: State, slot, participant, client_order_id):
    order = state.orders[slot]
    return (order["client_order_id"] == client_order_id) & (np.int64(order["participant"]) == participant)


@inlined
def find_id(state: State, participant, client_order_id):
    """Row of ``ids`` of an id of a participant; where it was not used today, -1 minus the free row for it."""
    mask = len(state.ids) - 1
    place = first_place(state, participant, client_order_id)
    # The table has more rows than a day can fill (state.py), so a free row ends the search.
    for _ in range(mask + 1):
        entry = state.ids[place]
        owner = np.int64(entry["participant"])
        if owner == 0:
            return -1 - place
        if (entry["client_order_id"] == client_order_id) & (owner == participant):
            slot = np.int64(entry["slot"])
            if slot & _CARRIED and not _bears(state, slot - _CARRIED, participant, client_order_id):
                return -1 - place
            return place
        place = (place + 1) & mask
    return -1 - place


@inlined
def open_slot(state: State, participant, client_order_id):
    """Slot of the open order of a participant that bears an id, or 0."""
    place = find_id(state, participant, client_order_id)
    if place < 0:
        return np.int64(0)
    slot = np.int64(state.ids[place]["slot"]) & (_CARRIED - 1)
    return slot if _bears(state, slot, participant, client_order_id) else np.int64(0)


@inlined
def take_id(state: State, free, participant, client_order_id, slot):
    """Writes an id that ``find_id`` did not find (its answer is ``free``)."""
    entry = state.ids[-1 - free]
    entry["client_order_id"] = client_order_id
    entry["participant"] = participant
    entry["slot"] = slot
    state.venue[0]["ids_used"] += 1


@inlined
def ask_for_id(state: State, participant, client_order_id):
    """Prefetches the row of an id; any numbers are safe."""
    prefetch(state.ids, first_place(state, participant, client_order_id))


@called
def forget_ids(state: State):
    """A new trading day: only the ids that open orders bear stay in use."""
    for place in range(len(state.ids)):
        state.ids[place]["participant"] = 0
        state.ids[place]["client_order_id"] = 0
        state.ids[place]["slot"] = 0
    venue = state.venue[0]
    venue["ids_used"] = 0
    for slot in range(1, venue["orders_high"] + 1):
        order = state.orders[slot]
        participant = np.int64(order["participant"])
        if participant != 0:
            free = find_id(state, participant, order["client_order_id"])
            take_id(state, free, participant, order["client_order_id"], slot | _CARRIED)
            order["carried"] = 1


@inlined
def drop_carried_id(state: State, order):
    """An order that goes, or takes another id, no longer bears its own: one of an earlier day is free by that."""
    if np.int64(order["carried"]) != 0:
        order["carried"] = 0
        state.venue[0]["ids_used"] -= 1
