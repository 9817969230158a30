"""Native order entry on a node: a gateway of its own speaks it, with all terms of the rulebook, and loses nothing."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from client import (
    Accepted,
    Canceled,
    Client,
    Executed,
    LoginRefused,
    MassCanceled,
    NativeClient,
    NewOrder,
    OrderChanged,
    OrderState,
    RequestRejected,
    Side,
    WrongProtocol,
)
from client import native as spoken
from engine.names import pack
from engine.records import Reason, TimeInForce
from gateway.protocol import MassCancel
from node.core.mass_cancels import TOO_MANY, MassCancels
from reports.rows import InBook
from tests.gateways import gateway
from tests.ouch_messages import enter
from tests.pair_processes import pair
from tests.running import Client as OuchClient
from tests.running import Running, kinds, started, until
from tests.test_node_gateways import port_of
from tests.test_node_programs import processes
from wire import soup
from wire.soup import PacketType

ROOT = Path(__file__).parent.parent
MIDPOINT = "instrument MID tick=0.01 lot=1 reference=10.00 books=lit,midpoint\nphase MID continuous"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--gateway", "native=native:0")
    try:
        yield running
    finally:
        running.stop()


def client_of(running: Running, user: str, **options: Any) -> Client:
    """A client that waits as long as a loaded machine takes."""
    settings = {"timeout_s": 120.0, "reconnect_for_s": 300.0} | options
    return NativeClient("127.0.0.1", port_of(running, "native"), user, "secret", **settings)


def awaited(client: Client, kind: type, count: int = 1) -> list[Any]:
    """The next events of a kind, whatever comes between."""
    found: list[Any] = []
    for event in client.events(120.0):
        if isinstance(event, kind):
            found.append(event)
            if len(found) == count:
                return found
    raise AssertionError(f"{len(found)} of {count} {kind.__name__}")


def reports(client: Client) -> list[Any]:
    """All reports of the stream, from its beginning on."""
    found: list[Any] = []

    def keep(_seq: int, payload: bytes) -> None:
        if len(payload) == spoken.REPORT.size:
            found.append(spoken.read_report(payload))

    client.on_message = keep
    return found


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["native", "ouch"])
def test_a_refused_login_says_why_and_tells_no_stranger_who_is_a_user(protocol: str, node: Running) -> None:
    def refused(user: str, password: str) -> str:
        port = port_of(node, "native") if protocol == "native" else node.port
        of = NativeClient if protocol == "native" else Client
        with pytest.raises(LoginRefused) as found:
            of("127.0.0.1", port, user, password, timeout_s=60.0, reconnect_for_s=0.0).connect()
        return str(found.value).partition(": ")[2]

    with closing(client_of(node, "UA")) as first:
        first.connect()
        assert refused("UA", "secret") == "the user is logged in already"
        assert refused("UA", "wrong") == refused("NOBODY", "secret") == "user or password is wrong"
        with node.link() as link:
            assert link.ask("commands", text="user UC participant=BETA allow=none")["rejected"] == 0
        assert refused("UC", "secret") == "the user may not log in"


@pytest.mark.slow
def test_terms_that_ouch_cannot_say_do_what_the_rulebook_says(node: Running) -> None:
    with node.link() as link:
        assert link.ask("commands", text=MIDPOINT)["rejected"] == 0
    buyer, seller = client_of(node, "UA"), client_of(node, "UB")
    told = reports(buyer)
    with closing(buyer), closing(seller):
        buyer.connect()
        seller.connect()
        stop = buyer.enter("XYZ", Side.BUY, 5, "10.20", terms="stop=10.10 tif=gtc")
        assert (told[-1].stop_e4, told[-1].time_in_force) == (101_000, TimeInForce.GTC)
        ice = seller.enter("XYZ", Side.SELL, 30, "10.10", terms="display=10")
        hidden = buyer.enter("XYZ", Side.BUY, 7, "9.90", terms="hidden tif=gtd until=2099-01-01T00:00:00")
        buyer.enter("XYZ", Side.BUY, 12, "10.10", terms="tif=fok")
        # The trade elects the stop, which meets the iceberg's next part.
        (triggered,) = awaited(buyer, OrderChanged)
        assert (triggered.token, triggered.kind, triggered.leaves_qty) == (stop.token, "triggered", 5)
        until(lambda: stop.state is OrderState.FILLED)
        assert {each.kind for each in awaited(seller, OrderChanged)} == {"replenished"}
        until(lambda: ice.leaves_qty == 13)
        with pytest.raises(RequestRejected, match="would_cross"):
            buyer.enter("XYZ", Side.BUY, 1, "10.10", terms="post_only")
        with pytest.raises(RequestRejected, match="invalid_instruction"):
            buyer.enter("XYZ", Side.BUY, 1, "10.00", terms="display=1 hidden")
        ice.replace(qty=60, terms="display=20")
        assert (ice.leaves_qty, ice.state) == (43, OrderState.LIVE)
        buyer.enter("MID", Side.BUY, 1, "9.90")
        seller.enter("MID", Side.SELL, 1, "10.10")
        crossed = buyer.enter("MID", Side.BUY, 4, None, terms="book=midpoint")
        seller.enter("MID", Side.SELL, 4, "10.00", terms="book=midpoint tif=ioc")
        until(lambda: crossed.state is OrderState.FILLED)
        assert crossed.average_price == 10
        hidden.cancel(qty=3)
        hidden.cancel()
        assert hidden.state is OrderState.CANCELED
        assert {each.user for each in told} == {"UA"}
        assert [each.seq for each in told] == sorted(each.seq for each in told)


@pytest.mark.slow
def test_a_peg_is_told_each_price_that_it_takes(node: Running) -> None:
    buyer, seller = client_of(node, "UA"), client_of(node, "UB")
    told = reports(buyer)
    with closing(buyer), closing(seller):
        buyer.connect()
        seller.connect()
        bid = buyer.enter("XYZ", Side.BUY, 10, "10.00")
        peg = buyer.enter("XYZ", Side.BUY, 5, None, terms="peg=primary offset=0.02 tif=gtc")
        (first,) = awaited(buyer, OrderChanged)
        assert (first.token, first.kind, first.price) == (peg.token, "repriced", Decimal("9.98"))
        assert spoken.words(told[-1]) == "tif=gtc peg=primary offset=0.02"
        bid.cancel()
        (unpriced,) = awaited(buyer, OrderChanged)
        assert (unpriced.kind, unpriced.price, unpriced.leaves_qty) == ("repriced", None, 5)
        assert (told[-1].last_price_e4, told[-1].in_book) == (0, InBook.BEFORE)
        peg.replace(qty=4)
        assert (peg.leaves_qty, peg.state) == (4, OrderState.LIVE)
        seller.enter("XYZ", Side.SELL, 9, "10.10")
        market = buyer.enter("XYZ", Side.BUY, 3, "10.05", terms="peg=market")
        (capped,) = awaited(buyer, OrderChanged)
        assert (capped.token, capped.price) == (market.token, Decimal("10.05"))
        seller.enter("XYZ", Side.SELL, 3, "9.90", terms="tif=ioc")
        until(lambda: market.state is OrderState.FILLED)
        assert market.average_price == Decimal("10.05")
        with pytest.raises(RequestRejected, match="invalid_instruction"):
            buyer.enter("XYZ", Side.BUY, 1, "10.00", terms="peg=midpoint offset=0.01")
        with pytest.raises(ValueError, match="peg"):
            buyer.enter("XYZ", Side.BUY, 1, "10.00", terms="peg=other")


@pytest.mark.slow
def test_clients_of_both_protocols_trade_and_each_stream_tells_the_user_all(node: Running) -> None:
    with client_of(node, "UA") as client:
        ouch = OuchClient(node.port, "UB")
        resting = client.enter("XYZ", Side.BUY, 40, "9.00", terms="tif=gtc", token="a1")
        ouch.socket.sendall(enter("s1", "S", 15, 90_000))
        assert kinds(ouch.take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED"]
        until(lambda: resting.leaves_qty == 25)
        resting.cancel()
    until(lambda: node.status()["logged_in"] == 1)
    same = OuchClient(node.port, "UA")
    assert kinds(same.take(4)) == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED", "CANCELED"]


@pytest.mark.slow
def test_a_mass_cancel_takes_the_orders_of_the_participant_and_says_how_many(node: Running) -> None:
    with client_of(node, "UB") as one, client_of(node, "UC") as other, client_of(node, "UA") as stranger:
        mine = [one.enter("XYZ", Side.BUY, 1, f"9.{n:02d}") for n in range(5)]
        sale = one.enter("XYZ", Side.SELL, 1, "11.00", terms="stop=8.00")
        theirs = other.enter("XYZ", Side.BUY, 1, "9.50")
        stays = stranger.enter("XYZ", Side.BUY, 1, "9.60")
        assert one.mass_cancel("XYZ", Side.BUY)
        (said,) = awaited(one, MassCanceled)
        assert (said.symbol, said.side, said.orders, said.reason) == ("XYZ", Side.BUY, 6, None)
        lost = awaited(one, Canceled, 5)
        assert {each.token for each in lost} == {each.token for each in mine}
        assert {each.reason for each in lost} == {Reason.MASS_CANCEL}
        assert awaited(other, MassCanceled)[0].orders == 6
        until(lambda: theirs.state is OrderState.CANCELED)
        assert (sale.state, stays.state) == (OrderState.LIVE, OrderState.LIVE)
        one.mass_cancel()
        assert awaited(one, MassCanceled)[0].orders == 1
        one.mass_cancel("NONE")
        assert awaited(one, MassCanceled)[0].reason == Reason.UNKNOWN_INSTRUMENT
        assert node.status()["orders_open"] == 1


@pytest.mark.slow
def test_a_stream_is_the_same_after_kills_of_gateway_and_node_and_from_any_message_on(node: Running) -> None:
    first: list[bytes] = []
    client = client_of(node, "UA")
    client.on_message = lambda _seq, payload: first.append(payload)
    with closing(client):
        client.connect()
        for n in range(20):
            client.enter("XYZ", Side.BUY, 1 + n, "9.00", terms="tif=gtc display=1" if n % 2 else "hidden")
        client.mass_cancel()
        awaited(client, Canceled, 20)
        pid = processes(node)["native"]["pid"]
        os.kill(pid, signal.SIGKILL)
        client.enter("XYZ", Side.BUY, 99, "9.00")
    until(lambda: node.status()["logged_in"] == 0)
    node.end(signal.SIGKILL)
    node.start()
    again: list[bytes] = []
    for begin in (1, 7):
        again.clear()
        other = client_of(node, "UA", from_seq=begin)
        other.on_message = lambda _seq, payload: again.append(payload)
        with closing(other):
            other.connect()
        until(lambda: node.status()["logged_in"] == 0)
        assert again[: len(first) - begin + 1] == first[begin - 1 :]
    assert len(first) > 43


def killed(node: Running) -> bool:
    """Kill the gateway, unless it is between two lives; True if it was there."""
    pid = processes(node)["native"]["pid"]
    if not pid:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("victim", ["native", "core"])
def test_kills_lose_no_order_and_double_none(tmp_path: Path, kills: int, victim: str) -> None:
    node, chance = started(tmp_path, "--gateway", "native=native:0"), random.Random(kills)
    client = None
    try:
        port_of(node, "native")
        accepted: list[str] = []
        if victim == "native":
            client = client_of(node, "UA")
            client.connect()
        tokens: list[str] = []
        for kill in range(kills):
            if victim == "core":
                client = client_of(node, "UA", reconnect_for_s=0.0)
                client.connect()
            assert client is not None
            sent = []
            for n in range(chance.randrange(5, 40)):
                tokens.append(f"k{kill}-{n}")
                sent.append(client.send(NewOrder("XYZ", Side.BUY, 1, "9.00", terms="tif=gtc"), tokens[-1])[1])
            time.sleep(chance.random() * 0.02)
            if victim == "native":
                until(lambda: killed(node))
                for each in sent:
                    client.outcome(each)
            else:
                known = {each.token for each in awaited_now(client)}
                node.end(signal.SIGKILL)
                client.close()
                node.start()
                with client_of(node, "UA") as back:
                    assert known <= back.orders.keys(), "what was told is there after the kill"
                    for token in [each for each in tokens if each not in back.orders]:
                        back.enter("XYZ", Side.BUY, 1, "9.00", terms="tif=gtc", token=token)
                until(lambda: node.status()["logged_in"] == 0)
        if client is not None:
            client.close()
        until(lambda: node.status()["logged_in"] == 0)
        with client_of(node, "UA") as last:
            last.on_message = None
            accepted = [each.token for each in last.open_orders()]
        assert sorted(accepted) == sorted(tokens), "each order once"
        assert node.status()["orders_open"] == len(tokens)
    finally:
        if client is not None:
            client.close()
        node.stop()


def awaited_now(client: Client) -> list[Accepted]:
    """Orders that were accepted by now."""
    found: list[Accepted] = []
    while (event := client.next_event(0.0)) is not None:
        if isinstance(event, Accepted):
            found.append(event)
    return found


@pytest.mark.slow
def test_orders_go_with_the_connection_of_a_user_who_asked_for_that(node: Running) -> None:
    goes, stays = Bare(node, "UC"), Bare(node, "UA")
    for each in (goes, stays):
        each.send(spoken.enter(NewOrder("XYZ", Side.BUY, 5, "9.00", terms="tif=gtc"), "c1"))
        each.until_report("c1")
        each.client.socket.close()
    until(lambda: node.status()["orders_open"] == 1)
    with client_of(node, "UC") as back:
        # The node has canceled it; its gateway may hear of that after the login.
        until(lambda: back.orders["c1"].state is OrderState.CANCELED)


class Bare:
    """A bare connection: packets of SoupBinTCP with payloads of the test's own."""

    def __init__(self, node: Running, user: str) -> None:
        self.client = OuchClient(port_of(node, "native"), user)
        assert self.client.answer[0] == PacketType.LOGIN_ACCEPTED

    def send(self, *payloads: bytes) -> None:
        self.client.socket.sendall(b"".join(soup.packet(PacketType.UNSEQUENCED, each) for each in payloads))

    def until_report(self, token: str) -> Any:
        while True:
            kind, payload = self.client.packet()
            assert kind, "the connection ended"
            if kind == PacketType.SEQUENCED and len(payload) == spoken.REPORT.size:
                report = spoken.read_report(payload)
                if report.order_token == token:
                    return report


@pytest.mark.slow
def test_hostile_bytes_end_their_connection_or_are_rejected_and_the_market_goes_on(node: Running) -> None:
    chance = random.Random(77)
    neighbour = Bare(node, "UB")
    whole = [
        spoken.enter(NewOrder("XYZ", Side.BUY, 5, "9.00"), "h1"),
        spoken.cancel("h1"),
        spoken.replace(None, "h1", "h2", 3, 90_000),  # type: ignore[arg-type]
        spoken.mass_cancel("XYZ"),
    ]
    for round_ in range(30):
        hostile = Bare(node, "UA")
        for _ in range(20):
            payload = bytearray(chance.choice(whole))
            for _ in range(chance.randrange(1, 6)):
                payload[chance.randrange(len(payload))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
            cut = chance.random()
            try:
                hostile.send(bytes(payload[: chance.randrange(len(payload))] if cut < 0.05 else payload))
            except OSError:
                break
        hostile.client.socket.close()
        neighbour.send(spoken.enter(NewOrder("XYZ", Side.BUY, 1, "8.00"), f"n{round_}"))
        assert neighbour.until_report(f"n{round_}").reason == 0
        until(lambda: node.status()["logged_in"] == 1)
    assert processes(node)["native"]["restarts"] == 0


def test_mass_cancels_that_wait_are_bounded_and_one_too_many_ends_the_login() -> None:
    class Streams:
        def row(self, _user: int) -> dict[str, int]:
            return {"participant_name": pack("ALPHA")}

        def name(self, _user: int) -> str:
            return "UA"

    async def run() -> None:
        go, rows, ended, logged = asyncio.Event(), [], [], []

        async def submit(commands: Any) -> Any:
            await go.wait()
            rows.append(commands)

        cancels = MassCancels(
            Streams(),  # type: ignore[arg-type]
            submit,
            lambda: True,
            lambda user, why: ended.append((user, why)),
            lambda event, **_: logged.append(event),
        )
        tasks = [asyncio.create_task(cancels.cancel(1, MassCancel("XYZ", -1))) for _ in range(8) if cancels.admit(1)]
        assert (len(tasks), cancels.admit(1), cancels.admit(2)) == (8, False, True)
        assert ended == [(1, TOO_MANY)]
        go.set()
        await asyncio.gather(*tasks)
        assert {(int(row["symbol"]), int(row["side"]), int(row["name"])) for (row,) in rows} == {
            (pack("XYZ"), -1, pack("ALPHA"))
        }
        assert cancels.admit(1), "none waits any more"
        await cancels.cancel(1, MassCancel("NOT A SYMBOL", 0))
        assert logged == ["mass cancel not done"]

    asyncio.run(run())


@pytest.mark.slow
def test_trade_speaks_it_with_the_words_of_the_notation(node: Running) -> None:
    lines = """
        buy 10 XYZ @ 9.00 gtc token=t1
        sell 20 XYZ @ 11.00 stop=8.50 token=t2
        buy 30 XYZ @ 9.10 display=10 token=t3
        replace t3 40 @ 9.10 display=20
        mass_cancel XYZ buy
        orders
        short 5 XYZ @ 9
        buy 1 XYZ @ 9 hidden display=1
    """
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "trade", "--user", "UA", "--port", str(port_of(node, "native")),
         "--protocol", "native"],
        input=lines, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
        env={**os.environ, "LOCKSTEP_PASSWORD": "secret"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "accepted t1: buy 10 XYZ @ 9.00" in done.stdout
    assert "mass cancel in XYZ: 2 open buy orders" in done.stdout
    assert "t2" in done.stdout.splitlines()[-2] + done.stdout.splitlines()[-1]
    assert "native order entry has no short sales; write sell" in done.stderr
    assert "rejected" in done.stdout


@pytest.mark.slow
def test_a_takeover_goes_on_at_the_gateway_of_the_other_node(tmp_path: Path) -> None:
    with (
        pair(tmp_path) as (_, a, b),
        gateway(a, "native", "--protocol", "native") as of_a,
        gateway(b, "native", "--protocol", "native") as of_b,
    ):
        both = f"127.0.0.1:{of_a.port},127.0.0.1:{of_b.port}"
        with NativeClient(both, None, "UA", "secret", timeout_s=120.0, reconnect_for_s=300.0) as client:
            before = [client.enter("XYZ", Side.BUY, 5, "9.00", terms="tif=gtc display=1") for _ in range(5)]
            a.end(signal.SIGKILL)
            assert of_a.wait() == 75
            b.awaits(state="reigning")
            after = client.enter("XYZ", Side.BUY, 5, "9.00", terms="stop=11.00")
            assert {each.state for each in (*before, after)} == {OrderState.LIVE}
            assert client.core.epoch > 0
            assert not any(isinstance(each, Executed) for each in client.events(0.1))


@pytest.mark.slow
def test_a_client_of_the_wrong_protocol_is_told_and_nothing_is_entered(node: Running) -> None:
    with pytest.raises(WrongProtocol, match=r"this port speaks OUCH 4\.2 and not native order entry"):
        NativeClient("127.0.0.1", node.port, "UA", "secret", timeout_s=5.0, reconnect_for_s=0.0).connect()
    with pytest.raises(WrongProtocol, match="this port speaks native order entry and not OUCH"):
        Client("127.0.0.1", port_of(node, "native"), "UA", "secret", timeout_s=5.0, reconnect_for_s=0.0).connect()
    for words in (["--port", str(port_of(node, "native"))], ["--port", str(node.port), "--protocol", "native"]):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "trade", "--user", "UA", *words],
            input="orders\n", capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
            env={**os.environ, "LOCKSTEP_PASSWORD": "secret"},
        )  # fmt: skip
        assert done.returncode == 2
        assert "this port speaks" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    with pytest.raises(ValueError, match="there is no protocol 'fix'"):
        Client("127.0.0.1", node.port, "UA", "secret").core.speak("fix")
    assert node.status()["orders_open"] == 0
