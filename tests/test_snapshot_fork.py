"""Snapshots that a child process makes: the feed goes on meanwhile, clients share them, and a child may fail."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from marketdata.itch import session_name
from marketdata.itch.snapshot import Snapshot
from marketdata.itch.stream import ItchStream
from node.feeds import snapshot_fork
from node.feeds.snapshots import SnapshotServer
from tests.report_streams import CAPACITY, blocks, user_stream
from tests.test_itch_feed import with_days
from wire.soup import LoginAccepted, LoginRequest, Sequenced
from wire.soup_session import ClientSession

#: Time that a snapshot takes here, and the longest standstill of a loop meanwhile, in seconds.
MADE_S = 1.0
STILL_S = 0.5


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[ItchStream]:
    """A stream that shows some orders."""
    made = ItchStream(tmp_path / "feed", CAPACITY)
    every = list(blocks(with_days(user_stream(2, 600), 1), 2, largest=60))
    for block in every[: len(every) // 2]:
        made.observe(*block)
    assert Snapshot(made.feed).orders
    yield made
    made.close()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a copy of the tables take its time, as that of many orders does."""

    class Slow(Snapshot):
        def __init__(self, feed: Any) -> None:
            if feed.messages:
                time.sleep(MADE_S)
            super().__init__(feed)

    monkeypatch.setattr(snapshot_fork, "Snapshot", Slow)


async def taken(address: tuple[str, int]) -> tuple[str, list[bytes]]:
    """Session and messages of a snapshot; "" and none where it was not given."""
    reader, writer = await asyncio.open_connection(*address)
    session, name, messages = ClientSession(0), "", list[bytes]()
    writer.write(session.login(LoginRequest("ANY", "", "", 1), 0))
    try:
        while data := await reader.read(65_536):
            for event in session.receive(data, 0):
                if isinstance(event, LoginAccepted):
                    name = event.session
                elif isinstance(event, Sequenced):
                    messages.append(event.payload)
    except ConnectionError:
        return "", []
    finally:
        writer.close()
    return name, messages


def children_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Children that this process makes from now on, as they begin."""
    children: list[int] = []
    fork = os.fork

    def noted() -> int:
        pid = fork()
        if pid:
            children.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", noted)
    return children


def assert_ended(children: list[int]) -> None:
    """Nobody of them is left, nor waits to be reaped. Other children are none of ours."""
    assert children
    for pid in children:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def served(
    feed: ItchStream,
    clients: Callable[[tuple[str, int], SnapshotServer], Awaitable[None]],
    on_failure: Callable[[str], None] = lambda _why: None,
) -> None:
    """Have clients of a server of snapshots, on a loop of their own."""

    async def serve() -> None:
        snapshots = SnapshotServer(feed, on_failure=on_failure)
        server = await asyncio.start_server(snapshots.serve, "127.0.0.1", 0)
        try:
            await asyncio.wait_for(clients(server.sockets[0].getsockname(), snapshots), 60)
        finally:
            server.close()

    asyncio.run(serve())


@pytest.mark.usefixtures("slow")
def test_the_loop_of_the_feed_goes_on_while_a_snapshot_is_made(feed: ItchStream) -> None:
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        before_s = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now_s = time.monotonic()
            longest_s, before_s = max(longest_s, now_s - before_s), now_s

    async def clients(address: tuple[str, int], _server: SnapshotServer) -> None:
        watching = asyncio.create_task(watch())
        name, messages = await taken(address)
        watching.cancel()
        assert name == session_name(feed.feed.day)
        assert messages[-1] == b"G" + str(feed.feed.messages + 1).rjust(20).encode()

    began_s = time.monotonic()
    served(feed, clients)
    assert time.monotonic() - began_s >= MADE_S  # control: it took its time
    assert longest_s < STILL_S


@pytest.mark.usefixtures("slow")
def test_clients_that_come_together_share_a_snapshot_that_is_newer_than_their_questions(feed: ItchStream) -> None:
    async def clients(address: tuple[str, int], server: SnapshotServer) -> None:
        first = asyncio.create_task(taken(address))
        while not server._fork.made:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(taken(address)) for _ in range(8)]
        every = [await each for each in (first, *others)]
        assert server._fork.made == 2  # the first had begun without the others
        assert server.given == 9
        assert all(each == every[0] for each in every)
        while server.held_bytes:
            await asyncio.sleep(0.001)

    served(feed, clients)


@pytest.mark.usefixtures("slow")
def test_a_child_that_is_killed_ends_its_clients_with_a_reason_and_the_next_is_served(
    feed: ItchStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    why, children = list[str](), children_of(monkeypatch)

    async def clients(address: tuple[str, int], _server: SnapshotServer) -> None:
        lost = asyncio.create_task(taken(address))
        while not children:
            await asyncio.sleep(0.001)
        os.kill(children[0], signal.SIGKILL)
        assert await lost == ("", [])
        assert why == ["its process ended before it was made"]
        name, messages = await taken(address)
        assert name == session_name(feed.feed.day)
        assert messages

    served(feed, clients, why.append)


@pytest.mark.usefixtures("slow")
def test_a_child_that_takes_too_long_is_killed(feed: ItchStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_fork, "MADE_S", 0.1)
    why, children = list[str](), children_of(monkeypatch)

    async def clients(address: tuple[str, int], _server: SnapshotServer) -> None:
        assert await taken(address) == ("", [])

    served(feed, clients, why.append)
    assert why == ["its process took more than 0.1 s"]
    assert_ended(children)
