"""A checkpoint that other kernels wrote may keep the same state in other places: it is told of and never used."""

from dataclasses import replace
from pathlib import Path

import pytest

from checkpoints import CheckpointStore
from directory.recover import image, prune, recover
from engine import Engine
from replay.rebuild import rebuild
from replay.verify import verify
from tests.nodes import SMALL, write_node
from tests.streams import random_stream

ROWS = random_stream(31, 2_000)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A directory with its checkpoint at 1,984 and, as if written by other kernels, a newer one at its end."""
    engine = write_node(tmp_path / "node", ROWS, checkpoint_every=1_500)
    assert isinstance(engine, Engine)
    assert CheckpointStore(tmp_path / "node").list()
    theirs = replace(image(engine, SMALL), source_digest="0f" * 16)
    CheckpointStore(tmp_path / "node").write(theirs)
    return tmp_path / "node"


def test_recovery_starts_from_the_newest_checkpoint_of_our_own_kernels(node: Path) -> None:
    ours, theirs = CheckpointStore(node).list()
    journal, engine, recovered = recover(node)
    with journal:
        assert recovered.rebuilt.checkpoint_seq == ours.seq < theirs.seq == engine.seq
    assert any(f"checkpoint {theirs.seq} was written by other kernels" in note for note in recovered.notes)


def test_a_verification_passes_it_by_and_says_so(node: Path) -> None:
    theirs = CheckpointStore(node).list()[-1]
    for workers in (1, 2):
        report = verify(node, workers=workers)
        assert report.ok
        assert report.checkpoints_compared == 1
        assert any(f"checkpoint {theirs.seq} was written by other kernels" in note for note in report.notes)


def test_it_does_not_count_among_those_that_are_kept(node: Path) -> None:
    ours, theirs = CheckpointStore(node).list()
    CheckpointStore(node).prune(1, origin=ours.origin)
    assert [info.seq for info in CheckpointStore(node).list()] == [ours.seq, theirs.seq]
    assert prune(node, 1) == ([], [ours.seq])


def test_without_the_check_it_would_be_used(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr("replay.rebuild.why_not_origin", lambda *_: None)
    assert rebuild(node).checkpoint_seq == CheckpointStore(node).list()[-1].seq
