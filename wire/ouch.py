"""OUCH 4.2, the messages: one big-endian structured dtype each, byte for byte as on the wire.

The tables are those of Nasdaq's specification "O*U*C*H Version 4.2" in its revisions up to 2020; the PDF itself was
not at hand. Every offset and size was checked against Wireshark 4.0's dissector, which ``tests/test_ouch.py`` does
again where tshark is installed, and, by reading, against the structures that the Open Markets Initiative generates
from the specification. Revisions of 2025 are said to append one byte to AIQ Canceled (an AIQ strategy: 38 bytes,
not 37) and to have a Trade Now message; those are not here.

Numbers are unsigned. Prices have four decimals (``_e4``), times are nanoseconds since midnight, ``time_in_force_s``
is in seconds with three values that mean something else (``TimeInForce``). A code is one byte, named in
``wire/ouch_codes.py``. Text (tokens, stock, firm) is ASCII, padded on the right with spaces: ``alpha`` does that.

A message of a client rides in an unsequenced packet, one of the server in a sequenced one. Both directions have
messages U and M, so only who knows the direction can read one.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wire.errors import ProtocolError
from wire.ouch_codes import ClientMessage, ServerMessage

TOKEN_CHARACTERS: Final = 14
STOCK_CHARACTERS: Final = 8
FIRM_CHARACTERS: Final = 4
#: An order has less than a million shares, and a limit price of at most $199,999.99.
SHARES_MAX: Final = 999_999
PRICE_E4_MAX: Final = 1_999_999_900
#: The price that means a market order, in a cross only.
PRICE_E4_MARKET: Final = 0x7FFF_FFFF

_CODE: Final = "u1"
_U32: Final = ">u4"
_U64: Final = ">u8"
_TOKEN: Final = f"S{TOKEN_CHARACTERS}"
_STOCK: Final = f"S{STOCK_CHARACTERS}"
_FIRM: Final = f"S{FIRM_CHARACTERS}"

_ENTERED: Final = [
    ("buy_sell", _CODE),
    ("shares", _U32),
    ("stock", _STOCK),
    ("price_e4", _U32),
    ("time_in_force_s", _U32),
    ("firm", _FIRM),
    ("display", _CODE),
]
_KIND: Final = [("kind", _CODE)]
_STAMPED: Final = [*_KIND, ("time_ns", _U64)]
_OF_ORDER: Final = [*_STAMPED, ("order_token", _TOKEN)]
_TRADED: Final = [
    ("executed_shares", _U32),
    ("execution_price_e4", _U32),
    ("liquidity", _CODE),
    ("match_number", _U64),
]
_PLACED: Final = [
    *_ENTERED,
    ("order_reference_number", _U64),
    ("capacity", _CODE),
    ("intermarket_sweep", _CODE),
    ("minimum_quantity", _U32),
    ("cross_type", _CODE),
    ("order_state", _CODE),
]

ENTER_ORDER: Final = np.dtype(
    [
        *_KIND,
        ("order_token", _TOKEN),
        *_ENTERED,
        ("capacity", _CODE),
        ("intermarket_sweep", _CODE),
        ("minimum_quantity", _U32),
        ("cross_type", _CODE),
        ("customer_type", _CODE),
    ]
)
REPLACE_ORDER: Final = np.dtype(
    [
        *_KIND,
        ("existing_order_token", _TOKEN),
        ("replacement_order_token", _TOKEN),
        ("shares", _U32),  # in all, what was executed included
        ("price_e4", _U32),
        ("time_in_force_s", _U32),
        ("display", _CODE),
        ("intermarket_sweep", _CODE),
        ("minimum_quantity", _U32),
    ]
)
CANCEL_ORDER: Final = np.dtype([*_KIND, ("order_token", _TOKEN), ("shares", _U32)])  # what is to be left; 0: none
MODIFY_ORDER: Final = np.dtype([*_KIND, ("order_token", _TOKEN), ("buy_sell", _CODE), ("shares", _U32)])

SYSTEM_EVENT: Final = np.dtype([*_STAMPED, ("event_code", _CODE)])
ACCEPTED: Final = np.dtype([*_OF_ORDER, *_PLACED, ("bbo_weight", _CODE)])
REPLACED: Final = np.dtype(
    [
        *_STAMPED,
        ("replacement_order_token", _TOKEN),
        *_PLACED,
        ("previous_order_token", _TOKEN),
        ("bbo_weight", _CODE),
    ]
)
CANCELED: Final = np.dtype([*_OF_ORDER, ("decrement_shares", _U32), ("cancel_reason", _CODE)])
AIQ_CANCELED: Final = np.dtype(
    [
        *_OF_ORDER,
        ("decrement_shares", _U32),
        ("cancel_reason", _CODE),  # CancelReason.SELF_MATCH
        ("prevented_shares", _U32),
        ("execution_price_e4", _U32),
        ("liquidity", _CODE),
    ]
)
EXECUTED: Final = np.dtype([*_OF_ORDER, *_TRADED])
BROKEN_TRADE: Final = np.dtype([*_OF_ORDER, ("match_number", _U64), ("broken_trade_reason", _CODE)])
EXECUTED_WITH_REFERENCE_PRICE: Final = np.dtype(
    [*_OF_ORDER, *_TRADED, ("reference_price_e4", _U32), ("reference_price_type", _CODE)]
)
TRADE_CORRECTION: Final = np.dtype([*_OF_ORDER, *_TRADED, ("trade_correction_reason", _CODE)])
REJECTED: Final = np.dtype([*_OF_ORDER, ("reject_reason", _CODE)])
CANCEL_PENDING: Final = np.dtype(_OF_ORDER)
CANCEL_REJECT: Final = np.dtype(_OF_ORDER)
ORDER_PRIORITY_UPDATE: Final = np.dtype(
    [*_OF_ORDER, ("price_e4", _U32), ("display", _CODE), ("order_reference_number", _U64)]
)
ORDER_MODIFIED: Final = np.dtype([*_OF_ORDER, ("buy_sell", _CODE), ("shares", _U32)])

#: The message of each first byte, by direction.
FROM_CLIENT: Final[Mapping[int, np.dtype[Any]]] = {
    ClientMessage.ENTER_ORDER: ENTER_ORDER,
    ClientMessage.REPLACE_ORDER: REPLACE_ORDER,
    ClientMessage.CANCEL_ORDER: CANCEL_ORDER,
    ClientMessage.MODIFY_ORDER: MODIFY_ORDER,
}
FROM_SERVER: Final[Mapping[int, np.dtype[Any]]] = {
    ServerMessage.SYSTEM_EVENT: SYSTEM_EVENT,
    ServerMessage.ACCEPTED: ACCEPTED,
    ServerMessage.REPLACED: REPLACED,
    ServerMessage.CANCELED: CANCELED,
    ServerMessage.AIQ_CANCELED: AIQ_CANCELED,
    ServerMessage.EXECUTED: EXECUTED,
    ServerMessage.BROKEN_TRADE: BROKEN_TRADE,
    ServerMessage.EXECUTED_WITH_REFERENCE_PRICE: EXECUTED_WITH_REFERENCE_PRICE,
    ServerMessage.TRADE_CORRECTION: TRADE_CORRECTION,
    ServerMessage.REJECTED: REJECTED,
    ServerMessage.CANCEL_PENDING: CANCEL_PENDING,
    ServerMessage.CANCEL_REJECT: CANCEL_REJECT,
    ServerMessage.ORDER_PRIORITY_UPDATE: ORDER_PRIORITY_UPDATE,
    ServerMessage.ORDER_MODIFIED: ORDER_MODIFIED,
}

_CLIENT_BYTES: Final = {
    ClientMessage.ENTER_ORDER: 49,
    ClientMessage.REPLACE_ORDER: 47,
    ClientMessage.CANCEL_ORDER: 19,
    ClientMessage.MODIFY_ORDER: 20,
}
_SERVER_BYTES: Final = {
    ServerMessage.SYSTEM_EVENT: 10,
    ServerMessage.ACCEPTED: 66,
    ServerMessage.REPLACED: 80,
    ServerMessage.CANCELED: 28,
    ServerMessage.AIQ_CANCELED: 37,
    ServerMessage.EXECUTED: 40,
    ServerMessage.BROKEN_TRADE: 32,
    ServerMessage.EXECUTED_WITH_REFERENCE_PRICE: 45,
    ServerMessage.TRADE_CORRECTION: 41,
    ServerMessage.REJECTED: 24,
    ServerMessage.CANCEL_PENDING: 23,
    ServerMessage.CANCEL_REJECT: 23,
    ServerMessage.ORDER_PRIORITY_UPDATE: 36,
    ServerMessage.ORDER_MODIFIED: 28,
}


def _check_sizes() -> None:
    """Every message has the size of the specification; raises ValueError when an edit broke that."""
    for tables, sizes in ((FROM_CLIENT, _CLIENT_BYTES), (FROM_SERVER, _SERVER_BYTES)):
        found = {kind: dtype.itemsize for kind, dtype in tables.items()}
        if found != sizes:
            raise ValueError(f"OUCH messages of other sizes than specified: {found}, not {sizes}")


_check_sizes()

#: The longest message, in bytes.
MESSAGE_BYTES_MAX: Final = max(_SERVER_BYTES.values())


def alpha(text: str, characters: int) -> bytes:
    """A text field: ASCII, padded on the right with spaces to ``characters``. Raises ValueError for what does not fit.

    >>> alpha("XYZ", STOCK_CHARACTERS)
    b'XYZ     '
    """
    if len(text) > characters:
        raise ValueError(f"{text!r} has {len(text)} characters; the field has room for {characters}")
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{text!r} has other than printable ASCII characters")
    return text.encode("ascii").ljust(characters)


def text_of(field: bytes) -> str:
    """A text field without its padding; what is not ASCII comes escaped.

    >>> text_of(b"XYZ     ")
    'XYZ'
    """
    return field.decode("ascii", "backslashreplace").rstrip(" ")


def _rows(dtype: np.dtype[Any], kind: int, count: int) -> NDArray[Any]:
    rows = np.zeros(count, dtype)
    rows["kind"] = kind
    for name in dtype.names or ():
        if dtype[name].kind == "S":
            rows[name] = b" " * dtype[name].itemsize
    return rows


def client_rows(kind: ClientMessage, count: int = 1) -> NDArray[Any]:
    """``count`` messages of a kind: the first byte set, text blank, all else zero. ``tobytes()`` is what is sent."""
    return _rows(FROM_CLIENT[kind], kind, count)


def server_rows(kind: ServerMessage, count: int = 1) -> NDArray[Any]:
    """``count`` messages of a kind: the first byte set, text blank, all else zero. ``tobytes()`` is what is sent."""
    return _rows(FROM_SERVER[kind], kind, count)


def _read(tables: Mapping[int, np.dtype[Any]], names: type[IntEnum], payload: bytes, whose: str) -> NDArray[Any]:
    if not payload:
        raise ProtocolError(f"an empty message of a {whose} came")
    kind = payload[0]
    if kind not in tables:
        raise ProtocolError(f"a message of unknown type 0x{kind:02x} came; no OUCH {whose} sends it")
    if len(payload) != tables[kind].itemsize:
        name = names(kind).name.lower().replace("_", " ")
        raise ProtocolError(f"a message {name} of {len(payload)} bytes came; it has {tables[kind].itemsize}")
    return np.frombuffer(payload, tables[kind])


def read_client(payload: bytes) -> NDArray[Any]:
    """A client's message as an array of one row. Raises ProtocolError for a type or length that is none.

    What the fields hold is not judged.
    """
    return _read(FROM_CLIENT, ClientMessage, payload, "client")


def read_server(payload: bytes) -> NDArray[Any]:
    """The exchange's message as an array of one row. Raises ProtocolError for a type or length that is none.

    What the fields hold is not judged.
    """
    return _read(FROM_SERVER, ServerMessage, payload, "server")
