"""The state of the venue: a NamedTuple of flat arrays. Its bytes are the checkpoint, and what is hashed.

A slot number is the pointer. Slot 0 of orders, leaves and nodes is never used, so that 0 means none, and fresh
zeroed arrays are a valid empty venue. Instrument and participant n are rows n - 1.

An order knows its price but not its level: levels move between the price window and the far tree (``book.py``)
without touching the orders in them.
"""

import mmap
from contextlib import suppress
from enum import IntFlag
from typing import Any, Final, NamedTuple

import numpy as np

from engine.bounds import INDICES_MAX, MEMBERS_MAX, MEMORY_SECONDS, RATE_ORDERS_MAX, SCHEDULES_MAX
from engine.capacity import Capacity, waiting_max
from engine.digest import layout_digest
from engine.jit import unpack_pointers
from engine.records import COMMAND

#: Version of the meaning of the state, for images (checkpoints). Increment it with any change after which an image of
#: before would be restored into another market, or none, though its arrays look the same (``STATE_LAYOUT``): the
#: meaning or unit of a field, a hash function or the shape of a tree (``index.py``, ``idtree.py``, ``far.py``), the
#: order in which free slots are used again, the parts of an image (``parts.py``), the links of the event digest
#: (``digest.py``), the name of a field, or the dtype of rows of which an image keeps pages (``parts.Region``). Declare
#: then in ``state_forms.py`` how an image of before is converted. Do not increment it for anything else: checkpoints of
#: before are not used any more, and a node that starts replays its whole journal.
STATE_VERSION: Final = 6

#: Ticks of the window of directly indexed prices of each side of a book: 64 words of 64 bits.
WINDOW: Final = 4_096
WINDOW_WORDS: Final = 64

#: Rows of the table of ids, a power of two, that share a mark: those of neighbouring ids (``index.py``).
ID_MARK_ROWS: Final = 1_024

#: Rows of that table in a cache line, and lines of which a word of ``stale_lines`` tells.
ID_LINE_ROWS: Final = 4
ID_LINES_OF_A_WORD: Final = 64

#: Commands ahead of which it is noted where they lead, a power of two (``ahead.py``).
COMING: Final = 32

#: Exposures and limits have whole pages of rows, which ``parts.py`` looks at page by page.
PAIRS_OF_A_PAGE: Final = 128

#: Rows at the end of ``ladder`` for the steps down a tree (``oldest.py``).
WAY: Final = 64

LINE_BYTES: Final = 64
_INT64: Final = np.dtype(np.int64)

#: One row: counters and heads of free lists.
VENUE: Final = np.dtype(
    [
        ("now_ns", "<i8"),
        ("trading_day", "<i8"),
        ("seq", "<i8"),
        ("epoch", "<i8"),  # of the primary whose reign it is; 0 before the first
        ("last_order_number", "<i8"),  # of the newest order; 0 before the first
        ("last_trade_number", "<i8"),
        ("orders_open", "<i8"),
        ("orders_free", "<i8"),  # first free slot, chained by next
        ("orders_high", "<i8"),  # highest slot ever used
        ("orders_max", "<i8"),
        ("ids_used", "<i8"),
        ("ids_max", "<i8"),
        ("ids_mask", "<i8"),
        ("instruments", "<i8"),
        ("instruments_max", "<i8"),
        ("participants", "<i8"),
        ("participants_max", "<i8"),
        ("leaves_free", "<i8"),
        ("leaves_high", "<i8"),
        ("nodes_free", "<i8"),
        ("nodes_high", "<i8"),
        ("special", "<i8"),  # bits ``CONTINUED``, ``DELAYED``, ``FORGETTING``: why a command is not applied as it comes
        ("continuation_0", "<i8"),  # the six numbers of a continuation row (EXTEND) that waits for its command
        ("continuation_8", "<i8"),
        ("continuation_16", "<i8"),
        ("continuation_24", "<i8"),
        ("continuation_32", "<i8"),
        ("continuation_40", "<i8"),
        ("id_leaves", "<i8"),  # the newest leaf of the tree of ids
        ("id_root", "<i8"),  # of that tree: 0, or a reference into it
        ("calls", "<i8"),  # how many instruments are in a call
        ("slices", "<i8"),  # of all open icebergs
        ("expiries", "<i8"),  # open orders that end at a time of their own (``expiries.py``)
        ("pending", "<i8"),  # how many instruments have a bit of ``Pending``; 0: an order has nothing to look after
        ("looked_trade_number", "<i8"),  # the newest trade that volatility breakers have looked at
        ("weighed_trade_number", "<i8"),  # the newest trade that indices have
        ("indices", "<i8"),
        ("index_levels", "<i8"),  # of all of them
        ("gathered", "<i8"),  # members that wait for their index; 1 more than an index may have: there were more
        ("gathered_name", "<i8"),  # of that index
        ("schedules", "<i8"),  # how many wait
        ("schedules_of_all", "<i8"),  # of them, those of every instrument
        ("phase_changes", "<i8"),  # that one command may bring: one of each instrument, and those of schedules
        ("last_time", "<i8"),  # the newest of ``times``
        ("timers_first", "<i8"),  # instrument with the earliest timer, and with the latest; 0: none (``timers.py``)
        ("timers_last", "<i8"),
        ("pegs", "<i8"),  # open pegs
        ("fresh_peg", "<i8"),  # only within a command: slot of the peg that it entered or replaced, which has no price
        ("fresh_stop", "<i8"),  # 1: a stop came to wait after the consequences of the last command
        ("peg_prices", "<i8"),  # that pegs took in the command ``peg_seq``
        ("peg_seq", "<i8"),
        ("day_start_ns", "<i8"),  # when a trading day begins, after 00:00 UTC
        ("speed_bump_ns", "<i8"),  # the entry delay (``delay.py``); 0: none
        ("waiting", "<i8"),  # how many commands wait for their effect
        ("waiting_first", "<i8"),  # of the ring, the row that is due first
        ("halfway", "<i8"),  # only within a command that is many: where it goes on (``room.py``)
        ("id_day", "<i8"),  # what orders that took their id today have as ``id_day``: 0, 2 and so on to 255, 0
        ("id_half", "<i8"),  # half of ``id_tree`` that has the tree of today: 0 or 1
        ("old_id_leaves", "<i8"),  # the newest leaf, and the root, of the tree of the day before, in the other half;
        ("old_id_root", "<i8"),  # zeros when all its open orders are found otherwise (``forgetting.py``)
        ("old_id_leaf", "<i8"),  # the last of those leaves that was looked at
        ("id_word", "<i8"),  # words of ``stale_lines`` that were gone through since the day began
        ("id_leaf", "<i8"),  # leaves of today that were, after them
        ("aged_slot", "<i8"),  # the last slot whose ``id_day`` was looked at
        ("days", "<i8"),  # trading days that began, of 32 bits: what a leaf of ``id_tree`` noted today has as ``day``
    ]
)

INSTRUMENT: Final = np.dtype(
    [
        ("symbol", "<i8"),
        ("tick_e4", "<i8"),
        ("lot", "<i4"),
        ("band", "<i4"),  # of limit prices around the reference price: 1 more than its bps; 0: none
        ("reference_e4", "<i8"),
        ("last_trade_e4", "<i8"),
        ("window_tick", "<i8"),  # lowest tick of the window, a multiple of 64
        ("phase", "<i8"),
        ("pending", "<i8"),  # bits of ``Pending``
        ("adv_qty", "<i8"),  # average daily volume; 0: none
        ("due_ns", "<i8"),  # when the halt, or the call after it, ends; 0: not by the clock
        ("timer_before", "<i8"),  # instruments with the next earlier and the next later timer (``timers.py``)
        ("timer_after", "<i8"),
        ("indicative_e4", "<i8"),  # price in the last indicative event of this call; zeros before the first
        ("paired_qty", "<i8"),  # of that event
        ("imbalance_qty", "<i8"),  # of that event: buys less sells
        ("touched", "<i8"),  # only within a command: what is pending in it is to be looked at
        ("cancel_on_halt", "<i8"),  # 1: a halt cancels its orders
        ("midpoint", "<i8"),  # 1: it has a midpoint book
        ("ending_first", "<u4"),  # its orders that end at an uncross, in a list (``ending.py``); 0: none
        ("ending_last", "<u4"),
        ("volatility", "<i4"),  # of the breaker: 1 more than its bps; 0: none (``breakers.py``)
        ("volatility_window_s", "<i4"),
        ("volatility_halt_ns", "<i8"),
        ("memory_first", "<i4"),  # of its ring of ``trade_seconds``
        ("memory_count", "<i4"),
        ("memory_base_e4", "<i8"),  # in force before them; 0 without a breaker
        ("pegs", "<i8"),  # its open pegs; three cache lines
    ]
)

#: The first cache line has the fields that an order touches.
PARTICIPANT: Final = np.dtype(
    [
        ("group", "<i8"),  # number of the first participant of the group: what self-trade prevention compares
        ("permissions", "<i4"),
        ("killed", "<i4"),  # 1: its entries are refused; it has no open order then
        ("orders_open", "<i8"),
        ("open_notional_e4", "<i8"),
        ("entries", "<i8"),  # counted for the order rate, ever
        ("entered_ns", "<i8"),  # time of the newest of them
        ("limits_count", "<i8"),  # rows of limits that it has: for all instruments, and for single ones
        ("ids_used", "<i8"),  # of the ids in use, those that are its own
        ("name", "<i8"),
        ("group_name", "<i8"),  # 0: none
        ("entry_time_count", "<i8"),  # entries with another time than the one before (``exposure.py``)
        ("reserved", "<i8", (5,)),
    ]
)

#: Exposure of a participant in an instrument: position and open quantities (``exposure.py``); four numbers to kernels.
EXPOSURE: Final = np.dtype(
    [
        ("position_qty", "<i8"),
        ("open_buy_qty", "<i8"),
        ("open_sell_qty", "<i8"),
        ("limits", "<i8"),  # bits of ``Limit``: which are set for the participant in just this instrument
    ]
)

#: A time at which a participant made entries, and how many it had made before.
ENTRY_TIME: Final = np.dtype([("time_ns", "<i8"), ("entries", "<i8")])

#: Limits of a participant: in all instruments (row of instrument 0), or in one. The value of one not set is 0.
LIMITS: Final = np.dtype(
    [
        ("limits", "<i4"),  # bits of ``Limit``
        ("max_order_qty", "<i4"),
        ("rate_orders", "<i4"),
        ("margin_bps", "<i4"),
        ("adv_share_bps", "<i4"),
        ("max_open_orders", "<i4"),
        ("max_order_value_e4", "<i8"),
        ("rate_window_ns", "<i8"),
        ("max_position_qty", "<i8"),
        ("credit_e4", "<i8"),
        ("max_ids", "<i4"),
        ("reserved", "<i4"),
    ]
)

#: One cache line an open order. participant 0: the slot is free.
ORDER: Final = np.dtype(
    [
        ("client_order_id", "<i8"),
        ("order_number", "<i8"),  # order of acceptance in the venue
        ("price_e4", "<i8"),  # 0: market
        # price_e4 / tick_e4. A market order has no tick: it is minus the price in e4 that the order is valued at, which
        # is the reference price when it was entered, or its stop.
        ("tick", "<i8"),
        ("next", "<u4"),
        ("prev", "<u4"),
        ("qty", "<i4"),
        ("leaves_qty", "<i4"),
        ("cum_qty", "<i4"),
        ("participant", "<u2"),
        ("group", "<u2"),
        ("instrument", "<u2"),
        ("instructions", "<u2"),
        ("side", "i1"),
        ("time_in_force", "u1"),
        ("self_trade", "u1"),
        ("id_day", "u1"),  # that of the venue when it took its id; another or 1: on an earlier trading day
    ]
)

#: Of an open order: rows of the orders of the same participant before and after it (``owned.py``).
OWNED: Final = np.dtype([("before", "<u4"), ("after", "<u4")])

#: A client order id used today. participant 0: free. The row of one whose order is gone stays for the day, and after it
#: until its line is no longer stale (``forgetting.py``).
ID: Final = np.dtype([("client_order_id", "<i8"), ("participant", "<u4"), ("slot", "<u4")])

#: Of the tree of ids that are not in the table: a leaf, and a branching with the bit that decides (``idtree.py``).
ID_TREE: Final = np.dtype(
    [
        ("client_order_id", "<i8"),
        ("participant", "<u4"),
        ("slot", "<u4"),
        ("zero", "<u4"),
        ("one", "<u4"),
        ("bit", "<u4"),
        ("day", "<u4"),  # of the leaf, when its slot was noted (``days`` of the venue)
    ]
)

#: One price of one side: its orders in order of priority.
LEVEL: Final = np.dtype([("head", "<u4"), ("tail", "<u4"), ("qty", "<i8")])

#: Terms of an open order that few have, beside its row of ORDER: zeros of one that has none.
TERMS: Final = np.dtype(
    [
        ("stop_tick", "<i8"),  # price in ticks that elects it; 0: it is not dormant
        ("display_qty", "<i4"),  # of an iceberg: the most that it shows
        ("shown_qty", "<i4"),  # what it shows now, while it rests
        ("slices", "<i4"),  # how often it can show a next part: of its quantity as entered or replaced
        ("peg", "<i4"),  # ``Peg``: the reference of its price
        ("until_ns", "<i8"),  # the first clock value at or after it ends the order; 0: none does
        ("expiry_place", "<i8"),  # its place among those that end so
        ("offset_e4", "<i8"),  # of a peg: how far from the reference
        ("peg_e4", "<i8"),  # of a peg: its price; 0: it has none
        ("before", "<u4"),  # orders before and after it: of pegs of the same side and reference (``pegs.py``), or of
        ("after", "<u4"),  # those of its instrument that end at an uncross (``ending.py``)
    ]
)

#: Terms have whole pages of rows, as exposures have.
TERMS_OF_A_PAGE: Final = 64

#: One side of one instrument's lit book (``places.py``), or of its dormant stops or hidden orders: of these only the
#: tree and its best tick are used; or its pegs of one reference: of these the list and the price.
BOOK: Final = np.dtype(
    [
        ("best_tick", "<i8"),  # 0: no limit order
        ("summary", "<i8"),  # bit w: word w of the window is not zero
        ("far_root", "<i8"),  # prices outside the window: 0, or a reference into the tree
        # Of a side of a lit book: the best of its orders that are not displayed (``hidden.py``); 0: none.
        ("hidden_tick", "<i8"),
        ("head", "<u4"),  # closing orders that are kept aside (``aside.py``); pegs
        ("tail", "<u4"),
        ("qty", "<i8"),  # of what is aside
        # Of a side of a lit book: price of its pegs between two ticks; of pegs: the price that they refer to. 0: none.
        ("price_e4", "<i8"),
        # Of a side of a lit book: its best tick as pegs were last priced by it; -1: not in continuous trading.
        ("pegs_tick", "<i8"),
    ]
)

#: A branching of the far tree: the bit of the tick that decides, and where 0 and 1 lead. ``qty``: in a lit book, what
#: the levels below it have open, else 0. ``first_time``: in a midpoint book, the time of the oldest order below it
#: (``oldest.py``), else 0.
NODE: Final = np.dtype(
    [("zero", "<u4"), ("one", "<u4"), ("bit", "<u4"), ("reserved", "<u4"), ("qty", "<i8"), ("first_time", "<i8")]
)


#: Bits of an order's ``instructions`` in the state alone: it is of a midpoint book; it is kept aside; it is in the list
#: of those that end at an uncross.
IN_MIDPOINT: Final = 1 << 15
ASIDE: Final = 1 << 14
ENDING: Final = 1 << 13
IN_STATE_ALONE: Final = IN_MIDPOINT | ASIDE | ENDING

#: Bits of the venue's ``special``: a continuation row waits for the next command; enters, cancels and replaces wait for
#: their effect; ids of the day before are still in their tables.
CONTINUED: Final = 1
DELAYED: Final = 2
FORGETTING: Final = 4


#: Price of the last trade in a second, counted from 1970.
TRADE_SECOND: Final = np.dtype([("second", "<i8"), ("price_e4", "<i8")])

#: An index, with its levels: falls in hundredths of a percent (0: no such level), and how long each halts (0: it
#: closes).
INDEX: Final = np.dtype(
    [
        ("name", "<i8"),
        ("opening_e4", "<i8"),  # its value when the trading day began, or when it was defined
        ("members", "<i8"),
        ("reached", "<i8"),  # the deepest level that was reached today, from 1; 0: none
        ("level_1_bps", "<i8"),
        ("level_1_ns", "<i8"),
        ("level_2_bps", "<i8"),
        ("level_2_ns", "<i8"),
        ("level_3_bps", "<i8"),
        ("level_3_ns", "<i8"),
    ]
)

#: A member of an index. instrument 0: it waits for its index, and may be none.
MEMBER: Final = np.dtype([("symbol", "<i8"), ("weight", "<i8"), ("instrument", "<i8")])

#: Of a command that waits for its effect: its sequence number, and when it is due.
WAIT: Final = np.dtype([("seq", "<i8"), ("due_ns", "<i8")])

#: A phase that an instrument (0: each) takes by a clock value at or after a time.
SCHEDULE: Final = np.dtype([("due_ns", "<i8"), ("instrument", "<u4"), ("phase", "<u4")])


class Pending(IntFlag):
    """Reasons for which a command that touches an instrument has consequences (rulebook section 7)."""

    CALL = 1  # it is in a call: its indicative is to be told
    STOPS = 2  # it has dormant stops
    MIDPOINT = 4  # its midpoint book has orders on both sides
    BREAKERS = 8  # it has a volatility breaker: trades are to be looked at
    INDEX = 16  # it is a member of an index: trades change its value
    PEGS = 32  # it has pegs


class State(NamedTuple):
    """Arrays of the venue; ``scratch``, ``ladder`` and ``coming`` are working room and no part of the state, nor is
    ``id_marks``, which follows from ``ids``. ``waiting_words`` is the memory of ``waiting``.
    """

    venue: np.ndarray[Any, Any]  # VENUE[1]
    instruments: np.ndarray[Any, Any]  # INSTRUMENT[instruments_max]
    participants: np.ndarray[Any, Any]  # PARTICIPANT[participants_max]
    orders: np.ndarray[Any, Any]  # ORDER[orders_max + 1]
    owned: np.ndarray[
        Any, Any
    ]  # OWNED[orders_max + 1, then twice participants_max]: orders of each participant (``owned.py``)
    times: np.ndarray[Any, Any]  # int64[orders_max + 1]: counter of the venue when an order last went to a queue's end
    ids: np.ndarray[Any, Any]  # ID[power of two]: open addressing (``index.py``)
    id_marks: np.ndarray[Any, Any]  # uint8: 1 for each ID_MARK_ROWS rows of ``ids`` of which one is not free
    stale_lines: np.ndarray[Any, Any]  # int64: a bit for each line of four rows of ``ids`` that is of the day before
    id_tree: np.ndarray[Any, Any]  # ID_TREE[two halves, each as many as ``id_tree_half``]
    terms: np.ndarray[Any, Any]  # TERMS[as many, in whole pages]
    expiries: np.ndarray[Any, Any]  # int64[orders_max + 1]: slots of orders that end at a time of their own
    books: np.ndarray[
        Any, Any
    ]  # BOOK[14 * instruments_max]: sides of the lit books, of the stops, of hidden orders, midpoint; pegs
    words: np.ndarray[Any, Any]  # int64[2 * instruments_max * WINDOW_WORDS]: a bit a tick
    word_qty: np.ndarray[Any, Any]  # int64 of the same: what its 64 ticks have open, while in a call (``depth.py``)
    levels: np.ndarray[Any, Any]  # LEVEL[window levels, market levels, levels between ticks, far levels]
    leaf_ticks: np.ndarray[Any, Any]  # int64[orders_max + 1]: tick of a far level; of a free one the next free
    nodes: np.ndarray[Any, Any]  # NODE[orders_max + 1]; of a free one zero is the next free
    exposures: np.ndarray[Any, Any]  # int64: EXPOSURE rows of each participant (0: none), of each instrument (0: all)
    limits: np.ndarray[Any, Any]  # LIMITS of the same
    trade_seconds: np.ndarray[Any, Any]  # TRADE_SECOND[instruments_max * MEMORY_SECONDS]: a ring each
    indices: np.ndarray[Any, Any]  # INDEX[INDICES_MAX], in order of definition
    members: np.ndarray[Any, Any]  # MEMBER[(INDICES_MAX + 1) * MEMBERS_MAX]: those that wait, then those of each index
    schedules: np.ndarray[Any, Any]  # SCHEDULE[SCHEDULES_MAX]: those that wait, in order of time
    waiting: np.ndarray[Any, Any]  # COMMAND[waiting_max]: a ring of those that wait for their effect
    waiting_words: np.ndarray[Any, Any]  # int64[8 * as many]
    waits: np.ndarray[Any, Any]  # WAIT[as many]
    entry_times: np.ndarray[Any, Any]  # ENTRY_TIME[participants_max * RATE_ORDERS_MAX]: a ring each
    scratch: np.ndarray[Any, Any]  # int64[orders_max + 1]: slots to go through in order of acceptance
    ladder: np.ndarray[Any, Any]  # int64[4 * (orders_max + 1) + WAY]: ticks and quantities of an uncross; way in a tree
    coming: np.ndarray[Any, Any]  # int64[COMING]: a ring: place of the id, then slot of the order, of coming commands


def new_state(capacity: Capacity) -> State:
    """An empty venue. Memory is taken from the system as it is first written."""
    sides = 2 * capacity.instruments_max
    slots = capacity.orders_max + 1
    # A carried id whose order went is not counted as used, but has taken its row for the day.
    ids = capacity.ids_max + capacity.orders_max
    ids_rows = _rows_for(ids)
    # Instrument 0 of a participant stands for all of them, and keeps rows of one instrument out of one cache set.
    pairs = (capacity.participants_max + 1) * (capacity.instruments_max + 1)
    pairs += -pairs % PAIRS_OF_A_PAGE
    waiting = _in_small_pages(waiting_max(capacity.orders_max), COMMAND)
    state = State(
        venue=_in_lines(1, VENUE),
        instruments=_in_lines(capacity.instruments_max, INSTRUMENT),
        participants=_in_lines(capacity.participants_max, PARTICIPANT),
        orders=_in_lines(slots, ORDER),
        owned=_in_lines(slots + 2 * capacity.participants_max, OWNED),
        times=_in_lines(slots, _INT64),
        **_table_of_ids(ids_rows),
        id_tree=_in_small_pages(2 * id_tree_half(ids), ID_TREE),
        terms=_in_lines(slots + -slots % TERMS_OF_A_PAGE, TERMS),
        expiries=_in_small_pages(slots, _INT64),
        books=_in_lines(7 * sides, BOOK),
        words=_in_lines(sides * WINDOW_WORDS, _INT64),
        word_qty=_in_lines(sides * WINDOW_WORDS, _INT64),
        levels=_in_lines(sides * WINDOW + 2 * sides + slots, LEVEL),
        leaf_ticks=_in_lines(slots, _INT64),
        nodes=_in_lines(slots, NODE),
        exposures=_in_lines(pairs, EXPOSURE).view(np.int64),
        limits=_in_small_pages(pairs, LIMITS),
        trade_seconds=_in_small_pages(capacity.instruments_max * MEMORY_SECONDS, TRADE_SECOND),
        indices=_in_lines(INDICES_MAX, INDEX),
        members=_in_lines((INDICES_MAX + 1) * MEMBERS_MAX, MEMBER),
        schedules=_in_small_pages(SCHEDULES_MAX, SCHEDULE),
        waiting=waiting,
        waiting_words=waiting.view(np.int64),
        waits=_in_small_pages(len(waiting), WAIT),
        entry_times=_in_small_pages(capacity.participants_max * RATE_ORDERS_MAX, ENTRY_TIME),
        scratch=_in_small_pages(slots, _INT64),
        ladder=_in_small_pages(4 * slots + WAY, _INT64),
        coming=_in_lines(COMING, _INT64),
    )
    venue = state.venue[0]
    venue["orders_max"] = capacity.orders_max
    venue["ids_max"] = capacity.ids_max
    venue["ids_mask"] = ids_rows - 1
    venue["instruments_max"] = capacity.instruments_max
    venue["participants_max"] = capacity.participants_max
    return state


def _rows_for(ids: int) -> int:
    """Rows of a table of so many ids, a power of two."""
    rows = 8
    while 3 * rows < 4 * ids:
        rows *= 2
    return rows


def _table_of_ids(rows: int) -> dict[str, "np.ndarray[Any, Any]"]:
    return {
        "ids": _in_lines(rows, ID),
        "id_marks": _in_lines(max(rows // ID_MARK_ROWS, 1), np.dtype(np.uint8)),
        "stale_lines": _in_lines(max(rows // (ID_LINE_ROWS * ID_LINES_OF_A_WORD), 1), _INT64),
    }


def with_room_for_ids(state: State, ids: int) -> State:
    """A state without ids with a table for so many, whatever its capacity: what does not fit goes into the tree."""
    return state._replace(**_table_of_ids(_rows_for(ids)))


def id_tree_half(ids: int) -> int:
    """Rows of one half of ``id_tree``, of which row 0 is never used. ids: those that a day can use.

    A tree takes what comes while the one before it is emptied, 16 leaves with each command, besides what a day can use.
    """
    return ids + ids // 8 + 16


def _in_lines(rows: int, dtype: "np.dtype[Any]") -> "np.ndarray[Any, Any]":
    """Zeroed room that starts with a cache line, so that a row of 64 bytes is in one line and not in two."""
    octets = np.zeros(rows * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -octets.ctypes.data % LINE_BYTES
    return octets[start : start + rows * dtype.itemsize].view(dtype)


def _in_small_pages(rows: int, dtype: "np.dtype[Any]") -> "np.ndarray[Any, Any]":
    """Zeroed room that is used from its start on, and mostly never all of it.

    NumPy asks for huge pages, and the system clears all two megabytes of one when it is first touched: a command
    would stand still for a tenth of a millisecond. A small page takes less than a microsecond.
    """
    room = mmap.mmap(-1, rows * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without huge pages does not know the wish
        room.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(room, dtype)


def prefault(state: State) -> None:
    """Have the system allocate the memory that commands touch in any order; changes nothing.

    What is used from its start on (``_in_small_pages``) is left out: it costs little when it is first touched.
    """
    touched = (
        state.orders,
        state.owned,
        state.times,
        state.ids,
        state.words,
        state.levels,
        state.leaf_ticks,
        state.nodes,
    )
    for array in (*touched, state.exposures):
        page_starts = array.view(np.uint8).reshape(-1)[:: mmap.PAGESIZE]
        page_starts[:] = page_starts.copy()


_SMALLEST: Final = new_state(Capacity(orders_max=1, ids_max=1, instruments_max=1, participants_max=1))

#: Unpack the state in a kernel, from the pointers of a ``Packed``.
unpack_state = unpack_pointers(_SMALLEST)


def described_arrays(state: State = _SMALLEST) -> dict[str, "np.ndarray[Any, Any]"]:
    """Arrays whose layout is that of the state: those of the state, with the rows that kernels see as plain numbers.

    Without the marks of ids and the ring of coming commands, which no image has, and with the words of commands that
    wait instead of their rows.
    """
    arrays = state._asdict() | {"exposures": state.exposures.view(EXPOSURE)}
    del arrays["id_marks"], arrays["coming"], arrays["waiting"]
    return arrays


#: Digest (16 bytes) of names, order, dtypes and shapes of the state's arrays at the smallest capacity.
STATE_LAYOUT: Final = layout_digest(described_arrays())
