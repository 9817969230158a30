"""A trading day in figures along its clock: commands, trades and refusals, with the moments that stand out.

The day is cut into stretches of one length, which doubles when the day outgrows them, so its memory has a bound. A day
that goes on is read on from where the last look ended.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS
from engine.interface import MarketEngine
from engine.market_time import clock_at_each
from engine.names import Directory, unpack
from engine.records import CommandKind, EventKind, Reason
from journal.history import History
from notation.fix_marks import refuses_mark
from notation.print import print_event
from notation.table import word
from replay.past import PastSlice, PlayedBlock, gathered, names_after
from replay.rebuild import played
from replay.times import first_seq_at, seq_at
from replay.walk import Stopped

#: Stretches of a day at most, and the shortest, ns.
STRETCHES_MAX: Final = 2_048
_SHORTEST_NS: Final = 1_000_000
#: Refusals by limits and bands within a second that make an alert.
BURST_REFUSALS: Final = 10
_BY_LIMITS: Final = (
    *(Reason.KILLED, Reason.PRICE_BAND, Reason.MAX_ORDER_QTY, Reason.MAX_ORDER_VALUE, Reason.ORDER_RATE),
    *(Reason.ADV, Reason.POSITION_LIMIT, Reason.CREDIT, Reason.CAPACITY),
)
_SECOND_NS: Final = 1_000_000_000
_LETTERS: Final = {
    int(EventKind.HALTED): "H",
    int(EventKind.PHASE): "P",
    int(EventKind.KILLED): "K",
    int(EventKind.UNKILLED): "K",
}
#: Letters of marks, the gravest last.
_GRAVITY: Final = " PJ!EHK"


class Mark(NamedTuple):
    """A moment that stands out. ``letter``: H halt, P phase, and the alerts K kill switch, E new primary, J jump of the
    clock, ! a burst of refusals by limits."""

    seq: int
    time_ns: int
    letter: str
    text: str

    @property
    def alert(self) -> bool:
        """True for what somebody should have looked at."""
        return self.letter in "KEJ!"


class Tally:
    """Counts along the clock. ``begin_ns``: the first clock value; ``end_ns``: the last; 0 before any.

    ``commands``, ``trades``, ``refusals``: counts by stretch of ``stretch_ns``. ``marks``: in order of the commands.
    ``read_seq``: the last command that was taken; of a block only later rows count.
    """

    def __init__(self, read_seq: int = 0) -> None:
        self.begin_ns = self.end_ns = 0
        self.stretch_ns = _SHORTEST_NS
        self.commands, self.trades, self.refusals = (np.zeros(STRETCHES_MAX, np.int64) for _ in range(3))
        self.marks: list[Mark] = []
        self.read_seq = read_seq
        self._burst: tuple[int, int] = (0, 0)  # second, refusals in it

    def take(self, block: PlayedBlock) -> None:
        """Count a block; rows that were counted are left out."""
        play = block.play
        new = max(0, self.read_seq + 1 - play.first_seq)
        clock_ns = clock_at_each(play.commands, block.position)
        rows, times = play.commands[new:], clock_ns[new:]
        events = play.events[play.events["seq"] > self.read_seq] if new else play.events
        if not len(rows):
            return
        counted = times[times > 0]
        if len(counted):
            self.begin_ns = self.begin_ns or int(counted[0])
            self.end_ns = max(self.end_ns, int(counted[-1]))
        while self.begin_ns and self.end_ns - self.begin_ns >= STRETCHES_MAX * self.stretch_ns:
            self._double()
        event_times = clock_ns[events["seq"] - play.first_seq]
        kinds = events["kind"]
        refused = (kinds == EventKind.REJECTED) | (kinds == EventKind.CANCEL_REJECTED)
        refused &= ~refuses_mark(events, play.commands, play.first_seq)
        self._count(self.commands, times)
        self._count(self.trades, event_times[kinds == EventKind.TRADE])
        self._count(self.refusals, event_times[refused])
        self.marks += sorted(
            [
                *_command_marks(rows, times, play.first_seq + new),
                *_event_marks(events, event_times, block.after),
                *self._bursts(events, event_times),
            ],
            key=lambda mark: mark.seq,
        )
        self.read_seq = play.first_seq + len(play.commands) - 1

    def _count(self, counts: NDArray[np.int64], times_ns: NDArray[np.int64]) -> None:
        at = np.maximum(times_ns - self.begin_ns, 0) // self.stretch_ns
        counts += np.bincount(at, minlength=STRETCHES_MAX)

    def _double(self) -> None:
        """Make stretches twice as long."""
        self.stretch_ns *= 2
        for counts in (self.commands, self.trades, self.refusals):
            halved = counts[::2] + counts[1::2]
            counts[:] = 0
            counts[: len(halved)] = halved

    def _bursts(self, events: NDArray[Any], times_ns: NDArray[np.int64]) -> Iterator[Mark]:
        """An alert for each second in which limits refused much, at the command that made it so many."""
        at = np.flatnonzero(np.isin(events["reason"], _BY_LIMITS) & (events["kind"] == EventKind.REJECTED))
        for index in at.tolist():
            second = int(times_ns[index]) // _SECOND_NS
            count = self._burst[1] + 1 if self._burst[0] == second else 1
            self._burst = second, count
            if count == BURST_REFUSALS:
                reason = word(Reason, int(events["reason"][index]))
                text = f"{BURST_REFUSALS} refusals by limits within a second, the last {reason}"
                yield Mark(int(events["seq"][index]), int(times_ns[index]), "!", text)

    @property
    def halts(self) -> int:
        """Number of halts so far."""
        return sum(mark.letter == "H" for mark in self.marks)

    @property
    def alerts(self) -> int:
        """Number of alerts so far."""
        return sum(mark.alert for mark in self.marks)

    def cells(self, width: int) -> list[tuple[int, int, str]]:
        """The day in ``width`` columns: commands and trades of each, and the letter of its gravest mark or a space."""
        at = self.columns(width, self.begin_ns + np.arange(STRETCHES_MAX) * self.stretch_ns)
        sums = [np.bincount(at, counts, minlength=width).astype(np.int64) for counts in (self.commands, self.trades)]
        letters = [" "] * width
        marks = list(self.marks)  # the other thread may add to it
        columns = self.columns(width, np.array([mark.time_ns for mark in marks], np.int64)).tolist()
        for column, mark in zip(columns, marks, strict=True):
            if _GRAVITY.index(mark.letter) > _GRAVITY.index(letters[column]):
                letters[column] = mark.letter
        return list(zip(sums[0].tolist(), sums[1].tolist(), letters, strict=True))

    def columns(self, width: int, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Columns of clock values among ``width``."""
        span = max(self.end_ns - self.begin_ns, 1)
        found: NDArray[np.int64] = np.clip((times_ns - self.begin_ns) * width // (span + 1), 0, width - 1)
        return found


class Timeline(Tally):
    """The day with a clock value, read from a data directory. ``to_seq``: its last command.

    ``notes``: sentences for the user. ``fault``: why it is not read to its end. One thread reads; another may look.
    """

    def __init__(self, directory: Path, time_ns: int, prepare: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._directory, self._prepare = directory, prepare
        self.day_ns: Final = time_ns - time_ns % DAY_NS
        self.notes: list[str] = []
        self.fault = ""
        self.to_seq = 0
        self._engine: MarketEngine | None = None
        self._slice = 0

    def read(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Read what the day has and was not read yet. Raises Stopped, and what replay and journal raise."""
        date = datetime.fromtimestamp(self.day_ns // _SECOND_NS, UTC).strftime("%Y-%m-%d")
        with History.open(self._directory) as history:
            if not self.read_seq:
                first = first_seq_at(self._directory, f"{date}T00:00") if self.day_ns else 1
                self.read_seq = max(first, history.there_from_seq) - 1
            self.to_seq = seq_at(self._directory, f"{date}T23:59:59.999999999")
            if self.to_seq <= self.read_seq:
                return
            try:
                for block in gathered(self._blocks(history)):
                    self.take(block)
                    if stopped():
                        raise Stopped
            except BaseException:
                self._engine = None  # it may be past what was counted
                raise

    def _blocks(self, history: History) -> Iterator[PlayedBlock]:
        last = history.last.place.number
        for part in history.ranges(self.read_seq + 1, self.to_seq):
            number, engine = part.journal.place.number, self._engine
            if engine is not None and self._slice == number and engine.seq == self.read_seq:
                before = engine.directory
                for play in played(part.journal, engine, part.to_seq):
                    after = names_after(before, play.commands, engine)
                    yield PlayedBlock(play, before, after)
                    before = after
                continue
            source = PastSlice(history, part, need_events=False, need_engine=number == last, prepare=self._prepare)
            self.notes += [note for note in source.notes if note not in self.notes]
            yield from source.blocks()
            self._engine, self._slice = source.engine, number


def _command_marks(rows: NDArray[Any], times_ns: NDArray[np.int64], first_seq: int) -> Iterator[Mark]:
    kinds = rows["kind"]
    for at in np.flatnonzero((kinds == CommandKind.EPOCH) | (kinds == CommandKind.CLOCK_JUMP)).tolist():
        if kinds[at] == CommandKind.EPOCH:
            letter, text = "E", f"epoch {int(rows['epoch'][at]):,} begins, primary {unpack(int(rows['name'][at]))}"
        else:
            letter, text = "J", f"the machine's clock jumped by {int(rows['jump_ns'][at]):,} ns"
        yield Mark(first_seq + at, int(times_ns[at]), letter, text)


def _event_marks(events: NDArray[Any], times_ns: NDArray[np.int64], names: Directory) -> Iterator[Mark]:
    kinds = events["kind"]
    for at in np.flatnonzero(np.isin(kinds, list(_LETTERS))).tolist():
        text = print_event(events[at], names).removeprefix("> ")
        yield Mark(int(events["seq"][at]), int(times_ns[at]), _LETTERS[int(kinds[at])], text)
