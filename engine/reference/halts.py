"""Halts (section 9, section 13: 24): by command, with an end or without, and the call that follows them.

A timer is the time from which on a clock value ends the phase. It runs only in ``halted`` and in the call after a halt.
"""

from engine.bounds import CALL_AFTER_HALT_NS, TIME_NS_MAX
from engine.names import EVERY
from engine.records import Phase, Reason
from engine.reference.consequences import consequences
from engine.reference.events import EventLog
from engine.reference.halting import halt
from engine.reference.phases import change_phase, named
from engine.reference.rows import Row
from engine.reference.state import Instrument
from engine.reference.venue import Venue


def halt_command(venue: Venue, row: Row, events: EventLog) -> None:
    """``halt SYM|* [for=5m]``, without a duration until it is resumed."""
    if not 0 <= row.duration_ns <= TIME_NS_MAX - venue.now_ns:
        events.rejected(row.name, Reason.INVALID_COMMAND)
        return
    end_ns = venue.now_ns + row.duration_ns if row.duration_ns else 0
    for instrument in named(venue, row, events):
        if instrument.phase != Phase.CLOSED:
            halt(venue, instrument, end_ns, Reason.COMMAND, events)
        elif row.name != EVERY:
            events.rejected(instrument.symbol, Reason.CLOSED)


def resume_command(venue: Venue, row: Row, events: EventLog) -> None:
    """``resume SYM|*``: what the end of the halt would do, at once."""
    for instrument in named(venue, row, events):
        if instrument.phase == Phase.HALTED:
            _begin_call(venue, instrument, events)
        elif row.name != EVERY:
            events.rejected(instrument.symbol, Reason.NOT_HALTED)
        consequences(venue, events)


def end_timer(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """The clock value in force ends the halt of an instrument, or the call after it."""
    if instrument.phase == Phase.HALTED:
        _begin_call(venue, instrument, events)
    else:
        change_phase(venue, instrument, Phase.CONTINUOUS, events)


def _begin_call(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    change_phase(venue, instrument, Phase.AUCTION, events, venue.now_ns + CALL_AFTER_HALT_NS)
