"""Promises of replay: the same journal gives the same market, from any checkpoint, in any process; and a difference
is found."""

import dataclasses
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import Checkpoint, CheckpointStore
from directory.recover import CheckpointEvery, checkpoint, create, recover
from engine import COMMAND, EVENT, Capacity, Engine
from engine.digest import EventChain
from engine.records import RULES_VERSION, EventKind, concatenate
from journal import Journal
from replay.audit import audit, first_difference
from replay.compare import compare
from replay.errors import Divergence, ReplayError
from replay.rebuild import rebuild
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.nodes import SMALL, DropsAFill, batches, image_of, write_node
from tests.streams import random_stream

ROOT = Path(__file__).parent.parent
ROWS = random_stream(11, 12_000)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with 12,000 commands in blocks of 64 and a checkpoint about every 2,000. Read only."""
    path = tmp_path_factory.mktemp("node")
    write_node(path, ROWS, checkpoint_every=2_000)
    return path


def straight(to_seq: int, size: int = 64) -> tuple[Engine, NDArray[Any]]:
    """The engine after ``to_seq`` commands without any journal, and all its events."""
    engine = Engine(SMALL)
    caused = [engine.apply(batch) for batch in batches(ROWS[:to_seq], size)]
    return engine, concatenate(caused, EVENT)


def copied(engine: Engine) -> dict[str, dict[str, NDArray[Any]]]:
    """The state as it is now."""
    return {part: {name: array.copy() for name, array in arrays.items()} for part, arrays in engine.parts().items()}


@pytest.mark.slow
def test_restoring_at_fifty_random_points_changes_nothing_that_follows() -> None:
    rng = np.random.default_rng(50)
    points = sorted(int(point) for point in rng.choice(np.arange(1, len(ROWS) // 8), 50, replace=False) * 8)
    engine, restored_from = Engine(SMALL), []
    for batch in batches(ROWS, 8):
        engine.apply(batch)
        if engine.seq in points:
            restored_from.append((engine.seq, engine.event_digest, copied(engine)))
    assert len(restored_from) == 50
    _, events = straight(len(ROWS), 8)
    for seq, event_digest, parts in restored_from:
        restored = Engine.restore(SMALL, seq, event_digest, parts)
        tail = concatenate([restored.apply(batch) for batch in batches(ROWS[seq:], 8)], EVENT)
        assert tail.tobytes() == events[events["seq"] > seq].tobytes()
        assert (restored.event_digest, restored.part_digests()) == (engine.event_digest, engine.part_digests())


@pytest.mark.slow
def test_rebuilding_at_any_command_equals_a_straight_run(node: Path) -> None:
    rng = np.random.default_rng(51)
    for at in [0, 1, 63, 64, 65, len(ROWS), *map(int, rng.integers(1, len(ROWS), 20))]:
        rebuilt = rebuild(node, at=at)
        expected, _ = straight(at)
        assert rebuilt.seq == at
        assert rebuilt.engine.part_digests() == expected.part_digests()
        assert rebuilt.partial == (at % 64 != 0 and at != len(ROWS))
        assert (rebuilt.checkpoint_seq > 0) == (at >= 2_048)


def test_a_rebuild_shows_every_event_after_its_checkpoint_once(node: Path) -> None:
    for use_checkpoints in (True, False):
        seen: list[bytes] = []
        rebuilt = rebuild(
            node,
            at=7_001,
            use_checkpoints=use_checkpoints,
            observe=lambda _seq, _rows, ev, seen=seen: seen.append(ev.tobytes()),
        )
        _, events = straight(7_001)
        assert b"".join(seen) == events[events["seq"] > rebuilt.checkpoint_seq].tobytes()
    assert rebuilt.checkpoint_seq == 0


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1_000, 8_192])
def test_the_size_of_batches_changes_neither_events_nor_state(size: int) -> None:
    rows = ROWS[:9_000]
    engine = Engine(SMALL)
    events = b"".join(engine.apply(batch).tobytes() for batch in batches(rows, size))
    expected, expected_events = straight(9_000)
    assert events == expected_events.tobytes()
    assert engine.part_digests() == expected.part_digests()


@pytest.mark.slow
def test_the_hash_seed_of_python_changes_nothing(node: Path) -> None:
    script = (
        "import sys; from replay.rebuild import rebuild\n"
        "for kind in ('kernel', 'reference'):\n"
        "    engine = rebuild(sys.argv[1], at=3_000, engine=kind, use_checkpoints=False).engine\n"
        "    print(engine.event_digest.hex(), engine.open_orders().tobytes().hex()[:4_000])\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script, str(node)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            capture_output=True,
            check=True,
            text=True,
            timeout=120,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(said) == 1
    kernel, reference = said.pop().splitlines()
    assert kernel == reference


def test_both_engines_verify_what_the_kernel_wrote(node: Path) -> None:
    by_kernel, by_reference = verify(node), verify(node, engine="reference")
    assert by_kernel.ok
    assert by_reference.ok, by_reference.difference
    assert (by_kernel.commands, by_kernel.blocks, by_kernel.checkpoints_compared) == (len(ROWS), 188, 5)
    assert by_reference.events == by_kernel.events
    assert by_reference.checkpoints_compared == 0


def test_an_engine_that_drops_one_fill_is_caught_by_verify_compare_and_audit(tmp_path: Path, node: Path) -> None:
    write_node(tmp_path, ROWS, engine=DropsAFill(300))
    _, events = straight(len(ROWS))
    seq = int(events["seq"][(events["kind"] == 3) & (events["trade_number"] == 300)][0])
    for kind in ("kernel", "reference"):
        difference = verify(tmp_path, engine=kind).difference
        assert difference is not None
        assert difference.part == "events"
        assert difference.first_seq <= seq <= difference.last_seq
    report = compare(node, tmp_path)
    assert not report.same
    assert report.digest is not None
    assert report.digest.first_seq <= seq <= report.digest.last_seq
    assert report.digest.agrees == "a"
    with pytest.raises(Divergence, match="differs from the record"):
        recover(tmp_path)
    found = audit(tmp_path, kernel=DropsAFill(300)).difference
    assert found is not None
    assert found.seq == seq


def test_a_directory_that_diverged_is_not_kept_locked(tmp_path: Path) -> None:
    write_node(tmp_path, ROWS[:2_000], engine=DropsAFill(5))
    for _ in range(2):
        with pytest.raises(Divergence):
            recover(tmp_path)


def test_the_same_commands_in_other_blocks_are_the_same_market(tmp_path: Path, node: Path) -> None:
    write_node(tmp_path, ROWS, 100)
    report = compare(node, tmp_path)
    assert report.same
    assert report.state_seq == len(ROWS)
    # Blocks of 64 and of 100 commands end together after every 1,600, and at the end.
    assert report.digests_compared == len(ROWS) // 1_600 + 1
    assert any("where both end" in note for note in report.notes)


def test_a_journal_that_is_the_beginning_of_another_is_no_difference(tmp_path: Path, node: Path) -> None:
    write_node(tmp_path, ROWS[:6_400])
    for report, prefix in ((compare(node, tmp_path), "b"), (compare(tmp_path, node), "a")):
        assert report.same
        assert (report.prefix_of, report.seq, report.state_seq) == (prefix, 6_400, 6_400)


def test_the_first_command_that_differs_is_named_whatever_the_blocks(tmp_path: Path, node: Path) -> None:
    rows = ROWS.view(np.uint8).copy().view(COMMAND)
    rows["qty"][7_776] += 1
    for size in (64, 50):
        path = tmp_path / str(size)
        write_node(path, rows, size)
        report = compare(node, path)
        assert report.command is not None
        assert report.command.seq == 7_777
        assert "qty" in report.command.fields
        assert not report.same


def test_a_checkpoint_of_another_state_is_found_by_verify_and_compare(tmp_path: Path, node: Path) -> None:
    write_node(tmp_path, ROWS)
    engine, _ = straight(len(ROWS))
    parts = copied(engine)
    name, arrays = next((name, arrays) for name, arrays in parts.items() if "order" in name)
    next(array for array in arrays.values() if array.nbytes).reshape(-1).view(np.uint8)[-1] ^= 1
    CheckpointStore(tmp_path).write(dataclasses.replace(image_of(tmp_path, engine), parts=parts))
    report = verify(tmp_path)
    assert report.difference is not None
    assert (report.difference.part, report.difference.last_seq) == (name, len(ROWS))
    assert compare(node, tmp_path).parts == (name,)


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(tmp_path: Path) -> None:
    write_node(tmp_path, ROWS[:8_000], checkpoint_every=2_000)
    infos = CheckpointStore(tmp_path).list()
    assert len(infos) == 3
    spoil(infos[1].path)
    for workers in (1, 2):
        report = verify(tmp_path, workers=workers)
        assert not report.ok
        assert report.difference is None
        assert (report.commands, report.checkpoints_compared) == (8_000, 2)
        assert any(str(infos[1].seq) in sentence for sentence in report.damage)
    rebuilt = rebuild(tmp_path, at=infos[2].seq - 1)
    assert rebuilt.checkpoint_seq == infos[0].seq
    assert any(f"checkpoint {infos[1].seq:,} is damaged" in note for note in rebuilt.notes)


def spoil(path: Path) -> None:
    """Turn one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_a_checkpoint_beyond_the_journals_end_is_never_used(tmp_path: Path) -> None:
    write_node(tmp_path, ROWS[:3_200])
    engine, _ = straight(6_400)
    CheckpointStore(tmp_path).write(image_of(tmp_path, engine))
    rebuilt = rebuild(tmp_path)
    assert (rebuilt.seq, rebuilt.checkpoint_seq) == (3_200, 0)
    assert any("beyond the end" in note for note in rebuilt.notes)


def test_a_checkpoint_of_another_history_is_not_used(tmp_path: Path) -> None:
    write_node(tmp_path, ROWS[:3_200])
    other = Engine(SMALL)
    for batch in batches(random_stream(12, 1_600), 64):
        other.apply(batch)
    CheckpointStore(tmp_path).write(image_of(tmp_path, other))
    rebuilt = rebuild(tmp_path)
    assert rebuilt.checkpoint_seq == 0
    assert any("another event digest" in note for note in rebuilt.notes)
    assert not verify(tmp_path).ok


def test_a_checkpoint_taken_aside_is_where_the_next_rebuild_starts(tmp_path: Path) -> None:
    write_node(tmp_path, ROWS[:3_000])
    seq, path = checkpoint(tmp_path)
    assert seq == 3_000
    assert path is not None
    assert rebuild(tmp_path).checkpoint_seq == 3_000
    assert checkpoint(tmp_path) == (3_000, None)
    assert verify(tmp_path).checkpoints_compared == 1


def test_a_recovered_node_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    write_node(tmp_path, ROWS[:6_400], checkpoint_every=2_000)
    journal, engine, report = recover(tmp_path)
    assert report.digests_written == 0
    with journal:
        pump(batches(ROWS[6_400:], 64), FileStamp(engine.now_ns), journal, engine)
    expected, _ = straight(len(ROWS))
    assert (engine.event_digest, engine.part_digests()) == (expected.event_digest, expected.part_digests())
    assert verify(tmp_path).ok


def test_digests_that_a_crash_left_unwritten_are_written_by_recovery(tmp_path: Path) -> None:
    journal, _ = create(tmp_path, SMALL)
    expected = Engine(SMALL)
    with journal:
        for number, batch in enumerate(batches(ROWS[:640], 64)):
            first_seq = journal.append(len(batch), batch.view(np.uint8).data, 0)
            expected.apply(batch)
            if number < 7:
                journal.put_digest(first_seq, expected.event_digest)
    before = verify(tmp_path)
    assert before.ok
    assert before.missing_tail == 3
    journal, engine, report = recover(tmp_path)
    journal.close()
    assert report.digests_written == 3
    assert engine.event_digest == expected.event_digest
    after = verify(tmp_path)
    assert (after.ok, after.missing_tail) == (True, 0)


def test_an_empty_journal_is_a_market_before_its_first_command(tmp_path: Path) -> None:
    write_node(tmp_path, ROWS[:0])
    assert rebuild(tmp_path).seq == 0
    assert verify(tmp_path).ok
    with pytest.raises(ReplayError, match="empty"):
        checkpoint(tmp_path)


def test_a_journal_under_other_rules_is_refused_in_a_sentence(tmp_path: Path) -> None:
    meta = {"capacity": {"orders_max": 8, "ids_max": 8}, "rules_version": RULES_VERSION + 1, "source_digest": ""}
    Journal.create(tmp_path, meta).close()
    for refused in (rebuild, verify, recover, checkpoint, audit):
        with pytest.raises(ReplayError, match="rules version"):
            refused(tmp_path)


def test_a_command_beyond_the_end_is_refused(node: Path) -> None:
    with pytest.raises(ReplayError, match="no command"):
        rebuild(node, at=len(ROWS) + 1)


def test_an_audit_of_a_sound_node_finds_nothing(node: Path) -> None:
    report = audit(node, to_seq=4_000)
    assert report.ok, report
    assert report.commands == 4_032


def test_the_first_differing_event_is_named_by_command_place_and_field() -> None:
    a = np.zeros(4, EVENT)
    a["seq"] = [1, 2, 2, 4]
    b = a.copy()
    assert first_difference(a, b) is None
    b["qty"][2] = 5
    found = first_difference(a, b)
    assert found is not None
    assert (found.seq, found.index, found.fields) == (2, 1, ("qty",))
    for kind, name in ((EventKind.ACCEPTED, "order_number"), (EventKind.TRADE, "trade_number"), (0, "order_number")):
        b = a.copy()
        a["kind"][3] = b["kind"][3] = kind
        b["order_number"][3] = 7
        parted = first_difference(a, b)
        assert parted is not None
        assert parted.fields == (name,), "the name that the event uses"
    lacking = first_difference(a, np.delete(a, 1))
    assert lacking is not None
    assert (lacking.seq, lacking.index) == (2, 1)
    assert lacking.b is None
    shorter = first_difference(a[:3], a)
    assert shorter is not None
    assert (shorter.seq, shorter.a) == (4, None)


def test_the_recorded_digests_are_of_all_events_up_to_the_end_of_each_block(node: Path) -> None:
    engine, chain = Engine(SMALL), EventChain()
    with Journal.open(node, readonly=True) as journal:
        recorded = dict(journal.digests(1, 640))
    for number, batch in enumerate(batches(ROWS[:640], 64)):
        chain.add(engine.apply(batch))
        assert recorded[1 + 64 * number] == chain.digest()


def test_a_long_replay_behind_a_checkpoint_copies_its_pages_at_once_and_a_short_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "node"
    rows = random_stream(15, 4_000, hostile=0.0, garbage=0.0, control=0.01)
    journal, engine = create(node, Capacity(64, 256, 4, 8), durability="none")
    with journal:
        pump(batches(rows, 100), FileStamp(), journal, engine, durability="none", at_boundary=CheckpointEvery(1_000))
    copied: list[int] = []
    whole = Checkpoint.copy_pages

    def copy_pages(self: Checkpoint, part: str, name: str) -> None:
        assert name in self.parts[part]
        copied.append(self.seq)
        whole(self, part, name)

    monkeypatch.setattr(Checkpoint, "copy_pages", copy_pages)
    (path, *_) = sorted((node / "checkpoints").glob("*.checkpoint"))
    seq = int(path.stem)
    for other in (node / "checkpoints").glob("*.checkpoint"):
        if other != path:
            other.unlink()
    enough = 3 * path.stat().st_size // mmap.PAGESIZE
    assert 0 < enough < engine.seq - seq, "the day is too short for this image"
    digests = []
    for commands, copies in ((enough - 1, []), (enough, [seq]), (enough + 1, [seq])):
        copied.clear()
        got = rebuild(node, at=seq + commands).engine
        assert copied == copies, commands
        digests.append(got.state_digest())
        assert got.state_digest() == rebuild(node, at=seq + commands, use_checkpoints=False).engine.state_digest()
    assert len(set(digests)) > 1
