"""Routes of the page and of its operator's view, for Starlette. The answers are those of a ``Desk``.

A request that changes something must be of this page: the browser says so in ``Origin`` and ``Sec-Fetch-Site``, the
cookie is never sent from another site, an act needs the second token of its session, and the body is JSON, which no
form sends.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from marketdata.web import page
from node.web.operator_desk import COOKIE, PROOF, Answer, Desk
from notation.strict_json import read_json

#: Key of a request's scope with the address that it counts for.
ADDRESS: Final = "lockstep.address"
_BODY_BYTES_MAX: Final = 4 << 10
_NO_DESK: Final = "there is no operator's view here; start the node with --web-operators FILE"
_SECRET: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def wants_page(request: Request) -> bool:
    """True for a browser, which is shown the page where programs get JSON."""
    return "text/html" in request.headers.get("accept", "")


def to_page() -> Response:
    """Send a browser to the page."""
    return RedirectResponse(page.PLACE, 303, {"Vary": "Accept"})


def page_routes(desk: Desk | None) -> list[BaseRoute]:
    """Routes of the page. desk: None: no operator's view."""
    files = page.page_files()

    async def file(request: Request) -> Response:
        found = files.get(request.path_params["path"])
        if found is None:
            return _json({"message": f"there is no such file of the page; it begins at {page.PLACE}"}, 404)
        headers = {**page.HEADERS, "ETag": found.tag}
        if request.headers.get("if-none-match") == found.tag:
            return Response(b"", 304, headers)
        return Response(found.content, 200, headers, found.media_type)

    async def begins(_request: Request) -> Response:
        return to_page()

    def of_operator(ask: Callable[[Desk, Request, str], Awaitable[Answer]]) -> Any:
        async def answer(request: Request) -> Response:
            if desk is None:
                return _json({"message": _NO_DESK}, 404)
            if request.method != "GET" and (why := _not_of_page(request)):
                return _json({"message": why}, 403)
            return _answered(await ask(desk, request, request.cookies.get(COOKIE, "")), request)

        return answer

    async def who(desk: Desk, _request: Request, token: str) -> Answer:
        return desk.who(token)

    async def sign_in(desk: Desk, request: Request, _token: str) -> Answer:
        given = await _fields(request, "name", "password")
        if given is None:
            return Answer(400, {"message": "the body is no JSON object with name and password"})
        return await desk.sign_in(request.scope.get(ADDRESS, ""), *given)

    async def sign_out(desk: Desk, _request: Request, token: str) -> Answer:
        return desk.sign_out(token)

    async def report(desk: Desk, _request: Request, token: str) -> Answer:
        return await desk.report(token)

    async def act(desk: Desk, request: Request, token: str) -> Answer:
        given = await _fields(request, "act", "name")
        if given is None:
            return Answer(400, {"message": "the body is no JSON object with act and name"})
        return await desk.act(token, request.headers.get(PROOF, ""), *given)

    return [
        Route(page.PLACE.rstrip("/"), begins, methods=["GET"]),
        Route(page.PLACE + "{path:path}", file, methods=["GET"]),
        Route("/operator/session", of_operator(who), methods=["GET"]),
        Route("/operator/session", of_operator(sign_in), methods=["POST"]),
        Route("/operator/session", of_operator(sign_out), methods=["DELETE"]),
        Route("/operator/report", of_operator(report), methods=["GET"]),
        Route("/operator/acts", of_operator(act), methods=["POST"]),
    ]


def _json(value: Any, status: int) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), status, dict(_SECRET), "application/json")


def _answered(answer: Answer, request: Request) -> Response:
    made = _json(answer.value, answer.status)
    if answer.cookie is not None:
        is_secure = not _is_loopback(request.url.hostname or "")  # a proxy with TLS is in front
        age_s = None if answer.cookie else 0
        made.set_cookie(
            COOKIE, answer.cookie, age_s, path="/operator", secure=is_secure, httponly=True, samesite="strict"
        )
    return made


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _not_of_page(request: Request) -> str:
    """Reason for which a request is not of this page; "" if it is."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "")
    if site != "same-origin" or (origin and origin.partition("://")[2] != request.headers.get("host", "")):
        return "the request is of another site; use the page itself"
    return ""


async def _fields(request: Request, *names: str) -> list[str] | None:
    """Values of a body of JSON, all text and each there once; None for any other body."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            return None
    try:
        given = read_json(body)
    except ValueError:
        return None
    if not isinstance(given, dict) or set(given) != set(names):
        return None
    values = [given[name] for name in names]
    return values if all(isinstance(each, str) for each in values) else None
