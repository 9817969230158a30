"""The turns of the gateway: where the market is slow they get short, and nobody waits for more than one of them."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity
from engine.names import pack
from engine.records import COMMAND, EVENT, CommandKind, UserPermission, concatenate
from gateway.arrival_log import ArrivalFiles, ArrivalLog, read_arrivals
from gateway.connection import Connection
from gateway.ouch.outbox import OuchOutbox
from gateway.ouch.protocol import OUCH
from gateway.protocol import Entrance
from gateway.server import ROWS_LEAST, ROWS_MAX, TURN_NS_MAX, Gateway
from tests.gateways import read_at_once
from tests.ouch_messages import cancel
from tests.rows import clock, instrument, participant, row
from wire.soup import LoginRequest

JOURNAL_ID = bytes(range(16))
NAMES = ("UA", "UB", "UC")
SMALL = Capacity(orders_max=64, ids_max=64, instruments_max=2, participants_max=4)


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and whose client never closes its side."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__({"peername": (address, 1)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Turns:
    """A gateway before a market that takes ``slow_s`` for each batch, and three users who are logged in."""

    def __init__(self, directory: Path, connections_max: int = 1_024, arrival_log: ArrivalLog | None = None) -> None:
        directory.mkdir()
        outbox = OuchOutbox(directory, SMALL, JOURNAL_ID)
        rows = concatenate(
            [clock(), instrument("XYZ"), participant("ALPHA")]
            + [
                row(
                    CommandKind.USER,
                    name=pack(name),
                    participant_name=pack("ALPHA"),
                    permissions=int(UserPermission.ENABLED),
                )
                for name in NAMES
            ]
        )
        outbox.observe(1, rows, np.zeros(0, EVENT))
        self.outbox = outbox
        self.slow_s, self.passed_ns = 0.0, 0  # time passes only while the market takes a batch
        self.taken: list[NDArray[Any]] = []
        self.gateway = Gateway(
            [Entrance(OUCH, outbox)],
            take=self._take,
            has_room=lambda: True,
            on_user_disconnect=lambda _: None,
            on_users_absent=lambda _: None,
            report=lambda *_, **__: None,
            connections_max=connections_max,
            arrival_log=arrival_log,
        )
        read_at_once(self.gateway)
        self.connections = [self._connection(name, outbox) for name in NAMES]

    def _connection(self, name: str, outbox: OuchOutbox, address: str = "127.0.0.1") -> Connection:
        connection, user = self.gateway.connection(self.gateway.entrances[0]), outbox.streams.user(name)
        connection.connection_made(Wire(address))
        connection.session.receive(LoginRequest(name, "any", "", 0).packet(), self.gateway.now_ns())
        self.gateway.logged_in[user] = connection
        accepted = connection.session.accept(outbox.streams.session, outbox.spool.end(user)[0], self.gateway.now_ns())
        connection.enter(user, 1, accepted, outbox.spool.end(user)[1])
        return connection

    def _take(self, rows: NDArray[Any], _began_ns: int) -> None:
        self.taken.append(rows.view("V64").copy().view(COMMAND))
        self.passed_ns += int(self.slow_s * 1e9)

    def sends(self, number: int, messages: int) -> int:
        """Number of messages of a user that found room in its connection's buffer."""
        connection = self.connections[number]
        data = cancel(f"T{number}") * messages
        buffer = connection.get_buffer(0)
        whole = min(len(buffer), len(data)) // len(cancel("T")) * len(cancel("T"))
        buffer[:whole] = data[:whole]
        connection.buffer_updated(whole)
        return whole // len(cancel("T"))

    def senders(self, at: int) -> list[int]:
        """Numbers of the senders of a batch, in its order: the digit of each token."""
        return [int(chr(number & 255)) for number in self.taken[at]["client_order_id"].tolist() if number]


def on_a_loop(test: Callable[[Turns], None]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def with_gateway() -> None:
            turns = Turns(tmp_path / "node")
            clock = SimpleNamespace(perf_counter_ns=lambda: turns.passed_ns, monotonic_ns=time.monotonic_ns)
            with mock.patch("gateway.server.time", clock):
                test(turns)

        asyncio.run(with_gateway())

    run.__name__ = test.__name__
    return run


@on_a_loop
def test_turns_get_short_while_the_market_is_slow_and_long_again_afterwards(turns: Turns) -> None:
    turns.slow_s = 1.2 * TURN_NS_MAX / 1e9
    sizes = []
    for _ in range(10):
        turns.sends(0, 2_500)
        turns.gateway.turn()
        sizes.append(len(turns.taken[-1]))
    assert sizes[0] > 2_000
    assert sizes[-1] <= ROWS_LEAST
    assert min(sizes) >= ROWS_LEAST // 2
    turns.slow_s = 0.0
    for _ in range(10):
        turns.sends(0, 2_500)
        turns.gateway.turn()
    assert len(turns.taken[-1]) > 1_000
    assert cast(Any, turns.gateway)._rows_max == ROWS_MAX


@on_a_loop
def test_an_order_that_comes_beside_floods_is_among_the_first_of_its_turn(turns: Turns) -> None:
    cast(Any, turns.gateway)._rows_max = ROWS_LEAST
    for number in (0, 1):
        assert turns.sends(number, 2_500) > 2_000
    turns.sends(2, 1)
    turns.gateway.turn()
    assert 2 in turns.senders(0)[:3]


@on_a_loop
def test_no_order_waits_for_more_than_one_message_of_each_other_also_where_turns_are_cut_short(turns: Turns) -> None:
    chance = random.Random(11)
    gateway = cast(Any, turns.gateway)
    turns.slow_s = 0.006  # neither slow nor quick: turns stay as short as they are
    gateway._rows_max = 7
    unread = [0, 0, 0]
    passed = [[0] * 3 for _ in range(3)]  # by who waits, and whose messages were taken meanwhile
    for number in range(60):
        for sender in range(3):
            if chance.random() < 0.5:
                unread[sender] += turns.sends(sender, chance.choice([1, 1, 2, 30]))
        before = len(turns.taken)
        turns.gateway.turn()
        for sender in turns.senders(number) if len(turns.taken) > before else []:
            unread[sender] -= 1
            passed[sender] = [0] * 3
            for other in range(3):
                if other != sender and unread[other]:
                    passed[other][sender] += 1
                    assert passed[other][sender] <= 1, f"turn {number}: {sender} overtook {other}"
        if not any(unread):
            unread[0] += turns.sends(0, 9)
            unread[1] += turns.sends(1, 1)
    assert turns.gateway.turns == 60


def test_no_order_waits_for_two_messages_of_another_also_where_thousands_of_connections_wait(tmp_path: Path) -> None:
    async def with_gateway() -> None:
        turns = Turns(tmp_path / "node", connections_max=1_200)
        gateway = cast(Any, turns.gateway)
        gateway._rows_max = gateway._rows_limit = 400  # a round of messages takes three turns
        for n in range(1_100):
            turns.connections.append(turns._connection("UA", turns.outbox, f"10.0.{n >> 8}.{n & 255}"))
        count = len(turns.connections)
        for number in range(count):
            turns.sends(number, 3)
        while sum(len(rows) for rows in turns.taken) < 3 * count:
            turns.gateway.turn()
            assert len(turns.taken[-1]) > 0
        ids = np.concatenate([rows["client_order_id"] for rows in turns.taken]).tolist()
        for message in range(3):
            assert len(set(ids[message * count : (message + 1) * count])) == count

    asyncio.run(with_gateway())


@on_a_loop
def test_a_connection_that_was_ended_while_it_waits_leaves_its_slot_to_the_next(turns: Turns) -> None:
    turns.sends(0, 1)
    turns.connections[0].connection_lost(None)
    turns.connections.append(turns._connection("UA", turns.outbox))
    assert turns.connections[3].slot == 0
    for number in (3, 1):
        turns.sends(number, 2)
    turns.gateway.turn()
    assert sorted(turns.senders(0)) == [1, 1, 3, 3]


@on_a_loop
def test_what_waits_is_moved_only_when_it_is_less_than_what_was_taken_and_arrives_in_order(turns: Turns) -> None:
    turns.gateway.limit_rows(128)
    connection = turns.connections[0]
    sent, moved, stayed = 0, 0, 0
    while sent < 12_000:
        buffer = connection.get_buffer(0)
        data = b"".join(cancel(f"{sent + n:07}") for n in range(len(buffer) // len(cancel("T"))))
        sent += len(data) // len(cancel("T"))
        buffer[: len(data)] = data
        connection.buffer_updated(len(data))
        before = connection.begin
        turns.gateway.turn()
        moved += connection.begin == connection.region
        stayed += connection.begin > before
    while connection.end > connection.begin:
        turns.gateway.turn()
    ids = np.concatenate([rows["client_order_id"] for rows in turns.taken]).tolist()
    assert ids == [pack(f"{n:07}") for n in range(sent)]
    assert 0 < moved < stayed / 5, "a region that is full moves half of it, and not at each turn"


@on_a_loop
def test_turns_begin_at_another_connection_each_time(turns: Turns) -> None:
    for _ in range(3):
        for number in range(3):
            turns.sends(number, 2)
        turns.gateway.turn()
    assert [turns.senders(at) for at in range(3)] == [[0, 1, 2] * 2, [1, 2, 0] * 2, [2, 0, 1] * 2]


def test_arrivals_are_recorded_with_the_numbers_of_their_rows(tmp_path: Path) -> None:
    directory = tmp_path / "arrivals"
    last_seqs = iter((1_004, 1_006))  # a CLOCK row stands before each turn
    log = ArrivalLog(ArrivalFiles(directory, JOURNAL_ID), lambda: next(last_seqs), pytest.fail)
    began_ns = time.time_ns()

    async def with_gateway() -> Turns:
        turns = Turns(tmp_path / "node", arrival_log=log)
        turns.sends(0, 2)
        turns.sends(1, 1)
        turns.gateway.turn()
        turns.sends(2, 1)
        turns.gateway.turn()
        turns.gateway.close()
        return turns

    turns = asyncio.run(with_gateway())
    (rows,) = read_arrivals(directory, JOURNAL_ID)
    assert rows["seq"].tolist() == [1_002, 1_003, 1_004, 1_006]
    assert rows["connection"].tolist() == [1, 2, 1, 3]
    assert rows["user"].tolist() == [turns.connections[n].user for n in (0, 1, 0, 2)]
    assert rows["place"].tolist() == [0, 1, 2, 0]
    assert rows["turn"].tolist() == [0, 0, 0, 1]
    assert all(began_ns <= time_ns <= time.time_ns() for time_ns in rows["time_ns"].tolist())


def test_a_gateway_knows_when_it_received_what_each_user_sent(tmp_path: Path) -> None:
    """A gateway process took the time at which it put a command into its ring, which can be full for long."""

    async def run() -> None:
        turns = Turns(tmp_path / "node")
        users = [each.user for each in turns.connections]
        before_ns = time.time_ns()
        turns.sends(0, 1)
        between_ns = time.time_ns()
        turns.sends(1, 1)
        first, second, again, gone = turns.gateway.received_ns([*users[:2], users[0], 99])
        assert before_ns <= first == again <= between_ns <= second <= time.time_ns()
        assert second <= gone

    asyncio.run(run())
