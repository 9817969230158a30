"""Cancels of many orders, in order of acceptance (rulebook section 3)."""

from typing import Final

import numpy as np

from engine.ending import list_ending
from engine.exposure import OPEN_QTY, pair_of
from engine.jit import called, inlined
from engine.listing import list_level, list_open_orders_up_to
from engine.matching import cancel_resting
from engine.owned import has_of_day, list_owned, list_owned_of_day, list_owned_of_day_in
from engine.places import market_level, side_row
from engine.records import TimeInForce
from engine.state import State

#: Orders that one of two ways may look at before the other one has its turn; and turns, each of which may look at twice
#: as many as the one before. So both together take no longer than a few times the shorter one.
_FIRST_TURN: Final = np.int64(512)
_TURNS: Final = 32

#: A digit of a key, when many are sorted; how many digits a key has at most; and from how many on: the counts of a
#: digit have room behind the keys, which take a fourth of ``ladder`` each time, then.
_DIGIT_BITS: Final = 11
_DIGIT: Final = 2**_DIGIT_BITS - 1
_DIGITS: Final = 6
_MANY: Final = 2 * (_DIGIT + 1)


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

    They are in order of acceptance. Those of one instrument are looked for among all that the participant has, and
    among all that the instrument has.
    """
    if instrument == 0:
        listed = list_owned(state, participant, state.scratch, state.venue[0]["orders_open"])
        return listed if side == 0 else _keep(state, listed, participant, instrument, side)
    if not _has_open(state, participant, instrument):
        return np.int64(0)
    most = _FIRST_TURN
    for _ in range(_TURNS):
        listed = list_owned(state, participant, state.scratch, most)
        if listed <= most:
            return _keep(state, listed, participant, instrument, side)
        listed = np.int64(list_open_orders_up_to(state, instrument, state.scratch, most))
        if listed <= most:
            count = _keep(state, listed, participant, instrument, side)
            sort_slots(state, count)
            return count
        most *= 2
    return np.int64(0)


@inlined
def _has_open(state: State, participant, instrument):
    at = 4 * pair_of(state, participant, instrument) + OPEN_QTY
    return (state.exposures[at] != 0) | (state.exposures[at + 1] != 0)


@called
def _keep(state: State, listed, participant, instrument, side):
    """Keep those of the first slots in ``scratch`` that are of a participant, an instrument (0: any) and a side (0:
    any); gives their number."""
    count = np.int64(0)
    for place in range(listed):
        slot = state.scratch[place]
        order = state.orders[slot]
        if (
            np.int64(order["participant"]) == participant
            and (instrument == 0 or np.int64(order["instrument"]) == instrument)
            and (side == 0 or np.int64(order["side"]) == side)
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
    """Put the slots of an instrument's orders that end with the day into ``scratch``.

    They are looked for among all that it has, and among the day orders of those who have something open in it.
    """
    most = _FIRST_TURN
    for _ in range(_TURNS):
        listed = np.int64(list_open_orders_up_to(state, instrument, state.scratch, most))
        if listed <= most:
            return _keep_of_day(state, listed)
        count = _list_of_day(state, instrument, most)
        if count >= 0:
            return count
        most *= 2
    return np.int64(0)


@called
def _keep_of_day(state: State, listed):
    count = np.int64(0)
    for place in range(listed):
        slot = state.scratch[place]
        if _ends_with_day(state.orders[slot]):
            state.scratch[count] = slot
            count += 1
    return count


@called
def _list_of_day(state: State, instrument, most):
    """List an instrument's day orders by their owners; -1: these have more than ``most`` day orders together."""
    count = np.int64(0)
    for participant in range(1, state.venue[0]["participants"] + 1):
        if has_of_day(state, participant) and _has_open(state, participant, instrument):
            count, most = list_owned_of_day_in(state, participant, instrument, state.scratch, count, most)
            if most < 0:
                return np.int64(-1)
    return count


@called
def gather_auction_orders(state: State, instrument):
    """Put the slots of an instrument's orders that an uncross leaves none of into ``scratch``: market orders in the
    book, and opening and closing orders there."""
    count = list_ending(state, instrument, state.scratch)
    for s in range(2):
        level = market_level(state, side_row(instrument, 1 - 2 * s))
        count = list_level(state, level, state.scratch, count, state.venue[0]["orders_open"])
    return count


@called
def sort_slots(state: State, count):
    """Sort the slots in ``scratch`` in order of acceptance.

    Keys are copied beside each other into ``ladder``: the rows of a million orders are further from the processor.
    """
    keys = state.ladder
    for place in range(count):
        keys[place] = state.orders[state.scratch[place]]["order_number"]
    sort_by_keys(state, count)


@called
def sort_by_keys(state: State, count):
    """The same by the keys that are in ``ladder``, which come into order too; slots with one key keep their order.

    What is in order already, as slots mostly are, stays as it is. Few are merged, many are sorted digit by digit.
    """
    if count >= _MANY:
        _sort_by_digits(state, count)
        return
    width = 1
    for _ in range(32):
        if width >= count:
            break
        for low in range(0, count - width, 2 * width):
            _merge(state, low, low + width, min(low + 2 * width, count), count)
        width *= 2


@called
def _sort_by_digits(state: State, count):
    """Radix sort, from the least digit on, by way of the room of ``ladder`` after ``count``: as many passes as the
    keys differ in digits, whatever their order."""
    keys, slots = state.ladder, state.scratch
    least, most, in_order = keys[0], keys[0], True
    for place in range(1, count):
        in_order &= keys[place - 1] <= keys[place]
        least, most = min(least, keys[place]), max(most, keys[place])
    if in_order:
        return
    ends = 3 * count  # the place behind the keys of each digit
    for turn in range(_DIGITS):
        shift = turn * _DIGIT_BITS
        if (most - least) >> shift == 0:
            break
        for digit in range(_DIGIT + 1):
            keys[ends + digit] = 0
        for place in range(count):
            keys[ends + (((keys[place] - least) >> shift) & _DIGIT)] += 1
        for digit in range(_DIGIT):
            keys[ends + digit + 1] += keys[ends + digit]
        for place in range(count - 1, -1, -1):
            digit = ends + (((keys[place] - least) >> shift) & _DIGIT)
            out = keys[digit] - 1
            keys[digit] = out
            keys[count + out] = keys[place]
            keys[2 * count + out] = slots[place]
        for place in range(count):
            keys[place] = keys[count + place]
            slots[place] = keys[2 * count + place]


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
