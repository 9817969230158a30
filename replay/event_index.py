"""The event index: events of a journal as columns in files beside it, so that a question need not replay to select.

    DIR/index/000001-00000000000000000001-00000000000001048576.events      slice, first and last command

It is a fold over the journal and never the truth: it may be deleted at any time, and is made again by the next question
that needs it. A file belongs to its journal by the checksum of the block where it ends, which is chained over all
blocks before; a file that is torn, of another journal or of another form is left out and written anew. What the index
selects is read from the journal's own blocks, which are verified as ever.

A file has up to ``PART_COMMANDS``; the last one is written anew, longer, once enough commands came. Where nothing can
be written (no right to, or a disk that fills up) questions replay. What came after the files is replayed into a part
that is in memory alone.
"""

import errno
import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.market_time import ClockPosition, clock_rows, ends_extended
from engine.names import Directory
from engine.records import EVENT, RULES_VERSION, CommandKind, EventKind, concatenate
from journal import Journal, JournalDamaged
from journal.columns import Columns, write_columns
from journal.history import History, SliceRange
from replay.errors import Divergence, IndexHasNoRoom
from replay.event_columns import PLACES, Arrays, Column, decoded, encoded, rows_of
from replay.past import PastSlice, PlayedBlock
from replay.rebuild import ReplayedBlock, extends_next
from replay.sketches import BYTES_A_COMMAND, EVERY_COMMANDS, Sketching, newest_sketch, size_of_sketches

FOLDER: Final = "index"
VERSION: Final = 1
#: Commands of a file; the block with the last may have more.
PART_COMMANDS: Final = 1 << 20
#: Events of a piece, whose columns are searched at once.
PIECE_EVENTS: Final = 1 << 16
#: Commands that are replayed rather than indexed.
WORTH_COMMANDS: Final = 1 << 18
#: Bytes of an event in a file, at most about that; and the share of the disk that stays free: a node refuses orders on
#: a disk that is nearly full, and a question must not bring it there.
_EVENT_BYTES: Final = 40
_KEPT_FREE: Final = 0.15
_NAME: Final = re.compile(r"(\d{6})-(\d{20})-(\d{20})\.events")
_ORDERS: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
_DEFINITIONS: Final = (CommandKind.INSTRUMENT, CommandKind.PARTICIPANT)

Progress = Callable[[int, int], None]


class Definition(NamedTuple):
    """Name that a command gave to the next number of an instrument, or of a participant."""

    seq: int
    is_symbol: bool
    name: str


class Piece:
    """Events of the commands ``first_seq`` to ``last_seq``, by columns."""

    def __init__(self, part: "Part", number: int, first_seq: int, last_seq: int, rows: int) -> None:
        self.first_seq, self.last_seq, self.rows = first_seq, last_seq, rows
        self._part, self._number = part, number
        self._columns: dict[str, Column] = {}

    def column(self, place: str) -> Column:
        """A place of all rows. Raises JournalDamaged."""
        if place not in self._columns:
            name = f"{self._number}.{place}"
            self._columns[place] = decoded(self._part.array, name, is_sparse=f"{name}?" in self._part)
        return self._columns[place]

    def events(self, at: NDArray[np.intp]) -> NDArray[Any]:
        """EVENT rows at indices."""
        return rows_of(self.column, at)

    def all_events(self, room: NDArray[Any]) -> NDArray[Any]:
        """All EVENT rows, in the front of ``room``, which has as many or more. Raises JournalDamaged."""
        rows = room[: self.rows]
        for place in PLACES:
            self.column(place).fill(rows[place])
        self._columns.clear()
        return rows


class Part:
    """Events of a range of commands, from a file or in memory."""

    def __init__(self, meta: dict[str, Any], source: "Columns | Arrays") -> None:
        self.meta, self._source = meta, source
        self.first_seq, self.last_seq = int(meta["first_seq"]), int(meta["last_seq"])
        self.before = Directory(tuple(meta["symbols"]), tuple(meta["participants"]), int(meta["now_ns"]))
        self.definitions = [Definition(*each) for each in meta["definitions"]]
        self.pieces = [Piece(self, number, *each) for number, each in enumerate(meta["pieces"])]

    @property
    def path(self) -> Path | None:
        """The file; None for a part in memory."""
        return self._source.path if isinstance(self._source, Columns) else None

    def array(self, name: str) -> tuple[str, int, "bytes | memoryview"]:
        """Type, length and bytes of an array. Raises JournalDamaged, after which the file is gone: the next question
        writes it anew."""
        if not isinstance(self._source, Columns):
            return self._source[name]
        try:
            return self._source.array(name)
        except JournalDamaged:
            with suppress(OSError):
                self._source.path.unlink()
            raise

    def __contains__(self, name: str) -> bool:
        return name in self._source

    @property
    def special(self) -> NDArray[np.int64]:
        """Numbers of the commands whose events do not say whom they are about, rising."""
        return self._numbers("special")

    @cached_property
    def clock(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the CLOCK rows that the engine takes, and the clock before all and after each (ns).

        Raises JournalDamaged.
        """
        return self._numbers("clock.seq"), np.concatenate(([self.before.now_ns], self._numbers("clock.ns")))

    def clock_at(self, seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        """The clock in force at commands (ns): a CLOCK row that the engine takes already counts at itself."""
        changes, times_ns = self.clock
        found: NDArray[np.int64] = times_ns[np.searchsorted(changes, seqs, "right")]
        return found

    def _numbers(self, name: str) -> NDArray[np.int64]:
        return decoded(self.array, name, is_sparse=f"{name}?" in self).all()


@dataclass(frozen=True)
class EventIndex:
    """Parts that follow each other and hold all events of a range of commands."""

    parts: Sequence[Part]

    @property
    def bytes(self) -> int:
        """Size of its files, with the sketches beside them."""
        files = {part.path for part in self.parts if part.path is not None}
        sketches = sum(size_of_sketches(folder) for folder in {path.parent for path in files})
        return sketches + sum(path.stat().st_size for path in files)

    def names_at(self, seq: int) -> Directory:
        """The venue's directory after a command."""
        part = next(part for part in reversed(self.parts) if part.first_seq <= max(seq, self.parts[0].first_seq))
        taken = [each for each in part.definitions if each.seq <= seq]
        symbols = (*part.before.symbols, *(each.name for each in taken if each.is_symbol))
        participants = (*part.before.participants, *(each.name for each in taken if not each.is_symbol))
        now_ns = int(part.clock_at(np.array([seq]))[0])
        return Directory(symbols, participants, now_ns)


def open_index(
    history: History,
    from_seq: int,
    to_seq: int,
    *,
    prepare: Callable[[], object],
    progress: Progress,
    makes: bool = True,
    insists: bool = False,
) -> EventIndex | None:
    """The index of a range of commands; None where a replay is as good, or no index can be had.

    ``makes``: files that are missing and worth it are written. ``insists``: raise what prevents that, OSError,
    IndexHasNoRoom, JournalDamaged or Divergence. Raises what a replay raises.
    """
    found: list[Part] = []
    for slice_ in history.ranges(from_seq, to_seq):
        parts = _parts(history.path, slice_.journal)
        covered = parts[-1].last_seq if parts else slice_.journal.start_seq
        missing = slice_.to_seq - max(covered, slice_.from_seq - 1)
        if missing >= WORTH_COMMANDS and makes:
            try:
                parts = _made(history, slice_.journal, parts, prepare, progress)
            except (OSError, IndexHasNoRoom, JournalDamaged, Divergence):
                if insists:
                    raise
                return None
            covered = parts[-1].last_seq
        if covered < slice_.to_seq:
            if not parts or slice_.to_seq - covered >= WORTH_COMMANDS:
                return None
            part = SliceRange(slice_.journal, covered + 1, slice_.to_seq)
            parts += [Part(*each) for each in _built(history, part, prepare, progress)]
        found += [each for each in parts if each.first_seq <= slice_.to_seq and each.last_seq >= slice_.from_seq]
    return EventIndex(found) if found else None


def sketch_slices(history: History, *, prepare: Callable[[], object], progress: Progress) -> None:
    """Write sketches of the slices that have none of use, and are long enough for one and of our rules.

    Those that were indexed before there were sketches, or by a release with another form of the state, are replayed
    for it. Raises OSError, and what a replay raises.
    """
    folder = history.path / FOLDER
    for slice_ in history.ranges(history.there_from_seq, history.last_seq):
        journal = slice_.journal
        commands = slice_.to_seq - journal.start_seq
        if commands < EVERY_COMMANDS or newest_sketch(folder, journal, slice_.to_seq) is not None:
            continue
        if int(journal.meta.get("rules_version", RULES_VERSION)) != RULES_VERSION or not folder.exists():
            continue
        part = SliceRange(journal, journal.start_seq + 1, slice_.to_seq)
        source = PastSlice(history, part, need_engine=True, prepare=prepare)
        sketching = Sketching(folder, journal, part.from_seq)
        for block in source.blocks():
            assert isinstance(block.play, ReplayedBlock), "an engine plays block by block"
            sketching.look(source.engine, block.play.block)
            progress(block.last_seq - journal.start_seq, commands)


def indexed_events(directory: Path, journal: Journal, from_seq: int, to_seq: int) -> NDArray[Any] | None:
    """EVENT rows of a range of commands of a slice by its files; None where no file has them all."""
    for part in _parts(directory, journal):
        if part.first_seq <= from_seq and to_seq <= part.last_seq:
            rows = [
                piece.events(np.flatnonzero((seqs >= from_seq) & (seqs <= to_seq)))
                for piece in part.pieces
                if piece.first_seq <= to_seq and piece.last_seq >= from_seq
                for seqs in (piece.column("seq").all(),)
            ]
            return concatenate(rows, EVENT)
    return None


def _parts(directory: Path, journal: Journal) -> list[Part]:
    """The files of a slice that are whole, are of this journal and follow each other from its start."""
    named: dict[int, list[tuple[int, Path]]] = {}
    with suppress(OSError):
        for name in sorted(os.listdir(directory / FOLDER)):
            match = _NAME.fullmatch(name)
            if match and int(match[1]) == journal.place.number:
                named.setdefault(int(match[2]), []).append((int(match[3]), directory / FOLDER / name))
    parts: list[Part] = []
    next_seq = journal.start_seq + 1
    while next_seq in named:
        choices = sorted(named[next_seq], reverse=True)
        part = next((part for _, path in choices if (part := _part(path, journal, next_seq)) is not None), None)
        if part is None:
            break
        parts.append(part)
        next_seq = part.last_seq + 1
    return parts


def _part(path: Path, journal: Journal, first_seq: int) -> Part | None:
    """The part in a file; None where it is not one of this journal that begins with a command."""
    try:
        columns = Columns(path)
        meta = columns.meta
        if (meta["version"], meta["form"], meta["first_seq"]) != (VERSION, _form(), first_seq):
            return None
        if meta["last_seq"] > journal.last_seq:
            return None
        block = next(iter(journal.blocks(meta["last_seq"], meta["last_seq"])), None)
        if block is None or (block.last_seq, block.checksum) != (meta["last_seq"], meta["link"]):
            return None
        return Part(meta, columns)
    except (OSError, ValueError, KeyError, TypeError, JournalDamaged):
        return None


def _form() -> str:
    """The form of an EVENT row in words: a file of another one is of no use."""
    assert EVENT.fields is not None, "a row has places"
    return str([(place, str(EVENT.fields[place])) for place in PLACES])


def _made(
    history: History, journal: Journal, parts: list[Part], prepare: Callable[[], object], progress: Progress
) -> list[Part]:
    """The parts of a slice up to its end, those that are missing written.

    Raises OSError and IndexHasNoRoom where they cannot be written, JournalDamaged, Divergence.
    """
    whole = [part for part in parts if part.last_seq - part.first_seq + 1 >= PART_COMMANDS]
    kept = parts[: len(whole)] if parts[: len(whole)] == whole else []
    begin = kept[-1].last_seq + 1 if kept else journal.start_seq + 1
    end = journal.last_seq
    folder = history.path / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _check_room(folder, end - begin + 1)
        _clear(folder)
        sketching = Sketching(folder, journal, begin)
        with closing(_built(history, SliceRange(journal, begin, end), prepare, progress, sketching)) as built:
            for meta, arrays in built:
                name = f"{journal.place.number:06}-{meta['first_seq']:020}-{meta['last_seq']:020}.events"
                write_columns(folder / name, meta, arrays)
                kept.append(Part(meta, Columns(folder / name)))
        _remove_others(folder, journal.place.number, kept)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(folder)) from error
    return kept


def _check_room(folder: Path, commands: int) -> None:
    """Raise IndexHasNoRoom where an index of so many commands would leave too little of the disk free."""
    disk = os.statvfs(folder)
    size_bytes = (_EVENT_BYTES * 2 + BYTES_A_COMMAND) * commands
    if disk.f_bavail * disk.f_frsize - size_bytes < _KEPT_FREE * disk.f_blocks * disk.f_frsize:
        raise IndexHasNoRoom(
            f"an index of {commands:,} commands may take {-(-size_bytes // (1 << 20)):,} MiB in {folder}, which would "
            f"leave less than {_KEPT_FREE:.0%} of the disk free, and a node refuses orders on a disk that is nearly "
            "full; free some space and run again"
        )


def _clear(folder: Path) -> None:
    """Remove what writers left that are no more."""
    for path in folder.glob("*.tmp"):
        if not Path("/proc", path.name.split(".")[-2]).exists():
            path.unlink(missing_ok=True)


def _remove_others(folder: Path, number: int, parts: list[Part]) -> None:
    """Remove the files of a slice that are none of its parts: shorter ones, and such as cannot be used."""
    ours = {part.path.name for part in parts if part.path is not None}
    for name in os.listdir(folder):
        match = _NAME.fullmatch(name)
        if match and int(match[1]) == number and name not in ours:
            (folder / name).unlink(missing_ok=True)


def _built(
    history: History,
    slice_: SliceRange,
    prepare: Callable[[], object],
    progress: Progress,
    sketching: Sketching | None = None,
) -> Generator[tuple[dict[str, Any], Arrays], None, None]:
    """The parts of a range of a slice, each as plain values and arrays. Raises what a replay raises.

    ``sketching``: sketches the market on the way.
    """
    source = PastSlice(history, slice_, prepare=prepare)
    building: _Building | None = None
    began = slice_.from_seq - 1
    extended = extends_next(slice_.journal, began)
    for block in source.blocks():
        if building is None:
            building = _Building(slice_.journal, block.play.first_seq, block.before, extended=extended)
        building.add(block)
        if sketching is not None and isinstance(block.play, ReplayedBlock):
            sketching.look(source.engine, block.play.block)
        progress(block.last_seq - began, slice_.to_seq - began)
        if block.last_seq - building.first_seq + 1 >= PART_COMMANDS or block.last_seq == slice_.to_seq:
            engine = source.engine
            yield building.finished(None if engine is None else engine.event_digest)
            extended = building.position.extended
            building = None


class _Building:
    """A part while blocks come."""

    def __init__(self, journal: Journal, first_seq: int, before: Directory, *, extended: bool) -> None:
        self.first_seq, self._before, self._journal = first_seq, before, journal
        self.position = ClockPosition(before.now_ns, extended)  # a CLOCK row after an EXTEND row is refused
        self._arrays: Arrays = {}
        self._pieces: list[tuple[int, int, int]] = []
        self._definitions: list[tuple[int, bool, str]] = []
        self._special: list[NDArray[np.int64]] = []
        self._clock: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
        self._held: list[PlayedBlock] = []
        self._events = 0
        self._last: PlayedBlock | None = None

    def add(self, block: PlayedBlock) -> None:
        """Take up the next block."""
        self._held.append(block)
        self._last = block
        self._events += len(block.play.events)
        for is_symbol, old, new in (
            (True, block.before.symbols, block.after.symbols),
            (False, block.before.participants, block.after.participants),
        ):
            if len(new) > len(old):
                self._define(block, is_symbol, new[len(old) :])
        # Commands of a piece without events are counted too, so that a quiet night does not fill the memory.
        if self._events >= PIECE_EVENTS or len(self._held) >= PIECE_EVENTS:
            self._flush()

    def _define(self, block: PlayedBlock, is_symbol: bool, names: tuple[str, ...]) -> None:
        kind = _DEFINITIONS[0 if is_symbol else 1]
        play = block.play
        refused = set(play.events["seq"][play.events["kind"] == EventKind.REJECTED].tolist())
        at = [
            seq
            for seq in (play.first_seq + np.flatnonzero(play.commands["kind"] == kind)).tolist()
            if seq not in refused
        ]
        self._definitions += [(seq, is_symbol, name) for seq, name in zip(at, names, strict=True)]

    def _flush(self) -> None:
        if not self._held:
            return
        first, last = self._held[0], self._held[-1]
        commands = concatenate([block.play.commands for block in self._held])
        events = concatenate([block.play.events for block in self._held], EVENT)
        first_seq = first.play.first_seq
        for place in PLACES:
            self._arrays |= encoded(np.ascontiguousarray(events[place]), f"{len(self._pieces)}.{place}")
        self._pieces.append((first_seq, last.last_seq, len(events)))
        self._special.append(first_seq + _special(commands, events, first_seq))
        at, values_ns = clock_rows(commands, self.position)
        self.position = ClockPosition(last.after.now_ns, ends_extended(commands))
        self._clock[0].append(first_seq + at.astype(np.int64))
        self._clock[1].append(values_ns.copy())
        self._held, self._events = [], 0

    def finished(self, event_digest: bytes | None) -> tuple[dict[str, Any], Arrays]:
        """The part. Raises Divergence where a replay gave other events than the journal recorded."""
        self._flush()
        last = self._last
        assert last is not None, "a part has a block"
        assert isinstance(last.play, ReplayedBlock), "the past is given block by block"
        block = last.play.block
        recorded = self._journal.digest(block.first_seq)
        is_whole = last.last_seq == block.last_seq
        if is_whole and None not in (recorded, event_digest) and recorded != event_digest:
            raise Divergence(f"the events up to command {block.last_seq:,} are not those that the journal recorded")
        for name, parts in (("special", self._special), ("clock.seq", self._clock[0]), ("clock.ns", self._clock[1])):
            self._arrays |= encoded(np.concatenate(parts), name)
        meta = {
            "version": VERSION,
            "form": _form(),
            "first_seq": self.first_seq,
            "last_seq": last.last_seq,
            "link": block.checksum,
            "symbols": self._before.symbols,
            "participants": self._before.participants,
            "now_ns": self._before.now_ns,
            "definitions": self._definitions,
            "pieces": self._pieces,
        }
        return meta, self._arrays


def _special(commands: NDArray[Any], events: NDArray[Any], first_seq: int) -> NDArray[np.int64]:
    """Indices of the commands whose first event does not name their participant and instrument, save CLOCK rows: what
    the operator does, and orders that were refused before these were known."""
    kinds = commands["kind"]
    special: NDArray[np.bool_] = ~np.isin(kinds, (*_ORDERS, CommandKind.CLOCK, CommandKind.EXTEND))
    orders = np.flatnonzero(np.isin(kinds, _ORDERS))
    if len(orders):
        seqs = np.ascontiguousarray(events["seq"])
        at = np.searchsorted(seqs, first_seq + orders)
        there = at < len(events)
        at = np.minimum(at, max(len(events) - 1, 0))
        named = there.copy()
        if len(events):
            named &= seqs[at] == first_seq + orders
            own = commands["participant"][orders]
            named &= (own != 0) & (events["participant"][at] == own)
            is_enter = kinds[orders] == CommandKind.ENTER
            instrument = commands["instrument"][orders]
            named &= ~is_enter | ((instrument != 0) & (events["instrument"][at] == instrument))
        special[orders[~named]] = True
    return np.flatnonzero(special)
