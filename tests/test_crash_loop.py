"""A node is killed again and again, at any moment; what it had reported durable is there, and the market is the same.

``LOCKSTEP_KILLS`` sets how many kills (default 30). The node is forked from a server that has imported everything,
so that a life is short; it is killed with SIGKILL some random time after it has begun to recover.
"""

import multiprocessing
import os
import random
import shutil
import signal
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import CheckpointStore
from directory.recover import create, recover
from engine import Engine
from journal import Journal
from replay.rebuild import rebuild
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.crash_child import BLOCK_COMMANDS, run_node
from tests.nodes import SMALL, batches, image_of
from tests.streams import random_stream

KILLS = int(os.environ.get("LOCKSTEP_KILLS", "12"))
ROWS = random_stream(77, 40_000)
CHECKPOINT_EVERY = 1_000


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[dict[int, bytes], list[int]]:
    """Of a run that nobody disturbs: the event digest after each block, by last seq, and the number of events of each
    block."""
    engine, digests, counts = Engine(SMALL), {0: bytes(16)}, []
    for batch in batches(ROWS, BLOCK_COMMANDS):
        counts.append(len(engine.apply(batch)))
        digests[engine.seq] = engine.event_digest
    return digests, counts


@pytest.fixture(scope="module")
def nursery() -> multiprocessing.context.ForkServerContext:
    """The process from which nodes are forked, with every module loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.crash_child"])
    return context


def live_and_die(
    context: multiprocessing.context.ForkServerContext, directory: Path, stream: Path, after_s: float
) -> tuple[list[tuple[int, int]], int | None]:
    """One life of a node, killed ``after_s`` seconds after its first sign of life; (what it reported, its exit
    status)."""
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=run_node, args=(str(directory), str(stream), CHECKPOINT_EVERY, theirs))
    child.start()
    theirs.close()
    said: list[tuple[int, int]] = []
    if after_s >= 0:
        wait([ours], timeout=120)
    child.join(timeout=max(after_s, 0))
    if child.pid is not None and child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
    child.join(timeout=120)
    said += drained(ours)
    ours.close()
    return said, child.exitcode


def drained(pipe: Connection) -> list[tuple[int, int]]:
    """Messages that were sent whole before the other end died."""
    said = []
    try:
        while pipe.poll():
            said.append(pipe.recv())
    except (EOFError, OSError):
        pass
    return said


def check_node(directory: Path, durable_seq: int, digests: dict[int, bytes]) -> int:
    """Recover as the next start would; the last seq. Nothing reported durable may be missing, nor the market be
    another."""
    journal, engine, _ = recover(directory)
    journal.close()
    lost = f"commands {journal.last_seq + 1} to {durable_seq} were durable and are gone"
    assert journal.last_seq >= durable_seq, lost
    assert engine.seq == journal.last_seq
    assert engine.event_digest == digests[engine.seq]
    return engine.seq


@pytest.mark.slow
def test_nothing_durable_is_ever_missing_after_a_kill(
    tmp_path: Path, uninterrupted: tuple[dict[int, bytes], list[int]], nursery: Any
) -> None:
    digests, counts = uninterrupted
    chance = random.Random(2024)
    stream = tmp_path / "stream.npy"
    np.save(stream, ROWS.view(np.uint8))
    node = fresh(tmp_path / "node0")
    durable_seq = kills = wasted = lives = nodes = 0
    while kills < KILLS:
        after_s = -1.0 if chance.random() < 0.1 else chance.random() ** 2 * 0.12
        said, status = live_and_die(nursery, node, stream, after_s)
        lives += 1
        assert status in (-signal.SIGKILL, 0), f"the node ended by itself with {status}"
        kills += status == -signal.SIGKILL
        for last_seq, events in said:
            durable_seq = max(durable_seq, last_seq)
            assert events < 0 or events == counts[(last_seq - 1) // BLOCK_COMMANDS]
        last = check_node(node, durable_seq, digests)
        wasted += last == durable_seq == 0
        if last == len(ROWS) or status == 0:
            finish(node, digests)
            nodes += 1
            durable_seq = 0
            shutil.rmtree(node)
            node = fresh(tmp_path / f"node{nodes}")
    finish(node, digests)
    assert wasted < lives // 2, "most nodes were killed before they did anything, so little was tested"


def fresh(directory: Path) -> Path:
    """A new data directory."""
    create(directory, SMALL)[0].close()
    return directory


def finish(directory: Path, digests: dict[int, bytes]) -> None:
    """Verify the whole of a node, and compare its state with that of a run that nobody disturbed."""
    report = verify(directory)
    assert report.ok, report
    rebuilt = rebuild(directory)
    engine = Engine(SMALL)
    for batch in batches(ROWS[: rebuilt.seq], BLOCK_COMMANDS):
        engine.apply(batch)
    assert rebuilt.engine.part_digests() == engine.part_digests()
    assert engine.event_digest == digests[engine.seq]


def test_a_digest_that_a_crash_lost_just_before_a_checkpoint_is_written_by_the_next_start(tmp_path: Path) -> None:
    """The replay begins behind that block, so its digest is known from the checkpoint alone."""
    journal, engine = create(tmp_path, SMALL)
    with journal:
        pump(batches(ROWS[:640], 64), FileStamp(), journal, engine)
        rows = ROWS[640:704]
        journal.append(len(rows), rows.view(np.uint8).data, 0)
        engine.apply(rows)  # the crash comes before its digest
    CheckpointStore(tmp_path).write(image_of(tmp_path, engine))
    assert verify(tmp_path).missing_tail == 1
    journal, engine, report = recover(tmp_path)
    assert (report.digests_written, report.rebuilt.checkpoint_seq) == (1, 704)
    with journal:
        pump(batches(ROWS[704:1_280], 64), FileStamp(engine.now_ns), journal, engine)
    assert verify(tmp_path).ok


class TellsTooEarly:
    """A known hole: a journal that calls a block durable while it still waits in memory for the next one."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: tuple[int, bytes, int] | None = None
        self.last_seq = self.durable_seq = journal.last_seq

    def append(self, count: int, rows: memoryview, time_ns: int) -> int:
        """Hand on the block before, keep this one."""
        if self._waiting is not None:
            self._journal.append(*self._waiting)
        self._waiting = (count, bytes(rows), time_ns)
        self.durable_seq = self.last_seq = self.last_seq + count
        return self.last_seq - count + 1

    def put_digest(self, first_seq: int, digest: bytes) -> None:
        """Forgotten: recovery writes it."""

    def wait_durable(self, _seq: int, _timeout_s: float | None = None) -> bool:
        """Always at once."""
        return True


def test_a_journal_that_reports_too_early_is_caught(
    tmp_path: Path, uninterrupted: tuple[dict[int, bytes], list[int]]
) -> None:
    """The negative control of the loop above."""
    released: list[int] = []
    journal, engine = create(tmp_path, SMALL)
    with journal:  # and the power goes before the last block is handed on
        pump(
            batches(ROWS[:160], BLOCK_COMMANDS),
            FileStamp(),
            TellsTooEarly(journal),
            engine,
            publishers=[lambda first_seq, commands, _events: released.append(first_seq + len(commands) - 1)],
        )
    assert check_node(tmp_path, released[-1] - BLOCK_COMMANDS, uninterrupted[0]) == 144
    with pytest.raises(AssertionError, match="were durable and are gone"):
        check_node(tmp_path, released[-1], uninterrupted[0])
