"""OUCH 4.2 for one message at a time: requests to bytes, bytes to events. Without NumPy, so that a script starts fast.

The formats of ``struct`` come from the one table of fields, ``wire/ouch_layout.py``.
"""

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Any, Final, TypeVar

from client import events
from client.orders import NewOrder, Order
from wire import native, ouch_layout
from wire.errors import OtherProtocol, ProtocolError
from wire.ouch_codes import (
    BuySell,
    CancelReason,
    ClientMessage,
    CrossType,
    Display,
    EventCode,
    Liquidity,
    OrderState,
    RejectReason,
    ServerMessage,
    TimeInForce,
)
from wire.ouch_layout import FIRM_CHARACTERS, FROM_CLIENT, STOCK_CHARACTERS, TOKEN_CHARACTERS, struct_of

ENTER: Final = struct_of(FROM_CLIENT[ClientMessage.ENTER_ORDER])
REPLACE: Final = struct_of(FROM_CLIENT[ClientMessage.REPLACE_ORDER])
CANCEL: Final = struct_of(FROM_CLIENT[ClientMessage.CANCEL_ORDER])
MODIFY: Final = struct_of(FROM_CLIENT[ClientMessage.MODIFY_ORDER])
STAMPED: Final = struct_of(ouch_layout.STAMPED)
_NATIVE_DAY: Final = struct_of(native.DAY)

_CodeT = TypeVar("_CodeT", bound=IntEnum)


def _text(text: str, characters: int) -> bytes:
    return text.encode("ascii").ljust(characters)


def _token(token: str) -> bytes:
    return _text(token, TOKEN_CHARACTERS)


def _no_terms(terms: str) -> None:
    if terms:
        raise ValueError(f"OUCH 4.2 has no field for {terms!r}; connect to a port of native order entry for that")


def enter(order: NewOrder, token: str) -> bytes:
    """An Enter Order. Raises ValueError for terms that OUCH cannot say."""
    _no_terms(order.terms)
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


def replace(order: Order, token: str, new_token: str, qty: int, price_e4: int, terms: str = "") -> bytes:
    """A Replace Order of the order that ``token`` names then. qty: in all, what was executed included.

    What it does not name stays as the order has it. Raises ValueError for terms, which OUCH cannot say.
    """
    _no_terms(terms)
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


def mass_cancel(_symbol: str = "", _side: BuySell | None = None) -> bytes:
    """Refused. Raises ValueError."""
    raise ValueError("OUCH 4.2 has no mass cancel; connect to a port of native order entry for that")


def _read_text(field: bytes) -> str:
    text = field.decode("ascii", "backslashreplace").rstrip(" ")
    return text if text.isprintable() else repr(text)[1:-1]


def read(seq: int, payload: bytes) -> events.Message:
    """A message of the exchange as an event. Raises ProtocolError for one that is none, or of another length.

    >>> read(7, FORMATS[ServerMessage.CANCEL_REJECT].pack(ord("I"), 5, b"a1".ljust(14)))
    CancelRejected(seq=7, time_ns=5, token='a1')
    """
    reader = _READERS.get(payload[0]) if payload else None
    if reader is None:
        return _other(seq, payload)
    layout, event = reader
    if len(payload) != layout.size:
        # The first message of native order entry begins with the same letter.
        if len(payload) == _NATIVE_DAY.size and payload[:2] == bytes((native.FromServer.DAY, native.VERSION)):
            raise OtherProtocol("this port speaks native order entry and not OUCH; connect with the protocol native")
        name = ServerMessage(payload[0]).name.lower()
        raise ProtocolError(f"message {seq}, {name}, has {len(payload)} bytes and not {layout.size}")
    _, time_ns, *fields = layout.unpack(payload)
    return event(seq, time_ns, fields)


def _other(seq: int, payload: bytes) -> events.OtherMessage:
    try:
        kind = ServerMessage(payload[0])
    except (IndexError, ValueError):
        raise ProtocolError(f"message {seq} is empty or of a type that no OUCH server sends") from None
    if len(payload) < STAMPED.size:
        raise ProtocolError(f"message {seq} has {len(payload)} bytes, too few for its time")
    return events.OtherMessage(seq, STAMPED.unpack_from(payload)[1], kind.name.lower(), payload)


def _named(codes: type[_CodeT]) -> dict[int, _CodeT]:
    """Codes by their numbers: a lookup costs a tenth of what the call of an enum does."""
    return {int(code): code for code in codes}


_SIDES: Final = _named(BuySell)
_DISPLAYS: Final = _named(Display)
_LIQUIDITIES: Final = _named(Liquidity)
_CANCEL_REASONS: Final = _named(CancelReason)
_REJECT_REASONS: Final = _named(RejectReason)
_EVENT_CODES: Final = _named(EventCode)

_CROSS_TERMS: Final[dict[int, str]] = {CrossType.OPENING: "tif=opening", CrossType.CLOSING: "tif=closing"}
_DISPLAY_TERMS: Final[dict[int, str]] = {
    Display.NON_DISPLAY: "hidden",
    Display.POST_ONLY: "post_only",
    Display.POST_ONLY_ATTRIBUTABLE: "post_only",
    Display.MIDPOINT_PEG: "peg=midpoint",
}

_PlacedFields = tuple[str, BuySell | int, int, str, int, int, str, Display | int, int, str, str, int, str, bool, str]


def _placed(fields: list[Any]) -> _PlacedFields:
    token, side, qty, stock, price_e4, tif_s, firm, display, reference, capacity, sweep, min_qty, cross, state, *_ = (
        fields
    )
    return (
        _read_text(token),
        _SIDES.get(side, side),
        qty,
        _read_text(stock),
        price_e4,
        tif_s,
        _read_text(firm),
        _DISPLAYS.get(display, display),
        reference,
        chr(capacity),
        chr(sweep),
        min_qty,
        chr(cross),
        state == OrderState.LIVE,
        _terms(tif_s, display, min_qty, cross),
    )


def terms(order: NewOrder) -> str:
    """The terms of an order that is to be entered, as words of the scenario notation."""
    return _terms(order.time_in_force_s, order.display, order.min_qty, order.cross_type)


def _terms(tif_s: int, display: int, min_qty: int, cross: int) -> str:
    """Terms of an order over OUCH as words of the scenario notation, as far as the market has them."""
    words = [] if tif_s != TimeInForce.IMMEDIATE_OR_CANCEL else ["tif=ioc"]
    words += [each for each in (_CROSS_TERMS.get(cross), _DISPLAY_TERMS.get(display)) if each]
    return " ".join([*words, *([f"min_qty={min_qty}"] if min_qty else [])])


def _system_event(seq: int, time_ns: int, fields: list[Any]) -> events.SystemEvent:
    return events.SystemEvent(seq, time_ns, _EVENT_CODES.get(fields[0], fields[0]))


def _accepted(seq: int, time_ns: int, fields: list[Any]) -> events.Accepted:
    return events.Accepted(seq, time_ns, *_placed(fields))


def _replaced(seq: int, time_ns: int, fields: list[Any]) -> events.Replaced:
    return events.Replaced(seq, time_ns, *_placed(fields), _read_text(fields[14]))


def _canceled(seq: int, time_ns: int, fields: list[Any]) -> events.Canceled:
    token, qty, reason = fields
    return events.Canceled(seq, time_ns, _read_text(token), qty, _CANCEL_REASONS.get(reason, reason))


def _self_trade_prevented(seq: int, time_ns: int, fields: list[Any]) -> events.SelfTradePrevented:
    token, qty, _, prevented_qty, price_e4, _ = fields
    return events.SelfTradePrevented(seq, time_ns, _read_text(token), qty, prevented_qty, price_e4)


def _executed(seq: int, time_ns: int, fields: list[Any]) -> events.Executed:
    token, qty, price_e4, liquidity, match_number = fields
    side = _LIQUIDITIES.get(liquidity, liquidity)
    return events.Executed(seq, time_ns, _read_text(token), qty, price_e4, side, match_number)


def _rejected(seq: int, time_ns: int, fields: list[Any]) -> events.Rejected:
    token, reason = fields
    return events.Rejected(seq, time_ns, _read_text(token), _REJECT_REASONS.get(reason, reason))


def _cancel_rejected(seq: int, time_ns: int, fields: list[Any]) -> events.CancelRejected:
    return events.CancelRejected(seq, time_ns, _read_text(fields[0]))


def _order_modified(seq: int, time_ns: int, fields: list[Any]) -> events.OrderModified:
    token, side, qty = fields
    return events.OrderModified(seq, time_ns, _read_text(token), _SIDES.get(side, side), qty)


_Reader = tuple[Struct, Callable[[int, int, list[Any]], events.Message]]
#: Format and event of the messages that become one of their own; others are told as they are.
_READERS: Final[dict[int, _Reader]] = {
    kind: (struct_of(ouch_layout.FROM_SERVER[kind]), event)
    for kind, event in (
        (ServerMessage.SYSTEM_EVENT, _system_event),
        (ServerMessage.ACCEPTED, _accepted),
        (ServerMessage.REPLACED, _replaced),
        (ServerMessage.CANCELED, _canceled),
        (ServerMessage.AIQ_CANCELED, _self_trade_prevented),
        (ServerMessage.EXECUTED, _executed),
        (ServerMessage.REJECTED, _rejected),
        (ServerMessage.CANCEL_REJECT, _cancel_rejected),
        (ServerMessage.ORDER_MODIFIED, _order_modified),
    )
}
#: Formats of these messages.
FORMATS: Final = {kind: layout for kind, (layout, _) in _READERS.items()}
