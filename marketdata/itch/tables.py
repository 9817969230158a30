"""Tables of the ITCH feed: what it shows of each order and instrument, and its place in the day.

They are bounded by the capacity of the venue.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.bounds import INDICES_MAX, MEMBERS_MAX
from engine.digest import layout_digest
from engine.jit import unpack_pointers

#: Version of the meaning of the tables, for images. Increment it with any change after which an older image would
#: restore another feed though its layout is equal (``FEED_LAYOUT``).
FEED_VERSION: Final = 2

#: Showing of an order, found by its number; order_number 0: a free row. ``place``: number of this showing
#: among all, from 1, so orders of one price trade in the order of their places. ``again``: 1 where the order was
#: shown before under another reference.
SHOWN: Final = np.dtype(
    [
        ("order_number", "<i8"),
        ("place", "<i8"),
        ("price_e4", "<u4"),
        ("shown_qty", "<u4"),
        ("instrument", "<u2"),
        ("side", "i1"),
        ("again", "u1"),
        ("reserved", "<u4"),
    ]
)
#: Instrument; row 0 is none. ``stock``: its symbol as eight characters padded on the right. ``reason``: code of the
#: halt, 0: it is not halted; of a market-wide one the level times 256 is added. ``price_e4``: of its last trade in the
#: displayed book or its auctions, before the first as it was defined.
STOCK: Final = np.dtype([(name, "<i8") for name in ("stock", "lot", "phase", "reason", "price_e4")])
#: Index. level_*_bps: falls in hundredths of a percent, 0: no such level; level_*_ns: how long each halts the market,
#: 0: it closes. opening_e4: its value when the trading day began. reached: the deepest level of that day.
INDEX: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("members", "level_1_bps", "level_1_ns", "level_2_bps", "level_2_ns", "level_3_bps", "level_3_ns"),
            *("opening_e4", "reached"),
        )
    ]
)
#: Member of an index; those of index n are in block n of ``MEMBERS_MAX`` rows, and block 0 has those that wait.
MEMBER: Final = np.dtype([("symbol", "<i8"), ("weight", "<i8"), ("instrument", "<i8")])
#: The one row of the feed. day: of its session, in days since 1970; begun: 1 once the session has begun. messages:
#: messages of the session. instruments: number of those defined; not_closed: of those in another phase than closed.
#: places: the last place given. seq: the last command whose reports were taken. opened, closed: 1 once market hours
#: have begun, or ended. left_out: messages that ITCH cannot carry. running: number of the
#: order that left the book with the last replace, to run again. day_start_ns: when a trading day begins, after 00:00;
#: day_ns, day_end_ns: 00:00 of the date in which the session begins, and the end of its trading day. cross_*: the
#: uncross under way, cross_qty 0: none. indices: number of those defined; gathered: members that wait for the index
#: of the name gathered_name. reached: the deepest level of a market-wide halt of the day; acts: that of the last one.
FEED: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("day", "begun", "messages", "instruments", "not_closed", "places", "seq", "opened", "closed", "left_out"),
            *("running", "day_start_ns", "day_ns", "day_end_ns"),
            *("cross_qty", "cross_price_e4", "cross_match", "cross_kind", "cross_instrument", "cross_time_ns"),
            *("indices", "gathered", "gathered_name", "reached", "acts"),
        )
    ]
)
#: Words of 8 bytes of a SHOWN row.
SHOWN_WORDS: Final = SHOWN.itemsize // 8
#: Reference of an order that is shown for the first time: its number, which OUCH tells its owner too. Of any later
#: showing, and of orders whose numbers come so far: this, and its place. Readers of ITCH take references up to 2^36.
FURTHER_REFERENCES: Final = 1 << 35


class FeedTables(NamedTuple):
    """State of the feed. The last row of ``shown`` is no place of the table: it is scratch.

    ``shown_words``: the same memory as words.
    """

    shown: np.ndarray[Any, Any]  # SHOWN[power of two + 1]
    shown_words: np.ndarray[Any, Any]  # int64[as many, 4]
    stocks: np.ndarray[Any, Any]  # STOCK[instruments_max + 1]
    feed: np.ndarray[Any, Any]  # FEED[1]
    indices: np.ndarray[Any, Any]  # INDEX[INDICES_MAX]
    members: np.ndarray[Any, Any]  # MEMBER[(INDICES_MAX + 1) * MEMBERS_MAX]


class FeedRoom(NamedTuple):
    """Room for framed messages."""

    out: np.ndarray[Any, Any]  # uint8[n]


def new_tables(orders_max: int, instruments_max: int) -> FeedTables:
    """Tables before the first report. The system provides memory as it is first written."""
    places = 64
    while places < 2 * orders_max:
        places *= 2
    shown = np.zeros(places + 1, SHOWN)
    return FeedTables(
        shown=shown,
        shown_words=shown.view(np.int64).reshape(-1, SHOWN_WORDS),
        stocks=np.zeros(instruments_max + 1, STOCK),
        feed=np.zeros(1, FEED),
        indices=np.zeros(INDICES_MAX, INDEX),
        members=np.zeros((INDICES_MAX + 1) * MEMBERS_MAX, MEMBER),
    )


def new_room(octets: int) -> FeedRoom:
    """Room for so many bytes of messages."""
    return FeedRoom(np.zeros(octets, np.uint8))


_SMALLEST: Final = new_tables(1, 1)
#: Unpack tables and room in a kernel, from the pointers of a ``Packed``.
unpack_tables = unpack_pointers(_SMALLEST)
unpack_room = unpack_pointers(new_room(1))
#: Digest (16 bytes) of names, order and dtypes of the tables that an image has.
FEED_LAYOUT: Final = layout_digest(
    {name: getattr(_SMALLEST, name) for name in _SMALLEST._fields if name != "shown_words"}
)
