"""An instrument is halted, for whatever reason, or closed by a breaker (section 9)."""

from engine.records import Phase, Reason
from engine.reference.cancel import cancel_day_orders
from engine.reference.events import EventLog
from engine.reference.matching import cancel_open
from engine.reference.pegs import reprice
from engine.reference.state import Instrument
from engine.reference.venue import Venue


def halt(venue: Venue, instrument: Instrument, end_ns: int, reason: Reason, events: EventLog) -> None:
    """Halt until a time (0: until it is resumed); of two ends the later one counts, and none is the latest."""
    later_ns = end_ns
    if instrument.phase == Phase.HALTED:
        later_ns = max(instrument.due_ns, end_ns) if instrument.due_ns and end_ns else 0
    venue.set_phase(instrument, Phase.HALTED, later_ns)
    events.halted(instrument, reason)
    if instrument.cancel_on_halt:
        for order in instrument.open_orders():
            cancel_open(venue, order, Reason.HALT, events)
    reprice(venue, instrument, events)


def close_without_uncross(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """The day is over for the instrument: its orders that are good for the day are canceled."""
    venue.set_phase(instrument, Phase.CLOSED)
    events.phase(instrument)
    cancel_day_orders(venue, instrument, events)
    reprice(venue, instrument, events)
