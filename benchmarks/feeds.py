"""Market data feeds: from the tape to the wire, subscribers of level 2, and what the market loses beside all feeds.

python -m benchmarks.feeds            all of it, as one JSON object a line
python -m benchmarks.feeds NAME...    path, subscribers, loss, history

``path``: one command a block, from the moment at which the market may tell it (RELEASED) until its packet was given to
the system: by a feed that spins in a thread of its own, and by one that is called in the thread of the market, without
the way of the words from one core to the other.

``subscribers``: 1,000 by WebSocket of one product whose book changes all the time, in a process of their own.

``loss``: the multicast feed and the web process beside a node under load, stopped (SIGSTOP) in every other turn: the
node's processor time an order, and orders a second where all share the cores.

``history``: four days of W1 from a journal to ITCH files by `lockstep replay`, as fast as it says itself; of its open
slice, and of the same once it is closed.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from benchmarks.measure import RUNS, Row, machine, row
from benchmarks.ports import free_port
from benchmarks.traffic import days
from benchmarks.wire_node import Node, running_node
from benchmarks.wire_readers import cost_ns, processor_ns
from benchmarks.workload import W1, workload
from client.events import Side
from client.sync_client import Client
from directory.recover import create
from engine import Capacity, Engine
from load.generator import Generator
from load.lines import LoadError, User, close_lines, open_lines
from marketdata.itch import session_name
from marketdata.itch.stream import ItchStream
from node.core.market_tape import MarketTape
from node.feeds.compiled_feed import CompiledFeed
from node.feeds.multicast import Outlet
from node.feeds.programs import Address
from replay.feed import Feed
from replay.market_rows import MARKET_ROWS, tape_of
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tape.places import Place
from tape.writer import TapeWriter
from wire.mold import packets

_JOURNAL: Final = bytes(range(16))
_COMMANDS: Final = 10_000
_COMMANDS_BEFORE: Final = 1_000  # that are not measured
_SPIN_NS: Final = 2_000_000
_PAUSE_S: Final = 0.000_05
_PATH_P50_US: Final = 15.0
_SUBSCRIBERS: Final = 1_000
_AT_ONCE: Final = 50  # connections that are made at a time
_UPDATES_PER_S: Final = 10.0
_WATCH_S: Final = 10.0
_INTERVAL_S: Final = 1 / _UPDATES_PER_S
_LOSS_PERCENT: Final = 3.0
_LOSS_ORDERS: Final = 100_000
_LOSS_RUNS: Final = 3
_LOSS_USERS: Final = 8
_READY_S: Final = 240.0
_HISTORY_DAYS: Final = 4
_HISTORY_PER_S: Final = 3e6


def path() -> Iterator[Row]:
    """Time from RELEASED to the last packet of a command that gives messages, in us."""
    for spins in (True, False):
        medians, highs, costs = [], [], []
        for _ in range(RUNS):
            taken_us, cpu_us = _path(spins=spins)
            medians.append(float(np.percentile(taken_us, 50)))
            highs.append(float(np.percentile(taken_us, 99)))
            costs.append(cpu_us)
        name = "spinning" if spins else "called for each block"
        yield row(f"tape to wire, {name}, p50", medians, "us", at_most=_PATH_P50_US if spins else None)
        yield row(f"tape to wire, {name}, p99", highs, "us")
        if not spins:
            yield row("tape to wire, processor time a command", costs, "us")


def _path(*, spins: bool) -> tuple[list[float], float]:
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory, engine = Path(name), Engine(Capacity(orders_max=1 << 16, ids_max=1 << 17))
        tape_of(directory).parent.mkdir(mode=0o700)
        tape = MarketTape(TapeWriter(tape_of(directory), _JOURNAL, MARKET_ROWS, size_bytes=64 << 20, seq=0))
        outlet = Outlet([Address("239.192.255.1", 26_400)], "127.0.0.1", 0)

        def send(day: int, number: int, _count: int, framed: memoryview) -> None:
            for packet in packets(session_name(day), number, framed):
                outlet.send(packet)

        stream, feed = ItchStream(directory / "feeds", Capacity(), send), Feed(directory, _JOURNAL, 0)
        direct, ends = CompiledFeed(stream, outlet), threading.Event()

        def follow(wait_ns: int) -> None:
            """Take blocks, by the kernel where it can: the first, which defines the market, is for the stream."""
            while direct.take(feed, wait_ns):
                pass
            while not direct.blocks and (found := feed.take()) is not None:
                stream.observe(found.first_seq, found.commands, found.events)

        def spin() -> None:
            while not ends.is_set():
                follow(_SPIN_NS)

        thread = threading.Thread(target=spin)
        definitions, commands = workload(W1, 1, _COMMANDS)
        taken_us: list[float] = []
        seq, cpu_ns = 1, 0
        for at in range(-1, _COMMANDS):
            rows = definitions if at < 0 else commands[at : at + 1]
            events = engine.apply(rows)
            tape.write(seq, 0, engine.now_ns, rows, events)
            seq += len(rows)
            before_ns, began_ns = time.thread_time_ns(), time.monotonic_ns()
            tape.store(Place.RELEASED, seq - 1)
            if at < 1 or not spins:
                follow(0)
                cpu_ns += time.thread_time_ns() - before_ns if at >= _COMMANDS_BEFORE else 0
            while max(feed.seq, direct.seq) < seq - 1:
                time.sleep(_PAUSE_S)
            if at == 0 and spins:
                thread.start()
            if direct.sent_ns > began_ns and at >= _COMMANDS_BEFORE:
                taken_us.append((direct.sent_ns - began_ns) / 1e3)
        ends.set()
        if spins:
            thread.join()
        assert feed.journaled == 0
        feed.close()
        stream.close()
        outlet.close()
        tape.close()
        return taken_us, cpu_ns / 1e3 / (_COMMANDS - _COMMANDS_BEFORE)


class Beside:
    """A program beside a node, once it serves. ``port``: where it listens; ``said``: all that it says of that."""

    def __init__(self, node: Node, words: list[str]) -> None:
        assert node.directory is not None, "a node of its own"
        command = [sys.executable, "-m", "cli.main", words[0], str(node.directory), *words[1:], "--json"]
        root = Path(__file__).parent.parent
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root, text=True)
        said = _first_line(self.process.stdout)
        self.said: dict[str, Any] = json.loads(said)["listening"] if said else {}
        self.port = int(self.said.get("port", 0))
        if not self.port:
            self.end()
            raise LoadError(f"lockstep {words[0]} did not start")
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        """Read what it reports, so that it need not be left out."""
        assert self.process.stdout is not None
        for _ in self.process.stdout:
            pass

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def _first_line(stream: "IO[str] | None") -> str:
    assert stream is not None
    return stream.readline()


def subscribers() -> Iterator[Row]:
    """Updates a second that each subscriber gets, and the share of a core that the process needs for all."""
    with running_node("none", 1, arguments=["--tape-mb", "64"]) as node, ExitStack() as ends:
        web = Beside(node, ["web", "--port", "0", "--rate", "0"])
        ends.callback(web.end)
        changing = Changing(node)
        ends.callback(changing.end)
        words = [sys.executable, "-m", "benchmarks.feeds", "--subscribe", str(web.port)]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        ends.callback(child.kill)
        if _first_line(child.stdout) != "ready\n":
            raise LoadError("the subscribers did not connect")
        before_ns, began_s = processor_ns(web.process.pid), time.monotonic()
        counts = json.loads(_first_line(child.stdout))
        used = (processor_ns(web.process.pid) - before_ns) / 1e9 / (time.monotonic() - began_s)
        rates = sorted(count / _WATCH_S for count in counts)
        yield row(f"level2 updates/s of each of {_SUBSCRIBERS:,}", rates, "1/s", at_least=_UPDATES_PER_S)
        yield row("the web process, of a core", [100 * used], "%", at_most=100.0)


class Changing(threading.Thread):
    """A trader that changes the best bid of a product all the time."""

    def __init__(self, node: Node, pause_s: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._ends, self._pause_s = threading.Event(), pause_s
        user = node.users[0]
        self._client = Client(node.host, node.port, user.name, user.password)
        self._symbol = node.symbols[0]
        self.start()

    def run(self) -> None:
        with self._client as client:
            n, before = 0, client.enter(self._symbol, Side.BUY, 1, "89.00")
            while not self._ends.is_set():
                n += 1
                order = client.enter(self._symbol, Side.BUY, 1 + n % 9, f"{90 + n % 7}.00")
                before.cancel()
                before = order
                time.sleep(self._pause_s)

    def end(self) -> None:
        """End it."""
        self._ends.set()
        self.join()


async def _subscribe(port: int) -> None:
    """Be all subscribers: say when each has its first snapshot, then how many updates followed the first in the time.

    What comes up to half an interval late is of the last interval: the way of an update is not always as long.
    """
    from websockets.asyncio.client import ClientConnection, connect

    counts = [0] * _SUBSCRIBERS
    ends_s = [0.0] * _SUBSCRIBERS  # of the time of each; 0 before its first update
    ready, loop = asyncio.Event(), asyncio.get_running_loop()
    there = 0

    async def watch(at: int, line: ClientConnection) -> None:
        nonlocal there
        while True:
            kind = str(await line.recv())[:24]
            if "l2update" in kind:
                if ready.is_set() and not ends_s[at]:
                    ends_s[at] = loop.time() + _WATCH_S + _INTERVAL_S / 2
                elif loop.time() < ends_s[at]:
                    counts[at] += 1
            elif "snapshot" in kind:
                there += 1
                if there >= _SUBSCRIBERS:
                    ready.set()

    asked = json.dumps({"type": "subscribe", "product_ids": ["S0-USD"], "channels": ["level2"]})
    url, lines = f"ws://127.0.0.1:{port}/", list[ClientConnection]()
    for _ in range(0, _SUBSCRIBERS, _AT_ONCE):
        some = (connect(url, proxy=None, compression=None, ping_interval=None) for _ in range(_AT_ONCE))
        lines += await asyncio.gather(*some)
    tasks = [asyncio.create_task(watch(at, line)) for at, line in enumerate(lines)]
    await asyncio.gather(*(line.send(asked) for line in lines))
    async with asyncio.timeout(_READY_S):
        await ready.wait()
    print("ready", flush=True)
    await asyncio.sleep(_WATCH_S + 10 * _INTERVAL_S)
    print(json.dumps(counts), flush=True)
    for task in tasks:
        task.cancel()


def loss() -> Iterator[Row]:
    """Processor time of the node an order, and orders a second, beside all feeds, to those while they stand still."""
    with running_node("none", 2 * _LOSS_RUNS * _LOSS_USERS, 8, ["--tape-mb", "64"]) as node, ExitStack() as ends:
        group = f"239.192.254.1:{free_port()}"
        programs = [Beside(node, ["feed", "--group", group]), Beside(node, ["web", "--port", "0"])]
        for each in programs:
            ends.callback(each.end)
        costs, speeds, users = [], [], list(node.users)  # each enters its orders once
        for _ in range(_LOSS_RUNS):
            found = []
            for stands in (True, False):
                for each in programs:
                    os.kill(each.process.pid, signal.SIGSTOP if stands else signal.SIGCONT)
                if not stands:
                    _await_readers(node)
                found.append(_loaded(node, [users.pop() for _ in range(_LOSS_USERS)]))
            (alone_ns, alone_s), (beside_ns, beside_s) = found
            costs.append(100 * (beside_ns / alone_ns - 1))
            speeds.append(100 * (1 - alone_s / beside_s))
        yield row("loss beside all feeds, processor time of the node an order", costs, "%", at_most=_LOSS_PERCENT)
        yield row("loss beside all feeds, orders/s where all share the cores", speeds, "%")


def _loaded(node: Node, users: list[User]) -> tuple[float, float]:
    """Processor time of a node an order, in ns, and time for all orders, in seconds. Raises LoadError."""
    lines = open_lines(node.host, node.port, users)
    try:
        generator = Generator(lines, node.symbols, window=32_768)
        try:
            generator.saturate(_LOSS_ORDERS // 10)
            began_s = time.monotonic()
            return cost_ns(generator, node, _LOSS_ORDERS), time.monotonic() - began_s
        finally:
            generator.close()
    finally:
        close_lines(lines)


def _await_readers(node: Node) -> None:
    """Wait until programs that stood still have caught up. Raises LoadError."""
    assert node.link is not None, "a node of its own"
    until_s = time.monotonic() + _READY_S
    while any(each["lag_bytes"] for each in readers_of(node)):
        if time.monotonic() > until_s:
            raise LoadError("the feeds do not catch up")
        time.sleep(0.05)


def readers_of(node: Node) -> list[dict[str, Any]]:
    """Programs that read the tape of a node, as it tells them itself. Raises LinkError."""
    assert node.link is not None, "a node of its own"
    return list(node.link.ask("workings")["workings"]["readers"])


def history() -> Iterator[Row]:
    """Past days to files: of a slice that is open, and of the same once it is closed and its events are kept."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory = Path(name) / "node"
        journal, engine = create(directory, Capacity(), durability="none")
        with journal:
            pump(days(_HISTORY_DAYS), FileStamp(), journal, engine, durability="none")
        yield from _replays(directory, "of the open slice")
        for words in (["roll"], ["journal", "keep-events"]):
            _lockstep(*words, str(directory))
        yield from _replays(directory, "of a closed slice")


def _lockstep(*words: str) -> str:
    command = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _replays(directory: Path, what: str) -> Iterator[Row]:
    rates, costs = [], []
    for number in range(RUNS):
        out = directory.with_name(f"out{number}")
        began_s = sum(os.times()[2:4])
        said = _lockstep("replay", str(directory), "--out", str(out))
        cost_s = sum(os.times()[2:4]) - began_s
        found = re.search(r"messages +([\d,]+), ([\d,]+) messages/s", said)
        assert found is not None, said
        messages, rate = (int(each.replace(",", "")) for each in found.groups())
        rates.append(float(rate))
        costs.append(1e9 * cost_s / messages)
        shutil.rmtree(out)
    yield row(f"past days to ITCH files, {what}", rates, "messages/s", at_least=_HISTORY_PER_S)
    yield row(f"past days to ITCH files, {what}, processor time with the start of the program", costs, "ns a message")


PARTS: Final[dict[str, Callable[[], Iterator[Row]]]] = {
    "path": path,
    "subscribers": subscribers,
    "loss": loss,
    "history": history,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--subscribe"]:
        asyncio.run(_subscribe(int(sys.argv[2])))
        sys.exit()
    print(json.dumps(machine()), flush=True)
    for part in sys.argv[1:] or PARTS:
        for each in PARTS[part]():
            print(json.dumps(each), flush=True)
