"""Ladder of a book: the orders of a side by price."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.names import unpack
from engine.records import Book, Instruction, Phase, Side
from notation.objects import Object
from notation.table import word
from notation.words import iso_time


@dataclass(frozen=True)
class Level:
    """Price level of a side: total leaves_qty and number of its orders. price_e4 0: market orders.

    Of the total, ``reserve_qty`` is what icebergs do not show, and ``hidden_qty`` is of hidden orders.
    """

    price_e4: int
    qty: int
    reserve_qty: int
    hidden_qty: int
    orders: int


def levels(orders: NDArray[Any], side: Side) -> list[Level]:
    """Levels of one side of the lit book, from OPEN_ORDER rows of one instrument, best first.

    Dormant stops and orders of the midpoint book are in none.
    """
    chosen = orders[(orders["side"] == int(side)) & (orders["stop_e4"] == 0) & (orders["book"] == Book.LIT)]
    prices, first, inverse = np.unique(chosen["price_e4"], return_index=True, return_inverse=True)
    hidden = chosen["instructions"] & np.uint16(Instruction.HIDDEN) != 0

    def summed(of: NDArray[Any]) -> NDArray[np.int64]:
        sums = np.zeros(len(prices), np.int64)
        np.add.at(sums, inverse, of)
        return sums

    qty, hidden_qty = summed(chosen["leaves_qty"]), summed(chosen["leaves_qty"] * hidden)
    reserve_qty = summed((chosen["leaves_qty"] - chosen["shown_qty"]) * ~hidden)
    counts = np.bincount(inverse, minlength=len(prices))
    # open_orders() is in the order in which the book would trade, so the first row of a price says its rank.
    return [
        Level(int(prices[at]), int(qty[at]), int(reserve_qty[at]), int(hidden_qty[at]), int(counts[at]))
        for at in np.argsort(first)
    ]


def book_object(engine: Any, number: int, depth: int) -> Object:
    """Book of an instrument by its number, from 1, as a JSON object: ``depth`` levels a side.

    A level with price_e4 None has market orders that wait for an auction.
    """
    instrument = engine.instruments()[number - 1]
    orders = engine.open_orders(number)
    values = {
        "symbol": unpack(int(instrument["symbol"])),
        "seq": int(engine.seq),
        "time": iso_time(int(engine.now_ns)),
        "phase": word(Phase, int(instrument["phase"])),
        "until": iso_time(int(instrument["due_ns"])),
        "last_price_e4": int(instrument["last_trade_e4"]) or None,
    }
    for name, side in (("bids", Side.BUY), ("offers", Side.SELL)):
        shown = levels(orders, side)[:depth]
        values[name] = [asdict(each) | {"price_e4": each.price_e4 or None} for each in shown]
    return values
