"""Depth of an instrument in a call: what its levels have open, summed so that the uncross is found in few steps.

Sums are kept for each word of 64 ticks of the window (``word_qty``) and each branching of the far tree (``qty``). They
are counted when a call begins, follow each change of a level while it lasts, and are zero outside of calls: a book in
continuous trading needs none.
"""

from typing import Final

import numpy as np

from engine.far import far_depth, far_next, subtree_qty
from engine.jit import called, ctz, lshr, rare, shl
from engine.places import hidden_beside, in_window, instrument_row, side_row
from engine.state import WINDOW, WINDOW_WORDS, State

#: Steps down the far tree at most: the bits of a tick, and the leaf.
_DOWN: Final = 35


@rare
def add_depth(state: State, b, tick, qty):
    """Count ``qty`` more at a level that the book has; market orders (tick below 0) have no depth."""
    if in_window(state, b, tick):
        state.word_qty[b * WINDOW_WORDS + ((tick >> 6) & (WINDOW_WORDS - 1))] += qty
    elif tick > 0:
        add_far_depth(state, b, tick, qty)


@called
def add_far_depth(state: State, b, tick, qty):
    """``add_depth`` of a level of a tree, which the book has."""
    ref = state.books[b]["far_root"]
    for _ in range(_DOWN):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        node["qty"] += qty
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])


@called
def count_depth(state: State, instrument, sign):
    """Count all levels of an instrument, when a call begins (sign 1), or take them off again (-1)."""
    for s in range(2):
        b = side_row(instrument, 1 - 2 * s)
        for word in range(b * WINDOW_WORDS, (b + 1) * WINDOW_WORDS):
            if state.words[word] != 0:
                state.word_qty[word] += sign * _bits_depth(state, word, state.words[word])
        _count_tree(state, b, sign)
        _count_tree(state, hidden_beside(state, b), sign)


@called
def _count_tree(state: State, b, sign):
    tick = np.int64(0)
    for _ in range(state.venue[0]["orders_open"]):
        tick = far_next(state, b, -1, tick)
        if tick == 0:
            break
        add_far_depth(state, b, tick, sign * far_depth_at(state, b, tick))


@called
def far_depth_at(state: State, b, tick):
    """Quantity of one level of the far tree, which has it."""
    ref = state.books[b]["far_root"]
    for _ in range(_DOWN):
        if ref & 1:
            break
        node = state.nodes[ref >> 1]
        ref = np.int64(node["one"]) if lshr(tick, np.int64(node["bit"])) & 1 else np.int64(node["zero"])
    return subtree_qty(state, ref)


@called
def _bits_depth(state: State, word, bits):
    """Quantity of those ticks of a word of ``words`` that have a bit."""
    qty = np.int64(0)
    for _ in range(64):
        if bits == 0:
            break
        place = ctz(bits)
        bits &= ~shl(1, place)
        qty += state.levels[(word << 6) + place]["qty"]
    return qty


@called
def depth_to(state: State, b, side, tick):
    """Quantity of a side's limit orders at a tick and better (buys: at it and above), in the call that counts it.

    Hidden orders and the reserves of icebergs count in full.
    """
    first = state.instruments[instrument_row(b)]["window_tick"]
    end = first + WINDOW - 1
    low = max(tick, first) if side > 0 else first
    high = end if side > 0 else min(tick, end)
    qty = far_depth(state, b, side, tick) + far_depth(state, hidden_beside(state, b), side, tick)
    for place in range(low >> 6, (high >> 6) + 1):
        word = b * WINDOW_WORDS + (place & (WINDOW_WORDS - 1))
        if low <= place << 6 and (place << 6) + 63 <= high:
            qty += state.word_qty[word]
            continue
        bits = state.words[word]
        if place == low >> 6:
            bits &= shl(-1, low & 63)
        if place == high >> 6 and high & 63 != 63:
            bits &= ~shl(-1, (high & 63) + 1)
        qty += _bits_depth(state, word, bits)
    return qty
