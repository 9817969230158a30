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
from engine.hidden import join_hidden, join_undisplayed, leave_undisplayed, move_undisplayed
from engine.jit import called, inlined, rare
from engine.matching import match_rarely, release
from engine.pegs import REFERENCES, note_quote, price_of_peg, quote_as_before, reference_of_pegs
from engine.places import peg_row, side_row
from engine.records import Phase, Reason
from engine.state import Pending, State

_PEGS: Final = int(Pending.PEGS)
#: Lists of an instrument, and beside them the one peg that is new.
_LISTS: Final = 2 * REFERENCES
_NEVER: Final = 2**62


@inlined
def _note(state: State, place, slot):
    """Note the next peg of a list at its place in ``ladder``, with its number."""
    state.ladder[place] = slot
    state.ladder[_LISTS + 1 + place] = state.orders[slot]["order_number"] if slot != 0 else _NEVER


@inlined
def _begin_lists(state: State, instrument):
    """Note the first pegs of the lists that are to be priced, one after the other.

    Gives their number, and the peg that is new if its list is none of them, which then is the last of them; else 0.
    """
    found = np.int64(0)
    fresh = state.venue[0]["fresh_peg"]
    state.venue[0]["fresh_peg"] = 0
    first = peg_row(state, instrument, 1, 1)
    for place in range(_LISTS):
        book = state.books[first + place]
        slot = np.int64(book["head"])
        if slot == 0:
            continue
        side, peg = 1 - 2 * np.int64(place >= REFERENCES), place % REFERENCES + 1
        price_e4 = reference_of_pegs(state, instrument, side, peg)
        if book["price_e4"] == price_e4:
            continue
        book["price_e4"] = price_e4
        _note(state, found, slot)
        found += 1
        if fresh != 0 and np.int64(state.terms[fresh]["peg"]) == peg and np.int64(state.orders[fresh]["side"]) == side:
            fresh = np.int64(0)
    if fresh != 0:
        _note(state, found, fresh)
        found += 1
    note_quote(state, instrument)
    return found, fresh


@inlined
def _next(state: State, lists, fresh):
    """Take the peg that was accepted first off so many lists; 0: none is left."""
    first = np.int64(0)
    for place in range(1, lists):
        if state.ladder[_LISTS + 1 + place] < state.ladder[_LISTS + 1 + first]:
            first = np.int64(place)
    slot = state.ladder[first]
    if slot != 0:
        _note(state, first, np.int64(state.terms[slot]["after"]) if slot != fresh else np.int64(0))
    return slot


@inlined
def _may_price(state: State):
    """True if the command has not given too many prices yet (rulebook section 13, 40)."""
    venue = state.venue[0]
    if venue["peg_seq"] != venue["seq"]:
        venue["peg_seq"] = venue["seq"]
        venue["peg_prices"] = 0
    return venue["peg_prices"] < PEG_PRICES_EACH * venue["pegs"] + PEG_PRICES_BESIDES


@called
def reprice(state: State, events, n, instrument):
    """``price_pegs``, where it is not frequent."""
    return price_pegs(state, events, n, instrument)


@inlined
def price_pegs(state: State, events, n, instrument):
    """One pass. Gives (n, whether any peg traded)."""
    continuous = state.instruments[instrument - 1]["phase"] == Phase.CONTINUOUS
    if continuous:
        if state.venue[0]["fresh_peg"] == 0 and quote_as_before(state, instrument):
            return n, False
        if not _may_price(state):
            return n, False
    lists, fresh = _begin_lists(state, instrument)
    if lists == 0:
        return n, False
    if lists == 1 and fresh == 0 and np.int64(state.terms[state.ladder[0]]["after"]) == 0:
        n, moved = _move_alone(state, events, n, instrument, state.ladder[0])
        if moved:
            return n, False
    count = np.int64(0)
    for _ in range(state.venue[0]["orders_open"]):
        slot = _next(state, lists, fresh)
        if slot == 0:
            break
        order, terms = state.orders[slot], state.terms[slot]
        row = peg_row(state, instrument, np.int64(order["side"]), np.int64(terms["peg"]))
        price_e4 = price_of_peg(state, slot, state.books[row]["price_e4"])
        if price_e4 == terms["peg_e4"]:
            continue
        if terms["peg_e4"] != 0:
            leave_undisplayed(state, slot)
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


@inlined
def _move_alone(state: State, events, n, instrument, slot):
    """The only peg whose reference has moved takes its new price, if it stays in its place among the others and meets
    nobody. Gives (n, whether this was all)."""
    order, terms = state.orders[slot], state.terms[slot]
    side, before_e4 = np.int64(order["side"]), terms["peg_e4"]
    tick_e4 = state.instruments[instrument - 1]["tick_e4"]
    row = peg_row(state, instrument, side, np.int64(terms["peg"]))
    price_e4 = price_of_peg(state, slot, state.books[row]["price_e4"])
    if price_e4 == before_e4:
        return n, True
    best = best_of_all(state.books[side_row(instrument, -side)], -side)
    meets = best != 0 and (price_e4 - best * tick_e4) * side >= 0
    if before_e4 == 0 or price_e4 == 0 or meets or not move_undisplayed(state, slot, before_e4, price_e4, tick_e4):
        return n, False
    terms["peg_e4"] = price_e4
    state.venue[0]["peg_prices"] += 1
    return emit_repriced(state, events, n, order, price_e4), True


@called
def unprice(state: State, events, n, instrument):
    """An instrument left continuous trading: its pegs have no price."""
    if state.instruments[instrument - 1]["pending"] & _PEGS:
        n, _ = reprice(state, events, n, instrument)
    return n


@inlined
def _run(state: State, events, n, slot):
    """A peg with a new price runs as incoming, and what is left of it rests."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    price_e4, tick_e4 = state.terms[slot]["peg_e4"], state.instruments[instrument - 1]["tick_e4"]
    tick = price_e4 // tick_e4
    # The worse of two ticks where the price is between them.
    limit_tick = tick + np.int64((side < 0) & (tick * tick_e4 != price_e4))
    best = best_of_all(state.books[side_row(instrument, -side)], -side)
    if best != 0 and (limit_tick - best) * side >= 0:
        return _run_and_trade(state, events, n, slot, limit_tick)
    join_undisplayed(state, slot, price_e4, tick_e4, tick)
    return n


@rare
def _run_and_trade(state: State, events, n, slot, limit_tick):
    """A peg meets the other side."""
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
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
