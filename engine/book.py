"""The lit book of an instrument: levels by price, and the queue of orders at each.

Prices within a window of 4,096 ticks around the market are rows of an array, found by the price itself; which of
them have orders is told by a bit a tick (64 words) and a bit a word (the summary), so that the next price is two
instructions away. The window is a ring over ticks: it follows the market 64 ticks at a time without moving the
rest. Prices outside it are in the far tree (``far.py``). Market orders that wait for an uncross have a level of
their own, tick -1.

A book side ``b`` is a row of ``books`` (``places.py``). In a call the depth of the window follows each change
(``depth.py``); sums of the far tree do at all times.
"""

from typing import Final

import numpy as np

from engine.depth import add_depth
from engine.far import far_find, far_find_changed, far_insert, far_next, far_remove, leaf_level
from engine.jit import called, ctz, inlined, lshr, rare, shl, top_bit
from engine.places import in_window, instrument_row, market_level, side_row
from engine.state import WINDOW, WINDOW_WORDS, Pending, State

#: Part of the window in which the market may move before the window follows: its middle half.
MARGIN: Final = WINDOW // 4

_CALL: Final = int(Pending.CALL)


@inlined
def _in_call(state: State, b):
    return state.instruments[instrument_row(b)]["pending"] & _CALL


@inlined
def best_of_all(book, side):
    """The best tick of a side of the lit book, displayed or not (``book``: its row), or 0."""
    best, hidden = book["best_tick"], book["hidden_tick"]
    if hidden != 0 and (best == 0 or (hidden - best) * side > 0):
        return hidden
    return best


@inlined
def level_of(state: State, b, tick):
    """Row of ``levels`` of a tick at which side b has an order (-1: market)."""
    if in_window(state, b, tick):
        return b * WINDOW + (tick & (WINDOW - 1))
    if tick < 0:
        return market_level(state, b)
    return leaf_level(state, far_find(state, b, tick))


@inlined
def changed_level(state: State, b, tick, qty):
    """``level_of`` a tick whose level the caller gives ``qty`` more."""
    if in_window(state, b, tick):
        return b * WINDOW + (tick & (WINDOW - 1))
    return _changed_far_level(state, b, tick, qty)


@rare
def _changed_far_level(state: State, b, tick, qty):
    if tick < 0:
        return market_level(state, b)
    return leaf_level(state, far_find_changed(state, b, tick, qty))


@inlined
def _window_next(state: State, b, side, tick):
    """The best tick of the window that is worse than ``tick``, itself in the window, or 0."""
    word = (tick >> 6) & (WINDOW_WORDS - 1)
    bits = state.words[b * WINDOW_WORDS + word]
    if side > 0:
        bits &= ~shl(-1, tick & 63)
        if bits != 0:
            return (tick & ~63) + top_bit(bits)
    else:
        bits &= shl(-2, tick & 63)
        if bits != 0:
            return (tick & ~63) + ctz(bits)
    return _window_next_word(state, b, side, tick)


@called
def _window_next_word(state: State, b, side, tick):
    """As ``_window_next``, among the words after the tick's own."""
    first = state.instruments[instrument_row(b)]["window_tick"] >> 6
    turn = first & (WINDOW_WORDS - 1)
    summary = state.books[b]["summary"]
    # Turned so that bit 0 is the window's first word.
    summary = lshr(summary, turn) | shl(summary, (WINDOW_WORDS - turn) & (WINDOW_WORDS - 1))
    place = (tick >> 6) - first
    if side > 0:
        summary &= ~shl(-1, place)
        if summary == 0:
            return 0
        place = top_bit(summary)
        return ((first + place) << 6) + top_bit(state.words[b * WINDOW_WORDS + ((turn + place) & (WINDOW_WORDS - 1))])
    summary &= shl(-2, place)
    if summary == 0:
        return 0
    place = ctz(summary)
    return ((first + place) << 6) + ctz(state.words[b * WINDOW_WORDS + ((turn + place) & (WINDOW_WORDS - 1))])


@rare
def _next_tick_far(state: State, b, side, tick):
    """``next_tick`` of a book that has prices outside the window, or of a tick outside it."""
    far = far_next(state, b, side, tick)
    near = 0
    first = state.instruments[instrument_row(b)]["window_tick"]
    # The tick, or the end of the window nearest to it on the better side.
    if side > 0:
        start = min(tick, first + WINDOW)
        if start > first:
            near = _window_next(state, b, side, start) if start < first + WINDOW else _window_end(state, b, side)
    else:
        start = max(tick, first - 1)
        if start < first + WINDOW:
            near = _window_next(state, b, side, start) if start >= first else _window_end(state, b, side)
    if near == 0 or far == 0:
        return near + far
    return max(near, far) if side > 0 else min(near, far)


@rare
def _window_end(state: State, b, side):
    """The best tick of the whole window, or 0."""
    first = state.instruments[instrument_row(b)]["window_tick"]
    end = first + WINDOW - 1 if side > 0 else first
    word = state.words[b * WINDOW_WORDS + ((end >> 6) & (WINDOW_WORDS - 1))]
    if lshr(word, end & 63) & 1:
        return end
    return _window_next(state, b, side, end)


@inlined
def next_tick(state: State, b, side, tick):
    """The best tick with an order that is worse than ``tick``, or 0."""
    if (state.books[b]["far_root"] == 0) & in_window(state, b, tick):
        return _window_next(state, b, side, tick)
    return _next_tick_far(state, b, side, tick)


@inlined
def open_level(state: State, b, side, tick, qty):
    """Row of ``levels`` for orders of ``qty`` that come to rest at a tick (-1: market); makes the level where there is
    none."""
    if in_window(state, b, tick):
        row = b * WINDOW + (tick & (WINDOW - 1))
        if state.levels[row]["head"] == 0:
            word = (tick >> 6) & (WINDOW_WORDS - 1)
            state.words[b * WINDOW_WORDS + word] |= shl(1, tick & 63)
            book = state.books[b]
            book["summary"] |= shl(1, word)
            if book["best_tick"] == 0 or (tick - book["best_tick"]) * side > 0:
                book["best_tick"] = tick
        return row
    return _open_far_level(state, b, side, tick, qty)


@rare
def _open_far_level(state: State, b, side, tick, qty):
    if tick < 0:
        return market_level(state, b)
    leaf = far_find(state, b, tick)
    if leaf == 0:
        leaf = far_insert(state, b, tick, qty)
        book = state.books[b]
        if book["best_tick"] == 0 or (tick - book["best_tick"]) * side > 0:
            book["best_tick"] = tick
    else:
        far_find_changed(state, b, tick, qty)
    return leaf_level(state, leaf)


@inlined
def close_level(state: State, b, side, tick):
    """Remove an empty level from the book; if it was the best, find the next best."""
    if in_window(state, b, tick):
        book = state.books[b]
        if book["best_tick"] == tick:
            book["best_tick"] = next_tick(state, b, side, tick)
        word = (tick >> 6) & (WINDOW_WORDS - 1)
        bits = state.words[b * WINDOW_WORDS + word] & ~shl(1, tick & 63)
        state.words[b * WINDOW_WORDS + word] = bits
        if bits == 0:
            book["summary"] &= ~shl(1, word)
    else:
        _close_far_level(state, b, side, tick)


@rare
def _close_far_level(state: State, b, side, tick):
    if tick < 0:
        return
    book = state.books[b]
    if book["best_tick"] == tick:
        book["best_tick"] = next_tick(state, b, side, tick)
    far_remove(state, b, tick)


@inlined
def append(state: State, level, slot):
    """Put an order at the end of a level's queue."""
    order = state.orders[slot]
    tail = np.int64(level["tail"])
    order["prev"] = tail
    order["next"] = 0
    if tail == 0:
        level["head"] = slot
    else:
        state.orders[tail]["next"] = slot
    level["tail"] = slot
    level["qty"] += np.int64(order["leaves_qty"])


@inlined
def unlink(state: State, level, slot):
    """Take an order out of a level's queue; its leaves_qty is still counted there. True if the level is empty then."""
    order = state.orders[slot]
    ahead = np.int64(order["prev"])
    behind = np.int64(order["next"])
    level["qty"] -= np.int64(order["leaves_qty"])
    if ahead == 0:
        level["head"] = behind
    else:
        state.orders[ahead]["next"] = behind
    if behind == 0:
        level["tail"] = ahead
    else:
        state.orders[behind]["prev"] = ahead
    return ahead == 0 and behind == 0


@inlined
def next_time(state: State):
    """Time of an order that goes to the back of a queue: a counter of the venue."""
    venue = state.venue[0]
    time = venue["last_time"] + 1
    venue["last_time"] = time
    return time


@inlined
def join(state: State, b, slot):
    """Put an order at the back of the queue at its price."""
    order = state.orders[slot]
    tick = order["tick"]
    side = np.int64(order["side"])
    append(state, state.levels[open_level(state, b, side, tick, np.int64(order["leaves_qty"]))], slot)
    state.times[slot] = next_time(state)
    if _in_call(state, b):
        add_depth(state, b, tick, np.int64(order["leaves_qty"]))


@inlined
def leave(state: State, b, slot):
    """Take an order out of the queue at its price; its leaves_qty is still the quantity that the level counts."""
    order = state.orders[slot]
    tick = order["tick"]
    if _in_call(state, b):
        add_depth(state, b, tick, -np.int64(order["leaves_qty"]))
    if unlink(state, state.levels[changed_level(state, b, tick, -np.int64(order["leaves_qty"]))], slot):
        close_level(state, b, np.int64(order["side"]), tick)


@inlined
def follow(state: State, instrument, tick):
    """Move the window after the market to a tick: by one word of 64 ticks at most, so that no command is slow."""
    offset = tick - state.instruments[instrument - 1]["window_tick"]
    if (offset < MARGIN) | (offset >= WINDOW - MARGIN):
        _slide(state, instrument, offset)


@rare
def _slide(state: State, instrument, offset):
    """Move the window by one word towards an offset that is near its end or outside it."""
    row = state.instruments[instrument - 1]
    first = row["window_tick"]
    if offset < MARGIN:
        if first == 0:
            return
        leaving, entering, row["window_tick"] = first + WINDOW - 64, first - 64, first - 64
    else:
        leaving, entering, row["window_tick"] = first, first + WINDOW, first + 64
    for s in range(2):
        b = side_row(instrument, 1 - 2 * s)
        _to_far(state, b, leaving)
        if state.books[b]["far_root"] != 0:
            _from_far(state, b, entering)


@called
def _to_far(state: State, b, leaving):
    """Move the levels of the word of 64 ticks from ``leaving`` on into the far tree."""
    word = (leaving >> 6) & (WINDOW_WORDS - 1)
    bits = state.words[b * WINDOW_WORDS + word]
    state.words[b * WINDOW_WORDS + word] = 0
    state.books[b]["summary"] &= ~shl(1, word)
    for _ in range(64):
        if bits == 0:
            break
        tick = leaving + ctz(bits)
        bits &= ~shl(1, tick & 63)
        row = b * WINDOW + (tick & (WINDOW - 1))
        _move_level(state, row, leaf_level(state, far_insert(state, b, tick, state.levels[row]["qty"])))


@called
def _from_far(state: State, b, entering):
    """Move the levels of the word of 64 ticks from ``entering`` on out of the far tree."""
    word = (entering >> 6) & (WINDOW_WORDS - 1)
    bits = 0
    tick = entering - 1
    for _ in range(64):
        tick = far_next(state, b, -1, max(tick, 0))
        if tick == 0 or tick >= entering + 64:
            break
        row = leaf_level(state, far_find(state, b, tick))
        far_find_changed(state, b, tick, -state.levels[row]["qty"])
        _move_level(state, row, b * WINDOW + (tick & (WINDOW - 1)))
        far_remove(state, b, tick)
        bits |= shl(1, tick & 63)
    if bits != 0:
        state.words[b * WINDOW_WORDS + word] = bits
        state.books[b]["summary"] |= shl(1, word)


@called
def _move_level(state: State, source, target):
    there = state.levels[target]
    here = state.levels[source]
    there["head"] = np.int64(here["head"])
    there["tail"] = np.int64(here["tail"])
    there["qty"] = here["qty"]
    here["head"] = 0
    here["tail"] = 0
    here["qty"] = 0


@inlined
def shrink(state: State, b, slot, leaves_qty):
    """An order of the book keeps its place with less."""
    order = state.orders[slot]
    more = leaves_qty - np.int64(order["leaves_qty"])
    level = state.levels[changed_level(state, b, order["tick"], more)]
    level["qty"] += more
    if _in_call(state, b):
        add_depth(state, b, order["tick"], more)
    order["leaves_qty"] = leaves_qty
