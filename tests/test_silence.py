"""Time in which the node did not read counts as nobody's silence. The gateway on a clock of the test."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client import Order, OrderEntry
from engine import Capacity
from engine.names import pack
from engine.records import COMMAND, EVENT, CommandKind, UserPermission, concatenate
from gateway.attention import Attention
from gateway.connection import LEAVE_NS, LOGIN_NS, REGION_BYTES, SLOW_NS, Connection
from gateway.ouch.outbox import OuchOutbox
from gateway.ouch.protocol import OUCH
from gateway.protocol import Entrance
from gateway.server import BEAT_S, Gateway
from tests.gateways import read_at_once
from tests.ouch_messages import cancel
from tests.rows import clock, instrument, participant, row
from wire import soup
from wire.session_state import State
from wire.soup import LoginRequest, PacketType
from wire.soup_session import SILENCE_NS

SMALL = Capacity(orders_max=64, ids_max=64, instruments_max=2, participants_max=4)
BEAT_NS = int(BEAT_S * 1e9)
SECOND_NS = 1_000_000_000
HEARTBEAT = soup.packet(PacketType.CLIENT_HEARTBEAT)
DEBUG = soup.packet(PacketType.DEBUG, b"hello")
LOGOUT = soup.packet(PacketType.LOGOUT)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.sent = b""
        self.reading = True
        self.gone = False

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.gone

    def write_eof(self) -> None:
        pass

    def close(self) -> None:
        self.gone = True

    def abort(self) -> None:
        self.gone = True


class Place:
    """A gateway in front of a market that may have no room, and users UA and UB who are logged in."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        outbox = OuchOutbox(directory, SMALL, bytes(16))
        users = [
            row(
                CommandKind.USER,
                name=pack(name),
                participant_name=pack("ALPHA"),
                permissions=int(UserPermission.ENABLED),
            )
            for name in ("UA", "UB")
        ]
        rows = concatenate([clock(), instrument("XYZ"), participant("ALPHA"), *users])
        outbox.observe(1, rows, np.zeros(0, EVENT))
        self.room = True
        self.taken: list[NDArray[Any]] = []
        self.now_ns = 1_000 * SECOND_NS
        self.gateway = Gateway(
            [Entrance(OUCH, outbox)],
            take=lambda rows, _: self.taken.append(rows.view("V64").copy().view(COMMAND)),
            has_room=lambda: self.room,
            on_user_disconnect=lambda _: None,
            on_users_absent=lambda _: None,
            report=lambda *_, **__: None,
        )
        self.gateway.now_ns = lambda: self.now_ns  # type: ignore[method-assign]
        read_at_once(self.gateway)
        self.gateway.attention = Attention(self.now_ns, BEAT_NS)
        self.wires: list[Wire] = []
        self.one, self.other = (self._logged_in(name, outbox) for name in ("UA", "UB"))

    def connected(self) -> Connection:
        connection, wire = self.gateway.connection(self.gateway.entrances[0]), Wire()
        self.wires.append(wire)
        connection.connection_made(wire)
        return connection

    def _logged_in(self, name: str, outbox: OuchOutbox) -> Connection:
        connection, user = self.connected(), outbox.streams.user(name)
        connection.session.receive(LoginRequest(name, "any", "", 0).packet(), self.now_ns)
        self.gateway.logged_in[user] = connection
        accepted = connection.session.accept(outbox.streams.session, outbox.spool.end(user)[0], self.now_ns)
        connection.enter(user, 1, accepted, outbox.spool.end(user)[1])
        return connection

    def hears(self, connection: Connection, data: bytes) -> None:
        """Bytes of a client are read."""
        buffer = connection.get_buffer(0)
        buffer[: len(data)] = data
        connection.buffer_updated(len(data))

    def passes(self, seconds: float, *beating: Connection) -> None:
        """The node runs for so long; each second it reads a heartbeat of each of these, and has its turn."""
        for number in range(round(seconds / BEAT_S)):
            self.now_ns += BEAT_NS
            if number % 4 == 0:
                for connection in beating:
                    self.hears(connection, HEARTBEAT)
            self.gateway.turn()
            self.gateway.beat()

    def stands(self, seconds: float) -> None:
        """The process is stopped for so long; its beat is late, and comes before anything is read."""
        self.now_ns += round(seconds * SECOND_NS)
        self.gateway.beat()


def on_a_loop(test: Callable[[Place], None]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def with_gateway() -> None:
            test(Place(tmp_path / "node"))

        asyncio.run(with_gateway())

    run.__name__ = test.__name__
    return run


@on_a_loop
def test_who_is_silent_for_fifteen_seconds_on_a_node_that_runs_is_ended_and_who_beats_stays(place: Place) -> None:
    place.passes(14.75, place.other)
    assert place.one.live
    place.passes(1, place.other)
    assert place.one.closing.startswith("nothing was heard")
    assert place.other.live


@on_a_loop
def test_a_stop_of_the_node_ends_nobody_whose_heartbeats_wait(place: Place) -> None:
    place.passes(10, place.one)
    place.stands(60)
    assert (place.one.closing, place.other.closing) == ("", ""), "nothing was read yet"
    place.passes(2, place.one)
    assert place.one.live
    assert place.other.live, "it was silent for 12 seconds in which the node was there"
    place.passes(4, place.one)
    assert place.one.live
    assert place.other.closing.startswith("nothing was heard")


@on_a_loop
def test_a_stop_is_told_apart_from_silence_also_when_bytes_are_read_before_the_beat(place: Place) -> None:
    place.now_ns += 3_600 * SECOND_NS
    place.hears(place.one, HEARTBEAT)
    place.gateway.turn()
    place.gateway.beat()
    place.passes(14, place.other)
    assert place.one.live
    place.passes(2, place.other)
    assert not place.one.live, "a stop of an hour gives nobody an hour"


@on_a_loop
def test_a_beat_that_is_a_little_late_does_not_end_whose_heartbeat_has_come_but_was_not_read(place: Place) -> None:
    place.passes(14.75)
    place.now_ns += BEAT_NS + BEAT_NS // 2
    place.gateway.beat()
    assert place.one.live
    place.hears(place.one, HEARTBEAT)
    place.gateway.turn()
    place.passes(0.5)
    assert (place.one.live, place.other.live) == (True, False)


@on_a_loop
def test_a_login_that_waits_unread_through_a_stop_is_still_in_time(place: Place) -> None:
    newcomer = place.connected()
    place.passes(1, place.one, place.other)
    place.stands(30)
    place.passes(1)
    assert newcomer.closing == ""
    place.passes(LOGIN_NS / 1e9, place.one, place.other)
    assert newcomer.closing.startswith("no login came")


@on_a_loop
def test_a_login_that_waits_in_the_gateway_to_be_read_is_in_time(place: Place) -> None:
    newcomer, silent = place.connected(), place.connected()
    waiting: list[Connection] = []
    place.gateway.on_strange_bytes = waiting.append  # type: ignore[method-assign]
    place.hears(newcomer, LoginRequest("UA", "secret", "", 1).packet())
    assert waiting == [newcomer]
    place.passes(LOGIN_NS / 1e9 + 1, place.one, place.other)
    assert (newcomer.closing, silent.closing.startswith("no login came")) == ("", True)
    newcomer.ask()
    assert newcomer.session.state is State.ASKED


@on_a_loop
def test_clients_are_neither_silent_nor_left_without_heartbeats_while_their_orders_wait_for_room(place: Place) -> None:
    place.room = False
    place.hears(place.one, cancel("a1"))
    written = len(place.wires[0].sent)
    place.passes(120, place.one, place.other)
    assert (place.one.live, place.other.live) == (True, True)
    beats = place.wires[0].sent[written:].count(soup.packet(PacketType.SERVER_HEARTBEAT))
    assert beats >= 100
    assert place.taken == []
    place.room = True
    place.passes(1)
    assert len(place.taken) == 1
    place.passes(14, place.other)
    assert place.one.live
    place.passes(2, place.other)
    assert not place.one.live, "with nothing that waits its silence counts again"


@on_a_loop
def test_heartbeats_debug_packets_and_logouts_are_read_while_orders_wait_for_room(place: Place) -> None:
    place.room = False
    place.hears(place.one, cancel("a1"))
    place.hears(place.other, HEARTBEAT * 3 + DEBUG + HEARTBEAT + LOGOUT)
    place.passes(1)
    assert place.other.closing == "the client logged out"
    place.hears(place.one, LOGOUT)
    place.passes(1)
    assert place.one.live, "what it sent before its logout is taken first"
    place.room = True
    place.passes(1)
    assert len(place.taken) == 1
    assert place.one.closing == "the client logged out"


@on_a_loop
def test_a_region_that_heartbeats_fill_while_orders_of_others_wait_is_emptied(place: Place) -> None:
    place.room = False
    place.hears(place.one, cancel("a1"))
    place.hears(place.other, HEARTBEAT * (REGION_BYTES // len(HEARTBEAT)))
    assert not place.wires[1].reading
    place.passes(BEAT_S)
    assert place.wires[1].reading
    assert len(place.other.get_buffer(0)) > REGION_BYTES - 2 * len(HEARTBEAT)


@on_a_loop
def test_a_client_whose_region_is_full_of_orders_is_not_silent_though_nothing_more_is_read(place: Place) -> None:
    place.room = False
    order = cancel("a1")
    place.hears(place.one, order * (REGION_BYTES // len(order)))
    assert not place.wires[0].reading
    place.passes(60, place.other)
    assert place.one.live


@on_a_loop
def test_a_reader_that_is_slow_is_not_ended_for_a_stop_of_the_node(place: Place) -> None:
    place.one.pause_writing()
    place.passes(1, place.other)
    place.stands(60)
    place.passes(1, place.other)
    assert place.one.closing == ""
    place.passes(SLOW_NS / 1e9, place.other)
    assert place.one.closing.startswith("a slow reader")


@on_a_loop
def test_a_client_that_is_ended_has_its_time_to_leave_also_around_a_stop(place: Place) -> None:
    place.one.close("for a test")
    place.stands(60)
    assert not place.wires[0].gone
    place.passes(LEAVE_NS / 1e9 + 1)
    assert place.wires[0].gone


def test_patience_that_is_counted_in_presence_does_not_run_out_during_a_stop() -> None:
    attention = Attention(0, BEAT_NS)
    for number in range(1, 9):
        attention.beat(number * BEAT_NS)
    assert attention.present_ns == 8 * BEAT_NS
    attention.beat(attention.present_ns + 60 * SECOND_NS)
    assert attention.present_ns == 9 * BEAT_NS


@pytest.mark.parametrize("away_s", [0.0, 20.0, 3_600.0])
def test_a_client_that_was_stopped_itself_does_not_call_the_exchange_silent(away_s: float) -> None:
    core = OrderEntry("UA", "secret", Order)
    now_ns = 1_000 * SECOND_NS
    core.connected(now_ns)
    core.receive(soup.LoginAccepted("20260101", 1).packet(), now_ns)
    now_ns += round(away_s * SECOND_NS)
    core.tick(now_ns)
    assert not core.over
    for _ in range(int(SILENCE_NS / SECOND_NS)):
        now_ns += SECOND_NS
        core.tick(now_ns)
    assert core.over, "an exchange that says nothing while the client is there is silent"
