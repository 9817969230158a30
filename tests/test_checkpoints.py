"""Promises of checkpoints: the same arrays back, every damage found, nothing deleted by it, the one before used."""

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from checkpoints import (
    Checkpoint,
    CheckpointError,
    CheckpointStore,
    ProjectionForm,
    ProjectionImage,
    image,
    load_array,
    load_checkpoint,
)
from engine import digest

ROOT = Path(__file__).parent.parent
FLIPS = int(os.environ.get("LOCKSTEP_FLIPS", "400"))
NESTED = np.dtype([("price_e4", "<i8"), ("queue", [("head", "<i4"), ("sizes", "<i4", (3,))]), ("side", "i1")])


def small_checkpoint(seq: int = 1_000) -> Checkpoint:
    """Arrays of every shape that an engine may have: nested rows, several dimensions, none, and empty ones."""
    chance = np.random.default_rng(seq)
    levels = np.zeros(20, NESTED)
    levels["price_e4"] = chance.integers(0, 10**9, 20)
    levels["queue"]["sizes"] = chance.integers(0, 100, (20, 3))
    return Checkpoint(
        seq=seq,
        event_digest=chance.bytes(16),
        journal_id=b"journal" + bytes(9),
        rules_version=1,
        state_version=2,
        state_layout=b"layout" + bytes(10),
        source_digest="ab" * 16,
        capacity={"orders_max": 8, "ids_max": 8},
        parts={
            "books": {"levels": levels, "bitmap": chance.integers(0, 2**62, (4, 8)), "none": np.zeros((0, 3), "<i4")},
            "orders": {"pool": chance.integers(0, 255, 1_001, dtype=np.uint8), "count": np.array(5)},
            "timers": {},
        },
    )


def with_projections(seq: int = 1_000) -> Checkpoint:
    """The same state with images of projections beside it, an array of one of them called like a part."""
    chance = np.random.default_rng(seq + 1)
    sessions = {"sent": chance.integers(0, 10**6, (5, 2)), "users": np.zeros(3, NESTED), "none": np.zeros(0, "<i8")}
    feed = {"books": chance.integers(0, 255, 77, dtype=np.uint8)}
    images = {
        name: ProjectionImage(version, bytes([version] * 16), arrays)
        for version, (name, arrays) in enumerate((("sessions", sessions), ("feed", feed), ("idle", {})), 1)
    }
    return replace(small_checkpoint(seq), projections=images)


def as_parts(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with what is beside in the place of its parts, to be compared."""
    return replace(
        checkpoint, parts={name: each.arrays for name, each in checkpoint.projections.items()}, projections={}
    )


def same(got: Checkpoint, expected: Checkpoint) -> bool:
    if replace(got, parts={}) != replace(expected, parts={}) or got.parts.keys() != expected.parts.keys():
        return False
    for part, arrays in expected.parts.items():
        if got.parts[part].keys() != arrays.keys():
            return False
        for name, array in arrays.items():
            other = got.parts[part][name]
            if (other.dtype, other.shape, other.tobytes()) != (array.dtype, array.shape, array.tobytes()):
                return False
    return True


def encoded(checkpoint: Checkpoint) -> bytes:
    return b"".join(image.encode(checkpoint))


def decoded(content: bytes) -> Checkpoint:
    return image.decode(io.BytesIO(content), len(content), "the checkpoint")


def test_what_is_written_comes_back_in_arrays_of_its_own(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    checkpoint = small_checkpoint()
    path = store.write(checkpoint)
    assert path == tmp_path / "checkpoints" / "00000000000000001000.checkpoint"
    got = store.load(path)
    assert same(got, checkpoint)
    arrays = [array for part in got.parts.values() for array in part.values()]
    assert all(array.flags.writeable and array.flags.owndata and array.flags.c_contiguous for array in arrays)
    store.verify(path)
    (info,) = store.list()
    assert (info.seq, info.path, info.bytes, info.valid, info.why) == (1_000, path, path.stat().st_size, True, "")
    parts = {part: digest.part_digest(arrays) for part, arrays in checkpoint.parts.items()}
    assert info.state_digest == digest.state_digest(parts)


def test_the_same_state_gives_the_same_bytes() -> None:
    assert encoded(small_checkpoint()) == encoded(small_checkpoint())


def test_arrays_that_are_not_contiguous_are_written_by_value() -> None:
    square = np.arange(36).reshape(6, 6)
    checkpoint = replace(small_checkpoint(), parts={"part": {"columns": square.T, "steps": square[::2, 1]}})
    got = decoded(encoded(checkpoint))
    assert (got.parts["part"]["columns"] == square.T).all()
    assert (got.parts["part"]["steps"] == square[::2, 1]).all()


def test_arrays_of_objects_are_refused() -> None:
    checkpoint = replace(small_checkpoint(), parts={"part": {"bad": np.array([{}], object)}})
    with pytest.raises(CheckpointError, match="cannot be put into a checkpoint"):
        encoded(checkpoint)


def test_a_flipped_bit_anywhere_is_found() -> None:
    """Every byte of the file counts: none is harmless."""
    content = encoded(small_checkpoint())
    chance = random.Random(5)
    for _ in range(FLIPS):
        bit = chance.randrange(len(content) * 8)
        bad = bytearray(content)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointError, match=r"^the checkpoint [^\n]*$"):
            decoded(bytes(bad))


def test_a_mapped_checkpoint_is_the_same_and_what_is_written_to_it_stays_out_of_the_file(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    checkpoint = with_projections()
    path = store.write(checkpoint)
    content = path.read_bytes()
    got = store.load(path, mapped=True)
    assert same(replace(got, projections={}), replace(checkpoint, projections={}))
    assert same(as_parts(got), as_parts(checkpoint))
    for each in got.parts.values():
        for array in each.values():
            array.reshape(-1).view(np.uint8)[:] = 255
    assert path.read_bytes() == content
    found = store.newest(mapped=True)
    assert found is not None
    for part, each in found.parts.items():
        for name in each:
            found.copy_pages(part, name)  # before they are written
    found.copy_pages("ids", "no such array")
    assert same(replace(found, projections={}), replace(checkpoint, projections={}))
    for each in found.parts.values():
        for array in each.values():
            array.reshape(-1).view(np.uint8)[:] = 255
    assert path.read_bytes() == content


@pytest.mark.slow
def test_a_flipped_bit_and_a_cut_are_found_in_a_mapped_checkpoint_too(tmp_path: Path) -> None:
    content, path = encoded(small_checkpoint()), tmp_path / "image"
    chance = random.Random(6)
    for _ in range(FLIPS):
        bit = chance.randrange(len(content) * 8)
        bad = bytearray(content)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        with pytest.raises(CheckpointError):
            load_checkpoint(path, mapped=True)
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError):
            load_checkpoint(path, mapped=True)


@pytest.mark.slow
def test_one_array_is_read_alone_and_its_damage_alone_is_found(tmp_path: Path) -> None:
    checkpoint = small_checkpoint()
    part, name = next((part, name) for part, arrays in checkpoint.parts.items() for name in arrays if arrays[name].size)
    content, path = encoded(checkpoint), tmp_path / "image"
    path.write_bytes(content)
    assert np.array_equal(load_array(path, part, name)[1], checkpoint.parts[part][name])
    with pytest.raises(KeyError):
        load_array(path, part, "nosuch")
    refused = 0
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            found = load_array(path, part, name)[1]
        except CheckpointError:
            refused += 1
        else:
            assert np.array_equal(found, checkpoint.parts[part][name]), "a flip elsewhere"
    assert checkpoint.parts[part][name].nbytes < refused < len(content)


def test_each_cut_and_each_added_byte_is_found() -> None:
    content = encoded(small_checkpoint())
    for size in range(len(content)):
        with pytest.raises(CheckpointError):
            decoded(content[:size])
    with pytest.raises(CheckpointError, match="must have"):
        decoded(content + b"\0")


def test_without_the_checksums_of_arrays_flips_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control for the test of flips."""
    content = bytearray(encoded(small_checkpoint()))
    content[-3] ^= 1
    with pytest.raises(CheckpointError):
        decoded(bytes(content))
    header = image.decode_header(io.BytesIO(content), len(content), "the checkpoint")
    stored = iter([bytes(content[16:32]), *(entry[5] for entry in header.arrays)])
    monkeypatch.setattr(digest, "checksum", lambda _: next(stored))
    assert not same(decoded(bytes(content)), small_checkpoint())


def test_a_damaged_checkpoint_is_set_aside_with_the_reason_and_the_one_before_is_used(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    paths = [store.write(small_checkpoint(seq)) for seq in (10, 20, 30)]
    for path in paths[1:]:
        content = bytearray(path.read_bytes())
        content[-1] ^= 4
        path.write_bytes(content)
    damaged = paths[2].read_bytes()
    newest = store.newest()
    assert newest is not None
    assert same(newest, small_checkpoint(10))
    infos = store.list()
    assert [(info.seq, info.valid) for info in infos] == [(10, True), (20, False), (30, False)]
    assert all("does not match its checksum" in info.why for info in infos[1:])
    assert infos[2].path.read_bytes() == damaged
    store.write(small_checkpoint(30))
    path = store.write(small_checkpoint(30))
    path.write_bytes(damaged)
    assert store.newest() is not None
    assert [(info.seq, info.valid) for info in store.list()] == [(10, True), (20, False), (30, False), (30, False)]


def test_newest_takes_the_last_one_not_after_a_seq(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    assert (store.list(), store.newest()) == ([], None)
    for seq in (30, 10, 20):
        store.write(small_checkpoint(seq))
    found = [store.newest(seq) for seq in (None, 9, 10, 29, 30, 10**9)]
    assert [None if checkpoint is None else checkpoint.seq for checkpoint in found] == [30, None, 10, 20, 30, 30]


def test_a_checkpoint_under_another_name_is_not_taken_for_that_seq(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    path = store.write(small_checkpoint(10))
    shutil.copy(path, path.with_name("00000000000000000020.checkpoint"))
    assert [info.valid for info in store.list()] == [True, False]
    newest = store.newest()
    assert newest is not None
    assert newest.seq == 10


def test_another_format_version_is_refused_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "FORMAT_VERSION", 5)
    content = encoded(with_projections())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format version 5; this release reads 1 to 4"):
        decoded(content)


def test_images_of_projections_come_back_beside_the_state_and_change_neither_it_nor_its_digest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    path = store.write(with_projections(10))
    got = store.load(path)
    assert same(replace(got, projections={}), small_checkpoint(10))
    assert same(as_parts(got), as_parts(with_projections(10)))
    arrays = [array for each in got.projections.values() for array in each.arrays.values()]
    assert all(array.flags.writeable and array.flags.owndata for array in arrays)
    store.verify(path)
    (info,) = store.list()
    assert info.valid
    forms = {name: (version, bytes([version] * 16)) for version, name in enumerate(("sessions", "feed", "idle"), 1)}
    assert info.projections == forms == {name: each[:2] for name, each in got.projections.items()}
    store.write(small_checkpoint(10))
    (plain,) = store.list()
    assert (plain.state_digest, plain.projections) == (info.state_digest, {})


def test_checkpoints_of_the_first_formats_are_read_and_say_neither_their_journal_nor_their_form() -> None:
    """Written by earlier releases."""
    for version, checkpoint in ((1, small_checkpoint()), (2, with_projections())):
        content = (ROOT / "tests" / "golden" / f"format-{version}.checkpoint").read_bytes()
        expected = replace(checkpoint, journal_id=b"", state_version=0, state_layout=b"")
        assert same(replace(decoded(content), projections={}), replace(expected, projections={}))
        assert same(as_parts(decoded(content)), as_parts(expected))
        assert {each[:2] for each in decoded(content).projections.values()} <= {ProjectionForm(0, b"")}
        assert decoded(content).origin.journal_id == b""


def test_a_checkpoint_with_nothing_but_projections_comes_back() -> None:
    checkpoint = replace(with_projections(), parts={"timers": {}})
    assert same(as_parts(decoded(encoded(checkpoint))), as_parts(checkpoint))
    for arrays in ({}, {"none": np.zeros(0)}):
        images = {"idle": ProjectionImage(1, bytes(16), arrays)}
        assert decoded(encoded(replace(checkpoint, projections=images))).projections.keys() == {"idle"}


def test_a_flipped_bit_in_a_projection_is_told_there_and_leaves_the_state_and_the_others_usable(tmp_path: Path) -> None:
    whole, content = with_projections(), encoded(with_projections())
    header = image.decode_header(io.BytesIO(content), len(content), "the checkpoint")
    beside = header.start + max(offset for _, _, dtype, _, offset, _ in header.arrays if dtype.itemsize)
    chance, damaged = random.Random(6), set()
    for number in range(FLIPS):
        bit = chance.randrange(beside * 8 if number % 2 else 0, len(content) * 8)
        bad = bytearray(content)
        bad[bit // 8] ^= 1 << bit % 8
        try:
            got = decoded(bytes(bad))
        except CheckpointError:
            continue
        assert same(replace(got, projections={}), replace(whole, projections={}))
        ((name, why),) = [(name, each.damage) for name, each in got.projections.items() if each.damage]
        assert re.fullmatch(r"it is damaged: its array \w+ does not match its checksum", why)
        assert got.projections[name][:2] == whole.projections[name][:2], "the header is whole"
        kept = {other: each.arrays for other, each in got.projections.items() if other != name}
        wanted = {other: each.arrays for other, each in whole.projections.items() if other != name}
        assert same(replace(got, parts=kept, projections={}), replace(whole, parts=wanted, projections={}))
        damaged.add(name)
    assert damaged == {"sessions", "feed"}
    path = CheckpointStore(tmp_path).write(whole)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="damaged in the image of the projection feed"):
        CheckpointStore(tmp_path).verify(path)


def test_a_cut_is_found_beside_the_state_too() -> None:
    content = encoded(with_projections())
    for size in range(0, len(content), 7):
        with pytest.raises(CheckpointError):
            decoded(content[:size])


def test_checkpoints_without_the_projections_of_a_node_do_not_count_for_its_prune(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for made in (10, 20, 40):
        store.write(with_projections(made))
    older = {"sessions": ProjectionImage(0, bytes(16), {})}
    for made in (30, 50):
        store.write(replace(small_checkpoint(made), projections=older if made == 50 else {}))
    store.prune(2, versions={"sessions": 1})
    assert [info.seq for info in store.list()] == [20, 30, 40, 50]
    store.prune(2)
    assert [info.seq for info in store.list()] == [40, 50]


@pytest.mark.parametrize("content", [b"", b"x", bytes(40), b"lkcheck\x01" + b"\xff" * 100, os.urandom(5_000)])
def test_a_file_that_is_no_checkpoint_gives_a_sentence(content: bytes) -> None:
    with pytest.raises(CheckpointError):
        decoded(content)


def test_prune_keeps_the_newest_good_ones_and_all_that_are_invalid(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    paths = [store.write(small_checkpoint(seq)) for seq in (10, 20, 30, 40)]
    store.mark_invalid(paths[0], "for a test")
    store.prune(2)
    assert [(info.seq, info.valid) for info in store.list()] == [(10, False), (30, True), (40, True)]
    with pytest.raises(CheckpointError, match="at least one"):
        store.prune(0)


def test_leftovers_of_a_crash_are_ignored_and_cleared_by_the_next_write(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.write(small_checkpoint(10))
    leftover = store.folder / "00000000000000000020.4711.tmp"
    leftover.write_bytes(b"half")
    assert [info.seq for info in store.list()] == [10]
    store.write(small_checkpoint(30))
    assert not leftover.exists()
    assert sorted(path.suffix for path in store.folder.iterdir()) == [".checkpoint", ".checkpoint"]


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_whole_checkpoints_only(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.test_checkpoints import *\n"
        "store = CheckpointStore(sys.argv[1]); seq = int(sys.argv[2])\n"
        "print(flush=True)\n"
        "while True: seq += 1; store.write(small_checkpoint(seq)); store.prune(20)\n"
    )
    store = CheckpointStore(tmp_path)
    chance = random.Random(1)
    for number in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(number * 10_000)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        deadline = time.monotonic() + chance.uniform(0.01, 0.1)
        while time.monotonic() < deadline or not store.list():
            pass
        child.kill()
        child.wait()
        infos = store.list()
        assert all(info.valid for info in infos)
        for info in infos[-3:]:
            assert same(store.load(info.path), small_checkpoint(info.seq))


def _mounts() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _mounts(), reason="this user may not mount file systems (unshare -m)")


@pytest.mark.slow
@needs_mounts
def test_a_full_disk_leaves_the_older_checkpoints_and_no_trace(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.test_checkpoints import *\n"
        "store = CheckpointStore(sys.argv[1]); said = ''\n"
        "big = lambda seq: replace(small_checkpoint(seq), parts={'p': {'a': np.ones(200_000)}})\n"
        "store.write(big(1)); store.write(big(2))\n"
        "try: store.write(big(3))\n"
        "except CheckpointError as error: said = str(error)\n"
        "names = sorted(os.listdir(store.folder))\n"
        "print(json.dumps([said, names, store.newest().seq]))\n"
    )
    mounting = f'mount -t tmpfs -o size=4m none "{tmp_path}" && exec "$0" "$@"'
    outcome = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounting, sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    said, names, newest = json.loads(outcome.stdout)
    assert "No space left" in said
    assert names == ["00000000000000000001.checkpoint", "00000000000000000002.checkpoint"]
    assert newest == 2


@pytest.mark.slow
@needs_mounts
def test_in_a_read_only_directory_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    paths = [store.write(small_checkpoint(seq)) for seq in (1, 2)]
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    script = (
        "import sys; from checkpoints import *\n"
        "store = CheckpointStore(sys.argv[1]); print(store.newest().seq, [info.valid for info in store.list()])\n"
    )
    mounting = f'mount --bind "{tmp_path}" "{tmp_path}" && mount -o remount,ro,bind "{tmp_path}" && exec "$0" "$@"'
    outcome = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounting, sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert outcome.stdout == "1 [True, False]\n", outcome.stderr
