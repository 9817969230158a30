"""Trading phases (section 6): the command, and what a change from one phase to another does."""

from collections.abc import Iterable

from engine.names import EVERY
from engine.records import Phase, Reason
from engine.reference.cancel import cancel_day_orders
from engine.reference.consequences import consequences
from engine.reference.events import EventLog
from engine.reference.rows import Row
from engine.reference.state import Instrument
from engine.reference.uncross import uncross
from engine.reference.venue import Venue


def phase_command(venue: Venue, row: Row, events: EventLog) -> None:
    """``phase SYM|* PHASE``, any phase but ``halted``."""
    for instrument in named(venue, row, events):
        venue.begin_part()
        if row.phase == Phase.HALTED:
            events.rejected(instrument.symbol, Reason.INVALID_COMMAND)
        else:
            take_phase(venue, instrument, Phase(row.phase), events)


def take_phase(venue: Venue, instrument: Instrument, new: Phase, events: EventLog) -> None:
    """The ``phase`` command of one instrument; to the present phase it is answered and changes nothing."""
    if new == instrument.phase:
        events.phase(instrument)
    else:
        change_phase(venue, instrument, new, events)
    consequences(venue, events)


def named(venue: Venue, row: Row, events: EventLog) -> Iterable[Instrument]:
    """The instrument that the row names, or each in order of definition; an unknown symbol is rejected here."""
    if row.name == EVERY:
        return venue.instruments
    instrument = venue.instrument_by_symbol.get(row.name)
    if instrument is None:
        events.rejected(row.name, Reason.UNKNOWN_INSTRUMENT)
        return ()
    return (instrument,)


def change_phase(venue: Venue, instrument: Instrument, new: Phase, events: EventLog, due_ns: int = 0) -> None:
    """From the present phase to another one, which a clock value at or after ``due_ns`` ends (0: none does).

    A timer of the phase that is left is dropped.
    """
    old = instrument.phase
    venue.set_phase(instrument, new, due_ns)
    events.phase(instrument)
    if new == Phase.CLOSING_AUCTION:
        _take_in(instrument)
    if new == Phase.CONTINUOUS or (old == Phase.CLOSING_AUCTION and new == Phase.CLOSED):
        uncross(venue, instrument, events)
    if new == Phase.CLOSED:
        cancel_day_orders(venue, instrument, events)


def _take_in(instrument: Instrument) -> None:
    """The closing orders that wait go into the book, with the time of their entry."""
    waited = list(instrument.aside.values())
    instrument.aside.clear()
    for order in waited:
        order.aside = False
    instrument.book.add_by_time(waited)
