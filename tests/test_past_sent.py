"""Past days again to sockets: by multicast as their feed sent them, and by WebSocket as web clients were told."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from client.book import LevelBook
from client.book_feed import BookFeed
from client.events import Side
from tests.conftest import Lockstep
from tests.feed_receiver import Order, Receiver, bad_network
from tests.json_schemas import checked
from tests.running import ROOT, until
from tests.test_feed_process import free_group
from tests.test_replay_feed import node, sessions
from wire import itch

__all__ = ["node"]

#: A day of two and a quarter seconds, the second half of which is apart from the first.
SECONDS = """at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
at +2s
enter ALPHA a2 sell 100 XYZ @ 10.01
at +250ms
cancel ALPHA a1
"""


class Replay:
    """`lockstep replay` in a process of its own. ``at``: what it has said of its ports; ``told``: at its end."""

    def __init__(self, directory: Path, *words: str) -> None:
        command = [sys.executable, "-m", "cli.main", "replay", str(directory), *words, "--json"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        (said,) = checked(["replay"], line)
        self.at = said["listening"]

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def told(self) -> dict[str, Any]:
        said, complaint = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, complaint
        (found,) = checked(["replay"], said)
        return found

    def stop(self) -> None:
        if not self.is_over:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def group() -> str:
    return ":".join(str(each) for each in free_group())


@contextmanager
def replayed(directory: Path, *words: str) -> Iterator[Replay]:
    made = Replay(directory, *words)
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_receivers_have_every_message_of_every_day_whatever_the_network_loses(
    node: Path, group: str, share: float
) -> None:
    host, port = group.split(":")
    with replayed(node, "--group", group, "--speed", "max") as replay:
        receiver = Receiver(host, int(port), [replay.at["requests"]], spoils=bad_network(3, share))
        expected = {name: [message for _, message in itch.cut(octets)] for name, octets in sessions().items()}
        until(lambda: receiver.pump() or replay.is_over)
        for _ in range(3):
            receiver.pump()
        # What came before it had joined it has asked for, once it heard of the session.
        newest = max(expected)
        assert receiver.order.sessions[newest] == expected[newest]
        assert all(expected[name] == got for name, got in receiver.order.sessions.items() if name in expected and got)
        told = replay.told()
        assert {each["session"]: each["messages"] for each in told["sessions"]} == {
            name: len(messages) for name, messages in expected.items()
        }
        receiver.close()


@pytest.mark.slow
def test_a_receiver_that_asks_for_nothing_lacks_what_the_network_lost(node: Path, group: str) -> None:
    """The control of the test above."""
    host, port = group.split(":")
    with replayed(node, "--group", group, "--speed", "max", "--from", "7") as replay:
        receiver = Receiver(host, int(port), [], spoils=bad_network(3, 0.2))
        receiver.order = Order(asks=False)
        until(lambda: receiver.pump() or replay.is_over)
        expected = {name: [message for _, message in itch.cut(octets)] for name, octets in sessions().items()}
        assert receiver.order.sessions != expected
        receiver.close()


def test_a_book_that_joins_in_the_middle_of_a_day_takes_a_snapshot_and_is_right(node: Path, group: str) -> None:
    with replayed(node, "--group", group, "--speed", "0.05x", "--from", "2024-01-16T08:00:00") as replay:
        addresses = [f"127.0.0.1:{replay.at[name]}" for name in ("requests", "snapshots")]
        with BookFeed(group, requests=addresses[0], snapshots=addresses[1]) as feed:
            until(lambda: feed.pump(0.05) or (feed.is_whole and feed.symbols) or replay.is_over)
            assert feed.is_whole
            offer, bid = (feed.book("XYZ").best(side) for side in (Side.SELL, Side.BUY))
            assert offer is not None
            assert (offer.qty, str(offer.price)) == (50, "10.00")
            assert bid is None


def arrivals(directory: Path, group: str, speed: str) -> list[float]:
    """Times at which packets with messages came."""
    host, port = group.split(":")
    times: list[float] = []
    with replayed(directory, "--group", group, "--speed", speed, "--from", "5") as replay:
        receiver = Receiver(host, int(port), [])
        while not replay.is_over:
            for packet in receiver.packets(0.05):
                if packet[18:20] not in (b"\0\0", b"\xff\xff"):
                    times.append(time.monotonic())
        receiver.close()
    return times


@pytest.mark.slow
def test_what_came_later_comes_as_much_later_times_the_speed(lockstep: Lockstep, tmp_path: Path, group: str) -> None:
    """Between the two is room for a machine on which each packet may be late by more than a second."""
    (tmp_path / "day.txt").write_text(SECONDS)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    half = arrivals(tmp_path / "node", group, "0.5x")
    assert len(half) == 3
    assert half[-1] - half[0] > 3.0
    tenfold = arrivals(tmp_path / "node", group, "10x")
    assert len(tenfold) == 3
    assert tenfold[-1] - tenfold[0] < 3.0


@pytest.mark.slow
def test_one_day_is_sent_whole_and_ended_and_the_days_before_are_not_waited_for(
    lockstep: Lockstep, tmp_path: Path, group: str
) -> None:
    host, port = group.split(":")
    (tmp_path / "days.txt").write_text(
        SECONDS + "at +1h\nenter ALPHA a3 sell 100 XYZ @ 10.02 tif=gtc\nat 2024-01-16T08:00:00\n"
        "enter ALPHA a4 sell 100 XYZ @ 10.03 tif=gtc\nat 2024-01-17T08:00:00\nenter ALPHA a5 sell 100 XYZ @ 10.04\n"
    )
    assert lockstep("run", tmp_path / "days.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("replay", tmp_path / "node", "--out", tmp_path / "out")[0] == 0
    whole = [message for _, message in itch.cut((tmp_path / "out" / "20240116.itch").read_bytes())]
    assert whole[-1][11:] == b"C"
    with replayed(tmp_path / "node", "--group", group, "--speed", "1x", "--day", "2024-01-16") as replay:
        receiver = Receiver(host, int(port), [replay.at["requests"]])
        until(lambda: receiver.pump() or "20240116" in receiver.order.ended)  # long before the hour
        assert receiver.order.sessions == {"20240116": whole}
        until(lambda: receiver.pump() or replay.is_over)
        assert replay.told()["sessions"] == [{"session": "20240116", "messages": len(whole)}]
        receiver.close()


@pytest.mark.slow
def test_a_replay_ends_at_once_where_it_is_asked_to(node: Path, group: str) -> None:
    with replayed(node, "--group", group, "--speed", "0.001x") as replay:
        replay.process.send_signal(signal.SIGINT)
        told = replay.told()
        assert told["feed"] == "itch"


def listened(replay: Replay, channels: list[str]) -> tuple[list[dict[str, Any]], str]:
    """All messages of a subscriber, and why it was ended."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async def all_of() -> tuple[list[dict[str, Any]], str]:
        found: list[dict[str, Any]] = []
        async with connect(f"ws://127.0.0.1:{replay.at['port']}") as connection:
            await connection.send(json.dumps({"type": "subscribe", "product_ids": ["XYZ-USD"], "channels": channels}))
            try:
                while True:
                    found.append(json.loads(await asyncio.wait_for(connection.recv(), 60)))
            except ConnectionClosed as closed:
                return found, closed.rcvd.reason if closed.rcvd is not None else ""

    return asyncio.run(all_of())


@pytest.mark.slow
@pytest.mark.parametrize("speed", ["max", "1x"])
def test_a_subscriber_has_each_message_from_the_first_on_though_it_came_before_the_instrument(
    lockstep: Lockstep, tmp_path: Path, speed: str
) -> None:
    pytest.importorskip("uvicorn", reason="the packages of the web are not installed")
    (tmp_path / "day.txt").write_text(SECONDS)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("replay", tmp_path / "node", "--feed", "ws", "--out", tmp_path / "out")[0] == 0
    lines = (tmp_path / "out" / "20240115.jsonl").read_text().splitlines()
    recorded = [json.loads(line) for line in lines]
    of_orders = ("received", "open", "done", "match", "change", "activate")
    with replayed(tmp_path / "node", "--feed", "ws", "--port", "0", "--speed", speed) as replay:
        time.sleep(1.0)  # it waits for the subscriber, and its time begins then
        began_s = time.monotonic()
        found, why = listened(replay, ["full", "level2"])
        took_s = time.monotonic() - began_s
        assert why == "the replay is over"
        full = [each for each in found if each["type"] in of_orders]
        assert full == [each for each in recorded if each["type"] in of_orders]
        assert [each["sequence"] for each in full] == list(range(1, len(full) + 1))
        assert replay.told()["products"] == [{"product": "XYZ-USD", "messages": len(full)}]
        assert speed == "max" or took_s > 2.2
        book = LevelBook("XYZ-USD")  # of updates, or of a snapshot where all came before it
        for each in found:
            book.take(each)
        assert (book.levels(Side.BUY), book.levels(Side.SELL)) == ([], [(Decimal("10.01"), 100)])


def test_a_recording_of_web_clients_begins_with_the_levels_of_its_range(
    node: Path, lockstep: Lockstep, tmp_path: Path
) -> None:
    status, _, complaint = lockstep("replay", node, "--feed", "ws", "--out", tmp_path / "out", "--from", "10")
    assert status == 0, complaint
    files = sorted((tmp_path / "out").iterdir())
    first = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert [each["type"] for each in first[:2]] == ["status", "snapshot"]
    assert first[1]["asks"] == [["10.00", "50"]]
    sequences = [each["sequence"] for each in first if each["type"] in ("received", "open", "done", "match")]
    assert sequences == list(range(first[1]["sequence"] + 1, first[1]["sequence"] + 1 + len(sequences)))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "nothing says where it goes"),
        (["--out", "OUT", "--group", "239.192.0.1:26400"], "--out and --group are given"),
        (["--feed", "ws", "--group", "239.192.0.1:26400"], "give --port"),
        (["--port", "0"], "give --group"),
        (["--out", "OUT", "--speed", "10x"], "as fast as can be"),
        (["--group", "239.192.0.1:26400", "--speed", "0x"], "--speed is 0x"),
        (["--group", "239.192.0.1:26400", "--speed", "fast"], "--speed is fast"),
        (
            ["--group", "10.0.0.1:26400"],
            "--group '10.0.0.1:26400' is no multicast group and port; give GROUP:PORT, such as 239.192.0.1:26400, of",
        ),
        (["--group", "239.192.0.1:26400", "--second-group", "x"], "--second-group 'x' is no multicast group"),
        (["--group", "239.192.0.1:26400", "--second-group", "239.192.0.1:26400"], "feeds A and B have the group 239."),
        (["--group", "239.192.0.1:26400", "--interface", "eth0"], "--interface is 'eth0'; give its IPv4 address"),
        (["--out", "OUT", "--second-group", "239.192.0.2:26400"], "--second-group is of --group; leave it out with"),
        (["--out", "OUT", "--ttl", "3"], "--ttl is of --group; leave it out with --out"),
        (["--out", "OUT", "--interface", "127.0.0.1"], "--interface is of --group and --port; leave it out with --out"),
        (["--feed", "ws", "--port", "0", "--requests", "0"], "--requests is of --group; leave it out with --port"),
        (["--feed", "ws", "--out", "OUT", "--snapshots", "0"], "--snapshots is of --group; leave it out with --out"),
        (["--group", "239.192.0.1:26400", "--format", "itch"], "--format is of files"),
        (["--feed", "ws", "--out", "OUT", "--format", "pcap"], "no --format pcap"),
        (["--out", "OUT", "--format", "json"], "no --format json"),
        (["--feed", "ws", "--out", "OUT", "--day", "2024-01-15"], "give --from and --to"),
        (["--group", "239.192.0.1:26400", "--day", "2024-01-17"], "no trading day 2024-01-17"),
    ],
)
def test_words_that_do_not_go_together_are_refused_with_a_sentence(
    node: Path, lockstep: Lockstep, tmp_path: Path, words: list[str], what: str
) -> None:
    given = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    status, said, complaint = lockstep("replay", node, *given)
    assert (status, said, what in complaint, "Traceback" in complaint) == (2, "", True, False), complaint
    assert list(tmp_path.iterdir()) == []
