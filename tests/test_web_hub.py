"""Subscribers who do not read are conflated, get the whole book anew, and are ended with the reason."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("starlette", reason="pip install 'lockstep[web]'")

from client.book import LevelBook
from client.events import Side
from marketdata.web.channels import INTERVAL_MS
from marketdata.web.market import STALE_S, WebMarket
from marketdata.web.product import Product
from node.web.app import RateLimit
from node.web.hub import (
    CONFLATED_BYTES,
    LIFE_S,
    SLOW,
    SLOW_S,
    SUBSCRIPTIONS_MAX,
    TICK_S,
    WAITING_BYTES_MAX,
    Hub,
    Subscriber,
)
from tests.test_ladders import stream
from tests.test_web_market import CAPACITY, Viewed


def hub_of(viewed: Viewed) -> tuple[Hub, Product]:
    """A hub of a market with a book, and its product with most orders."""
    hub = Hub()
    viewed.market = hub.market = WebMarket(CAPACITY, hub.on_messages)
    viewed.take(stream("users", 1, 400))
    hub.is_serving = True
    return hub, max(viewed.market.products.values(), key=lambda each: len(each.orders))


def asked(hub: Hub, product: Product, *channels: str | dict[str, Any]) -> Subscriber:
    subscriber = hub.join()
    assert subscriber is not None
    request = {"type": "subscribe", "product_ids": [product.id], "channels": list(channels)}
    hub.ask(subscriber, json.dumps(request))
    return subscriber


async def read(subscriber: Subscriber) -> list[dict[str, Any]]:
    """Read all that waits."""
    found = []
    while subscriber.waiting:
        text = await subscriber.next(asyncio.get_running_loop().time)
        assert text is not None
        found.append(json.loads(text))
    return found


def run(check: Callable[[Viewed, Hub, Product], Any]) -> None:
    async def checked() -> None:
        viewed = Viewed()
        await check(viewed, *hub_of(viewed))

    asyncio.run(checked())


def test_who_reads_slowly_gets_no_updates_and_then_the_whole_book() -> None:
    async def check(viewed: Viewed, hub: Hub, product: Product) -> None:
        slow, quick = asked(hub, product, "level2"), asked(hub, product, "level2")
        hub.tick()
        for each in (slow, quick):
            assert [message["type"] for message in await read(each)] == ["subscriptions", "snapshot"]
        slow.put("x" * (CONFLATED_BYTES + 1))
        product.levels[1, 10_000] = 5
        hub.tick()
        # Control: who reads gets the update.
        assert [message["type"] for message in await read(quick)] == ["l2update"]
        assert len(slow.waiting) == 1
        assert hub.conflated == 1
        slow.waiting.clear()
        slow.waiting_bytes = 0
        hub.tick()
        (whole,) = await read(slow)
        assert whole["type"] == "snapshot"
        assert whole["sequence"] == product.sequence
        assert not quick.waiting
        assert viewed.seq

    run(check)


@pytest.mark.slow
def test_a_subscriber_of_a_longer_interval_has_the_same_book_whenever_it_is_told() -> None:
    """Behind every command, of every interval; whoever joins later too. None is told more often than it asked for."""
    paces = (1, 3, 7)

    async def check(viewed: Viewed, hub: Hub, product: Product) -> None:
        rows, paced = stream("users", 1, 900)[400:], {pace: list[Subscriber]() for pace in paces}
        books, told = dict[Subscriber, LevelBook](), dict[Subscriber, int]()

        def join(pace: int) -> None:
            of = {"interval_ms": pace * INTERVAL_MS} if pace > 1 else {}
            paced[pace].append(asked(hub, product, {"name": "level2", **of}))
            books[paced[pace][-1]], told[paced[pace][-1]] = LevelBook(product.id), 0

        for at in range(len(rows)):
            if at % 50 == 0:
                for pace in paces:
                    join(pace)
            viewed.take(rows[at : at + 1])
            hub.tick()
            (first, *_) = paced[1]
            for pace, subscribers in paced.items():
                for each in subscribers:
                    found = [one for one in await read(each) if one["type"] != "subscriptions"]
                    for one in found:
                        books[each].take(one)
                    told[each] += len(found)
                    if pace == 1:
                        first_levels = [books[first].levels(side) for side in Side]
                    # Each message is of now, and so is the book then; of those that are due all have the same.
                    if found or hub._ticks % pace == 0:
                        assert [books[each].levels(side) for side in Side] == first_levels, f"behind command {at + 1}"
        ends = [told[paced[pace][0]] for pace in paces]
        assert ends[0] > ends[1] > ends[2] > 10
        assert ends[2] <= len(rows) / 7 + 2
        # Nothing is kept for an interval that nobody has any more.
        for each in paced[3] + paced[7]:
            hub.leave(each)
        hub.tick()
        assert not hub.owes_books
        assert not hub._levels

    run(check)


def test_a_longer_interval_is_asked_for_in_a_request_or_one_of_its_channels() -> None:
    async def check(_viewed: Viewed, hub: Hub, product: Product) -> None:
        paced, plain = asked(hub, product, {"name": "ticker", "interval_ms": 300}), asked(hub, product, "ticker")
        both = (paced, plain)
        counts = []
        for _ in range(6):
            hub._traded.add(product.id)
            hub.tick()
            counts.append([len(await read(each)) for each in both])
        assert [sum(each) for each in zip(*counts, strict=True)] == [2 + 2, 2 + 6]
        # What it is owed comes in its time though nothing happens any more; then nothing.
        hub._traded.add(product.id)
        hub.tick()
        hub.tick()
        assert [len(await read(each)) for each in both] == [0, 1]
        assert hub.owes_books
        hub.tick()
        assert [len(await read(each)) for each in both] == [1, 0]
        assert not hub.owes_books
        hub.ask(paced, json.dumps({"type": "subscribe", "product_ids": [product.id], "channels": ["ticker"]}))
        await read(paced)
        for _ in range(2):
            hub._traded.add(product.id)
            hub.tick()
        assert [len(await read(each)) for each in both] == [2, 2], "as it was asked last"

    run(check)


def test_a_ticker_that_was_owed_when_another_trade_came_is_sent_once() -> None:
    async def check(_viewed: Viewed, hub: Hub, product: Product) -> None:
        paced = asked(hub, product, {"name": "ticker", "interval_ms": 300})
        for _ in range(6):  # a trade in each tick: owed in some, sent in others
            hub._traded.add(product.id)
            hub.tick()
        while hub._ticks % 3:
            hub.tick()
        hub.tick()
        await read(paced)
        for _ in range(6):
            hub.tick()
        assert not await read(paced), "nothing was traded"
        assert not hub.owes_books

    run(check)


@pytest.mark.parametrize("interval", [0, 50, 150, 10_100, -100, "100", True, None, 100.0])
def test_an_interval_that_is_not_served_is_refused_with_a_sentence(interval: Any) -> None:
    async def check(_viewed: Viewed, hub: Hub, product: Product) -> None:
        subscriber = asked(hub, product, {"name": "level2", "interval_ms": interval})
        (refused,) = await read(subscriber)
        assert refused["type"] == "error"
        assert "give a multiple of 100, 10,000 at most" in refused["reason"]

    run(check)


def test_who_has_too_much_waiting_or_reads_nothing_is_ended_with_the_reason() -> None:
    async def check(_viewed: Viewed, hub: Hub, product: Product) -> None:
        full, silent, good = (asked(hub, product, "full") for _ in range(3))
        full.put("x" * WAITING_BYTES_MAX)
        assert full.end == SLOW
        assert await full.next(asyncio.get_running_loop().time) is None
        await read(good)
        silent.read_s -= SLOW_S + 1.0
        good.read_s -= SLOW_S + 1.0  # nothing waits for it, so it is not slow
        hub.tick()
        assert silent.end == SLOW
        assert good.end == ""
        hub.leave(silent)
        hub.leave(full)
        assert len(hub) == 1
        # Both were slow: too much that waits counts as nothing read does. Control: one that leaves by itself does not.
        assert hub.slow == 2
        hub.leave(good)
        assert hub.slow == 2
        # Nothing is kept of channels without a subscriber.
        assert not hub._by

    run(check)


def test_who_has_read_all_of_a_quiet_market_is_not_slow_at_its_next_message() -> None:
    async def check(_viewed: Viewed, hub: Hub, product: Product) -> None:
        good, silent = asked(hub, product, "level2"), asked(hub, product, "level2")
        hub.tick()
        for each in (good, silent):
            await read(each)
        silent.put("unread")
        for each in (good, silent):  # longer than it may be silent
            each.read_s -= SLOW_S + 1.0
        product.levels[1, 10_000] = 5
        hub.tick()
        assert good.end == ""
        assert [message["type"] for message in await read(good)] == ["l2update"]
        # Control: for whom something waited all the time is ended.
        assert silent.end == SLOW

    run(check)


def test_a_subscriber_has_a_bounded_number_of_subscriptions() -> None:
    async def check(_viewed: Viewed, hub: Hub, product: Product) -> None:
        subscriber = asked(hub, product, "full")
        subscriber.held["full"] = {str(n) for n in range(SUBSCRIPTIONS_MAX)}
        await read(subscriber)
        request = {"type": "subscribe", "product_ids": [product.id], "channels": ["level2"]}
        hub.ask(subscriber, json.dumps(request))
        (answer,) = await read(subscriber)
        assert "more than 1,024 pairs" in answer["reason"]

    run(check)


def test_rates_are_of_each_address_and_fill_again() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    limit = RateLimit(app, 2)
    assert [limit.allows("a", 0.0) for _ in range(5)] == [True] * 4 + [False]
    assert limit.allows("b", 0.0)
    assert limit.allows("a", 0.5)
    assert not limit.allows("a", 0.5)
    assert all(RateLimit(app, 0).allows("a", 0.0) for _ in range(1_000))


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ("", "10.0.0.9"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 192.0.2.2", "192.0.2.2"),  # what the client wrote itself counts for nothing
        ("192.0.2.1, 10.0.0.8", "192.0.2.1"),
        ("unknown", "10.0.0.9"),
        ("192.0.2.1, what", "10.0.0.9"),
        ("2001:db8::7:0:0:9", "2001:db8::/64"),
    ],
)
def test_a_proxy_says_for_whom_it_asks_where_the_operator_says_so(said: str, counts: str) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    headers = [(b"x-forwarded-for", said.encode())] if said else []
    trusting = RateLimit(app, 2, frozenset({"10.0.0.9", "10.0.0.8"}))
    assert trusting.address_of({"client": ("10.0.0.9", 1), "headers": headers}) == counts
    assert trusting.address_of({"client": ("192.0.2.77", 1), "headers": headers}) == "192.0.2.77"
    assert RateLimit(app, 2).address_of({"client": ("10.0.0.9", 1), "headers": headers}) == "10.0.0.9"


def test_a_stale_market_has_no_heartbeat_and_is_told_at_once() -> None:
    async def check(viewed: Viewed, hub: Hub, product: Product) -> None:
        market = viewed.market
        program, page = asked(hub, product, "heartbeat", "status"), asked(hub, product, "market")
        assert [each["state"] for each in await read(page) if each["type"] == "market"] == ["live"]

        async def told(seconds: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            for _ in range(round(seconds / TICK_S)):
                hub.tick()
            return await read(program), await read(page)

        def of(kind: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [each for each in messages if each["type"] == kind]

        live, _ = await told(4.0)
        assert len(of("heartbeat", live)) == 4
        assert of("status", live)[0]["products"][0]["status"] == "online"
        market.age_s = STALE_S + 0.5
        hub.tick()
        (first,), (second,) = await read(program), await read(page)
        assert {each["status"] for each in first["products"]} == {"offline"}
        assert (second["state"], second["age"]) == ("stale", 1.75)
        stale, life = await told(4.0)
        assert not of("heartbeat", stale)
        assert {each["state"] for each in life} == {"stale"}
        assert len(life) == 4.0 / LIFE_S
        # Control: it goes on, and all is as before.
        market.age_s = 0.0
        live, life = await told(2.0)
        assert {each["status"] for each in of("status", live)[0]["products"]} == {"online"}
        assert len(of("heartbeat", live)) == 2
        assert life[0]["state"] == "live"

    run(check)


def test_a_hub_owes_a_book_to_whoever_has_read_too_little_to_be_sent_it() -> None:
    async def check(_viewed: Viewed, hub: Hub, product: Product) -> None:
        assert not hub.owes_books
        subscriber = asked(hub, product, "level2")
        subscriber.put("x" * CONFLATED_BYTES)
        hub.tick()
        assert hub.owes_books, "so much waits that the snapshot does not follow yet"
        while subscriber.waiting:
            await subscriber.next(asyncio.get_running_loop().time)
        assert hub.owes_books, "nothing waits, and still it is not told"
        hub.tick()
        assert not hub.owes_books
        assert (await read(subscriber))[-1]["type"] == "snapshot"

    run(check)
