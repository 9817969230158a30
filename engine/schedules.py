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
#: Bits of the phase in a row whose time has come; above them is its place, below its instrument in the order of turns.
_PHASE_BITS: Final = 8
_PHASE: Final = 255
_TURN_BITS: Final = 32


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
def _place_of(state: State, at):
    """Place that a row had among those of its time, before they were put in turn."""
    return np.int64(state.schedules[at]["phase"]) >> _PHASE_BITS


@called
def _turn_of(state: State, at):
    """Key of a row in the order in which those of a time are met."""
    row = state.schedules[at]
    return np.int64(row["instrument"]) << _TURN_BITS | np.int64(row["phase"])


@called
def _exchange(state: State, at, other):
    row, there = state.schedules[at], state.schedules[other]
    instrument, phase = np.int64(row["instrument"]), np.int64(row["phase"])
    row["instrument"], row["phase"] = np.int64(there["instrument"]), np.int64(there["phase"])
    there["instrument"], there["phase"] = instrument, phase


@called
def _sift(state: State, at, count):
    """Let a row sink in the heap of the first ``count`` rows until none below it has a later turn."""
    for _ in range(SCHEDULES_MAX):
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and _turn_of(state, below + 1) > _turn_of(state, below):
            below += 1
        if _turn_of(state, at) >= _turn_of(state, below):
            break
        _exchange(state, at, below)
        at = below


@called
def _put_in_turn(state: State, count):
    """Sort the rows of a time by instrument, those of all before the others; each keeps its place beside its phase.

    They are gone when the command is through, so that nobody else meets such a row.
    """
    in_turn = True
    for at in range(count):
        row = state.schedules[at]
        row["phase"] = np.int64(row["phase"]) | at << _PHASE_BITS
        in_turn &= at == 0 or _turn_of(state, at - 1) < _turn_of(state, at)
    if in_turn:
        return
    for at in range(count // 2 - 1, -1, -1):
        _sift(state, at, count)
    for last in range(count - 1, 0, -1):
        _exchange(state, 0, last)
        _sift(state, 0, last)


@called
def _next_met(state: State, instrument, at, count, due_ns):
    """The first instrument, from one on, with a timer of a time or a row of its own, of which ``at`` is the next."""
    found = np.int64(state.schedules[at]["instrument"]) if at < count else np.int64(0)
    timer = due_instrument(state)
    if timer >= instrument and state.instruments[timer - 1]["due_ns"] == due_ns and (found == 0 or timer < found):
        return timer
    return found


@called
def run_time(state: State, events, n, due_ns, place):
    """All of one time. What it begins has a later one, so that the rows that wait for this time do not change.

    Instruments that have nothing to do then are not looked at. place: of the part to go on at, 0 for the first. The
    venue is halfway where the next one has no room.
    """
    venue = state.venue[0]
    count, of_all = np.int64(0), np.int64(0)
    for at in range(venue["schedules"]):
        if state.schedules[at]["due_ns"] != due_ns:
            break
        count += 1
        of_all += np.int64(np.int64(state.schedules[at]["instrument"]) == 0)
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
    if place == 0:
        _put_in_turn(state, count)
    instrument, begin, at = max(place // _STEPS, np.int64(1)), place % _STEPS, of_all
    for _ in range(venue["instruments"]):
        for _ in range(count):  # those of instruments before
            if at == count or np.int64(state.schedules[at]["instrument"]) >= instrument:
                break
            at += 1
        if of_all == 0:
            instrument = _next_met(state, instrument, at, count, due_ns)
        if instrument == 0 or instrument > venue["instruments"]:
            break
        if begin == 0 and due_ns != 0 and state.instruments[instrument - 1]["due_ns"] == due_ns:
            if not may_begin(state, events, n, _STEPS * instrument):
                return n
            n = end_timer(state, events, n, instrument)
        every = np.int64(0)
        for _ in range(count):
            is_own = at < count and np.int64(state.schedules[at]["instrument"]) == instrument
            if is_own and (every == of_all or _place_of(state, at) < _place_of(state, every)):
                met = at
                at += 1
            elif every < of_all:
                met = every
                every += 1
            else:
                break
            step = _place_of(state, met) + 1
            if step < begin:
                continue
            if not may_begin(state, events, n, _STEPS * instrument + step):
                return n
            phase = np.int64(state.schedules[met]["phase"]) & _PHASE
            n = _run_schedule(state, events, n, instrument, phase)
        begin = np.int64(0)
        instrument += 1
    _drop_first(state, count)
    return n


@called
def _run_schedule(state: State, events, n, instrument, phase):
    """As the ``phase`` command would; nothing where the instrument is halted by then, unless it is to be closed."""
    if state.instruments[instrument - 1]["phase"] == Phase.HALTED:
        return change_phase(state, events, n, instrument, phase, np.int64(0)) if phase == Phase.CLOSED else n
    return take_phase(state, events, n, instrument, phase)
