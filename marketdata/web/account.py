"""Orders and fills of a user as the Coinbase Exchange tells them, kept from the reports of native order entry. No I/O.

A report is complete by itself, so an order is what its last report says. Closed orders and fills are those of the
trading day, and no more of them than is said here; open orders stay as long as they are open.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

from engine.records import Instruction, Reason, SelfTrade, Side, TimeInForce
from marketdata.web import answers, words
from marketdata.web.answers import BadRequest
from marketdata.web.forms import FillAnswer, OrderAnswer
from marketdata.web.product import Message
from reports.rows import InBook, Liquidity, ReportKind

#: Closed orders and fills of a day that are remembered.
CLOSED_MAX: Final = 10_000
FILLS_MAX: Final = 10_000
#: Entries of a page at most, and where none are asked for.
PAGE_MAX: Final = 1_000
PAGE: Final = 100
#: Characters of the longest order token, as which a longer id is hashed.
TOKEN_CHARACTERS: Final = 14
#: States of an order that can be asked for.
STATES: Final = ("open", "active", "pending", "done", "all")

_OF_ORDERS: Final = frozenset(ReportKind(kind) for kind in range(ReportKind.NEW, ReportKind.REPRICED + 1)) - {
    ReportKind.REJECTED,
    ReportKind.CANCEL_REJECTED,
}
_TIMES: Final = {TimeInForce.GTC: "GTC", TimeInForce.GTD: "GTT", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}
_STP: Final = {
    SelfTrade.DECREMENT: "dc",
    SelfTrade.CANCEL_OLDEST: "co",
    SelfTrade.CANCEL_NEWEST: "cn",
    SelfTrade.CANCEL_BOTH: "cb",
}
_TAKES: Final = (Liquidity.REMOVED, Liquidity.MIDPOINT_REMOVED)


@dataclass(slots=True)
class Held:
    """An order. place: its number among the orders of the account, which only rises. report: the last about it.

    tokens: all that it has had, since each replace gives it another. stop_e4: its stop, which reports do not have any
    more once it is elected; 0: it never had one.
    """

    place: int
    token: str
    created_ns: int
    report: Any
    closed_ns: int = 0
    stop_e4: int = 0
    tokens: set[str] = field(default_factory=set)

    @property
    def state(self) -> Literal["open", "active", "done"]:
        """State in the words of the dialect: active is a stop that waits."""
        if self.closed_ns:
            return "done"
        waits = self.report.instructions & Instruction.STOP and not self.report.in_book & InBook.AFTER
        return "active" if waits else "open"


@dataclass(slots=True)
class Fill:
    """A fill. place: its number among the fills of the account, which only rises."""

    place: int
    report: Any


@dataclass
class Account:
    """Orders and fills of a user. user: its name in capitals."""

    user: str
    orders: dict[int, Held] = field(default_factory=dict)  # by order number, as they came
    numbers: dict[str, int] = field(default_factory=dict)  # order number by each token
    fills: deque[Fill] = field(default_factory=lambda: deque(maxlen=FILLS_MAX))
    client_ids: dict[str, str] = field(default_factory=dict)  # client's own id by token, where it gave one
    _closed: deque[int] = field(default_factory=deque)
    _count: int = 0
    _fills: int = 0

    def begin_day(self) -> None:
        """Forget the day before: closed orders, fills, and tokens that can be used again."""
        while self._closed:
            self._forget(self._closed.popleft())
        self.fills.clear()

    def take(self, report: Any) -> list[Message]:
        """Take a report, as ``wire.native.REPORT`` has it; what channel user tells of it."""
        if report.report not in _OF_ORDERS or report.user != self.user:
            return []
        held = self.orders.get(report.order_number)
        before = None if held is None else held.report
        if held is None:
            self._count += 1
            held = Held(self._count, report.order_token, report.time_ns, report)
            self.orders[report.order_number] = held
        held.report = report
        held.stop_e4 = report.stop_e4 or held.stop_e4
        self.numbers[report.order_token] = report.order_number
        held.tokens.add(report.order_token)
        if report.report == ReportKind.TRADE:
            self._fills += 1
            self.fills.append(Fill(self._fills, report))
        if not report.leaves_qty and not held.closed_ns:
            held.closed_ns = report.time_ns
            self._closed.append(report.order_number)
            if len(self._closed) > CLOSED_MAX:
                self._forget(self._closed.popleft())
        return self._told(held, report, before)

    def _forget(self, number: int) -> None:
        """Forget an order, and its tokens: but for those that a later order has by now, on another day."""
        held = self.orders.pop(number, None)
        for token in held.tokens if held is not None else ():
            if self.numbers.get(token) == number:
                del self.numbers[token]
                self.client_ids.pop(token, None)

    def of_token(self, token: str) -> Held | None:
        """The order of a token; None for one that is not known."""
        number = self.numbers.get(token)
        return None if number is None else self.orders.get(number)

    def find(self, order_id: str, token: str) -> Held:
        """The order of an id, or of a client's own id by its ``token``. Raises BadRequest."""
        if token:
            found = self.of_token(token)
        else:
            number = words.order_number(order_id)
            if number is None:
                raise BadRequest("Invalid order id")
            found = self.orders.get(number)
        if found is None:
            raise BadRequest("order not found", 404)
        return found

    # What it tells.

    def order(self, held: Held) -> OrderAnswer:
        """An order."""
        report = held.report
        is_market = bool(report.instructions & Instruction.MARKET)
        made: OrderAnswer = {
            "id": words.order_id(report.order_number),
            "product_id": words.product_id(report.symbol),
            "side": words.side(report.side),
            "type": "market" if is_market else "limit",
            "size": str(report.qty),
            "time_in_force": _TIMES.get(report.time_in_force, "DAY"),
            "post_only": bool(report.instructions & Instruction.POST_ONLY),
            "stp": _STP.get(report.self_trade, "none"),
            "created_at": words.moment(held.created_ns),
            "fill_fees": "0.00",
            "filled_size": str(report.cum_qty),
            "executed_value": words.price(report.notional_e4),
            "status": held.state,
            "settled": bool(held.closed_ns),
        }
        if not is_market:
            made["price"] = words.price(report.price_e4)
        if held.stop_e4:
            made["stop"] = _stop_of(report.side)
            made["stop_price"] = words.price(held.stop_e4)
        if report.until_ns:
            made["expire_time"] = words.moment(report.until_ns)
        if held.closed_ns:
            made["done_at"] = words.moment(held.closed_ns)
            made["done_reason"] = _end_of(report)
            if _end_of(report) == "canceled" and report.reason:
                made["reject_reason"] = _reason(report.reason)
        if own := self._own_id(held.token):
            made["client_oid"] = own
        return made

    def fill(self, fill: Fill) -> FillAnswer:
        """A fill."""
        report = fill.report
        return {
            "trade_id": report.trade_number,
            "product_id": words.product_id(report.symbol),
            "order_id": words.order_id(report.order_number),
            "price": words.price(report.last_price_e4),
            "size": str(report.last_qty),
            "fee": "0.00",
            "side": words.side(report.side),
            "liquidity": "T" if report.liquidity in _TAKES else "M",
            "created_at": words.moment(report.time_ns),
            "settled": True,
            "usd_volume": words.price(report.last_price_e4 * report.last_qty),
        }

    def page(self, query: Mapping[str, str], states: list[str], product_id: str) -> tuple[list[OrderAnswer], list[int]]:
        """Orders, the newest first, and their places. states: of ``STATES``; none: all that are not done."""
        for state in states:
            if state not in STATES:
                raise BadRequest(f"status is {state[:40]!r}; give {', '.join(STATES)}")
        wanted = set(states) or {"open", "active", "pending"}
        found = (
            held
            for held in reversed(self.orders.values())
            if ("all" in wanted or held.state in wanted)
            and (not product_id or words.product_id(held.report.symbol) == product_id)
        )
        some = list(_cut(found, query, lambda held: held.created_ns))
        return [self.order(held) for held in some], [held.place for held in some]

    def fills_page(
        self, query: Mapping[str, str], order_id: str, product_id: str
    ) -> tuple[list[FillAnswer], list[int]]:
        """Fills, the newest first, and their places."""
        number = words.order_number(order_id) if order_id else 0
        if number is None:
            raise BadRequest("Invalid order id")
        found = (
            fill
            for fill in reversed(self.fills)
            if (not number or fill.report.order_number == number)
            and (not product_id or words.product_id(fill.report.symbol) == product_id)
        )
        some = list(_cut(found, query, lambda fill: int(fill.report.time_ns)))
        return [self.fill(fill) for fill in some], [fill.place for fill in some]

    def held_back(self) -> dict[str, int]:
        """Amounts that open orders may take: shares by symbol, and under ``USD`` price_e4 times shares of buys."""
        sums: dict[str, int] = {}
        for held in self.orders.values():
            report = held.report
            if not held.closed_ns:
                is_buy = report.side == Side.BUY
                code = words.CURRENCY if is_buy else report.symbol
                sums[code] = sums.get(code, 0) + report.leaves_qty * (report.price_e4 if is_buy else 1)
        return sums

    def _own_id(self, token: str) -> str:
        """The client's own id of a token; "" where it is not known: it was hashed, and the process started again."""
        return self.client_ids.get(token) or (token if len(token) < TOKEN_CHARACTERS else "")

    def _told(self, held: Held, report: Any, before: Any) -> list[Message]:
        """Messages of channel user for a report. before: the report before it; None for the first about an order."""
        about: Message = {
            "time": words.moment(report.time_ns),
            "product_id": words.product_id(report.symbol),
            "user_id": self.user,
            "profile_id": self.user,
            "order_id": words.order_id(report.order_number),
            "side": words.side(report.side),
        }
        own = self._own_id(held.token)
        if own:
            about["client_oid"] = own
        price = {} if report.instructions & Instruction.MARKET else {"price": words.price(report.price_e4)}
        told: list[Message] = []
        if report.report == ReportKind.NEW and report.instructions & Instruction.STOP:
            told.append(
                {
                    "type": "activate",
                    **about,
                    "timestamp": words.epoch(report.time_ns),
                    "stop_type": _stop_of(report.side),
                    "stop_price": words.price(report.stop_e4),
                    "size": str(report.leaves_qty),
                    "private": True,
                }
            )
        elif report.report in (ReportKind.NEW, ReportKind.TRIGGERED):
            kind = "market" if report.instructions & Instruction.MARKET else "limit"
            told.append({"type": "received", **about, "order_type": kind, "size": str(report.leaves_qty), **price})
        elif report.report == ReportKind.TRADE:
            takes = report.liquidity in _TAKES
            role = "taker" if takes else "maker"
            told.append(
                {
                    "type": "match",
                    **about,
                    "side": words.side(-report.side if takes else report.side),  # of the maker, as in channel full
                    "trade_id": report.trade_number,
                    f"{role}_order_id": about["order_id"],
                    f"{role}_user_id": self.user,
                    f"{role}_profile_id": self.user,
                    f"{role}_fee_rate": "0.00",
                    "size": str(report.last_qty),
                    "price": words.price(report.last_price_e4),
                }
            )
        else:
            change = {"type": "change", **about, "reason": "modify_order", "new_size": str(report.leaves_qty), **price}
            if before is not None:
                change["old_size"] = str(before.leaves_qty)
            if before is not None and price and before.price_e4 != report.price_e4:
                change |= {"old_price": words.price(before.price_e4), "new_price": words.price(report.price_e4)}
            told.append(change)
        if not report.leaves_qty:
            end = {
                "type": "done",
                **about,
                "reason": _end_of(report),
                "remaining_size": str(_unfilled(report, before)),
                **price,
            }
            told = [end] if told[0]["type"] == "change" else [*told, end]
        elif report.in_book & InBook.AFTER and not report.in_book & InBook.BEFORE:  # after its trades, if it had any
            opened = {"type": "open", **about, "remaining_size": str(report.leaves_qty), **price}
            told = [opened] if told[0]["type"] == "change" else [*told, opened]
        return told


def _unfilled(report: Any, before: Any) -> int:
    """Shares that were open of an order at its end and did not trade, without those that were canceled before."""
    if report.report == ReportKind.TRADE:
        return 0
    return int(report.canceled_qty if before is None else before.leaves_qty)


def _stop_of(side: int) -> Literal["entry", "loss"]:
    """Kind of a stop: a buy enters as the price rises, a sell limits a loss as it falls."""
    return "entry" if side == Side.BUY else "loss"


def _end_of(report: Any) -> Literal["filled", "canceled"]:
    return "filled" if report.report == ReportKind.TRADE else "canceled"


def _reason(code: int) -> str:
    return Reason(code).name.lower() if code in Reason._value2member_map_ else str(code)


def _cut(found: Any, query: Mapping[str, str], time_ns: Callable[[Any], int]) -> Any:
    """A page of entries with places: older than ``after``, newer than ``before``, from ``start_date`` to ``end_date``,
    both taken in, and as many as ``limit``. time_ns: of an entry."""
    limit = answers.whole(query, "limit", PAGE, 1, PAGE_MAX)
    after = answers.whole(query, "after", 2**62, 0, 10**18)
    before = answers.whole(query, "before", -1, -1, 10**18)
    from_ns = answers.moment(query, "start_date", -(2**62))
    to_ns = answers.moment(query, "end_date", 2**62)
    if from_ns > to_ns:
        raise BadRequest("start_date is later than end_date; give the earlier time as start_date")
    return islice(
        (
            each
            for each in found
            # As it was told: without the last three digits.
            if before < each.place < after and from_ns <= time_ns(each) // 1_000 * 1_000 <= to_ns
        ),
        limit,
    )
