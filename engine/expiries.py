"""Open orders that end at a time of their own (``until``): the one that is due first is found at once.

Their slots are a heap in ``expiries``, from place 1 on, in order of the time, then of acceptance; an order knows its
place. Their number is a counter of the venue.
"""

from engine.jit import called, inlined, rare
from engine.state import State

#: Levels of a heap at most.
_DEPTH = 32


@inlined
def _is_before(state: State, slot, other):
    """True if the order of one slot is due before that of another."""
    until_ns, other_ns = state.terms[slot]["until_ns"], state.terms[other]["until_ns"]
    if until_ns != other_ns:
        return until_ns < other_ns
    return state.orders[slot]["order_number"] < state.orders[other]["order_number"]


@inlined
def _put(state: State, place, slot):
    state.expiries[place] = slot
    state.terms[slot]["expiry_place"] = place


@called
def _rise(state: State, place, slot):
    """Put a slot into the heap at a place or above it."""
    for _ in range(_DEPTH):
        above = place >> 1
        if above == 0 or not _is_before(state, slot, state.expiries[above]):
            break
        _put(state, place, state.expiries[above])
        place = above
    _put(state, place, slot)


@called
def _sink(state: State, place, slot):
    """Put a slot into the heap at a place or below it."""
    count = state.venue[0]["expiries"]
    for _ in range(_DEPTH):
        below = 2 * place
        if below > count:
            break
        if below < count and _is_before(state, state.expiries[below + 1], state.expiries[below]):
            below += 1
        if _is_before(state, slot, state.expiries[below]):
            break
        _put(state, place, state.expiries[below])
        place = below
    _put(state, place, slot)


@rare
def set_expiry(state: State, slot, until_ns):
    """An order that was accepted ends at a time."""
    state.terms[slot]["until_ns"] = until_ns
    state.venue[0]["expiries"] += 1
    _rise(state, state.venue[0]["expiries"], slot)


@rare
def drop_expiry(state: State, slot):
    """An order with a time of its end is gone."""
    terms = state.terms[slot]
    place = terms["expiry_place"]
    terms["until_ns"] = 0
    terms["expiry_place"] = 0
    count = state.venue[0]["expiries"]
    last = state.expiries[count]
    state.expiries[count] = 0
    state.venue[0]["expiries"] = count - 1
    if last == slot:
        return
    above = place >> 1
    if above != 0 and _is_before(state, last, state.expiries[above]):
        _rise(state, place, last)
    else:
        _sink(state, place, last)


@called
def next_expiry(state: State):
    """Slot of the order that the clock in force ends next, or 0."""
    if state.venue[0]["expiries"] == 0:
        return 0
    slot = state.expiries[1]
    return slot if state.terms[slot]["until_ns"] <= state.venue[0]["now_ns"] else 0
