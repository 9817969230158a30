"""Options of a run, and its start for people (``directory.begin``).

With ``--append`` the files follow the commands of the journal; else the journal must hold the first commands of the
files.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cli import screen
from cli.capacity import CapacityOptions
from cli.errors import WrongUse
from cli.options import Durability, EngineChoice, Format
from directory import begin
from directory.begin import JournalMatch, holds_journal
from directory.pair_membership import check_single
from directory.recover import create, recover
from directory.resume import CommandMismatch, JournalBeginning, in_words
from engine.capacity import Capacity
from engine.interface import MarketEngine
from journal import Journal
from replay.rebuild import Observe


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
        """Names of the files, for a message."""
        shown = [str(file) for file in self.files]
        return ", ".join(shown) if len(shown) < 4 else f"{shown[0]} and {len(shown) - 1} more files"


def goes_on(options: RunOptions) -> bool:
    """True if the run continues an existing journal, False if it creates one. Raises WrongUse if neither is possible,
    or if the directory has another capacity than the options.
    """
    found = holds_journal(options.data)
    if options.append and not found:
        raise WrongUse(f"there is no journal in {options.data} to append to; check the path, or leave out --append")
    if found:
        check_single(options.data, "give the commands to the running primary with `lockstep admin do`")
        options.capacity.check(options.data)
    else:
        options.capacity.of_new(Capacity())
    return found


def compare(
    options: RunOptions, skip: Callable[[Journal, JournalBeginning, screen.Bar], bool], place: Callable[[int], str]
) -> JournalMatch:
    """``directory.begin.compare`` with a progress bar.

    ``place``: names a row of the input for people. Raises WrongUse if a command differs.
    """
    with screen.Bar("comparing with the journal") as bar:
        try:
            return begin.compare(options.data, lambda journal, beginning: skip(journal, beginning, bar))
        except CommandMismatch as error:
            seq, what = error.difference.seq, in_words(error.difference)
            raise WrongUse(
                f"{options.data} does not begin with the commands of {options.names}: command {seq:,} differs from "
                f"{place(error.index)} in its {what}; nothing was added: name a new directory, or give --append to "
                f"add the files after command {error.last_seq:,}"
            ) from error


def open_node(
    options: RunOptions, met: JournalMatch | None = None, observe: Observe | None = None
) -> tuple[Journal, MarketEngine]:
    """Create or recover the data directory: journal, open for writing, and engine at the journal's end.

    ``met``: result of the comparison with the input. ``observe``: called for each block that is in the journal already.
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
        raise WrongUse(f"another process wrote {options.data} during the comparison; nothing was added: run again")
    for note in recovered.notes:
        screen.notice(f"note: {note}")
    if engine.seq:
        screen.notice(_how(options, engine.seq, met))
    return journal, engine


def _how(options: RunOptions, seq: int, met: JournalMatch | None) -> str:
    """Sentence that says how the run continues."""
    last = screen.count(seq)
    if met is None:
        return f"recovered {options.data}; appending after command {last}"
    if met.left:
        return (
            f"recovered {options.data}, which has the first commands of {options.names}; continued after command {last}"
        )
    further = f", which continues to command {last}" if seq > met.seq else ""
    commands = f"the {screen.counted(met.seq, 'command')} of {options.names}"
    return f"{commands} {'is' if met.seq == 1 else 'are'} in {options.data} already{further}; nothing was added"
