"""Event rows of closed slices are kept, so that the past can be read without the engine that made it."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgpack import packb

from directory.keep_events import keep_events
from directory.recover import create
from engine.digest import EventChain
from engine.records import EVENT
from journal import Journal, JournalBusy, JournalDamaged, byte_planes, slices
from journal.byte_planes import packed_planes, rows_of_planes
from journal.event_rows import PIECE_ROWS, EventRows, EventRowsWriter
from replay.chain import check_chain
from replay.errors import Divergence, ReplayError
from replay.kept import KeptEvents, genesis_of, verification_of, write_verification
from replay.verify import verify
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.kills import calls_of, killed
from tests.nodes import SMALL, DropsAFill, batches, begin_slice, write_slices
from tests.streams import random_stream

ROOT = Path(__file__).parent.parent
ROWS = random_stream(41, 1_200)
ENDS = [500, 900]
GENESIS = bytes(range(16))


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three slices, without kept events. Read only."""
    path = tmp_path_factory.mktemp("rolled")
    write_slices(path, ROWS, ENDS)
    return path


@pytest.fixture(scope="module")
def kept(rolled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same slices with the events of the closed ones. Read only."""
    path = Path(shutil.copytree(rolled, tmp_path_factory.mktemp("kept") / "node"))
    for place in slices.places(path)[:-1]:
        keep_events(path, place)
    return path


def forget_pieces_of(monkeypatch: pytest.MonkeyPatch, rows: int = 100) -> None:
    """Small pieces, so that a test has many."""
    monkeypatch.setattr("journal.event_rows.PIECE_ROWS", rows)


def write(path: Path, blocks: int = 20) -> list[bytes]:
    """A file of event rows of some blocks of 10 commands, and the rows of each."""
    rng = np.random.default_rng(3)
    rows = [rng.integers(0, 4, 64 * int(rng.integers(0, 40)), np.uint8).tobytes() for _ in range(blocks)]
    writer = EventRowsWriter(path, GENESIS, 64, {"names": ["A"]})
    for at, each in enumerate(rows):
        writer.add(10 * at + 1, 10 * at + 10, each, (at, 2 * at, -at))
    writer.finish({"last": blocks})
    return rows


def test_rows_come_back_whole_and_a_range_reads_only_its_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_pieces_of(monkeypatch)
    rows = write(tmp_path / "events")
    with EventRows(tmp_path / "events", GENESIS) as file:
        assert (file.head, file.end, file.rows) == ({"names": ["A"]}, {"last": 20}, sum(map(len, rows)) // 64)
        pieces = list(file.pieces(1, 200))
        assert b"".join(piece.rows for piece in pieces) == b"".join(rows)
        assert len(pieces) > 3
        some = list(file.pieces(95, 95))
        assert len(some) == 1
        assert some[0] in pieces
        assert some[0].first_seq <= 95 <= some[0].last_seq
        at = (some[0].first_seq - 1) // 10
        assert some[0].marks == (at, 2 * at, -at)
    # A piece that is not read may be damaged.
    content = bytearray((tmp_path / "events").read_bytes())
    content[200] ^= 1
    (tmp_path / "events").write_bytes(content)
    with EventRows(tmp_path / "events", GENESIS) as file:
        assert list(file.pieces(95, 95)) == some
        with pytest.raises(JournalDamaged, match="do not match their checksum"):
            list(file.pieces(1, 200))


def planes_of(count: int, row_bytes: int) -> np.ndarray[Any, Any]:
    """Rows with planes of every kind: of any bytes, of few, of zeros and of one byte."""
    values = np.random.default_rng(count).integers(0, 256, (count, row_bytes), np.uint8)
    values[:, 1::4] = 0
    values[:, 2::4] = 7
    values[:, 3::4] %= 3
    return values


COUNTS = [0, 1, 7, byte_planes._CACHED_ROWS, byte_planes._CACHED_ROWS + 1, byte_planes._STORED_BYTES_MAX + 1]


@pytest.mark.parametrize("row_bytes", [8, 12, 64])
@pytest.mark.parametrize("count", COUNTS)
def test_planes_are_rows_again_and_no_other_number_of_them(count: int, row_bytes: int) -> None:
    values = planes_of(count, row_bytes)
    packed, parts = packed_planes(values.tobytes(), row_bytes)
    assert [at for at, _, _ in parts] == (np.flatnonzero(values.any(axis=0)).tolist() if count else [])
    before = zlib.compress(values.T.tobytes(), 1)
    for octets, told in ((packed, parts), (packed, None), (before, None)):
        assert rows_of_planes(octets, count, row_bytes, told) == values.tobytes()
        if count:
            assert rows_of_planes(octets, count + 1, row_bytes, told) is None
            assert rows_of_planes(octets, count - 1, row_bytes, told) is None
            assert rows_of_planes(octets[: len(octets) // 2], count, row_bytes, told) is None


@pytest.mark.parametrize("count", COUNTS)
def test_planes_are_one_stream_of_zlib_for_releases_that_know_no_parts(count: int) -> None:
    values = planes_of(count, 16)
    packed, _ = packed_planes(values.tobytes(), 16)
    assert zlib.decompress(packed) == values.T.tobytes()
    wrong = bytearray(packed)
    wrong[-1] ^= 1  # of the checksum, which those releases look at
    with pytest.raises(zlib.error):
        zlib.decompress(wrong)


def test_planes_that_compress_little_are_stored_and_the_others_are_not() -> None:
    values = planes_of(10_000, 4)
    packed, parts = packed_planes(values.tobytes(), 4)
    sizes = {at: size for at, _, size in parts}
    assert 10_000 < sizes[0] < 10_020
    assert sizes[2] < 100
    assert sizes[3] < 3_000
    assert values[:, 0].tobytes() in packed


def test_a_file_of_a_release_that_told_no_planes_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_pieces_of(monkeypatch)

    def as_before(rows: bytearray, row_bytes: int) -> tuple[bytes, None]:
        return zlib.compress(np.frombuffer(rows, np.uint8).reshape(-1, row_bytes).T.tobytes(), 1), None

    with monkeypatch.context() as earlier:
        earlier.setattr("journal.event_rows.packed_planes", as_before)
        earlier.setattr("journal.event_rows.msgpack.packb", lambda value: packb(without_planes(value)))
        rows = write(tmp_path / "before")
    assert write(tmp_path / "now") == rows
    found = []
    for name in ("before", "now"):
        with EventRows(tmp_path / name, GENESIS) as file:
            found.append(list(file.pieces(1, 200)))
            assert all((each.parts is None) == (name == "before") for each in file._entries)
    assert found[0] == found[1]
    assert b"".join(piece.rows for piece in found[0]) == b"".join(rows)


def without_planes(value: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name != "planes"}


def test_any_changed_byte_of_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_pieces_of(monkeypatch)
    path = tmp_path / "events"
    write(path)
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    places = {*rng.integers(0, len(content), 300).tolist(), *range(28), *range(len(content) - 40, len(content))}
    for at in sorted(places):
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(JournalDamaged), EventRows(path, GENESIS) as file:
            list(file.pieces(1, 10**6))
    for size in rng.integers(0, len(content), 20).tolist():
        path.write_bytes(content[:size])
        with pytest.raises(JournalDamaged), EventRows(path, GENESIS) as file:
            list(file.pieces(1, 10**6))


def test_a_piece_that_is_swapped_or_of_another_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_pieces_of(monkeypatch)
    path = tmp_path / "events"
    write(path)
    content = path.read_bytes()
    with EventRows(path, GENESIS) as file:
        first, second = file._entries[1:3]
        ends = [each.offset + 64 + 16 + each.packed_bytes for each in (first, second)]
    one, two = content[first.offset : ends[0]], content[second.offset : ends[1]]
    path.write_bytes(content[: first.offset] + two + one + content[ends[1] :])
    with pytest.raises(JournalDamaged), EventRows(path, GENESIS) as file:
        list(file.pieces(1, 10**6))
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="of another slice"):
        EventRows(path, GENESIS[::-1])


def test_a_range_over_many_pieces_has_the_blocks_of_the_range_and_reading_may_stop_at_any(
    rolled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_pieces_of(monkeypatch, 40)
    node = Path(shutil.copytree(rolled, tmp_path / "node"))
    keep_events(node, slices.places(node)[0])
    with Journal.open(node, readonly=True, slice_number=1) as journal:
        whole = [play for play, _, _ in KeptEvents(journal).blocks(1, ENDS[0])]
        assert len(list(EventRows(journal.place.events, genesis_of(journal)).pieces(1, ENDS[0]))) > 5
        for from_seq, to_seq in ((1, ENDS[0]), (1, 1), (137, 138), (200, 431), (ENDS[0], ENDS[0])):
            with KeptEvents(journal) as kept_events:
                found = [play for play, _, _ in kept_events.blocks(from_seq, to_seq)]
            wanted = [each for each in whole if each.block.last_seq >= from_seq and each.first_seq <= to_seq]
            assert [each.first_seq for each in found] == [each.first_seq for each in wanted]
            events = np.concatenate([each.events.view("V64") for each in found]).view(EVENT)
            all_events = np.concatenate([each.events.view("V64") for each in wanted]).view(EVENT)
            assert events.tobytes() == all_events[all_events["seq"] <= to_seq].tobytes()
            assert found[-1].first_seq + len(found[-1].commands) - 1 == to_seq
        with KeptEvents(journal) as kept_events, closing(kept_events.blocks(1, ENDS[0])) as some:
            next(some)
            assert "items ahead" in [thread.name for thread in threading.enumerate()]
        assert "items ahead" not in [thread.name for thread in threading.enumerate()]


def test_only_one_process_writes_the_file_and_what_is_given_up_leaves_no_trace(tmp_path: Path) -> None:
    writer = EventRowsWriter(tmp_path / "events", GENESIS, 64, {})
    with pytest.raises(JournalBusy):
        EventRowsWriter(tmp_path / "events", GENESIS, 64, {})
    writer.close()
    assert os.listdir(tmp_path) == []


def test_large_blocks_make_pieces_of_whole_blocks(tmp_path: Path) -> None:
    writer = EventRowsWriter(tmp_path / "events", GENESIS, 64, {})
    writer.add(1, 5, bytes(64 * (PIECE_ROWS + 10)), (0, 0, 0))
    writer.add(6, 6, b"", (0, 0, 0))
    writer.add(7, 7, bytes(64), (0, 0, 0))
    writer.finish({})
    with EventRows(tmp_path / "events", GENESIS) as file:
        assert [(piece.first_seq, piece.last_seq) for piece in file.pieces(1, 9)] == [(1, 5), (6, 7)]


@pytest.mark.slow
def test_commands_that_read_history_give_the_same_from_kept_events(
    rolled: Path, kept: Path, lockstep: Lockstep
) -> None:
    asked: list[list[Any]] = [
        ["events", "--with-seq"],
        ["events", "--json", "--from", 480, "--to", 950],
        ["events", "--from", 501, "--to", 501],
        ["events", "--symbol", "I2", "--with-seq"],
        ["events", "--from", 730, "--participant", "P1"],
        ["commands", "--with-events"],
        ["commands", "--with-events", "--json", "--from", 499, "--to", 502],
        ["commands", "--symbol", "I1", "--kind", "enter", "--from", 600, "--to", 800],
    ]
    for words in asked:
        said = [lockstep(words[0], node, *words[1:]) for node in (rolled, kept)]
        assert [each[0] for each in said] == [0, 0], words
        assert said[0][1] == said[1][1], words
        assert said[0][1]
    order_id = json.loads(lockstep("events", rolled, "--kind", "replaced", "--json")[1].splitlines()[0])
    lives = [lockstep("order", node, order_id["client_order_id"])[1] for node in (rolled, kept)]
    assert lives[0] == lives[1]


def test_keeping_events_records_the_verification_and_is_done_once(kept: Path, lockstep: Lockstep) -> None:
    for place in slices.places(kept)[:-1]:
        with Journal.open(kept, readonly=True, slice_number=place.number) as journal:
            record = verification_of(journal)
            assert record is not None
            assert (record.number, record.last_seq, record.gives_next_image) == (place.number, journal.last_seq, True)
            with KeptEvents(journal) as events:
                assert events.check() == record.events == events.rows
        before = place.events.stat()
        assert keep_events(kept, place) == record
        assert place.events.stat().st_mtime_ns == before.st_mtime_ns
    assert verify(kept).ok
    assert check_chain(kept).ok
    listed = json.loads(lockstep("journal", "info", kept, "--json")[1])["slices"]
    assert [each["has_events"] for each in listed] == [True, True, False]
    with pytest.raises(ReplayError, match=r"slice 3 of .* is open"):
        keep_events(kept, slices.places(kept)[-1])


def test_damage_of_kept_events_is_found_by_check_and_verify(kept: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    node = Path(shutil.copytree(kept, tmp_path / "node"))
    path = slices.places(node)[1].events
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    status, said, _ = lockstep("journal", "check", node)
    assert (status, "slice 2: " in said, "events" in said) == (1, True, True)
    assert not verify(node).ok
    # Rules of this release: a replay writes it anew.
    path.unlink()
    assert keep_events(node, slices.places(node)[1]).events
    assert verify(node).ok


def test_events_that_are_not_the_recorded_ones_are_not_kept(tmp_path: Path) -> None:
    journal, _ = create(tmp_path, SMALL)
    wrong = DropsAFill(3)
    with journal:
        pump(batches(ROWS[:600], 64), FileStamp(), journal, wrong)  # type: ignore[arg-type]
        begin_slice(journal, wrong._sound)
    place = slices.places(tmp_path)[0]
    with pytest.raises(Divergence, match="differs from the record"):
        keep_events(tmp_path, place)
    assert not place.events.exists()
    assert not place.verified.exists()


def of_other_rules(node: Path, version: int) -> None:
    """Have the second slice bear another rules version, in its genesis record and its blocks, with its kept events.

    Its file of events names the slice, so it is written again, as a release with those rules would have.
    """
    journal, engine = create(node, SMALL)
    stamp = FileStamp()
    with journal:
        pump(batches(ROWS[:500], 64), stamp, journal, engine)
        begin_slice(journal, engine, version)
        journal.rules_version = version
        pump(batches(ROWS[500:900], 64), stamp, journal, engine)
        begin_slice(journal, engine)
        pump(batches(ROWS[900:], 64), stamp, journal, engine)


@pytest.mark.slow
def test_a_slice_of_rules_that_nobody_plays_any_more_is_read_without_an_engine(
    rolled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lockstep: Lockstep
) -> None:
    of_other_rules(tmp_path, 3)
    place = slices.places(tmp_path)[1]
    with pytest.raises(ReplayError, match="rules version 3"):
        keep_events(tmp_path, place)
    with monkeypatch.context() as patch:  # as the release with those rules
        for module in ("replay.rebuild", "directory.keep_events"):
            patch.setattr(f"{module}.check_rules", lambda *_: None)
        patch.setattr("replay.rebuild.RULES_VERSION", 3)
        patch.setattr("engine.records.RULES_VERSION", 3)
        patch.setattr("replay.rebuild.why_not_origin", lambda *_: None)
        record = keep_events(tmp_path, place)
    assert (record.rules_version, record.gives_next_image) == (3, None)
    for words in (["events", "--with-seq"], ["commands", "--with-events"]):
        range_ = ["--from", "510", "--to", "890"]
        expected = lockstep(words[0], rolled, *words[1:], *range_)[1]
        line = [words[0], str(tmp_path), *words[1:], *range_]
        program = (
            "import sys\nfrom cli.main import run_line\nstatus = run_line(sys.argv[1:])\n"
            "assert 'engine.engine' not in sys.modules and 'engine.apply' not in sys.modules\nsys.exit(status)"
        )
        ran = subprocess.run(
            [sys.executable, "-c", program, *line], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert (ran.returncode, ran.stdout) == (0, expected), ran.stderr
    report = verify(tmp_path)
    assert report.ok
    assert any(
        "slice 2 is of rules version 3: its chain was checked, and its kept events are the recorded ones" in n
        for n in report.notes
    )
    assert lockstep("journal", "check", tmp_path)[0] == 0
    assert lockstep("events", tmp_path)[1] == lockstep("events", rolled)[1]


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.long)])
def test_a_kill_while_events_are_kept_leaves_them_whole_or_not_at_all(rolled: Path, tmp_path: Path, kills: int) -> None:
    node = Path(shutil.copytree(rolled, tmp_path / "counted"))
    calls = calls_of(lambda: keep_events(node, slices.places(node)[1]))
    points = sorted(
        {*np.linspace(1, calls, kills // 2, dtype=int), *np.linspace(calls - 120, calls, kills // 2, dtype=int)}
    )
    whole = slices.places(node)[1].events.read_bytes()
    for point in points:
        node = Path(shutil.copytree(rolled, tmp_path / "killed"))
        place = slices.places(node)[1]
        killed(lambda place=place, node=node: keep_events(node, place), int(point))  # type: ignore[misc]
        assert not place.events.exists() or place.events.read_bytes() == whole
        assert check_chain(node).ok
        assert keep_events(node, place).gives_next_image
        assert place.events.read_bytes() == whole
        assert not [path.name for path in place.folder.iterdir() if path.name.endswith((".new", ".tmp"))]
        shutil.rmtree(node)


def test_a_slice_that_does_not_give_the_next_image_is_told_each_time(kept: Path, tmp_path: Path) -> None:
    node = Path(shutil.copytree(kept, tmp_path / "node"))
    place = slices.places(node)[0]
    with Journal.open(node, readonly=True, slice_number=1) as journal:
        record = verification_of(journal)
    assert record is not None
    write_verification(place, replace(record, gives_next_image=False))
    with pytest.raises(Divergence, match="is not the image that slice 2 starts from"):
        keep_events(node, place)


def test_a_writer_that_comes_as_another_one_finishes_leaves_its_file_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events"
    first = EventRowsWriter(path, GENESIS, 64, {})
    first.add(1, 5, bytes(640), (0, 0, 0))
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        if path.exists():
            return real(fd, operation)
        first.finish({})
        return real(fd, operation)

    monkeypatch.setattr("journal.event_rows.fcntl.flock", flock)
    with pytest.raises(JournalBusy):
        EventRowsWriter(path, GENESIS, 64, {})
    with EventRows(path, GENESIS) as file:
        assert file.rows == 10


def test_kept_events_that_end_before_their_slice_are_found(kept: Path, tmp_path: Path) -> None:
    """A file that is whole by its own checksums, of a writer that stopped early."""
    node = Path(shutil.copytree(kept, tmp_path / "node"))
    place = slices.places(node)[0]
    with Journal.open(node, readonly=True, slice_number=1) as journal:
        genesis = genesis_of(journal)
        with EventRows(place.events, genesis) as file:
            head, end = file.head, file.end
        chain = {name: np.frombuffer(head["chain"][name], np.uint8) for name in ("link", "tail")}
        end["event_digest"] = EventChain.from_arrays(chain).digest()
        EventRowsWriter(place.events, genesis, EVENT.itemsize, head).finish(end)
        with KeptEvents(journal) as events, pytest.raises(JournalDamaged, match="has no events of commands 1 to"):
            events.check()
