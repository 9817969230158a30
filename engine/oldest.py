"""The oldest order in the queues of a tree (``far.py``) at a price and better, for books where time alone decides.

Each branching of such a tree knows the time of the oldest order below it (``first_time``), so that the oldest at a
price and better is found, and kept, in as many steps as the tree is deep, whatever the number of limits. The orders in
order of time come one by one out of a heap: of whole branches at first, which are opened as their turn comes.
"""

from typing import Final

import numpy as np

from engine.far import TICK_BITS, leaf_level
from engine.jit import called, inlined, lshr, rare, top_bit
from engine.state import WAY, State

#: Depth of a heap at most.
_DEPTH: Final = 32


@inlined
def _follow(node, tick):
    """Reference one step down from a branching, the way of a tick."""
    return np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])


@called
def _head(state: State, ref):
    """Slot of the first order of a leaf."""
    return np.int64(state.levels[leaf_level(state, ref >> 1)]["head"])


@called
def _time_below(state: State, ref):
    """Time of the oldest order that a reference leads to."""
    return state.times[_head(state, ref)] if ref & 1 else state.nodes[ref >> 1]["first_time"]


@rare
def note_oldest(state: State, b, tick):
    """Bring the times of the branchings on the way of a tick up to date: its queue came, went or has another head."""
    way = len(state.ladder) - WAY
    count = np.int64(0)
    ref = state.books[b]["far_root"]
    for _ in range(TICK_BITS + 1):
        if ref == 0 or ref & 1:
            break
        state.ladder[way + count] = ref >> 1
        count += 1
        ref = _follow(state.nodes[ref >> 1], tick)
    for above in range(count):
        node = state.nodes[state.ladder[way + count - 1 - above]]
        zero, one = np.int64(node["zero"]), np.int64(node["one"])
        node["first_time"] = min(_time_below(state, zero), _time_below(state, one))


@called
def _branches(state: State, b, side, tick):
    """Write references to all that is at a tick and better (buys: at it and above) to the end of ``ladder``.

    Gives their number: at most one for each step down.
    """
    way = len(state.ladder) - WAY
    count = np.int64(0)
    root = state.books[b]["far_root"]
    if root == 0:
        return count
    ref = root
    for _ in range(TICK_BITS + 1):
        if ref & 1:
            break
        ref = _follow(state.nodes[ref >> 1], tick)
    difference = state.leaf_ticks[ref >> 1] ^ tick
    crit = top_bit(difference) if difference != 0 else -1
    # Go down again, as far as the tree agrees with the tick, and note the other ways where they are better.
    ref = root
    for _ in range(TICK_BITS + 1):
        if ref & 1 or np.int64(state.nodes[ref >> 1]["bit"]) < crit:
            break
        node = state.nodes[ref >> 1]
        goes_one = lshr(tick, np.int64(node["bit"])) & 1
        if goes_one == (side < 0):
            state.ladder[way + count] = np.int64(node["zero"]) if goes_one else np.int64(node["one"])
            count += 1
        ref = _follow(node, tick)
    # What is left is the tick itself, or all on one side of it: lower where the tick has the bit that decides.
    if crit < 0 or (lshr(tick, crit) & 1 == 1) == (side < 0):
        state.ladder[way + count] = ref
        count += 1
    return count


@rare
def oldest_of(state: State, b, side, tick):
    """Slot of the oldest order at a tick and better, or 0."""
    way = len(state.ladder) - WAY
    count = _branches(state, b, side, tick)
    if count == 0:
        return np.int64(0)
    ref = state.ladder[way]
    for place in range(1, count):
        if _time_below(state, state.ladder[way + place]) < _time_below(state, ref):
            ref = state.ladder[way + place]
    for _ in range(TICK_BITS + 1):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        zero = np.int64(node["zero"])
        ref = zero if _time_below(state, zero) == node["first_time"] else np.int64(node["one"])
    return _head(state, ref)


@called
def _entry(state: State, ref):
    """Entry of the heap for a reference: itself for a branching, minus the slot of its first order for a leaf."""
    return -_head(state, ref) if ref & 1 else ref


@called
def _time_of(state: State, place):
    entry = state.scratch[place]
    return state.times[-entry] if entry < 0 else state.nodes[entry >> 1]["first_time"]


@called
def _rise(state: State, place):
    """Let an entry of the heap rise while it is older than the one above it."""
    scratch = state.scratch
    for _ in range(_DEPTH):
        above = (place - 1) >> 1
        if place == 0 or _time_of(state, above) < _time_of(state, place):
            break
        scratch[place], scratch[above] = scratch[above], scratch[place]
        place = above


@called
def _sink(state: State, count):
    """Let the first entry of the heap sink while one below it is older."""
    scratch = state.scratch
    place = np.int64(0)
    for _ in range(_DEPTH):
        below = 2 * place + 1
        if below >= count:
            break
        if below + 1 < count and _time_of(state, below + 1) < _time_of(state, below):
            below += 1
        if _time_of(state, place) < _time_of(state, below):
            break
        scratch[place], scratch[below] = scratch[below], scratch[place]
        place = below


@called
def begin_by_time(state: State, b, side, tick):
    """Begin to go through the orders at a tick and better by time: ``scratch`` becomes a heap, whose size it gives.

    An entry stands for one order at least, so that the heap is never larger than the orders are many.
    """
    way = len(state.ladder) - WAY
    count = _branches(state, b, side, tick)
    for place in range(count):
        state.scratch[place] = _entry(state, state.ladder[way + place])
        _rise(state, place)
    return count


@called
def next_by_time(state: State, count):
    """Take the next order out of the heap, which must have one; gives its slot and the new size of the heap."""
    scratch = state.scratch
    for _ in range(TICK_BITS + 1):
        if scratch[0] < 0:
            break
        node = state.nodes[scratch[0] >> 1]
        scratch[count] = _entry(state, np.int64(node["one"]))
        scratch[0] = _entry(state, np.int64(node["zero"]))
        _sink(state, count)
        _rise(state, count)
        count += 1
    slot = -scratch[0]
    behind = np.int64(state.orders[slot]["next"])
    if behind != 0:
        scratch[0] = -behind
    else:
        count -= 1
        scratch[0] = scratch[count]
    _sink(state, count)
    return slot, count
