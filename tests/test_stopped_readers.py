"""Readers of market data that stand still, each a process stopped by SIGSTOP: a receiver of the multicast feed, a
client in the middle of a snapshot, one in the middle of a long REST answer, two subscribers by WebSocket.

The market and every other reader go on, memory stays bounded, who takes nothing is ended with a reason in the log, its
connection is given back, and once it goes on (SIGCONT) it has the right book. A NATS server that is stopped is in
tests/test_nats_process.py.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.web.hub import SLOW
from tests.ouch_messages import cancel, enter
from tests.running import ROOT, Client, Running, resident_bytes, started, until
from tests.stopping_reader import PRODUCT
from tests.test_feed_process import beats, free_group, snapshots_port
from tests.test_node_programs import logged, processes

for package in ("starlette", "uvicorn", "websockets", "httptools"):
    pytest.importorskip(package, reason="pip install 'lockstep[web]'")

#: Orders in the book: snapshot and answer are longer than what the kernel holds for who does not read.
ORDERS = 95_000
#: Memory by which a process may grow, and time in which an order is answered, whoever stands still.
GROWTH_BYTES = 96 << 20
ANSWERED_S = 2.0
Level = list[Any]


class Reader:
    """A program of tests/stopping_reader.py, and what it said."""

    def __init__(self, kind: str, address: str, folder: Path, name: str = "") -> None:
        self.kind, self._file = kind, folder / f"{name or kind}.said"
        line = [sys.executable, "-m", "tests.stopping_reader", kind, address]
        with self._file.open("wb") as out:
            self.process = subprocess.Popen(line, cwd=ROOT, stdout=out)

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text().rpartition("\n")[0].splitlines()]

    @property
    def is_stopped(self) -> bool:
        assert self.process.poll() is None, f"{self.kind} has ended"
        state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T" and {"stops": True} in self.said()

    def goes_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    @property
    def lost(self) -> list[str]:
        return [each["lost"] for each in self.said() if "lost" in each]

    @property
    def book(self) -> list[Level] | None:
        books = [each["levels"] for each in self.said() if "levels" in each]
        return books[-1] if books else None

    def end(self) -> None:
        self.process.kill()
        self.process.wait(60)


class Venue:
    """A node with a feed and a web process, and a client who trades."""

    def __init__(self, folder: Path) -> None:
        self.group, self.port = free_group()
        capacity = ("--orders-max", "131072", "--ids-max", "2097152")
        self.node: Running = started(
            *(folder, "--feed", f"itch:{self.group}:{self.port}", "--web", "127.0.0.1:0"),
            *("--durability", "none", *capacity),
        )
        until(lambda: all(each["port"] for name, each in processes(self.node).items() if name != "core"), 300.0)
        self.client, self._chance, self._count = Client(self.node.port, "UA"), random.Random(7), 0
        self._marks = 0

    def pid(self, name: str) -> int:
        return int(processes(self.node)[name]["pid"])

    def sockets(self, name: str) -> int:
        """Sockets that a process has."""
        fds = Path(f"/proc/{self.pid(name)}/fd")
        found = 0
        for each in fds.iterdir():
            try:
                found += os.readlink(each).startswith("socket:")
            except OSError:
                continue  # it was closed meanwhile
        return found

    def until(
        self, condition: Callable[[], object], seconds: float = 120.0, what: Any = "it did not come about"
    ) -> None:
        """Wait until something is so, and beat meanwhile: else the exchange ends a client that says nothing."""
        until(lambda: beats(self.client) and condition(), seconds, what)

    def fill(self) -> None:
        """Fill the book with orders that trade with nobody."""
        for _ in range(0, ORDERS, 1_000):
            orders = []
            for _ in range(1_000):
                self._count += 1
                side = "B" if self._count % 2 else "S"
                far = 100 * (1 + self._count % 150)
                orders.append(
                    enter(f"o{self._count}", side, 1 + self._count % 9, 90_000 - far if side == "B" else 110_000 + far)
                )
            self.client.socket.sendall(b"".join(orders))
            self.client.take(1 + self._count)

    def trade(self, orders: int) -> float:
        """Enter orders and cancel each; the longest time until all of fifty were answered, in seconds."""
        longest_s = 0.0
        for _ in range(0, orders, 50):
            data = []
            for _ in range(50):
                self._count += 1
                price_e4 = 95_000 + 100 * self._chance.randint(0, 9)
                data += [enter(f"o{self._count}", "B", 5, price_e4), cancel(f"o{self._count}")]
            began_s, before = time.monotonic(), len(data)
            self.client.forget()
            self.client.socket.sendall(b"".join(data))
            self.client.take(before)
            longest_s = max(longest_s, time.monotonic() - began_s)
        return longest_s

    def mark(self) -> list[Level]:
        """Enter an order that stays, at a price of its own; the book with it."""
        self._count += 1
        self._marks += 1
        self.client.forget()
        self.client.socket.sendall(enter(f"o{self._count}", "B", 1, 70_000 - 100 * self._marks))
        self.client.take(1)
        mark = ["buy", f"{700 - self._marks}"[:1] + f".{(700 - self._marks) % 100:02d}", 1]
        self.until(lambda: mark in self.book())
        return self.book()

    def book(self) -> list[Level]:
        """The levels of the book by REST."""
        port = processes(self.node)["web"]["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/products/{PRODUCT}/book?level=2", timeout=60) as answer:
            found = json.load(answer)
        levels: Counter[tuple[str, str]] = Counter()
        for word, rows in (("buy", found["bids"]), ("sell", found["asks"])):
            for price, size, _ in rows:
                levels[word, price] += int(size)
        return sorted([side, price, qty] for (side, price), qty in levels.items())


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    made = Venue(tmp_path)
    try:
        yield made
    finally:
        made.node.stop()


@pytest.mark.slow
def test_who_stands_still_is_ended_holds_nobody_and_comes_back_to_the_right_book(venue: Venue, tmp_path: Path) -> None:
    venue.fill()
    web = f"127.0.0.1:{processes(venue.node)['web']['port']}"
    snapshots = f"127.0.0.1:{snapshots_port(venue.node)}"
    feed = f"{venue.group}:{venue.port},127.0.0.1:{processes(venue.node)['itch']['port']},{snapshots}"
    venue.until(lambda: sum(level[2] for level in venue.book()) == sum(1 + n % 9 for n in range(1, ORDERS + 1)))
    before = {name: (resident_bytes(venue.pid(name)), venue.sockets(name)) for name in ("core", "itch", "web")}
    wakes = Reader("websocket", web, tmp_path, "wakes")
    stays = Reader("websocket", web, tmp_path, "stays")
    readers = [
        Reader("multicast", feed, tmp_path),
        Reader("glimpse", snapshots, tmp_path),
        Reader("rest", web, tmp_path),
    ]
    good = Reader("websocket", web, tmp_path, "good")
    sleepers = [*readers, wakes, stays]
    every = [*sleepers, good]
    try:
        venue.until(lambda: all(each.is_stopped for each in (*sleepers, good)))
        good.goes_on()
        slowest_s = venue.trade(6_000)

        def goes_on() -> None:
            """Trade, and see that the good reader has what came of it."""
            nonlocal slowest_s
            slowest_s = max(slowest_s, venue.trade(100))
            expected = venue.mark()
            venue.until(lambda: good.book == expected, what="the good reader does not go on")

        def ended(event: str, count: int) -> None:
            until_s = time.monotonic() + 120.0
            while len(logged(venue.node, event)) < count:
                goes_on()
                assert all(each.is_stopped for each in sleepers if each is not wakes)
                assert time.monotonic() < until_s, f"{event}: not {count}; {venue.node.logged()}"

        ended("a subscriber was ended", 2)
        wakes.goes_on()
        venue.until(lambda: wakes.lost, what="it was not told its end")
        assert wakes.lost == [f"1008 {SLOW}"]
        ended("a client of snapshots was ended", 1)
        ended("a connection was ended", 2)  # the long answer, and the subscriber who did not even read why
        assert slowest_s < ANSWERED_S
        for name, (bytes_before, sockets_before) in before.items():
            assert resident_bytes(venue.pid(name)) < bytes_before + GROWTH_BYTES
            left = 2 if name == "web" else 0  # the good reader, and the one that woke
            venue.until(lambda of=name, most=sockets_before + left: venue.sockets(of) <= most, 20.0)  # type: ignore[misc]
        for each in sleepers:
            each.goes_on()
        venue.until(
            lambda: all(each.lost for each in sleepers), what=lambda: str([(each.kind, each.lost) for each in sleepers])
        )
        for _ in range(2):
            expected, told = venue.book(), (*sleepers, good)
            venue.until(lambda of=told, book=expected: all(each.book == book for each in of), what="a book is wrong")  # type: ignore[misc]
            sleepers = [each for each in sleepers if each.kind in ("multicast", "websocket")]  # who hears of more
            goes_on()
        assert stays.lost == ["reset"]
        assert not good.lost
    finally:
        for each in every:
            each.end()
