"""The uncross (section 6): one price at which the crossed book of a call trades, and the trades at it."""

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

from engine.records import Reason, Side
from engine.reference.events import EventLog
from engine.reference.exposure import execute
from engine.reference.matching import cancel_open
from engine.reference.rows import MARKET
from engine.reference.state import NOTHING_PAIRED, Indicative, Instrument, LitBook, Order, accepts
from engine.reference.venue import Venue


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
    """Trades the book at the uncross price, if it has one; what is left of market orders is canceled."""
    price_e4 = indicative(instrument).price_e4
    if price_e4:
        _trade_at(venue, instrument, price_e4, events)
    for order in list(instrument.open_orders.values()):
        if order.instructions & MARKET:
            cancel_open(venue, order, Reason.AUCTION, events)


def indicative(instrument: Instrument) -> Indicative:
    """Result of an uncross now: its price by rules 1 to 4 of section 6, the quantity and the imbalance."""
    # R is the reference price rounded down to the tick, and never below one tick.
    rounded_e4 = max(instrument.reference_e4 // instrument.tick_e4, 1) * instrument.tick_e4
    candidates = _candidates(instrument.book, rounded_e4)
    paired_qty = max(candidate.paired_qty for candidate in candidates)
    if paired_qty == 0:
        return NOTHING_PAIRED
    candidates = [candidate for candidate in candidates if candidate.paired_qty == paired_qty]
    least_qty = min(abs(candidate.imbalance_qty) for candidate in candidates)
    candidates = [candidate for candidate in candidates if abs(candidate.imbalance_qty) == least_qty]
    if all(candidate.imbalance_qty > 0 for candidate in candidates):
        chosen = candidates[-1]  # they rise
    elif all(candidate.imbalance_qty < 0 for candidate in candidates):
        chosen = candidates[0]
    else:
        chosen = min(candidates, key=_distance_from(rounded_e4))
    return Indicative(chosen.price_e4, paired_qty, chosen.imbalance_qty)


def _distance_from(rounded_e4: int) -> Callable[[Candidate], int]:
    return lambda candidate: abs(candidate.price_e4 - rounded_e4)


def _candidates(book: LitBook, rounded_e4: int) -> list[Candidate]:
    """R and every limit price in the book, rising."""
    buys = {level.price_e4: level.leaves_qty for level in book.levels(Side.BUY)}
    sells = {level.price_e4: level.leaves_qty for level in book.levels(Side.SELL)}
    market_buy_qty, market_sell_qty = buys.pop(0, 0), sells.pop(0, 0)
    prices = sorted({rounded_e4, *buys, *sells})
    # A buy accepts its limit and all below, a sell its limit and all above: so one sum falls and the other rises.
    falling = list(accumulate((buys.get(price, 0) for price in reversed(prices)), initial=market_buy_qty))[:0:-1]
    rising = list(accumulate((sells.get(price, 0) for price in prices), initial=market_sell_qty))[1:]
    return list(map(Candidate, prices, falling, rising))


def _trade_at(venue: Venue, instrument: Instrument, price_e4: int, events: EventLog) -> None:
    """The first buy and the first sell that accept the price trade, until one side has none."""
    instrument.last_trade_e4 = price_e4
    while True:
        buy, sell = _first(instrument.book, Side.BUY, price_e4), _first(instrument.book, Side.SELL, price_e4)
        if buy is None or sell is None:
            return
        qty = min(buy.leaves_qty, sell.leaves_qty)
        venue.last_trade_number += 1
        events.trade(buy, sell, price_e4, qty, venue.last_trade_number, 0)
        for order in (buy, sell):
            execute(order, qty)
            if order.leaves_qty == 0:
                venue.close(order)


def _first(book: LitBook, side: Side, price_e4: int) -> Order | None:
    best = book.best(side)
    return best.first() if best is not None and accepts(side, best.price_e4, price_e4) else None
