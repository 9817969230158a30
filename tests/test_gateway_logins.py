"""Logins at the gateway, with transports that are no sockets: what ends a live session, and whose turn it is."""

import asyncio
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.names import pack
from engine.records import EVENT, EventKind
from gateway.addresses import network_of
from gateway.admission import FAILURES_MAX
from gateway.connection import Connection
from gateway.logins import Logins, StoredPassword
from gateway.passwords import credential_row, hash_password
from tests.rows import batch, credential, participant, user
from tests.test_gateway_turns import Turns, Wire
from wire.soup import LoginRequest, PacketType, RejectCode


def observe(turns: Turns, rows: NDArray[Any], refused: bool = False) -> None:
    """Rows that came into the journal, whoever sent them."""
    first_seq = 1_000
    events = np.zeros(int(refused), EVENT)
    events["seq"], events["kind"] = first_seq, EventKind.REJECTED
    turns.outbox.observe(first_seq, rows, events)


def wire_of(connection: Connection) -> Wire:
    return cast(Wire, connection.transport)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (credential("UA"), "the user has a new password"),
        (user("UA", "ALPHA", permissions=0), "the user may not log in any more"),
        (batch(participant("BETA"), user("UA", "BETA")), "the user belongs to another participant now"),
    ],
    ids=["password", "allow=none", "participant"],
)
def test_a_row_that_takes_a_login_away_ends_the_live_session_with_its_reason(
    rows: NDArray[Any], why: str, tmp_path: Path
) -> None:
    async def run() -> None:
        turns = Turns(tmp_path / "node")
        observe(turns, rows)
        first, *others = turns.connections
        assert first.closing.startswith(why)
        assert f"closed: {why}".encode() in wire_of(first).written
        assert turns.outbox.streams.user("UA") not in turns.gateway.logged_in
        assert all(other.live for other in others)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        (user("UA", "ALPHA", "FIRM"), False),
        (credential("UA"), True),
        (user("UA", "ALPHA", permissions=0), True),
        (credential("NOBODY"), False),
    ],
)
def test_rows_that_take_no_login_away_end_no_session(rows: NDArray[Any], refused: bool, tmp_path: Path) -> None:
    async def run() -> None:
        turns = Turns(tmp_path / "node")
        observe(turns, rows, refused)
        assert all(connection.live for connection in turns.connections)

    asyncio.run(run())


def test_a_password_that_is_replaced_while_it_is_checked_opens_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        turns = Turns(tmp_path / "node")
        observe(turns, batch(user("UD", "ALPHA"), credential_row("UD", "old", 4)))
        connection = turns.gateway.connection(turns.gateway.entrances[0])
        connection.connection_made(Wire())
        login = LoginRequest("UD", "old", "", 0).packet()
        connection.get_buffer(0)[: len(login)] = login
        connection.buffer_updated(len(login))
        observe(turns, credential_row("UD", "new", 4))
        async with asyncio.timeout(120):
            while not connection.closing and not connection.live:
                await asyncio.sleep(0.001)
        assert wire_of(connection).written == bytes([0, 2, PacketType.LOGIN_REJECTED, RejectCode.NOT_AUTHORIZED])
        assert turns.outbox.streams.row(turns.outbox.streams.user("UD"))["name"] == pack("UD")

    asyncio.run(run())


def test_the_ipv6_addresses_of_a_network_count_as_one_for_connections_and_passwords(tmp_path: Path) -> None:
    async def run() -> None:
        turns = Turns(tmp_path / "node")
        gateway = turns.gateway
        asked: list[str] = []
        cast(Any, gateway)._sign_on._logins.check = lambda _connection, address, *_: asked.append(address)

        def connected(address: str) -> Connection:
            connection = gateway.connection(gateway.entrances[0])
            connection.connection_made(Wire(address))
            return connection

        neighbour = connected("2001:db8:0:2::1")
        flood = [connected(f"2001:db8:0:1::{n:x}") for n in range(300)]
        assert gateway.displaced_connections == 300 - 256, "an address may have a quarter of the slots waiting"
        assert not neighbour.closing
        assert flood[0].closing
        login = LoginRequest("UA", "wrong", "", 0).packet()
        for connection in flood[-2:]:
            connection.get_buffer(0)[: len(login)] = login
            connection.buffer_updated(len(login))
        assert asked == ["2001:db8:0:1::/64"] * 2
        assert flood[-1].address == "2001:db8:0:1::12b", "the log names the address itself"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:ffff::9", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_wrong_passwords_are_told_to_the_other_gateways_and_counted_there() -> None:
    """Each process counted for itself, so an address had as many attempts more as there were gateways."""
    salt = bytes(16)
    stored = StoredPassword(salt, hash_password("right", salt, 4), 4)

    async def run() -> None:
        told: list[tuple[str, str]] = []
        other = Logins(time.monotonic_ns)
        logins = Logins(time.monotonic_ns, lambda address, user: told.append((address, user)))
        right = asyncio.get_running_loop().create_future()
        logins.check(1, "10.0.0.1", "UA", "right", stored, right.set_result)
        assert await asyncio.wait_for(right, 120)
        for key in range(2, FAILURES_MAX + 5):
            logins.check(key, "10.0.0.1", "UA", "wrong", stored, lambda _: None)
        assert told == [("10.0.0.1", "UA")] * FAILURES_MAX, "not those beyond, which are checked slowly already"
        now_ns = time.monotonic_ns()
        for address, name in told:
            assert other._admission.due_ns(address, name, now_ns) == now_ns
            other.note_failure(address, name)
        assert other._admission.due_ns("10.0.0.1", "UA", now_ns) > now_ns
        assert (logins.failures, other.failures) == (FAILURES_MAX + 3, 0)
        logins.close()
        other.close()

    asyncio.run(run())
