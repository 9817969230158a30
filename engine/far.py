"""Levels far from the market: a crit-bit tree over ticks, one for each side of a book.

A price that is outside the window (``book.py``) may be anywhere in 34 bits, and a hostile participant may use
100,000 of them. A crit-bit tree needs one leaf and less than one node a level and is never deeper than the ticks
have bits, whatever the prices are and in whatever order they come, so that no price is slow.

A reference is twice the number of a node, or twice the number of a leaf plus 1; 0 is none. A level always has an
order, so that leaves and nodes never run out before orders do.

A branching of a lit book, displayed or not, has the sum of what the levels below it have open: the depth of a call
(``depth.py``) is there when it begins, however many prices there are. Each change of a far level follows its way down
anyway.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, rare, top_bit
from engine.state import State

TICK_BITS = 34  # a tick is at most 9,999,999,999

#: Steps down the tree at most: the bits of a tick, and the leaf.
_DOWN: Final = TICK_BITS + 1


@inlined
def leaf_level(state: State, leaf):
    """Row in ``levels`` of a leaf."""
    return len(state.levels) - len(state.leaf_ticks) + leaf


@rare
def far_find(state: State, b, tick):
    """Leaf of a tick in the far tree of book side b, or 0."""
    ref = state.books[b]["far_root"]
    if ref == 0:
        return 0
    for _ in range(TICK_BITS + 1):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])
    leaf = ref >> 1
    return leaf if state.leaf_ticks[leaf] == tick else 0


@rare
def far_find_changed(state: State, b, tick, qty):
    """Leaf of a tick that the tree of a lit book has, whose level the caller gives ``qty`` more."""
    ref = state.books[b]["far_root"]
    for _ in range(_DOWN):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        node["qty"] += qty
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])
    return ref >> 1


@inlined
def find_changed_leaf(state: State, b, tick, qty):
    """``far_find_changed``, where trees mostly have one level."""
    root = state.books[b]["far_root"]
    return root >> 1 if root & 1 else far_find_changed(state, b, tick, qty)


@inlined
def _is_counted(state: State, b):
    """True if a row of ``books`` is of a lit book, displayed or not: its tree has sums."""
    sides = 2 * len(state.instruments)
    return (b < sides) | ((b >= 2 * sides) & (b < 3 * sides))


@inlined
def _new_leaf(state: State, tick):
    """Leaf of a level that is new, whose row is empty."""
    venue = state.venue[0]
    leaf = venue["leaves_free"]
    if leaf != 0:
        venue["leaves_free"] = state.leaf_ticks[leaf]
    else:
        leaf = venue["leaves_high"] + 1
        venue["leaves_high"] = leaf
    state.leaf_ticks[leaf] = tick
    return leaf


@called
def far_insert(state: State, b, tick, qty):
    """Leaf of a tick; where the tree does not have it, it gets a level, whose row is empty.

    qty: what the caller gives it, in the tree of a lit book; 0 in another one.
    """
    venue = state.venue[0]
    book = state.books[b]
    root = book["far_root"]
    if root == 0:
        leaf = _new_leaf(state, tick)
        book["far_root"] = 2 * leaf + 1
        return leaf
    # The level is mostly there: each branching on the way to it has more below it.
    nearest = find_changed_leaf(state, b, tick, qty)
    difference = state.leaf_ticks[nearest] ^ tick
    if difference == 0:
        return nearest
    leaf = _new_leaf(state, tick)
    bit = top_bit(difference)
    above = 0
    ref = root
    for _ in range(TICK_BITS + 1):
        if ref & 1 or np.int64(state.nodes[ref >> 1]["bit"]) < bit:
            break
        above = ref >> 1
        node = state.nodes[above]
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])
    _take_back(state, ref, tick, qty)
    fresh = venue["nodes_free"]
    if fresh != 0:
        venue["nodes_free"] = np.int64(state.nodes[fresh]["zero"])
    else:
        fresh = venue["nodes_high"] + 1
        venue["nodes_high"] = fresh
    node = state.nodes[fresh]
    node["bit"] = bit
    goes_one = lshr(tick, bit) & 1
    node["one"] = 2 * leaf + 1 if goes_one else ref
    node["zero"] = ref if goes_one else 2 * leaf + 1
    if _is_counted(state, b):
        node["qty"] = subtree_qty(state, ref) + qty
    _lead(state, b, above, tick, 2 * fresh)
    return leaf


@called
def _take_back(state: State, ref, tick, qty):
    """Take ``qty`` off again, on the way of a tick from a reference down."""
    for _ in range(_DOWN):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        node["qty"] -= qty
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])


@called
def far_move(state: State, b, tick, other):
    """Make the level of a tick that the tree has that of another tick, if no other level lies between them.

    True if so, and the tree is as if one was removed and the other inserted; False where that might give another tree.
    """
    ref = state.books[b]["far_root"]
    bit = np.int64(TICK_BITS)
    for _ in range(_DOWN):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        bit = np.int64(node["bit"])
        ref = np.int64(node["one"]) if lshr(tick, bit) & 1 else np.int64(node["zero"])
    if lshr(tick ^ other, bit) != 0:
        return False
    state.leaf_ticks[ref >> 1] = other
    return True


@called
def far_remove(state: State, b, tick):
    """Remove the level of a tick that the tree has, in which nothing is open; its row in ``levels`` is zeroed.

    Gives a reference to the levels that were next to it: the next best ones, if it was the best; 0: it was the last.
    """
    venue = state.venue[0]
    ref = state.books[b]["far_root"]
    above, above_that = 0, 0
    for _ in range(TICK_BITS + 1):
        if ref & 1:
            break
        above_that, above = above, ref >> 1
        node = state.nodes[above]
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])
    leaf = ref >> 1
    sibling = np.int64(0)
    if above == 0:
        state.books[b]["far_root"] = 0
    else:
        node = state.nodes[above]
        sibling = np.int64(node["zero"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["one"])
        _lead(state, b, above_that, tick, sibling)
        node["zero"] = venue["nodes_free"]
        node["one"] = 0
        node["bit"] = 0
        node["qty"] = 0
        node["first_time"] = 0
        venue["nodes_free"] = above
    level = state.levels[leaf_level(state, leaf)]
    level["head"] = 0
    level["tail"] = 0
    level["qty"] = 0
    state.leaf_ticks[leaf] = venue["leaves_free"]
    venue["leaves_free"] = leaf
    return sibling


@called
def best_tick_below(state: State, side, ref):
    """The best tick of what a reference leads to; 0 of none."""
    if ref == 0:
        return np.int64(0)
    for _ in range(_DOWN):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        ref = np.int64(node["one"]) if side > 0 else np.int64(node["zero"])
    return state.leaf_ticks[ref >> 1]


@called
def _lead(state: State, b, above, tick, ref):
    """Make the way of a tick lead from a node (0: the root) to ``ref``."""
    if above == 0:
        state.books[b]["far_root"] = ref
        return
    node = state.nodes[above]
    if lshr(tick, np.int64(node["bit"])) & 1:
        node["one"] = ref
    else:
        node["zero"] = ref


@rare
def far_next(state: State, b, side, tick):
    """The best tick of the far tree that is worse than ``tick`` for the side (buys: lower), or 0.

    A tick better than every price gives the best one of all.
    """
    ref = state.books[b]["far_root"]
    if ref == 0:
        return 0
    root = ref
    for _ in range(TICK_BITS + 1):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])
    difference = state.leaf_ticks[ref >> 1] ^ tick
    crit = top_bit(difference) if difference != 0 else -1
    # Go down again, but only as far as the tree agrees with the tick, and remember where the other way was worse.
    worse = 0
    ref = root
    for _ in range(TICK_BITS + 1):
        if ref & 1 or np.int64(state.nodes[ref >> 1]["bit"]) < crit:
            break
        node = state.nodes[ref >> 1]
        if lshr(tick, np.int64(node["bit"])) & 1:
            if side > 0:
                worse = np.int64(node["zero"])
            ref = np.int64(node["one"])
        else:
            if side < 0:
                worse = np.int64(node["one"])
            ref = np.int64(node["zero"])
    if crit >= 0:
        # Everything below this point is on one side of the tick: lower where the tick has the bit that decides.
        lower = lshr(tick, crit) & 1
        if (lower == 1) == (side > 0):
            worse = ref
    if worse == 0:
        return 0
    for _ in range(TICK_BITS + 1):
        if worse & 1:
            break
        node = state.nodes[worse >> 1]
        worse = np.int64(node["one"]) if side > 0 else np.int64(node["zero"])
    return state.leaf_ticks[worse >> 1]


@inlined
def subtree_qty(state: State, ref):
    """Quantity of what a reference leads to: of a level, or of all below a branching."""
    if ref & 1:
        return state.levels[leaf_level(state, ref >> 1)]["qty"]
    return state.nodes[ref >> 1]["qty"]


@called
def far_depth(state: State, b, side, tick):
    """Quantity of the far levels of a lit book at a tick and better (buys: at it and above)."""
    qty = np.int64(0)
    root = state.books[b]["far_root"]
    if root == 0:
        return qty
    ref = root
    for _ in range(TICK_BITS + 1):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])
    difference = state.leaf_ticks[ref >> 1] ^ tick
    crit = top_bit(difference) if difference != 0 else -1
    # Go down again, as far as the tree agrees with the tick, and count the other ways where they are better.
    ref = root
    for _ in range(TICK_BITS + 1):
        if ref & 1 or np.int64(state.nodes[ref >> 1]["bit"]) < crit:
            break
        node = state.nodes[ref >> 1]
        if lshr(tick, np.int64(node["bit"])) & 1:
            if side < 0:
                qty += subtree_qty(state, np.int64(node["zero"]))
            ref = np.int64(node["one"])
        else:
            if side > 0:
                qty += subtree_qty(state, np.int64(node["one"]))
            ref = np.int64(node["zero"])
    # What is left is the tick itself, or all on one side of it: lower where the tick has the bit that decides.
    if crit < 0 or (lshr(tick, crit) & 1 == 1) == (side < 0):
        qty += subtree_qty(state, ref)
    return qty
