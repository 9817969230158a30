"""The phase in the row of an instrument, with its timer and what a call keeps."""

from typing import Final

from engine.calls import is_call
from engine.depth import count_depth
from engine.jit import called
from engine.pending import set_pending
from engine.state import Pending, State
from engine.timers import set_timer

_CALL: Final = int(Pending.CALL)


@called
def set_phase(state: State, instrument, phase, due_ns):
    """Write a phase and its timer (0: none). A call begins without an indicative, and its last one ends with it."""
    row = state.instruments[instrument - 1]
    begins = is_call(phase) - is_call(row["phase"])
    if begins != 0:
        state.venue[0]["calls"] += begins
        count_depth(state, instrument, begins > 0)
        set_pending(state, instrument, _CALL, begins > 0)
    row["phase"] = phase
    row["indicative_e4"] = 0
    row["paired_qty"] = 0
    row["imbalance_qty"] = 0
    set_timer(state, instrument, due_ns)
