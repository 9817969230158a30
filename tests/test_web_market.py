"""Market data for web clients: what channels and answers tell is one book, at every number, after a restart too.

Random flow with every order type goes through the engine. A viewer keeps a book from channel full, another from level2,
a third asks: after each command all have the levels that the engine's own orders give.
"""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.records import TimeInForce
from marketdata.web import answers, channels, words
from marketdata.web.answers import BadRequest
from marketdata.web.market import WebMarket
from marketdata.web.product import Product
from notation.parse import parse
from notation.translate import Translator
from reports.rows import joined
from tests.test_ladders import CASES, stream
from tests.web_book import FullBook

CAPACITY = Capacity(orders_max=4_000, ids_max=60_000, instruments_max=16, participants_max=16)
Message = dict[str, Any]


class Viewed:
    """An engine with a market for viewers, and all that it told, by product id."""

    def __init__(self) -> None:
        self.engine = Engine(CAPACITY)
        self.market = WebMarket(CAPACITY, self._on_messages)
        self.full: dict[str, list[Message]] = {}
        self.matches: dict[str, list[Message]] = {}
        self.seq = 0

    def _on_messages(self, product: Product, full: list[Message], matches: list[Message]) -> None:
        self.full.setdefault(product.id, []).extend(full)
        self.matches.setdefault(product.id, []).extend(matches)

    def take(self, commands: Any) -> None:
        self.market.observe(self.seq + 1, commands, self.engine.apply(commands))
        self.seq += len(commands)

    def take_lines(self, lines: str) -> None:
        translator = Translator(parse(lines, "lines"), self.engine.directory, "lines")
        while (made := translator.next_batch(self.engine.directory)) is not None:
            self.take(made.rows)

    def displayed(self, number: int) -> dict[tuple[str, str], int]:
        """Levels by the engine's own orders."""
        sums: Counter[tuple[str, str]] = Counter()
        rows = self.engine.open_orders(number)
        shows = (rows["shown_qty"] > 0) & (rows["stop_e4"] == 0) & (rows["price_e4"] > 0)
        for row in rows[shows & (rows["time_in_force"] != TimeInForce.CLOSING)]:
            sums[words.side(int(row["side"])), words.price(int(row["price_e4"]))] += int(row["shown_qty"])
        return dict(sums)


def levels_of(answer: Message) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for side, rows in (("buy", answer["bids"]), ("sell", answer["asks"])):
        for price, size, *_ in rows:
            found[side, price] += int(size)
    return dict(found)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_full_level2_and_answers_have_the_book_of_the_engine_after_each_command(kind: str, seed: int) -> None:
    viewed, rows = Viewed(), stream(kind, seed, 1_000)
    full: dict[str, FullBook] = {}
    level2: dict[str, dict[tuple[str, str], int]] = {}
    for at in range(len(rows)):
        viewed.take(rows[at : at + 1])
        for product in viewed.market.products.values():
            book = full.setdefault(product.id, FullBook())
            for message in viewed.full.pop(product.id, []):
                book.take(message)
            kept = level2.setdefault(product.id, {})
            update = channels.l2update(viewed.market, product)
            for side, price, size in [] if update is None else update["changes"]:
                kept.pop((side, price), None)
                if size != "0":
                    kept[side, price] = int(size)
            truth = viewed.displayed(product.number)
            assert book.levels() == truth, f"full after command {at + 1}"
            assert kept == truth, f"level2 after command {at + 1}"
            assert book.sequence == product.sequence
            if at % 7 == 0:
                for level in "23":
                    answer = answers.book(viewed.market, product, {"level": level})
                    assert levels_of(answer) == truth
                    assert answer["sequence"] == product.sequence
                ticker = channels.ticker(viewed.market, product)
                bids = [price for side, price in truth if side == "buy"]
                asks = [price for side, price in truth if side == "sell"]
                assert ticker["best_bid"] == max(bids, default=None, key=float)
                assert ticker["best_ask"] == min(asks, default=None, key=float)
    assert sum(book.sequence for book in full.values()) > 200
    assert any(viewed.matches.values())


def prices_in(message: Message) -> dict[str, str | None]:
    """Values of all fields that are prices, by name."""
    named = (
        "price",
        "open",
        "high",
        "low",
        "last",
        "bid",
        "ask",
        "open_24h",
        "high_24h",
        "low_24h",
        "best_bid",
        "best_ask",
    )
    return {name: value for name, value in message.items() if name in named or name.endswith("_price")}


def test_a_price_that_is_not_there_is_null_and_never_0() -> None:
    """A market without an order, with a bid alone, and in a call in which nothing would trade."""
    viewed = Viewed()
    viewed.take_lines("instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\nparticipant BETA\n")
    product = viewed.market.by_id["XYZ-USD"]

    def told() -> list[dict[str, str | None]]:
        call = answers.auction(viewed.market, product)
        found = [answers.ticker(viewed.market, product), answers.stats(viewed.market, product)]
        return [prices_in(each) for each in (*found, channels.ticker(viewed.market, product), call or {})]

    viewed.take_lines("phase XYZ continuous\n")
    assert {value for each in told() for value in each.values()} == {None}
    assert channels.ticker(viewed.market, product)["side"] is None
    viewed.take_lines("enter ALPHA a1 buy 100 XYZ @ 9.99\n")
    rest, day, channel, _ = told()
    assert (rest["bid"], rest["ask"], rest["price"]) == ("9.99", None, None)
    assert (channel["best_bid"], channel["best_ask"], channel["price"], channel["open_24h"]) == (
        "9.99",
        None,
        None,
        None,
    )
    assert set(day.values()) == {None}
    viewed.take_lines("enter BETA b2 sell 100 XYZ @ 9.99\n")
    rest, day, channel, _ = told()
    assert (rest["bid"], rest["ask"], rest["price"]) == (None, None, "9.99")
    assert set(day.values()) == {"9.99"}
    assert channels.ticker(viewed.market, product)["side"] == "sell"
    viewed.take_lines("phase XYZ auction\nenter ALPHA a3 buy 100 XYZ @ 9.98\n")
    call = told()[3]
    assert call == {"open_price": None, "best_bid_price": "9.98", "best_ask_price": None}
    viewed.take_lines("enter BETA b4 sell 100 XYZ @ 9.98\n")
    assert told()[3] == {"open_price": "9.98", "best_bid_price": "9.98", "best_ask_price": "9.98"}


def test_ccxt_reads_no_price_where_there_is_none() -> None:
    ccxt = pytest.importorskip("ccxt", reason="pip install ccxt==4.5.90")
    from ccxt import pro

    viewed = Viewed()
    viewed.take_lines("instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\nphase XYZ continuous\n")
    viewed.take_lines("enter ALPHA a1 sell 100 XYZ @ 10.01\n")
    product = viewed.market.by_id["XYZ-USD"]
    by_rest = ccxt.coinbaseexchange().parse_ticker(answers.ticker(viewed.market, product))
    by_channel = pro.coinbaseexchange().parse_ticker(channels.ticker(viewed.market, product))
    for read in (by_rest, by_channel):
        assert (read["bid"], read["ask"], read["last"], read["open"], read["high"]) == (None, 10.01, None, None, None)


def test_a_viewer_that_loses_a_message_is_wrong_and_can_know_it() -> None:
    viewed, rows = Viewed(), stream("features", 7, 600)
    viewed.take(rows)
    product = max(viewed.market.products.values(), key=lambda each: len(viewed.full.get(each.id, [])))
    messages = viewed.full[product.id]
    lost = next(at for at, message in enumerate(messages) if message["type"] == "open")
    book = FullBook()
    for message in messages[:lost]:
        book.take(message)
    with pytest.raises(AssertionError, match="a gap behind"):
        book.take(messages[lost + 1])


@pytest.mark.parametrize("cut", [1, 300, 777])
def test_numbers_and_messages_go_on_from_an_image(cut: int) -> None:
    rows = stream("features", 8, 1_000)
    whole = Viewed()
    for at in range(0, len(rows), 50):
        whole.take(rows[at : at + 50])
    before = Viewed()
    before.take(rows[:cut])
    after = Viewed()
    after.market.restore({name: np.array(array) for name, array in before.market.image().items()}, cut)
    after.engine, after.seq = before.engine, cut
    after.take(rows[cut:])
    for product_id, messages in whole.full.items():
        assert before.full.get(product_id, []) + after.full.get(product_id, []) == messages
    assert after.market.digest() == whole.market.digest()
    for product in whole.market.products.values():
        other = after.market.by_id[product.id]
        for query in ({"granularity": "60"}, {"granularity": "3600"}):
            assert answers.candles(after.market, other, query) == answers.candles(whole.market, product, query)
        assert answers.book(after.market, other, {"level": "3"}) == answers.book(whole.market, product, {"level": "3"})
        assert answers.stats(after.market, other) == answers.stats(whole.market, product)


def test_an_order_that_is_hidden_is_in_no_message_of_orders() -> None:
    """Nor is a peg, nor a closing order."""
    from engine.records import Instruction, TimeInForce
    from reports import ReportKind, Reports

    rows = stream("features", 7, 1_000)
    viewed, fold = Viewed(), Reports(CAPACITY)
    viewed.take(rows)
    engine = Engine(CAPACITY)
    reports = joined([fold.make(1, rows, engine.apply(rows))])
    of_new = reports[reports["kind"] == ReportKind.NEW]
    kinds = [
        of_new["instructions"] & Instruction.HIDDEN != 0,
        of_new["instructions"] & Instruction.PEG != 0,
        of_new["time_in_force"] == TimeInForce.CLOSING,
    ]
    assert all(kind.any() for kind in kinds)
    hidden = {words.order_id(int(n)) for n in of_new["order_number"][np.logical_or.reduce(kinds)]}
    told = {
        message.get(name)
        for messages in viewed.full.values()
        for message in messages
        if message["type"] != "match"
        for name in ("order_id",)
    }
    assert hidden
    assert not hidden & told
    # Control: orders that are displayed are told.
    seen = {words.order_id(int(n)) for n in of_new["order_number"][of_new["displayed_qty"] > 0]}
    assert seen & told


def test_candles_and_trades_are_those_of_all_trades() -> None:
    viewed = Viewed()
    viewed.take(stream("users", 1, 1_000))
    for product in viewed.market.products.values():
        matches = viewed.matches.get(product.id, [])
        told = answers.trades(product, {"limit": "1000"})
        assert [each["trade_id"] for each in told] == [each["trade_id"] for each in reversed(matches)][:1_000]
        days = answers.candles(viewed.market, product, {"granularity": "86400"})
        priced = sum(int(each["size"]) for each in matches)
        assert sum(day[5] for day in days) <= priced
        for _, low, high, opened, closed, _volume in days:
            assert low <= min(opened, closed) <= max(opened, closed) <= high
        if len(told) > 3:
            older = answers.trades(product, {"after": str(told[1]["trade_id"])})
            assert older[0] == told[2]
            assert answers.trades(product, {"before": str(told[1]["trade_id"])}) == told[:1]


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"level": "4"}, "level is '4'; give a whole number from 1 to 3"),
        ({"level": "²"}, "level is '²'"),
        ({"limit": "-1"}, "limit is '-1'"),
        ({"granularity": "61"}, "granularity is 61; give one of 60, 300"),
        ({"start": "yesterday"}, "start is 'yesterday'; give seconds since 1970"),
        ({"start": "0", "end": "9999999999"}, "more than 300 candles apart"),
    ],
)
def test_a_bad_question_is_refused_with_a_sentence(question: dict[str, str], complaint: str) -> None:
    viewed = Viewed()
    viewed.take(stream("users", 1, 300))
    product = next(iter(viewed.market.products.values()))
    market = viewed.market
    asks = {
        "level": lambda: answers.book(market, product, question),
        "limit": lambda: answers.trades(product, question),
    }
    ask = asks.get(next(iter(question)), lambda: answers.candles(market, product, question))
    with pytest.raises(BadRequest) as found:
        ask()
    assert complaint in str(found.value)
    assert found.value.status == 400


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", "[" * 10_000, '{"type": "subscribe"}', '{"type": "subscribe", "channels": ["full"]}'),
        '{"type": "subscribe", "channels": [7], "product_ids": ["A"]}',
        '{"type": "subscribe", "channels": ["full"], "product_ids": ["NONE-USD"]}',
        '{"type": "subscribe", "channels": ["nothing"], "product_ids": []}',
        '{"type": "subscribe", "channels": [{"name": "full", "product_ids": {}}]}',
        '{"type": ["subscribe"], "channels": ["full"]}',
    ],
)
def test_a_bad_request_of_a_subscriber_is_refused_with_a_sentence(text: str) -> None:
    viewed = Viewed()
    viewed.take(stream("users", 1, 100))
    with pytest.raises(BadRequest, match=r"\w"):
        channels.read_request(text, viewed.market)


@pytest.mark.parametrize("twice", ["type", "product_ids", "channels", "interval_ms", "name"])
def test_a_request_of_a_subscriber_with_a_field_twice_is_refused(twice: str) -> None:
    viewed = Viewed()
    viewed.take(stream("users", 1, 100))
    product_id = next(iter(viewed.market.by_id))
    text = json.dumps(
        {
            "type": "subscribe",
            "product_ids": [product_id],
            "interval_ms": 100,
            "channels": [{"name": "level2", "product_ids": [product_id]}],
        }
    )
    assert channels.read_request(text, viewed.market).wants  # the control
    at = text.rindex(f'"{twice}"')
    with pytest.raises(BadRequest, match=f"'{twice}' twice; give each name once"):
        channels.read_request(f'{text[:at]}"{twice}": null, {text[at:]}', viewed.market)
