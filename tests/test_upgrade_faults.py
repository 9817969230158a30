"""Faults in an upgrade: before the new slice is there, each leaves the directory as it was."""

import os
import random
import re
import shutil
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import CheckpointError, CheckpointStore
from gateway.ouch.earlier_streams import EarlierStreams
from journal import Journal, JournalBusy, JournalDamaged, JournalError
from journal.slices import places
from node.core.upgrade import upgrade
from replay.errors import Divergence, ReplayError
from replay.verify import Difference, VerifyReport, verify
from tests.conftest import Lockstep
from tests.golden import write_release as written
from tests.golden.releases import HERE, RELEASES, release_content, release_copy
from tests.kills import FullDisk, calls_of, ends_as_interrupted, interrupted, killed
from tests.rows import batch, extend
from tests.upgrades import CAPACITY, LARGER, image_of, is_upgraded, upgraded, written_again


@pytest.fixture(params=sorted(RELEASES))
def release(request: pytest.FixtureRequest) -> str:
    """Name of the directory of a release."""
    return str(request.param)


@pytest.fixture
def directory(release: str, tmp_path: Path) -> Path:
    """A writable copy of it."""
    return release_copy(release, tmp_path / "node")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the directory of the release before this one."""
    return release_copy("release-0.1", tmp_path / "node")


def files_of(directory: Path) -> dict[str, bytes]:
    """The files that the release before needs, with what is in them."""
    folders = ("journal", "checkpoints", "streams")
    found = {path for folder in folders for path in (directory / folder).iterdir() if path.suffix != ".spool"}
    return {str(path.relative_to(directory)): path.read_bytes() for path in found if path.name != "lock.mdb"}


def refused(directory: Path, match: str, error: type[Exception] = ReplayError) -> bool:
    """An upgrade is refused with a sentence, and the directory is as it was."""
    before, spools = files_of(directory), sorted((directory / "streams").glob("*.spool"))
    with pytest.raises(error, match=match) as raised, upgrade(directory):
        pass
    assert files_of(directory) == before
    assert len(places(directory)) == 1
    assert sorted((directory / "streams").glob("*.spool")) == spools
    assert "\n" not in str(raised.value)
    return True


def test_a_directory_that_somebody_writes_is_refused(directory: Path) -> None:
    with (
        Journal.open(directory),
        pytest.raises(JournalBusy, match=r"is being written by process \d+; stop it first"),
        upgrade(directory),
    ):
        pass


def test_without_its_checkpoint_or_with_an_earlier_one_a_slice_of_other_rules_is_refused(old: Path) -> None:
    (path,) = (old / "checkpoints").iterdir()
    octets = path.read_bytes()
    path.unlink()
    assert refused(old, r"there is no checkpoint in .*start and stop the node once with the release that wrote it")
    path.write_bytes(octets)
    with Journal.open(old) as journal:
        journal.put_digest(journal.append(1, written.clock(2, 5)[0].tobytes(), written.OPEN_NS * 2), bytes(16))
    assert refused(old, r"the newest checkpoint in .* is of command 111, and the journal goes to command 112; nothing")


def test_a_damaged_checkpoint_is_refused(old: Path) -> None:
    (path,) = (old / "checkpoints").iterdir()
    octets = path.read_bytes()
    for place in random.Random(5).sample(range(len(octets)), 12):
        path.write_bytes(octets[:place] + bytes([octets[place] ^ 4]) + octets[place + 1 :])
        assert refused(
            old,
            r"(is damaged|does not begin|is cut short|beside|cannot be used|has ).*nothing was changed",
            (CheckpointError, ReplayError),
        )  # type: ignore[arg-type]


def test_a_checkpoint_of_another_journal_is_refused(old: Path) -> None:
    (path,) = (old / "checkpoints").iterdir()
    shutil.copy(HERE / "release-rules-4" / "checkpoints" / path.name, path)
    assert refused(old, "the checkpoint at command 111 is not of the journal in .*, which records other events")


def test_a_last_block_without_its_event_digest_is_refused(old: Path) -> None:
    with Journal.open(old) as journal:
        journal.append(1, written.clock(2, 5)[0].tobytes(), written.OPEN_NS * 2)
    image = image_of(old)
    (path,) = (old / "checkpoints").iterdir()
    path.unlink()
    venue = image.parts["venue"]["venue"]
    venue["seq"] += 1
    CheckpointStore(old).write(replace(image, seq=112))
    assert refused(old, "has no event digest, as after a crash")


def test_a_journal_that_ends_with_an_extend_row_or_is_damaged_is_refused(directory: Path) -> None:
    path = directory / "journal" / "data.mdb"
    octets = path.read_bytes()
    first_row = b"lkbl" if b"lkbl" in octets else written.clock(0)[0].tobytes()
    damaged = bytearray(octets)
    # LMDB leaves copies in pages that are free again: each is damaged.
    for found in re.finditer(re.escape(first_row), octets):
        damaged[found.start() + 40] ^= 1
    path.write_bytes(damaged)
    assert refused(directory, r"damaged|checksum|cannot be verified|other events", (JournalDamaged, ReplayError))  # type: ignore[arg-type]
    path.write_bytes(octets)
    with Journal.open(directory) as journal:
        journal.append(1, batch(extend("NOBODY")).tobytes(), written.OPEN_NS * 2)
    assert refused(directory, "ends with an EXTEND row")


@pytest.mark.parametrize("change", ["missing", "cut", "empty", "a byte more", "changed length"])
def test_a_file_of_the_present_day_that_is_not_whole_is_refused_where_it_cannot_be_made_again(
    old: Path, change: str
) -> None:
    (path,) = (old / "streams").iterdir()
    octets = path.read_bytes()
    match change:
        case "missing":
            path.unlink()
        case "cut":
            os.truncate(path, len(octets) - 1)
        case "empty":
            os.truncate(path, 0)
        case "changed length":
            path.write_bytes(b"\0\1" + octets[2:])
        case _:
            path.write_bytes(octets[:-1] + b"\xff" + octets[-1:])
    if change == "a byte more":
        with upgrade(old) as prepared:
            assert prepared.plan is not None, "bytes behind the last message are nobody's"
        return
    assert refused(old, r"the users' streams cannot go on: .*streams/20240117 .*; nothing was changed: start and stop")


def test_a_directory_whose_checkpoint_lacks_the_streams_is_refused(old: Path) -> None:
    image = image_of(old)
    (path,) = (old / "checkpoints").iterdir()
    path.unlink()
    CheckpointStore(old).write(replace(image, projections={}))
    assert refused(old, "the checkpoint was written without the users' streams; nothing was changed: start and stop")


def test_past_days_are_carried_over_too_and_one_whose_file_is_gone_is_named(tmp_path: Path) -> None:
    """Files of the last release before journals had ids, which kept them."""
    old = release_copy("release-rules-4", tmp_path / "node")
    image, content = image_of(old), release_content("release-rules-4")
    streams = EarlierStreams(old, image.projections)
    images = streams.write(bytes(16))
    assert (sorted(images), streams.notes) == (content["sessions_kept"], [])
    for session in content["sessions_kept"]:
        octets = (old / "streams" / f"{session}.spool").read_bytes()
        for stream in content["streams"][session].values():
            starts = range(4_096, len(octets), 65_536)
            assert stream["crc32"] in [zlib.crc32(octets[start : start + stream["bytes"]]) for start in starts]
    (old / "streams" / "20240115").unlink()
    (note,) = EarlierStreams(old, image.projections).notes
    assert "the streams of session 20240115 are not kept any longer: " in note


@pytest.mark.slow
def test_a_market_that_does_not_fit_into_a_capacity_is_refused(directory: Path, release: str) -> None:
    before = files_of(directory)
    with (
        pytest.raises(ReplayError, match="participants"),
        upgrade(directory, replace(CAPACITY, participants_max=2)) as it,
    ):
        it.begin()
    assert files_of(directory) == before
    assert upgraded(directory).capacity == CAPACITY
    assert is_upgraded(directory, release)


def test_a_replay_that_gives_other_events_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = written_again("release-rules-4", tmp_path / "node")
    monkeypatch.setattr("directory.upgrade.verify", _differing)
    with pytest.raises(Divergence, match="commands 1 to 8 give another events than recorded"), upgrade(old, LARGER):
        pass
    assert len(places(old)) == 1


def _differing(directory: Path, **named: Any) -> VerifyReport:
    report = verify(directory, **named)
    return replace(report, differences=(Difference(1, 8, "events", bytes(16), bytes(range(16))),))


# Kills and full disks.


def prepared_only(directory: Path) -> None:
    with upgrade(directory):
        pass


EACH_RELEASE = pytest.mark.parametrize(
    "release", [pytest.param("release-0.1", marks=pytest.mark.slow), "release-rules-4"]
)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=pytest.mark.long)])
@EACH_RELEASE
def test_a_kill_at_any_step_of_an_upgrade_leaves_what_was_there_or_the_new_slice(
    tmp_path: Path, release: str, kills: int
) -> None:
    counted = release_copy(release, tmp_path / "counted")
    begins = calls_of(lambda: prepared_only(counted))
    calls = calls_of(lambda: upgraded(counted))
    # What comes before ``begin`` only reads; of the rest, the last part begins the slice.
    points = sorted(
        {
            *np.linspace(1, begins, kills // 4, dtype=int),
            *np.linspace(begins, calls, kills // 2, dtype=int),
            *np.linspace(calls - 200, calls, kills // 4, dtype=int),
        }
    )
    numbers = []
    for at_call in points:
        directory = release_copy(release, tmp_path / "killed")
        before = files_of(directory)
        killed(partial(upgraded, directory), int(at_call))
        numbers.append(len(places(directory)))
        assert files_of(directory).items() >= before.items()
        if numbers[-1] == 1:
            upgraded(directory)
        assert is_upgraded(directory, release)
        assert not list((directory / "slices").glob("*.new"))
        shutil.rmtree(directory)
    assert set(numbers) == {1, 2}, "or the kills do not lie on both sides of the new slice"
    assert len(points) > kills - 8


@pytest.mark.slow
@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.long)])
@EACH_RELEASE
def test_a_disk_that_fails_at_any_step_of_an_upgrade_leaves_what_was_there_or_the_new_slice(
    tmp_path: Path, release: str, step: int
) -> None:
    calls, failing, refusals, is_done = 0, 1, 0, False
    while not is_done or calls >= failing:
        failing, is_done = failing + step, False
        disk = FullDisk(("fsync", "mkdir", "rename", "write", "pwrite", "open", "ftruncate"), failing)
        directory = release_copy(release, tmp_path / f"{failing}")
        before = files_of(directory)
        with disk.installed():
            try:
                upgraded(directory)
                is_done = True
            except (JournalError, ReplayError, CheckpointError, OSError):
                refusals += 1
        calls = disk.calls
        assert files_of(directory).items() >= before.items()
        if len(places(directory)) == 1:
            upgraded(directory)
        assert is_upgraded(directory, release)
        shutil.rmtree(directory)
    assert refusals > 40 // step


@pytest.mark.parametrize("points", [4, pytest.param(40, marks=pytest.mark.long)])
@EACH_RELEASE
def test_ctrl_c_at_any_step_of_an_upgrade_leaves_what_was_there_or_the_new_slice(
    tmp_path: Path, release: str, points: int, lockstep: Lockstep
) -> None:
    counted = release_copy(release, tmp_path / "counted")
    calls = calls_of(lambda: lockstep("upgrade", counted, "--yes"))
    for at_call in np.linspace(100, calls * 4 // 5, points, dtype=int).tolist():
        directory = release_copy(release, tmp_path / "interrupted")
        before = files_of(directory)
        status, message = interrupted(["upgrade", directory, "--yes"], at_call)
        is_complete = len(places(directory)) == 2
        assert ends_as_interrupted(status, message, is_complete=is_complete), at_call
        assert files_of(directory).items() >= before.items()
        if len(places(directory)) == 1:
            upgraded(directory)
        assert is_upgraded(directory, release)
        shutil.rmtree(directory)
