"""Market time, which the sequencer puts into CLOCK rows, from two clocks of the machine.

The wall clock has the time of day, and may be set: by an operator, by NTP at a start, by a leap second, by the move of
a virtual machine. The monotonic clock measures durations only. Market time is the wall clock's, unless it would then
advance by less than fifteen sixteenths of the time since the last reading: then it advances by just that, until the
wall clock has caught up. So

- it never goes back: the journal's order and that of its times are the same, whatever the machine does;
- it never stands still: a halt of five minutes ends after five minutes and twenty seconds at most, though the clock
  was set back by an hour, and no two turns have the same time for that hour;
- it returns to the wall clock by itself: an hour takes sixteen hours, a second sixteen seconds. A leap second, which
  Linux makes by setting the clock back by one, is spread over the sixteen seconds after it.

A step ahead is taken at once, up to a bound. Either the clock was wrong before, and every moment more under the old
time would be a wrong time stamp, or the machine has slept. If the step itself was the mistake, market time is ahead
until the wall clock catches up, since a time that is journaled cannot be taken back. That is why a step beyond the
bound (an hour) is refused: market time follows the monotonic clock until the wall clock is right again, or the operator
accepts it. The first reading is believed, unless the clock was refused before a restart (``refused_ns``): after a
weekend the clock is days ahead of the journal. A step decides outcomes only through market time; each one is reported
to ``on_jump``, for the log, for an alarm, and for a CLOCK_JUMP row in the journal.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

#: Smallest difference from the monotonic clock that counts as a jump, in ns.
JUMP_BOUND_NS: Final = 1_000_000_000
#: Larger steps ahead are refused, in ns.
AHEAD_MAX_NS: Final = 3_600_000_000_000
#: While the wall clock is behind, market time loses one part in so many.
SLEW: Final = 16

#: Two clocks are read as one when this is not exceeded between, in ns; else they are read again, so many times.
_READING_NS: Final = 20_000
_READINGS_MAX: Final = 3

#: Callback for a jump: last reading of the wall clock, present reading, and expected reading, in ns since 1970.
JumpCallback = Callable[[int, int, int], object]

#: Words of a clock: market time, last readings of both clocks, time of the wall clock as far as it is believed, bound
#: of a jump, bound of a step ahead, and of the last jump the reading before it. All in ns.
MARKET_NS, MONOTONIC_NS, WALL_NS, BELIEVED_NS, JUMP_NS, AHEAD_NS, WAS_NS, EXPECTED_NS = range(8)
#: Number of the words.
CLOCK_WORDS: Final = 8


def advance(words: Any, monotonic_ns: Any, wall_ns: Any) -> Any:
    """Advance a clock (int64[CLOCK_WORDS]) to a reading of both clocks; gives True if the wall clock jumped.

    Also compiled, into the turns of direct connections (``gateway.turn``).
    """
    passed_ns = max(monotonic_ns - words[MONOTONIC_NS], 0)
    words[WAS_NS], words[EXPECTED_NS] = words[WALL_NS], words[WALL_NS] + passed_ns
    words[MONOTONIC_NS], words[WALL_NS] = monotonic_ns, wall_ns
    least_ns = words[MARKET_NS] + passed_ns - passed_ns // SLEW
    words[BELIEVED_NS] += passed_ns
    if wall_ns - max(words[BELIEVED_NS], least_ns) <= words[AHEAD_NS]:
        words[BELIEVED_NS] = wall_ns
    words[MARKET_NS] = max(words[BELIEVED_NS], least_ns)
    return abs(wall_ns - words[EXPECTED_NS]) > words[JUMP_NS]


class MarketClock:
    """Market time in ns since 1970 at each call; for the sequencer's thread, as the ``clock`` of ``LiveStamp``.

    ``now_ns``: market time so far (``engine.now_ns``). ``refused_ns``: lead of a wall clock that was refused before a
    restart and still is. ``wall`` and ``monotonic`` give ns. ``on_jump`` is called where
    the wall clock is more than ``jump_bound_ns`` from where the time that has passed would put it, once for each such
    jump, and at once where a journal is ahead of the wall clock by as much; it must not raise. A pause of the process
    or of the machine's processors moves both clocks and is no jump; a machine that was suspended has one ahead.
    """

    def __init__(
        self,
        now_ns: int = 0,
        *,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
        jump_bound_ns: int = JUMP_BOUND_NS,
        ahead_max_ns: int = AHEAD_MAX_NS,
        refused_ns: int = 0,
        on_jump: JumpCallback | None = None,
    ) -> None:
        if jump_bound_ns < 1:
            raise ValueError(f"a bound of {jump_bound_ns} ns would make every reading of the clock a jump")
        self._wall = wall
        self._monotonic = monotonic
        self._on_jump = on_jump
        #: Jumps of the wall clock so far.
        self.jumps = 0
        #: int64[CLOCK_WORDS], which compiled turns advance too.
        self.words = np.zeros(CLOCK_WORDS, np.int64)
        words = self._words = memoryview(self.words.data)
        words[MARKET_NS], words[JUMP_NS], words[AHEAD_NS] = now_ns, jump_bound_ns, ahead_max_ns
        words[MONOTONIC_NS], words[WALL_NS] = self._read()
        words[BELIEVED_NS] = words[WALL_NS] - refused_ns
        if now_ns - words[WALL_NS] > jump_bound_ns:
            self._report_jump(now_ns, words[WALL_NS], now_ns)

    def __call__(self) -> int:
        """Market time now: not before the last, and after it as soon as time has passed."""
        monotonic_ns, wall_ns = self._monotonic(), self._wall()
        if self._monotonic() - monotonic_ns > _READING_NS:
            monotonic_ns, wall_ns = self._read()
        if advance(self._words, monotonic_ns, wall_ns):
            self.report_jump()
        return self._words[MARKET_NS]

    def report_jump(self) -> None:
        """Report the jump that the last advance has found."""
        self._report_jump(self._words[WAS_NS], self._words[WALL_NS], self._words[EXPECTED_NS])

    def go_on(self, now_ns: int) -> None:
        """Go on after ``now_ns``, market time of another node whose blocks were followed."""
        words = self._words
        if now_ns - words[WALL_NS] > words[JUMP_NS]:
            self._report_jump(now_ns, words[WALL_NS], now_ns)
        words[MARKET_NS] = max(words[MARKET_NS], now_ns)

    @property
    def ahead_ns(self) -> int:
        """Lead of market time over the wall clock at the last call, in ns; 0 while it follows it."""
        return max(self._words[MARKET_NS] - self._words[WALL_NS], 0)

    @property
    def refused_ns(self) -> int:
        """Lead of a refused wall clock over market time at the last call, in ns; 0 if the wall clock is believed."""
        words = self._words
        return 0 if words[BELIEVED_NS] == words[WALL_NS] else max(words[WALL_NS] - words[MARKET_NS], 0)

    def accept(self) -> None:
        """Accept the wall clock as it is: market time takes its time at the next call."""
        self._words[BELIEVED_NS] = self._words[WALL_NS]

    def _read(self) -> tuple[int, int]:
        """Both clocks at one moment: a thread that loses the processor in between would see a step that is none."""
        for _ in range(_READINGS_MAX):
            monotonic_ns, wall_ns = self._monotonic(), self._wall()
            if self._monotonic() - monotonic_ns <= _READING_NS:
                break
        return monotonic_ns, wall_ns

    def _report_jump(self, was_ns: int, now_ns: int, expected_ns: int) -> None:
        self.jumps += 1
        if self._on_jump is not None:
            self._on_jump(was_ns, now_ns, expected_ns)
