"""Checkpoints taken by a fork, beside the pump: whole, never ahead of the journal, and no trace of one given up."""

import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointError, CheckpointStore
from directory.checkpoint_fork import CheckpointFork
from directory.recover import create
from engine import Engine
from engine.interface import MarketEngine, new_engine
from journal import Journal
from replay.errors import ReplayError
from replay.rebuild import rebuild
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.nodes import SMALL, batches
from tests.streams import random_stream

ROWS = random_stream(21, 4_000)
DEADLINE_S = 180.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Path, Journal, Engine]]:
    """A new data directory, its journal and its engine."""
    journal, engine = create(tmp_path / "node", SMALL)
    assert isinstance(engine, Engine)
    with journal:
        yield tmp_path / "node", journal, engine


class Unsure:
    """A journal of which nothing is durable until it is told so."""

    def __init__(self, journal: Journal) -> None:
        self.meta, self.journal_id, self.place = journal.meta, journal.journal_id, journal.place
        self.last_seq = journal.last_seq
        self.durable_seq = 0

    def wait_durable(self, seq: int) -> bool:
        return self.durable_seq >= seq


def until(done: Any) -> None:
    """Wait for a child of ours to get somewhere, with a deadline."""
    ends_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < ends_s, "the child did not get there"
        time.sleep(0.005)


def of_process(pid: int) -> bool:
    """True if we still have a child of that number."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


@pytest.mark.slow
def test_a_checkpoint_is_the_state_at_its_command_whatever_the_market_does_meanwhile(
    node: tuple[Path, Journal, Engine],
) -> None:
    directory, journal, engine = node
    with CheckpointFork(journal, 500, keep=100) as every:
        pump(batches(ROWS, 50), FileStamp(), journal, engine, at_boundary=every)
    infos = CheckpointStore(directory).list()
    assert infos
    assert all(info.valid for info in infos)
    for info in infos:
        CheckpointStore(directory).verify(info.path)
        replayed = rebuild(directory, at=info.seq, use_checkpoints=False).engine
        assert isinstance(replayed, Engine)
        assert info.state_digest == replayed.state_digest()
    report = verify(directory, workers=2)
    assert report.ok
    assert report.checkpoints_compared > 0


@pytest.mark.slow
def test_a_pump_that_may_wait_has_each_checkpoint_at_its_place(node: tuple[Path, Journal, Engine]) -> None:
    directory, journal, engine = node
    with CheckpointFork(journal, 500, keep=100, waits=True) as every:
        pump(batches(ROWS, 50), FileStamp(), journal, engine, at_boundary=every)
    assert [info.seq for info in CheckpointStore(directory).list()] == list(range(500, len(ROWS) + 1, 500))


@pytest.mark.slow
def test_a_checkpoint_has_no_name_before_the_journal_is_durable_up_to_it(node: tuple[Path, Journal, Engine]) -> None:
    directory, journal, engine = node
    unsure: Any = Unsure(journal)
    engine.apply(ROWS[:1_000].copy())
    every = CheckpointFork(unsure, 500)
    every(unsure, engine)
    folder = directory / "checkpoints"
    until(lambda: any(path.stat().st_size > 0 for path in folder.glob("*.tmp")))
    unsure.durable_seq = engine.seq - 1
    for _ in range(40):
        every(unsure, engine)
        time.sleep(0.005)
    assert not list(folder.glob("*.checkpoint")), "it would be ahead of the journal"
    unsure.durable_seq = engine.seq
    every.finish()
    assert [info.seq for info in CheckpointStore(directory).list()] == [engine.seq]


@pytest.mark.slow
def test_a_node_that_dies_before_the_journal_is_durable_leaves_no_checkpoint(
    node: tuple[Path, Journal, Engine],
) -> None:
    directory, journal, engine = node
    unsure: Any = Unsure(journal)
    engine.apply(ROWS[:1_000].copy())
    every = CheckpointFork(unsure, 500)
    every(unsure, engine)
    child = every._child
    assert child is not None
    assert of_process(child.pid)
    every.give_up()  # closes the pipe, as a death does
    assert not of_process(child.pid)
    assert CheckpointStore(directory).list() == []
    assert not list((directory / "checkpoints").glob("*")), "no trace is left"


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_is_told_by_its_sentence(node: tuple[Path, Journal, Engine]) -> None:
    directory, journal, engine = node
    every = CheckpointFork(journal, 500)
    (directory / "checkpoints").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"of command 500 was not taken.*cannot be written"), every:
        pump(batches(ROWS, 50), FileStamp(), journal, engine, at_boundary=every)


@pytest.mark.slow
def test_a_child_that_is_killed_is_told_and_the_market_goes_on_to_the_next_checkpoint(
    node: tuple[Path, Journal, Engine],
) -> None:
    directory, journal, engine = node
    told: list[str] = []
    every = CheckpointFork(journal, 500, on_failure=told.append)

    def kills_the_first(journal: Journal, engine: MarketEngine) -> None:
        every(journal, engine)
        if not told and every._child is not None:
            os.kill(every._child.pid, 9)
            until(lambda: every(journal, engine) or told)

    with every:
        pumped = pump(batches(ROWS, 50), FileStamp(), journal, engine, at_boundary=kills_the_first)
    assert pumped.commands == len(ROWS)
    assert len(told) == 1
    assert "ended with status 9" in told[0]
    infos = CheckpointStore(directory).list()
    assert infos
    assert all(info.valid and info.seq > 500 for info in infos)


def stopped(every: CheckpointFork) -> int:
    """Stop the child that writes, as somebody's SIGSTOP does; its number."""
    assert every.child_pid
    os.kill(every.child_pid, signal.SIGSTOP)
    until(lambda: state_of(every.child_pid) == "T")
    return every.child_pid


def state_of(pid: int) -> str:
    """State of a process in a letter; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_a_child_that_is_stopped_does_not_keep_the_node_from_its_end(
    node: tuple[Path, Journal, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node waited for it for ever."""
    monkeypatch.setattr("directory.checkpoint_fork.DROPPED_S", 0.2)
    directory, journal, engine = node
    engine.apply(ROWS[:1_000].copy())
    every = CheckpointFork(journal, 500)
    every(journal, engine)
    pid = stopped(every)
    every.give_up()
    assert state_of(pid) == "", "killed and reaped"
    assert not list((directory / "checkpoints").glob("*.checkpoint"))


def test_a_child_that_stands_still_is_killed_and_told_and_the_next_checkpoint_is_taken(
    node: tuple[Path, Journal, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was waited for without a limit, so there was no further checkpoint, and no orderly end either."""
    monkeypatch.setattr("directory.checkpoint_fork.STILL_S", 0.1)
    directory, journal, engine = node
    unsure: Any = Unsure(journal)
    engine.apply(ROWS[:1_000].copy())
    told: list[str] = []
    every = CheckpointFork(unsure, 500, on_failure=told.append)
    every(unsure, engine)
    until(lambda: list((directory / "checkpoints").glob("*.tmp")))
    pid = stopped(every)
    ends_s = time.monotonic() + 0.5
    while time.monotonic() < ends_s:
        every.tend()
        time.sleep(0.005)
    assert told == [], "it may wait for the journal for as long as that takes"
    unsure.durable_seq = engine.seq
    until(lambda: every.tend() or told)
    why = "its process stood still for 0.1 s and was killed; check the disk"
    assert told == [f"the checkpoint of command 1,000 was not taken: {why}"]
    assert not every.busy
    monkeypatch.undo()
    until(lambda: every.tend() or state_of(pid) == "")
    with every:
        assert every.now(engine)
    assert [info.seq for info in CheckpointStore(directory).list()] == [engine.seq]
    assert not list((directory / "checkpoints").glob("*.tmp")), "what the kill left is gone"


def test_a_child_whose_processor_time_nobody_knows_is_not_taken_for_one_that_hangs(
    node: tuple[Path, Journal, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("directory.checkpoint_fork.STILL_S", 0.05)
    monkeypatch.setattr("directory.checkpoint_fork.processor_ns", lambda _pid: None)
    directory, journal, engine = node
    engine.apply(ROWS[:1_000].copy())
    unsure: Any = Unsure(journal)
    with CheckpointFork(unsure, 500) as every:
        every(unsure, engine)
        pid = stopped(every)
        unsure.durable_seq = engine.seq
        ends_s = time.monotonic() + 0.3
        while time.monotonic() < ends_s:
            every.tend()
            time.sleep(0.005)
        assert every.child_pid == pid
        os.kill(pid, signal.SIGCONT)
    assert [info.seq for info in CheckpointStore(directory).list()] == [engine.seq]


def test_a_pump_that_waits_for_a_stopped_child_ends_with_its_sentence(
    node: tuple[Path, Journal, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("directory.checkpoint_fork.STILL_S", 0.1)
    _directory, journal, engine = node
    unsure: Any = Unsure(journal)
    engine.apply(ROWS[:1_000].copy())
    every = CheckpointFork(unsure, 500)
    every(unsure, engine)
    stopped(every)
    unsure.durable_seq = engine.seq
    with pytest.raises(CheckpointError, match=r"stood still .* and was killed"):
        every.finish()


def test_where_even_a_killed_child_hangs_in_the_disk_no_further_one_is_begun(
    node: tuple[Path, Journal, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such processes would add up for as long as the disk hangs."""
    monkeypatch.setattr("directory.checkpoint_fork.STILL_S", 0.05)
    monkeypatch.setattr("directory.checkpoint_fork.kill_child", lambda _pid: None)  # as in a call that never returns
    directory, journal, engine = node
    engine.apply(ROWS[:1_000].copy())
    told: list[str] = []
    every = CheckpointFork(journal, 500, on_failure=told.append)
    unsure: Any = Unsure(journal)
    every._journal = unsure
    every(unsure, engine)
    pid = stopped(every)
    unsure.durable_seq = engine.seq
    until(lambda: every.tend() or told)
    assert not every.now(engine)
    assert not every.digest(engine)
    assert told[1:] == 2 * [
        "the checkpoint of command 1,000 was not taken: a process before it was killed and hangs in the disk"
    ]
    os.kill(pid, signal.SIGKILL)
    until(lambda: every.tend() or state_of(pid) == "")
    with every:
        assert every.now(engine)
    assert [info.seq for info in CheckpointStore(directory).list()] == [engine.seq]


@pytest.mark.slow
def test_a_checkpoint_is_known_to_be_done_where_the_system_keeps_no_status(node: tuple[Path, Journal, Engine]) -> None:
    directory, journal, engine = node
    kept = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some programs leave it to those they start
    try:
        with CheckpointFork(journal, 500) as every:
            pump(batches(ROWS, 50), FileStamp(), journal, engine, at_boundary=every)
    finally:
        signal.signal(signal.SIGCHLD, kept)
    assert CheckpointStore(directory).list()


@pytest.mark.slow
def test_a_journal_that_fails_at_the_end_leaves_no_child_and_nothing_open(node: tuple[Path, Journal, Engine]) -> None:
    _directory, journal, engine = node
    unsure: Any = Unsure(journal)
    engine.apply(ROWS[:1_000].copy())
    before = set(os.listdir("/proc/self/fd"))
    every = CheckpointFork(unsure, 500)
    every(unsure, engine)
    child = every._child
    assert child is not None
    with pytest.raises(CheckpointError, match="not durable"):
        every.finish()
    assert not of_process(child.pid)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_fork_that_the_system_refuses_is_told(
    node: tuple[Path, Journal, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    _directory, journal, engine = node
    engine.apply(ROWS[:1_000].copy())
    before = set(os.listdir("/proc/self/fd"))

    def refused() -> int:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(os, "fork", refused)
    told: list[str] = []
    CheckpointFork(journal, 500, on_failure=told.append)(journal, engine)
    assert told == ["the checkpoint of command 1,000 was not taken: no fork: Cannot allocate memory"]
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.slow
def test_the_directory_is_free_as_soon_as_the_node_is_gone_though_its_child_still_writes(tmp_path: Path) -> None:
    journal, engine = create(tmp_path / "node", SMALL)
    assert isinstance(engine, Engine)
    unsure: Any = Unsure(journal)
    engine.apply(ROWS[:1_000].copy())
    every = CheckpointFork(unsure, 500)
    every(unsure, engine)
    until(lambda: list((tmp_path / "node" / "checkpoints").glob("*.tmp")))  # it has closed what it inherited
    journal.close()
    with Journal.open(tmp_path / "node", readonly=False):
        assert every._child is not None
        assert of_process(every._child.pid), "or this test tests nothing"
    every.give_up()


@pytest.mark.slow
def test_connections_end_with_the_node_though_its_child_still_writes(tmp_path: Path) -> None:
    journal, engine = create(tmp_path / "node", SMALL)
    unsure: Any = Unsure(journal)
    engine.apply(ROWS[:1_000].copy())
    of_node, of_client = socket.socketpair()
    of_client.settimeout(120)
    every = CheckpointFork(unsure, 500)
    with journal, of_client:
        every(unsure, engine)
        until(lambda: list((tmp_path / "node" / "checkpoints").glob("*.tmp")))
        of_node.close()  # as the death of the node does
        assert of_client.recv(1) == b""
        assert every._child is not None
        assert of_process(every._child.pid), "or this test tests nothing"
        every.give_up()


def test_the_reference_engine_has_no_image_and_is_refused(node: tuple[Path, Journal, Engine]) -> None:
    _directory, journal, _ = node
    reference: MarketEngine = new_engine("reference", SMALL)
    reference.apply(ROWS[:600].copy())
    with pytest.raises(ReplayError, match="no image"):
        CheckpointFork(journal, 500)(journal, reference)
    with pytest.raises(ReplayError, match="1 or more"):
        CheckpointFork(journal, 0)


def test_the_rows_of_these_tests_leave_orders_on_the_book() -> None:
    rows: NDArray[Any] = np.ascontiguousarray(ROWS[:1_000])
    engine = Engine(SMALL)
    engine.apply(rows)
    assert len(engine.open_orders()) > 20, "a checkpoint of an empty venue would show nothing"
