"""Data directories of earlier releases can be read, and their state becomes one of this release."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from checkpoints import Checkpoint, CheckpointStore
from engine import Capacity, Engine
from engine.conversion import Conversion, convert
from engine.interface import EngineKind, new_engine
from engine.names import unpack
from journal import Journal
from replay.rebuild import owned_rows
from tests.golden.releases import RELEASES, release_content, release_copy

EXTENT_BYTES = 65_536


@pytest.fixture(params=sorted(RELEASES))
def release(request: pytest.FixtureRequest) -> str:
    """Name of the directory of a release."""
    return str(request.param)


@pytest.fixture
def directory(release: str, tmp_path: Path) -> Path:
    """A writable copy of it."""
    return release_copy(release, tmp_path / "node")


def checkpoint_of(directory: Path) -> Checkpoint:
    """The checkpoint at the end of its journal."""
    (info,) = CheckpointStore(directory).list()
    return CheckpointStore(directory).load(info.path)


def upgraded(image: Checkpoint, to: Capacity) -> Conversion:
    """Conversion of a checkpoint."""
    return convert(
        image.parts,
        rules_version=image.rules_version,
        state_version=image.state_version,
        capacity=Capacity(**image.capacity),
        to=to,
    )


#: Fields that the earlier releases called otherwise, to their present name.
RENAMED = {"number": "order_number"}


def _shown(value: Any, like: Any) -> Any:
    return unpack(int(value)) if isinstance(like, str) else int(value)


def objects(rows: NDArray[Any], like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as objects with the fields that the earlier release had."""
    names = list(like[0])
    return [{name: _shown(each[RENAMED.get(name, name)], like[0][name]) for name in names} for each in rows]


@pytest.mark.parametrize("orders_max", [400, 800])
def test_the_state_of_an_earlier_release_becomes_a_market_of_this_one(
    directory: Path, release: str, orders_max: int
) -> None:
    content, image = release_content(release), checkpoint_of(directory)
    assert (image.seq, image.event_digest.hex()) == (content["last_seq"], content["event_digest"])
    to = replace(Capacity(**image.capacity), orders_max=orders_max)
    conversion = upgraded(image, to)
    engine = Engine.restore(to, image.seq, image.event_digest, conversion.parts)
    engine.check()
    for view in ("open_orders", "positions", "limits", "instruments", "participants"):
        assert objects(getattr(engine, view)(), content[view]) == content[view], view
    venue = engine._state.venue[0]
    now = (venue["last_order_number"], venue["last_trade_number"], venue["ids_used"])
    assert now == tuple(content[name] for name in ("orders_accepted", "trades", "ids_used"))
    assert (engine.now_ns, engine.next_due_ns) == (content["now_ns"], content["next_due_ns"])
    assert list(engine.directory.symbols) == content["symbols"]
    assert conversion.day_orders_that_end == (6 if content["rules_version"] == 3 else 0)


def test_the_journal_of_an_earlier_release_can_be_read(directory: Path, release: str) -> None:
    content = release_content(release)
    with Journal.open(directory) as journal:
        assert journal.check().ok
        assert journal.last_seq == content["last_seq"]
        assert list(journal.digests())[-1][1].hex() == content["event_digest"]


@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_the_commands_of_a_release_before_epochs_cause_the_same_events_now(engine: EngineKind, tmp_path: Path) -> None:
    """RULES_VERSION 5 has another outcome than 4 for epochs alone."""
    names = [name for name, rules in RELEASES.items() if rules == 4]
    assert names
    for name in names:
        content, copy = release_content(name), release_copy(name, tmp_path / name)
        image = checkpoint_of(copy)
        machine = new_engine(engine, Capacity(**image.capacity))
        with Journal.open(copy) as journal:
            events = sum(len(machine.apply(owned_rows(block.rows))) for block in journal.blocks())
        assert (machine.seq, events, machine.event_digest.hex()) == (
            *(content["last_seq"], content["events"], content["event_digest"]),
        )
        assert machine.epoch == 0


def test_the_streams_that_a_release_kept_are_in_its_files(directory: Path, release: str) -> None:
    content = release_content(release)
    paths = {path.stem: path for path in (directory / "streams").iterdir()}
    assert sorted(paths) == content["sessions_kept"]
    for session, path in paths.items():
        octets = path.read_bytes()
        for user, stream in content["streams"][session].items():
            # A spool has a page of head.
            starts = range(4_096 if path.suffix else 0, len(octets), EXTENT_BYTES)
            found = [zlib.crc32(octets[start : start + stream["bytes"]]) for start in starts]
            assert stream["crc32"] in found, f"{session} user {user}"


def test_each_golden_directory_is_small_and_its_copy_can_be_written(directory: Path, release: str) -> None:
    golden = Path(__file__).parent / "golden" / release
    assert sum(path.stat().st_size for path in golden.rglob("*") if path.is_file()) < 400_000
    (directory / "journal" / "tail").write_bytes(b"written")
    assert (golden / "journal" / "tail").read_bytes() != b"written"
