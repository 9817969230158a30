"""Sketches change no answer: a market that is made of one gives the recorded events, or it is not used."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity, Engine
from engine.bounds import SECOND_NS
from engine.records import CommandKind, Phase
from journal.columns import Columns, write_columns
from journal.history import History
from replay import event_index, from_sketch, sketches
from replay.accounts import limits, positions
from replay.event_index import open_index, sketch_slices
from replay.from_sketch import rebuilt_from_sketch
from replay.ladder import book_object
from replay.moments import Moments
from replay.rebuild import rebuild
from tests.conftest import Lockstep
from tests.limit_rows import limits as set_limits
from tests.nodes import SMALL, write_node, write_slices
from tests.rows import batch, clock, enter, instrument, participant, phase
from tests.streams import random_stream


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index and sketches that are worth their files for a few commands."""
    monkeypatch.setattr(event_index, "WORTH_COMMANDS", 100)
    monkeypatch.setattr(event_index, "PART_COMMANDS", 500)
    monkeypatch.setattr(event_index, "PIECE_EVENTS", 64)
    monkeypatch.setattr("cli.questions.index_events.WORTH_COMMANDS", 100)
    for module in (sketches, event_index):
        monkeypatch.setattr(module, "EVERY_COMMANDS", 200)
    monkeypatch.setattr(sketches, "BYTES_A_COMMAND", 1 << 20)


def index(directory: Path) -> list[Path]:
    """Make the index of a directory; the files of its sketches."""
    with History.open(directory) as history:
        first, last = history.there_from_seq, history.last_seq
        open_index(history, first, last, prepare=lambda: None, progress=lambda *_: None, insists=True)
    return sketched(directory)


def sketched(directory: Path) -> list[Path]:
    """The files of sketches of a directory."""
    return sorted((directory / event_index.FOLDER).glob("*.sketch"))


def shown(engine: Any) -> tuple[Any, ...]:
    """All that questions tell of a market: books with all orders, positions and limits."""
    books = [book_object(engine, number, 100, orders_max=None) for number in range(1, len(engine.instruments()) + 1)]
    return books, positions(engine), limits(engine), engine.directory, engine.participants().tobytes()


@pytest.mark.parametrize("seed", [0, 5, *(pytest.param(each, marks=pytest.mark.slow) for each in range(6, 12))])
def test_the_market_from_a_sketch_is_the_market_from_command_1(tmp_path: Path, seed: int) -> None:
    node, rows = tmp_path / "node", random_stream(seed, 2_000, delayed=seed >= 5)
    if seed % 3:
        write_node(node, rows)
    else:
        write_slices(node, rows, (1_100,))
    assert len(index(node)) > 4
    random, used = np.random.default_rng(seed), 0
    for at in random.integers(150, len(rows), 25).tolist():
        found = rebuilt_from_sketch(node, at)
        if found is not None:
            used += 1
            assert shown(found.engine) == shown(rebuild(node, at=at, use_checkpoints=False).engine), at
            assert 0 < found.checkpoint_seq <= at
    assert used > 5


def test_questions_say_the_same_with_and_without_sketches(
    tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "node"
    names = write_node(node, random_stream(1, 1_500)).directory
    assert lockstep("journal", "index", node)[0] == 0
    made = []
    monkeypatch.setattr(
        "cli.questions.reading.rebuilt_from_sketch", lambda *given: made.append(rebuilt_from_sketch(*given)) or made[-1]
    )
    lines = [("book", node, names.symbols[0], "--at", 900), ("positions", node, "--at", 900), ("limits", node)]
    with_sketches = [lockstep(*line)[:2] for line in lines]
    assert any(made)
    for path in sketched(node):
        path.unlink()
    assert with_sketches == [lockstep(*line)[:2] for line in lines]


@pytest.mark.parametrize("seed", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_why_and_the_queue_of_an_order_say_the_same_with_and_without_sketches(
    tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    node = tmp_path / "node"
    rows = random_stream(seed, 1_500, delayed=seed >= 5)
    last = write_node(node, rows, checkpoint_every=500).seq
    assert index(node)
    made = []
    monkeypatch.setattr(
        "replay.moments.rebuilt_from_sketch", lambda *given: made.append(rebuilt_from_sketch(*given)) or made[-1]
    )
    chosen = np.random.default_rng(seed).integers(200, last, 40).tolist()
    numbers = [int(row["order_number"]) for row in rebuild(node).engine.open_orders()][:10]
    lines = [("why", node, seq, "--json") for seq in chosen]
    lines += [("order", node, "--number", number, "--queue", "--json") for number in numbers]
    with_sketches = [lockstep(*line)[:2] for line in lines]
    assert sum(each is not None for each in made) > 20
    for path in sketched(node):
        path.unlink()
    for line, said in zip(lines, with_sketches, strict=True):
        assert lockstep(*line)[:2] == said, line


def test_moments_behind_an_id_that_a_sketch_does_not_know_are_those_of_a_checkpoint(tmp_path: Path) -> None:
    again = enter(1, 1_000, 1, 10, 99_500)  # the journal refuses it: its order traded long before
    node, rows = tmp_path / "node", traded(QUIET, again, QUIET)
    write_node(node, rows, 10)
    assert index(node)
    refused = len(rows) - len(QUIET)
    for step in (1, 7, len(QUIET)):
        whole, moments = Moments(node), Moments(node, ids=False)
        assert shown(moments.at(refused - step)) == shown(whole.at(refused - step))
        assert moments._is_from_sketch
        assert moments.events_to(refused).tobytes() == whole.events_to(refused).tobytes()
        assert not moments._is_from_sketch
        assert shown(moments.at(len(rows))) == shown(whole.at(len(rows)))
    moments = Moments(node, ids=False)
    moments.at(refused - 3)
    assert shown(moments.at(refused + 2)) == shown(Moments(node).at(refused + 2))


def traded(*more: NDArray[Any]) -> NDArray[Any]:
    """Two participants trade 250 times in one instrument, a second apart, then rest one order each; and ``more``."""
    start = clock()["time_ns"][0]
    made = [clock(), instrument("XYZ"), participant("P1"), participant("P2"), phase("XYZ", Phase.CONTINUOUS)]
    for number in range(250):
        made += [clock(start + number * SECOND_NS), enter(1, 1_000 + number, 1, 10, 100_000)]
        made.append(enter(2, 5_000 + number, -1, 10, 100_000))
    return batch(*made, enter(1, 900, 1, 10, 99_000), enter(2, 901, -1, 10, 101_000), *more)


QUIET = batch(*(enter(1, 9_000 + number, 1, 1, 99_000) for number in range(30)))


def test_an_id_of_an_order_that_is_gone_is_refused_though_a_sketch_does_not_know_it(tmp_path: Path) -> None:
    again = enter(1, 1_000, 1, 10, 99_500)  # the journal refuses it: its order traded long before
    for name, rows, is_used in (("quiet", traded(QUIET), True), ("again", traded(again, QUIET), False)):
        node = tmp_path / name
        write_node(node, rows, 10)
        assert index(node)
        at = len(rows) - len(QUIET)  # within a block, behind the id
        for moment in (at, len(rows) - 1):
            assert (rebuilt_from_sketch(node, moment) is not None) == is_used, (name, moment)


def test_where_limits_were_set_behind_a_sketch_a_checkpoint_answers(tmp_path: Path) -> None:
    node, rows = tmp_path / "node", traded(set_limits("P1", order_rate=(5, SECOND_NS)), QUIET)
    write_node(node, rows, 10)
    assert index(node)
    at = int(np.flatnonzero(rows["kind"] == CommandKind.LIMITS)[0])
    assert rebuilt_from_sketch(node, at) is not None
    assert rebuilt_from_sketch(node, at + 1) is None


def test_entries_within_an_order_rate_count_in_a_sketch_and_others_are_left_out() -> None:
    rows = batch(traded()[:5], set_limits("P1", order_rate=(8, 5 * SECOND_NS)), traded()[5:])
    whole = Engine(SMALL)
    whole.apply(rows)
    sketch = whole.sketch()
    assert sketch is not None
    kept = np.count_nonzero(sketch["entry_times_lines"].view(np.int64).reshape(-1, 2)[:, 0])
    made = Engine.of_sketch(SMALL, whole.seq, whole.event_digest, sketch, 100)
    assert 0 < kept < 20
    assert shown(made) == shown(whole)
    last_ns = whole.now_ns
    for second in range(12):
        more = batch(
            clock(last_ns + second * SECOND_NS), *(enter(1, 9_000 + 9 * second + n, 1, 1, 99_000) for n in range(3))
        )
        assert made.apply(more).tobytes() == whole.apply(more).tobytes()
    assert made.event_digest == whole.event_digest
    # The control: without those entries more orders pass.
    less = Engine.of_sketch(SMALL, seq := whole.seq, whole.event_digest, whole.sketch() or {}, 100)
    assert less.seq == seq
    less._state.entry_times[:] = 0
    more = batch(*(enter(1, 20_000 + n, 1, 1, 99_000) for n in range(3)))
    assert less.apply(more).tobytes() != whole.apply(more).tobytes()


def test_a_sketch_of_another_journal_or_form_and_a_damaged_one_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, rows = tmp_path / "node", traded(QUIET)
    write_node(node, rows, 10)
    at = len(rows) - 5
    newest = index(node)[-1]
    whole = newest.read_bytes()
    assert rebuilt_from_sketch(node, at) is not None
    for place in np.random.default_rng(1).integers(0, len(whole), 40).tolist():
        newest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = rebuilt_from_sketch(node, at)
        assert found is None or shown(found.engine) == shown(rebuild(node, at=at).engine), place
    newest.write_bytes(whole)
    with monkeypatch.context() as other:
        other.setattr(sketches, "VERSION", sketches.VERSION + 1)
        assert rebuilt_from_sketch(node, at) is None
    write_node(tmp_path / "other", traded(enter(1, 950, 1, 3, 98_000), QUIET), 10)
    shutil.copytree(node / event_index.FOLDER, tmp_path / "other" / event_index.FOLDER)
    assert rebuilt_from_sketch(tmp_path / "other", at) is None


def test_a_part_of_a_block_that_the_index_tells_otherwise_is_not_believed(tmp_path: Path) -> None:
    node, rows = tmp_path / "node", traded(QUIET)
    write_node(node, rows, 10)
    assert index(node)
    at = len(rows) - 5
    assert at % 10
    assert rebuilt_from_sketch(node, at) is not None
    path = sorted((node / event_index.FOLDER).glob("*.events"))[-1]
    file = Columns(path)
    arrays = {name: (form, count, bytes(content)) for name, (form, count, content) in file.arrays()}
    name = f"{len(file.meta['pieces']) - 1}.qty"
    form, count, content = arrays[name]
    arrays[name] = (f"={int(form[1:]) + 1}", count, content) if form[0] == "=" else (form, count, b"\7" * len(content))
    write_columns(path, file.meta, arrays)
    assert rebuilt_from_sketch(node, at) is None
    assert rebuilt_from_sketch(node, at - at % 10) is not None


def test_a_checkpoint_that_is_nearer_and_a_sketch_that_is_far_are_not_answered_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, rows = tmp_path / "node", traded(QUIET)
    write_node(node, rows, 10, checkpoint_every=90)
    assert index(node)
    assert rebuilt_from_sketch(node, len(rows) - 5) is None
    shutil.rmtree(node / "checkpoints")
    assert rebuilt_from_sketch(node, len(rows) - 5) is not None
    monkeypatch.setattr(from_sketch, "REACH_COMMANDS", 10)
    assert rebuilt_from_sketch(node, len(rows) - 5) is None


def test_an_index_of_before_gets_sketches_once(tmp_path: Path, lockstep: Lockstep) -> None:
    node = tmp_path / "node"
    write_slices(node, random_stream(2, 1_500), (700,))
    expected = {path.name: path.read_bytes() for path in index(node)}
    assert len({name[:6] for name in expected}) == 2
    for path in sketched(node):
        path.unlink()
    assert lockstep("journal", "index", node)[0] == 0
    assert {path.name: path.read_bytes() for path in sketched(node)} == expected
    with History.open(node) as history:
        sketch_slices(history, prepare=lambda: None, progress=lambda *_: pytest.fail("nothing is missing"))


@pytest.mark.parametrize("spoilt", ["venue", "orders", "chain_tail"])
def test_a_sketch_that_does_not_fit_is_refused_in_a_sentence(spoilt: str) -> None:
    whole = Engine(SMALL)
    whole.apply(traded())
    sketch = whole.sketch() or {}
    arguments = whole.seq, whole.event_digest
    with pytest.raises(ValueError, match=r"sketch|capacity|link|broadcast|size"):
        Engine.of_sketch(SMALL, *arguments, {name: array for name, array in sketch.items() if name != spoilt})
    with pytest.raises(ValueError, match="capacity"):
        Engine.of_sketch(Capacity(512, 4_096, 8, 16), *arguments, sketch)
    with pytest.raises(ValueError, match="of sequence"):
        Engine.of_sketch(SMALL, whole.seq + 1, whole.event_digest, sketch)
