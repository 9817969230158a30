"""Programs of a node in processes of their own (`lockstep serve --gateway`), with small programs in their place."""

import json
import os
import pty
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from cli.main import run_line
from node.gateways.process import GatewayOptions
from node.gateways.programs import command, gateway_options
from node.node import NodeOptions
from node.programs.pinning import pins
from replay.forking import PROCESSORS
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.ouch_messages import enter
from tests.running import ROOT, SMALL, SMALL_CAPACITY, Client, Running, started, until
from tests.test_supervisor import exists

GATEWAYS = ("--gateway", "first=ouch:0", "--gateway", "second=ouch:0")
KILLS = 20


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, *GATEWAYS, faults="small-programs")
    yield running
    running.stop()


def processes(running: Running) -> dict[str, dict[str, Any]]:
    """Processes of a node by name."""
    with running.link() as link:
        return {each["process"]: each for each in link.ask("workings")["workings"]["processes"]}


def others(running: Running) -> list[int]:
    """Numbers of its processes but for the core, once all have reported."""
    until(lambda: all(each["port"] for name, each in processes(running).items() if name != "core"))
    return [each["pid"] for name, each in processes(running).items() if name != "core"]


def logged(running: Running, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in running.logged().splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


@pytest.mark.slow
def test_a_program_that_is_killed_20_times_comes_back_and_the_market_does_not_notice(node: Running) -> None:
    others(node)
    client = Client(node.port, "UA")
    dice, orders, seen = random.Random(5), 0, set[int]()
    second = processes(node)["second"]["pid"]
    for kills in range(KILLS):
        until(lambda: processes(node)["first"]["pid"] not in {None, *seen})
        pid = processes(node)["first"]["pid"]
        seen.add(pid)
        time.sleep(dice.random() / 50)
        os.kill(pid, signal.SIGKILL)
        for _ in range(5):
            orders += 1
            client.socket.sendall(enter(f"A{orders}", "B", 1, 99_000))
            client.take(orders)
        until(lambda kills=kills: processes(node)["first"]["restarts"] > kills)
    told = processes(node)
    assert told["first"]["restarts"] == KILLS
    assert (told["second"]["pid"], told["second"]["restarts"], told["core"]["restarts"]) == (second, 0, 0)
    assert node.process is not None
    assert told["core"]["pid"] == node.process.pid
    client.log_out()
    assert node.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_a_program_that_cannot_start_is_said_once_and_orders_are_taken(tmp_path: Path) -> None:
    running = started(tmp_path, "--gateway", "first=ouch:0", faults="broken-programs")
    try:
        until(lambda: processes(running)["first"]["restarts"] >= 3)
        status = running.status()
        assert status["state"] == "open"
        assert (
            "the program first has ended and is started again: it ended with status 1: no port is free"
            in (status["warning"])
        )
        client = Client(running.port, "UA")
        client.socket.sendall(enter("A1", "B", 1, 99_000))
        client.take(1)
        [said] = logged(running, "a program ended")
        assert (said["process"], said["why"]) == ("first", "it ended with status 1: no port is free")
        assert said["then"] == "it is started again; its clients are not served until then"
    finally:
        running.stop()


@pytest.mark.slow
def test_no_program_is_left_when_the_core_is_killed(node: Running) -> None:
    pids = others(node)
    assert len(pids) == 2
    assert all(map(exists, pids))
    node.end(signal.SIGKILL)
    until(lambda: not any(map(exists, pids)), what="programs outlive the core")


@pytest.mark.slow
def test_programs_end_in_order_when_the_node_is_shut_down(node: Running) -> None:
    pids = others(node)
    assert node.end(signal.SIGINT) == 0
    assert not any(map(exists, pids))
    assert logged(node, "a program ended") == []
    assert logged(node, "a program did not end in time and was killed") == []


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_ends_core_and_programs_in_order(tmp_path: Path) -> None:
    words = ["--data", str(tmp_path / "node"), "--port", "0", *SMALL, *SMALL_CAPACITY, *GATEWAYS]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ.update(TERM="xterm", COLUMNS="120", LINES="24")
        os.execv(sys.executable, [sys.executable, "-m", "tests.faulty_node", "small-programs", "serve", *words])
    seen, programs, pressed = b"", [], False
    running = Running(tmp_path / "node")
    while True:
        try:
            piece = os.read(terminal, 4_096)
        except OSError:
            break
        seen += piece
        if b"listening on" in seen and not pressed:
            programs = others(running)
            os.write(terminal, b"\x03")
            pressed = True
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen.decode()
    assert len(programs) == 2
    assert not any(map(exists, programs))
    assert b"Traceback" not in seen
    assert b"a program ended" not in seen


@pytest.mark.slow
def test_status_top_and_metrics_name_the_processes_of_a_node(node: Running, lockstep: Lockstep) -> None:
    second = others(node)[1]
    (status,) = checked(["status"], lockstep("status", node.data, "--json")[1])
    assert [each["process"] for each in status["processes"]] == ["core", "first", "second"]
    assert f"process second pid {second}, running" in " ".join(lockstep("status", node.data)[1].split())
    (sample,) = checked(["top"], lockstep("top", node.data, "--once", "--json")[1])
    works = sample["workings"]
    assert {each["agent"] for each in works["agents"]} == {"orders", "beat", "second", "timekeeping"}
    assert works["tape"]["applied_seq"] == sample["status"]["seq"]
    with node.link() as link:
        text = link.ask("metrics")["metrics"]
    assert 'lockstep_process_up{process="second"} 1.0' in text
    assert 'lockstep_orders_total{process="second"} 5.0' in text
    assert 'lockstep_agent_work_total{agent="beat",process="core"}' in text


@pytest.mark.slow
@pytest.mark.skipif(len(PROCESSORS) < 2, reason="one processor")
def test_pinned_programs_stay_on_their_processor_and_nothing_else_does(tmp_path: Path) -> None:
    first, last = min(PROCESSORS), max(PROCESSORS)
    pinned = f"core={first},second={last}"
    running = started(tmp_path, *GATEWAYS, "--pin", pinned, faults="small-programs")
    try:
        others(running)
        assert running.process is not None
        told, core = processes(running), running.process.pid
        assert os.sched_getaffinity(core) == {first}
        assert os.sched_getaffinity(told["second"]["pid"]) == {last}
        assert os.sched_getaffinity(told["first"]["pid"]) == PROCESSORS
        threads = [int(each) for each in os.listdir(f"/proc/{core}/task") if int(each) != core]
        assert threads
        until(lambda: all(os.sched_getaffinity(each) == PROCESSORS for each in threads))
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--gateway", "ouch"), "'ouch' is no gateway; give PROTOCOL:PORT or NAME=PROTOCOL:PORT"),
        (("--gateway", "ouch:70000"), "the port of 'ouch:70000' is above 65,535"),
        (("--gateway", "soup:9541"), "there is no protocol soup for 'soup:9541'; there are fix, fixdrop, native, ouch"),
        (("--gateway", "core=ouch:1"), "a process of the node has the name core; give the gateway another"),
        (("--gateway", "history=ouch:1"), "a process of the node has the name history; give the gateway another"),
        (("--gateway", "ouch:1", "--gateway", "b=ouch:1"), "two gateways have the port 1; give each its own"),
        (("--gateway", "ouch:1", "--tape-mb", "0"), "a gateway in a process of its own reads the tape"),
        (("--threads", "dedicated", "--tape-mb", "0"), "a gateway in a process of its own reads the tape"),
        (("--threads", "dedicated", "--gateway", "ouch=ouch:1"), "ouch is the gateway of --port"),
        (("--pin", "ouch=0"), "there is no program ouch to bind; there are core"),
        (("--pin", "core"), "'core' binds nothing; give NAME=CPU, such as core=0"),
        (("--pin", "fix=0"), "there is no program fix to bind; there are core"),
        (("--pin", "core=9999"), "there is no processor 9999 for core"),
        (("--pin", "core=0,core=0"), "core is bound twice"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(
    words: tuple[str, ...], sentence: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    status, _, complaint = lockstep("serve", "--data", tmp_path / "new", *words)
    assert (status, sentence in complaint) == (2, True), complaint
    assert not (tmp_path / "new").exists()


def test_a_port_of_a_gateway_in_use_is_said_at_the_start(tmp_path: Path, lockstep: Lockstep) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--port", "0", *SMALL, *SMALL_CAPACITY, "--gateway", f"ouch:{port}")
        status, _, complaint = lockstep("serve", "--data", tmp_path / "new", *words)
    assert status == 75
    assert f"port {port} of --gateway is in use" in complaint


def test_the_port_for_snapshots_of_a_feed_in_use_is_said_by_its_number(tmp_path: Path, lockstep: Lockstep) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("--port", "0", *SMALL, *SMALL_CAPACITY)
        feed = f"itch:239.192.0.1:26400,requests=1,snapshots={port}"
        status, _, complaint = lockstep("serve", "--data", tmp_path / "new", *words, "--feed", feed)
    assert (status, f"port {port} of --feed is in use" in complaint) == (75, True), complaint


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--host", "192.0.2.1"), "--host"),
        (("--web", "192.0.2.1:8080"), "--web"),
        (("--fix-data", "nowhere.invalid:9300"), "--fix-data"),
        (("--feed", "itch:239.192.0.1:26400,interface=192.0.2.1"), "--feed"),
        (("--nats", "nats://127.0.0.1:4222,requests=192.0.2.1:26500"), "--nats"),
    ],
)
def test_what_is_no_address_of_this_machine_is_said_before_anything_is_made(
    words: tuple[str, ...], option: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    status, _, complaint = lockstep("serve", "--data", tmp_path / "new", "--port", "0", *words)
    assert (status, f" of {option} is no address of this machine; give one" in complaint) == (2, True), complaint
    assert not (tmp_path / "new").exists()


def test_the_port_for_web_clients_may_stand_alone(tmp_path: Path, lockstep: Lockstep) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--web", "--web-port"):
            status, _, complaint = lockstep("serve", "--data", tmp_path / "new", "--port", "0", option, str(port))
            assert (status, f"port {port} of --web is in use" in complaint) == (75, True), complaint
    for wrong in (":8080", "70000", "web"):
        status, _, complaint = lockstep("serve", "--data", tmp_path / "new", "--web-port", wrong)
        assert (status, "give HOST:PORT" in complaint) == (2, True), complaint


def test_names_and_processors_are_read() -> None:
    assert [each.name for each in gateway_options(["ouch:0", "b=ouch:0"])] == ["ouch-0", "b"]
    assert pins("") == {}
    assert [each.when_full for each in gateway_options(["ouch:0,when-full=refuse", "b=ouch:1"])] == ["refuse", "wait"]


def test_a_gateway_has_every_option_of_its_node_that_is_one_of_gateways_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def gateway(directory: Path, name: str, protocol: str, **options: Any) -> int:
        of_connections = ("connections_max", "connections_per_address_max", "waiting_per_address_max")
        given.update(options, data=directory, name=name, protocol=protocol)
        given.update(zip(of_connections, options["bounds"], strict=True))
        return 0

    monkeypatch.setattr("cli.servers.gateway.gateway", gateway)
    bounds = {"connections_max": 7, "connections_per_address_max": 3, "waiting_per_address_max": 2, "past_days": 1}
    for node in (NodeOptions(tmp_path), replace(NodeOptions(tmp_path, "127.0.0.2"), **bounds)):
        for option in gateway_options(["desk=ouch:0,when-full=refuse", "ouch:0"]):
            python, dash_m, main, *words = command(option, node, 9)
            assert (python, dash_m, main) == (sys.executable, "-m", "cli.main")
            assert run_line(words) == 0
            assert (given["name"], given["when_full"], given["fd"]) == (option.name, option.when_full, 9)
            shared = {each.name for each in fields(GatewayOptions)} & {each.name for each in fields(NodeOptions)}
            assert shared - {"port"} == {"data", "host", "tls", *bounds}
            assert {name: given[name] for name in shared - {"port"}} == {
                name: getattr(node, name) for name in shared - {"port"}
            }
