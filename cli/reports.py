"""`lockstep events --reports`: what happened, each report complete by itself.

A report has sums and names that earlier commands gave, so the journal is folded from command 1 on, whatever the range.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.choice import Selection, kind_codes, picked
from cli.history import Look, check_names, chosen_plays, write_lines
from cli.node import check_comes
from engine.capacity import Capacity
from engine.names import Directory, pack
from journal.history import History
from notation.reports import print_report, report_object
from replay import live_reports
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

    for play, _, after in chosen_plays(directory, replace(selection, from_seq=1), on_capacity=make_room):
        names = after
        for batch in fold.batches(play.first_seq, play.commands, play.events):
            chosen = picked(batch, _mask(batch, selection, kinds))
            if look.as_json:
                write_lines([screen.json_line(report_object(report)) for report in chosen])
            else:
                write_lines(
                    look.noted(print_report(each), f"{each['seq']}.{each['number']}", int(each["time_ns"]))
                    for each in chosen
                )
    check_names(selection, names, directory)
    return errors.FINE


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
