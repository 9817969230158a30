"""A client that subscribes to every feed has one book: L3 by ITCH and by WebSocket, L2, L1 and FIX tell the same behind
every command.

The same blocks go to ITCH, to the market of the web and to the market data of FIX. Their clients' books are compared
with each other, not with the engine: other tests do that for each.
"""

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from client.book import Books, LevelBook
from client.events import Side
from engine import Engine
from marketdata.web import channels
from tests.fix_book import FixBook
from tests.report_streams import Block
from tests.test_fix_data import CAPACITY, Subscriber, Venue
from tests.test_itch_feed import Market
from tests.test_ladders import CASES, stream
from tests.test_web_market import Viewed
from tests.web_book import FullBook
from wire import itch
from wire.itch_layout import PRICE_E4_MAX

LEVELS = 5
#: Price and quantity of the best levels of a side, the best first.
Levels = list[tuple[Decimal, int]]
WORDS = {Side.BUY: "buy", Side.SELL: "sell"}
SIDES = ((Side.BUY, "best_bid", b"0"), (Side.SELL, "best_ask", b"1"))


class Client:
    """A subscriber to all feeds of one market. ``loses`` says of each ITCH message whether it gets lost on its way."""

    def __init__(self, loses: Callable[[bytes], bool] = lambda _: False) -> None:
        self.engine, self.itch, self.web, self.fix = Engine(CAPACITY), Market(CAPACITY), Viewed(), Venue()
        self.loses, self.day, self.at, self.l3 = loses, -1, 0, Books()
        self.l2: dict[str, LevelBook] = {}
        self.by_fix: dict[str, FixBook] = {}
        self.full: dict[str, FullBook] = {}
        self.subscriber = Subscriber(self.fix.subscribers)
        self.subscriber.log_on()

    def take(self, first_seq: int, commands: Any) -> None:
        events = self.engine.apply(commands)
        self.itch.take(Block(first_seq, commands, events))
        self.web.market.observe(first_seq, commands, events)
        for changes in self.fix.market.follow(first_seq, commands, events):
            self.fix.subscribers.tell(changes, time.time_ns())
        self._follow_itch()
        for product in self.web.market.products.values():
            for message in self.web.full.pop(product.id, []):
                self.full.setdefault(product.id, FullBook()).take(message)
            if product.id not in self.l2:
                self.l2[product.id] = LevelBook(product.id)
                channels.l2update(self.web.market, product)  # what came before the snapshot
                self.l2[product.id].take(channels.snapshot(self.web.market, product))
            elif (update := channels.l2update(self.web.market, product)) is not None:
                self.l2[product.id].take(update)
        for symbol in self.fix.symbols():
            if symbol not in self.by_fix:
                self.by_fix[symbol] = FixBook()
                self.subscriber.request(symbol, [symbol], depth=0)
        for message in self.subscriber.got():
            self.by_fix[message.fields[b"262"].decode()].take(message)

    def _follow_itch(self) -> None:
        for day, session in sorted(self.itch.sink.sessions.items()):
            if day > self.day:
                self.day, self.at, self.l3 = day, 0, Books()
            if day == self.day:
                for behind, message in itch.cut(session, self.at):
                    self.at = behind
                    if not self.loses(message):
                        self.l3.take(message)

    def differences(self) -> Iterator[str]:
        for product in self.web.market.products.values():
            symbol = self.fix.market.instruments[product.number].symbol
            ticker = channels.ticker(self.web.market, product)
            for side, best, kind in SIDES:
                full: Levels = [(level.price, level.qty) for level in self.l3.book(symbol).levels(side)]
                level2: Levels = [(price, int(size)) for price, size in self.l2[product.id].levels(side)]
                fix: Levels = [
                    (Decimal(price.decode()), qty)
                    for (of, price), (qty, _) in self.by_fix[symbol].levels.items()
                    if of == kind
                ]
                fix.sort(reverse=side is Side.BUY)
                orders = self.full[product.id].levels() if product.id in self.full else {}
                by_orders: Levels = [(Decimal(price), qty) for (of, price), qty in orders.items() if of == WORDS[side]]
                by_orders.sort(reverse=side is Side.BUY)
                told = [level for level in level2 if level[0] * 10_000 <= PRICE_E4_MAX]
                if full[:LEVELS] != told[:LEVELS]:
                    yield f"{symbol} {side.name}: L3 has {full[:LEVELS]}, L2 {told[:LEVELS]}"
                if by_orders != level2:
                    yield f"{symbol} {side.name}: channel full has {by_orders[:LEVELS]}, L2 {level2[:LEVELS]}"
                if fix[:LEVELS] != level2[:LEVELS]:
                    yield f"{symbol} {side.name}: FIX has {fix[:LEVELS]}, L2 {level2[:LEVELS]}"
                if (ticker[best] and Decimal(ticker[best])) != (level2[0][0] if level2 else None):
                    yield f"{symbol} {side.name}: L1 has {ticker[best]}, L2 {level2[:1]}"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_every_feed_has_the_same_book_behind_every_command(kind: str, seed: int) -> None:
    client, rows = Client(), stream(kind, seed, 400)
    deepest = 0
    for at in range(len(rows)):
        client.take(at + 1, rows[at : at + 1])
        assert not list(client.differences()), f"behind command {at + 1}"
        deepest = max([deepest, *(len(book.levels(side)) for book in client.l2.values() for side in Side)])
    assert deepest > 2


@pytest.mark.parametrize("kind", "AD")
def test_a_feed_that_loses_one_message_is_found_out_of_step(kind: str) -> None:
    lost: list[bytes] = []

    def loses(message: bytes) -> bool:
        if lost or message[:1] != kind.encode():
            return False
        lost.append(message)
        return True

    client, rows = Client(loses), stream("users", 0, 400)
    for at in range(len(rows)):
        client.take(at + 1, rows[at : at + 1])
        if lost:
            assert "L3 has" in next(client.differences())
            return
    pytest.fail(f"no message {kind} came")
