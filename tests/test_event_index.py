"""The event index changes no answer: it is whole and of the journal, or it is not used."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cli.main import run_line
from directory.recover import recover
from engine.records import CommandKind, EventKind, Reason
from journal.columns import write_columns
from journal.history import History
from replay import event_index
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.nodes import batches, write_node, write_slices
from tests.streams import random_stream

Answer = tuple[int, str, str]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that is worth its files for a few commands."""
    monkeypatch.setattr(event_index, "WORTH_COMMANDS", 100)
    monkeypatch.setattr(event_index, "PART_COMMANDS", 250)
    monkeypatch.setattr(event_index, "PIECE_EVENTS", 64)
    monkeypatch.setattr("cli.questions.index_events.WORTH_COMMANDS", 100)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch, lockstep: Lockstep) -> Callable[..., Answer]:
    """The answer without an index."""

    def run(*line: object) -> Answer:
        with monkeypatch.context() as without:
            without.setattr("cli.questions.excerpt.open_index", lambda *_, **__: None)
            without.setattr("cli.questions.order.open_index", lambda *_, **__: None)
            without.setattr("cli.questions.reports.open_index", lambda *_, **__: None)
            return lockstep(*line)

    return run


def files(directory: Path) -> list[Path]:
    """The files of a directory's index."""
    return sorted((directory / event_index.FOLDER).glob("*.events"))


#: Prices of random streams.
PRICES = [f"10.{cents:02}" for cents in range(0, 12)]


def questions(seed: int, symbols: tuple[str, ...], participants: tuple[str, ...], last_seq: int) -> Iterator[list[str]]:
    """Random selections, each of events or of commands."""
    random = np.random.default_rng(seed)
    kinds = {"events": EventKind, "commands": CommandKind}
    while True:
        what = str(random.choice(["events", "commands"]))
        words = [what]
        chances = {
            "--symbol": [*symbols, "NONE"],
            "--participant": [*participants, "NOBODY"],
            "--contra": [*participants],
            "--side": ["buy", "sell"],
            "--reason": [reason.name.lower() for reason in Reason if reason],
            "--kind": [kind.name.lower() for kind in kinds[what]],
            "--price": PRICES,
        }
        for option, values in chances.items():
            if random.random() < (0.5 if option in ("--symbol", "--participant") else 0.15):
                words += [option, str(random.choice(values))]
        first, last = sorted(random.integers(1, last_seq + 1, 2).tolist())
        words += ["--from", str(first)] if random.random() < 0.3 else []
        words += ["--to", str(last)] if random.random() < 0.3 else []
        words += ["--with-seq"] if random.random() < 0.5 else []
        words += ["--with-time"] if random.random() < 0.3 else []
        words += ["--with-events"] if what == "commands" and random.random() < 0.3 else []
        words += ["--json"] if random.random() < 0.2 else []
        yield words


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in range(1, 6))])
def test_every_selection_gives_byte_for_byte_what_a_replay_gives(
    tmp_path: Path, lockstep: Lockstep, replayed: Callable[..., Answer], seed: int
) -> None:
    node = tmp_path / "node"
    rows = random_stream(seed, 1500, delayed=seed >= 4)
    names = write_node(node, rows).directory
    if seed % 2:
        assert run_line(["checkpoint", "create", str(node)]) == 0
    full = 0
    for _, words in zip(range(60), questions(seed, names.symbols[:3], names.participants[:4], len(rows)), strict=False):
        line = (words[0], node, *words[1:])
        found = lockstep(*line)
        assert found == replayed(*line), words
        full += bool(found[1])
    assert full > 10
    assert len(files(node)) > 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_every_order_is_told_byte_for_byte_as_a_replay_tells_it(
    tmp_path: Path, lockstep: Lockstep, replayed: Callable[..., Answer], seed: int
) -> None:
    node = tmp_path / "node"
    rows = random_stream(seed, 1500, delayed=seed > 2)
    # A block ends with an EXTEND row: a CLOCK row after it is refused, also where a replay begins there.
    size = next(n for n in range(50, 99) if (rows["kind"][n - 1 :: n] == CommandKind.EXTEND).any())
    write_node(node, rows, size, checkpoint_every=400)
    lockstep("events", node, *QUESTION)
    assert files(node)
    told = [json.loads(line) for line in lockstep("events", node, "--json")[1].splitlines()]
    random = np.random.default_rng(seed)
    ids = sorted({each["client_order_id"] for each in told if each.get("client_order_id")})
    ids += sorted({each["new_client_order_id"] for each in told if each.get("new_client_order_id")})
    for order_id in random.choice(ids, 25):
        assert lockstep("order", node, order_id) == replayed("order", node, order_id), order_id
        assert lockstep("order", node, order_id, "--json") == replayed("order", node, order_id, "--json")
    trades = max(each.get("trade_number") or 0 for each in told)
    orders = max(each.get("order_number") or 0 for each in told)
    assert min(trades, orders) > 10
    for option, last in (("--number", orders), ("--trade", trades)):
        for number in [*random.integers(1, last + 1, 15), last + 1]:
            line = ("order", node, option, number, "--json")
            assert lockstep(*line) == replayed(*line), line


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node with 1,500 commands in blocks of 64, and no index yet."""
    write_node(tmp_path / "node", random_stream(1, 1500))
    return tmp_path / "node"


QUESTION = ("--symbol", "I1", "--side", "buy", "--with-time")


@pytest.mark.slow
def test_questions_over_several_slices_give_what_a_replay_gives(
    tmp_path: Path, lockstep: Lockstep, replayed: Callable[..., Answer]
) -> None:
    node = tmp_path / "node"
    write_slices(node, random_stream(3, 1500), (500, 1000))
    for words in (QUESTION, (*QUESTION, "--from", "450", "--to", "1100"), ("--participant", "P2", "--from", "480")):
        for what in ("events", "commands"):
            found = lockstep(what, node, *words)
            assert found == replayed(what, node, *words)
            assert found[1]
    assert {path.name[:6] for path in files(node)} == {"000001", "000002", "000003"}


@pytest.mark.slow
def test_a_byte_that_changes_in_a_file_changes_no_answer(
    node: Path, lockstep: Lockstep, replayed: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lockstep("events", node, *QUESTION)
    assert expected == replayed("events", node, *QUESTION)
    whole = {path: path.read_bytes() for path in files(node)}
    random = np.random.default_rng(7)

    def differing() -> int:
        found = 0
        for _ in range(60):
            path = list(whole)[random.integers(len(whole))]
            content = bytearray(whole[path])
            content[random.integers(len(content))] ^= 1 << random.integers(8)
            path.write_bytes(content)
            with suppress(Exception):
                found += lockstep("events", node, *QUESTION) != expected
            for each, known in whole.items():
                each.write_bytes(known)
        return found

    assert differing() == 0
    # The control: where nothing compares the checksums, some of the changes are believed.
    monkeypatch.setattr("journal.columns.xxhash.xxh3_128_digest", _Any)
    assert differing() > 0


class _Any(bytes):
    """A checksum that is like every other."""

    def __eq__(self, _other: object) -> bool:
        return True

    def __ne__(self, _other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 10, 40, 2_000])
def test_a_file_that_was_cut_is_written_anew(
    node: Path, lockstep: Lockstep, replayed: Callable[..., Answer], size: int
) -> None:
    lockstep("events", node, *QUESTION)
    before = {path.name: path.read_bytes() for path in files(node)}
    os.truncate(files(node)[0], size)
    assert lockstep("events", node, *QUESTION) == replayed("events", node, *QUESTION)
    assert {path.name: path.read_bytes() for path in files(node)} == before


@pytest.mark.slow
def test_a_file_with_a_damaged_array_is_written_anew_by_the_next_question_but_one(
    node: Path, lockstep: Lockstep, replayed: Callable[..., Answer]
) -> None:
    expected = replayed("events", node, *QUESTION)
    lockstep("events", node, *QUESTION)
    before = {path.name: path.read_bytes() for path in files(node)}
    content = bytearray(before[files(node)[1].name])
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    files(node)[1].write_bytes(content)
    assert lockstep("events", node, *QUESTION) == expected
    assert lockstep("events", node, *QUESTION) == expected
    assert {path.name: path.read_bytes() for path in files(node)} == before


@pytest.mark.slow
def test_the_index_of_another_journal_is_written_over(
    node: Path, tmp_path: Path, lockstep: Lockstep, replayed: Callable[..., Answer]
) -> None:
    write_node(tmp_path / "other", random_stream(2, 1500))
    lockstep("events", tmp_path / "other", *QUESTION)
    shutil.copytree(tmp_path / "other" / event_index.FOLDER, node / event_index.FOLDER)
    foreign = {path.read_bytes() for path in files(node)}
    assert len(foreign) > 2
    expected = replayed("events", node, *QUESTION)
    assert lockstep("events", node, *QUESTION) == expected
    assert lockstep("events", node, *QUESTION) == expected
    assert not {path.read_bytes() for path in files(node)} & foreign


@pytest.mark.slow
def test_an_index_that_is_ahead_of_its_journal_is_used_up_to_there_alone(
    tmp_path: Path, lockstep: Lockstep, replayed: Callable[..., Answer]
) -> None:
    rows = random_stream(4, 1500)
    write_node(tmp_path / "short", rows[:700])
    shutil.copytree(tmp_path / "short", tmp_path / "long")
    grow(tmp_path / "long", rows[700:])
    lockstep("events", tmp_path / "long", *QUESTION)
    shutil.copytree(tmp_path / "long" / event_index.FOLDER, tmp_path / "short" / event_index.FOLDER)
    assert lockstep("events", tmp_path / "short", *QUESTION) == replayed("events", tmp_path / "short", *QUESTION)


@pytest.mark.slow
def test_a_journal_that_grew_is_indexed_from_where_its_index_ends(
    tmp_path: Path, lockstep: Lockstep, replayed: Callable[..., Answer]
) -> None:
    rows, node = random_stream(4, 1500), tmp_path / "node"
    write_node(node, rows[:700])
    lockstep("events", node, *QUESTION)
    first = {path.name: path.stat().st_ino for path in files(node)}
    grow(node, rows[700:760])  # too few for a file
    assert lockstep("events", node, *QUESTION) == replayed("events", node, *QUESTION)
    newest = json.loads(lockstep("events", node, "--kind", "accepted", "--json")[1].splitlines()[-1])
    line = ("order", node, "--number", newest["order_number"])
    assert newest["seq"] > 700
    assert lockstep(*line) == replayed(*line)
    assert {path.name: path.stat().st_ino for path in files(node)} == first
    grow(node, rows[760:])
    assert lockstep("commands", node, *QUESTION) == replayed("commands", node, *QUESTION)
    now = {path.name: path.stat().st_ino for path in files(node)}
    kept = sorted(first)[:2]
    assert [now[name] for name in kept] == [first[name] for name in kept]
    assert set(now) - set(first)
    assert max(int(name.split("-")[2].split(".")[0]) for name in now) == 1500


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 2])
def test_a_disk_that_fills_up_gives_the_same_answer(
    node: Path,
    lockstep: Lockstep,
    replayed: Callable[..., Answer],
    monkeypatch: pytest.MonkeyPatch,
    written: int,
) -> None:
    count = 0

    def full(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count > written:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_columns(*arguments)

    expected = replayed("events", node, *QUESTION)
    monkeypatch.setattr(event_index, "write_columns", full)
    assert lockstep("events", node, *QUESTION) == expected
    assert len(files(node)) == written
    monkeypatch.undo()
    assert lockstep("events", node, *QUESTION) == expected
    assert not list((node / event_index.FOLDER).glob("*.tmp"))


@pytest.mark.slow
def test_an_index_is_made_ahead_and_told_and_added_to(tmp_path: Path, lockstep: Lockstep) -> None:
    rows, node = random_stream(4, 1500), tmp_path / "node"
    write_node(node, rows[:50])
    assert lockstep("journal", "index", node) == (
        *(0, f"{node} has 50 commands: below 100 a replay is as good, and nothing is written\n"),
        "",
    )
    grow(node, rows[50:])
    status, said, _ = lockstep("journal", "index", node, "--json")
    size = sum(path.stat().st_size for path in files(node))
    told = {"ok": True, "commands": 1500, "indexed": 1500, "size_bytes": size, "path": str(node / "index")}
    assert (status, json.loads(said)) == (0, told)
    assert size > 0
    assert lockstep("journal", "index", node)[1].startswith(
        f"{node}/index has the events of 1,500 commands of 1,500, in "
    )


@pytest.mark.parametrize(
    ("fault", "status", "sentence"),
    [
        ("nearly full", 75, "would leave less than 100% of the disk free"),
        ("full", 75, "the disk of {folder} is full; free some space and run again"),
        ("no right", 2, "no permission for {folder}; run as the user who owns it"),
    ],
)
def test_what_prevents_an_index_is_told_and_nothing_else(
    node: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch, fault: str, status: int, sentence: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if fault == "nearly full":
        monkeypatch.setattr(event_index, "_KEPT_FREE", 1.0)
    elif fault == "full":
        monkeypatch.setattr(event_index, "write_columns", full)
    else:
        monkeypatch.setattr("replay.event_index.os.access", lambda path, _: path != node / event_index.FOLDER)
    ended, said, complaint = lockstep("journal", "index", node)
    assert (ended, said) == (status, "")
    assert sentence.format(folder=node / event_index.FOLDER) in complaint
    assert ("permission" in complaint, "space" in complaint) == (fault == "no right", fault != "no right")


@pytest.mark.parametrize("fault", ["no room", "no right"])
def test_where_nothing_may_be_written_there_is_no_index_and_the_same_answer(
    node: Path, lockstep: Lockstep, replayed: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "no room":
        monkeypatch.setattr(event_index, "_KEPT_FREE", 1.0)
    else:
        monkeypatch.setattr("replay.event_index.os.access", lambda *_: False)
    expected = replayed("events", node, *QUESTION)
    assert lockstep("events", node, *QUESTION) == expected
    assert files(node) == []


@pytest.mark.slow
def test_two_questions_at_once_write_one_index(
    node: Path, lockstep: Lockstep, replayed: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one asks, and writes all files, while the first one has written one of them."""
    expected = replayed("events", node, *QUESTION)
    answers = []

    def meanwhile(*arguments: Any) -> None:
        write_columns(*arguments)
        if not answers:
            answers.append(None)
            answers[0] = subprocess.run(
                [sys.executable, "-c", _ASK, str(node), *QUESTION],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            ).stdout

    monkeypatch.setattr(event_index, "write_columns", meanwhile)
    assert lockstep("events", node, *QUESTION) == expected
    assert answers == [expected[1]]
    assert lockstep("events", node, *QUESTION) == expected
    assert not list((node / event_index.FOLDER).glob("*.tmp"))


#: A question of another process, with the same sizes.
_ASK = """
import sys
from cli.main import run_line
from replay import event_index
event_index.WORTH_COMMANDS, event_index.PART_COMMANDS, event_index.PIECE_EVENTS = 100, 250, 64
sys.exit(run_line(["events", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_a_journal_that_is_damaged_after_it_was_indexed_gives_what_is_before_the_damage(
    node: Path, lockstep: Lockstep, replayed: Callable[..., Answer]
) -> None:
    whole = lockstep("events", node, *QUESTION)
    data = node / "journal" / "data.mdb"
    content = bytearray(data.read_bytes())
    block = next(block for block in _blocks(node) if block[0] > 1_000)
    at = bytes(content).index(block[1])
    content[at + 100] ^= 1
    data.write_bytes(content)
    found = lockstep("events", node, *QUESTION)
    assert found == replayed("events", node, *QUESTION)
    assert found[0] != 0
    assert len(found[1]) < len(whole[1])


REPORTS = ("--reports", "--with-time", "--with-seq")


@pytest.mark.slow
def test_reports_are_told_of_an_index_as_of_a_replay_and_without_an_engine(
    tmp_path: Path, lockstep: Lockstep, replayed: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "node"
    write_slices(node, random_stream(3, 1500), (500, 1000))
    lockstep("events", node, *QUESTION)
    assert files(node)
    monkeypatch.setattr("cli.questions.reports.chosen_plays", None)
    told = {}
    for words in ((), ("--participant", "P2"), ("--from", "480", "--to", "1100"), ("--to", "777"), ("--json",)):
        told[words] = lockstep("events", node, *REPORTS, *words)
        assert told[words][0] == 0
    monkeypatch.undo()
    for words, answer in told.items():
        assert answer[1] == replayed("events", node, *REPORTS, *words)[1]
        assert answer[1]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("damaged", ["index", "journal"])
def test_reports_are_told_up_to_the_damage_of_a_journal_and_beyond_that_of_an_index(
    node: Path, lockstep: Lockstep, replayed: Callable[..., Answer], damaged: str
) -> None:
    lockstep("events", node, *QUESTION)
    whole = replayed("events", node, *REPORTS)
    if damaged == "index":
        content = bytearray(files(node)[1].read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        files(node)[1].write_bytes(content)
        assert lockstep("events", node, *REPORTS) == whole
        return
    data = node / "journal" / "data.mdb"
    content = bytearray(data.read_bytes())
    block = next(block for block in _blocks(node) if block[0] > 1_000)
    content[bytes(content).index(block[1]) + 100] ^= 1
    data.write_bytes(content)
    found = lockstep("events", node, *REPORTS)
    assert found == replayed("events", node, *REPORTS)
    assert found[0] != 0
    assert whole[1].startswith(found[1])
    assert 0 < len(found[1]) < len(whole[1])


def _blocks(directory: Path) -> list[tuple[int, bytes]]:
    """First command and rows of each block."""
    with History.open(directory) as history:
        return [(block.first_seq, bytes(block.rows)) for block in history.blocks()]


def grow(directory: Path, rows: NDArray[Any]) -> None:
    """Apply more commands to a node, as one that runs on does."""
    journal, engine, _ = recover(directory)
    with journal:
        pump(batches(rows, 64), FileStamp(), journal, engine)
