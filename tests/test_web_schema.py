"""Hostile requests of web clients: schemathesis makes them of the OpenAPI description, Hypothesis those by WebSocket.

No request is a fault of the server's or holds it, and answers are as described.
"""

import asyncio
import json
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
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from node.web.keys import signature
from node.web.paths import PATHS, PRIVATE_PATHS
from tests.running import SOON_S
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
    every = [(path, "get", asked) for path, (_, asked) in PATHS.items()]
    every += [(path, method, asked) for path, by in PRIVATE_PATHS.items() for method, (_, asked) in by.items()]
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
