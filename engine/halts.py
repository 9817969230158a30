"""Halts: by command, with an end or without, and the call that follows them (sections 9 and 13, 24)."""

import numpy as np

from engine.bounds import CALL_AFTER_HALT_NS, TIME_NS_MAX
from engine.definitions import find_instrument
from engine.events import emit_rejected
from engine.halting import halt
from engine.jit import called
from engine.names import EVERY
from engine.phases import change_phase
from engine.records import Phase, Reason
from engine.state import State


@called
def halt_command(state: State, command, events, n):
    """``halt SYM|* [for=5m]``, without a duration until it is resumed."""
    symbol = command["name"]
    duration_ns = command["duration_ns"]
    now_ns = state.venue[0]["now_ns"]
    if duration_ns < 0 or duration_ns > TIME_NS_MAX - now_ns:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.INVALID_COMMAND)
    due_ns = now_ns + duration_ns if duration_ns != 0 else np.int64(0)
    if symbol == EVERY:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            if state.instruments[instrument - 1]["phase"] != Phase.CLOSED:
                n = halt(state, events, n, instrument, due_ns, Reason.COMMAND)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.UNKNOWN_INSTRUMENT)
    if state.instruments[instrument - 1]["phase"] == Phase.CLOSED:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.CLOSED)
    return halt(state, events, n, instrument, due_ns, Reason.COMMAND)


@called
def resume_command(state: State, command, events, n):
    """``resume SYM|*``: what the end of the halt would do, at once."""
    symbol = command["name"]
    if symbol == EVERY:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            if state.instruments[instrument - 1]["phase"] == Phase.HALTED:
                n = _begin_call(state, events, n, instrument)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.UNKNOWN_INSTRUMENT)
    if state.instruments[instrument - 1]["phase"] != Phase.HALTED:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.NOT_HALTED)
    return _begin_call(state, events, n, instrument)


@called
def _begin_call(state: State, events, n, instrument):
    """After a halt there is a call, which ends by the clock."""
    return change_phase(state, events, n, instrument, Phase.AUCTION, state.venue[0]["now_ns"] + CALL_AFTER_HALT_NS)


@called
def end_timer(state: State, events, n, instrument):
    """The clock in force ends the halt of an instrument, or the call after it."""
    if state.instruments[instrument - 1]["phase"] == Phase.HALTED:
        return _begin_call(state, events, n, instrument)
    return change_phase(state, events, n, instrument, Phase.CONTINUOUS, np.int64(0))
