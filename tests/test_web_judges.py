"""Programs for the web dialect that nobody here wrote trade and keep books through kills and a takeover.

ccxt enters and cancels orders by REST, ccxt.pro keeps a book of channel level2 and hears trades, OrderbookSync of the
npm package coinbase-pro keeps one of channel full. They know one address, that of a proxy as a venue has one: behind it
is the web process of whichever node is primary.
"""

import asyncio
import base64
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fault_proxy import FaultProxy
from tests.judge_clients import NPM
from tests.pair_processes import PATIENT, Member, free_port, pair
from tests.parts import seed_of_the_day
from tests.running import ROOT, until
from tests.test_node_programs import processes

for package in ("starlette", "uvicorn", "websockets", "httptools"):
    pytest.importorskip(package, reason="pip install 'lockstep[web]'")
ccxt = pytest.importorskip("ccxt", reason="pip install ccxt==4.5.90")
pytest.importorskip("aiohttp", reason="pip install aiohttp==3.14.5")

PRODUCT, MARKET = "XYZ-USD", "XYZ/USD"
KEYS = {
    user: {
        "apiKey": f"key-{user}",
        "secret": base64.b64encode(f"{user} signs with this secret".encode()).decode(),
        "password": "open",
    }
    for user in ("UA", "UB")
}
#: Orders that stay open at most, and a pause after each command, s: the machine is shared, and ids are for a day.
OPEN_MAX, PAUSE_S = 40, 0.02
#: Pause of a client whose connection broke, before it tries again, s.
AGAIN_S = 0.2
Levels = dict[str, float]

needs_coinbase = pytest.mark.skipif(
    shutil.which("node") is None or not (NPM / "node_modules" / "coinbase-pro").is_dir(),
    reason="node is not installed, or the npm package coinbase-pro is not in var/judges, where .ci/run puts it",
)


class Venue:
    """A pair of nodes behind one address."""

    def __init__(self, a: Member, b: Member) -> None:
        self.primary, self.other = a, b
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._proxy = FaultProxy(self.port, self._web_port())
        self._do(self._proxy.start())

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _web_port(self) -> int:
        until(lambda: processes(self.primary)["web"]["port"], what="the web process does not listen")
        return int(processes(self.primary)["web"]["port"])

    def kill_web(self) -> None:
        """Kill the web process of the primary; the node starts another one."""
        before = int(processes(self.primary)["web"]["pid"])
        os.kill(before, signal.SIGKILL)
        until(lambda: processes(self.primary)["web"]["pid"] not in (0, before), what="no other web process")

    def take_over(self) -> None:
        """Kill the primary; the address is that of the other node then."""
        assert self.primary.process is not None
        self.primary.process.kill()
        self.other.awaits(role="primary", state="reigning")
        self.primary, self.other = self.other, self.primary
        self._proxy.point_to(self._web_port())

    def levels(self) -> Levels | None:
        """The book by REST; None while nobody answers."""
        with contextlib.suppress(OSError, ValueError):
            place = f"http://127.0.0.1:{self.port}/products/{PRODUCT}/book?level=2"
            with urllib.request.urlopen(place, timeout=10) as answer:
                book = json.load(answer)
            return levels_of(book["bids"], book["asks"])
        return None

    def stop(self) -> None:
        self._do(self._proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def levels_of(bids: Any, asks: Any) -> Levels:
    """Sizes by side and price, of rows that begin with price and size."""
    sums: defaultdict[str, float] = defaultdict(float)
    for side, rows in (("buy", bids), ("sell", asks)):
        for price, size, *_ in rows:
            sums[f"{side} {float(price):.2f}"] += float(size)
    return {level: size for level, size in sums.items() if size}


class Flow:
    """Orders of two users, entered and canceled by ccxt with REST until it is paused."""

    def __init__(self, venue: Venue, seed: str) -> None:
        place = f"http://127.0.0.1:{venue.port}"
        self._exchanges = []
        for keys in KEYS.values():
            exchange = ccxt.coinbaseexchange(keys)
            exchange.urls["api"] = {"public": place, "private": place}
            exchange.enableRateLimit = False
            exchange.timeout = 10_000
            self._exchanges.append(exchange)
        self._chance = random.Random(seed)
        self._open: list[tuple[Any, str]] = []
        self.entered = self.canceled = self.unanswered = 0
        self.refused: Counter[str] = Counter()
        self._goes = threading.Event()
        self._ends = False
        self._rests = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._goes.set()
        self._thread.start()

    def pause(self) -> None:
        """Return once nothing of it is under way."""
        self._rests.clear()
        self._goes.clear()
        assert self._rests.wait(120), "ccxt does not come back from a request"

    def resume(self) -> None:
        self._goes.set()

    def end(self) -> None:
        self._ends = True
        self._goes.set()
        self._thread.join(120)

    def _run(self) -> None:
        while not self._ends:
            if not self._goes.is_set():
                self._rests.set()
                self._goes.wait()
                continue
            try:
                self._step()
            except (ccxt.NetworkError, ccxt.ExchangeNotAvailable):
                self.unanswered += 1
                time.sleep(AGAIN_S)
            except ccxt.ExchangeError as refused:
                self.refused[type(refused).__name__] += 1
            time.sleep(PAUSE_S)

    def _step(self) -> None:
        if len(self._open) >= OPEN_MAX or (self._open and self._chance.random() < 0.4):
            exchange, own = self._open.pop(self._chance.randrange(len(self._open)))
            exchange.cancel_order(own, MARKET)
            self.canceled += 1
            return
        exchange = self._chance.choice(self._exchanges)
        side = self._chance.choice(("buy", "sell"))
        price = 10.0 + self._chance.randint(-8, 8) / 100
        made = exchange.create_order(MARKET, "limit", side, self._chance.randint(1, 9), price)
        self.entered += 1
        self._open.append((exchange, made["id"]))


class Watch:
    """A book and the trades as ccxt.pro has them, on a thread of its own. ``losses``: connections that broke."""

    def __init__(self, venue: Venue) -> None:
        self._port = venue.port
        self._book: Any = None
        self.trades: list[str] = []
        self.losses = 0
        self.faults: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def levels(self) -> Levels | None:
        """Its book; None while it has none."""
        book = self._book
        with contextlib.suppress(RuntimeError):  # it changes while it is read
            return None if book is None else levels_of(list(book["bids"]), list(book["asks"]))
        return None

    def end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            self._loop.call_soon_threadsafe(task.cancel)
        self._thread.join(60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._watch())
        self._loop.close()

    async def _watch(self) -> None:
        from ccxt import pro

        exchange = pro.coinbaseexchange({**KEYS["UB"], "newUpdates": True})
        place = f"127.0.0.1:{self._port}"
        exchange.urls["api"] = {"public": f"http://{place}", "private": f"http://{place}", "ws": f"ws://{place}"}
        exchange.enableRateLimit = False
        try:
            await asyncio.gather(self._books(exchange), self._trades(exchange))
        finally:
            await exchange.close()

    async def _books(self, exchange: Any) -> None:
        while True:
            try:
                self._book = await exchange.watch_order_book(MARKET)
            except (ccxt.NetworkError, ccxt.ExchangeNotAvailable):
                self._book = None
                self.losses += 1
                await asyncio.sleep(AGAIN_S)
            except ccxt.BaseError as fault:
                self.faults.append(repr(fault))
                return

    async def _trades(self, exchange: Any) -> None:
        while True:
            try:
                self.trades += [each["id"] for each in await exchange.watch_trades(MARKET)]
            except (ccxt.NetworkError, ccxt.ExchangeNotAvailable):
                await asyncio.sleep(AGAIN_S)
            except ccxt.BaseError as fault:
                self.faults.append(repr(fault))
                return


class Sync:
    """A book as OrderbookSync has it."""

    def __init__(self, venue: Venue) -> None:
        line = ["node", "tests/orderbook_judge.js", str(NPM), PRODUCT, str(venue.port)]
        self._process = subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def asked(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        assert said, self._process.communicate()[1]
        return dict(json.loads(said))

    def levels(self) -> Levels | None:
        found = self.asked()["levels"]
        return None if found is None else {level: float(size) for level, size in found.items() if size}

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    keys = tmp_path / "keys"
    lines = [f"{user} secret {own['apiKey']} {own['password']} {own['secret']}" for user, own in KEYS.items()]
    keys.write_text("\n".join(lines))
    keys.chmod(0o600)
    options = ("--gateway", "native=native:0", "--web", "127.0.0.1:0", "--web-keys", str(keys), *PATIENT)
    with pair(tmp_path, *options) as (_, a, b):
        made = Venue(a, b)
        try:
            yield made
        finally:
            made.stop()


def agree(venue: Venue, *books: Watch | Sync) -> None:
    """Wait until all have the book that the exchange answers with."""
    found: list[Levels | None] = []

    def equal() -> bool:
        found[:] = [venue.levels(), *(each.levels() for each in books)]
        return found[0] is not None and all(each == found[0] for each in found)

    until(equal, what=lambda: f"the books differ: {found}")


@needs_coinbase
@pytest.mark.parametrize(
    "seconds", [pytest.param(20, marks=pytest.mark.slow), pytest.param(600, marks=pytest.mark.long)]
)
def test_books_of_others_are_ours_through_kills_and_a_takeover(seconds: int, venue: Venue) -> None:
    """Kills of the web process before and after a takeover; at each rest all books are equal."""
    sync, watch = Sync(venue), Watch(venue)
    flow = Flow(venue, f"{seed_of_the_day()} {seconds}")
    try:
        for happens in (venue.kill_web, venue.take_over, venue.kill_web, None):
            entered, heard = flow.entered, len(watch.trades)
            until(lambda entered=entered: flow.entered > entered, what=lambda: f"ccxt enters no order: {flow.refused}")
            time.sleep(seconds / 4)  # the flow goes on
            until(lambda heard=heard: len(watch.trades) > heard, what="ccxt.pro hears no trade")
            flow.pause()
            agree(venue, watch, sync)
            flow.resume()
            if happens is not None:
                happens()
    finally:
        for each in (flow, watch, sync):
            each.end()
    assert not watch.faults
    assert len(set(watch.trades)) == len(watch.trades), "a trade was told twice"
    assert [int(each) for each in watch.trades] == sorted(int(each) for each in watch.trades)
    assert watch.losses >= 3, "each kill broke its connection"
    assert flow.entered > 4
    assert flow.canceled
    assert set(flow.refused) <= {"OrderNotFound"}, "of orders that had traded before they were canceled"
