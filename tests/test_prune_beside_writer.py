"""Checkpoints that others look after while a node writes them: none that recovery needs goes, nobody is disturbed."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from checkpoints import CheckpointError, CheckpointGone, CheckpointStore
from checkpoints import store as store_module
from cli.main import run_line
from directory.checkpoint_fork import CheckpointFork
from directory.recover import CheckpointEvery, checkpoint, prune, recover, usable
from replay.rebuild import rebuild
from replay.verify import verify
from tests.nodes import write_node
from tests.streams import random_stream
from tests.test_checkpoints import small_checkpoint

ROWS = random_stream(7, 2_000)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node of 2,000 commands with a checkpoint after each 512."""
    write_node(tmp_path / "node", ROWS, checkpoint_every=512)
    return tmp_path / "node"


def seqs(node: Path) -> list[int]:
    """The checkpoints there are, whatever they are like inside."""
    return [info.seq for info in CheckpointStore(node).list()]


def spoil(path: Path) -> None:
    """Another byte in an array: the header stays whole."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_pruning_never_removes_the_newest_that_recovery_can_use(node: Path) -> None:
    assert seqs(node) == [512, 1024, 1536]
    store = CheckpointStore(node)
    spoil(store.list()[-1].path)
    # The control: by their headers all three are good, and the one that is would go.
    assert [info.seq for info in store.list() if info.valid][-1:] == [1536]
    assert prune(node, 1) == ([512], [1024])
    assert seqs(node) == [1024, 1536]
    assert rebuild(node).checkpoint_seq == 1024


def test_checkpoints_of_another_journal_neither_count_nor_go(node: Path, tmp_path: Path) -> None:
    write_node(tmp_path / "longer", random_stream(8, 4_000), checkpoint_every=3_000)
    foreign = CheckpointStore(tmp_path / "longer").list()[-1].path
    foreign.rename(node / "checkpoints" / foreign.name)
    assert prune(node, 2) == ([512], [1024, 1536])
    assert seqs(node) == [1024, 1536, 3008]


def test_where_nothing_is_usable_nothing_is_removed(node: Path) -> None:
    for info in CheckpointStore(node).list():
        spoil(info.path)
    assert prune(node, 1) == ([], [])
    assert len(seqs(node)) == 3
    assert [why for why in usable(node)[1].values() if "does not match its checksum" not in why] == []


@pytest.mark.parametrize("aside", [False, True])
def test_a_node_takes_its_checkpoints_though_there_are_some_beyond_its_journal(
    aside: bool, node: Path, tmp_path: Path
) -> None:
    write_node(tmp_path / "longer", random_stream(8, 4_000), checkpoint_every=3_000)
    foreign = CheckpointStore(tmp_path / "longer").list()[-1].path
    foreign.rename(node / "checkpoints" / foreign.name)
    journal, engine, _ = recover(node)
    with journal:
        if aside:
            with CheckpointFork(journal, 100, keep=1) as every:
                every(journal, engine)
        else:
            CheckpointEvery(100, keep=1)(journal, engine)
    assert seqs(node) == [2000, 3008]


def test_a_file_taken_for_a_leftover_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making the file and locking it, another process may clear it away."""
    ours = CheckpointStore(tmp_path)
    ours.write(small_checkpoint(10))
    swept = []

    def flock(file: object, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:
            swept.extend(ours.folder.glob("*.tmp"))
            store_module._clear_leftovers(ours.folder)
        real(file, operation)  # type: ignore[arg-type]

    real = fcntl.flock
    monkeypatch.setattr(store_module.fcntl, "flock", flock)
    path = ours.write(small_checkpoint(20))
    assert len(swept) == 1
    assert ours.load(path).seq == 20


def test_a_checkpoint_that_is_pruned_under_a_reader_is_no_damage(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = CheckpointStore.load
    gone = []

    def prune_first(self: CheckpointStore, path: "str | os.PathLike[str]", *, mapped: bool = False) -> object:
        if not gone:
            gone.append(path)
            Path(path).unlink()
        return load(self, path, mapped=mapped)

    monkeypatch.setattr(CheckpointStore, "load", prune_first)
    report = verify(node)
    assert (report.ok, report.commands, len(gone)) == (True, len(ROWS), 1)
    gone.clear()
    assert rebuild(node).checkpoint_seq == 1024
    assert [info.valid for info in CheckpointStore(node).list()] == [True] * len(seqs(node))
    with pytest.raises(CheckpointGone):
        CheckpointStore(node).load(node / "checkpoints" / "00000000000000000007.checkpoint")


@pytest.mark.slow
def test_a_writer_and_those_who_prune_and_create_beside_it_all_come_to_their_end(tmp_path: Path) -> None:
    lines = ["instrument XYZ tick=0.01 lot=1 reference=10.00", "participant ALPHA", "phase XYZ continuous"]
    lines += [f"enter ALPHA o{at} {'buy' if at % 2 else 'sell'} 1 XYZ @ {10 + at % 7 - 3}" for at in range(2_000)]
    (tmp_path / "day.txt").write_text("\n".join(lines) + "\n")
    node = tmp_path / "node"
    words = ["run", str(tmp_path / "day.txt"), "--data", str(node), "--block-rows", "20", "--checkpoint-every", "100"]
    writer = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    rounds = 0
    until_s = time.monotonic() + 600
    while writer.poll() is None and time.monotonic() < until_s:
        if seqs(node):
            newest = max(seqs(node))
            checkpoint(node)
            prune(node, 1)
            assert max(seqs(node)) >= newest
            rounds += 1
    _, complaint = writer.communicate(timeout=600)
    assert (writer.returncode, complaint) == (0, "")
    assert rounds, "or nothing was beside the writer"
    good, wrong = usable(node)
    assert good[0].seq == 2_004
    assert wrong == {}
    assert run_line(["verify", str(node), "--workers", "1"]) == 0


def test_at_least_one_is_kept(node: Path) -> None:
    with pytest.raises((CheckpointError, ValueError), match="at least one"):
        prune(node, 0)
    assert run_line(["checkpoint", "prune", str(node), "--keep", "0"]) == 2
