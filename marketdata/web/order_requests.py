"""Orders as clients of the Coinbase Exchange send them, read into the words of the rulebook. No I/O.

Numbers are read as the decimals that they are written as; nothing here is a float.
"""

import base64
import hashlib
import re
import time
from decimal import Decimal
from typing import Any, Final, NamedTuple

from engine.bounds import SECOND_NS
from marketdata.web import words
from marketdata.web.answers import BadRequest, product_of
from marketdata.web.market import WebMarket
from notation.strict_json import NameTwice, read_json

_FIELDS: Final = frozenset(
    {
        *("client_oid", "type", "side", "product_id", "price", "size", "time_in_force", "cancel_after", "post_only"),
        *("stp", "stop", "stop_price", "profile_id"),
    }
)
_TIMES: Final = {"GTC": "tif=gtc", "IOC": "tif=ioc", "FOK": "tif=fok", "DAY": "", "GTT": ""}
_AFTER_S: Final = {"min": 60, "hour": 3_600, "day": 86_400}
_STP: Final = {"dc": "decrement", "co": "cancel_oldest", "cn": "cancel_newest", "cb": "cancel_both"}
_STOPS: Final = {"buy": "entry", "sell": "loss"}
#: A client's own id that is an order token as it stands, and any; it is a part of a path, so it has no slash.
_TOKEN: Final = re.compile(r"[!-~]{1,14}")
_OWN_ID: Final = re.compile(r"[!-.0-~]{1,64}")
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?")
#: Characters of an order token.
_CHARACTERS: Final = 14


class Asked(NamedTuple):
    """An order that is asked for. price: decimal text, None for market. terms: words of the rulebook's notation.

    client_id: the client's own id; "": it gave none.
    """

    symbol: str
    side: str
    qty: int
    price: str | None
    terms: str
    client_id: str


def token_of(user: str, client_id: str) -> str:
    """Order token of a client's own id: the id itself where it is short enough, else a hash of it.

    >>> token_of("ALICE", "first"), len(token_of("ALICE", "8d4d9e0e-6d55-4c5c-9a53-8f6d6f1a2b3c"))
    ('first', 14)
    """
    if _TOKEN.fullmatch(client_id):
        return client_id
    return base64.urlsafe_b64encode(hashlib.sha256(f"{user}\0{client_id}".encode()).digest())[:_CHARACTERS].decode()


def checked_id(client_id: str) -> str:
    """A client's own id. Raises BadRequest."""
    if not _OWN_ID.fullmatch(client_id):
        raise BadRequest(
            f"client_oid is {client_id[:40]!r}; give 1 to 64 printable characters of ASCII, no space and no /"
        )
    return client_id


def read_order(body: bytes, market: WebMarket, now_ns: int) -> Asked:
    """Read the body of a POST to /orders. now_ns: since 1970, from which ``cancel_after`` counts. Raises BadRequest."""
    asked = _read(body, 'send an order such as {"product_id": "XYZ-USD", ...}')
    if not isinstance(asked, dict):
        raise BadRequest("the body is no object of JSON; send the fields of an order")
    if unknown := sorted(set(asked) - _FIELDS):
        raise BadRequest(f"{unknown[0][:40]!r} is no field of an order here; there are {', '.join(sorted(_FIELDS))}")
    product = product_of(market, _text(asked, "product_id"))
    side = _one_of(asked, "side", ("buy", "sell"), "")
    kind = _one_of(asked, "type", ("limit", "market"), "limit")
    time_in_force = _one_of(asked, "time_in_force", tuple(_TIMES), "GTC" if kind == "limit" else "DAY")
    terms = [_TIMES[time_in_force]]
    if time_in_force == "GTT":
        after_s = _AFTER_S[_one_of(asked, "cancel_after", tuple(_AFTER_S), "")]
        ends_s = -(-now_ns // SECOND_NS) + after_s
        terms.append(f"tif=gtd until={time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ends_s))}")
    elif asked.get("cancel_after"):
        raise BadRequest("cancel_after is for time_in_force GTT; leave it out, or give GTT")
    post_only = asked.get("post_only", False)
    if not isinstance(post_only, bool):
        raise BadRequest("post_only is true or false")
    if post_only and (time_in_force in ("IOC", "FOK") or kind == "market"):
        raise BadRequest("post_only is for limit orders that may rest; leave it out, or give GTC or GTT")
    terms += ["post_only"] if post_only else []
    if asked.get("stp") is not None:
        terms.append(f"stp={_STP[_one_of(asked, 'stp', tuple(_STP), '')]}")
    if asked.get("stop_price") is not None:
        _one_of(asked, "stop", (_STOPS[side],), _STOPS[side])
        terms.append(f"stop={_decimal(asked, 'stop_price')}")
    elif asked.get("stop") is not None:
        raise BadRequest("stop needs a stop_price")
    price = _decimal(asked, "price") if kind == "limit" else None
    size = Decimal(_decimal(asked, "size"))
    if size != int(size):
        raise BadRequest(f"size is {size}; shares are whole")
    own = asked.get("client_oid")
    client_id = "" if own is None else checked_id(_text(asked, "client_oid"))
    return Asked(product.symbol, side, int(size), price, " ".join(filter(None, terms)), client_id)


def _read(body: bytes, then: str) -> Any:
    """Value of a body, its numbers as they are written. then: what to send where it is no JSON. Raises BadRequest."""
    try:
        return read_json(body, parse_float=str, parse_constant=str)
    except NameTwice as twice:
        raise BadRequest(f"the body cannot be followed: {twice}") from None
    except ValueError:
        raise BadRequest(f"the body is no JSON; {then}") from None


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name} is missing, or no text; give it as text")
    return value


def _one_of(asked: dict[str, Any], name: str, words_of: tuple[str, ...], default: str) -> str:
    value = asked.get(name)
    if value is None and default:
        return default
    if not isinstance(value, str) or value not in words_of:
        raise BadRequest(f"{_said(name, value)}; give {' or '.join(words_of)}")
    return value


def _said(name: str, value: Any) -> str:
    """Value of a field that is not taken, as its sender wrote it."""
    return f"{name} is missing" if value is None else f"{name} is {str(value)[:40]!r}"


def _decimal(asked: dict[str, Any], name: str) -> str:
    """A positive number, of text or JSON, as decimal text."""
    value = asked.get(name)
    text = str(value)
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or not Decimal(text):
        shape = "a number above 0 as text, with 12 digits at most before the point, such as '10.05'"
        raise BadRequest(f"{_said(name, value)}; give {shape}")
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def product_id(text: str) -> str:
    """Product id as clients write it.

    >>> product_id("XYZ/USD"), product_id("XYZ-USD")
    ('XYZ-USD', 'XYZ-USD')
    """
    symbol, _, currency = text.replace("/", "-").rpartition("-")
    return words.product_id(symbol) if currency == words.CURRENCY else text


def product_of_body(body: bytes) -> str:
    """Product id in the body of a request to cancel all orders; "": it names none. Raises BadRequest."""
    if not body.strip():
        return ""
    asked = _read(body, 'leave it out, or send {"product_id": "XYZ-USD"}')
    if not isinstance(asked, dict):
        raise BadRequest('the body is no object with a product_id; leave it out, or send {"product_id": "XYZ-USD"}')
    if unknown := sorted(set(asked) - {"product_id"}):  # else all orders would be canceled, not those that are meant
        raise BadRequest(f"{unknown[0][:40]!r} is no field of this request; it has product_id alone, or no body")
    return _text(asked, "product_id") if asked else ""
