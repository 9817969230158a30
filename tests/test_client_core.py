"""The client's heart without a socket: what a stream says of orders, and what is asked when connections come and go."""

from decimal import Decimal

import pytest

from client import (
    Accepted,
    CaughtUp,
    Connected,
    DebugText,
    Disconnected,
    Event,
    EventsLost,
    LoginRefused,
    NewOrder,
    NewSession,
    NotConnected,
    Order,
    OrderState,
    RequestLost,
    RequestState,
    RequestUnanswered,
    SessionEnded,
    Side,
    StreamLost,
    Tokens,
)
from client.event_queue import EventQueue
from tests.client_link import NOW_NS, Entry, Link, bob
from tests.fake_exchange import DAY, PASSWORD, USER, Market, faults_of
from wire import ouch
from wire.ouch_codes import ServerMessage
from wire.soup import Debug, LoginAccepted, PacketType, packet
from wire.soup_session import HEARTBEAT_NS, SILENCE_NS

# The stream


def busy_stream() -> bytes:
    """Bytes of a server on a busy day: the answer to a login, then all kinds of messages."""
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
    core = Entry(USER, PASSWORD, Order, tokens=Tokens(USER, 5))
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
    after = Link(market, Entry(USER, PASSWORD, Order, tokens=Tokens(USER, 9_999))).connect()
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
    other = Link(Market(), Entry(USER, PASSWORD, Order, tokens=Tokens(USER, 1))).connect()
    other.core.enter(NewOrder("XYZ", Side.BUY, 100, "10"), "ALICE00000003")
    tokens = [other.enter()[0].token for _ in range(2)]
    assert tokens == ["ALICE00000002", "ALICE00000004"]


@pytest.mark.parametrize("letter", "BAM")
@pytest.mark.parametrize("resend", [True, False])
def test_a_broken_connection_leaves_the_outcome_unknown_until_the_stream_has_caught_up(
    letter: str, resend: bool
) -> None:
    market = Market(faults=faults_of(f"N{letter}"))
    link = Link(market, resend=resend).connect()
    order, request = link.enter()
    assert (request.state, order.state) == (RequestState.UNKNOWN, OrderState.PENDING)
    assert link.events[-1] == RequestUnanswered(request.number, "enter", order.token, final=False)
    link.connect()
    lost = letter == "B" and not resend
    assert request.state is (RequestState.NOT_RECEIVED if lost else RequestState.DONE)
    assert order.state is (OrderState.NOT_RECEIVED if lost else OrderState.LIVE)
    assert link.kinds().count("Accepted") == (not lost)
    assert link.kinds().count("RequestLost") == lost
    assert len(market.orders) == (not lost)
    assert request.sends == (2 if letter == "B" and resend else 1)


def test_a_request_that_is_not_to_be_sent_again_is_not() -> None:
    link = Link(Market(faults=faults_of("NB"))).connect()
    order, request = link.enter()
    request.resend = False
    assert link.connect().events[-1] == RequestLost(request.number, "enter", order.token)


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
    assert RequestUnanswered(request.number, "enter", lost.token, final=True) in link.events
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
    for now_ns in range(NOW_NS + 2 * HEARTBEAT_NS, NOW_NS + SILENCE_NS + 1, HEARTBEAT_NS):
        assert not core.over
        core.tick(now_ns)
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
