"""The book before the first message of a LOBSTER file, and the price that its instrument begins with.

The first row of a book file is the book after the first message, which is undone here.
"""

import numpy as np
from numpy.typing import NDArray

from engine.bounds import QTY_MAX
from lobster.read import DELETE, EMPTY_E4, ENTER, EXECUTE, REDUCE, LobsterError, Messages


def check_seed(before: dict[int, dict[int, int]], name: str) -> None:
    """Check the opening book. Raises LobsterError for a level above the largest quantity of an order."""
    for price_e4, qty in (each for side in before.values() for each in side.items()):
        if qty > QTY_MAX:
            raise LobsterError(
                f"{name}: before the first message {qty:,} shares are at the price {price_e4}, and the order that "
                f"stands for them may have at most {QTY_MAX:,}; begin the files at a row with fewer."
            )


def reference_e4(messages: Messages, before: dict[int, dict[int, int]]) -> int:
    """The reference price: the best ask or bid of the opening book, or the price of the first displayed order.

    Raises LobsterError when there is neither.
    """
    displayed = messages.price_e4[messages.type <= EXECUTE]
    prices = [*sorted(before[-1])[:1], *sorted(before[1])[-1:], *displayed[:1].tolist()]
    if not prices:
        raise LobsterError(
            f"{messages.name}: the opening book is empty and no message is about a displayed order, so that there is "
            "no reference price; give a file with orders."
        )
    return int(prices[0])


def book_before(messages: Messages, book: NDArray[np.int64]) -> tuple[dict[int, dict[int, int]], tuple[int, int]]:
    """The book before the first message, price to size a side, and the ranks of both horizons (asks, bids).

    The first row of a book file is the book after the first message, which is undone here. Raises LobsterError when
    that cannot be.
    """
    before: dict[int, dict[int, int]] = {-1: {}, 1: {}}
    first = book[0].tolist()
    for side, column in ((-1, 0), (1, 2)):
        prices, sizes = first[column::4], first[column + 1 :: 4]
        before[side] = {price: qty for price, qty in zip(prices, sizes, strict=True) if qty}
    ends = {
        side: max(-side * price for price in before[side]) if len(before[side]) * 4 == len(first) else EMPTY_E4
        for side in before
    }
    kind, qty = int(messages.type[0]), int(messages.qty[0])
    side, price_e4 = int(messages.side[0]), int(messages.price_e4[0])
    if kind in (REDUCE, DELETE, EXECUTE):
        before[side][price_e4] = before[side].get(price_e4, 0) + qty
    elif kind == ENTER and -side * price_e4 <= ends[side]:
        left = before[side].pop(price_e4, 0) - qty
        if left < 0:
            raise LobsterError(
                f"{messages.name}:{messages.first_line}: the first row of the book file does not hold the order "
                "entered; give the book file of the same day and time."
            )
        if left:
            before[side][price_e4] = left
    if before[-1] and before[1] and min(before[-1]) <= max(before[1]):
        raise LobsterError(
            f"{messages.name}:{messages.first_line}: the opening book is crossed; begin with a row where it is not."
        )
    return before, (ends[-1], ends[1])
