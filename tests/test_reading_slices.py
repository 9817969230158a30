"""Commands read a journal in slices as they read one in one piece, wherever it was rolled."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.questions.arrivals import users_of as user_names
from directory.archive import archive
from directory.keep_events import keep_events
from directory.recover import create, recover
from directory.roll import resized, roll
from engine.records import RULES_VERSION
from journal import Journal, JournalDamaged, SliceMissing, slices
from journal.history import History
from node.core.opening import node_projections
from replay.audit import audit
from replay.compare import compare
from replay.errors import ReplayError
from replay.times import seq_at
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.golden import made
from tests.json_schemas import checked
from tests.nodes import SMALL, batches, begin_slice, slice_ends, write_slices
from tests.streams import random_stream

COMMANDS = 1_500
ROWS = random_stream(31, COMMANDS)
_RNG = np.random.default_rng(31)
#: Ends of slices, some of them next to each other.
ENDS = sorted({int(end) for end in _RNG.integers(30, COMMANDS, 4)} | {700, 701})


def write_piece(directory: Path, rows: Any, ends: Sequence[int]) -> None:
    """The same blocks as ``write_slices`` writes, in one slice."""
    journal, engine = create(directory, SMALL)
    stamp = FileStamp()
    with journal:
        for end in [*sorted(slice_ends(rows, ends)), len(rows)]:
            pump(batches(rows[journal.last_seq : end], 64), stamp, journal, engine)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same commands in one slice and in several. Read only."""
    path = tmp_path_factory.mktemp("pair")
    write_piece(path / "piece", ROWS, ENDS)
    write_slices(path / "slices", ROWS, ENDS)
    assert len(slices.places(path / "slices")) >= 6
    return path / "piece", path / "slices"


def numbers_of(directory: Path) -> list[int]:
    return [place.number for place in slices.places(directory)]


def same(lockstep: Lockstep, pair: tuple[Path, Path], *words: object) -> str:
    """Output of a command about both, which must be the same but for the name of the directory."""
    said = []
    for node in pair:
        line = [node if word == "DIR" else word for word in words]
        status, out, err = lockstep(*line)
        kept = [each for each in err.splitlines() if each.startswith("note:")]
        said.append((status, out.replace(str(node), "DIR"), "\n".join(kept).replace(str(node), "DIR")))
    assert said[0] == said[1]
    assert said[0][0] == 0, said[0]
    return said[0][1]


RANGES = [sorted(int(seq) for seq in _RNG.integers(1, COMMANDS, 2)) for _ in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["events", "commands"])
def test_events_and_commands_of_any_range_are_the_same_wherever_the_journal_was_rolled(
    pair: tuple[Path, Path], lockstep: Lockstep, what: str
) -> None:
    whole = same(lockstep, pair, what, "DIR", "--with-seq")
    assert len(whole.splitlines()) > 1_000
    for low, high in [*RANGES, [ENDS[0], ENDS[0] + 1], [ENDS[1] + 1, ENDS[1] + 1]]:
        same(lockstep, pair, what, "DIR", "--from", low, "--to", high, "--json")
    low, high = RANGES[0]
    same(lockstep, pair, what, "DIR", "--to", high, "--symbol", "I1", "--with-seq")
    kind = ("--kind", "trade" if what == "events" else "enter")
    assert same(lockstep, pair, what, "DIR", "--from", 2, "--to", COMMANDS - 1, "--symbol", "I1", *kind)
    same(lockstep, pair, what, "DIR", "--from", ENDS[2], "--participant", "P2", "--with-seq")
    if what == "commands":
        same(lockstep, pair, what, "DIR", "--from", low, "--to", high, "--with-events")


@pytest.mark.slow
def test_book_and_state_at_any_command_and_time_are_the_same(pair: tuple[Path, Path], lockstep: Lockstep) -> None:
    clocks = [
        json.loads(line) for line in same(lockstep, pair, "commands", "DIR", "--kind", "clock", "--json").splitlines()
    ]
    times = [clock["time"] for clock in clocks[:: len(clocks) // 6]]
    moments = [0, 1, *ENDS, *(end + 1 for end in ENDS), COMMANDS]
    for when in [*moments, *times]:
        assert len({seq_at(node, str(when).rstrip("Z")) for node in pair}) == 1, when
    for when in [ENDS[0], ENDS[3] + 1, times[2].rstrip("Z"), times[-1].rstrip("Z")]:
        same(lockstep, pair, "book", "DIR", "I1", "--at", when)
        told = []
        for node in pair:
            status, said, _ = lockstep("state", node, "--at", when, "--json")
            assert status == 0
            told.append(json.loads(said) | {"checkpoint_seq": None})
        assert told[0] == told[1]


@pytest.mark.slow
def test_the_history_of_an_order_goes_through_slices(pair: tuple[Path, Path], lockstep: Lockstep) -> None:
    accepted = [
        json.loads(line) for line in same(lockstep, pair, "events", "DIR", "--kind", "accepted", "--json").splitlines()
    ]
    replaced = [
        json.loads(line) for line in same(lockstep, pair, "events", "DIR", "--kind", "replaced", "--json").splitlines()
    ]
    for event in [*accepted[:: len(accepted) // 4], *replaced[:: len(replaced) // 4]]:
        same(lockstep, pair, "order", "DIR", event["client_order_id"])


def test_info_lists_the_slices_and_check_reads_them_all(pair: tuple[Path, Path], lockstep: Lockstep) -> None:
    piece, rolled = (json.loads(lockstep("journal", "info", node, "--json")[1]) for node in pair)
    for key in ("blocks", "first_seq", "last_seq", "digests", "first_time", "last_time", "rules_versions", "capacity"):
        assert piece[key] == rolled[key], key
    assert [each["number"] for each in rolled["slices"]] == numbers_of(pair[1])
    assert [each["state"] for each in rolled["slices"]] == ["closed"] * (len(rolled["slices"]) - 1) + ["open"]
    assert [each["last_seq"] for each in rolled["slices"]][:-1] == sorted(slice_ends(ROWS, ENDS))
    status, said, _ = lockstep("journal", "info", pair[1])
    assert status == 0
    assert "commands        1 to 1,500" in said
    assert said.count("closed") == len(rolled["slices"]) - 1
    checked = [json.loads(lockstep("journal", "check", node, "--json")[1]) for node in pair]
    assert checked[1] == checked[0] | {"slices": len(rolled["slices"])}
    assert checked[0]["ok"]


@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_verify_reads_every_slice_and_the_images_between_them(pair: tuple[Path, Path], engine: Any) -> None:
    piece, rolled = (verify(node, engine=engine) for node in pair)
    assert (piece.ok, rolled.ok) == (True, True)
    assert (piece.commands, piece.events, piece.blocks) == (rolled.commands, rolled.events, rolled.blocks)
    assert (rolled.slices, rolled.images_compared) == (len(numbers_of(pair[1])), len(numbers_of(pair[1])) - 1)
    part = verify(pair[1], engine=engine, from_seq=ENDS[1] + 2, to_seq=ENDS[4] + 1)
    assert part.ok
    assert part.slices >= 3
    assert verify(pair[1], workers=2).ok


def test_verify_says_how_many_slices_it_read(pair: tuple[Path, Path], lockstep: Lockstep) -> None:
    count = len(numbers_of(pair[1]))
    status, said, _ = lockstep("verify", pair[1], "--workers", 1)
    assert status == 0
    assert f"{count}, {count - 1} end in the image that the next one starts from" in said
    assert "slices" not in lockstep("verify", pair[0], "--workers", 1)[1]


def test_names_of_users_for_arrivals_are_found_in_the_image_of_a_slice(tmp_path: Path) -> None:
    write_slices(tmp_path, made.commands(), [500], capacity=made.CAPACITY)
    assert user_names(tmp_path) == {}
    roll(tmp_path, make_projections=node_projections(tmp_path))
    assert user_names(tmp_path) == {1: "USER-1"}


@pytest.mark.slow
def test_directories_that_were_rolled_at_different_points_compare_as_the_same(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    write_slices(tmp_path, ROWS, [400, 1_100])
    for left, right in [pair, (pair[1], tmp_path)]:
        for engine in ("kernel", "reference"):
            report = compare(left, right, engine=engine)  # type: ignore[arg-type]
            assert report.same, report
            assert report.state_seq == COMMANDS
    assert audit(pair[1]).ok
    assert audit(pair[1]).events == audit(pair[0]).events


def test_compare_finds_a_difference_behind_a_roll(pair: tuple[Path, Path], tmp_path: Path) -> None:
    changed = ROWS.copy()
    at = ENDS[2] + 5
    changed.view(np.int64).reshape(len(changed), 8)[at - 1, 3] += 1
    write_slices(tmp_path, changed, ENDS)
    report = compare(pair[1], tmp_path)
    assert report.command is not None
    assert report.command.seq == at


@pytest.mark.slow
def test_a_slice_that_is_missing_is_told_by_every_command_that_needs_it(
    pair: tuple[Path, Path], tmp_path: Path, lockstep: Lockstep
) -> None:
    node = Path(shutil.copytree(pair[1], tmp_path / "node"))
    shutil.move(node / "slices" / "000002", tmp_path / "000002")
    first, last = sorted(slice_ends(ROWS, ENDS))[:2]
    for words in (["events"], ["commands"], ["verify"], ["state", "--at", first + 1], ["commands", "--to", last]):
        status, said, err = lockstep(words[0], node, *words[1:])
        assert (status, said) == (2, ""), words
        assert f"slice 2 of the journal are not in {node}" in err or f"slice 2 of the journal is not in {node}" in err
    with pytest.raises(SliceMissing):
        seq_at(node, _time_of(pair[0], first + 1))
    for words in (["events", "--from", last + 1], ["state"], ["verify", "--from", last + 1], ["events", "--to", first]):
        assert lockstep(words[0], node, *words[1:])[0] == 0, words
    status, said, _ = lockstep("journal", "check", node)
    assert status == 1
    assert "slice 2 of the journal is not in" in said
    listed = json.loads(lockstep("journal", "info", node, "--json")[1])["slices"]
    assert [(each["state"], each["first_seq"], each["last_seq"]) for each in listed[1:2]] == [
        ("missing", first + 1, last)
    ]
    # The folder of a slice is read like a directory of its own.
    status, alone, _ = lockstep("events", tmp_path / "000002", "--with-seq")
    assert status == 0
    assert alone == lockstep("events", pair[0], "--from", first + 1, "--to", last, "--with-seq")[1]
    assert verify(tmp_path / "000002").ok
    status, _, err = lockstep("events", tmp_path / "000002", "--from", first)
    assert status == 2
    assert f"give --from {first + 1}" in err
    shutil.move(tmp_path / "000002", node / "slices" / "000002")
    assert lockstep("events", node)[1] == lockstep("events", pair[0])[1]


def _time_of(node: Path, seq: int) -> str:
    with Journal.open(node, readonly=True) as journal:
        time_ns = next(journal.blocks(seq, seq)).time_ns
    return str(np.datetime64(time_ns, "ns"))


def test_an_order_of_before_a_missing_slice_is_followed_from_what_was_open_of_it(
    pair: tuple[Path, Path], tmp_path: Path, lockstep: Lockstep
) -> None:
    node = Path(shutil.copytree(pair[1], tmp_path / "node"))
    for folder in ("journal", "checkpoints"):
        shutil.rmtree(node / folder, ignore_errors=True)
    end = sorted(slice_ends(ROWS, ENDS))[0]
    events = [json.loads(line) for line in lockstep("events", pair[0], "--json")[1].splitlines()]
    later = {event["client_order_id"] for event in events if event["seq"] > end and event["kind"] == "canceled"}
    born = {event["client_order_id"] for event in events if event["seq"] <= end and event["kind"] == "accepted"}
    fresh = {event["client_order_id"] for event in events if event["seq"] > end and event["kind"] == "accepted"}
    order_id = sorted((later & born) - fresh)[0]
    status, said, err = lockstep("order", node, order_id)
    assert status == 0
    assert "open before the commands that are here" in said
    assert f"canceled {order_id}" in said
    assert "slice 1 of the journal is not in" in err
    status, _, err = lockstep("order", node, "nobody7")
    assert status == 2
    assert "slice 1 of the journal is not in" in err


def test_a_changed_byte_in_a_closed_slice_or_an_image_is_found(
    pair: tuple[Path, Path], tmp_path: Path, lockstep: Lockstep
) -> None:
    rng = np.random.default_rng(7)
    for name in ("slices/000003/start.checkpoint", "slices/000002/journal/data.mdb", "slices/000004/journal/genesis"):
        node = Path(shutil.copytree(pair[1], tmp_path / "node"))
        path = node / name
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        # Of the journal in a block, not in a page that nobody uses.
        at = content.index(b"\xb5LkB") + 60 if name.endswith("data.mdb") else int(rng.integers(len(content)))
        content[at] ^= 4
        path.write_bytes(content)
        status, said, _ = lockstep("journal", "check", node)
        assert status == 1, name
        assert f"slice {int(name.split('/')[1])}: " in said
        shutil.rmtree(node)


def test_slices_of_two_histories_do_not_fit(pair: tuple[Path, Path], tmp_path: Path, lockstep: Lockstep) -> None:
    write_slices(tmp_path / "other", ROWS, ENDS)
    node = Path(shutil.copytree(pair[1], tmp_path / "node"))
    shutil.rmtree(node / "slices" / "000003")
    shutil.copytree(tmp_path / "other" / "slices" / "000003", node / "slices" / "000003")
    status, said, _ = lockstep("journal", "check", node)
    assert status == 1
    assert "slice 3: it was taken from another journal" in said
    with pytest.raises(JournalDamaged, match="of another history"), History.open(node) as history:
        list(history.blocks())


def other_rules(directory: Path, version: int = 3) -> None:
    """A directory whose second slice is of other rules: its engine is the one of these rules, which nobody asks."""
    journal, engine = create(directory, SMALL)
    stamp = FileStamp()
    with journal:
        pump(batches(ROWS[:300], 64), stamp, journal, engine)
        begin_slice(journal, engine, version)
        journal.rules_version = version
        pump(batches(ROWS[300:600], 64), stamp, journal, engine)
        begin_slice(journal, engine)
        pump(batches(ROWS[600:900], 64), stamp, journal, engine)


@pytest.mark.slow
def test_a_slice_of_other_rules_is_read_by_commands_and_check_and_verify_says_what_it_did(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    other_rules(tmp_path / "node")
    write_piece(tmp_path / "piece", ROWS[:900], [300, 600])
    pair = (tmp_path / "piece", tmp_path / "node")
    for words in (["--with-seq"], ["--from", 400, "--to", 500, "--json"], ["--from", 290, "--to", 310]):
        said = [lockstep("commands", node, *words) for node in pair]
        assert (said[0][0], said[1][0]) == (0, 0)
        assert said[0][1] == said[1][1]
        assert "slice 2" in said[1][2]
        assert "is of rules version 3" in said[1][2]
    assert lockstep("journal", "check", pair[1])[0] == 0
    listed = json.loads(lockstep("journal", "info", pair[1], "--json")[1])["slices"]
    assert [each["rules_version"] for each in listed] == [RULES_VERSION, 3, RULES_VERSION]
    for words in (["events"], ["commands", "--with-events"]):
        status, _, err = lockstep(words[0], pair[1], *words[1:], "--from", 400, "--to", 500)
        assert status == 2
        assert "slice 2 of" in err
        assert "events are not kept" in err
    report = verify(pair[1])
    assert report.ok
    assert any("slice 2 is of rules version 3: its chain was checked" in note for note in report.notes)
    with pytest.raises(ReplayError, match=r"slice 2 of .* was written under rules version 3"):
        audit(pair[1])


@pytest.mark.slow
def test_verify_and_compare_follow_a_change_of_capacity(tmp_path: Path) -> None:
    larger = replace(SMALL, orders_max=2_048, instruments_max=12)
    write_slices(tmp_path / "rolled", ROWS[:600], [400])
    roll(tmp_path / "rolled", capacity=larger)
    write_slices(tmp_path / "same", ROWS[:600], [])
    roll(tmp_path / "same")
    for engine in ("kernel", "reference"):
        report = verify(tmp_path / "rolled", engine=engine)  # type: ignore[arg-type]
        assert report.ok
        # The last slice is empty: it has no commands of the range, and its image is compared all the same.
        assert (report.slices, report.images_compared) == (2, 2)
    journal, engine_, _ = recover(tmp_path / "rolled")
    with journal:
        pump(batches(ROWS[600:900], 64), FileStamp(engine_.now_ns), journal, engine_)
    journal, engine_, _ = recover(tmp_path / "same")
    with journal:
        pump(batches(ROWS[600:900], 64), FileStamp(engine_.now_ns), journal, engine_)
    compared = compare(tmp_path / "rolled", tmp_path / "same")
    assert compared.same, compared
    assert any("A and B have room for" in note for note in compared.notes)
    assert audit(tmp_path / "rolled").ok
    for place in slices.places(tmp_path / "rolled")[:-1]:
        assert keep_events(tmp_path / "rolled", place).gives_next_image


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_verify_compares_the_images_around_a_slice_without_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any
) -> None:
    """So it is where the capacity changes right behind a roll; here the change moves a price."""

    def wrong(*arguments: Any) -> Any:
        taken, notes = resized(*arguments)
        taken.parts["reference"]["instruments"]["last_trade_e4"][0] += 100
        return taken, notes

    write_slices(tmp_path / "right", ROWS[:600], [400])
    roll(tmp_path / "right")
    shutil.copytree(tmp_path / "right", tmp_path / "wrong")
    larger = replace(SMALL, orders_max=2_048)
    roll(tmp_path / "right", capacity=larger)
    monkeypatch.setattr("directory.roll.resized", wrong)
    roll(tmp_path / "wrong", capacity=larger)
    report = verify(tmp_path / "right", engine=engine)
    assert (report.ok, report.slices, report.images_compared) == (True, 3, 3)
    assert verify(tmp_path / "right", engine=engine, to_seq=300).slices == 1
    found = verify(tmp_path / "wrong", engine=engine)
    assert not found.ok
    assert {(each.first_seq, each.last_seq) for each in found.differences} == {(600, 600)}


def test_checkpoints_of_all_slices_are_listed_with_the_images_from_which_they_start(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    node = tmp_path / "node"
    write_slices(node, ROWS, [700], checkpoint_every=300)
    listed = checked(("checkpoint", "list"), lockstep("checkpoint", "list", node, "--json")[1])
    kinds = [kind for kind, _ in groupby((each["slice"], each["is_start"]) for each in listed)]
    assert kinds == [(1, False), (2, True), (2, False)]
    start = next(each for each in listed if each["is_start"])
    assert (start["seq"], start["valid"]) == (700, True)
    assert start["path"].endswith("start.checkpoint")
    status, said, err = lockstep("checkpoint", "list", node)
    assert (status, err, said.splitlines()[0].split()) == (0, "", ["slice", "seq", "size", "state", "digest"])
    assert said.count("start of the slice") == 1
    archive(node, tmp_path / "archive", before_ns=2**62, without_events=True)
    status, said, err = lockstep("checkpoint", "list", node)
    assert (status, said.count("start of the slice"), "slice 1 of the journal was archived" in err) == (0, 1, True)
    for path in (node / "slices" / "000002" / "checkpoints").iterdir():
        path.unlink()
    assert "recovery starts from command 701" in lockstep("checkpoint", "verify", node)[1]


def test_directories_compare_from_where_both_have_all_slices(pair: tuple[Path, Path], tmp_path: Path) -> None:
    node = Path(shutil.copytree(pair[1], tmp_path / "node"))
    archive(node, tmp_path / "archive", before_ns=2**62, without_events=True)
    report = compare(pair[0], node)
    assert report.same
    assert report.seq == COMMANDS
    assert any("compared from command" in note and "archive" in note for note in report.notes)
    changed = ROWS.copy()
    changed.view(np.int64).reshape(len(changed), 8)[-2, 3] += 1
    write_slices(tmp_path / "other", changed, ENDS)
    found = compare(tmp_path / "other", node).command
    assert found is not None
    assert found.seq == COMMANDS - 1


@pytest.mark.slow
def test_an_image_that_is_not_written_yet_is_no_problem_where_the_slice_before_gives_it(
    pair: tuple[Path, Path], tmp_path: Path, lockstep: Lockstep
) -> None:
    """As of a running node that has just begun a slice."""
    node = Path(shutil.copytree(pair[1], tmp_path / "node"))
    slices.places(node)[-1].start_image.unlink()
    status, said, _ = lockstep("journal", "check", node)
    assert status == 0
    assert "is missing; a start writes it again" in said
    for engine in ("kernel", "reference"):
        report = verify(node, engine=engine)  # type: ignore[arg-type]
        assert report.ok
        assert report.images_compared == len(numbers_of(node)) - 1
    assert compare(pair[0], node, engine="reference").same
    assert audit(node).ok
    shutil.move(slices.places(node)[-2].folder, tmp_path / "aside")
    assert lockstep("journal", "check", node)[0] == 1
    last = sorted(slice_ends(ROWS, ENDS))[-1]
    assert not verify(node, from_seq=last + 1).ok


def test_a_slice_that_was_just_begun_hides_nothing_of_the_journal(tmp_path: Path, lockstep: Lockstep) -> None:
    write_slices(tmp_path / "node", ROWS, [])
    roll(tmp_path / "node")
    _, said, _ = lockstep("journal", "info", tmp_path / "node", "--json")
    told = json.loads(said)
    assert (told["first_seq"], told["last_seq"]) == (1, len(ROWS))
    assert told["slices"][1]["first_seq"] == 0
    assert told["last_time"] == told["slices"][0]["last_time"]
    assert f"1 to {len(ROWS):,}" in lockstep("journal", "info", tmp_path / "node")[1]
