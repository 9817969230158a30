"""Verification in pieces and in several processes: the same findings, and nothing lost when a worker is."""

import itertools
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from checkpoints import CheckpointStore
from journal import Journal
from replay import verify as verification
from replay.errors import ReplayError
from replay.rebuild import rebuild
from replay.verify import verify
from tests.nodes import write_node
from tests.running import until
from tests.streams import random_stream

ROWS = random_stream(11, 12_000)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with 12,000 commands in blocks of 64 and a checkpoint about every 2,000. Read only."""
    path = tmp_path_factory.mktemp("node")
    write_node(path, ROWS, checkpoint_every=2_000)
    return path


def test_two_workers_find_what_one_finds(node: Path) -> None:
    one, two = verify(node), verify(node, workers=2)
    assert two.ok
    assert (two.workers, two.intervals) == (2, 4)
    for name in ("blocks", "commands", "events", "checkpoints_compared", "from_seq", "to_seq"):
        assert getattr(one, name) == getattr(two, name)


def test_a_part_of_a_journal_can_be_verified(node: Path) -> None:
    report = verify(node, from_seq=5_000, to_seq=6_500)
    assert report.ok
    assert (report.from_seq, report.to_seq) == (4_097, 6_528)
    for wrong in ((0, 5), (5, 4), (1, len(ROWS) + 1)):
        with pytest.raises(ReplayError, match=r"no range|no command"):
            verify(node, from_seq=wrong[0], to_seq=wrong[1])


def test_a_worker_that_dies_is_reported_and_never_waited_for(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify_interval = verification.verify_interval
    others = set(multiprocessing.active_children())

    def once_the_worker_is_gone(*arguments: Any) -> Any:
        until(lambda: others.issuperset(multiprocessing.active_children()), 120, "the worker was given no interval")
        return verify_interval(*arguments)

    # Forked, also where a test before left a journal open: a process that starts anew has the real ``work``.
    monkeypatch.setattr(verification, "any_open", lambda: False)
    monkeypatch.setattr(verification, "work", dies)
    monkeypatch.setattr(verification, "verify_interval", once_the_worker_is_gone)
    report = verify(node, workers=2)
    assert not report.ok
    assert any("exit status 7" in sentence for sentence in report.damage)
    assert report.difference is None


@pytest.mark.slow
def test_workers_of_a_process_that_has_the_journal_open_find_the_same(node: Path) -> None:
    with Journal.open(node):  # LMDB's environment does not survive a fork
        report = verify(node, workers=2)
    assert report.ok
    assert (report.workers, report.commands) == (2, len(ROWS))


def test_a_worker_that_cannot_read_the_journal_says_why(node: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = threading.Thread(target=verification.work, args=(theirs, str(node / "nowhere")), daemon=True)
    worker.start()
    ours.send(verification.Interval(1, 100, None, ()))
    assert ours.poll(20)
    assert ours.recv() == 0
    found = ours.recv()
    assert "commands 1 to 100 were not verified" in found.damage
    ours.close()
    worker.join(20)
    assert not worker.is_alive()
    assert capfd.readouterr() == ("", "")


def dies(pipe: Any, _directory: str) -> None:
    """A worker that takes an interval and is gone."""
    pipe.recv()
    os._exit(7)


def test_progress_is_told_up_to_the_end(node: Path) -> None:
    for workers in (1, 2):
        told: list[tuple[int, int]] = []
        verify(node, workers=workers, progress=lambda done, total, told=told: told.append((done, total)))
        assert told[-1] == (len(ROWS), len(ROWS))
    rebuild(node, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]


def test_intervals_are_cut_evenly_at_checkpoints_and_lose_nothing(node: Path) -> None:
    infos = CheckpointStore(node).list()
    for pieces in (1, 2, 3, 6, 50):
        cut = verification.cut_intervals(1, len(ROWS), infos, pieces)
        assert cut[0].from_seq == 1
        assert cut[-1].to_seq == len(ROWS)
        assert all(a.to_seq + 1 == b.from_seq for a, b in itertools.pairwise(cut))
        assert sum(len(piece.passes) for piece in cut) == len(infos)
        assert len(cut) == min(pieces, len(infos) + 1)


def test_no_more_workers_are_started_than_have_something_to_do(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    begin = verification.Workers.__init__

    def noted(self: verification.Workers, directory: Path, count: int) -> None:
        asked.append(count)
        begin(self, directory, count)

    monkeypatch.setattr(verification.Workers, "__init__", noted)
    assert verify(node, workers=1_000).ok
    assert asked == [len(CheckpointStore(node).list()) + 1]
