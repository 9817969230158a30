"""A copy of a journal, block by block: a block of another node is appended as it is, or refused and nothing written."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from journal import Block, BlockRefused, Journal, JournalDamaged, JournalError, JournalForeign, frame, group
from journal.store import Store
from tests.golden import made
from tests.journals import META, digest_of, fill, read_all, rows_of, small_journal

ROOT = Path(__file__).parent.parent
KILLS = int(os.environ.get("LOCKSTEP_KILLS", "4"))
COUNTS = (3, 1, 200, 5, 64)


def source(
    directory: Path, counts: Sequence[int] = COUNTS, journal_id: bytes | None = None
) -> tuple[bytes, list[Block]]:
    """A journal with blocks of so many rows: its genesis record and blocks."""
    with Journal.create(directory, META, journal_id=journal_id) as journal:
        for count in counts:
            journal.epoch += 1
            fill(journal, [count])
        return journal.genesis, list(journal.blocks())


def head(directory: Path) -> tuple[int, bytes]:
    """Sequence number and checksum at the end of a journal."""
    *_, last = read_all(directory).blocks
    return last.last_seq, last.checksum


def copy_of(blocks: list[Block], genesis: bytes, directory: Path) -> Journal:
    """An open copy with the blocks in it."""
    copy = Journal.create_copy(directory, genesis)
    for block in blocks:
        assert copy.append_block(block.sealed) == block.first_seq
    return copy


def test_a_copy_made_block_by_block_has_the_same_chain_and_passes_the_check(tmp_path: Path) -> None:
    small_journal(tmp_path / "one")
    with Journal.open(tmp_path / "one", readonly=True) as one:
        blocks, genesis, labels = list(one.blocks()), one.genesis, one.info().source_digests
    with copy_of(blocks, genesis, tmp_path / "copy") as copy:
        assert copy.wait_durable(copy.last_seq, 60)
        assert copy.durable_seq == blocks[-1].last_seq
        for block in blocks:
            copy.put_digest(block.first_seq, digest_of(block.first_seq))
        assert copy.journal_id == one.journal_id
    with Journal.open(tmp_path / "copy") as copy:
        report = copy.check()
        assert (report.ok, report.blocks, report.digests) == (True, len(blocks), len(blocks))
        assert list(copy.blocks()) == blocks
        assert (copy.epoch, copy.info().source_digests) == (blocks[-1].epoch, labels)
    assert head(tmp_path / "copy") == head(tmp_path / "one")


def test_a_copy_goes_on_with_blocks_of_its_own_and_the_first_node_takes_them(tmp_path: Path) -> None:
    """A takeover: the copy becomes the node that numbers, and the other one copies from it."""
    genesis, blocks = source(tmp_path / "one")
    with copy_of(blocks, genesis, tmp_path / "copy") as copy, Journal.open(tmp_path / "one") as one:
        copy.epoch += 1
        for count in (2, 7):
            first_seq = copy.append(count, rows_of(copy.last_seq + 1, count), 10**6)
            copy.wait_durable(copy.last_seq)
            (block,) = copy.blocks(first_seq)
            one.append_block(block.sealed)
        one.append(1, rows_of(1, 1), 10**6)
        one.wait_durable(one.last_seq)
        (block,) = one.blocks(one.last_seq)
        copy.append_block(block.sealed)
    assert head(tmp_path / "copy") == head(tmp_path / "one")
    for name in ("one", "copy"):
        with Journal.open(tmp_path / name) as journal:
            assert journal.check().ok


def test_a_block_after_one_of_its_own_that_is_not_durable_yet_waits_for_it(tmp_path: Path) -> None:
    genesis, blocks = source(tmp_path / "one", journal_id=b"x" * 16)
    going = threading.Event()

    class SlowStore(Store):
        def commit(self, entries: Sequence[group.Entry]) -> None:
            assert going.wait(120)
            super().commit(entries)

    class SlowJournal(Journal):
        store_class = SlowStore

    with SlowJournal.create_copy(tmp_path / "copy", genesis) as copy:
        copy.source_digest, copy.epoch = blocks[0].source_digest, blocks[0].epoch
        copy.append(blocks[0].count, blocks[0].rows, blocks[0].time_ns)
        threading.Timer(0.2, going.set).start()
        copy.append_block(blocks[1].sealed)
        assert copy.wait_durable(blocks[1].last_seq, 60)
        assert list(copy.blocks()) == blocks[:2], "the same rows under the same header are the same block"


def test_blocks_are_committed_in_groups_and_the_durable_mark_moves_with_the_commit(tmp_path: Path) -> None:
    genesis, blocks = source(tmp_path / "one", [1] * 40)
    groups: list[int] = []
    first, going = threading.Event(), threading.Event()

    class SlowStore(Store):
        def commit(self, entries: Sequence[group.Entry]) -> None:
            first.set()
            assert going.wait(120)
            groups.append(len(entries))
            super().commit(entries)

    class SlowJournal(Journal):
        store_class = SlowStore

    with SlowJournal.create_copy(tmp_path / "copy", genesis) as copy:
        copy.append_block(blocks[0].sealed)
        assert first.wait(120)
        for block in blocks[1:]:
            copy.append_block(block.sealed)
        assert (copy.last_seq, copy.durable_seq) == (40, 0)
        going.set()
        assert copy.wait_durable(40, 60)
    assert groups == [1, 39]


# What is refused.


def flipped(block: Block, bit: int) -> bytes:
    """The frame with one bit turned."""
    content = bytearray(block.sealed)
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


def resealed(block: Block, **changes: int) -> bytes:
    """The block as another node would have sealed it with other numbers, with the same link."""
    numbers = {"first_seq": block.first_seq, "count": block.count, "time_ns": block.time_ns, "epoch": block.epoch}
    content = frame.encode(
        block.rows, source_digest=block.source_digest, rules_version=block.rules_version, **{**numbers, **changes}
    )
    frame.seal(content, block.previous)
    return bytes(content)


def test_what_does_not_come_next_is_refused_in_a_sentence_and_nothing_is_written(tmp_path: Path) -> None:
    genesis, blocks = source(tmp_path / "one")
    _, others = source(tmp_path / "other")
    third = blocks[2]
    wrong = {
        "the block at seq 205 is refused: the blocks from seq 5 to 204 are missing before it": blocks[3].sealed,
        "the block at seq 4 is refused: the journal has every block up to seq 4 already": blocks[1].sealed,
        "the block at seq 1 is refused: the journal has every block up to seq 4 already": blocks[0].sealed,
        "the block at seq 5 is refused: it was taken from another journal, or from another history of this one; it "
        "does not follow the block that ends at seq 4": others[2].sealed,
        "the block at seq 5 is refused: it is of epoch 1, and the journal is in epoch 2": resealed(third, epoch=1),
        "the block at seq 5 is refused: its time is before that of the block that ends at seq 4": resealed(
            third, time_ns=blocks[1].time_ns - 1
        ),
        "a block is refused: the block at seq 5 does not match its checksum": flipped(third, 8 * len(third.sealed) - 1),
        "a block is refused: the block at seq 5 has 12": bytes(third.sealed)[:-1],
        "what was to be appended is refused: it does not begin like a block": b"no block",
    }
    with copy_of(blocks[:2], genesis, tmp_path / "copy") as copy:
        assert copy.wait_durable(4, 60)
        before = read_all(tmp_path / "copy").blocks
        for sentence, sealed in wrong.items():
            with pytest.raises(BlockRefused) as refused:
                copy.append_block(sealed)
            assert str(refused.value).startswith(sentence)
            assert (copy.last_seq, copy.epoch) == (4, 2)
        assert copy.append_block(third.sealed) == 5, "the journal goes on after a refusal"
        assert copy.wait_durable(third.last_seq, 60)
    assert before == blocks[:2]
    assert read_all(tmp_path / "copy").blocks == blocks[:3]


def test_without_these_checks_the_journal_would_take_a_foreign_block_and_its_check_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    genesis, blocks = source(tmp_path / "one")
    _, others = source(tmp_path / "other")
    monkeypatch.setattr(frame, "check_continues", lambda *_: None)
    copy_of([*blocks[:2], others[2]], genesis, tmp_path / "copy").close()
    with Journal.open(tmp_path / "copy", readonly=True) as copy:
        assert [problem.seq for problem in copy.check().problems] == [others[2].first_seq]


def test_each_flipped_bit_of_a_block_is_refused(tmp_path: Path) -> None:
    genesis, (block,) = source(tmp_path / "one", [1])
    with Journal.create_copy(tmp_path / "copy", genesis) as copy:
        for bit in range(8 * len(block.sealed)):
            with pytest.raises(BlockRefused):
                copy.append_block(flipped(block, bit))
        assert copy.last_seq == 0
        copy.append_block(block.sealed)


def test_a_first_block_of_another_journal_is_refused_as_that(tmp_path: Path) -> None:
    genesis, _ = source(tmp_path / "one")
    _, others = source(tmp_path / "other")
    with Journal.create_copy(tmp_path / "copy", genesis) as copy:
        with pytest.raises(BlockRefused, match=r"the block at seq 1 is refused: it was taken from another journal$"):
            copy.append_block(others[0].sealed)
        assert copy.last_seq == 0


def test_an_epoch_that_the_owner_has_begun_refuses_blocks_of_the_one_before(tmp_path: Path) -> None:
    """A node that took over does not take what the one before still sends."""
    genesis, blocks = source(tmp_path / "one", [1] * 3)
    with copy_of(blocks[:2], genesis, tmp_path / "copy") as copy:
        copy.epoch = 9
        with pytest.raises(BlockRefused, match="it is of epoch 3, and the journal is in epoch 9"):
            copy.append_block(blocks[2].sealed)


def test_an_append_in_an_epoch_before_that_of_the_last_block_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Also after a new start, and beside blocks of another node."""
    genesis, blocks = source(tmp_path / "one", [1] * 3)
    sentence = "the block at seq 3 would be of epoch 1, and the block before it is of epoch 2: an epoch never goes back"
    copy_of(blocks[:2], genesis, tmp_path / "copy").close()
    with Journal.open(tmp_path / "copy") as copy:
        copy.epoch = 1
        with pytest.raises(ValueError, match=sentence):
            copy.append(1, rows_of(3, 1), blocks[1].time_ns)
        with pytest.raises(BlockRefused, match="it is of epoch 1, and the journal is in epoch 2"):
            copy.append_block(resealed(blocks[2], epoch=1))
        assert copy.last_seq == 2
        copy.epoch = 2
        assert copy.append(1, rows_of(3, 1), blocks[1].time_ns) == 3
    with Journal.open(tmp_path / "copy") as copy:
        assert (copy.last_seq, copy.epoch, copy.check().ok) == (3, 2, True)


def test_the_check_reports_a_block_whose_epoch_or_time_is_before_that_of_the_block_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a block, its link and checksum right, can come from a program of before that did not refuse it."""
    genesis, blocks = source(tmp_path / "one", [1] * 3)
    monkeypatch.setattr(frame, "check_continues", lambda *_: None)
    third = {"epoch": {"epoch": 1}, "time": {"time_ns": blocks[1].time_ns - 1}, "both": {"epoch": 1, "time_ns": 0}}
    epoch = "the block at seq 3 is of epoch 1, and a block before it is of epoch 2"
    time = "the time of the block at seq 3 is before that of the block before it"
    found = {}
    for name, changes in third.items():
        copy = copy_of(blocks[:2], genesis, tmp_path / name)
        copy.append_block(resealed(blocks[2], **changes))
        copy.close()
        with Journal.open(tmp_path / name, readonly=True) as copy:
            found[name] = [(problem.seq, problem.sentence.partition(";")[0]) for problem in copy.check().problems]
    assert found == {"epoch": [(3, epoch)], "time": [(3, time)], "both": [(3, epoch), (3, time)]}


def test_a_journal_that_is_read_only_takes_no_block(tmp_path: Path) -> None:
    _, blocks = source(tmp_path / "one")
    with Journal.open(tmp_path / "one", readonly=True) as journal, pytest.raises(JournalError, match="not open for"):
        journal.append_block(blocks[0].sealed)


# The directory of a copy.


def test_a_copy_of_a_journal_from_before_ids_has_its_chain_too(tmp_path: Path) -> None:
    golden = Path(made.__file__).parent / "rules-1"
    with Journal.open(shutil.copytree(golden, tmp_path / "golden"), readonly=True) as one:
        blocks = list(one.blocks())
        with copy_of(blocks, one.genesis, tmp_path / "copy") as copy:
            assert (copy.journal_id, copy.has_own_id) == (one.journal_id, False)
    assert head(tmp_path / "copy") == (blocks[-1].last_seq, blocks[-1].checksum)


def test_a_copy_is_made_of_a_genesis_record_only_and_never_over_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, _ = source(tmp_path / "one")
    for record, error in ((genesis[:-1], JournalDamaged), (b"", JournalDamaged)):
        with pytest.raises(error):
            Journal.create_copy(tmp_path / "copy", record)
    with pytest.raises(JournalError, match="holds a journal already"):
        Journal.create_copy(tmp_path / "one", genesis)
    monkeypatch.setattr(os, "sysconf", lambda _: 65_536)
    with pytest.raises(JournalError, match="with pages of 4096 bytes, and this one has 65536"):
        Journal.create_copy(tmp_path / "copy", genesis)
    assert not (tmp_path / "copy").exists()
    assert issubclass(JournalForeign, JournalError)


@pytest.mark.slow
def test_a_copy_that_is_killed_anywhere_goes_on_where_it_was_and_ends_the_same(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "one", META, durability="none") as one:
        fill(one, [(1, 40, 3, 150, 64)[number % 5] for number in range(3_000)], blocks_per_commit=100)
        Journal.create_copy(tmp_path / "copy", one.genesis).close()
    chance = random.Random(8)
    blocks = read_all(tmp_path / "one").blocks
    for number in range(KILLS + 1):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.journals", "copy", str(tmp_path / "one")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        marks = [child.stdout.readline() for _ in range(chance.randint(1, 200))]
        if number < KILLS:
            child.send_signal(signal.SIGKILL)
        marks += child.stdout.readlines()
        child.wait()
        durable_seq = max((int(mark) for mark in marks if mark.endswith("\n")), default=0)
        copied = read_all(tmp_path / "copy")
        assert copied.sentences == []
        assert sum(block.count for block in copied.blocks) >= durable_seq
        assert copied.blocks == blocks[: len(copied.blocks)]
    assert copied.blocks == blocks
    with Journal.open(tmp_path / "copy") as copy:
        assert copy.check().ok
