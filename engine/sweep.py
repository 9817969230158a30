"""Cancels of many orders, in order of acceptance (rulebook section 3)."""

from typing import Final

import numpy as np

from engine.book import market_level
from engine.jit import called, inlined
from engine.listing import list_level, list_open_orders
from engine.match import cancel_resting
from engine.records import TimeInForce
from engine.state import State

_GTC: Final = int(TimeInForce.GTC)


@called
def cancel_gathered(state: State, events, n, count, reason):
    """Cancels the orders of the first ``count`` slots in ``scratch``, in order of acceptance."""
    sort_slots(state, count, 0)
    for place in range(count):
        n = cancel_resting(state, events, n, state.scratch[place], reason)
    return n


@called
def gather_of_participant(state: State, participant, instrument, side):
    """Puts the slots of a participant's open orders (0: of every instrument; of both sides) into ``scratch``."""
    count = 0
    left = state.participants[participant - 1]["orders_open"]
    for slot in range(1, state.venue[0]["orders_high"] + 1):
        if left == 0:
            break
        order = state.orders[slot]
        if np.int64(order["participant"]) == participant:
            left -= 1
            if (instrument == 0 or np.int64(order["instrument"]) == instrument) and (
                side == 0 or np.int64(order["side"]) == side
            ):
                state.scratch[count] = slot
                count += 1
    return count


@called
def gather_by_participant(state: State):
    """Puts the slots of all open orders into ``scratch``: by participant, and those of one in order of acceptance."""
    count = 0
    for slot in range(1, state.venue[0]["orders_high"] + 1):
        if np.int64(state.orders[slot]["participant"]) != 0:
            state.scratch[count] = slot
            count += 1
    sort_slots(state, count, 1)


@called
def gather_day_orders(state: State, instrument):
    """Puts the slots of an instrument's orders that end with the day into ``scratch``."""
    count = 0
    for place in range(list_open_orders(state, instrument, state.scratch)):
        slot = state.scratch[place]
        if np.int64(state.orders[slot]["time_in_force"]) != _GTC:
            state.scratch[count] = slot
            count += 1
    return count


@called
def gather_market_orders(state: State, instrument):
    """Puts the slots of an instrument's resting market orders into ``scratch``."""
    count = 0
    for s in range(2):
        count = list_level(state, market_level(state, 2 * instrument - 2 + s), state.scratch, count)
    return count


@called
def sort_slots(state: State, count, by_participant):
    """Heap sort of the slots in ``scratch`` by order number, where ``by_participant`` is 1 by participant first.

    Bounded, in place, whatever the input.
    """
    for start in range(count // 2 - 1, -1, -1):
        _sift(state, start, count, by_participant)
    for end in range(count - 1, 0, -1):
        state.scratch[0], state.scratch[end] = state.scratch[end], state.scratch[0]
        _sift(state, 0, end, by_participant)


@inlined
def _comes_before(state: State, slot, other_slot, by_participant):
    order = state.orders[slot]
    other = state.orders[other_slot]
    if by_participant != 0 and np.int64(order["participant"]) != np.int64(other["participant"]):
        return np.int64(order["participant"]) < np.int64(other["participant"])
    return order["number"] < other["number"]


@called
def _sift(state: State, root, end, by_participant):
    scratch = state.scratch
    for _ in range(64):
        child = 2 * root + 1
        if child >= end:
            break
        if child + 1 < end and _comes_before(state, scratch[child], scratch[child + 1], by_participant):
            child += 1
        if not _comes_before(state, scratch[root], scratch[child], by_participant):
            break
        scratch[root], scratch[child] = scratch[child], scratch[root]
        root = child
