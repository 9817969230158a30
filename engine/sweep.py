"""Cancels of many orders, in order of acceptance (rulebook section 3)."""

from typing import Final

import numpy as np

from engine.jit import called, inlined
from engine.listing import list_level, list_open_orders
from engine.matching import cancel_resting
from engine.owned import list_owned, list_owned_of_day
from engine.places import market_level, side_row
from engine.records import Instruction, TimeInForce
from engine.state import ASIDE, IN_MIDPOINT, State

_MARKET: Final = int(Instruction.MARKET)
#: An order with one of these is not in the lit book.
_WAITS: Final = int(Instruction.STOP) | int(Instruction.PEG) | ASIDE | IN_MIDPOINT


@called
def cancel_gathered(state: State, events, n, count, reason):
    """Cancel the orders of the first ``count`` slots in ``scratch``, in order of acceptance."""
    sort_slots(state, count)
    for place in range(count):
        n = cancel_resting(state, events, n, state.scratch[place], reason)
    return n


@called
def gather_of_participant(state: State, participant, instrument, side):
    """Put the slots of a participant's open orders (0: of every instrument; of both sides) into ``scratch``.

    They are in order of acceptance.
    """
    listed = list_owned(state, participant, state.scratch, 0)
    if instrument == 0 and side == 0:
        return listed
    count = 0
    for place in range(listed):
        slot = state.scratch[place]
        order = state.orders[slot]
        if (instrument == 0 or np.int64(order["instrument"]) == instrument) and (
            side == 0 or np.int64(order["side"]) == side
        ):
            state.scratch[count] = slot
            count += 1
    return count


@inlined
def _ends_with_day(order):
    time_in_force = np.int64(order["time_in_force"])
    return time_in_force != TimeInForce.GTC and time_in_force != TimeInForce.GTD


@called
def gather_day_orders(state: State):
    """Put the slots of all open orders that end with the day into ``scratch``."""
    count = np.int64(0)
    for participant in range(1, state.venue[0]["participants"] + 1):
        count = list_owned_of_day(state, participant, state.scratch, count)
    return count


@called
def gather_day_orders_of(state: State, instrument):
    """Put the slots of an instrument's orders that end with the day into ``scratch``."""
    count = 0
    for place in range(list_open_orders(state, instrument, state.scratch)):
        slot = state.scratch[place]
        if _ends_with_day(state.orders[slot]):
            state.scratch[count] = slot
            count += 1
    return count


@called
def gather_auction_orders(state: State, instrument):
    """Put the slots of an instrument's orders that an uncross leaves none of into ``scratch``: market orders in the
    book, and opening and closing orders there."""
    row = state.instruments[instrument - 1]
    count = 0
    if row["auction_only"] != 0:
        row["auction_only"] = 0
        for place in range(list_open_orders(state, instrument, state.scratch)):
            slot = state.scratch[place]
            order = state.orders[slot]
            instructions = np.int64(order["instructions"])
            is_left = (instructions & _MARKET) | np.int64(np.int64(order["time_in_force"]) >= TimeInForce.OPENING)
            if is_left and not instructions & _WAITS:
                state.scratch[count] = slot
                count += 1
        return count
    for s in range(2):
        count = list_level(state, market_level(state, side_row(instrument, 1 - 2 * s)), state.scratch, count)
    return count


@called
def sort_slots(state: State, count):
    """Merge sort of the slots in ``scratch`` in order of acceptance.

    Keys are copied beside each other into ``ladder``: the rows of a million orders are further from the processor. Runs
    that are in order already, as slots mostly are, stay as they are. Bounded, whatever the input.
    """
    keys = state.ladder
    for place in range(count):
        keys[place] = state.orders[state.scratch[place]]["order_number"]
    sort_by_keys(state, count)


@called
def sort_by_keys(state: State, count):
    """The same by the keys that are in ``ladder``; slots with one key keep their order."""
    width = 1
    for _ in range(32):
        if width >= count:
            break
        for low in range(0, count - width, 2 * width):
            _merge(state, low, low + width, min(low + 2 * width, count), count)
        width *= 2


@called
def _merge(state: State, low, middle, end, count):
    """Merge two adjacent sorted runs, by way of the free room of ``ladder`` after ``count``."""
    keys = state.ladder
    slots = state.scratch
    if keys[middle - 1] <= keys[middle]:
        return
    left = low
    right = middle
    for out in range(low, end):
        take_left = right >= end or (left < middle and keys[left] <= keys[right])
        taken = left if take_left else right
        keys[count + out] = keys[taken]
        keys[2 * count + out] = slots[taken]
        left += np.int64(take_left)
        right += np.int64(not take_left)
    for out in range(low, end):
        keys[out] = keys[count + out]
        slots[out] = keys[2 * count + out]
