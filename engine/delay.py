"""The entry delay of a venue: commands that wait for their effect, and the ``venue`` command (rulebook section 10).

While there is a delay, an enter, cancel or replace joins the rows of ``waiting`` and causes nothing. The delay cannot
change meanwhile, so that what came first is due first, and the rows are a ring. A clock value runs those that are due
as if they came then (``apply.py``); until all of them have run, the venue is *halfway* through it.
"""

from typing import Final

import numpy as np

from engine.bounds import DAY_NS, MINUTE_NS, SPEED_BUMP_NS_MAX
from engine.events import emit_cancel_rejected, emit_rejected
from engine.jit import called, inlined, rare, word_of
from engine.limit_command import forget_continuation
from engine.names import pack
from engine.records import COMMAND, CommandKind, Reason, VenueSetting
from engine.state import DELAYED, State

_VENUE_NAME: Final = pack("venue")
_SETTINGS: Final = int(~VenueSetting(0))
_SPEED_BUMP: Final = int(VenueSetting.SPEED_BUMP)
_DAY_START: Final = int(VenueSetting.DAY_START)
_ROW_WORDS: Final = COMMAND.itemsize // 8


@inlined
def trading_day_of(time_ns, day_start_ns):
    """Days since 1970-01-01 of the trading day that a time is in."""
    return (time_ns - day_start_ns) // DAY_NS


@called
def venue_command(state: State, command, events, n):
    """``venue [speed_bump=] [day_start=]``; what it does not name stays."""
    venue = state.venue[0]
    settings = np.int64(command["settings"])
    bump_ns, start_ns = command["speed_bump_ns"], command["day_start_ns"]
    if (
        venue["waiting"] != 0
        or settings & ~_SETTINGS
        or bump_ns < 0
        or bump_ns > (SPEED_BUMP_NS_MAX if settings & _SPEED_BUMP else 0)
        or start_ns < 0
        or start_ns >= (DAY_NS if settings & _DAY_START else 1)
        or start_ns % MINUTE_NS != 0
    ):
        return emit_rejected(state, events, n, _VENUE_NAME, 0, 0, Reason.INVALID_COMMAND)
    if settings & _SPEED_BUMP:
        venue["speed_bump_ns"] = bump_ns
        venue["special"] = (venue["special"] & ~DELAYED) | (DELAYED if bump_ns != 0 else 0)
    if settings & _DAY_START:
        venue["day_start_ns"] = start_ns
        # The day goes on under the date that it has by now: only a clock value ends one.
        venue["trading_day"] = trading_day_of(venue["now_ns"], start_ns)
    return n


@rare
def wait_for_effect(state: State, command, events, n):
    """An enter, cancel or replace waits; where no room is left it is refused at once."""
    venue = state.venue[0]
    forget_continuation(venue)
    count = venue["waiting"]
    if count >= len(state.waits):
        return _refuse(state, command, events, n)
    place = (venue["waiting_first"] + count) & (len(state.waits) - 1)
    for word in range(_ROW_WORDS):
        state.waiting_words[_ROW_WORDS * place + word] = word_of(command, word)
    state.waits[place]["seq"] = venue["seq"]
    state.waits[place]["due_ns"] = venue["now_ns"] + venue["speed_bump_ns"]
    venue["waiting"] = count + 1
    return n


@called
def _refuse(state: State, command, events, n):
    venue = state.venue[0]
    kind = np.int64(command["kind"])
    participant, instrument = np.int64(command["participant"]), np.int64(command["instrument"])
    if kind == CommandKind.CANCEL:
        return emit_cancel_rejected(state, events, n, command["client_order_id"], participant, Reason.CAPACITY)
    if participant > venue["participants"]:
        participant = np.int64(0)
    if kind == CommandKind.REPLACE:
        return emit_rejected(state, events, n, command["new_client_order_id"], participant, 0, Reason.CAPACITY)
    if instrument > venue["instruments"]:
        instrument = np.int64(0)
    return emit_rejected(state, events, n, command["client_order_id"], participant, instrument, Reason.CAPACITY)


@called
def delayed_due(state: State):
    """When the first command that waits is due, if the clock in force meets it; else -1."""
    venue = state.venue[0]
    if venue["waiting"] == 0:
        return np.int64(-1)
    due_ns = state.waits[venue["waiting_first"]]["due_ns"]
    return due_ns if due_ns <= venue["now_ns"] else np.int64(-1)


@called
def drop_first_waiting(state: State):
    """The command that was due first has had its effect; what it leaves is zero."""
    venue = state.venue[0]
    place = venue["waiting_first"]
    for word in range(_ROW_WORDS):
        state.waiting_words[_ROW_WORDS * place + word] = 0
    state.waits[place]["seq"] = 0
    state.waits[place]["due_ns"] = 0
    venue["waiting_first"] = (place + 1) & (len(state.waits) - 1)
    venue["waiting"] -= 1
    if venue["waiting"] == 0:
        venue["waiting_first"] = 0
