"""OUCH 4.2, the messages: one big-endian structured dtype each, byte for byte as on the wire (``wire/ouch_layout.py``).

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

from wire import ouch_layout
from wire.errors import ProtocolError
from wire.ouch_codes import ClientMessage, ServerMessage
from wire.ouch_layout import FIRM_CHARACTERS, STOCK_CHARACTERS, TOKEN_CHARACTERS, Layout

__all__ = ["FIRM_CHARACTERS", "STOCK_CHARACTERS", "TOKEN_CHARACTERS"]

#: An order has less than a million shares, and a limit price of at most $199,999.99.
SHARES_MAX: Final = 999_999
PRICE_E4_MAX: Final = 1_999_999_900
#: The price that means a market order, in a cross only.
PRICE_E4_MARKET: Final = 0x7FFF_FFFF


def _dtype(layout: Layout) -> np.dtype[Any]:
    numbers = {"B": "u1", "I": ">u4", "Q": ">u8"}
    return np.dtype([(name, numbers.get(form) or f"S{form[:-1]}") for name, form in layout])


#: The message of each first byte, by direction.
FROM_CLIENT: Final[Mapping[int, np.dtype[Any]]] = {
    kind: _dtype(layout) for kind, layout in ouch_layout.FROM_CLIENT.items()
}
FROM_SERVER: Final[Mapping[int, np.dtype[Any]]] = {
    kind: _dtype(layout) for kind, layout in ouch_layout.FROM_SERVER.items()
}

ENTER_ORDER: Final = FROM_CLIENT[ClientMessage.ENTER_ORDER]
REPLACE_ORDER: Final = FROM_CLIENT[ClientMessage.REPLACE_ORDER]
CANCEL_ORDER: Final = FROM_CLIENT[ClientMessage.CANCEL_ORDER]
MODIFY_ORDER: Final = FROM_CLIENT[ClientMessage.MODIFY_ORDER]
SYSTEM_EVENT: Final = FROM_SERVER[ServerMessage.SYSTEM_EVENT]
ACCEPTED: Final = FROM_SERVER[ServerMessage.ACCEPTED]
REPLACED: Final = FROM_SERVER[ServerMessage.REPLACED]
CANCELED: Final = FROM_SERVER[ServerMessage.CANCELED]
AIQ_CANCELED: Final = FROM_SERVER[ServerMessage.AIQ_CANCELED]
EXECUTED: Final = FROM_SERVER[ServerMessage.EXECUTED]
BROKEN_TRADE: Final = FROM_SERVER[ServerMessage.BROKEN_TRADE]
EXECUTED_WITH_REFERENCE_PRICE: Final = FROM_SERVER[ServerMessage.EXECUTED_WITH_REFERENCE_PRICE]
TRADE_CORRECTION: Final = FROM_SERVER[ServerMessage.TRADE_CORRECTION]
REJECTED: Final = FROM_SERVER[ServerMessage.REJECTED]
CANCEL_PENDING: Final = FROM_SERVER[ServerMessage.CANCEL_PENDING]
CANCEL_REJECT: Final = FROM_SERVER[ServerMessage.CANCEL_REJECT]
ORDER_PRIORITY_UPDATE: Final = FROM_SERVER[ServerMessage.ORDER_PRIORITY_UPDATE]
ORDER_MODIFIED: Final = FROM_SERVER[ServerMessage.ORDER_MODIFIED]

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
