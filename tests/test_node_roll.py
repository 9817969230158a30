"""A running node begins a slice of its journal and no client notices: by hand, at a size, at the close of the day."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from engine.records import EventKind, Phase
from journal import Journal, slices
from journal.event_rows import EventRowsWriter
from journal.slices import START_IMAGE
from node.core.event_keeper import EventKeeper
from node.core.roll_policy import RollPolicy
from replay.rebuild import rebuild
from tests.nodes import write_slices
from tests.ouch_messages import cancel, enter
from tests.running import Client, Running, kinds, until
from tests.slice_works import Told, working
from tests.streams import random_stream
from tests.test_supervisor import until as soon


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "node", "--roll-daily")
    running.start()
    running.set_up()
    yield running
    running.stop()


def numbers(node: Running) -> list[int]:
    return [place.number for place in slices.places(node.data)]


@pytest.mark.slow
def test_a_client_that_never_stops_sending_sees_nothing_of_a_roll(node: Running) -> None:
    client = Client(node.port, "UA")
    rolled: list[dict[str, Any]] = []

    def roll() -> None:
        for _ in range(3):
            with node.link() as link:
                rolled.append(link.ask("roll")["roll"])

    operator = threading.Thread(target=roll)
    sent = 0
    while sent < 5 or operator.is_alive():
        client.socket.sendall(enter(f"o{sent}", "B", 10, 90_000) + cancel(f"o{sent}"))
        sent += 1
        client.take(1 + 2 * sent)
        if sent == 5:
            operator.start()
    assert [each["slice"] for each in rolled] == [2, 3, 4]
    assert numbers(node) == [1, 2, 3, 4]
    assert rolled[0]["seq"] < rolled[1]["seq"] < rolled[2]["seq"]
    answers = kinds(client.stream)
    assert answers[1:] == ["ACCEPTED", "CANCELED"] * sent
    for each in rolled:
        path = Path(each["path"]) / START_IMAGE
        assert path.stat().st_size == each["size_bytes"]
    before = client.stream
    node.end(signal.SIGKILL)
    node.start()
    again = Client(node.port, "UA", seq=1)
    assert again.take(len(answers)) == before
    assert rebuild(node.data, use_checkpoints=False).engine.event_digest.hex() == node.status()["event_digest"]


@pytest.mark.slow
def test_a_kill_right_behind_a_roll_leaves_a_slice_without_its_image_and_the_start_writes_it(node: Running) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(b"".join(enter(f"o{number}", "B", 10, 90_000) for number in range(30)))
    client.take(31)
    with node.link() as link:
        place = link.ask("roll")["roll"]["path"]
    client.socket.sendall(enter("after", "B", 10, 90_000))
    before = client.take(32)
    node.end(signal.SIGKILL)
    image = Path(place) / START_IMAGE
    image.unlink()
    node.start()
    assert "it was written again out of slice 1" in node.logged()
    assert image.exists()
    assert "a checkpoint with streams was taken at command" in node.logged()
    assert Client(node.port, "UA", seq=1).take(32) == before
    node.end(signal.SIGKILL)
    begun = len(node.logged())
    node.start()
    assert "replayed alone" not in node.logged()[begun:]
    assert Client(node.port, "UA", seq=1).take(32) == before


@pytest.mark.slow
def test_a_slice_begins_once_the_market_has_closed(node: Running) -> None:
    client = Client(node.port, "UA")
    client.socket.sendall(enter("o1", "B", 10, 90_000))
    client.take(2)
    assert numbers(node) == [1]
    with node.link() as link:
        link.ask("commands", text="phase * closed")
    until(lambda: len(slices.places(node.data)) == 2, 120, "no slice was begun at the close")
    with node.link() as link:
        link.ask("commands", text="phase * continuous")
    client.socket.sendall(enter("o2", "B", 10, 90_000))
    client.take(2)
    assert numbers(node) == [1, 2]
    logged = [json.loads(line) for line in node.logged().splitlines() if '"new slice"' in line]
    assert [each["number"] for each in logged] == [2]
    kept = slices.places(node.data)[0].events
    until(kept.exists, 120, "the events of slice 1 are not kept")
    until(lambda: '"events kept"' in node.logged(), 120, "the log does not say that events are kept")


def policy(bytes_max: int | None, daily: bool, *, last_seq: int = 10) -> tuple[RollPolicy, Any, Any, Any]:
    journal = SimpleNamespace(
        last_seq=last_seq, start_seq=0, place=SimpleNamespace(number=1), size=0, room=lambda: (journal.size, 1 << 40)
    )
    engine = SimpleNamespace(phases=[Phase.CLOSED], instruments=lambda: {"phase": np.array(engine.phases)})
    tallies = np.zeros((2, 256), np.int64)
    streams = SimpleNamespace(tallies=tallies)
    when = RollPolicy(cast(Journal, journal), cast(Any, engine), cast(Any, streams), bytes_max, daily)
    return when, journal, engine, tallies


def test_a_slice_is_due_at_its_size_and_never_without_commands() -> None:
    when, journal, _, _ = policy(1_000, False)
    assert not when.is_due()
    journal.size = 1_000
    assert when.is_due()
    journal.start_seq = journal.last_seq
    assert not when.is_due()
    assert not policy(None, False)[0].is_due()


def test_a_slice_is_due_once_a_day_when_all_is_closed() -> None:
    when, journal, engine, tallies = policy(None, True, last_seq=0)
    journal.last_seq = 5
    assert not when.is_due(), "there was no order yet"
    tallies[0, EventKind.ACCEPTED] = 3
    engine.phases = [Phase.CLOSED, Phase.CONTINUOUS]
    assert not when.is_due()
    engine.phases = [Phase.CLOSED, Phase.CLOSED]
    assert when.is_due()
    journal.place, journal.start_seq, journal.last_seq = SimpleNamespace(number=2), 5, 9
    assert not when.is_due(), "operators' commands on a closed market"
    engine.phases = []
    assert not when.is_due()


def test_a_node_that_starts_into_a_slice_with_commands_rolls_at_the_close() -> None:
    assert policy(None, True)[0].is_due()


@pytest.mark.slow
def test_a_keeper_of_events_works_on_the_directory_of_the_node_and_tells_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_slices(Path("node"), random_stream(5, 600), [300])

    async def story(made: Callable[[], EventKeeper], told: Told) -> None:
        keeper = made()
        await soon(lambda: keeper.look() or told, "nothing came of it")
        assert told == [("events kept", {"slice": 1})]
        assert slices.places(Path("node"))[0].events.exists()
        slices.places(Path("node"))[0].events.unlink()
        other = made()
        monkeypatch.setattr("node.core.event_keeper._PROGRAM", "directory.no_such_program")
        await soon(lambda: other.look() or len(told) > 1, "nothing came of it")
        assert told[1][0] == "events not kept"
        assert "No module named directory.no_such_program" in told[1][1]["why"]
        for _ in range(3):
            other.look()
        assert len(told) == 2, "once a slice"

    working(Path("node"), EventKeeper, story)


@pytest.mark.slow
def test_events_that_somebody_else_keeps_are_no_failure(tmp_path: Path) -> None:
    write_slices(tmp_path, random_stream(5, 600), [300])

    async def story(made: Callable[[], EventKeeper], told: Told) -> None:
        other = EventRowsWriter(slices.places(tmp_path)[0].events, bytes(16), 64, {})
        keeper = made()
        keeper.look()
        await soon(lambda: not keeper.is_busy, "the child does not end")
        assert told == []
        other.close()
        await soon(lambda: keeper.look() or told, "nothing came of it")
        assert [what for what, _ in told] == ["events kept"]

    working(tmp_path, EventKeeper, story)


_PARENT = """
import os, sys, time
from replay.forking import end_with_parent
mine = os.getpid()
if os.fork() == 0:
    end_with_parent(mine)
    os.write(1, b"begun")
time.sleep(600)
"""


def test_a_child_ends_with_its_parent_by_whatever_cause_that_ends() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.read(5) == b"begun"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert parent.stdout.read() == b"", "the pipe closes once the child has ended too"
    parent.stdout.close()
