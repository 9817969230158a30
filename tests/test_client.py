"""The client for asyncio, on real sockets, before an exchange that breaks connections as told; and what both have."""

import asyncio
import inspect
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from benchmarks.ports import free_port
from client import (
    Accepted,
    AsyncClient,
    Canceled,
    CannotConnect,
    CaughtUp,
    Client,
    ClientError,
    Connected,
    ConnectionLost,
    Disconnected,
    Event,
    EventsLost,
    LoginRefused,
    NewOrder,
    NewSession,
    NotConnected,
    OrderState,
    OutcomeUnknown,
    RequestNotReceived,
    RequestRejected,
    RequestState,
    RequestUnanswered,
    SessionEnded,
    Side,
)
from client.reconnect import Backoff
from tests.fake_exchange import PASSWORD, USER, Fault, Market, after, faults_of, serve, serve_aside
from wire.soup import PacketType, packet

QUICK: dict[str, Any] = {"timeout_s": 5.0, "reconnect_for_s": 5.0}
Test = Callable[[Market, AsyncClient], Awaitable[None]]


def traded(market: Market, test: Test, **options: Any) -> None:
    """Run a test with a client that is connected to the market."""

    async def run() -> None:
        async with (
            serve(market) as port,
            AsyncClient("127.0.0.1", port, USER, PASSWORD, **{**QUICK, **options}) as client,
        ):
            await asyncio.wait_for(test(market, client), 300)

    asyncio.run(run())


# For asyncio


def test_the_stream_as_it_came_goes_to_on_message_and_closed_orders_may_be_forgotten() -> None:
    async def run() -> None:
        came: list[tuple[int, bytes]] = []
        market = Market()
        async with serve(market) as port:
            client = AsyncClient("127.0.0.1", port, USER, PASSWORD, timeout_s=5.0, keep_closed=False)
            client.on_message = lambda *message: came.append(message)
            async with client:
                order = await client.enter("XYZ", Side.BUY, 100, "10.05")
                await order.cancel()
                kept = await client.enter("XYZ", Side.BUY, 100, "10.05")
                assert client.orders == {kept.token: kept}
        assert came == list(enumerate(market.stream(USER), 1))

    asyncio.run(run())


def test_an_order_is_entered_replaced_made_smaller_and_canceled() -> None:
    async def test(_: Market, client: AsyncClient) -> None:
        order = await client.enter("XYZ", Side.BUY, 100, "10.05")
        assert (order.state, order.price, order.leaves_qty) == (OrderState.LIVE, Decimal("10.05"), 100)
        await order.replace(price="10.06")
        await order.replace(qty=300)
        assert (order.price, order.qty) == (Decimal("10.06"), 300)
        await order.cancel(200)
        await order.modify(Side.BUY, 150)
        assert order.leaves_qty == 150
        sale = await client.enter("XYZ", Side.SELL, 50, "10.00")
        assert (sale.state, order.cum_qty, order.average_price) == (OrderState.FILLED, 50, Decimal("10.06"))
        await order.cancel()
        assert (order.state, client.open_orders(), client.open_requests()) == (OrderState.CANCELED, [], [])
        kinds = [type(event).__name__ for event in client.events_now()]
        assert kinds == [
            "Connected", "SystemEvent", "CaughtUp", "Accepted", "Replaced", "Replaced", "Canceled", "OrderModified",
            "Accepted", "Executed", "Executed", "Canceled",
        ]  # fmt: skip

    traded(Market(), test)


def test_a_refusal_is_an_error_that_says_why() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        order = await client.enter("XYZ", Side.BUY, 100, "10.05", token="mine")
        await order.cancel()
        with pytest.raises(RequestRejected, match="the cancel of order mine was refused: it is canceled"):
            await order.cancel()
        market.orders[USER, b"taken".ljust(14)] = market.orders[USER, b"mine".ljust(14)]
        with pytest.raises(
            RequestRejected, match="the enter of order taken was refused: duplicate_id, the token was used before"
        ) as caught:
            await client.enter("XYZ", Side.BUY, 100, "10.05", token="taken")
        assert (caught.value.token, caught.value.reason) == ("taken", "duplicate_id")
        assert client.orders["taken"].state is OrderState.REJECTED

    traded(Market(), test)


@pytest.mark.parametrize("letter", "BAM")
def test_a_request_survives_its_connection(letter: str) -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        order = await client.enter("XYZ", Side.BUY, 100, "10.05")
        market.faults = faults_of(letter)
        await order.replace(price="10.10")
        market.faults = faults_of(letter)
        await order.cancel()
        assert (order.state, order.price) == (OrderState.CANCELED, Decimal("10.10"))
        events = client.events_now()
        assert sum(isinstance(event, Disconnected) for event in events) == 3
        assert sum(isinstance(event, RequestUnanswered) for event in events) == 3
        assert [event.qty for event in events if isinstance(event, Canceled)] == [100]

    traded(Market(faults=faults_of(f"N{letter}")), test)


def test_what_is_not_to_be_sent_again_ends_as_not_received() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        with pytest.raises(RequestNotReceived, match="was lost with its connection: nothing was done"):
            await client.enter("XYZ", Side.BUY, 100, "10.05", token="lost")
        assert client.orders["lost"].state is OrderState.NOT_RECEIVED
        assert market.orders == {}

    traded(Market(faults=after(1, Fault.BEFORE)), test, resend=False)


def test_an_answer_that_does_not_come_in_time_is_an_unknown_outcome_and_may_come_later() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        market.silent = True
        with pytest.raises(OutcomeUnknown, match=r"was not answered within 0\.2 s") as caught:
            await client.enter("XYZ", Side.BUY, 100, "10.05", token="slow")
        assert caught.value.request.state is RequestState.SENT
        market.silent = False
        market.flush()
        await client.outcome(caught.value.request)
        assert client.orders["slow"].state is OrderState.LIVE
        await client.outcome(caught.value.request)  # it stays as it is

    traded(Market(), test, timeout_s=0.2)


@pytest.mark.slow
def test_a_request_waits_for_a_connection_and_is_not_sent_if_none_comes() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        market.refuse_logins = 2
        market.break_all()
        order = await client.enter("XYZ", Side.BUY, 100, "10.05")
        assert order.is_open
        market.refuse_logins = 1_000
        market.break_all()
        await asyncio.sleep(0.05)
        with pytest.raises(NotConnected, match=r"nothing was sent: there was no connection to the exchange for 0\.5 s"):
            await client.enter("XYZ", Side.BUY, 100, "10.05")
        assert client.open_requests() == []

    traded(Market(), test, timeout_s=0.5)


def test_a_connection_that_does_not_come_back_ends_the_client_and_all_who_wait() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        market.silent = True
        asking = asyncio.create_task(client.enter("XYZ", Side.BUY, 100, "10.05", token="open"))
        await asyncio.sleep(0.1)
        market.refuse_logins = 1_000_000
        market.break_all()
        events = client.events()
        heard: list[Event] = []
        with pytest.raises(ConnectionLost, match=r"was lost and did not come back within 0\.3 s: the exchange refused"):
            [heard.append(event) async for event in events]
        assert isinstance(heard[-1], RequestUnanswered)
        assert heard[-1].final
        with pytest.raises(OutcomeUnknown, match="whether it was done is not known"):
            await asking
        with pytest.raises(ConnectionLost):
            await client.enter("XYZ", Side.BUY, 100, "10.05")

    traded(Market(), test, reconnect_for_s=0.3)


def test_a_client_that_is_not_to_reconnect_does_not() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        market.break_all()
        with pytest.raises(ConnectionLost, match="the connection was lost and did not come back: "):
            [event async for event in client.events()]

    traded(Market(), test, reconnect_for_s=0)


def test_a_new_day_is_noticed_and_traded_on() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        await client.enter("XYZ", Side.BUY, 100, "10.05", token="a1")
        market.new_day("20260303")
        with pytest.raises(OutcomeUnknown, match="whether it was done is not known"):
            await client.enter("XYZ", Side.BUY, 100, "10.05", token="a2")  # it went to the day before
        order = await client.enter("XYZ", Side.BUY, 100, "10.05", token="b1")
        assert client.orders == {"b1": order}
        assert NewSession("20260303", "20260302") in client.events_now()

    traded(Market(), test)


def test_the_end_of_a_session_is_told_and_the_client_comes_back_for_more() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        peer = market.peers[0]
        peer.out += packet(PacketType.END_OF_SESSION)
        peer.close()
        seen: list[Event] = []
        async for event in client.events():
            seen.append(event)
            if sum(isinstance(each, CaughtUp) for each in seen) == 2:
                break
        kinds = [type(event) for event in seen if isinstance(event, SessionEnded | Disconnected | Connected)]
        assert kinds == [Connected, SessionEnded, Disconnected, Connected]

    traded(Market(), test)


def test_who_does_not_read_events_loses_the_oldest_and_no_order() -> None:
    async def test(_: Market, client: AsyncClient) -> None:
        orders = [await client.enter("XYZ", Side.BUY, 100, "10.05") for _ in range(30)]
        events = client.events_now()
        assert events[0] == EventsLost(23)
        assert [event.token for event in events[1:] if isinstance(event, Accepted)] == [o.token for o in orders[-10:]]
        assert client.open_orders() == orders

    traded(Market(), test, events_max=10)


@pytest.mark.slow
def test_many_requests_at_once_are_each_answered_through_breaking_connections() -> None:
    chance = random.Random(3)
    faults = iter(lambda: Fault.NONE if chance.random() < 0.9 else chance.choice(list(Fault)[1:-1]), None)

    async def test(market: Market, client: AsyncClient) -> None:
        async def work(price: int) -> None:
            order = await client.enter("XYZ", Side.BUY, 100, price)
            await order.replace(price=price + 1)
            await order.cancel()

        await asyncio.gather(*(work(n + 1) for n in range(60)))
        said = Counter((name, token) for user, name, token in market.log if user == USER and name != "cancel_reject")
        assert Counter(name for name, _ in said) == {"accepted": 60, "replaced": 60, "canceled": 60, **_rejected(said)}
        assert all(count == 1 for (name, _), count in said.items() if name != "rejected")
        assert client.open_orders() == []

    traded(Market(faults=faults), test, timeout_s=15)


def _rejected(said: "Counter[tuple[str, bytes]]") -> dict[str, int]:
    """Duplicates, which the exchange refused."""
    count = sum(name == "rejected" for name, _ in said)
    return {"rejected": count} if count else {}


@pytest.mark.slow
def test_a_client_waits_its_turn_when_the_exchange_does_not_read_and_pipelines_when_it_does() -> None:
    async def test(market: Market, client: AsyncClient) -> None:
        sent = [await client.send(NewOrder("XYZ", Side.BUY, 100, "10")) for _ in range(2_000)]
        for _, request in sent:
            await client.outcome(request)
        assert len(market.orders) == 2_000

    traded(Market(), test, timeout_s=15)


@pytest.mark.parametrize(
    ("host", "user", "password", "error", "sentence"),
    [
        ("no-such-host.invalid", USER, PASSWORD, CannotConnect, "the host 'no-such-host.invalid' is unknown"),
        ("127.0.0.1", USER, PASSWORD, CannotConnect, "nothing listens on 127.0.0.1:{port}; check the port, and that"),
        ("serve", USER, "wrong", LoginRefused, "the exchange refused the login of 'ALICE': user or password is wrong"),
        ("serve", "NOBODY", PASSWORD, LoginRefused, "the exchange refused the login of 'NOBODY'"),
    ],
)
def test_a_first_connection_that_fails_is_told_at_once(
    host: str, user: str, password: str, error: type[ClientError], sentence: str
) -> None:
    with serve_aside(Market()) as aside:
        port = aside.port if host == "serve" else free_port()
        where = "127.0.0.1" if host == "serve" else host

        async def connect() -> None:
            async with AsyncClient(where, port, user, password):
                pass

        with pytest.raises(error) as caught:
            asyncio.run(connect())
        assert str(caught.value).startswith(sentence.format(port=port))
        with pytest.raises(error) as caught, Client(where, port, user, password):
            pass
        assert str(caught.value).startswith(sentence.format(port=port))


def test_an_exchange_that_never_answers_a_login_is_given_up() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1]

        async def connect() -> None:
            await AsyncClient("127.0.0.1", port, USER, PASSWORD, timeout_s=0.2).connect()

        with pytest.raises(NotConnected, match=r"for 0\.2 s"):
            asyncio.run(connect())
        with pytest.raises(NotConnected, match=r"for 0\.2 s"):
            Client("127.0.0.1", port, USER, PASSWORD, timeout_s=0.2).connect()


def test_nothing_is_left_running_after_a_client_is_closed() -> None:
    async def run() -> None:
        market = Market()
        async with serve(market) as port:
            client = AsyncClient("127.0.0.1", port, USER, PASSWORD)
            with pytest.raises(NotConnected, match="was not connected"):
                await client.enter("XYZ", Side.BUY, 100, "10")
            await client.connect()
            await client.close()
            await client.close()
            with pytest.raises(NotConnected, match="this client was closed"):
                await client.enter("XYZ", Side.BUY, 100, "10")
            assert [event async for event in client.events()][-1] == Disconnected(
                "this client was closed", f"127.0.0.1:{port}"
            )
            await asyncio.sleep(0.05)
            assert market.peers == []
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


# Both


def test_both_clients_offer_the_same() -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        methods = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
        return {name: list(inspect.signature(each).parameters) for name, each in methods.items() if callable(each)}

    in_async, in_sync = offered(AsyncClient), offered(Client)
    assert set(in_async) ^ set(in_sync) == {"events_now", "next_event"}
    for name in set(in_async) & set(in_sync) - {"events"}:
        assert in_async[name] == in_sync[name], name
    assert inspect.signature(AsyncClient).parameters == inspect.signature(Client).parameters


def test_tries_are_further_and_further_apart_by_chance_and_end() -> None:
    backoff = Backoff(for_s=60.0, first_s=0.1, top_s=5.0, chance=random.Random(1).random)
    now_s, delays = 0.0, []
    while (delay_s := backoff.next_s(now_s)) is not None:
        delays.append(delay_s)
        now_s += delay_s
    assert now_s == pytest.approx(60.0, abs=0.01)
    assert all(low <= delay <= 2 * low for low, delay in zip([0.05, 0.1, 0.2, 0.4, 0.8, 1.6], delays, strict=False))
    assert max(delays) <= 5.0
    assert len(set(delays)) == len(delays)
    backoff.reset()
    assert backoff.next_s(now_s) is not None
    assert Backoff(for_s=0.0).next_s(1.0) is None
