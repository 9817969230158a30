"""Cause of the halt that an instrument is in: the command that brought it, and what that met."""

from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from cli.node import plays
from cli.why import explained
from engine.records import EventKind
from journal import JournalError
from journal.history import History
from replay.errors import ReplayError
from replay.moments import Moments

Facts = dict[str, Any]

#: Commands that are looked through first; each further look has so many times as many before them.
_COMMANDS: Final = 4_096
_TIMES: Final = 8


def cause_of_halt(directory: Path, seq: int, symbol: str, number: int) -> Facts | None:
    """The last halt of an instrument up to a command: its command, its words and why; None where history lacks it.

    symbol, number: of the instrument.
    """
    try:
        halted_seq = _last_halt(directory, seq, number)
        if halted_seq is None:
            return None
        consequences = explained(directory, Moments(directory), halted_seq)["consequences"]
    except (JournalError, ReplayError):  # the book is there, from a checkpoint; what came before it cannot be read
        return None
    for each in consequences[::-1]:
        event = each["event"]
        if (event["kind"], event["symbol"]) == ("halted", symbol):
            return {"seq": event["seq"], "time": event["time"], "text": each["text"], "because": each["because"]}
    return None


def _last_halt(directory: Path, seq: int, number: int) -> int | None:
    """Command that caused the last HALTED event of an instrument, from the newest commands backwards."""
    with History.open(directory) as history:
        first_seq = history.there_from_seq
    end, commands = seq, _COMMANDS
    while end >= first_seq:
        begin = max(end - commands + 1, first_seq)
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
    return None
