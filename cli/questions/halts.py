"""Cause of the halt that an instrument is in: the command that brought it, and what that met.

The last halt of the instrument is looked up in the event index, where there is one. Without it the newest commands are
replayed, and no more than ``_COMMANDS_MAX``: further back nothing is looked for, and the user is told.
"""

from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from cli import screen
from cli.questions.reading import plays
from cli.questions.why import explained
from cli.warmup import ready
from engine.records import EventKind
from journal import JournalError
from journal.history import History
from replay.errors import ReplayError
from replay.event_index import EventIndex, open_index
from replay.moments import Moments

Facts = dict[str, Any]

#: Commands that are looked through first; each further look has so many times as many before them.
_COMMANDS: Final = 4_096
_TIMES: Final = 8
#: Commands that are replayed at most, about a second of work.
_COMMANDS_MAX: Final = 1_000_000


def cause_of_halt(directory: Path, seq: int, symbol: str, number: int) -> Facts | None:
    """The last halt of an instrument up to a command: its command, its words and why; None where history lacks it.

    symbol, number: of the instrument.
    """
    try:
        halted_seq = _last_halt(directory, seq, number)
        if halted_seq is None:
            return None
        consequences = explained(directory, Moments(directory, ids=False), halted_seq)["consequences"]
    except (JournalError, ReplayError):  # the book is there, from a checkpoint; what came before it cannot be read
        return None
    for each in consequences[::-1]:
        event = each["event"]
        if (event["kind"], event["symbol"]) == ("halted", symbol):
            return {"seq": event["seq"], "time": event["time"], "text": each["text"], "because": each["because"]}
    return None


def _last_halt(directory: Path, seq: int, number: int) -> int | None:
    """Command that caused the last HALTED event of an instrument; None where it is not found."""
    with History.open(directory) as history:
        first_seq = history.there_from_seq
        with screen.Bar("looking for the halt") as bar:
            index = open_index(history, first_seq, seq, prepare=ready, progress=bar.to, makes=False)
        if index is not None:
            return _indexed(index, seq, number)
    least_seq = max(first_seq, seq - _COMMANDS_MAX + 1)
    end, commands = seq, _COMMANDS
    while end >= least_seq:
        begin = max(end - commands + 1, least_seq)
        found = None
        with closing(plays(directory, begin, end, "looking for the halt", again=True)) as blocks:
            for block in blocks:
                events = block.play.events
                halts = (events["kind"] == EventKind.HALTED) & (events["instrument"] == number)
                seqs = events["seq"][halts & (events["seq"] <= end)]
                found = int(seqs[np.argmax(seqs)]) if len(seqs) else found
        if found is not None:
            return found
        end, commands = begin - 1, commands * _TIMES
    if least_seq > first_seq:
        screen.notice(
            f"note: the halt began before command {screen.count(least_seq)}, and its cause was not looked for there; "
            f"`lockstep journal index {directory}` makes an index that finds it"
        )
    return None


def _indexed(index: EventIndex, seq: int, number: int) -> int | None:
    """The same out of an index."""
    for part in reversed(index.parts):
        for piece in reversed(part.pieces):
            if piece.first_seq > seq:
                continue
            halted = piece.column("kind").among(np.array([int(EventKind.HALTED)]))
            halted &= piece.column("instrument").among(np.array([number]))
            seqs = piece.column("seq").at(np.flatnonzero(halted))
            seqs = seqs[seqs <= seq]
            if len(seqs):
                return int(seqs[-1])
    return None
