"""Reports of a market as they come, for a program beside it: from command 1 on, then what a running node adds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND
from journal.history import History
from replay.follow import Follower
from replay.live_tape import LiveTape
from replay.rebuild import capacity_of, start
from reports import REPORT, Reports


def live_reports(directory: Path, from_seq: int | None = None) -> Iterator[NDArray[Any] | None]:
    """REPORT rows of the commands from ``from_seq`` on (None: of those that come after this call), each time as an
    array of their own; None where nothing is new, after a look that took a few milliseconds. It never ends by itself.

    All commands before are folded first, since a report has what earlier ones gave. Raises what replay and journal
    raise, and ReplayError as ``replay.follow.Follower``.
    """
    with History.open(directory) as history:
        first = next(iter(history.ranges(1, max(history.last_seq, 1))))
        begin = history.last_seq + 1 if from_seq is None else from_seq
        engine = start(first.journal, history.path, 0, "kernel", False, [])
        fold = Reports(capacity_of(history.last))
        tape = LiveTape(directory, history.last.journal_id)
    try:
        for found in Follower(directory, engine, tape).blocks():
            if found is None:
                yield None
                continue
            play = found.play
            made = fold.make(play.first_seq, np.ascontiguousarray(play.commands).astype(COMMAND), play.events)
            rows = made[made["seq"] >= begin]
            if len(rows):
                yield rows
    finally:
        tape.close()


__all__ = ["REPORT", "live_reports"]
