"""A market published through a real NATS server: readers have every block and message, whatever is lost, killed or
stopped, and the node waits for nothing of it."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nats", reason="pip install 'lockstep[nats]'")

from client.errors import CannotConnect
from client.nats_line import NatsLine
from client.publication import BLOCKS, ITCH, Publication, cut, read, subject
from client.published import BlockReader, MessageReader
from engine import Engine
from journal import Journal
from journal.history import History
from node.nats.programs import LoginFileError, NatsOption, nats_option, read_login
from replay.rebuild import capacity_of
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nats_server import BadPath, NatsServer
from tests.ouch_messages import enter
from tests.pair_processes import PATIENT, pair
from tests.running import ROOT, SOON_S, Client, answered_in_s, resident_bytes, started, until
from tests.test_feed_process import beats, runs_again, trade, written
from tests.test_node_programs import processes

if shutil.which("nats-server") is None:
    pytest.skip("nats-server is not installed", allow_module_level=True)


class Reading:
    """A reader in a thread of its own. ``given``: what it gave, in order; ``whole``: what it says of itself."""

    def __init__(self, reader: BlockReader | MessageReader) -> None:
        self.reader = reader
        self.given: list[Any] = []
        self.fault: BaseException | None = None
        self._ends = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        async with self.reader as reader:
            task = asyncio.create_task(self._read(reader))
            while not self._ends and not task.done():
                await asyncio.sleep(0.02)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _read(self, reader: Any) -> None:
        try:
            async for found in reader:
                self.given.append(found)
        except Exception as error:
            self.fault = error

    @property
    def messages(self) -> list[bytes]:
        """All messages that were given."""
        return [message for part in list(self.given) for message in part.messages]

    @property
    def last_seq(self) -> int:
        """Last command that was given."""
        return int(self.given[-1].last_seq) if self.given else 0

    def has(self, price_e4: int) -> bool:
        """True once the add of an order at a price was given."""
        assert self.fault is None, self.fault
        return any(
            message[0] == ord("A") and int.from_bytes(message[32:36], "big") == price_e4 for message in self.messages
        )

    def stop(self) -> None:
        self._ends = True
        self._thread.join()


class Published:
    """A NATS server, and a node that publishes through it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.server = NatsServer(folder, *options)
        self.server.start()
        self.node = started(folder, "--nats", f"{self.server.url},venue=test")
        self._closes: list[Callable[[], None]] = []
        assert self.owner  # what happens from now on is published

    @property
    def owner(self) -> str:
        """Address of the owner of the journal, once it has caught up."""
        until(lambda: processes(self.node)["nats"]["port"], 300.0)
        return f"127.0.0.1:{processes(self.node)['nats']['port']}"

    def blocks(self, venue: str = "test", from_seq: int | None = 1) -> Reading:
        return self.kept(Reading(BlockReader(self.server.url, venue, requests=self.owner, from_seq=from_seq)))

    def messages(self, venue: str = "test", from_number: int | None = 1) -> Reading:
        return self.kept(Reading(MessageReader(self.server.url, venue, requests=self.owner, from_number=from_number)))

    def bad_path(self, seed: int, share: float) -> BadPath:
        return self.kept(BadPath(self.server, "test", "bad", seed, share))

    def kept(self, made: Any) -> Any:
        """Have something stopped at the end."""
        self._closes.append(made.stop)
        return made

    def stop(self) -> None:
        self.server.send(signal.SIGCONT) if self.server.process else None
        for close in self._closes:
            close()
        self.node.stop()
        self.server.stop()


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    made = Published(tmp_path)
    yield made
    made.stop()


def frames(data: Path) -> list[bytes]:
    """Blocks of a journal, as they lie there."""
    with History.open(data) as history:
        return [bytes(block.sealed) for block in history.blocks()]


def proven(data: Path, reading: Reading) -> None:
    """Apply the blocks that were read in an engine of our own: each event digest comes out as it was published."""
    with Journal.open(data, readonly=True) as journal:
        engine = Engine(capacity_of(journal))
    for block in reading.given:
        engine.apply(engine_rows(block.rows))
        assert engine.event_digest == block.event_digest


def engine_rows(raw: bytes) -> Any:
    import numpy as np

    from engine.records import COMMAND

    return np.frombuffer(bytearray(raw), COMMAND)


@pytest.mark.slow
def test_readers_over_a_bad_path_have_every_block_and_message_though_the_publisher_is_killed(
    published: Published, lockstep: Lockstep, tmp_path: Path
) -> None:
    path = published.bad_path(1, 0.15)
    heard: list[Publication] = []  # the control: who takes what comes for all that there is
    listener = Listener(published.server, subject("bad", ITCH), heard)
    readings = [published.messages(), published.messages("bad"), published.blocks(), published.blocks("bad")]
    client, chance = Client(published.node.port, "UA"), random.Random(1)
    for kills in range(3):
        for n in range(10):
            trade(client, f"A{kills}{n}x", 6, chance)
            time.sleep(0.02)
        os.kill(processes(published.node)["nats"]["pid"], signal.SIGKILL)
        trade(client, f"A{kills}y", 20, chance)
        until(lambda kills=kills: beats(client) and runs_again(published.node, "nats", kills + 1), 300.0)  # type: ignore[misc]
    client.socket.sendall(enter("LAST", "B", 7, 77_700))
    for reading in readings[:2]:
        until(lambda reading=reading: reading.has(77_700), what="the last message has not come")  # type: ignore[misc]
    seq = published.node.status()["seq"]
    for reading in readings[2:]:
        until(lambda reading=reading: reading.last_seq >= seq, what="the last block has not come")  # type: ignore[misc]
    listener.stop()
    assert path.lost
    assert path.doubled
    assert path.held
    assert readings[1].reader.order.counts.missed
    assert readings[1].reader.answers
    taken = [message[2:] for found in heard for message in cut(found.payload)]
    assert taken != readings[0].messages[-len(taken) :]
    assert published.node.end(signal.SIGTERM) == 0
    made = written(lockstep, published.node.data, tmp_path / "out")
    there = frames(published.node.data)
    for reading in readings:
        reading.stop()
        assert reading.fault is None
    for reading in readings[:2]:
        assert reading.messages == made[: len(reading.messages)]
    for reading in readings[2:]:
        assert [block.frame for block in reading.given] == there[: len(reading.given)]
        proven(published.node.data, reading)


class Listener:
    """Publications under a subject, as they come."""

    def __init__(self, server: NatsServer, name: str, heard: list[Publication]) -> None:
        self._ends, self._ready = False, threading.Event()

        async def run() -> None:
            line = await NatsLine.connect(server.url, name="listener")

            async def on_message(headers: dict[str, str], payload: bytes) -> None:
                heard.append(read(headers, payload))

            await line.subscribe(name, on_message)
            self._ready.set()
            while not self._ends:
                await asyncio.sleep(0.02)
            await line.close()

        self._thread = threading.Thread(target=lambda: asyncio.run(run()))
        self._thread.start()
        assert self._ready.wait(60)

    def stop(self) -> None:
        self._ends = True
        self._thread.join()


@pytest.mark.slow
def test_after_the_server_was_killed_all_that_happened_meanwhile_is_published_in_order(published: Published) -> None:
    heard: list[Publication] = []
    listener = Listener(published.server, subject("test", ITCH), heard)
    client, chance = Client(published.node.port, "UA"), random.Random(2)
    trade(client, "A", 50, chance)
    client.socket.sendall(enter("E1", "B", 7, 77_700))
    until(lambda: told(heard, 77_700))
    published.server.stop()
    listener.stop()
    trade(client, "B", 200, chance)
    assert answered_in_s(client) < SOON_S
    after: list[Publication] = []
    published.server.start()
    listener = Listener(published.server, subject("test", ITCH), after)
    client.socket.sendall(enter("E2", "B", 7, 77_600))
    until(lambda: told(after, 77_600), what="nothing was published after the server came back")
    listener.stop()
    # A server that begins anew has nobody who listens at once, so what it got first may have come to nobody. What the
    # one before was killed over before it had confirmed it is published again, the same.
    numbers, again = ([number for found in each for number in range(found.first, found.end)] for each in (heard, after))
    assert numbers == sorted(set(numbers))
    assert again == sorted(set(again))
    assert again[-1] > numbers[-1]
    first, second = messages_by_number(heard), messages_by_number(after)
    assert all(first[number] == second[number] for number in first.keys() & second.keys())
    reading = published.messages()
    until(lambda: reading.has(77_600))
    assert len(reading.messages) >= again[-1]


def messages_by_number(heard: list[Publication]) -> dict[int, bytes]:
    """Messages that were heard, by their numbers in the session."""
    return {found.first + n: bytes(message) for found in heard for n, message in enumerate(cut(found.payload))}


def told(heard: list[Publication], price_e4: int) -> bool:
    """True once the add of an order at a price was heard."""
    return any(
        message[2] == ord("A") and int.from_bytes(message[34:38], "big") == price_e4
        for found in list(heard)
        for message in cut(found.payload)
    )


@pytest.mark.slow
def test_a_server_that_is_stopped_holds_nobody_and_gets_all_of_it_later(published: Published) -> None:
    heard: list[Publication] = []
    listener = Listener(published.server, subject("test", ITCH), heard)
    client, chance = Client(published.node.port, "UA"), random.Random(3)
    trade(client, "A", 20, chance)
    client.socket.sendall(enter("E1", "B", 7, 77_700))
    until(lambda: told(heard, 77_700))
    pid = processes(published.node)["nats"]["pid"]
    before_bytes = resident_bytes(pid)
    published.server.send(signal.SIGSTOP)
    for n in range(20):
        trade(client, f"B{n}x", 300, chance)
        assert answered_in_s(client) < SOON_S
    # The owner of the journal answers meanwhile, so a reader has everything.
    reading = Reading(MessageReader(published.server.url, "test", requests=published.owner, from_number=1))
    client.socket.sendall(enter("E2", "B", 7, 77_600))
    until(lambda: reading.has(77_600), what="the owner does not answer while the server is stopped")
    reading.stop()
    assert processes(published.node)["nats"]["restarts"] == 0
    assert resident_bytes(pid) < before_bytes + (64 << 20)
    published.server.send(signal.SIGCONT)
    until(lambda: told(heard, 77_600), what="nothing came after the server went on")
    listener.stop()
    seen: set[int] = set()
    for found in heard:
        seen |= set(range(found.first, found.end))
    assert seen >= set(range(min(seen), max(seen) + 1))  # nothing was left out


@pytest.mark.slow
def test_a_node_that_starts_again_goes_on_with_the_same_bytes(published: Published) -> None:
    reading, blocks = published.messages(), published.blocks()
    chance = random.Random(4)
    trade(Client(published.node.port, "UA"), "A", 50, chance)
    Client(published.node.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
    until(lambda: reading.has(77_700))
    for number, name, price in ((signal.SIGTERM, "B", 77_600), (signal.SIGKILL, "C", 77_500)):
        published.node.end(number)
        published.node.start()
        owner = published.owner
        for each in (reading, blocks):
            host, port = owner.split(":")
            each.reader._owners = [each.reader._owners[0]._replace(host=host, port=int(port))]
        trade(Client(published.node.port, "UA"), name, 50, chance)
        Client(published.node.port, "UB").socket.sendall(enter(f"E{name}", "B", 7, price))
        until(lambda price=price: reading.has(price), what="the messages do not go on")  # type: ignore[misc]
    seq = published.node.status()["seq"]
    until(lambda: blocks.last_seq >= seq)
    late, late_blocks = published.messages(), published.blocks()
    until(lambda: late.has(77_500))
    until(lambda: late_blocks.last_seq >= seq)
    count = min(len(late.messages), len(reading.messages))
    assert late.messages[:count] == reading.messages[:count]
    assert [each.frame for each in late_blocks.given][: len(blocks.given)] == [
        each.frame for each in blocks.given[: len(late_blocks.given)]
    ]
    proven(published.node.data, late_blocks)


@pytest.mark.slow
def test_after_a_takeover_publication_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    server.start()
    closes: list[Callable[[], None]] = [server.stop]
    try:
        with pair(tmp_path, "--nats", f"{server.url},venue=test", *PATIENT) as (_, first, second):
            for node in (first, second):
                until(lambda node=node: processes(node)["nats"]["port"], 300.0)  # type: ignore[misc]
            owners = [f"127.0.0.1:{processes(node)['nats']['port']}" for node in (first, second)]
            reading = Reading(MessageReader(server.url, "test", requests=owners, from_number=1))
            blocks = Reading(BlockReader(server.url, "test", requests=owners, from_seq=1))
            closes = [reading.stop, blocks.stop, *closes]
            chance = random.Random(5)
            trade(Client(first.port, "UA"), "A", 100, chance)
            Client(first.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
            until(lambda: reading.has(77_700))
            second.awaits(can_take_over=1)
            first.end(signal.SIGKILL)
            second.awaits(role="primary", state="reigning")
            trade(Client(second.port, "UA"), "B", 50, chance)
            Client(second.port, "UB").socket.sendall(enter("E2", "B", 7, 77_600))
            until(lambda: reading.has(77_600), what="the messages do not go on after the takeover")
            seq = second.status()["seq"]
            until(lambda: blocks.last_seq >= seq)
            assert blocks.fault is None
            assert [each.frame for each in blocks.given] == frames(second.data)[: len(blocks.given)]
            assert blocks.given[-1].epoch > blocks.given[0].epoch
            late = Reading(MessageReader(server.url, "test", requests=owners, from_number=1))
            closes.insert(0, late.stop)
            until(lambda: late.has(77_600))
            count = min(len(late.messages), len(reading.messages))
            assert late.messages[:count] == reading.messages[:count]
    finally:
        for close in closes:
            close()


@pytest.mark.slow
def test_of_a_server_with_a_login_the_publisher_and_the_reader_have_it_in_a_file(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, "--user", "feed", "--pass", "quite:secret")
    login = tmp_path / "login"
    login.write_text("feed:quite:secret\n")
    login.chmod(0o600)
    server.start()
    node = started(tmp_path, "--nats", f"{server.url},venue=test,login={login}")
    reading = None
    try:
        until(lambda: processes(node)["nats"]["port"], 300.0)
        reading = Reading(MessageReader(server.url, "test", from_number=None, login=read_login(login)))
        until(lambda: reading is not None and reading.reader.connections)
        Client(node.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
        until(lambda: reading is not None and reading.has(77_700))
        assert "quite" not in node.logged()
        with pytest.raises(CannotConnect) as found:
            asyncio.run(connected(server.url, "feed:wrong"))
        assert "wrong" not in str(found.value)
    finally:
        if reading is not None:
            reading.stop()
        node.stop()
        server.stop()


@pytest.mark.slow
def test_by_tls_all_is_published_and_a_server_that_nobody_vouches_for_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=nats", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    server = NatsServer(tmp_path, "--tls", "--tlscert", str(cert), "--tlskey", str(key))
    server.start()
    with pytest.raises(CannotConnect, match=r"no NATS server answers.*certificate"):
        asyncio.run(connected(server.url, ""))
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    node, reading = started(tmp_path, "--nats", f"{server.url},venue=test"), None
    try:
        until(lambda: processes(node)["nats"]["port"], 300.0)
        reading = Reading(MessageReader(server.url, "test", from_number=None))  # without an owner: all came by TLS
        until(lambda: reading is not None and reading.reader.connections)
        Client(node.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
        until(lambda: reading is not None and reading.has(77_700))
    finally:
        if reading is not None:
            reading.stop()
        node.stop()
        server.stop()


@pytest.mark.slow
def test_what_is_larger_than_the_server_takes_comes_from_the_owner(tmp_path: Path) -> None:
    options = tmp_path / "nats.conf"
    options.write_text("max_payload: 8192\n")
    made = Published(tmp_path, "-c", str(options))
    try:
        blocks, messages = made.blocks(), made.messages()
        until(lambda: blocks.reader.connections and messages.reader.connections)
        with made.node.link() as link:  # a block of more than the server takes
            text = "".join(f"participant P{n}\n" for n in range(400))
            link.ask("commands", text=text)  # refused commands are in it too
        client = Client(made.node.port, "UA")
        trade(client, "A", 200, random.Random(7))
        client.socket.sendall(enter("LAST", "B", 7, 77_700))
        until(lambda: messages.has(77_700), what="the last message has not come")
        seq = made.node.status()["seq"]
        until(lambda: blocks.last_seq >= seq, what="the last block has not come")
        assert blocks.reader.answers
        assert blocks.fault is None
        assert [each.frame for each in blocks.given] == frames(made.node.data)[: len(blocks.given)]
        assert max(len(each.frame) for each in blocks.given) > 8_192
        assert processes(made.node)["nats"]["restarts"] == 0
    finally:
        made.stop()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("payload_bytes", [1_087, 1_088])
def test_a_server_that_takes_less_than_a_message_is_told_of_and_one_that_takes_it_gets_all(
    tmp_path: Path, payload_bytes: int
) -> None:
    options = tmp_path / "nats.conf"
    options.write_text(f"max_payload: {payload_bytes}\n")
    made = Published(tmp_path, "-c", str(options))
    try:
        said = f"it takes {payload_bytes:,} bytes a publication, and one message with its headers has up to 1,088"
        if payload_bytes < 1_088:
            until(lambda: said in made.node.logged(), what=made.node.logged)
            assert "publishing" not in made.node.logged()
        else:
            # Without an owner: all of it came through the server.
            messages = made.kept(Reading(MessageReader(made.server.url, "test", from_number=None)))
            until(lambda: messages.reader.connections)
            trade(Client(made.node.port, "UA"), "A", 60, random.Random(7))
            Client(made.node.port, "UB").socket.sendall(enter("E1", "B", 7, 77_700))
            until(lambda: messages.has(77_700), what="the last message has not come")
            assert said not in made.node.logged()
        assert processes(made.node)["nats"]["restarts"] == 0
    finally:
        made.stop()


@pytest.mark.slow
def test_there_are_no_heartbeats_while_the_core_is_silent(published: Published) -> None:
    async def beats_within(seconds: float) -> int:
        found: list[Publication] = []

        async def on_message(headers: dict[str, str], payload: bytes) -> None:
            found.append(read(headers, payload))

        line = await NatsLine.connect(published.server.url, name="test")
        await line.subscribe(subject("test", BLOCKS), on_message)
        await asyncio.sleep(seconds)
        await line.close()
        assert all(not each.numbers for each in found)
        return len(found)

    assert published.node.process is not None
    until(lambda: "publishing" in published.node.logged())
    assert asyncio.run(beats_within(3.0)) >= 2
    published.node.process.send_signal(signal.SIGSTOP)
    try:
        asyncio.run(beats_within(4.5))
        assert asyncio.run(beats_within(3.0)) == 0
    finally:
        published.node.process.send_signal(signal.SIGCONT)
    assert asyncio.run(beats_within(4.0)) >= 2
    assert "there are no heartbeats until it goes on" in published.node.logged()


async def connected(url: str, login: str) -> None:
    line = await NatsLine.connect(url, name="test", login=login)
    await line.close()


HOSTILE = [
    b"",
    b"\n",
    b"blocks - 99999999\n",
    b"itch 19990101 1\n",
    b"x" * 200_000,
    b"blocks ffff 1\n",
    b"blocks - 1",
    random.Random(6).randbytes(300),
]


@pytest.mark.slow
def test_hostile_requests_are_refused_and_others_are_served(published: Published) -> None:
    host, port = published.owner.split(":")
    for sent in HOSTILE:
        with socket.create_connection((host, int(port)), timeout=30) as asked:
            with contextlib.suppress(OSError):
                asked.sendall(sent)
                asked.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                answer = b"".join(iter(lambda asked=asked: asked.recv(65_536), b""))  # type: ignore[misc]
                assert answer == b"" or b"Lockstep-Refused" in answer or sent == b"blocks - 1"
    reading = published.blocks()
    seq = published.node.status()["seq"]
    until(lambda: reading.last_seq >= seq)


@pytest.mark.slow
def test_the_process_runs_by_hand_beside_a_node_and_the_example_prints_what_it_publishes(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    node, processes_by_hand = started(tmp_path), list[subprocess.Popen[str]]()

    def by_hand(*words: str) -> subprocess.Popen[str]:
        made = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        processes_by_hand.append(made)
        return made

    try:
        made = by_hand("-m", "cli.main", "nats", str(node.data), "--url", server.url, "--venue", "test", "--json")
        assert made.stdout is not None
        (place,) = checked(("nats",), made.stdout.readline())
        watch = by_hand("examples/nats_watch.py", server.url, "test", f"127.0.0.1:{place['listening']['port']}")
        assert watch.stdout is not None
        said = watch.stdout.readline()
        while said.startswith("waiting: "):  # on a machine under load
            said = watch.stdout.readline()
        assert said.startswith("1 to ")  # of the owner, since there is no server yet
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 0
        server.start()
        made.send_signal(signal.SIGTERM)
        assert made.wait(60) == 0
    finally:
        for each in processes_by_hand:
            each.kill()
            each.wait(60)
        node.stop()
        server.stop()


def test_a_login_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "login"
    path.write_text("a:b")
    path.chmod(0o644)
    with pytest.raises(LoginFileError, match="chmod 600"):
        read_login(path)
    path.chmod(0o600)
    assert read_login(path) == "a:b"
    path.write_text("\n")
    with pytest.raises(LoginFileError, match="no login"):
        read_login(path)
    with pytest.raises(LoginFileError, match="cannot be read"):
        read_login(tmp_path / "none")


def test_words_of_a_publication_are_read() -> None:
    assert nats_option("nats://a:4222") == NatsOption("nats://a:4222")
    assert nats_option("nats://a:4222,venue=x,requests=10.0.0.1:5,login=f") == NatsOption(
        "nats://a:4222", "x", "10.0.0.1", 5, Path("f")
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("http://a", "URL of the NATS server"),
        ("nats://me:secret@a:4222", "give it in a file"),
        ("nats://a,venue=a.b", "venue="),
        ("nats://a,venue=*", "venue="),
        ("nats://a,requests=1", "HOST:PORT"),
        ("nats://a,colour=red", "is nothing of --nats"),
    ],
)
def test_words_that_are_no_publication_are_refused_with_a_sentence(text: str, what: str, lockstep: Lockstep) -> None:
    status, _, complaint = lockstep("serve", "--data", "none", "--nats", text)
    assert status == 2
    assert what in " ".join(complaint.replace("│", " ").split())
    assert "secret" not in complaint


def test_the_process_alone_says_what_it_lacks(lockstep: Lockstep, tmp_path: Path) -> None:
    assert lockstep("nats", tmp_path, "--url", "nats://a")[0] == 2
    status, _, complaint = lockstep("serve", "--data", tmp_path / "x", "--nats", "nats://a", "--tape-mb", "0")
    assert status == 2
    assert "reads the tape" in " ".join(complaint.replace("│", " ").split())
