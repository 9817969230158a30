"""Tables for the messages to users: users, instruments, open orders, and room to write messages."""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.bounds import COMMANDS_PER_CALL_MAX
from engine.capacity import waiting_max
from engine.digest import layout_digest
from engine.jit import unpack_pointers
from engine.records import COMMAND, Reason
from gateway.messages import MESSAGE, SEGMENT, USER
from reports.waiting import WaitingRows, new_waiting
from wire import ouch, ouch_codes
from wire.soup import HEAD_BYTES

_REJECT: Final = ouch_codes.RejectReason
_CANCEL_REASON: Final = ouch_codes.CancelReason
#: Version of the meaning of the tables, for images (checkpoints). Increment it with any change after which an older
#: image would restore other streams, or none, though its tables look equal (``TABLES_LAYOUT``): the meaning or unit of
#: a field, the hash function of ``open_orders``, the arrays of ``Streams.image``. For nothing else.
TABLES_VERSION: Final = 1

#: Codes of OUCH for rejects of the market; any other is ``OTHER``.
REJECT_REASONS: Final = {
    Reason.KILLED: _REJECT.REJECT_ALL,
    Reason.HALTED: _REJECT.HALTED,
    Reason.CLOSED: _REJECT.CLOSED,
    Reason.NOT_CONTINUOUS: _REJECT.CLOSED,
    Reason.NOT_AUCTION: _REJECT.NOT_IN_THIS_CROSS,
    Reason.UNKNOWN_INSTRUMENT: _REJECT.INVALID_STOCK,
    Reason.INVALID_QTY: _REJECT.SAFETY_THRESHOLD,
    Reason.INVALID_LOT: _REJECT.SAFETY_THRESHOLD,
    Reason.INVALID_PRICE: _REJECT.INVALID_PRICE,
    Reason.INVALID_TICK: _REJECT.INVALID_PRICE,
    Reason.INVALID_INSTRUCTION: _REJECT.INVALID_DISPLAY,
    Reason.RESTRICTED: _REJECT.RESTRICTED_STOCK,
    Reason.MARKET_NOT_PERMITTED: _REJECT.INVALID_PRICE,
    Reason.PRICE_BAND: _REJECT.INVALID_PRICE,
    Reason.MAX_ORDER_QTY: _REJECT.SHARES_LIMIT,
    Reason.MAX_ORDER_VALUE: _REJECT.VALUE_LIMIT,
    Reason.ORDER_RATE: _REJECT.REJECT_ALL,
    Reason.ADV: _REJECT.SHARES_LIMIT,
    Reason.POSITION_LIMIT: _REJECT.SHARES_LIMIT,
    Reason.CREDIT: _REJECT.VALUE_LIMIT,
    Reason.WOULD_CROSS: _REJECT.INVALID_PRICE,
    Reason.DUPLICATE_ID: _REJECT.DUPLICATE_ID,
}
#: Codes of OUCH for the market's reasons of a cancel; any other is ``SYSTEM``.
CANCEL_REASONS: Final = {
    Reason.USER: _CANCEL_REASON.USER,
    Reason.REPLACED: _CANCEL_REASON.USER,
    Reason.MASS_CANCEL: _CANCEL_REASON.SUPERVISORY,
    Reason.IOC: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.FOK: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.MIN_QTY: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.NO_LIQUIDITY: _CANCEL_REASON.IMMEDIATE_OR_CANCEL,
    Reason.SELF_TRADE: _CANCEL_REASON.SELF_MATCH,
    Reason.EXPIRED: _CANCEL_REASON.TIMEOUT,
    Reason.END_OF_DAY: _CANCEL_REASON.CLOSED,
    Reason.AUCTION: _CANCEL_REASON.CROSS,
    Reason.HALT: _CANCEL_REASON.HALTED,
    Reason.KILL: _CANCEL_REASON.SUPERVISORY,
    Reason.PRICE_BAND: _CANCEL_REASON.MARKET_COLLAR,
}


def _codes(table: "dict[Reason, Any]", other: int) -> "np.ndarray[Any, Any]":
    codes = np.full(256, other, np.uint8)
    for reason, code in table.items():
        codes[reason] = code
    return codes


#: Open order of a user, found by participant and client order id (0: a free row), and its rarely used fields. ``qty``:
#: executed and open together, which is the "intended order size" of OUCH.
OPEN: Final = np.dtype([("client_order_id", "<i8"), ("participant", "<u2"), ("user", "<u2"), ("leaves_qty", "<u4")])
OPEN_REST: Final = np.dtype(
    [("context", "<i8"), ("token_head", "<i8"), ("token_tail", "<i8"), ("order_number", "<i8"), ("qty", "<i8")]
)
#: Row of an instrument; row 0 is none. ``stock``: its symbol as eight characters, big-endian, padded on the right.
#: ``far``: 1 if a price may be above the highest of OUCH, so that users cannot enter orders in it (ADR 14).
STOCK: Final = np.dtype([("symbol", "<i8"), ("stock", "<i8"), ("phase", "<i8"), ("cross", "<i8"), ("far", "<i8")])
#: Rows of a block that are answered in one call at most.
BLOCK_ROWS_MAX: Final = COMMANDS_PER_CALL_MAX

#: Bytes and messages that one event can cause at most.
EVENT_BYTES_MAX: Final = 2 * (HEAD_BYTES + ouch.MESSAGE_BYTES_MAX)
EVENT_MESSAGES_MAX: Final = 2


class StreamTables(NamedTuple):
    """Tables for the messages of the next block, and room to write them.

    ``carried``: two COMMAND rows: the EXTEND row that the block before ended with, else zeros; and always zeros.
    ``counts``: messages and bytes by user during a call, zero between calls.
    """

    users: np.ndarray[Any, Any]  # USER[users_max + 1]
    stocks: np.ndarray[Any, Any]  # STOCK[instruments_max + 1]
    open: np.ndarray[Any, Any]  # OPEN[power of two]
    rest: np.ndarray[Any, Any]  # OPEN_REST[as many]
    carried: np.ndarray[Any, Any]  # COMMAND[2]
    reject_codes: np.ndarray[Any, Any]  # uint8[256]
    cancel_codes: np.ndarray[Any, Any]  # uint8[256]
    out: np.ndarray[Any, Any]  # uint8[n]: messages in the order of events
    grouped: np.ndarray[Any, Any]  # uint8[n]: the same, user by user
    messages: np.ndarray[Any, Any]  # MESSAGE[n]
    segments: np.ndarray[Any, Any]  # SEGMENT[users_max + 1]
    counts: np.ndarray[Any, Any]  # int64[users_max + 1, 2]
    tallies: np.ndarray[Any, Any]  # int64[2, 256]: events by kind, rejects by reason, since the start of the process
    clock_at: np.ndarray[Any, Any]  # int64[BLOCK_ROWS_MAX]: places of the accepted CLOCK rows of the block
    clock_ns: np.ndarray[Any, Any]  # int64[BLOCK_ROWS_MAX]: their values
    marks: np.ndarray[Any, Any]  # int64[5]: counters and facts of ``writing.py``
    waiting: np.ndarray[Any, Any]  # COMMAND[2 * places]: commands that wait (``reports.waiting``)
    waiting_words: np.ndarray[Any, Any]  # int64
    waiting_numbers: np.ndarray[Any, Any]  # int64[5]


def new_tables(users_max: int, instruments_max: int, orders_max: int, out_bytes: int) -> StreamTables:
    """Make tables before the first command. The system provides memory as it is first written."""
    rows = 16
    while rows < 2 * orders_max:
        rows *= 2
    messages = out_bytes // (HEAD_BYTES + ouch.SYSTEM_EVENT.itemsize) + EVENT_MESSAGES_MAX
    # All of a block are noted before its events are answered.
    waiting = new_waiting(waiting_max(orders_max) + BLOCK_ROWS_MAX)
    return StreamTables(
        users=np.zeros(users_max + 1, USER),
        stocks=np.zeros(instruments_max + 1, STOCK),
        open=np.zeros(rows, OPEN),
        rest=np.zeros(rows, OPEN_REST),
        carried=np.zeros(2, COMMAND),
        reject_codes=_codes(REJECT_REASONS, _REJECT.OTHER),
        cancel_codes=_codes(CANCEL_REASONS, _CANCEL_REASON.SYSTEM),
        out=np.zeros(out_bytes, np.uint8),
        grouped=np.zeros(out_bytes, np.uint8),
        messages=np.zeros(messages, MESSAGE),
        segments=np.zeros(users_max + 1, SEGMENT),
        counts=np.zeros((users_max + 1, 2), np.int64),
        tallies=np.zeros((2, 256), np.int64),
        clock_at=np.zeros(BLOCK_ROWS_MAX, np.int64),
        clock_ns=np.zeros(BLOCK_ROWS_MAX, np.int64),
        marks=np.zeros(5, np.int64),
        waiting=waiting.rows,
        waiting_words=waiting.words,
        waiting_numbers=waiting.numbers,
    )


_SMALLEST: Final = new_tables(1, 1, 1, 1_024)

#: Unpack the tables in a kernel, from the pointers of a ``Packed``.
unpack_tables = unpack_pointers(_SMALLEST)


def ring_of(tables: StreamTables) -> WaitingRows:
    """The commands that wait for their effect."""
    return WaitingRows(tables.waiting, tables.waiting_words, tables.waiting_numbers)


def imaged_arrays(tables: StreamTables = _SMALLEST) -> dict[str, np.ndarray[Any, Any]]:
    """Tables in an image; the others are working room, or are rebuilt. A carried row goes as its bytes: names of its
    fields come with each release, and change nothing here."""
    named = {name: getattr(tables, name) for name in ("users", "stocks", "open", "rest")}
    return named | {"carried": tables.carried.view(np.uint8)}


#: Digest (16 bytes) of names, order, dtypes and shapes of the imaged tables at the smallest size.
TABLES_LAYOUT: Final = layout_digest(imaged_arrays())
#: The same tables as releases before described them, with the fields of a carried row: of RULES_VERSION 5.
EARLIER_LAYOUTS: Final = (bytes.fromhex("8cbd4f97a2e49fdeb3be421eeaa83364"),)
