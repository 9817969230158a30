"""Cancels, one and many. They are accepted in every phase (section 4)."""

from typing import Final

from engine.records import Reason
from engine.reference.events import EventLog
from engine.reference.exposure import take_off
from engine.reference.matching import cancel_open
from engine.reference.rows import Row
from engine.reference.state import Instrument, Order
from engine.reference.venue import Venue

_USER: Final = Reason.USER


def cancel(venue: Venue, row: Row, events: EventLog) -> None:
    """``cancel NAME ID [qty=N]``: the owner takes an order back, or a part of it."""
    participant = venue.participant_by_number.get(row.participant)
    order = participant.open_order(row.client_order_id) if participant else None
    if order is None:
        events.cancel_rejected(row.client_order_id, participant)
    elif row.qty == 0:
        cancel_open(venue, order, _USER, events)
    else:
        _cancel_part(venue, order, row.qty, events)


def _cancel_part(venue: Venue, order: Order, qty: int, events: EventLog) -> None:
    """``qty`` is the total intended from now on: what is open above that goes, and the order keeps its place."""
    open_qty = qty - order.cum_qty
    if qty < 0 or open_qty >= order.leaves_qty:
        events.cancel_rejected(order.client_order_id, order.participant, Reason.INVALID_QTY)
    elif qty % order.instrument.lot:
        events.cancel_rejected(order.client_order_id, order.participant, Reason.INVALID_LOT)
    elif open_qty <= 0:
        cancel_open(venue, order, _USER, events)
    else:
        lost_qty = order.leaves_qty - open_qty
        events.canceled(order, lost_qty, _USER)
        take_off(order, lost_qty)
        order.qty = qty


def cancel_day_orders(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """The instrument has closed: its orders that are good for the day end (section 4)."""
    for order in instrument.open_orders():
        if order.is_good_for_day:
            cancel_open(venue, order, Reason.END_OF_DAY, events)


def mass_cancel(venue: Venue, row: Row, events: EventLog) -> None:
    """Symbol 0 is every instrument, side 0 both sides; answered only with its cancels, in order of acceptance."""
    participant = venue.participant_by_name.get(row.name)
    if participant is None:
        events.rejected(row.name, Reason.UNKNOWN_PARTICIPANT)
        return
    only: Instrument | None = None
    if row.symbol:
        only = venue.instrument_by_symbol.get(row.symbol)
        if only is None:
            events.rejected(row.symbol, Reason.UNKNOWN_INSTRUMENT)
            return
    for order in list(participant.open_orders.values()):
        if (only is None or order.instrument is only) and row.side in (0, order.side):
            cancel_open(venue, order, Reason(row.reason), events)
