"""Schedules: phases that instruments take by the journaled clock, each once (rulebook sections 10 and 12).

Those that wait are rows of ``schedules`` in order of their time, of one time in the order in which they were given. A
clock value meets them, and the ends of halts, time by time; at one time instrument by instrument, in order of
definition.
"""

from typing import Final

import numpy as np

from engine.bounds import SCHEDULES_MAX, SCHEDULES_OF_ALL_MAX, TIME_NS_MAX
from engine.definitions import find_instrument
from engine.events import emit_rejected
from engine.halts import end_timer
from engine.jit import called
from engine.names import EVERY
from engine.phases import change_phase, take_phase
from engine.records import Phase, Reason
from engine.room import may_begin
from engine.state import State
from engine.timers import due_instrument

#: Steps of an instrument at one time: its timer, and schedules.
_STEPS: Final = np.int64(SCHEDULES_MAX + 1)


@called
def schedule_command(state: State, command, events, n):
    """``schedule SYM|* TIME PHASE``: it waits for the first clock value at or after its time."""
    symbol, due_ns, phase = command["name"], command["due_ns"], np.int64(command["phase"])
    if phase < Phase.CLOSED or phase > Phase.CLOSING_AUCTION or due_ns < 0 or due_ns > TIME_NS_MAX:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.INVALID_COMMAND)
    instrument = np.int64(0)
    if symbol != EVERY:
        instrument = np.int64(find_instrument(state, symbol))
        if instrument == 0:
            return emit_rejected(state, events, n, symbol, 0, 0, Reason.UNKNOWN_INSTRUMENT)
    if phase == Phase.HALTED:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.INVALID_COMMAND)
    venue = state.venue[0]
    of_all = np.int64(symbol == EVERY)
    if venue["schedules"] >= SCHEDULES_MAX or (of_all and venue["schedules_of_all"] >= SCHEDULES_OF_ALL_MAX):
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.CAPACITY)
    _add(state, due_ns, instrument, phase)
    return n


@called
def _add(state: State, due_ns, instrument, phase):
    """Put a row behind those that are not later."""
    venue = state.venue[0]
    at = venue["schedules"]
    venue["schedules"] = at + 1
    venue["schedules_of_all"] += np.int64(instrument == 0)
    venue["phase_changes"] += np.int64(1) if instrument != 0 else venue["instruments"]
    for _ in range(SCHEDULES_MAX):
        if at == 0 or state.schedules[at - 1]["due_ns"] <= due_ns:
            break
        _copy(state.schedules[at - 1], state.schedules[at])
        at -= 1
    row = state.schedules[at]
    row["due_ns"] = due_ns
    row["instrument"] = instrument
    row["phase"] = phase


@called
def _copy(source, target):
    target["due_ns"] = source["due_ns"]
    target["instrument"] = np.int64(source["instrument"])
    target["phase"] = np.int64(source["phase"])


@called
def _drop_first(state: State, count):
    """Remove the first rows; the rest moves up, and what it leaves is zero."""
    venue = state.venue[0]
    left = venue["schedules"] - count
    for at in range(count):
        of_all = np.int64(np.int64(state.schedules[at]["instrument"]) == 0)
        venue["schedules_of_all"] -= of_all
        venue["phase_changes"] -= venue["instruments"] if of_all else np.int64(1)
    for at in range(left):
        _copy(state.schedules[at + count], state.schedules[at])
    for at in range(left, left + count):
        row = state.schedules[at]
        row["due_ns"] = 0
        row["instrument"] = 0
        row["phase"] = 0
    venue["schedules"] = left


@called
def earliest(state: State):
    """The earliest time at which a halt ends or a schedule waits that the clock in force meets; -1 for none."""
    venue = state.venue[0]
    due_ns = np.int64(-1)
    instrument = due_instrument(state)
    if instrument != 0:
        due_ns = state.instruments[instrument - 1]["due_ns"]
    if venue["schedules"] != 0:
        first_ns = state.schedules[0]["due_ns"]
        if first_ns <= venue["now_ns"] and (due_ns < 0 or first_ns < due_ns):
            due_ns = first_ns
    return due_ns


@called
def run_time(state: State, events, n, due_ns, place):
    """All of one time. What it begins has a later one, so that the rows that wait for this time do not change.

    place: of the part to go on at, 0 for the first. The venue is halfway where the next one has no room.
    """
    venue = state.venue[0]
    count = np.int64(0)
    for at in range(venue["schedules"]):
        if state.schedules[at]["due_ns"] != due_ns:
            break
        count += 1
    if count == 0:
        instrument = due_instrument(state)
        for _ in range(venue["instruments"]):
            if instrument == 0 or state.instruments[instrument - 1]["due_ns"] != due_ns:
                break
            if not may_begin(state, events, n, np.int64(0)):
                return n
            n = end_timer(state, events, n, instrument)
            instrument = due_instrument(state)
        return n
    first, begin = max(place // _STEPS, np.int64(1)), place % _STEPS
    for instrument in range(first, venue["instruments"] + 1):
        for step in range(begin, count + 1):
            if not _is_met(state, instrument, step, due_ns):
                continue
            if not may_begin(state, events, n, _STEPS * instrument + step):
                return n
            if step == 0:
                n = end_timer(state, events, n, instrument)
            else:
                n = _run_schedule(state, events, n, instrument, np.int64(state.schedules[step - 1]["phase"]))
        begin = np.int64(0)
    _drop_first(state, count)
    return n


@called
def _is_met(state: State, instrument, step, due_ns):
    """True if an instrument has something to do in a step of a time: 0 is its timer, any other the schedule before."""
    if step == 0:
        return due_ns != 0 and state.instruments[instrument - 1]["due_ns"] == due_ns
    row = state.schedules[step - 1]
    return np.int64(row["instrument"]) == 0 or np.int64(row["instrument"]) == instrument


@called
def _run_schedule(state: State, events, n, instrument, phase):
    """As the ``phase`` command would; nothing where the instrument is halted by then, unless it is to be closed."""
    if state.instruments[instrument - 1]["phase"] == Phase.HALTED:
        return change_phase(state, events, n, instrument, phase, np.int64(0)) if phase == Phase.CLOSED else n
    return take_phase(state, events, n, instrument, phase)
