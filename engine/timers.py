"""Timers: the instruments whose halt, or whose call after a halt, ends by the clock, as a chain in order of that time.

Those of the same time stand in order of definition, which is the order in which a clock value meets them (rulebook
section 10). An instrument has one timer at most: ``due_ns`` of its row. New ones are mostly the latest of all, so
their place is looked for from the end of the chain.
"""

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
    after = 0
    before = state.venue[0]["timers_last"]
    for _ in range(state.venue[0]["instruments"]):
        if before == 0:
            break
        other = state.instruments[before - 1]
        if other["due_ns"] < row["due_ns"] or (other["due_ns"] == row["due_ns"] and before < instrument):
            break
        after = before
        before = other["timer_before"]
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
def due_instrument(state: State):
    """The instrument whose timer the clock in force meets first, or 0."""
    first = state.venue[0]["timers_first"]
    if first == 0 or state.instruments[first - 1]["due_ns"] > state.venue[0]["now_ns"]:
        return 0
    return first
