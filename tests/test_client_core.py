"""The client's heart without a socket: whatever the network does, no order is lost or doubled, a request ends once."""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import (
    Accepted,
    CaughtUp,
    Connected,
    DebugText,
    Disconnected,
    Event,
    EventsLost,
    Executed,
    LoginRefused,
    LostOnTheWay,
    NewOrder,
    NewSession,
    NotConnected,
    Order,
    OrderEntry,
    OrderState,
    OtherMessage,
    Phase,
    Rejected,
    RequestState,
    SessionEnded,
    Side,
    StreamLost,
    TimeInForce,
    Tokens,
    Unanswered,
    messages,
    prices,
)
from client.event_queue import EventQueue
from client.orders import Request
from tests.fake_exchange import DAY, PASSWORD, USER, Fault, Market, Peer, faults_of
from wire import ouch
from wire.ouch_codes import ClientMessage, ServerMessage
from wire.soup import Debug, LoginAccepted, PacketType, packet
from wire.soup_session import HEARTBEAT_NS, SILENCE_NS

NOW_NS = 1_000_000_000
Entry = OrderEntry[Order]


class Link:
    """A client's heart and a market, and the connections between them, which hold until a fault breaks them."""

    def __init__(self, market: Market, core: Entry | None = None, **options: Any) -> None:
        self.market = market
        self.core = core or Entry(USER, PASSWORD, Order, tokens=Tokens(1), **options)
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
        """Connects until every request has its outcome."""
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


# Messages and values


def filled(kind: ServerMessage, chance: random.Random) -> Any:
    rows = ouch.server_rows(kind)
    for name in ouch.FROM_SERVER[kind].names or ():
        dtype = ouch.FROM_SERVER[kind][name]
        if name != "kind" and dtype.kind == "S":
            rows[name] = ouch.alpha(
                "".join(chance.choices("ABCXYZ019", k=chance.randint(1, dtype.itemsize))), dtype.itemsize
            )
        elif name != "kind":
            rows[name] = (
                ord(chance.choice("ABCDELN")) if dtype.itemsize == 1 else chance.randrange(1 << 8 * dtype.itemsize)
            )
    return rows


#: Field of ``wire``'s tables, where an event has another name for it.
NAMES = {
    "order_token": "token",
    "replacement_order_token": "token",
    "previous_order_token": "previous_token",
    "buy_sell": "side",
    "shares": "qty",
    "executed_shares": "qty",
    "decrement_shares": "qty",
    "prevented_shares": "prevented_qty",
    "execution_price_e4": "price_e4",
    "stock": "symbol",
    "order_reference_number": "order_reference",
    "minimum_quantity": "min_qty",
    "cancel_reason": "reason",
    "reject_reason": "reason",
    "event_code": "code",
}


@pytest.mark.parametrize("kind", ServerMessage, ids=lambda kind: kind.name)
def test_a_message_is_read_as_wire_reads_it(kind: ServerMessage) -> None:
    chance = random.Random(kind)
    for _ in range(20):
        row = filled(kind, chance)[0]
        event = messages.read(7, row.tobytes())
        assert (event.seq, event.time_ns) == (7, row["time_ns"])
        if isinstance(event, OtherMessage):
            assert (event.kind, event.payload) == (kind.name.lower(), row.tobytes())
            continue
        for name in set(row.dtype.names) - {"kind", "bbo_weight", "order_state"}:
            said = getattr(event, NAMES.get(name, name), None)
            if said is None:
                assert (kind, name) in {
                    (ServerMessage.AIQ_CANCELED, "cancel_reason"),
                    (ServerMessage.AIQ_CANCELED, "liquidity"),
                }
                continue
            value = row[name]
            expected = value.decode().rstrip() if row.dtype[name].kind == "S" else int(value)
            assert (ord(said) if isinstance(expected, int) and isinstance(said, str) else said) == expected, name
        if isinstance(event, Accepted):
            assert event.live == (row["order_state"] == ord("L"))


def test_requests_are_the_bytes_that_wire_reads() -> None:
    new = NewOrder("XYZ", Side.SELL_SHORT, 300, "10.05", TimeInForce.IMMEDIATE_OR_CANCEL, min_qty=100, firm="ACME")
    row = ouch.read_client(messages.enter(new, "a1"))[0]
    assert row.dtype == ouch.ENTER_ORDER
    expected: dict[str, Any] = {
        "order_token": b"a1", "buy_sell": ord("T"), "shares": 300, "stock": b"XYZ", "price_e4": 100_500,
        "firm": b"ACME", "time_in_force_s": 0, "display": ord("Y"), "capacity": ord("P"), "intermarket_sweep": ord("N"),
        "minimum_quantity": 100, "cross_type": ord("N"), "customer_type": ord("N"),
    }  # fmt: skip
    assert {name: row[name].strip() if row[name].dtype.kind == "S" else row[name] for name in expected} == expected
    link = Link(Market()).connect()
    order, _ = link.enter()
    row = ouch.read_client(messages.replace(order, "b2", 200, 99_900))[0]
    assert [row[name] for name in ("shares", "price_e4", "time_in_force_s", "display")] == [
        200,
        99_900,
        99_998,
        ord("Y"),
    ]
    assert row["replacement_order_token"] == b"b2".ljust(14)
    row = ouch.read_client(messages.cancel("a1", 50))[0]
    assert (row["kind"], row["order_token"], row["shares"]) == (ClientMessage.CANCEL_ORDER, b"a1".ljust(14), 50)
    row = ouch.read_client(messages.modify("a1", Side.SELL_SHORT_EXEMPT, 50))[0]
    assert (row["kind"], row["buy_sell"], row["shares"]) == (ClientMessage.MODIFY_ORDER, ord("E"), 50)


@given(st.integers(1, prices.PRICE_E4_MAX))
@settings(derandomize=True)
def test_a_price_is_the_same_as_text_as_decimal_and_as_a_whole_number(number: int) -> None:
    assert prices.price_e4(prices.shown(number)) == prices.price_e4(prices.decimal(number)) == number
    assert prices.price_e4(Decimal(number) / 10_000) == number


@pytest.mark.parametrize(
    "price", ["", "x", "0", "-1", "10.00001", "200000", "nan", "inf", "1e99", Decimal("sNaN"), True, 0]
)
def test_what_is_no_price_is_refused_with_a_sentence(price: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="the price"):
        prices.price_e4(price)


def test_a_float_is_no_price() -> None:
    with pytest.raises(TypeError, match=r"the price 10.05 is a float; give it as text, '10.05', or as a Decimal"):
        NewOrder("XYZ", Side.BUY, 100, 10.05)  # type: ignore[arg-type]
    assert NewOrder("XYZ", Side.BUY, 100, None).price_e4 == ouch.PRICE_E4_MARKET
    assert prices.PRICE_E4_MARKET == ouch.PRICE_E4_MARKET
    assert prices.PRICE_E4_MAX == ouch.PRICE_E4_MAX


@pytest.mark.parametrize(
    "terms",
    [{"qty": 0}, {"qty": 1_000_000}, {"qty": 1.5}, {"symbol": ""}, {"symbol": "TOOLONGXY"}, {"symbol": "Ü"},
     {"side": 0}, {"time_in_force_s": 100_000}, {"min_qty": -1}, {"firm": "FIVE5"}],
)  # fmt: skip
def test_an_order_that_cannot_be_sent_is_refused_here(terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is no"):
        NewOrder(**{"symbol": "XYZ", "side": Side.BUY, "qty": 100, "price": "1", **terms})


def test_tokens_rise_and_a_restarted_program_does_not_use_them_again() -> None:
    before = Tokens()
    made = [before.next() for _ in range(1000)]
    made += [Tokens().next()]
    assert all(one < other for one, other in pairwise(made))
    assert {len(token) for token in made} == {8}
    assert all(token.isalnum() and token.isascii() for token in made)
    assert before.next_marker().startswith("-")


def test_the_library_loads_neither_numpy_nor_a_compiler() -> None:
    loaded = "import sys, client; print([m for m in ('numpy', 'numba', 'lmdb', 'typer', 'engine') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "[]\n"


# The stream


def busy_stream() -> bytes:
    """What a server sends in a busy day: the answer to a login, then all kinds of messages."""
    market = Market()
    link = Link(market).connect()
    order, _ = link.enter(qty=300)
    bob(market, Side.SELL, 100, "10.00")
    link.core.cancel(order, 250)
    link.run().core.replace(order, 400, "10.10")
    link.run().core.modify(order, Side.BUY, 200)
    link.run().enter(Side.SELL, 10, "11.00")
    link.core.cancel(link.core.open_orders()[-1])
    link.run().core.cancel(order, 900)
    link.run()
    bob(market, Side.SELL, 10, "10.10")
    sequenced = b"".join(packet(PacketType.SEQUENCED, message) for message in market.stream(USER))
    return LoginAccepted(DAY, 1).packet() + sequenced.replace(packet(PacketType.SERVER_HEARTBEAT), b"")


def heard(pieces: list[bytes]) -> tuple[list[Event], dict[str, str], int]:
    core = Entry(USER, PASSWORD, Order, tokens=Tokens(5))
    core.connected(NOW_NS)
    events = [event for piece in pieces for event in core.receive(piece, NOW_NS)]
    return events, {token: repr(order) for token, order in core.day.orders.items()}, core.next_seq


def test_a_stream_is_heard_the_same_whole_byte_by_byte_and_with_bytes_after_it() -> None:
    data = busy_stream()
    whole = heard([data])
    assert len(whole[0]) > 8
    assert heard([data[n : n + 1] for n in range(len(data))]) == whole
    assert heard([data + b"\0\x30S"]) == whole
    ended = heard([data + packet(PacketType.END_OF_SESSION) + b"rest"])
    assert (ended[0], ended[1]) == ([*whole[0], SessionEnded()], whole[1])


def test_an_order_is_what_the_stream_says() -> None:
    market = Market()
    link = Link(market).connect()
    order, request = link.enter(qty=300)
    assert (order.state, order.leaves_qty, request.state) == (OrderState.LIVE, 300, RequestState.DONE)
    bob(market, Side.SELL, 100, "9.90")
    link.run()
    assert (order.leaves_qty, order.cum_qty, order.average_price) == (200, 100, Decimal("10.00"))
    first = order.token
    link.core.replace(order, 350, "10.10")
    link.run()
    assert (order.price, order.qty, order.leaves_qty, order.cum_qty) == (Decimal("10.10"), 350, 250, 100)
    assert link.core.find(first) is link.core.find(order.token) is order
    assert link.core.open_orders() == [order]
    link.core.cancel(order, 200)
    link.run()
    assert (order.qty, order.leaves_qty, order.state) == (200, 100, OrderState.LIVE)
    bob(market, Side.SELL, 100, "10.10")
    link.run()
    assert (order.state, order.cum_qty, order.average_price) == (OrderState.FILLED, 200, Decimal("10.05"))
    late = link.core.cancel(order)
    link.run()
    assert late.state is RequestState.REFUSED
    assert link.core.open_orders() == []
    with pytest.raises(ValueError, match="there is no order 'nobody' today"):
        link.core.find("nobody")


def test_a_program_that_starts_later_finds_the_orders_of_the_day() -> None:
    market = Market()
    before = Link(market).connect()
    order, _ = before.enter()
    after = Link(market, Entry(USER, PASSWORD, Order, tokens=Tokens(9_999))).connect()
    assert repr(after.core.open_orders()) == repr([order])
    assert after.kinds() == ["Connected", "SystemEvent", "Accepted", "CaughtUp"]
    after.core.cancel(after.core.open_orders()[0])
    assert after.run().core.open_orders() == []
    blind = Link(market, Entry(USER, PASSWORD, Order, next_seq=0)).connect()
    assert (blind.kinds(), blind.core.day.orders) == (["Connected", "CaughtUp"], {})


def test_cancels_of_one_order_get_their_own_answers() -> None:
    market = Market()
    link = Link(market).connect()
    order, _ = link.enter(qty=300)
    asked = [link.core.cancel(order, qty) for qty in (200, 900, 100, 0, 0)]
    asked.append(link.core.replace(order, 500))
    link.run()
    done, refused = RequestState.DONE, RequestState.REFUSED
    assert [request.state for request in asked] == [done, refused, done, done, refused, refused]
    assert order.state is OrderState.CANCELED


# The connection


def test_nothing_can_be_asked_before_the_stream_has_caught_up() -> None:
    link = Link(Market())
    with pytest.raises(
        NotConnected, match="nothing was sent: the connection to the exchange is not there; wait for it"
    ):
        link.enter()
    link.core.connected(NOW_NS)
    link.core.receive(LoginAccepted(DAY, 1).packet(), NOW_NS)
    with pytest.raises(NotConnected, match="is catching up"):
        link.enter()
    assert len(link.core.day.requests) == 0
    assert link.core.day.orders == {}


def test_a_token_is_used_once_a_day() -> None:
    link = Link(Market()).connect()
    link.core.enter(NewOrder("XYZ", Side.BUY, 100, "10"), "mine")
    for again in ("mine", "", "fifteen-letters", " a", "ü"):
        with pytest.raises(ValueError, match="the token"):
            link.core.enter(NewOrder("XYZ", Side.BUY, 100, "10"), again)
    other = Link(Market(), Entry(USER, PASSWORD, Order, tokens=Tokens(1))).connect()
    other.core.enter(NewOrder("XYZ", Side.BUY, 100, "10"), "00000003")
    tokens = [other.enter()[0].token for _ in range(2)]
    assert tokens == ["00000002", "00000004"]


@pytest.mark.parametrize("letter", "BAM")
@pytest.mark.parametrize("resend", [True, False])
def test_a_broken_connection_leaves_the_outcome_unknown_until_the_stream_has_caught_up(
    letter: str, resend: bool
) -> None:
    market = Market(faults=faults_of(f"N{letter}"))
    link = Link(market, resend=resend).connect()
    order, request = link.enter()
    assert (request.state, order.state) == (RequestState.UNKNOWN, OrderState.PENDING)
    assert link.events[-1] == Unanswered(request.number, "enter", order.token, final=False)
    link.connect()
    lost = letter == "B" and not resend
    assert request.state is (RequestState.NOT_RECEIVED if lost else RequestState.DONE)
    assert order.state is (OrderState.NOT_RECEIVED if lost else OrderState.LIVE)
    assert link.kinds().count("Accepted") == (not lost)
    assert link.kinds().count("LostOnTheWay") == lost
    assert len(market.orders) == (not lost)
    assert request.sends == (2 if letter == "B" and resend else 1)


def test_a_request_that_is_not_to_be_sent_again_is_not() -> None:
    link = Link(Market(faults=faults_of("NB"))).connect()
    order, request = link.enter()
    request.resend = False
    assert link.connect().events[-1] == LostOnTheWay(request.number, "enter", order.token)


def test_an_order_that_an_exchange_takes_twice_is_there_once_and_its_duplicate_is_not_reported() -> None:
    market = Market(faults=faults_of("NB"))
    link = Link(market).connect()
    order, request = link.enter()
    link.connect()
    assert request.state is RequestState.DONE
    market.take(USER, request.payload)  # what was thought to be lost arrives after all
    market.flush()
    link.run()
    assert (order.state, link.core.day.duplicates, "Rejected" in link.kinds()) == (OrderState.LIVE, 1, False)


def test_an_order_that_arrives_after_it_was_given_up_is_told_and_kept() -> None:
    market = Market(faults=faults_of("NB"))
    link = Link(market, resend=False).connect()
    order, request = link.enter()
    assert link.connect().core.day.orders[order.token].state is OrderState.NOT_RECEIVED
    market.take(USER, request.payload)
    market.flush()
    link.run()
    assert isinstance(link.events[-1], Accepted)
    assert link.core.open_orders() == [order]
    assert request.state is RequestState.NOT_RECEIVED


def test_an_order_that_is_accepted_twice_ends_the_connection() -> None:
    market = Market()
    link = Link(market).connect()
    order, _ = link.enter()
    market.stream(USER).append(market.stream(USER)[-1])
    market.flush()
    link.run()
    assert link.events[-1] == Disconnected(f"message 4 accepts the order {order.token!r} for the second time")


def test_a_new_day_is_told_and_nothing_of_the_old_one_is_kept() -> None:
    market = Market(faults=faults_of("NNB"))
    link = Link(market).connect()
    order, _ = link.enter()
    lost, request = link.enter()
    market.new_day("20260303")
    link.connect()
    assert link.core.at_once
    link.connect()
    assert (request.state, lost.state) == (RequestState.GIVEN_UP, OrderState.UNKNOWN)
    assert Unanswered(request.number, "enter", lost.token, final=True) in link.events
    assert NewSession("20260303", DAY) in link.events
    assert isinstance(link.events[-1], CaughtUp)
    assert link.core.day.orders == {}
    assert link.settled[-1] is request
    assert link.enter()[0].state is OrderState.LIVE
    assert order.state is OrderState.LIVE  # whoever still holds it has the day before


def test_an_exchange_that_has_lost_messages_is_not_traded_with() -> None:
    market = Market()
    link = Link(market).connect()
    for _ in range(3):
        link.enter()
    del market.stream(USER)[3:]
    market.break_all()
    link.run().connect()
    assert link.core.at_once  # it may be another day
    link.connect()
    assert isinstance(link.core.failed, StreamLost)
    assert "the exchange is at message 4 of session 20260302, and message 5 came here before" in str(link.core.failed)
    ahead = Entry(USER, PASSWORD, Order, next_seq=3)
    ahead.connected(NOW_NS)
    ahead.receive(LoginAccepted(DAY, 5).packet(), NOW_NS)
    assert isinstance(ahead.failed, StreamLost)


@pytest.mark.parametrize(("password", "session", "code"), [("wrong", "", "A"), (PASSWORD, "", "S")])
def test_a_refused_login_is_told(password: str, session: str, code: str) -> None:
    link = Link(Market(), Entry(USER, password, Order, session=session, next_seq=1))
    if code == "S":
        link.core.connected(NOW_NS)
        link.core.receive(b"\0\2JS", NOW_NS)
    else:
        link.connect()
    assert isinstance(link.core.refused, LoginRefused)
    assert link.core.refused.code == code
    assert str(link.core.refused).startswith("the exchange refused the login of 'ALICE': ")
    assert not link.core.at_once


def test_a_heartbeat_is_sent_each_second_and_a_silent_exchange_is_left() -> None:
    core = Entry(USER, PASSWORD, Order)
    core.connected(NOW_NS)
    core.receive(LoginAccepted(DAY, 1).packet(), NOW_NS)
    core.take()
    assert core.due_ns() == NOW_NS + HEARTBEAT_NS
    core.tick(NOW_NS + HEARTBEAT_NS)
    assert core.take() == packet(PacketType.CLIENT_HEARTBEAT)
    core.tick(NOW_NS + SILENCE_NS)
    assert core.over
    assert core.lost() == [Disconnected("the exchange said nothing for 15 seconds")]
    assert core.due_ns() is None


def test_what_else_an_exchange_says_is_told() -> None:
    core = Entry(USER, PASSWORD, Order)
    core.connected(NOW_NS)
    data = LoginAccepted(DAY, 1).packet() + Debug("maintenance at 18:00").packet() + packet(PacketType.END_OF_SESSION)
    assert core.receive(data, NOW_NS) == [Connected(DAY, 1), DebugText("maintenance at 18:00"), SessionEnded()]
    assert core.over
    assert core.lost() == [Disconnected("the exchange ended the session")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (packet(PacketType.SEQUENCED, b""), "message 2 is empty or of a type that no OUCH server sends"),
        (packet(PacketType.SEQUENCED, b"?12345"), "message 2 is empty or of a type that no OUCH server sends"),
        (packet(PacketType.SEQUENCED, b"A12345"), "message 2, accepted, has 6 bytes and not 66"),
        (packet(PacketType.SEQUENCED, b"B12345"), "message 2 has 6 bytes, too few for its time"),
        (b"\0\0", "a packet of length 0 came; the length counts the type byte, so the least is 1"),
    ],
)
def test_an_exchange_that_breaks_the_protocol_is_left_with_a_sentence(data: bytes, why: str) -> None:
    core = Entry(USER, PASSWORD, Order)
    core.connected(NOW_NS)
    good = packet(PacketType.SEQUENCED, ouch.server_rows(ServerMessage.SYSTEM_EVENT).tobytes())
    events = core.receive(LoginAccepted(DAY, 1).packet() + good + data, NOW_NS)
    assert len(events) == 2
    assert core.over
    assert core.lost() == [Disconnected(why)]
    assert core.next_seq == 2  # to be asked for again


def test_a_password_shows_nowhere() -> None:
    core = Entry(USER, "h8nter2pw", Order)
    core.connected(NOW_NS)
    assert "h8nter2pw" not in f"{core!r}"
    with pytest.raises(ValueError, match="the password has 20 characters") as caught:
        Entry(USER, "h8nter2pw" * 2 + "xx", Order)
    assert "h8nter2pw" not in str(caught.value)


def test_events_that_nobody_reads_are_dropped_from_the_oldest_and_counted() -> None:
    queue = EventQueue(3)
    queue.put([CaughtUp(n) for n in range(2)])
    queue.put([CaughtUp(n) for n in range(2, 5)])
    assert list(iter(queue.take, None)) == [EventsLost(2), CaughtUp(2), CaughtUp(3), CaughtUp(4)]
    queue.put([CaughtUp(n) for n in range(9)])
    assert len(queue) == 4
    assert list(iter(queue.take, None))[:2] == [EventsLost(6), CaughtUp(6)]
    with pytest.raises(ValueError, match="room for one event"):
        EventQueue(0)


# Whatever the network does


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
    link.run()
    return asked if link.core.phase is Phase.LIVE and not len(link.core.day.requests) else (link.finish(), asked)[1]


def complaints(link: Link, asked: list[Request]) -> Iterator[str]:
    """What is wrong: an order lost or doubled, an outcome missing or told twice, an order that is not the market's."""
    if Counter(map(id, link.settled)) != Counter(map(id, asked)):
        yield "a request has not exactly one outcome"
    entries = Counter(event.qty for event in link.events if isinstance(event, Accepted) and event.qty >= 1_000)
    placed = Counter(
        int(ouch.read_server(message)[0]["shares"])
        for message in link.market.stream(USER)
        if message[0] == ServerMessage.ACCEPTED
    )
    for qty, count in (entries | placed).items():
        if count != 1:
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


@settings(derandomize=True, deadline=None, max_examples=300)
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


@pytest.mark.parametrize(
    ("kind", "complaint"), [(NewTokens, "was accepted 2 times"), (Hasty, "an order has two outcomes")]
)
def test_a_client_that_sends_again_otherwise_is_found_out(kind: type[Entry], complaint: str) -> None:
    found: list[str] = []
    for seed in range(30):
        chance = random.Random(seed)
        market = Market(faults=faults_by_chance(chance, 0.3))
        link = Link(market, kind(USER, PASSWORD, Order, tokens=Tokens(1)))
        found += complaints(link, trade(link, chance, 40))
    assert any(complaint in said for said in found), found
