"""A data directory as the commands read it: played again, block by block, or rebuilt at a moment.

A damaged journal can still be opened, to save what is whole; it then says that it ends earlier than it did. So no
answer about the state is given from one, and what is printed from one ends with the sentence about the damage.
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
    """Raise JournalDamaged when opening the journal showed damage, so that its end is not known; say what is wrong
    with the files beside it."""
    with Journal.open(directory, readonly=True) as journal:
        note_side_files(journal)
        journal.info()


def note_side_files(journal: Journal) -> None:
    """Say what is wrong with the small files beside a journal, which does not keep it from being read."""
    for problem in journal.side_problems:
        screen.notice(f"note: {problem}; see `lockstep journal check {journal.path}`")


def check_name(name: str | None, what: str) -> None:
    """Raise WrongUse for what nothing can be called; ``what``: instrument or participant."""
    if name is not None and not (1 <= len(name) <= 8 and name.isascii() and name.isprintable()):
        raise WrongUse(f"{name!r} is the name of no {what}: names have 1 to 8 characters of A-Z 0-9 . -")


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
    """Each block that has a row in the range, applied, with the venue's directory before and after it.

    ``again``: what is odd about the directory has been said already. ``lead``: the blocks between the checkpoint and
    the range too. ``row_before``: the block of the row before the range too. ``at_start``: is shown the engine before
    the first block. Of a damaged journal: what is whole, then JournalDamaged. Raises ReplayError when the range is not
    in the journal, and what replay and journal raise.
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
    """The last command; of a damaged journal more than any, so that reading goes on to the damage and says so."""
    try:
        journal.info()
    except JournalDamaged:
        return INT64_MAX
    return journal.last_seq


def rebuilt_at(directory: Path, at: str | None) -> Rebuild:
    """The compiled engine after ``at`` (a sequence number or a time; None: the end), with notes said."""
    check_whole(directory)
    ready()
    seq = None if at is None else seq_at(directory, at)
    with screen.Bar("replaying") as bar:
        rebuilt = rebuild(directory, at=seq, progress=bar.to)
    for note in rebuilt.notes:
        screen.notice(f"note: {note}")
    return rebuilt
