"""Phases of an instrument: by command, halt and resume, and by clock values that meet a timer (sections 6 and 9)."""

import numpy as np

from engine.closing import take_in
from engine.consequences import consequences
from engine.definitions import find_instrument
from engine.events import emit_phase, emit_rejected
from engine.jit import called
from engine.names import EVERY
from engine.phase_row import set_phase
from engine.records import Phase, Reason
from engine.room import may_begin, take_place
from engine.state import State
from engine.sweep import cancel_gathered, gather_day_orders_of
from engine.uncross import price_of_uncross, uncross


@called
def change_phase(state: State, events, n, instrument, phase, due_ns):
    """An instrument goes to another phase, which is not ``halted``: complete with all that this causes."""
    before = state.instruments[instrument - 1]["phase"]
    uncrosses = phase == Phase.CONTINUOUS or (phase == Phase.CLOSED and before == Phase.CLOSING_AUCTION)
    tick = price_of_uncross(state, instrument) if uncrosses else np.int64(0)
    set_phase(state, instrument, phase, due_ns)
    if phase == Phase.CLOSING_AUCTION:
        take_in(state, instrument)
    n = emit_phase(state, events, n, instrument, phase)
    if uncrosses:
        n = uncross(state, events, n, instrument, tick)
    if phase == Phase.CLOSED:
        n = cancel_gathered(state, events, n, gather_day_orders_of(state, instrument), Reason.END_OF_DAY)
    return consequences(state, events, n, instrument)


@called
def phase_command(state: State, command, events, n):
    """``phase SYM|* PHASE``."""
    symbol = command["name"]
    phase = np.int64(command["phase"])
    if phase < Phase.CLOSED or phase > Phase.CLOSING_AUCTION:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.INVALID_COMMAND)
    if symbol == EVERY:
        for instrument in range(max(take_place(state), 1), state.venue[0]["instruments"] + 1):
            if not may_begin(state, events, n, np.int64(instrument)):
                break
            n = take_phase(state, events, n, instrument, phase)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.UNKNOWN_INSTRUMENT)
    return take_phase(state, events, n, instrument, phase)


@called
def take_phase(state: State, events, n, instrument, phase):
    """The ``phase`` command of one instrument; to the present phase it is answered and changes nothing."""
    row = state.instruments[instrument - 1]
    if phase == Phase.HALTED:
        return emit_rejected(state, events, n, row["symbol"], 0, 0, Reason.INVALID_COMMAND)
    if row["phase"] == phase:
        return emit_phase(state, events, n, instrument, phase)
    return change_phase(state, events, n, instrument, phase, np.int64(0))
