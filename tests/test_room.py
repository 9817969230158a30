"""Room on the disk: when it is low, how that ends, and that the reserve is worth what it promises."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from journal import Journal
from journal.store import MAP_BYTES
from sequencer.room import Bounds, Reading, Reserve, RoomWatch, State, crossed, judge
from tests.journals import META
from tests.test_journal_damage import needs_mounts

ROOT = Path(__file__).parent.parent
MIB = 1 << 20
BOUNDS = Bounds(full_bytes=4 * MIB)


def reading(used: float, *, map_used: float = 0.0, spare: int = 0) -> Reading:
    return Reading(round((1 - used) * 1_000 * MIB), 1_000 * MIB, round(map_used * 1_000 * MIB), 1_000 * MIB, spare)


def test_room_is_low_at_nine_tenths_of_disk_or_map_and_fine_again_only_with_a_margin() -> None:
    states: list[State] = []
    state: State = "fine"
    for used in (0.5, 0.899, 0.9, 0.95, 0.899, 0.881, 0.879, 0.899):
        state = judge(state, reading(used), BOUNDS)
        states.append(state)
    assert states == ["fine", "fine", "low", "low", "low", "low", "fine", "fine"]
    assert judge("fine", reading(0.1, map_used=0.9), BOUNDS) == "low"
    assert judge("low", reading(0.1, map_used=0.879), BOUNDS) == "fine"


def test_a_large_disk_has_room_though_nine_tenths_are_used() -> None:
    gib, states = 1 << 30, []
    state: State = "fine"
    for free_gib in (60, 10, 4.1, 4, 4.9, 5.1, 4.1):
        state = judge(state, Reading(int(free_gib * gib), 1_000 * gib, 0, gib))
        states.append(state)
    assert states == ["fine", "fine", "fine", "low", "low", "fine", "fine"]
    assert crossed("low", Reading(4 * gib, 1_000 * gib, 0, gib)) == "4096 MiB free, below 5120 MiB"


def test_room_is_full_before_a_commit_can_meet_the_end() -> None:
    assert judge("fine", reading(0.9961), BOUNDS) == "full"
    assert judge("low", reading(0.9959), BOUNDS) == "low"
    assert judge("full", reading(0.9959), BOUNDS) == "full", "not at once"
    assert judge("full", reading(0.991), BOUNDS) == "low"
    assert judge("fine", reading(0.0, map_used=0.9961), BOUNDS) == "full"


def test_room_is_gone_while_one_more_turn_and_an_orderly_end_can_still_be_written() -> None:
    assert BOUNDS.gone_bytes == BOUNDS.full_bytes // 5
    assert judge("full", reading(0.9993), BOUNDS) == "gone"
    assert judge("fine", reading(0.0, map_used=0.9993), BOUNDS) == "gone"
    assert judge("gone", reading(0.999), BOUNDS) == "gone", "not at once"
    assert judge("gone", reading(0.998), BOUNDS) == "full"


def test_the_reserve_that_was_given_back_is_no_reason_for_the_market_to_go_on() -> None:
    held = reading(0.92)
    given_back = reading(0.87, spare=50 * MIB)
    assert judge(judge("fine", held, BOUNDS), given_back, BOUNDS) == "low"


def test_the_bound_that_is_told_is_more_than_what_is_free() -> None:
    fresh = Reading(63 * MIB, 64 * MIB, 1 * MIB, 1_000 * MIB, 64 * MIB)
    assert crossed("low", fresh) == "63 MiB free, below 114 MiB", "the reserve, and what must be free beside it"
    assert crossed("low", reading(0.92), BOUNDS) == "80 MiB free, below 120 MiB"
    assert crossed("low", reading(0.1, map_used=0.9), BOUNDS) == "100 MiB free in the journal's map, below 120 MiB"
    assert crossed("full", reading(0.997), BOUNDS) == "3 MiB free, below 8 MiB"
    assert "no room for the reserve" in crossed("low", reading(0.5, spare=50 * MIB), BOUNDS)


@pytest.mark.parametrize(("reserve_mib", "small"), [(100, False), (1 << 30, True)])
def test_a_volume_too_small_for_the_reserve_is_told(reserve_mib: int, small: bool, tmp_path: Path) -> None:
    watch = RoomWatch(tmp_path, lambda: (0, 1), reserve_bytes=reserve_mib * MIB)
    assert ("this volume is too small for a reserve of" in watch.complaint) == small


def test_a_small_volume_that_still_has_room_is_not_said_to_reject_orders_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 110 MiB with a reserve of 64 MiB: orders are taken until room is low, and never again after that.
    used_mib = 0

    def read(watch: RoomWatch) -> Reading:
        spare_mib = 0 if watch.reserve.held else 64
        return Reading((46 - used_mib + spare_mib) * MIB, 110 * MIB, 0, 1 << 40, spare_mib * MIB)

    monkeypatch.setattr(RoomWatch, "read", read)
    watch = RoomWatch(tmp_path, lambda: (0, 1))
    assert watch.look() == "fine"
    assert "new orders are rejected once room is low, and not taken again" in watch.complaint
    used_mib = 7
    assert watch.look() == "low"
    used_mib = 0
    assert watch.look() == "low"


def test_bounds_and_reserves_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be less"):
        Bounds(low_share=0.8, fine_share=0.9)
    with pytest.raises(ValueError, match="must be more"):
        Bounds(low_bytes=5 << 30, fine_bytes=4 << 30)
    with pytest.raises(ValueError, match="is not above"):
        RoomWatch(tmp_path, lambda: (0, 1), bounds=BOUNDS, reserve_bytes=4 * MIB)


def test_a_reserve_takes_disk_and_gives_it_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 8 * MIB)
    assert not reserve.held
    reserve.release()  # nothing to do
    assert reserve.make()
    assert reserve.held
    assert reserve.path.stat().st_blocks * 512 >= 8 * MIB
    reserve.release()
    assert not reserve.held
    assert reserve.path.stat().st_blocks == 0
    assert reserve.make()


def test_a_reserve_that_is_one_hole_is_none(tmp_path: Path) -> None:
    """As a copy of the directory may have it."""
    reserve = Reserve(tmp_path / "reserve", 8 * MIB)
    with reserve.path.open("wb") as file:
        file.truncate(8 * MIB)
    assert not reserve.held
    assert reserve.make()
    assert reserve.held


class _Disk(RoomWatch):
    """A watch over a disk of 160 MiB with a reserve of 64. ``free``: MiB that are free where the reserve is removed."""

    free = 0

    def read(self) -> Reading:
        spare = 0 if self.reserve.held else 64
        return Reading((self.free - 64 + spare) * MIB, 160 * MIB, 0, 1_000 * MIB, spare * MIB)


@pytest.mark.parametrize(
    ("free", "first", "again"), [(103, "low", "low"), (105, "fine", "low"), (113, "fine", "low"), (120, "fine", "fine")]
)
def test_a_small_disk_is_not_fine_and_full_by_turns(free: int, first: State, again: State, tmp_path: Path) -> None:
    watch = _Disk(tmp_path, lambda: (0, MIB))
    watch.free = free
    assert [watch.look() for _ in range(6)] == [first] * 6
    watch.free = 64
    assert watch.look() != "fine"
    watch.free = free
    assert [watch.look() for _ in range(6)] == [again] * 6, "fine again with a margin"


def test_the_journal_says_how_far_its_file_is_and_may_grow(tmp_path: Path) -> None:
    with Journal.create(tmp_path, META) as journal:
        before, most = journal.room()
        journal.wait_durable(journal.append(1_000, bytes(64_000), 0))
        assert most == MAP_BYTES
        assert journal.room()[0] >= before + 64_000


def test_a_watch_gives_the_reserve_back_when_room_is_low_and_takes_it_again_when_there_is_room(tmp_path: Path) -> None:
    used = 0.0
    watch = RoomWatch(tmp_path, lambda: (int(used * 10**12), 10**12), bounds=BOUNDS, reserve_bytes=8 * MIB)
    assert watch.look() == "fine"
    assert watch.reserve.held
    assert "is fine" in watch.sentence
    used = 0.91
    assert watch.look() == "low"
    assert not watch.reserve.held
    assert "new orders are rejected" in watch.sentence
    used = 0.5
    assert watch.look() == "fine"
    assert watch.reserve.held


def on_small_disk(tmp_path: Path, program: Callable[..., object], *arguments: object, mib: int = 24) -> object:
    """Result of a function of this file when ``tmp_path`` is a file system of its own."""
    script = f"import json; from tests.test_room import *; print(json.dumps({program.__name__}(*{arguments!r})))"
    mounting = f'mount -t tmpfs -o size={mib}m none "{tmp_path}" && exec "$0" "$@"'
    outcome = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounting, sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return json.loads(outcome.stdout)


def fill_up(path: str) -> None:
    """Somebody else's file, up to the last byte."""
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4_096)) == 4_096:
                pass
        except OSError:
            return


def trade_on_a_filling_disk(directory: str, with_reserve: bool) -> dict[str, object]:
    """A disk that somebody fills while a journal is open: states, and whether a halt and cancels could be journaled."""
    there = Path(directory)
    journal = Journal.create(there / "node", META)
    bounds = Bounds(full_bytes=2 * MIB)
    watch = RoomWatch(there / "node", journal.room, bounds=bounds, reserve_bytes=4 * MIB)
    states = [watch.look()]
    if not with_reserve:  # the control
        watch.reserve.release()
        watch.reserve.make = lambda: True  # type: ignore[method-assign]
    fill_up(f"{directory}/other")
    states.append(watch.look())
    error, journaled = "", 0
    try:
        for _ in range(200):  # the halt, and cancels one by one
            journal.wait_durable(journal.append(1, bytes(64), 0))
            journaled += 1
        states.append(watch.look())
        os.unlink(f"{directory}/other")
        states += [watch.look(), watch.look()]
        journal.wait_durable(journal.append(1_000, bytes(64_000), 0))
        journal.close()
    except Exception as failure:
        error = str(failure)
    return {"states": states, "journaled": journaled, "error": error, "held": watch.reserve.held}


@pytest.mark.slow
@needs_mounts
def test_on_a_disk_that_is_full_a_halt_and_cancels_are_journaled_from_the_reserve(tmp_path: Path) -> None:
    got = on_small_disk(tmp_path, trade_on_a_filling_disk, str(tmp_path), True)
    assert got == {"states": ["fine", "low", "low", "fine", "fine"], "journaled": 200, "error": "", "held": True}


@pytest.mark.slow
@needs_mounts
def test_without_the_reserve_the_same_disk_ends_the_journal(tmp_path: Path) -> None:
    """Negative control."""
    got = on_small_disk(tmp_path, trade_on_a_filling_disk, str(tmp_path), False)
    assert isinstance(got, dict)
    assert got["states"][1] == "gone"
    assert got["journaled"] < 200
    assert "the disk is full" in got["error"]


def reserve_on_a_disk_too_small(directory: str) -> list[object]:
    watch = RoomWatch(Path(directory), lambda: (0, MAP_BYTES), bounds=Bounds(full_bytes=MIB), reserve_bytes=32 * MIB)
    reserve = Reserve(Path(directory) / "alone", 32 * MIB)
    return [reserve.make(), reserve.path.stat().st_blocks, watch.look(), watch.reserve.held]


@pytest.mark.slow
@needs_mounts
def test_a_disk_that_has_no_room_for_the_reserve_is_low_and_keeps_what_it_has(tmp_path: Path) -> None:
    assert on_small_disk(tmp_path, reserve_on_a_disk_too_small, str(tmp_path)) == [False, 0, "low", False]
