"""The midpoint book (sections 3, 5 and 7, d): orders run as incoming, and quotes of the lit book let them meet."""

from engine.records import Reason, SelfTrade, Side
from engine.reference.codes import BUY, FOK, IOC, SELL
from engine.reference.events import EventLog
from engine.reference.exposure import execute, take_off
from engine.reference.matching import cancel_open
from engine.reference.rows import MIN_QTY
from engine.reference.state import Instrument, MidpointBook, Order, accepts
from engine.reference.venue import Venue


def run_at_midpoint(venue: Venue, order: Order, book: MidpointBook, events: EventLog) -> None:
    """Run an order as incoming: it trades at the midpoint, and what is left rests or is canceled."""
    price_e4 = order.instrument.midpoint_e4
    may = price_e4 != 0 and accepts(order.side, order.price_e4, price_e4)
    asked_qty, reason = _asked(order)
    if asked_qty and (not may or _tradable_qty(order, book, price_e4) < asked_qty):
        cancel_open(venue, order, reason, events)
        return
    others = book.taking_part(-order.side, price_e4) if may else None
    while others is not None and order.leaves_qty:
        resting = others.first()
        if resting is None:
            break
        if not _meet(venue, resting, order, price_e4, events):
            return
    if order.leaves_qty == 0:
        venue.close(order)
    elif order.time_in_force == IOC:
        cancel_open(venue, order, Reason.IOC, events)
    else:
        venue.rest(order)


def meet_at_midpoint(venue: Venue, instrument: Instrument, book: MidpointBook, events: EventLog) -> None:
    """While both sides have an order that takes part, the oldest of each meet, the later one as incoming."""
    if not all(book.sides.values()):
        return
    price_e4 = instrument.midpoint_e4
    if not price_e4 or not all(book.takes_part(side, price_e4) for side in Side):
        return
    buys, sells = (book.taking_part(side, price_e4) for side in (BUY, SELL))
    while (buy := buys.first()) is not None and (sell := sells.first()) is not None:
        resting, incoming = sorted((buy, sell), key=lambda each: each.priority)
        if _meet(venue, resting, incoming, price_e4, events) and incoming.leaves_qty == 0:
            venue.withdraw(incoming)
            venue.close(incoming)


def _meet(venue: Venue, resting: Order, incoming: Order, price_e4: int, events: EventLog) -> bool:
    """Two orders trade, or one of them or both lose what self-trade prevention takes. False if the incoming one is
    closed; one that has nothing left is the caller's to close."""
    qty = min(resting.leaves_qty, incoming.leaves_qty)
    choice = incoming.self_trade
    if resting.participant.group != incoming.participant.group or choice == SelfTrade.NONE:
        venue.last_trade_number += 1
        events.trade(resting, incoming, price_e4, qty, venue.last_trade_number, incoming.side)
        for order in (resting, incoming):
            execute(order, qty)
    elif choice == SelfTrade.DECREMENT:
        for order in (resting, incoming):
            events.canceled(order, qty, Reason.SELF_TRADE)
            take_off(order, qty)
    else:
        if choice in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
            cancel_open(venue, resting, Reason.SELF_TRADE, events)
        if choice in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
            cancel_open(venue, incoming, Reason.SELF_TRADE, events)
            return False
        return True
    if resting.leaves_qty == 0:
        venue.withdraw(resting)
        venue.close(resting)
    return True


def _asked(order: Order) -> tuple[int, Reason]:
    """Quantity that must trade at once, 0 for none; and the reason for which the order is canceled otherwise."""
    if order.time_in_force == FOK:
        return order.leaves_qty, Reason.FOK
    return (order.min_qty if order.instructions & MIN_QTY else 0), Reason.MIN_QTY


def _tradable_qty(order: Order, book: MidpointBook, price_e4: int) -> int:
    """Quantity that the order would trade, self-trade prevention included."""
    tradable, left = 0, order.leaves_qty
    for resting in book.taking_part(-order.side, price_e4):
        qty = min(left, resting.leaves_qty)
        if resting.participant.group != order.participant.group or order.self_trade == SelfTrade.NONE:
            tradable += qty
        elif order.self_trade == SelfTrade.CANCEL_OLDEST:
            continue
        elif order.self_trade != SelfTrade.DECREMENT:
            break
        left -= qty
    return tradable
