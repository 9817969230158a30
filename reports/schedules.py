"""Schedules that wait, as the fold follows them: they tell a close by a schedule from one by a breaker.

Within a clock value a command that waited may trade, and then its instrument may close: by a market-wide breaker, which
looked at the trade, or by a schedule that is due behind the command (rulebook section 10). The events are the same. A
close by a schedule that is due then always has its event, and a breaker passes over what is closed. So the number of
closes up to the next command that waited says whether a breaker had a part in them.

What a schedule does to a halted instrument has no event unless it closes. A breaker closes a halted instrument too, and
then the schedules that are due before its close by a schedule have theirs, from the first one on.
"""

import numpy as np

from engine.jit import called, inlined, rare
from engine.records import EventKind, Phase
from reports.tables import ReportTables
from reports.waiting import is_answer, next_waiting, under_way


@called
def add_schedule(tables: ReportTables, due_ns, instrument, phase):
    """Put a schedule behind those that are not later. instrument: 0 for each. With no place left it is not known."""
    venue, rows = tables.venue[0], tables.schedules
    at = venue["schedules"]
    if at == len(rows):
        return
    venue["schedules"] = at + 1
    for place in range(at, 0, -1):
        before, row = rows[place - 1], rows[place]
        if before["due_ns"] <= due_ns:
            break
        row["due_ns"], row["instrument"], row["phase"] = before["due_ns"], before["instrument"], before["phase"]
        at = place - 1
    row = rows[at]
    row["due_ns"], row["instrument"], row["phase"] = due_ns, instrument, phase


@called
def drop_met(tables: ReportTables):
    """Drop those that the clock in force has met."""
    venue, rows = tables.venue[0], tables.schedules
    waiting = venue["schedules"]
    met = np.int64(0)
    while met < waiting and rows[met]["due_ns"] <= venue["now_ns"]:
        met += 1
    if met == 0:
        return
    for place in range(waiting):
        row = rows[place]
        row["due_ns"], row["instrument"], row["phase"] = np.int64(0), np.int64(0), np.int64(0)
        if place + met < waiting:
            later = rows[place + met]
            row["due_ns"], row["instrument"], row["phase"] = later["due_ns"], later["instrument"], later["phase"]
    venue["schedules"] = waiting - met


@inlined
def _changes(event, instrument):
    """True if an event is the phase that an instrument takes."""
    kind = np.int64(event["kind"])
    return (kind == EventKind.PHASE or kind == EventKind.HALTED) and np.int64(event["instrument"]) == instrument


@rare
def is_scheduled_close(tables: ReportTables, events, n, m):
    """True if event m, a close within the effect of a command that waited and traded, is a schedule's.

    n: the event up to which the tables are. The effect is that which is under way.
    """
    venue = tables.venue[0]
    place = under_way(tables.waiting_numbers)
    if venue["clock_moves"] == 0 or venue["schedules"] == 0 or place < 0:
        return False
    instrument = np.int64(events[m]["instrument"])
    phase = tables.instruments[min(instrument, np.int64(len(tables.instruments) - 1))]["phase"]
    for at in range(n, m):
        if _changes(events[at], instrument):
            phase = np.int64(events[at]["phase"])
    after_ns, until_ns = tables.waiting_due[place], venue["now_ns"]
    following = next_waiting(tables.waiting_numbers)
    if following >= 0:
        until_ns = min(until_ns, tables.waiting_due[following])
    closes, passed = np.int64(0), np.int64(0)  # passed: phase of the first that a halt keeps from its effect
    for at in range(venue["schedules"]):
        row = tables.schedules[at]
        if row["due_ns"] > until_ns:
            break
        if row["due_ns"] <= after_ns or (row["instrument"] != 0 and row["instrument"] != instrument):
            continue
        if row["phase"] == Phase.CLOSED:
            closes += 1
        elif closes == 0:
            if phase != Phase.HALTED:  # it comes before, and has an event
                return False
            if passed == 0:
                passed = row["phase"]
        elif passed == 0:
            break
    if closes == 0 or phase == Phase.CLOSED:
        return closes != 0
    return _are_no_more_closes(events, m, closes, passed)


@called
def _are_no_more_closes(events, m, closes, passed):
    """True if so many schedules, of which event m is the first, can have brought the closes of its instrument.

    passed: phase of the schedule that has an event next if event m is a breaker's, although the instrument was halted;
    0: it was not, or it closes. Then the closes are counted up to another phase, else all of them.
    """
    instrument, seq = np.int64(events[m]["instrument"]), events[m]["seq"]
    closes -= 1
    is_next = True
    for at in range(m + 1, len(events)):
        event = events[at]
        if event["seq"] != seq or is_answer(event):
            break
        if not _changes(event, instrument):
            continue
        phase = np.int64(event["phase"])
        if passed != 0 and is_next and phase != passed:
            return True
        is_next = False
        if phase == Phase.CLOSED:
            closes -= 1
        elif passed == 0:
            break
    return closes >= 0
