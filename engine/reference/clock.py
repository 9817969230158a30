"""The clock, which is input like everything else: a value moves it, and what is due by then happens (section 10)."""

from engine.bounds import TIME_NS_MAX
from engine.records import Reason
from engine.reference.consequences import consequences
from engine.reference.delay import take_effect
from engine.reference.events import EventLog
from engine.reference.indices import open_indices
from engine.reference.matching import cancel_open
from engine.reference.rows import Row
from engine.reference.schedules import earliest, run_time
from engine.reference.venue import Venue


def clock(venue: Venue, row: Row, events: EventLog) -> None:
    """``at``: a later clock value first ends the trading day, if it is of another, then does what is due."""
    if not venue.now_ns <= row.time_ns <= TIME_NS_MAX:
        events.rejected(row.time_ns, Reason.INVALID_COMMAND)
        return
    another_day = venue.day_of(row.time_ns) != venue.trading_day
    if another_day:
        venue.now_ns = row.time_ns  # the clock value is the time of all that it causes, the end of the day before too
        _end_day(venue, events)
    venue.set_clock(row.time_ns)
    if another_day:
        open_indices(venue)
    _run_due(venue, events)


def _run_due(venue: Venue, events: EventLog) -> None:
    """All that is due, in order of its time; of the same time orders' ends, then halts and schedules, then commands.

    What begins here ends later than this clock value, so that this ends.
    """
    while True:
        order, due_ns = venue.expired(), earliest(venue)
        waiting = venue.waiting[0] if venue.waiting and venue.waiting[0].due_ns <= venue.now_ns else None
        times_ns = (order.until_ns if order else None, due_ns, waiting.due_ns if waiting else None)
        first_ns = min((time_ns for time_ns in times_ns if time_ns is not None), default=None)
        if first_ns is None:
            return
        if order is not None and order.until_ns == first_ns:
            venue.begin_part()
            cancel_open(venue, order, Reason.EXPIRED, events)
            consequences(venue, events)
        elif due_ns == first_ns:
            run_time(venue, first_ns, events)
        else:
            take_effect(venue, events)


def _end_day(venue: Venue, events: EventLog) -> None:
    """Orders good for the day end with it, in order of acceptance, before anything of the new day (section 13, 27)."""
    every = (order for participant in venue.participants for order in participant.open_orders.values())
    of_day = [order for order in every if order.is_good_for_day]
    for order in sorted(of_day, key=lambda each: each.order_number):
        cancel_open(venue, order, Reason.END_OF_DAY, events)
    consequences(venue, events)


def clock_jump(_venue: Venue, _row: Row, _events: EventLog) -> None:
    """For the record (section 13, 26): whatever the machine's clock did, the market's own goes only by ``clock``."""
