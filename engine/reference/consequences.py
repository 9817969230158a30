"""Consequences of a command, instrument by instrument in order of definition (section 7)."""

from engine.reference.breakers import look_at_trade
from engine.reference.calls import publish_indicative
from engine.reference.codes import CONTINUOUS
from engine.reference.events import EventLog
from engine.reference.matching import run_aggressor
from engine.reference.midpoint import meet_at_midpoint
from engine.reference.pegs import reprice
from engine.reference.rows import STOP
from engine.reference.state import Instrument, Order
from engine.reference.venue import Venue


def consequences(venue: Venue, events: EventLog) -> None:
    """All that a command causes after its own events, in the instruments that these name; in others nothing changed.

    Most commands leave nothing to look after: one more order behind others, or one less. A command that is many does
    this after each of them, and once more at its end, when nothing is left to do.
    """
    touched = events.touched
    for number in sorted(touched) if len(touched) > 1 else (*touched,):
        instrument = venue.instruments[number - 1]
        if instrument.stirred or instrument.book.moved:
            _look_after(venue, instrument, events)
    touched.clear()


def _look_after(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """Section 7 in one instrument; the letters are those of its steps."""
    instrument.stirred = instrument.book.moved = False
    # (a)
    if instrument.unseen_trade or instrument.unweighed_trade:
        look_at_trade(venue, instrument, events)
    # (b), with (a) after each
    if instrument.stops.elects(instrument.last_trade_e4):
        _run_all_elected(venue, instrument, events)
    # (c), and after each pass that traded (a) and (b) again
    while instrument.pegs and reprice(venue, instrument, events):
        look_at_trade(venue, instrument, events)
        _run_all_elected(venue, instrument, events)
    # (d)
    if instrument.midpoint is not None:
        meet_at_midpoint(venue, instrument, instrument.midpoint, events)
    if instrument.number in venue.calls:
        publish_indicative(instrument, events)


def _run_all_elected(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """While the last trade elects a stop it runs: buys first, by lowest stop, then sells, by highest, then by time."""
    while instrument.last_trade_e4 and instrument.phase == CONTINUOUS:
        order = instrument.stops.elected(instrument.last_trade_e4)
        if order is None:
            return
        _run_elected(venue, order, events)
        look_at_trade(venue, instrument, events)


def _run_elected(venue: Venue, order: Order, events: EventLog) -> None:
    """From now on the order is one without a stop, which counts as before."""
    venue.withdraw(order)
    order.stop_e4 = 0
    order.instructions &= ~STOP
    events.triggered(order)
    run_aggressor(venue, order, events)
