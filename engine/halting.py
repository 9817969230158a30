"""An instrument is halted, by whatever reason (rulebook section 9)."""

import numpy as np

from engine.events import emit_halted
from engine.jit import called
from engine.listing import list_open_orders
from engine.peg_run import unprice
from engine.phase_row import set_phase
from engine.records import Phase, Reason
from engine.state import State
from engine.sweep import cancel_gathered


@called
def halt(state: State, events, n, instrument, due_ns, reason):
    """Halt until a time (0: until it is resumed). Of two ends the later one counts, and none is the latest."""
    row = state.instruments[instrument - 1]
    if row["phase"] == Phase.HALTED and due_ns != 0:
        due_ns = max(due_ns, row["due_ns"]) if row["due_ns"] != 0 else np.int64(0)
    set_phase(state, instrument, Phase.HALTED, due_ns)
    n = emit_halted(state, events, n, instrument, reason, Phase.HALTED)
    if row["cancel_on_halt"] != 0:
        n = cancel_gathered(state, events, n, list_open_orders(state, instrument, state.scratch), Reason.HALT)
    return unprice(state, events, n, instrument)
