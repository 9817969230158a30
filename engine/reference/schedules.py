"""Schedules: phases that instruments take by the journaled clock, each once (sections 10 and 12)."""

from engine.bounds import SCHEDULES_MAX, SCHEDULES_OF_ALL_MAX, TIME_NS_MAX
from engine.names import EVERY
from engine.records import Phase, Reason
from engine.reference.consequences import consequences
from engine.reference.events import EventLog
from engine.reference.halts import end_timer
from engine.reference.phases import take_phase
from engine.reference.rows import Row
from engine.reference.state import Instrument
from engine.reference.venue import Dropped, Schedule, Venue


def schedule_command(venue: Venue, row: Row, events: EventLog) -> None:
    """It waits for the first clock value at or after its time."""
    instrument = venue.instrument_by_symbol.get(row.name)
    if not 0 <= row.due_ns <= TIME_NS_MAX:
        events.rejected(row.name, Reason.INVALID_COMMAND)
    elif instrument is None and row.name != EVERY:
        events.rejected(row.name, Reason.UNKNOWN_INSTRUMENT)
    elif row.phase == Phase.HALTED:
        events.rejected(row.name, Reason.INVALID_COMMAND)
    elif len(venue.schedules) >= SCHEDULES_MAX or (instrument is None and _of_all(venue) >= SCHEDULES_OF_ALL_MAX):
        events.rejected(row.name, Reason.CAPACITY)
    else:
        number = 0 if instrument is None else instrument.number
        venue.schedules.append(Schedule(row.due_ns, number, Phase(row.phase)))
        venue.schedules.sort(key=lambda each: each.due_ns)  # those of one time stay in their order


def _of_all(venue: Venue) -> int:
    return sum(each.instrument == 0 for each in venue.schedules)


def run_time(venue: Venue, due_ns: int, events: EventLog) -> None:
    """All of one time: instrument by instrument the end of a halt or of the call after it, then schedules."""
    met = [each for each in venue.schedules if each.due_ns == due_ns]
    venue.schedules = [each for each in venue.schedules if each.due_ns != due_ns]
    for instrument in venue.instruments:
        if due_ns and instrument.due_ns == due_ns:
            venue.begin_part()
            end_timer(venue, instrument, events)
            consequences(venue, events)
        for schedule in met:
            if schedule.instrument in (0, instrument.number):
                venue.begin_part()
                _run(venue, instrument, schedule, events)


def earliest(venue: Venue) -> int | None:
    """The earliest time of a halt, call or schedule that the clock in force meets; None for none."""
    times_ns = [each.due_ns for each in venue.instruments if each.due_ns] + [each.due_ns for each in venue.schedules]
    first_ns = min(times_ns, default=None)
    return None if first_ns is None or first_ns > venue.now_ns else first_ns


def _run(venue: Venue, instrument: Instrument, schedule: Schedule, events: EventLog) -> None:
    """As the ``phase`` command would; nothing where it is halted by then, unless it is to be closed."""
    if instrument.phase != Phase.HALTED or schedule.phase == Phase.CLOSED:
        take_phase(venue, instrument, schedule.phase, events)
    elif venue.witness is not None:
        venue.witness.dropped.append(Dropped(schedule.due_ns, instrument.number, schedule.phase))
