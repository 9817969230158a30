"""Market data by FIX of a real node: books through kills and restarts, bad input, slow readers."""

import asyncio
import contextlib
import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from marketdata.fix.encoding import price_text
from marketdata.fix.market import Change
from node.feeds import fix_data_process
from node.feeds.fix_data_process import FixDataOptions, FixDataProcess
from node.programs.logs import Log
from tests.captures import PORT, Segment, needs_tshark, write_pcap
from tests.fix_book import FixBook
from tests.fix_client import FixClient
from tests.fix_judge import SPEC
from tests.json_schemas import checked
from tests.ouch_messages import cancel, enter
from tests.pair_processes import PATIENT, pair
from tests.running import ROOT, Client, Running, started, until
from wire.fix_codec import FrameWriter, Message, Times, body
from wire.fix_table import VERSIONS

TYPES = "012478"


class Served:
    """A node, and `lockstep fix-data` beside it."""

    def __init__(self, folder: Path, *options: str, node: Running | None = None) -> None:
        """``node``: one that runs already."""
        self.node: Running = started(folder, *options) if node is None else node
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "fix-data.log"

    def start(self) -> None:
        line = ["-m", "cli.main", "fix-data", str(self.node.data), "--port", str(self.port), "--json"]
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, *line], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.log.read_text(encoding="utf-8")
        (place,) = checked(("fix-data",), said)
        self.port = place["listening"]["port"]

    def end(self, number: int) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.process.stdout.close()
        self.process = None
        return status

    def book(self) -> dict[tuple[bytes, bytes], tuple[int, int]]:
        """The market's own book of XYZ."""
        asked = subprocess.run(
            [sys.executable, "-m", "cli.main", "admin", "book", str(self.node.data), "XYZ", "--depth", "200", "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        said = json.loads(asked.stdout)
        return {
            (kind, price_text(level["price_e4"])): (level["qty"], level["orders"])
            for kind, side in ((b"0", "bids"), (b"1", "offers"))
            for level in said[side]
        }


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    try:
        made.start()
        yield made
    finally:
        if made.process is not None:
            made.end(signal.SIGTERM)
        made.node.stop()


class Viewer(FixClient):
    """A subscriber with a book."""

    def __init__(self, port: int, version: str = "FIXT.1.1") -> None:
        super().__init__(port, "VIEWER", version=version)
        self.book = FixBook()
        self.log_on("none", 30, (141, "Y"))

    def subscribe(self, request_id: str = "xyz", **more: Any) -> None:
        fields: list[tuple[int, Any]] = [(262, request_id), (263, "1"), (264, 0)]
        fields += [(int(tag[1:]), value) for tag, value in more.items()]
        fields += [(267, len(TYPES)), *((269, each) for each in TYPES), (146, 1), (55, "XYZ")]
        self.send(b"V", fields)

    def follow(self, wanted: Any) -> None:
        """Take messages until the book is as wanted."""
        while not wanted():
            self.until(self._took)

    def _took(self, message: Message) -> bool:
        if message.msg_type not in (b"W", b"X"):
            return False
        self.book.take(message)
        return True


class Traders:
    """Two participants, who trade with each other at random."""

    def __init__(self, port: int, first: int = 0) -> None:
        """first: number before that of their first order."""
        self.clients = Client(port, "UA"), Client(port, "UC")
        self._chance = random.Random(16)
        self._tokens = first

    def trade(self, count: int) -> None:
        """Enter orders of both sides, some of which trade, and cancel some."""
        chance = self._chance
        for _ in range(count):
            client = self.clients[chance.randrange(2)]
            self._tokens += 1
            order = enter(f"T{self._tokens}", chance.choice("BS"), 10, 100_000 + 100 * chance.randint(-5, 5))
            client.socket.sendall(order)
            if chance.random() < 0.3:
                client.socket.sendall(cancel(f"T{chance.randint(1, self._tokens)}"))

    def log_out(self) -> None:
        """Leave, with nothing more on its way."""
        for client in self.clients:
            client.log_out()

    def mark(self, price_e4: int) -> None:
        """Enter an order at a price of its own: the last that the flow does."""
        for client in self.clients:
            self._tokens += 1
            client.socket.sendall(enter(f"T{self._tokens}", "B", 7, price_e4))


def marked(viewer: Viewer, price: bytes) -> Callable[[], bool]:
    return lambda: viewer.book.levels.get((b"0", price)) == (14, 2)


@pytest.mark.slow
def test_a_subscribers_book_is_the_markets_through_kills_and_restarts(served: Served) -> None:
    updates = 0
    for turn, version in enumerate((VERSIONS[2], VERSIONS[0], VERSIONS[1], VERSIONS[2])):
        traders = Traders(served.node.port, turn * 1_000)
        traders.trade(100)
        viewer = Viewer(served.port, version)
        viewer.subscribe()
        for _ in range(3):
            traders.trade(100)
            time.sleep(0.05)
        traders.mark(50_000 + turn * 100)
        viewer.follow(marked(viewer, price_text(50_000 + turn * 100)))
        assert viewer.book.levels == served.book()
        assert viewer.book.snapshots == 1
        assert viewer.book.trades
        if version == VERSIONS[2]:
            assert viewer.book.updates > updates, "the count of updates goes on behind every end"
            updates = viewer.book.updates
        viewer.close()
        traders.log_out()
        if turn < 3:
            served.end((signal.SIGKILL, signal.SIGTERM)[turn % 2])
            served.start()


@pytest.mark.slow
def test_a_subscriber_of_the_node_that_takes_over_goes_on_and_one_of_the_node_that_dies_is_logged_out(
    tmp_path: Path,
) -> None:
    """No book is wrong without a word: each fits message by message, and is the market's at the end."""
    with pair(tmp_path, *PATIENT) as (_, a, b):
        beside = {}
        for name, node in (("a", a), ("b", b)):
            (tmp_path / f"beside-{name}").mkdir()
            beside[name] = Served(tmp_path / f"beside-{name}", node=node)
        try:
            for each in beside.values():
                each.start()
            traders = Traders(a.port)
            traders.trade(100)
            viewers = {name: Viewer(each.port) for name, each in beside.items()}
            for viewer in viewers.values():
                viewer.subscribe()
            for _ in range(3):
                traders.trade(100)
                time.sleep(0.05)
            traders.mark(50_000)
            for viewer in viewers.values():
                viewer.follow(marked(viewer, b"5"))
            assert viewers["a"].book.levels == viewers["b"].book.levels == beside["a"].book()
            before = viewers["b"].book.updates
            assert before == viewers["a"].book.updates, "a count of the journal, alike at both nodes"
            a.end(signal.SIGKILL)
            last = viewers["a"].until(lambda each: each.msg_type == b"5")
            assert last.get(b"58") == b"the market data ends"
            assert viewers["a"].next() is None
            b.awaits(state="reigning")
            traders = Traders(b.port, 1_000)
            traders.trade(200)
            late = Viewer(beside["b"].port)
            late.subscribe()
            traders.trade(50)
            traders.mark(50_100)
            for viewer in (viewers["b"], late):
                viewer.follow(marked(viewer, b"5.01"))
                assert viewer.book.levels == beside["b"].book()
                assert viewer.book.snapshots == 1, "it goes on, and needs no book again"
            assert viewers["b"].book.updates == late.book.updates > before
            traders.log_out()
        finally:
            for each in beside.values():
                if each.process is not None:
                    each.end(signal.SIGTERM)


@pytest.mark.slow
def test_subscribers_are_logged_out_while_the_market_stands_still_and_served_again_behind_it(served: Served) -> None:
    """A core that is stopped says nothing, and heartbeats beside it would say that all is well."""
    assert served.node.process is not None
    viewer = Viewer(served.port)
    viewer.subscribe()
    viewer.until(lambda each: each.msg_type == b"W")
    os.kill(served.node.process.pid, signal.SIGSTOP)
    try:
        last = viewer.until(lambda each: each.msg_type == b"5")
        assert last.get(b"58") == fix_data_process.STALE.encode()
        assert viewer.next() is None
        again = Viewer(served.port)
        assert again.until(lambda each: each.msg_type == b"5").get(b"58") == fix_data_process.STALE.encode()
        assert "the market is stale" in served.log.read_text()
    finally:
        os.kill(served.node.process.pid, signal.SIGCONT)
    until(lambda: "the market goes on" in served.log.read_text())
    later = Viewer(served.port)
    later.subscribe()
    later.until(lambda each: each.msg_type == b"W")
    traders = Traders(served.node.port)
    traders.mark(50_000)
    later.follow(marked(later, b"5"))
    traders.log_out()


def narrow(address: tuple[str, int]) -> socket.socket:
    """A connection whose system keeps little of what is not read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect(address)
    return made


@pytest.mark.slow
def test_a_subscriber_that_stops_reading_gets_whole_books_later(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    traders, viewer = Traders(served.node.port), Viewer(served.port)
    viewer.subscribe()
    monkeypatch.setattr(socket, "create_connection", narrow)
    slow = Viewer(served.port)
    for number in range(8):  # as many copies of each change
        slow.subscribe(f"r{number}")
    for _ in range(100):
        traders.trade(50)
        time.sleep(0.02)
    traders.mark(50_000)
    books = {b"r%d" % number: FixBook() for number in range(8)}
    while any(book.levels.get((b"0", b"5")) != (14, 2) for book in books.values()):
        message = slow.until(lambda each: each.msg_type in (b"W", b"X"))
        books[message.fields[b"262"]].take(message)
    viewer.follow(marked(viewer, b"5"))
    assert viewer.book.snapshots == 1, "who reads is not conflated"
    assert all(book.levels == viewer.book.levels for book in books.values())
    assert max(book.snapshots for book in books.values()) > 1, "it was conflated"


@pytest.mark.slow
def test_no_bytes_end_the_process_and_others_are_served(served: Served) -> None:
    chance = random.Random(7)
    viewer = Viewer(served.port)
    viewer.subscribe()
    viewer.follow(lambda: viewer.book.snapshots == 1)
    writer = FrameWriter("FIX.4.4", "HOSTILE", "LOCKSTEP", Times())
    logon = writer.frame(b"A", 1, time.time_ns(), body([(98, 0), (108, 30), (141, "Y")]))
    request = body([(262, "x"), (263, "1"), (264, 0), (267, 1), (269, "0"), (146, 1), (55, "XYZ")])
    for _ in range(60):
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw:
            data = bytearray(request)
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] = chance.choice(b"\x01=0129|AZ\xff\x00")
            kind = chance.choice([b"V", b"x", b"c", b"e", b"g", b"2", b"4", b"A", b"5", b"D", b"\xff"])
            frames = logon + writer.frame(kind, 2, time.time_ns(), bytes(data)) + chance.randbytes(chance.randrange(99))
            with contextlib.suppress(OSError):
                for at in range(0, len(frames), chance.choice([1, 7, 10_000])):
                    raw.sendall(frames[at : at + 10_000])
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw:
        for at in range(len(logon)):  # byte by byte
            raw.sendall(logon[at : at + 1])
        assert b"\x0135=A\x01" in raw.recv(65_536)
    traders = Traders(served.node.port)
    traders.mark(50_000)
    viewer.follow(marked(viewer, b"5"))
    assert "Traceback" not in served.log.read_text(encoding="utf-8")


def test_a_fault_within_a_block_leaves_no_image_and_closes_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = started(tmp_path)
    try:
        calls: list[int] = []
        closed: list[bool] = []

        async def serve() -> None:
            process = FixDataProcess(FixDataOptions(node.data, listening()), Log())
            whole, close = process.market.follow, process.follower.feed.close

            def broken(first_seq: int, commands: Any, events: Any) -> Iterator[list[Change]]:
                calls.append(first_seq)
                if len(calls) == 1:
                    raise ZeroDivisionError("a defect")
                yield from whole(first_seq, commands, events)

            def close_and_note() -> None:
                closed.append(True)
                close()

            monkeypatch.setattr(process.follower.feed, "close", close_and_note)
            await process.start()
            monkeypatch.setattr(process.market, "follow", broken)
            await process.run(lambda: Traders(node.port).mark(50_000))

        with pytest.raises(ZeroDivisionError):
            asyncio.run(asyncio.wait_for(serve(), 60))
        assert len(calls) == 1, "no block is taken behind the fault"
        assert not (node.data / "fix-data" / "streams.image").exists()
        assert closed
    finally:
        node.stop()


def test_who_logs_out_and_reads_no_more_loses_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fix_data_process, "ENDED_S", 0.5, raising=False)
    node = started(tmp_path)
    listener = listening()
    address = listener.getsockname()
    writer = FrameWriter("FIX.4.4", "SILENT", "LOCKSTEP", Times())
    try:

        async def until(wanted: Callable[[], bool]) -> None:
            while not wanted():
                await asyncio.sleep(0.01)

        async def leave_without_reading(process: FixDataProcess) -> None:
            with narrow(address) as peer:
                peer.sendall(writer.frame(b"A", 1, time.time_ns(), body([(98, 0), (108, 30), (141, "Y")])))
                for seq in range(2, 902):
                    fields = body([(324, f"s{seq}"), (55, "XYZ"), (263, "0")])
                    peer.sendall(writer.frame(b"e", seq, time.time_ns(), fields))
                    if seq % 50 == 0:
                        await asyncio.sleep(0.01)
                await until(lambda: any(each.live for each in process.by_session))
                peer.sendall(writer.frame(b"5", 902, time.time_ns(), b""))
                await until(lambda: any(each.ends for each in process.by_session))
                await until(lambda: not process.by_session)
                peer.settimeout(5)
                got = 0
                with contextlib.suppress(ConnectionResetError):
                    while data := peer.recv(65_536):
                        got += len(data)
                assert got < 100_000, "much was left unread"
            process.stop()

        async def serve() -> None:
            process = FixDataProcess(FixDataOptions(node.data, listener), Log())
            await process.start()
            served = asyncio.create_task(process.run(lambda: None))
            try:
                await asyncio.wait_for(leave_without_reading(process), 20)
            finally:
                process.stop()
                await served

        asyncio.run(serve())
    finally:
        node.stop()


def listening() -> socket.socket:
    """A socket of a listener whose system keeps little of what is not read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    made.bind(("127.0.0.1", 0))
    return made


@pytest.mark.slow
def test_the_process_ends_with_its_node_and_says_so(served: Served) -> None:
    assert served.node.end(signal.SIGTERM) == 0
    assert served.process is not None
    assert served.process.wait(60) != 0
    assert "has ended; start it again" in served.log.read_text(encoding="utf-8")


def test_a_node_starts_the_process_again_and_its_port_stays(tmp_path: Path) -> None:
    node = Running(tmp_path / "node", "--fix-data", "127.0.0.1:0")
    node.start()
    try:
        node.set_up()
        port = node.listening["fix_data_port"]
        viewer = Viewer(port)
        viewer.subscribe()
        viewer.follow(lambda: viewer.book.snapshots == 1)
        (found,) = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _is_of(path, tmp_path)]
        os.kill(int(found.parent.name), signal.SIGKILL)
        while viewer.next() is not None:
            pass
        again = Viewer(port)
        again.subscribe()
        again.follow(lambda: again.book.snapshots == 1)  # a mark goes with its trader
        Traders(node.port).mark(50_000)
        again.follow(marked(again, b"5"))
    finally:
        node.stop()


def _is_of(path: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        words = path.read_bytes().split(b"\0")
        return b"fix-data" in words and any(word.startswith(str(folder).encode()) for word in words)
    return False


@pytest.mark.slow
@needs_tshark
def test_wireshark_reads_every_message(served: Served, tmp_path: Path) -> None:
    segments: list[Segment] = []
    for version in VERSIONS:
        viewer, traders = Viewer(served.port, version), Traders(served.node.port, len(segments) * 1_000)
        viewer.subscribe()
        viewer.send(b"c", [(320, "c"), (321, 3)])
        viewer.send(b"e", [(324, "e"), (55, "XYZ"), (263, "1")])
        viewer.send(b"g", [(335, "g"), (263, "1")])
        viewer.subscribe("bad", f265="7")
        traders.trade(100)
        traders.mark(50_000)
        viewer.follow(marked(viewer, b"5"))
        segments += [(True, frame) for frame in viewer.frames]
        traders.log_out()
    path = tmp_path / "fix.pcap"
    write_pcap(path, segments)
    command = ["tshark", "-r", str(path), "-d", f"tcp.port=={PORT},fix", "-o", "tcp.desegment_tcp_streams:TRUE"]
    done = subprocess.run([*command, "-V"], check=True, capture_output=True, text=True, timeout=600)
    assert "Malformed" not in done.stdout
    for name in ("MARKET DATA SNAPSHOT", "MARKET DATA INCREMENTAL", "SECURITY STATUS", "TRADING SESSION STATUS"):
        assert name in done.stdout.upper().replace("_", " "), name


@pytest.mark.slow
def test_quickfix_subscribes_and_rejects_nothing(served: Served, tmp_path: Path) -> None:
    if importlib.util.find_spec("quickfix") is None:
        pytest.skip("quickfix-tls is not installed: make .venv/.extras")
    if not SPEC.is_dir():
        pytest.skip("QuickFIX's dictionaries are not here; .ci/run fetches them: it cannot tell groups without")
    for turn, version in enumerate(VERSIONS):
        viewer = subprocess.Popen(
            [sys.executable, "-m", "tests.fix_subscriber", str(served.port), version, str(tmp_path), "4"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert viewer.stdout is not None
        first = viewer.stdout.readline()
        assert "|35=W|" in first, first
        traders = Traders(served.node.port, turn * 1_000)
        traders.trade(30)
        traders.mark(50_000)
        traders.log_out()
        kinds = {line.split("|35=")[1].split("|")[0] for line in viewer.stdout}
        assert viewer.wait(60) == 0
        viewer.stdout.close()
        assert kinds == {"X"}, version
