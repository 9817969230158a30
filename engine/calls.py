"""Indicative events: what the uncross of an instrument in a call would give, said when a command has changed it.

They come after all that a command causes (rulebook section 13, 25). Outside of calls ``calls`` of the venue is 0, and
that is all an order has to look at.
"""

import numpy as np

from engine.events import emit_indicative
from engine.jit import called, inlined, rare
from engine.matching import cancel_resting
from engine.records import EventKind, Phase
from engine.state import State
from engine.uncross import uncross_price


@inlined
def is_call(phase):
    """1 if a phase is one of the three calls, else 0."""
    return np.int64((phase == Phase.OPENING_AUCTION) | (phase == Phase.AUCTION) | (phase == Phase.CLOSING_AUCTION))


@called
def publish_indicative(state: State, events, n, instrument):
    """Indicative event of an instrument in a call, if it differs from the last one."""
    row = state.instruments[instrument - 1]
    if is_call(row["phase"]) == 0:
        return n
    tick, paired_qty, imbalance_qty = uncross_price(state, instrument)
    price_e4 = tick * row["tick_e4"]
    is_same = price_e4 == row["indicative_e4"] and paired_qty == row["paired_qty"]
    if is_same and imbalance_qty == row["imbalance_qty"]:
        return n
    row["indicative_e4"] = price_e4
    row["paired_qty"] = paired_qty
    row["imbalance_qty"] = imbalance_qty
    return emit_indicative(state, events, n, instrument, price_e4, paired_qty, imbalance_qty)


@rare
def publish_after_order(state: State, events, n):
    """As ``publish_indicative``, for the instrument of an enter, cancel or replace, which its last event names."""
    event = events[n - 1]
    instrument = np.int64(event["instrument"])
    if instrument == 0 or np.int64(event["kind"]) == EventKind.REJECTED:
        return n
    return publish_indicative(state, events, n, instrument)


@called
def cancel_listed(state: State, events, n, start, count, reason):
    """Cancel the orders of ``count`` slots of ``scratch`` in their order, then publish changed indicatives."""
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
                n = publish_indicative(state, events, n, instrument)
    return n
