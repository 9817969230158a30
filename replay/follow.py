"""Blocks of a running node, as soon as they may be told: from its tape, or from its journal where that has not what
comes next.

The node notices nothing. The tape is read as long as it has the next command: an engine is not needed for that. Where
it was overrun, the node has ended or none runs, the journal is played by an engine of the reader's own, which goes
through the slices that the node begins; then the tape is looked for again. The rows and their order are the same
either way. While a node has a tape, its journal is read no further than the tape says that answers may leave: commands
that a primary has on its disk, and its standby has not, are told to nobody. Blocks that define a name are always taken
from the journal, since the engine knows what came of them.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from engine.capacity import Capacity
from engine.interface import MarketEngine
from engine.market_time import ends_extended
from engine.names import Directory
from engine.records import CommandKind
from journal import Journal
from journal.history import History, SliceRange
from replay.errors import ReplayError
from replay.live_tape import LiveTape, TapedRows, Why
from replay.past import PlayedBlock, PlayedRows, RowRange
from replay.rebuild import capacity_of, played, start

#: Wait between two looks, in seconds: after a block, and the longest while nothing comes, on a tape and on a disk.
LOOK_S: Final = 0.002
QUIET_TAPE_S: Final = 0.01
QUIET_LOOK_S: Final = 0.1
#: Commands that the engine plays again at most to come to where the tape was lost, if a checkpoint is nearer.
FAR_COMMANDS: Final = 1_000_000
_DEFINITIONS: Final = (CommandKind.INSTRUMENT, CommandKind.PARTICIPANT)


class Follower:
    """Reader of what a node adds to its directory, behind an engine's position.

    ``tape``: that of the node, None to read the journal alone. ``journaled``, ``taped``: blocks given from either.
    ``capacity``: of the slice that was read or whose node was found last; None before that.
    """

    def __init__(self, directory: Path, engine: MarketEngine, tape: LiveTape | None) -> None:
        self._directory, self._engine, self._tape = directory, engine, tape
        self._seq, self._names = engine.seq, engine.directory
        self._shown: TapedRows | None = None  # the last block that only the tape has said so far
        self._behind = True  # the journal may have what the tape has not
        self._node = 0  # times that a tape was found, when last looked
        self.journaled = self.taped = 0
        self.capacity: Capacity | None = None

    def blocks(self, to_seq: int | None = None, *, waits: bool = True) -> Iterator[PlayedBlock | None]:
        """Blocks until ``to_seq`` (None: for ever); None where nothing is new. waits: False to look again without a
        pause (at a journal alone, a few times a second).

        Raises ReplayError for commands that a crash of the node has undone after they were given, and what replay and
        journal raise, such as for a slice of other rules.
        """
        wait_s, look_at_s = LOOK_S, 0.0
        while to_seq is None or self._seq < to_seq:
            found = self._from_tape(to_seq)
            if found is not None:
                wait_s, look_at_s = LOOK_S, 0.0
                yield found
                continue
            given = False
            if self._behind and (waits or time.monotonic() >= look_at_s):
                for block in self._from_journal(to_seq):
                    given = True
                    yield block
                look_at_s = time.monotonic() + QUIET_LOOK_S
            if given:
                wait_s, look_at_s = LOOK_S, 0.0
                continue
            yield None
            if waits:
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, QUIET_LOOK_S if self._behind else QUIET_TAPE_S)

    def _from_tape(self, to_seq: int | None) -> PlayedBlock | None:
        """Next block of the tape; None where it has none, with ``_behind`` set if the journal may have it."""
        if self._tape is None:
            return None
        rows = self._tape.take(self._seq + 1)
        if self._tape.attached != self._node and not self._is_same_market(self._tape):
            return None
        if isinstance(rows, Why):
            self._behind = rows is not Why.NOTHING
            return None
        if to_seq is not None and rows.first_seq + len(rows.commands) - 1 > to_seq:
            commands = rows.commands[: to_seq - rows.first_seq + 1]
            events = rows.events[: int(np.searchsorted(rows.events["seq"], to_seq, "right"))]
            rows = rows._replace(commands=commands, events=events)
        if np.isin(rows.commands["kind"], _DEFINITIONS).any():
            self._tape.go_back()
            self._behind = True
            return None
        self._behind = False
        self._shown = rows
        self.taped += 1
        return self._given(rows, replace(self._names, now_ns=rows.time_ns))

    def _is_same_market(self, tape: LiveTape) -> bool:
        """True once the node of a new tape is known to have all that was given; else the journal has to be read first.

        Raises ReplayError.
        """
        if (applied_seq := tape.applied_seq) is not None and applied_seq < self._seq:
            raise self._undone(applied_seq)
        self._behind = self._shown is not None
        if self._behind:
            tape.go_back()
            return False
        self._node = tape.attached
        with Journal.open(self._directory, readonly=True) as journal:
            self.capacity = capacity_of(journal)
        return True

    def _given(self, rows: PlayedRows, names: Directory) -> PlayedBlock:
        before, self._names = self._names, names
        self._seq = rows.first_seq + len(rows.commands) - 1
        return PlayedBlock(rows, before, names)

    def _from_journal(self, to_seq: int | None) -> Iterator[PlayedBlock]:
        """Blocks that the journal has by now. The engine first takes what the tape has said."""
        released_seq = None if self._tape is None else self._tape.released_seq
        if _least(_last_seq(self._directory), released_seq) <= self._engine.seq:
            return
        with History.open(self._directory) as history:
            self._go_ahead(history)
            end = _least(history.last_seq, released_seq, to_seq)
            for part in history.ranges(self._engine.seq + 1, end):
                self.capacity = capacity_of(part.journal)
                if self._engine.capacity != self.capacity:  # The slice began with larger or smaller tables.
                    self._engine = start(part.journal, history.path, self._engine.seq, "kernel", True, [])
                for play in played(part.journal, self._engine, part.to_seq):
                    self._compare(play)
                    if play.first_seq + len(play.commands) - 1 <= self._seq:
                        continue
                    self.journaled += 1
                    rows: PlayedRows = play
                    if play.first_seq <= self._seq:
                        new = self._seq + 1
                        events = play.events[int(np.searchsorted(play.events["seq"], new)) :]
                        skipped = new - play.first_seq
                        extended = ends_extended(play.commands[:skipped])
                        rows = RowRange(new, play.commands[skipped:], events, extended)
                    yield self._given(rows, self._engine.directory)

    def _go_ahead(self, history: History) -> None:
        """Take an engine from a checkpoint where the present one is far behind what the tape has said."""
        before = self._seq if self._shown is None else min(self._seq, self._shown.first_seq - 1)
        if before - self._engine.seq < FAR_COMMANDS:
            return
        [part] = history.ranges(before, before)
        found = start(part.journal, history.path, before, "kernel", True, [])
        if found.seq > self._engine.seq:
            self._engine = found

    def _compare(self, play: PlayedRows) -> None:
        """Check that the journal has the commands that the tape has said last. Raises ReplayError."""
        shown = self._shown
        if shown is None:
            return
        first = max(shown.first_seq, play.first_seq)
        last = min(shown.first_seq + len(shown.commands), play.first_seq + len(play.commands)) - 1
        if first <= last:
            said, there = (
                each.commands[first - each.first_seq : last - each.first_seq + 1].tobytes() for each in (shown, play)
            )
            if said != there:
                raise self._undone(first - 1)
        if play.first_seq + len(play.commands) >= shown.first_seq + len(shown.commands):
            self._shown = None

    def _undone(self, last_seq: int) -> ReplayError:
        return ReplayError(
            f"{self._directory} has not kept the commands up to {self._seq:,} that its node told of: the journal "
            f"agrees up to {last_seq:,} at most; the node answered before its commands were durable, or they were set "
            f"aside for those of another primary; read it from an earlier command on"
        )


def parts_until(history: History, from_seq: int, to_seq: int) -> list[SliceRange]:
    """The parts of a range of commands after which a ``Follower`` goes on: at the end of the last one there can be an
    engine. ``from_seq``: at most one more than ``to_seq``."""
    parts = list(history.ranges(from_seq, to_seq)) if from_seq <= to_seq else []
    last = history.last
    if to_seq >= last.start_seq and not (parts and parts[-1].journal is last):
        parts.append(SliceRange(last, max(from_seq, last.start_seq + 1), to_seq))
    return parts or [SliceRange(history.slice_of(from_seq), from_seq, to_seq)]


def _least(seq: int, *bounds: int | None) -> int:
    return min([seq, *(each for each in bounds if each is not None)])


def _last_seq(directory: Path) -> int:
    with Journal.open(directory, readonly=True) as journal:
        return journal.last_seq
