"""Messages of OUCH 4.2 out of reports alone, in plain Python: a report says all that a message does.

Nothing is looked up: of the users, only who there are is kept, since a trading day begins for each.
"""

from collections.abc import Iterator
from typing import Any, Final

from engine.bounds import DAY_NS
from engine.names import unpack
from engine.records import CommandKind, Instruction, Reason, TimeInForce
from gateway.ouch.context import MINIMUM, MODIFY, SYSTEM_HOURS, token_of, token_of_id
from gateway.ouch.tables import CANCEL_REASONS, REJECT_REASONS
from reports import Liquidity, ReportFlag, ReportKind
from wire import ouch, ouch_codes, soup
from wire.ouch_codes import (
    BuySell,
    CancelReason,
    Capacity,
    CustomerType,
    Display,
    EventCode,
    IntermarketSweep,
    OrderState,
    RejectReason,
    ServerMessage,
)

_LIQUIDITY: Final = {
    Liquidity.ADDED: ouch_codes.Liquidity.ADDED,
    Liquidity.REMOVED: ouch_codes.Liquidity.REMOVED,
    Liquidity.OPENING_CROSS: ouch_codes.Liquidity.OPENING_CROSS,
    Liquidity.CLOSING_CROSS: ouch_codes.Liquidity.CLOSING_CROSS,
    Liquidity.HALT_CROSS: ouch_codes.Liquidity.HALT_OR_IPO_CROSS,
}
_ENDS: Final = (ReportKind.CANCELED, ReportKind.RESTATED, ReportKind.EXPIRED, ReportKind.DONE_FOR_DAY)

#: User number, and a message to it.
Told = tuple[int, Any]


class OuchOfReports:
    """Streams of framed messages by user, from the first report on."""

    def __init__(self) -> None:
        self.streams: dict[int, bytes] = {}

    def take(self, reports: Any) -> None:
        """Encode the next reports."""
        for report in reports:
            for user, message in self._messages(report):
                message["time_ns"] = int(report["time_ns"]) % DAY_NS
                self.streams[user] += soup.packet(soup.PacketType.SEQUENCED, message.tobytes())

    def _messages(self, report: Any) -> Iterator[Told]:
        match ReportKind(int(report["kind"])):
            case ReportKind.TRADING_DAY:
                for code in (EventCode.END_OF_DAY, EventCode.START_OF_DAY)[int(report["before_ns"] == 0) :]:
                    yield from ((user, _system_event(code)) for user in self.streams)
            case ReportKind.USER:
                if report["flags"] & ReportFlag.FIRST:
                    self.streams[int(report["user"])] = b""
                    yield int(report["user"]), _system_event(EventCode.START_OF_DAY)
            case _:
                yield from ((user, message) for user, message in order_messages(report) if user)


def order_messages(report: Any) -> Iterator[Told]:
    """Messages of a report about an order, each with its user; user 0: to nobody."""
    user, other = int(report["user"]), int(report["other_user"])
    match ReportKind(int(report["kind"])):
        case ReportKind.NEW:
            row = _placed(ServerMessage.ACCEPTED, report, report["firm"])
            row["order_token"] = _token(report)
            row["shares"] = report["qty"]
            if report["time_in_force"] == TimeInForce.IOC:
                row["time_in_force_s"] = 0
            if report["instructions"] & Instruction.MIN_QTY:
                row["minimum_quantity"] = report["min_qty"]
            yield user, row
        case ReportKind.REPLACED:
            for to, firm in ((user, "firm"), (other, "other_firm")):
                row = _placed(ServerMessage.REPLACED, report, report[firm])
                row["replacement_order_token"], row["previous_order_token"] = (
                    _token(report),
                    _token(report, "previous_"),
                )
                row["shares"] = report["leaves_qty"]
                yield to, row
        case ReportKind.TRADE:
            row = _about(ServerMessage.EXECUTED, report)
            row["executed_shares"], row["execution_price_e4"] = report["last_qty"], report["last_price_e4"]
            row["liquidity"], row["match_number"] = _LIQUIDITY[int(report["liquidity"])], report["trade_number"]
            yield user, row
        case kind if kind in _ENDS:
            yield from ((to, _canceled(report)) for to in (user, other))
        case ReportKind.REJECTED if report["command_kind"] in (CommandKind.ENTER, CommandKind.REPLACE):
            row = _about(ServerMessage.REJECTED, report)
            row["reject_reason"] = _reject_code(report)
            yield user, row
        case ReportKind.CANCEL_REJECTED if report["flags"] & ReportFlag.REMARKED:
            yield from ((to, _modified(report)) for to in (user, other))
        case ReportKind.CANCEL_REJECTED:
            replaces = report["command_kind"] == CommandKind.REPLACE
            yield user, _about(ServerMessage.CANCEL_REJECT, report, "previous_" if replaces else "")


def _token(report: Any, which: str = "") -> bytes:
    client_order_id = int(report[f"{which}client_order_id"])
    if client_order_id >= 0:
        return token_of_id(client_order_id)
    return token_of(int(report[f"{which}token_head"]), int(report[f"{which}token_tail"]))


def _octet(report: Any, n: int, name: str = "context") -> int:
    """A byte of a context; of an order or a command that came by another protocol, the plainest code."""
    context = int(report[name])
    if not context >> 60 & 15:
        return context >> 8 * n & 255
    side = BuySell.BUY if report["side"] > 0 else BuySell.SELL
    codes = (side, Display.ANONYMOUS, Capacity.OTHER, IntermarketSweep.NOT_ELIGIBLE, CustomerType.AS_CONFIGURED, 0)
    return int(codes[n - 2]) if name == "context" else 0


def _about(kind: ServerMessage, report: Any, which: str = "") -> Any:
    row = ouch.server_rows(kind)[0]
    row["order_token"] = _token(report, which)
    return row


def _system_event(code: EventCode) -> Any:
    row = ouch.server_rows(ServerMessage.SYSTEM_EVENT)[0]
    row["event_code"] = code
    return row


def _placed(kind: ServerMessage, report: Any, firm: int) -> Any:
    row = ouch.server_rows(kind)[0]
    row["buy_sell"], row["display"], row["capacity"] = (_octet(report, n) for n in (2, 3, 4))
    row["intermarket_sweep"] = _octet(report, 5)
    row["stock"] = ouch.alpha(unpack(int(report["symbol"])), ouch.STOCK_CHARACTERS)
    row["price_e4"] = report["price_e4"] or ouch.PRICE_E4_MARKET
    hours = ouch_codes.TimeInForce
    row["time_in_force_s"] = hours.SYSTEM_HOURS if _octet(report, 7) & SYSTEM_HOURS else hours.MARKET_HOURS
    row["firm"] = ouch.alpha(unpack(int(firm)) if firm else "", ouch.FIRM_CHARACTERS)
    row["order_reference_number"] = report["order_number"]
    row["cross_type"], row["order_state"] = ouch_codes.CrossType.NO_CROSS, OrderState.LIVE
    row["bbo_weight"] = ouch_codes.BboWeight.UNSPECIFIED
    return row


def _canceled(report: Any) -> Any:
    """The message of a cancel. An order of no user is canceled for the user who asked, whatever was asked."""
    if report["reason"] == Reason.SELF_TRADE and report["user"]:
        row = _about(ServerMessage.AIQ_CANCELED, report)
        row["prevented_shares"], row["execution_price_e4"] = report["decrement_qty"], report["price_e4"]
        row["execution_price_e4"] = report["price_e4"] or ouch.PRICE_E4_MARKET
        row["liquidity"] = _LIQUIDITY[int(report["liquidity"])]
    elif (
        report["command_kind"] == CommandKind.CANCEL
        and _octet(report, 7, "command_context") & MODIFY
        and report["leaves_qty"]
        and report["user"]
    ):
        return _modified(report)
    else:
        row = _about(ServerMessage.CANCELED, report)
    row["decrement_shares"] = report["decrement_qty"]
    row["cancel_reason"] = CANCEL_REASONS.get(Reason(int(report["reason"])), CancelReason.SYSTEM)
    return row


def _modified(report: Any) -> Any:
    row = _about(ServerMessage.ORDER_MODIFIED, report)
    row["buy_sell"], row["shares"] = _octet(report, 2), report["leaves_qty"]
    return row


def _reject_code(report: Any) -> int:
    reason, instructions = Reason(int(report["reason"])), int(report["instructions"])
    if reason != Reason.INVALID_INSTRUCTION:
        return REJECT_REASONS.get(reason, RejectReason.OTHER)
    if report["command_kind"] == CommandKind.REPLACE:
        minimum = _octet(report, 7, "command_context") & MINIMUM
        return RejectReason.INVALID_MINIMUM_QUANTITY if minimum else RejectReason.INVALID_DISPLAY
    if report["time_in_force"] in (TimeInForce.OPENING, TimeInForce.CLOSING):
        return RejectReason.NOT_IN_THIS_CROSS
    if instructions & (Instruction.HIDDEN | Instruction.PEG | Instruction.OFFSET):
        return RejectReason.INVALID_DISPLAY
    if instructions & Instruction.MIN_QTY:
        return RejectReason.INVALID_MINIMUM_QUANTITY
    return RejectReason.OTHER if instructions & Instruction.UNTIL else RejectReason.INVALID_DISPLAY
