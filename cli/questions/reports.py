"""`lockstep events --reports`: what happened, each report complete by itself.

A report has sums and names that earlier commands gave, so the journal is folded from command 1 on, whatever the range.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.questions.choice import Selection, kind_codes, picked
from cli.questions.history import Look, check_names, chosen_plays, write_lines
from cli.questions.reading import check_comes, note_side_files
from cli.warmup import ready
from engine.capacity import Capacity
from engine.names import Directory, pack
from engine.records import COMMAND, EVENT
from journal import Block, JournalError
from journal.history import History
from notation.fix_marks import is_of_mark, meaning
from notation.reports import print_reports, report_object
from replay import live_reports
from replay.errors import ReplayError
from replay.event_index import open_index
from replay.rebuild import check_range
from reports import ReportKind, Reports
from reports.rows import joined

#: Rows that are printed at once: what finds their words costs as much for one.
_ROWS_HELD: Final = 1 << 12
#: Mask over REPORT rows.
_Condition = Callable[[NDArray[Any]], NDArray[np.bool_]]


def reports(directory: Path, selection: Selection, look: Look) -> int:
    """Print the reports of a journal, one a line."""
    selection.check()
    wanted = _Wanted(selection)
    fold = Reports(room_of(directory, selection))
    names = Directory()

    def make_room() -> None:
        nonlocal fold
        larger = Reports(room_of(directory, selection))
        larger.restore(fold.image(), fold.seq)
        fold = larger

    for first_seq, commands, events, after in _told(directory, selection, make_room):
        names = after
        held: list[NDArray[Any]] = []
        rows = 0
        for batch in fold.batches(first_seq, commands, events):
            chosen = wanted.of(batch)
            if not len(chosen):
                continue
            held.append(chosen)
            rows += len(chosen)
            if rows >= _ROWS_HELD:
                _print(joined(held), look)
                held, rows = [], 0
        if held:
            _print(joined(held), look)
    check_names(selection, names, directory)
    return errors.FINE


def _print(reports: NDArray[Any], look: Look) -> None:
    """Print reports, one a line."""
    if look.as_json:
        write_lines([screen.json_line(report_object(report)) for report in reports])
        return
    seqs, numbers, times_ns = (reports[place].tolist() for place in ("seq", "number", "time_ns"))
    marks = is_of_mark(reports).tolist()
    contexts = reports["command_context"].tolist()
    lines = zip(print_reports(reports), seqs, numbers, times_ns, marks, contexts, strict=True)
    write_lines(
        look.noted(line, f"{seq}.{number}", time_ns, meaning(context) if of_mark else "")
        for line, seq, number, time_ns, of_mark, context in lines
    )


class _Told(NamedTuple):
    """COMMAND rows from ``first_seq`` on and their EVENT rows, with the venue's directory after them."""

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]
    names: Directory


def _told(directory: Path, selection: Selection, on_capacity: Callable[[], None]) -> Iterator[_Told]:
    """The commands of a selection from the first on, with their events: of the index, and of a replay where it has
    none."""
    seq = 0
    if not selection.follows:
        for told in _indexed(directory, selection.to_seq):
            yield told
            seq = told.first_seq + len(told.commands) - 1
        if seq and seq == selection.to_seq:
            return
    with History.open(directory) as history:
        if seq and selection.to_seq is None and not selection.follows and seq == history.last_seq:
            return
    for play, _, after in chosen_plays(directory, replace(selection, from_seq=seq + 1), on_capacity=on_capacity):
        yield _Told(play.first_seq, play.commands, play.events, after)


def _indexed(directory: Path, to_seq: int | None) -> Iterator[_Told]:
    """Commands from the first on, with their events out of the index, as far as there is one and nothing is damaged."""
    with suppress(JournalError, ReplayError), History.open(directory) as history:
        to_seq = check_range(directory, 1, to_seq, history.last_seq)
        with screen.Bar("folding") as bar:
            index = open_index(history, 1, to_seq, prepare=ready, progress=bar.to, makes=False)
            if index is None:
                return
            for slice_ in history.ranges(1, to_seq):
                note_side_files(slice_.journal)
            blocks = history.blocks(1, to_seq)
            # Used again for each piece: the system clears each page of memory that it gives out.
            room, command_room = np.empty(0, EVENT), np.empty(0, COMMAND)
            for piece in [piece for part in index.parts for piece in part.pieces]:
                last_seq = min(piece.last_seq, to_seq)
                if len(command_room) < piece.last_seq - piece.first_seq + 1:
                    command_room = np.empty(2 * (piece.last_seq - piece.first_seq + 1), COMMAND)
                commands = _commands_until(blocks, last_seq, command_room)
                if len(room) < piece.rows:
                    room = np.empty(2 * piece.rows, EVENT)
                events = piece.all_events(room)
                if last_seq < piece.last_seq:
                    events = events[: int(np.searchsorted(events["seq"], last_seq, "right"))]
                yield _Told(piece.first_seq, commands, events, index.names_at(last_seq))
                bar.to(last_seq, to_seq)


def _commands_until(blocks: Iterator[Block], last_seq: int, room: NDArray[Any]) -> NDArray[Any]:
    """COMMAND rows of the next blocks, up to the one that a command ends, in the front of ``room``, which has as many
    or more. Raises JournalError."""
    octets, end = room.view(np.uint8).data, 0
    for block in blocks:
        begin, end = end, end + len(block.rows)
        octets[begin:end] = block.rows
        if block.last_seq >= last_seq:
            return room[: end // COMMAND.itemsize + last_seq - block.last_seq]
    raise JournalError(f"the journal has no command {last_seq:,}")


def room_of(directory: Path, selection: Selection) -> Capacity:
    """The room for the reports of a journal. Raises ReplayError where its first commands, or those that are asked for,
    are not there."""
    with History.open(directory) as history:
        room = live_reports.room_of(history)
        if selection.follows:
            check_comes(directory, selection.from_seq or 1, history.last_seq)
        elif selection.from_seq is not None:
            check_range(directory, selection.from_seq, selection.to_seq, history.last_seq)
    return room


class _Wanted:
    """The reports of a selection: its conditions are asked one after the other, each of the rows that are left.

    Of most reports the first, which has the name, is all that is looked at.
    """

    def __init__(self, selection: Selection) -> None:
        self._conditions = list(_conditions(selection))

    def of(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The REPORT rows of a batch that are selected, in memory of their own."""
        left = batch
        for is_met in self._conditions:
            met = is_met(left)
            if not met.any():
                return left[:0]
            left = picked(left, met)
        return joined([left]) if left is batch else left


def _conditions(selection: Selection) -> Iterator[_Condition]:
    """Masks over REPORT rows that are all true of those of a selection."""
    if selection.participant is not None:
        yield _of_participant(pack(selection.participant), both_sides=not selection.side)
    if selection.contra is not None:
        own = None if selection.participant is None else pack(selection.participant)
        yield _of_trades(pack(selection.contra), own)
    if selection.symbol is not None:
        yield _equals("symbol", pack(selection.symbol))
    if (from_seq := selection.from_seq) is not None:
        yield lambda rows: rows["seq"] >= from_seq
    if (kinds := kind_codes(selection.kinds, ReportKind)) is not None:
        yield lambda rows: np.isin(rows["kind"], kinds)
    if selection.without_sessions:
        yield lambda rows: ~is_of_mark(rows)
    if (side := selection.side_code) is not None:
        yield _equals("side", side)
    if (reasons := selection.reason_codes) is not None:
        yield lambda rows: np.isin(rows["reason"], reasons)
    if (price_e4 := selection.price_e4) is not None:
        yield _equals("price_e4", price_e4)


def _equals(place: str, value: int) -> _Condition:
    return lambda rows: rows[place] == value


def _of_participant(name: int, *, both_sides: bool) -> _Condition:
    """Reports of a participant. ``both_sides``: also those of trades with others, which are theirs too."""

    def is_met(rows: NDArray[Any]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = rows["participant_name"] == name
        if both_sides:
            other: NDArray[np.bool_] = rows["contra_name"] == name
            found |= other & (rows["kind"] == ReportKind.TRADE) if other.any() else other
        return found

    return is_met


def _of_trades(contra: int, own: int | None) -> _Condition:
    """Reports of trades of a participant: with ``own``, or with any (None)."""

    def is_met(rows: NDArray[Any]) -> NDArray[np.bool_]:
        other: NDArray[np.bool_] = rows["contra_name"] == contra
        if own is None:
            other |= rows["participant_name"] == contra
        else:  # A trade has a report for each side; both name both.
            other |= (rows["participant_name"] == contra) & (rows["contra_name"] == own)
        other &= rows["kind"] == ReportKind.TRADE
        return other

    return is_met
