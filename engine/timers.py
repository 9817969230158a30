"""Timers: the instruments whose halt, or whose call after a halt, ends by the clock, as a chain in order of that time.

Those of the same time stand in order of definition, which is the order in which a clock value meets them (rulebook
section 10). An instrument has one timer at most: ``due_ns`` of its row. A command for all of them sets one after the
other to the same time, so the place of a new one is mostly behind its neighbour; else it is looked for from both ends.
"""

import numpy as np

from engine.jit import called
from engine.state import State


@called
def set_timer(state: State, instrument, due_ns):
    """Set the timer of an instrument in place of its last one; 0: none."""
    row = state.instruments[instrument - 1]
    if row["due_ns"] != 0:
        _take_out(state, instrument)
    row["due_ns"] = due_ns
    if due_ns != 0:
        _put_in(state, instrument)


@called
def _take_out(state: State, instrument):
    row = state.instruments[instrument - 1]
    before, after = row["timer_before"], row["timer_after"]
    if before != 0:
        state.instruments[before - 1]["timer_after"] = after
    else:
        state.venue[0]["timers_first"] = after
    if after != 0:
        state.instruments[after - 1]["timer_before"] = before
    else:
        state.venue[0]["timers_last"] = before
    row["timer_before"] = 0
    row["timer_after"] = 0


@called
def _put_in(state: State, instrument):
    row = state.instruments[instrument - 1]
    before, after = _place(state, instrument, row["due_ns"])
    row["timer_before"] = before
    row["timer_after"] = after
    if before != 0:
        state.instruments[before - 1]["timer_after"] = instrument
    else:
        state.venue[0]["timers_first"] = instrument
    if after != 0:
        state.instruments[after - 1]["timer_before"] = instrument
    else:
        state.venue[0]["timers_last"] = instrument


@called
def _place(state: State, instrument, due_ns):
    """The two instruments between which a new timer stands, 0 for none."""
    venue = state.venue[0]
    if instrument > 1 and state.instruments[instrument - 2]["due_ns"] == due_ns:  # one command for all of them
        return np.int64(instrument - 1), np.int64(state.instruments[instrument - 2]["timer_after"])
    first, last = np.int64(venue["timers_first"]), np.int64(venue["timers_last"])
    for _ in range(venue["instruments"]):
        if last == 0 or _is_before(state, last, instrument, due_ns):
            break
        if not _is_before(state, first, instrument, due_ns):
            return np.int64(state.instruments[first - 1]["timer_before"]), first
        last = np.int64(state.instruments[last - 1]["timer_before"])
        first = np.int64(state.instruments[first - 1]["timer_after"])
    return last, np.int64(state.instruments[last - 1]["timer_after"] if last != 0 else venue["timers_first"])


@called
def _is_before(state: State, other, instrument, due_ns):
    """True if the timer of another instrument comes before one of this instrument at ``due_ns``."""
    other_ns = state.instruments[other - 1]["due_ns"]
    return other_ns < due_ns or (other_ns == due_ns and other < instrument)


@called
def due_instrument(state: State):
    """The instrument whose timer the clock in force meets first, or 0."""
    first = state.venue[0]["timers_first"]
    if first == 0 or state.instruments[first - 1]["due_ns"] > state.venue[0]["now_ns"]:
        return 0
    return first
