"""A checkpoint is judged by what it is, not by the sources that wrote it: version, dtypes and capacity of the state."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import Checkpoint, CheckpointStore
from directory.recover import prune, recover
from engine import RULES_VERSION, Engine, state
from engine.digest import layout_digest
from engine.records import COMMAND
from engine.state import STATE_LAYOUT, STATE_VERSION
from gateway.ouch import streams, tables
from gateway.ouch.streams import OuchStreams
from replay.rebuild import rebuild
from replay.verify import verify
from tests.golden import made
from tests.golden.__main__ import checkpoint_path
from tests.nodes import SMALL, image_of, write_node
from tests.streams import random_stream

GOLDEN = Path(made.__file__).parent
ROWS = random_stream(31, 2_000)
Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A directory with a checkpoint at 1,536."""
    write_node(tmp_path / "node", ROWS, checkpoint_every=1_500)
    assert len(CheckpointStore(tmp_path / "node").list()) == 1
    return tmp_path / "node"


def with_newer(node: Path, change: Callable[[Checkpoint], Checkpoint]) -> int:
    """Write a second checkpoint, at the end, changed; its sequence number."""
    store = CheckpointStore(node)
    engine = rebuild(node).engine
    store.write(change(image_of(node, engine)))
    ours, theirs = store.list()
    assert ours.seq < theirs.seq == engine.seq
    return theirs.seq


# Other sources.


def test_a_checkpoint_of_other_kernel_sources_is_used_like_any_other(node: Path) -> None:
    seq = with_newer(node, lambda taken: replace(taken, source_digest="0f" * 16))
    journal, engine, recovered = recover(node)
    journal.close()
    assert (recovered.notes, recovered.rebuilt.checkpoint_seq, engine.seq) == ((), seq, seq)
    for workers in (1, 2):
        report = verify(node, workers=workers)
        assert (report.ok, report.checkpoints_compared, report.notes) == (True, 2, ())
    assert prune(node, 1) == ([1_536], [seq])


def test_an_edit_in_the_sources_of_the_engine_leaves_every_checkpoint_usable(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.kernel_cache.SOURCE_DIGEST", "0f" * 16)
    rebuilt = rebuild(node)
    assert (rebuilt.checkpoint_seq, rebuilt.seq) == (1_536, len(ROWS))
    (note,) = rebuilt.notes
    assert note.startswith("commands from 1,537 on were first executed by another release (kernels ")


# Another form.


@pytest.mark.parametrize(
    "change",
    [
        lambda taken: replace(taken, state_version=STATE_VERSION + 1),
        lambda taken: replace(taken, state_version=STATE_VERSION - 1),
        lambda taken: replace(taken, state_layout=bytes(16)),
    ],
    ids=["a later version", "an earlier version", "another layout"],
)
def test_a_checkpoint_of_another_form_is_noted_and_not_used(
    node: Path, change: Callable[[Checkpoint], Checkpoint]
) -> None:
    seq = with_newer(node, change)
    ours, theirs = CheckpointStore(node).list()
    journal, engine, recovered = recover(node)
    journal.close()
    assert (recovered.rebuilt.checkpoint_seq, engine.seq) == (ours.seq, seq)
    said = f"checkpoint {seq:,} holds the state in another form"
    assert any(said in note for note in recovered.notes)
    for workers in (1, 2):
        report = verify(node, workers=workers)
        assert (report.ok, report.checkpoints_compared) == (True, 1)
        assert any(said in note for note in report.notes)
    assert theirs.valid, "it is not damaged"


def test_a_checkpoint_of_another_form_does_not_count_among_those_that_are_kept(node: Path) -> None:
    seq = with_newer(node, lambda taken: replace(taken, state_layout=bytes(16)))
    ours = CheckpointStore(node).list()[0]
    CheckpointStore(node).prune(1, origin=ours.origin)
    assert [info.seq for info in CheckpointStore(node).list()] == [ours.seq, seq]
    assert prune(node, 1) == ([], [ours.seq])


def test_without_the_check_it_would_be_used(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    seq = with_newer(node, lambda taken: replace(taken, state_layout=bytes(16)))
    monkeypatch.setattr("replay.rebuild.why_not_origin", lambda *_: None)
    assert rebuild(node).checkpoint_seq == seq


# Each change of a dtype.


def changed_dtypes(dtype: "np.dtype[Any]") -> Iterator[tuple[str, "np.dtype[Any]"]]:
    """A dtype with each field renamed, of another format, swapped with the next, left out; and one more; in words."""
    if dtype.names is None:
        yield "another format", np.dtype({"<i8": "<u8", "|u1": "|i1"}[dtype.str])
        return
    fields = [(name, dtype[name]) for name in dtype.names]
    for at, (name, kind) in enumerate(fields):
        before, after = fields[:at], fields[at + 1 :]
        yield f"{name} renamed", np.dtype([*before, (f"{name}_", kind), *after])
        yield f"{name} unsigned or signed", np.dtype([*before, (name, other_format(kind)), *after])
        yield f"{name} big-endian or wider", np.dtype([*before, (name, wider(kind)), *after])
        yield f"{name} left out", np.dtype([*before, *after])
        if after:
            yield f"{name} after {after[0][0]}", np.dtype([*before, after[0], (name, kind), *after[1:]])
    yield "one field more", np.dtype([*fields, ("more", "<i8")])
    yield (
        "longer rows",
        np.dtype(
            {
                "names": list(dtype.names),
                "formats": [kind for _, kind in fields],
                "offsets": [dtype.fields[name][1] for name in dtype.names],  # type: ignore[index]
                "itemsize": dtype.itemsize + 8,
            }
        ),
    )


def other_format(kind: "np.dtype[Any]") -> "np.dtype[Any]":
    """The format of the same size with the other kind of sign."""
    swapped = {"i": "u", "u": "i"}[kind.base.kind]
    return np.dtype((f"{kind.base.byteorder}{swapped}{kind.base.itemsize}", kind.shape))


def wider(kind: "np.dtype[Any]") -> "np.dtype[Any]":
    """Another byte order, or where a field has one byte, two."""
    return np.dtype((kind.base.newbyteorder(">") if kind.base.itemsize > 1 else np.dtype("<u2"), kind.shape))


def changed_arrays(arrays: Arrays) -> Iterator[tuple[str, Arrays]]:
    """The arrays with each single change of a dtype, an order, a name or a number of rows, in words."""
    names = list(arrays)
    for at, name in enumerate(names):
        for what, dtype in changed_dtypes(arrays[name].dtype):
            yield f"{name}: {what}", arrays | {name: np.empty(arrays[name].shape, dtype)}
        yield f"{name}: a row more", arrays | {name: np.empty(len(arrays[name]) + 1, arrays[name].dtype)}
        yield f"{name} left out", {other: array for other, array in arrays.items() if other != name}
        yield f"{name} renamed", {(f"{other}_" if other == name else other): array for other, array in arrays.items()}
        if at:
            order = [*names[: at - 1], name, names[at - 1], *names[at + 1 :]]
            yield f"{name} before {names[at - 1]}", {other: arrays[other] for other in order}
    yield "one array more", arrays | {"more": np.zeros(1, np.int64)}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("arrays", "layout", "least"),
    [(state.described_arrays(), STATE_LAYOUT, 500), (tables.imaged_arrays(), tables.TABLES_LAYOUT, 150)],
    ids=["state", "streams"],
)
def test_each_single_change_of_an_array_or_a_field_is_another_layout(arrays: Arrays, layout: bytes, least: int) -> None:
    assert layout_digest(arrays) == layout_digest({name: array.copy() for name, array in arrays.items()}) == layout
    seen = {layout: "nothing"}
    for what, changed in changed_arrays(arrays):
        digest = layout_digest(changed)
        assert digest not in seen, f"{what} has the layout of {seen[digest]}"
        seen[digest] = what
    assert len(seen) > least


def test_the_described_arrays_are_those_of_the_state_in_its_order_with_the_rows_that_kernels_see_as_numbers() -> None:
    described = state.described_arrays()
    kept = [name for name in state.State._fields if name not in ("id_marks", "coming", "waiting")]
    assert list(described) == kept, "no image has marks of ids or what is noted of coming commands"
    assert described["exposures"].dtype == state.EXPOSURE
    rows = {array.dtype for array in described.values() if array.dtype.names is not None}
    dtypes = {value for name, value in vars(state).items() if isinstance(value, np.dtype) and not name.startswith("_")}
    dtypes.remove(COMMAND)  # whose rows wait: their words are described
    assert rows == dtypes, "a dtype of the state is in no array that is looked at"


def test_each_change_of_a_field_of_the_state_has_its_checkpoint_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the whole recovery, as a release with that dtype would see the checkpoint of this one."""
    write_node(tmp_path, ROWS[:200], checkpoint_every=100)
    assert rebuild(tmp_path).checkpoint_seq > 0
    changes = list(changed_arrays(state.described_arrays()))
    for what, changed in changes[:: max(1, len(changes) // 25)]:
        monkeypatch.setattr("engine.state.STATE_LAYOUT", layout_digest(changed))
        rebuilt = rebuild(tmp_path)
        assert rebuilt.checkpoint_seq == 0, what
        assert any("in another form" in note for note in rebuilt.notes), what
    monkeypatch.undo()
    assert rebuild(tmp_path).checkpoint_seq > 0


# OuchStreams of users.


@pytest.mark.parametrize("name", ["TABLES_VERSION", "TABLES_LAYOUT"])
def test_streams_of_another_version_or_layout_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh() -> OuchStreams:
        return OuchStreams(SMALL, lambda _: None, lambda _: None)

    image = {table: np.array(array) for table, array in fresh().image().items()}
    fresh().restore(image)
    version = tables.TABLES_VERSION + (name == "TABLES_VERSION")
    layout = bytes(16) if name == "TABLES_LAYOUT" else tables.TABLES_LAYOUT
    monkeypatch.setattr(streams, "_LAYOUT", streams.layout_row(version, layout))
    with pytest.raises(ValueError, match="other tables than this release has"):
        fresh().restore(image)
    monkeypatch.undo()
    del image["layout"]
    with pytest.raises(ValueError, match="their table layout is missing"):
        fresh().restore(image)


# The meaning of the arrays, which no dtype tells.


def test_a_checkpoint_of_this_state_version_still_means_what_it_meant(tmp_path: Path) -> None:
    """Restored, it is the market that a replay gives, then and at the end.

    Where this fails after a change of the engine, increment STATE_VERSION. Then, and where a dtype has changed, write
    the checkpoint anew: ``python -m tests.golden``.
    """
    node = Path(shutil.copytree(GOLDEN / f"rules-{RULES_VERSION}", tmp_path / "node"))
    golden = CheckpointStore(node).load(checkpoint_path())
    assert (golden.state_version, golden.state_layout) == (STATE_VERSION, STATE_LAYOUT)
    CheckpointStore(node).write(golden)
    for at in (golden.seq, None):
        restored, replayed = rebuild(node, at=at), rebuild(node, at=at, use_checkpoints=False)
        assert (restored.checkpoint_seq, replayed.checkpoint_seq) == (golden.seq, 0)
        assert restored.seq == replayed.seq
        assert isinstance(restored.engine, Engine)
        assert isinstance(replayed.engine, Engine)
        assert restored.engine.part_digests() == replayed.engine.part_digests()
        assert restored.engine.event_digest == replayed.engine.event_digest
        restored.engine.check()
