"""Reading of a data directory: replayed block by block, or rebuilt at a moment.

A damaged journal can still be opened, to save its undamaged part; it then ends earlier than it did. So no answer about
the state is given from it, and a print of it ends with a sentence about the damage.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cli import screen
from cli.errors import WrongUse
from cli.warmup import ready
from engine.interface import MarketEngine
from engine.names import Directory
from journal import Journal, JournalDamaged
from journal.frame import SEQ_MAX
from journal.history import History
from journal.slices import place_at
from replay.errors import ReplayError
from replay.from_sketch import rebuilt_from_sketch
from replay.past import PastSlice, PlayedBlock
from replay.rebuild import Rebuild, check_range, rebuild
from replay.times import not_yet, seq_at


def check_whole(directory: Path, at: int | None = None) -> None:
    """Raise JournalDamaged if opening the slice with command ``at`` (None: the last one) showed damage, so that its end
    is unknown; report faults of the files beside it.
    """
    number = None if at is None else place_at(directory, at).number
    with Journal.open(directory, readonly=True, slice_number=number) as journal:
        note_side_files(journal)
        journal.info()


def note_side_files(journal: Journal) -> None:
    """Report faults of the small files beside a journal; it can be read all the same."""
    for problem in journal.side_problems:
        screen.notice(f"note: {problem}; see `lockstep journal check {journal.path}`")


def note_day(directory: Path, *moments: str | None) -> None:
    """Say of the first of these moments (numbers or times) that may be meant of another day than the last one which it
    is of."""
    sentences = (not_yet(directory, when) for when in moments)
    if (sentence := next(filter(None, sentences), None)) is not None:
        screen.notice(f"note: {sentence}")


def check_name(name: str | None, what: str) -> None:
    """Raise WrongUse for an impossible name; ``what``: instrument or participant."""
    if name is not None and not (1 <= len(name) <= 8 and name.isascii() and name.isprintable()):
        raise WrongUse(f"{name!r} is not a valid {what} name: names have 1 to 8 characters of A-Z 0-9 . -")


#: Called with OPEN_ORDER rows as they were before the first block that is given, and the command before that block.
AtStart = Callable[[NDArray[Any], int], None]


def plays(
    directory: Path,
    from_seq: int | None,
    to_seq: int | None,
    what: str,
    *,
    again: bool = False,
    lead: bool = False,
    row_before: bool = False,
    at_start: AtStart | None = None,
    need_events: bool = True,
) -> Generator[PlayedBlock, None, None]:
    """Replay the blocks that have a row in the range, slice by slice; gives each with the venue's directory before and
    after it.

    ``from_seq``: None for the first command. ``again``: notes on the directory were printed already. ``lead``: include
    the blocks between the checkpoint and the range. ``row_before``: include the block of the row before the range.
    ``at_start``: called with the open orders before the first block. ``need_events``: false where a slice of other
    rules can do without its events. A damaged journal gives its undamaged blocks, then raises JournalDamaged. Raises
    ReplayError when the range is not in the journal, SliceMissing, and what replay and journal raise.
    """
    with History.open(directory) as history, screen.Bar(what) as bar:
        if from_seq is None:
            from_seq = history.first_seq
        check_begins(history, from_seq)
        last_seq = check_range(directory, from_seq, to_seq, _end(history))
        history.check_there(from_seq, last_seq)
        if row_before:  # No slice ends with an EXTEND row.
            from_seq = max(from_seq - 1, history.slice_of(from_seq).start_seq + 1)
        began = from_seq - 1
        for part in history.ranges(from_seq, last_seq):
            leads = lead and part.from_seq == from_seq
            source = PastSlice(history, part, lead=leads, need_events=need_events, prepare=ready)
            if not again:
                note_side_files(part.journal)
            if at_start is not None:
                at_start(source.open_orders, source.seq)
                at_start = None
            for note in () if again else source.notes:
                screen.notice(f"note: {note}")
            for block in source.blocks():
                yield block
                bar.to(block.last_seq - began, last_seq - began)


def plays_on(
    directory: Path,
    from_seq: int,
    to_seq: int | None,
    *,
    lead: bool = False,
    row_before: bool = False,
    at_start: AtStart | None = None,
    on_names: Callable[[Directory], None],
    on_capacity: Callable[[], None] = lambda: None,
) -> Iterator[PlayedBlock]:
    """Replay as ``plays``, and then what a running node adds, until ``to_seq`` (None: for ever).

    ``from_seq``: at most one more than the last command. ``on_names``: called with the venue's directory at the end of
    what is there. ``on_capacity``: called before blocks of a slice whose tables may be larger. Output is flushed
    whenever nothing is new. Otherwise as ``plays``.
    """
    # They read the tape by kernels.
    from replay.follow import Follower, parts_until
    from replay.live_tape import LiveTape

    with History.open(directory) as history, screen.Bar("replaying") as bar:
        check_begins(history, from_seq)
        last_seq = history.last_seq
        check_comes(directory, from_seq, last_seq)
        if row_before and from_seq <= last_seq:  # No slice ends with an EXTEND row.
            from_seq = max(from_seq - 1, history.slice_of(from_seq).start_seq + 1)
        tape = LiveTape(directory, history.journal_id, "tail")
        tape.find()
        end = min(each for each in (last_seq, to_seq, tape.released_seq) if each is not None)
        parts = parts_until(history, from_seq, end)
        engine: MarketEngine | None = None
        for part in parts:
            is_last = part is parts[-1]
            source = PastSlice(history, part, lead=lead and part is parts[0], need_engine=is_last, prepare=ready)
            engine = source.engine
            if at_start is not None:
                at_start(source.open_orders, source.seq)
                at_start = None
            for block in source.blocks():
                yield block
                bar.to(block.last_seq - from_seq, last_seq - from_seq)
    assert engine is not None, "the last slice is replayed"
    on_names(engine.directory)
    try:
        follower = Follower(directory, engine, tape)
        capacity, is_alone = engine.capacity, False
        for found in follower.blocks(to_seq):
            if follower.capacity not in (None, capacity):
                capacity = follower.capacity
                on_capacity()
            if found is None:
                sys.stdout.flush()
                screen.check_reader()
                if (tape.applied_seq is None) != is_alone:
                    is_alone = not is_alone
                    if is_alone:  # else a node that is dead looks like a market that is quiet
                        screen.notice(f"no node writes a tape in {directory}: its journal is read, until one does")
            else:
                yield found
    finally:
        tape.close()


def check_comes(directory: Path, seq: int, last_seq: int) -> None:
    """Raise ReplayError for a command that neither is there nor comes next."""
    if seq > last_seq + 1:
        raise ReplayError(f"{directory} has no command {seq:,} yet: it ends with command {last_seq:,}")


def next_seq(directory: Path) -> int:
    """Number of the command that comes next."""
    with Journal.open(directory, readonly=True) as journal:
        return journal.last_seq + 1


def check_begins(history: History, seq: int) -> None:
    """Raise ReplayError for a command before a directory that is the folder of one slice."""
    if history.is_part and seq < history.first_seq:
        raise ReplayError(
            f"{history.path} holds only slice {history.places[0].number} of the journal, from command "
            f"{history.first_seq:,} on; give --from {history.first_seq}"
        )


def check_asked(history: History, seq: int) -> None:
    """Raise what ``plays`` raises for a command that a directory does not have, or not any more."""
    check_begins(history, seq)
    history.check_there(seq, check_range(history.path, seq, seq, _end(history)))


def _end(history: History) -> int:
    """Last command; for a damaged journal a number above all, so that reading reaches the damage and reports it."""
    try:
        history.last.info()
    except JournalDamaged:
        return SEQ_MAX
    return history.last_seq


def rebuilt_at(directory: Path, at: str | None, *, ids: bool = True) -> Rebuild:
    """Compiled engine after ``at`` (a sequence number or a time; None: the end); prints notes.

    ``ids``: false for a question that needs no ids of orders that are gone, and no digest of the state.
    """
    seq = None if at is None else seq_at(directory, at)
    note_day(directory, at)
    check_whole(directory, seq)
    ready()
    rebuilt = None if ids else rebuilt_from_sketch(directory, seq)
    if rebuilt is None:
        with screen.Bar("replaying") as bar:
            rebuilt = rebuild(directory, at=seq, progress=bar.to)
    for note in rebuilt.notes:
        screen.notice(f"note: {note}")
    return rebuilt
