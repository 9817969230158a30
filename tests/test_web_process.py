"""Market data of a real node for web clients: REST and WebSocket have one book, through kills and hostile input."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.json_schemas import checked
from tests.ouch_messages import cancel, enter
from tests.running import HEARTBEAT, ROOT, Client, Running, started, until
from tests.web_book import FullBook

for package in ("starlette", "uvicorn", "websockets", "httptools"):
    pytest.importorskip(package, reason="pip install 'lockstep[web]'")

PRODUCT = "XYZ-USD"
Message = dict[str, Any]


class Served:
    """A node, and `lockstep web` beside it."""

    def __init__(self, folder: Path, *options: str) -> None:
        """options: of the node."""
        self.node: Running = started(folder, *options)
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "web.log"

    def start(self, *options: str) -> None:
        line = ["-m", "cli.main", "web", str(self.node.data), "--port", str(self.port), "--json", *options]
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, *line], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.log.read_text(encoding="utf-8")
        (place,) = checked(("web",), said)
        self.port = place["listening"]["port"]

    def end(self, number: int) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.process.stdout.close()
        self.process = None
        return status

    def ask(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    def get(self, path: str) -> Any:
        status, answer = self.ask(path)
        assert status == 200, answer
        return answer

    def book(self) -> Message:
        found = self.get(f"/products/{PRODUCT}/book?level=3")
        assert isinstance(found, dict)
        return found

    def stop(self) -> None:
        if self.process is not None:
            self.end(signal.SIGKILL)
        self.node.stop()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    try:
        made.start("--rate", "0")
        yield made
    finally:
        made.stop()


class Traders:
    """Two participants, who trade with each other."""

    def __init__(self, port: int) -> None:
        self.clients = Client(port, "UA"), Client(port, "UC")
        # Else the exchange ends them where a process takes long to start, and cancels the orders of UC.
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                time.sleep(1.0)
                for client in self.clients:
                    client.socket.sendall(HEARTBEAT)

    def trade(self, name: str, count: int, chance: random.Random) -> None:
        """Enter orders of both sides, some of which trade, and cancel some."""
        for n in range(count):
            client = self.clients[chance.randrange(2)]
            order = enter(f"{name}{n}", chance.choice("BS"), 10, 100_000 + 100 * chance.randint(-5, 5))
            client.socket.sendall(order)
            if chance.random() < 0.3:
                client.socket.sendall(cancel(f"{name}{chance.randint(0, n)}"))

    def mark(self, price_e4: int) -> None:
        """Enter an order at a price of its own: the last that the flow does."""
        other, token = self.clients[1], f"L{price_e4}"
        other.socket.sendall(cancel(token))  # of no order: its answer is behind those to all that this client has sent
        while token.encode() not in other.stream:
            assert other.packet()[0], "the connection ended"
        self.clients[0].socket.sendall(enter(f"S{price_e4}", "B", 7, price_e4))


MARK = ("buy", "5.10")


def trade_and_mark(traders: Traders, chance: random.Random) -> None:
    """Trade, and enter an order at the price of ``MARK`` at the end."""
    for name in "wxyz":
        traders.trade(name, 100, chance)
        time.sleep(0.2)  # so that level2 is told in several parts
    traders.mark(51_000)


def settle(served: Served, traders: Traders, price_e4: int) -> Message:
    """Enter an order at a price of its own; the book once it is there."""
    traders.mark(price_e4)
    text = f"{price_e4 // 10_000}.{price_e4 % 10_000 // 100:02d}"
    until(lambda: any(row[0] == text for row in served.book()["bids"]), what="the order is not in the book")
    return served.book()


def levels_of(book: Message) -> dict[tuple[str, str], int]:
    kept = FullBook()
    kept.begin(book)
    return kept.levels()


@pytest.mark.slow
def test_channels_and_answers_have_one_book_at_every_number(served: Served) -> None:
    from websockets.asyncio.client import connect

    traders, chance = Traders(served.node.port), random.Random(3)
    settle(served, traders, 50_000)

    async def watch() -> None:
        async with connect(f"ws://127.0.0.1:{served.port}", max_size=None) as watched:
            asked = {"type": "subscribe", "product_ids": [PRODUCT], "channels": ["full", "level2", "ticker", "matches"]}
            await watched.send(json.dumps(asked))
            assert json.loads(await watched.recv())["type"] == "subscriptions"
            full = FullBook()
            full.begin(await asyncio.to_thread(served.book))
            at: dict[int, dict[tuple[str, str], int]] = {full.sequence: full.levels()}
            level2: dict[tuple[str, str], int] = {}
            compared = tickers = matches = 0
            trading = asyncio.create_task(asyncio.to_thread(trade_and_mark, traders, chance))
            ends = False
            while not ends:
                message = json.loads(await asyncio.wait_for(watched.recv(), 120.0))
                match message["type"]:
                    case "snapshot":
                        for side, rows in (("buy", message["bids"]), ("sell", message["asks"])):
                            level2.update({(side, price): int(size) for price, size in rows})
                    case "l2update":
                        for side, price, size in message["changes"]:
                            level2.pop((side, price), None)
                            if size != "0":
                                level2[side, price] = int(size)
                    case "ticker":
                        tickers += 1
                    case "match" if "maker_order_id" not in message:
                        matches += 1
                    case _ if message["sequence"] > full.sequence:
                        full.take(message)
                        at[full.sequence] = full.levels()
                        matches += message["type"] == "match"
                if message["type"] in ("snapshot", "l2update"):
                    assert level2 == at[message["sequence"]]
                    compared += 1
                ends = MARK in level2
            await trading
            book = await asyncio.to_thread(served.book)
            assert (book["sequence"], levels_of(book)) == (full.sequence, full.levels())
            assert compared > 1
            assert tickers
            assert matches

    asyncio.run(watch())
    trades = served.get(f"/products/{PRODUCT}/trades?limit=1000")
    assert served.get(f"/products/{PRODUCT}/ticker")["trade_id"] == trades[0]["trade_id"]
    candles = served.get(f"/products/{PRODUCT}/candles?granularity=86400")
    assert sum(row[5] for row in candles) == sum(int(each["size"]) for each in trades)


@pytest.mark.slow
def test_the_example_prints_the_best_prices_and_says_what_is_wrong(served: Served) -> None:
    words = [sys.executable, "examples/web_watch.py", f"ws://127.0.0.1:{served.port}"]
    refused = subprocess.run([*words, "NO-USD"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "NO-USD" in refused.stderr
    assert "Traceback" not in refused.stderr
    traders = Traders(served.node.port)
    settle(served, traders, 50_000)
    with subprocess.Popen(
        [*words, PRODUCT], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        try:
            assert watch.stdout.readline() == f"{PRODUCT} | 7 at 5.00 | nobody\n"
            traders.mark(51_000)
            assert watch.stdout.readline() == f"{PRODUCT} | 7 at 5.10 | nobody\n"
            with subprocess.Popen(
                [*words, PRODUCT], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as other:
                assert other.stdout is not None
                assert other.stdout.readline() == f"{PRODUCT} | 7 at 5.10 | nobody\n"
                other.send_signal(signal.SIGINT)
                assert (other.communicate(timeout=60), other.returncode) == (("", ""), 0)
            served.end(signal.SIGKILL)
            assert watch.wait(60) == 1
            assert "Traceback" not in watch.stderr.read()
        finally:
            watch.kill()


@pytest.mark.slow
def test_after_a_kill_the_book_and_its_numbers_are_as_before_and_go_on(served: Served) -> None:
    traders, chance = Traders(served.node.port), random.Random(4)
    traders.trade("a", 80, chance)
    before = settle(served, traders, 50_000)
    trades = served.get(f"/products/{PRODUCT}/trades")
    for number in (signal.SIGKILL, signal.SIGTERM):
        status = served.end(number)
        assert number == signal.SIGKILL or status == 0
        served.start("--rate", "0")
        after = served.book()
        for name in ("sequence", "bids", "asks"):
            assert after[name] == before[name]
        assert served.get(f"/products/{PRODUCT}/trades") == trades
    assert (served.node.data / "web" / "streams.image").exists()
    traders.trade("b", 20, chance)
    assert settle(served, traders, 51_000)["sequence"] > before["sequence"]


@pytest.mark.slow
def test_bad_input_is_refused_with_a_sentence_and_the_next_is_answered(served: Served) -> None:
    chance = random.Random(5)
    paths = [
        *(
            "/nothing",
            "/products/NONE-USD",
            "/products/%00/book",
            "/products/XYZ-USD/book?level=9",
            "/currencies/%F0%28",
        ),
        *(
            "/products/XYZ-USD/candles?granularity=1",
            "/products/XYZ-USD/candles?start=2024-13-01",
            "/products/../time/x",
        ),
        f"/products/XYZ-USD/trades?after={'9' * 500}",
        *(f"/products/XYZ-USD/candles?start={f'%{chance.randrange(256):02x}' * 8}" for _ in range(20)),
        "/products/XYZ-USD/candles?start=0001-01-01T00:00:00%2b23:59&end=9999-12-31T23:59:59-23:59",
    ]
    for path in paths:
        status, answer = served.ask(path)
        assert 400 <= status < 500, (path, answer)
        assert answer["message"]
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw:
            raw.sendall(chance.randbytes(chance.randrange(1, 3_000)) + b"\r\n\r\n")
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_WR)
                while data := raw.recv(65_536):
                    assert b" 500 " not in data
    told = served.get("/time")
    assert abs(told["epoch"] - time.time()) < 30, "the clock of the machine, however long nobody traded"
    assert told["market_time"] < told["iso"]
    assert served.get("/products")[0]["id"] == PRODUCT
    assert set(served.get("/openapi.json")["paths"]) >= {"/products/{product_id}/book", "/time"}
    assert "Traceback" not in served.log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_bad_request_of_a_subscriber_gets_a_sentence_and_too_many_end_it(served: Served) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async def watch() -> None:
        async with connect(f"ws://127.0.0.1:{served.port}") as watched:
            for text in ("nonsense", '{"type": "subscribe", "channels": ["full"], "product_ids": ["NO-USD"]}'):
                await watched.send(text)
                answer = json.loads(await asyncio.wait_for(watched.recv(), 60.0))
                assert answer["type"] == "error"
                assert answer["reason"]
            await watched.send('{"type": "subscribe", "channels": ["heartbeat", "status"], "product_ids": ["XYZ-USD"]}')
            kinds = set()
            while not kinds >= {"heartbeat", "status", "subscriptions"}:
                kinds.add(json.loads(await asyncio.wait_for(watched.recv(), 60.0))["type"])

            async def flood() -> None:
                for _ in range(5_000):
                    await watched.send("x")
                while True:
                    await asyncio.wait_for(watched.recv(), 60.0)

            with pytest.raises(ConnectionClosed) as closed:
                await flood()
            assert closed.value.rcvd is not None
            assert "requests a second" in closed.value.rcvd.reason

    asyncio.run(watch())


@pytest.mark.slow
def test_an_address_that_asks_too_often_is_told_to_wait(served: Served) -> None:
    served.end(signal.SIGTERM)
    served.start("--rate", "1")
    answers = [served.ask("/time") for _ in range(8)]
    assert {status for status, _ in answers} == {200, 429}
    assert "ask again" in next(answer["message"] for status, answer in answers if status == 429)


@pytest.mark.slow
def test_the_process_ends_with_its_node_and_says_so(served: Served) -> None:
    assert served.node.end(signal.SIGTERM) == 0
    assert served.process is not None
    assert served.process.wait(60) != 0
    assert "has ended; start it again" in served.log.read_text(encoding="utf-8")
    assert os.path.isdir(served.node.data)


def test_ccxt_reads_the_market_unmodified(served: Served) -> None:
    ccxt = pytest.importorskip("ccxt", reason="pip install ccxt==4.5.90")
    traders = Traders(served.node.port)
    traders.trade("a", 200, random.Random(6))
    book = settle(served, traders, 50_000)
    exchange = ccxt.coinbaseexchange()
    exchange.urls["api"] = {"public": f"http://127.0.0.1:{served.port}", "private": f"http://127.0.0.1:{served.port}"}
    assert list(exchange.load_markets()) == ["XYZ/USD"]
    read = exchange.fetch_order_book("XYZ/USD")
    assert read["nonce"] == book["sequence"]
    levels = {("buy", price): size for price, size, *_ in read["bids"]}
    levels |= {("sell", price): size for price, size, *_ in read["asks"]}
    assert levels == {(side, float(price)): size for (side, price), size in levels_of(book).items()}
    assert exchange.fetch_trades("XYZ/USD")
    assert exchange.fetch_ohlcv("XYZ/USD", "1h")[0][5] > 0
    ticker = exchange.fetch_ticker("XYZ/USD")
    assert ticker["last"] > 0
    for side, shown in (("buy", ticker["bid"]), ("sell", ticker["ask"])):  # None where the side is empty, never 0
        best = (max if side == "buy" else min)((price for of, price in levels if of == side), default=None)
        assert shown == best
