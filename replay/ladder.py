"""A book as people look at it: the orders of a side by price."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.records import Side


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
