"""Market data of a node whose first slices are in an archive: every reader goes on from its image, and says what it
lacks where it has none."""

import json
import random
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Lockstep
from tests.nats_server import NatsServer
from tests.ouch_messages import enter
from tests.running import Client, Running, started, until
from tests.test_feed_process import free_group, trade
from tests.test_node_programs import processes

for package in ("starlette", "uvicorn", "websockets", "httptools", "nats"):
    pytest.importorskip(package, reason="pip install 'lockstep[web,nats]'")

if shutil.which("nats-server") is None:
    pytest.skip("nats-server is not installed", allow_module_level=True)

READERS = ("feed", "fix-data", "nats", "web")


class Archiving:
    """A node with all readers of market data, and the commands that put its past away."""

    def __init__(self, folder: Path, lockstep: Lockstep) -> None:
        self.server = NatsServer(folder)
        self.server.start()
        group, port = free_group()
        self._lockstep, self.archive = lockstep, folder / "archive"
        readers = ("--feed", f"itch:{group}:{port},name=feed", "--fix-data", "127.0.0.1:0", "--web", "127.0.0.1:0")
        self.node: Running = started(folder, *readers, "--nats", self.server.url)

    def does(self, *words: object) -> tuple[int, str]:
        """Exit status of a command on the directory, and all that it said."""
        status, out, error = self._lockstep(*words, self.node.data)
        return status, " ".join((out + error).split())

    def archives(self, *words: str) -> tuple[int, str]:
        return self.does("archive", "--to", self.archive, "--older-than", "0s", *words)

    def rolls(self) -> None:
        """Begin the next slice behind the end of the node, with the events of the one before kept."""
        for words in (("roll",), ("journal", "keep-events")):
            status, said = self.does(*words)
            assert status == 0, said

    def trades(self, name: str, seed: int) -> None:
        """Trade, and wait until all readers serve."""
        client = Client(self.node.port, "UA")
        trade(client, name, 40, random.Random(seed))
        client.socket.sendall(enter(f"{name}LAST", "B", 7, 90_000 + 100 * seed))
        client.log_out()
        until(lambda: all(processes(self.node)[each]["port"] for each in READERS), 300.0, self.node.logged)

    def book(self) -> list[Any]:
        """The orders of the web book once it has the last order, and the best side last."""
        port = processes(self.node)["web"]["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/products/XYZ-USD/book?level=3", timeout=60) as answer:
            found = json.load(answer)
        return [found["bids"], found["asks"]]

    def stop(self) -> None:
        self.node.stop()
        self.server.stop()


@pytest.fixture
def archiving(tmp_path: Path, lockstep: Lockstep) -> Iterator[Archiving]:
    made = Archiving(tmp_path, lockstep)
    yield made
    made.stop()


@pytest.mark.slow
def test_readers_go_on_though_the_first_slice_is_archived_and_a_new_one_says_what_it_lacks(
    archiving: Archiving,
) -> None:
    node = archiving.node
    archiving.trades("A", 1)
    until(lambda: any(order[0] == "9.01" for order in archiving.book()[0]), 60.0)
    before = archiving.book()
    assert node.end(signal.SIGTERM) == 0
    archiving.rolls()
    status, said = archiving.archives()
    assert status == 0, said
    assert not (node.data / "journal").exists()
    node.start()
    archiving.trades("B", 2)
    until(lambda: any(order[0] == "9.02" for order in archiving.book()[0]), 60.0)
    assert [order for order in archiving.book()[0] if order[0] == "9.01"] == [
        order for order in before[0] if order[0] == "9.01"
    ], "an order of the archived slice"
    assert all(processes(node)[each]["restarts"] == 0 for each in READERS), node.logged()
    # Killed in the middle, each goes on from an image, and the rest of the slice that is open.
    assert node.end(signal.SIGKILL) != 0
    node.start()
    archiving.trades("C", 3)
    assert all(processes(node)[each]["restarts"] == 0 for each in READERS), node.logged()
    assert node.end(signal.SIGTERM) == 0
    for image in ("feeds/feed", "fix-data", "nats", "web"):
        (node.data / image / "streams.image").unlink()
    node.start()
    until(lambda: node.logged().count("command 1 is needed, and slice 1 of the journal was archived") >= 4, 120.0)
    assert node.status()["seq"] > 0


@pytest.mark.slow
def test_a_slice_stays_beside_a_running_node_whose_readers_need_it_and_goes_behind_its_end(
    archiving: Archiving,
) -> None:
    node = archiving.node
    archiving.trades("A", 1)
    assert archiving.does("admin", "roll")[0] == 0
    until((node.data / "slices" / "000002").exists)
    status, said = archiving.archives("--without-events")
    assert status == 2
    assert f"slice 1 of {node.data} is needed by the feed feed" in said
    assert (node.data / "journal").exists()
    assert node.end(signal.SIGKILL) != 0  # no image is of the end
    status, said = archiving.archives("--without-events")
    assert status == 0, said
    node.start()
    archiving.trades("B", 2)
    until(lambda: any(order[0] == "9.02" for order in archiving.book()[0]), 60.0)
    assert all(processes(node)[each]["restarts"] == 0 for each in READERS), node.logged()
