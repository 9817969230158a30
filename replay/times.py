"""Market time in a journal: the clock at its ends, and the command at a time.

Block headers repeat the clock in force at their end, and it never goes back; so a time is found by halving the slice
of the journal that has it. ``engine.market_time`` has the rule of the rows.
"""

from pathlib import Path

import numpy as np

from engine.market_time import ClockPosition, clock_rows, ends_extended
from engine.records import COMMAND
from journal import Block, Journal
from journal.history import History
from notation.moments import is_dated, is_seq, moment_ns, not_reached
from replay.errors import ReplayError


def first_clock_ns(journal: Journal) -> int | None:
    """The first clock value that a slice's commands set, ns since 1970; None where none does. Raises JournalError."""
    if journal.start is not None and journal.start.time_ns:
        return journal.start.time_ns
    unset = journal.seq_at_time(0)
    if unset == journal.last_seq:
        return None
    values = clock_rows(np.frombuffer(_block_at(journal, unset + 1).rows, COMMAND), ClockPosition())[1]
    return int(values[0]) if len(values) else None


def position_after(journal: Journal, now_ns: int) -> ClockPosition:
    """Clock position after the last command of a journal, given the clock in force there (ns)."""
    if journal.last_seq == journal.start_seq:
        return ClockPosition(now_ns)
    return ClockPosition(now_ns, ends_extended(np.frombuffer(_block_at(journal, journal.last_seq).rows, COMMAND)))


def seq_at(directory: Path | str, when: str | int | None) -> int:
    """Sequence number for ``when`` in a data directory; 0 is before the first command. None: the last command.

    ``when`` is a sequence number (a number, or digits), or a time as ``notation.moments`` reads it: then it is the
    newest command not later than that time. A time without a date is of the day of the newest clock value. Raises
    ReplayError when it is neither, or a number beyond the end; JournalError from the journal.
    """
    with History.open(directory) as history:
        if when is None:
            return history.last_seq
        text = str(when).strip()
        if is_seq(text):
            return _numbered(history, int(text))
        time_ns = _time_ns(text, _clock_at_end(history.last))
        return _newest_not_later(history.slice_at_time(time_ns), time_ns)


def time_ns_of(directory: Path | str, when: str) -> int:
    """A time, ns since 1970, written as for ``seq_at``. Raises as it."""
    with History.open(directory) as history:
        return _time_ns(when.strip(), _clock_at_end(history.last))


def not_yet(directory: Path | str, when: str | None) -> str | None:
    """Sentence on a time without a date that is not reached on the day of the newest clock value, though the market had
    it a day before; None for all else. Raises as ``seq_at``."""
    if when is None or is_seq(when) or is_dated(when):
        return None
    with History.open(directory) as history:
        end_ns = _clock_at_end(history.last)
        time_ns = _time_ns(when.strip(), end_ns)
        begin_ns = _clock_at_begin(history)
    return None if begin_ns is None else not_reached(when, time_ns, begin_ns, end_ns)


def first_seq_at(directory: Path | str, when: str) -> int:
    """Sequence number of the first command not earlier than a time, written as for ``seq_at``; one more than the last
    where there is none. Raises as ``seq_at``."""
    with History.open(directory) as history:
        return first_seq_not_earlier(history, _time_ns(when.strip(), _clock_at_end(history.last)))


def first_seq_not_earlier(history: History, time_ns: int) -> int:
    """Sequence number of the first command not earlier than a time, ns since 1970; one more than the last where there
    is none. Raises as ``seq_at``."""
    return _newest_not_later(history.slice_at_time(time_ns - 1), time_ns - 1) + 1


def _numbered(history: History, seq: int) -> int:
    """A sequence number that the history has. Raises ReplayError for one beyond its ends."""
    if seq > history.last_seq:
        raise ReplayError(f"there is no command {seq:,} in {history.path}: its journal ends at {history.last_seq:,}")
    if seq < history.start_seq:
        raise ReplayError(
            f"command {seq:,} is not in {history.path}, which holds one slice: commands from {history.first_seq:,} on"
        )
    return seq


def _clock_at_end(journal: Journal) -> int:
    """The clock after the last command of a slice, ns."""
    if journal.last_seq > journal.start_seq:
        return _block_at(journal, journal.last_seq).time_ns
    return 0 if journal.start is None else journal.start.time_ns


def _clock_at_begin(history: History) -> int | None:
    """The first clock value of what is there of a market, ns; None where nothing sets one."""
    return first_clock_ns(history.slice_of(history.there_from_seq))


def _time_ns(text: str, today_ns: int) -> int:
    """As ``moment_ns``. Raises ReplayError."""
    try:
        return moment_ns(text, today_ns)
    except ValueError as error:
        raise ReplayError(str(error)) from error


def _newest_not_later(journal: Journal, time_ns: int) -> int:
    # The first block with a later clock begins in low..high (high: there is none).
    low, high = journal.start_seq + 1, journal.last_seq + 1
    before = ClockPosition(0 if journal.start is None else journal.start.time_ns)
    if before.now_ns > time_ns:
        return journal.start_seq
    while low < high:
        block = _block_at(journal, (low + high) // 2)
        if block.time_ns > time_ns:
            high = block.first_seq
        else:
            low = block.last_seq + 1
    if low > journal.last_seq:
        return journal.last_seq
    if low > journal.start_seq + 1:
        previous = _block_at(journal, low - 1)
        rows = np.frombuffer(previous.rows, COMMAND)
        before = ClockPosition(previous.time_ns, ends_extended(rows))
    block = _block_at(journal, low)
    at, values = clock_rows(np.frombuffer(block.rows, COMMAND), before)
    later = at[values > time_ns]
    if len(later) == 0:
        raise ReplayError(
            f"block {block.first_seq:,} has a time that none of its commands sets; run `lockstep journal check`"
        )
    return block.first_seq + int(later[0]) - 1


def _block_at(journal: Journal, seq: int) -> Block:
    for block in journal.blocks(seq, seq):
        return block
    raise ReplayError(f"the journal has no block with command {seq:,}; run `lockstep journal check`")
