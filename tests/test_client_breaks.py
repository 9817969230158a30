"""No order is lost or doubled and a request ends once, whatever the network does; a faulty client is found."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import (
    Accepted,
    Event,
    Executed,
    NewOrder,
    Order,
    OrderEntry,
    Phase,
    Rejected,
    RequestKind,
    RequestState,
    Side,
    Tokens,
)
from client.orders import Request
from tests.client_link import NOW_NS, Entry, Link, bob
from tests.fake_exchange import PASSWORD, USER, Fault, Market
from tests.parts import SCALE
from wire import ouch
from wire.ouch_codes import ServerMessage


def trade(link: Link, chance: random.Random, requests: int) -> list[Request]:
    """A trader who asks for anything, with a market that moves, over connections that break."""
    link.finish()
    asked: list[Request] = []
    while len(asked) < requests:
        live = link.core.open_orders()
        kind = chance.random()
        qty = 1_000 + len(asked)  # each entry has its own quantity, to be told by at the market
        side = chance.choice([Side.BUY, Side.SELL])
        if kind < 0.5 or not live:
            asked.append(link.core.enter(NewOrder("XYZ", side, qty, f"{10 + chance.randint(-3, 3) / 10:.2f}"))[1])
        elif kind < 0.7:
            asked.append(link.core.cancel(chance.choice(live), chance.choice([0, 0, 500])))
        elif kind < 0.9:
            asked.append(link.core.replace(chance.choice(live), price=f"{10 + chance.randint(-3, 3) / 10:.2f}"))
        else:
            asked.append(link.core.modify(chance.choice(live), Side.SELL, 400))
        if chance.random() < 0.5:
            link.run()
        if chance.random() < 0.3:
            bob(link.market, chance.choice([Side.BUY, Side.SELL]), chance.randint(1, 900), "10.00")
        if link.core.phase is not Phase.LIVE:
            link.finish()
    link.run().finish()
    return asked


def complaints(link: Link, asked: list[Request]) -> Iterator[str]:
    """Faults: an order lost or doubled, an outcome missing or told twice, an order that is not the market's."""
    if Counter(map(id, link.settled)) != Counter(map(id, asked)):
        yield "a request has not exactly one outcome"
    entries = Counter(event.qty for event in link.events if isinstance(event, Accepted) and event.qty >= 1_000)
    placed = Counter(
        int(ouch.read_server(message)[0]["shares"])
        for message in link.market.stream(USER)
        if message[0] == ServerMessage.ACCEPTED
    )
    done = [r for r in asked if r.kind is RequestKind.ENTER and r.state is RequestState.DONE]
    if len(done) != placed.total():
        yield f"{placed.total()} orders were accepted, and {len(done)} are known to be"
    for qty in entries | placed:
        if (placed[qty], entries[qty]) != (1, 1):
            yield f"the order of {qty} was accepted {placed[qty]} times, and reported {entries[qty]} times"
    tokens = [event.token for event in link.events if isinstance(event, Accepted | Rejected)]
    if len(tokens) != len(set(tokens)):
        yield "an order has two outcomes"
    for token, order in link.core.day.orders.items():
        there = link.market.orders.get((USER, ouch.alpha(token, 14)))
        if order.token == token and (order.leaves_qty, order.cum_qty) != (
            (there.open, there.executed) if there else (0, 0)
        ):
            yield f"{order} is {there} at the market"
    told = sum(event.qty for event in link.events if isinstance(event, Executed))
    traded = sum(
        int(ouch.read_server(message)[0]["executed_shares"])
        for message in link.market.stream(USER)
        if message[0] == ServerMessage.EXECUTED
    )
    if told != traded:
        yield f"{traded} shares were traded, and {told} were reported"


def faults_by_chance(chance: random.Random, share: float) -> Iterator[Fault]:
    while True:
        yield chance.choice(list(Fault)[1:]) if chance.random() < share else Fault.NONE


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=100 * SCALE)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.3, 0.6]), st.booleans())
def test_whenever_connections_break_no_order_is_lost_or_doubled_and_each_request_ends_once(
    seed: int, share: float, resend: bool
) -> None:
    chance = random.Random(seed)
    link = Link(Market(faults=faults_by_chance(chance, share)), resend=resend)
    asked = trade(link, chance, 40)
    assert list(complaints(link, asked)) == []
    if resend:
        assert {request.state for request in asked} <= {RequestState.DONE, RequestState.REFUSED}
    assert link.core.day.unasked == 0


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=30 * SCALE)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
def test_a_client_that_forgets_closed_orders_has_the_same_outcomes(seed: int, share: float) -> None:
    links = []
    for keep_closed in (True, False):
        chance = random.Random(seed)
        link = Link(Market(faults=faults_by_chance(chance, share)), keep_closed=keep_closed)
        trade(link, chance, 40)
        links.append(link)
    kept, forgetful = links
    assert forgetful.events == kept.events
    assert [repr(request) for request in forgetful.settled] == [repr(request) for request in kept.settled]
    assert repr(forgetful.core.day.orders) == repr({order.token: order for order in kept.core.open_orders()})


class NewTokens(OrderEntry[Order]):
    """A client as one must not be: after a login it enters what was not answered again, as new orders, at once."""

    def _accepted(self, session: str, next_seq: int) -> Iterator[Event]:
        yield from super()._accepted(session, next_seq)
        for request in self.day.requests:
            if request.payload[:1] == b"O":
                self._again(request.payload[:1] + self._tokens.next().encode().ljust(14) + request.payload[15:])

    def _again(self, payload: bytes) -> None:
        assert self._soup is not None
        self._out.append(self._soup.unsequenced([payload], NOW_NS))


class Hasty(NewTokens):
    """Another: it sends the same bytes again, but does not wait until it has read what had been answered."""

    def _again(self, payload: bytes) -> None:
        same = [request.payload for request in self.day.requests if request.payload[15:] == payload[15:]]
        super()._again(same[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "complaint"), [(NewTokens, "was accepted 2 times"), (Hasty, "an order has two outcomes")]
)
def test_a_client_that_sends_again_otherwise_is_found_out(kind: type[Entry], complaint: str) -> None:
    found: list[str] = []
    for seed in range(30):
        chance = random.Random(seed)
        market = Market(faults=faults_by_chance(chance, 0.3))
        link = Link(market, kind(USER, PASSWORD, Order, tokens=Tokens(USER, 1)))
        found += complaints(link, trade(link, chance, 40))
    assert any(complaint in said for said in found), found
