"""Pegs take other prices and run as incoming (rulebook section 7, c).

A pass takes the lists whose reference has another price than before, and the peg that the command entered or replaced.
It goes through them in order of acceptance: each list is in that order, and they are merged. What it costs beyond its
events is a queue to leave and a queue to join for each of these; pegs of other lists are not looked at.
"""

from typing import Final

import numpy as np

from engine.book import best_of_all
from engine.bounds import PEG_PRICES_BESIDES, PEG_PRICES_EACH
from engine.events import emit_canceled, emit_repriced
from engine.exposure import count_open, value_price_of
from engine.hidden import better_tick, join_hidden, leave_hidden
from engine.jit import called, rare
from engine.matching import match_rarely, release
from engine.pegs import REFERENCES, note_quote, price_of_peg, quote_as_before, reference_of_pegs
from engine.places import peg_row, side_row
from engine.records import Phase, Reason
from engine.state import Pending, State

_PEGS: Final = int(Pending.PEGS)
#: Lists of an instrument, and beside them the one peg that is new.
_LISTS: Final = 2 * REFERENCES
_NEVER: Final = 2**62


@called
def _begin(state: State, place, slot):
    """Note the next peg of a list at its place in ``ladder``, with its number."""
    state.ladder[place] = slot
    state.ladder[_LISTS + 1 + place] = state.orders[slot]["order_number"] if slot != 0 else _NEVER


@called
def _begin_lists(state: State, instrument):
    """Note the first pegs of the lists that are to be priced; gives how many lists these are."""
    found = np.int64(0)
    fresh = state.venue[0]["fresh_peg"]
    state.venue[0]["fresh_peg"] = 0
    for place in range(_LISTS):
        side, peg = 1 - 2 * np.int64(place >= REFERENCES), place % REFERENCES + 1
        book = state.books[peg_row(state, instrument, side, peg)]
        price_e4 = reference_of_pegs(state, instrument, side, peg)
        changed = book["price_e4"] != price_e4 and np.int64(book["head"]) != 0
        _begin(state, place, np.int64(book["head"]) if changed else np.int64(0))
        if changed:
            book["price_e4"] = price_e4
            found += 1
            if (
                fresh != 0
                and np.int64(state.terms[fresh]["peg"]) == peg
                and np.int64(state.orders[fresh]["side"]) == side
            ):
                fresh = np.int64(0)
    _begin(state, np.int64(_LISTS), fresh)
    note_quote(state, instrument)
    return found + np.int64(fresh != 0)


@called
def _next(state: State):
    """Take the peg that was accepted first off the lists; 0: none is left."""
    first = np.int64(0)
    for place in range(1, _LISTS + 1):
        if state.ladder[_LISTS + 1 + place] < state.ladder[_LISTS + 1 + first]:
            first = np.int64(place)
    slot = state.ladder[first]
    if slot != 0:
        _begin(state, first, np.int64(state.terms[slot]["peg_after"]) if first != _LISTS else np.int64(0))
    return slot


@called
def _may_price(state: State):
    """True if the command has not given too many prices yet (rulebook section 13, 40)."""
    venue = state.venue[0]
    if venue["peg_seq"] != venue["seq"]:
        venue["peg_seq"] = venue["seq"]
        venue["peg_prices"] = 0
    return venue["peg_prices"] < PEG_PRICES_EACH * venue["pegs"] + PEG_PRICES_BESIDES


@called
def reprice(state: State, events, n, instrument):
    """One pass. Gives (n, whether any peg traded)."""
    continuous = state.instruments[instrument - 1]["phase"] == Phase.CONTINUOUS
    if continuous:
        if state.venue[0]["fresh_peg"] == 0 and quote_as_before(state, instrument):
            return n, False
        if not _may_price(state):
            return n, False
    if _begin_lists(state, instrument) == 0:
        return n, False
    count = np.int64(0)
    for _ in range(state.venue[0]["orders_open"]):
        slot = _next(state)
        if slot == 0:
            break
        order, terms = state.orders[slot], state.terms[slot]
        row = peg_row(state, instrument, np.int64(order["side"]), np.int64(terms["peg"]))
        price_e4 = price_of_peg(state, slot, state.books[row]["price_e4"])
        if price_e4 == terms["peg_e4"]:
            continue
        if terms["peg_e4"] != 0:
            leave_hidden(state, slot)
        terms["peg_e4"] = price_e4
        n = emit_repriced(state, events, n, order, price_e4)
        if price_e4 != 0:
            state.scratch[count] = slot
            count += 1
    state.venue[0]["peg_prices"] += count
    trades = state.venue[0]["last_trade_number"]
    for place in range(count):
        n = _run(state, events, n, state.scratch[place])
    return n, state.venue[0]["last_trade_number"] != trades


@called
def unprice(state: State, events, n, instrument):
    """An instrument left continuous trading: its pegs have no price."""
    if state.instruments[instrument - 1]["pending"] & _PEGS:
        n, _ = reprice(state, events, n, instrument)
    return n


@rare
def _run(state: State, events, n, slot):
    """A peg with a new price runs as incoming, and what is left of it rests."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    tick_e4 = state.instruments[instrument - 1]["tick_e4"]
    limit_tick = better_tick(state.terms[slot]["peg_e4"], tick_e4, -side)  # the worse of two ticks
    best = best_of_all(state.books[side_row(instrument, -side)], -side)
    if best != 0 and (limit_tick - best) * side >= 0:
        participant, value_e4 = np.int64(order["participant"]), value_price_of(order)
        count_open(state, participant, instrument, side, -np.int64(order["leaves_qty"]), value_e4)
        n, ended = match_rarely(state, events, n, slot, limit_tick)
        left = np.int64(order["leaves_qty"])
        if ended:
            n = emit_canceled(state, events, n, order, left, Reason.SELF_TRADE)
        if ended or left == 0:
            release(state, slot)
            return n
        count_open(state, participant, instrument, side, left, value_e4)
    join_hidden(state, slot)
    return n
