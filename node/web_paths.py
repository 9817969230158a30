"""Paths of the REST interface, and their description by OpenAPI 3.1."""

from typing import Any, Final

from marketdata.web import answers
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
    "/time": ("The clock in force in the market.", ()),
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


def description() -> Json:
    """The description of all paths."""
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
    return {
        "openapi": "3.1.0",
        "info": {"title": "lockstep market data", "version": "1", "description": "A subset of the Coinbase Exchange."},
        "paths": paths,
    }
