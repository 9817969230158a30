"""Direct connections: handed over to the compiled turn and back under load, without a byte lost or sent twice."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.jit import INTERPRETED, Packed
from gateway import turn_memory as t
from gateway.ouch.protocol import OUCH
from gateway.told import Told
from gateway.turn import beat_lines
from tests.ouch_messages import cancel, enter, messages
from tests.running import Client, Running, kinds, started
from wire import soup
from wire.soup import PacketType
from wire.soup_session import HEARTBEAT_NS, SILENCE_NS

PATIENCE_S = 120.0


@pytest.fixture(params=["none", "fsync"])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    running = started(tmp_path, "--durability", request.param)
    yield running
    running.stop()


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def direct(node: Running) -> int:
    return int(node.status()["direct_connections"])


@pytest.mark.slow
def test_a_connection_is_direct_from_its_login_to_its_end(node: Running) -> None:
    assert direct(node) == 0
    client, other = Client(node.port, "UA"), Client(node.port, "UB")
    until(lambda: direct(node) == 2)
    client.socket.sendall(enter("a1", "B", 5, 90_000) + cancel("a1"))
    assert kinds(client.take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "CANCELED"]
    client.socket.sendall(soup.packet(PacketType.LOGOUT))
    client.until_end()
    other.socket.close()
    until(lambda: direct(node) == 0)


@pytest.mark.slow
def test_a_packet_that_is_not_for_the_turn_is_read_and_the_connection_is_direct_again(node: Running) -> None:
    client = Client(node.port, "UA")
    until(lambda: direct(node) == 1)
    debug = soup.Debug("hello").packet()
    client.socket.sendall(enter("a1", "B", 5, 90_000) + debug + enter("a2", "B", 5, 90_000) + debug + cancel("a1"))
    assert kinds(client.take(4)) == ["SYSTEM_EVENT", "ACCEPTED", "ACCEPTED", "CANCELED"]
    until(lambda: direct(node) == 1)


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["none", "fsync"])
def test_a_jump_of_the_wall_clock_that_the_turn_finds_is_reported(tmp_path: Path, durability: str) -> None:
    node = started(tmp_path, "--durability", durability, faults="turn-jump")
    try:
        client = Client(node.port, "UA")
        until(lambda: direct(node) == 1)
        client.socket.sendall(enter("a1", "B", 5, 90_000))
        client.take(2)
        until(lambda: "clock jumped" in node.logged())
        assert node.status()["clock_jumps"] == 1
    finally:
        node.stop()


#: Orders of each client, and shares of each, which cancels take away one by one: 5 MB of answers, more than the system
#: keeps for a connection whose client reads nothing.
ORDERS, SHARES = 1_500, 100
_LEFT = range(SHARES - 1, -1, -1)
MESSAGES = 1 + ORDERS * (1 + SHARES)


def _send_orders(client: Client, seed: int) -> None:
    """Send orders that nothing executes and their cancels, in pieces of any size."""
    draw = random.Random(seed)
    data = b"".join(
        enter(f"o{number}", "B", SHARES, 90_000)
        + b"".join(cancel(f"o{number}", left) for left in reversed(range(SHARES)))
        for number in range(ORDERS)
    )
    at = 0
    while at < len(data):
        size = draw.randrange(1, 40_000)
        client.socket.sendall(data[at : at + size])
        at += size


@pytest.fixture(params=["none", pytest.param("fsync", marks=pytest.mark.slow)])
def patient(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A node that ends no connection for its silence: on a busy machine the quick client may take longer than that."""
    running = started(tmp_path, "--durability", request.param, faults="patient")
    yield running
    running.stop()


# Answers that wait for the disk come late, which is the same for those who read late: a part of the days is enough.
@pytest.mark.slow
def test_connections_that_stop_reading_go_to_the_loop_and_back_without_a_byte_lost(patient: Running) -> None:
    """Two clients read nothing until the loop has their connections, then all; a third is not disturbed."""
    node = patient
    slow = {user: Client(node.port, user, receive_bytes=4_096) for user in ("UA", "UB")}
    quick = Client(node.port, "UC")
    until(lambda: direct(node) == 3)
    senders = [
        threading.Thread(target=_send_orders, args=(client, seed), daemon=True)
        for seed, client in enumerate(slow.values())
    ]
    for sender in senders:
        sender.start()
    rounds = 0
    while rounds < 200 or direct(node) != 1:
        quick.socket.sendall(enter(f"q{rounds}", "B", 1, 90_000) + cancel(f"q{rounds}"))
        quick.take(3 + 2 * rounds)
        rounds += 1
    draw = random.Random(7)
    for client in slow.values():
        for count in sorted(draw.sample(range(MESSAGES), 20)):
            client.take(count)
            time.sleep(draw.random() / 50)
        client.take(MESSAGES)
    for sender in senders:
        sender.join(PATIENCE_S)
        assert not sender.is_alive()
    until(lambda: direct(node) == 3)
    node.end(signal.SIGKILL if node.status()["durability"] != "none" else signal.SIGTERM)
    node.start()
    for user, client in slow.items():
        assert Client(node.port, user).take(MESSAGES) == client.stream
    assert Client(node.port, "UC").take(1 + 2 * rounds) == quick.stream


@contextlib.contextmanager
def sends_of(pid: int, folder: Path) -> Iterator[Callable[[], int]]:
    """Count the calls of ``send`` of a process's main thread that carry sequenced messages."""
    with (folder / "strace").open("wb") as said:
        words = ["strace", "-e", "trace=sendto", "-xx", "-s", "3", "-o", str(folder / "calls"), "-p", str(pid)]
        tracer = subprocess.Popen(words, stderr=said)
    try:
        until(lambda: tracer.poll() is not None or b"attached" in (folder / "strace").read_bytes())
        if tracer.poll() is not None:
            pytest.skip("this user may not trace processes")
        head = rf"\x{PacketType.SEQUENCED:02x}"
        yield lambda: sum(f'{head}"' in line for line in (folder / "calls").read_text().splitlines())
    finally:
        tracer.terminate()
        tracer.wait(PATIENCE_S)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.skipif(INTERPRETED, reason="an interpreted block takes longer than messages wait for the next one's")
def test_answers_of_several_blocks_are_sent_together_while_orders_wait(tmp_path: Path) -> None:
    """Orders of three clients wait for a node that stood still, and 62 of them make a block."""
    node = started(tmp_path, "--durability", "none", faults="short-turns")
    orders = 300
    try:
        clients = {user: Client(node.port, user) for user in ("UA", "UB", "UC")}
        until(lambda: direct(node) == 3)
        assert node.process is not None
        with sends_of(node.process.pid, tmp_path) as sends:
            os.kill(node.process.pid, signal.SIGSTOP)
            for user, client in clients.items():
                client.socket.sendall(b"".join(enter(f"{user}{n}", "B", 1, 90_000) for n in range(orders)))
            os.kill(node.process.pid, signal.SIGCONT)
            for user, client in clients.items():
                accepted = [values for kind, values in messages(client.take(1 + orders)) if kind == "ACCEPTED"]
                assert [each["order_token"] for each in accepted] == [f"{user}{n}" for n in range(orders)]
            count = sends()
        # One for each client and block would be 3 for each block.
        assert 3 <= count < 2 * (3 * orders / 62)
        node.end(signal.SIGTERM)
        node.start()
        for user, client in clients.items():
            assert Client(node.port, user).take(1 + orders) == client.stream
    finally:
        node.stop()


class Lines:
    """Memory of the turns with one direct line, to one end of a pair of sockets."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        clock = np.zeros(8, np.int64)
        turn = t.new_turn(
            clock,
            OUCH.heartbeat,
            slots=2,
            descriptors=4_096,
            users=2,
            rows=1,
            told=Told(2, 1),
            segments=1,
            segment_bytes=1,
        )
        turn.words[t.HEARTBEAT_NS], turn.words[t.SILENCE_NS] = HEARTBEAT_NS, SILENCE_NS
        self.packed = Packed(turn)
        self.line = turn.lines[1]
        self.line["fd"], self.line["state"] = self.near.fileno(), t.OPEN

    def beat(self, now_ns: int, *, away_ns: int = 0) -> int:
        return int(beat_lines(self.packed.pointers, now_ns, 0, away_ns, now_ns))

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def lines() -> Iterator[Lines]:
    made = Lines()
    yield made
    made.close()


def test_a_line_gets_a_heartbeat_once_a_second_of_silence_to_it(lines: Lines) -> None:
    assert lines.beat(HEARTBEAT_NS - 1) == 0
    assert lines.beat(HEARTBEAT_NS) == lines.beat(2 * HEARTBEAT_NS - 1) == 0
    assert lines.far.recv(100) == soup.packet(PacketType.SERVER_HEARTBEAT)


def test_a_silent_line_is_stopped_and_time_in_which_nobody_read_is_no_silence(lines: Lines) -> None:
    assert lines.beat(SILENCE_NS - 1) == 0
    assert lines.beat(SILENCE_NS, away_ns=1) == 0
    assert lines.beat(SILENCE_NS + 1) == 1
    assert lines.line["state"] == t.SILENT


def test_a_line_that_takes_no_heartbeat_is_given_to_the_loop_with_what_is_owed(lines: Lines) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            lines.near.send(bytes(1 << 16))
    assert lines.beat(HEARTBEAT_NS) == 1
    assert lines.line["state"] == t.SLOW
    assert 0 <= lines.line["owed"] < 3
