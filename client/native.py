"""Native order entry for one message at a time: requests to bytes, reports to events (``wire.native``).

The events are those of OUCH where they say the same; a reason is one of ``engine.records.Reason``, except that of a
cancel by the user. ``read_report`` gives all that a message says.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from client import events
from client.events import Side
from client.orders import NewOrder, Order
from client.prices import PRICE_E4_MARKET
from engine.bounds import DAY_NS
from engine.records import CommandKind, Instruction, Reason, TimeInForce
from engine.row_bytes import ROW
from notation.parse import command
from notation.print import option_words
from notation.table import BY_KIND, PLACE_OF
from notation.words import Fault
from reports.rows import Liquidity, ReportKind
from wire import native
from wire.errors import OtherProtocol, ProtocolError
from wire.native import FROM_CLIENT, VERSION, FromClient, FromServer
from wire.ouch_codes import CancelReason, Display, EventCode, ServerMessage
from wire.ouch_codes import Liquidity as OuchLiquidity
from wire.ouch_codes import TimeInForce as Seconds
from wire.ouch_layout import FROM_SERVER as OUCH_FROM_SERVER
from wire.ouch_layout import TOKEN_CHARACTERS, struct_of

ENTER: Final = struct_of(FROM_CLIENT[FromClient.ENTER])
REPLACE: Final = struct_of(FROM_CLIENT[FromClient.REPLACE])
CANCEL: Final = struct_of(FROM_CLIENT[FromClient.CANCEL])
MASS_CANCEL: Final = struct_of(FROM_CLIENT[FromClient.MASS_CANCEL])
REPORT: Final = struct_of(native.REPORT)
DAY: Final = struct_of(native.DAY)
_OUCH_DAY_BYTES: Final = struct_of(OUCH_FROM_SERVER[ServerMessage.SYSTEM_EVENT]).size

#: A report: the fields of ``wire.native.REPORT`` by name; texts without the spaces at their end.
Report = NamedTuple(  # type: ignore[misc]
    "Report", [(name, str if form.endswith("s") else int) for name, form in native.REPORT]
)
_TEXTS: Final = tuple(place for place, (_, form) in enumerate(native.REPORT) if form.endswith("s"))
_DAYS: Final = {native.DAY_BEGINS: EventCode.START_OF_DAY, native.DAY_ENDS: EventCode.END_OF_DAY}
_LIQUIDITY: Final = {
    Liquidity.ADDED: OuchLiquidity.ADDED,
    Liquidity.REMOVED: OuchLiquidity.REMOVED,
    Liquidity.OPENING_CROSS: OuchLiquidity.OPENING_CROSS,
    Liquidity.CLOSING_CROSS: OuchLiquidity.CLOSING_CROSS,
    Liquidity.HALT_CROSS: OuchLiquidity.HALT_OR_IPO_CROSS,
}
#: Options of the notation that the exchange gives an order by itself.
_NO_TERMS: Final = ("context", "new_context", "token", "new_token")
#: Places of an order's terms. Some share one, and no order has two: until_ns, min_qty; display_qty, stop_e4, offset_e4.
_TERM_PLACES: Final = (
    *("instructions", "time_in_force", "self_trade", "book", "peg"),
    *("until_ns", "min_qty", "display_qty", "stop_e4", "offset_e4"),
)
_AT_ONCE: Final = (TimeInForce.IOC, TimeInForce.FOK)
_SIDES: Final = {Side.BUY: native.BUY, Side.SELL: native.SELL}


def _text(text: str, characters: int) -> bytes:
    return text.encode("ascii").ljust(characters)


def _token(token: str) -> bytes:
    return _text(token, TOKEN_CHARACTERS)


def _side(side: Side) -> int:
    if side not in _SIDES:
        raise ValueError("native order entry has no short sales; buy or sell")
    return _SIDES[side]


def _row(line: str, shown: str) -> tuple[int, ...]:
    """The places of a command in scenario notation. Raises ValueError, with the words as the caller gave them."""
    if found := next((word for word in shown.split() if word.partition("=")[0] in _NO_TERMS), ""):
        raise ValueError(f"{found!r} is no term of an order that a client sends; leave it out")
    try:
        read = command(line, 1)
    except Fault as fault:
        raise ValueError(f"{shown!r} cannot be sent: {fault}") from None
    if read.time is not None:
        raise ValueError(f"{shown!r}: a time needs its date, as until=2024-01-15T16:00:00; it is UTC")
    return ROW.unpack(read.row)


@lru_cache(maxsize=1_024)
def _terms(kind: str, terms: str) -> tuple[int, ...]:
    """Places of the terms of an order, or of a replace, which are words of the notation."""
    begin = "enter A A buy 1 A @ 1" if kind == "enter" else "replace A A B 1 @ 1"
    return _row(f"{begin} {terms}", terms)


def _written(order: NewOrder) -> str:
    at_once = order.time_in_force_s == Seconds.IMMEDIATE_OR_CANCEL
    return f"{order.terms} tif=ioc".lstrip() if at_once else order.terms


def terms(order: NewOrder) -> str:
    """The terms of an order that is to be entered, as the words that a report has for them."""
    written = _written(order)
    return _as_reported(written) if written else ""


@lru_cache(maxsize=1_024)
def _as_reported(written: str) -> str:
    return _option_words(_terms("enter", written))


def _option_words(row: tuple[int, ...]) -> str:
    return " ".join(option_words(BY_KIND[CommandKind.ENTER], row))


def _place(row: tuple[int, ...], name: str) -> int:
    return row[PLACE_OF[name]]


def enter(order: NewOrder, token: str) -> bytes:
    """An order to enter. Its ``terms`` are words of the scenario notation, as ``stop=9.90 tif=gtc``."""
    if (
        order.firm
        or order.display != Display.ANONYMOUS
        or order.min_qty
        or order.time_in_force_s not in (Seconds.MARKET_HOURS, Seconds.IMMEDIATE_OR_CANCEL)
    ):
        raise ValueError("native order entry takes the terms of an order as words: terms='hidden tif=gtc'")
    row = _terms("enter", _written(order))
    market = order.price_e4 == PRICE_E4_MARKET
    instructions = _place(row, "instructions") | (Instruction.MARKET if market else 0)
    return ENTER.pack(
        FromClient.ENTER,
        VERSION,
        _token(token),
        _text(order.symbol, native.NAME_CHARACTERS),
        0 if market else order.price_e4,
        order.qty,
        _place(row, "min_qty"),
        _place(row, "display_qty"),
        instructions,
        _side(order.side),
        _place(row, "time_in_force"),
        _place(row, "self_trade"),
        _place(row, "book"),
        _place(row, "phase"),
    )


def replace(_order: Order, token: str, new_token: str, qty: int, price_e4: int, terms: str = "") -> bytes:
    """A replace. terms: ``display=N`` or ``stop=PRICE``; what they do not name stays."""
    row = _terms("replace", terms)
    market = price_e4 == PRICE_E4_MARKET
    instructions = _place(row, "instructions") | (Instruction.MARKET if market else 0)
    return REPLACE.pack(
        FromClient.REPLACE,
        VERSION,
        _token(token),
        _token(new_token),
        0 if market else price_e4,
        qty,
        _place(row, "display_qty"),
        instructions,
    )


def terms_of_replace(payload: bytes) -> tuple[int, int]:
    """Quantity and price_e4 in a replace."""
    _, _, _, _, price_e4, qty, *_ = REPLACE.unpack(payload)
    return qty, price_e4 or PRICE_E4_MARKET


def cancel(token: str, qty: int = 0) -> bytes:
    """A cancel. qty: what the order is to be in all, what was executed included; 0: nothing stays open."""
    return CANCEL.pack(FromClient.CANCEL, VERSION, _token(token), qty)


def modify(_token: str, _side: Side, _qty: int) -> bytes:
    """Refused: an order keeps its side, and a cancel makes it smaller. Raises ValueError."""
    raise ValueError("native order entry has no modify; cancel with a quantity makes an order smaller")


def mass_cancel(symbol: str = "", side: Side | None = None) -> bytes:
    """A cancel of all orders of the user's participant. symbol: in one instrument; "": in each. side: None: of both."""
    if len(symbol) > native.NAME_CHARACTERS or not symbol.isascii():
        raise ValueError(f"{symbol[:40]!r} is no symbol; it has up to {native.NAME_CHARACTERS} characters of ASCII")
    return MASS_CANCEL.pack(
        FromClient.MASS_CANCEL, VERSION, _text(symbol, native.NAME_CHARACTERS), 0 if side is None else _side(side)
    )


def read_report(payload: bytes) -> Any:
    """All that a report says, as a ``Report``. Raises ProtocolError."""
    if len(payload) != REPORT.size or payload[0] != FromServer.REPORT:
        raise ProtocolError(f"a report with {len(payload)} bytes came; it has {REPORT.size}")
    values = list(REPORT.unpack(payload))
    for place in _TEXTS:
        values[place] = values[place].decode("ascii", "backslashreplace").rstrip(" ")
    return Report(*values)


def report_in(payload: bytes) -> Any:
    """The report that a message of the exchange is, as ``read_report`` gives it; None for any other message."""
    is_report = len(payload) == REPORT.size and payload[0] == FromServer.REPORT and payload[1] == VERSION
    return read_report(payload) if is_report else None


def begins_day(payload: bytes) -> bool:
    """True for the message with which a trading day, and the stream of it, begins."""
    return len(payload) == DAY.size and payload[0] == FromServer.DAY and payload[2] == native.DAY_BEGINS


def read(seq: int, payload: bytes) -> events.Message:
    """A message of the exchange as an event. Raises ProtocolError for one that is none of this version."""
    if len(payload) < 2:
        raise ProtocolError(f"message {seq} has {len(payload)} bytes, too few for its kind and version")
    if payload[0] == ServerMessage.SYSTEM_EVENT and len(payload) == _OUCH_DAY_BYTES:
        raise OtherProtocol("this port speaks OUCH 4.2 and not native order entry; connect with the protocol ouch")
    if payload[1] != VERSION:
        raise ProtocolError(f"message {seq} is of version {payload[1]}; this client knows version {VERSION}")
    if payload[0] == FromServer.DAY and len(payload) == DAY.size:
        return events.SystemEvent(seq, 0, _DAYS.get(payload[2], payload[2]))
    report = read_report(payload)
    made = _EVENTS.get(report.report)
    if made is None:
        return events.OtherMessage(seq, report.time_ns % DAY_NS, f"report {report.report}", payload)
    return made(seq, report.time_ns % DAY_NS, report)


def _price(price_e4: int) -> int:
    return price_e4 or PRICE_E4_MARKET


def _placed(seq: int, time_ns: int, report: Any, qty: int) -> tuple[Any, ...]:
    return (
        seq,
        time_ns,
        report.order_token,
        Side.BUY if report.side > 0 else Side.SELL,
        qty,
        report.symbol,
        _price(report.price_e4),
        Seconds.IMMEDIATE_OR_CANCEL if report.time_in_force in _AT_ONCE else Seconds.MARKET_HOURS,
        report.firm,
        Display.NON_DISPLAY if report.instructions & Instruction.HIDDEN else Display.ANONYMOUS,
        report.order_number,
        "O",
        "N",
        report.min_qty,
        "N",
        report.leaves_qty > 0,
        words(report),
    )


def words(report: Any) -> str:
    """The terms of the order in a report, as words of the notation beside side, quantity, symbol and price."""
    row = list(_terms("enter", ""))  # not every kind of report has every term
    for name in _TERM_PLACES:
        row[PLACE_OF[name]] = getattr(report, name) or row[PLACE_OF[name]]
    return _option_words(tuple(row))


def _new(seq: int, time_ns: int, report: Any) -> events.Accepted:
    return events.Accepted(*_placed(seq, time_ns, report, report.qty))


def _replaced(seq: int, time_ns: int, report: Any) -> events.Replaced:
    return events.Replaced(*(*_placed(seq, time_ns, report, report.leaves_qty), report.previous_token))


def _trade(seq: int, time_ns: int, report: Any) -> events.Executed:
    liquidity = _LIQUIDITY.get(report.liquidity) or _named(Liquidity, report.liquidity)
    return events.Executed(
        seq, time_ns, report.order_token, report.last_qty, report.last_price_e4, liquidity, report.trade_number
    )


def _restated(seq: int, time_ns: int, report: Any) -> events.Message:
    if report.decrement_qty:
        return _lost(seq, time_ns, report)
    placed = _placed(seq, time_ns, report, report.leaves_qty)
    return events.Restated(*(*placed, report.cum_qty, report.notional_e4))


def _lost(seq: int, time_ns: int, report: Any) -> events.Canceled | events.SelfTradePrevented:
    token, qty = report.order_token, report.decrement_qty
    if report.reason == Reason.SELF_TRADE:
        return events.SelfTradePrevented(seq, time_ns, token, qty, qty, _price(report.price_e4))
    reason = CancelReason.USER if report.reason == Reason.USER else _named(Reason, report.reason)
    return events.Canceled(seq, time_ns, token, qty, reason)


def _rejected(seq: int, time_ns: int, report: Any) -> events.Message:
    reason = _named(Reason, report.reason)
    if report.command == CommandKind.MASS_CANCEL:
        return events.MassCanceled(seq, time_ns, report.symbol, None, 0, reason)
    return events.Rejected(seq, time_ns, report.order_token, reason)


def _cancel_rejected(seq: int, time_ns: int, report: Any) -> events.CancelRejected:
    replaces = report.command == CommandKind.REPLACE
    return events.CancelRejected(seq, time_ns, report.previous_token if replaces else report.order_token)


def _mass_canceled(seq: int, time_ns: int, report: Any) -> events.MassCanceled:
    side = None if not report.side else Side.BUY if report.side > 0 else Side.SELL
    return events.MassCanceled(seq, time_ns, report.symbol, side, report.orders, None)


def _changed(seq: int, time_ns: int, report: Any) -> events.OrderChanged:
    kind = ReportKind(report.report).name.lower()
    repriced = report.report == ReportKind.REPRICED
    price_e4 = report.last_price_e4 if repriced else _price(report.price_e4)
    return events.OrderChanged(
        seq, time_ns, report.order_token, kind, report.leaves_qty, price_e4, report.displayed_qty
    )


def _named(codes: Any, code: int) -> Any:
    """A code by its name, or the number of one that this release does not know."""
    try:
        return codes(code)
    except ValueError:
        return code


_EVENTS: Final[dict[int, Callable[[int, int, Any], events.Message]]] = {
    ReportKind.NEW: _new,
    ReportKind.REPLACED: _replaced,
    ReportKind.TRADE: _trade,
    **dict.fromkeys(
        (ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY),
        _lost,
    ),
    ReportKind.RESTATED: _restated,
    ReportKind.REJECTED: _rejected,
    ReportKind.CANCEL_REJECTED: _cancel_rejected,
    ReportKind.MASS_CANCEL: _mass_canceled,
    **dict.fromkeys((ReportKind.TRIGGERED, ReportKind.REPLENISHED, ReportKind.REPRICED), _changed),
}
