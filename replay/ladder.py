"""A book as people look at it: the orders of a side by price."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.names import unpack
from engine.records import Phase, Side
from notation.objects import Object
from notation.table import word
from notation.words import iso_time


@dataclass(frozen=True)
class Level:
    """One price of one side: leaves_qty of its orders in all, and how many they are. price_e4 0: market orders."""

    price_e4: int
    qty: int
    orders: int


def levels(orders: NDArray[Any], side: Side) -> list[Level]:
    """The levels of one side out of OPEN_ORDER rows of one instrument, best first."""
    chosen = orders[orders["side"] == int(side)]
    prices, first, inverse = np.unique(chosen["price_e4"], return_index=True, return_inverse=True)
    qty = np.zeros(len(prices), np.int64)
    np.add.at(qty, inverse, chosen["leaves_qty"])
    counts = np.bincount(inverse, minlength=len(prices))
    # open_orders() is in the order in which the book would trade, so the first row of a price says its rank.
    return [Level(int(prices[at]), int(qty[at]), int(counts[at])) for at in np.argsort(first)]


def book_object(engine: Any, number: int, depth: int) -> Object:
    """The book of the instrument with this number, from 1, of an engine as it stands: ``depth`` levels a side.

    A level whose price_e4 is None is of market orders that wait for an auction.
    """
    instrument = engine.instruments()[number - 1]
    orders = engine.open_orders(number)
    told = {
        "symbol": unpack(int(instrument["symbol"])),
        "seq": int(engine.seq),
        "time": iso_time(int(engine.now_ns)),
        "phase": word(Phase, int(instrument["phase"])),
        "until": iso_time(int(instrument["due_ns"])),
        "last_price_e4": int(instrument["last_trade_e4"]) or None,
    }
    for name, side in (("bids", Side.BUY), ("offers", Side.SELL)):
        shown = levels(orders, side)[:depth]
        told[name] = [{"price_e4": each.price_e4 or None, "qty": each.qty, "orders": each.orders} for each in shown]
    return told
