"""The client for plain scripts, on real sockets, before an exchange that breaks connections as told."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from client import (
    Accepted,
    Canceled,
    Client,
    ConnectionLost,
    Disconnected,
    Executed,
    NewOrder,
    NotConnected,
    OrderState,
    OutcomeUnknown,
    RequestNotReceived,
    RequestRejected,
    Side,
)
from tests.fake_exchange import PASSWORD, USER, Aside, Fault, Market, after, faults_of, serve_aside
from tests.test_client import QUICK
from wire import Due
from wire.soup_session import SILENCE_NS


@contextmanager
def script(market: Market, **options: Any) -> Iterator[tuple[Aside, Client]]:
    """A script's client, connected to the market in another thread."""
    with (
        serve_aside(market) as aside,
        Client("127.0.0.1", aside.port, USER, PASSWORD, **{**QUICK, **options}) as client,
    ):
        yield aside, client


def test_a_script_trades() -> None:
    with script(Market()) as (_, client):
        order = client.enter("XYZ", Side.BUY, 100, "10.05")
        order.replace(300, "10.06")
        order.cancel(200)
        order.modify(Side.BUY, 150)
        assert (order.leaves_qty, order.price) == (150, Decimal("10.06"))
        sale = client.enter("XYZ", Side.SELL, 50, "10.00")
        assert (sale.state, order.cum_qty) == (OrderState.FILLED, 50)
        order.cancel()
        with pytest.raises(RequestRejected, match="it is canceled"):
            order.cancel()
        assert client.open_orders() == []
        kinds = [type(event).__name__ for event in client.events(timeout_s=0.1)]
        assert kinds[2:] == [
            "CaughtUp", "Accepted", "Replaced", "Canceled", "OrderModified", "Accepted", "Executed", "Executed",
            "Canceled", "CancelRejected",
        ]  # fmt: skip
        assert client.next_event(0.01) is None
    assert client.next_event() == Disconnected("this client was closed", str(client._retry.address))
    assert client.next_event() is None
    with pytest.raises(NotConnected, match="this client was closed"):
        client.enter("XYZ", Side.BUY, 100, "10.05")


@pytest.mark.parametrize("letter", "BAM")
def test_a_scripts_request_survives_its_connection(letter: str) -> None:
    with script(Market(faults=faults_of(f"N{letter}"))) as (aside, client):
        order = client.enter("XYZ", Side.BUY, 100, "10.05")
        aside.market.faults = faults_of(letter)
        order.replace(price="10.10")
        aside.market.faults = faults_of(letter)
        order.cancel()
        assert (order.state, order.price) == (OrderState.CANCELED, Decimal("10.10"))
        events = list(client.events(timeout_s=0.1))
        assert sum(isinstance(event, Disconnected) for event in events) == 3
        assert [type(event) for event in events if isinstance(event, Accepted | Canceled)] == [Accepted, Canceled]


def test_a_script_is_told_of_an_unknown_outcome_and_of_what_was_not_received() -> None:
    with (
        script(Market(faults=after(1, Fault.BEFORE)), resend=False) as (aside, client),
        pytest.raises(RequestNotReceived),
    ):
        client.enter("XYZ", Side.BUY, 100, "10.05")
    with script(Market(), timeout_s=0.2) as (aside, client):
        aside.market.silent = True
        with pytest.raises(OutcomeUnknown) as caught:
            client.enter("XYZ", Side.BUY, 100, "10.05")
        aside.market.silent = False
        aside.do(lambda: None)
        client.outcome(caught.value.request)
        assert client.orders[caught.value.token].is_open


def test_a_script_may_have_the_stream_as_it_came_and_forget_closed_orders() -> None:
    came: list[tuple[int, bytes]] = []
    market = Market(faults=faults_of("NNA"))
    with serve_aside(market) as aside:
        client = Client("127.0.0.1", aside.port, USER, PASSWORD, timeout_s=5.0, keep_closed=False)
        client.on_message = lambda *message: came.append(message)
        with client:
            order = client.enter("XYZ", Side.BUY, 100, "10.05")
            order.cancel()
            kept = client.enter("XYZ", Side.BUY, 100, "10.05")
            assert client.orders == {kept.token: kept}
    assert came == list(enumerate(market.stream(USER), 1))


@pytest.mark.slow
def test_a_script_that_sleeps_stays_connected_and_hears_of_its_fills() -> None:
    with script(Market()) as (aside, client):
        order = client.enter("XYZ", Side.BUY, 100, "10.05")
        time.sleep(2.2)
        almost_ns = time.monotonic_ns() + SILENCE_NS - 2_000_000_000
        assert aside.market.peers[0].session.tick(almost_ns) is not Due.TIMED_OUT
        aside.do(lambda: aside.market.take("BOB", _sale()))
        assert any(isinstance(event, Executed) for event in client.events(timeout_s=1.0))
        assert order.state is OrderState.FILLED


def _sale() -> bytes:
    from client import messages

    return messages.enter(NewOrder("XYZ", Side.SELL, 100, "10.00"), "b1")


def test_a_scripts_connection_that_does_not_come_back_ends_it() -> None:
    with script(Market(), reconnect_for_s=0.3) as (aside, client):
        aside.market.refuse_logins = 1_000_000
        aside.do(aside.market.break_all)
        with pytest.raises(ConnectionLost, match=r"did not come back within 0\.3 s"):
            list(client.events())
        with pytest.raises(ConnectionLost):
            client.enter("XYZ", Side.BUY, 100, "10.05")


@pytest.mark.slow
def test_threads_share_a_scripts_client_through_breaking_connections() -> None:
    chance = random.Random(5)
    faults = iter(lambda: Fault.NONE if chance.random() < 0.95 else chance.choice(list(Fault)[1:-1]), None)
    failures: list[BaseException] = []
    with script(Market(faults=faults), timeout_s=15) as (aside, client):

        def work(price: int) -> None:
            try:
                for _ in range(10):
                    order = client.enter("XYZ", Side.BUY, 100, price)
                    order.replace(price=price + 1)
                    order.cancel()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n + 1,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failures == []
        assert client.open_orders() == []
        said = Counter(name for user, name, _ in aside.market.log if user == USER)
        assert (said["accepted"], said["replaced"], said["canceled"]) == (80, 80, 80)


@pytest.mark.slow
def test_a_script_pipelines_more_than_the_network_holds() -> None:
    with script(Market(), timeout_s=15) as (aside, client):
        sent = [client.send(NewOrder("XYZ", Side.BUY, 100, "10"))[1] for _ in range(2_000)]
        for request in sent:
            client.outcome(request)
        assert len(aside.market.orders) == 2_000


def test_no_thread_is_left_after_a_client_is_closed() -> None:
    before = threading.active_count()
    with script(Market()) as (_, client):
        assert threading.active_count() == before + 2
        with pytest.raises(RuntimeError, match="was connected before"):
            client.connect()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(NotConnected, match="was not connected"):
        Client("127.0.0.1", 1, USER, PASSWORD).enter("XYZ", Side.BUY, 100, "10")
