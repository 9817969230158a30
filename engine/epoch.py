"""The epoch: the reign of a primary over the venue begins with an EPOCH row (rulebook section 13, 29)."""

from engine.bounds import EPOCH_MAX
from engine.definitions import is_name
from engine.events import emit_rejected
from engine.jit import called
from engine.records import Reason
from engine.state import State


@called
def epoch_command(state: State, command, events, n):
    """``epoch N node=NAME``: a new primary reigns, under a higher number than any before."""
    venue = state.venue[0]
    epoch = command["epoch"]
    if not is_name(command["name"]) or epoch <= venue["epoch"] or epoch > EPOCH_MAX:
        return emit_rejected(state, events, n, command["name"], 0, 0, Reason.INVALID_COMMAND)
    venue["epoch"] = epoch
    return n
