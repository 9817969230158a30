"""Run of an aggressor (sections 3, 4 and 5): trial, trades, self-trade prevention, and the rest.

It happens in ``continuous`` only, where market orders never rest, so the first order of the other side always has a
price.
"""

from engine.bounds import BPS_MAX, PRICE_E4_MAX
from engine.records import Reason, SelfTrade
from engine.reference.codes import FOK, IOC, STP_NONE
from engine.reference.events import EventLog
from engine.reference.exposure import execute, take_off
from engine.reference.rows import MARKET, MIN_QTY
from engine.reference.state import Order
from engine.reference.venue import Venue


def run_aggressor(venue: Venue, order: Order, events: EventLog) -> None:
    """Run an order as aggressor: it trades, and the rest of it rests or is canceled."""
    instrument = order.instrument
    is_market = order.instructions & MARKET and not order.peg
    furthest_e4 = _collar_e4(order) if is_market else order.peg_e4 or order.price_e4
    if order.time_in_force == FOK or order.instructions & MIN_QTY:
        refused = _trial(order, furthest_e4)
        if refused is not None:
            cancel_open(venue, order, refused, events)
            return
    book, side = instrument.book, order.side
    while order.leaves_qty:
        level = book.best(-side)
        if level is None or level.first is None or side * (furthest_e4 - level.price_e4) < 0:
            break
        resting = level.first
        if _prevented(order, resting):
            if _prevent_self_trade(venue, order, resting, events):
                return
        else:
            _trade(venue, order, resting, level.price_e4, events)
    if order.leaves_qty == 0:
        venue.close(order)
    elif is_market or order.time_in_force == IOC:
        _cancel_what_is_left(venue, order, events)
    else:
        venue.rest(order)


def cancel_open(venue: Venue, order: Order, reason: Reason, events: EventLog) -> None:
    """Cancel the open quantity of an order, resting or not."""
    events.canceled(order, order.leaves_qty, reason)
    venue.withdraw(order)
    venue.close(order)


def _collar_e4(order: Order) -> int:
    """The furthest price at which a market order may trade: within the band around the reference price as it starts."""
    instrument = order.instrument
    if instrument.band_bps is None:
        return order.side * PRICE_E4_MAX
    return instrument.reference_e4 + order.side * (instrument.reference_e4 * instrument.band_bps // BPS_MAX)


def _trial(order: Order, furthest_e4: int) -> Reason | None:
    """Reason why a ``fok`` or ``min_qty`` order may not trade on the book as it stands, or None."""
    if order.time_in_force == FOK:
        return None if _tradable_qty(order, furthest_e4, order.leaves_qty) >= order.leaves_qty else Reason.FOK
    return None if _tradable_qty(order, furthest_e4, order.min_qty) >= order.min_qty else Reason.MIN_QTY


def _tradable_qty(order: Order, furthest_e4: int, enough_qty: int) -> int:
    """Quantity that the order would trade, self-trade prevention included; counted no further than ``enough_qty``."""
    tradable = 0
    left = order.leaves_qty
    for level in order.instrument.book.levels(-order.side):
        if order.side * (furthest_e4 - level.price_e4) < 0:
            break
        reserve_qty = 0  # of icebergs: they show it after all others of the level were met
        for resting in level:
            if tradable >= enough_qty or left == 0:
                return tradable
            if not _prevented(order, resting):
                traded = min(left, resting.visible_qty)
                tradable += traded
                left -= traded
                reserve_qty += resting.leaves_qty - resting.visible_qty
            elif order.self_trade == SelfTrade.DECREMENT:
                left -= min(left, resting.leaves_qty)
            elif order.self_trade != SelfTrade.CANCEL_OLDEST:
                return tradable
        tradable += min(left, reserve_qty)
        left -= min(left, reserve_qty)
    return tradable


def _prevented(aggressor: Order, resting: Order) -> bool:
    """True if the two may not trade: same participant or group, unless the aggressor says ``stp=none``."""
    return aggressor.participant.group == resting.participant.group and aggressor.self_trade != STP_NONE


def _prevent_self_trade(venue: Venue, aggressor: Order, resting: Order, events: EventLog) -> bool:
    """Prevent a self-trade as the aggressor chose. Returns True if the aggressor is closed."""
    choice = aggressor.self_trade
    if choice == SelfTrade.DECREMENT:
        qty = min(aggressor.leaves_qty, resting.leaves_qty)
        events.canceled(resting, qty, Reason.SELF_TRADE)
        events.canceled(aggressor, qty, Reason.SELF_TRADE)
        take_off(resting, qty)
        take_off(aggressor, qty)
        if resting.leaves_qty == 0:
            venue.close(resting)
        return False
    if choice in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
        cancel_open(venue, resting, Reason.SELF_TRADE, events)
    if choice in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
        cancel_open(venue, aggressor, Reason.SELF_TRADE, events)
        return True
    return False


def _trade(venue: Venue, aggressor: Order, resting: Order, price_e4: int, events: EventLog) -> None:
    """The two trade the smaller of their quantities, at the resting order's price."""
    qty = min(aggressor.leaves_qty, resting.visible_qty)
    venue.last_trade_number += 1
    events.trade(resting, aggressor, price_e4, qty, venue.last_trade_number, aggressor.side)
    instrument = aggressor.instrument
    instrument.traded_at(price_e4)
    instrument.stirred = instrument.unseen_trade = instrument.unweighed_trade = True
    shown_qty = resting.shown_qty - qty
    execute(aggressor, qty)
    execute(resting, qty)
    if resting.leaves_qty == 0:
        venue.close(resting)
    elif resting.display_qty:
        resting.shown_qty = shown_qty
        if shown_qty == 0:
            venue.replenish(resting)
            events.replenished(resting)


def _cancel_what_is_left(venue: Venue, order: Order, events: EventLog) -> None:
    """Cancel the rest of a market or ``ioc`` order, which never rests."""
    if not order.instructions & MARKET or order.peg:
        cancel_open(venue, order, Reason.IOC, events)
        return
    # What the other side still has is beyond the collar.
    beyond = order.instrument.book.best(-order.side) is not None
    cancel_open(venue, order, Reason.PRICE_BAND if beyond else Reason.NO_LIQUIDITY, events)
