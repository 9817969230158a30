"""A market at any command of a directory, stepped forward and back.

An engine goes forward only. To step back, it begins again at a state before and replays what lies between. So states
are kept in memory on the way to a command: one a little before it, and further ones at distances that grow, so that
each next step back replays a few thousand commands, and a long way back begins at a state that is near, or at a
checkpoint.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from numpy.typing import NDArray

from checkpoints import CheckpointStore
from engine.interface import MarketEngine, StatefulEngine, restore_engine
from engine.names import Directory
from engine.records import COMMAND, EVENT, CommandKind, concatenate
from journal import Journal
from journal.history import History
from replay.errors import ReplayError
from replay.rebuild import check_rules, name_of, owned_rows, played, start

#: Commands before the one that is asked for at which states are kept.
_DISTANCES: Final = (1_024, 8_192, 65_536, 524_288)
#: Memory of states that are kept, and their least number.
_KEPT_BYTES: Final = 256_000_000
_KEPT_LEAST: Final = 2


class Stopped(Exception):
    """A replay was not wanted any more."""


class Moment(NamedTuple):
    """A market after a command, and how it came to be.

    ``rows``: its COMMAND rows from ``first_seq`` to ``seq``: an EXTEND row, if there is one, and its own. ``before``:
    the venue's directory before it. ``engine``: after it, until the next call.
    """

    seq: int
    first_seq: int
    rows: NDArray[Any]
    events: NDArray[Any]
    before: Directory
    engine: MarketEngine


class _Kept(NamedTuple):
    """A state in memory."""

    seq: int
    slice_number: int
    capacity: Any
    digest: bytes
    parts: dict[str, dict[str, NDArray[Any]]]

    @property
    def size_bytes(self) -> int:
        """Its memory."""
        return sum(array.nbytes for part in self.parts.values() for array in part.values())


class Walk:
    """Walk through the commands of a data directory, which a node may be writing. One thread uses it.

    ``prepare``: called before an engine is made. ``notes``: sentences for the user. ``divergence``: the first block
    that the replay gives another event digest than the journal records, as a sentence.
    """

    def __init__(self, directory: Path, prepare: Callable[[], object] = lambda: None) -> None:
        self._directory, self._prepare = directory, prepare
        self._engine: MarketEngine | None = None
        self._slice = 0
        self._kept: list[_Kept] = []
        self.notes: list[str] = []
        self.divergence = ""
        #: Commands replayed so far: what steps cost.
        self.replayed = 0

    def last_seq(self) -> int:
        """The last command that the directory has now. Raises JournalError."""
        with Journal.open(self._directory, readonly=True) as journal:
            return journal.last_seq

    def first_seq(self) -> int:
        """The first command after the last missing slice."""
        with History.open(self._directory) as history:
            return history.there_from_seq

    def at(self, seq: int, stopped: Callable[[], bool] = lambda: False) -> Moment:
        """The market after command ``seq``, from 1; of an EXTEND row after the command that it extends.

        ``stopped``: asked after each block; where it is true, Stopped is raised. Raises what replay and journal raise.
        """
        with History.open(self._directory) as history:
            journal = history.slice_of(seq)
            first, last = _unit(journal, seq)
            self._go(history, journal, first - 1, stopped)
            engine = self._engine
            assert engine is not None, "it was made on the way"
            before = engine.directory
            plays = [(play.commands, play.events) for play in played(journal, engine, last)]
            if engine.seq != last:
                raise ReplayError(f"there is no command {last:,} in {self._directory}: it ends at {engine.seq:,}")
            self.replayed += last - first + 1
            rows = concatenate([commands for commands, _ in plays], COMMAND)
            return Moment(last, first, rows, concatenate([events for _, events in plays], EVENT), before, engine)

    def _go(self, history: History, journal: Journal, seq: int, stopped: Callable[[], bool]) -> None:
        """Bring the engine to the state after ``seq``, which is in this slice or before its first command."""
        number = journal.place.number
        check_rules(name_of(history, journal), int(journal.meta.get("rules_version", 0)))
        here = self._engine if self._slice == number else None
        if here is not None and here.seq == seq:
            return
        near = [each for each in self._kept if each.slice_number == number and each.seq <= seq]
        best = max(near, key=lambda each: each.seq, default=None)
        begin = max((info.seq for info in _images(journal) if info.seq <= seq), default=journal.start_seq)
        if here is not None and here.seq <= seq and here.seq >= max(begin, best.seq if best else 0):
            engine = here
        elif best is not None and best.seq >= begin:
            engine = restore_engine("kernel", best.capacity, best.seq, best.digest, best.parts)
        else:
            self._prepare()
            notes: list[str] = []
            engine = start(journal, history.path, seq, "kernel", True, notes)
            self.notes += [note for note in notes if note not in self.notes]
        self._engine, self._slice = engine, number
        try:
            for stop in self._stops(engine.seq, seq):
                self._play(journal, engine, stop, stopped)
                if stop < seq:
                    self._keep(engine, number)
        except BaseException:
            self._engine = None  # it may be in the middle of a block
            raise

    @staticmethod
    def _stops(from_seq: int, to_seq: int) -> list[int]:
        """Commands at which states are kept on the way, and its end; none on a way that is short."""
        return [to_seq - each for each in reversed(_DISTANCES) if to_seq - each > from_seq] + [to_seq]

    def _play(self, journal: Journal, engine: MarketEngine, to_seq: int, stopped: Callable[[], bool]) -> None:
        for play in played(journal, engine, to_seq):
            self.replayed += len(play.commands)
            recorded = journal.digest(play.block.first_seq) if play.whole else None
            if recorded not in (None, engine.event_digest) and not self.divergence:
                self.divergence = (
                    f"the replay differs from the record in commands {play.block.first_seq:,} to "
                    f"{play.block.last_seq:,}; run `lockstep compare {self._directory} --state`"
                )
            if stopped():
                raise Stopped

    def _keep(self, engine: MarketEngine, number: int) -> None:
        """Keep the state; of too many, the one kept first goes."""
        if any((each.slice_number, each.seq) == (number, engine.seq) for each in self._kept):
            return
        parts = {
            part: {name: array.copy() for name, array in each.items()}
            for part, each in cast(StatefulEngine, engine).parts().items()
        }
        self._kept.append(_Kept(engine.seq, number, engine.capacity, engine.event_digest, parts))
        while len(self._kept) > _KEPT_LEAST and sum(each.size_bytes for each in self._kept) > _KEPT_BYTES:
            self._kept.pop(0)


def _images(journal: Journal) -> list[Any]:
    """Checkpoints of a slice that look whole."""
    return [info for info in CheckpointStore(journal.place.folder).list() if info.valid]


def _unit(journal: Journal, seq: int) -> tuple[int, int]:
    """First and last row of the command that row ``seq`` belongs to. Raises ReplayError where there is none."""
    from_seq, to_seq = max(seq - 1, journal.start_seq + 1), min(seq + 1, journal.last_seq)
    kinds = {}
    for block in journal.blocks(from_seq, to_seq):
        rows = owned_rows(block.rows)
        for each in range(max(from_seq, block.first_seq), min(to_seq, block.last_seq) + 1):
            kinds[each] = int(rows["kind"][each - block.first_seq])
    if seq not in kinds:
        raise ReplayError(f"there is no command {seq:,} in {journal.path}: it ends at {journal.last_seq:,}")
    extends = {each for each, kind in kinds.items() if kind == CommandKind.EXTEND}
    if seq in extends and seq + 1 in kinds and seq + 1 not in extends:
        return seq, seq + 1
    if seq not in extends and seq - 1 in extends:
        return seq - 1, seq
    return seq, seq
