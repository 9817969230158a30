"""The open orders of each participant, in order of acceptance: what is done to all of one's orders touches no others.

Each participant has two lists: the orders that end with the day, and those that do not, so that the end of a day looks
at no other. Each list is a ring: the row of an order in ``owned`` knows the rows before and after it, and a row of the
participant, behind those of the orders, closes it. So an order joins and leaves without a question.
"""

from typing import Any

import numpy as np

from engine.jit import called, inlined
from engine.records import TimeInForce
from engine.state import State


@inlined
def _end_of(state: State, participant):
    """Row of ``owned`` that closes the ring of a participant's orders that end with the day."""
    return len(state.orders) - 1 + participant


@inlined
def _lasting_end_of(state: State, participant):
    """Row of ``owned`` that closes the ring of those that do not."""
    return len(state.orders) - 1 + len(state.participants) + participant


@inlined
def _lasts(time_in_force):
    """1 for gtc and gtd, whose numbers are 2 and 3; else 0."""
    return np.int64(time_in_force >> 1 == 1)


@called
def begin_owned(state: State, participant):
    """A participant who is defined has no order."""
    for end in (_end_of(state, participant), _lasting_end_of(state, participant)):
        state.owned[end]["before"] = end
        state.owned[end]["after"] = end


@inlined
def own(state: State, participant, slot, time_in_force):
    """Put an order that was accepted behind all others of its participant that end when it does."""
    owned = state.owned
    end = _end_of(state, participant) + _lasts(time_in_force) * len(state.participants)
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


@inlined
def has_of_day(state: State, participant):
    """True if a participant has an order that ends with the day."""
    return np.int64(state.owned[_end_of(state, participant)]["after"]) < len(state.orders)


@called
def list_owned(state: State, participant, out, most):
    """Write the slots of a participant's open orders to ``out``; gives their number.

    It ends early where there are more than ``most``, with ``most`` + 1.
    """
    count = np.int64(0)
    of_day = np.int64(state.owned[_end_of(state, participant)]["after"])
    lasting = np.int64(state.owned[_lasting_end_of(state, participant)]["after"])
    slots = len(state.orders)
    for _ in range(most + 1):
        if of_day >= slots and lasting >= slots:
            break
        # In order of acceptance, as each list is.
        if lasting >= slots or (
            of_day < slots and state.orders[of_day]["order_number"] < state.orders[lasting]["order_number"]
        ):
            out[count] = of_day
            of_day = np.int64(state.owned[of_day]["after"])
        else:
            out[count] = lasting
            lasting = np.int64(state.owned[lasting]["after"])
        count += 1
    return count


@called
def list_owned_of_day(state: State, participant, out, count):
    """Write those that end with the day to ``out`` from ``count`` on; gives the new count."""
    slot = np.int64(state.owned[_end_of(state, participant)]["after"])
    for _ in range(state.venue[0]["orders_open"]):
        if slot >= len(state.orders):
            break
        out[count] = slot
        count += 1
        slot = np.int64(state.owned[slot]["after"])
    return count


@called
def list_owned_of_day_in(state: State, participant, instrument, out, count, most):
    """``list_owned_of_day`` of one instrument: (the new count, how many more orders than these may be looked at).

    most: how many may. It ends early where there are more, with -1.
    """
    slot = np.int64(state.owned[_end_of(state, participant)]["after"])
    for _ in range(most + 1):
        if slot >= len(state.orders):
            return count, most
        most -= 1
        if np.int64(state.orders[slot]["instrument"]) == instrument:
            out[count] = slot
            count += 1
        slot = np.int64(state.owned[slot]["after"])
    return count, np.int64(-1)


def own_all(state: State) -> None:
    """Make the lists anew, from the open orders and their participants."""
    orders = state.orders
    slots = np.flatnonzero(orders["participant"])
    slots = slots[np.argsort(orders["order_number"][slots], kind="stable")]
    owners: Any = orders["participant"][slots]
    lasts = np.isin(orders["time_in_force"][slots], (TimeInForce.GTC, TimeInForce.GTD))
    for participant in range(1, int(state.venue[0]["participants"]) + 1):
        for lasting in (False, True):
            end = len(orders) - 1 + lasting * len(state.participants) + participant
            ring = np.concatenate(([end], slots[(owners == participant) & (lasts == lasting)], [end]))
            state.owned["after"][ring[:-1]] = ring[1:]
            state.owned["before"][ring[1:]] = ring[:-1]
