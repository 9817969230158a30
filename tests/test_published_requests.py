"""Publications: readers that take nothing, sessions that are gone, and the links of the chain."""

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.ports import free_port
from client import publication_sequence, published
from client.errors import FeedFault
from client.publication import Gone, Publication, Refused, Request
from client.published import MessageReader, published_blocks
from journal.errors import SliceMissing
from node.nats import requests as published_requests
from node.nats.process import At, NatsProcess
from node.nats.requests import RequestServer
from node.nats.source import ChainedMessages


class Endless:
    """Large publications without an end."""

    async def answers(self, asked: Request) -> AsyncIterator[Publication]:
        while True:
            yield Publication(0, "20240115", asked.first, 1, payload=bytes(8 << 20))


def test_a_reader_that_takes_nothing_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_requests, "_TAKE_S", 0.2)

    async def ask() -> None:
        requests, writers = RequestServer(Endless()), list[asyncio.StreamWriter]()
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await requests.serve(reader, writer)
            ended.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(b"itch 20240115 1\n")
            async with asyncio.timeout(20.0):
                await ended.wait()
            await asyncio.sleep(0.1)
            assert writers[0].transport.get_write_buffer_size() == 0
            async with asyncio.timeout(5.0):
                await writers[0].wait_closed()
        server.close()

    asyncio.run(ask())


class Spooled:
    """Spool of a feed: number of the messages of each session that is still there."""

    def __init__(self, kept: dict[str, int]) -> None:
        self._kept = kept

    def messages(self, session: str) -> int | None:
        return self._kept.get(session)

    def sessions(self) -> list[str]:
        return sorted(self._kept)

    def read(self, _session: str, number: int, there: int, _bytes_max: int) -> bytes:
        return b"\x00\x01A" * (there - number + 1)


@pytest.mark.parametrize(("kept", "told"), [({"d1": 2, "d2": 3}, "d2"), ({"d2": 3}, "")])
def test_the_end_of_a_session_is_published_only_where_all_its_messages_were(kept: dict[str, int], told: str) -> None:
    warned: list[str] = []
    process = SimpleNamespace(
        _at=At(9, "d1", 3),
        _epoch=1,
        _messages=ChainedMessages(cast(Any, Spooled(kept))),
        stream=SimpleNamespace(feed=SimpleNamespace(messages=3)),
        log=SimpleNamespace(warning=lambda what, **_: warned.append(what)),
    )
    found = asyncio.run(NatsProcess._next_messages(cast(Any, process), 1_000))
    assert (found.then if found is not None else "") == told
    assert warned == ([] if told else ["messages are not published"])
    assert process._at == At(9, "d2", 1)  # either way it goes on


class Refusing:
    """Owner of a journal that refuses what is asked for."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.asked = 0

    async def answers(self, _asked: Request) -> AsyncIterator[Publication]:
        self.asked += 1
        raise self._error
        yield  # an iterator


async def read_from(owners: list[Refusing], *, unreachable: bool) -> None:
    """Read a session of these owners, without a NATS server, until a fault or for two seconds."""
    servers = [await asyncio.start_server(RequestServer(each).serve, "127.0.0.1", 0) for each in owners]
    ports = [server.sockets[0].getsockname()[1] for server in servers] + ([free_port()] if unreachable else [])
    try:
        requests = [f"127.0.0.1:{port}" for port in ports]
        reader = MessageReader(f"nats://127.0.0.1:{free_port()}", "test", requests=requests, session="20240115")
        async with reader, asyncio.timeout(2.0):
            await anext(reader)
    finally:
        for server in servers:
            server.close()


def test_a_reader_of_what_no_owner_has_any_more_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication_sequence, "GONE_NS", 400_000_000)
    monkeypatch.setattr(publication_sequence, "REPEAT_NS", 50_000_000)
    archived = SliceMissing("commands 1 to 9 are in slice 1, which is not here")
    owners = [Refusing(Gone("this node has no messages of session 20240115")), Refusing(archived)]
    with pytest.raises(FeedFault, match=r"number 1 of itch 20240115 .* no owner .* any more: .*; begin again"):
        asyncio.run(read_from(owners, unreachable=False))
    assert all(each.asked > 1 for each in owners)


@pytest.mark.parametrize(
    ("error", "unreachable"), [(Gone("no messages"), True), (Refused("up to 9 only; ask later"), False)]
)
def test_a_reader_goes_on_asking_while_an_owner_may_have_it_later(
    monkeypatch: pytest.MonkeyPatch, error: Exception, unreachable: bool
) -> None:
    monkeypatch.setattr(publication_sequence, "GONE_NS", 400_000_000)
    monkeypatch.setattr(publication_sequence, "REPEAT_NS", 50_000_000)
    owner = Refusing(error)
    with pytest.raises(TimeoutError):
        asyncio.run(read_from([owner], unreachable=unreachable))
    assert owner.asked > 2


class Enough(Exception):
    """End of a program that knows why its reader waits."""


def test_a_program_whose_reader_gets_nothing_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader over a wrong address was silent for ever."""
    monkeypatch.setattr(published, "_TELL_S", 0.2)
    told = list[str]()

    def take(why: str) -> None:
        told.append(why)
        if "NATS server" in why and "requests" in why:
            raise Enough

    nobody, ended = free_port(), free_port()
    blocks = published_blocks(f"nats://127.0.0.1:{nobody}", "main", f"127.0.0.1:{ended}", on_waiting=take)
    with pytest.raises(Enough):
        next(blocks)
    assert told[-1].startswith(f"no NATS server answers at 127.0.0.1:{nobody}: ")
    assert f"127.0.0.1:{ended} does not answer requests: " in told[-1]
    assert all(one != other for one, other in pairwise(told))  # each reason once


def test_links_of_a_session_that_the_spool_has_removed_are_forgotten() -> None:
    kept = {"d1": 2, "d2": 3}
    messages = ChainedMessages(cast(Any, Spooled(kept)))
    assert asyncio.run(messages.read(1, "d1", 1, 1_000)) is not None
    del kept["d1"]
    assert asyncio.run(messages.read(1, "d2", 1, 1_000)) is not None
    assert list(messages._links) == ["d2"]


def test_a_reader_ends_though_a_cancellation_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.wait_for of Python 3.11, by which nats-py waits, loses one that comes together with its result."""
    monkeypatch.setattr(published, "_END_S", 0.05, raising=False)
    lost: list[str] = []

    class Line:
        is_open = True

        async def subscribe(self, _subject: str, _on_message: object) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append("subscribe")

        async def close(self) -> None:
            lost.append("close")

    async def connect(_url: str, **_words: str) -> Line:
        return Line()

    monkeypatch.setattr(published.NatsLine, "connect", connect)

    async def read() -> None:
        async with asyncio.timeout(20), MessageReader("nats://127.0.0.1:4222", "main"):
            await asyncio.sleep(0.05)

    asyncio.run(read())
    assert lost == ["subscribe", "close"]
