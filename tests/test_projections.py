"""Projections restart from a checkpoint as the market does; one that cannot is replayed alone, and no other with it.

The market has five days, users and their streams (``tests.golden.made``). Beside the streams stands a second
projection, traded quantity by symbol.
"""

import asyncio
import io
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointError, CheckpointStore, ProjectionImage, Projections, image
from checkpoints import projections as module
from directory.checkpoint_fork import CheckpointFork
from directory.recover import Recovery, create, recover
from engine import Engine
from engine.records import RULES_VERSION, Phase
from gateway.ouch.outbox import OuchOutbox
from journal import Journal
from node.core.opening import open_directory
from node.node import Node, NodeOptions
from node.programs.logs import Log
from replay.errors import Divergence, ReplayError
from replay.rebuild import played
from sequencer.pump import Pipeline, pump
from sequencer.stamp import FileStamp
from tests.golden.made import CAPACITY, commands
from tests.nodes import SMALL, batches, image_of
from tests.operated import SMALL as NODE_CAPACITY
from tests.projections import Blocks, Volumes, all_of, streams_of
from tests.rows import BUY, SELL, batch, enter, instrument, participant, phase
from tests.test_checkpoint_fork import until

ROWS = commands()
BLOCK_COMMANDS = 64
ENDS = [*range(BLOCK_COMMANDS, len(ROWS), BLOCK_COMMANDS), len(ROWS)]
CHECKPOINT_BLOCKS = 8
NAMES = ("streams", "volumes")


class Truth(NamedTuple):
    """Results of a run that nothing disturbs. ``digests``: of each projection, by command."""

    digests: dict[int, dict[str, bytes]]
    by_symbol: dict[str, int]
    streams: dict[tuple[str, int], bytes]


def digests_of(projections: Projections) -> dict[str, bytes]:
    return {each.name: each.digest() for each in projections}


def write(directory: Path, engine: Engine, projections: Projections) -> None:
    """Write a checkpoint with the images of projections, by hand."""
    projections.flush()
    projections.sync()
    images = projections.images()
    CheckpointStore(directory).write(replace(image_of(directory, engine), projections=images))


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    directory = tmp_path_factory.mktemp("truth")
    engine, digests = Engine(CAPACITY), {}
    volumes, outbox, projections = all_of(directory, cast(Any, SimpleNamespace(journal_id=bytes(16))))
    for rows in batches(ROWS, BLOCK_COMMANDS):
        first_seq = engine.seq + 1
        projections.observe(first_seq, rows, engine.apply(rows))
        digests[engine.seq] = digests_of(projections)
    assert sum(volumes.by_symbol.values()) > 1_000, "or these tests show nothing"
    assert len({session for (session, _), data in streams_of(outbox).items() if data}) >= 5
    return Truth(digests, volumes.by_symbol, streams_of(outbox))


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A directory with a checkpoint after each eighth block and at the end, with both images."""
    directory = tmp_path / "node"
    journal, engine = create(directory, CAPACITY)
    assert isinstance(engine, Engine)
    _, _, projections = all_of(directory, journal)
    with journal:
        pipeline = Pipeline(FileStamp(), journal, engine, publishers=[projections.observe])
        for number, rows in enumerate(batches(ROWS, BLOCK_COMMANDS), 1):
            pipeline.take(rows)
            pipeline.all()
            if number % CHECKPOINT_BLOCKS == 0 or engine.seq == len(ROWS):
                write(directory, engine, projections)
    projections.close()
    return directory


def restarted(directory: Path) -> tuple[Volumes, OuchOutbox, Recovery]:
    """Projections and report of a recovery."""
    with Journal.open(directory, readonly=True) as journal:
        volumes, outbox, projections = all_of(directory, journal)
    journal, _, recovered = recover(directory, projections=projections)
    journal.close()
    return volumes, outbox, recovered


def agree(volumes: Volumes, outbox: OuchOutbox, truth: Truth) -> bool:
    assert volumes.by_symbol == truth.by_symbol
    assert streams_of(outbox) == truth.streams
    assert {"streams": outbox.digest(), "volumes": volumes.digest()} == truth.digests[len(ROWS)]
    outbox.close()
    return True


def checkpoints(directory: Path) -> list[int]:
    return [info.seq for info in CheckpointStore(directory).list()]


def change(directory: Path, name: str, how: Callable[[ProjectionImage], ProjectionImage | None], seq: int) -> None:
    """Write a checkpoint anew with another image of a projection, or without one."""
    store = CheckpointStore(directory)
    (path,) = [info.path for info in store.list() if info.seq == seq]
    taken = store.load(path)
    images = {each: how(old) if each == name else old for each, old in taken.projections.items()}
    store.write(replace(taken, projections={each: new for each, new in images.items() if new is not None}))


def damage(directory: Path, name: str, seq: int) -> None:
    """Flip a bit in the first array that a checkpoint has of a projection."""
    (path,) = [info.path for info in CheckpointStore(directory).list() if info.seq == seq]
    with path.open("r+b") as file:
        header = image.decode_header(file, path.stat().st_size, str(path))
        place = header.start + next(offset for group, *_, offset, _ in header.beside if group == name)
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 4]))


# Restarts.


def one_life(directory: Path, blocks: int, *, checkpoint: bool) -> dict[str, bytes]:
    """Recover, check that all is as it was, take ``blocks`` blocks, perhaps a checkpoint; digests at the end."""
    with Journal.open(directory, readonly=True) as journal:
        _, _, projections = all_of(directory, journal)
    journal, engine, recovered = recover(directory, projections=projections)
    assert not [note for note in recovered.notes if "projection" in note]
    assert isinstance(engine, Engine)
    pipeline = Pipeline(FileStamp(engine.now_ns), journal, engine, publishers=[projections.observe])
    for rows in batches(ROWS[engine.seq : engine.seq + blocks * BLOCK_COMMANDS], BLOCK_COMMANDS):
        pipeline.take(rows)
        pipeline.all()
    if checkpoint:
        write(directory, engine, projections)
    return digests_of(projections)


@pytest.mark.slow
def test_a_node_that_is_killed_after_each_block_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, truth: Truth
) -> None:
    directory = tmp_path / "node"
    create(directory, CAPACITY)[0].close()
    for number, seq in enumerate(ENDS, 1):
        hears, says = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                digests = one_life(directory, 1, checkpoint=number % CHECKPOINT_BLOCKS == 3 and seq < len(ROWS))
                os.write(says, b"".join(digests[name] for name in NAMES))
            finally:
                os.kill(os.getpid(), signal.SIGKILL)  # nothing is flushed, nothing is closed
        os.waitpid(pid, 0)
        os.close(says)
        with open(hears, "rb") as told:
            assert told.read() == b"".join(truth.digests[seq][name] for name in NAMES), f"after command {seq}"
    volumes, outbox, recovered = restarted(directory)
    assert 0 < volumes.seen == len(ROWS) - recovered.rebuilt.checkpoint_seq < len(ROWS) / 2
    assert agree(volumes, outbox, truth)


def test_projections_are_restored_from_the_newest_checkpoint_and_see_only_what_comes_after(
    node: Path, truth: Truth
) -> None:
    volumes, outbox, recovered = restarted(node)
    assert (recovered.rebuilt.checkpoint_seq, volumes.seen, recovered.notes) == (len(ROWS), 0, ())
    assert agree(volumes, outbox, truth)


@pytest.mark.parametrize("size", [1, 37, 512, len(ROWS)])
def test_results_do_not_depend_on_block_boundaries(size: int, tmp_path: Path, truth: Truth) -> None:
    engine, blocks = Engine(CAPACITY), Blocks()
    volumes, outbox, projections = all_of(tmp_path, cast(Any, SimpleNamespace(journal_id=bytes(16))))
    for rows in batches(ROWS, size):
        first_seq = engine.seq + 1
        events = engine.apply(rows)
        projections.observe(first_seq, rows, events)
        blocks.observe(first_seq, rows, events)
        if engine.seq in truth.digests:
            assert digests_of(projections) == truth.digests[engine.seq]
    assert agree(volumes, outbox, truth)
    assert blocks.by_symbol != truth.by_symbol, "control: one that counts blocks differs"


# One that cannot be restored.

UNUSABLE: dict[str, tuple[Callable[[Path, str, int], None], str]] = {
    "damaged": (damage, "it is damaged: its array "),
    "of another version": (
        lambda node, name, seq: change(node, name, lambda old: old._replace(version=99), seq),
        "it has version 99, and this release's has ",
    ),
    "missing": (lambda node, name, seq: change(node, name, lambda _: None, seq), "there is none"),
    "without an array": (
        lambda node, name, seq: change(node, name, lambda old: old._replace(arrays={}), seq),
        "",
    ),
    "of another command": (
        lambda node, name, seq: change(node, name, lambda old: old._replace(digest=bytes(16)), seq),
        "restored, it has another digest than the checkpoint records",
    ),
}


@pytest.mark.slow_after(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", UNUSABLE)
def test_an_image_that_cannot_be_used_leaves_the_market_and_the_other_projections_at_their_checkpoint(
    how: str, name: str, node: Path, truth: Truth
) -> None:
    spoil, why = UNUSABLE[how]
    newest, before = checkpoints(node)[-1], checkpoints(node)[-2]
    spoil(node, name, newest)
    seen: dict[str, int] = {"streams": 0}
    observe = OuchOutbox.observe

    def counted(self: OuchOutbox, first_seq: int, rows: NDArray[Any], events: NDArray[Any]) -> None:
        seen["streams"] += len(rows)
        observe(self, first_seq, rows, events)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OuchOutbox, "observe", counted)
        volumes, outbox, recovered = restarted(node)
    seen["volumes"] = volumes.seen
    assert recovered.rebuilt.checkpoint_seq == newest
    assert recovered.rebuilt.blocks == 0
    note = recovered.notes[0]
    if why == "there is none":
        assert note.startswith(f"checkpoint {newest:,} was taken without the projection {name}; ")
    else:
        assert note.startswith(f"the image of the projection {name} in checkpoint {newest:,} was not used: {why}")
    assert note.endswith(f"; the projection was replayed alone from checkpoint {before:,}")
    assert seen == {each: newest - before if each == name else 0 for each in NAMES}
    assert agree(volumes, outbox, truth)
    assert all(info.valid for info in CheckpointStore(node).list()), "a checkpoint is not bad for that"
    assert len(recovered.notes) == (2 if how == "of another command" else 1)


def test_projections_are_replayed_alone_each_from_its_own_newest_image(node: Path, truth: Truth) -> None:
    seqs = checkpoints(node)
    for seq in seqs[-2:]:
        damage(node, "volumes", seq)
    for seq in seqs:
        change(node, "streams", lambda _: None, seq)
    volumes, outbox, recovered = restarted(node)
    assert recovered.rebuilt.checkpoint_seq == seqs[-1]
    assert volumes.seen == seqs[-1] - seqs[-3]
    assert [note.rpartition("; ")[2] for note in recovered.notes] == [
        "the projection was replayed alone from command 1",
        f"the projection was replayed alone from checkpoint {seqs[-3]:,}",
    ]
    assert agree(volumes, outbox, truth)


def test_the_tail_after_a_replay_alone_is_shown_to_all_once(node: Path, truth: Truth) -> None:
    newest = CheckpointStore(node).list()[-1]
    newest.path.unlink()
    seqs = checkpoints(node)
    damage(node, "volumes", seqs[-1])
    advanced: list[tuple[int, int]] = []
    with Journal.open(node, readonly=True) as journal:
        volumes, outbox, projections = all_of(node, journal)
    recover(node, projections=projections, progress=lambda done, total: advanced.append((done, total)))[0].close()
    assert volumes.seen == len(ROWS) - seqs[-2]
    assert [done for done, _ in advanced] == sorted(done for done, _ in advanced)
    assert {total for _, total in advanced} == {len(ROWS) - seqs[-2]} == {advanced[-1][0]}
    assert agree(volumes, outbox, truth)


@pytest.mark.parametrize("kind", ["kernel", "reference"])
def test_without_a_checkpoint_projections_see_everything(kind: Any, node: Path, truth: Truth) -> None:
    for info in CheckpointStore(node).list():
        info.path.unlink()
    with Journal.open(node, readonly=True) as journal:
        volumes, outbox, projections = all_of(node, journal)
    journal, _, recovered = recover(node, engine=kind, projections=projections)
    journal.close()
    assert (recovered.rebuilt.checkpoint_seq, volumes.seen, recovered.notes) == (0, len(ROWS), ())
    assert agree(volumes, outbox, truth)


def test_a_projection_that_is_new_in_a_release_is_replayed_alone_from_the_first_command(node: Path) -> None:
    fresh = Blocks()
    journal, _, recovered = recover(node, projections=Projections([fresh]))
    journal.close()
    assert (recovered.rebuilt.checkpoint_seq, fresh.seen) == (len(ROWS), len(ROWS))
    (note,) = recovered.notes
    assert note.startswith(f"checkpoint {len(ROWS):,} was taken without the projection blocks; the projection was ")


def test_a_replay_alone_whose_events_are_not_the_recorded_ones_does_not_go_on(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(node, "volumes", checkpoints(node)[-1])
    monkeypatch.setattr(Journal, "digest", lambda *_: bytes(16))
    monkeypatch.setattr("replay.rebuild.why_not", lambda *_: None)
    with pytest.raises(Divergence, match="differs from the record in commands"):
        restarted(node)


def test_a_projection_whose_rules_changed_without_its_version_is_told(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(node, "volumes", checkpoints(node)[-1])
    monkeypatch.setattr(Volumes, "digest", lambda _: bytes(16))
    _, outbox, recovered = restarted(node)
    outbox.close()
    assert recovered.notes[-1].endswith("for the same version: its rules changed and its version did not")
    assert recovered.rebuilt.checkpoint_seq == len(ROWS)


def test_without_the_checks_a_wrong_image_would_be_used(
    node: Path, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""

    def doubled(old: ProjectionImage) -> ProjectionImage:
        return old._replace(version=99, arrays=old.arrays | {"qty": 2 * old.arrays["qty"]})

    def unchecked(projection: Any, old: ProjectionImage, seq: int) -> str:
        projection.restore(old.arrays, seq)
        return ""

    change(node, "volumes", doubled, len(ROWS))
    monkeypatch.setattr(module, "_restored", unchecked)
    volumes, outbox, recovered = restarted(node)
    outbox.close()
    assert recovered.notes == ()
    assert volumes.by_symbol == {symbol: 2 * qty for symbol, qty in truth.by_symbol.items()}
    monkeypatch.undo()
    assert agree(*restarted(node)[:2], truth)


def test_two_projections_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two projections have the same name: volumes, volumes"):
        Projections([Volumes(), Volumes()])


# Checkpoints that a node takes.


class Synced(Volumes):
    """Projection that records the folder of checkpoints, and the process, at its sync."""

    def __init__(self, folder: Path, witness: Path) -> None:
        super().__init__()
        self._folder, self._witness = folder, witness

    def sync(self) -> None:
        names = sorted(path.suffix for path in self._folder.iterdir())
        self._witness.write_text(f"{names} {os.getpid()}")


def test_files_of_projections_are_synced_before_the_checkpoint_has_its_name(tmp_path: Path) -> None:
    directory, witness = tmp_path / "node", tmp_path / "witness"
    journal, engine = create(directory, SMALL)
    projections = Projections([Synced(directory / "checkpoints", witness)])
    done: list[int] = []
    with journal:
        aside = CheckpointFork(journal, 10**9, projections=projections, on_checkpoint=done.append)
        pump(batches(ROWS[:500], 50), FileStamp(), journal, engine, publishers=[projections.observe], at_boundary=aside)
        assert (aside.finished_seq, aside.due(engine.seq)) == (0, False)
        assert aside.now(engine)
        assert not aside.now(engine) or done, "one at a time"
        until(lambda: aside.tend() or done)
        aside.finish()
    names, pid = witness.read_text().rsplit(" ", 1)
    assert names == "['.tmp']"
    assert int(pid) != os.getpid()
    assert done[0] == aside.finished_seq == 500
    (info,) = CheckpointStore(directory).list()
    assert info.projections == {"volumes": (1, next(iter(projections)).digest())}
    assert CheckpointFork(Journal.open(directory, readonly=True), 5).finished_seq == 500


def test_a_checkpoint_is_given_up_when_files_of_a_projection_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, engine = create(tmp_path, SMALL)

    def fails(_: object) -> None:
        raise OSError("the spool is gone")

    monkeypatch.setattr(Volumes, "sync", fails)
    with journal:
        pump(batches(ROWS[:500], 50), FileStamp(), journal, engine)
        aside = CheckpointFork(journal, 100, projections=Projections([Volumes()]))
        assert aside.now(engine)
        with pytest.raises(CheckpointError, match="the spool is gone"):
            aside.finish()
    assert CheckpointStore(tmp_path).list() == []
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_node_takes_a_list_of_projections_and_has_them_again_after_a_restart(tmp_path: Path) -> None:
    async def traded(volumes: Volumes) -> None:
        opened = open_directory(tmp_path / "node", NODE_CAPACITY, "none", others=[volumes])
        with opened.journal:
            node = Node(opened, NodeOptions(tmp_path / "node", durability="none", arrivals=False), Log(io.StringIO()))
            await node.start()
            if not opened.engine.seq:
                await node.submit(
                    batch(instrument("XYZ"), participant("P1"), participant("P2"), phase("XYZ", Phase.CONTINUOUS))
                )
            again = opened.engine.seq
            for n, side in enumerate((BUY, SELL), 1):
                await node.submit(enter(n, f"a{again}", side, 500, 90_000))
            await node.shutdown()
            await asyncio.wait_for(node.run(), 300)

    first, second = Volumes(), Volumes()
    asyncio.run(traded(first))
    assert first.by_symbol == {"XYZ": 500}
    (info, *_) = reversed(CheckpointStore(tmp_path / "node").list())
    assert info.projections["volumes"] == (1, first.digest())
    assert info.projections.keys() == {"streams", "volumes"}
    asyncio.run(traded(second))
    assert second.by_symbol == {"XYZ": 1_000}
    assert second.seq == second.seen + info.seq


def test_a_block_that_is_missing_is_told_with_its_command_and_what_to_run() -> None:
    engine, block = SimpleNamespace(seq=200), SimpleNamespace(first_seq=101, last_seq=200, rules_version=RULES_VERSION)
    journal = SimpleNamespace(blocks=lambda *_: [block], start_seq=200)
    with pytest.raises(ReplayError, match=r"with command 201 is missing or damaged.* run `lockstep journal check DIR`"):
        list(played(cast(Any, journal), cast(Any, engine), 300))
