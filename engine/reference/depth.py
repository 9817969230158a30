"""Depth of a book in a call: what its limit orders have open, summed so that a sum up to a price takes few steps.

A Fenwick tree for each side, over prices, in a dictionary that has only what is not zero: a node stands for as many
prices as its lowest bit says, and each price is in one node of each size that holds it. A change and a sum take as many
steps as a price has bits, however many prices there are.
"""

from typing import Final

from engine.bounds import PRICE_E4_MAX
from engine.reference.codes import BUY

#: Above every price; the trees' size.
_SIZE: Final = 1 << PRICE_E4_MAX.bit_length()


class Depth:
    """Sums of open quantity by price. ``count`` follows each change of a level."""

    __slots__ = ("_buys_below", "_sells_to", "buy_qty", "sell_qty")

    def __init__(self) -> None:
        self.buy_qty = 0
        self.sell_qty = 0
        #: Buys stand one price higher than they are, so that the sum up to a price is of those below it.
        self._buys_below: dict[int, int] = {}
        self._sells_to: dict[int, int] = {}

    def count(self, side: int, price_e4: int, qty: int) -> None:
        """Count ``qty`` more at a price (less, below 0)."""
        if side == BUY:
            self.buy_qty += qty
            tree, at = self._buys_below, price_e4 + 1
        else:
            self.sell_qty += qty
            tree, at = self._sells_to, price_e4
        while at <= _SIZE:
            left = tree.get(at, 0) + qty
            if left:
                tree[at] = left
            else:
                del tree[at]
            at += at & -at

    def buys_at(self, price_e4: int) -> int:
        """Quantity of the buys with that limit or a higher one."""
        return self.buy_qty - _sum_to(self._buys_below, price_e4)

    def sells_at(self, price_e4: int) -> int:
        """Quantity of the sells with that limit or a lower one."""
        return _sum_to(self._sells_to, price_e4)

    def dividing_price(self, market_surplus_qty: int) -> int:
        """The highest price at which buys are no less than sells; 0 where they are less at every one.

        ``market_surplus_qty``: market buys less market sells.
        """
        left = self.buy_qty + market_surplus_qty
        if left < 0:
            return 0
        price_e4 = 0
        step = _SIZE >> 1
        while step:
            passed = self._buys_below.get(price_e4 + step, 0) + self._sells_to.get(price_e4 + step, 0)
            if passed <= left:
                price_e4 += step
                left -= passed
            step >>= 1
        return min(price_e4, PRICE_E4_MAX)


def _sum_to(tree: dict[int, int], price_e4: int) -> int:
    total = 0
    while price_e4:
        total += tree.get(price_e4, 0)
        price_e4 &= price_e4 - 1
    return total
