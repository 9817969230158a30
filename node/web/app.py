"""REST answers and WebSocket of the Coinbase Exchange dialect, as an ASGI application by Starlette.

Every answer is made by ``marketdata.web``; here are paths, limits and errors. A bad question is answered by a status of
four hundred and a sentence, as ``{"message": ...}``.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.addresses import is_address, network_of
from marketdata.web.answers import BadRequest
from marketdata.web.market import WebMarket
from node.web.hub import Hub
from node.web.keys import Key, NotAuthorized, checked
from node.web.operator_desk import Desk
from node.web.page import ADDRESS, page_routes, to_page, wants_page
from node.web.paths import PATHS, PRIVATE_PATHS, Path, description
from node.web.public_answers import PublicAnswers, Question
from node.web.queries import checked_query
from node.web.signed_answers import SignedAnswers, SignedQuestion
from node.web.token_bucket import Bucket
from node.web.trading import Trading
from node.web.unread import Unread

#: Requests of a subscriber a second, and at once.
_ASKS_A_SECOND: Final = 20.0
_ASKS_AT_ONCE: Final = 100.0
#: Addresses that are remembered for their rates.
_ADDRESSES_MAX: Final = 10_000
#: Bytes of the body of a request.
_BODY_BYTES_MAX: Final = 16 << 10
#: Closes of a WebSocket: policy, the server ends, too many (RFC 6455, section 7.4).
_POLICY: Final = 1008
_GOES: Final = 1001
_BUSY: Final = 1013


class RateLimit:
    """Requests by address, ahead of an application. rate: a second; twice as many come at once; 0: no limit.

    proxies: addresses whose word is taken for whom they ask: the last address of X-Forwarded-For that is none of them
    counts. Without any, a proxy's clients count as one.
    """

    def __init__(self, app: ASGIApp, rate: int, proxies: frozenset[str] = frozenset()) -> None:
        self._app, self._rate, self._proxies = app, rate, proxies
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def allows(self, address: str, now_s: float) -> bool:
        """True if one more request of an address is within its rate."""
        if not self._rate:
            return True
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(self._rate, 2.0 * self._rate, now_s)
            if len(self._buckets) > _ADDRESSES_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        return bucket.take(now_s)

    def address_of(self, scope: Scope) -> str:
        """The address that a request counts for; of IPv6 its network."""
        client = scope.get("client")
        address = client[0] if client is not None else ""
        if address in self._proxies:
            said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
            for each in reversed(said.decode("latin-1").split(",")):
                if not is_address(each.strip()):
                    break  # who wrote it is not known, so what is before it counts for nothing
                address = each.strip()
                if address not in self._proxies:
                    break
        return network_of(address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with status 429."""
        address = self.address_of(scope) if scope["type"] == "http" else ""
        if address and not self.allows(address, asyncio.get_running_loop().time()):
            sentence = f"more than {self._rate} requests a second; wait a second and ask again"
            await _json({"message": sentence}, 429)(scope, receive, send)
            return
        scope[ADDRESS] = address
        await self._app(scope, receive, send)


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), status, media_type="application/json")


def _ends_of(places: Sequence[int]) -> dict[str, str]:
    """Headers of a page, the newest entry first, that say where the next pages begin: newer ones, and older ones."""
    return {"cb-before": str(places[0]), "cb-after": str(places[-1])}


def application(
    market: WebMarket,
    hub: Hub,
    rate: int,
    trading: Trading | None = None,
    proxies: frozenset[str] = frozenset(),
    desk: Desk | None = None,
    unread: Unread | None = None,
) -> ASGIApp:
    """The application of a market. rate: requests a second by address; 0: no limit. trading: None: no order entry.

    proxies: addresses that say for whom they ask (``RateLimit``). desk: None: the page has no operator's view.
    unread: what waits for clients, which bounds long answers.
    """
    public = PublicAnswers(market, description(has_orders=trading is not None))

    def endpoint(path: Path) -> Any:
        async def answer(request: Request) -> Response:
            if request.url.path == "/" and wants_page(request):
                return to_page()
            query = checked_query(request.query_params.multi_items(), path.words)
            firsts = {word: values[0] for word, values in query.items()}
            value = path.ask(public, Question(_name_in(request), firsts))
            made = _json(value)
            if request.url.path.endswith("/trades") and value:  # a page, as those of orders and fills
                made.headers.update(_ends_of([each["trade_id"] for each in value]))
            if unread is not None and not unread.has_room(len(made.body)):
                raise BadRequest("too many long answers wait for clients that do not read them; ask again later", 503)
            if market.is_stale:
                made.headers["age"] = str(int(market.age_s))  # RFC 9111, section 5.1: of a copy, which this is
            return made

        return answer

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, BadRequest)
        return _json({"message": str(error)}, error.status)

    async def not_authorized(_request: Request, error: Exception) -> Response:
        return _json({"message": str(error)}, 401)

    async def no_such(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        made = _json({"message": f"{error.detail}; GET /openapi.json describes what there is"}, error.status_code)
        made.headers.update(error.headers or {})
        return made

    async def gone(_request: Request, _error: Exception) -> Response:
        return _json({"message": "the request was not whole when its client left"}, 400)  # nobody gets it

    async def subscribe(websocket: WebSocket) -> None:
        await serve_subscriber(hub, websocket)

    routes: list[BaseRoute] = [Route(name, endpoint(path), methods=["GET"]) for name, path in PATHS.items()]
    routes += [WebSocketRoute("/", subscribe)]
    routes += page_routes(desk)
    if trading is not None:
        routes += private_routes(market, trading)
    handlers: Any = {ClientDisconnect: gone, BadRequest: refused, NotAuthorized: not_authorized, HTTPException: no_such}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # a path with an empty id is not that of all
    return RateLimit(app, rate, proxies)


async def _signed_by(request: Request, trading: Trading) -> tuple[Key, str, bytes]:
    """Key, signature and body of a request. Raises NotAuthorized, BadRequest."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            raise BadRequest(f"the body has more than {_BODY_BYTES_MAX} bytes; an order is shorter", 413)
    given = request.headers
    said = {name: given.get(f"cb-access-{name}", "") for name in ("key", "sign", "timestamp", "passphrase")}
    path = request.scope["raw_path"].decode("ascii", "replace")
    query = request.scope["query_string"].decode("ascii", "replace")
    whole = f"{path}?{query}" if query else path
    return checked(trading.keys, said, request.method, whole, body, time.time()), said["sign"], body


def _name_in(request: Request) -> str:
    """Name of a product, currency, order or account in a path; "": it has none."""
    return next(iter(request.path_params.values()), "")


def private_routes(market: WebMarket, trading: Trading) -> list[BaseRoute]:
    """Routes of signed requests: accounts, orders, fills."""
    signed_answers = SignedAnswers(market, trading)

    def endpoint(path: Path) -> Any:
        async def answer(request: Request) -> Response:
            key, signed, body = await _signed_by(request, trading)
            query = checked_query(request.query_params.multi_items(), path.words)
            states = query.pop("status", [])
            firsts = {word: values[0] for word, values in query.items()}
            asked = SignedQuestion(key, signed, _name_in(request), firsts, states, body)
            if path.once:
                done = await trading.of(key).once(signed, lambda: path.ask(signed_answers, asked))
            else:
                done = await path.ask(signed_answers, asked)
            made = _json(done.value, done.status)
            if done.places:
                made.headers.update(_ends_of(done.places))
            return made

        return answer

    return [
        Route(name, endpoint(path), methods=[method.upper()])
        for name, methods in PRIVATE_PATHS.items()
        for method, path in methods.items()
    ]


async def serve_subscriber(hub: Hub, websocket: WebSocket) -> None:
    """Serve a WebSocket from its start to its end."""
    subscriber = hub.join(websocket.client.host if websocket.client is not None else "")
    await websocket.accept()
    if subscriber is None:
        await websocket.close(_BUSY, "too many subscribers; try again later")
        return
    now_s = asyncio.get_running_loop().time

    async def read() -> None:
        bucket = Bucket(_ASKS_A_SECOND, _ASKS_AT_ONCE, now_s())
        with suppress(WebSocketDisconnect):
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                if not bucket.take(now_s()):
                    subscriber.end = f"more than {_ASKS_A_SECOND:g} requests a second"
                    break
                hub.ask(subscriber, message.get("text") or message.get("bytes") or "")
        subscriber.end = subscriber.end or "gone"
        subscriber.wakes.set()

    async def write() -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while (text := await subscriber.next(now_s)) is not None:
                await websocket.send_text(text)

    reading, writing = asyncio.create_task(read()), asyncio.create_task(write())

    async def watch() -> None:
        """Wait for the end; who does not read holds a write for ever."""
        while not subscriber.end:
            await asyncio.wait([reading, writing], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)

    try:
        await watch()
    finally:
        hub.leave(subscriber)
        for task in (reading, writing):
            task.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)
    if subscriber.end != "gone":
        code = _GOES if subscriber.end.startswith("the market") else _POLICY
        with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            await asyncio.wait_for(websocket.close(code, subscriber.end), 1.0)
