"""OUCH 4.2 for one message at a time: requests to bytes, bytes to events. Without NumPy, so that a script starts fast.

The formats of ``struct`` come from the one table of fields, ``wire/ouch_layout.py``.
"""

from enum import IntEnum
from typing import Final, TypeVar

from client import events
from client.orders import NewOrder, Order
from wire import ouch_layout
from wire.errors import ProtocolError
from wire.ouch_codes import (
    BuySell,
    CancelReason,
    ClientMessage,
    Display,
    EventCode,
    Liquidity,
    OrderState,
    RejectReason,
    ServerMessage,
)
from wire.ouch_layout import FIRM_CHARACTERS, FROM_CLIENT, STOCK_CHARACTERS, TOKEN_CHARACTERS, struct_of

ENTER: Final = struct_of(FROM_CLIENT[ClientMessage.ENTER_ORDER])
REPLACE: Final = struct_of(FROM_CLIENT[ClientMessage.REPLACE_ORDER])
CANCEL: Final = struct_of(FROM_CLIENT[ClientMessage.CANCEL_ORDER])
MODIFY: Final = struct_of(FROM_CLIENT[ClientMessage.MODIFY_ORDER])
STAMPED: Final = struct_of(ouch_layout.STAMPED)

#: The messages that become an event of their own; others are told as they are.
_READ: Final = (
    ServerMessage.SYSTEM_EVENT,
    ServerMessage.ACCEPTED,
    ServerMessage.REPLACED,
    ServerMessage.CANCELED,
    ServerMessage.AIQ_CANCELED,
    ServerMessage.EXECUTED,
    ServerMessage.REJECTED,
    ServerMessage.CANCEL_REJECT,
    ServerMessage.ORDER_MODIFIED,
)
FORMATS: Final = {kind: struct_of(ouch_layout.FROM_SERVER[kind]) for kind in _READ}

_CodeT = TypeVar("_CodeT", bound=IntEnum)


def _text(text: str, characters: int) -> bytes:
    return text.encode("ascii").ljust(characters)


def _token(token: str) -> bytes:
    return _text(token, TOKEN_CHARACTERS)


def enter(order: NewOrder, token: str) -> bytes:
    """An Enter Order."""
    return ENTER.pack(
        ClientMessage.ENTER_ORDER,
        _token(token),
        order.side,
        order.qty,
        _text(order.symbol, STOCK_CHARACTERS),
        order.price_e4,
        order.time_in_force_s,
        _text(order.firm, FIRM_CHARACTERS),
        order.display,
        order.capacity,
        order.intermarket_sweep,
        order.min_qty,
        order.cross_type,
        order.customer_type,
    )


def replace(order: Order, token: str, new_token: str, qty: int, price_e4: int) -> bytes:
    """A Replace Order of the order that ``token`` names then. qty: in all, what was executed included.

    What it does not name stays as the order has it.
    """
    return REPLACE.pack(
        ClientMessage.REPLACE_ORDER,
        _token(token),
        _token(new_token),
        qty,
        price_e4,
        order.time_in_force_s,
        order.display,
        order.intermarket_sweep,
        order.min_qty,
    )


def terms_of_replace(payload: bytes) -> tuple[int, int]:
    """Quantity and price_e4 in a Replace Order."""
    _, _, _, qty, price_e4, *_ = REPLACE.unpack(payload)
    return qty, price_e4


def cancel(token: str, qty: int = 0) -> bytes:
    """A Cancel Order. qty: what the order is to be in all, what was executed included; 0: nothing stays open."""
    return CANCEL.pack(ClientMessage.CANCEL_ORDER, _token(token), qty)


def modify(token: str, side: BuySell, qty: int) -> bytes:
    """A Modify Order. qty as of a cancel."""
    return MODIFY.pack(ClientMessage.MODIFY_ORDER, _token(token), side, qty)


def _read_text(field: bytes) -> str:
    text = field.decode("ascii", "backslashreplace").rstrip(" ")
    return text if text.isprintable() else repr(text)[1:-1]


def _code(codes: type[_CodeT], code: int) -> _CodeT | int:
    """The code by its name, or as the number that it is if it has none here."""
    try:
        return codes(code)
    except ValueError:
        return code


def read(seq: int, payload: bytes) -> events.Message:
    """A message of the exchange as an event. Raises ProtocolError for one that is none, or of another length.

    >>> read(7, FORMATS[ServerMessage.CANCEL_REJECT].pack(ord("I"), 5, b"a1".ljust(14)))
    CancelRejected(seq=7, time_ns=5, token='a1')
    """
    try:
        kind = ServerMessage(payload[0])
    except (IndexError, ValueError):
        raise ProtocolError(f"message {seq} is empty or of a type that no OUCH server sends") from None
    layout = FORMATS.get(kind)
    if layout is None:
        if len(payload) < STAMPED.size:
            raise ProtocolError(f"message {seq} has {len(payload)} bytes, too few for its time")
        return events.OtherMessage(seq, STAMPED.unpack_from(payload)[1], kind.name.lower(), payload)
    if len(payload) != layout.size:
        raise ProtocolError(f"message {seq}, {kind.name.lower()}, has {len(payload)} bytes and not {layout.size}")
    _, time_ns, *fields = layout.unpack(payload)
    return _event(kind, seq, time_ns, fields)


def _event(kind: ServerMessage, seq: int, time_ns: int, fields: list[int | bytes]) -> events.Message:
    numbers = [field if isinstance(field, int) else 0 for field in fields]
    texts = [_read_text(field) if isinstance(field, bytes) else "" for field in fields]
    match kind:
        case ServerMessage.ACCEPTED:
            return events.Accepted(seq, time_ns, *_placed(numbers, texts))
        case ServerMessage.REPLACED:
            return events.Replaced(seq, time_ns, *_placed(numbers, texts), texts[14])
        case ServerMessage.EXECUTED:
            qty, price_e4, liquidity, match_number = numbers[1:]
            return events.Executed(seq, time_ns, texts[0], qty, price_e4, _code(Liquidity, liquidity), match_number)
        case ServerMessage.CANCELED:
            return events.Canceled(seq, time_ns, texts[0], numbers[1], _code(CancelReason, numbers[2]))
        case ServerMessage.AIQ_CANCELED:
            return events.SelfTradePrevented(seq, time_ns, texts[0], numbers[1], numbers[3], numbers[4])
        case ServerMessage.REJECTED:
            return events.Rejected(seq, time_ns, texts[0], _code(RejectReason, numbers[1]))
        case ServerMessage.ORDER_MODIFIED:
            return events.OrderModified(seq, time_ns, texts[0], _code(BuySell, numbers[1]), numbers[2])
        case ServerMessage.SYSTEM_EVENT:
            return events.SystemEvent(seq, time_ns, _code(EventCode, numbers[0]))
    return events.CancelRejected(seq, time_ns, texts[0])


_PlacedFields = tuple[str, BuySell | int, int, str, int, int, str, Display | int, int, str, str, int, str, bool]


def _placed(numbers: list[int], texts: list[str]) -> _PlacedFields:
    return (
        texts[0],
        _code(BuySell, numbers[1]),
        numbers[2],
        texts[3],
        numbers[4],
        numbers[5],
        texts[6],
        _code(Display, numbers[7]),
        numbers[8],
        chr(numbers[9]),
        chr(numbers[10]),
        numbers[11],
        chr(numbers[12]),
        numbers[13] == OrderState.LIVE,
    )
