"""Start of a run in a data directory: a new one, or the end of an earlier run of the same input.

A run resumes only if the journal equals the beginning of its input. Appended commands cannot be removed, so nothing is
guessed.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from directory.incomplete import MARK as INCOMPLETE
from directory.resume import JournalBeginning
from directory.small_file import aside_name
from journal import Journal, JournalBusy
from journal.history import History
from journal.lock import LOCK_NAME, writer_pid
from journal.slices import SLICES, places
from journal.store import NEW_FOLDER
from replay.errors import ReplayError
from replay.rebuild import journal_of

#: Files that a kill leaves behind before a journal is in place.
_LEFT_OVER: Final = {LOCK_NAME, NEW_FOLDER}
#: Folder that is there while a journal is fetched from another node, and what may lie beside it then.
FETCH_FOLDER: Final = "fetch.new"
_FETCHED: Final = {FETCH_FOLDER, SLICES, "streams", INCOMPLETE, aside_name(INCOMPLETE)}


class JournalMatch(NamedTuple):
    """Part of an input in a journal: commands 1 to ``seq``, of its own ``last_seq``. ``left``: True if the input
    has more than that."""

    seq: int
    last_seq: int
    left: bool


def holds_journal(directory: Path) -> bool:
    """True if a data directory has a journal, False if one can be made there. Raises ReplayError for another path."""
    if (directory / "journal").is_dir() or places(directory):
        return True
    if directory.exists() and not directory.is_dir():
        raise ReplayError(f"{directory} is a file; name a new directory, or a data directory of lockstep")
    names = set(os.listdir(directory)) if directory.exists() else set()
    if not names <= (_LEFT_OVER | _FETCHED if FETCH_FOLDER in names else _LEFT_OVER):
        raise ReplayError(
            f"{directory} is not empty and has no journal; name a new directory, or a data directory of lockstep"
        )
    return False


def compare(directory: Path, skip: Callable[[Journal, JournalBeginning], bool]) -> JournalMatch:
    """Compare the journal's commands with the beginning of the input. ``skip`` removes them from the input and returns
    True if anything is left.

    Raises CommandMismatch for a command that differs, JournalBusy if another process writes the journal, and
    JournalError.
    """
    pid = writer_pid(directory)
    if pid is not None:
        raise JournalBusy(f"{directory} is being written by process {pid}; stop it first")
    with journal_of(directory) as journal, History.open(directory) as history:
        beginning = JournalBeginning(history)
        left = skip(journal, beginning)
    return JournalMatch(beginning.seq, beginning.last_seq, left)
