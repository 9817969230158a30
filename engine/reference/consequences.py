"""Consequences of a command, instrument by instrument in order of definition (section 7)."""

from engine.records import Phase, Side
from engine.reference.breakers import look_at_trade
from engine.reference.calls import publish_indicative
from engine.reference.events import EventLog
from engine.reference.matching import run_aggressor
from engine.reference.midpoint import meet_at_midpoint
from engine.reference.pegs import reprice
from engine.reference.rows import STOP
from engine.reference.state import Instrument, Order
from engine.reference.venue import Venue


def consequences(venue: Venue, events: EventLog) -> None:
    """All that a command causes after its own events, in the instruments that these name; in others nothing changed.

    A command that is many does this after each of them, and once more at its end, when nothing is left to do.
    """
    for number in sorted(events.touched):
        instrument = venue.instruments[number - 1]
        look_at_trade(venue, instrument, events)
        trades = True
        while trades:
            while (order := _elected(instrument)) is not None:
                _run_elected(venue, order, events)
                look_at_trade(venue, instrument, events)
            trades = reprice(venue, instrument, events)
            look_at_trade(venue, instrument, events)
        meet_at_midpoint(venue, instrument, events)
        if number in venue.calls:
            publish_indicative(instrument, events)
    events.touched.clear()


def _elected(instrument: Instrument) -> Order | None:
    """The stop that the last trade elects next: buys first, by lowest stop, then sells, by highest, then by time."""
    last_e4 = instrument.last_trade_e4
    if instrument.phase != Phase.CONTINUOUS or last_e4 == 0:
        return None
    for side in (Side.BUY, Side.SELL):
        order = instrument.stops.first(side)
        if order is not None and side * (last_e4 - order.stop_e4) >= 0:
            return order
    return None


def _run_elected(venue: Venue, order: Order, events: EventLog) -> None:
    """From now on the order is one without a stop, which counts as before."""
    venue.withdraw(order)
    order.stop_e4 = 0
    order.instructions &= ~STOP
    events.triggered(order)
    run_aggressor(venue, order, events)
