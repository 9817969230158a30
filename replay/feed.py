"""Released blocks of a running node, for a program that makes something of each and never waits here.

They come from the tape. What the tape does not have any more, as behind a restart of the program or where it was
overrun, comes from the journal, up to what is released, by an engine that is kept until the tape holds again. A replay
goes block by block, a block a call, those before the wanted ones too: who has other work does some of it between two.
The rows and their order are the same either way; the blocks may not be.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from engine.interface import MarketEngine
from engine.market_time import ends_extended
from engine.records import RULES_VERSION
from journal.history import History, SliceRange
from replay.live_tape import LiveTape, Why
from replay.past import PastSlice, PlayedRows, RowRange
from replay.rebuild import played
from tape.reader import TapeReader

#: Blocks that come from the tape, one after the other, before the engine of a replay is given up.
_HOLDS_BLOCKS: Final = 256


class Feed:
    """Blocks behind command ``seq``. ``taped``, ``journaled``: how many came from either. name: as of ``LiveTape``."""

    def __init__(self, directory: Path, journal_id: bytes, seq: int, name: str = "") -> None:
        self._directory = directory
        self._tape = LiveTape(directory, journal_id, name)
        self._past: Iterator[PlayedRows | None] | None = None
        self._engine: MarketEngine | None = None  # of the last replay
        self._held_blocks = 0  # that came from the tape since
        self.seq = seq
        self.taped = self.journaled = 0
        #: True where neither tape nor journal had what comes next: look again in a moment.
        self.lags = False
        #: True where a replay is on its way to what comes next: call again, now or after other work.
        self.replays = False
        #: True once the node has ended, or has no tape.
        self.ended = False

    def take(self) -> PlayedRows | None:
        """The next block; None where there is none now. Raises TapeError, and what replay and journal raise."""
        self.lags = self.replays = False
        if self._past is None:
            rows = self._tape.take(self.seq + 1)
            if not isinstance(rows, Why):
                self.taped += 1
                self._held_blocks += 1
                if self._held_blocks >= _HOLDS_BLOCKS:
                    self._engine = None
                return self._given(rows)
            self.ended = rows is Why.NONE
            if rows is not Why.LOST:
                return None
            self._past = self._from_journal(self._tape.released_seq or 0)
            self._held_blocks = 0
        try:
            found = next(self._past)
        except StopIteration:
            self._past, self.lags = None, True
            return None
        if found is None:
            self.replays = True
            return None
        self.journaled += 1
        return self._given(found)

    def standing(self) -> TapeReader | None:
        """The reader of the tape, which stands behind ``seq``, for a kernel that takes the next blocks itself; None
        where they are for ``take``. Tell ``passed`` what the kernel took."""
        return self._tape.standing() if self._past is None else None

    def passed(self, seq: int, blocks: int) -> None:
        """Note that a kernel has taken so many blocks from the reader, up to command ``seq``."""
        self.seq = seq
        self.taped += blocks
        self._held_blocks += blocks
        if self._held_blocks >= _HOLDS_BLOCKS:
            self._engine = None

    def _given(self, rows: PlayedRows) -> PlayedRows:
        self.seq = rows.first_seq + len(rows.commands) - 1
        return rows

    def _from_journal(self, to_seq: int) -> Iterator[PlayedRows | None]:
        """Rows of the journal behind ``seq``, up to ``to_seq`` at most; None for each step on the way to them."""
        with History.open(self._directory) as history:
            end = min(history.last_seq, to_seq)
            if end <= self.seq:
                return
            for part in history.ranges(self.seq + 1, end):
                for rows in self._played(history, part):
                    yield behind(rows, self.seq) if rows.first_seq + len(rows.commands) - 1 > self.seq else None

    def _played(self, history: History, part: SliceRange) -> Iterator[PlayedRows]:
        """Blocks of a slice from the position of the engine on, which can be before the part that is wanted."""
        engine, journal = self._engine, part.journal
        goes_on = engine is not None and journal.start_seq <= engine.seq <= self.seq
        if not goes_on or int(journal.meta.get("rules_version", RULES_VERSION)) != RULES_VERSION:
            past = PastSlice(history, part)
            engine = self._engine = past.engine
            if engine is None:
                return (block.play for block in past.blocks())
        assert engine is not None
        return iter(played(journal, engine, part.to_seq))

    def close(self) -> None:
        """Leave tape and journal."""
        self._past = self._engine = None
        self._tape.close()


def behind(rows: PlayedRows, seq: int) -> PlayedRows:
    """The rows behind a command."""
    if rows.first_seq > seq:
        return rows
    skipped = seq + 1 - rows.first_seq
    events = rows.events[int(np.searchsorted(rows.events["seq"], seq + 1)) :]
    return RowRange(seq + 1, rows.commands[skipped:], events, ends_extended(rows.commands[:skipped]))


def block_at(directory: Path, seq: int) -> bytes:
    """Checksum of the journal's block that has command ``seq``, which stands for all before it; empty where the journal
    has no such command, or only in an archive. Of the last command before a slice the slice itself knows it. Raises
    JournalError."""
    with History.open(directory) as history:
        link = history.link_behind(seq)
        if link:
            return link
        if not max(history.first_seq, history.there_from_seq) <= seq <= history.last_seq:
            return b""
        return next((block.checksum for block in history.blocks(seq, seq)), b"")
