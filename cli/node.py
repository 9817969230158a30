"""A data directory as the commands read it: played again, block by block, or rebuilt at a moment.

A damaged journal can still be opened, to save what is whole; it then says that it ends earlier than it did. So no
answer about the state is given from one, and what is printed from one ends with the sentence about the damage.
"""

from collections.abc import Iterator
from pathlib import Path

from cli import screen
from cli.errors import WrongUse
from cli.warmup import ready
from engine.limits import INT64_MAX
from engine.names import Directory
from journal import Journal, JournalDamaged
from replay.rebuild import Played, Rebuilt, journal_of, played, rebuild, start
from replay.times import seq_at


def check_whole(directory: Path) -> None:
    """Raise JournalDamaged when opening the journal showed damage, so that its end is not known."""
    with Journal.open(directory, readonly=True) as journal:
        journal.info()


def plays(
    directory: Path, from_seq: int, to_seq: int | None, what: str
) -> Iterator[tuple[Played, Directory, Directory]]:
    """Each block that has a row in the range, applied, with the venue's directory before and after it.

    Of a damaged journal: what is whole, then JournalDamaged. Raises WrongUse when the range is not in the journal,
    and what replay and journal raise.
    """
    ready()
    with journal_of(directory) as journal, screen.Bar(what) as bar:
        last_seq = _end(journal) if to_seq is None else to_seq
        if last_seq > _end(journal) or from_seq > last_seq + 1:
            held = f"commands 1 to {journal.last_seq}" if journal.last_seq else "no command yet"
            raise WrongUse(f"commands {from_seq} to {last_seq} are not in {directory}; its journal holds {held}")
        notes: list[str] = []
        machine = start(journal, directory, from_seq - 1, "kernel", True, notes)
        for note in notes:
            screen.notice(f"note: {note}")
        first_seq = machine.seq
        before = machine.directory
        for play in played(journal, machine, last_seq):
            after = machine.directory
            if play.first_seq + len(play.commands) > from_seq:
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


def rebuilt_at(directory: Path, at: str | None) -> Rebuilt:
    """The compiled engine after ``at`` (a sequence number or a time; None: the end), with notes said."""
    check_whole(directory)
    ready()
    seq = None if at is None else seq_at(directory, at)
    with screen.Bar("replaying") as bar:
        rebuilt = rebuild(directory, at=seq, progress=bar.to)
    for note in rebuilt.notes:
        screen.notice(f"note: {note}")
    return rebuilt
