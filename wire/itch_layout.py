"""Nasdaq TotalView-ITCH 5.0, the layout: the fields of each message in order. Every writer and reader is made from it.

A field is a name and a form: ``B`` one byte, ``H``, ``I`` and ``Q`` an unsigned number of 2, 4 and 8 bytes, ``T`` the
six bytes of a time, ``8s`` text. All is big-endian and without holes. Prices have four decimals
(``price_e4``), but those of MWCB levels eight (``level_1_e8``). Nothing here needs NumPy: ``wire/itch.py`` makes its
dtypes of this table, and kernels take from it the offsets at which they write.

The table is that of Nasdaq's specification "TotalView-ITCH 5.0"; the PDF itself was not at hand. Sizes and offsets are
checked in ``tests/test_itch.py`` against bytes that were written down by hand, and against decoders of others.
"""

from collections import namedtuple
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, cast

#: Fields of a message: name and form of each, in order.
Layout = tuple[tuple[str, str], ...]

#: Bytes of the length before each message.
FRAME_BYTES: Final = 2
STOCK_CHARACTERS: Final = 8
REASON_CHARACTERS: Final = 4
#: The largest price that fits. 0 means none.
PRICE_E4_MAX: Final = 2**32 - 1
#: The largest time that fits, in nanoseconds since midnight.
TIME_NS_MAX: Final = 2**48 - 1


class ItchMessage(IntEnum):
    """Type of a message: its first byte."""

    SYSTEM_EVENT = ord("S")
    STOCK_DIRECTORY = ord("R")
    TRADING_ACTION = ord("H")
    SHORT_SALE_RESTRICTION = ord("Y")
    PARTICIPANT_POSITION = ord("L")
    MWCB_LEVELS = ord("V")
    MWCB_STATUS = ord("W")
    IPO_QUOTING = ord("K")
    LULD_COLLAR = ord("J")
    OPERATIONAL_HALT = ord("h")
    ADD = ord("A")
    ADD_ATTRIBUTED = ord("F")
    EXECUTED = ord("E")
    EXECUTED_WITH_PRICE = ord("C")
    CANCEL = ord("X")
    DELETE = ord("D")
    REPLACE = ord("U")
    TRADE = ord("P")
    CROSS_TRADE = ord("Q")
    BROKEN_TRADE = ord("B")
    NOII = ord("I")
    RETAIL_INTEREST = ord("N")
    DIRECT_LISTING = ord("O")


class SystemEvent(IntEnum):
    """Events of the day, in their order."""

    START_OF_MESSAGES = ord("O")
    START_OF_SYSTEM_HOURS = ord("S")
    START_OF_MARKET_HOURS = ord("Q")
    END_OF_MARKET_HOURS = ord("M")
    END_OF_SYSTEM_HOURS = ord("E")
    END_OF_MESSAGES = ord("C")


class TradingState(IntEnum):
    """State of a stock."""

    HALTED = ord("H")
    PAUSED = ord("P")
    QUOTATION_ONLY = ord("Q")  # orders rest and do not trade
    TRADING = ord("T")


class ItchSide(IntEnum):
    """Side of an order."""

    BUY = ord("B")
    SELL = ord("S")


class ItchCross(IntEnum):
    """Kind of a cross."""

    OPENING = ord("O")
    CLOSING = ord("C")
    HALT = ord("H")


class Imbalance(IntEnum):
    """Side of an imbalance."""

    BUY = ord("B")
    SELL = ord("S")
    NONE = ord("N")
    TOO_FEW_ORDERS = ord("O")  # nothing can be paired


class Printable(IntEnum):
    """Mark of an execution that counts in the volume. Those of a cross do not: the cross trade counts them."""

    YES = ord("Y")
    NO = ord("N")


#: The beginning of every message. ``stock_locate``: number of the stock, 0 for none. ``tracking_number``: of the
#: exchange. ``time_ns``: nanoseconds since midnight.
HEAD: Final[Layout] = (("kind", "B"), ("stock_locate", "H"), ("tracking_number", "H"), ("time_ns", "T"))
_STOCK: Final = (("stock", f"{STOCK_CHARACTERS}s"),)
_ORDER: Final = (("reference", "Q"),)
_ADDED: Final[Layout] = (*HEAD, *_ORDER, ("side", "B"), ("shares", "I"), *_STOCK, ("price_e4", "I"))
_EXECUTED: Final[Layout] = (*HEAD, *_ORDER, ("shares", "I"), ("match_number", "Q"))

LAYOUTS: Final[Mapping[ItchMessage, Layout]] = {
    ItchMessage.SYSTEM_EVENT: (*HEAD, ("event", "B")),
    ItchMessage.STOCK_DIRECTORY: (
        *(*HEAD, *_STOCK, ("market_category", "B"), ("financial_status", "B"), ("round_lot", "I")),
        *(("round_lots_only", "B"), ("issue_classification", "B"), ("issue_subtype", "2s"), ("authenticity", "B")),
        *(("short_sale_threshold", "B"), ("ipo_flag", "B"), ("luld_tier", "B"), ("etp_flag", "B")),
        *(("etp_leverage", "I"), ("inverse", "B")),
    ),
    ItchMessage.TRADING_ACTION: (
        *(*HEAD, *_STOCK, ("state", "B"), ("reserved", "B"), ("reason", f"{REASON_CHARACTERS}s")),
    ),
    ItchMessage.SHORT_SALE_RESTRICTION: (*HEAD, *_STOCK, ("action", "B")),
    ItchMessage.PARTICIPANT_POSITION: (
        *(*HEAD, ("mpid", "4s"), *_STOCK, ("primary", "B"), ("mode", "B"), ("state", "B")),
    ),
    ItchMessage.MWCB_LEVELS: (*HEAD, ("level_1_e8", "Q"), ("level_2_e8", "Q"), ("level_3_e8", "Q")),
    ItchMessage.MWCB_STATUS: (*HEAD, ("level", "B")),
    ItchMessage.IPO_QUOTING: (*HEAD, *_STOCK, ("release_s", "I"), ("qualifier", "B"), ("price_e4", "I")),
    ItchMessage.LULD_COLLAR: (
        *(*HEAD, *_STOCK, ("reference_e4", "I"), ("upper_e4", "I"), ("lower_e4", "I"), ("extension", "I")),
    ),
    ItchMessage.OPERATIONAL_HALT: (*HEAD, *_STOCK, ("market", "B"), ("action", "B")),
    ItchMessage.ADD: _ADDED,
    ItchMessage.ADD_ATTRIBUTED: (*_ADDED, ("attribution", "4s")),
    ItchMessage.EXECUTED: _EXECUTED,
    ItchMessage.EXECUTED_WITH_PRICE: (*_EXECUTED, ("printable", "B"), ("price_e4", "I")),
    ItchMessage.CANCEL: (*HEAD, *_ORDER, ("shares", "I")),
    ItchMessage.DELETE: (*HEAD, *_ORDER),
    ItchMessage.REPLACE: (*HEAD, *_ORDER, ("new_reference", "Q"), ("shares", "I"), ("price_e4", "I")),
    ItchMessage.TRADE: (*_ADDED, ("match_number", "Q")),
    ItchMessage.CROSS_TRADE: (
        *(*HEAD, ("shares", "Q"), *_STOCK, ("price_e4", "I"), ("match_number", "Q"), ("cross", "B")),
    ),
    ItchMessage.BROKEN_TRADE: (*HEAD, ("match_number", "Q")),
    ItchMessage.NOII: (
        *(*HEAD, ("paired_shares", "Q"), ("imbalance_shares", "Q"), ("direction", "B"), *_STOCK, ("far_e4", "I")),
        *(("near_e4", "I"), ("reference_e4", "I"), ("cross", "B"), ("variation", "B")),
    ),
    ItchMessage.RETAIL_INTEREST: (*HEAD, *_STOCK, ("interest", "B")),
    ItchMessage.DIRECT_LISTING: (
        *(*HEAD, *_STOCK, ("open_eligible", "B"), ("minimum_e4", "I"), ("maximum_e4", "I"), ("near_e4", "I")),
        *(("near_time_ns", "Q"), ("lower_e4", "I"), ("upper_e4", "I")),
    ),
}

_SIZES: Final = {"B": 1, "H": 2, "I": 4, "Q": 8, "T": 6}


def size_of(form: str) -> int:
    """Bytes of a field.

    >>> size_of("T"), size_of("8s")
    (6, 8)
    """
    return _SIZES[form] if form in _SIZES else int(form[:-1])


def bytes_of(layout: Layout) -> int:
    """Bytes of a message, or of a part of one.

    >>> bytes_of(LAYOUTS[ItchMessage.ADD])
    36
    """
    return sum(size_of(form) for _, form in layout)


def offsets(layout: Layout) -> Any:
    """Offset of each field, in bytes, as a NamedTuple with its name; ``end`` is the size. Kernels may hold one.

    >>> offsets(LAYOUTS[ItchMessage.DELETE])
    offsets(kind=0, stock_locate=1, tracking_number=3, time_ns=5, reference=11, end=19)
    """
    places, at = {}, 0
    for name, form in layout:
        places[name] = at
        at += size_of(form)
    return cast(Any, namedtuple("offsets", [*places, "end"]))(*places.values(), at)


#: The longest message, in bytes.
MESSAGE_BYTES_MAX: Final = max(bytes_of(layout) for layout in LAYOUTS.values())
