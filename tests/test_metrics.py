"""Promises to monitors: metrics that Prometheus can read, health, readiness, and notifications to systemd."""

import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.core import stages
from node.core.stages import STAGES
from node.notify import Notifier
from node.operator.admin import AdminError
from node.operator.capacity import ROOMS
from node.operator.metrics import COUNTERS, GAUGES, Metrics, metrics_server
from node.operator.responder import PEER_CONNECTIONS_MAX, HttpServer, Response
from tests.operated import MARKET, FakeNode, Operated, paired

ROOT = Path(__file__).parent.parent


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    """A node that is watched, with a market in it."""
    with Operated(tmp_path) as running:
        with running.peer() as peer:
            assert peer.ask({"do": "commands", "text": MARKET + "\nenter GHOST g1 buy 1 XYZ @ 1"})["ok"] is True
        yield running


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, str]:
    """(status, content type, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, its labels as name=value) to value."""
    return {
        (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# Metrics.


def test_the_metrics_of_a_node_are_what_it_says_of_itself(operated: Operated) -> None:
    status, kind, text = get(operated.monitor.port, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    found = samples(text)
    told = operated.node.status()
    for key, name, _text in COUNTERS:
        if key in told:
            assert found[f"{name}_total", ""] == told[key]
    for key, name, _text, unit in GAUGES:
        if key in told:
            assert found[name, ""] == pytest.approx(float(told[key]) * unit, rel=1e-9, abs=5)
    assert found["lockstep_orders_total", ""] == 4
    assert found["lockstep_order_rate", ""] == 12.5
    assert found["lockstep_clock_offset_seconds", ""] == pytest.approx(-1.5e-6)
    assert found["lockstep_journal_lag_commands", ""] == 0
    assert found["lockstep_rejected_total", "reason=unknown_participant"] == 1
    assert found["lockstep_instruments", "phase=continuous"] == 1
    assert found["lockstep_ready", ""] == 1
    assert found["lockstep_node_info", f"data=/srv/node1,durability=fsync,journal_id={'0f' * 16},room=open"] == 1


def test_a_stage_s_histogram_counts_each_value_in_every_bucket_that_it_fits() -> None:
    node = FakeNode()
    values = [0, 1, 255, 256, 257, 1_000, 65_535, 65_536, 10**6, 10**9, 60 * 10**9]
    for value in values:
        node.stages.add(stages.ANSWER, value)
    found = samples(Metrics(node).text().decode())
    for (name, labels), count in found.items():
        if name == "lockstep_stage_seconds_bucket" and labels.endswith("stage=answer"):
            end = labels.split(",")[0].removeprefix("le=")
            # A value that is the bucket's end counts to the next: 1 ns in the width of a bucket.
            assert count == sum(end == "+Inf" or value < float(end) * 1e9 for value in values), labels
    assert found["lockstep_stage_seconds_count", "stage=answer"] == len(values)
    assert found["lockstep_stage_seconds_sum", "stage=answer"] == pytest.approx(sum(values) / 1e9)
    assert {labels for name, labels in found if name.endswith("_count")} == {f"stage={name}" for name in STAGES}


def test_a_key_that_a_node_does_not_tell_is_left_out_and_breaks_nothing() -> None:
    node = FakeNode()
    node.status = lambda: {"seq": 5, "room": "disk", "orders": "many"}  # type: ignore[method-assign]
    found = samples(Metrics(node).text().decode())
    assert found["lockstep_seq", ""] == 5
    assert found["lockstep_room_open", ""] == 0
    assert not any(name == "lockstep_orders_total" for name, _ in found)


def test_labels_with_any_characters_are_read_back_as_they_are() -> None:
    node = FakeNode()
    original = node.status
    node.status = lambda: original() | {"data": 'a"b\\c\nd'}  # type: ignore[method-assign]
    assert any('data=a"b\\c\nd' in labels for _, labels in samples(Metrics(node).text().decode()))


def test_making_the_metrics_asks_the_node_once_and_counts_no_order_by_itself() -> None:
    node = FakeNode()
    asked: list[str] = []
    status = node.status
    node.status = lambda: (asked.append("status"), status())[1]  # type: ignore[method-assign]
    for values in (0, 1_000_000):
        node.stages.add(0, 1_000, values)  # so many orders more
        asked.clear()
        lines = len(Metrics(node).text().splitlines())
        assert (asked, lines < 1_000) == (["status"], True)


def test_every_metric_that_an_alert_names_is_one_that_a_node_has() -> None:
    node = FakeNode()
    full = {key: 1 for key, *_ in (*COUNTERS, *GAUGES)} | {"rejected_killed": 1, "phase_closed": 1}
    full |= {key: 1 for pair in ROOMS.values() for key in pair}
    node.status = lambda: dict(full)  # type: ignore[method-assign]
    node.pair = paired()
    known = {name for name, _ in samples(Metrics(node).text().decode())}
    alerts = (ROOT / "examples" / "alerts.yml").read_text()
    named = set(re.findall(r"\blockstep_[a-z_]+", " ".join(re.findall(r"expr: (.*)", alerts))))
    assert len(named) > 20
    watched = {"durable_lag_seconds", "clock_error_max_seconds", "clock_synchronized", "clock_refused_seconds"}
    watched |= {"clock_jumps_total", "failed_logins_total", "refused_connections_total", "slow_readers_total"}
    watched |= {"lost_log_lines_total", "failed_checkpoints_total"}
    assert {f"lockstep_{name}" for name in watched} <= named
    assert not any("offset" in name for name in named), "a clock that nobody keeps has an offset of 0"
    assert "lockstep_build_info" in known
    assert named <= known
    assert "lockstep_no_such_thing" not in known
    rules = alerts.split("- alert: ")[1:]
    assert all(re.search(r"severity: (warning|critical)}", rule) and "summary: " in rule for rule in rules)


# Health.


def test_a_node_that_takes_orders_is_healthy_and_ready_and_one_that_does_not_says_why(operated: Operated) -> None:
    def told(path: str) -> tuple[int, dict[str, Any]]:
        status, kind, body = get(operated.monitor.port, path)
        assert kind == "application/json"
        return status, json.loads(body)

    assert told("/healthz") == (200, {"healthy": True, "reasons": []})
    assert told("/readyz") == (200, {"ready": True, "reasons": [], "warnings": []})
    operated.node.clock_refused = True
    assert told("/readyz") == (200, {"ready": True, "reasons": [], "warnings": ["the clock is refused"]})
    operated.node.clock_refused = False
    operated.node.draining = True
    assert told("/healthz") == (200, {"healthy": True, "reasons": []})
    assert told("/readyz") == (503, {"ready": False, "reasons": ["the node is draining"], "warnings": []})
    operated.node.unhealthy_because = ["the journal has failed"]
    assert told("/healthz") == (503, {"healthy": False, "reasons": ["the journal has failed"]})
    both = ["the journal has failed", "the node is draining"]
    assert told("/readyz") == (503, {"ready": False, "reasons": both, "warnings": []})


# What comes in that is no request of a monitor.


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /metrics?name[]=up HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET http://127.0.0.1/metrics HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xff\xfe\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_a_request_gets_the_status_that_it_deserves_and_the_connection_ends(
    raw: bytes, status: int, operated: Operated
) -> None:
    for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))] if len(raw) < 100 else [raw]):
        with socket.create_connection(("127.0.0.1", operated.monitor.port), timeout=120) as peer:
            for piece in pieces:
                peer.sendall(piece)
            answer = b""
            while more := peer.recv(65_536):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode("ascii").split("\r\n")
        assert lines[0].startswith(f"HTTP/1.1 {status} ")
        assert f"Content-Length: {len(body)}" in lines
        assert "Connection: close" in lines


@pytest.mark.slow
def test_a_request_that_has_no_end_is_ended(operated: Operated) -> None:
    operated.monitor._head_s = 0.2
    for raw in (b"", b"GET /metrics HTTP/1.1\r\n"):
        with socket.create_connection(("127.0.0.1", operated.monitor.port), timeout=120) as peer:
            peer.sendall(raw)
            assert peer.recv(65_536).startswith(b"HTTP/1.1 408 ")
    with socket.create_connection(("127.0.0.1", operated.monitor.port), timeout=120) as peer:
        peer.sendall(b"GET /metrics HTTP/1.1\r\n")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(65_536).startswith(b"HTTP/1.1 400 ")


def test_connections_that_ask_nothing_keep_no_monitor_out(operated: Operated) -> None:
    silent = [
        socket.create_connection(("127.0.0.1", operated.monitor.port), timeout=120)
        for _ in range(2 * PEER_CONNECTIONS_MAX)
    ]
    for _ in range(3):
        assert get(operated.monitor.port, "/healthz")[0] == 200
    assert silent[0].recv(1) == b"", "the oldest were ended to make room"
    for peer in silent:
        peer.close()


def test_a_page_that_fails_is_told_as_a_fault_of_the_node_and_the_next_request_is_answered(operated: Operated) -> None:
    operated.node.status = lambda: 1 // 0  # type: ignore[method-assign,assign,return-value]
    assert get(operated.monitor.port, "/metrics")[::2] == (500, "the page failed: ZeroDivisionError\n")
    assert get(operated.monitor.port, "/healthz")[0] == 200


def test_monitors_are_served_on_the_loopback_interface_only() -> None:
    node = FakeNode()
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(AdminError, match="which others can reach"):
            metrics_server(node, Metrics(node), host=host)
    pages: dict[str, Any] = {"/": lambda: Response}
    assert HttpServer(pages, host="::1").port == 0


# systemd.


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_by_datagrams_to_its_socket(abstract: bool, tmp_path: Path) -> None:
    name = f"@lockstep-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if abstract else name)
        listener.settimeout(5)
        told = Notifier({"NOTIFY_SOCKET": name})
        assert told.ready("takes orders")
        assert told.watchdog()
        assert told.status("seq 5\nREADY=1")
        assert told.stopping()
        assert [listener.recv(1_024) for _ in range(4)] == [
            b"READY=1\nSTATUS=takes orders",
            b"WATCHDOG=1",
            b"STATUS=seq 5 READY=1",
            b"STOPPING=1",
        ]


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/notify", "/" + "x" * 500, "@" + "x" * 500])
def test_without_somebody_who_listens_nothing_is_told_and_nothing_fails(name: str) -> None:
    assert not Notifier({"NOTIFY_SOCKET": name}).ready("x")
    assert not Notifier({}).ready()


def test_a_supervisor_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        told = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert not all(told.watchdog("x" * 400) for _ in range(5_000))


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time_and_only_when_it_watches_this_process(
    environment: dict[str, str], every_s: float | None
) -> None:
    assert Notifier(environment).watchdog_s == every_s


def test_the_unit_that_is_given_as_an_example_waits_for_the_node_and_watches_it() -> None:
    unit = (ROOT / "examples" / "lockstep.service").read_text()
    assert {"Type=notify", "WatchdogSec=10s", "RestartPreventExitStatus=2"} <= set(unit.splitlines())
