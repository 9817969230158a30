"""A node as its clients meet it: a process of its own, over loopback, ended in order or killed, and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.link import Answered, Link
from tests.ouch_messages import cancel, enter, messages
from wire import soup
from wire.soup import LoginAccepted, LoginRequest, PacketType

ROOT = Path(__file__).parent.parent
SET_UP = """instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
user UA participant=ALPHA firm=FIRM
user UB participant=BETA firm=FIRM allow=login,newest_wins
user UC participant=BETA allow=login,cancel_on_disconnect
phase XYZ continuous"""
START_S = 150.0


class Running:
    """A node in a process of its own."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._options = options
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> None:
        line = [sys.executable, "-m", "cli.main", "serve", "--data", str(self.data), "--port", "0", "--json"]
        line += ["--password-cost", "4", "--orders-max", "4096", "--ids-max", "65536", *self._options]
        self.process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.process.stderr.read() if self.process.stderr else ""
        self.port = json.loads(said)["listening"]["port"]

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(30)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process = None
        return status

    def set_up(self) -> None:
        with Link(self.data) as link:
            assert link.ask("commands", text=SET_UP)["rejected"] == 0
            for user in ("UA", "UB", "UC"):
                link.ask("password", user=user, password="secret")

    def status(self) -> dict[str, Any]:
        with Link(self.data) as link:
            return dict(link.ask("status")["status"])


class Client:
    """A socket that speaks packets."""

    def __init__(self, port: int, user: str, password: str = "secret", session: str = "", seq: int = 1) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.sendall(LoginRequest(user, password, session, seq).packet())
        self.rest = b""
        self.stream = b""
        self.answer = self.packet()

    def packet(self) -> tuple[int, bytes]:
        """Type and payload of the next packet; (0, nothing) at the end."""
        while len(self.rest) < 2 or len(self.rest) < 2 + int.from_bytes(self.rest[:2], "big"):
            data = self.socket.recv(65_536)
            if not data:
                return 0, b""
            self.rest += data
        length = int.from_bytes(self.rest[:2], "big")
        whole, self.rest = self.rest[: 2 + length], self.rest[2 + length :]
        if whole[2] == PacketType.SEQUENCED:
            self.stream += whole
        return whole[2], whole[3:]

    def take(self, count: int) -> bytes:
        """The stream up to ``count`` messages since the login."""
        while len(messages(self.stream)) < count:
            assert self.packet()[0] in (PacketType.SEQUENCED, PacketType.SERVER_HEARTBEAT)
        return self.stream

    def until_end(self) -> list[tuple[int, bytes]]:
        """What comes until the server closes."""
        found = []
        while (packet := self.packet())[0]:
            found.append(packet)
        return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "node")
    running.start()
    running.set_up()
    yield running
    if running.process is not None:
        running.end(signal.SIGKILL)


def kinds(stream: bytes) -> list[str]:
    return [kind for kind, _ in messages(stream)]


def test_an_order_is_answered_and_a_trade_goes_to_both(node: Running) -> None:
    seller, buyer = Client(node.port, "UA"), Client(node.port, "UB")
    assert seller.answer[0] == PacketType.LOGIN_ACCEPTED
    seller.socket.sendall(enter("s1", "S", 100, 100_500))
    assert kinds(seller.take(2)) == ["SYSTEM_EVENT", "ACCEPTED"]
    buyer.socket.sendall(enter("b1", "B", 60, 100_500) + cancel("none"))
    assert kinds(buyer.take(4)) == ["SYSTEM_EVENT", "ACCEPTED", "EXECUTED", "CANCEL_REJECT"]
    assert kinds(seller.take(3))[-1] == "EXECUTED"


def test_after_a_kill_a_client_gets_the_same_bytes_from_any_message_on(node: Running) -> None:
    first = Client(node.port, "UA")
    for number in range(40):
        name = f"o{number}" if number % 2 else f"LONGTOKEN{number:05d}"
        first.socket.sendall(enter(name, "B", 10 + number, 100_000 - 100 * number))
    before = first.take(41)
    assert node.end(signal.SIGKILL) == -signal.SIGKILL
    node.start()
    for seq in (1, 2, 30, 41):
        again = Client(node.port, "UA", seq=seq)
        accepted = LoginAccepted.read(again.answer[1])
        assert accepted.next_seq == seq
        assert before.endswith(again.take(42 - seq))
        assert kinds(again.stream) == kinds(before)[seq - 1 :]
        again.socket.sendall(soup.packet(PacketType.LOGOUT))
        again.until_end()
    resent = Client(node.port, "UA", seq=0)
    resent.socket.sendall(enter("o1", "B", 11, 99_900) + cancel("o1"))
    assert kinds(resent.take(2)) == ["REJECTED", "CANCELED"], "a resend executes nothing twice"


def test_a_login_is_refused_as_the_protocol_says(node: Running) -> None:
    for user, password, session, seq, code in (
        ("UA", "wrong", "", 1, b"A"),
        ("NOBODY", "secret", "", 1, b"A"),
        ("UA", "secret", "OTHER", 1, b"S"),
        ("UA", "secret", "", 99, b"S"),
    ):
        client = Client(node.port, user, password, session, seq)
        assert client.answer == (PacketType.LOGIN_REJECTED, code)
        assert client.packet() == (0, b"")
    first = Client(node.port, "ua", "SECRET")
    assert first.answer[0] == PacketType.LOGIN_ACCEPTED, "users and passwords are the same in small letters"
    assert Client(node.port, "UA").answer == (PacketType.LOGIN_REJECTED, b"S"), "a second login of the user"
    old = Client(node.port, "UB")
    assert Client(node.port, "UB").answer[0] == PacketType.LOGIN_ACCEPTED, "of one whose newest login wins"
    assert old.until_end()[-1][0] == PacketType.DEBUG


def test_garbage_ends_its_own_session_with_the_reason(node: Running) -> None:
    other = Client(node.port, "UB")
    client = Client(node.port, "UA")
    client.socket.sendall(enter("a1", "B", 5, 90_000) + soup.packet(PacketType.UNSEQUENCED, b"nonsense"))
    kind, payload = client.until_end()[-1]
    assert (kind, b"no OUCH client sends it" in payload) == (PacketType.DEBUG, True)
    other.socket.sendall(enter("b1", "B", 5, 90_000))
    assert kinds(other.take(2))[-1] == "ACCEPTED"
    assert kinds(Client(node.port, "UA").take(2)) == ["SYSTEM_EVENT", "ACCEPTED"], "what came before it counts"


def test_orders_go_with_the_connection_where_the_user_has_it_so(node: Running) -> None:
    client = Client(node.port, "UC")
    client.socket.sendall(enter("c1", "B", 5, 90_000) + enter("c2", "B", 5, 90_000))
    client.take(3)
    client.socket.close()
    deadline_s = time.monotonic() + 10
    while node.status().get("events_canceled", 0) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    again = Client(node.port, "UC")
    assert kinds(again.take(5)) == ["SYSTEM_EVENT", "ACCEPTED", "ACCEPTED", "CANCELED", "CANCELED"]


def test_sigterm_ends_sessions_and_the_node_in_order(node: Running) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(enter("a1", "B", 5, 90_000))
    client.take(2)
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGTERM)
    assert client.until_end()[-1][0] == PacketType.END_OF_SESSION
    assert node.end(signal.SIGTERM) == 0
    assert not (node.data / "admin.json").exists()
    node.start()
    assert kinds(Client(node.port, "UA").take(2)) == ["SYSTEM_EVENT", "ACCEPTED"]


def test_a_node_goes_on_from_its_checkpoint_with_the_same_bytes(node: Running) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(b"".join(enter(f"o{number}", "B", 10, 90_000) for number in range(30)))
    client.take(31)
    with Link(node.data) as link:
        taken = link.ask("checkpoint")["checkpoint"]
    assert Path(taken["path"]).stat().st_size == taken["bytes"]
    client.socket.sendall(b"".join(enter(f"LONGTOKEN{number:05d}", "S", 5, 90_000) for number in range(30)))
    before = client.take(31 + 60)
    node.end(signal.SIGKILL)
    node.start()
    assert node.status()["checkpoint_seq"] == taken["seq"]
    for seq in (1, 20, 32, 90):
        again = Client(node.port, "UA", seq=seq)
        assert before.endswith(again.take(92 - seq))
        again.socket.sendall(soup.packet(PacketType.LOGOUT))
        again.until_end()
    assert node.end(signal.SIGTERM) == 0
    node.start()
    assert node.status()["checkpoint_seq"] >= node.status()["seq"] - 1, "a node checkpoints at its end"
    assert Client(node.port, "UA", seq=1).take(91) == before


def test_nothing_is_opened_by_a_clock_that_is_not_kept_as_required(tmp_path: Path) -> None:
    running = Running(tmp_path / "node", "--clock-error-max-ms", "0")
    running.start()
    try:
        with Link(running.data) as link:
            link.ask("commands", text="instrument XYZ tick=0.01 lot=1 reference=10.00")
            with pytest.raises(Answered, match="nothing is opened"):
                link.ask("commands", text="phase XYZ continuous")
            assert link.ask("commands", text="phase XYZ closed")["rejected"] == 0
    finally:
        running.end(signal.SIGKILL)


def test_no_password_is_in_any_file_of_a_node(node: Running) -> None:
    Client(node.port, "UA")
    node.end(signal.SIGTERM)
    for path in node.data.rglob("*"):
        if path.is_file():
            assert b"secret" not in path.read_bytes().lower(), path
