"""A slice of the past, block by block, with the events of each block.

Events of a closed slice are those that are kept beside it (``replay.kept``). Where none are kept, and in the open
slice, they are produced again by an engine that starts at the newest checkpoint before them. A slice of other rules
cannot be replayed. Its commands can be read all the same: the names that numbers stand for follow from the definitions
among them.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.market_time import ClockPosition, ends_extended
from engine.names import Directory
from engine.records import COMMAND, EVENT, RULES_VERSION, CommandKind, concatenate
from engine.views import OPEN_ORDER
from journal import JournalError, SliceMissing
from journal.history import History, SliceRange
from replay.errors import ReplayError
from replay.kept import KeptEvents
from replay.rebuild import ReplayedBlock, capacity_of, extends_next, name_of, owned_rows, played, start

_DEFINITIONS = (int(CommandKind.INSTRUMENT), int(CommandKind.PARTICIPANT))
#: Rows of commands and events of blocks that ``gathered`` makes one.
_GATHERED_ROWS = 1 << 16


class PlayedRows(Protocol):
    """COMMAND rows that follow each other, and their EVENT rows."""

    @property
    def first_seq(self) -> int:
        """Number of the first command."""
        ...

    @property
    def commands(self) -> NDArray[Any]:
        """COMMAND rows."""
        ...

    @property
    def events(self) -> NDArray[Any]:
        """All EVENT rows that they caused."""
        ...

    @property
    def extended(self) -> bool:
        """True if the row before them is an EXTEND row that waits for the first: a CLOCK row there is refused."""
        ...


class RowRange(NamedTuple):
    """``PlayedRows`` that are a part of a block, or of several."""

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]
    extended: bool = False


def parted(play: PlayedRows, from_seq: int) -> list[tuple[PlayedRows, bool]]:
    """Rows cut before command ``from_seq``: those before it (True) and those from it on (False), without empty ones."""
    before = from_seq - play.first_seq
    if before <= 0:
        return [(play, False)]
    if before >= len(play.commands):
        return [(play, True)]
    cut = int(np.searchsorted(play.events["seq"], from_seq))
    earlier = RowRange(play.first_seq, play.commands[:before], play.events[:cut], play.extended)
    later = RowRange(from_seq, play.commands[before:], play.events[cut:], ends_extended(earlier.commands))
    return [(earlier, True), (later, False)]


class PlayedBlock(NamedTuple):
    """A block of the journal with its events, and the venue's directory before and after it.

    Where the events are not known, ``play.events`` has only the refusals of definitions.
    """

    play: PlayedRows
    before: Directory
    after: Directory

    @property
    def last_seq(self) -> int:
        """Number of the last command."""
        return self.play.first_seq + len(self.play.commands) - 1

    @property
    def position(self) -> ClockPosition:
        """The clock before it."""
        return ClockPosition(self.before.now_ns, self.play.extended)


class PastSlice:
    """The commands of one slice in a range, with their events. ``seq``: the command before the first block that is
    given; ``open_orders``: OPEN_ORDER rows as they were then; ``notes``: sentences for the user."""

    def __init__(
        self,
        history: History,
        part: SliceRange,
        *,
        lead: bool = False,
        need_events: bool = True,
        need_engine: bool = False,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        """``lead``: include the blocks between the start of the replay and the range. ``need_events``: false where a
        slice of other rules can do without. ``need_engine``: true for a replay where the events are kept too.
        ``prepare``: called before an engine is made. Raises ReplayError where events are needed that cannot be had.
        """
        self._history, self._part, self._lead = history, part, lead
        self.notes: list[str] = []
        self.seq = part.from_seq - 1
        self.open_orders = np.empty(0, OPEN_ORDER)
        self._engine: MarketEngine | None = None
        self._kept: KeptEvents | None = None
        rules_version = int(part.journal.meta.get("rules_version", RULES_VERSION))
        can_replay = rules_version == RULES_VERSION
        kept = None if need_engine and can_replay else _kept_of(part, self.notes, can_replay=can_replay)
        if kept is not None:
            self._kept = kept
            self.seq = part.journal.start_seq if lead else self.seq
            self.open_orders = kept.open_orders
        elif can_replay:
            prepare()
            engine = start(part.journal, history.path, part.from_seq - 1, "kernel", True, self.notes)
            self._engine, self.seq, self.open_orders = engine, engine.seq, engine.open_orders()
        elif need_events:
            raise ReplayError(
                f"{name_of(history, part.journal)} was written under rules version {rules_version} and this release "
                f"plays version {RULES_VERSION}, and the events are not kept beside it; `lockstep commands` prints its "
                "commands; replay it with the release that wrote it"
            )
        else:
            self.notes.append(
                f"{name_of(history, part.journal)} is of rules version {rules_version}; its names are those of the "
                f"definitions that version {RULES_VERSION} accepts"
            )

    @property
    def engine(self) -> MarketEngine | None:
        """Engine after the blocks so far; None where the events are kept, or those of other rules."""
        return self._engine

    def blocks(self) -> Iterator[PlayedBlock]:
        """The blocks, in order. Raises what replay and journal raise."""
        if self._kept is not None:
            return self._recorded(self._kept)
        return self._read() if self._engine is None else self._play(self._engine)

    def _recorded(self, kept: KeptEvents) -> Iterator[PlayedBlock]:
        with kept, closing(kept.blocks(self.seq + 1, self._part.to_seq)) as blocks:
            extended: bool | None = None
            for play, before, after in blocks:
                if extended is None:
                    extended = extends_next(self._part.journal, play.first_seq - 1)
                yield PlayedBlock(play._replace(extended=extended), before, after)
                extended = ends_extended(play.commands)

    def _play(self, engine: MarketEngine) -> Iterator[PlayedBlock]:
        before = engine.directory
        for play in played(self._part.journal, engine, self._part.to_seq):
            after = names_after(before, play.commands, engine)
            if self._lead or play.first_seq + len(play.commands) > self._part.from_seq:
                yield PlayedBlock(play, before, after)
            before = after

    def _read(self) -> Iterator[PlayedBlock]:
        part, start = self._part, self._part.journal.start
        definitions = Definitions(self._history, part)
        now_ns = 0 if start is None else start.time_ns
        extended = False
        for block in part.journal.blocks(None, part.to_seq):
            commands = owned_rows(block.rows)[: part.to_seq - block.first_seq + 1]
            before = replace(definitions.names, now_ns=now_ns)
            refusals = definitions.take(block.first_seq, commands)
            now_ns = block.time_ns  # the clock at its end
            after = replace(definitions.names, now_ns=now_ns)
            if block.last_seq >= part.from_seq:
                whole = len(commands) == block.count
                play = ReplayedBlock(block, block.first_seq, commands, refusals, whole, extended)
                yield PlayedBlock(play, before, after)
            extended = ends_extended(commands)


def gathered(blocks: Iterator[PlayedBlock]) -> Iterator[PlayedBlock]:
    """Blocks that follow each other as one, of ``_GATHERED_ROWS`` or a few more: work on one costs as much for each."""
    held: list[PlayedBlock] = []
    rows = 0
    try:
        for block in blocks:
            if held and block.play.first_seq != held[-1].last_seq + 1:  # a slice between them is missing
                yield as_one(held)
                held, rows = [], 0
            held.append(block)
            rows += len(block.play.commands) + len(block.play.events)
            if rows >= _GATHERED_ROWS:
                yield as_one(held)
                held, rows = [], 0
    except Exception:
        if held:  # what could be read before the damage
            yield as_one(held)
        raise
    if held:
        yield as_one(held)


def as_one(blocks: list[PlayedBlock]) -> PlayedBlock:
    """Blocks that follow each other as one."""
    if len(blocks) == 1:
        return blocks[0]
    commands = concatenate([block.play.commands for block in blocks])
    events = concatenate([block.play.events for block in blocks], EVENT)
    first, last = blocks[0], blocks[-1]
    rows = RowRange(first.play.first_seq, commands, events, first.play.extended)
    return PlayedBlock(rows, first.before, last.after)


def names_after(before: Directory, commands: NDArray[Any], engine: MarketEngine) -> Directory:
    """Directory of an engine after rows: the one before where none of them defines anything."""
    kinds = commands["kind"].tobytes()  # as bytes, since most blocks define nothing
    if any(kind in kinds for kind in _DEFINITIONS):
        return engine.directory
    return before if before.now_ns == engine.now_ns else replace(before, now_ns=engine.now_ns)


def names_at_end(history: History) -> Directory | None:
    """The venue's directory after the last command, out of the definitions alone and without a replay.

    None where it needs a replay: the definitions of slices that are missing count too. Raises JournalError.
    """
    journal = history.last
    definitions = Definitions(history, SliceRange(journal, journal.start_seq + 1, journal.last_seq))
    if not definitions.is_known:
        return None
    for block in journal.blocks(None, None):
        definitions.take(block.first_seq, np.frombuffer(block.rows, COMMAND))
    return definitions.names


def _kept_of(part: SliceRange, notes: list[str], *, can_replay: bool) -> KeptEvents | None:
    """The kept events of a slice; None where there are none, or they are damaged and a replay can give them again."""
    if not part.journal.place.events.exists():
        return None
    try:
        return KeptEvents(part.journal)
    except JournalError as error:
        if not can_replay:
            raise
        notes.append(f"{error}; the events were replayed")
        return None


class Definitions:
    """The names that definitions give, by the rules in force, before a slice and through its blocks.

    The reference engine applies the definitions alone. Of a slice whose predecessors are not all there nothing is
    known before its first definition.
    """

    def __init__(self, history: History, part: SliceRange) -> None:
        from engine.reference import ReferenceEngine

        self._engine = ReferenceEngine(capacity_of(part.journal))
        self._held: NDArray[Any] | None = None  # an EXTEND row at the end of a block
        self._known = part.journal.start is None
        if part.journal.start is not None:
            try:
                for block in history.blocks(1, part.journal.start_seq):
                    self.take(block.first_seq, owned_rows(block.rows), known=True)
                self._known = True
            except (SliceMissing, ReplayError):
                self._known = False

    @property
    def is_known(self) -> bool:
        """False where slices before are missing, and with them what was defined there."""
        return self._known

    @property
    def names(self) -> Directory:
        """Names defined so far; none where those before the slice are not known, since numbers would not be right."""
        return self._engine.directory if self._known else Directory()

    def take(self, first_seq: int, commands: NDArray[Any], *, known: bool = False) -> NDArray[Any]:
        """Take up the definitions of a block; EVENT rows of those that are refused."""
        if not (known or self._known):
            return np.empty(0, EVENT)
        kinds = commands["kind"]
        held, self._held = self._held, commands[-1:].copy() if kinds[-1] == CommandKind.EXTEND else None
        defines = np.isin(kinds, _DEFINITIONS)
        if not defines.any():
            return np.empty(0, EVENT)
        rows = commands.view("V64")  # as bytes: NumPy would pack rows whose places overlap
        if held is not None and defines[0]:
            rows, first_seq = np.concatenate((held.view("V64"), rows)), first_seq - 1
            kinds, defines = rows.view(COMMAND)["kind"], np.append(False, defines)
        # An EXTEND row before a definition makes it invalid.
        extends = (kinds == CommandKind.EXTEND) & np.append(defines[1:], False)
        at = np.flatnonzero(defines | extends)
        first = self._engine.seq + 1
        events = self._engine.apply(rows[at].view(COMMAND))
        events["seq"] = first_seq + at[events["seq"] - first]
        return events
