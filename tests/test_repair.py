"""Damage in a data directory is repaired from another node's, byte for byte; what cannot be repaired is refused, and
nothing is made worse."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from checkpoints import CheckpointStore
from directory.incomplete import clear_incomplete, why_incomplete
from directory.keep_events import keep_events
from journal import Block, Journal, JournalError, slices
from replay.chain import check_chain
from replay.errors import Divergence
from replication import repair as module
from replication.fetch import JournalsApart, fetch
from replication.history import HistoryError
from replication.repair import Repaired, repair
from tests.conftest import Lockstep
from tests.journals import META, digest_of, fill, read_all
from tests.kills import calls_of, killed, places_among
from tests.test_fetch import SECRET, journal_at, same_chain, serving
from tests.test_roll import ENDS, ROWS, agree, append, rolled_at
from tests.test_set_aside import changed, checkpointed, market

COUNTS = (3, 1, 200, 5, 64, 9, 9, 1, 30, 2, 2, 40)
#: Kills of a test, in the fast suite and in the long part.
MANY = pytest.mark.parametrize("kills", [5, pytest.param(150, marks=pytest.mark.long)])


def pair_of(directory: Path) -> list[Block]:
    """Two nodes with the same journal: "a", and its copy "b"."""
    blocks = journal_at(directory / "a", COUNTS)
    with serving(directory / "a") as address:
        fetch(address, SECRET, directory / "b", name="B")
    return blocks


def repaired(directory: Path) -> Repaired:
    """Repair "b" from "a"."""
    done = repair(directory / "b", directory / "a")
    assert done.left == []
    assert same_chain(directory / "a", directory / "b")
    assert not list((directory / "b").rglob("*.damaged"))
    assert not (directory / "b" / "repair.new").exists()
    return done


def flip(path: Path, at: int) -> None:
    path.chmod(0o600)
    path.write_bytes(changed(path.read_bytes(), at))


def damage(directory: Path, block: Block) -> None:
    """Flip a bit in the rows of a block, also in pages of earlier commits, which nobody reads any more."""
    data = directory / "journal" / "data.mdb"
    content, at = data.read_bytes(), -1
    while (at := content.find(bytes(block.rows), at + 1)) >= 0:
        flip(data, at + 5)


def test_a_directory_without_damage_is_left_alone(tmp_path: Path) -> None:
    pair_of(tmp_path)
    before = (tmp_path / "b" / "journal" / "data.mdb").stat().st_ino
    assert repaired(tmp_path) == Repaired()
    assert (tmp_path / "b" / "journal" / "data.mdb").stat().st_ino == before


@pytest.mark.parametrize("number", [0, 4, len(COUNTS) - 1])
def test_a_damaged_block_comes_from_the_other_node_and_the_others_do_not(tmp_path: Path, number: int) -> None:
    blocks = pair_of(tmp_path)
    damage(tmp_path / "b", blocks[number])
    done = repaired(tmp_path)
    assert done.blocks == 1
    (sentence,) = done.sentences
    assert f"the block at seq {blocks[number].first_seq} does not match its checksum" in sentence
    assert f"with 1 of {len(blocks)} blocks from" in sentence
    with Journal.open(tmp_path / "b") as journal:
        fill(journal, [3])


@pytest.mark.slow
@pytest.mark.parametrize("flips", [20, pytest.param(400, marks=pytest.mark.long)])
def test_a_bit_flipped_anywhere_is_repaired_or_harmless(tmp_path: Path, flips: int) -> None:
    pair_of(tmp_path)
    chance = random.Random(11)
    data = tmp_path / "b" / "journal" / "data.mdb"
    content = data.read_bytes()
    found = 0
    for number in range(flips):
        at = chance.randrange(2 * 4_096) if number % 4 == 0 else chance.randrange(len(content))
        data.write_bytes(changed(content, at))
        found += bool(repaired(tmp_path).sentences)
        assert not read_all(tmp_path / "b").sentences
        data.write_bytes(content)
    assert found > flips // 4


@pytest.mark.parametrize("size", [0, 100, 4_096, 20_000])
def test_a_file_that_was_cut_is_written_anew(tmp_path: Path, size: int) -> None:
    pair_of(tmp_path)
    data = tmp_path / "b" / "journal" / "data.mdb"
    data.write_bytes(data.read_bytes()[:size])
    assert len(repaired(tmp_path).sentences) == 1


@pytest.mark.parametrize("name", ["genesis", "tail"])
@pytest.mark.parametrize("how", ["changed", "removed"])
def test_a_small_file_beside_the_journal_is_written_again(tmp_path: Path, name: str, how: str) -> None:
    pair_of(tmp_path)
    path = tmp_path / "b" / "journal" / name
    truth = path.read_bytes()
    if how == "changed":
        flip(path, 20)
    else:
        path.unlink()
    done = repaired(tmp_path)
    assert done.blocks == 0
    assert done.sentences[0].endswith("it was written again")
    assert path.read_bytes() == truth
    Journal.open(tmp_path / "b").close()


def test_a_journal_that_was_removed_is_fetched_whole(tmp_path: Path) -> None:
    blocks = pair_of(tmp_path)
    (tmp_path / "b" / "journal" / "data.mdb").unlink()
    assert repair(tmp_path / "b", tmp_path / "a").blocks == len(blocks)
    assert [bytes(block.sealed) for block in read_all(tmp_path / "b").blocks] == [bytes(b.sealed) for b in blocks]
    assert check_chain(tmp_path / "b").ok


def test_a_primary_that_is_ahead_keeps_what_only_it_has(tmp_path: Path) -> None:
    """The damaged node is the primary, and its standby lags behind."""
    blocks = pair_of(tmp_path)
    with Journal.open(tmp_path / "b") as journal:
        fill(journal, [70, 2])
        journal.wait_durable(journal.last_seq)
        newer = list(journal.blocks())
    damage(tmp_path / "b", blocks[2])
    assert repair(tmp_path / "b", tmp_path / "a").left == []
    assert read_all(tmp_path / "b").blocks == newer
    damage(tmp_path / "b", newer[-2])
    content = (tmp_path / "b" / "journal" / "data.mdb").read_bytes()
    with pytest.raises(HistoryError, match=r"ends at command .*; let that node catch up"):
        repair(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "b" / "journal" / "data.mdb").read_bytes() == content


def test_damage_at_the_same_place_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    blocks = pair_of(tmp_path)
    for name in "ab":
        damage(tmp_path / name, blocks[4])
    content = (tmp_path / "b" / "journal" / "data.mdb").read_bytes()
    with pytest.raises(HistoryError, match=r"cannot give it: .*does not match its checksum"):
        repair(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "b" / "journal" / "data.mdb").read_bytes() == content


def test_damage_at_other_places_is_repaired_from_each_other(tmp_path: Path) -> None:
    blocks = pair_of(tmp_path)
    damage(tmp_path / "a", blocks[2])
    damage(tmp_path / "b", blocks[6])
    assert repair(tmp_path / "b", tmp_path / "a").blocks == 1
    assert repair(tmp_path / "a", tmp_path / "b").blocks == 1
    assert same_chain(tmp_path / "a", tmp_path / "b")


def test_sentences_name_the_directories_that_were_given(
    tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is served to this process by a port of its own, which nobody knows."""
    blocks = pair_of(tmp_path)
    a, b, c, empty = (tmp_path / name for name in ("a", "b", "c", "empty"))
    journal_at(c, COUNTS)
    status, said, sentence = lockstep("repair", b, "--from", c)
    assert (status, said) == (2, "")
    assert (f"{c} has another journal (id " in sentence, f", and {b} id " in sentence) == (True, True), sentence
    empty.mkdir()
    status, said, _ = lockstep("repair", empty, "--from", a)
    assert (status, said.rstrip().endswith(f"was fetched from {a}")) == (0, True), said
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        damage(tmp_path / name, blocks[4])
    status, _, sentence = lockstep("repair", "b", "--from", "./a", "--from", "empty/../a")
    assert (status, "; empty/../a cannot give it" in sentence, "127.0.0.1" in sentence) == (2, True, False), sentence


def test_another_journal_or_history_is_refused(tmp_path: Path) -> None:
    blocks = pair_of(tmp_path)
    damage(tmp_path / "b", blocks[2])
    journal_at(tmp_path / "c", COUNTS)
    with pytest.raises(HistoryError, match="has another journal"):
        repair(tmp_path / "b", tmp_path / "c")
    for name, rows in (("a", 5), ("b", 6)):
        with Journal.open(tmp_path / name) as journal:
            fill(journal, [rows, 1])
    content = (tmp_path / "b" / "journal" / "data.mdb").read_bytes()
    with pytest.raises(JournalsApart, match="the two have other histories"):
        repair(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "b" / "journal" / "data.mdb").read_bytes() == content


def test_other_event_digests_are_a_divergence_and_no_damage(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "a", META) as journal:
        fill(journal, COUNTS)
        genesis = journal.genesis
        journal.wait_durable(journal.last_seq)
        blocks = list(journal.blocks())
    with Journal.create_copy(tmp_path / "b", genesis) as copy:
        for block in blocks:
            copy.append_block(block.sealed)
            copy.put_digest(block.first_seq, digest_of(block.first_seq + (block is blocks[3])))
    data = tmp_path / "b" / "journal" / "data.mdb"
    lost = digest_of(blocks[-1].first_seq)
    data.write_bytes(data.read_bytes().replace(lost, changed(lost, 3)))
    with pytest.raises(Divergence, match=f"digest of the block at seq {blocks[3].first_seq}.*have diverged"):
        repair(tmp_path / "b", tmp_path / "a")


@MANY
def test_a_kill_at_any_step_leaves_the_damaged_directory_or_the_repaired_one(tmp_path: Path, kills: int) -> None:
    blocks = pair_of(tmp_path)
    damage(tmp_path / "b", blocks[4])
    flip(tmp_path / "b" / "journal" / "tail", 30)
    shutil.copytree(tmp_path / "b", tmp_path / "damaged")
    with serving(tmp_path / "a") as address:

        def run() -> Repaired:
            return repair(tmp_path / "b", address, secret=SECRET, name="B")

        calls = calls_of(run)
        outcomes = set()
        for at in places_among(calls, kills, 3):
            shutil.rmtree(tmp_path / "b")
            shutil.copytree(tmp_path / "damaged", tmp_path / "b")
            killed(run, at)
            with Journal.open(tmp_path / "b", readonly=True) as journal:
                outcomes.add(journal.check().ok)
            assert run().left == []
            assert same_chain(tmp_path / "a", tmp_path / "b")
            assert not list((tmp_path / "b").rglob("*.damaged"))
    assert outcomes == {False, True}


# Several copies, each damaged.


def copies_of(directory: Path, damaged: dict[str, list[int]]) -> list[Block]:
    """Nodes with the same journal, with damage in some blocks of each."""
    blocks = pair_of(directory)
    for name in damaged:
        if name not in "ab":
            shutil.copytree(directory / "a", directory / name)
    for name, numbers in damaged.items():
        for number in numbers:
            damage(directory / name, blocks[number])
    return blocks


@pytest.mark.parametrize("is_served", [False, True])
def test_each_block_comes_from_a_copy_that_has_it_whole(tmp_path: Path, *, is_served: bool) -> None:
    blocks = copies_of(tmp_path, {"b": [1, 2, 4, 6, 9], "a": [2, 4, 8], "c": [1, 4, 6], "d": [1, 2, 9]})
    with serving(tmp_path / "c") as address:
        sources = [tmp_path / "a", address if is_served else tmp_path / "c", tmp_path / "d"]
        with pytest.raises(HistoryError):
            repair(tmp_path / "b", *sources[:2], secret=SECRET)
        done = repair(tmp_path / "b", *sources, secret=SECRET)
    assert (done.left, done.blocks) == ([], 5)
    assert [bytes(block.sealed) for block in read_all(tmp_path / "b").blocks] == [bytes(b.sealed) for b in blocks]
    assert check_chain(tmp_path / "b").ok
    (sentence,) = done.sentences
    assert f"3 of 12 blocks from {tmp_path / 'a'}" in sentence
    assert f"1 of 12 blocks from {tmp_path / 'd'}" in sentence


def test_what_no_copy_has_is_named_and_nothing_changes(tmp_path: Path, lockstep: Lockstep) -> None:
    blocks = copies_of(tmp_path, {"b": [1, 2, 4, 8, 9], "a": [2, 4, 8, 9], "c": [1, 4, 8, 9]})
    content = (tmp_path / "b" / "journal" / "data.mdb").read_bytes()
    words = ["repair", tmp_path / "b", "--from", tmp_path / "a", "--from", tmp_path / "c"]
    status, said, sentence = lockstep(*words)
    assert (status, said) == (2, "")
    plain = " ".join(sentence.split())
    lost = [f"{blocks[4].first_seq} to {blocks[4].last_seq}", f"{blocks[8].first_seq} to {blocks[9].last_seq}"]
    assert f"in no file: commands {', '.join(lost)}" in plain
    assert (tmp_path / "b" / "journal" / "data.mdb").read_bytes() == content


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("seed", range(8))
def test_any_damage_is_repaired_where_each_block_is_whole_somewhere(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = "abcde"
    damaged: dict[str, list[int]] = {name: [] for name in names}
    for number in range(len(COUNTS)):
        for name in chance.sample(names, chance.randrange(len(names))):
            damaged[name].append(number)
    blocks = copies_of(tmp_path, damaged)
    repair(tmp_path / "b", *(tmp_path / name for name in "acde"))
    assert [bytes(block.sealed) for block in read_all(tmp_path / "b").blocks] == [bytes(b.sealed) for b in blocks]
    assert check_chain(tmp_path / "b").ok


def test_the_file_of_a_copy_that_cannot_be_read_as_a_journal_is_searched(tmp_path: Path) -> None:
    """Nothing is left of it but the pages with one block."""
    blocks = copies_of(tmp_path, {"b": [10], "a": [10], "c": []})
    data = tmp_path / "c" / "journal" / "data.mdb"
    content, kept = data.read_bytes(), bytes(blocks[10].sealed)
    pages = [content[at : at + 4_096] for at in range(0, len(content), 4_096)]
    data.write_bytes(b"".join(page if kept in page else bytes(4_096) for page in pages))
    assert read_all(tmp_path / "c").sentences
    done = repair(tmp_path / "b", tmp_path / "a", tmp_path / "c")
    assert done.sentences[0].endswith(f"1 of 12 blocks from {tmp_path / 'c'}")
    assert [bytes(block.sealed) for block in read_all(tmp_path / "b").blocks] == [bytes(b.sealed) for b in blocks]


def test_a_copy_with_another_history_is_refused_among_sound_ones(tmp_path: Path) -> None:
    copies_of(tmp_path, {"b": [], "a": [], "c": []})
    for name, rows in (("a", 5), ("b", 5), ("c", 6)):
        with Journal.open(tmp_path / name) as journal:
            fill(journal, [rows, 1])
            journal.wait_durable(journal.last_seq)
    damage(tmp_path / "b", read_all(tmp_path / "b").blocks[2])
    content = (tmp_path / "b" / "journal" / "data.mdb").read_bytes()
    with pytest.raises(JournalsApart, match="other histories"):
        repair(tmp_path / "b", tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "b" / "journal" / "data.mdb").read_bytes() == content


def test_an_empty_directory_is_made_of_copies_that_are_damaged_at_different_places(tmp_path: Path) -> None:
    blocks = copies_of(tmp_path, {"a": [2, 8], "c": [4, 10]})
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "b").mkdir()
    repair(tmp_path / "b", tmp_path / "a", tmp_path / "c")
    assert [bytes(block.sealed) for block in read_all(tmp_path / "b").blocks] == [bytes(b.sealed) for b in blocks]


# Slices, images, events and checkpoints.


@contextmanager
def two_markets(directory: Path) -> Iterator[None]:
    """Two nodes with three slices, kept events and a checkpoint; afterwards the second one is as the first."""
    market(directory / "a", [ENDS[5], ENDS[11]], ENDS[16])
    checkpointed(directory / "a")
    for place in slices.places(directory / "a")[:2]:
        keep_events(directory / "a", place)
    shutil.copytree(directory / "a", directory / "b")
    truth = rolled_at(directory / "truth", [])
    yield
    done = repair(directory / "b", directory / "a")
    assert done.sentences
    assert done.left == []
    assert same_chain(directory / "a", directory / "b")
    assert check_chain(directory / "b").ok
    assert not list((directory / "b").rglob("*.damaged"))
    assert agree(append(directory / "b", ROWS[ENDS[16] :]), truth)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "name",
    [
        "journal/data.mdb",
        "slices/000002/journal/data.mdb",
        "slices/000003/journal/data.mdb",
        "slices/000002/start.checkpoint",
        "slices/000003/start.checkpoint",
        "events",
        "slices/000002/events",
    ],
)
def test_each_file_of_a_directory_of_slices_is_repaired(tmp_path: Path, name: str) -> None:
    with two_markets(tmp_path):
        path = tmp_path / "b" / name
        content = path.read_bytes()
        rows = ROWS[ENDS[5] : ENDS[11]].tobytes()[:900]
        at = content.find(rows) if "000002/journal" in name else -1
        flip(path, at + 70 if at >= 0 else len(content) // 2 if "journal" not in name else 4_096 + 140)
    if "journal" not in name:
        assert path.read_bytes() == (tmp_path / "a" / name).read_bytes()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_slice_that_is_lost_is_fetched_whole(tmp_path: Path, number: int) -> None:
    with two_markets(tmp_path):
        place = slices.places(tmp_path / "b")[number - 1]
        shutil.rmtree(place.folder if number > 1 else place.journal)
    assert len(slices.places(tmp_path / "b")) == 3


def test_a_copy_that_began_with_the_open_slice_gets_those_before(tmp_path: Path) -> None:
    """As after a lost disk: the standby begins with the open slice, and the history of before comes afterwards."""
    with two_markets(tmp_path):
        shutil.rmtree(tmp_path / "b")
        with serving(tmp_path / "a") as address:
            fetch(address, SECRET, tmp_path / "b", name="B")
        assert [place.number for place in slices.places(tmp_path / "b")] == [3]
    assert slices.places(tmp_path / "b")[0].events.read_bytes() == (tmp_path / "a" / "events").read_bytes()


def test_an_archived_slice_is_not_fetched_again(tmp_path: Path) -> None:
    from directory.archive import archive

    market(tmp_path / "a", [ENDS[5], ENDS[11]], ENDS[16])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    archive(tmp_path / "b", tmp_path / "archive", before_ns=2**62, without_events=True)
    assert [place.number for place in slices.places(tmp_path / "b")] == [3]
    assert repair(tmp_path / "b", tmp_path / "a") == Repaired()
    assert [place.number for place in slices.places(tmp_path / "b")] == [3]


@pytest.mark.slow
def test_a_damaged_checkpoint_is_replaced_by_the_newest_of_the_other_node(tmp_path: Path) -> None:
    with two_markets(tmp_path):
        (info,) = CheckpointStore(tmp_path / "b" / "slices" / "000003").list()
        flip(info.path, info.bytes // 2)
    (taken,) = CheckpointStore(tmp_path / "a" / "slices" / "000003").list()
    infos = CheckpointStore(tmp_path / "b" / "slices" / "000003").list()
    assert sorted(info.path.suffix for info in infos) == [".checkpoint", ".invalid"]
    assert info.path.read_bytes() == taken.path.read_bytes()


# For the operator.


def test_the_command_says_what_it_repaired(tmp_path: Path, lockstep: Lockstep) -> None:
    blocks = pair_of(tmp_path)
    status, out, _ = lockstep("repair", tmp_path / "b", "--from", tmp_path / "a")
    assert (status, out) == (0, f"nothing is damaged in {tmp_path / 'b'}\n")
    damage(tmp_path / "b", blocks[4])
    (tmp_path / "secret").write_bytes(SECRET * 2)
    (tmp_path / "secret").chmod(0o600)
    server = module.HistoryServer(tmp_path / "a", SECRET * 2, 0, name="A")
    try:
        address = f"127.0.0.1:{server.port}"
        status, _, err = lockstep("repair", tmp_path / "b", "--from", address)
        assert (status, "give --secret-file FILE" in err) == (2, True)
        status, out, _ = lockstep("repair", tmp_path / "b", "--from", address, "--secret-file", tmp_path / "secret")
    finally:
        server.close()
    assert status == 0
    assert "the file was written anew, with 1 of 12 blocks from A" in " ".join(out.split())
    assert same_chain(tmp_path / "a", tmp_path / "b")
    status, _, err = lockstep("repair", tmp_path / "b", "--from", address, "--secret-file", tmp_path / "secret")
    assert (status, "cannot be reached" in err) == (75, True)
    for wrong in ("nowhere", "host:", ":7", "host:0", "host:70000", "host:x"):
        status, _, err = lockstep("repair", tmp_path / "b", "--from", wrong)
        assert (status, "give HOST:PORT" in err) == (2, True)
    status, _, err = lockstep("repair", tmp_path / "b", "--from", tmp_path / "b")
    assert (status, "name another copy" in err) == (2, True)
    with Journal.open(tmp_path / "b"):
        status, _, err = lockstep("repair", tmp_path / "b", "--from", tmp_path / "a")
    assert (status, "is being written by process" in err) == (75, True)


@pytest.mark.slow
def test_an_empty_directory_becomes_a_copy_with_all_slices(tmp_path: Path) -> None:
    with two_markets(tmp_path):
        shutil.rmtree(tmp_path / "b")
        (tmp_path / "b").mkdir()
    assert len(slices.places(tmp_path / "b")) == 3


def test_a_directory_with_something_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    journal_at(tmp_path / "a")
    (tmp_path / "b" / "journal").mkdir(parents=True)
    with pytest.raises(JournalError, match="start a standby on an empty directory"):
        repair(tmp_path / "b", tmp_path / "a")


@pytest.mark.parametrize("lost", [("tail",), ("tail", "data.mdb")])
def test_a_repair_without_the_mark_of_the_end_marks_the_directory_incomplete(
    tmp_path: Path, lost: tuple[str, ...]
) -> None:
    """The other node may end before what this one has acknowledged: then it must take nothing over."""
    damage(tmp_path / "b", pair_of(tmp_path)[2])
    clear_incomplete(tmp_path / "b")
    for name in lost:
        (tmp_path / "b" / "journal" / name).unlink()
    repair(tmp_path / "b", tmp_path / "a")
    assert "mark of its end was lost" in why_incomplete(tmp_path / "b")


def test_a_repair_with_the_mark_of_the_end_leaves_the_node_complete(tmp_path: Path) -> None:
    blocks = pair_of(tmp_path)
    clear_incomplete(tmp_path / "b")
    damage(tmp_path / "b", blocks[2])
    repaired(tmp_path)
    assert why_incomplete(tmp_path / "b") == ""
