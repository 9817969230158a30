"""REST answers of the Coinbase Exchange dialect: each a function of the market, as JSON values.

A question that cannot be answered raises ``BadRequest`` with an HTTP status and a sentence.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from engine.bounds import DAY_NS, SECOND_NS
from engine.records import Phase, Reason, Side
from marketdata.web import words
from marketdata.web.forms import (
    Auction,
    Book,
    BookOrder,
    Candle,
    Clocks,
    Currency,
    LastTrade,
    Level,
    Life,
    Listed,
    PublicTrade,
    Stats,
    Ticker,
)
from marketdata.web.market import WebMarket
from marketdata.web.product import HOUR_NS, MINUTE_NS, TRADES_MAX, Bar, Product, bars_between

#: Price levels of a side and orders of a product at most in one answer.
LEVELS_MAX: Final = 5_000
ORDERS_MAX: Final = 100_000
#: Candles in one answer at most, trades without ``limit``, and widths of candles in seconds.
CANDLES_MAX: Final = 300
TRADES: Final = 100
WIDTHS_S: Final = (60, 300, 900, 3_600, 21_600, 86_400)
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_AUCTIONS: Final = (Phase.PRE_OPEN, Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION)
Query = Mapping[str, str]


class BadRequest(Exception):
    """A question that cannot be answered. ``status``: of HTTP; the message is for the client."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def whole(query: Query, name: str, default: int, low: int, high: int) -> int:
    """A number that is asked for. Raises BadRequest unless it is from ``low`` to ``high``."""
    text = query.get(name, "")
    if not text:
        return default
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise BadRequest(f"{name} is {text[:40]!r}; give a whole number from {low} to {high}")
    return int(text)


def product_of(market: WebMarket, product_id: str) -> Product:
    """The product of an id. Raises BadRequest."""
    found = market.by_id.get(product_id)
    if found is None:
        raise BadRequest(f"there is no product {product_id[:40]!r}; GET /products lists them", 404)
    return found


def life(market: WebMarket) -> Life:
    """State of the market, live or stale, and the time for which it was not seen to go on, in seconds."""
    return {"state": "stale" if market.is_stale else "live", "age": round(market.age_s, 3)}


def time_now(market: WebMarket, clock_ns: int) -> Clocks:
    """The clock of this machine, by which a signed request is judged, that of the market, moved by commands, and
    whether the market goes on."""
    return {
        "iso": words.moment(clock_ns),
        "epoch": clock_ns // 1_000 / 1_000_000,
        "market_time": words.moment(market.now_ns),
        **life(market),
    }


def _currency(code: str, name: str, kind: Literal["fiat", "stock"], least: str) -> Currency:
    return {
        "id": code,
        "name": name,
        "min_size": least,
        "status": "online",
        "message": "",
        "max_precision": least,
        "convertible_to": [],
        "details": {"type": kind},
    }


def currencies(market: WebMarket) -> list[Currency]:
    """The dollar, and each instrument as a thing that can be held."""
    return [
        _currency(words.CURRENCY, "United States Dollar", "fiat", "0.0001"),
        *(_currency(each.symbol, each.symbol, "stock", "1") for each in market.products.values()),
    ]


def currency(market: WebMarket, code: str) -> Currency:
    """One currency. Raises BadRequest."""
    for each in currencies(market):
        if each["id"] == code:
            return each
    raise BadRequest(f"there is no currency {code[:40]!r}; GET /currencies lists them", 404)


def product(market: WebMarket, each: Product) -> Listed:
    """A product and its state. Status is online only while the market is seen to go on."""
    return {
        "id": each.id,
        "base_currency": each.symbol,
        "quote_currency": words.CURRENCY,
        "base_increment": str(each.lot),
        "quote_increment": words.price(each.tick_e4),
        "display_name": f"{each.symbol}/{words.CURRENCY}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": each.phase == Phase.HALTED,
        "trading_disabled": each.phase == Phase.CLOSED,
        "auction_mode": each.phase in _AUCTIONS,
        "fx_stablecoin": False,
        "status": "offline" if market.is_stale else "online",
        "status_message": Phase(each.phase).name.lower(),
        "halt_reason": Reason(each.halt_reason).name.lower() if each.halt_reason else "",
    }


def products(market: WebMarket) -> list[Listed]:
    """All products."""
    return [product(market, each) for each in market.products.values()]


def _levels(market: WebMarket, each: Product, side: Side, depth: int) -> list[Level]:
    return [(words.price(price_e4), str(qty), orders) for price_e4, qty, orders in market.top(each, side, depth)]


def _orders(each: Product, side: Side) -> list[BookOrder]:
    found = [(number, shown) for number, shown in each.orders.items() if shown.side == side and shown.qty]
    found.sort(key=lambda order: -side * order[1].price_e4)  # the sort keeps the order at a price
    return [(words.price(shown.price_e4), str(shown.qty), words.order_id(number)) for number, shown in found]


def book(market: WebMarket, each: Product, query: Query) -> Book:
    """The displayed book. level 1: the best prices; 2: price levels; 3: every order. Raises BadRequest."""
    level = whole(query, "level", 1, 1, 3)
    if level < 3:
        depth = 1 if level == 1 else LEVELS_MAX
        bids: list[Level] | list[BookOrder] = _levels(market, each, Side.BUY, depth)
        asks: list[Level] | list[BookOrder] = _levels(market, each, Side.SELL, depth)
    elif len(each.orders) > ORDERS_MAX:
        raise BadRequest(
            f"{each.id} has {len(each.orders):,} orders, more than {ORDERS_MAX:,}; take a snapshot of the ITCH feed",
            503,
        )
    else:
        bids, asks = _orders(each, Side.BUY), _orders(each, Side.SELL)
    return {
        "bids": bids,
        "asks": asks,
        "sequence": each.sequence,
        "auction_mode": each.phase in _AUCTIONS,
        "auction": auction(market, each),
        "time": words.moment(market.now_ns),
    }


def auction(market: WebMarket, each: Product) -> Auction | None:
    """Result of the uncross of a call as it would be now; None outside of calls. Prices that are not there are None."""
    call = each.call
    if call is None:
        return None
    bid, ask = best(market, each)
    return {
        "open_price": words.price_if_any(call.price_e4),
        "open_size": str(call.paired_qty),
        "imbalance_size": str(call.imbalance_qty),
        "imbalance_side": words.side(call.imbalance_side) if call.imbalance_side else "none",
        "best_bid_price": words.price_if_any(bid[0]),
        "best_bid_size": str(bid[1]),
        "best_ask_price": words.price_if_any(ask[0]),
        "best_ask_size": str(ask[1]),
        "auction_state": "collecting",
        "can_open": "yes" if call.paired_qty else "no",
        "timestamp": words.moment(call.time_ns),
    }


def trades(each: Product, query: Query) -> list[PublicTrade]:
    """Recent trades, the newest first. after: older than that trade; before: newer than that. Raises BadRequest."""
    limit = whole(query, "limit", TRADES, 1, TRADES_MAX)
    after = whole(query, "after", 2**62, 0, 10**18)
    before = whole(query, "before", -1, -1, 10**18)
    found = [trade for trade in reversed(each.trades) if before < trade.trade_number < after]
    return [
        {
            "trade_id": trade.trade_number,
            "side": words.side(trade.maker_side),
            "size": str(trade.qty),
            "price": words.price(trade.price_e4),
            "time": words.moment(trade.time_ns),
        }
        for trade in found[:limit]
    ]


def moment(query: Query, name: str, default_ns: int) -> int:
    """A time that is asked for, in ns since 1970. Raises BadRequest."""
    text = query.get(name, "")
    if not text:
        return default_ns
    if _NUMBER.fullmatch(text) and len(text) <= 10:
        return int(text) * SECOND_NS
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
        since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{name} is {text[:40]!r}; give seconds since 1970, or a time such as 2024-01-15T09:30:00Z"
        ) from None
    return since // timedelta(microseconds=1) * 1_000


def candles(market: WebMarket, each: Product, query: Query) -> list[Candle]:
    """Bars, the newest first: begin in seconds, low, high, open, close, volume. Raises BadRequest.

    Minutes are kept for a day of trading, hours for two months of it.
    """
    width_s = whole(query, "granularity", 60, 1, 10**9)
    if width_s not in WIDTHS_S:
        raise BadRequest(f"granularity is {width_s}; give one of {', '.join(str(one) for one in WIDTHS_S)} seconds")
    width_ns = width_s * SECOND_NS
    end_ns = moment(query, "end", market.now_ns)
    start_ns = moment(query, "start", end_ns - (CANDLES_MAX - 1) * width_ns)
    if start_ns > end_ns and query.get("end"):
        raise BadRequest("start is later than end; give the earlier time as start")
    if end_ns - start_ns > CANDLES_MAX * width_ns:
        raise BadRequest(f"start and end are more than {CANDLES_MAX} candles apart; ask for less, or for wider ones")
    made: dict[int, Bar] = {}
    for bar_ns, bar in (each.minutes if width_ns < HOUR_NS else each.hours).items():
        begin_ns = bar_ns - bar_ns % width_ns
        if start_ns - width_ns < begin_ns <= end_ns:
            made[begin_ns] = bar if begin_ns not in made else made[begin_ns].joined(bar)
    return [
        (
            begin_ns // SECOND_NS,
            bar.low_e4 / 10_000,
            bar.high_e4 / 10_000,
            bar.open_e4 / 10_000,
            bar.close_e4 / 10_000,
            bar.qty,
        )
        for begin_ns, bar in sorted(made.items(), reverse=True)
        if bar.open_e4
    ][:CANDLES_MAX]


def stats(market: WebMarket, each: Product) -> Stats:
    """The last 24 hours, and the volume of 30 days, by market time. Prices are None where nothing traded."""
    end_ns = market.now_ns + 1
    day = bars_between(each.minutes, end_ns - DAY_NS - MINUTE_NS, end_ns) or Bar(0, 0, 0, 0, 0)
    month = bars_between(each.hours, end_ns - 30 * DAY_NS - HOUR_NS, end_ns)
    return {
        "open": words.price_if_any(day.open_e4),
        "high": words.price_if_any(day.high_e4),
        "low": words.price_if_any(day.low_e4),
        "last": words.price_if_any(each.last_price_e4),
        "volume": str(day.qty),
        "volume_30day": str(month.qty if month else 0),
    }


def best(market: WebMarket, each: Product) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The best bid and offer: price_e4, quantity and orders of each, zeros for none."""
    (bid,), (ask,) = (market.top(each, side, 1) or [(0, 0, 0)] for side in (Side.BUY, Side.SELL))
    return bid, ask


def last_trade(market: WebMarket, each: Product) -> LastTrade:
    """Id, price, size and time of the last trade; before the first 0, None, 0 and the time now."""
    last = each.trades[-1] if each.trades else None
    return {
        "trade_id": last.trade_number if last else 0,
        "price": words.price_if_any(last.price_e4 if last else 0),
        "size": str(last.qty if last else 0),
        "time": words.moment(last.time_ns if last else market.now_ns),
    }


def ticker(market: WebMarket, each: Product) -> Ticker:
    """The last trade, the best prices and the volume of 24 hours. Prices that are not there are None."""
    bid, ask = best(market, each)
    return {
        **last_trade(market, each),
        "bid": words.price_if_any(bid[0]),
        "ask": words.price_if_any(ask[0]),
        "volume": stats(market, each)["volume"],
    }
