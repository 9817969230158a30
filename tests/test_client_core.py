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
    messages,
)
from client.event_queue import EventQueue
from client.order_entry import Phase
from tests.client_link import NOW_NS, Entry, Link, bob
from tests.fake_exchange import DAY, PASSWORD, USER, Market, Peer, faults_of
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


def test_a_cancel_right_behind_a_replace_cancels_the_replacement() -> None:
    market = Market()
    link = Link(market).connect()
    order, _ = link.enter(qty=300)
    asked = [link.core.replace(order, 200), link.core.cancel(order)]
    link.run()
    assert [request.state for request in asked] == [RequestState.DONE, RequestState.DONE]
    assert (order.state, order.leaves_qty) == (OrderState.CANCELED, 0)
    assert not [one for one in market.orders.values() if one.open]


def test_a_replace_right_behind_a_replace_keeps_what_that_one_asked_for() -> None:
    link = Link(Market()).connect()
    order, _ = link.enter(qty=300)
    link.core.replace(order, 200)
    link.core.replace(order, price="10.10")
    third = link.core.replace(order, price="10.20", token="third")
    link.core.modify(order, Side.BUY, 150)
    link.run()
    assert (order.token, order.qty, order.leaves_qty, order.price) == (third.new_token, 150, 150, Decimal("10.20"))
    assert {request.state for request in link.settled} == {RequestState.DONE}


def test_a_cancel_right_behind_a_replace_that_is_refused_is_refused_too_and_the_order_stands() -> None:
    market = Market()
    link = Link(market).connect()
    order, _ = link.enter(qty=300)
    market.faults = faults_of("R")
    first, second = link.core.replace(order, 200), link.core.cancel(order)
    link.run().finish()
    assert (first.state, second.state) == (RequestState.REFUSED, RequestState.REFUSED)
    assert (order.state, order.leaves_qty) == (OrderState.LIVE, 300)
    link.core.cancel(order)
    assert link.run().core.open_orders() == []


@pytest.mark.parametrize("letters", ["", "NB", "NNA", "NM"])
def test_the_stream_as_it_came_goes_to_on_message_once_and_in_order_whatever_breaks(letters: str) -> None:
    market = Market(faults=faults_of(letters))
    came: list[tuple[int, bytes]] = []
    link = Link(market, on_message=lambda seq, payload: came.append((seq, payload))).connect()
    for _ in range(4):
        link.finish().enter()
    market.break_all()
    link.run().finish()
    assert came == list(enumerate(market.stream(USER), 1))
    markers = [event.seq for event in link.events if isinstance(event, CaughtUp)]
    assert len(markers) == link.connections > 1
    assert {ouch.read_server(came[seq - 1][1])[0]["kind"] for seq in markers} == {ServerMessage.CANCEL_REJECT}


def test_a_client_that_is_told_the_end_of_the_stream_is_live_there_and_asks_for_nothing() -> None:
    market = Market(says_end=True)
    link = Link(market).connect()
    assert link.kinds() == ["Connected", "SystemEvent", "CaughtUp"]
    link.enter()
    market.break_all()
    link.run()
    bob(market, Side.SELL, 100, "10.00")
    link.events.clear()
    link.connect()
    assert link.kinds() == ["Connected", "Executed", "CaughtUp"]
    assert link.events[-1] == CaughtUp(len(market.stream(USER)), outage_ns=0)
    assert ServerMessage.CANCEL_REJECT not in {ouch.read_server(each)[0]["kind"] for each in market.stream(USER)}


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_end_of_the_stream_is_told_to_who_reads_it_in_pieces(size: int) -> None:
    """Behind an accepted login that came alone the marker is sent already, and its answer is nobody's news."""
    market = Market(says_end=True)
    Link(market).connect().enter()
    peer, core, kinds = Peer(market), Entry(USER, PASSWORD, Order, tokens=Tokens(USER, 900)), []
    core.connected(NOW_NS)
    for _ in range(3):
        peer.receive(core.take())
        came, peer.out = bytes(peer.out), bytearray()
        for at in range(0, len(came), size):
            kinds += [type(event).__name__ for event in core.receive(came[at : at + size], NOW_NS)]
    assert kinds == ["Connected", "SystemEvent", "Accepted", "CaughtUp"]
    assert (core.phase, core.day.unasked) == (Phase.LIVE, 1), "the order of the program before alone"


@pytest.mark.parametrize("letters", ["", "NB", "NNA", "NM", "BB", "NBAB"])
def test_requests_without_an_answer_are_settled_by_a_marker_though_the_end_is_told(letters: str) -> None:
    market = Market(faults=faults_of(letters), says_end=True)
    link = Link(market).connect()
    for _ in range(3):
        link.finish().enter()
    link.finish()
    assert {request.state for request in link.settled} == {RequestState.DONE}
    accepted = [each for each in market.stream(USER) if ouch.read_server(each)[0]["kind"] == ServerMessage.ACCEPTED]
    assert len(accepted) == len(link.core.day.orders) == 3


def test_a_request_that_was_answered_meanwhile_needs_no_marker() -> None:
    market = Market(faults=faults_of("A"), says_end=True)
    link = Link(market).connect()
    order, request = link.enter()
    assert request.state is RequestState.UNKNOWN
    link.connect()
    assert (request.state, order.state) == (RequestState.DONE, OrderState.LIVE)
    assert ServerMessage.CANCEL_REJECT not in {ouch.read_server(each)[0]["kind"] for each in market.stream(USER)}


def test_a_stream_whose_end_is_before_what_came_is_lost() -> None:
    core = Entry(USER, PASSWORD, Order, tokens=Tokens(USER, 5), session=DAY, next_seq=9)
    core.connected(NOW_NS)
    core.receive(LoginAccepted(DAY, 9).packet() + Debug("end 7").packet(), NOW_NS)
    assert isinstance(core.failed, StreamLost)
    assert "the exchange is at message 6" in str(core.failed)


def test_the_reason_for_which_a_login_is_refused_is_that_of_the_exchange() -> None:
    market = Market(refuse_logins=1, why_refused="the user is logged in already")
    link = Link(market).connect()
    assert str(link.core.refused) == f"the exchange refused the login of {USER!r}: the user is logged in already"
    assert link.kinds() == []


def test_closed_orders_are_forgotten_where_they_are_not_to_be_kept() -> None:
    market = Market()
    link = Link(market, keep_closed=False).connect()
    orders = [link.enter(qty=100 * n, price=f"{n}.00")[0] for n in range(1, 5)]
    link.core.replace(orders[0], 50)
    link.core.cancel(orders[1])
    bob(market, Side.SELL, 400, "4.00")
    link.run()
    assert [order.state for order in orders] == [
        OrderState.LIVE,
        OrderState.CANCELED,
        OrderState.LIVE,
        OrderState.FILLED,
    ]
    assert link.core.day.orders == {order.token: order for order in (orders[0], orders[2])}
    assert {request.state for request in link.settled} == {RequestState.DONE}
    market.faults = faults_of("R")
    link.enter()
    link.finish()
    assert len(link.core.day.orders) == 2


def test_answers_that_nobody_asked_for_are_counted_and_the_answers_to_earlier_markers_are_not() -> None:
    market = Market(faults=faults_of("AA"))
    link = Link(market)
    link.finish()  # the first two connections break right behind the marker
    order, _ = link.enter()
    assert (link.core.day.unasked, link.core.day.duplicates) == (0, 0)
    market.take(USER, messages.enter(NewOrder("XYZ", Side.BUY, 10, "9"), "stranger"))
    market.take(USER, messages.cancel("stranger"))
    market.take(USER, messages.cancel("nobody"))
    market.take(USER, messages.cancel(order.token))
    market.flush()
    link.run()
    assert (link.core.day.unasked, link.core.day.duplicates) == (4, 0)


def test_a_connection_that_is_handed_over_leaves_all_bytes_that_were_not_read() -> None:
    link = Link(Market()).connect()
    link.core.receive(b"\0\5S", NOW_NS)
    assert link.core.release() == b"\0\5S"
    link.core.logout(NOW_NS)
    assert link.core.take() == packet(PacketType.LOGOUT)
    with pytest.raises(NotConnected):
        Link(Market()).core.release()


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


def test_an_order_has_its_terms_before_its_answer() -> None:
    link = Link(Market()).connect()
    refused = NewOrder("NOPE", Side.BUY, 100, "10", time_in_force_s=0, min_qty=5)
    order, _ = link.core.enter(refused)
    assert (order.state, order.terms) == (OrderState.PENDING, "tif=ioc min_qty=5")


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


def test_what_speaks_another_protocol_is_left_with_a_sentence_about_the_port() -> None:
    core = Entry(USER, PASSWORD, Order)
    core.connected(NOW_NS)
    assert core.receive(b"HTTP/1.1 400 Bad Request\r\n", NOW_NS) == []
    assert core.over
    assert core.why.startswith("what answers there speaks no SoupBinTCP; check the port (a packet of length 18516 came")
    assert core.failed is None, "a proxy may say so while the exchange starts"


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
