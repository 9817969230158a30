"""`lockstep events --reports`: what happened, each report complete by itself.

A report has sums and names that earlier commands gave, so the journal is folded from command 1 on, whatever the range.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

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
from notation.reports import print_report, report_object
from replay import live_reports
from replay.errors import ReplayError
from replay.event_index import open_index
from replay.rebuild import check_range
from reports import ReportKind, Reports


def reports(directory: Path, selection: Selection, look: Look) -> int:
    """Print the reports of a journal, one a line."""
    kinds = kind_codes(selection.kinds, ReportKind)
    selection.check()
    fold = Reports(room_of(directory, selection))
    names = Directory()

    def make_room() -> None:
        nonlocal fold
        larger = Reports(room_of(directory, selection))
        larger.restore(fold.image(), fold.seq)
        fold = larger

    for first_seq, commands, events, after in _told(directory, selection, make_room):
        names = after
        for batch in fold.batches(first_seq, commands, events):
            chosen = picked(batch, _mask(batch, selection, kinds))
            if look.as_json:
                write_lines([screen.json_line(report_object(report)) for report in chosen])
            else:
                marks = is_of_mark(chosen)
                write_lines(
                    look.noted(
                        *(print_report(each), f"{each['seq']}.{each['number']}", int(each["time_ns"])),
                        meaning(int(each["command_context"])) if of_mark else "",
                    )
                    for each, of_mark in zip(chosen, marks.tolist(), strict=True)
                )
    check_names(selection, names, directory)
    return errors.FINE


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
            room = np.empty(0, EVENT)
            for piece in [piece for part in index.parts for piece in part.pieces]:
                last_seq = min(piece.last_seq, to_seq)
                commands = _commands_until(blocks, last_seq)
                if len(room) < piece.rows:
                    room = np.empty(2 * piece.rows, EVENT)
                events = piece.all_events(room)
                if last_seq < piece.last_seq:
                    events = events[: int(np.searchsorted(events["seq"], last_seq, "right"))]
                yield _Told(piece.first_seq, commands, events, index.names_at(last_seq))
                bar.to(last_seq, to_seq)


def _commands_until(blocks: Iterator[Block], last_seq: int) -> NDArray[Any]:
    """COMMAND rows of the next blocks, up to the one that a command ends. Raises JournalError."""
    raw = bytearray()
    for block in blocks:
        raw += block.rows
        if block.last_seq >= last_seq:
            cut = last_seq - block.last_seq
            return np.frombuffer(raw, COMMAND)[: len(raw) // COMMAND.itemsize + cut]
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


def _mask(batch: NDArray[Any], selection: Selection, kinds: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    """Mask of the selected reports."""
    wanted: NDArray[np.bool_] = batch["seq"] >= (selection.from_seq or 1)
    if kinds is not None:
        wanted &= np.isin(batch["kind"], kinds)
    if selection.participant is not None:
        name = pack(selection.participant)
        contra = (batch["kind"] == ReportKind.TRADE) & (batch["contra_name"] == name)
        own = batch["participant_name"] == name
        wanted &= own if selection.side else own | contra
    if selection.contra is not None:
        name = pack(selection.contra)
        other = batch["contra_name"] == name
        if selection.participant is None:
            other |= batch["participant_name"] == name
        else:  # A trade has a report for each side; both name both.
            other |= (batch["participant_name"] == name) & (batch["contra_name"] == pack(selection.participant))
        wanted &= (batch["kind"] == ReportKind.TRADE) & other
    if (side := selection.side_code) is not None:
        wanted &= batch["side"] == side
    if (reasons := selection.reason_codes) is not None:
        wanted &= np.isin(batch["reason"], reasons)
    if selection.price_e4 is not None:
        wanted &= batch["price_e4"] == selection.price_e4
    if selection.symbol is not None:
        wanted &= batch["symbol"] == pack(selection.symbol)
    return wanted
