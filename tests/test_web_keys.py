"""Keys of web users, signatures and orders as clients send them: what is taken, and what is refused with a sentence."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from marketdata.web import order_requests
from marketdata.web.answers import BadRequest
from marketdata.web.market import WebMarket
from node.web.keys import WINDOW_S, KeyFileError, NotAuthorized, checked, parse_keys, read_keys, signature
from tests.test_ladders import stream
from tests.test_web_market import Viewed

SECRET = base64.b64encode(b"s" * 32).decode()
LINE = f"ua secret key-1 open {SECRET}"
NOW_S = 1_705_276_800.0
NOW_NS = 1_705_276_800_000_000_001


def signed(**changes: str) -> dict[str, str]:
    said = {"key": "key-1", "timestamp": "1705276800.5", "passphrase": "open"} | changes
    return {"sign": signature(b"s" * 32, said["timestamp"], "GET", "/orders?limit=1", b"")} | said


def test_a_signature_is_over_time_method_path_and_body_within_thirty_seconds() -> None:
    keys = parse_keys(f"# users\n\n{LINE}\n", "keys")
    # Control: as it must be.
    assert checked(keys, signed(), "GET", "/orders?limit=1", b"", NOW_S).user == "UA"
    for said, method, path, body, now_s, why in (
        (signed(), "DELETE", "/orders?limit=1", b"", NOW_S, "invalid signature"),
        (signed(), "GET", "/orders?limit=2", b"", NOW_S, "invalid signature"),
        (signed(), "GET", "/orders?limit=1", b"{}", NOW_S, "invalid signature"),
        (signed(sign=""), "GET", "/orders?limit=1", b"", NOW_S, "invalid signature"),
        (signed(passphrase="shut"), "GET", "/orders?limit=1", b"", NOW_S, "Invalid Passphrase"),
        (signed(key="key-2"), "GET", "/orders?limit=1", b"", NOW_S, "Invalid API Key"),
        (signed(timestamp="soon"), "GET", "/orders?limit=1", b"", NOW_S, "no number"),
        (signed(timestamp="1e9"), "GET", "/orders?limit=1", b"", NOW_S, "no number"),
        (signed(), "GET", "/orders?limit=1", b"", NOW_S + WINDOW_S + 1, "expired"),
        (signed(), "GET", "/orders?limit=1", b"", NOW_S - WINDOW_S, "expired"),
        ({}, "GET", "/orders?limit=1", b"", NOW_S, "missing"),
    ):
        with pytest.raises(NotAuthorized, match=why):
            checked(keys, said, method, path, body, now_s)


def test_a_file_of_keys_that_others_may_read_or_that_is_wrong_is_refused_without_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(LINE)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_keys(path)
    path.chmod(0o600)
    (key,) = read_keys(path).values()
    assert (key.user, key.password, key.secret) == ("UA", "secret", b"s" * 32)
    assert "secret" not in repr(key)
    for text, why in (
        ("", "0 keys"),
        ("UA secret key-1 open", "line 1 of keys has 4 words"),
        (f"{LINE}\n{LINE}", "line 2 of keys is there twice"),
        (f"{LINE}\n#\nUA another key-2 open {SECRET}", "line 3 of keys has another password for its user than line 1"),
        ("UA secret key-1 open c2hvcnQ=", "less than 16 bytes"),
        ("UA secret key-1 open !!!", "no base64"),
    ):
        with pytest.raises(KeyFileError, match=why) as refused:
            parse_keys(text, "keys")
        assert "secret key-1" not in str(refused.value)
        assert "another key-2" not in str(refused.value)
    # Control: two keys of one user with its password, and another user with another.
    assert len(parse_keys(f"{LINE}\nUA secret key-2 open {SECRET}\nUB another key-3 open {SECRET}", "keys")) == 3


def market() -> WebMarket:
    viewed = Viewed()
    viewed.take(stream("users", 1, 100))
    return viewed.market


def read(product_id: str, viewed: WebMarket, **fields: Any) -> order_requests.Asked:
    asked = {"product_id": product_id, "side": "buy", "size": "10", "price": "10.05"} | fields
    return order_requests.read_order(json.dumps(asked).encode(), viewed, NOW_NS)


def test_an_order_is_read_into_words_of_the_rulebook_with_exact_decimals() -> None:
    viewed = market()
    product = next(iter(viewed.by_id.values()))
    asked = read(product.id, viewed, client_oid="mine", post_only=True, stp="dc")
    assert asked == (product.symbol, "buy", 10, "10.05", "tif=gtc post_only stp=decrement", "mine")
    timed = read(product.id, viewed, time_in_force="GTT", cancel_after="min", size=7, price="010.10")
    assert timed.terms == "tif=gtd until=2024-01-15T00:01:01"  # a second begun counts whole
    assert (timed.qty, timed.price) == (7, "010.1")
    for after, until in (("hour", "2024-01-15T01:00:01"), ("day", "2024-01-16T00:00:01")):
        assert read(product.id, viewed, time_in_force="GTT", cancel_after=after).terms == f"tif=gtd until={until}"
    exact = order_requests.read_order(
        f'{{"product_id": "{product.id}", "side": "sell", "size": 3.0, "price": 0.3000}}'.encode(), viewed, NOW_NS
    )
    assert (exact.side, exact.qty, exact.price) == ("sell", 3, "0.3")
    market_order = read(product.id, viewed, type="market", time_in_force="IOC")
    assert (market_order.price, market_order.terms) == (None, "tif=ioc")
    stop = read(product.id, viewed, stop="entry", stop_price="10.20", time_in_force="DAY")
    assert stop.terms == "stop=10.2"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"side": "up"}, "give buy or sell"),
        ({"size": "1.5"}, "shares are whole"),
        ({"size": "0"}, "above 0"),
        ({"size": True}, "above 0"),
        ({"price": "1e3"}, "above 0"),
        ({"price": "-1"}, "above 0"),
        ({"price": None}, "^price is missing; give a number above 0"),
        ({"side": None}, "^side is missing; give buy or sell"),
        ({"size": "1000000000000000"}, "12 digits at most"),
        ({"type": "stop"}, "limit or market"),
        ({"funds": "5"}, "no field of an order"),
        ({"time_in_force": "GTT"}, "^cancel_after is missing; give min or hour or day"),
        ({"cancel_after": "min"}, "is for time_in_force GTT"),
        ({"time_in_force": "FOK", "post_only": True}, "may rest"),
        ({"post_only": "yes"}, "true or false"),
        ({"stop": "loss", "stop_price": "9"}, "give entry"),
        ({"stop": "entry"}, "needs a stop_price"),
        ({"client_oid": "with space"}, "no space"),
        ({"client_oid": "a/b"}, "no space and no /"),
        ({"client_oid": 5}, "give it as text"),
        ({"product_id": "NO-USD"}, "there is no product"),
    ],
)
def test_an_order_that_cannot_be_is_refused_with_a_sentence(fields: dict[str, Any], why: str) -> None:
    viewed = market()
    product = next(iter(viewed.by_id.values()))
    with pytest.raises(BadRequest, match=why):
        read(**{"product_id": product.id, "viewed": viewed} | fields)


@pytest.mark.parametrize("name", ["size", "side", "price", "product_id", "client_oid", "post_only", "stop_price"])
def test_an_order_with_a_field_twice_is_refused_and_never_guessed(name: str) -> None:
    viewed = market()
    product = next(iter(viewed.by_id.values()))
    asked = {"product_id": product.id, "side": "buy", "size": "1", "price": "10.00", "client_oid": "a"}
    whole = json.dumps(asked)
    once = order_requests.read_order(whole.encode(), viewed, NOW_NS)
    assert once.client_id == "a"  # the control
    for value in (json.dumps(asked.get(name)), '"2"'):  # the same again is not taken either
        first = f"{{{json.dumps(name)}: {value}, " + ("" if name in asked else f"{json.dumps(name)}: 1, ")
        with pytest.raises(BadRequest, match=f"{name}' twice; give each name once"):
            order_requests.read_order((first + whole[1:]).encode(), viewed, NOW_NS)
    with pytest.raises(BadRequest, match="twice"):
        order_requests.product_of_body(b'{"product_id": "XYZ-USD", "product_id": "ABC-USD"}')


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[" * 10_000, b'{"price": 1e999999999, "side": "buy"}'])
def test_a_body_that_is_no_order_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        order_requests.read_order(body, market(), NOW_NS)


def test_two_ids_have_two_tokens_and_one_id_always_the_same() -> None:
    ids = ["first", "8d4d9e0e-6d55-4c5c-9a53-8f6d6f1a2b3c", "8d4d9e0e-6d55-4c5c-9a53-8f6d6f1a2b3d", "x" * 15]
    tokens = [order_requests.token_of("UA", each) for each in ids]
    assert len(set(tokens)) == len(ids)
    assert all(len(token) <= 14 for token in tokens)
    assert tokens == [order_requests.token_of("UA", each) for each in ids]
    assert order_requests.token_of("UB", ids[1]) != tokens[1]
