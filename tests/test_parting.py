"""`lockstep compare --state`: differences planted in many places are found at the right command, part and row.

The oracle plays both sides one command at a time and compares after each; it knows nothing of halving.
"""

import dataclasses
import json
import shutil
import sys
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import CheckpointStore
from engine.records import CommandKind, concatenate
from engine.reference import ReferenceEngine, cancel, entry, matching
from engine.reference.rows_by_part import first_difference as first_row_difference
from engine.reference.state import Order
from journal.history import History
from notation.parse import parse
from notation.translate import Translator
from replay import sides
from replay.errors import ReplayError
from replay.parting import parting, unlike_parts
from replay.release import ReleaseSide
from replay.sides import Replayed, Side
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import SMALL, DropsAFill, write_node, write_slices
from tests.streams import random_stream

ROOT = Path(__file__).parent.parent
ROWS = random_stream(21, 1_500)
FEW = ROWS[:400]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory without a fault, with four checkpoints. Read only."""
    path = tmp_path_factory.mktemp("sound") / "node"
    write_node(path, ROWS, checkpoint_every=350)
    return path


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data directory, for engines that are slow."""
    path = tmp_path_factory.mktemp("few") / "node"
    write_node(path, FEW)
    return path


def told(lockstep: Lockstep, status: int, *words: object) -> dict[str, Any]:
    got, said, sentence = lockstep(*words, "--json")
    assert (got, sentence) == (status, "")
    (facts,) = checked(["compare"], said)
    return facts


@pytest.mark.slow
def test_sound_copies_engines_and_replays_are_equal(sound: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    """The control of all below."""
    other = tmp_path / "other"
    write_node(other, ROWS, 50, checkpoint_every=220)
    for words in (
        [sound, other, "--state", "--outcome"],
        [sound, "--state"],
        [sound, "--state", "--engine", "reference", "--outcome"],
        [sound, "--release", sys.executable],
    ):
        facts = told(lockstep, 0, "compare", *words)
        assert facts["same"]
        assert (facts["states"]["parted"], facts["states"]["to_seq"]) == (None, len(ROWS))
        assert facts["outcome"] is None or facts["outcome"]["same"]


def test_states_are_followed_from_slice_to_slice(tmp_path: Path, lockstep: Lockstep) -> None:
    write_slices(tmp_path / "a", ROWS, [500, 1_000], checkpoint_every=200)
    write_node(tmp_path / "b", ROWS, checkpoint_every=350)
    facts = told(lockstep, 0, "compare", tmp_path / "a", tmp_path / "b", "--state")
    assert facts["states"]["comparisons"] > 8


# Commands.

FIELDS: dict[str, tuple[CommandKind, Callable[[Any], None]]] = {
    "qty": (CommandKind.ENTER, lambda row: row.__setitem__("qty", row["qty"] + 10)),
    "price_e4": (CommandKind.ENTER, lambda row: row.__setitem__("price_e4", row["price_e4"] + 100)),
    "side": (CommandKind.ENTER, lambda row: row.__setitem__("side", -row["side"])),
    "participant": (CommandKind.ENTER, lambda row: row.__setitem__("participant", row["participant"] % 5 + 1)),
    "instrument": (CommandKind.ENTER, lambda row: row.__setitem__("instrument", 3 - row["instrument"])),
    "client_order_id": (CommandKind.CANCEL, lambda row: row.__setitem__("client_order_id", 1)),
    "context": (CommandKind.ENTER, lambda row: row.__setitem__("context", row["context"] ^ 1)),
    "kind": (CommandKind.CANCEL, lambda row: row.__setitem__("kind", int(CommandKind.MASS_CANCEL))),
}


@pytest.mark.slow
@pytest.mark.parametrize("field", list(FIELDS))
def test_a_changed_field_of_a_command_is_found_there(
    field: str, sound: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    kind, change = FIELDS[field]
    seq = 1 + int(np.flatnonzero((ROWS["kind"] == kind) & (np.arange(len(ROWS)) > 750))[0])
    rows = ROWS.copy()
    change(rows[seq - 1])
    write_node(tmp_path / "b", rows)
    facts = told(lockstep, 1, "compare", sound, tmp_path / "b", "--state", "--outcome")
    assert facts["command"]["seq"] == seq
    assert (facts["states"]["parted"], facts["states"]["to_seq"]) == (None, seq - 1)
    later = facts["later"]
    assert later["commands"] == len(ROWS) - seq
    assert touched(sound, tmp_path / "b", seq, 0) == later["touched"]
    assert_outcome(facts["outcome"], sound, tmp_path / "b", lockstep)


def touched(a: Path, b: Path, seq: int, shift: int) -> int:
    """Commands behind ``seq`` whose events differ in more than numbers of orders and trades, one by one."""
    with History.open(a) as one, History.open(b) as other:
        sides = Replayed(one, "kernel", 1), Replayed(other, "kernel", 1)
        sides[0].play(seq)
        sides[1].play(seq + shift)
        count = 0
        for at in range(seq + 1, one.last_seq + 1):
            lists = []
            for side, to in zip(sides, (at, at + shift), strict=True):
                events = side.play(to).events
                plain = [row.tobytes() for row in events]
                # The command's number and the number of the order or trade are left out.
                lists.append([row[8:40] + (row[40:48] if row[60] == 10 else b"") + row[48:] for row in plain])
            count += lists[0] != lists[1]
    return count


def assert_outcome(outcome: dict[str, Any], a: Path, b: Path, lockstep: Lockstep) -> None:
    """The outcome is that of the events of both, read one by one."""
    lists = []
    for path, facts in ((a, outcome["a"]), (b, outcome["b"])):
        trades = [json.loads(line) for line in lockstep("events", path, "--kind", "trade", "--json")[1].splitlines()]
        assert (facts["trades"], facts["shares"]) == (len(trades), sum(each["qty"] for each in trades))
        keys = ("symbol", "price_e4", "qty", "buy_client_order_id", "sell_client_order_id", "side")
        keys += ("buy_participant", "sell_participant")
        lists.append([tuple(each[key] for key in keys) for each in trades])
    for own, others, key in ((*lists, "trades_only_in_a"), (*lists[::-1], "trades_only_in_b")):
        left = list(others)
        alone = [each for each in own if each not in left or left.remove(each)]  # type: ignore[func-returns-value]
        assert outcome[key]["count"] == len(alone)
        assert outcome[key]["shares"] == sum(each[2] for each in alone)
    assert outcome["same"] == (outcome["a"] == outcome["b"] and not outcome["trades_only_in_a"]["count"])


#: Commands before a block that is dropped.
DROPPED = (256, 512, 1_024)


@pytest.mark.slow
@pytest.mark.parametrize("first", DROPPED)
def test_a_dropped_block_is_found_and_the_rest_is_followed_beside_it(
    first: int, sound: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    rows = concatenate([ROWS[:first], ROWS[first + 64 :]])
    write_node(tmp_path / "b", rows, checkpoint_every=350)
    for pair, shift in (((sound, tmp_path / "b"), -64), ((tmp_path / "b", sound), 64)):
        facts = told(lockstep, 1, "compare", *pair, "--state")
        assert facts["command"]["seq"] == first + 1
        assert facts["states"]["parted"] is None
        assert facts["later"]["commands"] == len(ROWS) - 64 - first
        assert facts["later"]["touched"] == touched(*pair, first + max(0, -shift), shift) > 0


# State.

ARRAYS = [
    ("venue", "venue"),
    ("reference", "instruments"),
    ("reference", "participants"),
    ("orders", "orders"),
    ("orders", "terms_pages"),
    ("ids", "ids_places"),
    ("ids", "ids_pages"),
    ("books", "books"),
    ("books", "stop_books"),
    ("books", "words"),
    ("books", "word_qty"),
    ("books", "window_places"),
    ("books", "window_pages"),
    ("books", "market_levels"),
    ("books", "leaf_ticks"),
    ("risk", "exposures_places"),
    ("risk", "exposures_pages"),
    ("risk", "entry_times_pages"),
    ("events", "link"),
    ("events", "tail"),
]


def plant_bit(node: Path, number: int, part: str, name: str, seed: int) -> int:
    """Turn one bit of an image over, whose checksums are right; gives its command."""
    store = CheckpointStore(node)
    checkpoint = store.load(store.list()[number].path)
    parts = {part: {name: rows.copy() for name, rows in arrays.items()} for part, arrays in checkpoint.parts.items()}
    raw = parts[part][name].reshape(-1).view(np.uint8)
    assert len(raw), "the array has nothing to turn over"
    random = np.random.default_rng(seed)
    raw[random.integers(len(raw))] ^= 1 << random.integers(8)
    store.write(dataclasses.replace(checkpoint, parts=parts))
    return checkpoint.seq


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("part", "name"), ARRAYS, ids=[".".join(each) for each in ARRAYS])
def test_one_bit_of_a_checkpoint_is_found_at_its_command_and_part(
    part: str, name: str, sound: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    bent = shutil.copytree(sound, tmp_path / "bent")
    seq = plant_bit(bent, 1, part, name, 7)
    for words in ([sound, bent], [bent]):
        facts = told(lockstep, 1, "compare", *words, "--state")
        parted = facts["states"]["parted"]
        assert (parted["seq"], parted["equal_seq"], parted["parts"]) == (seq, seq - 1, [part])
        assert parted["image_a" if len(words) == 1 else "image_b"].endswith(f"{seq}.checkpoint")
        if part != "events":
            row = parted["row"]
            assert row["a"] != row["b"]
            assert row["a"] is None or row["b"] is None or row["fields"]


@pytest.fixture(scope="module")
def delayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose last checkpoint has commands that wait for their time. Read only."""
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("delayed")
    lines = [
        "at 2024-01-15T09:30:00", "instrument XYZ tick=0.01 lot=1 reference=10.00", "participant ALPHA",
        "phase XYZ continuous", "venue speed_bump=1s",
        *(f"enter ALPHA a{number} buy 10 XYZ @ 9.{number + 10}" for number in range(30)),
    ]  # fmt: skip
    (folder / "day.txt").write_text("\n".join(lines) + "\n")
    assert run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "5"]) == 0
    assert run_line(["checkpoint", "create", str(folder / "node")]) == 0
    return folder / "node"


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("name", ["waiting_places", "waiting_pages", "waits_places", "waits_pages"])
def test_one_bit_of_what_waits_is_found_at_its_command_and_part(
    name: str, delayed: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    bent = shutil.copytree(delayed, tmp_path / "bent")
    assert told(lockstep, 0, "compare", bent, "--state")["same"], "the control"
    seq = plant_bit(bent, 0, "waiting", name, 7)
    parted = told(lockstep, 1, "compare", delayed, bent, "--state")["states"]["parted"]
    assert (parted["seq"], parted["equal_seq"], parted["parts"]) == (seq, seq - 1, ["waiting"])


def test_differences_are_planted_in_every_part_and_in_more_than_30_places(sound: Path) -> None:
    store = CheckpointStore(sound)
    parts = set(store.load(store.list()[0].path).parts)
    assert parts == {part for part, _ in ARRAYS} | {"waiting"}
    assert len(FIELDS) + len(DROPPED) + len(ARRAYS) + len(WRONG) + len(OTHER_RULES) > 30


def test_a_price_in_the_state_is_named_with_its_row_and_what_it_touched(
    sound: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    bent = shutil.copytree(sound, tmp_path / "bent")
    store = CheckpointStore(bent)
    checkpoint = store.load(store.list()[1].path)
    parts = {part: {name: rows.copy() for name, rows in arrays.items()} for part, arrays in checkpoint.parts.items()}
    parts["reference"]["instruments"]["last_trade_e4"][1] += 100_000
    store.write(dataclasses.replace(checkpoint, parts=parts))
    parted = told(lockstep, 1, "compare", sound, bent, "--state")["states"]["parted"]
    row = parted["row"]
    assert (row["table"], row["index"], row["fields"]) == ("instruments", 1, ["last_trade_e4"])
    assert row["b"]["last_trade_e4"] - row["a"]["last_trade_e4"] == 100_000
    assert row["a"]["symbol"] == "I2"
    status, said, _ = lockstep("compare", sound, bent, "--state")
    assert status == 1
    assert f"states part after command {checkpoint.seq:,}, in reference; they are equal after" in said
    assert "first row that differs: row 2 of instruments, in last_trade_e4" in said
    assert said.endswith("DIFFERENT\n")


def test_a_fault_that_is_in_one_checkpoint_alone_is_not_overlooked(
    sound: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    """The states at the end are equal, so that a comparison without --state says so."""
    bent = shutil.copytree(sound, tmp_path / "bent")
    seq = plant_bit(bent, 0, "risk", "exposures_pages", 3)
    assert told(lockstep, 0, "compare", sound, bent)["same"]
    facts = told(lockstep, 1, "compare", sound, bent, "--state")
    assert (facts["same"], facts["states"]["parted"]["seq"]) == (False, seq)


# Engines.


def _without_position(order: Order, qty: int) -> None:
    order.cum_qty += qty
    matching.take_off(order, qty)


def _wrong_stop_of_a_cancel(venue: Any, order: Order, qty: int, events: Any) -> None:
    matching.cancel_open(venue, order, cancel.Reason.USER, events)
    del qty


WRONG: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a position is not counted": (matching, "execute", _without_position),
    "self-trades are not prevented": (matching, "_prevented", lambda *_: False),
    "a partial cancel takes all": (cancel, "_cancel_part", _wrong_stop_of_a_cancel),
    "permissions are not checked": (entry, "_check_permissions", lambda *_: None),
}


def oracle(a: Side, b: Side, to_seq: int) -> tuple[int, tuple[str, ...]]:
    """First command after which two sides differ, and the parts, by one step after the other."""
    for seq in range(a.seq + 1, to_seq + 1):
        a.play(seq)
        b.play(seq)
        if parts := unlike_parts(a, b):
            return seq, parts
    return 0, ()


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("rule", list(WRONG))
@pytest.mark.parametrize("stride", [37, 500_000])
def test_a_wrong_rule_in_one_engine_is_found_at_its_first_command(
    rule: str, stride: int, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name, wrong = WRONG[rule]
    monkeypatch.setattr(where, name, wrong)
    with History.open(sound) as history:

        def sides() -> tuple[Replayed, Replayed]:
            return Replayed(history, "kernel", 1), Replayed(history, "reference", 1)

        expected = oracle(*sides(), 1_000)
        assert expected[0] > 0, "the wrong rule makes no difference here"
        parted = parting(*sides(), 1_000, stride=stride).parted
    assert parted is not None
    assert (parted.seq, parted.parts, parted.equal_seq) == (*expected, expected[0] - 1)
    assert parted.row is not None or parted.event is not None
    assert (parted.event is not None) == ("events" in parted.parts)


@pytest.mark.slow
def test_a_wrong_rule_is_told_by_the_command_line(
    few: Path, monkeypatch: pytest.MonkeyPatch, lockstep: Lockstep
) -> None:
    monkeypatch.setattr(matching, "_prevented", lambda *_: False)
    status, said, _ = lockstep("compare", few, "--state", "--engine", "reference", "--outcome")
    assert status == 1
    assert "first event that differs: event" in said
    assert "only in B:" in said
    facts = told(lockstep, 1, "compare", few, "--state", "--engine", "reference", "--outcome")
    assert facts["states"]["parted"]["later"]["commands"] == len(FEW) - facts["states"]["parted"]["seq"]
    assert not facts["outcome"]["same"]


def test_a_journal_recorded_by_a_wrong_engine_is_found_by_a_replay_of_it(
    sound: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    wrong = DropsAFill(50)
    write_node(tmp_path / "b", ROWS, engine=wrong)
    facts = told(lockstep, 1, "compare", tmp_path / "b", "--state")
    recorded = facts["states"]["recorded_a"]
    trade = json.loads(lockstep("events", sound, "--kind", "trade", "--json")[1].splitlines()[49])
    assert recorded["first_seq"] <= trade["seq"] <= recorded["last_seq"]
    assert "other events of commands" in lockstep("compare", tmp_path / "b", "--state")[1]
    both = told(lockstep, 1, "compare", sound, tmp_path / "b", "--state")
    assert (both["digest"]["agrees"], both["digest"]["first_seq"]) == ("a", recorded["first_seq"])
    assert both["states"]["to_seq"] == recorded["first_seq"] - 1


# Releases.


def release(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """Interpreter of another release: this one with changes (file, text, other text), interpreted."""
    tree = folder / "tree"
    for package in ("engine",):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text, other in changes:
        source = (tree / file).read_text()
        assert source.count(text) == 1
        (tree / file).write_text(source.replace(text, other))
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nNUMBA_DISABLE_JIT=1 PYTHONPATH={tree} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


OTHER_RULES = {
    # A link that no event shows before another command follows it.
    "links": ("engine/matching.py", 'state.orders[behind]["prev"] = 0', "pass"),
    "participants": (
        "engine/matching.py",
        'state.participants[np.int64(order["participant"]) - 1]["orders_open"] -= 1',
        "pass",
    ),
    "counters": ("engine/matching.py", 'venue["orders_open"] -= 1', 'venue["orders_open"] -= 0'),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["links", "counters"])
def test_another_release_is_found_at_its_first_other_state(
    rule: str, few: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    python = release(tmp_path, OTHER_RULES[rule])
    with History.open(few) as history:
        guide = Replayed(history, "kernel", 1)
        with ReleaseSide(guide, python) as side:
            seq, parts = oracle(guide, side, len(FEW))
    assert seq > 0, "the change makes no difference here"
    parted = told(lockstep, 1, "compare", few, "--release", python)["states"]["parted"]
    assert (parted["seq"], tuple(parted["parts"])) == (seq, parts)


@pytest.mark.slow
def test_a_release_whose_state_has_another_form_is_compared_by_what_it_shows(
    few: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    form = ("engine/state.py", "STATE_VERSION: Final = ", "STATE_VERSION: Final = 1000 + ")
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    assert told(lockstep, 0, "compare", few, "--release", release(tmp_path / "same", form))["same"]
    python = release(tmp_path / "other", form, OTHER_RULES["participants"])
    with History.open(few) as history:
        guide = Replayed(history, "kernel", 1)
        with ReleaseSide(guide, python) as side:
            seq, parts = oracle(guide, side, len(FEW))
    assert seq > 0
    parted = told(lockstep, 1, "compare", few, "--release", python)["states"]["parted"]
    assert (parted["seq"], tuple(parted["parts"])) == (seq, parts)


@pytest.mark.slow
def test_a_release_that_cannot_be_asked_is_refused_in_a_sentence(few: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    rules = release(tmp_path, ("engine/records.py", "RULES_VERSION: Final = ", "RULES_VERSION: Final = 1000 + "))
    for python, why in (
        (tmp_path / "none", "cannot be started"),
        (rules, "plays rules version 1"),
        (Path(shutil.which("true") or "/bin/true"), "cannot be asked"),
    ):
        status, said, sentence = lockstep("compare", few, "--release", python)
        assert (status, said, why in sentence) == (2, "", True), sentence
        assert "Traceback" not in sentence


def test_wrong_use_is_refused_in_a_sentence(sound: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "file").write_text("")
    for words, why in (
        ([sound], "compared with nothing"),
        ([sound, tmp_path / "file", "--state"], "take directories"),
        ([sound, sound, "--release", sys.executable], "name one directory"),
        ([tmp_path / "none", "--state"], "is not there"),
    ):
        status, said, sentence = lockstep("compare", *words)
        assert (status, said, why in sentence) == (2, "", True), sentence


@pytest.mark.slow
def test_a_side_that_is_kept_begins_again_where_it_was(few: Path) -> None:
    with History.open(few) as history:
        for kind in ("kernel", "reference"):
            side = Replayed(history, kind, 1)  # type: ignore[arg-type]
            side.play(100)
            kept = side.keep()
            first = side.play(200).events.tobytes()
            assert len(first) > 0
            side.back(kept)
            assert (side.seq, side.play(200).events.tobytes()) == (100, first)
        guide = Replayed(history, "kernel", 1)
        with closing(ReleaseSide(guide, Path(sys.executable))) as other:
            other.play(50)
            kept = other.keep()
            first = other.play(120).events.tobytes()
            for _ in range(5):
                other.keep()
            other.back(kept)
            assert (other.seq, other.play(120).events.tobytes()) == (50, first)


def test_one_copy_of_a_state_is_kept_at_a_time(
    sound: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the state of a large day is hundreds of MB, and so is an engine: two engines and one copy do."""
    copies: list[weakref.ref[Any]] = []
    others: list[int] = []
    keep, restored = Replayed.keep, sides.restore_engine

    def counted_keep(side: Replayed) -> Any:
        others.append(sum(each() is not None for each in copies))
        found = keep(side)
        copies.append(weakref.ref(next(iter(found[3]["orders"].values()))))
        return found

    engines: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def counted_restore(*given: Any) -> Any:
        found = restored(*given)
        engines.append(weakref.ref(found))
        alive.append(sum(each() is not None for each in engines))
        return found

    monkeypatch.setattr(Replayed, "keep", counted_keep)
    monkeypatch.setattr(sides, "restore_engine", counted_restore)
    copy = Path(shutil.copytree(sound, tmp_path / "copy"))
    seq = plant_bit(copy, 2, "orders", "orders", 3)
    facts = told(lockstep, 1, "compare", sound, copy, "--state")
    assert facts["states"]["parted"]["seq"] == seq
    assert len(others) > 3
    assert set(others) == {0}
    assert max(alive) == 2


@pytest.mark.slow
def test_the_copy_of_a_reference_engine_shares_nothing_and_takes_long_queues() -> None:
    rows = [
        "at 2024-01-15T09:30:00",
        "instrument XYZ tick=0.01 lot=1 reference=10.00",
        *(f"participant P{number}" for number in range(4)),
        "phase XYZ continuous",
        *(f"enter P{number % 4} n{number} sell 10 XYZ @ 10.0{number % 3}" for number in range(3_000)),
        "enter P1 stop sell 10 XYZ @ 8.00 stop=9.00",
    ]
    engine = ReferenceEngine(dataclasses.replace(SMALL, orders_max=4_096))
    translator = Translator(parse("\n".join(rows), "rows"), engine.directory)
    while (batch := translator.next_batch(engine.directory)) is not None:
        engine.apply(batch.rows)
    other = engine.copy()
    first, second = engine.rows_by_part(), other.rows_by_part()
    assert len(first["orders"]["orders"]) == 3_001
    assert first_row_difference(first, second) is None
    rest = Translator(parse("enter P2 buy buy 9999 XYZ @ 11.00\nphase XYZ closed", "rest"), other.directory)
    batch = rest.next_batch(other.directory)
    assert batch is not None
    events = other.apply(batch.rows)
    assert len(events) > 900
    assert first_row_difference(first, engine.rows_by_part()) is None, "the original stands as it was"
    assert engine.apply(batch.rows).tobytes() == events.tobytes()
    assert first_row_difference(engine.rows_by_part(), other.rows_by_part()) is None
    engine.check()


def test_a_release_is_told_when_it_ends_at_work(few: Path) -> None:
    with History.open(few) as history, closing(ReleaseSide(Replayed(history, "kernel", 1), Path(sys.executable))) as it:
        it._process.kill()
        with pytest.raises(ReplayError, match="cannot be asked"):
            it.play(10)
