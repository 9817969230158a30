"""Indicative events: what the uncross of an instrument in a call would give, said when a command has changed it.

They come after all that a command causes (rulebook section 13, 25).
"""

import numpy as np

from engine.events import emit_indicative
from engine.jit import called, inlined
from engine.records import Phase
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
    tick, paired_qty, imbalance_qty = uncross_price(state, instrument)
    price_e4 = tick * row["tick_e4"]
    is_same = price_e4 == row["indicative_e4"] and paired_qty == row["paired_qty"]
    if is_same and imbalance_qty == row["imbalance_qty"]:
        return n
    row["indicative_e4"] = price_e4
    row["paired_qty"] = paired_qty
    row["imbalance_qty"] = imbalance_qty
    return emit_indicative(state, events, n, instrument, price_e4, paired_qty, imbalance_qty)
