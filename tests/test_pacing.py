"""The past in its own time: when each part is due, and where rows are cut. No clock is read here, and nothing waits."""

from pathlib import Path

import numpy as np
import pytest

from cli.questions.reading import plays
from engine.bounds import DAY_NS
from replay.pacing import STEP_NS, Moment, Pace, moments
from tests.conftest import Lockstep

DAY = """at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
at +2s
enter ALPHA a1 sell 100 XYZ @ 10.00
enter ALPHA a2 sell 100 XYZ @ 10.01
at +5ms
enter ALPHA a3 sell 100 XYZ @ 10.02
at +3s
cancel ALPHA a1
at 2024-01-16T08:00:00
enter ALPHA a4 sell 100 XYZ @ 10.00
"""
SECOND_NS = 10**9


def test_the_past_is_due_as_fast_as_it_came_or_so_many_times_faster() -> None:
    for speed, expected in ((1.0, [100.0, 102.0, 104.5]), (10.0, [100.0, 100.2, 100.45]), (0.5, [100.0, 104.0, 109.0])):
        pace = Pace(speed)
        due = [pace.due_s(9 * SECOND_NS + after, 100.0) for after in (0, 2 * SECOND_NS, 4_500_000_000)]
        assert due == pytest.approx(expected)


def test_who_is_late_catches_up_and_the_night_is_not_waited_for() -> None:
    pace = Pace(1.0)
    pace.due_s(SECOND_NS, 10.0)
    assert pace.due_s(3 * SECOND_NS, 99.0) == 12.0  # long due: what follows is not moved by it
    assert pace.due_s(DAY_NS + SECOND_NS, 200.0) == 200.0
    assert pace.due_s(DAY_NS + 3 * SECOND_NS, 200.0) == 202.0


def test_at_full_speed_all_is_due_now() -> None:
    pace = Pace(None)
    assert [pace.due_s(time_ns, 7.0) for time_ns in (0, SECOND_NS, 2 * DAY_NS)] == [7.0] * 3


@pytest.fixture
def node(lockstep: Lockstep, tmp_path: Path) -> Path:
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    return tmp_path / "node"


def cut(node: Path, from_seq: int, speed: float | None, rows_max: int = 100) -> list[Moment]:
    return [
        moment for block in plays(node, 1, None, "replaying") for moment in moments(block, from_seq, speed, rows_max)
    ]


@pytest.mark.parametrize(("from_seq", "speed", "rows_max"), [(1, 1.0, 100), (9, 1.0, 100), (1, None, 3), (5, 1e6, 1)])
def test_the_parts_are_all_rows_and_events_once(node: Path, from_seq: int, speed: float | None, rows_max: int) -> None:
    whole = list(plays(node, 1, None, "replaying"))
    found = cut(node, from_seq, speed, rows_max)
    assert b"".join(each.rows.commands.tobytes() for each in found) == b"".join(
        block.play.commands.tobytes() for block in whole
    )
    assert b"".join(each.rows.events.tobytes() for each in found) == b"".join(
        block.play.events.tobytes() for block in whole
    )
    expected = 1
    for each in found:
        assert each.rows.first_seq == expected
        assert 0 < len(each.rows.commands) <= rows_max
        last = each.rows.first_seq + len(each.rows.commands) - 1
        assert each.is_before == (last < from_seq)
        assert ((each.rows.events["seq"] >= each.rows.first_seq) & (each.rows.events["seq"] <= last)).all()
        expected = last + 1


def test_a_part_ends_where_the_clock_goes_on_and_not_within_a_step(node: Path) -> None:
    times = [each.time_ns for each in cut(node, 1, 1.0)]
    begin = times[1] if times[0] == 0 else times[0]
    after = list(dict.fromkeys(time_ns - begin for time_ns in times if time_ns >= begin))  # a block may end anywhere
    assert after[:4] == [0, 2 * SECOND_NS, 2 * SECOND_NS + 5_000_000, 5 * SECOND_NS + 5_000_000]
    # Ten times as fast the 5 ms are less than a step of who receives, and stay together.
    faster = list(dict.fromkeys(each.time_ns - begin for each in cut(node, 1, 10.0) if each.time_ns >= begin))
    assert 2 * SECOND_NS + 5_000_000 not in faster
    assert np.diff(faster).min() >= 10 * STEP_NS
