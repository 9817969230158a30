"""The clock, which is input like everything else: a value moves it, and what is due by then happens (section 10)."""

from engine.limits import TIME_NS_MAX
from engine.records import Reason
from engine.reference.events import EventLog
from engine.reference.halts import meet_what_is_due
from engine.reference.rows import Row
from engine.reference.venue import Venue


def clock(venue: Venue, row: Row, events: EventLog) -> None:
    if not venue.now_ns <= row.time_ns <= TIME_NS_MAX:
        events.rejected(row.time_ns, Reason.INVALID_COMMAND)
        return
    venue.set_clock(row.time_ns)
    meet_what_is_due(venue, events)


def clock_jump(_venue: Venue, _row: Row, _events: EventLog) -> None:
    """For the record (section 13, 26): whatever the machine's clock did, the market's own goes only by ``clock``."""
