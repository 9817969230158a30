"""Kill switches (rulebook section 9): a participant's, everybody's, and the close of the whole market."""

import numpy as np

from engine.consequences import cancel_listed
from engine.definitions import find_participant
from engine.events import emit_killed, emit_phase, emit_rejected
from engine.jit import called
from engine.listing import list_open_orders
from engine.names import EVERY
from engine.phase_row import set_phase
from engine.records import Phase, Reason
from engine.state import State
from engine.sweep import cancel_gathered, gather_of_participant


@called
def kill_command(state: State, command, events, n, killed):
    """``kill NAME|*`` (killed 1) or ``unkill NAME|*`` (0)."""
    name = command["name"]
    if name == EVERY:
        return _set_all(state, events, n, killed)
    participant = find_participant(state, name)
    if participant == 0:
        return emit_rejected(state, events, n, name, 0, 0, Reason.UNKNOWN_PARTICIPANT)
    return _set(state, events, n, participant, killed)


@called
def _set_all(state: State, events, n, killed):
    """Each participant in order of definition, complete with what its cancels cause: others may trade meanwhile."""
    for participant in range(1, state.venue[0]["participants"] + 1):
        n = _set(state, events, n, participant, killed)
    return n


@called
def _set(state: State, events, n, participant, killed):
    state.participants[participant - 1]["killed"] = killed
    n = emit_killed(state, events, n, participant, killed)
    if killed != 0:
        count = gather_of_participant(state, participant, 0, 0)
        n = cancel_listed(state, events, n, 0, count, Reason.KILL)
    return n


@called
def emergency_close(state: State, events, n):
    """``emergency_close``: every instrument closed without an uncross, and all its orders canceled."""
    for instrument in range(1, state.venue[0]["instruments"] + 1):
        set_phase(state, instrument, Phase.CLOSED, np.int64(0))
        n = emit_phase(state, events, n, instrument, Phase.CLOSED)
        n = cancel_gathered(state, events, n, list_open_orders(state, instrument, state.scratch), Reason.KILL)
    return n
