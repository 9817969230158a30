"""Hostile requests of web clients: schemathesis makes them of the OpenAPI description, Hypothesis those by WebSocket.

No request is a fault of the server's or holds it, and answers are as described.
"""

import asyncio
import copy
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from marketdata.web.forms import OrderAnswer
from node.web.keys import signature
from node.web.paths import PATHS, PRIVATE_PATHS
from tests.running import SOON_S, until
from tests.test_web_orders import SECRETS, Trades
from tests.test_web_process import PRODUCT

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: Values that the market knows, or nearly: among words without sense few come further than the first check.
KNOWN = {
    "product_id": [PRODUCT, "ABC-USD", "XYZ", ""],
    "currency_id": ["USD", "XYZ"],
    "account_id": ["USD", "XYZ"],
    "order_id": ["1", "client:a", "client:", "00000000-0000-0000-0000-000000000001"],
    "size": ["1", "0", "-1", "1.5", "1e9", "99999999999999999999", "٣"],
    "price": ["10.00", "0", "-1", "NaN", "1e400", "10.001", "429496.7296", "1" * 400],
    "stop_price": ["9.00", "inf"],
    "client_oid": ["a", "a" * 64, "a b", "~0000000000000000", "\x00", "é"],
    "side": ["buy", "sell"],
}
FITS, DOES_NOT_FIT = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


def cases() -> Iterator[Any]:
    """Every operation with what fits its description, and with what does not, where anything could not fit."""
    every = [(path, "get", each.parameters) for path, each in PATHS.items()]
    every += [(path, method, each.parameters) for path, by in PRIVATE_PATHS.items() for method, each in by.items()]
    for path, method, asked in every:
        yield pytest.param(path, method, FITS, id=f"{method} {path} fits")
        if method == "post" or any(each["schema"] != {"type": "string"} for each in asked):
            yield pytest.param(path, method, DOES_NOT_FIT, id=f"{method} {path} does not fit")


CASES = list(cases())


class Signer(requests.auth.AuthBase):
    """The signature of UA over whatever is sent."""

    def __call__(self, made: requests.PreparedRequest) -> requests.PreparedRequest:
        body = made.body or b""
        body = body.encode() if isinstance(body, str) else bytes(body)
        stamp = f"{time.time():.6f}"
        made.headers.update(
            {
                "CB-ACCESS-KEY": "key-UA",
                "CB-ACCESS-SIGN": signature(SECRETS["UA"], stamp, str(made.method), made.path_url, body),
                "CB-ACCESS-TIMESTAMP": stamp,
                "CB-ACCESS-PASSPHRASE": "open",
            }
        )
        return made


@pytest.fixture(scope="module")
def trades(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trades]:
    made = Trades(tmp_path_factory.mktemp("web"))
    try:
        made.start_trading()
        yield made
    finally:
        made.stop()


def known(data: st.DataObject, case: Any) -> None:
    """Put values that the market knows in the place of some."""
    body = case.body if isinstance(case.body, dict) else {}
    for values in (case.path_parameters, case.query, body):
        for name in sorted(set(values or {}) & set(KNOWN)):
            if data.draw(st.booleans()):
                values[name] = data.draw(st.sampled_from(KNOWN[name]))


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_no_request_is_a_fault_of_the_server_and_answers_are_as_described(
    path: str, method: str, mode: GenerationMode, trades: Trades
) -> None:
    base = f"http://127.0.0.1:{trades.port}"
    operation = schemathesis.openapi.from_url(f"{base}/openapi.json")[path][method.upper()]
    session = requests.Session()
    session.auth = Signer()
    session.trust_env = False

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def run(case: Any, data: st.DataObject) -> None:
        known(data, case)
        answer = case.call(base_url=base, session=session, timeout=SOON_S)
        case.validate_response(answer, checks=CHECKS)

    run()
    assert trades.log.read_text(encoding="utf-8").count('"level": "error"') == 0


#: Path of the description, and a request that is answered with all that an answer may have.
ANSWERED = [
    *((path, path) for path in ("/", "/time", "/currencies", "/products", "/accounts", "/fills")),
    ("/orders", "/orders?status=all"),
    ("/orders/{order_id}", "/orders/odd"),
    ("/currencies/{currency_id}", "/currencies/USD"),
    ("/products/{product_id}", f"/products/{PRODUCT}"),
    ("/products/{product_id}", "/products/NO-USD"),
    *(("/products/{product_id}/book", f"/products/{PRODUCT}/book?level={level}") for level in (1, 2, 3)),
    *(
        (f"/products/{{product_id}}/{name}", f"/products/{PRODUCT}/{name}")
        for name in ("trades", "candles", "ticker", "stats")
    ),
]
#: Changes that leave an answer as it may be: prices that are not there, what not each order has, rows of numbers.
AS_IT_MAY_BE = {
    *((name, "null") for name in ("price", "bid", "ask", "open", "high", "low", "last", "auction")),
    *((name, "left out") for name in OrderAnswer.__optional_keys__),
    ("/products/{product_id}/candles", "-1.5"),
}
#: Values of no field here.
WRONG: list[Any] = [None, "wrong", -1.5, [], {}, True]


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a value; of a long list to those of its first, which has all that the others have."""
    yield place
    if isinstance(value, dict):
        for name in value:
            yield from places_in(value[name], (*place, name))
    elif isinstance(value, list):
        for at in range(min(len(value), 6)):
            yield from places_in(value[at], (*place, at))


def changed(value: Any, place: tuple[Any, ...], part: Any) -> Any:
    """The value with another part, ``...`` for none."""
    made = copy.deepcopy(value)
    if not place:
        return part
    whole = made
    for each in place[:-1]:
        whole = whole[each]
    if part is ...:
        del whole[place[-1]]
    else:
        whole[place[-1]] = part
    return made


def wrong_shapes(value: Any) -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    """The value with a part left out, one added, or one of another type: the way to it, what was done, and it."""
    for place in places_in(value):
        part = value
        for each in place:
            part = part[each]
        if place and not isinstance(place[-1], int):
            yield place, "left out", changed(value, place, ...)
        if isinstance(part, dict):
            yield place, "added", changed(value, (*place, "added"), 1)
        for wrong in WRONG:
            if type(wrong) is not type(part):
                yield place, json.dumps(wrong), changed(value, place, wrong)


@pytest.mark.slow
def test_an_answer_of_another_shape_status_or_type_is_not_as_described(trades: Trades) -> None:
    """The control of the test above: each change of a real answer is found, but for those that are named here."""
    base = f"http://127.0.0.1:{trades.port}"
    for user, side in (("UA", "buy"), ("UB", "sell"), ("UA", "buy")):
        trades.done(user, "POST", "/orders", {"product_id": PRODUCT, "side": side, "size": "2", "price": "10.00"})
    until(lambda: len(trades.get(f"/products/{PRODUCT}/trades")) > 0 and trades.get(f"/products/{PRODUCT}/candles"))
    until(lambda: trades.done("UA", "GET", "/fills"))
    description = schemathesis.openapi.from_url(f"{base}/openapi.json")
    session = requests.Session()
    session.auth = Signer()
    session.trust_env = False
    missed, tried = set(), 0
    for path, asked in ANSWERED:
        answer = session.get(base + asked, timeout=SOON_S)
        case = description[path]["GET"].Case(path_parameters=dict.fromkeys(re.findall(r"{(\w+)}", path), "a"))

        def is_as_described(
            value: Any,
            status: int = answer.status_code,
            kind: str = "application/json",
            case: Any = case,
            request: Any = answer.request,
        ) -> bool:
            content = json.dumps(value).encode()
            told = Response(status, {"content-type": [kind]}, content, request, elapsed=0.0, verify=False)
            try:
                case.validate_response(told, checks=CHECKS)
            except FailureGroup:
                return False
            return True

        value = answer.json()
        assert is_as_described(value), asked
        for place, change, other in wrong_shapes(value):
            tried += 1
            if is_as_described(other):
                missed.add((next((each for each in reversed(place) if isinstance(each, str)), path), change))
        assert not is_as_described(value, kind="text/plain"), asked
        assert not is_as_described(value, 418), asked
        assert not is_as_described(value, 500), asked
    assert tried > 1_000
    assert missed <= AS_IT_MAY_BE
    assert ("bid", "null") in missed, "the control of the control"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda each: st.lists(each) | st.dictionaries(st.text(max_size=8), each),
)
CHANNELS = st.sampled_from(["level2", "full", "matches", "ticker", "heartbeat", "status", "user", "l3", ""])
PRODUCTS = st.lists(st.sampled_from([PRODUCT, "ABC-USD", ""]) | JSON, max_size=3)
REQUESTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["subscribe", "unsubscribe", "", "order"]) | JSON},
    optional={
        "product_ids": PRODUCTS | JSON,
        "channels": st.lists(
            CHANNELS | st.fixed_dictionaries({"name": CHANNELS | JSON, "product_ids": PRODUCTS}) | JSON, max_size=4
        )
        | JSON,
        **{name: st.text(max_size=20) | JSON for name in ("key", "passphrase", "timestamp", "signature")},
    },
)


@pytest.mark.slow
def test_no_message_by_websocket_ends_the_server_or_what_others_are_sent(trades: Trades) -> None:
    websockets = pytest.importorskip("websockets")
    url = f"ws://127.0.0.1:{trades.port}/"

    async def ask(sent: "list[str | bytes]") -> None:
        async with websockets.connect(url, proxy=None, open_timeout=SOON_S) as other:
            await other.send(json.dumps({"type": "subscribe", "product_ids": [PRODUCT], "channels": ["heartbeat"]}))
            async with websockets.connect(url, proxy=None, open_timeout=SOON_S) as hostile:
                for each in sent:
                    await hostile.send(each)
                    # Whatever it is, it is answered.
                    said = json.loads(await asyncio.wait_for(hostile.recv(), SOON_S))
                    assert said["type"] in {"error", "subscriptions", "status", "snapshot", "heartbeat", "l2update"}
            kinds = set()
            while kinds < {"subscriptions", "heartbeat"}:
                kinds.add(json.loads(await asyncio.wait_for(other.recv(), SOON_S))["type"])

    as_json = REQUESTS.map(json.dumps)
    messages: Any = as_json | as_json.map(str.encode) | st.binary(max_size=40) | st.text(max_size=40)

    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(sent=st.lists(messages, min_size=1, max_size=20))
    def run(sent: "list[str | bytes]") -> None:
        asyncio.run(ask(sent))

    run()
    assert trades.log.read_text(encoding="utf-8").count('"level": "error"') == 0
