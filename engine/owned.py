"""The open orders of each participant, in order of acceptance: what is done to all of one's orders touches no others.

Each list is a ring: the row of an order in ``owned`` knows the rows before and after it, and a row of the participant,
behind those of the orders, closes it. So an order joins and leaves without a question.
"""

from typing import Any

import numpy as np

from engine.jit import called, inlined
from engine.state import State


@inlined
def _end_of(state: State, participant):
    """Row of ``owned`` that closes the ring of a participant."""
    return len(state.orders) - 1 + participant


@called
def begin_owned(state: State, participant):
    """A participant who is defined has no order."""
    end = _end_of(state, participant)
    state.owned[end]["before"] = end
    state.owned[end]["after"] = end


@inlined
def own(state: State, participant, slot):
    """Put an order that was accepted behind all others of its participant."""
    owned, end = state.owned, _end_of(state, participant)
    newest = np.int64(owned[end]["before"])
    owned[slot]["before"] = newest
    owned[slot]["after"] = end
    owned[newest]["after"] = slot
    owned[end]["before"] = slot


@inlined
def disown(state: State, slot):
    """Take an order that goes out of its participant's list."""
    before, after = np.int64(state.owned[slot]["before"]), np.int64(state.owned[slot]["after"])
    state.owned[before]["after"] = after
    state.owned[after]["before"] = before


@called
def list_owned(state: State, participant, out, count):
    """Write the slots of a participant's open orders to ``out`` from ``count`` on; gives the new count."""
    slot = np.int64(state.owned[_end_of(state, participant)]["after"])
    for _ in range(state.venue[0]["orders_open"]):
        if slot >= len(state.orders):
            break
        out[count] = slot
        count += 1
        slot = np.int64(state.owned[slot]["after"])
    return count


def own_all(state: State) -> None:
    """Make the lists anew, from the open orders and their participants."""
    orders = state.orders
    slots = np.flatnonzero(orders["participant"])
    slots = slots[np.argsort(orders["order_number"][slots], kind="stable")]
    owners: Any = orders["participant"][slots]
    for participant in range(1, int(state.venue[0]["participants"]) + 1):
        end = len(orders) - 1 + participant
        ring = np.concatenate(([end], slots[owners == participant], [end]))
        state.owned["after"][ring[:-1]] = ring[1:]
        state.owned["before"][ring[1:]] = ring[:-1]
