"""A journal is a chain of slices: each further one begins where the one before ends, or is not there at all."""

import os
import shutil
from pathlib import Path
from typing import Any

import lmdb
import pytest

from directory.recover import stateful
from journal import Journal, JournalDamaged, JournalError, JournalForeign, SliceMissing, marks, slices, store
from replay.rebuild import rebuild
from tests.journals import META, digest_of, fill, read_all, rows_of
from tests.nodes import write_node, write_slices
from tests.streams import random_stream

COUNTS = (3, 1, 200, 5, 64)
DIGEST = bytes(range(16))
IMAGE = {"orders": DIGEST, "venue": DIGEST[::-1]}


def begin(journal: Journal, **changes: int) -> None:
    journal.begin_slice({**META, **changes}, event_digest=DIGEST, image=IMAGE)


def three_slices(directory: Path) -> None:
    """Slices of the same number of commands; the second is of other rules."""
    with Journal.create(directory, META) as journal:
        fill(journal, COUNTS)
        journal.epoch = 4
        fill(journal, COUNTS)
        begin(journal, rules_version=2)
        fill(journal, COUNTS)
        begin(journal)
        fill(journal, COUNTS)


LENGTH = sum(COUNTS)


def test_a_new_slice_goes_on_with_the_numbers_and_is_linked_to_the_one_before(tmp_path: Path) -> None:
    three_slices(tmp_path)
    numbers = [place.number for place in slices.places(tmp_path)]
    assert numbers == [1, 2, 3]
    ends = {}
    for number in numbers:
        with Journal.open(tmp_path, readonly=True, slice_number=number) as journal:
            report = journal.check()
            assert (report.ok, report.blocks) == (True, 10 if number == 1 else 5)
            assert next(block.first_seq for block in journal.blocks()) == journal.start_seq + 1
            assert journal.journal_id == marks.decode_genesis(journal.genesis).journal_id
            ends[number] = (journal.last_seq, list(journal.blocks())[-1].checksum, journal.journal_id)
            for block in journal.blocks():
                assert block.rows == rows_of(block.first_seq, block.count)
            assert journal.info().first_seq == journal.start_seq + 1
    assert [ends[number][0] for number in numbers] == [2 * LENGTH, 3 * LENGTH, 4 * LENGTH]
    with Journal.open(tmp_path) as journal:
        assert (journal.place.number, journal.last_seq, journal.epoch) == (3, 4 * LENGTH, 4)
        start = journal.start
        assert start is not None
        assert (start.last_seq, start.link) == ends[2][:2]
        assert (start.event_digest, start.image, journal.journal_id) == (DIGEST, IMAGE, ends[1][2])
        assert journal.append(1, rows_of(1, 1), 0) == 4 * LENGTH + 1


def test_a_slice_without_commands_can_be_opened_written_and_checked(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        begin(journal)
        assert (journal.last_seq, journal.durable_seq, journal.start_seq) == (LENGTH, LENGTH, LENGTH)
    with Journal.open(tmp_path, readonly=True) as journal:
        assert list(journal.blocks()) == list(journal.digests()) == []
        assert journal.check().ok
        assert journal.info().first_seq == 0
    with Journal.open(tmp_path) as journal:
        fill(journal, (2,))
        with pytest.raises(ValueError, match=f"numbered from {LENGTH + 1}"):
            journal.blocks(LENGTH)
    assert [block.first_seq for block in read_all(tmp_path).blocks] == [LENGTH + 1]


def test_a_closed_slice_is_read_only_and_is_not_opened_for_writing(tmp_path: Path) -> None:
    three_slices(tmp_path)
    for place in slices.places(tmp_path)[:2]:
        assert place.is_marked_closed
        assert not (place.journal / "data.mdb").stat().st_mode & 0o222
        with pytest.raises(JournalError, match=f"slice {place.number} in .* is closed"):
            Journal.open(tmp_path, slice_number=place.number)
    with pytest.raises(JournalError, match="is closed"):
        Journal.open(tmp_path / "slices" / "000002")
    with Journal.open(tmp_path / "slices" / "000002", readonly=True) as alone:
        assert (alone.place.number, alone.start_seq, alone.last_seq) == (2, 2 * LENGTH, 3 * LENGTH)
    with pytest.raises(JournalError, match="holds a journal already"):
        Journal.create(tmp_path, META)


def test_a_slice_that_was_written_after_it_was_closed_is_told(tmp_path: Path) -> None:
    """As by an earlier release, which knows nothing of slices and finds DIR/journal."""
    three_slices(tmp_path)
    shutil.move(tmp_path / "slices", tmp_path / "aside")
    folder = tmp_path / "journal"
    (folder / slices.CLOSED).unlink()
    for name in ("data.mdb", "genesis", "tail"):
        (folder / name).chmod(0o600)
    with Journal.open(tmp_path) as journal:
        fill(journal, (2,))
    shutil.move(tmp_path / "aside", tmp_path / "slices")
    with Journal.open(tmp_path) as journal:  # only the slice before is looked at
        assert journal.place.number == 3
    shutil.move(tmp_path / "slices" / "000003", tmp_path / "aside")
    (tmp_path / "slices" / "000002" / "journal" / slices.CLOSED).unlink()
    with pytest.raises(JournalDamaged, match=r"goes to command 548, but slice 2 begins after command 546"):
        Journal.open(tmp_path)


def test_the_slice_of_a_command_is_found_and_a_missing_one_is_told(tmp_path: Path) -> None:
    three_slices(tmp_path)
    numbers = [slices.place_at(tmp_path, seq).number for seq in (0, 1, 2 * LENGTH, 2 * LENGTH + 1, 3 * LENGTH, 10**9)]
    assert numbers == [1, 1, 1, 2, 2, 3]
    shutil.move(tmp_path / "slices" / "000002", tmp_path / "aside")
    assert slices.place_at(tmp_path, 3 * LENGTH + 1).number == 3
    assert slices.place_at(tmp_path, 5).number == 1
    with pytest.raises(SliceMissing, match=f"command {3 * LENGTH:,} is needed, and slice 2 of the journal is not in"):
        slices.place_at(tmp_path, 3 * LENGTH)
    with pytest.raises(JournalForeign, match="holds no slice 2"):
        Journal.open(tmp_path, readonly=True, slice_number=2)
    with Journal.open(tmp_path) as journal:
        fill(journal, (2,))


def test_where_a_slice_cannot_be_begun_the_one_before_goes_on(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").write_text("written")
        raise JournalError("no image")

    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        with pytest.raises(JournalError, match="no image"):
            journal.begin_slice(META, event_digest=DIGEST, image=IMAGE, prepare=fails)
        with pytest.raises(ValueError, match="16 bytes each"):
            journal.begin_slice(META, event_digest=b"short", image=IMAGE)
        fill(journal, COUNTS)
        assert (journal.place.number, journal.durable_seq) == (1, journal.last_seq)
        begin(journal)
        assert sorted(os.listdir(tmp_path / "slices")) == ["000002"]
    assert read_all(tmp_path).sentences == []


def test_a_disk_that_fails_lmdb_lets_the_slice_before_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        """The lmdb of a disk without room."""

        def __getattr__(self, name: str) -> Any:
            return getattr(lmdb, name)

        def open(self, *_: object, **__: object) -> None:
            raise lmdb.DiskError("no room")

    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        monkeypatch.setattr(store, "lmdb", Failing())
        with pytest.raises(JournalError, match="cannot be written: no room"):
            begin(journal)
        monkeypatch.undo()
        assert not journal.is_closed
        assert os.listdir(tmp_path / "slices") == []
        fill(journal, COUNTS)
    assert read_all(tmp_path).sentences == []


def test_after_the_new_slice_has_its_name_nothing_is_appended_to_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails between the rename and its sync: either slice may be there after a loss of power."""
    real = slices.sync_folder

    def fails(path: Path) -> None:
        if path == tmp_path / "slices":
            raise OSError(5, "Input/output error")
        real(path)

    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        monkeypatch.setattr(slices, "sync_folder", fails)
        with pytest.raises(JournalError, match="slice 2 cannot be opened"):
            begin(journal)
        assert journal.is_closed
        with pytest.raises(JournalError, match="not open for writing"):
            journal.append(1, rows_of(1, 1), 0)
    monkeypatch.undo()
    with Journal.open(tmp_path) as journal:
        assert (journal.place.number, journal.last_seq) == (2, LENGTH)
        fill(journal, COUNTS)


def test_a_slice_of_another_journal_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        three_slices(tmp_path / name)
    shutil.rmtree(tmp_path / "one" / "slices" / "000003")
    shutil.copytree(tmp_path / "two" / "slices" / "000003", tmp_path / "one" / "slices" / "000003")
    with pytest.raises(JournalDamaged, match="of another history"):
        Journal.open(tmp_path / "one")


def test_blocks_of_a_slice_before_do_not_fit(tmp_path: Path) -> None:
    three_slices(tmp_path)
    with Journal.open(tmp_path, readonly=True, slice_number=2) as journal:
        blocks, genesis = list(journal.blocks()), journal.genesis
    with Journal.create_copy(tmp_path / "copy", genesis) as copy:
        assert (copy.place.number, copy.start_seq) == (2, 2 * LENGTH)
        for block in blocks:
            copy.append_block(block.sealed)
            copy.put_digest(block.first_seq, digest_of(block.first_seq))
    with Journal.open(tmp_path / "copy", readonly=True) as copy:
        assert list(copy.blocks()) == blocks
        assert copy.check().ok


def test_a_market_written_in_slices_ends_in_the_state_of_one_slice(tmp_path: Path) -> None:
    rows = random_stream(5, 900)
    in_one = write_node(tmp_path / "one", rows)
    engine = write_slices(tmp_path / "slices", rows, [100, 101, 700])
    assert [place.number for place in slices.places(tmp_path / "slices")] == [1, 2, 3, 4]
    assert engine.event_digest == in_one.event_digest
    rebuilt = rebuild(tmp_path / "slices").engine
    assert stateful(rebuilt).part_digests() == stateful(in_one).part_digests()
    assert (
        rebuild(tmp_path / "slices", at=500).engine.event_digest
        == rebuild(tmp_path / "one", at=500).engine.event_digest
    )


def test_the_image_of_a_slice_that_was_begun_in_a_running_market_is_named_afterwards(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        journal.begin_slice(META, event_digest=DIGEST, image={})
        place = journal.place
        fill(journal, COUNTS)
    with Journal.open(tmp_path, readonly=True) as journal:
        assert journal.start is not None
        assert journal.start.image == {}
    slices.write_image_record(place, IMAGE)
    with Journal.open(tmp_path) as journal:
        assert journal.start is not None
        assert (journal.start.image, journal.start.last_seq) == (IMAGE, LENGTH)
        begin(journal)
    shutil.copy(place.journal / slices.IMAGE_RECORD, tmp_path / "slices" / "000003" / "journal")
    with Journal.open(tmp_path, readonly=True) as journal:
        assert journal.start is not None
        assert journal.start.image == IMAGE, "that of its genesis record"
    record = bytearray((place.journal / slices.IMAGE_RECORD).read_bytes())
    record[-1] ^= 1
    (place.journal / slices.IMAGE_RECORD).write_bytes(record)
    with Journal.open(tmp_path, readonly=True, slice_number=2) as journal:
        assert journal.start is not None
        assert journal.start.image == {}


def test_a_command_of_an_archived_slice_is_said_to_be_in_that_one(tmp_path: Path) -> None:
    three_slices(tmp_path)
    for number in (1, 2):
        first, last = (1, 2 * LENGTH) if number == 1 else (2 * LENGTH + 1, 3 * LENGTH)
        slices.write_note(
            tmp_path, slices.ArchiveNote(number, f"/there/{number}", first, last, 0, 0, 1, {}, 0, "", "", True)
        )
    shutil.rmtree(tmp_path / "journal")
    shutil.rmtree(tmp_path / "slices" / "000002")
    for seq, number in ((5, 1), (3 * LENGTH, 2)):
        with pytest.raises(SliceMissing, match=rf"slice {number} of the journal was archived.*/there/{number}"):
            slices.place_at(tmp_path, seq)


def synced_folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders whose names are put on the disk from now on."""
    synced: list[Path] = []
    real = slices.sync_folder

    def sync(path: Path) -> None:
        synced.append(path)
        real(path)

    monkeypatch.setattr(slices, "sync_folder", sync)
    return synced


def test_a_slice_whose_name_a_crash_left_unsynced_is_written_only_once_that_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a loss of power could take the name with all that was acknowledged in the slice."""
    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        begin(journal)
    synced = synced_folders(monkeypatch)
    with Journal.open(tmp_path) as journal:
        assert {tmp_path, tmp_path / "slices"} <= set(synced)
        fill(journal, COUNTS)
    synced.clear()
    with Journal.open(tmp_path, readonly=True):
        assert not synced


def test_a_new_directory_and_those_above_it_are_on_the_disk_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = synced_folders(monkeypatch)
    with Journal.create(tmp_path / "a" / "b", META):
        assert [tmp_path, tmp_path / "a"] == synced[:2]


def test_a_slice_under_another_number_is_told_and_not_written(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        begin(journal)
        fill(journal, COUNTS)
    (tmp_path / "slices" / "000002").rename(tmp_path / "slices" / "000004")
    with pytest.raises(JournalDamaged, match="000004 is slice 2 of its journal"):
        Journal.open(tmp_path)
    with Journal.open(tmp_path, readonly=True) as journal:
        assert "000004 is slice 2 of its journal" in str(journal.info().problem)
        assert [block.count for block in journal.blocks(LENGTH + 1, 2 * LENGTH)] == list(COUNTS)
    (tmp_path / "slices" / "000004").rename(tmp_path / "slices" / "000002")
    Journal.open(tmp_path).close()


def test_a_first_block_of_an_earlier_epoch_or_time_than_the_slice_before_is_found(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        journal.epoch = 4
        fill(journal, COUNTS)
        begin(journal)
        journal.epoch = journal._last_epoch = journal._last_time_ns = 0
        journal.append(1, rows_of(journal.last_seq + 1, 1), 1)
    with Journal.open(tmp_path, readonly=True) as journal:
        sentences = " ".join(problem.sentence for problem in journal.check().problems)
    assert "is of epoch 0" in sentences
    assert "is before that of the block before it" in sentences


def test_an_event_digest_of_the_slice_before_is_refused(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        fill(journal, COUNTS)
        last = journal.last_seq
        begin(journal)
        with pytest.raises(ValueError, match="does not come next"):
            journal.put_digest(last, DIGEST)
