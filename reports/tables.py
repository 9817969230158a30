"""Tables of the fold: open orders, instruments, participants, users, and the place in the stream of commands.

Everything that a report says beyond its command and event is here. The tables are bounded by the capacity of the venue.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.bounds import SCHEDULES_MAX
from engine.capacity import waiting_max
from engine.digest import layout_digest
from engine.jit import unpack_pointers
from engine.records import COMMAND, Phase
from reports.rows import REPORT, REPORT_WORDS, ReportFlag
from reports.waiting import WaitingRows, new_waiting

#: Version of the meaning of the tables, for images (checkpoints). Increment it with any change after which an older
#: image would restore another fold though its layout is equal (``TABLES_LAYOUT``).
TABLES_VERSION: Final = 2

#: Open order, found by participant and client order id; participant 0: a free row. Sums and quantities are those of
#: ``reports.rows``. ``user``: of the order, 0: none.
ORDER: Final = np.dtype(
    [
        ("client_order_id", "<i8"),
        ("order_number", "<i8"),
        ("notional_e4", "<i8"),
        ("price_e4", "<i8"),
        ("context", "<i8"),
        ("qty", "<u4"),
        ("leaves_qty", "<u4"),
        ("cum_qty", "<u4"),
        ("participant", "<u2"),
        ("user", "<u2"),
        ("instrument", "<u2"),
        ("instructions", "<u2"),
        ("side", "i1"),
        ("time_in_force", "u1"),
        ("self_trade", "u1"),
        ("flags", "u1"),
    ]
)
#: Flags of an order: it is in the book; it has a row of TERMS; its book is the midpoint book; it has been replaced, as
#: its reports say (an image of before there was this flag has it for none); and two bits from ``PEG_BITS`` on, the
#: reference of a peg.
IN_BOOK: Final = 1
HAS_TERMS: Final = 2
OF_MIDPOINT: Final = 4
PEG_BITS: Final = 3
PEG_MASK: Final = 3
WAS_REPLACED: Final = int(ReportFlag.REPLACED)
#: Rare terms of an order: a long token, another quantity than at its entry, a minimum, what an iceberg shows at most
#: and now, a stop, the offset of a peg, the time of its end.
TERMS: Final = np.dtype(
    [
        ("token_head", "<i8"),
        ("token_tail", "<i8"),
        ("original_qty", "<i8"),
        ("min_qty", "<i8"),
        ("display_qty", "<u4"),
        ("shown_qty", "<u4"),
        ("stop_price_e4", "<i8"),
        ("offset_e4", "<i8"),
        ("until_ns", "<i8"),
    ]
)
#: Words of 8 bytes of an ORDER row, and of a TERMS row.
ORDER_WORDS: Final = ORDER.itemsize // 8
#: Instrument; row 0 is none. ``cross``: liquidity of its next uncross, which follows from the phase that it ends.
INSTRUMENT: Final = np.dtype([("symbol", "<i8"), ("phase", "<i8"), ("cross", "<i8")])
#: User, in order of first definition; row 0 is none.
USER: Final = np.dtype([("name", "<i8"), ("participant", "<i8"), ("firm", "<i8"), ("permissions", "<i8")])
#: The one row of the venue. now_ns: the clock in force. instruments, participants, users: numbers of those defined.
#: Of the command under way: seq, number (of its last report), last_own (place of the last event about its own order),
#: day_begins (1: the report of the new trading day is to come), before_ns (the clock before). clock_moves (1: it is
#: a clock value that the market took). day_start_ns: when a trading day begins, after 00:00 UTC. schedules: how many
#: wait. speed_bump_ns: the entry delay, 0 for none.
VENUE: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            *("now_ns", "instruments", "participants", "users"),
            *("seq", "number", "last_own", "day_begins", "before_ns", "day_start_ns"),
            *("clock_moves", "schedules", "speed_bump_ns"),
        )
    ]
)
#: Schedule that waits: its time, its instrument (0: each), its phase.
SCHEDULE: Final = np.dtype([("due_ns", "<i8"), ("instrument", "<i8"), ("phase", "<i8")])


class ReportTables(NamedTuple):
    """State of the fold. The last row of ``orders`` and ``terms`` is no place of the table: it is scratch.

    ``carried``: two COMMAND rows: the EXTEND row that the block before ended with, else zeros; and always zeros.
    ``order_words``, ``term_words``: the same memory as words. ``waiting``, ``waiting_words``, ``waiting_numbers``: the
    ring of commands that wait (``reports.waiting``), and ``waiting_due`` when each place is due. ``schedules``: those
    that wait, by time, of one time as they were given. ``open_orders``: number of rows of ``orders`` that are in use.
    """

    orders: np.ndarray[Any, Any]  # ORDER[power of two + 1]
    order_words: np.ndarray[Any, Any]  # int64[as many, 8]
    terms: np.ndarray[Any, Any]  # TERMS[as many]
    term_words: np.ndarray[Any, Any]  # int64[as many, 8]
    instruments: np.ndarray[Any, Any]  # INSTRUMENT[instruments_max + 1]
    participants: np.ndarray[Any, Any]  # int64[participants_max + 1]: names
    users: np.ndarray[Any, Any]  # USER[users_max + 1]
    venue: np.ndarray[Any, Any]  # VENUE[1]
    carried: np.ndarray[Any, Any]  # COMMAND[2]
    waiting: np.ndarray[Any, Any]  # COMMAND[2 * waiting_max]
    waiting_words: np.ndarray[Any, Any]  # int64
    waiting_numbers: np.ndarray[Any, Any]  # int64[5]
    waiting_due: np.ndarray[Any, Any]  # int64[waiting_max]: ns since 1970
    schedules: np.ndarray[Any, Any]  # SCHEDULE[SCHEDULES_MAX]
    open_orders: np.ndarray[Any, Any]  # int64[1]


class ReportRoom(NamedTuple):
    """Room for REPORT rows, and the same memory as words. It may be a part of a tape in shared memory."""

    rows: np.ndarray[Any, Any]  # REPORT[n]
    words: np.ndarray[Any, Any]  # int64[n, 32]


def new_tables(orders_max: int, instruments_max: int, participants_max: int, users_max: int) -> ReportTables:
    """Tables before the first command. The system provides memory as it is first written."""
    places = 16
    while places < 2 * orders_max:
        places *= 2
    orders, terms = np.zeros(places + 1, ORDER), np.zeros(places + 1, TERMS)
    instruments = np.zeros(instruments_max + 1, INSTRUMENT)
    instruments["phase"] = Phase.CLOSED
    waiting = new_waiting(waiting_max(orders_max))
    return ReportTables(
        orders=orders,
        order_words=orders.view(np.int64).reshape(-1, ORDER_WORDS),
        terms=terms,
        term_words=terms.view(np.int64).reshape(-1, ORDER_WORDS),
        instruments=instruments,
        participants=np.zeros(participants_max + 1, np.int64),
        users=np.zeros(users_max + 1, USER),
        venue=np.zeros(1, VENUE),
        carried=np.zeros(2, COMMAND),
        waiting=waiting.rows,
        waiting_words=waiting.words,
        waiting_numbers=waiting.numbers,
        waiting_due=np.zeros(waiting_max(orders_max), np.int64),
        schedules=np.zeros(SCHEDULES_MAX, SCHEDULE),
        open_orders=np.zeros(1, np.int64),
    )


def ring_of(tables: ReportTables) -> WaitingRows:
    """The commands that wait."""
    return WaitingRows(tables.waiting, tables.waiting_words, tables.waiting_numbers)


def new_room(rows: int) -> ReportRoom:
    """Room for a number of reports."""
    room = np.zeros(rows, REPORT)
    return ReportRoom(room, room.view(np.int64).reshape(-1, REPORT_WORDS))


_SMALLEST: Final = new_tables(1, 1, 1, 1)
#: Unpack tables and room in a kernel, from the pointers of a ``Packed``.
unpack_tables = unpack_pointers(_SMALLEST)
unpack_room = unpack_pointers(new_room(1))

#: Digest (16 bytes) of names, order and dtypes of the tables that an image has.
TABLES_LAYOUT: Final = layout_digest(
    {name: getattr(_SMALLEST, name) for name in ("orders", "terms", "instruments", "participants", "users", "venue")}
)
