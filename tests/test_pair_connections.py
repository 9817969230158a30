"""Connections of a copy to its primary, over a transport that fails in every way: no failure keeps them apart for good.

An attempt to connect may hang, or be canceled just after the connection was made; a connection may fall silent, break,
or end without a report. uvloop ends a connection without a report where the attempt is canceled in the moment in which
it succeeds: a standby waited for that report for ever.
"""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from node.core.opening import open_directory
from node.pair import connections, live_fetch, member
from node.pair.connections import FromCopy, ToPrimary
from node.pair.live_fetch import LiveFetch, Outcome
from replication.history import Peer
from replication.link import Kind, Position, encode, pack_challenge, pack_map
from replication.register import Register
from tests.pair_processes import CAPACITY
from tests.pairs import MS
from tests.test_node_pair import Member, start_rows, until, with_pair

SILENCE_NS: Final = 200 * MS
#: Ways in which an attempt, or the connection that it gives, fails.
FAILURES: Final = (
    "refused",
    "hangs",
    "made, then canceled without a report",
    "ends without a report",
    "falls silent",
    "late",
    "breaks",
)


class Between(asyncio.Protocol):
    """A connection that fails in a given way, between the transport and the protocol of a copy."""

    def __init__(self, protocol: asyncio.Protocol, failure: str, after: int) -> None:
        self.protocol, self.failure, self.left = protocol, failure, after
        self.is_mute = failure == "ends without a report"
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.left -= 1
        if self.failure == "falls silent" and self.left < 0:
            return
        if self.failure in ("breaks", "ends without a report") and self.left < 0:
            self.transport.abort()
        if self.failure == "late":
            self._loop.call_later(2 * SILENCE_NS / 1e9, self.protocol.data_received, data)
        else:
            self.protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_mute:
            self.protocol.connection_lost(exc)


class Weather:
    """Attempts to connect on the running loop, which fail as the list says, the last first; then none does.

    ``is_over``: an attempt came that did not fail.
    """

    def __init__(self, failures: list[str], draw: random.Random) -> None:
        self._failures, self._draw = failures, draw
        self.is_over = False
        self._sound: Any = asyncio.get_running_loop().create_connection

    async def create_connection(self, made: Callable[[], asyncio.Protocol], *address: Any) -> Any:
        failure = self._failures.pop() if self._failures else ""
        self.is_over = not failure
        if failure == "refused":
            raise ConnectionRefusedError
        if failure == "hangs":
            await asyncio.Event().wait()
        between = Between(made(), failure, self._draw.randrange(4))
        result = await self._sound(lambda: between, *address)
        if failure == "made, then canceled without a report":
            try:
                await asyncio.Event().wait()
            finally:
                between.is_mute = True
                between.transport.abort()
        return result


@contextmanager
def hasty(monkeypatch: pytest.MonkeyPatch, a: Member, b: Member) -> Iterator[None]:
    """Times so short that many failures fit into seconds."""
    monkeypatch.setattr(member, "CONNECT_S", 0.1)
    monkeypatch.setattr(member, "REFUSED_S", 0.05)
    primary = a.pair.primary
    assert primary is not None
    primary.settings = primary.settings._replace(silence_ns=SILENCE_NS)
    b.pair.standby.settings = b.pair.standby.settings._replace(silence_ns=SILENCE_NS)
    yield


def abort_alone(self: ToPrimary) -> None:
    """The end of a connection as it was: whoever waits hears of it from the transport, or never."""
    if self._transport is not None:
        self._transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_copy_is_in_sync_again_whatever_became_of_its_attempts_and_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    failures = [*FAILURES, *draw.choices(FAILURES, k=9)]
    draw.shuffle(failures)

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        weather = Weather(failures, draw)
        asyncio.get_running_loop().create_connection = weather.create_connection  # type: ignore[method-assign]
        with hasty(monkeypatch, a, b):
            assert b.pair._to_primary is not None
            b.pair._to_primary.give_up()
            await until(lambda: weather.is_over and b.pair.standby.in_sync, 60)
        await until(lambda: b.node.engine.event_digest == a.node.engine.event_digest)

    with_pair(tmp_path, story)


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["made, then canceled without a report", "ends without a report"])
def test_a_copy_that_waits_for_a_report_of_the_transport_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    """Negative control: without an end that the connection reports itself the test above fails."""

    async def story(_: Register, a: Member, b: Member) -> None:
        weather = Weather([failure], random.Random(1))
        asyncio.get_running_loop().create_connection = weather.create_connection  # type: ignore[method-assign]
        with hasty(monkeypatch, a, b):
            assert b.pair._to_primary is not None
            b.pair._to_primary.give_up()
            monkeypatch.setattr(ToPrimary, "give_up", abort_alone)
            with pytest.raises(TimeoutError):
                await until(lambda: weather.is_over and b.pair.standby.in_sync, 3)
        assert b.pair._to_primary is not None

    with_pair(tmp_path, story)


class _Refusing:
    """A primary that heard nothing of its peer: it greets, refuses and hangs up. ``attempts``: connections so far."""

    def __init__(self) -> None:
        self._listens = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listens.getsockname()
        self.attempts = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        why = {"why": "A heard nothing from the peer for 500 ms", "place_taken": False}
        with suppress(OSError):
            while True:
                connection, _ = self._listens.accept()
                self.attempts += 1
                with connection:
                    connection.sendall(encode(Kind.CHALLENGE, 1, pack_challenge(bytes(16), 0)))
                    connection.sendall(encode(Kind.REFUSAL, 1, pack_map(why)))

    def close(self) -> None:
        self._listens.close()


@pytest.mark.parametrize("stalls", [True, False])
def test_an_attempt_that_succeeds_as_its_time_is_up_is_not_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stalls: bool
) -> None:
    """The loop stands still during the attempt, as in a start under load; then it finds the connection, what came on
    it, and the end of the time together."""
    monkeypatch.setattr(member, "CONNECT_S", 0.05)
    with open_directory(tmp_path / "b", CAPACITY, "fsync").journal:
        pass
    sound = member.Pair._connect
    stalled: list[bool] = []

    async def connect(self: member.Pair) -> None:
        if stalls and not stalled:
            stalled.append(True)
            asyncio.get_running_loop().call_soon(time.sleep, 0.1)
        await sound(self)

    monkeypatch.setattr(member.Pair, "_connect", connect)

    async def story(primary: _Refusing) -> None:
        b = Member("B", tmp_path / "b", Register(), None, "both")
        b.pair.options = type(b.pair.options)(**{**b.pair.options.__dict__, "peer": primary.address, "follower": True})
        b.pair.standby.role = "follower"
        await b.start()
        await until(lambda: primary.attempts >= 3, 30)
        b.close()

    primary = _Refusing()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(story(primary))
    finally:
        primary.close()


@pytest.mark.slow
def test_a_primary_does_not_keep_the_connection_of_a_copy_that_takes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LINGER_S", 0.3)

    async def story(_: Register, a: Member, b: Member) -> None:
        (connection,) = a.pair._from_copies.values()
        assert isinstance(connection, FromCopy)
        assert b.pair._to_primary is not None
        b.pair._to_primary.pause()
        b.pair._blocks.pause_or_resume = lambda: None  # type: ignore[method-assign]
        assert connection._transport is not None
        while not connection._transport.get_write_buffer_size():
            connection.write(bytes(1 << 20))
        connection.close()
        assert connection in a.pair._from_copies.values(), "what was sent may still be taken"
        await until(lambda: connection not in a.pair._from_copies.values(), 30)

    with_pair(tmp_path, story)


def test_a_fetch_that_meets_a_defect_tells_the_loop_rather_than_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(live_fetch, "HistoryLink", broken)
    told: list[Any] = []

    def unexpected(*_: object) -> None:
        raise AssertionError("nothing was fetched")

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))

        def end(_: Outcome) -> None:
            unexpected()

        own = Peer("B", bytes(16))
        place = Position(0, bytes(16))
        fetch = LiveFetch(
            ("127.0.0.1", 1),
            b"",
            own,
            1,
            place,
            on_blocks=unexpected,
            on_digests=unexpected,
            on_end=end,  # type: ignore[arg-type]
        )
        await until(lambda: bool(told), 30)
        fetch.close()

    asyncio.run(story())
    assert isinstance(told[0], KeyError)
