"""Reading of a data directory: replayed block by block, or rebuilt at a moment.

A damaged journal can still be opened, to save its undamaged part; it then ends earlier than it did. So no answer about
the state is given from it, and a print of it ends with a sentence about the damage.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from cli import screen
from cli.errors import WrongUse
from cli.warmup import ready
from engine.interface import MarketEngine
from engine.limits import INT64_MAX
from engine.names import Directory
from journal import Journal, JournalDamaged
from replay.rebuild import Rebuild, ReplayedBlock, check_range, journal_of, played, rebuild, start
from replay.times import seq_at


def check_whole(directory: Path) -> None:
    """Raise JournalDamaged if opening the journal showed damage, so that its end is unknown; report faults of the files
    beside it.
    """
    with Journal.open(directory, readonly=True) as journal:
        note_side_files(journal)
        journal.info()


def note_side_files(journal: Journal) -> None:
    """Report faults of the small files beside a journal; it can be read all the same."""
    for problem in journal.side_problems:
        screen.notice(f"note: {problem}; see `lockstep journal check {journal.path}`")


def check_name(name: str | None, what: str) -> None:
    """Raise WrongUse for an impossible name; ``what``: instrument or participant."""
    if name is not None and not (1 <= len(name) <= 8 and name.isascii() and name.isprintable()):
        raise WrongUse(f"{name!r} is not a valid {what} name: names have 1 to 8 characters of A-Z 0-9 . -")


def plays(
    directory: Path,
    from_seq: int,
    to_seq: int | None,
    what: str,
    *,
    again: bool = False,
    lead: bool = False,
    row_before: bool = False,
    at_start: Callable[[MarketEngine], None] | None = None,
) -> Iterator[tuple[ReplayedBlock, Directory, Directory]]:
    """Replay the blocks that have a row in the range; gives each with the venue's directory before and after it.

    ``again``: notes on the directory were printed already. ``lead``: include the blocks between the checkpoint and the
    range. ``row_before``: include the block of the row before the range. ``at_start``: called with the engine before
    the first block. A damaged journal gives its undamaged blocks, then raises JournalDamaged. Raises ReplayError when
    the range is not in the journal, and what replay and journal raise.
    """
    ready()
    with journal_of(directory) as journal, screen.Bar(what) as bar:
        if not again:
            note_side_files(journal)
        last_seq = check_range(directory, from_seq, to_seq, _end(journal))
        notes: list[str] = []
        if row_before:
            from_seq = max(from_seq - 1, 1)
        machine = start(journal, directory, from_seq - 1, "kernel", True, notes)
        for note in () if again else notes:
            screen.notice(f"note: {note}")
        if at_start is not None:
            at_start(machine)
        first_seq = machine.seq
        before = machine.directory
        for play in played(journal, machine, last_seq):
            after = machine.directory
            if lead or play.first_seq + len(play.commands) > from_seq:
                yield play, before, after
            before = after
            bar.to(machine.seq - first_seq, last_seq - first_seq)


def _end(journal: Journal) -> int:
    """Last command; for a damaged journal a number above all, so that reading reaches the damage and reports it."""
    try:
        journal.info()
    except JournalDamaged:
        return INT64_MAX
    return journal.last_seq


def rebuilt_at(directory: Path, at: str | None) -> Rebuild:
    """Compiled engine after ``at`` (a sequence number or a time; None: the end); prints notes."""
    check_whole(directory)
    ready()
    seq = None if at is None else seq_at(directory, at)
    with screen.Bar("replaying") as bar:
        rebuilt = rebuild(directory, at=seq, progress=bar.to)
    for note in rebuilt.notes:
        screen.notice(f"note: {note}")
    return rebuilt
