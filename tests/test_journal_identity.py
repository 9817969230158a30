"""A journal has an identity: two with identical commands share no block, checkpoint, spool or arrival record."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from checkpoints import CheckpointStore, Projections
from directory.recover import Recovery, create, prune, recover
from gateway.arrival_log import ArrivalFiles, read_arrivals
from gateway.ouch.outbox import OuchOutbox
from gateway.side_files import SideFileError
from gateway.spool import Spool
from journal import Block, Journal, JournalDamaged, frame, marks
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.golden import made
from tests.journals import META, fill
from tests.nodes import batches, image_of, write_node
from tests.streams import random_stream
from tests.test_arrival_log import turn

GOLDEN = Path(made.__file__).parent
ROWS = random_stream(41, 600)
ONE, OTHER = b"one" + bytes(13), b"other" + bytes(11)
MESSAGE = b"\0\1x"


def written(directory: Path, journal_id: bytes | None = None) -> tuple[bytes, list[Block]]:
    """A journal with the same five blocks as any other that this makes: its id and blocks."""
    with Journal.create(directory, META, journal_id=journal_id) as journal:
        fill(journal, [3, 1, 4, 1, 5])
        return journal.journal_id, list(journal.blocks())


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories with identical commands, each with a checkpoint at the end."""
    for name in ("one", "other"):
        write_node(tmp_path / name, ROWS, checkpoint_every=len(ROWS))
    return tmp_path / "one", tmp_path / "other"


# The journal.


def test_two_journals_with_identical_commands_have_ids_and_chains_of_their_own(tmp_path: Path) -> None:
    (one_id, one), (other_id, other) = written(tmp_path / "one"), written(tmp_path / "other")
    assert one_id != other_id
    assert [bytes(block.rows) for block in one] == [bytes(block.rows) for block in other]
    assert not {block.checksum for block in one} & {block.checksum for block in other}
    assert not {block.previous for block in one} & {block.previous for block in other}


def test_an_id_that_is_given_gives_the_same_bytes_again(tmp_path: Path) -> None:
    assert written(tmp_path / "one", ONE) == (ONE, written(tmp_path / "same", ONE)[1])
    for name in ("genesis", "tail"):
        assert (tmp_path / "one" / "journal" / name).read_bytes() == (tmp_path / "same" / "journal" / name).read_bytes()
    with pytest.raises(ValueError, match="has 16 bytes, not 3"):
        Journal.create(tmp_path / "short", META, journal_id=b"one")
    assert not (tmp_path / "short").exists()


def test_a_copy_of_a_directory_has_the_same_id(tmp_path: Path) -> None:
    one_id, blocks = written(tmp_path / "one")
    with Journal.open(shutil.copytree(tmp_path / "one", tmp_path / "copy")) as journal:
        assert (journal.journal_id, journal.has_own_id) == (one_id, True)
        assert list(journal.blocks()) == blocks


def test_a_first_block_of_another_journal_is_refused_as_that(tmp_path: Path) -> None:
    _, (block, *_) = written(tmp_path / "other")
    written(tmp_path / "one")
    genesis = marks.decode_genesis((tmp_path / "one" / "journal" / "genesis").read_bytes())
    with pytest.raises(JournalDamaged, match="the block at seq 1 was taken from another journal"):
        frame.check_link(block, 1, genesis.checksum)


@pytest.mark.parametrize("name", ["data.mdb", "genesis"])
def test_a_file_of_another_journal_is_found_and_the_journal_is_not_written(tmp_path: Path, name: str) -> None:
    for node in ("one", "other"):
        written(tmp_path / node)
    shutil.copy(tmp_path / "other" / "journal" / name, tmp_path / "one" / "journal" / name)
    with pytest.raises(JournalDamaged, match=r"data\.mdb or genesis was taken from another journal"):
        Journal.open(tmp_path / "one")
    with Journal.open(tmp_path / "one", readonly=True) as journal:
        assert any("taken from another journal" in problem.sentence for problem in journal.check().problems)


# Checkpoints.


@pytest.mark.slow
def test_a_checkpoint_of_another_journal_with_identical_commands_is_not_used(
    nodes: tuple[Path, Path], lockstep: Lockstep
) -> None:
    one, other = nodes
    (info,) = CheckpointStore(one).list()
    control = recover(one)
    control[0].close()
    assert control[2].rebuilt.checkpoint_seq == info.seq, "or this test shows nothing"
    shutil.copy(CheckpointStore(other).list()[0].path, info.path)
    journal, _, recovered = recover(one)
    journal.close()
    said = f"checkpoint {info.seq:,} was taken from another journal"
    assert recovered.rebuilt.checkpoint_seq == 0
    assert [note for note in recovered.notes if said in note]
    for workers in (1, 2):
        report = verify(one, workers=workers)
        assert (report.ok, report.checkpoints_compared) == (True, 0)
        assert any(said in note for note in report.notes)
    assert said in lockstep("state", one)[2]
    status, said, _ = lockstep("doctor", one)
    assert (status, "cannot be used: was taken from another journal" in said) == (1, True)
    assert prune(one, 1) == ([], []), "it counts for nothing, and nothing is removed for it"


# Streams of users.


def filled(directory: Path, session: str, journal_id: bytes) -> Spool:
    """A spool with a message of a user."""
    directory.mkdir(exist_ok=True)
    spool = OuchOutbox.open_spool(directory, session, journal_id)
    spool.append(1, 1, 1, MESSAGE)
    spool.flush()
    return spool


def test_a_spool_of_another_journal_is_refused(tmp_path: Path) -> None:
    one, other = (filled(tmp_path / name, "20240115", id_) for name, id_ in (("one", ONE), ("other", OTHER)))
    image = one.image()
    one.close()
    other.close()
    again = OuchOutbox.open_spool(tmp_path / "one", "20240115", ONE)
    again.restore(image)
    assert again.read(1, 0, 10) == MESSAGE, "or this test shows nothing"
    again.close()
    shutil.copy(tmp_path / "other" / "streams" / "20240115.spool", tmp_path / "one" / "streams" / "20240115.spool")
    again = OuchOutbox.open_spool(tmp_path / "one", "20240115", ONE)
    with pytest.raises(ValueError, match=r"one/streams/20240115\.spool was taken from another journal$"):
        again.restore(image)
    again.clear()
    again.append(1, 1, 1, MESSAGE)
    again.flush()
    again.restore(image)
    again.close()


def test_a_spool_of_another_session_is_refused_too(tmp_path: Path) -> None:
    spool = filled(tmp_path, "20240115", ONE)
    image = spool.image()
    spool.close()
    spool.path.rename(spool.path.with_name("20240116.spool"))
    again = OuchOutbox.open_spool(tmp_path, "20240116", ONE)
    with pytest.raises(ValueError, match="was taken from another session"):
        again.restore(image)
    again.close()


@pytest.fixture
def with_streams(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories with the same users, days and commands, each with a checkpoint that holds streams."""
    for name in ("one", "other"):
        directory = tmp_path / name
        journal, engine = create(directory, made.CAPACITY)
        with journal:
            outbox = OuchOutbox(directory, made.CAPACITY, journal.journal_id)
            pump(batches(made.commands(), 50), FileStamp(), journal, engine, publishers=[outbox.observe])
        outbox.flush()
        images = Projections([outbox]).images()
        CheckpointStore(directory).write(replace(image_of(directory, engine), projections=images))
        outbox.close()
    return tmp_path / "one", tmp_path / "other"


def recovered_with_streams(directory: Path) -> tuple[OuchOutbox, Recovery]:
    """Streams and report of a recovery."""
    with Journal.open(directory, readonly=True) as journal:
        outbox = OuchOutbox(directory, made.CAPACITY, journal.journal_id)
    journal, _, recovered = recover(directory, projections=Projections([outbox]))
    journal.close()
    outbox.close()
    return outbox, recovered


def test_streams_of_the_present_day_of_another_journal_are_made_anew(with_streams: tuple[Path, Path]) -> None:
    one, other = with_streams
    files = {path.name: path.read_bytes() for path in (one / "streams").iterdir()}
    present = max(files)
    outbox, recovered = recovered_with_streams(one)
    assert (recovered.notes, outbox.notes) == ((), []), "or this test shows nothing"
    shutil.copy(other / "streams" / present, one / "streams" / present)
    outbox, recovered = recovered_with_streams(one)
    assert recovered.rebuilt.checkpoint_seq == recovered.rebuilt.seq, "the market is restored all the same"
    (note,) = recovered.notes
    assert (
        f"the projection streams in checkpoint {recovered.rebuilt.seq:,} was not used: {one}/streams/{present} was "
        in note
    )
    assert note.endswith("was taken from another journal; the projection was replayed alone from command 1")
    assert {path.name: path.read_bytes() for path in (one / "streams").iterdir()} == files


def test_streams_of_a_past_day_of_another_journal_are_dropped_and_it_is_said(with_streams: tuple[Path, Path]) -> None:
    one, other = with_streams
    past = sorted(path.stem for path in (one / "streams").iterdir())[-2]
    shutil.copy(other / "streams" / f"{past}.spool", one / "streams" / f"{past}.spool")
    outbox, recovered = recovered_with_streams(one)
    assert recovered.rebuilt.checkpoint_seq > 0
    assert past not in outbox.past
    assert outbox.notes == [
        f"the streams of session {past} are not kept any longer: {one}/streams/{past}.spool was taken from another "
        "journal"
    ]


# Records of arrivals.


def test_arrival_records_of_another_journal_are_refused(tmp_path: Path) -> None:
    files = ArrivalFiles(tmp_path, ONE)
    files.append(1, turn(1) + turn(2))
    files.close()
    (read,) = read_arrivals(tmp_path, ONE)
    assert read["seq"].tolist() == [1, 2]
    with pytest.raises(SideFileError, match=r"00000000000000000001\.arrivals was taken from another journal"):
        list(read_arrivals(tmp_path, OTHER))


# Journals that were created before journals had ids.


@pytest.fixture
def before_ids(tmp_path: Path) -> Path:
    """A directory as the release before ids left it: journal, checkpoint and streams."""
    directory = Path(shutil.copytree(GOLDEN / "rules-4", tmp_path / "before"))
    shutil.copytree(GOLDEN / "before-ids", directory, dirs_exist_ok=True)
    return directory


def test_a_journal_from_before_ids_has_the_checksum_of_its_genesis_record_as_its_id(
    before_ids: Path, lockstep: Lockstep
) -> None:
    sealed = (before_ids / "journal" / "genesis").read_bytes()
    with Journal.open(before_ids, readonly=True) as journal:
        assert (journal.journal_id, journal.has_own_id) == (sealed[:16], False)
        assert journal.check().ok
    status, said, _ = lockstep("journal", "info", before_ids)
    assert status == 0
    assert f"{sealed[:16].hex()} (derived from its genesis record: it was created before journals had ids)" in said
    for command in ("journal check", "commands"):
        assert lockstep(*command.split(), before_ids)[0] == 0
