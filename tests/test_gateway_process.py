"""Gateways in processes of their own: clients see the same bytes, and whatever happens to one, the market goes on."""

import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from engine.records import COMMAND, CommandKind
from node.core.opening import open_directory
from replay.market_rows import MARKET_ROWS, ring_of
from tape.inbound import Producer
from tape.ring import TAIL
from tape.shared_file import attach
from tests.conftest import Lockstep
from tests.gateways import RunningGateway, gateway
from tests.ouch_messages import cancel, enter, messages, replace
from tests.pair_processes import CAPACITY, pair
from tests.running import COMMAND_LINE, ROOT, Client, Running, kinds, started, until
from tests.test_line_protocol import LineClient, line_port
from tests.test_line_protocol import set_up as set_up_lines
from tests.test_node_tape import journal_id
from wire.soup import LoginRequest, PacketType

#: Capacity of a new directory for tests with many orders.
ROOMY = ("--ids-max", "4194304", "--orders-max", "65536")


@pytest.fixture(params=["none", "fsync"])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    running = started(tmp_path, "--durability", request.param, "--ids-max", "1048576")
    yield running
    running.stop()


@pytest.fixture
def calm(tmp_path: Path) -> Iterator[Running]:
    """A node whose users have one second to come back."""
    running = started(tmp_path, "--durability", "none", "--ids-max", "1048576", faults="short-grace")
    yield running
    running.stop()


def names(stream: bytes, kind: str) -> list[str]:
    """Order tokens of the messages of a kind in a stream."""
    return [str(fields["order_token"]) for name, fields in messages(stream) if name == kind]


def until_told(client: Client, name: str) -> None:
    """Read until a message has this order token."""
    token, heard = name.encode().ljust(14), client.stream
    while token not in heard:
        kind, heard = client.packet()  # the packet alone: a long stream is not searched again for each
        assert kind, f"the server has closed before {name} was answered"


def once_free(port: int, user: str) -> Client:
    """A login of a user that another gateway is about to give back."""
    made: list[Client] = []

    def accepted() -> bool:
        made[:] = [Client(port, user)]
        return made[0].answer[0] == PacketType.LOGIN_ACCEPTED

    until(accepted)
    return made[0]


def traffic(client: Client, other: Client, seed: int, count: int) -> tuple[int, int]:
    """Orders of two users that trade with each other; gives the least number of messages of each."""
    chance = random.Random(seed)
    for number in range(count):
        token = f"t{seed}x{number}" if chance.random() < 0.8 else f"long{seed}token{number:04}"
        client.socket.sendall(enter(token, "B", chance.randint(1, 50), 90_000 + 100 * chance.randint(0, 5)))
        if chance.random() < 0.3:
            client.socket.sendall(replace(token, f"r{seed}x{number}", 7, 90_000))
        if chance.random() < 0.3:
            client.socket.sendall(cancel(token))
        if chance.random() < 0.2:
            other.socket.sendall(enter(f"s{seed}x{number}", "S", chance.randint(1, 50), 90_000))
    return count + 1, 1


def whole_stream(port: int, user: str, count: int) -> bytes:
    """The stream of a user, up to ``count`` messages, for a login that ends then."""
    client = once_free(port, user)
    stream = client.take(count)
    client.log_out()
    return stream


def settled(client: Client, other: Client | None = None) -> int:
    """Number of messages of a client's stream once all its orders are answered, and those of another before."""
    if other is not None:
        settled(other)
    client.socket.sendall(enter("LAST", "B", 1, 10_000))
    until_told(client, "LAST")
    return len(messages(client.stream))


@pytest.mark.slow_after(1)
def test_a_client_sees_the_same_bytes_through_a_gateway_process_and_through_the_node(node: Running) -> None:
    with gateway(node) as beside:
        first, second = Client(beside.port, "UA"), Client(node.port, "UB")
        traffic(first, second, 1, 200)
        settled(first, second)
        seen = first.stream
        assert {"ACCEPTED", "EXECUTED", "CANCELED", "REPLACED"} <= set(kinds(seen)), Counter(kinds(seen))
        first.log_out()
        assert whole_stream(node.port, "UA", len(messages(seen)))[: len(seen)] == seen
        second.log_out()
        moved, other = once_free(node.port, "UA"), once_free(beside.port, "UB")  # and now the other way round
        traffic(moved, other, 2, 100)
        settled(other, moved)
        assert whole_stream_matches(node.port, other)


def whole_stream_matches(port: int, client: Client) -> bool:
    """True if a login elsewhere gives the stream that a client has, which logs out."""
    count = len(messages(client.stream))
    stream = client.stream
    client.log_out()
    return whole_stream(port, "UB", count)[: len(stream)] == stream


@pytest.mark.slow
def test_a_protocol_of_text_lines_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    node = started(tmp_path, "--durability", "none", faults="lines")
    try:
        set_up_lines(node)
        with gateway(node, "lines", "--protocol", "lines", faults="line-gateways") as beside:
            line, ouch = LineClient(beside.port, "LINES"), Client(node.port, "UB")
            assert line.answer.startswith("OK ")
            line.send("E a1 B 40 XYZ 90000 777")
            assert line.take(2) == ["1 DAY", "2 A a1 90000 leaves 40 tag 777"]
            ouch.socket.sendall(enter("s1", "S", 15, 90_000))
            assert line.line() == "3 T a1 15 at 90000 leaves 25 tag 777"
            line.send("X a1")
            told = ["1 DAY", "2 A a1 90000 leaves 40 tag 777", "3 T a1 15 at 90000 leaves 25 tag 777", line.line()]
            assert LineClient(line_port(node), "LINES").answer == "NO NOT_AVAILABLE", "it is logged in at the gateway"
            line.send("BYE")
            assert line.line() == ""
            until(lambda: node.status()["logged_in"] == 1)
            again = LineClient(line_port(node), "LINES")
            assert again.take(4) == told
    finally:
        node.stop()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_gateway_that_is_started_again_has_the_same_streams(node: Running, number: int) -> None:
    with gateway(node) as beside:
        client, other = Client(beside.port, "UA"), Client(node.port, "UB")
        traffic(client, other, 3, 50)
        settled(client, other)
        seen = client.stream
        if "none" in node.status()["durability"]:
            until(lambda: node.status()["durable_seq"] == node.status()["seq"])
        for life in range(3):
            beside.end(number)
            other.socket.sendall(enter(f"w{life}", "S", 3, 90_000))  # the market goes on meanwhile
            beside.start()
            client = Client(beside.port, "UA")
            assert client.take(len(messages(seen)))[: len(seen)] == seen
            client.socket.sendall(enter(f"after{life}", "B", 1, 80_000))
            until_told(client, f"after{life}")
            seen = client.stream
        count = len(messages(seen))
        client.log_out()
        assert whole_stream(node.port, "UA", count)[: len(seen)] == seen
        why = [json.loads(line).get("why") for line in beside.logged().splitlines() if "made from the journal" in line]
        assert len(why) == (4 if number == signal.SIGKILL else 1), "an end in order leaves an image"


@pytest.mark.slow
def test_an_image_that_is_damaged_or_of_other_commands_is_not_used(node: Running) -> None:
    with gateway(node) as beside:
        client = Client(beside.port, "UA")
        for number in range(20):
            client.socket.sendall(enter(f"a{number}", "B", 1, 90_000))
        seen = client.take(21)
        until(lambda: node.status()["durable_seq"] == node.status()["seq"])
        assert beside.end(signal.SIGTERM) == 0
        image = node.data / "gateways" / "one" / "streams.image"
        sound = image.read_bytes()
        release = sound[:12] + bytes([sound[12] ^ 1]) + sound[13:]
        for damaged in (sound[: len(sound) // 2], b"", sound[:200] + bytes(64) + sound[264:], release):
            image.write_bytes(damaged)
            beside.start()
            client = Client(beside.port, "UA")
            assert client.take(21) == seen
            client.log_out()
            assert beside.end(signal.SIGTERM) == 0
        assert beside.logged().count("made from the journal") == 5
        beside.start()
        assert beside.logged().count("made from the journal") == 5, "the control: a sound one is used"


@pytest.mark.slow
def test_a_gateway_without_an_image_starts_though_the_first_commands_are_in_an_archive(
    node: Running, lockstep: Lockstep, tmp_path: Path
) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(b"".join(enter(f"a{number}", "B", 1, 90_000) for number in range(5)))
    seen = client.take(6)
    assert node.end(signal.SIGTERM) == 0
    for words in (
        ("roll",),
        ("journal", "keep-events"),
        ("archive", "--to", tmp_path / "archive", "--older-than", "0s"),
    ):
        status, _, error = lockstep(*words, node.data)
        assert status == 0, error
    node.start()
    with gateway(node) as beside:
        assert "made from a checkpoint of the node" in beside.logged()
        client = Client(beside.port, "UA")
        assert client.take(6)[: len(seen)] == seen
        client.socket.sendall(enter("after", "B", 1, 90_000))
        until_told(client, "after")
        whole = client.stream
        client.log_out()
        assert once_free(node.port, "UA").take(len(messages(whole))) == whole, "the same bytes at the node"


class Trader(threading.Thread):
    """A client at the core's own port that trades all the time. ``answers``: of its orders. ``times_ns``: to each.
    ``pause_s``: after each, so that a long run does not measure how long a gateway reads the journal."""

    def __init__(self, node: Running, pause_s: float = 0.001) -> None:
        super().__init__(daemon=True)
        self.pause_s = pause_s
        self.client = Client(node.port, "UB")
        self.ends = threading.Event()
        self.answers = 0
        self.times_ns: list[int] = []
        self.start()

    def run(self) -> None:
        self.client.take(1)
        while not self.ends.is_set():
            self.client.forget()
            began_ns = time.monotonic_ns()
            self.client.socket.sendall(enter(f"m{self.answers}", "S", 1, 990_000))
            self.client.take(1)
            self.times_ns.append(time.monotonic_ns() - began_ns)
            self.client.socket.sendall(cancel(f"m{self.answers}"))  # else the market is full of them at last
            self.client.take(2)
            self.answers += 1
            time.sleep(self.pause_s)

    def stop(self) -> None:
        self.ends.set()
        self.join(120)
        assert not self.is_alive()


class Resender:
    """A client at a gateway that comes and goes: it sends each order until it has an answer."""

    def __init__(self, beside: RunningGateway) -> None:
        self.beside = beside
        self.stream = b""
        self.sent = 0
        self.client: Client | None = None
        self._waiting: dict[str, None] = {}  # tokens without an answer in the first ``_searched`` bytes of the stream
        self._searched = 0

    def connect(self) -> None:
        """Log in and go on with the stream."""
        self.client = Client(self.beside.port, "UA", seq=1)
        assert self.client.answer[0] == PacketType.LOGIN_ACCEPTED, self.client.answer

    def trade(self, count: int) -> None:
        """Send orders, and read what comes, until the gateway is gone or ``count`` more are sent."""
        assert self.client is not None
        for _ in range(count):
            self._waiting[f"k{self.sent}"] = None
            self.client.socket.sendall(enter(f"k{self.sent}", "B", 1, 10_000))
            self.sent += 1

    def read(self) -> None:
        """Read what comes until the gateway is gone."""
        assert self.client is not None
        try:
            while self.client.packet()[0]:
                pass
        except OSError:
            pass
        before = self.stream
        self.stream = max(self.client.stream, before, key=len)
        assert self.stream.startswith(min(self.client.stream, before, key=len)), "told bytes stay as they are"

    def unanswered(self) -> list[str]:
        """Tokens of orders that were sent and have no answer in the stream."""
        more, self._searched = self.stream[self._searched :], len(self.stream)
        for token in (*names(more, "ACCEPTED"), *names(more, "REJECTED")):
            self._waiting.pop(token, None)
        return list(self._waiting)


def began(beside: RunningGateway) -> int:
    """Number of times that it began to listen; no life of it ended in order."""
    told = [json.loads(line)["event"] for line in beside.logged().splitlines()]
    assert "ended" not in told
    return told.count("listening")


def percentiles(times_ns: list[int]) -> str:
    """Median, 99th percentile and longest of times, for whoever reads the output of a test."""
    p50, p99, most = (f"{np.percentile(times_ns, part) / 1e6:.2f}" for part in (50, 99, 100))
    return f"{len(times_ns):,} orders, p50 {p50} ms, p99 {p99} ms, longest {most} ms"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.long)])
def test_a_gateway_killed_again_and_again_loses_and_doubles_nothing_while_another_client_trades(
    tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    node = started(tmp_path, "--durability", "none", *ROOMY)
    trader = None
    trading_ns: list[int] = []
    beside_kills_ns: list[int] = []
    try:
        with gateway(node) as beside:
            trader = Trader(node, pause_s=0.001 if kills < 10 else 0.01)
            client = Resender(beside)
            until(lambda: trader.answers >= 20 * kills)  # the control: nothing is killed yet
            calm_ns = trader.times_ns[:]
            for kill in range(kills):
                client.connect()
                reader = threading.Thread(target=client.read, daemon=True)
                reader.start()
                for token in client.unanswered():
                    assert client.client is not None
                    client.client.socket.sendall(enter(token, "B", 1, 10_000))
                answers = trader.answers
                try:
                    for _ in range(chance.randint(1, 30)):
                        client.trade(chance.randint(1, 40))
                        time.sleep(chance.random() * 0.005)
                except OSError:
                    pytest.fail("the gateway ended by itself")
                trading_ns += trader.times_ns[answers:]
                killed = trader.answers
                beside.end(signal.SIGKILL)
                reader.join(120)
                assert not reader.is_alive()
                until(lambda: trader.answers > answers, what=f"the market stood still after kill {kill}")  # noqa: B023
                beside.start()
                beside_kills_ns += trader.times_ns[killed:]
            client.connect()
            assert client.client is not None
            for token in client.unanswered():
                client.client.socket.sendall(enter(token, "B", 1, 10_000))
            client.client.socket.sendall(enter("END", "B", 1, 10_000))
            until_told(client.client, "END")
            stream = client.client.stream
            assert stream.startswith(client.stream)
            accepted = names(stream, "ACCEPTED")
            assert sorted(accepted) == sorted([*(f"k{number}" for number in range(client.sent)), "END"]), "each once"
            trader.stop()
            print(f"the other client, before the first kill: {percentiles(calm_ns)}")
            print(f"while clients trade at the gateway: {percentiles(trading_ns)}")
            print(f"from each of {kills} kills until the gateway listens again: {percentiles(beside_kills_ns)}")
            assert node.status()["logged_in"] == 2
            assert began(beside) == 1 + kills, "it began again after each kill"
    finally:
        if trader is not None:
            trader.ends.set()
        node.stop()


@pytest.mark.slow
def test_a_gateway_that_stands_still_stops_nobody_and_goes_on_with_every_byte(tmp_path: Path) -> None:
    node = started(tmp_path, "--durability", "none", *ROOMY, "--tape-mb", "1", faults="patient")
    try:
        with gateway(node) as beside:
            still, other = Client(beside.port, "UA"), Client(node.port, "UB")
            still.socket.sendall(enter("a0", "B", 900_000, 90_000))
            still.take(2)
            beside.send(signal.SIGSTOP)
            still.socket.sendall(enter("a1", "B", 1, 80_000))
            count = 8_000  # more than the tape holds
            for begin in range(0, count, 400):
                orders = [enter(f"b{number}", "S", 1, 90_000) for number in range(begin, begin + 400)]
                other.socket.sendall(b"".join(orders))
                other.take(2 * (begin + 400) + 1)
            beside.send(signal.SIGCONT)
            until_told(still, "a1")
            stream = still.take(count + 3)
            assert kinds(stream).count("EXECUTED") == count
            still.log_out()
            assert whole_stream(node.port, "UA", count + 3) == stream
    finally:
        node.stop()


@pytest.mark.slow
def test_a_full_ring_leaves_orders_in_the_socket_and_takes_them_once_the_core_goes_on(tmp_path: Path) -> None:
    node = started(tmp_path, "--durability", "none", *ROOMY, faults="patient")
    try:
        with gateway(node, faults="patient") as beside:
            client = Client(beside.port, "UA")
            assert node.process is not None
            node.process.send_signal(signal.SIGSTOP)
            count = 20_000  # the ring has 8,192 rows
            data = b"".join(enter(f"f{number}", "B", 1, 10_000) for number in range(count))
            sender = threading.Thread(target=client.socket.sendall, args=(data,), daemon=True)
            sender.start()
            ring = attach(ring_of(node.data, "one"), ring_form(node))
            until(lambda: int(ring.words[TAIL]) > 4_000)
            time.sleep(0.3)
            assert int(ring.words[TAIL]) <= 8_192
            node.process.send_signal(signal.SIGCONT)
            stream = client.take(count + 1)
            assert names(stream, "ACCEPTED") == [f"f{number}" for number in range(count)], "all, once and in order"
            sender.join(60)
            ring.close()
    finally:
        if node.process is not None:
            node.process.send_signal(signal.SIGCONT)
        node.stop()


def ring_form(node: Running):  # type: ignore[no-untyped-def]
    return MARKET_ROWS.ring_form(journal_id(node.data))


@pytest.mark.slow
def test_a_gateway_that_refuses_ends_clients_while_the_ring_is_full(tmp_path: Path) -> None:
    node = started(tmp_path, "--durability", "none", *ROOMY, faults="patient")
    try:
        with gateway(node, "one", "--when-full", "refuse", faults="patient") as beside:
            client = Client(beside.port, "UA")
            quiet = Client(beside.port, "UB")
            assert node.process is not None
            node.process.send_signal(signal.SIGSTOP)
            data = b"".join(enter(f"f{number}", "B", 1, 10_000) for number in range(20_000))
            sender = threading.Thread(target=_send_what_goes, args=(client.socket, data), daemon=True)
            sender.start()
            packets = client.until_end()
            assert any(kind == PacketType.DEBUG and b"takes no orders" in text for kind, text in packets)
            node.process.send_signal(signal.SIGCONT)
            sender.join(60)
            quiet.socket.sendall(enter("q", "B", 1, 10_000))
            assert names(quiet.take(2), "ACCEPTED") == ["q"], "a client that sent nothing stays"
            again = Client(beside.port, "UA")
            again.socket.sendall(enter("LAST", "B", 1, 10_000))
            until_told(again, "LAST")
            taken = names(again.stream, "ACCEPTED")[:-1]
            assert taken == [f"f{number}" for number in range(len(taken))], "what was taken is the beginning"
            assert 0 < len(taken) <= 8_192
    finally:
        if node.process is not None:
            node.process.send_signal(signal.SIGCONT)
        node.stop()


def _send_what_goes(connected: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connected.sendall(data)


@pytest.mark.slow
def test_a_broken_ring_is_closed_and_said_and_the_market_goes_on(calm: Running) -> None:
    with gateway(calm) as beside:
        client, other = Client(beside.port, "UA"), Client(calm.port, "UB")
        client.socket.sendall(enter("a", "B", 1, 90_000))
        client.take(2)
        ring = attach(ring_of(calm.data, "one"), ring_form(calm))
        ring.words[TAIL] = 1 << 50
        other.socket.sendall(enter("b", "B", 1, 90_000))
        assert names(other.take(2), "ACCEPTED") == ["b"]
        assert any(b"ring" in text for kind, text in client.until_end() if kind == PacketType.DEBUG)
        assert beside.wait() == 75
        assert "its ring has numbers that no gateway writes" in calm.logged()
        ring.close()
        beside.start()
        again = Client(beside.port, "UA")
        again.socket.sendall(enter("c", "B", 1, 90_000))
        assert names(again.take(3), "ACCEPTED") == ["a", "c"]


def test_what_a_stranger_puts_into_a_ring_is_refused_and_said(calm: Running) -> None:
    with gateway(calm) as beside:
        path = ring_of(calm.data, "one")
        assert os.stat(path).st_mode & 0o777 == 0o600
        client = Client(beside.port, "UA")
        client.take(1)
        beside.end(signal.SIGKILL)
        connected = link_of(calm, "one", 0)
        with connected, Producer(path, journal_id(calm.data), MARKET_ROWS) as producer:
            row = np.zeros(1, COMMAND)
            row["kind"], row["participant"], row["context"] = CommandKind.ENTER, 1, 1
            seq = calm.status()["seq"]
            for kind in (CommandKind.MASS_CANCEL, CommandKind.ENTER, CommandKind.PHASE, CommandKind.EPOCH):
                row["kind"] = kind
                assert producer.put(row, source=1)
            connected.sendall(b"\n")
            until(lambda: producer.untaken_rows() == 0)
            until(lambda: "messages of a gateway refused" in calm.logged())
            assert calm.status()["seq"] == seq, "nobody is logged in by this ring"


@pytest.mark.slow
@pytest.mark.parametrize("node", ["fsync"], indirect=True)
def test_an_order_in_a_ring_beyond_the_prices_of_ouch_is_refused_and_the_node_starts_again(node: Running) -> None:
    with link_of(node, "odd", 0) as connected:
        connected.sendall(b'{"ask": 1, "user": 1, "address": "x", "newest_wins": false}\n')
        assert b'"why": ""' in connected.recv(65_536)
        order = np.zeros(1, COMMAND)
        order["kind"], order["participant"], order["context"], order["instrument"] = CommandKind.ENTER, 1, 1, 1
        order["side"], order["time_in_force"], order["qty"], order["self_trade"] = 1, 1, 10, 1
        path = ring_of(node.data, "odd")
        with Producer(path, journal_id(node.data), MARKET_ROWS) as producer:
            for number, price_e4 in ((71, 9_000_000_000), (72, 90_000)):
                order["client_order_id"], order["price_e4"] = number, price_e4
                assert producer.put(order, source=1)
            connected.sendall(b"\n")
            until(lambda: producer.untaken_rows() == 0)
        until(lambda: "messages of a gateway refused" in node.logged())
    client = once_free(node.port, "UA")
    assert names(client.take(2), "ACCEPTED") == ["H"], "the order at a price of OUCH is entered"
    client.log_out()
    node.end(signal.SIGKILL)
    node.start()
    client = Client(node.port, "UA")
    assert names(client.take(2), "ACCEPTED") == ["H"]


@pytest.mark.parametrize("line", [b'{"gateway":"x","protocol":0,"pid":Infinity}\n', b"[" * 60_000 + b"\n"])
def test_no_first_line_of_a_link_ends_the_node(calm: Running, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(60)
        connected.connect(str(calm.data / "gateways.sock"))
        connected.sendall(line)
        while connected.recv(65_536):
            pass
    until(lambda: "gateway refused" in calm.logged())
    client = Client(calm.port, "UA")
    client.socket.sendall(enter("a", "B", 1, 90_000))
    assert names(client.take(2), "ACCEPTED") == ["a"]


def link_of(node: Running, name: str, protocol: int) -> socket.socket:
    """A link that has attached as a gateway."""
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(60)
    connected.connect(str(node.data / "gateways.sock"))
    connected.sendall(json.dumps({"gateway": name, "protocol": protocol, "pid": os.getpid()}).encode() + b"\n")
    assert b'"seq"' in connected.recv(65_536)
    return connected


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "line", [b"[]\n", b"{}\n", b"nonsense\n", b'{"ask": 1}\n', b'{"gone": 99999999, "cancels": 1}\n', b"x" * 70_000]
)
def test_a_link_that_says_what_nobody_says_ends_and_the_market_goes_on(calm: Running, line: bytes) -> None:
    with link_of(calm, "odd", 0) as connected:
        connected.sendall(line)
        while connected.recv(65_536):
            pass
    client = Client(calm.port, "UA")
    client.socket.sendall(enter("a", "B", 1, 90_000))
    assert names(client.take(2), "ACCEPTED") == ["a"]


@pytest.mark.slow
def test_a_user_has_one_login_over_all_gateways(calm: Running) -> None:
    with gateway(calm, "one") as one, gateway(calm, "two") as two:
        first = Client(one.port, "UA")
        assert first.answer[0] == PacketType.LOGIN_ACCEPTED
        for port in (two.port, calm.port, one.port):
            assert Client(port, "UA").answer == (PacketType.LOGIN_REJECTED, b"S")
        assert calm.status()["logged_in"] == 1
        first.log_out()
        at_core = once_free(calm.port, "UA")
        assert Client(two.port, "UA").answer == (PacketType.LOGIN_REJECTED, b"S")
        at_core.log_out()
        once_free(two.port, "UA")
        two.end(signal.SIGKILL)
        until(lambda: calm.status()["logged_in"] == 0)
        once_free(one.port, "UA")  # users of a dead gateway are free


@pytest.mark.slow
def test_the_newest_login_wins_wherever_it_is_and_gets_what_was_told_elsewhere(calm: Running) -> None:
    with gateway(calm, "one") as one, gateway(calm, "two") as two:
        ports = [one.port, two.port, calm.port, two.port, one.port, calm.port]
        before, count = None, 1
        for number, port in enumerate(ports):
            client = Client(port, "UB", seq=count)
            assert client.answer[0] == PacketType.LOGIN_ACCEPTED
            if before is not None:
                before.until_end()
            client.socket.sendall(enter(f"n{number}", "B", 1, 90_000))
            until_told(client, f"n{number}")
            count += len(messages(client.stream))
            before = client
        assert calm.status()["logged_in"] == 1
        with calm.link() as link:
            assert [each["user"] for each in link.ask("sessions")["sessions"] if each["user"]] == ["UB"]


def open_orders(node: Running) -> int:
    with node.link() as link:
        return int(link.ask("account", participant="BETA")["account"]["open_orders"])


@pytest.mark.slow
def test_orders_of_a_user_that_disconnects_at_a_gateway_are_canceled(calm: Running) -> None:
    with gateway(calm) as beside:
        leaves, stays = Client(beside.port, "UC"), Client(beside.port, "UA")
        leaves.socket.sendall(b"".join(enter(f"c{number}", "B", 1, 90_000) for number in range(500)))
        stays.socket.sendall(enter("stays", "B", 1, 90_000))
        stays.take(2)
        leaves.socket.shutdown(socket.SHUT_WR)  # right behind the orders, none of which is lost
        until(lambda: "orders canceled on disconnect" in calm.logged())
        again = once_free(calm.port, "UC")
        again.socket.sendall(enter("LAST", "B", 1, 10_000))
        until_told(again, "LAST")
        accepted, canceled = names(again.stream, "ACCEPTED"), names(again.stream, "CANCELED")
        assert accepted[:-1] == canceled, "no order is left behind the cancel"
        stays.socket.sendall(cancel("stays"))
        assert kinds(stays.take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "CANCELED"], "the control: it may stay"


@pytest.mark.slow
def test_orders_of_users_whose_gateway_died_go_after_their_time_unless_they_come_back(tmp_path: Path) -> None:
    node = started(tmp_path, "--durability", "none")
    try:
        with node.link() as link:
            text = "user UD participant=ALPHA firm=FIRM allow=login,cancel_on_disconnect"
            assert link.ask("commands", text=text)["rejected"] == 0
            link.ask("password", user="UD", password="secret")
        with gateway(node) as beside:
            back, gone, stays = (Client(beside.port, user) for user in ("UC", "UD", "UA"))
            for client in (back, gone, stays):
                client.socket.sendall(enter("o", "B", 1, 90_000))
                client.take(2)
            beside.end(signal.SIGKILL)
            until(lambda: node.status()["logged_in"] == 0)
            back = Client(node.port, "UC")
            assert back.answer[0] == PacketType.LOGIN_ACCEPTED
            until(lambda: "orders canceled on disconnect" in node.logged())
            beside.start()
            assert kinds(Client(beside.port, "UD").take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "CANCELED"]
            back.socket.sendall(cancel("o"))
            assert kinds(back.take(3)) == ["SYSTEM_EVENT", "ACCEPTED", "CANCELED"]
            assert messages(back.stream)[2][1]["cancel_reason"] == "U", "by the user, since it came back in time"
            assert node.logged().count("orders canceled on disconnect") == 1
    finally:
        node.stop()


@pytest.mark.slow
def test_orders_of_a_user_whose_login_was_displaced_by_one_that_is_refused_go_after_its_time(tmp_path: Path) -> None:
    node = started(tmp_path, "--durability", "none", faults="short-grace")
    try:
        with node.link() as link:
            text = "user UD participant=BETA allow=login,newest_wins,cancel_on_disconnect"
            assert link.ask("commands", text=text)["rejected"] == 0
            link.ask("password", user="UD", password="secret")
        with gateway(node) as beside:
            for number, (first, then) in enumerate([(node.port, beside.port), (beside.port, node.port)]):
                client = Client(first, "UD")
                client.socket.sendall(enter(f"d{number}", "B", 1, 10_000))
                until_told(client, f"d{number}")
                same = Client(first, "UD", seq=99_999)
                assert same.answer[0] == PacketType.LOGIN_REJECTED
                assert node.status()["logged_in"] == 1, "the control: refused where the first is, it displaces nobody"
                assert Client(then, "UD", seq=99_999).answer[0] == PacketType.LOGIN_REJECTED
                client.until_end()
                assert node.status()["logged_in"] == 0
                until(lambda: open_orders(node) == 0)
            until(lambda: node.logged().count("orders canceled on disconnect") == 2)
    finally:
        node.stop()


@pytest.mark.slow
def test_a_gateway_whose_journal_cannot_be_read_at_its_end_ends_all_the_same(calm: Running) -> None:
    beside = RunningGateway(calm).start()
    try:
        client = Client(beside.port, "UA")
        client.socket.sendall(b"".join(enter(f"j{number}", "B", 1, 90_000) for number in range(5)))
        until_told(client, "j4")
        until(lambda: calm.status()["durable_seq"] == calm.status()["seq"])
        (calm.data / "journal").rename(calm.data / "away")  # as of a disk that is gone
        calm.end(signal.SIGKILL)
        assert beside.wait() == 75
        assert b"the node has ended" in b"".join(text for _, text in client.until_end())
    finally:
        beside.stop()


@pytest.mark.slow
def test_a_core_that_ends_ends_its_gateways_with_a_word_for_their_clients(calm: Running) -> None:
    with gateway(calm) as beside:
        client = Client(beside.port, "UA")
        client.socket.sendall(enter("a", "B", 1, 90_000))
        client.take(2)
        assert calm.end(signal.SIGTERM) == 0
        kind, _ = client.until_end()[-1]
        assert kind == PacketType.END_OF_SESSION
        assert beside.wait() == 0
        calm.start()
        beside.start()
        client = Client(beside.port, "UA")
        assert names(client.take(2), "ACCEPTED") == ["a"]
        calm.end(signal.SIGKILL)
        assert any(kind == PacketType.DEBUG and b"the node has ended" in text for kind, text in client.until_end())
        assert beside.wait() == 75
        beside.spawn()
        assert beside.wait() == 75, "without a core there is no gateway"
        assert "start it with `lockstep serve`" in beside.logged()


@pytest.mark.slow
def test_a_takeover_with_gateways_goes_on_at_the_gateway_of_the_other_node(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, a, b), gateway(a, "one") as of_a, gateway(b, "one") as of_b:
        client = Client(of_a.port, "UA")
        client.packet()  # the epoch
        client.socket.sendall(enter("a1", "B", 5, 90_000) + enter("a2", "B", 5, 90_000))
        seen = client.take(3)
        assert Client(of_b.port, "UA").answer == (PacketType.LOGIN_REJECTED, b"S"), "a copy takes no logins"
        a.end(signal.SIGKILL)
        assert of_a.wait() == 75
        b.awaits(state="reigning")
        again = once_free(of_b.port, "UA")
        kind, text = again.packet()
        assert kind == PacketType.DEBUG
        assert text.startswith(b"epoch ")
        assert again.take(3) == seen
        again.socket.sendall(enter("a3", "B", 5, 90_000))
        assert names(again.take(4), "ACCEPTED") == ["a1", "a2", "a3"]


def test_a_descriptor_that_does_not_listen_is_wrong_use(calm: Running, lockstep: Lockstep) -> None:
    with socket.socket() as silent:
        for fd in (silent.fileno(), 999):
            status, _, said = lockstep("gateway", calm.data, "--name", "x", "--fd", fd)
            assert status == 2
            assert "is no socket that listens" in said


@pytest.mark.slow
def test_clients_that_come_while_a_gateway_is_down_wait_in_the_socket_that_its_parent_holds(calm: Running) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        line = [sys.executable, *COMMAND_LINE, "gateway", str(calm.data), "--name", "held", "--json"]
        line += ["--fd", str(listening.fileno())]
        for life in range(2):
            early = socket.socket()
            early.settimeout(120)
            early.connect(listening.getsockname())
            with subprocess.Popen(line, cwd=ROOT, pass_fds=[listening.fileno()], stdout=subprocess.PIPE) as process:
                try:
                    early.sendall(LoginRequest("UA", "secret", "", 1).packet() + enter(f"a{life}", "B", 1, 90_000))
                    client = Client.of(early)
                    assert client.packet()[0] == PacketType.LOGIN_ACCEPTED
                    assert len(names(client.take(2 + life), "ACCEPTED")) == 1 + life
                finally:
                    process.kill()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("options", "sentence", "status"),
    [
        (["--name", "a b"], "is no name of a gateway", 75),
        (["--name", "x" * 25], "is no name of a gateway", 75),
        (["--name", "one"], "is the gateway one already", 75),
        (["--name", "core"], "a process of the node has the name core; give another --name", 2),
        (["--name", "x", "--protocol", "fix9"], "there is no protocol fix9", 2),
    ],
)
def test_a_gateway_that_cannot_be_says_why(calm: Running, options: list[str], sentence: str, status: int) -> None:
    with gateway(calm):
        refused = RunningGateway(calm, "refused", *options)
        refused.spawn()
        assert refused.wait() == status
        assert sentence in refused.logged()
        assert "Traceback" not in refused.logged()


def test_a_gateway_whose_port_is_taken_says_so(calm: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = RunningGateway(calm, "refused", port=taken.getsockname()[1])
        refused.spawn()
        assert refused.wait() == 75
    assert f"lockstep: port {refused.port} is in use; end the program that listens there" in refused.logged()


@pytest.mark.parametrize(
    ("error", "sentence", "status"),
    [
        (errno.ENOSPC, "is full, where the gateway keeps the messages of its clients; free some space: start it", 75),
        (errno.EIO, "failed", 75),
    ],
)
def test_a_gateway_whose_disk_is_full_says_what_to_do_and_that_nothing_is_lost(
    error: int, sentence: str, status: int, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_directory(tmp_path / "node", CAPACITY, "none").journal:
        pass

    def serve(*_arguments: object, **_named: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("node.gateways.process.serve_gateway", serve)
    found, _, complaint = lockstep("gateway", tmp_path / "node", "--name", "desk")
    assert (found, sentence in complaint) == (status, True), complaint
    assert ("nothing is lost" in complaint) == (error == errno.ENOSPC)


@pytest.mark.slow
def test_the_operator_sees_and_ends_a_user_at_a_gateway(calm: Running) -> None:
    with gateway(calm) as beside:
        client = Client(beside.port, "UA")
        with calm.link() as link:
            (row,) = [each for each in link.ask("sessions")["sessions"] if each["user"] == "UA"]
            assert row["address"] == "127.0.0.1 at gateway one"
            assert link.ask("disconnect", user="UA")
        client.until_end()
        until(lambda: calm.status()["logged_in"] == 0)


@pytest.mark.slow
def test_the_arrival_file_of_a_node_shows_that_rings_and_sockets_took_turns(calm: Running, lockstep: Lockstep) -> None:
    with gateway(calm) as beside:
        clients = [Client(beside.port, "UA"), Client(calm.port, "UB"), Client(beside.port, "UC")]

        def flood(client: Client, name: str) -> None:
            orders = b"".join(enter(f"{name}{number}", "B", 1, 10_000) for number in range(1_500))
            client.socket.sendall(orders)
            client.take(1_501)

        threads = [
            threading.Thread(target=flood, args=(client, name)) for client, name in zip(clients, "abc", strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    calm.end(signal.SIGTERM)
    status, said, _ = lockstep("arrivals", calm.data, "--check")
    assert status == 0, said
    _, said, _ = lockstep("arrivals", calm.data, "--json")
    connections = {json.loads(line)["connection"] for line in said.splitlines()}
    assert any(each < 0 for each in connections)
    assert any(each > 0 for each in connections)


@pytest.mark.slow
def test_users_of_a_gateway_that_attaches_again_may_send_though_rows_of_its_earlier_life_wait(calm: Running) -> None:
    with gateway(calm) as beside:
        assert calm.process is not None
        for life in range(5):
            client = once_free(beside.port, "UA")
            client.socket.sendall(b"".join(enter(f"w{life}x{number}", "B", 1, 10_000) for number in range(300)))
            beside.end(signal.SIGKILL)
            beside.start()
            client = once_free(beside.port, "UA")
            client.socket.sendall(enter(f"again{life}", "B", 1, 10_000))
            until_told(client, f"again{life}")
            client.log_out()
        assert "messages of a gateway refused" not in calm.logged()


@pytest.mark.slow
def test_a_node_starts_its_gateway_again_on_the_same_port_and_ends_it_with_the_sessions(tmp_path: Path) -> None:
    node = Running(tmp_path / "node", "--durability", "none", "--gateway", "desk=ouch:0")
    node.spawn()
    assert node.process is not None
    assert node.process.stdout is not None
    try:
        said = json.loads(node.process.stdout.readline())["listening"]
        node.port, port = said["port"], said["gateways"]["desk"]
        node.set_up()
        client = Client(port, "UA")
        client.socket.sendall(enter("a1", "B", 1, 90_000))
        assert names(client.take(2), "ACCEPTED") == ["a1"]
        with node.link() as link:
            (pid,) = [
                each["pid"] for each in link.ask("workings")["workings"]["processes"] if each["process"] == "desk"
            ]
        os.kill(pid, signal.SIGKILL)
        client.until_end()
        client = once_free(port, "UA")
        client.socket.sendall(enter("a2", "B", 1, 90_000))
        assert names(client.take(3), "ACCEPTED") == ["a1", "a2"]
        assert node.end(signal.SIGTERM) == 0
        assert client.until_end()[-1][0] == PacketType.END_OF_SESSION
    finally:
        node.stop()
