"""Phases of an instrument: by command, halt and resume, and by clock values that meet a timer (sections 6 and 9)."""

from typing import Final

import numpy as np

from engine.auction import uncross
from engine.calls import is_call, say_indicative
from engine.definitions import find_instrument
from engine.emit import emit_halted, emit_phase, emit_rejected
from engine.jit import called
from engine.limits import CALL_AFTER_HALT_NS, TIME_NS_MAX
from engine.names import EVERY
from engine.records import Phase, Reason
from engine.state import State
from engine.sweep import cancel_gathered, gather_day_orders_of
from engine.timers import due_instrument, set_timer

_CLOSED: Final = int(Phase.CLOSED)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_HALTED: Final = int(Phase.HALTED)
_AUCTION: Final = int(Phase.AUCTION)
_CLOSING_AUCTION: Final = int(Phase.CLOSING_AUCTION)
_INVALID_COMMAND: Final = int(Reason.INVALID_COMMAND)
_UNKNOWN_INSTRUMENT: Final = int(Reason.UNKNOWN_INSTRUMENT)
_REASON_CLOSED: Final = int(Reason.CLOSED)
_NOT_HALTED: Final = int(Reason.NOT_HALTED)
_END_OF_DAY: Final = int(Reason.END_OF_DAY)
_COMMAND: Final = int(Reason.COMMAND)


@called
def set_phase(state: State, instrument, phase, due_ns):
    """Writes a phase and its timer (0: none). A call begins with nothing said, and what was said ends with it."""
    row = state.instruments[instrument - 1]
    state.venue[0]["calls"] += is_call(phase) - is_call(row["phase"])
    row["phase"] = phase
    row["indicative_e4"] = 0
    row["indicative_qty"] = 0
    row["indicative_surplus"] = 0
    set_timer(state, instrument, due_ns)


@called
def _change_phase(state: State, events, n, instrument, phase, due_ns):
    """An instrument goes to another phase, which is not ``halted``: complete with all that this causes."""
    before = state.instruments[instrument - 1]["phase"]
    set_phase(state, instrument, phase, due_ns)
    n = emit_phase(state, events, n, instrument, phase)
    if phase == _CONTINUOUS or (phase == _CLOSED and before == _CLOSING_AUCTION):
        n = uncross(state, events, n, instrument)
    if phase == _CLOSED:
        n = cancel_gathered(state, events, n, gather_day_orders_of(state, instrument), _END_OF_DAY)
    return say_indicative(state, events, n, instrument)


@called
def phase_command(state: State, command, events, n):
    """``phase SYM|* PHASE``."""
    symbol = command["name"]
    phase = np.int64(command["phase"])
    if phase < _CLOSED or phase > _CLOSING_AUCTION:
        return emit_rejected(state, events, n, symbol, 0, 0, _INVALID_COMMAND)
    if symbol == EVERY:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            n = _phase(state, events, n, instrument, phase)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, _UNKNOWN_INSTRUMENT)
    return _phase(state, events, n, instrument, phase)


@called
def _phase(state: State, events, n, instrument, phase):
    row = state.instruments[instrument - 1]
    if phase == _HALTED:
        return emit_rejected(state, events, n, row["symbol"], 0, 0, _INVALID_COMMAND)
    if row["phase"] == phase:
        return emit_phase(state, events, n, instrument, phase)
    return _change_phase(state, events, n, instrument, phase, np.int64(0))


@called
def halt_command(state: State, command, events, n):
    """``halt SYM|* [for=5m]``, without a duration until it is resumed."""
    symbol = command["name"]
    duration_ns = command["duration_ns"]
    now_ns = state.venue[0]["now_ns"]
    if duration_ns < 0 or duration_ns > TIME_NS_MAX - now_ns:
        return emit_rejected(state, events, n, symbol, 0, 0, _INVALID_COMMAND)
    due_ns = now_ns + duration_ns if duration_ns != 0 else np.int64(0)
    if symbol == EVERY:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            if state.instruments[instrument - 1]["phase"] != _CLOSED:
                n = _halt(state, events, n, instrument, due_ns)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, _UNKNOWN_INSTRUMENT)
    if state.instruments[instrument - 1]["phase"] == _CLOSED:
        return emit_rejected(state, events, n, symbol, 0, 0, _REASON_CLOSED)
    return _halt(state, events, n, instrument, due_ns)


@called
def _halt(state: State, events, n, instrument, due_ns):
    """Of two ends the later one counts, and none is the latest."""
    row = state.instruments[instrument - 1]
    if row["phase"] == _HALTED and due_ns != 0:
        due_ns = max(due_ns, row["due_ns"]) if row["due_ns"] != 0 else np.int64(0)
    set_phase(state, instrument, _HALTED, due_ns)
    return emit_halted(state, events, n, instrument, _COMMAND, _HALTED)


@called
def resume_command(state: State, command, events, n):
    """``resume SYM|*``: what the end of the halt would do, at once."""
    symbol = command["name"]
    if symbol == EVERY:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            if state.instruments[instrument - 1]["phase"] == _HALTED:
                n = _end_halt(state, events, n, instrument)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, _UNKNOWN_INSTRUMENT)
    if state.instruments[instrument - 1]["phase"] != _HALTED:
        return emit_rejected(state, events, n, symbol, 0, 0, _NOT_HALTED)
    return _end_halt(state, events, n, instrument)


@called
def _end_halt(state: State, events, n, instrument):
    """After a halt there is a call, which ends by the clock."""
    return _change_phase(state, events, n, instrument, _AUCTION, state.venue[0]["now_ns"] + CALL_AFTER_HALT_NS)


@called
def meet_timers(state: State, events, n):
    """Ends the halts that are due at the clock in force, and the calls after them."""
    # What begins now ends later, so that no instrument is due twice.
    for _ in range(state.venue[0]["instruments"]):
        instrument = due_instrument(state)
        if instrument == 0:
            break
        if state.instruments[instrument - 1]["phase"] == _HALTED:
            n = _end_halt(state, events, n, instrument)
        else:
            n = _change_phase(state, events, n, instrument, _CONTINUOUS, np.int64(0))
    return n
