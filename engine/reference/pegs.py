"""Pegs (section 4; section 7, c): their prices follow the best displayed ones, and they run as incoming with new ones.

The pegs of a side with the same reference are together, in order of acceptance, and with them the price of the
reference by which they are priced: while that is what it is now, none of them is looked at. While both best displayed
prices are what they were, no reference is.
"""

from itertools import chain
from typing import Final

from engine.bounds import PEG_PRICES_BESIDES, PEG_PRICES_EACH, PRICE_E4_MAX
from engine.records import Peg
from engine.reference.codes import BUY, CONTINUOUS, SELL
from engine.reference.events import EventLog
from engine.reference.matching import run_aggressor
from engine.reference.state import Instrument, Order, Quotes
from engine.reference.venue import Venue

_PRIMARY: Final = Peg.PRIMARY
_MARKET: Final = Peg.MARKET


def reprice(venue: Venue, instrument: Instrument, events: EventLog) -> bool:
    """One pass: pegs whose price is not what the rule now gives take that, then run in that order. True if any traded.

    In ``continuous`` none is begun by a command that has given too many prices (section 13, 40); the next one does.
    """
    if not instrument.pegs:
        return False
    quotes = instrument.quotes
    if quotes == instrument.peg_quotes and instrument.fresh_peg is None:
        return False
    if instrument.phase is CONTINUOUS and not _may_price(venue, events.seq):
        instrument.stirred = True
        return False
    runs = []
    for order in _to_look_at(instrument, quotes):
        price_e4 = price_of(order, instrument.peg_references[order.side, order.peg])
        if price_e4 != order.peg_e4:
            if order.level is not None:
                instrument.book.remove(order)
            order.peg_e4 = price_e4
            events.repriced(order)
            runs.append(order)
    runs = [order for order in runs if order.peg_e4]
    venue.peg_prices += len(runs)
    trades = venue.last_trade_number
    for order in runs:
        run_aggressor(venue, order, events)
    return venue.last_trade_number != trades


def _may_price(venue: Venue, seq: int) -> bool:
    if venue.peg_seq != seq:
        venue.peg_seq, venue.peg_prices = seq, 0
    return venue.peg_prices < PEG_PRICES_EACH * venue.peg_count + PEG_PRICES_BESIDES


def _to_look_at(instrument: Instrument, quotes: Quotes) -> list[Order]:
    """The pegs whose reference has another price, and the one that is new, in order of acceptance."""
    fresh, instrument.fresh_peg = instrument.fresh_peg, None
    instrument.peg_quotes = quotes
    lists = []
    for of, pegs in instrument.pegs.items():
        now_e4 = reference_e4(quotes, *of)
        if instrument.peg_references[of] != now_e4:
            instrument.peg_references[of] = now_e4
            lists.append(list(pegs.values()))
            if fresh is not None and (fresh.side, fresh.peg) == of:
                fresh = None
    if fresh is not None:
        lists.append([fresh])
    return lists[0] if len(lists) == 1 else sorted(chain(*lists), key=lambda each: each.order_number)


def reference_e4(quotes: Quotes, side: int, peg: int) -> int:
    """The price that the pegs of a side refer to; 0: none."""
    bid_e4, offer_e4 = quotes
    if peg == _PRIMARY:
        return bid_e4 if side == BUY else offer_e4
    if peg == _MARKET:
        return offer_e4 if side == BUY else bid_e4
    return (bid_e4 + offer_e4 + (side == SELL)) // 2 if bid_e4 and offer_e4 else 0


def price_of(order: Order, reference: int) -> int:
    """Price of a peg by a reference; 0: none."""
    if not reference:
        return 0
    away_e4 = order.side * (reference - order.side * order.offset_e4)
    price_e4 = order.side * (min(away_e4, order.side * order.price_e4) if order.price_e4 else away_e4)
    return price_e4 if 1 <= price_e4 <= PRICE_E4_MAX else 0
