"""Excerpts of a journal: the commands and events that a selection may have, out of the event index.

The index (``replay.event_index``) says which commands and events can be of a selection. These are put together with the
journal's own blocks, all of which are read and verified, so that a selection of them gives what it gives of a replay.
Where it might not, as where an order was entered so long ago that a replay would not know it, there is no excerpt, and
the caller replays.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from checkpoints import CheckpointStore
from cli import screen
from cli.questions.choice import LIFE, Choice, OrderIds, Selection, number_of, picked
from cli.questions.reading import check_begins, note_side_files
from cli.warmup import ready
from engine.market_time import ClockPosition, clock_at_each
from engine.names import Directory
from engine.records import COMMAND, EVENT, CommandKind, EventKind, Reason, concatenate
from journal import JournalError
from journal.history import History
from replay.errors import ReplayError
from replay.event_index import EventIndex, Part, Piece, open_index
from replay.past import PlayedRows
from replay.rebuild import check_range

_REFUSALS: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)
_FOLLOWED: Final = (CommandKind.CANCEL, CommandKind.REPLACE)
#: Rows above which a replay is as good.
_ROWS_MAX: Final = 2_000_000
_ROW: Final = np.dtype(f"V{COMMAND.itemsize}")


class Excerpt(NamedTuple):
    """Commands of a journal and their events, not all of a range: COMMAND rows, their numbers, EVENT rows, the clock at
    commands by their numbers (ns), and the venue's directory before and after them."""

    rows: NDArray[Any]
    seqs: NDArray[np.int64]
    events: NDArray[Any]
    clock_at: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    before: Directory
    names: Directory


class CommandRows(Enum):
    """The COMMAND rows of an excerpt: of all commands in it, or of those alone that say more than their events."""

    ALL = 1
    TELLING = 2


def excerpt_of(play: PlayedRows, before: Directory, names: Directory) -> Excerpt:
    """All commands of a range."""
    first_seq, count = play.first_seq, len(play.commands)
    times_ns: NDArray[np.int64] | None = None

    def clock_at(seqs: NDArray[np.int64]) -> NDArray[np.int64]:
        nonlocal times_ns
        if times_ns is None:
            each = clock_at_each(play.commands, ClockPosition(before.now_ns, play.extended))
            times_ns = np.concatenate((np.array([before.now_ns], np.int64), each))
        return times_ns[seqs - first_seq + 1]

    return Excerpt(play.commands, np.arange(first_seq, first_seq + count), play.events, clock_at, before, names)


@contextmanager
def indexed(directory: Path, choice: Choice, what: CommandRows) -> Generator[Iterator[Excerpt] | None, None, None]:
    """The excerpts that a selection may have, by the index; None where the caller must replay."""
    selection = choice.selection
    of_events = what is CommandRows.TELLING
    names_some = selection.participant or selection.contra or selection.symbol or selection.reasons
    if selection.follows or not (names_some or (of_events and (selection.kinds or selection.price))):
        yield None
        return
    with History.open(directory) as history:
        try:
            found = _Search(history, choice, of_events=of_events).found()
        except (JournalError, ReplayError):  # a replay prints what is before the damage
            found = None
        yield found


class _Search:
    """Search of an index for a selection."""

    def __init__(self, history: History, choice: Choice, *, of_events: bool) -> None:
        self._history, self._choice, self._of_events = history, choice, of_events
        self._from_seq = choice.selection.from_seq or history.first_seq
        self._names = Directory()

    def found(self) -> Iterator[Excerpt] | None:
        """The excerpts; None where the caller must replay. Raises JournalError, ReplayError."""
        history, selection = self._history, self._choice.selection
        check_begins(history, self._from_seq)
        history.last.info()  # raises for a journal whose end is not known
        to_seq = check_range(history.path, self._from_seq, selection.to_seq, history.last_seq)
        begin = self._known_from()
        with screen.Bar("indexing") as bar:
            index = open_index(history, begin + 1, to_seq, prepare=ready, progress=bar.to)
        if index is None:
            return None
        self._names = index.names_at(to_seq)
        masks = _Masks(selection, self._choice.kinds if self._of_events else None, self._names)
        parts = [part for part in index.parts if part.last_seq >= self._from_seq]
        chosen = [self._chosen(part, masks, to_seq) for part in parts]
        if sum(len(seqs) + len(events) for seqs, events in chosen) > _ROWS_MAX:
            return None
        for part in parts:
            _ = part.clock  # before anything is printed: a damaged file is found here
        found = self._read(np.unique(np.concatenate([seqs for seqs, _ in chosen])), to_seq)
        if found is None:
            return None
        events = [events for _, events in chosen]
        is_known = not selection.by_order or self._knows_orders(index, *found, concatenate(events, EVENT), begin)
        if not is_known:
            return None
        for slice_ in history.ranges(self._from_seq, to_seq):
            note_side_files(slice_.journal)
        return _excerpts(parts, events, *found, (index.names_at(self._from_seq - 1), self._names))

    def _known_from(self) -> int:
        """The command after which the events are needed: where a replay of the selection may begin, or the one before
        it."""
        if not self._choice.selection.by_order:
            return self._from_seq - 1
        journal = self._history.slice_of(self._from_seq)
        images = [image.seq for image in CheckpointStore(journal.place.folder).list() if image.seq < self._from_seq]
        return max([journal.start_seq, *images])

    def _chosen(self, part: Part, masks: "_Masks", to_seq: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Numbers of the commands of a part that are read, and the EVENT rows that may be of the selection."""
        if self._of_events:
            rows = [piece.events(self._within(piece, masks.all_of(piece), to_seq)) for piece in part.pieces]
            events = concatenate(rows, EVENT)
            is_read = np.zeros(len(events), np.bool_)
            if self._choice.selection.by_order:
                is_read |= np.isin(events["kind"], _REFUSALS)
            if self._choice.selection.of_disconnects:
                is_read |= (events["kind"] == EventKind.CANCELED) & (events["reason"] == Reason.USER)
            return np.unique(events["seq"][is_read]), events
        wanted = masks.commands(part)
        defined = [each.seq for each in part.definitions]
        wanted[np.array(defined, np.int64) - part.first_seq] = True
        wanted[: max(0, self._from_seq - part.first_seq)] = False
        wanted[max(0, to_seq + 1 - part.first_seq) :] = False
        rows = []
        for piece in part.pieces:
            if wanted[piece.first_seq - part.first_seq : piece.last_seq + 1 - part.first_seq].any():
                rows.append(piece.events(np.flatnonzero(wanted[piece.column("seq").all() - part.first_seq])))
        return part.first_seq + np.flatnonzero(wanted), concatenate(rows, EVENT)

    def _within(self, piece: Piece, wanted: NDArray[np.bool_], to_seq: int) -> NDArray[np.intp]:
        """Indices of the wanted rows of a piece that are in the range of the selection."""
        at = np.flatnonzero(wanted)
        if piece.first_seq < self._from_seq or piece.last_seq > to_seq:
            seqs = piece.column("seq").at(at)
            at = at[(seqs >= self._from_seq) & (seqs <= to_seq)]
        return at

    def _read(self, wanted: NDArray[np.int64], to_seq: int) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
        """COMMAND rows of commands with the EXTEND rows before them, and their numbers, out of the journal.

        None where the range ends with an EXTEND row. Every block of the range is read. Raises JournalError.
        """
        begin = max(self._from_seq - 1, self._history.slice_of(self._from_seq).start_seq + 1)
        near = wanted
        if not self._of_events:
            near = np.unique(np.concatenate((wanted - 1, wanted, wanted + 1, [to_seq])))
            near = near[(near >= begin) & (near <= to_seq)]
        found = [np.empty(0, _ROW)]
        for block in self._history.blocks(begin, to_seq):
            low, high = np.searchsorted(near, (block.first_seq, block.last_seq + 1)).tolist()
            if low < high:
                found.append(np.frombuffer(block.rows, _ROW)[near[low:high] - block.first_seq])
        rows: NDArray[Any] = np.concatenate(found).view(COMMAND)
        if len(rows) != len(near):
            return None
        if self._of_events:
            return rows, near
        extends = rows["kind"] == CommandKind.EXTEND
        if extends[-1]:
            return None
        goes_on = np.zeros(len(rows), np.bool_)
        goes_on[:-1] = extends[:-1] & ~extends[1:] & (np.diff(near) == 1)
        kept = np.isin(near, wanted) & ~goes_on
        kept[:-1] |= goes_on[:-1] & kept[1:]
        return picked(rows, np.flatnonzero(kept)), near[kept]

    def _knows_orders(
        self, index: EventIndex, rows: NDArray[Any], seqs: NDArray[np.int64], events: NDArray[Any], begin: int
    ) -> bool:
        """Teach the choice the orders of refused commands; false where a replay might know another one."""
        followed = np.isin(rows["kind"], _FOLLOWED)
        if not self._of_events:
            first = np.append(True, np.diff(events["seq"]) != 0)[: len(events)]
            known = first & np.isin(events["kind"], LIFE) & (events["instrument"] != 0)
            followed &= ~np.isin(seqs, events["seq"][known])
        choice = self._choice
        choice.learns = False
        if not followed.any():
            return True
        asked, asked_seqs = picked(rows, np.flatnonzero(followed)), seqs[followed]
        ids = np.unique(asked["client_order_id"])
        for block in self._history.blocks(begin + 1, int(asked_seqs[-1])):
            commands = np.frombuffer(block.rows, COMMAND)
            at = np.flatnonzero(commands["kind"] == CommandKind.ENTER)
            at = at[_among(commands["client_order_id"][at], ids)]
            at = at[block.first_seq + at > begin]
            if len(at):
                choice.ids.learn_block(picked(commands, at), np.empty(0, EVENT), block.first_seq + at)
        for part in index.parts:
            for piece in part.pieces:
                at = np.flatnonzero(piece.column("kind").among(np.array([EventKind.REPLACED])))
                if len(at):
                    at = at[_among(piece.column("contra_client_order_id").at(at), ids)]
                    replaced = piece.events(at)
                    replaced = picked(replaced, np.flatnonzero(replaced["seq"] > begin))
                    choice.ids.learn_block(np.empty(0, COMMAND), replaced, np.empty(0, np.int64))
        instruments, _ = choice.ids.orders(asked["participant"], asked["client_order_id"], asked_seqs)
        if begin == 0 or instruments.all():
            return True
        choice.ids, choice.learns = OrderIds(), True
        return False


class _Masks:
    """Masks of the rows of a piece that may be of a selection. ``kinds``: codes of kinds of events; None for all."""

    def __init__(self, selection: Selection, kinds: NDArray[np.uint8] | None, names: Directory) -> None:
        self._price_e4 = selection.price_e4
        self._kinds, self._reasons, self._has_side = kinds, selection.event_reasons, selection.side is not None
        self._participant, self._contra = (
            None if name is None else number_of(names.participants, name)
            for name in (selection.participant, selection.contra)
        )
        self._symbol = None if selection.symbol is None else number_of(names.symbols, selection.symbol)

    def all_of(self, piece: Piece) -> NDArray[np.bool_]:
        """Mask of the events."""
        found = np.ones(piece.rows, np.bool_)
        if self._kinds is not None:
            found &= piece.column("kind").among(np.sort(self._kinds).astype(np.int64))
        if self._price_e4 is not None:
            found &= piece.column("price_e4").among(np.array([self._price_e4]))
        for mask in self._each(piece).values():
            found &= mask
        return found

    def commands(self, part: Part) -> NDArray[np.bool_]:
        """Mask of the commands of a part that may be selected: by their events, or since these say too little."""
        found = np.ones(part.last_seq - part.first_seq + 1, np.bool_)
        by_clause: dict[str, list[NDArray[np.int64]]] = {}
        for piece in part.pieces:
            for clause, mask in self._each(piece).items():
                by_clause.setdefault(clause, []).append(piece.column("seq").at(np.flatnonzero(mask)))
        for clause, seqs in by_clause.items():
            named = np.zeros(len(found), np.bool_)
            named[np.concatenate(seqs) - part.first_seq] = True
            if clause != "contra":
                named[part.special - part.first_seq] = True
            found &= named
        return found

    def _each(self, piece: Piece) -> dict[str, NDArray[np.bool_]]:
        """The mask of each clause of the selection."""
        found = {}
        if self._reasons is not None:
            found["reason"] = piece.column("reason").among(np.sort(self._reasons).astype(np.int64))
        if self._participant is not None:
            found["participant"] = _party(piece, self._participant)
        if self._contra is not None:
            found["contra"] = _party(piece, self._contra) & piece.column("kind").among(np.array([EventKind.TRADE]))
        if self._symbol is not None:
            named = piece.column("instrument").among(np.array([0, self._symbol]))
            if self._has_side:  # a refusal is of the order's side and instrument, whatever it names
                named |= piece.column("kind").among(np.array(_REFUSALS))
            found["symbol"] = named
        return found


def _party(piece: Piece, number: int) -> NDArray[np.bool_]:
    asked = np.array([number])
    return piece.column("participant").among(asked) | piece.column("contra_participant").among(asked)


def _among(values: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mask of the values among ids, rising."""
    at = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    found: NDArray[np.bool_] = ids[at] == values
    return found


def _excerpts(
    parts: list[Part],
    found: list[NDArray[Any]],
    rows: NDArray[Any],
    seqs: NDArray[np.int64],
    names: tuple[Directory, Directory],
) -> Iterator[Excerpt]:
    """The excerpts of parts. ``names``: the venue's directory before and after the range."""
    goes_on = np.zeros(len(rows) + 1, np.bool_)
    if len(rows):
        goes_on[1:-1] = (rows["kind"] == CommandKind.EXTEND)[:-1] & (np.diff(seqs) == 1)
    for part, events in zip(parts, found, strict=True):
        low, high = np.searchsorted(seqs, (part.first_seq, part.last_seq + 1)).tolist()
        # The EXTEND row of a part's first command may be the last row of the part before.
        low, high = low - int(goes_on[low]), high - int(goes_on[high])
        if len(events) or low < high or part is parts[-1]:  # the last tells the names
            yield Excerpt(rows[low:high], seqs[low:high], events, part.clock_at, *names)
