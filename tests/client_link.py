"""A client's heart and the small exchange, joined without a socket, for tests."""

from typing import Any

from client import (
    Event,
    NewOrder,
    Order,
    OrderEntry,
    Phase,
    Side,
    Tokens,
    messages,
)
from client.orders import Request
from tests.fake_exchange import PASSWORD, USER, Market, Peer

NOW_NS = 1_000_000_000
Entry = OrderEntry[Order]


class Link:
    """A client's heart and a market, and the connections between them, which hold until a fault breaks them."""

    def __init__(self, market: Market, core: Entry | None = None, **options: Any) -> None:
        self.market = market
        self.core = core or Entry(USER, PASSWORD, Order, tokens=Tokens(USER, 1), **options)
        self.events: list[Event] = []
        self.settled: list[Request] = []
        self.connections = 0

    def connect(self) -> "Link":
        self.peer = Peer(self.market)
        self.connections += 1
        self.core.connected(NOW_NS)
        return self.run()

    def run(self) -> "Link":
        """Until nothing moves any more; a connection that broke is then gone for the client too."""
        while True:
            sent = self.core.take()
            if sent and not self.peer.closed:
                self.peer.receive(sent)
            came = bytes(self.peer.out)
            self.peer.out.clear()
            self.events += self.core.receive(came, NOW_NS)
            if not came and not sent:
                break
        if self.peer.closed or self.core.over:
            self.peer.close()
            self.events += self.core.lost()
        self.settled += self.core.day.requests.take_settled()
        return self

    def finish(self) -> "Link":
        """Connect until every request has its outcome."""
        while self.core.phase is not Phase.LIVE or len(self.core.day.requests):
            assert self.connections < 200, "the requests are not settled"
            self.connect()
        return self

    def enter(self, side: Side = Side.BUY, qty: int = 100, price: str = "10.00") -> tuple[Order, Request]:
        asked = self.core.enter(NewOrder("XYZ", side, qty, price))
        self.run()
        return asked

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def bob(market: Market, side: Side, qty: int, price: str) -> None:
    """Another user's order."""
    token = f"b{len(market.log)}"
    market.take("BOB", messages.enter(NewOrder("XYZ", side, qty, price), token))
    market.flush()
