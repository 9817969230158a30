"""Clients of a market with a standby: the address they try, the server they refuse, the outage they report."""

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.ports import free_port
from client import (
    Accepted,
    AsyncClient,
    CannotConnect,
    CaughtUp,
    Client,
    ClientError,
    ConnectionLost,
    DebugText,
    Disconnected,
    LoginRefused,
    NewOrder,
    Order,
    OrderEntry,
    OrderState,
    RequestState,
    Side,
    Tokens,
)
from client.addresses import Address, parse_addresses
from client.reconnect import Backoff, Retry
from tests.client_link import NOW_NS, Entry, Link
from tests.fake_exchange import PASSWORD, USER, Door, Fault, Market, after, serve, serve_aside
from wire import RejectCode
from wire.soup import Debug, LoginAccepted, LoginRejected, PacketType, packet

QUICK: dict[str, Any] = {"timeout_s": 20.0, "reconnect_for_s": 20.0}
TWO = parse_addresses("one:1,two:2")


@pytest.mark.parametrize(
    ("hosts", "port", "addresses"),
    [
        ("one", 4000, [("one", 4000)]),
        ("one:1, two:2", None, [("one", 1), ("two", 2)]),
        (["one", "two:2", "one:4000"], 4000, [("one", 4000), ("two", 2)]),
        ("::1", 4000, [("::1", 4000)]),
        ("[::1]:4000,[fe80::1]", 5, [("::1", 4000), ("fe80::1", 5)]),
    ],
)
def test_addresses_are_a_text_with_commas_or_a_list(hosts: Any, port: int | None, addresses: list[Any]) -> None:
    assert parse_addresses(hosts, port) == tuple(Address(*each) for each in addresses)


@pytest.mark.parametrize(
    "hosts", ["", "one", "one:", "one:0", "one:65536", "one:1,,two:2", ":4000", "one:4x", "::1", []]
)
def test_an_address_that_is_none_is_refused_with_the_form_of_one(hosts: Any) -> None:
    with pytest.raises(ValueError, match="give HOST:PORT"):
        AsyncClient(hosts, None, USER, PASSWORD)


# The core


def test_a_server_of_an_earlier_epoch_is_refused_before_any_of_its_messages() -> None:
    market = Market()
    old = copy.deepcopy(market)
    link = Link(market)
    door = Door(market, epoch=4)
    link.market = door  # type: ignore[assignment]  # a peer takes either
    link.connect()
    assert (link.core.epoch, link.kinds()) == (4, ["Connected", "SystemEvent", "CaughtUp"])
    caught_up = link.events[-1]
    assert isinstance(caught_up, CaughtUp)
    assert caught_up.epoch == 4
    link.enter()
    market.break_all()
    link.run()
    for epoch in (3, 0):
        link.events.clear()
        link.market = Door(old, epoch=epoch)  # type: ignore[assignment]
        link.core.next_seq = 1  # even if it has all that is asked for
        link.connect()
        assert link.kinds() == ["Connected", "Disconnected"]
        assert "epoch 4 of the market has begun before" in link.core.why
    link.core.next_seq = 3
    link.market = Door(market, epoch=5)  # type: ignore[assignment]
    link.connect()
    assert link.core.epoch == 5
    assert link.core.failed is None


def test_a_server_that_names_no_epoch_is_as_good_as_ever_where_none_did() -> None:
    core = Entry(USER, PASSWORD, Order)
    core.connected(NOW_NS)
    hello = LoginAccepted("20260302", 1).packet() + Debug("hello").packet() + Debug("epoch").packet()
    assert [type(event) for event in core.receive(hello, NOW_NS)[1:]] == [DebugText, DebugText]
    assert core.receive(Debug("epoch 2").packet(), NOW_NS) == []
    assert core.epoch == 2
    assert core.receive(Debug("epoch 1").packet(), NOW_NS) == [DebugText("epoch 1")], "only the first is the server's"


def test_a_copy_that_refuses_the_session_does_not_make_the_client_forget_it() -> None:
    core = Entry(USER, PASSWORD, Order, session="20260302", next_seq=9, several=True)
    for wait_ns in (0, 2_999_999_999):
        core.connected(NOW_NS)
        core.take()
        core.receive(LoginRejected(RejectCode.SESSION_NOT_AVAILABLE).packet(), NOW_NS + wait_ns)
        assert not core.at_once
        assert core.refused is not None
        assert "this node is not primary" in str(core.refused)
        core.lost()
    core.connected(NOW_NS)
    core.receive(LoginRejected(RejectCode.SESSION_NOT_AVAILABLE).packet(), NOW_NS + 3_000_000_000)
    assert core.at_once, "it may be another day"
    alone = Entry(USER, PASSWORD, Order, session="20260302", next_seq=9)
    alone.connected(NOW_NS)
    alone.receive(LoginRejected(RejectCode.SESSION_NOT_AVAILABLE).packet(), NOW_NS)
    assert alone.at_once


def test_an_outage_is_reported_with_its_length_and_what_was_sent_again() -> None:
    market = Market()
    link = Link(market).connect()
    heard: list[Any] = []
    link.core.on_disconnect = heard.append
    link.core.on_caught_up = heard.append
    market.faults = after(0, Fault.BEFORE)
    order, request = link.enter()
    assert order.state is OrderState.PENDING
    link.connect()
    assert [type(each) for each in heard] == [Disconnected, CaughtUp]
    assert heard[1].resent == 1
    assert request.state is RequestState.DONE
    core = OrderEntry("U", "p", Order, tokens=Tokens("U", 1))
    core.connected(NOW_NS, "one:1")
    assert core.address == "one:1"


SECOND_NS = 1_000_000_000


@pytest.mark.parametrize(
    ("asks_at_s", "heard_at_s", "closed_at_s", "outage_s"),
    [
        pytest.param(1, 5, 6, 9, id="since a request that had no answer, whatever heartbeats came"),
        pytest.param(None, 5, 6, 4, id="since the connection was closed, where nobody waited"),
        pytest.param(None, 2, None, 8, id="since the last bytes of one that went silent"),
        pytest.param(4, 2, None, 8, id="since those too where a request was sent into the silence"),
    ],
)
def test_an_outage_lasts_since_the_exchange_was_certainly_there(
    monkeypatch: pytest.MonkeyPatch, asks_at_s: int | None, heard_at_s: int, closed_at_s: int | None, outage_s: int
) -> None:
    link = Link(Market(), silence_ns=3 * SECOND_NS).connect()
    core, heard = link.core, []
    core.on_caught_up = heard.append
    for second in range(1, 10):
        now_ns = NOW_NS + second * SECOND_NS
        if second <= heard_at_s:
            core.receive(packet(PacketType.SERVER_HEARTBEAT), now_ns)
        core.tick(now_ns)
        if second == asks_at_s:
            core.enter(NewOrder("XYZ", Side.BUY, 1, 10_000))
            core.take()  # it gets lost
        if core.over or second == closed_at_s:
            break
    core.lost()
    monkeypatch.setattr("tests.client_link.NOW_NS", NOW_NS + 10 * SECOND_NS)
    link.connect()
    assert [each.outage_ns / SECOND_NS for each in heard] == [outage_s]


def test_silence_of_the_exchange_is_borne_for_as_long_as_was_said() -> None:
    core = Entry(USER, PASSWORD, Order, silence_ns=2_000_000_000)
    core.connected(NOW_NS)
    core.receive(LoginAccepted("20260302", 1).packet(), NOW_NS)
    core.tick(NOW_NS + 1_999_999_999)
    assert not core.over
    core.receive(b"", NOW_NS)
    core.tick(NOW_NS + 2_000_000_000)
    assert core.over
    assert core.why == "the exchange said nothing for 2 seconds"


# The choice of the next address


def test_each_address_has_its_turn_before_a_wait_and_the_wait_is_bounded_and_varies() -> None:
    core = Entry(USER, PASSWORD, Order, several=True)
    retry = Retry(60.0, TWO)
    gone = ConnectionLost("gone")
    tried, waits, now_s = [], [], 100.0
    was_live = True
    for _ in range(200):
        tried.append(retry.address.host)
        try:
            wait_s = retry.delay_s(core, was_live=was_live, error=gone, now_s=now_s)
        except ConnectionLost:
            break
        waits.append(wait_s)
        now_s += wait_s
        was_live = False
    assert tried == ["one", "two"] * (len(tried) // 2) + ["one"] * (len(tried) % 2)
    rounds = [wait_s for wait_s in waits if wait_s]
    assert waits[0] > 0, "not all clients of a node that died come at the same moment"
    assert waits.count(0.0) >= len(rounds) - 1
    soon = rounds[:12]
    assert max(soon) <= 0.15
    assert len(set(soon)) == len(soon)
    assert 1.0 < max(rounds) <= 5.0
    assert now_s == pytest.approx(160.0, abs=0.01)


def test_the_bound_of_the_first_seconds_does_not_let_the_next_wait_jump() -> None:
    backoff = Backoff(60.0, 0.02, chance=lambda: 1.0, quick_top_s=0.15, quick_for_s=1.0)
    waits = [backoff.next_s(now_s) for now_s in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 1.0, 1.3, 2.0)]
    assert waits == [0.02, 0.04, 0.08, 0.15, 0.15, 0.15, 0.15, 0.16, 0.32, 0.64]


def test_the_first_login_tries_each_address_once() -> None:
    core = Entry(USER, PASSWORD, Order, several=True)
    nobody = CannotConnect("nothing listens")
    retry = Retry(60.0, TWO)
    assert retry.delay_s(core, was_live=False, error=nobody, now_s=0.0) == 0.0
    assert retry.address.host == "two"
    with pytest.raises(CannotConnect):
        retry.delay_s(core, was_live=False, error=nobody, now_s=0.0)
    retry = Retry(60.0, TWO)
    with pytest.raises(LoginRefused, match="wrong"):
        retry.delay_s(core, was_live=False, error=LoginRefused("A", "wrong"), now_s=0.0)
    retry = Retry(60.0, TWO)
    copy_of = LoginRefused("S", "no primary yet")
    assert retry.delay_s(core, was_live=False, error=nobody, now_s=0.0) == 0.0
    assert retry.delay_s(core, was_live=False, error=copy_of, now_s=0.0) > 0, "a takeover may be under way"
    retry = Retry(60.0, TWO)
    assert retry.delay_s(core, was_live=False, error=copy_of, now_s=0.0) == 0.0
    assert retry.delay_s(core, was_live=False, error=nobody, now_s=0.0) > 0, "also where the dead node comes last"


def test_a_refused_session_names_a_standby_among_its_causes_and_says_what_to_give() -> None:
    core = Entry(USER, PASSWORD, Order)
    core.connected(NOW_NS)
    core.receive(LoginRejected(RejectCode.SESSION_NOT_AVAILABLE).packet(), NOW_NS)
    assert core.refused is not None
    said = str(core.refused)
    assert "this node is not primary" in said
    assert "give the addresses of both nodes" in said
    assert "the user is logged in already" in said


def _every_turn(retry: Retry, core: Entry, errors: Sequence[ClientError]) -> None:
    """Tries without end, each of which ends with the error of its address."""
    now_s = 0.0
    while True:
        now_s += 0.1 + retry.delay_s(core, was_live=False, error=errors[TWO.index(retry.address)], now_s=now_s)


def test_a_login_that_no_address_takes_names_each_address_with_its_reason() -> None:
    core = Entry(USER, PASSWORD, Order, several=True)
    standby, nobody = LoginRefused("S", "not primary"), CannotConnect("nothing listens on two:2; check the port")
    retry = Retry(60.0, TWO)
    assert retry.delay_s(core, was_live=False, error=standby, now_s=0.0) == 0.0
    assert retry.delay_s(core, was_live=False, error=nobody, now_s=0.0) > 0, "a takeover may be under way"
    assert retry.why == (
        "no address takes the login: one:1: not primary; two:2: nothing listens on two:2; check the port"
    )
    retry.on_live()
    assert retry.why == ""
    retry = Retry(60.0, TWO)
    with pytest.raises(CannotConnect) as caught:
        _every_turn(retry, core, (nobody, nobody))
    assert str(caught.value).startswith("no address takes the login: one:1: nothing listens")
    retry = Retry(60.0, TWO)
    assert retry.delay_s(core, was_live=False, error=nobody, now_s=0.0) == 0.0
    with pytest.raises(LoginRefused) as refused:
        _every_turn(retry, core, (standby, standby))
    assert refused.value.code == "S"
    assert "one:1: not primary; two:2: not primary" in str(refused.value)
    wrong = LoginRefused("A", "wrong password")
    with pytest.raises(LoginRefused, match=r"^wrong password$"):
        Retry(60.0, TWO).delay_s(core, was_live=False, error=wrong, now_s=0.0)
    with pytest.raises(CannotConnect, match=r"^nothing listens on two:2; check the port$"):
        Retry(60.0, TWO[1:]).delay_s(core, was_live=False, error=nobody, now_s=0.0)


def test_a_connection_that_does_not_come_back_names_each_address_with_its_reason() -> None:
    core = Entry(USER, PASSWORD, Order, several=True)
    retry, errors = Retry(1.0, TWO), (LoginRefused("S", "not primary"), CannotConnect("nothing listens"))
    retry.delay_s(core, was_live=True, error=ConnectionLost("gone"), now_s=0.0)
    with pytest.raises(ConnectionLost) as caught:
        _every_turn(retry, core, errors)
    assert "one:1: not primary" in str(caught.value)
    assert "two:2: nothing listens" in str(caught.value)


# Over sockets


def test_a_client_logs_in_to_whichever_node_is_primary_and_follows_a_takeover() -> None:
    async def run() -> None:
        market = Market()
        one, two = Door(market, epoch=3), Door(market, is_copy=True)
        heard: list[Any] = []
        async with serve(one) as first, serve(two) as second:
            where = f"127.0.0.1:{free_port()},127.0.0.1:{second},127.0.0.1:{first}"
            client = AsyncClient(where, None, USER, PASSWORD, **QUICK)
            client.on_disconnect = client.on_caught_up = heard.append
            async with client:
                order = await client.enter("XYZ", Side.BUY, 100, "10.05")
                assert [(each.address, each.epoch) for each in heard] == [(f"127.0.0.1:{first}", 3)]
                assert two.logins == 1
                market.faults = after(0, Fault.AFTER)  # taken, but the answer is lost with the connection
                one.is_copy, two.is_copy, two.epoch = True, False, 4
                await order.replace(price="10.06")  # its answer is among the messages that were missed
                while not client.is_live:
                    await asyncio.sleep(0)
                assert [type(each) for each in heard] == [CaughtUp, Disconnected, CaughtUp]
                assert (heard[2].address, heard[2].epoch) == (f"127.0.0.1:{second}", 4)
                assert heard[2].outage_ns > 0
                assert order.is_open
                assert sum(isinstance(event, Accepted) for event in client.events_now()) == 1
            assert market.log.count((USER, "replaced", order.token.encode().ljust(14))) == 1

    asyncio.run(run())


def test_a_client_for_scripts_follows_too() -> None:
    market = Market()
    old = Market()
    with serve_aside(market) as aside:
        where = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{aside.port}"]
        with Client(where, None, USER, PASSWORD, **QUICK) as client:
            heard: list[Any] = []
            client.on_caught_up = heard.append
            market.faults = after(0, Fault.BEFORE)
            order = client.enter("XYZ", Side.BUY, 100, "10.05")
            assert order.is_open
            assert [each.resent for each in heard] == [1]
            assert old.log == []


def test_an_old_primary_that_answers_again_is_left_for_the_new_one() -> None:
    async def run() -> None:
        market = Market()
        one, two = Door(market, epoch=3), Door(Market(), is_copy=True)
        async with serve(one) as first, serve(two) as second:
            client = AsyncClient(f"127.0.0.1:{first},127.0.0.1:{second}", None, USER, PASSWORD, **QUICK)
            async with client:
                await client.enter("XYZ", Side.BUY, 100, "10.05", token="mine")
                # The second node takes over with all of the history; the first one does not know it yet.
                two.market.__dict__.update(copy.deepcopy({**market.__dict__, "peers": []}))
                two.is_copy, two.epoch = False, 4
                market.break_all()
                sent = NewOrder("XYZ", Side.BUY, 7, "10.01")
                _, request = await client.send(sent)
                await client.outcome(request)
                assert client.core.epoch == 4
                two.market.break_all()
                _, request = await client.send(sent)
                await client.outcome(request)
                assert one.logins >= 2, "it was tried"
                assert len(two.market.orders) == 3
                assert len(market.orders) == 1, "and nothing was sent to it"

    asyncio.run(run())
