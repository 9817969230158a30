"""Breakers look at the last trade of an instrument, if there was one since they last did (rulebook sections 7 and 9).

Every command that may trade ends in ``consequences``, so that the newest trade number tells whether there was one; what
traded in no lit book they pass by (``seen.py``).
"""

from typing import Final

import numpy as np

from engine.bounds import BPS_MAX, SECOND_NS
from engine.events import emit_phase
from engine.halting import halt
from engine.indices import index_value
from engine.jit import called, rare
from engine.peg_run import unprice
from engine.phase_row import set_phase
from engine.records import Phase, Reason
from engine.state import Pending, State
from engine.sweep import cancel_gathered, gather_day_orders_of
from engine.trade_memory import price_in_force, remember

_VOLATILITY: Final = int(Pending.BREAKERS)
_INDEX: Final = int(Pending.INDEX)
#: Bits of an instrument at whose trades some breaker looks.
BREAKERS: Final = _VOLATILITY | _INDEX


@rare
def look_at_trade(state: State, events, n, instrument):
    """The volatility breaker of an instrument looks at its last trade, then each index does."""
    pending = state.instruments[instrument - 1]["pending"]
    if pending & _VOLATILITY:
        n = _look_back(state, events, n, instrument)
    if pending & _INDEX:
        n = _look_at_indices(state, events, n)
    return n


@called
def _look_back(state: State, events, n, instrument):
    """Halt an instrument whose last trade is too far from the price in force a while ago."""
    venue = state.venue[0]
    if venue["last_trade_number"] == venue["looked_trade_number"]:
        return n
    venue["looked_trade_number"] = venue["last_trade_number"]
    row = state.instruments[instrument - 1]
    second = venue["now_ns"] // SECOND_NS
    in_force_e4 = price_in_force(state, instrument, second - np.int64(row["volatility_window_s"]))
    price_e4 = row["last_trade_e4"]
    remember(state, instrument, second, price_e4)
    if row["phase"] != Phase.CONTINUOUS:
        return n
    if abs(price_e4 - in_force_e4) * BPS_MAX <= in_force_e4 * (np.int64(row["volatility"]) - 1):
        return n
    return halt(state, events, n, instrument, venue["now_ns"] + row["volatility_halt_ns"], Reason.VOLATILITY)


@called
def _look_at_indices(state: State, events, n):
    """Halt or close the market where an index has fallen to a level that it had not reached on this trading day."""
    venue = state.venue[0]
    if venue["last_trade_number"] == venue["weighed_trade_number"]:
        return n
    venue["weighed_trade_number"] = venue["last_trade_number"]
    for index in range(1, venue["indices"] + 1):
        row = state.indices[index - 1]
        fallen_e4 = (row["opening_e4"] - index_value(state, index)) * BPS_MAX
        reached, halt_ns = np.int64(0), np.int64(0)
        if fallen_e4 >= row["opening_e4"] * row["level_1_bps"]:
            reached, halt_ns = np.int64(1), row["level_1_ns"]
        if row["level_2_bps"] != 0 and fallen_e4 >= row["opening_e4"] * row["level_2_bps"]:
            reached, halt_ns = np.int64(2), row["level_2_ns"]
        if row["level_3_bps"] != 0 and fallen_e4 >= row["opening_e4"] * row["level_3_bps"]:
            reached, halt_ns = np.int64(3), row["level_3_ns"]
        if reached > row["reached"]:
            row["reached"] = reached
            n = _stop_market(state, events, n, halt_ns)
    return n


@called
def _stop_market(state: State, events, n, halt_ns):
    """Every instrument that is not closed is halted, or with 0 closed without an uncross."""
    for instrument in range(1, state.venue[0]["instruments"] + 1):
        if state.instruments[instrument - 1]["phase"] == Phase.CLOSED:
            continue
        if halt_ns != 0:
            due_ns = state.venue[0]["now_ns"] + halt_ns
            n = halt(state, events, n, instrument, due_ns, Reason.MARKET_WIDE)
            continue
        set_phase(state, instrument, Phase.CLOSED, np.int64(0))
        n = emit_phase(state, events, n, instrument, Phase.CLOSED)
        n = cancel_gathered(state, events, n, gather_day_orders_of(state, instrument), Reason.END_OF_DAY)
        n = unprice(state, events, n, instrument)
    return n
