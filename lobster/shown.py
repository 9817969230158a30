"""The published rows of a LOBSTER book: sizes beyond the horizon that a row shows, as they were before its message.

A level that moves into the published ones shows orders that no message told. The messages of the row's own level are
undone, so that these orders can enter ahead of it, in front of it in the queue.
"""

import numpy as np
from numpy.typing import NDArray

from lobster.read import EMPTY_E4, ENTER, EXECUTE, Messages


class ShownBook:
    """The first ``levels`` levels a side of each row; ``rows``: number of rows. Ranks as in ``BookSide``."""

    def __init__(self, book: NDArray[np.int64], levels: int, messages: Messages) -> None:
        self.rows = len(book)
        self._book = book[:, : 4 * levels]
        self._messages = messages
        self._last = {side: self._last_ranks(side) for side in (-1, 1)}

    def _last_ranks(self, side: int) -> list[int]:
        price, qty = (self._book[:, column] for column in ((-4, -3) if side == -1 else (-2, -1)))
        ranks: list[int] = np.where(qty > 0, -side * price, EMPTY_E4).tolist()
        return ranks

    def last_rank(self, side: int, row: int) -> int:
        """The rank of the last published level; that of every price where the side has fewer levels."""
        return self._last[side][row]

    def sizes_before(self, side: int, row: int, horizon: int) -> dict[int, int]:
        """Price to size of what the row shows beyond a rank, as it was before the message of the row."""
        column = 0 if side == -1 else 2
        numbers = self._book[row].tolist()
        levels = zip(numbers[column::4], numbers[column + 1 :: 4], strict=True)
        sizes = {price: qty for price, qty in levels if qty and -side * price > horizon}
        kind, price = int(self._messages.type[row]), int(self._messages.price_e4[row])
        told = kind <= EXECUTE and int(self._messages.side[row]) == side
        if told and horizon < -side * price <= self.last_rank(side, row):
            qty = int(self._messages.qty[row])
            sizes[price] = max(0, sizes.get(price, 0) + (-qty if kind == ENTER else qty))
        return sizes
