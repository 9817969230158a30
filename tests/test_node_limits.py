"""A node at its limits: floods of connections and of logins, want of descriptors, a full disk, and its own end under
load. Who is in is answered meanwhile, and the node goes on."""

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.operator.link import RequestRefused
from tests.ouch_messages import IOC, cancel, enter, messages, replace
from tests.running import (
    HEARTBEAT,
    SOON_S,
    USERS,
    Client,
    Running,
    answered_in_s,
    descriptors,
    kinds,
    started,
    until,
)
from tests.test_journal_damage import needs_mounts
from wire.soup import LoginAccepted, LoginRequest, PacketType


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = started(tmp_path_factory.mktemp("plain"))
    yield running
    running.stop()


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_thousands_of_connects_and_disconnects_leave_nothing_behind(node: Running, count: int) -> None:
    assert node.process is not None
    good = Client(node.port, "UA", seq=0)
    answered_in_s(good)
    until(lambda: list(node.data.glob("arrivals/*")), what="the file that a first order opens is open")
    before = descriptors(node.process.pid)
    login = LoginRequest("UB", "secret", "", 0).packet()
    for number in range(count):
        with socket.create_connection(("127.0.0.1", node.port), timeout=120) as one:
            if number % 3 == 1:  # with a reset
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if number % 5 == 2:
                one.sendall(login[: number % len(login)])
            elif number % 100 == 3:
                one.sendall(login)
        if number % 100 == 0:
            good.socket.sendall(HEARTBEAT)
    assert answered_in_s(good) < SOON_S
    until(lambda: node.status()["connections"] == 1, what="every slot is free again")
    until(lambda: descriptors(node.process.pid if node.process else 0) <= before, what="every descriptor is closed")
    good.log_out()


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection that says nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=120, source_address=(source, 0))


@pytest.mark.slow
def test_silent_connections_of_one_address_keep_nobody_from_logging_in(tmp_path: Path) -> None:
    node = started(tmp_path, "--connections-max", "8")
    silent = []
    try:
        good = [Client(node.port, "UA", seq=0)]
        for _ in range(200):
            silent.append(connected(node.port, "127.0.0.9"))
        until(lambda: node.status()["connections"] <= 3, what="an address has a quarter of the slots")
        good.append(Client(node.port, "UB", seq=0))
        good.append(Client(node.port, "UC", seq=0, source="127.0.0.9"))
        assert {client.answer[0] for client in good} == {PacketType.LOGIN_ACCEPTED}
        assert answered_in_s(good[0]) < SOON_S
        until(lambda: "no login came, and another connection needs the room" in node.logged())
        until(lambda: node.status()["connections"] == 3, 120, what="patience with those that say nothing ends")
    finally:
        for one in silent:
            one.close()
        node.stop()


@pytest.mark.slow
def test_more_connections_of_one_address_than_it_may_have_are_refused(tmp_path: Path) -> None:
    node = started(tmp_path, "--connections-per-address-max", "2")
    try:
        good = [Client(node.port, user, seq=0) for user in ("UA", "UB")]
        with connected(node.port) as one, contextlib.suppress(ConnectionError):
            assert one.recv(1) == b""
        until(lambda: "too many connections from this address" in node.logged())
        assert Client(node.port, "UC", seq=0, source="127.0.0.2").answer[0] == PacketType.LOGIN_ACCEPTED
        assert answered_in_s(good[0]) < SOON_S
    finally:
        node.stop()


@pytest.mark.slow
def test_a_node_without_descriptors_takes_fewer_connections_and_goes_on(tmp_path: Path) -> None:
    node = started(tmp_path, around=("prlimit", "--nofile=192:192"))
    try:
        until(lambda: "fewer connections" in node.logged())
        good = Client(node.port, "UA", seq=0)
        crowd = []
        for _ in range(3):
            for _ in range(150):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", node.port))
                crowd.append(one)
            assert answered_in_s(good) < SOON_S
        with node.link() as link:
            link.ask("checkpoint")
        assert answered_in_s(good) < SOON_S
        for one in crowd:
            one.close()
        until(lambda: node.status()["connections"] == 1)
        assert Client(node.port, "UB", seq=0).answer[0] == PacketType.LOGIN_ACCEPTED
        assert node.end(signal.SIGTERM) == 0
    finally:
        node.stop()


@pytest.mark.slow
def test_a_flood_of_wrong_logins_keeps_no_right_user_out_from_elsewhere_or_from_there(tmp_path: Path) -> None:
    node = started(tmp_path, "--password-cost", "14")
    try:
        good = Client(node.port, "UA", seq=0)
        flood = []
        for number in range(400):
            one = socket.create_connection(("127.0.0.1", node.port), timeout=120)
            one.sendall(LoginRequest(f"X{number}" if number % 2 else "UB", "wrong", "", 0).packet())
            flood.append(one)
        assert answered_in_s(good) < SOON_S
        other = Client(node.port, "UB", seq=0, source="127.0.0.2")
        assert other.answer[0] == PacketType.LOGIN_ACCEPTED
        assert Client(node.port, "UC", seq=0).answer[0] == PacketType.LOGIN_ACCEPTED, "its first login, from there"
        good.log_out()
        assert Client(node.port, "UA", seq=0).answer[0] == PacketType.LOGIN_ACCEPTED, "a password that was right"
        for one in flood:
            one.close()
    finally:
        node.stop()


@pytest.mark.slow
def test_wrong_passwords_of_a_user_do_not_lock_it_out_where_they_came_from(tmp_path: Path) -> None:
    node = started(tmp_path)
    try:
        for _ in range(7):
            assert Client(node.port, "UA", password="wrong", seq=0).answer[0] == PacketType.LOGIN_REJECTED
        assert Client(node.port, "UA", seq=0).answer[0] == PacketType.LOGIN_ACCEPTED
    finally:
        node.stop()


# The disk.


def fill(path: Path) -> None:
    """Somebody else's file, up to the last byte."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)) == 1 << 16:
            pass
        while file.write(bytes(4_096)) == 4_096:
            pass


@pytest.mark.slow
@needs_mounts
def test_on_a_full_disk_new_orders_are_refused_cancels_work_and_it_goes_on_with_room(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=48m none "{tmp_path}" && exec "$0" "$@"'
    log = tmp_path.parent / f"{tmp_path.name}.log"
    node = Running(
        tmp_path / "node",
        *("--checkpoint-every", "50"),
        program=("-m", "tests.faulty_node", "small-room,often"),
        around=("unshare", "-m", "sh", "-c", mount),
    )
    node.log = log
    try:
        node.start()
        node.set_up()
        client = Client(node.port, "UA", seq=0)
        client.socket.sendall(enter("d1", "B", 5, 90_000) + enter("d2", "B", 5, 90_000))
        assert kinds(client.take(2)) == ["ACCEPTED", "ACCEPTED"]
        fill(node.seen.parent / "other")
        until(lambda: "new orders are rejected" in node.logged(), what=node.logged())
        assert "free some disk" in node.logged()
        assert node.status()["phase_halted"] == 1
        assert node.status()["room"] == "disk low"
        client.socket.sendall(enter("d3", "B", 5, 90_000) + replace("d1", "d4", 6, 90_000) + cancel("d2"))
        told = [(kind, fields.get("reject_reason")) for kind, fields in messages(client.take(5))[2:]]
        assert told[0] == ("REJECTED", "H")
        assert told[2] == ("CANCELED", None)
        before = node.status()["checkpoint_seq"]
        for _ in range(200):
            answered_in_s(client)
        time.sleep(1.2)
        assert node.status()["checkpoint_seq"] == before, "what is left of the disk is for the journal"
        (node.seen.parent / "other").unlink()
        until(lambda: node.status()["room"] == "open")
        until(lambda: node.status()["phase_continuous"] == 1)
        until(lambda: node.status()["checkpoint_seq"] > before)
        client.forget()
        client.socket.sendall(enter("d5", "B", 5, 90_000))
        assert kinds(client.take(1)) == ["ACCEPTED"]
        assert node.end(signal.SIGTERM) == 0, node.logged()
    finally:
        node.stop()


def fill_up_to(path: Path, left_bytes: int) -> None:
    """Somebody else's file, larger until so much is left of the disk."""
    disk = os.statvfs(path.parent)
    with path.open("ab", buffering=0) as file:
        file.write(bytes(max(disk.f_bavail * disk.f_frsize - left_bytes, 0)))


@pytest.mark.slow
@needs_mounts
def test_on_a_disk_that_is_full_cancels_work_from_the_reserve_and_when_that_is_gone_the_node_ends(
    tmp_path: Path,
) -> None:
    mount = f'mount -t tmpfs -o size=48m none "{tmp_path}" && exec "$0" "$@"'
    node = Running(
        tmp_path / "node",
        program=("-m", "tests.faulty_node", "small-room"),
        around=("unshare", "-m", "sh", "-c", mount),
    )
    node.log = tmp_path.parent / f"{tmp_path.name}.log"
    try:
        node.start()
        node.set_up()
        client, other = Client(node.port, "UA", seq=0), Client(node.port, "UC", seq=0)
        client.socket.sendall(enter("d1", "B", 5, 90_000) + enter("d2", "B", 5, 90_000))
        other.socket.sendall(enter("c1", "B", 5, 90_000))
        client.take(2)
        other.take(1)
        fill(node.seen.parent / "other")
        until(lambda: node.status()["state"] == "disk low")
        fill_up_to(node.seen.parent / "other", 1_500_000)
        until(lambda: node.status()["state"] == "disk full")
        client.forget()
        client.socket.sendall(enter("d3", "B", 5, 90_000) + replace("d1", "d4", 6, 90_000) + cancel("d2"))
        assert kinds(client.take(3)) == ["REJECTED", "REJECTED", "CANCELED"]
        client.socket.sendall(enter("d5", "B", 5, 90_000) * 3_000)
        other.forget()
        other.socket.sendall(cancel("c1"))
        assert kinds(other.take(1)) == ["CANCELED"], "a flood of refused orders does not keep a cancel back"
        client.take(3_003)
        assert node.status()["state"] == "disk full", "nor does it use up the reserve at once"
        assert "new orders are rejected and cancels work" in str(node.status()["state_reason"])
        with node.link() as link:
            for opening in ("phase XYZ continuous", "resume XYZ"):
                with pytest.raises(RequestRefused, match=r"nothing is opened: room in .* is full"):
                    link.ask("commands", text=opening)
            with pytest.raises(RequestRefused, match="no checkpoint is written now"):
                link.ask("checkpoint")
        fill_up_to(node.seen.parent / "other", 200_000)
        assert client.until_end()[-1][0] == PacketType.END_OF_SESSION
        assert node.process is not None
        assert node.process.wait(120) == 75
        assert "is gone" in node.logged().splitlines()[-1]
    finally:
        node.stop()


# Its end.


@pytest.mark.slow
def test_sigterm_under_load_drains_ends_the_sessions_and_loses_nothing(tmp_path: Path) -> None:
    node = started(tmp_path, "--ids-max", "262144")
    try:
        clients = {user: Client(node.port, user) for user in USERS}
        enough = threading.Event()

        def load(user: str) -> None:
            number = 0
            with contextlib.suppress(OSError):
                while not enough.is_set():
                    names = [f"{user}{number + n}" for n in range(20)]
                    number += 20
                    clients[user].socket.sendall(b"".join(enter(name, "B", 1, 90_000, tif_s=IOC) for name in names))
                    time.sleep(0.001)

        ends: dict[str, list[tuple[int, bytes]]] = {}

        def read(user: str) -> None:
            ends[user] = clients[user].until_end()

        threads = [threading.Thread(target=work, args=(user,)) for user in USERS for work in (load, read)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        status = node.process.wait(120)
        enough.set()
        for thread in threads:
            thread.join()
        assert status == 0, node.logged()
        assert all(ends[user][-1][0] == PacketType.END_OF_SESSION for user in USERS)
        node.stop()
        node.start()
        assert node.status()["checkpoint_seq"] >= node.status()["seq"] - 1
        for user in USERS:
            had = clients[user].stream
            probe = Client(node.port, user, seq=0)
            next_seq = LoginAccepted.read(probe.answer[1]).next_seq
            probe.log_out()
            again = Client(node.port, user, seq=1)
            assert again.take(next_seq - 1) == had, "every answer was sent before the end, and is the same"
            assert len(messages(had)) > 100
            again.log_out()
    finally:
        node.stop()
