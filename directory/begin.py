"""Start of a run in a data directory: new, or where an earlier run of the same input broke off.

A run resumes only if the journal holds the beginning of its input. Nothing that was appended can be taken back, so it
is never guessed.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from directory.resume import JournalBeginning
from journal import Journal, JournalBusy
from journal.lock import LOCK_NAME, writer_pid
from journal.slices import places
from journal.store import NEW_FOLDER
from replay.errors import ReplayError
from replay.rebuild import journal_of

#: Files that a kill leaves behind before a journal is in place.
_LEFT_OVER: Final = {LOCK_NAME, NEW_FOLDER}


class JournalMatch(NamedTuple):
    """Part of an input in a journal: commands 1 to ``seq``, of its own ``last_seq``. ``left``: True if the input
    has more than that."""

    seq: int
    last_seq: int
    left: bool


def holds_journal(directory: Path) -> bool:
    """True if a data directory holds a journal; else one can be made there. Raises ReplayError where neither is so."""
    if (directory / "journal").is_dir() or places(directory):
        return True
    if directory.exists() and not directory.is_dir():
        raise ReplayError(f"{directory} is a file; name a directory, new or one of lockstep's")
    if directory.exists() and not set(os.listdir(directory)) <= _LEFT_OVER:
        raise ReplayError(f"{directory} is not empty and holds no journal; name a new directory, or one of lockstep's")
    return False


def compare(directory: Path, skip: Callable[[Journal, JournalBeginning], bool]) -> JournalMatch:
    """Compare the journal's commands with the beginning of the input. ``skip`` takes them off it and tells whether
    anything is left.

    Raises CommandMismatch when a command is another one, JournalBusy when somebody writes the journal, and what the
    journal raises.
    """
    pid = writer_pid(directory)
    if pid is not None:
        raise JournalBusy(f"{directory} is being written by process {pid}; stop it first")
    with journal_of(directory) as journal:
        beginning = JournalBeginning(journal)
        left = skip(journal, beginning)
    return JournalMatch(beginning.seq, beginning.last_seq, left)
