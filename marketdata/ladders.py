"""Ladders of all instruments, kept from REPORT rows: market data of levels 1 and 2.

``Ladders`` has an image and a digest, as a projection has: whoever restores it and follows the rest of the reports has
the same ladders, and gives the same rows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.digest import part_digest
from engine.jit import INTERPRETED, Packed
from engine.kernel_cache import cache_directory_of
from engine.records import Side
from marketdata.ladder_fold import displayed, follow, show_all, top
from marketdata.ladder_tables import IMAGE_LAYOUT, IMAGE_ORDER, LEVEL_CHANGE, QUOTE, LadderTables, new_tables
from reports.rows import REPORT

Rows = NDArray[Any]
_LAYOUT: Final = np.frombuffer(IMAGE_LAYOUT, np.uint8)


class Ladders:
    """Displayed price levels of each instrument and side, from the first report on or from an image.

    Each order number is of one order for ever, so reports have to come in order and without a gap.
    """

    name = "ladders"
    #: Rises when an image of before would give other ladders.
    version = 1

    def __init__(self, capacity: Capacity) -> None:
        self._sizes = (capacity.orders_max, capacity.instruments_max)
        self._packed = Packed(new_tables(*self._sizes))

    @property
    def tables(self) -> LadderTables:
        """Tables of the fold; filled in place."""
        return self._packed.arrays

    @property
    def seq(self) -> int:
        """The last command that was followed and has reports; 0 before the first."""
        return int(self.tables.venue[0]["seq"])

    def take(self, reports: Rows, *, whole: bool = True) -> tuple[Rows, Rows]:
        """Follow REPORT rows; gives LEVEL_CHANGE rows (level 2) and QUOTE rows (level 1), arrays of their own.

        A change follows each report that changes what a level shows, a quote each command that changes the best of a
        side or the phase. whole: False where more reports of the last command are to come.
        """
        reports = np.ascontiguousarray(reports)
        view = reports.view()
        view.flags.writeable = False
        changes = np.empty(2 * len(reports), LEVEL_CHANGE)
        quotes = np.empty(len(reports) + int(self.tables.venue[0]["touched"]), QUOTE)
        n, q = follow(self._packed.pointers, view, changes, quotes, int(whole))
        return changes[:n], quotes[:q]

    def top(self, instrument: int, side: Side, depth: int) -> Rows:
        """The best ``depth`` levels of a side, best first: LEVEL_CHANGE rows. instrument: its number, from 1."""
        levels = np.empty(max(depth, 0), LEVEL_CHANGE)
        return levels[: top(self._packed.pointers, np.int64(instrument), np.int64(side), levels)]

    def quote(self, instrument: int) -> Any:
        """The QUOTE row in force of an instrument: best bid and offer, and phase. instrument: its number, from 1."""
        return self.tables.quotes[instrument]

    def image(self) -> dict[str, Rows]:
        """Image for ``restore``, between two commands."""
        orders = np.zeros(int(self.tables.venue[0]["orders"]), IMAGE_ORDER)
        displayed(self._packed.pointers, orders)
        used = int(np.max(np.flatnonzero(self.tables.quotes["seq"]), initial=0)) + 1
        return {
            "layout": _LAYOUT,
            "orders": orders[np.argsort(orders["order_number"], kind="stable")],
            "quotes": self.tables.quotes[:used].copy(),
            "clock": np.array([self.seq, self.tables.venue[0]["now_ns"]], np.int64),
        }

    def digest(self) -> bytes:
        """Digest (16 bytes) of the ladders: equal for the same reports, however they came and whatever the capacity."""
        return part_digest(self.image())

    def restore(self, arrays: Mapping[str, Rows]) -> None:
        """Continue from an image, in fresh ladders. Raises ValueError for an image of another kind or without room."""
        if not np.array_equal(arrays["layout"], _LAYOUT):
            raise ValueError("it was written with other tables than this release has")
        orders, quotes = np.ascontiguousarray(arrays["orders"]), arrays["quotes"]
        if orders.dtype != IMAGE_ORDER or quotes.dtype != QUOTE or len(arrays["clock"]) != 2:
            raise ValueError("its orders or quotes are damaged")
        if len(quotes) > len(self.tables.quotes) or len(orders) > self._sizes[0]:
            raise ValueError("it has more orders or instruments than there is room for")
        show_all(self._packed.pointers, orders, np.empty(1, LEVEL_CHANGE))
        self.tables.quotes[: len(quotes)] = quotes
        venue = self.tables.venue[0]
        venue["seq"], venue["now_ns"] = (int(each) for each in arrays["clock"])


def is_compiled() -> bool:
    """True if the kernels are in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).parent).rglob("ladder_fold.follow*.nbc"))


def compile_kernels() -> None:
    """Compile or load the kernels."""
    ladders = Ladders(Capacity(1, 1, 1, 1))
    ladders.take(np.zeros(1, REPORT))
    ladders.restore(ladders.image())
    ladders.top(1, Side.BUY, 1)
