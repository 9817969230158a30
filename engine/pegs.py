"""Pegs of an instrument: orders whose price follows the best displayed prices (rulebook section 4).

Those of a side with the same reference (``Peg``) are in one list, in order of acceptance, from entry to end. With each
list stands the price of the reference by which its pegs are priced: while that is what it is now, none of them
is looked at. A peg that has a price is among the orders that are not displayed (``hidden.py``).
"""

from typing import Final

import numpy as np

from engine.bounds import PRICE_E4_MAX
from engine.jit import called, inlined, rare
from engine.pending import set_pending
from engine.places import peg_row, side_row
from engine.records import Instruction, Peg, Phase
from engine.state import Pending, State

_PEGS: Final = int(Pending.PEGS)
_OFFSET: Final = int(Instruction.OFFSET)
#: Kinds of references, from 1 on.
REFERENCES: Final = len(Peg)


@called
def _list_of(state: State, slot):
    """Row of ``books`` of the list that a peg is in."""
    order = state.orders[slot]
    return peg_row(state, np.int64(order["instrument"]), np.int64(order["side"]), np.int64(state.terms[slot]["peg"]))


@rare
def begin_peg(state: State, command, slot, instructions):
    """An order that was accepted is a peg: it has no price yet."""
    order, terms = state.orders[slot], state.terms[slot]
    row = state.instruments[np.int64(order["instrument"]) - 1]
    peg = np.int64(command["peg"])
    terms["peg"] = peg
    if instructions & _OFFSET:
        terms["offset_e4"] = command["offset_e4"]
    elif peg == Peg.MARKET:
        terms["offset_e4"] = row["tick_e4"]
    book = state.books[_list_of(state, slot)]
    last = np.int64(book["tail"])
    terms["before"] = last
    if last == 0:
        book["head"] = slot
    else:
        state.terms[last]["after"] = slot
    book["tail"] = slot
    venue = state.venue[0]
    venue["pegs"] += 1
    venue["fresh_peg"] = slot
    row["pegs"] += 1
    if row["pegs"] == 1:
        set_pending(state, np.int64(order["instrument"]), _PEGS, True)


@rare
def end_peg(state: State, slot):
    """A peg that is in no queue is gone."""
    order, terms = state.orders[slot], state.terms[slot]
    book = state.books[_list_of(state, slot)]
    before, after = np.int64(terms["before"]), np.int64(terms["after"])
    if before == 0:
        book["head"] = after
    else:
        state.terms[before]["after"] = after
    if after == 0:
        book["tail"] = before
    else:
        state.terms[after]["before"] = before
    if np.int64(book["head"]) == 0:
        book["price_e4"] = 0
    terms["peg"] = 0
    terms["offset_e4"] = 0
    terms["peg_e4"] = 0
    terms["before"] = 0
    terms["after"] = 0
    venue = state.venue[0]
    venue["pegs"] -= 1
    if venue["fresh_peg"] == slot:
        venue["fresh_peg"] = 0
    row = state.instruments[np.int64(order["instrument"]) - 1]
    row["pegs"] -= 1
    if row["pegs"] == 0:
        set_pending(state, np.int64(order["instrument"]), _PEGS, False)


@inlined
def quote_as_before(state: State, instrument):
    """True in continuous trading where the best displayed prices are those by which the pegs were last priced.

    No list refers to another price then than before; a fresh peg is to be looked for besides.
    """
    buys, sells = state.books[side_row(instrument, 1)], state.books[side_row(instrument, -1)]
    return (buys["pegs_tick"] == buys["best_tick"]) & (sells["pegs_tick"] == sells["best_tick"])


@called
def note_quote(state: State, instrument):
    """The pegs are priced by the best displayed prices of now."""
    continuous = state.instruments[instrument - 1]["phase"] == Phase.CONTINUOUS
    for s in range(2):
        book = state.books[side_row(instrument, 1 - 2 * s)]
        book["pegs_tick"] = book["best_tick"] if continuous else np.int64(-1)


@inlined
def reference_of_pegs(state: State, instrument, side, peg):
    """The price that the pegs of a side refer to now; 0: none."""
    row = state.instruments[instrument - 1]
    if row["phase"] != Phase.CONTINUOUS:
        return np.int64(0)
    own = state.books[side_row(instrument, side)]["best_tick"]
    other = state.books[side_row(instrument, -side)]["best_tick"]
    if peg == Peg.PRIMARY:
        return own * row["tick_e4"]
    if peg == Peg.MARKET:
        return other * row["tick_e4"]
    if own == 0 or other == 0:
        return np.int64(0)
    # Rounded away from the market: buys down.
    return ((own + other) * row["tick_e4"] + np.int64(side < 0)) >> 1


@called
def price_of_peg(state: State, slot, reference_e4):
    """Price of a peg by a reference; 0: none."""
    order, terms = state.orders[slot], state.terms[slot]
    if reference_e4 == 0:
        return np.int64(0)
    side = np.int64(order["side"])
    # An offset is any number: of one beyond all prices it does not matter how far.
    price_e4 = reference_e4 - side * min(terms["offset_e4"], 2 * PRICE_E4_MAX)
    limit_e4 = order["price_e4"]
    if limit_e4 != 0 and (price_e4 - limit_e4) * side > 0:
        price_e4 = limit_e4
    return price_e4 if price_e4 >= 1 and price_e4 <= PRICE_E4_MAX else np.int64(0)


@called
def list_unpriced(state: State, instrument, side, out, count, most):
    """Write the slots of a side's pegs without a price to ``out`` from ``count`` on; gives the new count.

    It ends early, with a greater one, where more than ``most`` pegs are looked at.
    """
    seen = np.int64(0)
    for peg in range(1, REFERENCES + 1):
        slot = np.int64(state.books[peg_row(state, instrument, side, peg)]["head"])
        for _ in range(state.venue[0]["orders_open"]):
            if slot == 0:
                break
            seen += 1
            if count > most or seen > most:
                return most + 1
            if state.terms[slot]["peg_e4"] == 0:
                out[count] = slot
                count += 1
            slot = np.int64(state.terms[slot]["after"])
    return count
