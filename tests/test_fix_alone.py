"""A client of FIX with which a kernel of the gateway stays, while it is alone: a gateway in this process, and a node
beside it."""

import asyncio
import io
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.contention import Contention
from gateway.fix import alone
from gateway.fix.alone import Stay, Stays
from gateway.fix.protocol import Fix
from node.gateways import alone_client, answer_spin, process
from node.gateways.process import GatewayOptions, GatewayProcess
from node.programs.logs import Log
from tests.fix_client import FixClient, one_write
from tests.running import WAIT_S, Running, started, until

#: Longest spin here: others may have the processor.
_SPIN_NS = 100_000_000


class Served:
    """Record of a gateway while clients of a test had their turn. ends: of stays; messages: taken in stays."""

    def __init__(self) -> None:
        self.ends: Counter[int] = Counter()
        self.messages = 0
        self.port = 0
        self.gateway: Any = None


@pytest.fixture
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A node; its parameter: the durability."""
    running = started(tmp_path, "--durability", getattr(request, "param", "none"))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Served:
    served, plain = Served(), Stays.stay

    def stay(self: Stays, *given: Any) -> Stay:
        found = plain(self, *given)
        served.ends[found.why] += 1
        served.messages += found.messages
        return found

    monkeypatch.setattr(Stays, "stay", stay)
    for module in (answer_spin, process, alone_client):
        monkeypatch.setattr(module, "SPIN_NS", _SPIN_NS)
    return served


def serve(node: Running, served: Served, clients: Callable[[], None]) -> None:
    """Run a gateway on this thread, and clients on another."""

    async def run() -> None:
        made = GatewayProcess(GatewayOptions(node.data, "one", Fix()), Log(io.StringIO()))
        await made.start()
        served.port, served.gateway = made.port, made.gateway
        try:
            await asyncio.to_thread(clients)
        finally:
            made.stop()
            await made.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def trade_alone(client: FixClient, count: int, prefix: str = "o") -> None:
    """Orders and cancels, one at a time."""
    for number in range(count):
        name = f"{prefix}{number}"
        client.order(name, qty=10, price="9.00")
        assert client.report(name).get(b"150") == b"0"
        client.change(b"F", f"c{name}", name)
        assert client.report(f"c{name}").get(b"150") == b"4"


def trade_until_alone(client: FixClient, served: Served, prefix: str = "a") -> None:
    """Orders and cancels until a few went by stays: these begin later where others have the processors."""
    before, numbers, until_s = served.messages, itertools.count(), time.monotonic() + WAIT_S
    while served.messages < before + 6:
        assert time.monotonic() < until_s, served.ends
        trade_alone(client, 1, f"{prefix}{next(numbers)}-")


@pytest.mark.slow
@pytest.mark.parametrize("node", ["none", "fsync"], indirect=True)
def test_a_client_alone_has_all_that_it_would_have_and_so_do_those_who_come(
    node: Running, counted: Served, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["node"] == "fsync":  # no answer comes within a look
        for module in (answer_spin, process, alone_client):
            monkeypatch.setattr(module, "SPIN_NS", 1_000)
        monkeypatch.setattr(alone_client, "DISK_NS", _SPIN_NS)
        monkeypatch.setattr(Contention, "is_high", lambda _: False)

    def clients() -> None:
        with closing(FixClient(counted.port)) as first:
            first.log_on()
            trade_until_alone(first, counted)
            first.order("rests", qty=10, price="10.00")
            first.report("rests")
            with closing(FixClient(counted.port, "UB")) as other:  # it trades with the one that is alone
                other.log_on()
                for number in range(5):
                    other.order(f"s{number}", "2", 1, "10.00")
                    assert first.report("rests").get(b"151") == b"%d" % (9 - number)
                    assert other.report(f"s{number}", "F").get(b"39") == b"2"
                    trade_alone(first, 2, f"n{number}-")
            trade_until_alone(first, counted, "l")
            first.send(b"1", [(112, "are you there")])  # no order: the loop reads it
            first.until(lambda each: each.msg_type == b"0" and each.get(b"112") == b"are you there")
            trade_until_alone(first, counted, "m")
            with one_write(first):
                for number in range(100):
                    first.order(f"many{number}", price="8.00")
            for number in range(100):
                assert first.report(f"many{number}").get(b"150") == b"0"
            trade_alone(first, 10, "p")
            first.send(b"5", [])
            first.until(lambda each: each.msg_type == b"5")
            in_seq, out_seq, frames = first.in_seq, first.out_seq, first.frames
        with closing(FixClient(counted.port, in_seq=in_seq, out_seq=out_seq)) as again:
            again.log_on()
            again.in_seq = 1
            again.send(b"2", [(7, 1), (16, in_seq - 1)])
            seen = [_told(each) for each in _reports(frames)]
            resent: list[Any] = []
            while len(resent) < len(seen):
                again.next()
                resent = [_told(each) for each in _reports(again.frames)]
            assert resent == seen

    serve(node, counted, clients)
    assert counted.ends[alone.CALLED], counted.ends


def _reports(frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames if b"\x0135=8\x01" in frame]


#: BodyLength, CheckSum, PossDupFlag, SendingTime, OrigSendingTime.
_OF_SENDING = (b"9", b"10", b"43", b"52", b"122")


def _told(frame: bytes) -> list[bytes]:
    """Fields of a report, but for those that differ in a message that is sent again."""
    return [field for field in frame.split(b"\x01") if field.partition(b"=")[0] not in _OF_SENDING]


@pytest.mark.slow
def test_timers_go_on_beside_a_client_that_is_alone_and_one_that_rests_is_read_by_the_loop(
    node: Running, counted: Served
) -> None:
    def clients() -> None:
        with closing(FixClient(counted.port)) as client:
            client.log_on("secret", 1)
            trade_until_alone(client, counted)
            (connection,) = counted.gateway.connections
            until(lambda: not connection.holding)
            client.until(lambda each: each.msg_type == b"0")
            began_s, before = time.monotonic(), len(client.frames)
            while time.monotonic() < began_s + 2.5:  # never at rest for long enough
                trade_alone(client, 1, f"t{time.monotonic_ns()}")
                time.sleep(0.02)
            assert len(client.frames) > before

    serve(node, counted, clients)


@pytest.mark.slow
def test_orders_of_a_client_that_breaks_off_alone_go_with_its_connection(node: Running, counted: Served) -> None:
    def clients() -> None:
        client = FixClient(counted.port, "UC")
        client.log_on()
        trade_until_alone(client, counted)
        client.order("stays", qty=10, price="9.00")
        client.report("stays")
        client.close()
        until(lambda: not counted.gateway.connections)
        with closing(FixClient(counted.port, "UB")) as other:
            other.log_on()
            names = map("s{}".format, itertools.count())

            def finds_nothing() -> bool:
                name = next(names)
                other.order(name, "2", 1, "9.00", f59=3)
                ended = other.until(lambda each: each.get(b"11") == name.encode() and each.get(b"150") in (b"4", b"F"))
                return ended.get(b"150") == b"4"

            until(finds_nothing)

    serve(node, counted, clients)
    assert counted.ends[alone.ENDED] or counted.ends[alone.CALLED]


@pytest.mark.slow
def test_a_gateway_ends_with_a_client_that_is_alone(node: Running, counted: Served) -> None:
    ended = threading.Event()

    def clients() -> None:
        client = FixClient(counted.port)
        client.log_on()
        trade_until_alone(client, counted)
        node.stop()
        while client.next() is not None:
            pass
        ended.set()
        client.close()

    with pytest.raises(process.CoreGone):
        serve(node, counted, clients)
    assert ended.is_set()


@pytest.mark.slow
def test_a_client_that_waits_for_a_slow_core_is_answered_and_served_alone_again(
    node: Running, counted: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clients() -> None:
        with closing(FixClient(counted.port)) as client:
            client.log_on()
            trade_until_alone(client, counted)
            monkeypatch.setattr(alone_client, "SPIN_NS", 0)
            trade_alone(client, 10, "late")
            monkeypatch.setattr(alone_client, "SPIN_NS", _SPIN_NS)
            trade_until_alone(client, counted, "l")

    serve(node, counted, clients)
