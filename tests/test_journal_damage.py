"""Promises of a damaged journal: one sentence, never a wrong answer, never a crash.

Damage is done and read in a process of its own (``tests/journals.py``), so that a crash there is a failure here.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import lmdb
import pytest

from journal import Journal, JournalDamaged, JournalForeign, frame
from journal.reading import key_of
from journal.store import Store
from tests.journals import META, PAGE_BYTES, Truth, fill, read_all, small_journal

ROOT = Path(__file__).parent.parent
#: A multiple of four times the workers.
FLIPS = int(os.environ.get("LOCKSTEP_FLIPS", "200"))
#: Of the bits of a side file one in so many is flipped; each number meets every place within a byte.
APART = 7 if FLIPS > 200 else 47
WORKERS = 2


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pristine") / "node"
    small_journal(directory)
    return directory


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "node"))


def run(command: str, directories: list[Path], *numbers: int) -> Counter[str]:
    """The tallies of ``tests.journals COMMAND`` over the directories, added; its seeds differ."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.journals", command, str(directory), str(seed), *map(str, numbers)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, directory in enumerate(directories)
    ]
    tally: Counter[str] = Counter()
    for child in children:
        out, err = child.communicate(timeout=600)
        if child.returncode != 0:
            raise AssertionError(f"exit status {child.returncode}: {err[-2_000:]}")
        tally.update(json.loads(out))
    return tally


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_never_silent_and_costs_nothing_before_it(pristine: Path, tmp_path: Path) -> None:
    """Harmless is a flip in a place that no one reads: a free page, the unused middle of a page, an old copy."""
    copies = [Path(shutil.copytree(pristine, tmp_path / str(number))) for number in range(WORKERS)]
    tally = run("flips", copies, FLIPS // WORKERS)
    assert tally["harmless"] + tally["detected"] == FLIPS
    assert tally["detected"] > FLIPS // 2
    assert tally["refused"] + tally["written"] == FLIPS // 4
    print(dict(tally))


@pytest.mark.slow
def test_a_file_cut_anywhere_is_noticed_and_what_is_left_is_read(pristine: Path, tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(pristine, tmp_path / str(number))) for number in range(WORKERS)]
    tally = run("truncations", copies, FLIPS // 5)
    assert set(tally) == {"detected"}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ["tail", "genesis"])
def test_a_flipped_bit_in_a_side_file_changes_no_answer_and_stops_the_writer(node: Path, name: str) -> None:
    truth = Truth(node)
    path = node / "journal" / name
    content = path.read_bytes()
    for bit in range(0, len(content) * 8, APART):
        bad = bytearray(content)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        assert truth.judge(read_all(node), 10**9) == "harmless"
        with pytest.raises(JournalDamaged):
            Journal.open(node)
        with Journal.open(node, readonly=True) as journal:
            assert not journal.check().ok


def test_a_journal_without_its_side_files_is_read_says_so_and_is_not_written(node: Path) -> None:
    truth = Truth(node)
    for name in ("tail", "genesis"):
        shutil.copytree(node, node.with_name(name))
        (node.with_name(name) / "journal" / name).unlink()
        (node / "journal" / name).unlink()
    for path, missing in ((node, ["tail", "genesis"]), (node.with_name("tail"), ["tail"])):
        assert truth.judge(read_all(path), 10**9) == "harmless"
        with Journal.open(path, readonly=True) as journal:
            said = [problem.sentence for problem in journal.check().problems]
            assert journal.info().problem == "; ".join(said)
        assert [sentence.split(" is missing")[0] for sentence in said] == [
            str(path / "journal" / name) for name in missing
        ]
        with pytest.raises(JournalDamaged, match=r"tail is missing.*put the file back from a copy"):
            Journal.open(path)
        assert not (path / "journal" / "tail").exists()


def test_blocks_are_read_even_when_no_page_of_the_trees_can_be_trusted(node: Path) -> None:
    truth = Truth(node)
    with truth.path.open("r+b") as file:
        file.write(bytes(2 * PAGE_BYTES))
    got = read_all(node)
    assert got.blocks == truth.answer.blocks
    assert got.sentences
    last_seq = truth.answer.blocks[-1].last_seq
    with Journal.open(node, readonly=True) as journal:
        assert journal.last_seq == last_seq  # by the tail: a damaged journal does not pass for an empty one
        assert sum(block.count for block in journal.blocks(1, last_seq)) == last_seq
    (node / "journal" / "tail").unlink()
    with Journal.open(node, readonly=True) as journal, pytest.raises(JournalDamaged, match="how far the journal went"):
        journal.last_seq  # noqa: B018


def test_yesterdays_meta_page_is_not_taken_for_today(node: Path) -> None:
    """LMDB takes the older meta page when the newer is gone: to the eye a sound journal without the last commit."""
    path = node / "journal" / "data.mdb"
    with Journal.open(node) as journal:
        fill(journal, [1])
        before = path.read_bytes()
        fill(journal, [1])
    truth = Truth(node)
    content = truth.content
    pages = [content[:PAGE_BYTES], content[PAGE_BYTES : 2 * PAGE_BYTES]]
    old = [before[:PAGE_BYTES], before[PAGE_BYTES : 2 * PAGE_BYTES]]
    assert pages != old
    path.write_bytes(old[0] + old[1] + content[2 * PAGE_BYTES :])
    with pytest.raises(JournalDamaged, match="was durable up to seq"):
        Journal.open(node)
    got = read_all(node)
    assert got.sentences
    assert got.blocks == truth.answer.blocks


class Tampering:
    """The named trees through LMDB itself, as a broken program would have left them."""

    def __init__(self, node: Path) -> None:
        self.environment = lmdb.open(str(node / "journal"), max_dbs=3, map_size=1 << 40, lib_version=0)
        self.blocks = self.environment.open_db(b"blocks", create=False)
        self.digests = self.environment.open_db(b"digests", create=False)

    def __enter__(self) -> "Tampering":
        self.transaction = self.environment.begin(write=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.transaction.commit()
        self.environment.close()


def damage_of(node: Path) -> tuple[int, list[str], list[str]]:
    """Seq up to which blocks are read, the sentences of the reader, and those of check."""
    got = read_all(node)
    with Journal.open(node, readonly=True) as journal:
        problems = [problem.sentence for problem in journal.check().problems]
    return got.blocks[-1].last_seq if got.blocks else 0, got.sentences, problems


def test_a_missing_block_is_named(node: Path) -> None:
    blocks = Truth(node).answer.blocks
    lost = blocks[100]
    with Tampering(node) as tampering:
        tampering.transaction.delete(key_of(lost.first_seq), db=tampering.blocks)
    _, sentences, problems = damage_of(node)
    assert sentences
    assert any(f"from seq {lost.first_seq:,} to {lost.last_seq:,} are missing" in problem for problem in problems)
    with pytest.raises(JournalDamaged):
        Journal.open(node)


def test_swapped_blocks_are_named(node: Path) -> None:
    blocks = [block for block in Truth(node).answer.blocks if block.count == 30]
    first, second = key_of(blocks[3].first_seq), key_of(blocks[8].first_seq)
    with Tampering(node) as tampering:
        put, get = tampering.transaction.put, tampering.transaction.get
        one, other = bytes(get(first, db=tampering.blocks)), bytes(get(second, db=tampering.blocks))
        put(first, other, db=tampering.blocks)
        put(second, one, db=tampering.blocks)
    _, sentences, problems = damage_of(node)
    assert sentences
    for block in (blocks[3], blocks[8]):
        assert any(f"seq {block.first_seq:,} is in the wrong place" in problem for problem in problems)


def _forge(node: Path, position: int) -> tuple[Truth, int]:
    """Put a block of another history, its own checksum right, where one was; gives the truth and the seq after it."""
    truth = Truth(node)
    block = truth.answer.blocks[position]
    forged = frame.encode(
        bytes(len(block.rows)),
        first_seq=block.first_seq,
        count=block.count,
        time_ns=block.time_ns,
        epoch=block.epoch,
        source_digest=block.source_digest,
        rules_version=block.rules_version,
    )
    frame.seal(forged, block.previous)
    content = bytearray(truth.content)
    for seq, start, end in truth.places:
        if seq == block.first_seq:
            content[start:end] = forged
    truth.path.write_bytes(content)
    return truth, block.last_seq + 1


def test_a_block_of_another_history_does_not_fit(node: Path) -> None:
    _, next_seq = _forge(node, 50)
    _, sentences, problems = damage_of(node)
    assert f"seq {next_seq:,} does not follow the block before it" in sentences[0]
    assert any(f"seq {next_seq:,} does not follow the block before it" in problem for problem in problems)


def test_without_the_check_of_links_that_block_would_pass(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: it is the link, not the checksum, that tells; and the tests would see it."""
    truth, _ = _forge(node, 50)
    monkeypatch.setattr(frame, "check_link", lambda *_: None)
    got = read_all(node)
    assert got.sentences == []
    with pytest.raises(ValueError, match="a wrong answer"):
        truth.judge(got, 1)


def test_a_lost_digest_is_noticed_though_its_neighbours_are_there(node: Path) -> None:
    digests = Truth(node).answer.digests
    with Tampering(node) as tampering:
        tampering.transaction.delete(key_of(digests[100][0]), db=tampering.digests)
    _, sentences, problems = damage_of(node)
    assert any("digest" in sentence for sentence in sentences)
    assert any("digest" in problem for problem in problems)


def test_check_names_every_damaged_block_not_only_the_first(node: Path) -> None:
    truth = Truth(node)
    content = bytearray(truth.content)
    hit = [block for block in truth.answer.blocks if block.count == 200][2:8:2]
    for block in hit:
        content[content.find(block.rows) + 5_000] ^= 1
    truth.path.write_bytes(content)
    with Journal.open(node, readonly=True) as journal:
        report = journal.check()
        assert [problem.seq for problem in report.problems] == [block.first_seq for block in hit]
        assert report.blocks == len(truth.answer.blocks) - 3
        with pytest.raises(JournalDamaged, match=f"seq {hit[1].first_seq:,}"):
            list(journal.blocks(hit[0].last_seq + 1))
        assert len(list(journal.blocks(hit[2].last_seq + 1))) == len(
            [block for block in truth.answer.blocks if block.first_seq > hit[2].last_seq]
        )


@pytest.mark.parametrize("pages", [(0, 1), (2, -1), (5, 9), (6, 7), (20, 40), (30, 200), (-1, -2), (-3, 60)])
def test_pages_that_change_places_give_no_wrong_answer(node: Path, pages: tuple[int, int]) -> None:
    """Each page is whole in itself, and lies where another should."""
    truth = Truth(node)
    content = bytearray(truth.content)
    count = len(content) // PAGE_BYTES
    one, other = (slice(page % count * PAGE_BYTES, (page % count + 1) * PAGE_BYTES) for page in pages)
    content[one], content[other] = content[other], content[one]
    truth.path.write_bytes(content)
    truth.judge(read_all(node), 0)


def _mounts() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _mounts(), reason="this user may not mount file systems (unshare -m)")


@needs_mounts
def test_a_full_disk_is_named_and_what_was_durable_is_there(tmp_path: Path) -> None:
    mounting = f'mount -t tmpfs -o size=4m none "{tmp_path}" && exec "$0" "$@"'
    outcome = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounting, sys.executable, "-m", "tests.journals", "fill", f"{tmp_path}/node"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    said = json.loads(outcome.stdout)
    assert len(said["said"]) == 4
    assert all("the disk is full" in sentence for sentence in said["said"])
    assert said["right"]
    assert said["sentences"] == []
    assert said["read"] >= said["durable"] > 10_000


@needs_mounts
def test_a_read_only_directory_is_read_and_not_written(node: Path) -> None:
    script = (
        "import sys; from tests.journals import *\n"
        "answer = read_all(Path(sys.argv[1])); print(len(answer.blocks), len(answer.digests), answer.sentences)\n"
        "print(Journal.open(sys.argv[1], readonly=True).info().readers)\n"
        "for step in (Journal.open, lambda path: Journal.create(path + '/new', META)):\n"
        "    try: step(sys.argv[1])\n"
        "    except JournalError as error: print(error)\n"
    )
    mounting = f'mount --bind "{node}" "{node}" && mount -o remount,ro,bind "{node}" && exec "$0" "$@"'
    outcome = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounting, sys.executable, "-c", script, str(node)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert lines[0] == "220 220 []"
    assert "no reader lock" in lines[1]
    assert "read-only" in lines[2].lower()
    assert "cannot be made" in lines[3]


class Unchecked(Store):
    """Negative control: ignores what LMDB answers to an append."""

    def _append(self, transaction: lmdb.Transaction, tree: bytes, items: list[tuple[bytes, bytes | bytearray]]) -> None:
        with transaction.cursor(self._trees[tree]) as cursor:
            cursor.putmulti(items, append=True)


@pytest.mark.parametrize("store", [Store, Unchecked])
def test_an_append_that_lmdb_refuses_is_an_error(tmp_path: Path, store: type[Store]) -> None:
    """LMDB leaves it out, no more. The control build goes on, reports it durable, and the reader catches the loss."""

    class Chosen(Journal):
        store_class = store

    Journal.create(tmp_path, META).close()
    journal = Chosen.open(tmp_path)
    fill(journal, [5])
    assert journal._store is not None
    with journal._store._environment.begin(write=True) as transaction:
        transaction.put(key_of(1_000), b"in the way", db=journal._store._trees[b"blocks"])
    journal.append(5, bytes(320), 0)
    if store is Store:
        with pytest.raises(Exception, match="refused to append seq 6"):
            journal.wait_durable(10)
        with pytest.raises(Exception, match="refused to append seq 6"):
            journal.close()
    else:
        assert journal.wait_durable(10)
        journal.close()
        assert read_all(tmp_path).sentences


def test_a_directory_of_which_every_file_is_noise_gives_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    for name in ("data.mdb", "lock.mdb", "tail", "genesis"):
        (folder / name).write_bytes(os.urandom(20_000))
    with pytest.raises(JournalForeign):
        Journal.open(tmp_path)
