"""Forms of REST answers, from which both the code and the description of the interface have their types.

The functions that make an answer give one of these, and the OpenAPI description is made of what they give
(``schema.Schemas``). So a field that is added in one place and not in the other is found by the types.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from marketdata.web.schema import Text

#: Prices and sums of money, sizes in shares, times in UTC, ids of products, orders and accounts.
Price = Annotated[str, Text(r"^-?[0-9]+\.[0-9]{2}([0-9]{2})?$")]
Size = Annotated[str, Text(r"^-?[0-9]+$")]
Moment = Annotated[str, Text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$")]
ProductId = Annotated[str, Text(r"^[^/]{1,8}-USD$")]
Uuid = Annotated[str, Text(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Side = Literal["buy", "sell"]


class Refusal(TypedDict):
    """A request that was not followed. reason: of the exchange, where it has refused."""

    message: str
    reason: NotRequired[str]


class Root(TypedDict):
    """The way to the description."""

    openapi: str


class Description(TypedDict):
    """A description by OpenAPI."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class Life(TypedDict):
    """State of the market, and the time for which it was not seen to go on, in seconds."""

    state: Literal["live", "stale"]
    age: float


class Clocks(TypedDict):
    """The clock of the machine, epoch in seconds since 1970; the market's clock, and its life."""

    iso: Moment
    epoch: float
    market_time: Moment
    state: Literal["live", "stale"]
    age: float


class CurrencyDetails(TypedDict):
    """Kind of a currency."""

    type: Literal["fiat", "stock"]


class Currency(TypedDict):
    """The dollar, or an instrument as a thing that can be held."""

    id: str
    name: str
    min_size: str
    status: Literal["online"]
    message: str
    max_precision: str
    convertible_to: list[str]
    details: CurrencyDetails


class Listed(TypedDict):
    """A product and its state."""

    id: ProductId
    base_currency: str
    quote_currency: Literal["USD"]
    base_increment: Size
    quote_increment: Price
    display_name: str
    min_market_funds: str
    margin_enabled: bool
    post_only: bool
    limit_only: bool
    cancel_only: bool
    trading_disabled: bool
    auction_mode: bool
    fx_stablecoin: bool
    status: Literal["online", "offline"]
    status_message: str
    halt_reason: str


class Auction(TypedDict):
    """Result of the uncross of a call as it would be now."""

    open_price: Price | None
    open_size: Size
    imbalance_size: Size
    imbalance_side: Literal["buy", "sell", "none"]
    best_bid_price: Price | None
    best_bid_size: Size
    best_ask_price: Price | None
    best_ask_size: Size
    auction_state: Literal["collecting"]
    can_open: Literal["yes", "no"]
    timestamp: Moment


#: Price, size, and number of orders of a level; price, size and id of an order.
Level = tuple[Price, Size, int]
BookOrder = tuple[Price, Size, Uuid]


class Book(TypedDict):
    """The displayed book by levels, or by orders."""

    bids: list[Level] | list[BookOrder]
    asks: list[Level] | list[BookOrder]
    sequence: int
    auction_mode: bool
    auction: Auction | None
    time: Moment


class PublicTrade(TypedDict):
    """A trade, with the side of the order that was there first."""

    trade_id: int
    side: Side
    size: Size
    price: Price
    time: Moment


#: Begin in seconds since 1970, low, high, open, close, volume.
Candle = tuple[int, float, float, float, float, int]


class Stats(TypedDict):
    """The last 24 hours, and the volume of 30 days."""

    open: Price | None
    high: Price | None
    low: Price | None
    last: Price | None
    volume: Size
    volume_30day: Size


class LastTrade(TypedDict):
    """The last trade."""

    trade_id: int
    price: Price | None
    size: Size
    time: Moment


class Ticker(LastTrade):
    """The last trade, the best prices and the volume of 24 hours."""

    bid: Price | None
    ask: Price | None
    volume: Size


class Balance(TypedDict):
    """An account: dollars, or shares of one instrument."""

    id: Uuid
    currency: str
    balance: str
    hold: str
    available: str
    profile_id: str
    trading_enabled: bool


class OrderAnswer(TypedDict):
    """An order of a user."""

    id: Uuid
    product_id: ProductId
    side: Side
    type: Literal["limit", "market"]
    size: Size
    time_in_force: str
    post_only: bool
    stp: str
    created_at: Moment
    fill_fees: Price
    filled_size: Size
    executed_value: Price
    status: Literal["open", "active", "done"]
    settled: bool
    price: NotRequired[Price]
    stop: NotRequired[Literal["entry", "loss"]]
    stop_price: NotRequired[Price]
    expire_time: NotRequired[Moment]
    done_at: NotRequired[Moment]
    done_reason: NotRequired[Literal["filled", "canceled"]]
    reject_reason: NotRequired[str]
    client_oid: NotRequired[str]


class FillAnswer(TypedDict):
    """A fill of a user's order."""

    trade_id: int
    product_id: ProductId
    order_id: Uuid
    price: Price
    size: Size
    fee: Price
    side: Side
    liquidity: Literal["T", "M"]
    created_at: Moment
    settled: bool
    usd_volume: Price
