"""Clients of FIX that nobody here wrote log on, trade with an echo behind our session, and ask for what they missed."""

import asyncio
import importlib.util
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fix_judge import echo
from tests.fix_trader import LOGGED_ON, Trader
from tests.fixcore_logs import silent_logs
from tests.running import until

DEADLINE_S = 90
TIME = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())


def quickfix_says(port: int, version: str, folder: Path, orders: list[str], expected: int) -> dict[str, list[str]]:
    """Names of the orders that came back to QuickFIX as a client, and what else came."""
    trader = Trader(port, folder, version, "TW", "ISLD")
    try:
        until(lambda: LOGGED_ON in trader.lines)
        for name in orders:
            trader.enter(name)
        until(lambda: len(trader.messages("D")) >= expected)
    finally:
        trader.stop()
    others = [line for line in trader.lines if line != LOGGED_ON and "|35=D|" not in line and "|35=5|" not in line]
    return {"got": [fields["11"] for fields in trader.messages("D")], "rejects": others}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["FIX.4.2", "FIX.4.4", "FIXT.1.1"])
def test_quickfix_trades_and_goes_on_with_its_numbers_after_a_new_logon(version: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("quickfix") is None:
        pytest.skip("quickfix-tls is not installed: make .venv/.extras")
    with echo(version, "--keep") as port:
        expected: list[str] = []
        for part in range(3):
            names = [f"A{part}-{each}" for each in range(200)]
            said = quickfix_says(port, version, tmp_path, names, len(names))
            assert said == {"got": names, "rejects": []}
            expected += names
        # A client that lost its number of what came asks for all of it again, and gets it once.
        (kept,) = (tmp_path / "store").glob("*.seqnums")
        ours, _ = kept.read_text().split(":")
        kept.write_text(f"{ours.strip()} : 0000000001")
        assert quickfix_says(port, version, tmp_path, [], len(expected)) == {"got": expected, "rejects": []}


def test_fixcore_trades(tmp_path: Path) -> None:
    pytest.importorskip("fixcore", reason="fixcore-engine is not installed: make .venv/.extras")
    from fixcore import Application
    from fixcore.message import Message
    from fixcore.session import SessionSettings
    from fixcore.store import MemoryStoreFactory
    from fixcore.transport import SocketInitiator

    got: list[str] = []
    live = asyncio.Event()

    class Seen(Application):  # type: ignore[misc]
        def on_logon(self, session_id: Any) -> None:  # noqa: ARG002
            live.set()

        def from_app(self, message: Any, session_id: Any) -> None:  # noqa: ARG002
            got.append(str(message[11]))

    async def trade(port: int) -> None:
        settings = tmp_path / "fixcore.cfg"
        settings.write_text(
            "[DEFAULT]\nConnectionType=initiator\nHeartBtInt=5\nReconnectInterval=1\n[SESSION]\nBeginString=FIX.4.4\n"
            f"SenderCompID=TW\nTargetCompID=ISLD\nSocketConnectHost=127.0.0.1\nSocketConnectPort={port}\n"
        )
        read = SessionSettings.from_file(str(settings))
        async with SocketInitiator(read, Seen(), MemoryStoreFactory(), silent_logs()) as initiator:
            await asyncio.wait_for(live.wait(), DEADLINE_S)
            (session,) = initiator._sessions.values()
            for each in range(50):
                order = Message()
                order.header.set(35, "D")
                for tag, value in ((11, f"A{each}"), (38, 1), (40, "1"), (54, "1"), (55, "ACME"), (60, TIME)):
                    order[tag] = str(value)
                await session.send_app(order)
            async with asyncio.timeout(DEADLINE_S):
                while len(got) < 50:
                    await asyncio.sleep(0.02)

    with echo("FIX.4.4", "--keep") as port:
        asyncio.run(trade(port))
    assert got == [f"A{each}" for each in range(50)]


def test_asyncfix_trades() -> None:
    asyncfix = pytest.importorskip("asyncfix", reason="asyncfix is not installed: make .venv/.extras")
    from asyncfix.protocol import FIXProtocol44

    got: list[str] = []
    live = asyncio.Event()

    class Seen(asyncfix.AsyncFIXClient):  # type: ignore[misc, name-defined]
        async def on_connect(self) -> None:
            await self.send_msg(self.protocol.logon())

        async def on_logon(self, is_healthy: bool) -> None:  # noqa: ARG002
            live.set()

        async def on_message(self, message: Any) -> None:
            if message.msg_type == "D":
                got.append(message[11])

        async def on_disconnect(self) -> None: ...

        async def on_logout(self, message: Any) -> None: ...

        async def on_state_change(self, state: Any) -> None: ...

    class Protocol(FIXProtocol44):  # type: ignore[misc]
        def logon(self) -> Any:
            return asyncfix.FIXMessage("A", {98: 0, 108: 5})

    async def trade(port: int) -> None:
        client = Seen(Protocol(), "TW", "ISLD", asyncfix.Journaler(), "127.0.0.1", port, heartbeat_period=5)
        await client.connect()
        await asyncio.wait_for(live.wait(), DEADLINE_S)
        for each in range(50):
            fields = {11: f"A{each}", 38: 1, 40: 1, 54: 1, 55: "ACME", 60: TIME}
            await client.send_msg(asyncfix.FIXMessage("D", fields))
        async with asyncio.timeout(DEADLINE_S):
            while len(got) < 50:
                await asyncio.sleep(0.02)

    with echo("FIX.4.4", "--keep") as port:
        asyncio.run(trade(port))
    assert got == [f"A{each}" for each in range(50)]


def test_simplefix_reads_our_answers_to_orders_of_which_each_field_was_broken() -> None:
    simplefix = pytest.importorskip("simplefix", reason="simplefix is not installed: make .venv/.extras")
    fields = {11: "A1", 55: "ACME", 54: "1", 38: "100", 40: "1", 60: TIME}

    def message(kind: str, seq: int, more: dict[int, str]) -> bytes:
        made = simplefix.FixMessage()
        now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
        for tag, value in {8: "FIX.4.4", 35: kind, 34: seq, 49: "TW", 52: now, 56: "ISLD", **more}.items():
            made.append_pair(tag, value)
        return bytes(made.encode())

    with echo("FIX.4.4", "--keep") as port, socket.create_connection(("127.0.0.1", port), DEADLINE_S) as peer:
        parser = simplefix.FixParser()

        def answer() -> Any:
            while (found := parser.get_message()) is None:
                data = peer.recv(65_536)
                assert data, "the connection was closed"
                parser.append_buffer(data)
            return found

        peer.sendall(message("A", 1, {98: "0", 108: "60"}))
        assert answer().get(35) == b"A"
        seq = 2
        for tag in fields:
            for broken in ("", " ", "\x02", "-", "é"):
                # Byte by byte: each field of an order has a value that none should have.
                data = message("D", seq, fields | {tag: broken})
                for at in range(0, len(data), 7):
                    peer.sendall(data[at : at + 7])
                said = answer()
                seq += 1
                if said.get(35) == b"3":
                    assert said.get(371) == str(tag).encode()
                    assert int(said.get(45)) == seq - 1
                else:
                    # Text of any kind is an id or a symbol.
                    assert said.get(35) == b"D"
                    assert tag in (11, 55)
                    assert broken
        peer.sendall(message("1", seq, {112: "STILL HERE"}))
        assert answer().get(112) == b"STILL HERE"
