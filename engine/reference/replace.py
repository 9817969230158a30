"""Replacement of an order by its owner (section 4): the checks of section 8 in its order, then the book."""

from engine.records import Book, Reason
from engine.reference.entry import run_or_rest
from engine.reference.events import EventLog
from engine.reference.exposure import add_open
from engine.reference.limit_checks import check_limits, count_entry, in_force
from engine.reference.matching import cancel_open
from engine.reference.order_checks import (
    check_band,
    check_id,
    check_phase,
    check_post_only,
    check_room_for_id,
    check_slices,
    check_terms,
    may_show,
    named_prices,
)
from engine.reference.rows import DISPLAY, MARKET, STOP, Row
from engine.reference.state import Order
from engine.reference.venue import Venue


def replace(venue: Venue, row: Row, events: EventLog) -> None:
    """``replace NAME ID NEWID QTY @ PRICE``: the owner gives an order another id, quantity and price."""
    participant = venue.participant(row.participant)
    if participant is None:
        events.cancel_rejected(row.client_order_id, None)
        return
    order = participant.open_order(row.client_order_id)
    if order is None:
        count_entry(venue, participant, Reason.UNKNOWN_ORDER)
        events.cancel_rejected(row.client_order_id, participant)
        return
    open_qty = row.qty - order.cum_qty
    stop_e4 = row.stop_e4 if row.instructions & STOP else order.stop_e4
    named = (row.price_e4, stop_e4, _display_of(order, row))
    unchanged = named == (order.price_e4, order.stop_e4, order.display_qty)
    keeps_priority = unchanged and open_qty <= order.leaves_qty
    refused = _check_terms(order, row)
    if refused is None and open_qty > 0:
        refused = _check_place(venue, order, row, keeps_priority)
    count_entry(venue, participant, refused)
    if refused is not None:
        events.rejected(row.new_client_order_id, refused, participant, order.instrument)
    elif open_qty <= 0:
        cancel_open(venue, order, Reason.REPLACED, events)
    else:
        _change(venue, order, row, keeps_priority, events)


def _change(venue: Venue, order: Order, row: Row, keeps_priority: bool, events: EventLog) -> None:
    """Give the order the id, quantity and price of an accepted replace."""
    open_qty = row.qty - order.cum_qty
    add_open(order, -order.leaves_qty)
    if not keeps_priority:
        venue.withdraw(order)
        order.leaves_qty = open_qty
    elif order.level is not None:
        order.instrument.book.reduce(order, order.leaves_qty - open_qty)
        order.shown_qty = min(order.shown_qty, open_qty)
    else:
        order.leaves_qty = open_qty
    order.qty = row.qty
    venue.set_display(order, _display_of(order, row))
    order.price_e4 = row.price_e4
    if row.instructions & STOP:
        order.stop_e4 = order.value_stop_e4 = row.stop_e4
    add_open(order, order.leaves_qty)
    venue.rename(order, row.new_client_order_id)
    events.replaced(order, row.client_order_id)
    if not keeps_priority:
        run_or_rest(venue, order, events)


def _check_terms(order: Order, row: Row) -> Reason | None:
    """The checks of a replace before its open quantity is looked at.

    Whether the participant is killed is not among them: one that is has no open order to replace.
    """
    book = Book.MIDPOINT if order.in_midpoint else Book.LIT
    return (
        check_phase(order.instrument.phase, order.time_in_force, order.instructions, book)
        or check_terms(order.instrument, row.qty, *named_prices(row))
        or _check_change(order, row)
        or check_id(order.participant, row.new_client_order_id)
    )


def _check_place(venue: Venue, order: Order, row: Row, keeps_priority: bool) -> Reason | None:
    """The checks of a replace after its open quantity is known to be above zero."""
    judged_again = order.post_only and not keeps_priority
    stop_e4 = row.stop_e4 if row.instructions & STOP else order.value_stop_e4
    participant, instrument, side = order.participant, order.instrument, order.side
    limits = in_force(participant, instrument)
    price_e4 = row.price_e4 or stop_e4 or order.entry_reference_e4
    return (
        (Reason.RESTRICTED if limits.restricted else None)
        or check_band(instrument, side, row.price_e4, stop_e4 if order.dormant else 0)
        or check_limits(venue, limits, order.holding, side, row.qty, price_e4, order)
        or (check_post_only(instrument, side, row.price_e4) if judged_again else None)
        or check_room_for_id(venue, participant)
        or check_slices(venue, row.qty, _display_of(order, row), order.slices)
    )


def _check_change(order: Order, row: Row) -> Reason | None:
    """A price cannot become ``market`` or the reverse; display and stop are named only where the order has one."""
    named = row.instructions & (DISPLAY | STOP)
    if (row.instructions ^ order.instructions) & MARKET or named & ~order.instructions:
        return Reason.INVALID_INSTRUCTION
    if order.display_qty and not may_show(order.instrument, _display_of(order, row), row.qty):
        return Reason.INVALID_INSTRUCTION
    return None


def _display_of(order: Order, row: Row) -> int:
    """The most that the order shows after the replace; 0: it is no iceberg."""
    return row.display_qty if row.instructions & DISPLAY else order.display_qty
