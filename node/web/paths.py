"""Paths of the REST interface, what answers them, and their description by OpenAPI 3.1.

The schema of an answer is made of the type that its method gives, so there is no second copy of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from marketdata.web import answers
from marketdata.web.account import PAGE_MAX, STATES
from marketdata.web.forms import Description, Refusal
from marketdata.web.product import TRADES_MAX
from marketdata.web.schema import Json, Schemas
from node.web.public_answers import PublicAnswers
from node.web.signed_answers import SignedAnswers
from node.web.trading import Answer

_PRODUCT: Final[Json] = {"name": "product_id", "in": "path", "required": True, "schema": {"type": "string"}}
_CURRENCY: Final[Json] = {"name": "currency_id", "in": "path", "required": True, "schema": {"type": "string"}}


def _asked(name: str, what: str, **schema: Any) -> Json:
    return {"name": name, "in": "query", "required": False, "description": what, "schema": schema}


def _whole(name: str, what: str, low: int, high: int) -> Json:
    return _asked(name, what, type="integer", minimum=low, maximum=high)


class Path(NamedTuple):
    """A request that can be made: a sentence, its parameters, and what answers it.

    ask: a method of ``PublicAnswers`` or ``SignedAnswers``; the type that it gives is the schema of the answer.
    once: done once for each signature.
    """

    summary: str
    parameters: tuple[Json, ...]
    ask: Callable[..., Any]
    once: bool = False

    @property
    def gives(self) -> Any:
        """Type of the value of an answer with status 200."""
        given = get_type_hints(self.ask, include_extras=True)["return"]
        return get_args(given)[0] if get_origin(given) is Answer else given

    @property
    def words(self) -> frozenset[str]:
        """Words of its query."""
        return frozenset(each["name"] for each in self.parameters if each["in"] == "query")


#: Requests without a signature, all by GET.
PATHS: Final[dict[str, Path]] = {
    "/": Path("Where the description is.", (), PublicAnswers.root),
    "/openapi.json": Path("This description.", (), PublicAnswers.description),
    "/time": Path("The clock of this machine, and the clock in force in the market.", (), PublicAnswers.time),
    "/currencies": Path("The dollar and each instrument.", (), PublicAnswers.currencies),
    "/currencies/{currency_id}": Path("One of them.", (_CURRENCY,), PublicAnswers.currency),
    "/products": Path("All products.", (), PublicAnswers.products),
    "/products/{product_id}": Path("A product and its state.", (_PRODUCT,), PublicAnswers.product),
    "/products/{product_id}/book": Path(
        "The displayed book.",
        (_PRODUCT, _whole("level", "1: best prices; 2: price levels; 3: every order", 1, 3)),
        PublicAnswers.book,
    ),
    "/products/{product_id}/trades": Path(
        "Recent trades, the newest first.",
        (
            _PRODUCT,
            _whole("limit", "Trades at most", 1, TRADES_MAX),
            _whole("after", "Only trades with a smaller id", 0, 10**18 - 1),
            _whole("before", "Only trades with a larger id", 0, 10**18 - 1),
        ),
        PublicAnswers.trades,
    ),
    "/products/{product_id}/candles": Path(
        "Bars, the newest first: begin, low, high, open, close, volume.",
        (
            _PRODUCT,
            _asked("granularity", "Width in seconds", type="integer", enum=list(answers.WIDTHS_S)),
            _asked("start", "Seconds since 1970, or ISO 8601", type="string"),
            _asked("end", "Seconds since 1970, or ISO 8601", type="string"),
        ),
        PublicAnswers.candles,
    ),
    "/products/{product_id}/ticker": Path("Last trade and best prices.", (_PRODUCT,), PublicAnswers.ticker),
    "/products/{product_id}/stats": Path(
        "The last 24 hours, and the volume of 30 days.", (_PRODUCT,), PublicAnswers.stats
    ),
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
    _asked("product_id", "Only of this product", type="string", minLength=1),
    _asked("start_date", "Only of this time or later; seconds since 1970, or ISO 8601", type="string"),
    _asked("end_date", "Only of this time or earlier", type="string"),
    _asked("profile_id", "The user's own", type="string"),
)
_ORDER: Final[Json] = {
    "name": "order_id",
    "in": "path",
    "required": True,
    "description": "Its id, or client: and its client_oid",
    "schema": {"type": "string"},
}
_ACCOUNT: Final[Json] = {"name": "account_id", "in": "path", "required": True, "schema": {"type": "string"}}

_OF_PRODUCT: Final = (
    _asked("product_id", "Only of this product", type="string", minLength=1),
    _asked("profile_id", "The user's own", type="string"),
)

#: Signed requests by path and method.
PRIVATE_PATHS: Final[dict[str, dict[str, Path]]] = {
    "/accounts": {"get": Path("Dollars and shares of all trades.", (), SignedAnswers.accounts)},
    "/accounts/{account_id}": {"get": Path("One account.", (_ACCOUNT,), SignedAnswers.account)},
    "/orders": {
        "get": Path(
            "Orders, the newest first.",
            (_asked("status", "Of this state", enum=list(STATES)), *_PAGE),
            SignedAnswers.orders,
        ),
        "post": Path(
            "Enter an order; with the client_oid of one that is there, give that.", (), SignedAnswers.enter, once=True
        ),
        "delete": Path("Cancel all open orders.", _OF_PRODUCT, SignedAnswers.cancel_all, once=True),
    },
    "/orders/{order_id}": {
        "get": Path("An order.", (_ORDER,), SignedAnswers.order),
        "delete": Path("Cancel an order.", (_ORDER,), SignedAnswers.cancel),
    },
    "/fills": {
        "get": Path(
            "Fills, the newest first.",
            (_asked("order_id", "Of this order", type="string", minLength=1), *_PAGE),
            SignedAnswers.fills,
        )
    },
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


#: Refusals of requests without a signature; the last two of those with a word of the client's.
_PUBLIC_REFUSED: Final = {
    "429": "Too many requests.",
    "503": "The answer would be too large.",
    "400": "A bad question.",
    "404": "There is no such product or currency.",
}


def description(*, has_orders: bool) -> Description:
    """The description of all paths. has_orders: with those that need a signature."""
    schemas = Schemas()

    def described(path: Path, refusals: Mapping[str, str]) -> Json:
        def as_json(kind: Any, why: str) -> Json:
            return {"description": why, "content": {"application/json": {"schema": schemas.of(kind)}}}

        responses = {status: as_json(Refusal, why) for status, why in refusals.items()}
        responses["200"] = as_json(path.gives, path.summary)
        return {"summary": path.summary, "parameters": list(path.parameters), "responses": responses}

    paths: Json = {}
    for name, path in PATHS.items():
        refusals = dict(list(_PUBLIC_REFUSED.items())[: None if path.parameters else 2])
        paths[name] = {"get": described(path, refusals)}
    signed: list[Json] = [{name: [] for name in _SIGNED}]
    for name, methods in PRIVATE_PATHS.items() if has_orders else ():
        paths[name] = {}
        for method, path in methods.items():
            paths[name][method] = one = described(path, _REFUSED) | {"security": signed}
            if method == "post":
                one["requestBody"] = {"required": True, "content": {"application/json": {"schema": _order_schema()}}}
    schemes = {name: {"type": "apiKey", "in": "header", "name": name} for name in _SIGNED}
    return {
        "openapi": "3.1.0",
        "components": {"securitySchemes": schemes if has_orders else {}, "schemas": schemas.named},
        "info": {"title": "lockstep", "version": "1", "description": "A subset of the Coinbase Exchange."},
        "paths": paths,
    }
