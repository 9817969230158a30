"""Orders and requests of a trader, with their states.

    order    PENDING -> LIVE -> FILLED | CANCELED         PENDING -> REJECTED | NOT_RECEIVED | UNKNOWN
    request  SENT <-> UNKNOWN -> DONE | REFUSED | NOT_RECEIVED | GIVEN_UP

A request that was sent and not answered when its connection broke is UNKNOWN: it may have been done. Every request is
settled once. An order keeps being the same object when it is replaced; its ``token`` is then the new one.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Final

from client import prices
from client.events import Event, OrderPlaced, Side
from client.prices import Price
from wire.ouch_codes import Capacity, CrossType, CustomerType, Display, IntermarketSweep, TimeInForce

#: An order has less than a million shares (OUCH 4.2).
QTY_MAX: Final = 999_999


def checked_qty(qty: int, least: int = 1) -> int:
    """Check a quantity. Raises ValueError."""
    if isinstance(qty, bool) or not isinstance(qty, int) or not least <= qty <= QTY_MAX:
        raise ValueError(f"the quantity {qty!r} is no whole number from {least} to {QTY_MAX}")
    return qty


def _check_text(what: str, text: str, least: int, most: int) -> None:
    if not (least <= len(text) <= most and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(f"the {what} {text!r} is not {least} to {most} printable ASCII characters without spaces")


@dataclass(frozen=True, slots=True)
class NewOrder:
    """Order to enter. Raises ValueError for invalid values, and TypeError for a price that is a float.

    price: as ``client.prices.Price``. time_in_force_s: seconds, or a ``TimeInForce``: until the market closes unless
    given, 0 for what does not trade at once to be canceled. min_qty: trade at least so much at once; 0: any. terms:
    over native order entry, words of the scenario notation, such as ``stop=9.90 tif=gtc``.
    """

    symbol: str
    side: Side
    qty: int
    price: Price = field(repr=False)
    time_in_force_s: int = TimeInForce.MARKET_HOURS
    display: Display = Display.ANONYMOUS
    min_qty: int = 0
    firm: str = ""
    capacity: Capacity = Capacity.PRINCIPAL
    intermarket_sweep: IntermarketSweep = IntermarketSweep.NOT_ELIGIBLE
    cross_type: CrossType = CrossType.NO_CROSS
    customer_type: CustomerType = CustomerType.NOT_RETAIL
    terms: str = ""
    price_e4: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "price_e4", prices.price_e4(self.price))
        _check_text("symbol", self.symbol, 1, 8)
        _check_text("firm", self.firm, 0, 4)
        Side(self.side)
        checked_qty(self.qty)
        checked_qty(self.min_qty, 0)
        if not 0 <= self.time_in_force_s <= TimeInForce.SYSTEM_HOURS:
            raise ValueError(f"the time in force {self.time_in_force_s} is not from 0 to 99999 seconds")


class OrderState(Enum):
    """State of an order."""

    PENDING = "pending"
    LIVE = "live"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    NOT_RECEIVED = "not received"
    UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class Order:
    """Order by the exchange's messages.

    qty: in all, cum_qty: executed, leaves_qty: open (0 unless LIVE). traded_e4: sum of price_e4 times quantity of
    its trades. order_reference: the exchange's own number. terms: as ``events.OrderPlaced`` has them.
    """

    token: str
    symbol: str
    side: Side | int
    qty: int
    price_e4: int
    time_in_force_s: int
    display: Display | int
    intermarket_sweep: int
    min_qty: int
    terms: str = ""
    state: OrderState = OrderState.PENDING
    leaves_qty: int = 0
    cum_qty: int = 0
    traded_e4: int = 0
    order_reference: int = 0

    @property
    def client_order_id(self) -> str:
        """The token, by its other name."""
        return self.token

    @property
    def price(self) -> Decimal | None:
        """The limit, None for a market order."""
        return prices.decimal(self.price_e4)

    @property
    def average_price(self) -> Decimal | None:
        """Average price of its trades; None before the first."""
        return Decimal(self.traded_e4) / self.cum_qty / 10_000 if self.cum_qty else None

    @property
    def is_open(self) -> bool:
        """True if some of it may yet trade."""
        return self.state is OrderState.LIVE

    def place(self, placed: OrderPlaced) -> None:
        """Record the terms at the exchange, after it accepted or replaced the order."""
        self.token = placed.token
        self.side = placed.side
        self.price_e4 = placed.price_e4
        self.time_in_force_s = placed.time_in_force_s
        self.display = placed.display
        self.intermarket_sweep = ord(placed.intermarket_sweep)
        self.min_qty = placed.min_qty
        self.terms = placed.terms
        self.order_reference = placed.order_reference
        self.qty = self.cum_qty + placed.qty
        self.leaves_qty = placed.qty if placed.live else 0
        self.state = OrderState.LIVE if placed.live else OrderState.CANCELED

    def trade(self, qty: int, price_e4: int) -> None:
        """Record an execution."""
        self.cum_qty += qty
        self.traded_e4 += qty * price_e4
        self.leaves_qty = max(0, self.leaves_qty - qty)
        if not self.leaves_qty:
            self.state = OrderState.FILLED

    def lose(self, qty: int) -> None:
        """Record a cancel of some or all of the open quantity."""
        self.leaves_qty = max(0, self.leaves_qty - qty)
        if self.leaves_qty:
            self.qty = self.cum_qty + self.leaves_qty
        else:
            self.state = OrderState.CANCELED

    def shrink(self, side: Side | int, leaves_qty: int) -> None:
        """Record a modification: the open quantity and the side now."""
        self.side = side
        self.lose(self.leaves_qty - leaves_qty)


class RequestKind(Enum):
    """Kind of a request."""

    ENTER = "enter"
    REPLACE = "replace"
    CANCEL = "cancel"
    MODIFY = "modify"


class RequestState(Enum):
    """State of a request; the last four are final."""

    SENT = "sent"
    UNKNOWN = "outcome unknown"
    DONE = "done"
    REFUSED = "refused"
    NOT_RECEIVED = "not received"
    GIVEN_UP = "outcome unknown for good"


@dataclass(slots=True, eq=False)
class Request:
    """Request to the exchange: entry, cancel, replace or modify.

    number: counts a client's requests up. token: of the order in question; of a replace the one before. resend: if it
    was lost with its connection, send it again; may be set to False as long as it is not settled. answer: the message
    that settled it. sends: how often it went out. sent_ns: when it did last, by the client's clock.
    """

    number: int
    kind: RequestKind
    token: str
    new_token: str
    payload: bytes = field(repr=False)
    resend: bool = True
    state: RequestState = RequestState.SENT
    answer: Event | None = None
    sends: int = 1
    sent_ns: int = 0

    @property
    def settled(self) -> bool:
        """True if its outcome stands."""
        return self.state not in (RequestState.SENT, RequestState.UNKNOWN)
