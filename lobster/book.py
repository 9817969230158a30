"""The book that a translated LOBSTER file builds up in the venue, and how much of it the data determines.

``lobster.translate`` has the theory: what the venue has open and what the data says are two counts an order, and the
horizon is the worst price up to which every order is known.
"""

from bisect import bisect_left


class MakerOrder:
    """An order of the maker. total: as the venue has it, executed and open."""

    __slots__ = ("client_order_id", "held", "key", "open_qty", "owed_qty", "price_e4", "side", "total_qty")

    def __init__(self, key: int | None, client_order_id: int, side: int, price_e4: int, qty: int) -> None:
        self.key = key  # the id in the data; None of a seeded order, which stands for orders of unknown ids
        self.client_order_id = client_order_id
        self.side = side
        self.price_e4 = price_e4
        self.total_qty = self.open_qty = self.owed_qty = qty
        self.held = False


class Level:
    """One price. queue: orders with something open, in the venue's priority. owed: orders with something left by the
    data. corrected: True if orders came or went here that no message told, so that sizes of orders are not certain."""

    __slots__ = ("corrected", "owed", "queue")

    def __init__(self) -> None:
        self.queue: dict[MakerOrder, None] = {}
        self.owed: dict[MakerOrder, None] = {}
        self.corrected = False


class BookSide:
    """One side of the book. A rank is the price, turned so that the best is the smallest."""

    def __init__(self, side: int, horizon: int) -> None:
        self.side = side
        self.levels: dict[int, Level] = {}
        self.ranks: list[int] = []
        self.horizon = horizon  # a rank

    def level(self, price_e4: int) -> Level:
        """The level of a price, made where there is none."""
        level = self.levels.get(price_e4)
        if level is None:
            level = self.levels[price_e4] = Level()
            rank = -self.side * price_e4
            self.ranks.insert(bisect_left(self.ranks, rank), rank)
        return level

    def leave(self, order: MakerOrder) -> None:
        """Take an order out of its queue, and its level away when it was the last."""
        level = self.levels[order.price_e4]
        del level.queue[order]
        if not level.queue:
            del self.levels[order.price_e4]
            del self.ranks[bisect_left(self.ranks, -self.side * order.price_e4)]

    def prove_empty(self, rank: int) -> None:
        """Move the horizon out to a rank, where nothing can be as good as that any more."""
        self.horizon = max(self.horizon, rank)

    def see(self, levels: int, last_rank: int | None) -> None:
        """Move the horizon to the last published level, if that is nearer. last_rank: of that level in the published
        row, where there is one; else it is that of the book here."""
        if last_rank is not None:
            self.horizon = min(self.horizon, last_rank)
        elif len(self.ranks) >= levels and self.ranks[levels - 1] < self.horizon:
            self.horizon = self.ranks[levels - 1]
