"""Gateways that a node supervises (`lockstep serve --gateway`, `--threads dedicated`): real ones, with clients."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.latency_log import Latencies
from journal import Journal
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.ouch_messages import cancel, enter, messages
from tests.running import Client, Running, started, until
from tests.test_node_programs import logged, processes
from wire.soup import PacketType, packet

KILLS = 3


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--gateway", "desk=ouch:0")
    yield running
    running.stop()


def port_of(running: Running, name: str) -> int:
    """Port of a gateway, once its process has said that it listens."""
    until(lambda: processes(running)[name]["port"])
    return int(processes(running)[name]["port"])


def back(port: int, user: str, count: int) -> Client:
    """A client that logs in for all that comes after ``count`` messages, as often as it takes."""
    found: list[Client] = []

    def logs_in() -> bool:
        try:
            client = Client(port, user, seq=count + 1)
        except OSError:
            return False
        if client.answer[0] == PacketType.LOGIN_ACCEPTED:
            found.append(client)
        return bool(found)

    until(logs_in, what="no login")
    return found[0]


@pytest.mark.slow
def test_clients_of_a_gateway_that_is_killed_lose_nothing_and_others_notice_nothing(node: Running) -> None:
    port = port_of(node, "desk")
    other = Client(node.port, "UB")
    desk = Client(port, "UA")
    stream, orders = desk.take(1), 0  # the start of the day
    desk.forget()
    for kills in range(KILLS):
        desk.socket.sendall(enter(f"A{kills}", "B", 1, 99_000))
        stream += desk.take(1)
        pid = processes(node)["desk"]["pid"]
        os.kill(pid, signal.SIGKILL)
        for _ in range(20):
            orders += 1
            other.socket.sendall(enter(f"B{orders}", "S", 1, 101_000))
            other.take(1 + orders)
        desk = back(port, "UA", kills + 2)
        told = processes(node)["desk"]
        assert (told["port"] or port, told["restarts"], told["pid"] == pid) == (port, kills + 1, False)
    whole = back(port, "UA", 0)
    assert whole.take(1 + KILLS) == stream
    assert [kind for kind, _ in messages(stream)] == ["SYSTEM_EVENT"] + ["ACCEPTED"] * KILLS
    node.end(signal.SIGKILL)
    with suppress(ConnectionResetError):
        other.until_end()  # the control: the end of the core is one that its clients do notice


@pytest.mark.slow
def test_clients_of_a_gateway_hear_of_the_end_of_the_node(node: Running) -> None:
    client = Client(port_of(node, "desk"), "UA")
    client.socket.sendall(enter("A1", "B", 1, 99_000))
    client.take(2)
    assert node.end(signal.SIGTERM) == 0
    packets = [kind for kind, _ in client.until_end()]
    assert PacketType.END_OF_SESSION in packets
    assert logged(node, "a program did not end in time and was killed") == []
    assert logged(node, "a program ended") == []
    assert [line["process"] for line in logged(node, "listening") if "process" in line] == ["desk"]


@pytest.mark.slow
def test_the_bounds_of_connections_hold_at_a_gateway_as_at_the_node(tmp_path: Path) -> None:
    running = started(tmp_path, "--gateway", "desk=ouch:0", "--connections-per-address-max", "1")
    try:
        for port, user in ((running.port, "UA"), (port_of(running, "desk"), "UB")):
            first = Client(port, user)
            with socket.create_connection(("127.0.0.1", port)) as second:
                second.settimeout(120)
                with suppress(ConnectionResetError):
                    assert second.recv(100) == b""
            first.log_out()
    finally:
        running.stop()


@pytest.mark.slow
def test_a_gateway_that_is_stopped_is_shown_as_one_that_does_not_answer(node: Running, lockstep: Lockstep) -> None:
    port_of(node, "desk")
    pid = processes(node)["desk"]["pid"]
    assert processes(node)["desk"]["state"] == "running"
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: processes(node)["desk"]["state"] == "not answering")
        assert "the program desk does not answer; its clients are not served meanwhile" in node.status()["warning"]
        (status,) = checked(["status"], lockstep("status", node.data, "--json")[1])
        assert [each["state"] for each in status["processes"]] == ["running", "not answering"]
        assert ", 2 processes, 1 NOT ANSWERING" in lockstep("top", node.data, "--once")[1]
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: processes(node)["desk"]["state"] == "running")
    assert not node.status()["warning"]


@pytest.mark.slow
def test_top_shows_the_ring_of_a_gateway_and_what_it_did(node: Running, lockstep: Lockstep) -> None:
    client = Client(port_of(node, "desk"), "UA")
    client.socket.sendall(enter("A1", "B", 1, 99_000))
    client.take(2)

    def sample() -> dict[str, Any]:
        (found,) = checked(["top"], lockstep("top", node.data, "--once", "--json")[1])
        return dict(found["workings"])

    until(lambda: sample()["processes"][1]["figures"].get("logged_in") == 1)
    found = sample()
    [ring] = found["rings"]
    assert (ring["ring"], ring["waiting_rows"], ring["messages"], ring["refused"]) == ("desk", 0, 1, 0)
    assert ring["waits"] == 0
    assert found["processes"][1]["figures"]["orders"] == 1
    agents = {each["agent"]: each for each in found["agents"] if each["process"] == "desk"}
    assert agents["orders"]["worked"] == 1
    assert agents["streams"]["worked"] > 1
    assert agents["streams"]["busy_s"] > 0
    assert [(each["reader"], each["lag_bytes"]) for each in found["readers"]] == [("desk", 0)]
    with node.link() as link:
        text = link.ask("metrics")["metrics"]
    assert 'lockstep_orders_total{process="desk"} 1.0' in text
    assert 'lockstep_ring_messages_total{process="desk",ring="desk"} 1.0' in text


@pytest.mark.slow
def test_a_reader_of_the_tape_has_the_whole_name_of_its_process(tmp_path: Path) -> None:
    """The tape has room for 8 characters: two gateways of one protocol were both called ouch-910."""
    running = started(tmp_path, "--gateway", "desk-of-paris=ouch:0", "--gateway", "desk-of-rome=ouch:0")
    try:

        def readers() -> list[str]:
            with running.link() as link:
                return sorted(each["reader"] for each in link.ask("workings")["workings"]["readers"])

        until(lambda: len(readers()) == 2)
        assert readers() == ["desk-of-paris", "desk-of-rome"]
    finally:
        running.stop()


def played(folder: Path, *options: str) -> list[Any]:
    """Messages that two clients get of a small day, without times."""
    folder.mkdir()
    running = started(folder, *options)
    try:
        first, second = back(running.port, "UA", 0), back(running.port, "UB", 0)
        heard = [1, 1]  # the start of the day
        script = [
            (0, enter("A1", "B", 100, 99_000), (1, 0)),
            (1, enter("B1", "S", 30, 99_000), (1, 2)),
            (1, enter("B2", "S", 500, 98_000), (1, 2)),
            (1, cancel("B2"), (0, 1)),
        ]
        for who, message, counts in script:
            (first, second)[who].socket.sendall(message)
            for at, (client, count) in enumerate(zip((first, second), counts, strict=True)):
                heard[at] += count
                client.take(heard[at])
        streams = [
            [(kind, _without_time(values)) for kind, values in messages(each.stream)] for each in (first, second)
        ]
        assert running.end(signal.SIGTERM) == 0
        return streams
    finally:
        running.stop()


def _without_time(values: Any) -> Any:
    return {name: value for name, value in dict(values).items() if name != "time_ns"}


@pytest.mark.slow
def test_clients_hear_the_same_from_shared_and_from_dedicated_threads(tmp_path: Path) -> None:
    shared = played(tmp_path / "shared")
    assert shared[0]
    assert shared[1]
    assert played(tmp_path / "dedicated", "--threads", "dedicated", "--busy-poll-us", "0") == shared


@pytest.mark.slow
def test_a_node_whose_directory_is_named_from_its_own_folder_has_all_its_programs(tmp_path: Path) -> None:
    gateways = ("--gateway", "desk=ouch:0", "--gateway", "native=native:0", "--gateway", "fix=fix:0")
    others = ("--web", "127.0.0.1:0", "--feed", "itch:239.255.41.1:26411")
    running = Running(tmp_path / "node", "--data", "node", *gateways, *others, around=("env", "-C", str(tmp_path)))
    running.start()
    try:
        running.set_up()
        for name in ("desk", "native", "fix"):
            assert port_of(running, name), name
        client = Client(port_of(running, "desk"), "UA")
        client.socket.sendall(enter("A1", "B", 1, 99_000))
        client.take(2)
        assert {name: told["restarts"] for name, told in processes(running).items() if told["restarts"]} == {}
    finally:
        running.stop()


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True])
def test_turns_with_a_flood_by_a_gateway_are_short_beside_a_client_of_the_core(node: Running, beside: bool) -> None:
    """The flood waits in the ring while the core stands still."""
    desk = Client(port_of(node, "desk"), "UA")
    others = [Client(node.port, "UB")] if beside else []
    if others:
        until(lambda: node.status()["direct_connections"] == 1)
    assert node.process is not None
    for run in range(3):
        for other in others:  # which would be ended for its silence
            other.socket.sendall(packet(PacketType.CLIENT_HEARTBEAT))
            time.sleep(0.2)  # Python reads it, and the connection is direct again
            until(lambda: node.status()["direct_connections"] == 1)
        os.kill(node.process.pid, signal.SIGSTOP)
        desk.socket.sendall(b"".join(enter(f"{run}F{number}", "B", 1, 10_000) for number in range(1_000)))
        time.sleep(1)
        os.kill(node.process.pid, signal.SIGCONT)
        desk.take(1_000)
    node.end(signal.SIGTERM)
    with Journal.open(node.data, readonly=True) as journal:
        rows = Latencies.read(node.data / "latencies", journal.journal_id).turns["rows"]
    assert rows[rows > 200].sum() > 1_000, "the control: the flood was there"
    assert bool(rows.max() <= 257) is beside, "all of a turn, and a CLOCK row"
