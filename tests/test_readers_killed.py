"""Readers of a running node are stopped and killed again and again while it trades: each gets every row once, in order,
and the market goes on as if they were not there.

``lockstep tail`` and a program with a cursor of reports write what they get to files. A killed one is begun again
at the last command that it may have had in part.
"""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Lockstep
from tests.ouch_messages import cancel, enter
from tests.running import ROOT, Client, Running, started, until
from tests.test_local_reports import by_journal

#: Print each report as a line: its command, its number, and all its bytes.
CURSOR = """
import sys
from client.local_reports import LocalReports
with LocalReports(sys.argv[1], from_seq=int(sys.argv[2])) as cursor:
    for rows in cursor:
        for row in rows:
            print(row["seq"], row["number"], row.tobytes().hex())
        sys.stdout.flush()
"""


class Reader:
    """A program that writes what it reads to a file, line by line, begun anew after each kill."""

    def __init__(self, kind: str, node: Running, folder: Path, from_seq: int, *, careless: bool = False) -> None:
        self.kind, self._node, self._file = kind, node, folder / kind
        self._careless = careless
        self.from_seq = from_seq
        self.lines: list[str] = []
        self.stopped = False
        self.kills = 0
        self.process = self._begin()

    def _begin(self) -> "subprocess.Popen[bytes]":
        where = [str(self._node.data), str(self.from_seq)]
        words = ["-c", CURSOR, *where]
        if self.kind == "tail":
            words = ["-m", "cli.main", "tail", where[0], "--from", where[1], "--json"]
        with self._file.open("wb") as out:
            return subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=out)

    def seq_of(self, line: str) -> int:
        """Number of the command that a line is about."""
        return int(json.loads(line)["seq"] if self.kind == "tail" else line.split(maxsplit=1)[0])

    def written(self) -> list[str]:
        """The whole lines of its present life."""
        return self._file.read_text().rpartition("\n")[0].splitlines()

    def stop_or_go(self) -> None:
        self.process.send_signal(signal.SIGCONT if self.stopped else signal.SIGSTOP)
        self.stopped = not self.stopped

    def kill(self, *, again: bool = True) -> None:
        """Kill it, keep what it wrote, but for the last command (careless: that too), and begin it again there."""
        assert self.process.poll() is None, f"{self.kind} ended by itself"
        self.process.kill()
        self.process.wait()
        self.stopped = False
        lines = self.written()
        if again and lines:
            self.from_seq = self.seq_of(lines[-1])
            if not self._careless:
                lines = [line for line in lines if self.seq_of(line) != self.from_seq]
        self.lines += lines
        if again:
            self.kills += 1
            self.process = self._begin()


class Market:
    """Orders and cancels of a client without end, in a thread. ``answered``: messages that came."""

    def __init__(self, node: Running) -> None:
        self._client = Client(node.port, "UA")
        self._ended = threading.Event()
        self.answered = 0
        self._thread = threading.Thread(target=self._trade, daemon=True)
        self._thread.start()

    def _trade(self) -> None:
        number = 0
        while not self._ended.is_set():
            orders = [f"o{number + n}" for n in range(50)]
            self._client.socket.sendall(b"".join(enter(each, "B", 5, 90_000) + cancel(each) for each in orders))
            number += len(orders)
            self._client.take(1 + 2 * number)
            self.answered = 2 * number
            time.sleep(0.01)

    def goes_on(self) -> None:
        """Wait until it was answered some more."""
        before = self.answered
        until(lambda: self.answered > before)

    def end(self) -> None:
        self._ended.set()
        self._thread.join(120)
        assert not self._thread.is_alive()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--durability", "none", "--tape-mb", "1", "--ids-max", "4194304")
    yield running
    running.stop()


Lines = list[str]


def read_and_strike(
    node: Running, folder: Path, lockstep: Lockstep, strikes: int, *, careless: bool = False
) -> list[tuple[Lines, Lines]]:
    """Strike readers while the market trades; the lines of each, and those that it should have."""
    chance = random.Random(strikes)
    begin = node.status()["seq"] + 1
    readers = [Reader(kind, node, folder, begin, careless=careless) for kind in ("tail", "reports")]
    market = Market(node)
    try:
        for number in range(strikes):
            reader = readers[number % 2]
            if number < 4 or chance.random() < 0.7:
                until(lambda reader=reader: reader.stopped or len(reader.written()) > 1)  # type: ignore[misc]
            if reader.stopped or chance.random() < 0.5:
                reader.stop_or_go()
            else:
                reader.kill()
            market.goes_on()
            time.sleep(chance.random() / 2)
        for reader in readers:
            if reader.stopped:
                reader.stop_or_go()
            until(lambda reader=reader: len(reader.written()) > 1)  # type: ignore[misc]
            reader.kill()
        market.end()
        seq = node.status()["seq"]
        for reader in readers:
            until(lambda reader=reader: reader.written() and reader.seq_of(reader.written()[-1]) == seq)  # type: ignore[misc]
            reader.kill(again=False)
    finally:
        for reader in readers:
            reader.process.kill()
            reader.process.wait()
    assert all(reader.kills > 0 for reader in readers)
    assert market.answered > 50 * strikes
    node.end(signal.SIGTERM)
    told = lockstep("events", node.data, "--from", begin, "--to", seq, "--json")[1].splitlines()
    rows = by_journal(node.data, begin)
    made = [f"{row['seq']} {row['number']} {row.tobytes().hex()}" for row in rows if row["seq"] <= seq]
    return [(readers[0].lines, told), (readers[1].lines, made)]


@pytest.mark.slow
@pytest.mark.parametrize("strikes", [8, pytest.param(50, marks=pytest.mark.long)])
def test_readers_that_are_stopped_and_killed_get_every_row_once_and_the_market_goes_on(
    node: Running, tmp_path: Path, lockstep: Lockstep, strikes: int
) -> None:
    for lines, wanted in read_and_strike(node, tmp_path, lockstep, strikes):
        assert lines == wanted


@pytest.mark.slow
def test_a_row_that_a_reader_gets_twice_is_found_out(node: Running, tmp_path: Path, lockstep: Lockstep) -> None:
    """Control of the test above."""
    for lines, wanted in read_and_strike(node, tmp_path, lockstep, 2, careless=True):
        assert lines != wanted
