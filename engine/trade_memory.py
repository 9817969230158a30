"""Trade prices of the last seconds, for the volatility breaker (rulebook section 9).

An instrument with a breaker remembers the last trade of each second in which there was one, as far back as its breaker
looks: a ring, oldest first. Before the oldest the base is in force: the price of the last uncross that traded, before
any the price the instrument was defined with.
"""

from typing import Final

import numpy as np

from engine.bounds import MEMORY_SECONDS
from engine.jit import called, rare
from engine.state import State

_RING: Final = MEMORY_SECONDS - 1


@rare
def begin_memory(state: State, instrument, price_e4):
    """An uncross has traded: the volatility breaker forgets what was before, and does not look at it."""
    row = state.instruments[instrument - 1]
    if row["volatility"] != 0:
        row["memory_count"] = 0
        row["memory_base_e4"] = price_e4
    state.venue[0]["looked_trade_number"] = state.venue[0]["last_trade_number"]


@called
def price_in_force(state: State, instrument, second):
    """Price of the last trade up to and including a second. What is older than that trade is forgotten."""
    row = state.instruments[instrument - 1]
    start = (instrument - 1) * MEMORY_SECONDS
    first, count = np.int64(row["memory_first"]), np.int64(row["memory_count"])
    for _ in range(MEMORY_SECONDS):
        if count < 2 or state.trade_seconds[start + ((first + 1) & _RING)]["second"] > second:
            break
        first = (first + 1) & _RING
        count -= 1
    row["memory_first"] = first
    row["memory_count"] = count
    if count == 0 or state.trade_seconds[start + first]["second"] > second:
        return row["memory_base_e4"]
    return state.trade_seconds[start + first]["price_e4"]


@called
def remember(state: State, instrument, second, price_e4):
    """Write the last trade of a second, which is the newest of all."""
    row = state.instruments[instrument - 1]
    start = (instrument - 1) * MEMORY_SECONDS
    first, count = np.int64(row["memory_first"]), np.int64(row["memory_count"])
    newest = state.trade_seconds[start + ((first + count - 1) & _RING)]
    if count == 0 or newest["second"] != second:
        newest = state.trade_seconds[start + ((first + count) & _RING)]
        newest["second"] = second
        row["memory_count"] = count + 1
    newest["price_e4"] = price_e4
