"""Closed slices can be moved away: whole, with a note, and never by half."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import directory.archive as archiving
from directory.archive import archive
from directory.keep_events import keep_events
from directory.recover import recover
from journal import Journal, SliceMissing, slices
from journal.history import History
from replay.chain import check_chain
from replay.errors import ReplayError
from replay.times import seq_at
from replay.verify import verify
from tests.conftest import Lockstep
from tests.kills import calls_of, ends_as_interrupted, interrupted, killed
from tests.nodes import write_node, write_slices
from tests.streams import random_stream

ROWS = random_stream(51, 900)
ENDS = [300, 500, 700]
FAR = 2**62


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four slices, the closed ones with their events. Read only."""
    path = tmp_path_factory.mktemp("kept") / "node"
    write_slices(path, ROWS, ENDS, checkpoint_every=150)
    for place in slices.places(path)[:-1]:
        keep_events(path, place)
    return path


@pytest.fixture
def node(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(kept, tmp_path / "node"))


def content(folder: Path) -> dict[str, bytes]:
    """Each file of a folder, without LMDB's reader tables."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock.mdb"
    }


def end_time_ns(node: Path, number: int) -> int:
    with Journal.open(node, readonly=True, slice_number=number) as journal:
        return journal.info().last_time_ns or 0


@pytest.mark.slow
def test_old_slices_move_whole_and_a_note_says_where_they_are(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    whole = lockstep("events", node, "--with-seq")[1]
    second = content(node / "slices" / "000002")
    first = {name: raw for name, raw in content(node).items() if name.split("/")[0] != "slices" and name != "lock"}
    report = archive(node, tmp_path / "archive", before_ns=end_time_ns(node, 3))
    assert [note.number for note in report.archived] == [1, 2]
    assert [f"slice 3 of {node} is not old enough"] == list(report.left)
    assert content(tmp_path / "archive" / "000002") == second
    assert content(tmp_path / "archive" / "000001") == first
    assert [place.number for place in slices.places(node)] == [3, 4]
    assert sorted(os.listdir(node / "slices")) == [
        "000001.archived",
        "000002.archived",
        "000003",
        "000004",
        "archive.lock",
    ]
    assert not {"journal", "checkpoints", "events", "verified"} & set(os.listdir(node))
    # A start needs none of it, and the market goes on.
    journal, engine, _ = recover(node)
    assert engine.seq == len(ROWS)
    journal.close()
    listed = json.loads(lockstep("journal", "info", node, "--json")[1])["slices"]
    assert [each["state"] for each in listed] == ["archived", "archived", "closed", "open"]
    assert listed[0]["path"] == str(tmp_path / "archive" / "000001")
    assert (listed[1]["first_seq"], listed[1]["last_seq"], listed[1]["has_events"]) == (301, 500, True)
    status, said, _ = lockstep("journal", "check", node)
    assert status == 0
    assert f"commands 301 to 500 in {tmp_path / 'archive' / '000002'}" in said
    # What needs one says where it is.
    for words in (
        ["events"],
        ["verify"],
        ["state", "--at", "400"],
        ["book", "I1", "--at", "400"],
        ["commands", "--to", 600],
    ):
        status, said, err = (
            lockstep(words[0], node, *words[1:]) if words[0] != "book" else lockstep("book", node, *words[1:])
        )
        assert (status, said) == (2, ""), words
        assert str(tmp_path / "archive") in err, words
    with pytest.raises(SliceMissing, match="archive/000001"):
        seq_at(node, "1971-01-01T00:00")
    assert lockstep("events", node, "--from", 501, "--with-seq")[1] == "".join(
        line for line in whole.splitlines(True) if int(line.split("# ")[1].split()[0]) > 500
    )
    # Each is read where it lies.
    for number, low, high in ((1, 1, 300), (2, 301, 500)):
        status, said, _ = lockstep("events", tmp_path / "archive" / f"{number:06d}", "--with-seq")
        assert status == 0
        assert said == "".join(
            line for line in whole.splitlines(True) if low <= int(line.split("# ")[1].split()[0]) <= high
        )
        assert verify(tmp_path / "archive" / f"{number:06d}").ok
    # And put back.
    for number in (1, 2):
        shutil.copytree(tmp_path / "archive" / f"{number:06d}", node / "slices" / f"{number:06d}")
    assert lockstep("events", node, "--with-seq")[1] == whole
    assert check_chain(node).ok
    assert verify(node).ok


def test_the_open_slice_and_slices_without_events_do_not_move(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    slices.places(node)[1].events.unlink()
    with pytest.raises(ReplayError, match=r"the events of slice 2 of .* are not kept.*keep-events.*--without-events"):
        archive(node, tmp_path / "archive", before_ns=FAR)
    assert [place.number for place in slices.places(node)] == [1, 2, 3, 4]
    status, said, _ = lockstep("journal", "keep-events", node)
    assert (status, said.count("bytes an event")) == (0, 3)
    slices.places(node)[2].events.unlink()
    status, said, err = lockstep(
        "archive", node, "--older-than", "30d", "--to", tmp_path / "archive", "--without-events"
    )
    assert (status, said.count("slice "), err) == (0, 3, "")
    assert [place.number for place in slices.places(node)] == [4]
    status, said, _ = lockstep("archive", node, "--older-than", "0s", "--to", tmp_path / "archive")
    assert status == 0
    assert "archived nothing" in said
    status, _, err = lockstep("archive", node, "--older-than", "soon", "--to", tmp_path / "archive")
    assert status == 2
    assert "--older-than" in err


def test_an_archiving_that_moves_nothing_says_why_once(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    to = tmp_path / "archive"
    status, said, err = lockstep("archive", node, "--older-than", "99999d", "--to", to)
    assert (status, err) == (0, "")
    assert said == f"archived nothing: no closed slice of {node} is older than 99999d\n"
    write_node(tmp_path / "one", ROWS[:50])
    status, said, _ = lockstep("archive", tmp_path / "one", "--older-than", "0s", "--to", to)
    assert (status, said) == (0, f"archived nothing: {tmp_path / 'one'} has one slice, and that is open\n")
    status, _, err = lockstep("archive", node, "--older-than", "banana", "--to", to)
    assert (status, err) == (
        2,
        "lockstep: --older-than is 'banana'; give a whole number and d, h, m or s, such as 30d\n",
    )


@pytest.mark.slow
def test_commands_on_archived_slices_say_where_they_are_once_and_what_is_here(
    kept: Path, node: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    archive(node, tmp_path / "archive", before_ns=end_time_ns(node, 3))
    status, said, _ = lockstep("compare", node, kept)
    assert (status, f"A         {node}, commands 501 to 900" in said) == (0, True)
    assert f"B         {kept}, commands 1 to 900" in said
    assert "compared  commands 501 to 900, " in said
    assert said.count("were archived") == 1
    status, said, err = lockstep("order", node, "NONE")
    assert (status, said, err.count("were archived")) == (2, "", 1)
    assert "ever had the id or token NONE, from command 501 on; " in err
    status, said, err = lockstep("verify", node, "--from", 600, "--engine", "reference")
    assert (status, "commands     400 (501 to 900)" in said) == (0, True)
    assert err.startswith("note: commands 501 to 900 were verified: a verification begins at a checkpoint")
    assert "note" not in lockstep("verify", node, "--from", 501)[2]


@pytest.mark.slow
def test_where_every_command_is_archived_compare_and_order_say_so(
    node: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    assert lockstep("roll", node)[0] == 0
    archive(node, tmp_path / "archive", before_ns=FAR)
    status, _, err = lockstep("compare", node, tmp_path / "archive" / "000004")
    assert (status, f"no command is in both: {node} has none before 901 and " in err) == (2, True)
    assert "has commands 701 to 900; " in err
    status, _, err = lockstep("order", node, "A1")
    assert (status, f"no command is in {node}; slices 1 to 4 of the journal were archived" in err) == (2, True)


def test_a_slice_that_a_start_may_need_does_not_move(node: Path, tmp_path: Path) -> None:
    slices.places(node)[3].start_image.unlink()
    with pytest.raises(ReplayError, match=r"slice 3 of .* is needed for a start"):
        archive(node, tmp_path / "archive", before_ns=FAR)
    assert len(slices.places(node)) == 4


def test_an_archive_of_another_journal_is_not_written_over(node: Path, tmp_path: Path) -> None:
    write_slices(tmp_path / "other", ROWS, ENDS)
    archive(tmp_path / "other", tmp_path / "archive", before_ns=FAR, without_events=True)
    before = content(tmp_path / "archive")
    with pytest.raises(ReplayError, match="is there already, and is not this slice"):
        archive(node, tmp_path / "archive", before_ns=FAR)
    assert content(tmp_path / "archive") == before
    with pytest.raises(ReplayError, match="is in the data directory"):
        archive(node, node / "slices", before_ns=FAR)


def test_a_disk_that_writes_something_else_moves_nothing(
    node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_file = archiving._copy_file

    def flips(source: Path, target: Path) -> None:
        copy_file(source, target)
        if target.name == "data.mdb":
            with os.fdopen(os.open(target, os.O_RDWR), "r+b") as file:
                file.seek(9_000)
                byte = file.read(1)
                file.seek(9_000)
                file.write(bytes([byte[0] ^ 1]))

    before = content(node)
    monkeypatch.setattr(archiving, "_copy_file", flips)
    with monkeypatch.context():
        for place in slices.places(node):
            (place.journal / "data.mdb").chmod(0o600)
        with pytest.raises(ReplayError, match="is not the same as what was copied"):
            archive(node, tmp_path / "archive", before_ns=FAR)
    assert {name: raw for name, raw in content(node).items() if name != "slices/archive.lock"} == before
    assert not (tmp_path / "archive" / "000001").exists()


def test_an_archive_without_room_is_told_with_what_it_needs_and_leaves_no_part(
    node: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "archive"
    with monkeypatch.context() as patch:
        patch.setattr("directory.disk_room.free_bytes", lambda _: 1_000)
        status, _, err = lockstep("archive", node, "--older-than", "1d", "--to", to)
    assert (status, f"there is no room for slice 1 of {node} on the disk of {to}: it needs about 0." in err) == (
        75,
        True,
    )
    assert "and 0.0 MB are free; it was not written: free some space and repeat the command" in err
    copy_file, copied = archiving._copy_file, 0

    def fills(source: Path, target: Path) -> None:
        nonlocal copied
        copied += 1
        if copied == 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        copy_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_copy_file", fills)
        status, _, err = lockstep("archive", node, "--older-than", "1d", "--to", to)
    assert (status, f"of {node} on the disk of {to}: the disk filled up; " in err) == (75, True)
    assert not list(to.glob("*.part"))
    assert lockstep("archive", node, "--older-than", "1d", "--to", to)[0] == 0
    assert [place.number for place in slices.places(node)] == [4]


def test_one_process_archives_at_a_time(node: Path, tmp_path: Path) -> None:
    from journal import JournalBusy

    with archiving._locked(node), pytest.raises(JournalBusy, match="another process archives"):
        archive(node, tmp_path / "archive", before_ns=FAR)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [8, pytest.param(150, marks=pytest.mark.long)])
def test_a_kill_at_any_step_leaves_each_slice_whole_somewhere_and_the_command_resumes(
    kept: Path, tmp_path: Path, kills: int
) -> None:
    source = Path(shutil.copytree(kept, tmp_path / "source"))
    first = {name: raw for name, raw in content(source).items() if name.split("/")[0] != "slices" and name != "lock"}
    parts = {1: first} | {n: content(source / "slices" / f"{n:06d}") for n in (2, 3)}

    def run(node: Path) -> Callable[[], Any]:
        return lambda: archive(node, node.parent / f"{node.name}-archive", before_ns=FAR)

    counted = Path(shutil.copytree(source, tmp_path / "counted"))
    calls = calls_of(run(counted))
    shutil.rmtree(counted)
    for point in sorted(set(np.linspace(1, calls, kills, dtype=int).tolist())):
        node = Path(shutil.copytree(source, tmp_path / "node"))
        away = tmp_path / "node-archive"
        killed(run(node), point)
        for number, expected in parts.items():
            in_place = {n: raw for n, raw in content(node).items() if n.split("/")[0] != "slices" and n != "lock"}
            here = in_place if number == 1 else content(node / "slices" / f"{number:06d}")
            assert expected in (here, content(away / f"{number:06d}")), (point, number)
        # A reader meets each slice whole, or is told where it is.
        with History.open(node) as history:
            for gap in history.gaps():
                assert str(away) in gap.sentence, point
        run(node)()
        assert [place.number for place in slices.places(node)] == [4]
        assert {number: content(away / f"{number:06d}") for number in parts} == parts
        left = {name for name in os.listdir(node / "slices") if not name.endswith(".archived")}
        assert left == {"000004", "archive.lock"}, point
        assert check_chain(node).ok
        shutil.rmtree(node)
        shutil.rmtree(away)
    assert sys.getprofile() is None


def test_what_a_kill_left_half_removed_stays_where_the_archive_holds_another_slice_by_now(
    node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the last copy."""
    with monkeypatch.context() as killed_then:
        killed_then.setattr(archiving.shutil, "rmtree", lambda _: None)
        archive(node, tmp_path / "to", before_ns=end_time_ns(node, 1) + 1)
    gone = node / "slices" / "000001.gone"
    assert (gone / "journal" / "data.mdb").exists()
    (tmp_path / "to" / "000001").rename(tmp_path / "moved")
    write_slices(tmp_path / "to" / "000001", ROWS[:300], [])
    archive(node, tmp_path / "elsewhere", before_ns=0)
    assert (gone / "journal" / "data.mdb").exists()
    shutil.rmtree(tmp_path / "to" / "000001")
    (tmp_path / "moved").rename(tmp_path / "to" / "000001")
    archive(node, tmp_path / "elsewhere", before_ns=0)
    assert not gone.exists()


@pytest.mark.parametrize("points", [8, pytest.param(60, marks=pytest.mark.long)])
def test_ctrl_c_at_any_step_says_one_sentence_and_the_command_resumes(
    kept: Path, tmp_path: Path, points: int, lockstep: Lockstep
) -> None:
    def words(node: Path) -> list[object]:
        return ["archive", node, "--older-than", "1d", "--to", node.with_name(f"{node.name}-archive")]

    counted = Path(shutil.copytree(kept, tmp_path / "counted"))
    calls = calls_of(lambda: lockstep(*words(counted)))
    for point in np.linspace(100, calls * 4 // 5, points, dtype=int).tolist():
        node = Path(shutil.copytree(kept, tmp_path / "node"))
        status, message = interrupted(words(node), point)
        is_complete = [place.number for place in slices.places(node)] == [4]
        assert ends_as_interrupted(status, message, is_complete=is_complete), point
        assert lockstep(*words(node))[0] == 0
        assert [place.number for place in slices.places(node)] == [4]
        assert sorted(os.listdir(tmp_path / "node-archive")) == ["000001", "000002", "000003"], point
        assert check_chain(node).ok
        shutil.rmtree(node)
        shutil.rmtree(tmp_path / "node-archive")
