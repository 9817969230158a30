"""The uncross (section 6): one price at which the crossed book of a call trades, and the trades at it.

At a rising price the buys that accept it fall and the sells rise. So the most trades at one of the two candidates
around the price where buys become less than sells, and as much, with the same imbalance, only where no order has its
limit in between: at the reference price, or at one more limit price beside each. Five candidates are all that need be
looked at.
"""

from typing import Final, NamedTuple

from engine.records import Reason, Side, TimeInForce
from engine.reference.depth import Depth
from engine.reference.events import EventLog
from engine.reference.exposure import execute
from engine.reference.matching import cancel_open
from engine.reference.rows import MARKET
from engine.reference.state import NOTHING_PAIRED, Indicative, Instrument, LitBook, Order, accepts
from engine.reference.venue import Venue

#: Times in force of orders that end at an uncross.
FOR_AUCTION: Final = frozenset({TimeInForce.OPENING, TimeInForce.CLOSING})


class Candidate(NamedTuple):
    """A price, and the quantity of each side that accepts it, market orders included."""

    price_e4: int
    buy_qty: int
    sell_qty: int

    @property
    def paired_qty(self) -> int:
        return min(self.buy_qty, self.sell_qty)

    @property
    def imbalance_qty(self) -> int:
        return self.buy_qty - self.sell_qty


def uncross(venue: Venue, instrument: Instrument, events: EventLog) -> None:
    """Trades the book at the uncross price, if it has one; what is left of orders for an auction is canceled."""
    price_e4 = indicative(instrument).price_e4
    if price_e4:
        _trade_at(venue, instrument, price_e4, events)
    for order in instrument.open_orders():
        for_auction = order.instructions & MARKET or order.time_in_force in FOR_AUCTION
        if for_auction and not (order.dormant or order.in_midpoint or order.aside or order.peg):
            cancel_open(venue, order, Reason.AUCTION, events)


def indicative(instrument: Instrument) -> Indicative:
    """Result of an uncross now: its price by rules 1 to 4 of section 6, the quantity and the imbalance."""
    # R is the reference price rounded down to the tick, and never below one tick.
    rounded_e4 = max(instrument.reference_e4 // instrument.tick_e4, 1) * instrument.tick_e4
    book, depth = instrument.book, instrument.book.counted()
    market_buy_qty, market_sell_qty = book.market_qty(Side.BUY), book.market_qty(Side.SELL)
    prices = _prices(book, depth, rounded_e4, market_buy_qty - market_sell_qty)
    return chosen(
        [
            Candidate(price, market_buy_qty + depth.buys_at(price), market_sell_qty + depth.sells_at(price))
            for price in sorted(prices)
        ],
        rounded_e4,
    )


def chosen(candidates: list[Candidate], rounded_e4: int) -> Indicative:
    """The best of rising candidates by rules 1 to 4 of section 6."""
    paired_qty = max(candidate.paired_qty for candidate in candidates)
    if paired_qty == 0:
        return NOTHING_PAIRED
    candidates = [candidate for candidate in candidates if candidate.paired_qty == paired_qty]
    least_qty = min(abs(candidate.imbalance_qty) for candidate in candidates)
    candidates = [candidate for candidate in candidates if abs(candidate.imbalance_qty) == least_qty]
    if all(candidate.imbalance_qty > 0 for candidate in candidates):
        best = candidates[-1]
    elif all(candidate.imbalance_qty < 0 for candidate in candidates):
        best = candidates[0]
    else:
        best = min(candidates, key=lambda candidate: abs(candidate.price_e4 - rounded_e4))
    return Indicative(best.price_e4, paired_qty, best.imbalance_qty)


def _prices(book: LitBook, depth: Depth, rounded_e4: int, market_surplus_qty: int) -> set[int]:
    """R, and of the limit prices those of which one may be the best."""
    dividing_e4 = depth.dividing_price(market_surplus_qty)
    found = {rounded_e4}
    below = {book.next_price(side, dividing_e4 + 1, -1) for side in Side}
    above = {book.next_price(side, dividing_e4, 1) for side in Side}
    (below if rounded_e4 <= dividing_e4 else above).add(rounded_e4)
    if highest := max(below):
        found |= {highest, book.next_price(Side.SELL, highest, -1)}
    if lowest := min(above - {0}, default=0):
        found |= {lowest, book.next_price(Side.BUY, lowest, 1)}
    return found - {0}


def _trade_at(venue: Venue, instrument: Instrument, price_e4: int, events: EventLog) -> None:
    """The first buy and the first sell that accept the price trade, until one side has none."""
    instrument.traded_at(price_e4)
    instrument.last_uncross_e4 = price_e4
    instrument.trade_seconds.clear()
    instrument.stirred = instrument.unweighed_trade = True
    left: list[Order] = []  # what the last two that traded have open, where it is an iceberg
    while True:
        buy, sell = _first(instrument.book, Side.BUY, price_e4), _first(instrument.book, Side.SELL, price_e4)
        if buy is None or sell is None:
            break
        qty = min(buy.leaves_qty, sell.leaves_qty)
        venue.last_trade_number += 1
        events.trade(buy, sell, price_e4, qty, venue.last_trade_number, 0)
        for order in (buy, sell):
            execute(order, qty)
            if order.leaves_qty == 0:
                venue.close(order)
        left = [order for order in (buy, sell) if order.leaves_qty and order.display_qty]
    for order in left:
        order.show()
        events.replenished(order)


def _first(book: LitBook, side: Side, price_e4: int) -> Order | None:
    best = book.best(side)
    return best.first if best is not None and accepts(side, best.price_e4, price_e4) else None
