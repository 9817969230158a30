"""Clients of FIX that nobody here wrote, at the gateway of a node: they trade, and are told what they missed, once.

simplefix makes messages with which the gateway is abused: nothing that one user sends costs another anything.
"""

import asyncio
import json
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fix_client import FixClient
from tests.fixcore_logs import silent_logs
from tests.running import ROOT, Running, started
from tests.test_node_gateways import port_of

JUDGES = ROOT / "var" / "judges"
DEADLINE_S = 90
USERS = {"fixcore": "UF", "asyncfix": "UY", "jspurefix": "UJ"}
#: Reports that a client is told: ExecType and ClOrdID, in order.
Told = list[tuple[str, str]]
#: A life of a client: it logs on, enters an order, is told as much as is wanted, and logs out.
Life = Callable[[int, Path, str, int], Told]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = started(tmp_path_factory.mktemp("foreign"), "--gateway", "fix=fix:0")
    try:
        with running.link() as link:
            for user in USERS.values():
                link.ask("commands", text=f"user {user} participant=ALPHA")
                link.ask("password", user=user, password="secret")
        yield running
    finally:
        running.stop()


def by_fixcore(port: int, folder: Path, order: str, wanted: int) -> Told:
    """A life of fixcore-engine, with its store in a folder."""
    from fixcore import Application
    from fixcore.message import Message
    from fixcore.session import SessionSettings
    from fixcore.store import FileStoreFactory
    from fixcore.transport import SocketInitiator

    told: Told = []
    live = asyncio.Event()

    class Seen(Application):  # type: ignore[misc]
        def to_admin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002
            if message.msg_type == "A":
                message[554] = "secret"

        def on_logon(self, session_id: Any) -> None:  # noqa: ARG002
            live.set()

        def from_app(self, message: Any, session_id: Any) -> None:  # noqa: ARG002
            told.append((str(message[150]), str(message[11])))

    async def trade() -> None:
        path = folder / "fixcore.cfg"
        path.write_text(
            "[DEFAULT]\nConnectionType=initiator\nHeartBtInt=5\nReconnectInterval=1\n[SESSION]\nBeginString=FIX.4.4\n"
            f"SenderCompID=UF\nTargetCompID=LOCKSTEP\nSocketConnectHost=127.0.0.1\nSocketConnectPort={port}\n"
        )
        read = SessionSettings.from_file(str(path))
        async with SocketInitiator(read, Seen(), FileStoreFactory(folder / "store"), silent_logs()) as initiator:
            await asyncio.wait_for(live.wait(), DEADLINE_S)
            (session,) = initiator._sessions.values()
            made = Message()
            made.header.set(35, "D")
            for tag, value in fields_of(order).items():
                made[tag] = value
            await session.send_app(made)
            async with asyncio.timeout(DEADLINE_S):
                while len(told) < wanted:
                    await asyncio.sleep(0.02)
            await initiator.logout()
            await asyncio.sleep(1)

    asyncio.run(trade())
    return told


def by_asyncfix(port: int, folder: Path, order: str, wanted: int) -> Told:
    """A life of asyncfix, with its journal in a folder."""
    import asyncfix
    from asyncfix.protocol import FIXProtocol44

    told: Told = []
    live, over = asyncio.Event(), asyncio.Event()

    class Seen(asyncfix.AsyncFIXClient):  # type: ignore[misc]
        async def on_connect(self) -> None:
            await self.send_msg(asyncfix.FIXMessage("A", {98: 0, 108: 5, 554: "secret"}))

        async def on_logon(self, is_healthy: bool) -> None:  # noqa: ARG002
            live.set()

        async def on_message(self, message: Any) -> None:
            told.append((message[150], message[11]))

        async def on_disconnect(self) -> None:
            over.set()

        async def on_logout(self, message: Any) -> None:  # noqa: ARG002
            over.set()

        async def on_state_change(self, state: Any) -> None: ...

    async def trade() -> None:
        journal = asyncfix.Journaler(str(folder / "asyncfix.db"))
        client = Seen(FIXProtocol44(), "UY", "LOCKSTEP", journal, "127.0.0.1", port, heartbeat_period=5)
        await client.connect()
        await asyncio.wait_for(live.wait(), DEADLINE_S)
        async with asyncio.timeout(DEADLINE_S):
            while len(told) < wanted - 1:
                await asyncio.sleep(0.02)
            await client.send_msg(asyncfix.FIXMessage("D", fields_of(order)))
            while len(told) < wanted:
                await asyncio.sleep(0.02)
            await client.send_msg(asyncfix.FIXMessage("5", {}))
            await over.wait()

    asyncio.run(trade())
    return told


def by_jspurefix(port: int, folder: Path, order: str, wanted: int) -> Told:
    """A life of jspurefix, with its store in a folder."""
    line = ["node", str(ROOT / "tests" / "fix_judge.js"), str(JUDGES), str(port), "UJ", "secret", str(folder / "store")]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(each) for each in process.stdout or ()], daemon=True)
    reader.start()

    def hear() -> dict[str, Any]:
        while not (text := lines.get(timeout=DEADLINE_S)).startswith("{"):
            pass  # a line of its log
        return dict(json.loads(text))

    def tell(**request: Any) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()

    told: Told = []
    try:
        while (said := hear())["event"] != "ready":
            assert said["event"] == "message", said
            told.append((said["fields"]["ExecType"], said["fields"]["ClOrdID"]))
        tell(enter=order, price="9.00")
        while len(told) < wanted:
            said = hear()
            assert said["event"] == "message", said
            told.append((said["fields"]["ExecType"], said["fields"]["ClOrdID"]))
        tell(logout=True)
        while (said := hear())["event"] != "ended":
            assert said in ({"event": "stopped", "why": ""}, {"event": "ended"}), said
        process.stdin.close()
        process.wait(30)
    finally:
        process.kill()
        process.wait()
    return told


def fields_of(order: str) -> dict[int, str]:
    """Fields of an order."""
    now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
    return {11: order, 21: "1", 38: "1", 40: "2", 44: "9.00", 54: "1", 55: "XYZ", 59: "0", 60: now}


def available(name: str) -> None:
    """Skip where a client is not installed."""
    if name == "jspurefix":
        if shutil.which("node") is None or not (JUDGES / "node_modules" / "jspurefix").is_dir():
            pytest.skip(
                "node is not installed, or the npm package jspurefix is not in var/judges, where .ci/run puts it"
            )
    else:
        pytest.importorskip(name, reason=f"{name} is not installed: make .venv/.extras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "life"), [("fixcore", by_fixcore), ("asyncfix", by_asyncfix), ("jspurefix", by_jspurefix)]
)
def test_a_client_is_told_once_of_the_trade_that_it_missed_and_logs_out(
    node: Running, tmp_path: Path, name: str, life: Callable[[int, Path, str, int], Told]
) -> None:
    available(name)
    port = port_of(node, "fix")
    assert life(port, tmp_path, f"{name}-1", 1) == [("0", f"{name}-1")]
    with closing(FixClient(port, "UB")) as other:
        other.log_on("secret", 30, (141, "Y"))
        other.order(f"of-{name}", "2")
        assert other.report(f"of-{name}", "F").get(b"31") == b"9"
        other.send(b"5", [])
        assert other.next() is not None
    told = life(port, tmp_path, f"{name}-2", 2)
    assert sorted(told) == [("0", f"{name}-2"), ("F", f"{name}-1")]
    with node.link() as link:
        assert link.ask("commands", text="mass_cancel ALPHA")["rejected"] == 0


# Abuse, with messages that simplefix makes and reads.

#: Fields of an order, of which each is broken in turn, and those of its header that a client gives.
ORDER = {11: "", 21: "1", 38: "1", 40: "2", 44: "9.00", 54: "1", 55: "XYZ", 59: "0", 60: ""}
BROKEN = (
    "",
    " ",
    "\x02",
    "-",
    "é",
    "9" * 400,
    "-1",
    "0",
    "1e9",
    "\x00",
    "NaN",
    "Y" * 65,
    "20260101-25:00:00",
    "=",
    "|",
)
#: Types of answers: report, cancel reject, business reject, reject of the session.
ANSWERS = (b"8", b"9", b"j", b"3")


class Abuser:
    """A user whose messages simplefix makes. ``seq``: number of its next message."""

    def __init__(self, port: int, user: str) -> None:
        import simplefix

        self._library, self.user, self.seq = simplefix, user, 1
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._parser = simplefix.FixParser()
        self._expected = 0

    def message(self, kind: str, fields: dict[int, str], header: dict[int, str] | None = None) -> bytes:
        """The next message."""
        made = self._library.FixMessage()
        now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
        own = {8: "FIX.4.4", 35: kind, 49: self.user, 56: "LOCKSTEP", 34: str(self.seq), 52: now}
        self.seq += 1
        for tag, value in {**own, **(header or {}), **fields}.items():
            made.append_pair(tag, value)
        return bytes(made.encode())

    def order(self, name: str, broken: dict[int, str] | None = None) -> bytes:
        """An order."""
        now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
        return self.message("D", {**ORDER, 11: name, 60: now, **(broken or {})})

    def log_on(self, *more: bytes) -> None:
        """Log on, with what is pipelined behind the logon in one write."""
        self.socket.sendall(self.message("A", {98: "0", 108: "60", 141: "Y", 554: "secret"}) + b"".join(more))
        assert self.hear().get(35) == b"A"

    def hear(self) -> Any:
        """The next message but heartbeats. Its numbers have no gap."""
        while True:
            found = self._parser.get_message()
            if found is None:
                data = self.socket.recv(65_536)
                assert data, f"the connection of {self.user} was closed"
                self._parser.append_buffer(data)
                continue
            if self._expected and found.get(43) != b"Y":
                assert int(found.get(34)) == self._expected
            self._expected = int(found.get(34)) + 1
            if found.get(35) not in (b"0", b"1"):
                return found

    def alive(self) -> None:
        """Have a test request answered: all before it has been taken."""
        self.socket.sendall(self.message("1", {112: f"alive {self.seq}"}))
        while (found := self._parser.get_message()) is None or found.get(112) is None:
            if found is None:
                data = self.socket.recv(65_536)
                assert data, f"the connection of {self.user} was closed"
                self._parser.append_buffer(data)
        self._expected = int(found.get(34)) + 1


@pytest.fixture
def abuser(node: Running) -> Iterator[Abuser]:
    pytest.importorskip("simplefix", reason="simplefix is not installed: make .venv/.extras")
    made = Abuser(port_of(node, "fix"), "UY")
    yield made
    made.socket.close()


@pytest.mark.slow
def test_each_field_that_is_broken_has_one_answer_and_the_session_goes_on(node: Running, abuser: Abuser) -> None:
    """Whole, and byte by byte; beside it another user trades on."""
    with closing(FixClient(port_of(node, "fix"), "UF")) as other:
        other.log_on("secret", 30, (141, "Y"))
        abuser.log_on()
        count = 0
        for at, tag in enumerate((*ORDER, 1, 15, 99, 110, 111, 126, 211, 432, 528, 529, 1138, 2964, 9999)):
            for each, broken in enumerate(BROKEN):
                name = f"broken-{tag}-{each}"
                data = abuser.order(name, {tag: broken})
                pieces = [data] if each % 5 else [data[place : place + 1] for place in range(len(data))]
                for piece in pieces:
                    abuser.socket.sendall(piece)
                said = abuser.hear()
                assert said.get(35) in ANSWERS, said
                if said.get(35) == b"3":
                    assert int(said.get(45)) == abuser.seq - 1
                count += 1
            if at % 4 == 0:
                other.order(f"beside-{at}", price="8.00")
                other.report(f"beside-{at}")
        assert count == 22 * len(BROKEN)
        abuser.alive()


@pytest.mark.slow
def test_broken_fields_of_the_header_end_or_refuse_and_never_hurt_another(node: Running) -> None:
    pytest.importorskip("simplefix", reason="simplefix is not installed: make .venv/.extras")
    with closing(FixClient(port_of(node, "fix"), "UF")) as other:
        other.log_on("secret", 30, (141, "Y"))
        for tag in (8, 34, 35, 49, 52, 56, 43, 97, 115, 122):
            for broken in ("", "x", "-1", "FIX.9.9", "9" * 30)[tag in (8, 35) :]:
                abused = Abuser(port_of(node, "fix"), "UY")
                abused.log_on()
                abused.socket.settimeout(5)
                abused.socket.sendall(abused.message("D", {**ORDER, 11: "h"}, {tag: broken}))
                abused.socket.sendall(abused.message("5", {}))
                heard = []
                with suppress(AssertionError, OSError):  # the connection is closed
                    while not heard or heard[-1] != b"5":
                        heard.append(abused.hear().get(35))
                assert set(heard) <= {b"2", b"3", b"5", b"8", b"j"}, (tag, broken, heard)
                told = {b"2", b"3", b"8", b"j"}.intersection(heard) or heard[:1] == [b"5"] or tag == 8
                assert told, f"{tag}={broken}: it was neither rejected, asked for, entered nor ended, but {heard}"
                abused.socket.close()
        other.order("behind", price="8.00")
        other.report("behind")


@pytest.mark.slow
def test_orders_behind_a_logon_in_one_write_are_taken_in_turn(abuser: Abuser) -> None:
    abuser.seq = 2
    pipelined = [abuser.order(f"piped-{each}") for each in range(20)]
    abuser.seq = 1
    abuser.log_on(*pipelined)
    abuser.seq = 22
    told = [abuser.hear() for _ in range(20)]
    assert [each.get(11) for each in told] == [b"piped-%d" % each for each in range(20)]
    abuser.alive()


@pytest.mark.slow
def test_a_garbled_checksum_is_passed_over_and_its_message_asked_for(abuser: Abuser) -> None:
    abuser.log_on()
    good = abuser.order("garbled-1")
    digits = b"%03d" % ((int(good[-4:-1]) + 1) % 256)
    for broken in (
        good[:-4] + digits + b"\x01",
        good[:-4] + b"abc\x01",
        good.replace(b"\x0138=1\x01", b"\x0138=2\x01"),
    ):
        abuser.socket.sendall(broken)
    abuser.socket.sendall(abuser.order("garbled-2"))
    asked = abuser.hear()
    assert (asked.get(35), asked.get(7)) == (b"2", b"2"), "none of the three is a message; what came behind them waits"
    fresh = abuser.seq
    abuser.seq = 2
    abuser.socket.sendall(abuser.order("garbled-1"))
    abuser.seq = fresh
    assert [abuser.hear().get(11) for _ in range(2)] == [b"garbled-1", b"garbled-2"]
    abuser.alive()


@pytest.mark.slow
def test_a_torrent_of_noise_ends_its_connection_alone(node: Running) -> None:
    port = port_of(node, "fix")
    random = Random(16)
    with closing(FixClient(port, "UF")) as other:
        other.log_on("secret", 30, (141, "Y"))
        for kind in range(24):
            with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as noisy:
                noise = random.randbytes(40_000)
                logon = b"8=FIX.4.4\x019=%d\x0135=A\x01" % (10**kind)
                noisy.sendall((noise, logon + noise, b"8=" * 20_000, b"\x01" * 20_000)[kind % 4])
                with suppress(OSError):
                    noisy.shutdown(socket.SHUT_WR)
                    while noisy.recv(65_536):
                        pass
            other.order(f"noise-{kind}", price="8.00")
            other.report(f"noise-{kind}")
