"""Snapshots and repeated messages of a feed for receivers that lack something, and their cost to those that do not.

python -m benchmarks.feed_recovery            all of it, as one JSON object a line
python -m benchmarks.feed_recovery NAME...    snapshot, gap

``snapshot``: of a market that shows a million orders, from the login to the last message, by one client and by eight at
once; and the longest time between two packets of the feed meanwhile, in turn with as long a time without a client. A
trader changes a book every millisecond.

``gap``: a receiver that joins late asks for the first 10,000 messages, in a process of its own
(``benchmarks.gap_receiver``): from its first request to the last message, its processor time for that, and its
requests.
"""

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.feeds import Beside, Changing
from benchmarks.measure import RUNS, Row, machine, row
from benchmarks.ports import free_port
from benchmarks.wire_node import Node, link_to, serving, set_up
from benchmarks.workload import MID_TICKS, PARTICIPANTS, TICK_E4, definitions
from client.book_feed import joined
from directory.recover import create
from engine import Capacity
from engine.records import COMMAND, CommandKind, SelfTrade, TimeInForce
from load.lines import LoadError
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from wire.soup import LoginRequest, Sequenced
from wire.soup_session import ClientSession

_ORDERS: Final = 1_000_000
_SYMBOLS: Final = 8
_AT_ONCE: Final = 8
_SNAPSHOT_S: Final = 2.0
_GAP: Final = 10_000
_GAP_S: Final = 0.1
_WATCH_S: Final = 1.0
_PAUSE_S: Final = 0.001


def _orders(count: int) -> "Iterator[np.ndarray[Any, Any]]":
    """Definitions, and so many orders of which none meets another."""
    clock = np.zeros(1, COMMAND)
    clock["kind"], clock["time_ns"] = CommandKind.CLOCK, time.time_ns()
    yield clock
    yield definitions(_SYMBOLS)
    draw = np.random.default_rng(1)
    for start in range(0, count, 4_096):
        rows = np.zeros(min(4_096, count - start), COMMAND)
        side = draw.choice([1, -1], len(rows))
        rows["kind"], rows["side"] = CommandKind.ENTER, side
        rows["client_order_id"] = start + 1 + np.arange(len(rows))
        rows["participant"] = draw.integers(1, PARTICIPANTS + 1, len(rows))
        rows["instrument"] = draw.integers(1, _SYMBOLS + 1, len(rows))
        rows["qty"] = draw.integers(1, 500, len(rows))
        rows["price_e4"] = TICK_E4 * (MID_TICKS - side * draw.integers(100, 2_000, len(rows)))
        rows["self_trade"], rows["time_in_force"] = SelfTrade.CANCEL_NEWEST, TimeInForce.DAY
        yield rows


@contextmanager
def _fed(orders: int) -> "Iterator[tuple[Node, Beside, tuple[str, int]]]":
    """A node whose book has so many orders, its feed, and the group of that."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name, ExitStack() as ends:
        directory = Path(name) / "node"
        journal, engine = create(directory, Capacity(orders_max=_ORDERS + 100_000), durability="none")
        with journal:
            pump(_orders(orders), FileStamp(), journal, engine, durability="none")
        port, pid = ends.enter_context(serving(directory, "none"))
        link = ends.enter_context(link_to(directory))
        node = Node("127.0.0.1", port, set_up(link, 1, 0), ["S0"], pid, link, directory)
        group = ("239.192.254.1", free_port())
        feed = Beside(node, ["feed", "--group", f"{group[0]}:{group[1]}"])
        ends.callback(feed.end)
        yield node, feed, group


def _snapshot(port: int) -> tuple[float, int]:
    """Seconds from the login to the last message, and the messages. Raises LoadError where there is no last one."""
    session, messages, last = ClientSession(0), 0, b""
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(session.login(LoginRequest("ANY", "", "", 1), 0))
        while data := connection.recv(1 << 20):
            for event in session.receive(data, 0):
                if isinstance(event, Sequenced):
                    messages, last = messages + 1, event.payload
            if last[:1] == b"G":
                return time.monotonic() - began_s, messages
    raise LoadError("a snapshot broke off")


def _octets(port: int) -> float:
    """Seconds from the login to the last byte of a snapshot whose messages are not looked at."""
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(ClientSession(0).login(LoginRequest("ANY", "", "", 1), 0))
        while connection.recv(1 << 20):
            pass
    return time.monotonic() - began_s


class _Pauses(threading.Thread):
    """A receiver of the group. ``longest_s``: between two packets since it was set to 0."""

    def __init__(self, group: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self._socket = joined(group, "127.0.0.1")
        self._socket.setblocking(True)
        self.longest_s = 0.0
        self.start()

    def run(self) -> None:
        before_s = time.monotonic()
        while True:
            self._socket.recv(65_536)
            now_s = time.monotonic()
            self.longest_s, before_s = max(self.longest_s, now_s - before_s), now_s

    def during(self, work: Callable[[], object]) -> float:
        """The longest pause during some work, in seconds."""
        self.longest_s = 0.0
        work()
        return self.longest_s


def snapshot() -> Iterator[Row]:
    """Times of snapshots, and the longest pauses of the feed."""
    with _fed(_ORDERS) as (node, feed, group), ThreadPoolExecutor(_AT_ONCE) as clients:
        port = feed.said["snapshots"]
        taken_s, messages = _snapshot(port)
        if messages < _ORDERS:
            raise LoadError(f"a snapshot has {messages:,} messages of {_ORDERS:,} orders")
        changing, pauses = Changing(node, _PAUSE_S), _Pauses(group)
        times, quiet, one, many = [], [], [], []
        for _ in range(RUNS):
            quiet.append(1e3 * pauses.during(lambda: time.sleep(_WATCH_S)))
            one.append(1e3 * pauses.during(lambda: times.append(_octets(port))))
            many.append(1e3 * pauses.during(lambda: list(clients.map(_octets, [port] * _AT_ONCE))))
        changing.end()
        yield row(f"a snapshot of {_ORDERS:,} orders", times, "s", at_most=_SNAPSHOT_S)
        yield row("the same, its messages taken one by one in Python", [taken_s], "s")
        yield row("longest pause of the feed without a snapshot", quiet, "ms")
        yield row("longest pause of the feed beside a snapshot", one, "ms")
        yield row(f"longest pause of the feed beside {_AT_ONCE} snapshots at once", many, "ms")


def gap() -> Iterator[Row]:
    """Time until a gap is filled."""
    with _fed(_GAP) as (_node, feed, group):
        words = [f"{group[0]}:{group[1]}", f"127.0.0.1:{feed.said['requests']}"]
        found = []
        for _ in range(RUNS):
            command = [sys.executable, "-m", "benchmarks.gap_receiver", *words]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if said is None:
                raise LoadError("the gap was not filled")
            found.append(said)
        times, costs, requests = ([each[name] for each in found] for name in ("ms", "cpu_ms", "requests"))
        yield row(f"a gap of {_GAP:,} messages filled, and a book made of them", times, "ms", at_most=1e3 * _GAP_S)
        yield row("the same, processor time of the receiver", costs, "ms")
        yield row("the same, requests", requests, "")


PARTS: Final[dict[str, Callable[[], Iterator[Row]]]] = {"snapshot": snapshot, "gap": gap}


if __name__ == "__main__":
    print(json.dumps(machine()), flush=True)
    for part in sys.argv[1:] or PARTS:
        for each in PARTS[part]():
            print(json.dumps(each), flush=True)
