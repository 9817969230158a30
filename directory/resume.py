"""Resume of an input of which a journal holds a part, as after a kill.

A journal does not record the source of its commands. So the input is translated again from its beginning, and its rows
are compared with those of the journal, byte by byte, whatever the blocks. Only if the journal equals the beginning of
the input is the rest of the input appended. Names of a scenario become numbers through its own definitions, so a second
engine, the scout, follows as far as there are definitions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.interface import MarketEngine
from engine.market_time import ClockPosition, clock_after
from engine.names import Directory
from engine.records import COMMAND, COMMAND_FIELDS, CommandKind
from journal.history import History
from notation.parse import Line
from notation.translate import DEFINITIONS, KIND_BYTE, Translator
from replay.compare import CommandDifference, command_difference
from replay.errors import ReplayError

#: Lines translated at once, and rows compared or given to the scout: some megabytes.
LINES_MAX: Final = 65_536
_ROWS_MAX: Final = 8_192


class CommandMismatch(ReplayError):
    """The journal differs from the input. ``index``: of the differing row among those given last. ``last_seq``: the
    journal's last command.
    """

    def __init__(self, difference: CommandDifference, index: int, last_seq: int) -> None:
        super().__init__(f"command {difference.seq:,} differs in {in_words(difference)}")
        self.difference = difference
        self.index = index
        self.last_seq = last_seq


def in_words(difference: CommandDifference) -> str:
    """Names of the places in which two commands differ, without units."""
    kinds = [int(row["kind"][0]) for row in (difference.a, difference.b)]
    known = kinds[0] == kinds[1] and kinds[0] in COMMAND_FIELDS
    used = COMMAND_FIELDS[CommandKind(kinds[0])] if known else ("kind",)
    names = [name.removesuffix("_e4").removesuffix("_ns") for name in difference.fields if name in used]
    return ", ".join(name.replace("_", " ") for name in names) or "bytes"


class JournalBeginning:
    """Commands of a journal, compared one after another with an input. ``seq``: the last one compared.

    Reads all slices once, a few megabytes at a time. Commands appended meanwhile are ignored.
    """

    def __init__(self, history: History) -> None:
        self.seq = 0
        self.last_seq = history.last_seq
        self._blocks = history.blocks(1, self.last_seq) if self.last_seq else iter(())
        self._rows = _numbers(np.empty(0, COMMAND))

    @property
    def over(self) -> bool:
        """True if all commands of the journal were compared."""
        return self.seq == self.last_seq

    def meet(self, rows: NDArray[Any]) -> int:
        """Compare the next COMMAND rows of the input; gives the number of them that the journal has: all, or fewer at
        its end.

        Raises CommandMismatch for the first that differs, JournalDamaged.
        """
        wanted = _numbers(rows)
        done = 0
        while done < len(wanted) and not self.over:
            if len(self._rows) == 0:
                self._rows = np.frombuffer(next(self._blocks).rows, np.int64).reshape(-1, wanted.shape[1])
            count = min(len(self._rows), len(wanted) - done)
            held, given = self._rows[:count], wanted[done : done + count]
            if not np.array_equal(held, given):
                at = int((held != given).any(axis=1).argmax())
                difference = command_difference(self.seq + at + 1, held[at], given[at])
                raise CommandMismatch(difference, done + at, self.last_seq)
            self._rows = self._rows[count:]
            self.seq += count
            done += count
        return done


def _numbers(rows: NDArray[Any]) -> NDArray[np.int64]:
    return rows.view(np.int64).reshape(-1, COMMAND.itemsize // 8)


class Names(Protocol):
    """Source of the names that are defined: an engine."""

    @property
    def directory(self) -> Directory: ...


class ScenarioFeed:
    """Rows of scenario files, one file after another: ``next_batch`` with the names that ``venue`` knows by then.

    ``venue`` may be exchanged for another engine that has applied the same commands.
    """

    def __init__(self, files: Sequence[tuple[str, list[Line]]], now_ns: int = 0) -> None:
        """``now_ns``: the clock in force before the first line. Raises ScenarioError where the clock would go back in
        any of the files."""
        self.venue: Names
        self._files = list(files)
        self._translators = _translators(self._files, now_ns)
        self._at = 0
        self._given: tuple[int, list[int]] = (0, [])  # of the last batch: its file, the line of each row
        self._definitions = [_last_definition(lines) for _, lines in self._files]

    @property
    def more(self) -> bool:
        """True if there are further rows."""
        return any(
            translator.done < len(lines)
            for translator, (_, lines) in zip(self._translators[self._at :], self._files[self._at :], strict=True)
        )

    @property
    def lines(self) -> int:
        """Lines in all files."""
        return sum(len(lines) for _, lines in self._files)

    def next_batch(self) -> NDArray[Any] | None:
        """Next COMMAND rows; None after the last. ``venue`` must have applied the earlier ones."""
        while self._at < len(self._translators):
            batch = self._translators[self._at].next_batch(self.venue.directory, LINES_MAX)
            if batch is not None:
                self._given = (self._at, batch.lines)
                return batch.rows
            self._at += 1
        return None

    def place(self, index: int) -> str:
        """File and line of a row of the last batch."""
        file, owners = self._given
        name, lines = self._files[file]
        return f"{name}:{lines[max(0, owners[index])].number}"

    @property
    def settled(self) -> bool:
        """True if no line of the last batch or after it can have changed what names are known when the next is
        asked for."""
        file, owners = self._given
        if any(last >= 0 for last in self._definitions[file + 1 :]):
            return False
        return self._definitions[file] < max(0, owners[0] if owners else 0)


def _last_definition(lines: list[Line]) -> int:
    """The index of the last line that may define a name; -1 without any."""
    for at in range(len(lines) - 1, -1, -1):
        if lines[at].row[KIND_BYTE : KIND_BYTE + 1] and lines[at].row[KIND_BYTE] in DEFINITIONS:
            return at
    return -1


def _translators(files: list[tuple[str, list[Line]]], now_ns: int) -> list[Translator]:
    """A translator for each file, which has looked at the clock of every line."""
    position = ClockPosition(now_ns)
    translators = []
    for at, (name, lines) in enumerate(files):
        translators.append(Translator(lines, Directory(now_ns=position.now_ns), name))
        if at < len(files) - 1:
            # Where the clock stands at the end of a file does not depend on names, so nobody need know them yet.
            ahead = Translator(lines, Directory(now_ns=position.now_ns), name)
            while (batch := ahead.next_batch(Directory(now_ns=position.now_ns), LINES_MAX)) is not None:
                position = clock_after(batch.rows, position)
    return translators


def skip_scenario(
    beginning: JournalBeginning,
    feed: ScenarioFeed,
    scout: MarketEngine,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[Any]:
    """Skip the rows of a feed that the journal holds; gives the rest of the batch in which the journal ends.

    ``scout``: an engine before its first command, of the journal's capacity. Raises CommandMismatch, ScenarioError,
    JournalDamaged. The journal goes on after the input's end when ``beginning`` is not over.
    """
    feed.venue = scout
    while not beginning.over:
        batch = feed.next_batch()
        if batch is None:
            break
        met = beginning.meet(batch)
        if met < len(batch):
            return batch[met:]
        if not feed.settled:
            for part in parts(batch, _ROWS_MAX):
                scout.apply(part)
        if progress is not None:
            progress(beginning.seq, beginning.last_seq)
    return np.empty(0, COMMAND)


def parts(rows: NDArray[Any], rows_max: int) -> Iterator[NDArray[Any]]:
    """The rows in runs of at most ``rows_max``."""
    for first in range(0, len(rows), rows_max):
        yield rows[first : first + rows_max]


def rest_of(feed: ScenarioFeed, first: NDArray[Any], rows_max: int) -> Iterator[NDArray[Any]]:
    """``first`` and then the feed to its end, in batches of at most ``rows_max`` rows; ``feed.venue`` must apply each
    before the next.
    """
    rows: NDArray[Any] | None = first
    while rows is not None:
        yield from parts(rows, rows_max)
        rows = feed.next_batch()
