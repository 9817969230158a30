"""A fold over the events is restored from a checkpoint, sees what comes after it, and is then what it would be had it
seen everything."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointError, CheckpointStore
from directory.aside import CheckpointAside
from directory.recover import create, image, recover, stateful
from engine import Engine
from engine.records import RULES_VERSION, EventKind
from journal import Journal
from replay.errors import ReplayError
from replay.rebuild import played
from sequencer.pump import Pipeline, pump
from sequencer.stamp import FileStamp
from tests.nodes import SMALL, batches
from tests.streams import random_stream
from tests.test_aside import until

ROWS = random_stream(33, 3_000)


class Counts:
    """A fold: how many events of each kind there were, and up to which command."""

    def __init__(self, *, refuses: tuple[int, ...] = ()) -> None:
        self.kinds = np.zeros(256, np.int64)
        self.seq = 0
        self.asked: list[int] = []
        self.seen = 0
        self._refuses = refuses

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"kinds": self.kinds, "seq": np.array([self.seq])}

    def restore(self, beside: Mapping[str, Mapping[str, NDArray[Any]]], seq: int) -> None:
        self.asked.append(seq)
        if seq in self._refuses or "counts" not in beside:
            raise ValueError("there is no count")
        self.kinds, self.seq = beside["counts"]["kinds"], int(beside["counts"]["seq"][0])
        assert self.seq == seq

    def observe(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        assert first_seq == self.seq + 1, "a block is left out or comes twice"
        self.kinds += np.bincount(events["kind"], minlength=256)
        self.seq += len(commands)
        self.seen += len(commands)


def run(directory: Path, *, folded: bool = True, plain_at: int | None = None) -> Counts:
    """A node that takes a checkpoint, with its fold, every 500 commands or so."""
    journal, engine = create(directory, SMALL)
    counts = Counts()
    with journal:
        aside = CheckpointAside(
            journal, directory, 500, keep=100, beside=(lambda: {"counts": counts.arrays()}) if folded else None
        )
        pushed = Pipeline(FileStamp(), journal, engine, publishers=[counts.observe])
        with aside:
            for batch in batches(ROWS, 50):
                pushed.take(batch)
                if aside.due(engine.seq):
                    pushed.all()
                    assert aside.now(engine)
                    until(lambda: aside.tend() or not aside.busy)
            pushed.all()
        if plain_at is not None:
            assert engine.seq == plain_at
            CheckpointStore(directory).write(image(stateful(engine), SMALL, journal.journal_id))
    return counts


def test_a_fold_is_restored_from_the_newest_checkpoint_and_sees_only_what_comes_after(tmp_path: Path) -> None:
    truth = run(tmp_path)
    assert truth.kinds[EventKind.TRADE] > 10, "or these tests show nothing"
    fold = Counts()
    journal, engine, recovered = recover(tmp_path, fold=fold)
    with journal:
        assert (fold.asked, recovered.rebuilt.checkpoint_seq, fold.seen) == ([3_000], 3_000, 0)
        assert (fold.kinds == truth.kinds).all()
        assert fold.seq == engine.seq == 3_000
        pump([ROWS[:100]], FileStamp(engine.now_ns), journal, engine, publishers=[fold.observe])
    tail = Counts()
    with recover(tmp_path, fold=tail)[0]:
        assert tail.seen == 100
        assert (tail.kinds == fold.kinds).all()


def test_a_checkpoint_that_the_fold_refuses_is_noted_and_an_older_one_is_used(tmp_path: Path) -> None:
    truth = run(tmp_path)
    fold = Counts(refuses=(3_000, 2_500))
    journal, engine, recovered = recover(tmp_path, fold=fold)
    journal.close()
    assert (fold.asked, recovered.rebuilt.checkpoint_seq, fold.seen) == ([3_000, 2_500, 2_000], 2_000, 1_000)
    assert engine.seq == 3_000
    assert (fold.kinds == truth.kinds).all()
    assert [note for note in recovered.notes if "users' streams" in note] == [
        f"checkpoint {seq} holds the market but not all of the users' streams: there is no count; it was not used: "
        "replay begins at an older one or at command 1"
        for seq in (3_000, 2_500)
    ]
    assert all(info.valid for info in CheckpointStore(tmp_path).list()), "a checkpoint is not bad for that"


def test_a_newer_checkpoint_without_the_fold_is_passed_over(tmp_path: Path) -> None:
    truth = run(tmp_path, plain_at=3_000)
    fold = Counts()
    journal, _, recovered = recover(tmp_path, fold=fold)
    journal.close()
    # The plain one of command 3000 took the place of the one with the fold.
    assert recovered.rebuilt.checkpoint_seq == 2_500
    assert (fold.kinds == truth.kinds).all()


@pytest.mark.parametrize("kind", ["kernel", "reference"])
def test_a_fold_that_no_checkpoint_holds_sees_everything(tmp_path: Path, kind: Any) -> None:
    truth = run(tmp_path, folded=False)
    fold = Counts()
    journal, _, recovered = recover(tmp_path, engine=kind, fold=fold)
    journal.close()
    assert (recovered.rebuilt.checkpoint_seq, fold.seen) == (0, 3_000)
    assert (fold.kinds == truth.kinds).all()


def test_a_recovery_without_a_fold_uses_a_checkpoint_with_one(tmp_path: Path) -> None:
    run(tmp_path)
    journal, _, recovered = recover(tmp_path)
    journal.close()
    assert recovered.rebuilt.checkpoint_seq == 3_000
    assert recovered.notes == ()


def test_what_must_be_on_the_disk_too_is_synced_before_the_checkpoint_has_its_name(tmp_path: Path) -> None:
    journal, engine = create(tmp_path / "node", SMALL)
    assert isinstance(engine, Engine)
    folder, witness = tmp_path / "node" / "checkpoints", tmp_path / "witness"

    def synced() -> None:
        names = sorted(path.suffix for path in folder.iterdir())
        with witness.open("w") as file:
            file.write(f"{names} {os.getpid()}")

    done: list[int] = []
    with journal:
        aside = CheckpointAside(journal, tmp_path / "node", 10**9, before_named=synced, finished=done.append)
        pump(batches(ROWS[:500], 50), FileStamp(), journal, engine, at_boundary=aside)
        assert (aside.finished_seq, aside.due(engine.seq)) == (0, False)
        assert aside.now(engine)
        assert not aside.now(engine) or done, "one at a time"
        until(lambda: aside.tend() or done)
        aside.finish()
    names, pid = witness.read_text().rsplit(" ", 1)
    assert names == "['.tmp']"
    assert int(pid) != os.getpid()
    assert done[0] == aside.finished_seq == 500
    assert CheckpointAside(Journal.open(tmp_path / "node", readonly=True), tmp_path / "node", 5).finished_seq == 500


def test_a_checkpoint_is_given_up_when_what_goes_with_it_cannot_be_synced(tmp_path: Path) -> None:
    journal, engine = create(tmp_path, SMALL)

    def fails() -> None:
        raise OSError("the spool is gone")

    with journal:
        pump(batches(ROWS[:500], 50), FileStamp(), journal, engine)
        aside = CheckpointAside(journal, tmp_path, 100, before_named=fails)
        assert aside.now(engine)
        with pytest.raises(CheckpointError, match="the spool is gone"):
            aside.finish()
    assert CheckpointStore(tmp_path).list() == []
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_block_that_is_missing_is_told_with_its_command_and_what_to_run() -> None:
    engine, block = SimpleNamespace(seq=200), SimpleNamespace(first_seq=101, last_seq=200, rules_version=RULES_VERSION)
    journal = SimpleNamespace(blocks=lambda *_: [block])
    with pytest.raises(ReplayError, match=r"with command 201 is missing or damaged.* run `lockstep journal check DIR`"):
        list(played(cast(Any, journal), cast(Any, engine), 300))
