"""Clients of gateway processes beside a core that is stopped: they are sent away within seconds, with a reason.

Nobody is sent away where a gateway was stopped itself, or with its core, or where the core is away for a moment.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client import AsyncNativeClient, CaughtUp, LoginRefused, NativeClient, Side
from marketdata.web.answers import BadRequest
from node.programs.core_silence import PATIENCE_NS, SILENT
from node.web.trading import Trader
from tests.fix_client import FixClient
from tests.ouch_messages import enter
from tests.pair_under_faults import PairNode, RunningPair
from tests.running import Client, Running, started, until
from tests.test_fix_gateway import back as fix_back
from tests.test_gateway_process import names
from tests.test_node_gateways import back, port_of
from tests.test_node_programs import logged, processes
from tests.test_web_trading import ASKED, KEY, Lines, ended, live
from wire.soup import PacketType

PATIENCE_S = PATIENCE_NS / 1e9
#: From the stop of the core until its clients are sent away, on a machine that does much else.
WITHIN_S = PATIENCE_S + 7.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    kinds = ("desk=ouch:0", "native=native:0", "fix=fix:0")
    running = started(tmp_path, *(word for kind in kinds for word in ("--gateway", kind)))
    yield running
    assert running.process is not None
    for each in processes_of(running):
        os.kill(each, signal.SIGCONT)
    running.stop()


def processes_of(running: Running) -> list[int]:
    """The core."""
    return [running.process.pid] if running.process is not None else []


def is_closed(connected: socket.socket) -> bool:
    """True if the exchange has ended the connection, whatever it has sent before."""
    connected.setblocking(False)
    try:
        while connected.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        connected.settimeout(120)
    return True


@pytest.mark.slow
def test_sessions_of_each_protocol_end_beside_a_silent_core_and_go_on_after_it(node: Running) -> None:
    ports = {name: port_of(node, name) for name in ("desk", "native", "fix")}
    ouch, native, fix = Client(ports["desk"], "UC"), Client(ports["native"], "UB"), FixClient(ports["fix"])
    fix.log_on()
    ouch.socket.sendall(enter("c1", "B", 1, 90_000))
    assert names(ouch.take(2), "ACCEPTED") == ["c1"]
    [core] = processes_of(node)
    os.kill(core, signal.SIGSTOP)
    stopped_s = time.monotonic()
    ouch.socket.sendall(enter("c2", "B", 1, 90_000))
    fix.order("f1")
    packets = ouch.until_end()
    took_s = time.monotonic() - stopped_s
    assert PATIENCE_S - 0.5 < took_s < WITHIN_S
    assert packets[-1][0] == PacketType.DEBUG
    assert b"does not answer" in packets[-1][1]
    assert any(kind == PacketType.DEBUG and b"does not answer" in text for kind, text in native.until_end())
    assert fix.next() is None, "no Logout: its number is that of the report of f1, which the client would pass over"
    assert time.monotonic() - stopped_s < WITHIN_S
    print(f"sent away after {took_s:.2f} s")

    # A login is refused at once, with the reason.
    asked_s = time.monotonic()
    with (
        pytest.raises(LoginRefused, match="does not answer") as refused,
        NativeClient(f"127.0.0.1:{ports['native']}", None, "UB", "secret"),
    ):
        pass
    assert refused.value.code == "S"
    assert Client(ports["desk"], "UC").answer == (PacketType.LOGIN_REJECTED, b"S")
    denied = FixClient(ports["fix"])
    answer = denied.log_on("secret", 30, (141, "Y"))
    assert (answer.msg_type, answer.get(b"58")) == (b"5", SILENT.encode())
    assert time.monotonic() - asked_s < 2.0

    os.kill(core, signal.SIGCONT)
    again = back(ports["desk"], "UC", 0)
    assert names(again.take(3), "ACCEPTED") == ["c1", "c2"], "nobody canceled the first, and the second was on its way"
    traded = fix_back(node, in_seq=fix.in_seq, out_seq=fix.out_seq)
    traded.send(b"2", [(7, fix.in_seq), (16, 0)])
    report = traded.report("f1")
    assert (report.get(b"150"), report.number(b"34")) == (b"0", fix.in_seq)
    assert node.status()["orders_open"] == 3, "all that were entered"
    assert logged(node, "a program ended") == []


@pytest.mark.slow
def test_sessions_go_on_where_a_gateway_was_stopped_or_both_or_the_core_for_a_moment(node: Running) -> None:
    port = port_of(node, "desk")
    client = Client(port, "UA")
    gateway, [core] = processes(node)["desk"]["pid"], processes_of(node)
    for first, second in ((gateway, 0), (gateway, core), (core, gateway)):
        for each in filter(None, (first, second)):
            os.kill(each, signal.SIGSTOP)
        time.sleep(PATIENCE_S + 1.0)
        os.kill(first, signal.SIGCONT)
        time.sleep(0.6)
        if second:
            os.kill(second, signal.SIGCONT)
        time.sleep(1.0)
        assert not is_closed(client.socket)
    os.kill(core, signal.SIGSTOP)
    time.sleep(PATIENCE_S / 2)
    os.kill(core, signal.SIGCONT)
    time.sleep(1.0)
    assert not is_closed(client.socket)
    # Control: it is closed where the core is away for longer.
    os.kill(core, signal.SIGSTOP)
    until(lambda: is_closed(client.socket), WITHIN_S)


@pytest.mark.slow
def test_a_web_user_is_told_that_there_is_no_order_entry_beside_a_silent_core(node: Running) -> None:
    port, [core] = port_of(node, "native"), processes_of(node)

    async def check() -> None:
        trader = Trader(f"127.0.0.1:{port}", KEY, Lines(), lambda _user, _messages: None)  # type: ignore[arg-type]
        running = asyncio.create_task(trader.run())
        await live(trader)
        os.kill(core, signal.SIGSTOP)
        under_way = asyncio.create_task(trader.enter(ASKED, "mine"))
        async with asyncio.timeout(WITHIN_S):
            while trader.is_live:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        with pytest.raises(BadRequest, match=r"there is no order entry now; ask again: .*does not answer") as refused:
            trader.live()
        assert refused.value.status == 503
        assert (await under_way).status == 504
        os.kill(core, signal.SIGCONT)
        await live(trader)
        again: Any = await trader.enter(ASKED, "mine")
        assert (again.status, again.value["client_oid"]) == (200, "mine"), again
        assert len(trader.account.orders) == 1
        await ended(running)

    asyncio.run(check())


@pytest.mark.slow
def test_a_trader_at_a_gateway_of_a_stopped_primary_goes_on_at_the_other_node_within_seconds(tmp_path: Path) -> None:
    async def run() -> None:
        pair = RunningPair(tmp_path, "--gateway", "desk=native:0")
        stopped: PairNode | None = None
        try:
            await pair.start()
            primary, standby = await pair.in_sync()
            ports = [await asyncio.to_thread(port_of, each, "desk") for each in (primary, standby)]
            where = ",".join(f"127.0.0.1:{port}" for port in ports)
            caught_up: list[CaughtUp] = []
            client = AsyncNativeClient(where, None, "UA", "secret", timeout_s=60, reconnect_for_s=300)
            client.on_caught_up = caught_up.append
            async with client:
                await client.enter("XYZ", Side.BUY, 1, "9.00")
                stopped = primary
                assert primary.process is not None
                os.kill(primary.process.pid, signal.SIGSTOP)
                stopped_s = time.monotonic()
                order = await client.enter("XYZ", Side.BUY, 1, "9.01")
                took_s = time.monotonic() - stopped_s
                print(f"answered after {took_s:.2f} s, told an outage of {caught_up[-1].outage_ns / 1e9:.2f} s")
                assert took_s < WITHIN_S + 3.0
                assert caught_up[-1].address.endswith(str(ports[1]))
                assert took_s - 1.0 < caught_up[-1].outage_ns / 1e9 <= took_s + 0.1
                assert order.token in {each.token for each in client.open_orders()}
                os.kill(primary.process.pid, signal.SIGCONT)
                stopped = None
                await pair.in_sync()
                port = await asyncio.to_thread(port_of, primary, "desk")
                refused = await asyncio.to_thread(Client, port, "UB")
                assert (refused.answer, refused.packet()[0]) == ((PacketType.LOGIN_REJECTED, b"S"), 0), "it is a copy"
        finally:
            if stopped is not None and stopped.process is not None:
                os.kill(stopped.process.pid, signal.SIGCONT)
            await pair.stop()

    asyncio.run(asyncio.wait_for(run(), 300))
