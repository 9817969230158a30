"""Requests for market data, read from messages: what is wanted, or the reason for which it is refused."""

from collections.abc import Mapping
from typing import NamedTuple

from marketdata.fix.encoding import DEPTH_MAX, TYPES, View
from marketdata.fix.market import Instrument
from wire.fix_codec import Message

#: Reasons of a MarketDataRequestReject: MDReqRejReason, field 281.
UNKNOWN_SYMBOL, DUPLICATE_ID, BANDWIDTH = b"0", b"1", b"2"
#: Of a request that is to be ended, and is not known.
NO_REASON = b""
_SUBSCRIPTION_TYPE, _DEPTH, _UPDATE_TYPE, _AGGREGATED, _ENTRY_TYPE = b"4", b"5", b"6", b"7", b"8"
_TRADING_SESSION, _SCOPE, _OPEN_CLOSE, _IMPLICIT = b"9", b"A", b"B", b"C"
#: SubscriptionRequestType, field 263.
ONCE, SUBSCRIBE, UNSUBSCRIBE = b"0", b"1", b"2"
_FULL_REFRESH, _INCREMENTAL = b"0", b"1"


class Refused(Exception):
    """A MarketDataRequest that cannot be followed. ``reason``: MDReqRejReason; the message is its text."""

    def __init__(self, reason: bytes, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Wish(NamedTuple):
    """The wish of a MarketDataRequest. kind: ONCE, SUBSCRIBE or UNSUBSCRIBE, which has no more than its id.

    refreshes: changes are told by a whole W, and not by X.
    """

    request_id: bytes
    kind: bytes
    view: View
    instruments: tuple[Instrument, ...] = ()
    refreshes: bool = False


def _whole(message: Message, tag: bytes, most: int) -> int | None:
    """A number from 0 to ``most``; None for another."""
    value = message.number(tag)
    return value if value is not None and value <= most else None


def read(message: Message, version: str, by_symbol: Mapping[str, Instrument]) -> Wish:
    """Read a MarketDataRequest. Raises Refused."""
    get = message.fields.get
    request_id, kind = message.fields[b"262"], message.fields[b"263"]
    if kind == UNSUBSCRIBE:
        return Wish(request_id, kind, View(version, frozenset(), 1))
    if kind not in (ONCE, SUBSCRIBE):
        raise Refused(_SUBSCRIPTION_TYPE, "SubscriptionRequestType (263) is 0, 1 or 2")
    depth = _whole(message, b"264", DEPTH_MAX)
    if depth is None:
        raise Refused(_DEPTH, f"MarketDepth (264) is 0 for all levels, or 1 to {DEPTH_MAX}")
    update = get(b"265", _FULL_REFRESH if kind == ONCE else _INCREMENTAL)
    if update not in (_FULL_REFRESH, _INCREMENTAL):
        raise Refused(_UPDATE_TYPE, "MDUpdateType (265) is 0 or 1")
    if get(b"266", b"Y") != b"Y":
        raise Refused(_AGGREGATED, "AggregatedBook (266) is Y: there are price levels here, and no single orders")
    if b"386" in message.fields:
        raise Refused(_TRADING_SESSION, "leave TradingSessions (386) out: there is one, the trading day")
    if b"546" in message.fields:
        raise Refused(_SCOPE, "leave Scope (546) out: there is one market")
    if b"286" in message.fields:
        raise Refused(_OPEN_CLOSE, "leave OpenCloseSettlFlag (286) out")
    if get(b"547", b"N") != b"N":
        raise Refused(_IMPLICIT, "MDImplicitDelete (547) is N: each level that leaves the view is deleted")
    pairs = message.in_order()
    types = frozenset(value for tag, value in pairs if tag == b"269")
    unserved = sorted(types - TYPES[version])
    if not types:
        raise Refused(_ENTRY_TYPE, "name an MDEntryType (269) in NoMDEntryTypes (267)")
    if unserved:
        word = unserved[0].decode("ascii", "replace")
        raise Refused(_ENTRY_TYPE, f"MDEntryType (269) {word[:10]} is not served")
    instruments: dict[str, Instrument] = {}
    for tag, value in pairs:
        if tag != b"55":
            continue
        symbol = value.decode("latin-1")
        found = by_symbol.get(symbol)
        if found is None:
            raise Refused(UNKNOWN_SYMBOL, f"there is no symbol {symbol[:20]}")
        instruments[symbol] = found
    if not instruments:
        raise Refused(UNKNOWN_SYMBOL, "name a symbol in NoRelatedSym (146)")
    view = View(version, types, depth or DEPTH_MAX)
    return Wish(request_id, kind, view, tuple(instruments.values()), update == _FULL_REFRESH)
