"""Subscribers of channels: what each gets, when, and its end where it does not read.

Channels full and matches are sent message by message, heartbeats while the market is seen to go on. Level2, ticker and
auctionfeed go out ten times a second, one message for all that changed meanwhile, made once for all subscribers; status
as soon as a phase differs. A subscriber may ask for a longer interval of level2 and ticker.
One that reads slowly is conflated: it gets no updates of a product, and once it has read almost all that waits, the
whole book anew. One that still does not read, or has too much waiting, is ended with the reason.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from marketdata.web import channels
from marketdata.web.answers import BadRequest
from marketdata.web.market import WebMarket
from marketdata.web.product import Call, Message, Product

#: Interval of level2 and ticker, of heartbeats, of channel market, and of status, in seconds.
TICK_S: Final = 0.1
HEARTBEAT_S: Final = 1.0
LIFE_S: Final = 0.5
STATUS_S: Final = 5.0
#: Bytes that wait for a subscriber from which on it is conflated, and from which on it is ended.
CONFLATED_BYTES: Final = 256 << 10
#: Bytes that may wait for a subscriber when it gets the whole book: other channels of it never rest.
ALMOST_READ_BYTES: Final = 32 << 10
WAITING_BYTES_MAX: Final = 8 << 20
#: Time without a message read while some wait, after which a subscriber is ended, in seconds.
SLOW_S: Final = 30.0
#: Subscribers at once, and pairs of channel and product that one has.
SUBSCRIBERS_MAX: Final = 4_096
SUBSCRIPTIONS_MAX: Final = 1_024
SLOW: Final = "slow consumer: you read less than you subscribed to"


USER: Final = "user"


def _no_users(_signed: dict[str, str]) -> str:
    raise BadRequest("there are no users here; the operator gives --keys")


def _key(subscriber: "Subscriber", channel: str, product_id: str) -> tuple[str, str]:
    """Key of a channel and product; channel user is each user's own."""
    return (f"{USER} {subscriber.user}" if channel == USER else channel), product_id


def encoded(message: Mapping[str, Any]) -> str:
    """A message as JSON text."""
    return json.dumps(message, separators=(",", ":"))


class Subscriber:
    """A connection. ``held``: products by channel. ``end``: why it is ended; empty while it goes on.

    ``paces``: ticks between two updates by channel and product, where there is more than one. ``wholes``: sequence
    number of the last whole book of such a product.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
        self.held: dict[str, set[str]] = {}
        self.paces: dict[tuple[str, str], int] = {}
        self.wholes: dict[str, int] = {}
        self.behind: set[str] = set()  # products whose whole book it gets next
        self.waiting: deque[str] = deque()
        self.waiting_bytes = 0
        self.wakes = asyncio.Event()
        self.read_s = 0.0  # when it last took something, or something came while nothing waited
        self.end = ""
        self.user = ""  # whose signature it has sent

    def put(self, text: str) -> None:
        """Have a message sent; nothing more where it has too much waiting, and is to be ended."""
        if self.end:
            return
        if not self.waiting:  # a market may be quiet for long: who has read all is not slow
            self.read_s = asyncio.get_running_loop().time()
        self.waiting.append(text)
        self.waiting_bytes += len(text)
        if self.waiting_bytes > WAITING_BYTES_MAX:
            self.end = SLOW
        self.wakes.set()

    async def next(self, now_s: Any) -> str | None:
        """The next message to send; None at the end. now_s: monotonic clock, a function."""
        while not self.waiting and not self.end:
            self.read_s = now_s()
            self.wakes.clear()
            await self.wakes.wait()
        self.read_s = now_s()
        if self.end:
            return None
        text = self.waiting.popleft()
        self.waiting_bytes -= len(text)
        return text


class Hub:
    """All subscribers of a market. ``market`` is set once it is there."""

    def __init__(self) -> None:
        self.market: WebMarket | None = None
        self._members: set[Subscriber] = set()
        self._by: dict[tuple[str, str], set[Subscriber]] = {}
        self._traded: set[str] = set()
        #: Levels, and a ticker, owed to those who wait longer than a tick, by product and number of ticks.
        self._levels: dict[str, dict[int, dict[tuple[int, int], int]]] = {}
        self._tickers: dict[str, set[int]] = {}
        self._calls: dict[str, Call | None] = {}  # as they were told last
        self._phases: list[tuple[str, int, int]] = []
        self._was_stale = False  # as it was told last
        self._ticks = 0
        self._told: dict[tuple[str, str], int] = {}  # number of the last message by user and product
        self.conflated = self.slow = 0
        self._ended: list[tuple[str, str]] = []
        self.is_serving = False
        #: The user of a signed request to subscribe, a function. Raises BadRequest.
        self.user_of: Callable[[dict[str, str]], str] = _no_users

    def __len__(self) -> int:
        return len(self._members)

    @property
    def has_subscriptions(self) -> bool:
        """True where somebody gets something."""
        return bool(self._by)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait for the one who has the most waiting, of those that go on."""
        return max((each.waiting_bytes for each in self._members if not each.end), default=0)

    @property
    def owes_books(self) -> bool:
        """True where somebody who goes on has read too little so far to be sent the whole book of a product, or waits
        for the end of the interval that it asked for."""
        if self._tickers or any(levels for paced in self._levels.values() for levels in paced.values()):
            return True
        known = self.market.by_id if self.market is not None else {}
        return any(product_id in known for each in self._members if not each.end for product_id in each.behind)

    # Subscribers.

    def join(self, address: str = "") -> Subscriber | None:
        """Take a new subscriber; None where there are too many."""
        if len(self._members) >= SUBSCRIBERS_MAX:
            return None
        made = Subscriber(address)
        made.read_s = asyncio.get_running_loop().time()
        self._members.add(made)
        return made

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        if subscriber in self._members and subscriber.end == SLOW:
            self.slow += 1
            self._ended.append((subscriber.address, subscriber.end))
        self._members.discard(subscriber)
        for name, ids in subscriber.held.items():
            for product_id in ids:
                self._discard(subscriber, name, product_id)

    def ask(self, subscriber: Subscriber, text: "str | bytes") -> None:
        """Follow a request, and answer it."""
        assert self.market is not None
        try:
            asked = channels.read_request(text, self.market)
            new = {(channel, one) for _, channel, ids in asked.wants for one in ids or ("",)}
            count = sum(len(ids) for ids in subscriber.held.values())
            if asked.subscribes and count + len(new) > SUBSCRIPTIONS_MAX:
                raise BadRequest(f"more than {SUBSCRIPTIONS_MAX:,} pairs of channel and product; leave some out")
            if asked.subscribes and any(channel == USER for channel, _ in new):
                user = self.user_of(asked.signed)
                if subscriber.user not in ("", user):
                    raise BadRequest("this connection is another user's; connect again for this one")
                subscriber.user = user
        except BadRequest as refused:
            subscriber.put(encoded(channels.error(str(refused))))
            return
        for channel, product_id in sorted(new):
            if asked.subscribes:
                interval_ms = asked.intervals_ms.get((channel, product_id), channels.INTERVAL_MS)
                self._add(subscriber, channel, product_id, interval_ms // channels.INTERVAL_MS)
            else:
                self._remove(subscriber, channel, product_id)
        told = {name: ids - {""} for name, ids in subscriber.held.items() if ids}
        subscriber.put(encoded(channels.subscriptions(told)))
        if asked.subscribes:
            self._begin(subscriber, self.market, new)

    @staticmethod
    def _begin(subscriber: Subscriber, market: WebMarket, new: "set[tuple[str, str]]") -> None:
        """Tell a subscriber the state of what it has subscribed to, where only changes would follow."""
        if ("status", "") in new:
            subscriber.put(encoded(channels.status(market)))
        if ("market", "") in new:
            subscriber.put(encoded(channels.market_life(market)))
        for channel, product_id in sorted(new):
            product = market.by_id.get(product_id)
            if product is None:
                continue
            if channel == "ticker":
                subscriber.put(encoded(channels.ticker(market, product)))
            if channel == "matches" and product.trades:
                subscriber.put(encoded(channels.last_match(product)))
            call = channels.auction(market, product) if channel == "auctionfeed" else None
            if call is not None:
                subscriber.put(encoded(call))

    def _add(self, subscriber: Subscriber, channel: str, product_id: str, pace: int) -> None:
        held = subscriber.held.setdefault(channel, set())
        if product_id in held and pace == subscriber.paces.get((channel, product_id), 1):
            return
        held.add(product_id)
        subscriber.paces.pop((channel, product_id), None)
        if pace > 1:
            subscriber.paces[channel, product_id] = pace
        self._by.setdefault(_key(subscriber, channel, product_id), set()).add(subscriber)
        if channel == "level2":
            subscriber.behind.add(product_id)

    def _remove(self, subscriber: Subscriber, channel: str, product_id: str) -> None:
        for one in [product_id] if product_id else list(subscriber.held.get(channel, ())):
            subscriber.held.get(channel, set()).discard(one)
            subscriber.paces.pop((channel, one), None)
            self._discard(subscriber, channel, one)
            if channel == "level2":
                subscriber.behind.discard(one)

    def _discard(self, subscriber: Subscriber, channel: str, product_id: str) -> None:
        key = _key(subscriber, channel, product_id)
        members = self._by.get(key, set())
        members.discard(subscriber)
        if not members:
            self._by.pop(key, None)

    def take_ended(self) -> list[tuple[str, str]]:
        """Addresses of the subscribers that were ended since the last call, since they read too little, and why."""
        ended, self._ended = self._ended, []
        return ended

    # What they get.

    def on_told(self, user: str, messages: list[Message]) -> None:
        """Send what happened to orders of a user. Its numbers are those of the product's last messages, and where that
        would give one twice the next: clients leave out a message about an order whose number is not above the last."""
        for message in messages:
            to = self._by.get((f"{USER} {user}", message["product_id"]))
            product = self.market.by_id.get(message["product_id"]) if to and self.market is not None else None
            if to and product is not None:
                sequence = max(product.sequence, self._told.get((user, product.id), 0) + 1)
                self._told[user, product.id] = sequence
                self._send(to, encoded({**message, "sequence": sequence}))

    def on_messages(self, product: Product, full: list[Message], matches: list[Message]) -> None:
        """Send what a report told."""
        if not self.is_serving:
            return
        if matches:
            self._traded.add(product.id)
        self._send_each("full", product, full)
        self._send_each("matches", product, matches)

    def _send_each(self, channel: str, product: Product, messages: list[Message]) -> None:
        to = self._by.get((channel, product.id))
        if to:
            for message in messages:
                self._send(to, encoded(message))

    @staticmethod
    def _send(to: Iterable[Subscriber], text: str) -> None:
        for each in to:
            each.put(text)

    def tick(self) -> None:
        """Send level2, ticker and calls, heartbeats and status in their time, and end who does not read.

        A stale market has no heartbeat: who waits for one would be told of a life that nobody has seen.
        """
        market = self.market
        assert market is not None
        self._ticks += 1
        is_stale, differs = market.is_stale, market.is_stale != self._was_stale
        self._was_stale = is_stale
        if self._by.get(("market", "")) and (differs or self._ticks % round(LIFE_S / TICK_S) == 0):
            self._send(self._by["market", ""], encoded(channels.market_life(market)))
        for product in market.products.values():
            self._send_ticker(market, product)
            to = self._by.get(("heartbeat", product.id))
            if to and not is_stale and self._ticks % round(HEARTBEAT_S / TICK_S) == 0:
                self._send(to, encoded(channels.heartbeat(market, product)))
            self._send_levels(market, product)
            self._send_call(market, product)
        self._traded.clear()
        phases = [(each.id, each.phase, each.halt_reason) for each in market.products.values()]
        is_due = self._ticks % round(STATUS_S / TICK_S) == 0 or phases != self._phases or differs
        self._phases = phases
        if is_due and self._by.get(("status", "")):
            self._send(self._by["status", ""], encoded(channels.status(market)))
        now_s = asyncio.get_running_loop().time()
        for each in self._members:
            if each.waiting and now_s - each.read_s > SLOW_S and not each.end:
                each.end = SLOW
                each.wakes.set()

    def _send_call(self, market: WebMarket, product: Product) -> None:
        """Send what the uncross of a call would give, where it differs from what was told."""
        if self._calls.get(product.id) == product.call:
            return
        self._calls[product.id] = product.call
        to = self._by.get(("auctionfeed", product.id))
        told = channels.auction(market, product) if to else None
        if to and told is not None:
            self._send(to, encoded(told))

    def _send_ticker(self, market: WebMarket, product: Product) -> None:
        to = self._by.get(("ticker", product.id), set())
        paces = {each.paces.get(("ticker", product.id), 1) for each in to}
        waiting = self._tickers.pop(product.id, set())
        owed = paces if product.id in self._traded else paces & waiting
        due = {pace for pace in owed if self._ticks % pace == 0}
        if owed - due:
            self._tickers[product.id] = owed - due
        if due:
            text = encoded(channels.ticker(market, product))
            self._send((each for each in to if each.paces.get(("ticker", product.id), 1) in due), text)

    def _send_levels(self, market: WebMarket, product: Product) -> None:
        to = self._by.get(("level2", product.id), set())
        paced = {pace for each in to if (pace := each.paces.get(("level2", product.id), 1)) > 1}
        texts = {}
        before = self._levels.pop(product.id, {})
        if paced:  # what is owed to nobody is forgotten
            self._levels[product.id] = {pace: before.get(pace, {}) | product.levels for pace in paced}
        for pace, waiting in self._levels.get(product.id, {}).items():
            if self._ticks % pace == 0 and (update := channels.l2update(market, product, waiting)) is not None:
                texts[pace] = encoded(update)
        if (update := channels.l2update(market, product)) is not None and to:
            texts[1] = encoded(update)
        whole = ""
        for each in to:
            pace = each.paces.get(("level2", product.id), 1)
            if product.id in each.behind:
                if each.waiting_bytes <= ALMOST_READ_BYTES:
                    whole = whole or encoded(channels.snapshot(market, product))
                    each.behind.discard(product.id)
                    each.wholes[product.id] = product.sequence
                    each.put(whole)
            elif each.waiting_bytes > CONFLATED_BYTES:
                each.behind.add(product.id)
                self.conflated += 1
            elif pace in texts and (pace == 1 or each.wholes.get(product.id, -1) < product.sequence):
                each.put(texts[pace])  # not where a whole book has told all of it

    def end_all(self, reason: str) -> None:
        """End all subscribers with a reason."""
        for each in self._members:
            each.end = each.end or reason
            each.wakes.set()
