"""Words of queries: a misspelt filter is refused, and what programs for the dialect send is known."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from marketdata.web import answers, order_requests
from marketdata.web.answers import BadRequest
from tests.test_web_market import Viewed, stream

pytest.importorskip("starlette", reason="pip install 'lockstep[web]'")

from node.web.paths import PATHS, PRIVATE_PATHS, Path
from node.web.queries import checked_query

FILLS = PRIVATE_PATHS["/fills"]["get"].words


@pytest.mark.parametrize(
    ("path", "query", "why"),
    [
        (PRIVATE_PATHS["/fills"]["get"], "orderid=1", "'orderid' is no word of this query; there are after, before"),
        (PRIVATE_PATHS["/fills"]["get"], "order_id=", "order_id is empty"),
        (PRIVATE_PATHS["/fills"]["get"], "limit=1&limit=2", "limit is there twice"),
        (PRIVATE_PATHS["/orders"]["delete"], "product=XYZ-USD", "'product' is no word"),
        (PRIVATE_PATHS["/orders"]["delete"], "product_id=", "product_id is empty"),
        (PRIVATE_PATHS["/orders"]["get"], "state=done", "'state' is no word"),
        (PATHS["/products/{product_id}/candles"], "granularty=60", "granularity, start"),
        (PATHS["/products/{product_id}/trades"], "Limit=5", "'Limit' is no word"),
        (PATHS["/products/{product_id}/book"], "levels=2", "there are level"),
    ],
)
def test_a_word_that_a_path_has_not_is_refused_with_those_it_has(path: Path, query: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        checked_query(parse_qsl(query, keep_blank_values=True), path.words)


def test_words_that_a_path_has_are_taken_and_a_path_without_words_leaves_all_out() -> None:
    given = [("status", "open"), ("status", "done"), ("limit", "5"), ("after", "")]
    known = PRIVATE_PATHS["/orders"]["get"].words
    assert checked_query(given, known) == {"status": ["open", "done"], "limit": ["5"], "after": [""]}
    assert checked_query([("_", "1"), ("_", "2")], PATHS["/time"].words) == {}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"product": "XYZ-USD"}', "'product' is no field of this request"),
        (b'{"product_id": ""}', "product_id is missing"),
        (b'{"product_id": null}', "product_id is missing"),
        (b'{"product_id": "XYZ-USD", "product_id": "ABC-USD"}', "twice"),
        (b"[]", "no object with a product_id"),
    ],
)
def test_a_body_that_names_no_product_cancels_nothing(body: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        order_requests.product_of_body(body)
    assert order_requests.product_of_body(b'{"product_id": "XYZ-USD"}') == "XYZ-USD"
    assert order_requests.product_of_body(b" ") == order_requests.product_of_body(b"{}") == ""


def test_times_are_taken_to_the_microsecond_and_a_range_that_is_turned_round_is_refused() -> None:
    asked = {"end_date": "2024-01-15T00:00:00.000001Z"}
    assert answers.moment(asked, "end_date", 0) == 1_705_276_800_000_001_000
    viewed = Viewed()
    viewed.take(stream("users", 1, 100))
    product = next(iter(viewed.market.by_id.values()))
    with pytest.raises(BadRequest, match="start is later than end"):
        answers.candles(viewed.market, product, {"start": "1705276860", "end": "1705276800"})
    assert answers.candles(viewed.market, product, {"start": "1705276800", "end": "1705276800"}) == []


class Asks:
    """The words of the requests that ccxt makes, by path of the description."""

    def __init__(self) -> None:
        ccxt = pytest.importorskip("ccxt", reason="pip install ccxt==4.5.90")
        viewed = Viewed()
        viewed.take(stream("users", 1, 100))
        self._market = viewed.market
        self.words: dict[tuple[str, str], set[str]] = {}
        self.client = ccxt.coinbaseexchange({"apiKey": "key", "secret": "c2VjcmV0", "password": "open"})
        self.client.urls["api"] = {"public": "http://here", "private": "http://here"}
        self.client.enableRateLimit = False
        self.client.fetch = self._fetch

    def _fetch(self, url: str, method: str = "GET", _headers: Any = None, body: Any = None) -> Any:
        parts = urlsplit(url)
        every = {(path, "get"): each for path, each in PATHS.items()}
        every |= {(path, method): each for path, by in PRIVATE_PATHS.items() for method, each in by.items()}
        for (path, its_method), each in every.items():
            if its_method == method.lower() and re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), parts.path):
                given = parse_qsl(parts.query, keep_blank_values=True)
                self.words.setdefault((path, method), set()).update(word for word, _ in given)
                checked_query(given, each.words)
                if path == "/orders" and method == "DELETE":
                    order_requests.product_of_body((body or "").encode())
                if path == "/products":
                    return answers.products(self._market)
                return answers.currencies(self._market) if path == "/currencies" else []
        raise AssertionError(f"{method} {url} is nowhere")


def test_every_word_that_ccxt_sends_is_known() -> None:
    asks = Asks()
    client = asks.client
    market = next(iter(client.load_markets()))
    since = 1_705_276_800_000
    client.fetch_trades(market, since, 5)
    client.fetch_ohlcv(market, "1m", since, 5)
    client.fetch_my_trades(market, since, 5, {"until": since + 1_000})
    client.fetch_order_trades("00000000-0000-0000-0000-000000000001", market, since, 5)
    for fetch in (client.fetch_orders, client.fetch_open_orders, client.fetch_closed_orders):
        fetch(market, since, 5, {"until": since + 1_000})
    client.cancel_all_orders(market)
    client.cancel_all_orders()
    assert asks.words["/fills", "GET"] == {"product_id", "limit", "start_date", "end_date", "order_id"}
    assert asks.words["/orders", "GET"] == {"product_id", "limit", "start_date", "end_date", "status"}
    assert asks.words["/products/{product_id}/candles", "GET"] == {"granularity", "start", "end"}
    with pytest.raises(BadRequest, match="'orderid' is no word"):  # the control
        client.fetch_my_trades(market, params={"orderid": "1"})
