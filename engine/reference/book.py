"""The lit book of one instrument: for each side its price levels, best first, and in each level a queue by time.

Levels stand under a *rank*, which is lower for a better price whatever the side: minus side times price. Market
orders rank before every limit (section 3). So buy and sell are one piece of code, and the first level of a side is
always the one that trades next.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sortedcontainers import SortedDict

from engine.limits import PRICE_E4_MAX
from engine.records import Side

if TYPE_CHECKING:
    from engine.reference.venue import Order

#: Lower than the rank of any limit price.
MARKET_RANK: Final = -PRICE_E4_MAX - 1


@dataclass(slots=True)
class Level:
    """The orders at one price (0: market orders), first to trade first, by order number; and their sum."""

    rank: int
    price_e4: int
    leaves_qty: int = 0
    orders: "OrderedDict[int, Order]" = field(default_factory=OrderedDict)

    def first(self) -> "Order":
        return next(iter(self.orders.values()))


class LitBook:
    """Both sides of the book: ``sides[side]`` maps rank to level. A level is never empty.

    ``changes`` counts what has been done to it, so that who has looked at it can tell whether to look again.
    """

    __slots__ = ("changes", "sides")

    def __init__(self) -> None:
        self.changes = 0
        self.sides: dict[int, SortedDict[int, Level]] = {int(Side.BUY): SortedDict(), int(Side.SELL): SortedDict()}

    def add(self, order: "Order") -> None:
        """Rests the order behind all others at its price."""
        self.changes += 1
        levels = self.sides[order.side]
        rank = -order.side * order.price_e4 if order.price_e4 else MARKET_RANK
        level = levels.get(rank)
        if level is None:
            level = levels[rank] = Level(rank, order.price_e4)
        level.orders[order.number] = order
        level.leaves_qty += order.leaves_qty
        order.level = level

    def reduce(self, order: "Order", qty: int) -> None:
        """Takes ``qty`` off a resting order, which keeps its place; one with nothing left goes."""
        level = order.level
        if level is None:
            raise ValueError(f"order {order.number} does not rest")
        self.changes += 1
        level.leaves_qty -= qty
        order.leaves_qty -= qty
        if order.leaves_qty == 0:
            self._take_out(order, level)

    def remove(self, order: "Order") -> None:
        """Takes a resting order out with all that it has left, which it keeps."""
        level = order.level
        if level is None:
            raise ValueError(f"order {order.number} does not rest")
        self.changes += 1
        level.leaves_qty -= order.leaves_qty
        self._take_out(order, level)

    def _take_out(self, order: "Order", level: Level) -> None:
        del level.orders[order.number]
        order.level = None
        if not level.orders:
            del self.sides[order.side][level.rank]

    def best(self, side: int) -> Level | None:
        """The level of that side that trades next."""
        levels = self.sides[side]
        if not levels:
            return None
        level: Level = levels.peekitem(0)[1]
        return level

    def levels(self, side: int) -> Iterator[Level]:
        """The levels of that side in the order in which they trade."""
        return iter(self.sides[side].values())


def accepts(side: int, limit_e4: int, price_e4: int) -> bool:
    """True if an order of that side and limit (0: market) may trade at a price."""
    return limit_e4 == 0 or side * (limit_e4 - price_e4) >= 0
