"""Released blocks of a running node, for a program that makes something of each and never waits here.

They come from the tape. What the tape does not have any more, as behind a restart of the program or where it was
overrun, comes from the journal, up to what is released, by an engine that is given up again. The rows and their order
are the same either way; the blocks may not be.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from journal.history import History
from replay.live_tape import LiveTape, Why
from replay.past import PastSlice, PlayedRows, RowRange


class Feed:
    """Blocks behind command ``seq``. ``taped``, ``journaled``: how many came from either. name: as of ``LiveTape``."""

    def __init__(self, directory: Path, journal_id: bytes, seq: int, name: str = "") -> None:
        self._directory = directory
        self._tape = LiveTape(directory, journal_id, name)
        self._past: Iterator[PlayedRows] | None = None
        self.seq = seq
        self.taped = self.journaled = 0
        #: True where neither tape nor journal had what comes next: look again in a moment.
        self.lags = False
        #: True once the node has ended, or has no tape.
        self.ended = False

    def take(self) -> PlayedRows | None:
        """The next block; None where there is none now. Raises TapeError, and what replay and journal raise."""
        self.lags = False
        if self._past is None:
            rows = self._tape.take(self.seq + 1)
            if not isinstance(rows, Why):
                self.taped += 1
                return self._given(rows)
            self.ended = rows is Why.NONE
            if rows is not Why.LOST:
                return None
            self._past = self._from_journal(self._tape.released_seq or 0)
        found = next(self._past, None)
        if found is None:
            self._past, self.lags = None, True
            return None
        self.journaled += 1
        return self._given(found)

    def _given(self, rows: PlayedRows) -> PlayedRows:
        self.seq = rows.first_seq + len(rows.commands) - 1
        return rows

    def _from_journal(self, to_seq: int) -> Iterator[PlayedRows]:
        """Rows of the journal behind ``seq``, up to ``to_seq`` at most."""
        with History.open(self._directory) as history:
            end = min(history.last_seq, to_seq)
            if end <= self.seq:
                return
            for part in history.ranges(self.seq + 1, end):
                for block in PastSlice(history, part).blocks():
                    yield behind(block.play, self.seq)

    def close(self) -> None:
        """Leave tape and journal."""
        self._past = None
        self._tape.close()


def behind(rows: PlayedRows, seq: int) -> PlayedRows:
    """The rows behind a command."""
    if rows.first_seq > seq:
        return rows
    return RowRange(
        seq + 1,
        rows.commands[seq + 1 - rows.first_seq :],
        rows.events[int(np.searchsorted(rows.events["seq"], seq + 1)) :],
    )


def block_at(directory: Path, seq: int) -> bytes:
    """Checksum of the journal's block that has command ``seq``, which stands for all before it; empty where the journal
    has no such command. Raises JournalError."""
    with History.open(directory) as history:
        if not history.first_seq <= seq <= history.last_seq:
            return b""
        return next((block.checksum for block in history.blocks(seq, seq)), b"")
