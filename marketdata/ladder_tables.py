"""Tables of the ladders, and the rows that say how they change.

A ladder is one side of the displayed book of an instrument: its prices, each with its quantity and number of orders.
All ladders are in one tree, by keys that sort as the prices do: best price first, one side of an instrument after
the other. So the best level is the first key of a side, and the next one the key after it.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.digest import layout_digest
from engine.jit import unpack_pointers
from engine.records import Phase

#: A level after a report that changed it. qty, orders: what it has now; both 0: it is gone. price_e4 0: market orders,
#: which wait for an auction.
LEVEL_CHANGE: Final = np.dtype(
    [
        ("seq", "<i8"),
        ("time_ns", "<i8"),
        ("price_e4", "<i8"),
        ("qty", "<i8"),
        ("orders", "<i4"),
        ("instrument", "<u2"),
        ("side", "i1"),
        ("unused", "u1"),
    ]
)
#: Best bid, best offer and phase of an instrument after a command that changed one of them. A side without a level
#: has 0 everywhere. ``before_…`` and ``since_ns``: the quote before, and the clock since which it stood (0: there was
#: none).
QUOTE: Final = np.dtype(
    [
        *((name, "<i8") for name in ("seq", "time_ns", "since_ns")),
        *((name, "<i8") for name in ("bid_e4", "bid_qty", "offer_e4", "offer_qty")),
        *((name, "<i8") for name in ("before_bid_e4", "before_bid_qty", "before_offer_e4", "before_offer_qty")),
        *((name, "<i4") for name in ("bid_orders", "offer_orders")),
        ("instrument", "<u2"),
        ("phase", "u1"),
        ("before_phase", "u1"),
        ("unused", "<u4"),
    ]
)

#: Branching of the tree: the bit of the key that decides, and where 0 and 1 lead: twice the number of a branching, or
#: twice the number of a level plus 1; 0: nowhere. A free one has the next free one in ``zero``.
NODE: Final = np.dtype([("bit", "<i8"), ("zero", "<i8"), ("one", "<i8")])
#: Level: its key, quantity and number of orders. A free one has the next free one in ``key``.
LEVEL: Final = np.dtype([("key", "<i8"), ("qty", "<i8"), ("orders", "<i8")])
#: Displayed order: its number (0: a free row), level and quantity.
SHOWN: Final = np.dtype([("order_number", "<i8"), ("level", "<i4"), ("qty", "<u4")])
#: The one row of all ladders: root of the tree, free and highest numbers, displayed orders, the command under way
#: with its time, and the number of instruments that it touched.
VENUE: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("root", "nodes_free", "nodes_high", "levels_free", "levels_high"),
            *("orders", "seq", "now_ns", "touched"),
        )
    ]
)


class LadderTables(NamedTuple):
    """State of the fold. Row 0 of ``nodes``, ``levels`` and ``quotes`` is none.

    ``quotes``: the last quote of each instrument, with its phase now. ``touched``: the instruments that the command
    under way touched. ``is_touched``: 1 for each of them.
    """

    nodes: np.ndarray[Any, Any]  # NODE[orders_max + 1]
    levels: np.ndarray[Any, Any]  # LEVEL[orders_max + 1]
    shown: np.ndarray[Any, Any]  # SHOWN[power of two]
    quotes: np.ndarray[Any, Any]  # QUOTE[instruments_max + 1]
    touched: np.ndarray[Any, Any]  # int64[instruments_max + 1]
    is_touched: np.ndarray[Any, Any]  # uint8[instruments_max + 1]
    venue: np.ndarray[Any, Any]  # VENUE[1]


def new_tables(orders_max: int, instruments_max: int) -> LadderTables:
    """Tables before the first report. The system provides memory as it is first written."""
    places = 16
    while places < 2 * orders_max:
        places *= 2
    quotes = np.zeros(instruments_max + 1, QUOTE)
    quotes["phase"] = quotes["before_phase"] = Phase.CLOSED
    return LadderTables(
        nodes=np.zeros(orders_max + 1, NODE),
        levels=np.zeros(orders_max + 1, LEVEL),
        shown=np.zeros(places, SHOWN),
        quotes=quotes,
        touched=np.zeros(instruments_max + 1, np.int64),
        is_touched=np.zeros(instruments_max + 1, np.uint8),
        venue=np.zeros(1, VENUE),
    )


#: Unpack the tables in a kernel, from the pointers of a ``Packed``.
unpack_tables = unpack_pointers(new_tables(1, 1))
#: An order that is displayed, as an image has it.
IMAGE_ORDER: Final = np.dtype(
    [("order_number", "<i8"), ("price_e4", "<i8"), ("qty", "<i8"), ("instrument", "<i8"), ("side", "<i8")]
)
#: Digest (16 bytes) of the layouts of what an image has: orders and quotes.
IMAGE_LAYOUT: Final = layout_digest({"orders": np.zeros(0, IMAGE_ORDER), "quotes": np.zeros(0, QUOTE)})
