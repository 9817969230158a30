"""Messages of WebSocket channels that tell a state, and requests of subscribers.

Channel full and matches are in ``order_messages``. Each message here has the number of the product's last message in
channel full, so that whoever takes several channels can put them side by side.
"""

from typing import Any, Final, NamedTuple

from engine.records import Side
from marketdata.web import answers, order_messages, words
from marketdata.web.answers import BadRequest
from marketdata.web.market import WebMarket
from marketdata.web.product import Message, Product
from notation.strict_json import NameTwice, read_json

#: Channels, and the other names that clients use for them.
CHANNELS: Final = ("level2", "full", "matches", "ticker", "heartbeat", "status", "auctionfeed", "user", "market")
#: Those of the whole market, which need no products.
WHOLE: Final = ("status", "market")
_OTHER_NAMES: Final = {"level2_batch": "level2", "level2_50": "level2", "ticker_batch": "ticker"}
#: Interval of level2 and ticker where a subscriber asks for no other, its multiples being those that may be asked for,
#: and the longest, in milliseconds.
INTERVAL_MS: Final = 100
INTERVAL_MS_MAX: Final = 10_000
#: Channels that have one.
PACED: Final = ("level2", "ticker")
#: Entries of a request at most.
_ENTRIES_MAX: Final = 1_000
#: Fields of a signed request, and characters of one.
_SIGNED: Final = {"key": "key", "sign": "signature", "timestamp": "timestamp", "passphrase": "passphrase"}
_SIGNED_MAX: Final = 200


class Request(NamedTuple):
    """Wishes of a subscriber. ``wants``: channel as the client names it, channel, and product ids. ``intervals_ms``: of
    channel and product, where they are paced."""

    subscribes: bool
    wants: tuple[tuple[str, str, tuple[str, ...]], ...]
    signed: dict[str, str]  # key, sign, timestamp and passphrase, where it has them
    intervals_ms: dict[tuple[str, str], int]


def _names(found: Any, what: str) -> tuple[str, ...]:
    if not isinstance(found, list) or len(found) > _ENTRIES_MAX or not all(isinstance(each, str) for each in found):
        raise BadRequest(f'{what} is no list of names; give one such as ["XYZ-USD"]')
    return tuple(found)


def read_request(text: str | bytes, market: WebMarket) -> Request:
    """Read what a subscriber sent. Raises BadRequest with a sentence."""
    try:
        asked = read_json(text)
    except NameTwice as twice:
        raise BadRequest(f"the message cannot be followed: {twice}") from None
    except ValueError:
        raise BadRequest('the message is no JSON; send a request such as {"type": "subscribe", ...}') from None
    if not isinstance(asked, dict) or asked.get("type") not in ("subscribe", "unsubscribe"):
        raise BadRequest("the type of a request is subscribe or unsubscribe")
    products = _names(asked.get("product_ids", []), "product_ids")
    channels = asked.get("channels")
    if not isinstance(channels, list) or not channels or len(channels) > _ENTRIES_MAX:
        raise BadRequest(f"channels is no list; give some of {', '.join(CHANNELS)}")
    wants = []
    intervals_ms: dict[tuple[str, str], int] = {}
    for each in channels:
        name, ids = (each, products) if isinstance(each, str) else _named(each, products)
        channel = _OTHER_NAMES.get(name, name)
        if channel not in CHANNELS:
            raise BadRequest(f"there is no channel {name[:40]!r}; give some of {', '.join(CHANNELS)}")
        if not ids and channel not in WHOLE and asked["type"] == "subscribe":
            raise BadRequest(f"channel {name} needs product_ids")
        for one in ids:
            answers.product_of(market, one)
        wants.append((name, channel, () if channel in WHOLE else ids))
        interval_ms = _interval_ms(each if isinstance(each, dict) and "interval_ms" in each else asked)
        if channel in PACED:
            intervals_ms |= {(channel, one): interval_ms for one in ids}
    signed = {name: str(asked[given])[:_SIGNED_MAX] for name, given in _SIGNED.items() if given in asked}
    return Request(asked["type"] == "subscribe", tuple(wants), signed, intervals_ms)


def _named(each: Any, products: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if not isinstance(each, dict) or not isinstance(each.get("name"), str):
        raise BadRequest("an entry of channels is a name, or has a name and product_ids")
    return each["name"], _names(each["product_ids"], "product_ids") if "product_ids" in each else products


def _interval_ms(asked: dict[str, Any]) -> int:
    """The interval that a request or one of its channels asks for, in milliseconds. Raises BadRequest."""
    found = asked.get("interval_ms", INTERVAL_MS)
    if type(found) is not int or not INTERVAL_MS <= found <= INTERVAL_MS_MAX or found % INTERVAL_MS:
        raise BadRequest(
            f"interval_ms is {str(found)[:40]}; give a multiple of {INTERVAL_MS}, {INTERVAL_MS_MAX:,} at most"
        )
    return found


def subscriptions(held: dict[str, set[str]]) -> Message:
    """Subscriptions of a client: product ids by channel."""
    return {
        "type": "subscriptions",
        "channels": [{"name": name, "product_ids": sorted(ids)} for name, ids in sorted(held.items())],
    }


def error(sentence: str) -> Message:
    """An answer to a request that cannot be followed."""
    return {"type": "error", "message": "Failed to subscribe", "reason": sentence}


def snapshot(market: WebMarket, product: Product) -> Message:
    """Price levels of a product, with which channel level2 begins."""
    bids, asks = (
        [[words.price(price_e4), str(qty)] for price_e4, qty, _ in market.top(product, side, answers.LEVELS_MAX)]
        for side in (Side.BUY, Side.SELL)
    )
    return {
        "type": "snapshot",
        "product_id": product.id,
        "sequence": product.sequence,
        "time": words.moment(market.now_ns),
        "bids": bids,
        "asks": asks,
    }


def l2update(market: WebMarket, product: Product, levels: "dict[tuple[int, int], int] | None" = None) -> Message | None:
    """The price levels that changed since the call before; size 0: gone. None where none has. ``levels``: those that
    changed since some other moment, as ``Product.levels`` has them. They are cleared."""
    levels = product.levels if levels is None else levels
    if not levels:
        return None
    changes = [[words.side(side), words.price(price_e4), str(qty)] for (side, price_e4), qty in levels.items()]
    levels.clear()
    return {
        "type": "l2update",
        "product_id": product.id,
        "sequence": product.sequence,
        "time": words.moment(market.now_ns),
        "changes": changes,
    }


def ticker(market: WebMarket, product: Product) -> Message:
    """The last trade with best prices and 24 hours. Prices that are not there are None, as is the side of no trade."""
    bid, ask = answers.best(market, product)
    day = answers.stats(market, product)
    now = answers.last_trade(market, product)
    return {
        "type": "ticker",
        "sequence": product.sequence,
        "product_id": product.id,
        "price": now["price"],
        "open_24h": day["open"],
        "volume_24h": day["volume"],
        "low_24h": day["low"],
        "high_24h": day["high"],
        "volume_30d": day["volume_30day"],
        "best_bid": words.price_if_any(bid[0]),
        "best_bid_size": str(bid[1]),
        "best_ask": words.price_if_any(ask[0]),
        "best_ask_size": str(ask[1]),
        "side": words.side(-product.trades[-1].maker_side) if product.trades else None,
        "time": now["time"],
        "trade_id": now["trade_id"],
        "last_size": now["size"],
    }


def heartbeat(market: WebMarket, product: Product) -> Message:
    """A sign of life with the numbers of the last message and trade."""
    return {
        "type": "heartbeat",
        "sequence": product.sequence,
        "last_trade_id": product.trades[-1].trade_number if product.trades else 0,
        "product_id": product.id,
        "time": words.moment(market.now_ns),
    }


def last_match(product: Product) -> Message:
    """The last trade, with which channel matches begins. Raises IndexError where none is remembered."""
    return {**order_messages.match_of(product, product.trades[-1]), "type": "last_match"}


def market_life(market: WebMarket) -> Message:
    """State of the market, live or stale: the process that sends this may live without it."""
    return {"type": "market", **answers.life(market), "time": words.moment(market.now_ns)}


def auction(market: WebMarket, product: Product) -> Message | None:
    """Result of the uncross of a call as it would be now; None outside of calls."""
    now = answers.auction(market, product)
    if now is None:
        return None
    return {"type": "auction", "product_id": product.id, "sequence": product.sequence, **now}


def status(market: WebMarket) -> Message:
    """All products and currencies."""
    return {"type": "status", "products": answers.products(market), "currencies": answers.currencies(market)}
