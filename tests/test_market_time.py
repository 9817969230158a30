"""Market time goes on, never back and never still, whatever is done to the wall clock; and the clock's own word for how
well it is kept."""

import ctypes
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.bounds import TIME_NS_MAX
from engine.records import COMMAND, CommandKind
from node.core.clock_watch import REFUSED_FILE, RefusedClock
from sequencer import discipline
from sequencer.clock import JUMP_BOUND_NS, SLEW, MarketClock
from sequencer.discipline import TIMEX, ClockReading, complaint, parse
from sequencer.stamp import LiveStamp

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
START_NS = 1_705_311_000 * SECOND_NS


class Machine:
    """Two clocks of which a test moves one or both."""

    def __init__(self) -> None:
        self.wall_ns = START_NS
        self.monotonic_ns = 77 * SECOND_NS
        self.jumps: list[tuple[int, int, int]] = []

    def passes(self, time_ns: int) -> None:
        self.wall_ns += time_ns
        self.monotonic_ns += time_ns

    def clock(self, now_ns: int = 0, **changes: Any) -> MarketClock:
        return MarketClock(
            now_ns,
            wall=lambda: self.wall_ns,
            monotonic=lambda: self.monotonic_ns,
            on_jump=lambda *jump: self.jumps.append(jump),
            **changes,
        )


def test_market_time_is_the_wall_clock_while_nobody_sets_that() -> None:
    machine = Machine()
    clock = machine.clock()
    for step_ns in (0, 1, 999, SECOND_NS, HOUR_NS):  # the last two: a market at rest, or a process that was stopped
        machine.passes(step_ns)
        assert clock() == machine.wall_ns
    assert (machine.jumps, clock.jumps, clock.ahead_ns) == ([], 0, 0)


def test_market_time_goes_on_by_what_passes_when_the_clock_is_set_back_by_an_hour() -> None:
    machine = Machine()
    clock = machine.clock()
    before_ns = clock()
    machine.passes(SECOND_NS)
    machine.wall_ns -= HOUR_NS
    after_ns = clock()
    assert after_ns == before_ns + SECOND_NS - SECOND_NS // SLEW
    assert machine.jumps == [(START_NS, START_NS + SECOND_NS - HOUR_NS, START_NS + SECOND_NS)]
    for _ in range(300):
        machine.passes(SECOND_NS)
        clock()
    passed_ns = clock() - after_ns
    assert passed_ns == 300 * (SECOND_NS - SECOND_NS // SLEW), "a halt of five minutes ends, a little late"
    assert len(machine.jumps) == 1, "one jump is told once"


def test_market_time_is_the_wall_clock_again_after_sixteen_times_what_it_was_set_back_by() -> None:
    machine = Machine()
    clock = machine.clock()
    clock()
    machine.wall_ns -= HOUR_NS
    last_ns, seconds = clock(), 0
    while clock.ahead_ns:
        machine.passes(10 * SECOND_NS)
        seconds += 10
        now_ns = clock()
        assert last_ns < now_ns <= last_ns + 10 * SECOND_NS
        last_ns = now_ns
    assert abs(seconds - SLEW * 3_600) <= 20
    machine.passes(SECOND_NS)
    assert clock() == machine.wall_ns


def test_a_step_ahead_is_taken_at_once_and_told() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(SECOND_NS)
    machine.wall_ns += HOUR_NS
    assert clock() == machine.wall_ns
    assert machine.jumps == [(START_NS, START_NS + SECOND_NS + HOUR_NS, START_NS + SECOND_NS)]
    machine.wall_ns -= HOUR_NS  # it was a mistake: what was journaled stays, and time goes on from there
    machine.passes(SECOND_NS)
    assert clock() == START_NS + HOUR_NS + 2 * SECOND_NS - SECOND_NS // SLEW
    assert clock.jumps == 2


def test_a_step_ahead_beyond_the_bound_is_refused_until_the_clock_is_right_again() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(SECOND_NS)
    machine.wall_ns += HOUR_NS + 1
    assert clock() == START_NS + SECOND_NS
    assert clock.refused_ns == HOUR_NS + 1
    for _ in range(100):
        machine.passes(60 * SECOND_NS)
        clock()
    assert clock() == START_NS + 6_001 * SECOND_NS, "market time goes on by the monotonic clock"
    assert (clock.refused_ns, len(machine.jumps)) == (HOUR_NS + 1, 1)
    machine.wall_ns -= HOUR_NS + 1
    assert clock() == machine.wall_ns
    assert (clock.refused_ns, clock.ahead_ns, clock.jumps) == (0, 0, 2)


def test_a_clock_that_was_refused_is_taken_once_it_is_accepted() -> None:
    machine = Machine()
    clock = machine.clock(ahead_max_ns=SECOND_NS)
    machine.wall_ns += 3 * SECOND_NS
    assert clock() == START_NS
    clock.accept()
    assert clock() == machine.wall_ns
    machine.passes(SECOND_NS)
    assert (clock(), clock.refused_ns) == (machine.wall_ns, 0)


def test_a_clock_that_is_set_right_after_it_was_set_back_is_not_refused() -> None:
    machine = Machine()
    clock = machine.clock()
    clock()
    machine.wall_ns -= 5 * HOUR_NS
    clock()
    machine.passes(SECOND_NS)
    machine.wall_ns += 5 * HOUR_NS  # a jump of five hours, to where market time is
    assert clock() == machine.wall_ns
    assert clock.refused_ns == 0


def test_a_clock_may_be_days_ahead_of_the_journal_at_a_start() -> None:
    machine = Machine()
    clock = machine.clock(START_NS - 72 * HOUR_NS)
    assert clock() == START_NS
    assert (clock.refused_ns, machine.jumps) == (0, [])


def test_a_clock_that_was_refused_before_a_restart_is_refused_after_it_until_it_is_right() -> None:
    machine = Machine()
    machine.wall_ns += 3 * HOUR_NS
    clock = machine.clock(START_NS - 60 * SECOND_NS, refused_ns=3 * HOUR_NS)
    assert clock() == START_NS
    assert clock.refused_ns == 3 * HOUR_NS
    machine.passes(SECOND_NS)
    machine.wall_ns -= 3 * HOUR_NS
    assert (clock(), clock.refused_ns) == (START_NS + SECOND_NS, 0)


class Boot:
    """A machine that measures the time since its boot, and a data directory on it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.name, self.passed_ns = directory, "one", 500 * SECOND_NS
        self.warned: list[str] = []

    def memory(self) -> RefusedClock:
        return RefusedClock(
            self.directory, lambda event, **_: self.warned.append(event), passed=lambda: self.passed_ns, boot=self.name
        )


def test_the_lead_of_a_refused_clock_is_measured_anew_at_a_start_on_the_same_boot(tmp_path: Path) -> None:
    boot = Boot(tmp_path)
    boot.memory().keep(START_NS, 3 * HOUR_NS)
    assert stat.S_IMODE((tmp_path / REFUSED_FILE).stat().st_mode) == 0o600
    boot.passed_ns += 72 * HOUR_NS
    now_ns = START_NS + 72 * HOUR_NS
    again = boot.memory()
    assert again.lead_ns(START_NS, now_ns + 3 * HOUR_NS, HOUR_NS) == 3 * HOUR_NS
    assert again.lead_ns(START_NS, now_ns + 5 * HOUR_NS, HOUR_NS) == 5 * HOUR_NS
    assert again.lead_ns(START_NS, now_ns + HOUR_NS, HOUR_NS) == 0
    assert again.lead_ns(START_NS, now_ns, HOUR_NS) == 0, "it was set right while the node was down"
    again.forget()
    again.forget()
    assert again.lead_ns(START_NS, now_ns + 3 * HOUR_NS, HOUR_NS) == 0
    assert boot.warned == []


def test_after_a_reboot_a_clock_is_refused_where_it_can_still_be_ahead_by_what_it_was(tmp_path: Path) -> None:
    boot = Boot(tmp_path)
    boot.memory().keep(START_NS, 30 * HOUR_NS)
    boot.name, boot.passed_ns = "two", 0
    for after_ns in (0, 60 * SECOND_NS, 72 * HOUR_NS):
        assert boot.memory().lead_ns(START_NS, START_NS + 30 * HOUR_NS + after_ns, HOUR_NS) == 30 * HOUR_NS
    assert boot.memory().lead_ns(START_NS, START_NS + 2 * HOUR_NS, HOUR_NS) == 0, "it was set right"
    (tmp_path / REFUSED_FILE).write_text("[]")
    assert boot.memory().lead_ns(START_NS, START_NS + 30 * HOUR_NS, HOUR_NS) == 0
    assert boot.warned == ["the note of a refused clock cannot be read, so the clock is believed"]


def test_a_leap_second_is_spread_over_the_seconds_after_it() -> None:
    machine = Machine()
    clock = machine.clock(jump_bound_ns=JUMP_BOUND_NS)
    last_ns = clock()
    for tick in range(200):
        machine.passes(SECOND_NS // 10)
        if tick == 20:
            machine.wall_ns -= SECOND_NS  # the second that Linux counts twice
        now_ns = clock()
        # Never still: every tenth of a second is one, less a sixteenth while the clock is behind.
        assert SECOND_NS // 10 - SECOND_NS // 160 <= now_ns - last_ns <= SECOND_NS // 10
        last_ns = now_ns
    assert clock() == machine.wall_ns
    assert machine.jumps == [], "a leap second is no more than the bound"


@pytest.mark.parametrize("step_ns", [JUMP_BOUND_NS, -JUMP_BOUND_NS])
def test_a_jump_is_what_exceeds_the_bound(step_ns: int) -> None:
    machine = Machine()
    clock = machine.clock()
    clock()
    machine.wall_ns += step_ns
    clock()
    assert machine.jumps == []
    machine.wall_ns += step_ns + (1 if step_ns > 0 else -1)
    clock()
    assert len(machine.jumps) == 1


def test_a_machine_that_stalls_makes_no_jump() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(90 * SECOND_NS)
    assert clock() == machine.wall_ns
    assert machine.jumps == []


def test_clocks_that_were_not_read_at_one_moment_are_read_again() -> None:
    machine = Machine()
    stalls = iter([0, 0, 4_000_000, 0, 0, 0, 0, 0])

    def wall() -> int:
        machine.passes(next(stalls))  # the thread loses the processor between the two
        return machine.wall_ns

    clock = MarketClock(wall=wall, monotonic=lambda: machine.monotonic_ns)
    for _ in range(4):
        machine.passes(1_000)
        assert clock() == machine.wall_ns
        assert clock.ahead_ns == 0


def test_what_is_left_of_a_bad_reading_is_gone_soon() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ns += SECOND_NS // 5  # the wall clock is read late by a fifth of a second, and the next time at once
    clock()
    machine.wall_ns -= SECOND_NS // 5
    machine.passes(SECOND_NS)
    assert clock() > machine.wall_ns
    machine.passes(3 * SECOND_NS)
    assert clock() == machine.wall_ns
    assert machine.jumps == []


def test_a_journal_ahead_of_the_wall_clock_is_told_at_the_start_and_gone_on_from() -> None:
    machine = Machine()
    clock = machine.clock(START_NS + HOUR_NS)
    assert machine.jumps == [(START_NS + HOUR_NS, START_NS, START_NS + HOUR_NS)]
    machine.passes(16 * SECOND_NS)
    assert clock() == START_NS + HOUR_NS + 15 * SECOND_NS
    assert clock.ahead_ns == HOUR_NS - SECOND_NS


def test_a_hundred_random_settings_never_turn_time_back_or_stop_it() -> None:
    machine, chance = Machine(), np.random.default_rng(4)
    clock = machine.clock()
    last_ns = clock()
    for _ in range(5_000):
        machine.passes(int(chance.integers(1_000, SECOND_NS)))
        if chance.random() < 0.02:
            machine.wall_ns += int(chance.integers(-HOUR_NS, HOUR_NS))
        now_ns = clock()
        assert now_ns > last_ns
        last_ns = now_ns


def test_a_bound_that_everything_exceeds_is_refused() -> None:
    with pytest.raises(ValueError, match="bound of 0 ns"):
        MarketClock(jump_bound_ns=0)


def test_blocks_bear_market_time_and_it_goes_on_after_a_step_back() -> None:
    machine = Machine()
    stamp = LiveStamp(clock=machine.clock())
    batch = np.zeros(1, COMMAND)
    batch["kind"] = CommandKind.PHASE
    times = []
    for step_ns in (0, -HOUR_NS, 0, HOUR_NS):
        machine.passes(16_000)
        machine.wall_ns += step_ns
        (block,) = stamp(batch)
        assert list(block.commands["kind"]) == [1, 13]
        assert block.commands["time_ns"][0] == block.time_ns
        times.append(block.time_ns - START_NS)
    assert times == [16_000, 31_000, 46_000, 64_000]


def test_no_clock_row_bears_a_time_that_the_engine_refuses() -> None:
    batch = np.zeros(1, COMMAND)
    batch["kind"] = CommandKind.PHASE
    (block,) = LiveStamp(clock=lambda: 2**63)(batch)
    assert block.time_ns == TIME_NS_MAX


def timex(**values: int) -> bytes:
    """A struct timex as the kernel fills it."""
    named = {1: "offset", 2: "freq", 3: "maxerror", 4: "esterror", 5: "status", 20: "tai"}
    return TIMEX.pack(*[values.get(named.get(place, ""), 0) for place in range(32)])


def test_the_kernels_words_are_read_in_nanoseconds() -> None:
    good = parse(0, timex(offset=-1_234, freq=65_536 * 3, maxerror=250, esterror=12, status=0x2001, tai=37))
    assert good == ClockReading("synchronized", -1_234, 12_000, 250_000, 3_000, 37)
    assert parse(0, timex(offset=-1_234, status=0x0001)).offset_ns == -1_234_000, "microseconds without STA_NANO"
    assert parse(1, timex(status=0x2011)).leap == "insert"
    assert parse(2, timex(status=0x2021)).leap == "delete"
    for returned, status in ((5, 0x2001), (0, 0x2041)):
        assert parse(returned, timex(status=status)).state == "unsynchronized"


def test_a_clock_that_is_not_good_enough_is_complained_of_in_a_sentence() -> None:
    good = ClockReading("synchronized", offset_ns=1_000, error_max_ns=2_000_000)
    assert complaint(good) is None
    assert "may be wrong by 2 ms, more than the 1 ms allowed" in (complaint(good, 1_000_000) or "")
    assert "is still off by 80 ms" in (complaint(ClockReading("synchronized", offset_ns=-80_000_000)) or "")
    assert "start chrony" in (complaint(ClockReading("unsynchronized")) or "")
    assert "no adjtimex" in (complaint(ClockReading("unknown", why="this system has no adjtimex")) or "")


def test_this_machines_clock_is_read_without_rights_and_not_set() -> None:
    before = discipline.read()
    assert before.state in ("synchronized", "unsynchronized", "unknown")
    assert (before.why == "") == (before.state != "unknown")
    if before.state == "unknown":
        pytest.skip(before.why)
    assert TIMEX.size == 208
    assert before.error_max_ns >= 0


def test_where_the_system_cannot_be_asked_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        @staticmethod
        def adjtimex(_timex: object) -> int:
            ctypes.set_errno(1)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Refusing)
    monkeypatch.setattr(discipline, "_adjtimex", discipline._adjtimex.__wrapped__)  # nothing is remembered
    assert discipline.read() == ClockReading("unknown", why=f"adjtimex: {os.strerror(1)}")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert discipline.read() == ClockReading("unknown", why="this system has no adjtimex")
