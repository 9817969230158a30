"""The core's end of the links of gateways: what it takes from a line, whose orders it cancels, and what that costs."""

import asyncio
import json
import socket
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.names import pack
from engine.records import EVENT, CommandKind, UserPermission
from gateway.admission import FAILURES_MAX
from gateway.register import UserRegister
from node.gateways.door import GatewayDoor, GatewayEnd
from node.gateways.link import LINE_BYTES_MAX, LinkError, LinkLines, object_of
from replay.market_rows import MARKET_ROWS, ring_of
from tape.form import memory_folder
from tape.inbound import Producer
from tests.rows import row
from tests.test_gateway_turns import JOURNAL_ID, Turns
from tests.test_rings_in_turns import cancel_row, ids


class Wire:
    """Transport of a link, as asyncio would give it."""

    def __init__(self, lines: LinkLines) -> None:
        self.lines, self.sent, self.closing = lines, b"", False
        self.pair = socket.socketpair(socket.AF_UNIX)

    def get_extra_info(self, _name: str) -> socket.socket:
        return self.pair[0]

    def write(self, data: bytes) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.sent.splitlines()]


class Door:
    """A door before the turns of a gateway. The user UA cancels on disconnect, UB does not."""

    def __init__(self, folder: Path) -> None:
        self.turns = Turns(folder / "node")
        memory_folder(folder).mkdir()  # as the tape of a node makes it
        cancels = int(UserPermission.ENABLED | UserPermission.CANCEL_ON_DISCONNECT)
        name = self.turns.outbox.streams.name(1)
        defined = row(CommandKind.USER, name=pack(name), participant_name=pack("ALPHA"), permissions=cancels)
        self.turns.outbox.observe(50, defined, np.zeros(0, EVENT))
        self.disconnected: list[int] = []
        self.absent: list[list[int]] = []
        self.log: list[tuple[str, dict[str, Any]]] = []

        def report(what: str, **fields: Any) -> None:
            self.log.append((what, fields))

        self.door = GatewayDoor(
            folder,
            JOURNAL_ID,
            self.turns.gateway,
            self.turns.outbox.streams,
            published_seq=lambda: 50,
            on_user_disconnect=self.disconnected.append,
            on_users_absent=self.absent.append,
            report=report,
            warn=report,
        )

    def link(self, name: str = "one") -> tuple[GatewayEnd, Wire]:
        end = GatewayEnd(self.door)
        wire = Wire(end)
        end.connection_made(wire)  # type: ignore[arg-type]
        say(end, gateway=name, protocol=0, pid=1)
        assert "seq" in wire.told()[0]
        return end, wire

    def producer(self, wire: Wire) -> Producer:
        return Producer(ring_of(self.door.directory, wire.lines.name), JOURNAL_ID, MARKET_ROWS)

    def logged(self, what: str) -> list[dict[str, Any]]:
        return [fields for said, fields in self.log if said == what]


def say(end: GatewayEnd, **fields: object) -> None:
    end.data_received(json.dumps(fields).encode() + b"\n")


def ask(end: GatewayEnd, user: int) -> None:
    say(end, ask=1, user=user, address="a", newest_wins=False)


def with_door(test: Callable[[Door], Coroutine[Any, Any, None] | None]) -> Callable[[], None]:
    """Run a test with a door, on an event loop."""

    async def on_a_loop() -> None:
        with tempfile.TemporaryDirectory() as folder:
            door = Door(Path(folder))
            await door.door.start()
            try:
                if (rest := test(door)) is not None:
                    await rest
            finally:
                door.door.close()

    def run() -> None:
        asyncio.run(on_a_loop())

    run.__name__ = test.__name__
    return run


NUMBERS = [
    b"Infinity",
    b"NaN",
    b"-1",
    b"1e999",
    b"1.5",
    b"true",
    b"null",
    b'"1"',
    b"9" * 400,
    b"9" * 5_000,
    b"[]",
    b"{}",
]


@pytest.mark.parametrize(
    "line",
    [
        *(b'{"gateway":"x","protocol":0,"pid":%s}' % number for number in NUMBERS),
        *(b'{"gateway":"x","protocol":%s,"pid":1}' % number for number in (*NUMBERS, b"256", b"4294967296")),
        b'{"gateway":1,"protocol":0,"pid":1}',
        b'{"gateway":null,"protocol":0,"pid":1}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"\xff\xfe",
        b"\x00",
        b"nonsense",
        b"[]",
        b"7",
        b"x" * (LINE_BYTES_MAX + 1),
    ],
)
def test_no_line_raises_into_the_loop_and_each_end_has_its_reason(line: bytes) -> None:
    @with_door
    def run(door: Door) -> None:
        end = GatewayEnd(door.door)
        wire = Wire(end)
        end.connection_made(wire)  # type: ignore[arg-type]
        end.data_received(line + b"\n" + b'{"gateway":"x","protocol":0,"pid":1}\n')
        assert wire.closing
        assert wire.told() == [], "a line behind one that ends the link is not taken"
        end.connection_lost(None)
        assert [bool(fields["why"]) for fields in door.logged("gateway refused")] == [True]
        assert len(door.door) == 0

    run()


@pytest.mark.parametrize(
    "told",
    [
        {"ask": 1},
        {"ask": 1, "user": 1, "address": 1, "newest_wins": False},
        {"ask": 1, "user": 1, "address": "a", "newest_wins": 0},
        {"ask": 1, "user": 4_097, "address": "a", "newest_wins": False},
        {"gone": 1},
        {"gone": True, "cancels": True},
        {"absent": 1},
        {"absent": [[1]]},
        {"absent": [1e9]},
        {"failed": "é" * 129, "network": "x"},
        {"failed": "UA", "network": "\ud800"},
        {"failed": "U\nA", "network": "x"},
        {"ask": 1, "user": 1, "address": "a" * 129, "newest_wins": False},
        {"odd": 1},
        {},
    ],
)
def test_what_an_attached_gateway_never_says_ends_its_link_with_a_reason(told: dict[str, Any]) -> None:
    @with_door
    def run(door: Door) -> None:
        end, wire = door.link()
        say(end, **told)
        assert wire.closing
        end.connection_lost(None)
        assert [fields["why"] for fields in door.logged("gateway gone")] == [end.why] != [""]

    run()


def test_a_fault_of_this_end_is_no_end_of_the_link() -> None:
    def fails(_told: dict[str, Any] | None) -> None:
        raise KeyError("a fault of ours")

    lines = LinkLines(fails)
    wire = Wire(lines)
    lines.connection_made(wire)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        lines.data_received(b"{}\n")
    assert not wire.closing
    with pytest.raises(LinkError):
        object_of(b"NaN")


@with_door
async def test_users_who_leave_without_a_disconnect_are_absent_those_of_one_moment_together(door: Door) -> None:
    end, _ = door.link()
    for user in (1, 2):
        ask(end, user)
        say(end, gone=user, cancels=False)
    say(end, gone=1, cancels=False)
    await asyncio.sleep(0)
    assert door.absent == [[1]], "the second keeps its orders, and the first has left once"
    ask(end, 1)
    say(end, gone=1, cancels=True)
    await asyncio.sleep(0)
    assert (door.absent, door.disconnected) == ([[1]], [1]), "the control: a disconnect"
    ask(end, 2)
    say(end, gone=2, cancels=True)
    assert door.disconnected == [1], "it does not cancel on disconnect"


@with_door
async def test_a_user_who_left_right_before_its_gateway_ended_is_absent_all_the_same(door: Door) -> None:
    end, _ = door.link()
    ask(end, 1)
    say(end, gone=1, cancels=False)
    end.connection_lost(None)
    await asyncio.sleep(0)
    assert door.absent == [[1]]


@with_door
async def test_users_who_are_sent_away_have_their_time_to_come_back_however_long_the_ring_is_full(door: Door) -> None:
    end, wire = door.link()
    producer = door.producer(wire)
    ask(end, 1)
    await asyncio.sleep(0.01)  # the turn that looks for a new ring
    assert producer.put(cancel_row("a1"), source=1)
    door.turns.gateway.elsewhere = "the arbiter does not confirm that this node is primary"
    say(end, gone=1, cancels=True)
    await asyncio.sleep(0)
    assert (door.absent, door.disconnected) == ([], []), "its order is in the ring"
    door.turns.gateway.elsewhere = ""  # the lease is confirmed again, and only now the ring is taken
    door.turns.gateway.turn()
    door.door._look_again()
    assert (door.absent, door.disconnected) == ([[1]], [])
    ask(end, 1)
    say(end, gone=1, cancels=True)
    await asyncio.sleep(0)
    door.door._look_again()
    assert (door.absent, door.disconnected) == ([[1]], [1]), "the control: a disconnect at any other time"
    producer.close()


@with_door
def test_the_operator_ends_a_user_s_connections_at_all_gateways_to_past_sessions_too(door: Door) -> None:
    (one, first), (two, second) = door.link(), door.link("two")
    assert not door.door.disconnect(1, "w")
    ask(one, 1)
    say(two, past=[2])
    for user in (1, 2):
        first.sent = second.sent = b""
        assert door.door.disconnect(user, "w")
        assert first.told() == second.told() == [{"disconnect": user, "why": "w"}]
    say(two, past=[])
    assert not door.door.disconnect(2, "w")


@with_door
def test_a_wrong_password_at_one_gateway_counts_at_all(door: Door) -> None:
    (one, first), (_two, second) = door.link(), door.link("two")
    gateway, now_ns = door.turns.gateway, door.turns.gateway.now_ns()
    admission = gateway._sign_on._logins._admission
    first.sent = second.sent = b""
    for _ in range(FAILURES_MAX):
        assert admission.due_ns("10.0.0.1", "UA", now_ns) == now_ns
        say(one, failed="UA", network="10.0.0.1")
    assert admission.due_ns("10.0.0.1", "UA", gateway.now_ns()) > gateway.now_ns()
    assert (first.told(), gateway.failed_logins) == ([], 0), "the gateway has counted it among its own"
    assert second.told() == [{"failed": "UA", "network": "10.0.0.1"}] * FAILURES_MAX
    gateway.on_failed_login("10.0.0.2", "UB")  # one at the core's own port
    assert first.told() == [{"failed": "UB", "network": "10.0.0.2"}]
    first.sent = second.sent = b""
    say(one, failed="é" * 128, network="\N{GRINNING FACE}" * 128)
    gateway.on_failed_login("é" * 40_000, "\ud800\n\N{GRINNING FACE}" * 40_000)  # whatever a client gives for a name
    heard = [*first.told(), *second.told()]
    assert len(heard) == 1 + 2
    for told in heard:
        end, wire = door.link(f"of-{len(door.door)}")
        say(end, **told)
        assert not wire.closing, "what one end says of a client, the other takes"


@with_door
def test_the_next_life_of_a_gateway_has_no_users_of_the_last(door: Door) -> None:
    end, wire = door.link()
    ask(end, 1)
    producer = door.producer(wire)
    assert producer.put(cancel_row("BEFORE"), source=1)
    end.connection_lost(None)  # and the core has not taken the ring yet
    again, _ = door.link()
    assert producer.put(cancel_row("AFTER"), source=1)
    door.turns.gateway.turn()
    assert ids(door.turns) == [pack("BEFORE")], "the next life sends for nobody who has not logged in by it"
    ask(again, 1)
    assert producer.put(cancel_row("LOGGED"), source=1)
    door.turns.gateway.turn()
    assert ids(door.turns) == [pack("LOGGED")]
    producer.close()


@with_door
def test_what_waits_for_a_ring_is_done_in_its_order_once_the_ring_is_taken(door: Door) -> None:
    end, wire = door.link()
    ask(end, 1)
    producer, done = door.producer(wire), []
    ring = door.door._rings["one"]
    for number in range(3):
        assert producer.put(cancel_row(f"W{number}"), source=1)
        door.door.after(ring, lambda number=number: done.append(number))  # type: ignore[misc]
    door.door._look_again()
    assert done == []
    door.turns.gateway.turn()
    door.door.after(ring, lambda: done.append(3))
    assert done == [], "it comes behind those that wait"
    door.door._look_again()
    assert done == [0, 1, 2, 3]
    door.door.after(ring, lambda: done.append(4))
    assert done == [0, 1, 2, 3, 4]
    producer.close()


class _Counted:
    """Something that counts how often it is compared."""

    compared = 0

    def __call__(self) -> None:
        pass

    def __eq__(self, _other: object) -> bool:
        type(self).compared += 1
        return False

    __hash__ = object.__hash__


@with_door
def test_many_waits_for_a_ring_cost_no_comparison_among_them(door: Door) -> None:
    _, wire = door.link()
    producer = door.producer(wire)
    assert producer.put(cancel_row("W"), source=1)
    ring = door.door._rings["one"]
    for _ in range(500):
        door.door.after(ring, _Counted())
    door.turns.gateway.turn()
    door.door._look_again()
    assert not ring.waits
    assert _Counted.compared == 0
    producer.close()


def test_the_register_counts_the_users_of_a_gateway() -> None:
    class Gateway:
        name = ""

        def __init__(self) -> None:
            self.displaced: list[int] = []

        def displace(self, user: int, _why: str) -> None:
            self.displaced.append(user)

    register, one, two = UserRegister(), Gateway(), Gateway()
    for user in (3, 1, 2):
        assert not register.claim(user, one, newest_wins=False).why
    assert not register.claim(1, one, newest_wins=False).why
    assert (register.of(one), register.count(one), register.count(two)) == ([3, 1, 2], 3, 0)
    assert register.claim(1, two, newest_wins=False).why
    assert not register.claim(1, two, newest_wins=True).why
    assert one.displaced == [1]
    assert (register.of(one), register.of(two)) == ([3, 2], [1])
    assert not register.give_back(1, one)
    assert register.give_back(1, two)
    assert (register.count(one), register.count(two), len(register)) == (2, 0, 2)
