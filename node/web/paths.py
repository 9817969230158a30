"""Paths of the REST interface, and their description by OpenAPI 3.1."""

from typing import Any, Final

from marketdata.web import answers
from marketdata.web.account import PAGE_MAX, STATES
from marketdata.web.product import TRADES_MAX

Json = dict[str, Any]

_PRODUCT: Final[Json] = {"name": "product_id", "in": "path", "required": True, "schema": {"type": "string"}}
_CURRENCY: Final[Json] = {"name": "currency_id", "in": "path", "required": True, "schema": {"type": "string"}}


def _asked(name: str, what: str, **schema: Any) -> Json:
    return {"name": name, "in": "query", "required": False, "description": what, "schema": schema}


def _whole(name: str, what: str, low: int, high: int) -> Json:
    return _asked(name, what, type="integer", minimum=low, maximum=high)


#: Sentence and parameters of each path.
PATHS: Final[dict[str, tuple[str, tuple[Json, ...]]]] = {
    "/": ("Where the description is.", ()),
    "/openapi.json": ("This description.", ()),
    "/time": ("The clock of this machine, and the clock in force in the market.", ()),
    "/currencies": ("The dollar and each instrument.", ()),
    "/currencies/{currency_id}": ("One of them.", (_CURRENCY,)),
    "/products": ("All products.", ()),
    "/products/{product_id}": ("A product and its state.", (_PRODUCT,)),
    "/products/{product_id}/book": (
        "The displayed book.",
        (_PRODUCT, _whole("level", "1: best prices; 2: price levels; 3: every order", 1, 3)),
    ),
    "/products/{product_id}/trades": (
        "Recent trades, the newest first.",
        (
            _PRODUCT,
            _whole("limit", "Trades at most", 1, TRADES_MAX),
            _whole("after", "Only trades with a smaller id", 0, 10**18 - 1),
            _whole("before", "Only trades with a larger id", 0, 10**18 - 1),
        ),
    ),
    "/products/{product_id}/candles": (
        "Bars, the newest first: begin, low, high, open, close, volume.",
        (
            _PRODUCT,
            _asked("granularity", "Width in seconds", type="integer", enum=list(answers.WIDTHS_S)),
            _asked("start", "Seconds since 1970, or ISO 8601", type="string"),
            _asked("end", "Seconds since 1970, or ISO 8601", type="string"),
        ),
    ),
    "/products/{product_id}/ticker": ("Last trade and best prices.", (_PRODUCT,)),
    "/products/{product_id}/stats": ("The last 24 hours, and the volume of 30 days.", (_PRODUCT,)),
}


def _order_schema() -> Json:
    text: Json = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "product_id": text,
            "side": {"enum": ["buy", "sell"]},
            "size": text,
            "price": text,
            "type": {"enum": ["limit", "market"]},
            "time_in_force": {"enum": ["GTC", "GTT", "IOC", "FOK", "DAY"]},
            "cancel_after": {"enum": ["min", "hour", "day"]},
            "post_only": {"type": "boolean"},
            "stp": {"enum": ["dc", "co", "cn", "cb"]},
            "stop": {"enum": ["entry", "loss"]},
            "stop_price": text,
            "client_oid": text,
        },
        "required": ["product_id", "side", "size"],
    }


_PAGE: Final = (
    _whole("limit", "Entries at most", 1, PAGE_MAX),
    _whole("after", "Only entries older than this place, as CB-AFTER has it", 0, 10**18 - 1),
    _whole("before", "Only entries newer than this place, as CB-BEFORE has it", 0, 10**18 - 1),
    _asked("product_id", "Only of this product", type="string"),
)
_ORDER: Final[Json] = {
    "name": "order_id",
    "in": "path",
    "required": True,
    "description": "Its id, or client: and its client_oid",
    "schema": {"type": "string"},
}
_ACCOUNT: Final[Json] = {"name": "account_id", "in": "path", "required": True, "schema": {"type": "string"}}

#: Sentence and parameters of each method of the paths that need a signature.
PRIVATE_PATHS: Final[dict[str, dict[str, tuple[str, tuple[Json, ...]]]]] = {
    "/accounts": {"get": ("Dollars and shares of all trades.", ())},
    "/accounts/{account_id}": {"get": ("One account.", (_ACCOUNT,))},
    "/orders": {
        "get": ("Orders, the newest first.", (_asked("status", "Of this state", enum=list(STATES)), *_PAGE)),
        "post": ("Enter an order; with the client_oid of one that is there, give that.", ()),
        "delete": ("Cancel all open orders.", (_asked("product_id", "Only of this product", type="string"),)),
    },
    "/orders/{order_id}": {"get": ("An order.", (_ORDER,)), "delete": ("Cancel an order.", (_ORDER,))},
    "/fills": {"get": ("Fills, the newest first.", (_asked("order_id", "Of this order", type="string"), *_PAGE))},
}
_SIGNED: Final = ("CB-ACCESS-KEY", "CB-ACCESS-SIGN", "CB-ACCESS-TIMESTAMP", "CB-ACCESS-PASSPHRASE")
_REFUSED: Final = {
    "400": "A bad question, or the exchange refused.",
    "401": "Not signed as it must be.",
    "404": "There is no such thing.",
    "409": "The client_oid is another order's.",
    "413": "The body is too long.",
    "429": "Too many requests.",
    "503": "There is no order entry now.",
    "504": "The exchange has not answered in time; whether it did what was asked is open.",
}


def description(*, has_orders: bool) -> Json:
    """The description of all paths. has_orders: with those that need a signature."""
    sentence = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
    refusal = {"content": {"application/json": {"schema": sentence}}}
    paths: Json = {}
    for path, (summary, parameters) in PATHS.items():
        responses: Json = {
            "200": {"description": summary, "content": {"application/json": {"schema": {}}}},
            "429": {"description": "Too many requests.", **refusal},
        }
        if parameters:
            responses["400"] = {"description": "A bad question.", **refusal}
            responses["404"] = {"description": "There is no such product or currency.", **refusal}
            responses["503"] = {"description": "The answer would be too large.", **refusal}
        paths[path] = {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}
    signed: list[Json] = [{name: [] for name in _SIGNED}]
    for path, methods in PRIVATE_PATHS.items() if has_orders else ():
        paths[path] = {}
        for method, (summary, parameters) in methods.items():
            one: Json = {"summary": summary, "parameters": list(parameters), "security": signed}
            one["responses"] = {
                "200": {"description": summary, "content": {"application/json": {"schema": {}}}},
                **{status: {"description": why, **refusal} for status, why in _REFUSED.items()},
            }
            if method == "post":
                one["requestBody"] = {"required": True, "content": {"application/json": {"schema": _order_schema()}}}
            paths[path][method] = one
    schemes = {name: {"type": "apiKey", "in": "header", "name": name} for name in _SIGNED}
    return {
        "openapi": "3.1.0",
        "components": {"securitySchemes": schemes if has_orders else {}},
        "info": {"title": "lockstep", "version": "1", "description": "A subset of the Coinbase Exchange."},
        "paths": paths,
    }
