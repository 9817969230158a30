"""Room for events, part by part of a command that is many.

A clock value, and a ``phase`` of ``*``, are many commands, each complete with its consequences. The kernel stops before
a part whose events might have no room, and goes on with it in the next call (``apply.py``): the venue is *halfway*.
Until then only, ``halfway`` says where it goes on.
"""

from typing import Final

import numpy as np

from engine.capacity import events_max
from engine.jit import called, inlined
from engine.state import State

#: Values of ``halfway``: no command is under way; a command that waited for its effect is to run next. Any other is the
#: place of the part for whose events there was no room, behind ``_PLACES``.
THROUGH: Final = 0
NEXT_WAITED: Final = 1
_PLACES: Final = 2

_events_max = inlined(events_max)


@called
def may_begin(state: State, events, n, place):
    """True where a part begins: its events have room, and pegs as many prices as in a command of its own.

    Else the venue is halfway, to go on there. place: what the command finds its part by, 0 or more.
    """
    venue = state.venue[0]
    most = _events_max(
        venue["orders_open"], venue["slices"], venue["phase_changes"], venue["participants"], venue["pegs"]
    )
    if n + most > len(events):
        venue["halfway"] = _PLACES + place
        return False
    venue["peg_seq"] = 0
    return True


@called
def take_place(state: State):
    """The place at which a command goes on, 0 where it begins. The venue is through, until a part has no room."""
    venue = state.venue[0]
    place = venue["halfway"] - _PLACES if venue["halfway"] >= _PLACES else np.int64(0)
    venue["halfway"] = THROUGH
    return place
