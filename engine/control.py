"""The clock, and mass cancels."""

from typing import Final

import numpy as np

from engine.calls import cancel_listed
from engine.definitions import find_instrument, find_participant, no_codes, unused
from engine.emit import emit_rejected
from engine.index import forget_ids
from engine.jit import called
from engine.limits import DAY_NS, TIME_NS_MAX
from engine.phases import meet_timers
from engine.records import Reason
from engine.state import State
from engine.sweep import gather_day_orders, gather_of_participant, sort_slots

_INVALID_COMMAND: Final = int(Reason.INVALID_COMMAND)
_UNKNOWN_PARTICIPANT: Final = int(Reason.UNKNOWN_PARTICIPANT)
_UNKNOWN_INSTRUMENT: Final = int(Reason.UNKNOWN_INSTRUMENT)
_MASS_CANCEL: Final = int(Reason.MASS_CANCEL)
_DISCONNECT: Final = int(Reason.DISCONNECT)
_END_OF_DAY: Final = int(Reason.END_OF_DAY)


@called
def clock(state: State, command, events, n):
    """The clock has a new value. A new trading day first ends the day orders and frees ids; then timers are met."""
    venue = state.venue[0]
    time_ns = command["time_ns"]
    if not unused(command, 1, 1, 1, 1, 1) or time_ns < venue["now_ns"] or time_ns > TIME_NS_MAX:
        return emit_rejected(state, events, n, time_ns, 0, 0, _INVALID_COMMAND)
    venue["now_ns"] = time_ns
    day = time_ns // DAY_NS
    if day != venue["trading_day"]:
        n = _end_day_orders(state, events, n)
        venue["trading_day"] = day
        forget_ids(state)
    return meet_timers(state, events, n)


@called
def _end_day_orders(state: State, events, n):
    """Every order good for the day is canceled, in order of acceptance (rulebook section 13, 27)."""
    count = gather_day_orders(state)
    sort_slots(state, count, 0)
    return cancel_listed(state, events, n, 0, count, _END_OF_DAY)


@called
def clock_jump(state: State, command, events, n):
    """The machine's clock was found elsewhere: for the record, any two numbers."""
    if not no_codes(command, 1) or (command["price_e4"] | command["qty"] | command["min_qty"]) != 0:
        return emit_rejected(state, events, n, command["time_ns"], 0, 0, _INVALID_COMMAND)
    if command["display_qty"] != 0:
        return emit_rejected(state, events, n, command["time_ns"], 0, 0, _INVALID_COMMAND)
    return n


@called
def mass_cancel(state: State, command, events, n):
    """``mass_cancel NAME [symbol=] [side=] [reason=disconnect]``."""
    name = command["name"]
    symbol = command["symbol"]
    side = np.int64(command["side"])
    reason = np.int64(command["reason"])
    if (
        not unused(command, 0, 1, 1, 1, 0)
        or np.int64(command["instructions"]) != 0
        or side < -1
        or side > 1
        or reason not in (_MASS_CANCEL, _DISCONNECT)
    ):
        return emit_rejected(state, events, n, name, 0, 0, _INVALID_COMMAND)
    participant = find_participant(state, name)
    if participant == 0:
        return emit_rejected(state, events, n, name, 0, 0, _UNKNOWN_PARTICIPANT)
    instrument = find_instrument(state, symbol) if symbol != 0 else 0
    if symbol != 0 and instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, _UNKNOWN_INSTRUMENT)
    count = gather_of_participant(state, participant, instrument, side)
    sort_slots(state, count, 0)
    return cancel_listed(state, events, n, 0, count, reason)
