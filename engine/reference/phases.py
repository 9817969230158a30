"""Trading phases (section 6) and the halt by command (section 9)."""

from collections.abc import Iterable
from typing import Final

from engine.names import EVERY
from engine.records import Phase, Reason, TimeInForce
from engine.reference.events import EventLog
from engine.reference.matching import cancel_open
from engine.reference.rows import Row
from engine.reference.uncross import uncross
from engine.reference.venue import Instrument, Venue

#: The phases that a ``phase`` command of this release may name; ``halted`` is no phase that one can name.
_NAMED: Final = frozenset({Phase.CLOSED, Phase.PRE_OPEN, Phase.CONTINUOUS})


def phase(venue: Venue, row: Row, events: EventLog) -> None:
    for instrument in _named(venue, row, events):
        if row.phase not in _NAMED:
            events.rejected(instrument.symbol, Reason.INVALID_COMMAND)
        else:
            _change_phase(venue, instrument, Phase(row.phase), events)


def halt(venue: Venue, row: Row, events: EventLog) -> None:
    for instrument in _named(venue, row, events):
        if row.duration_ns:
            events.rejected(instrument.symbol, Reason.INVALID_COMMAND)
        elif instrument.phase != Phase.CLOSED:
            instrument.phase = Phase.HALTED
            events.halted(instrument, Reason.COMMAND)
        elif row.name != EVERY:
            events.rejected(instrument.symbol, Reason.CLOSED)


def _named(venue: Venue, row: Row, events: EventLog) -> Iterable[Instrument]:
    """The instrument that the row names, or each in order of definition; an unknown symbol is rejected here."""
    if row.name == EVERY:
        return venue.instruments
    instrument = venue.instrument_by_symbol.get(row.name)
    if instrument is None:
        events.rejected(row.name, Reason.UNKNOWN_INSTRUMENT)
        return ()
    return (instrument,)


def _change_phase(venue: Venue, instrument: Instrument, new: Phase, events: EventLog) -> None:
    old, instrument.phase = instrument.phase, new
    events.phase(instrument)
    if new == old:
        return
    if new == Phase.CONTINUOUS:
        uncross(venue, instrument, events)
    elif new == Phase.CLOSED:
        for order in list(instrument.open_orders.values()):
            if order.time_in_force == TimeInForce.DAY:
                cancel_open(venue, order, Reason.END_OF_DAY, events)
