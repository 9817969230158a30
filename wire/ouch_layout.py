"""OUCH 4.2, the layout: the fields of each message in order. Every reader and writer of messages is made from it.

A field is a name and a format of ``struct``: B one byte, I and Q an unsigned number of 4 and 8 bytes, ``14s`` text.
All is big-endian and without holes. Nothing here needs NumPy: ``wire/ouch.py`` makes its dtypes of it, ``client/`` its
formats of ``struct``, and the gateway the offsets at which its kernels read and write.

The tables are those of Nasdaq's specification "O*U*C*H Version 4.2" in its revisions up to 2020; the PDF itself was
not at hand. Every offset and size was checked against Wireshark 4.0's dissector, which ``tests/test_ouch.py`` does
again where tshark is installed, and, by reading, against the structures that the Open Markets Initiative generates
from the specification. Revisions of 2025 are said to append one byte to AIQ Canceled (an AIQ strategy: 38 bytes,
not 37) and to have a Trade Now message; those are not here.
"""

from collections import namedtuple
from collections.abc import Mapping
from struct import Struct, calcsize
from typing import Any, Final, cast

from wire.ouch_codes import ClientMessage, ServerMessage

#: Fields of a message: name and format of each, in order.
Layout = tuple[tuple[str, str], ...]

TOKEN_CHARACTERS: Final = 14
STOCK_CHARACTERS: Final = 8
FIRM_CHARACTERS: Final = 4

_CODE: Final = "B"
_U32: Final = "I"
_U64: Final = "Q"
_TOKEN: Final = f"{TOKEN_CHARACTERS}s"
_STOCK: Final = f"{STOCK_CHARACTERS}s"
_FIRM: Final = f"{FIRM_CHARACTERS}s"

_KIND: Final = (("kind", _CODE),)
#: The beginning of every message of the exchange.
STAMPED: Final[Layout] = (*_KIND, ("time_ns", _U64))
_OF_ORDER: Final[Layout] = (*STAMPED, ("order_token", _TOKEN))
_ENTERED: Final[Layout] = (
    ("buy_sell", _CODE),
    ("shares", _U32),
    ("stock", _STOCK),
    ("price_e4", _U32),
    ("time_in_force_s", _U32),
    ("firm", _FIRM),
    ("display", _CODE),
)
_TRADED: Final[Layout] = (
    ("executed_shares", _U32),
    ("execution_price_e4", _U32),
    ("liquidity", _CODE),
    ("match_number", _U64),
)
#: The fields that Accepted and Replaced have in common, which stand together in both.
PLACED: Final[Layout] = (
    *_ENTERED,
    ("order_reference_number", _U64),
    ("capacity", _CODE),
    ("intermarket_sweep", _CODE),
    ("minimum_quantity", _U32),
    ("cross_type", _CODE),
    ("order_state", _CODE),
)

FROM_CLIENT: Final[Mapping[ClientMessage, Layout]] = {
    ClientMessage.ENTER_ORDER: (
        *_KIND,
        ("order_token", _TOKEN),
        *_ENTERED,
        ("capacity", _CODE),
        ("intermarket_sweep", _CODE),
        ("minimum_quantity", _U32),
        ("cross_type", _CODE),
        ("customer_type", _CODE),
    ),
    ClientMessage.REPLACE_ORDER: (
        *_KIND,
        ("existing_order_token", _TOKEN),
        ("replacement_order_token", _TOKEN),
        ("shares", _U32),  # in all, what was executed included
        ("price_e4", _U32),
        ("time_in_force_s", _U32),
        ("display", _CODE),
        ("intermarket_sweep", _CODE),
        ("minimum_quantity", _U32),
    ),
    ClientMessage.CANCEL_ORDER: (*_KIND, ("order_token", _TOKEN), ("shares", _U32)),  # to be left; 0: none
    ClientMessage.MODIFY_ORDER: (*_KIND, ("order_token", _TOKEN), ("buy_sell", _CODE), ("shares", _U32)),
}
FROM_SERVER: Final[Mapping[ServerMessage, Layout]] = {
    ServerMessage.SYSTEM_EVENT: (*STAMPED, ("event_code", _CODE)),
    ServerMessage.ACCEPTED: (*_OF_ORDER, *PLACED, ("bbo_weight", _CODE)),
    ServerMessage.REPLACED: (
        *STAMPED,
        ("replacement_order_token", _TOKEN),
        *PLACED,
        ("previous_order_token", _TOKEN),
        ("bbo_weight", _CODE),
    ),
    ServerMessage.CANCELED: (*_OF_ORDER, ("decrement_shares", _U32), ("cancel_reason", _CODE)),
    ServerMessage.AIQ_CANCELED: (
        *_OF_ORDER,
        ("decrement_shares", _U32),
        ("cancel_reason", _CODE),  # CancelReason.SELF_MATCH
        ("prevented_shares", _U32),
        ("execution_price_e4", _U32),
        ("liquidity", _CODE),
    ),
    ServerMessage.EXECUTED: (*_OF_ORDER, *_TRADED),
    ServerMessage.BROKEN_TRADE: (*_OF_ORDER, ("match_number", _U64), ("broken_trade_reason", _CODE)),
    ServerMessage.EXECUTED_WITH_REFERENCE_PRICE: (
        *_OF_ORDER,
        *_TRADED,
        ("reference_price_e4", _U32),
        ("reference_price_type", _CODE),
    ),
    ServerMessage.TRADE_CORRECTION: (*_OF_ORDER, *_TRADED, ("trade_correction_reason", _CODE)),
    ServerMessage.REJECTED: (*_OF_ORDER, ("reject_reason", _CODE)),
    ServerMessage.CANCEL_PENDING: _OF_ORDER,
    ServerMessage.CANCEL_REJECT: _OF_ORDER,
    ServerMessage.ORDER_PRIORITY_UPDATE: (
        *_OF_ORDER,
        ("price_e4", _U32),
        ("display", _CODE),
        ("order_reference_number", _U64),
    ),
    ServerMessage.ORDER_MODIFIED: (*_OF_ORDER, ("buy_sell", _CODE), ("shares", _U32)),
}


def struct_of(layout: Layout) -> Struct:
    """A message, or a part of one, as a format of ``struct``.

    >>> struct_of(FROM_CLIENT[ClientMessage.CANCEL_ORDER]).format
    '>B14sI'
    """
    return Struct(">" + "".join(form for _, form in layout))


def offsets(layout: Layout) -> Any:
    """Offset of each field, in bytes, as a NamedTuple with its name; ``end`` is the size. Kernels may hold one.

    >>> offsets(FROM_CLIENT[ClientMessage.CANCEL_ORDER])
    offsets(kind=0, order_token=1, shares=15, end=19)
    """
    places, at = {}, 0
    for name, form in layout:
        places[name] = at
        at += calcsize(f">{form}")
    return cast(Any, namedtuple("offsets", [*places, "end"]))(*places.values(), at)
