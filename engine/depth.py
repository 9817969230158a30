"""Depth of an instrument in a call: what its levels have open, summed so that the uncross is found in few steps.

Each branching of the far tree has such a sum at all times (``far.py``). Those of the window, one for each word of 64
ticks (``word_qty``), are counted when a call begins, follow each change of a level while it lasts, and are zero outside
of calls: its 4,096 ticks are soon gone through, and a book in continuous trading needs no sums of them.
"""

import numpy as np

from engine.far import far_depth, far_find, far_find_changed, far_next, leaf_level
from engine.jit import called, ctz, rare, shl
from engine.places import hidden_beside, in_window, instrument_row, side_row
from engine.state import WINDOW, WINDOW_WORDS, State


@rare
def add_depth(state: State, b, tick, qty):
    """Count ``qty`` more at a level of the window; market orders (tick below 0) have no depth, and far ones theirs."""
    if in_window(state, b, tick):
        state.word_qty[b * WINDOW_WORDS + ((tick >> 6) & (WINDOW_WORDS - 1))] += qty


@called
def count_depth(state: State, instrument, begins):
    """Count the window of an instrument, when a call begins; or forget what was counted, when it ends."""
    for s in range(2):
        b = side_row(instrument, 1 - 2 * s)
        summary = state.books[b]["summary"]
        for _ in range(WINDOW_WORDS):
            if summary == 0:
                break
            place = ctz(summary)
            summary &= ~shl(1, place)
            word = b * WINDOW_WORDS + place
            state.word_qty[word] = _bits_depth(state, word, state.words[word]) if begins else np.int64(0)


@called
def count_far_depth(state: State, instrument):
    """Count the far levels of an instrument, whose sums are all 0: those of an image that has none."""
    for s in range(2):
        b = side_row(instrument, 1 - 2 * s)
        _count_tree(state, b)
        _count_tree(state, hidden_beside(state, b))


@called
def _count_tree(state: State, b):
    tick = np.int64(0)
    for _ in range(state.venue[0]["orders_open"]):
        tick = far_next(state, b, -1, tick)
        if tick == 0:
            break
        far_find_changed(state, b, tick, state.levels[leaf_level(state, far_find(state, b, tick))]["qty"])


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
