"""A new slice changes nothing in the market: same events, orders, positions, numbers and streams, whatever came before.

The market has five days, users and their streams (``tests.golden.made``). A kill at any step of a roll leaves the
slice before, or the new one.
"""

import errno
import os
import random
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import CheckpointError, Projections
from directory.recover import checkpoint, create, recover, stateful
from directory.roll import begin_slice_live, roll
from engine import Engine
from engine.capacity import Capacity
from engine.interface import MarketEngine
from engine.records import CommandKind
from gateway.ouch.outbox import OuchOutbox
from gateway.spool import Spool
from journal import Journal, JournalError, JournalFault, slices
from replay.difference import unlike
from replay.errors import Divergence, ReplayError
from replay.rebuild import rebuild, rebuild_from
from replay.verify import verify
from sequencer.pump import Pipeline
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.golden.made import CAPACITY, commands
from tests.kills import FullDisk, calls_of, ends_as_interrupted, interrupted, killed
from tests.nodes import batches
from tests.projections import Volumes, streams_of
from tests.rows import batch, extend

ROWS = commands()
BLOCK_COMMANDS = 64
#: Ends of blocks, but not between an EXTEND row and its command: there no slice can begin.
ENDS = [
    end
    for end in (*range(BLOCK_COMMANDS, len(ROWS), BLOCK_COMMANDS), len(ROWS))
    if ROWS[end - 1]["kind"] != CommandKind.EXTEND
]
LARGER = replace(CAPACITY, orders_max=900, ids_max=9_000, instruments_max=7, participants_max=11)


def projections_of(directory: Path) -> Any:
    """The projections of a node in ``directory``, for any capacity."""
    return lambda capacity, journal_id: Projections([OuchOutbox(directory, capacity, journal_id), Volumes()])


class Outcome(NamedTuple):
    """Content of a directory at its end."""

    engine: MarketEngine
    event_digest: bytes
    streams: dict[tuple[str, int], bytes]
    volumes: dict[str, int]


def begin(directory: Path) -> None:
    journal, _ = create(directory, CAPACITY)
    journal.close()


def append(directory: Path, rows: NDArray[Any], capacity: Capacity = CAPACITY) -> Outcome:
    """Recover a directory, append rows to it in blocks, and read all that it holds then."""
    with Journal.open(directory, readonly=True) as journal:
        projections = projections_of(directory)(capacity, journal.journal_id)
    journal, engine, _ = recover(directory, projections=projections)
    outbox, volumes = projections
    with journal:
        pipeline = Pipeline(FileStamp(), journal, engine, publishers=[projections.observe])
        for each in batches(rows, BLOCK_COMMANDS):
            pipeline.take(each)
            pipeline.all()
    try:
        return Outcome(engine, engine.event_digest, streams_of(outbox), volumes.by_symbol)
    finally:
        projections.close()


def rolled_at(directory: Path, ends: Iterable[int], capacities: dict[int, Capacity] | None = None) -> Outcome:
    """The rows in a directory that begins a new slice after each of ``ends``."""
    begin(directory)
    start, capacity = 0, CAPACITY
    for end in ends:
        append(directory, ROWS[start:end], capacity)
        capacity = (capacities or {}).get(end, capacity)
        roll(directory, capacity=capacity, make_projections=projections_of(directory))
        start = end
    return append(directory, ROWS[start:], capacity)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return rolled_at(tmp_path_factory.mktemp("truth"), [])


def agree(outcome: Outcome, truth: Outcome) -> bool:
    assert unlike(outcome.engine, truth.engine) == ()
    assert outcome.event_digest == truth.event_digest
    assert outcome.streams == truth.streams
    assert outcome.volumes == truth.volumes
    outcome.engine.check()
    return True


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_directory_rolled_anywhere_goes_on_as_one_that_never_was(tmp_path: Path, truth: Outcome, seed: int) -> None:
    ends = sorted(random.Random(seed).sample(ENDS[:-1], 4))
    outcome = rolled_at(tmp_path, ends)
    assert agree(outcome, truth)
    assert [place.number for place in slices.places(tmp_path)] == [1, 2, 3, 4, 5]
    for number, end in enumerate(ends, 2):
        with Journal.open(tmp_path, readonly=True, slice_number=number) as journal:
            assert journal.start_seq == end
            assert journal.check().ok


@pytest.mark.slow
def test_a_roll_to_more_room_and_back_changes_nothing_in_the_market(tmp_path: Path, truth: Outcome) -> None:
    ends = [ENDS[n] for n in (9, 17, 30)]
    outcome = rolled_at(tmp_path, ends, {ends[0]: LARGER, ends[2]: CAPACITY})
    assert agree(outcome, truth)
    with Journal.open(tmp_path, readonly=True, slice_number=2) as journal:
        assert Capacity(**journal.meta["capacity"]) == LARGER


def test_a_market_that_does_not_fit_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    begin(tmp_path)
    append(tmp_path, ROWS[: ENDS[20]])
    tiny = replace(CAPACITY, participants_max=2)
    with pytest.raises(ReplayError, match=r"cannot go on with this capacity.*participants"):
        roll(tmp_path, capacity=tiny, make_projections=projections_of(tmp_path))
    assert len(slices.places(tmp_path)) == 1
    append(tmp_path, ROWS[ENDS[20] : ENDS[21]])


@pytest.mark.slow
def test_the_capacity_changes_right_behind_a_roll_too(tmp_path: Path, truth: Outcome) -> None:
    begin(tmp_path)
    append(tmp_path, ROWS[: ENDS[20]])
    make = projections_of(tmp_path)
    roll(tmp_path, make_projections=make)
    with pytest.raises(ReplayError, match=r"slice 2 of .* is empty"):
        roll(tmp_path, make_projections=make)
    assert roll(tmp_path, capacity=LARGER, make_projections=make).number == 3
    assert agree(append(tmp_path, ROWS[ENDS[20] :], LARGER), truth)
    for number in (1, 2, 3):
        with Journal.open(tmp_path, readonly=True, slice_number=number) as journal:
            assert journal.check().ok
    assert verify(tmp_path).ok


def test_what_is_no_place_to_roll_at_is_told(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(ReplayError, match=r"slice 1 of .* is empty"):
        roll(tmp_path)
    append(tmp_path, batch(extend("NOBODY")))
    with pytest.raises(ReplayError, match="ends with an EXTEND row"):
        roll(tmp_path)


@pytest.mark.slow
def test_a_start_reads_the_open_slice_alone(tmp_path: Path, truth: Outcome) -> None:
    """Neither the slices before, nor their checkpoints, are there any more."""
    ends = [ENDS[9], ENDS[20]]
    rolled_at(tmp_path, ends)
    shutil.rmtree(tmp_path / "journal")
    shutil.rmtree(tmp_path / "slices" / "000002")
    assert agree(append(tmp_path, ROWS[:0]), truth)


@pytest.mark.slow
def test_without_its_image_a_slice_starts_from_the_one_before(tmp_path: Path, truth: Outcome) -> None:
    rolled_at(tmp_path, [ENDS[9], ENDS[20]])
    for number in (2, 3):
        (tmp_path / "slices" / f"{number:06d}" / slices.START_IMAGE).unlink()
    assert "is missing; slice 2 was replayed to its end" in " ".join(rebuild(tmp_path).notes)
    assert rebuild(tmp_path, engine="reference").engine.event_digest == truth.event_digest
    assert agree(append(tmp_path, ROWS[:0]), truth)
    image = tmp_path / "slices" / "000003" / slices.START_IMAGE
    assert image.exists(), "a start writes it again"
    image.unlink()
    (taken,) = (tmp_path / "slices" / "000003" / "checkpoints").iterdir()
    assert int(taken.stem) == len(ROWS), "with the projections, so that the next start need not replay them"
    taken.unlink()
    shutil.rmtree(tmp_path / "slices" / "000002")
    with pytest.raises(ReplayError, match="slice 2 that would give it again is not in"):
        append(tmp_path, ROWS[:0])


@pytest.mark.slow
def test_an_image_that_is_not_the_one_named_is_not_used(tmp_path: Path, truth: Outcome) -> None:
    rolled_at(tmp_path, [ENDS[9]])
    path = tmp_path / "slices" / "000002" / slices.START_IMAGE
    other = tmp_path / "other"
    rolled_at(other, [ENDS[8]])
    shutil.copy(other / "slices" / "000002" / slices.START_IMAGE, path)
    assert "is not the image that the genesis record of slice 2 names" in " ".join(rebuild(tmp_path).notes)
    assert agree(append(tmp_path, ROWS[:0]), truth)
    for taken in (tmp_path / "slices" / "000002" / "checkpoints").iterdir():
        taken.unlink()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert agree(append(tmp_path, ROWS[:0]), truth)


@pytest.mark.slow
def test_the_state_at_any_command_is_found_in_its_slice(tmp_path: Path) -> None:
    ends = [ENDS[9], ENDS[20]]
    rolled_at(tmp_path, ends)
    whole = tmp_path / "whole"
    rolled_at(whole, [])
    for seq in (0, 1, 100, ends[0], ends[0] + 1, ends[1] - 3, ends[1], ends[1] + 77, len(ROWS)):
        assert unlike(rebuild(tmp_path, at=seq).engine, rebuild(whole, at=seq).engine) == (), seq
    assert checkpoint(tmp_path)[0] == len(ROWS)
    assert [path.name for path in (tmp_path / "slices" / "000003" / "checkpoints").glob("*.checkpoint")]
    assert rebuild(tmp_path).checkpoint_seq == len(ROWS)


def test_a_slice_before_that_gives_another_state_is_a_divergence(tmp_path: Path) -> None:
    rolled_at(tmp_path, [ENDS[9]])
    path = tmp_path / "slices" / "000002" / slices.START_IMAGE
    path.unlink()
    genesis = tmp_path / "slices" / "000002" / "journal"
    with Journal.open(tmp_path) as journal:
        assert journal.start is not None
        start = journal.start
        journal.begin_slice(journal.meta, event_digest=bytes(16), image=start.image)
    assert genesis.exists()
    with pytest.raises(Divergence, match="does not give the state that slice 3 starts from"):
        rebuild(tmp_path)


def rolled(directory: Path) -> None:
    roll(directory, make_projections=projections_of(directory))


@pytest.mark.parametrize("kills", [8, pytest.param(120, marks=pytest.mark.long)])
def test_a_kill_at_any_step_of_a_roll_leaves_the_slice_before_or_the_new_one(
    tmp_path: Path, truth: Outcome, kills: int
) -> None:
    source, end = tmp_path / "source", ENDS[20]
    begin(source)
    append(source, ROWS[:end])
    checkpoint(source)
    shutil.copytree(source, tmp_path / "counted")
    calls = calls_of(lambda: rolled(tmp_path / "counted"))
    # The last part of it writes; the first only reads, and is as much the recovery's.
    points = sorted(
        {*np.linspace(1, calls, kills // 2, dtype=int), *np.linspace(calls - 220, calls, kills // 2, dtype=int)}
    )
    numbers = []
    for at_call in points:
        directory = tmp_path / "killed"
        shutil.copytree(source, directory)
        killed(partial(rolled, directory), int(at_call))
        places = slices.places(directory)
        numbers.append(len(places))
        rest = ROWS[end:] if at_call % 5 == 0 else ROWS[end : end + 1]
        outcome = append(directory, rest)
        assert not list((directory / "slices").glob("*.new")) or len(places) == 1
        if at_call % 5 == 0:
            assert agree(outcome, truth)
        assert roll(directory, make_projections=projections_of(directory)).number == len(places) + 1
        assert not list((directory / "slices").glob("*.new"))
        shutil.rmtree(directory)
    assert set(numbers) == {1, 2}, "or the kills do not lie on both sides of the new slice"
    assert len(points) > kills - 8


def test_a_roll_without_room_is_told_with_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path)
    append(tmp_path, ROWS[: ENDS[20]])
    told = (
        r"there is no room for slice 2 of .* on the disk of .*: it needs about 1\.\d MB, and 0\.9 MB are free; it was"
    )
    with monkeypatch.context() as patch:
        patch.setattr("directory.disk_room.free_bytes", lambda _: 900_000)
        with pytest.raises(JournalFault, match=told):
            roll(tmp_path, make_projections=projections_of(tmp_path))
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if b"lockstep" in bytes(data[:64]) or len(data) > 4_096:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        with pytest.raises(JournalFault, match=r"no room for slice 2 of .*: the disk filled up; .*repeat the command"):
            roll(tmp_path, make_projections=projections_of(tmp_path))
    assert len(slices.places(tmp_path)) == 1
    assert roll(tmp_path, make_projections=projections_of(tmp_path)).number == 2


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_fails_at_any_step_of_a_roll_leaves_the_slice_before_or_the_new_one(
    tmp_path: Path, step: int
) -> None:
    source = tmp_path / "source"
    begin(source)
    append(source, ROWS[: ENDS[20]])
    checkpoint(source)
    calls, failing, refused = 1, 0, 0
    while calls >= failing:
        failing += step
        disk = FullDisk(("fsync", "mkdir", "rename", "write", "open"), failing)
        directory = tmp_path / f"{failing}"
        shutil.copytree(source, directory)
        with disk.installed():
            try:
                rolled(directory)
            except (JournalError, ReplayError, OSError, CheckpointError):
                refused += 1
        calls = disk.calls
        after = append(directory, ROWS[ENDS[20] : ENDS[21]])
        assert after.engine.seq == ENDS[21]
        shutil.rmtree(directory)
    assert refused > 20 // step


@pytest.mark.slow
@pytest.mark.parametrize("points", [4, pytest.param(60, marks=pytest.mark.long)])
def test_ctrl_c_at_any_step_of_a_roll_leaves_the_slice_before_or_the_new_one_and_says_one_sentence(
    tmp_path: Path, points: int, lockstep: Lockstep
) -> None:
    source = tmp_path / "source"
    begin(source)
    append(source, ROWS[: ENDS[20]])
    checkpoint(source)
    counted = Path(shutil.copytree(source, tmp_path / "counted"))
    calls = calls_of(lambda: lockstep("roll", counted))
    numbers = []
    for at_call in sorted({*np.linspace(100, calls - 200, points, dtype=int).tolist(), calls - 3_000, calls - 1_500}):
        directory = Path(shutil.copytree(source, tmp_path / "interrupted"))
        status, message = interrupted(["roll", directory], at_call)
        is_complete = len(slices.places(directory)) == 2
        assert ends_as_interrupted(status, message, is_complete=is_complete), at_call
        numbers.append(len(slices.places(directory)))
        assert append(directory, ROWS[ENDS[20] : ENDS[21]]).engine.seq == ENDS[21]
        assert verify(directory).ok
        shutil.rmtree(directory)
    assert set(numbers) == {1, 2}, "or the interrupts do not lie on both sides of the new slice"


def test_a_slice_whose_image_a_kill_left_unnamed_costs_one_replay_of_the_slice_before(
    tmp_path: Path, truth: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running node names the image of a slice once it is written; here it was killed before that."""
    begin(tmp_path)
    append(tmp_path, ROWS[: ENDS[9]])
    journal, engine, _ = recover(tmp_path)
    with journal:
        begin_slice_live(journal, stateful(engine))
    left_over = journal.place.folder / "start.1234.tmp"
    left_over.write_bytes(b"half an image")
    replayed: list[int] = []

    def counted(journal: Journal, *arguments: Any, **named: Any) -> Any:
        replayed.append(journal.place.number)
        return rebuild_from(journal, *arguments, **named)

    monkeypatch.setattr("replay.rebuild.rebuild_from", counted)
    journal, _, recovery = recover(tmp_path)
    journal.close()
    assert recovery.notes == (
        "the image that slice 2 starts from was missing, as after a crash; it was written again out of slice 1",
    )
    assert replayed == [1]
    assert not left_over.exists()
    assert agree(append(tmp_path, ROWS[ENDS[9] :]), truth)


@pytest.mark.slow
def test_streams_whose_file_is_lost_are_made_again_over_a_roll_to_more_room(tmp_path: Path) -> None:
    before = rolled_at(tmp_path, [ENDS[-2]], {ENDS[-2]: LARGER})
    for path in (tmp_path / "streams").iterdir():
        path.write_bytes(b"")
    assert append(tmp_path, ROWS[:0], LARGER).streams == before.streams


def test_streams_that_cannot_be_made_again_are_said_to_be_what_is_missing(tmp_path: Path) -> None:
    capacities = {ENDS[-3]: LARGER, ENDS[-2]: CAPACITY}
    rolled_at(tmp_path, [ENDS[-3], ENDS[-2]], capacities)
    for path in (tmp_path / "streams").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ReplayError, match=r"of streams .* slice 2 .* restore the files of streams .* from a copy"):
        append(tmp_path, ROWS[:0])


def test_streams_of_an_earlier_version_go_on_where_no_slice_can_give_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image that the open slice starts from has CRC-32 as checksums, and the slice before is archived."""
    real = Spool.image

    def image_of_version_1(spool: Spool) -> dict[str, NDArray[Any]]:
        crcs = [spool._crc(spool._streams[user]) for user in sorted(spool._streams)]
        return {**real(spool), "crc": np.array(crcs, np.int64)}

    with monkeypatch.context() as earlier:
        earlier.setattr(OuchOutbox, "version", 1)
        earlier.setattr(OuchOutbox, "digest", lambda _: bytes(16))
        earlier.setattr(Spool, "image", image_of_version_1)
        before = rolled_at(tmp_path, [ENDS[-2]])
    shutil.rmtree(tmp_path / "journal")
    contents = {path: path.read_bytes() for path in (tmp_path / "streams").iterdir()}
    for path, content in contents.items():
        path.write_bytes(content[:4_100] + bytes(9) + content[4_109:])
    with pytest.raises(ReplayError, match="no image of streams can be used"):
        append(tmp_path, ROWS[:0])
    for path, content in contents.items():
        path.write_bytes(content)
    assert append(tmp_path, ROWS[:0]).streams == before.streams


def test_an_open_slice_whose_image_has_another_form_is_for_an_upgrade_and_no_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slice before gives the same state, but in our form, of which the genesis record has no digests."""
    rolled_at(tmp_path, [ENDS[9]])
    monkeypatch.setattr("replay.rebuild.state_form", lambda: (99, bytes(16)))
    monkeypatch.setattr(Engine, "part_digests", lambda _: {"venue": bytes(16)})
    with pytest.raises(ReplayError, match=r"holds the state in another form .*`lockstep upgrade"):
        append(tmp_path, ROWS[:0])


def test_an_image_that_a_roll_to_another_capacity_left_unwritten_is_written_again(tmp_path: Path) -> None:
    begin(tmp_path)
    append(tmp_path, ROWS[: ENDS[9]])
    roll(tmp_path, capacity=replace(CAPACITY, orders_max=CAPACITY.orders_max + 500))
    path = slices.places(tmp_path)[1].start_image
    octets = path.read_bytes()
    path.unlink()
    journal, engine, recovered = recover(tmp_path)
    with journal:
        assert engine.seq == ENDS[9]
        assert recovered.start_image.endswith("as after a crash; it was written again out of slice 1")
        assert path.exists()
    assert len(path.read_bytes()) == len(octets)
    assert verify(tmp_path).ok


def test_a_record_of_an_image_that_cannot_be_written_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path)
    append(tmp_path, ROWS[: ENDS[9]])
    journal, engine, _ = recover(tmp_path)
    with journal:
        begin_slice_live(journal, stateful(engine))

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                slices.write_image_record(journal.place, {"venue": bytes(16)})
        assert not list(journal.place.journal.glob("*.tmp"))
        assert not (journal.place.journal / slices.IMAGE_RECORD).exists()
