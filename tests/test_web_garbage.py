"""Garbage at the port of web clients: it ends in a bounded time, is no line of the log each, and holds up nobody."""

import asyncio
import io
import json
import logging
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

pytest.importorskip("uvicorn", reason="pip install 'lockstep[web]'")
pytest.importorskip("httptools", reason="pip install 'lockstep[web]'")

from node.programs.logs import Log
from node.web import unread as of_unread
from node.web.app import application
from node.web.hub import Hub
from node.web.process import started, web_server
from node.web.trading import Trading
from node.web.unread import Unread
from tests.running import SOON_S
from tests.test_web_market import Viewed, stream

#: Time for a whole request in these tests, in seconds.
REQUEST_S = 0.5
_POST = b"POST /orders HTTP/1.1\r\nHost: here\r\n"
#: Bytes that are no request, by a word for them.
NO_HTTP = {
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(189),
    "FIX": b"8=FIX.4.4\x019=65\x0135=A\x0149=A\x0156=B\x0134=1\x0198=0\x01108=30\x0110=000\x01",
    "random": random.Random(1).randbytes(4_096),
    "nulls": bytes(4_096),
    "no method": b"HELLO\r\n\r\n",
    "bad chunk": _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "two lengths": _POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
}
TOO_LONG = {
    "line": b"GET /" + b"a" * 400_000,
    "headers": b"GET /time HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(40_000)),
    "trailers": _POST
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"".join(b"t-%d: y\r\n" % n for n in range(200_000)),
}
UNFINISHED = {
    "half": b"GET /time HT",
    "no end": b"GET /time HTTP/1.1\r\nHost: here\r\n",
    "no body": _POST + b"Content-Length: 100\r\n\r\n",
    "half a chunk": _POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "no body of a question": b"GET /time HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n",
}


class Served:
    """A market with REST and WebSocket in this loop."""

    def __init__(self) -> None:
        self.unread = Unread()
        self.said = io.StringIO()
        self.listens = socket.socket()
        self.listens.bind(("127.0.0.1", 0))
        self.port = self.listens.getsockname()[1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Served"]:
        viewed, hub = Viewed(), Hub()
        viewed.take(stream("users", 1, 100))
        hub.market = viewed.market
        trading = Trading("127.0.0.1:1", {}, Log(self.said), lambda _user, _told: None)
        server = web_server(application(viewed.market, hub, 0, trading, unread=self.unread), self.unread)
        serving = asyncio.create_task(server.serve(sockets=[self.listens]))
        looking = asyncio.create_task(self._look())
        await started(server, serving)
        try:
            yield self
        finally:
            server.should_exit = True
            looking.cancel()
            await asyncio.gather(serving, looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self.unread.look(time.monotonic())

    async def opened(self, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        return reader, writer

    async def ended(self, sent: bytes) -> bytes:
        """All that comes until the connection ends, which must be in time."""
        reader, writer = await self.opened(sent)
        said = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(SOON_S):
                while some := await reader.read(65_536):
                    said += some
        writer.close()
        return said

    async def answers(self) -> bool:
        """True if another client is answered."""
        said = await self.ended(b"GET /time HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        return said.startswith(b"HTTP/1.1 200 ") and b"market_time" in said


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setattr(of_unread, "REQUEST_S", REQUEST_S)
    return Served()


def test_what_is_no_request_is_refused_at_once_counted_and_not_logged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with served.running():
            for word, sent in NO_HTTP.items():
                said = await served.ended(sent)
                if word == "bad chunk":  # its answer was under way
                    assert said == b""
                else:
                    assert said.startswith(b"HTTP/1.1 400 "), (word, said)
                    assert "no request of HTTP" in json.loads(said.partition(b"\r\n\r\n")[2])["message"]
                assert await served.answers(), word

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
    assert served.unread.garbage == len(NO_HTTP)


def test_a_request_that_is_too_long_is_refused_while_it_comes(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with served.running():
            for word, sent in TOO_LONG.items():
                said = await served.ended(sent)  # the rest of what is sent is not read, so its answer may be lost
                assert not said or b" 431 " in said or b" 401 " in said, (word, said)
                assert await served.answers(), word

    asyncio.run(run())
    assert caplog.records == []


def test_a_request_that_is_not_whole_in_time_and_idle_connections_are_ended(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with served.running():
            idle = [await served.opened() for _ in range(100)]
            ends = [asyncio.create_task(served.ended(sent)) for sent in UNFINISHED.values()]
            assert await served.answers()
            await asyncio.gather(*ends)
            async with asyncio.timeout(SOON_S):
                for reader, writer in idle:
                    with suppress(ConnectionError):
                        assert await reader.read() == b""
                    writer.close()
            # Control: a client that asks again and again keeps its connection, also over a longer time.
            reader, writer = await served.opened()
            began_s, asked = time.monotonic(), 0
            while time.monotonic() < began_s + 3 * REQUEST_S:
                writer.write(b"GET /time HTTP/1.1\r\nHost: here\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
                while b"market_time" not in await reader.read(65_536):
                    pass
                asked += 1
                await asyncio.sleep(REQUEST_S / 10)
            assert asked > 2
            writer.close()

    asyncio.run(run())
    assert caplog.records == []
    assert served.unread.garbage == len(UNFINISHED), "idle connections are no garbage"


def test_a_text_that_is_no_text_ends_a_websocket_and_is_not_logged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    handshake = (
        b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    async def run() -> None:
        async with served.running():
            reader, writer = await served.opened(handshake)
            async with asyncio.timeout(SOON_S):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                writer.write(b"\x81\x82\0\0\0\0\xff\xfe")
                assert await reader.read() == b"\x88\x02\x03\xef", "close code 1007"
            writer.close()
            said = await served.ended(handshake.replace(b"13\r\n", b"12\r\n"))
            assert said.startswith(b"HTTP/1.1 4")
            assert await served.answers()

    asyncio.run(run())
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_garbage_is_told_ever_more_rarely() -> None:
    unread, told = Unread(), []
    assert unread.take_garbage() is None
    for n in range(1, 1_001):
        unread.on_garbage(f"10.0.0.{n % 250}")
        if (found := unread.take_garbage()) is not None:
            told.append(found[0])
    assert told == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
