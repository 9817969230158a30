"""Comparing two nodes with either engine: which of two records is right, and whether what both hold is.

What only an independent engine can see is here too: two nodes that hold the same wrong state.
"""

import dataclasses
import shutil
from pathlib import Path

import pytest

from checkpoints import CheckpointStore
from cli.main import run_line
from directory.bundle import bundles, read_bundle
from engine import Engine
from engine.interface import EngineKind
from replay.compare import compare
from tests.json_schemas import checked
from tests.nodes import SMALL, DropsAFill, image_of, write_node
from tests.streams import random_stream

ROWS = random_stream(21, 3_000)
ENGINES: tuple[EngineKind, ...] = ("kernel", "reference")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory without a fault and without a checkpoint. Read only."""
    path = tmp_path_factory.mktemp("sound")
    write_node(path, ROWS)
    return path


@pytest.fixture(scope="module")
def bent(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same journal, and a checkpoint at its end in which an instrument last traded at another price."""
    path = Path(shutil.copytree(sound, tmp_path_factory.mktemp("bent") / "node"))
    engine = Engine(SMALL)
    for first in range(0, len(ROWS), 64):
        engine.apply(ROWS[first : first + 64])
    parts = {part: {name: array.copy() for name, array in arrays.items()} for part, arrays in engine.parts().items()}
    parts["reference"]["instruments"]["last_trade_e4"][0] += 100
    CheckpointStore(path).write(dataclasses.replace(image_of(path, engine), parts=parts))
    return path


@pytest.mark.parametrize("engine", ENGINES)
def test_two_sound_nodes_are_the_same_by_either_engine(engine: EngineKind, sound: Path, tmp_path: Path) -> None:
    write_node(tmp_path, ROWS, 100, checkpoint_every=1_000)
    report = compare(sound, tmp_path, engine=engine)
    assert (report.same, report.state_seq, report.engine) == (True, len(ROWS), engine)
    assert (report.unlike_a, report.unlike_b) == ((), ())


@pytest.mark.parametrize("engine", ENGINES)
def test_either_engine_says_which_of_two_records_is_right(engine: EngineKind, sound: Path, tmp_path: Path) -> None:
    write_node(tmp_path, ROWS, engine=DropsAFill(5))
    for pair, right in (((sound, tmp_path), "a"), ((tmp_path, sound), "b")):
        digest = compare(*pair, engine=engine).digest
        assert digest is not None
        assert (digest.agrees, digest.replayed) == (right, digest.a if right == "a" else digest.b)


@pytest.mark.slow
def test_the_reference_engine_says_which_node_holds_what_it_should_not(sound: Path, bent: Path) -> None:
    by_kernel = compare(sound, bent)
    assert (by_kernel.parts, by_kernel.unlike_a, by_kernel.unlike_b) == (("reference",), (), ())
    by_reference = compare(sound, bent, engine="reference")
    assert (by_reference.parts, by_reference.unlike_a, by_reference.unlike_b) == (("reference",), (), ("instruments",))
    assert compare(bent, sound, engine="reference").unlike_a == ("instruments",)


def test_the_same_wrong_state_in_both_nodes_is_seen_by_the_reference_engine_alone(bent: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(bent, tmp_path / "twin"))
    assert compare(bent, twin).same
    report = compare(bent, twin, engine="reference")
    assert (report.same, report.parts) == (False, ())
    assert (report.unlike_a, report.unlike_b) == (("instruments",), ("instruments",))


@pytest.mark.slow
def test_the_command_line_takes_the_engine_and_tells_what_it_found(
    sound: Path, bent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["compare", str(sound), str(bent), "--engine", "reference"]
    assert run_line(line) == 1
    said = capsys.readouterr().out
    assert "after command 3,000, B has other instruments than the reference engine" in said
    assert said.endswith("DIFFERENT\n")
    assert run_line([*line, "--json"]) == 1
    (told,) = checked(["compare"], capsys.readouterr().out)
    assert (told["engine"], told["unlike_a"], told["unlike_b"]) == ("reference", [], ["instruments"])
    twin = shutil.copytree(sound, tmp_path / "twin")
    assert run_line(["compare", str(sound), str(twin), "--engine", "reference"]) == 0
    assert "with the reference engine's open orders and instruments too" in capsys.readouterr().out


def test_a_comparison_that_ends_at_damage_is_not_called_a_difference(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seq, alike in ((1_500, "1,472"), (65, "64")):
        spoilt = Path(shutil.copytree(sound, tmp_path / f"spoilt{seq}"))
        flip_row(spoilt, seq)
        for pair in ((sound, spoilt), (spoilt, sound)):
            assert run_line(["compare", *map(str, pair)]) == 1
            said = capsys.readouterr().out
            assert said.endswith(f"NOT COMPARED TO THE END: equal up to command {alike}, then damage\n")
            assert said.count(f"damaged: {spoilt}: ") == 1
        assert run_line(["compare", str(sound), str(spoilt), "--json"]) == 1
        (told,) = checked(["compare"], capsys.readouterr().out)
        assert (told["same"], told["differs"], len(told["damage"])) == (False, False, 1)


def test_a_difference_before_the_damage_is_still_called_one(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_node(tmp_path, ROWS, engine=DropsAFill(5))
    flip_row(tmp_path, 2_500)
    assert run_line(["compare", str(sound), str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "damaged: " in said
    assert said.endswith("DIFFERENT\n")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_two_nodes_with_the_same_wrong_record_are_not_called_the_same(
    engine: EngineKind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_node(tmp_path / name, ROWS, engine=DropsAFill(5))
    line = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--engine", engine]
    assert run_line(line) == 1
    said = capsys.readouterr().out
    assert "differs from the record in commands" in said
    assert said.endswith("NOT RIGHT: both are equal, but a replay differs from them\n")
    assert run_line([*line, "--json"]) == 1
    (told,) = checked(["compare"], capsys.readouterr().out)
    assert (told["same"], told["differs"]) == (False, True)
    by = ["kernel", "kernel", *(["reference"] if engine == "reference" else [])]
    assert [sentence.rpartition("(")[2] for sentence in told["diverged"]] == [f"{each} engine)" for each in by]


@pytest.mark.parametrize("engine", ENGINES)
def test_nodes_of_different_capacity_are_the_same_as_long_as_their_events_are(
    engine: EngineKind, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_node(tmp_path, ROWS, 100, capacity=dataclasses.replace(SMALL, orders_max=2_000, participants_max=20))
    assert run_line(["compare", str(sound), str(tmp_path), "--engine", engine]) == 0
    said = capsys.readouterr().out
    assert "room for orders_max 1,024 and 2,000, participants_max 16 and 20" in said
    assert said.endswith("equal as far as both go\n")


@pytest.mark.parametrize("engine", ENGINES)
def test_nodes_of_different_capacity_part_at_the_first_order_that_one_has_no_room_for(
    engine: EngineKind, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_node(tmp_path, ROWS, capacity=dataclasses.replace(SMALL, orders_max=8))
    line = ["compare", str(sound), str(tmp_path), "--engine", engine]
    assert run_line(line) == 1
    said = capsys.readouterr().out
    assert "first difference: event 1 of command" in said
    assert "reason capacity" in said
    assert said.endswith("DIFFERENT\n")
    assert run_line([*line, "--json"]) == 1
    (told,) = checked(["compare"], capsys.readouterr().out)
    assert (told["event_difference"]["a"]["kind"], told["event_difference"]["b"]["reason"]) == ("accepted", "capacity")


def test_the_wrong_record_of_a_node_of_another_capacity_is_found(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    larger = dataclasses.replace(SMALL, orders_max=2_000)
    write_node(tmp_path, ROWS, 100, capacity=larger, engine=DropsAFill(5))
    for pair, right in (((sound, tmp_path), "A"), ((tmp_path, sound), "B")):
        assert run_line(["compare", *map(str, pair)]) == 1
        said = capsys.readouterr().out
        assert f", as {right} recorded" in said
        assert said.endswith("DIFFERENT\n")


def flip_row(node: Path, seq: int) -> None:
    """Turn one bit of a command over, wherever the journal's file has its row."""
    path, row = node / "journal" / "data.mdb", ROWS[seq - 1].tobytes()
    raw = path.read_bytes()
    assert row in raw
    path.write_bytes(raw.replace(row, bytes([row[0] ^ 1]) + row[1:]))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_audit_of_two_directories_names_the_part_and_writes_a_bundle_of_each(
    engine: EngineKind, sound: Path, bent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", str(sound), "--against", str(bent), "--engine", engine, "--bundles", str(tmp_path)]
    assert run_line(words) == 1
    assert f"first command {len(ROWS):,}, part reference" in capsys.readouterr().err
    one, two = bundles(tmp_path)
    assert read_bundle(one).part == read_bundle(two).part == "reference"
    statuses = {read_bundle(path).manifest["found"]["node"]: run_line(["doctor", str(path)]) for path in (one, two)}
    assert statuses == {str(sound): 0, str(bent): 1}
    capsys.readouterr()
    assert run_line(["compare", str(one), str(two)]) == 1
    assert f"the state of {bent} was wrong" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.slow
def test_an_audit_by_the_reference_engine_names_a_part_that_both_directories_have_wrong(
    bent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bent, tmp_path / "too")
    words = ["audit", str(bent), "--against", str(tmp_path / "too"), "--bundles", str(tmp_path)]
    assert run_line(words) == 0
    assert run_line([*words, "--engine", "reference"]) == 1
    assert "part reference" in capsys.readouterr().err
    assert len(bundles(tmp_path)) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_an_audit_of_directories_with_other_events_names_the_block(
    engine: EngineKind, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_node(tmp_path / "b", ROWS, engine=DropsAFill(5))
    assert (
        run_line(
            ["audit", str(sound), "--against", str(tmp_path / "b"), "--engine", engine, "--bundles", str(tmp_path)]
        )
        == 1
    )
    assert "part events" in capsys.readouterr().err
    digest = compare(sound, tmp_path / "b").digest
    assert digest is not None
    for path in bundles(tmp_path):
        assert read_bundle(path).manifest["divergence"] == {
            "first_seq": digest.first_seq,
            "last_seq": digest.last_seq,
            "part": "events",
        }
