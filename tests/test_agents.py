"""Agents and runners (`tape.agents`, `tape.runner`): work comes out the same on one thread and on several."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.engine import Engine
from engine.records import COMMAND, EVENT
from tape.agents import Always, Call
from tape.doorbell import Doorbell
from tape.form import Rows, ring_path, tape_path
from tape.inbound import Inbound, Producer, Turns
from tape.places import TAPE_WORDS, Place
from tape.reader import Result, TapeReader
from tape.runner import Doze, Idle, Runner, SleepOn, Spin, Yield, dedicated
from tape.writer import TapeWriter
from tests.nodes import SMALL
from tests.streams import random_stream

ID = bytes(range(16))
ROWS = Rows(COMMAND, EVENT, np.dtype("V192"))
COMMANDS = 3_000


class Source:
    """Commands of a day, put into a ring message by message."""

    name = "source"

    def __init__(self, producer: Producer) -> None:
        self._rows, self._at, self._producer = random_stream(11, COMMANDS), 0, producer

    def work(self) -> int:
        begin = self._at
        while self._at < len(self._rows) and self._producer.put(self._rows[self._at : self._at + 1]):
            self._at += 1
        return self._at - begin


class Core:
    """An engine that takes from the ring and writes to the tape, whose reader it waits for."""

    name = "core"

    def __init__(self, turns: Turns, writer: TapeWriter) -> None:
        self._turns, self._writer, self.engine = turns, writer, Engine(SMALL)
        self._none = np.zeros(0, ROWS.reports)
        self._left: tuple[int, np.ndarray, np.ndarray] | None = None  # type: ignore[type-arg]

    def work(self) -> int:
        if self._left is None:
            commands = self._turns.take(64).commands.copy()
            if not len(commands):
                return 0
            first_seq = self.engine.seq + 1
            self._left = (first_seq, commands, self.engine.apply(commands))
        first_seq, commands, events = self._left
        if not self._writer.write(first_seq, 0, self.engine.now_ns, commands, events, self._none):
            return 0
        self._left = None
        return len(commands)


class Reader:
    """A digest of all rows of the tape."""

    name = "reader"

    def __init__(self, reader: TapeReader) -> None:
        self._reader, self.commands = reader, 0
        self._digests = hashlib.sha256(), hashlib.sha256()

    def work(self) -> int:
        result, block = self._reader.look()
        if result is not Result.BLOCK or block is None:
            return 0
        for digest, rows in zip(self._digests, (block.commands, block.events), strict=True):
            digest.update(np.ascontiguousarray(rows).view(np.uint8).data)
        self._reader.leave()
        self.commands += len(block.commands)
        return len(block.commands)

    def digest(self) -> str:
        return "".join(each.hexdigest() for each in self._digests)


def played(folder: Path, run: Callable[[Source, Core, Reader, Doorbell], None]) -> tuple[str, str]:
    """Digests of the rows that a reader saw, and of the events, of a day that ``run`` has worked through."""
    folder.mkdir()
    inbound = Inbound(ring_path(folder, "one"), ID, ROWS, size=32)
    producer = Producer(inbound.path, ID, ROWS)
    path = tape_path(folder)
    with TapeWriter(path, ID, ROWS, size_bytes=1 << 18) as writer:
        writer.gate("reader")
        with TapeReader(path, ID, ROWS, name="reader") as reader:
            source, core, last = Source(producer), Core(Turns([inbound]), writer), Reader(reader)
            run(source, core, last, reader.bell)
            assert last.commands == COMMANDS
            return last.digest(), core.engine.event_digest.hex()


def shared(source: Source, core: Core, reader: Reader, _bell: Doorbell) -> None:
    runner = Runner([source, core, reader], Yield())
    runner.run(lambda: reader.commands == COMMANDS)
    for each in runner.measured:
        counters = each.counters
        assert counters.worked == COMMANDS
        assert counters.turns >= 2
        assert counters.busy_ns > 0


def threads(idle: Callable[[Doorbell], Idle]) -> Callable[[Source, Core, Reader, Doorbell], None]:
    """Each agent on a thread of its own, the reader with this idle strategy."""

    def run(source: Source, core: Core, reader: Reader, bell: Doorbell) -> None:
        runners = dedicated([source, core, reader], lambda agent: idle(bell) if agent is reader else Yield())
        for runner in runners:
            runner.start(lambda: reader.commands == COMMANDS)
        for runner in runners:
            assert runner.join(120)

    return run


@pytest.fixture(scope="module")
def on_one_thread(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return played(tmp_path_factory.mktemp("agents") / "shared", shared)


@pytest.mark.parametrize(
    "idle",
    [lambda _bell: Yield(), lambda _bell: Doze(0.0001, 0.001), lambda bell: SleepOn(bell, spins=1)],
    ids=["yield", "doze", "bell"],
)
def test_agents_give_the_same_rows_on_one_thread_and_on_threads_of_their_own(
    idle: Callable[[Doorbell], Idle], on_one_thread: tuple[str, str], tmp_path: Path
) -> None:
    assert played(tmp_path / "dedicated", threads(idle)) == on_one_thread


def test_the_comparison_sees_an_agent_that_loses_one_row(on_one_thread: tuple[str, str], tmp_path: Path) -> None:
    def lossy(source: Source, core: Core, reader: Reader, bell: Doorbell) -> None:
        source._rows = source._rows.copy()
        source._rows[COMMANDS // 2]["qty"] += 1
        shared(source, core, reader, bell)

    assert played(tmp_path / "lossy", lossy) != on_one_thread


def test_a_sleeper_looks_once_more_after_it_has_armed_the_bell() -> None:
    words = np.zeros(TAPE_WORDS, np.int64)
    idle = SleepOn(Doorbell(words, Place.READERS_BELL), spins=2, sleep_ns=60_000_000_000)
    assert idle.rest(1, lambda: pytest.fail("it may spin still")) == 0
    assert idle.rest(2, lambda: 3) == 3  # or it would sleep for a minute


def test_a_bell_wakes_a_runner_that_sleeps() -> None:
    words = np.zeros(TAPE_WORDS, np.int64)
    bell = Doorbell(words, Place.READERS_BELL)
    slept = threading.Event()
    waiting: list[int] = []

    def take() -> int:
        slept.set()
        return waiting.pop() if waiting else 0

    runner = Runner([Call("taker", take)], SleepOn(bell, spins=1, sleep_ns=600_000_000_000))
    runner.start(lambda: runner.measured[0].counters.worked > 0)
    slept.wait(60)
    waiting.append(5)
    while not runner.join(0.01):
        bell.ring()
    assert runner.measured[0].counters.worked == 5


def test_what_an_agent_raises_reaches_who_joins_its_runner() -> None:
    def fail() -> int:
        raise ValueError("a defect")

    runner = Runner([Call("faulty", fail)], Spin())
    runner.start()
    with pytest.raises(ValueError, match="a defect"):
        runner.join(60)


def test_a_runner_that_is_stopped_ends_and_an_agent_that_always_works_counts_its_calls() -> None:
    called: list[int] = []
    agent = Always("clock", lambda: called.append(1))
    runner = Runner([agent], Spin())
    runner.run(lambda: len(called) == 7)
    runner.stop()
    runner.run()
    assert (runner.name, runner.measured[0].counters.worked, len(called)) == ("clock", 7, 7)
