"""Start of a run in its data directory: new, where an earlier run of the same input broke off, or after the end.

A run resumes in a directory with a journal only if the journal holds the beginning of what the files give, or if
``--append`` says that the files come after them. Nothing that was appended can be taken back, so it is never guessed.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from cli import screen
from cli.capacity import CapacityOptions
from cli.errors import WrongUse
from cli.options import Durability, EngineChoice, Format
from directory.recover import create, recover
from directory.resume import Beginning, OtherCommand, in_words
from engine.interface import MarketEngine
from engine.limits import Capacity
from journal import Journal, JournalBusy
from journal.lock import LOCK_NAME, writer_pid
from journal.store import NEW_FOLDER
from replay.rebuild import Observe, journal_of

#: What a kill leaves behind before a journal is in place.
_LEFT_OVER: Final = {LOCK_NAME, NEW_FOLDER}


@dataclass(frozen=True)
class RunOptions:
    """Options of the command, under their names."""

    files: list[Path]
    data: Path
    form: Format
    books: list[Path]
    checks: list[Path]
    engine: EngineChoice
    durability: Durability
    checkpoint_every: int
    block_rows: int
    symbols: list[str] = field(default_factory=list)
    date: str | None = None
    append: bool = False
    tick: str = "0.01"
    capacity: CapacityOptions = field(default_factory=CapacityOptions)

    @property
    def names(self) -> str:
        """The files, for a sentence."""
        shown = [str(file) for file in self.files]
        return ", ".join(shown) if len(shown) < 4 else f"{shown[0]} and {len(shown) - 1} more files"


def holds_journal(directory: Path) -> bool:
    """True if a data directory holds a journal; else one can be made there. Raises WrongUse where neither is so."""
    if (directory / "journal").is_dir():
        return True
    if directory.exists() and not directory.is_dir():
        raise WrongUse(f"{directory} is a file; name a directory, new or one of lockstep's")
    if directory.exists() and not set(os.listdir(directory)) <= _LEFT_OVER:
        raise WrongUse(f"{directory} is not empty and holds no journal; name a new directory, or one of lockstep's")
    return False


def goes_on(options: RunOptions) -> bool:
    """True if the run goes on with a journal that is there; else it makes a new one. Raises WrongUse where neither can
    be, and where the directory has another capacity than the options say."""
    found = holds_journal(options.data)
    if options.append and not found:
        raise WrongUse(f"there is no journal in {options.data} to append to; check the path, or leave out --append")
    if found:
        options.capacity.check(options.data)
    else:
        options.capacity.of_new(Capacity())
    return found


class Met(NamedTuple):
    """Part of an input in a journal: commands 1 to ``seq``, of its own ``last_seq``. ``left``: True if the input
    has more than that."""

    seq: int
    last_seq: int
    left: bool


def compare(
    options: RunOptions, skip: Callable[[Journal, Beginning, screen.Bar], bool], place: Callable[[int], str]
) -> Met:
    """Meet the journal's commands at the beginning of the input. ``skip`` takes them off it and tells whether anything
    is left.

    ``place``: names a row of the input for people. Raises WrongUse when a command is another one, JournalBusy
    when somebody writes the journal, and what the journal raises.
    """
    pid = writer_pid(options.data)
    if pid is not None:
        raise JournalBusy(f"{options.data} is being written by process {pid}; stop it first")
    with journal_of(options.data) as journal, screen.Bar("comparing with the journal") as bar:
        beginning = Beginning(journal)
        try:
            left = skip(journal, beginning, bar)
        except OtherCommand as error:
            seq, what = error.difference.seq, in_words(error.difference)
            raise WrongUse(
                f"{options.data} does not hold the beginning of {options.names}: command {seq} differs from "
                f"{place(error.index)} in its {what}; nothing was added: name a new directory, or give --append to "
                f"add the files after command {beginning.last_seq}"
            ) from error
    return Met(beginning.seq, beginning.last_seq, left)


def open_node(
    options: RunOptions, met: Met | None = None, observe: Observe | None = None
) -> tuple[Journal, MarketEngine]:
    """The data directory, created or recovered, open for writing, and its engine at the journal's end.

    ``met``: what the comparison with the input gave. ``observe``: sees what is there already, block by block.
    """
    if not goes_on(options):
        capacity = options.capacity.of_new(Capacity())
        return create(options.data, capacity, engine=options.engine.value, durability=options.durability.value)
    with screen.Bar("recovering") as bar:
        journal, engine, recovered = recover(
            options.data,
            engine=options.engine.value,
            durability=options.durability.value,
            observe=observe,
            progress=bar.to,
        )
    if met is not None and met.last_seq != engine.seq:
        journal.close()
        raise WrongUse(f"somebody wrote {options.data} while it was compared; nothing was added: run again")
    for note in recovered.notes:
        screen.notice(f"note: {note}")
    if engine.seq:
        screen.notice(_how(options, engine.seq, met))
    return journal, engine


def _how(options: RunOptions, seq: int, met: Met | None) -> str:
    """Sentence that says how the run continues."""
    last = screen.count(seq)
    if met is None:
        return f"recovered {options.data}; appending after command {last}"
    if met.left:
        return f"recovered {options.data}, which holds the beginning of {options.names}; continued after command {last}"
    further = f", which goes on to command {last}" if seq > met.seq else ""
    commands = f"the {screen.counted(met.seq, 'command')} of {options.names}"
    return f"{commands} {'is' if met.seq == 1 else 'are'} in {options.data} already{further}; nothing was added"
