"""Blocks that only an old primary has are set aside, whole and readable, before its journal is cut back to the last
common position; a kill at any step loses nothing."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from checkpoints import CheckpointStore
from directory import set_aside as module
from directory.recover import recover
from directory.roll import roll
from directory.set_aside import set_aside
from journal import Block, Journal, JournalDamaged, JournalError, JournalFault, quarantine, slices
from journal.quarantine import Quarantine, quarantined_blocks, quarantines
from replay.chain import check_chain
from tests.conftest import Lockstep
from tests.journals import META, digest_of, fill, read_all
from tests.kills import calls_of, killed, places_among
from tests.test_roll import ENDS, ROWS, agree, append, begin, projections_of, rolled_at

COUNTS = (3, 1, 200, 5, 64, 9, 9, 1)
#: Kills of a test, in the fast suite and in the long part.
MANY = pytest.mark.parametrize("kills", [8, pytest.param(150, marks=pytest.mark.long)])
WHY = "B has these blocks and A, which is primary, does not"


def old_primary(directory: Path) -> list[Block]:
    """A closed journal with several epochs, a digest for each block but the last."""
    with Journal.create(directory, META) as journal:
        for epoch, count in enumerate(COUNTS):
            journal.epoch = epoch
            journal.source_digest = "new" if epoch > 4 else "old"
            fill(journal, [count])
        journal.append(2, bytes(128), 10**6)
        return read(journal)


def read(journal: Journal) -> list[Block]:
    journal.wait_durable(journal.last_seq)
    return list(journal.blocks())


def aside(directory: Path, block: Block) -> list[Quarantine]:
    return set_aside(directory, block.last_seq, block.checksum, node="B", why=WHY, time_ns=77)


def is_whole(directory: Path, blocks: list[Block], kept: int) -> bool:
    """True if the journal has the first blocks and the quarantine the others, and both are sound."""
    with Journal.open(directory) as journal:
        report = journal.check()
        assert report.ok, report.problems
        assert list(journal.blocks()) == blocks[:kept]
    found, wrong = quarantines(directory)
    assert not wrong
    away = [block for each in found for block in quarantined_blocks(directory, each.name)]
    return away == blocks[kept:]


@pytest.mark.parametrize("kept", range(1, len(COUNTS) + 1))
def test_what_comes_after_the_common_position_is_in_the_quarantine_and_not_in_the_journal(
    tmp_path: Path, kept: int
) -> None:
    blocks = old_primary(tmp_path)
    (found,) = aside(tmp_path, blocks[kept - 1])
    assert is_whole(tmp_path, blocks, kept)
    assert (found.first_seq, found.last_seq) == (blocks[kept].first_seq, blocks[-1].last_seq)
    assert (found.first_epoch, found.last_epoch) == (blocks[kept].epoch, blocks[-1].epoch)
    assert (found.node, found.why, found.time_ns) == ("B", WHY, 77)
    assert found.commands == sum(block.count for block in blocks[kept:])
    with Journal.open(tmp_path, readonly=True) as journal:
        assert journal.info().source_digests == tuple(dict.fromkeys(b.source_digest for b in blocks[:kept]))
        assert [seq for seq, _ in journal.digests()] == [b.first_seq for b in blocks[: min(kept, len(COUNTS))]]
    assert aside(tmp_path, blocks[kept - 1]) == [], "repeated, there is nothing left to set aside"


@pytest.mark.parametrize("place", [4, 40, -200, -1], ids=["magic", "header", "block", "end"])
@pytest.mark.parametrize("cut", [False, True], ids=["changed", "cut"])
def test_a_quarantine_that_is_there_is_read_before_the_journal_is_cut_and_written_anew_if_it_is_damaged(
    tmp_path: Path, place: int, cut: bool
) -> None:
    """As after a kill before the journal was cut, and a fault of the disk since."""
    blocks = old_primary(tmp_path / "first")
    shutil.copytree(tmp_path / "first", before := tmp_path / "before")
    (first,) = aside(tmp_path / "first", blocks[2])
    shutil.copytree(tmp_path / "first" / quarantine.FOLDER, before / quarantine.FOLDER)
    path = quarantine.path_of(before, first.name)
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw[: place % len(raw)] if cut else raw)
    damaged = path.read_bytes()
    (found,) = aside(before, blocks[2])
    assert found.name == first.name
    assert is_whole(before, blocks, 3)
    assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged, "nothing is dropped"


def test_a_quarantine_that_cannot_be_read_back_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = old_primary(tmp_path)

    def write(directory: Path, each: Quarantine, rest: Iterable[Block]) -> Path:
        path = quarantine.write_quarantine(directory, each, rest)
        path.write_bytes(path.read_bytes()[:-1])  # a disk that lies
        return path

    monkeypatch.setattr(module, "write_quarantine", write)
    with pytest.raises(JournalDamaged):
        aside(tmp_path, blocks[2])
    assert read_all(tmp_path).blocks == blocks


def test_a_journal_without_a_common_block_is_set_aside_to_its_genesis_record(tmp_path: Path) -> None:
    blocks = old_primary(tmp_path)
    with Journal.open(tmp_path, readonly=True) as journal:
        genesis = journal.genesis
    set_aside(tmp_path, 0, genesis[:16], node="B", why=WHY)
    assert is_whole(tmp_path, blocks, 0)
    with Journal.open(tmp_path) as journal:
        assert (journal.last_seq, journal.epoch, journal.info().source_digests) == (0, 0, ())
        for block in blocks:
            journal.append_block(block.sealed)
    assert read_all(tmp_path).blocks == blocks


def test_the_blocks_of_the_new_primary_follow_and_are_read_also_where_the_trees_are_damaged(tmp_path: Path) -> None:
    blocks = old_primary(tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    aside(tmp_path / "new", blocks[2])
    with Journal.open(tmp_path / "new") as journal:
        journal.epoch = 50
        fill(journal, [4, 64, 9])
        wanted = read(journal)
    aside(tmp_path / "old", blocks[2])
    with Journal.open(tmp_path / "old") as journal:
        for block in wanted[3:]:
            journal.append_block(block.sealed)
            journal.put_digest(block.first_seq, digest_of(block.first_seq))
    assert is_whole_as(tmp_path / "old", wanted, blocks[3:])
    data = tmp_path / "old" / "journal" / "data.mdb"
    with data.open("r+b") as file:  # both meta pages: the frames are looked for all over the file
        file.write(bytes(200))
        file.seek(os.sysconf("SC_PAGE_SIZE"))
        file.write(bytes(200))
    assert read_all(tmp_path / "old").blocks == wanted, "what was set aside does not come back"


def is_whole_as(directory: Path, blocks: list[Block], away: list[Block]) -> bool:
    assert read_all(directory).blocks == blocks
    (found,), _ = quarantines(directory)
    return list(quarantined_blocks(directory, found.name)) == away


@pytest.mark.parametrize("what", ["within a block", "another checksum", "beyond the end"])
def test_a_position_that_the_journal_does_not_have_is_refused_and_nothing_changes(tmp_path: Path, what: str) -> None:
    blocks = old_primary(tmp_path)
    block = blocks[2]
    seq, checksum = {
        "within a block": (block.last_seq - 1, block.checksum),
        "another checksum": (block.last_seq, blocks[3].checksum),
        "beyond the end": (blocks[-1].last_seq + 1, blocks[-1].checksum),
    }[what]
    with pytest.raises(JournalError, match="no block that ends at command"):
        set_aside(tmp_path, seq, checksum, node="B", why=WHY)
    assert is_whole(tmp_path, blocks, len(blocks))


def test_a_damaged_block_is_not_set_aside(tmp_path: Path) -> None:
    blocks = old_primary(tmp_path)
    data = tmp_path / "journal" / "data.mdb"
    content = data.read_bytes()
    at = content.find(bytes(blocks[4].rows)) + 700
    data.write_bytes(changed(content, at))
    with pytest.raises(JournalDamaged):
        aside(tmp_path, blocks[2])
    data.write_bytes(content)
    assert is_whole(tmp_path, blocks, len(blocks))


@pytest.mark.slow
@MANY
def test_a_kill_at_any_step_leaves_the_old_journal_or_the_quarantine_and_the_cut_one(
    tmp_path: Path, kills: int
) -> None:
    blocks = old_primary(tmp_path / "truth")
    shutil.copytree(tmp_path / "truth", tmp_path / "count")
    calls = calls_of(lambda: aside(tmp_path / "count", blocks[3]))
    outcomes = set()
    for number, at in enumerate(places_among(calls, kills, 5)):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "truth", directory)
        killed(lambda directory=directory: aside(directory, blocks[3]), at)
        outcomes.add(outcome(directory, blocks))
        aside(directory, blocks[3])
        assert is_whole(directory, blocks, 4), "the same call resumes"
        assert not list((directory / quarantine.FOLDER).glob("*.new"))
        shutil.rmtree(directory)
    assert outcomes >= {"old", "cut"}


def outcome(directory: Path, blocks: list[Block]) -> str:
    """State that a kill left: "old" or "cut", where the quarantine has what the journal lacks."""
    with Journal.open(directory) as journal:
        assert journal.check().ok
        found = list(journal.blocks())
    if found == blocks:
        return "old"
    assert is_whole(directory, blocks, 4)
    return "cut"


def test_a_quarantine_that_is_dropped_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a build that cuts without setting aside must not pass the test above."""
    blocks = old_primary(tmp_path)

    def forget(directory: Path, found: Quarantine, _blocks: object) -> Path:
        return quarantine.path_of(directory, found.name)

    monkeypatch.setattr(module, "write_quarantine", forget)
    with pytest.raises(JournalError, match="no quarantine"):
        aside(tmp_path, blocks[3])
    monkeypatch.setattr(module, "check_quarantine", lambda *_: None)
    aside(tmp_path, blocks[3])
    assert not is_whole(tmp_path, blocks, 4)


def changed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize(
    "change", [lambda c: c[:-1], lambda c: c + b"x", *(lambda c, n=n: changed(c, len(c) * n // 17) for n in range(17))]
)
def test_a_quarantine_that_was_changed_is_noticed(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    blocks = old_primary(tmp_path)
    (found,) = aside(tmp_path, blocks[1])
    path = quarantine.path_of(tmp_path, found.name)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(JournalDamaged):
        list(quarantined_blocks(tmp_path, found.name))


def test_a_quarantine_that_is_not_there_is_told_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    old_primary(tmp_path)
    with pytest.raises(JournalError, match="has no quarantine '7-ab'; `lockstep doctor"):
        list(quarantined_blocks(tmp_path, "7-ab"))
    quarantine.path_of(tmp_path, "7-ab").mkdir(parents=True)
    with pytest.raises(JournalFault, match="cannot be read"):
        list(quarantined_blocks(tmp_path, "7-ab"))


# Slices and a market.


def market(directory: Path, ends: list[int], last: int) -> None:
    """A directory that begins a slice after each of ``ends`` and has the rows up to ``last``, with checkpoints."""
    begin(directory)
    start = 0
    for end in ends:
        append(directory, ROWS[start:end])
        roll(directory, make_projections=projections_of(directory))
        start = end
    append(directory, ROWS[start:last])


def position(directory: Path, number: int, seq: int) -> tuple[int, bytes]:
    with Journal.open(directory, readonly=True, slice_number=number) as journal:
        if seq == journal.start_seq:
            return seq, journal.genesis[:16]
        (block,) = journal.blocks(seq, seq)
        return seq, block.checksum


@pytest.mark.slow
def test_a_slice_that_only_the_old_primary_began_is_set_aside_whole_and_the_market_goes_on(tmp_path: Path) -> None:
    ends = [ENDS[5], ENDS[11], ENDS[14]]
    market(tmp_path / "old", ends, ENDS[16])
    truth = rolled_at(tmp_path / "truth", [])
    common = position(tmp_path / "old", 2, ENDS[9])
    found = set_aside(tmp_path / "old", *common, node="B", why=WHY)
    assert [each.slice_number for each in found] == [2, 3, 4]
    assert [place.number for place in slices.places(tmp_path / "old")] == [1, 2]
    rows = b"".join(bytes(block.rows) for each in found for block in quarantined_blocks(tmp_path / "old", each.name))
    assert rows == ROWS[ENDS[9] : ENDS[16]].tobytes()
    assert check_chain(tmp_path / "old").ok
    assert agree(append(tmp_path / "old", ROWS[ENDS[9] :]), truth)


@pytest.mark.slow
def test_the_end_of_a_slice_and_the_start_of_the_next_are_two_positions(tmp_path: Path) -> None:
    end = ENDS[5]
    market(tmp_path / "a", [end], end)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert set_aside(tmp_path / "a", *position(tmp_path / "a", 2, end), node="B", why=WHY) == []
    assert len(slices.places(tmp_path / "a")) == 2
    (found,) = set_aside(tmp_path / "b", *position(tmp_path / "b", 1, end), node="B", why=WHY)
    assert (found.slice_number, found.commands) == (2, 0)
    assert len(slices.places(tmp_path / "b")) == 1
    assert list(quarantined_blocks(tmp_path / "b", found.name)) == []
    append(tmp_path / "b", ROWS[end : end + 50])


@pytest.mark.slow
def test_a_checkpoint_with_commands_that_are_set_aside_is_not_used_again(tmp_path: Path) -> None:
    truth = rolled_at(tmp_path / "truth", [])
    market(tmp_path / "old", [], ENDS[4])
    checkpointed(tmp_path / "old")
    append(tmp_path / "old", ROWS[ENDS[4] : ENDS[8]])
    checkpointed(tmp_path / "old")
    set_aside(tmp_path / "old", *position(tmp_path / "old", 1, ENDS[6]), node="B", why=WHY)
    infos = CheckpointStore(tmp_path / "old").list()
    assert [(info.seq, info.valid) for info in infos] == [(ENDS[4], True), (ENDS[8], False)]
    assert "set aside" in infos[1].why
    assert agree(append(tmp_path / "old", ROWS[ENDS[6] :]), truth)


def checkpointed(directory: Path) -> None:
    """Write a checkpoint with the images of the projections."""
    from dataclasses import replace

    from directory.recover import image, stateful
    from replay.rebuild import capacity_of

    with Journal.open(directory, readonly=True) as journal:
        capacity, journal_id = capacity_of(journal), journal.journal_id
    projections = projections_of(directory)(capacity, journal_id)
    journal, engine, _ = recover(directory, projections=projections)
    with journal:
        projections.flush()
        taken = replace(image(stateful(engine), capacity, journal_id), projections=projections.images())
        CheckpointStore(journal.place.folder).write(taken)
    projections.close()


@pytest.mark.slow
@MANY
def test_a_kill_while_slices_are_set_aside_leaves_a_directory_that_opens(tmp_path: Path, kills: int) -> None:
    ends = [ENDS[3], ENDS[5], ENDS[6]]
    market(tmp_path / "truth", ends, ENDS[7])
    common = position(tmp_path / "truth", 2, ENDS[4])
    rows = ROWS[ENDS[4] : ENDS[7]].tobytes()

    def run(directory: Path) -> object:
        return set_aside(directory, *common, node="B", why=WHY)

    shutil.copytree(tmp_path / "truth", tmp_path / "count")
    calls = calls_of(lambda: run(tmp_path / "count"))
    for number, at in enumerate(places_among(calls, kills, 9)):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "truth", directory)
        killed(lambda directory=directory: run(directory), at)
        with Journal.open(directory) as journal:
            assert journal.last_seq in (ENDS[4], *ends[1:], ENDS[7])
        run(directory)
        found, wrong = quarantines(directory)
        assert not wrong
        away = b"".join(bytes(b.rows) for each in found for b in quarantined_blocks(directory, each.name))
        assert away == rows
        assert check_chain(directory).ok
        assert position(directory, 2, ENDS[4]) == common
        shutil.rmtree(directory)


# For the operator.


@pytest.mark.slow
def test_doctor_lists_a_quarantine_and_commands_prints_it_in_the_notation(tmp_path: Path, lockstep: Lockstep) -> None:
    """One order is in the history, and two participants sent commands that are not; one was defined by them."""
    day = [
        "at 2024-01-15T09:30:00",
        "instrument XYZ tick=0.01 lot=1 reference=10.00",
        "participant ALPHA",
        "participant BETA",
        "phase XYZ continuous",
        "enter ALPHA a1 sell 300 XYZ @ 10.05",
    ]
    lost = [
        "at 2024-01-15T09:30:01",
        "enter BETA b1 buy 100 XYZ @ 10.05",
        "participant GAMMA",
        "enter GAMMA g1 buy 7 XYZ @ 10.01",
    ]
    (tmp_path / "day.txt").write_text("\n".join([*day, *lost]) + "\n")
    node = tmp_path / "node"
    assert lockstep("run", tmp_path / "day.txt", "--data", node, "--block-rows", "1")[0] == 0
    with Journal.open(node, readonly=True) as journal:
        block = next(block for block in journal.blocks() if block.last_seq == 6)
    (found,) = aside(node, block)
    assert found.name.startswith("7-")

    status, out, _ = lockstep("doctor", node)
    assert status == 0
    assert f"{found.name}: 4 commands (7 to 10) of epoch 0, set aside" in one_line(out)
    assert f"`lockstep commands {node} --quarantine {found.name}` prints them" in one_line(out)
    findings = json.loads(lockstep("doctor", node, "--json")[1])["findings"]
    (told,) = [each["what"] for each in findings if each["name"] == "quarantine"]
    assert told.endswith(f"by B: {WHY}; from BETA, GAMMA")

    asked = ("commands", node, "--quarantine", found.name)
    status, out, _ = lockstep(*asked)
    assert (status, out.splitlines()) == (0, lost)
    out = lockstep(*asked, "--with-events", "--from", "8", "--to", "8")[1]
    assert "> trade XYZ 100 @ 10.05 resting=a1 incoming=b1" in out
    assert "GAMMA" not in out
    objects = [json.loads(line) for line in lockstep(*asked, "--json")[1].splitlines()]
    assert [each["seq"] for each in objects] == [7, 8, 9, 10]

    assert lockstep("commands", node, "--quarantine", f"{found.name}.blocks")[:2] == (0, "\n".join(lost) + "\n")
    status, _, err = lockstep("commands", node, "--quarantine", "8-1234abcd")
    assert (status, "has no quarantine '8-1234abcd'" in err) == (2, True)
    status, _, err = lockstep(*asked, "--from", "11")
    assert (status, "has commands 7 to 10, not 11 to 10" in err) == (2, True)
    assert lockstep("commands", node)[1].splitlines() == day


def one_line(text: str) -> str:
    return " ".join(text.split())
