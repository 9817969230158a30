"""Messages of the web dialect, one by one: a small market, and all that each channel, answer and account says of it.

What is expected is written down by hand from the rules of the Coinbase Exchange, so a field that is wrong, missing or
at another place in the order of messages is found here.
"""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from engine import Engine
from engine.names import unpack
from marketdata.web import answers, channels
from marketdata.web.account import Account
from marketdata.web.balances import balances
from notation.parse import parse
from notation.translate import Translator
from reports import ReportKind, Reports
from reports.rows import REPORT
from tests.test_web_market import CAPACITY, Viewed

SET_UP = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
"""
STOPS = """\
at 2024-01-15T09:30:01
enter ALPHA a1 sell 100 XYZ @ 10.00
enter ALPHA a2 sell 100 XYZ @ 10.05
enter BETA s1 buy 250 XYZ @ 10.05 stop=10.00
enter BETA s2 buy 20 XYZ @ market stop=10.00
at 2024-01-15T09:31:02
enter BETA b1 buy 10 XYZ @ 10.00
"""
ICEBERG = """\
enter ALPHA a3 sell 1000 XYZ @ 10.20 display=100
enter BETA b2 buy 150 XYZ @ 10.20
enter BETA b3 buy 30 XYZ @ market
cancel ALPHA a3 qty=190
replace ALPHA a3 a4 900 @ 10.21
cancel ALPHA a4
"""
_LEFT_OUT = ("time", "product_id", "sequence", "user_id", "profile_id", "timestamp", "client_oid")


def number_of(order_id: str) -> int:
    return int(order_id.replace("-", ""), 16)


def told(message: dict[str, Any]) -> str:
    """A message in words, without what each has; ids of orders as numbers."""
    said = [message["type"]]
    for name, value in sorted(message.items()):
        if name != "type" and name not in _LEFT_OUT:
            said.append(f"{name}={number_of(value) if name.endswith('order_id') else value}")
    return " ".join(said)


def full_of(lines: str) -> list[str]:
    viewed = Viewed()
    viewed.take_lines(SET_UP + lines)
    messages = viewed.full["XYZ-USD"]
    assert [each["sequence"] for each in messages] == list(range(1, len(messages) + 1))
    return [told(each) for each in messages]


def test_channel_full_tells_an_elected_stop_as_an_order_that_is_received_then() -> None:
    assert full_of(STOPS) == [
        "received order_id=1 order_type=limit price=10.00 side=sell size=100",
        "open order_id=1 price=10.00 remaining_size=100 side=sell",
        "received order_id=2 order_type=limit price=10.05 side=sell size=100",
        "open order_id=2 price=10.05 remaining_size=100 side=sell",
        # The stops are nobody's business until they are elected.
        "received order_id=5 order_type=limit price=10.00 side=buy size=10",
        "match maker_order_id=1 price=10.00 side=sell size=10 taker_order_id=5 trade_id=1",
        "done order_id=5 price=10.00 reason=filled remaining_size=0 side=buy",
        "received order_id=3 order_type=limit price=10.05 side=buy size=250",
        "match maker_order_id=1 price=10.00 side=sell size=90 taker_order_id=3 trade_id=2",
        "done order_id=1 price=10.00 reason=filled remaining_size=0 side=sell",
        "match maker_order_id=2 price=10.05 side=sell size=100 taker_order_id=3 trade_id=3",
        "done order_id=2 price=10.05 reason=filled remaining_size=0 side=sell",
        "open order_id=3 price=10.05 remaining_size=60 side=buy",
        "received order_id=4 order_type=market side=buy size=20",
        "done order_id=4 reason=canceled remaining_size=20 side=buy",
    ]


def test_channel_full_tells_icebergs_changes_and_ends() -> None:
    assert full_of(ICEBERG) == [
        "received order_id=1 order_type=limit price=10.20 side=sell size=100",
        "open order_id=1 price=10.20 remaining_size=100 side=sell",
        "received order_id=2 order_type=limit price=10.20 side=buy size=150",
        "match maker_order_id=1 price=10.20 side=sell size=100 taker_order_id=2 trade_id=1",
        "done order_id=1 price=10.20 reason=filled remaining_size=0 side=sell",
        "open order_id=1 price=10.20 remaining_size=100 side=sell",
        "match maker_order_id=1 price=10.20 side=sell size=50 taker_order_id=2 trade_id=2",
        "done order_id=2 price=10.20 reason=filled remaining_size=0 side=buy",
        "received order_id=3 order_type=market side=buy size=30",
        "match maker_order_id=1 price=10.20 side=sell size=30 taker_order_id=3 trade_id=3",
        "done order_id=3 reason=filled remaining_size=0 side=buy",
        "change new_size=10 old_size=20 order_id=1 price=10.20 reason=modify_order side=sell",
        "done order_id=1 price=10.20 reason=canceled remaining_size=10 side=sell",
        "open order_id=1 price=10.21 remaining_size=100 side=sell",
        "done order_id=1 price=10.21 reason=canceled remaining_size=100 side=sell",
    ]


def account_of(lines: str, participant: str) -> tuple[Account, list[dict[str, Any]]]:
    """The account of user UA, whose orders are all those of a participant, and what channel user tells of them."""
    engine, fold, account, messages = Engine(CAPACITY), Reports(CAPACITY), Account("UA"), list[dict[str, Any]]()
    translator = Translator(parse(SET_UP + lines, "lines"), engine.directory, "lines")
    numbers: dict[str, int] = {}
    while (batch := translator.next_batch(engine.directory)) is not None:
        first_seq = engine.seq + 1
        for reports in fold.batches(first_seq, batch.rows, engine.apply(batch.rows)):
            for row in reports:
                if row["kind"] == ReportKind.PARTICIPANT:
                    numbers[unpack(int(row["participant_name"]))] = int(row["participant"])
                if int(row["participant"]) == numbers.get(participant):
                    messages += account.take(as_sent(row))
    return account, messages


def as_sent(row: Any) -> Any:
    """A REPORT row as native order entry sends it to UA. The token of an order is its client order id."""
    places = {name: row[name].item() for name in REPORT.names}
    places |= {"symbol": unpack(places["symbol"]), "stop_e4": places["stop_price_e4"], "report": places["kind"]}
    return SimpleNamespace(**places | {"user": "UA", "order_token": unpack_id(places["client_order_id"])})


def unpack_id(word: int) -> str:
    return word.to_bytes(8, "big").lstrip(b"\0").decode()


def test_channel_user_tells_a_stop_as_it_waits_and_again_when_it_is_elected() -> None:
    _, messages = account_of(STOPS + "replace BETA s1 s3 260 @ 10.04\ncancel BETA s3 qty=230\ncancel BETA s3\n", "BETA")
    taker = "taker_fee_rate=0.00 taker_order_id={0} taker_profile_id=UA taker_user_id=UA"
    assert [told(each) for each in messages] == [
        "activate order_id=3 private=True side=buy size=250 stop_price=10.00 stop_type=entry",
        "activate order_id=4 private=True side=buy size=20 stop_price=10.00 stop_type=entry",
        "received order_id=5 order_type=limit price=10.00 side=buy size=10",
        # The side of a match is that of the maker, whoever is told.
        f"match order_id=5 price=10.00 side=sell size=10 {taker.format(5)} trade_id=1",
        "done order_id=5 price=10.00 reason=filled remaining_size=0 side=buy",
        "received order_id=3 order_type=limit price=10.05 side=buy size=250",
        f"match order_id=3 price=10.00 side=sell size=90 {taker.format(3)} trade_id=2",
        f"match order_id=3 price=10.05 side=sell size=100 {taker.format(3)} trade_id=3",
        "open order_id=3 price=10.05 remaining_size=60 side=buy",
        "received order_id=4 order_type=market side=buy size=20",
        "done order_id=4 reason=canceled remaining_size=20 side=buy",
        "change new_price=10.04 new_size=70 old_price=10.05 old_size=60 order_id=3 price=10.04 reason=modify_order "
        "side=buy",
        "change new_size=40 old_size=70 order_id=3 price=10.04 reason=modify_order side=buy",
        "done order_id=3 price=10.04 reason=canceled remaining_size=40 side=buy",
    ]
    assert messages[0]["timestamp"] == "1705311001.000000"
    assert {(each["user_id"], each["profile_id"], each["product_id"]) for each in messages} == {("UA", "UA", "XYZ-USD")}


def test_channel_user_tells_the_maker_of_a_trade_that_it_is_the_maker() -> None:
    _, messages = account_of(STOPS, "ALPHA")
    maker = "maker_fee_rate=0.00 maker_order_id=1 maker_profile_id=UA maker_user_id=UA"
    assert [told(each) for each in messages if number_of(each["order_id"]) == 1] == [
        "received order_id=1 order_type=limit price=10.00 side=sell size=100",
        "open order_id=1 price=10.00 remaining_size=100 side=sell",
        f"match {maker} order_id=1 price=10.00 side=sell size=10 trade_id=1",
        f"match {maker} order_id=1 price=10.00 side=sell size=90 trade_id=2",
        "done order_id=1 price=10.00 reason=filled remaining_size=0 side=sell",
    ]


def test_an_order_that_was_made_smaller_and_is_filled_leaves_nothing() -> None:
    _, messages = account_of(
        "enter ALPHA a1 sell 100 XYZ @ 10.00\ncancel ALPHA a1 qty=60\nenter BETA b1 buy 60 XYZ @ 10.00\n", "ALPHA"
    )
    assert [told(each) for each in messages[2:]] == [
        "change new_size=60 old_size=100 order_id=1 price=10.00 reason=modify_order side=sell",
        "match maker_fee_rate=0.00 maker_order_id=1 maker_profile_id=UA maker_user_id=UA order_id=1 price=10.00 "
        "side=sell size=60 trade_id=1",
        "done order_id=1 price=10.00 reason=filled remaining_size=0 side=sell",
    ]


def test_orders_and_fills_have_these_fields() -> None:
    account, _ = account_of(STOPS + "cancel BETA s1\n", "BETA")
    stop, market, _ = (account.order(held) for held in account.orders.values())
    assert stop == {
        "id": "00000000-0000-0000-0000-000000000003",
        "product_id": "XYZ-USD",
        "side": "buy",
        "type": "limit",
        "size": "250",
        "price": "10.05",
        # It was a stop, and is asked for as one after its election too.
        "stop": "entry",
        "stop_price": "10.00",
        "time_in_force": "DAY",
        "post_only": False,
        "stp": "cn",
        "created_at": "2024-01-15T09:30:01.000000Z",
        "done_at": "2024-01-15T09:31:02.000000Z",
        "done_reason": "canceled",
        "reject_reason": "user",
        "fill_fees": "0.00",
        "filled_size": "190",
        "executed_value": "1905.00",
        "status": "done",
        "settled": True,
        "client_oid": "s1",
    }
    assert (market["type"], market["stop_price"], market["reject_reason"]) == ("market", "10.00", "no_liquidity")
    assert "price" not in market
    fills, places = account.fills_page({"limit": "2"}, "", "")
    assert (fills[0]["trade_id"], places) == (3, [3, 2])
    assert fills[1] == {
        "trade_id": 2,
        "product_id": "XYZ-USD",
        "order_id": "00000000-0000-0000-0000-000000000003",
        "price": "10.00",
        "size": "90",
        "fee": "0.00",
        "side": "buy",
        "liquidity": "T",
        "created_at": "2024-01-15T09:31:02.000000Z",
        "settled": True,
        "usd_volume": "900.00",
    }
    sold, _ = account_of(STOPS, "ALPHA")
    assert {(each["side"], each["liquidity"]) for each in sold.fills_page({}, "", "")[0]} == {("sell", "M")}
    loss, told_of = account_of("enter BETA s1 sell 5 XYZ @ 9.00 stop=9.50\n", "BETA")
    (waits,) = (loss.order(held) for held in loss.orders.values())
    assert (waits["stop"], waits["status"], told_of[0]["stop_type"]) == ("loss", "active", "loss")


def test_an_account_has_what_its_trades_and_open_orders_come_to() -> None:
    viewed, (account, _) = Viewed(), account_of(STOPS, "BETA")
    viewed.take_lines(SET_UP + STOPS)
    viewed.market.users["UA"] = 2
    found = {
        each["currency"]: (each["balance"], each["hold"], each["available"])
        for each in balances(viewed.market, account)
    }
    # 10 and 90 at 10.00, 100 at 10.05; of the stop 60 are open at 10.05.
    assert found == {"USD": ("-2005.00", "603.00", "-2608.00"), "XYZ": ("200", "0", "200")}


DAY = """\
at 2024-01-14T09:30:00
enter ALPHA d1 sell 7 XYZ @ 12.00
enter BETA d2 buy 7 XYZ @ 12.00
at 2024-01-15T09:30:01
enter ALPHA a1 sell 30 XYZ @ 10.00
enter BETA b1 buy 10 XYZ @ 10.00
enter ALPHA a2 buy 50 XYZ @ 9.90
enter BETA b2 sell 20 XYZ @ 9.90
at 2024-01-15T09:30:59
enter BETA b3 buy 5 XYZ @ 10.00
at 2024-01-15T09:36:00
enter BETA b4 sell 1 XYZ @ 9.90
"""


def test_answers_and_channels_of_trades_have_these_fields() -> None:
    viewed = Viewed()
    viewed.take_lines(SET_UP.replace("01-15T09:30:00", "01-14T09:00:00") + DAY)
    market, product = viewed.market, viewed.market.by_id["XYZ-USD"]
    head = {"product_id": "XYZ-USD", "sequence": product.sequence, "time": "2024-01-15T09:36:00.000000Z"}
    match = {"trade_id": 5, "price": "9.90", "size": "1", "side": "buy"}
    ids = {"maker_order_id": f"{4 + 1:036x}", "taker_order_id": f"{8:036x}"}
    last = viewed.matches["XYZ-USD"][-1]
    assert {name: last[name] for name in match} == match
    assert [number_of(last[name]) for name in ids] == [5, 8]
    nobody = dict.fromkeys(ids, "00000000-0000-0000-0000-000000000000")
    assert channels.last_match(product) == {"type": "last_match", **head, **match, **nobody}
    assert channels.heartbeat(market, product) == {"type": "heartbeat", "last_trade_id": 5, **head}
    assert channels.ticker(market, product) == {
        **{"type": "ticker", "price": "9.90", "last_size": "1", "trade_id": 5, **head},
        "side": "sell",  # that of the taker
        **{"open_24h": "10.00", "high_24h": "10.00", "low_24h": "9.90", "volume_24h": "36", "volume_30d": "43"},
        **{"best_bid": "9.90", "best_bid_size": "29", "best_ask": "10.00", "best_ask_size": "15"},
    }
    assert answers.ticker(market, product) == {
        **{"trade_id": 5, "price": "9.90", "size": "1", "time": head["time"], "bid": "9.90", "ask": "10.00"},
        "volume": "36",
    }
    assert answers.stats(market, product) == {
        **{"open": "10.00", "high": "10.00", "low": "9.90", "last": "9.90", "volume": "36", "volume_30day": "43"}
    }
    assert [(each["trade_id"], each["side"]) for each in answers.trades(product, {})] == [
        *((5, "buy"), (4, "sell"), (3, "buy"), (2, "sell"), (1, "sell"))
    ]
    noon = 1_705_311_000  # 2024-01-15T09:30:00
    # Begin, low, high, open, close, volume.
    assert answers.candles(market, product, {"granularity": "60"}) == [
        (noon + 360, 9.9, 9.9, 9.9, 9.9, 1),
        (noon, 9.9, 10.0, 10.0, 10.0, 35),
    ]
    assert answers.candles(market, product, {"granularity": "300"})[1] == (noon, 9.9, 10.0, 10.0, 10.0, 35)
    days = answers.candles(market, product, {"granularity": "86400"})
    assert [each[1:] for each in days] == [(9.9, 10.0, 10.0, 9.9, 36), (12.0, 12.0, 12.0, 12.0, 7)]
    update = channels.l2update(market, product)
    assert update is not None
    assert sorted(update["changes"]) == [["buy", "9.90", "29"], ["sell", "10.00", "15"], ["sell", "12.00", "0"]]
    assert answers.book(market, product, {"level": "2"})["asks"] == [("10.00", "15", 1)]
    assert [row[:2] for row in answers.book(market, product, {"level": "3"})["bids"]] == [("9.90", "29")]


def test_a_market_order_that_rests_in_a_call_is_no_best_price() -> None:
    viewed = Viewed()
    call = "phase XYZ auction\nenter ALPHA m1 buy 5 XYZ @ market\nenter ALPHA a1 buy 7 XYZ @ 9.90\n"
    viewed.take_lines(SET_UP + call)
    market, product = viewed.market, viewed.market.by_id["XYZ-USD"]
    assert answers.best(market, product)[0] == (99_000, 7, 1)
    for level in "12":
        assert answers.book(market, product, {"level": level})["bids"] == [("9.90", "7", 1)]
    assert channels.snapshot(market, product)["bids"] == [["9.90", "7"]]


HIDDEN = """\
enter ALPHA a1 sell 30 XYZ @ 10.00 hidden
enter BETA b1 buy 10 XYZ @ 10.00
"""


def test_a_match_of_a_hidden_order_names_no_order_and_has_the_side_of_the_maker() -> None:
    viewed = Viewed()
    viewed.take_lines(SET_UP + HIDDEN)
    (match,) = viewed.matches["XYZ-USD"]
    assert (match["side"], number_of(match["maker_order_id"]), number_of(match["taker_order_id"])) == ("sell", 0, 0)
    assert not [each for each in viewed.full["XYZ-USD"] if each["type"] == "match"]


def ccxt_pro() -> Any:
    """The class of ccxt.pro, which knows the product and has no connection."""
    pytest.importorskip("ccxt", reason="pip install ccxt==4.5.90")
    pytest.importorskip("aiohttp", reason="pip install aiohttp==3.14.5")
    from ccxt import pro

    made = pro.coinbaseexchange({"newUpdates": False})
    market = {"id": "XYZ-USD", "symbol": "XYZ/USD", "base": "XYZ", "quote": "USD", "baseId": "XYZ", "quoteId": "USD"}
    made.set_markets([{**market, "type": "spot", "spot": True, "active": True}])
    return made


def hear(exchange: Any, messages: list[dict[str, Any]], *, signed: bool) -> None:
    """Give ccxt.pro messages as if they had come, from a subscription that is signed or not."""
    connection = SimpleNamespace(url="ws://here/?" if signed else "ws://here", resolve=lambda *_: None)
    for message in messages:
        exchange.handle_message(connection, json.loads(json.dumps(message)))


@pytest.mark.parametrize("lines", [STOPS, HIDDEN])
def test_ccxt_pro_reads_the_side_of_who_took(lines: str) -> None:
    viewed, exchange = Viewed(), ccxt_pro()
    viewed.take_lines(SET_UP + lines)
    hear(exchange, viewed.matches["XYZ-USD"], signed=False)
    (trades,) = exchange.trades.values()
    assert {each["side"] for each in trades} == {"buy"}
    assert [each["id"] for each in trades] == [str(each["trade_id"]) for each in viewed.matches["XYZ-USD"]]


@pytest.mark.parametrize(("participant", "side", "role"), [("BETA", "buy", "taker"), ("ALPHA", "sell", "maker")])
def test_ccxt_pro_reads_own_trades_and_orders(participant: str, side: str, role: str) -> None:
    """Through a hub, in which all of a command is told at one number of the market."""
    _, messages = account_of("enter ALPHA a1 sell 100 XYZ @ 10.00\nenter BETA b1 buy 100 XYZ @ 10.00\n", participant)
    sent = told_by_hub(messages)
    exchange = ccxt_pro()
    hear(exchange, sent, signed=True)
    (trade,) = exchange.myTrades
    assert (trade["side"], trade["takerOrMaker"], trade["amount"]) == (side, role, 100)
    assert trade["order"] == messages[0]["order_id"]
    (order,) = exchange.orders
    assert (order["filled"], order["remaining"], order["status"]) == (100, 0, "closed")


def told_by_hub(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of channel user as a subscriber gets them, while the market stands at one number."""
    pytest.importorskip("starlette", reason="pip install 'lockstep[web]'")
    from node.web.hub import Hub

    async def sent() -> list[dict[str, Any]]:
        viewed, hub = Viewed(), Hub()
        hub.market, hub.user_of = viewed.market, lambda _signed: "UA"
        viewed.take_lines(SET_UP + "enter ALPHA o1 sell 1 XYZ @ 11.00\n")
        subscriber = hub.join()
        assert subscriber is not None
        hub.ask(subscriber, json.dumps({"type": "subscribe", "product_ids": ["XYZ-USD"], "channels": ["user"]}))
        subscriber.waiting.clear()
        hub.on_told("UA", messages)
        return [json.loads(text) for text in subscriber.waiting]

    return asyncio.run(sent())


def test_numbers_of_channel_user_rise_with_each_message() -> None:
    _, messages = account_of(STOPS, "BETA")
    sequences = [each["sequence"] for each in told_by_hub(messages)]
    assert sequences == list(range(sequences[0], sequences[0] + len(messages)))
    assert sequences[0] == 2, "the number of the market"


def test_channel_matches_begins_with_the_last_trade_where_there_is_one() -> None:
    pytest.importorskip("starlette", reason="pip install 'lockstep[web]'")
    from node.web.hub import Hub

    async def begun(lines: str) -> list[str]:
        viewed, hub = Viewed(), Hub()
        hub.market = viewed.market
        viewed.take_lines(SET_UP + lines)
        subscriber = hub.join()
        assert subscriber is not None
        hub.ask(subscriber, json.dumps({"type": "subscribe", "product_ids": ["XYZ-USD"], "channels": ["matches"]}))
        return [json.loads(text)["type"] for text in subscriber.waiting]

    assert asyncio.run(begun(HIDDEN)) == ["subscriptions", "last_match"]
    assert asyncio.run(begun("")) == ["subscriptions"]


def test_trades_come_in_pages() -> None:
    pytest.importorskip("starlette", reason="pip install 'lockstep[web]'")
    from node.web.app import application
    from node.web.hub import Hub

    viewed = Viewed()
    viewed.take_lines(SET_UP.replace("01-15T09:30:00", "01-14T09:00:00") + DAY)
    app = application(viewed.market, Hub(), 0)

    async def page(query: str) -> tuple[list[int], dict[str, str]]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        path = "/products/XYZ-USD/trades"
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
        scope |= {"query_string": query.encode(), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
        await app(scope | {"scheme": "http", "root_path": "", "http_version": "1.1"}, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return [each["trade_id"] for each in json.loads(sent[1]["body"])], headers

    async def all_pages() -> list[list[int]]:
        found, after = [], ""
        while True:
            trades, headers = await page(f"limit=2{after}")
            found.append(trades)
            if not trades:
                assert "cb-after" not in headers
                return found
            assert headers["cb-before"] == str(trades[0])
            after = f"&after={headers['cb-after']}"

    assert asyncio.run(all_pages()) == [[5, 4], [3, 2], [1], []]
