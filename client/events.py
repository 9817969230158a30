"""Events for a trader, immutable: messages of the exchange, and changes of the connection.

Messages of the exchange have ``seq``, their number in the day's stream from 1, and ``time_ns``, nanoseconds since
midnight at the exchange. They name an order by its token; ``client.orders[token]`` is the order as it stands. Events
before the first ``CaughtUp`` tell what happened earlier in the day.
"""

from dataclasses import dataclass
from decimal import Decimal

from client import prices
from wire.ouch_codes import BuySell, CancelReason, Display, EventCode, Liquidity, RejectReason, TimeInForce

Side = BuySell


def code_name(code: int) -> str:
    """A code for people: its name in small letters, or the byte itself if this release does not know it.

    >>> code_name(CancelReason.USER), code_name(0x21)
    ('user', "'!'")
    """
    name = getattr(code, "name", None)
    return str(name).lower() if name is not None else repr(chr(code))


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the exchange and its place in the stream."""

    seq: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class SystemEvent(Message):
    """The day began or ended."""

    code: EventCode | int


@dataclass(frozen=True, slots=True)
class OrderPlaced(Message):
    """Terms of an order at the exchange, as Accepted and Replaced report them.

    qty: of Accepted the quantity entered, of Replaced what is open. live: whether it is open after this message.
    terms: all but side, quantity, symbol and limit, as words of the scenario notation, such as ``stop=9.90 tif=gtc``.
    """

    token: str
    side: Side | int
    qty: int
    symbol: str
    price_e4: int
    time_in_force_s: int
    firm: str
    display: Display | int
    order_reference: int
    capacity: str
    intermarket_sweep: str
    min_qty: int
    cross_type: str
    live: bool
    terms: str

    @property
    def price(self) -> Decimal | None:
        """The limit, None for a market order."""
        return prices.decimal(self.price_e4)

    @property
    def immediate(self) -> bool:
        """True if what does not trade at once is canceled."""
        return self.time_in_force_s == TimeInForce.IMMEDIATE_OR_CANCEL


@dataclass(frozen=True, slots=True)
class Accepted(OrderPlaced):
    """An order was taken."""


@dataclass(frozen=True, slots=True)
class Replaced(OrderPlaced):
    """An order goes on under a new token, with a new quantity and price."""

    previous_token: str


@dataclass(frozen=True, slots=True)
class Restated(OrderPlaced):
    """An order of an earlier day is open, over native order entry; told as another day begins.

    qty: open. cum_qty: executed so far; traded_e4: sum of price_e4 times quantity of its trades.
    """

    cum_qty: int
    traded_e4: int


@dataclass(frozen=True, slots=True)
class Canceled(Message):
    """``qty`` of an order is no longer open."""

    token: str
    qty: int
    reason: CancelReason | int


@dataclass(frozen=True, slots=True)
class SelfTradePrevented(Message):
    """``qty`` of an order is no longer open: it would have traded with the participant's own order."""

    token: str
    qty: int
    prevented_qty: int
    price_e4: int

    @property
    def price(self) -> Decimal | None:
        """At which it would have traded."""
        return prices.decimal(self.price_e4)


@dataclass(frozen=True, slots=True)
class Executed(Message):
    """``qty`` of an order traded."""

    token: str
    qty: int
    price_e4: int
    liquidity: Liquidity | int
    match_number: int

    @property
    def price(self) -> Decimal | None:
        """The trade's."""
        return prices.decimal(self.price_e4)


@dataclass(frozen=True, slots=True)
class Rejected(Message):
    """An order was refused, or a replacement under this token; of a replacement the old order stands."""

    token: str
    reason: RejectReason | int


@dataclass(frozen=True, slots=True)
class CancelRejected(Message):
    """A cancel, replace or modify was refused; mostly because the order is not open any more."""

    token: str


@dataclass(frozen=True, slots=True)
class OrderModified(Message):
    """The side of a sale was changed, or an order was made smaller; ``qty`` is open."""

    token: str
    side: Side | int
    qty: int


@dataclass(frozen=True, slots=True)
class OrderChanged(Message):
    """An order is another way in the book than before, over native order entry.

    kind: ``triggered``, ``replenished`` or ``repriced``. leaves_qty: open. price_e4: its limit now; of one that was
    repriced the price by which it trades from now on, 0 for none. displayed_qty: what the book shows of it.
    """

    token: str
    kind: str
    leaves_qty: int
    price_e4: int
    displayed_qty: int

    @property
    def price(self) -> Decimal | None:
        """The limit, None for a market order; of a peg its price, None while it has none."""
        return prices.decimal(self.price_e4) if self.price_e4 else None


@dataclass(frozen=True, slots=True)
class MassCanceled(Message):
    """All open orders of the participant are canceled, over native order entry; a ``Canceled`` of each follows.

    symbol: those in one instrument; "": in each. side: None: both. orders: how many. reason: of a refusal; None: it was
    done.
    """

    symbol: str
    side: Side | None
    orders: int
    reason: int | None


@dataclass(frozen=True, slots=True)
class OtherMessage(Message):
    """A message of OUCH that does not change what this library keeps of an order."""

    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Connected:
    """The exchange let the user in; ``next_seq`` is the first message that comes.

    address: of the node, as ``host:port``, where the shell names it.
    """

    session: str
    next_seq: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All that was missed has come, up to ``seq``: from here on events are news, and requests can be made.

    epoch: of the primary, where the market has a standby; a higher one than before is of another primary, or of the
    same one in a new reign. outage_ns: time since the exchange was there last: since the connection before was lost,
    since the last bytes of one that went silent, or since the first request without an answer; 0 for the first.
    resent: requests that the exchange had not received, and that were sent again.
    """

    seq: int
    address: str = ""
    epoch: int = 0
    outage_ns: int = 0
    resent: int = 0


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection broke; it is made again, perhaps to another node, unless that was turned off."""

    why: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A new trading day, in which numbers of messages and tokens begin anew. A ``Restated`` of each order follows that
    outlasts the day before, over native order entry; OUCH tells of none."""

    session: str
    previous: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The exchange said that the stream of the day is complete."""


@dataclass(frozen=True, slots=True)
class DebugText:
    """Text of the exchange for a person."""

    text: str


@dataclass(frozen=True, slots=True)
class RequestUnanswered:
    """A request has no answer and its connection broke.

    final: nobody will tell any more (a new day, or the client ended). Otherwise it is settled once the stream has
    caught up: by its answer, by the answer to its repetition, or as not received.
    """

    number: int
    kind: str
    token: str
    final: bool


@dataclass(frozen=True, slots=True)
class RequestLost:
    """A request that was not to be repeated never reached the exchange: nothing was done, and nothing will be."""

    number: int
    kind: str
    token: str


@dataclass(frozen=True, slots=True)
class EventsLost:
    """``count`` events were dropped here, since nobody read them. Orders did not miss them."""

    count: int


Event = (
    SystemEvent
    | Accepted
    | Replaced
    | Restated
    | Canceled
    | SelfTradePrevented
    | Executed
    | Rejected
    | CancelRejected
    | OrderModified
    | OrderChanged
    | MassCanceled
    | OtherMessage
    | Connected
    | CaughtUp
    | Disconnected
    | NewSession
    | SessionEnded
    | DebugText
    | RequestUnanswered
    | RequestLost
    | EventsLost
)
