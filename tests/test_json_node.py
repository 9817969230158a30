"""JSON of a running node: the first line of serve, status, sessions, samples, answers to commands."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.running import Client, Running, started


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = started(tmp_path_factory.mktemp("json"))
    yield running
    running.stop()


def test_the_first_line_of_serve_is_as_its_schema_says(tmp_path: Path) -> None:
    running = Running(tmp_path / "node")
    running.spawn()
    assert running.process is not None
    assert running.process.stdout is not None
    (told,) = checked(["serve"], running.process.stdout.readline())
    running.stop()
    assert told["listening"]["data"] == str(tmp_path / "node")


def test_status_sessions_and_samples_of_a_node_have_constant_keys(node: Running, lockstep: Lockstep) -> None:
    client = Client(node.port, "UA")
    (status,) = checked(["admin", "status"], lockstep("admin", "status", node.data, "--json")[1])
    assert status["clock"].endswith("Z")
    (info,) = checked(["journal", "info"], lockstep("journal", "info", node.data, "--json")[1])
    assert (status["journal_id"], info["has_own_id"]) == (info["journal_id"], True)
    assert status["journal_id"] in lockstep("admin", "status", node.data)[1]
    (sessions,) = checked(["admin", "sessions"], lockstep("admin", "sessions", node.data, "--json")[1])
    assert [each["user"] for each in sessions["sessions"]] == ["UA"]
    (sample,) = checked(["top"], lockstep("top", node.data, "--seconds", 0, "--json")[1])
    assert list(sample["status"]) == list(status)
    client.log_out()
    zeros = [line for line in lockstep("admin", "status", node.data)[1].splitlines() if "rejected_" in line]
    assert zeros == []


def test_events_that_the_operator_is_shown_are_those_that_the_journal_gives(node: Running, lockstep: Lockstep) -> None:
    lines = ("enter ALPHA a1 sell 10 XYZ @ 10.00", "enter BETA b1 buy 4 XYZ @ 10.00", "cancel BETA none")
    status, said, _ = lockstep("admin", "do", node.data, *lines, "--json")
    (told,) = checked(["admin", "do"], said)
    assert (status, told["commands"], told["rejected"], told["left_out"]) == (1, 3, 1, 0)
    kinds = [event["kind"] for event in told["events"]]
    assert kinds == ["accepted", "accepted", "trade", "cancel_rejected"]
    printed = [json.loads(line) for line in lockstep("events", node.data, "--json")[1].splitlines()]
    assert told["events"] == printed[-4:]


@pytest.mark.slow
def test_the_end_of_a_node_is_told(node: Running, lockstep: Lockstep) -> None:
    assert checked(["admin", "drain"], lockstep("admin", "drain", node.data, "--json")[1]) == [{"done": "drain"}]
    assert checked(["admin", "shutdown"], lockstep("admin", "shutdown", node.data, "--json")[1]) == [
        {"done": "shutdown"}
    ]
