"""The clock, which is input like everything else: a value moves it, and what is due by then happens (section 10)."""

from engine.bounds import DAY_NS, TIME_NS_MAX
from engine.records import Reason, TimeInForce
from engine.reference.consequences import consequences
from engine.reference.events import EventLog
from engine.reference.halts import end_timer
from engine.reference.matching import cancel_open
from engine.reference.rows import Row
from engine.reference.state import Instrument
from engine.reference.venue import Venue


def clock(venue: Venue, row: Row, events: EventLog) -> None:
    if not venue.now_ns <= row.time_ns <= TIME_NS_MAX:
        events.rejected(row.time_ns, Reason.INVALID_COMMAND)
        return
    if row.time_ns // DAY_NS != venue.trading_day:
        _end_day(venue, events)
    venue.set_clock(row.time_ns)
    _run_due(venue, events)


def _run_due(venue: Venue, events: EventLog) -> None:
    """All that is due, in order of its time; of the same time orders' ends before those of halts and calls.

    What begins here ends later than this clock value, so that this ends.
    """
    while True:
        order, instrument = venue.expired(), _timed(venue)
        if order is not None and (instrument is None or order.until_ns <= instrument.due_ns):
            cancel_open(venue, order, Reason.EXPIRED, events)
        elif instrument is not None:
            end_timer(venue, instrument, events)
        else:
            return
        consequences(venue, events)


def _timed(venue: Venue) -> Instrument | None:
    """The instrument whose halt, or call after one, the clock in force ends next: by time, then by definition."""
    due = [instrument for instrument in venue.instruments if 0 < instrument.due_ns <= venue.now_ns]
    return min(due, key=lambda each: (each.due_ns, each.number), default=None)


def _end_day(venue: Venue, events: EventLog) -> None:
    """Orders good for the day end with it, in order of acceptance, before anything of the new day (section 13, 27)."""
    every = (order for participant in venue.participants for order in participant.open_orders.values())
    of_day = [order for order in every if order.time_in_force == TimeInForce.DAY]
    for order in sorted(of_day, key=lambda each: each.order_number):
        cancel_open(venue, order, Reason.END_OF_DAY, events)
    consequences(venue, events)


def clock_jump(_venue: Venue, _row: Row, _events: EventLog) -> None:
    """For the record (section 13, 26): whatever the machine's clock did, the market's own goes only by ``clock``."""
