"""Write a small day of order flow in LOBSTER's format: generated, so that it may be shipped; nothing in it is real.

    python examples/lobster/generate.py

writes beside itself, for the symbol ACME on 2024-01-15 from 09:30:

    ACME_2024-01-15_0930_message.csv    time, type, order id, size, price in 1/10000, direction
    ACME_2024-01-15_0930_book10.csv     ten levels a side after each message
    ACME_2024-01-15_0930_top1.csv       the best ask and bid after each message

The market has more levels than ten, and publishes only messages about the ten best, as LOBSTER does. The seed is fixed,
so that the files are always the same.
"""

import random
from pathlib import Path
from typing import Final

SEED: Final = 20240115
MESSAGES: Final = 400
LEVELS: Final = 10
TICK_E4: Final = 100
MIDDLE_E4: Final = 1_000_000
EMPTY_E4: Final = 9_999_999_999
NAME: Final = "ACME_2024-01-15_0930"

ENTER, REDUCE, DELETE, EXECUTE, EXECUTE_HIDDEN = 1, 2, 3, 4, 5


class Market:
    """A book of one stock, and what it publishes about its best ``LEVELS`` prices. Sides are 1 (buy) and -1 (sell)."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._sides: dict[int, dict[int, list[list[int]]]] = {1: {}, -1: {}}  # price to [order id, open shares]
        self._time_ns = 34_200 * 10**9
        self._next_id = 5_000_001
        self.messages: list[str] = []
        self.book: list[str] = []
        for side in (1, -1):
            for level in range(1, 16):
                for _ in range(self._random.randint(1, 3)):
                    self._place(side, MIDDLE_E4 - side * TICK_E4 * level)

    def step(self) -> None:
        """One event: an entry, a cancel in part or whole, or an execution."""
        self._time_ns += int(self._random.expovariate(1 / 250_000_000)) + 1
        side = self._random.choice((1, -1))
        kind = self._random.choices((ENTER, REDUCE, DELETE, EXECUTE, EXECUTE_HIDDEN), (50, 5, 32, 11, 2))[0]
        if kind == EXECUTE_HIDDEN:
            middle = (self._prices(1)[0] + self._prices(-1)[0]) // 2 // TICK_E4 * TICK_E4
            self._publish(True, kind, 0, 100, middle, side)
        elif kind == ENTER or len(self._prices(side)) < LEVELS + 3:
            best, other = self._prices(side)[0], self._prices(-side)[0]
            price = best - side * TICK_E4 * (int(self._random.expovariate(0.4)) - 1)
            price = min(price, other - TICK_E4) if side == 1 else max(price, other + TICK_E4)
            order = self._place(side, price)
            self._publish(self._is_seen(side, price), ENTER, *order, price, side)
        else:
            self._take(kind, side)

    def _take(self, kind: int, side: int) -> None:
        prices = self._prices(side)
        price = prices[0] if kind == EXECUTE else prices[min(int(self._random.expovariate(0.4)), len(prices) - 1)]
        seen = self._is_seen(side, price)
        queue = self._sides[side][price]
        order = queue[0] if kind == EXECUTE else self._random.choice(queue)
        if kind == REDUCE and order[1] == 1:
            kind = DELETE
        qty = order[1] if kind == DELETE else self._random.randint(1, order[1] - (kind == REDUCE))
        order[1] -= qty
        if not order[1]:
            queue.remove(order)
        if not queue:
            del self._sides[side][price]
        self._publish(seen, kind, order[0], qty, price, side)

    def _place(self, side: int, price_e4: int) -> list[int]:
        order = [self._next_id, 100 * self._random.randint(1, 5)]
        self._next_id += self._random.randint(1, 40)
        self._sides[side].setdefault(price_e4, []).append(list(order))
        return order

    def _prices(self, side: int) -> list[int]:
        return sorted(self._sides[side], reverse=side == 1)

    def _is_seen(self, side: int, price_e4: int) -> bool:
        return price_e4 in self._prices(side)[:LEVELS]

    def _publish(self, seen: bool, *message: int) -> None:
        if not seen:
            return
        time = f"{self._time_ns // 10**9}.{self._time_ns % 10**9:09d}"
        self.messages.append(f"{time},{','.join(map(str, message))}\n")
        row: list[int] = []
        for level in range(LEVELS):
            for side in (-1, 1):
                prices = self._prices(side)
                price = prices[level] if level < len(prices) else -side * EMPTY_E4
                row += [price, sum(qty for _, qty in self._sides[side].get(price, []))]
        self.book.append(",".join(map(str, row)) + "\n")


def generated() -> dict[str, str]:
    """The text of each file by its name."""
    market = Market(SEED)
    while len(market.messages) < MESSAGES:
        market.step()
    top = [",".join(row.split(",")[:4]) + "\n" for row in market.book]
    kinds = {"message": market.messages, "book10": market.book, "top1": top}
    return {f"{NAME}_{kind}.csv": "".join(rows) for kind, rows in kinds.items()}


if __name__ == "__main__":
    for name, text in generated().items():
        (Path(__file__).parent / name).write_text(text)
