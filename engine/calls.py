"""Indicative events: what the uncross of an instrument in a call would give, said when a command has changed it.

They come after all that a command causes (rulebook section 13, 25). Outside of calls ``calls`` of the venue is 0, and
that is all an order has to look at.
"""

from typing import Final

import numpy as np

from engine.auction import uncross_price
from engine.emit import emit_indicative
from engine.jit import called, inlined, rare
from engine.match import cancel_resting
from engine.records import EventKind, Phase
from engine.state import State

_OPENING_AUCTION: Final = int(Phase.OPENING_AUCTION)
_AUCTION: Final = int(Phase.AUCTION)
_CLOSING_AUCTION: Final = int(Phase.CLOSING_AUCTION)
_REJECTED: Final = int(EventKind.REJECTED)


@inlined
def is_call(phase):
    """1 if a phase is one of the three calls, else 0."""
    return np.int64((phase == _OPENING_AUCTION) | (phase == _AUCTION) | (phase == _CLOSING_AUCTION))


@called
def say_indicative(state: State, events, n, instrument):
    """The indicative event of an instrument, if it is in a call and would not say what was said last."""
    row = state.instruments[instrument - 1]
    if is_call(row["phase"]) == 0:
        return n
    tick, qty, surplus = uncross_price(state, instrument)
    price_e4 = tick * row["tick_e4"]
    if price_e4 == row["indicative_e4"] and qty == row["indicative_qty"] and surplus == row["indicative_surplus"]:
        return n
    row["indicative_e4"] = price_e4
    row["indicative_qty"] = qty
    row["indicative_surplus"] = surplus
    return emit_indicative(state, events, n, instrument, price_e4, qty, surplus)


@rare
def say_after_order(state: State, events, n):
    """As ``say_indicative``, for the instrument that an enter, cancel or replace was about: its last event names it."""
    event = events[n - 1]
    instrument = np.int64(event["instrument"])
    if instrument == 0 or np.int64(event["kind"]) == _REJECTED:
        return n
    return say_indicative(state, events, n, instrument)


@called
def cancel_listed(state: State, events, n, start, count, reason):
    """Cancels the orders of ``count`` slots of ``scratch`` in their order, then says what that changed in calls."""
    in_calls = state.venue[0]["calls"] != 0
    for place in range(start, start + count):
        slot = state.scratch[place]
        if in_calls:
            state.instruments[np.int64(state.orders[slot]["instrument"]) - 1]["touched"] = 1
        n = cancel_resting(state, events, n, slot, reason)
    if in_calls and count != 0:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            row = state.instruments[instrument - 1]
            if row["touched"] != 0:
                row["touched"] = 0
                n = say_indicative(state, events, n, instrument)
    return n
