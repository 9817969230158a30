"""A chain of slices as a whole: the check of all its links, and an engine that goes through it.

A slice begins with the end of the one before: its last command, its last checksum, and the image of the state there. A
closed slice never changes. The check replays nothing, so slices of all rules can be checked.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from checkpoints import CheckpointError, CheckpointGone, load_checkpoint
from engine.digest import part_digest
from engine.interface import EngineKind, new_engine
from engine.records import EVENT, RULES_VERSION, concatenate
from journal import Journal, JournalError, slices
from journal.frame import SEQ_MAX
from journal.history import Gap, History
from journal.report import Problem
from replay.errors import ReplayError
from replay.kept import KeptEvents
from replay.rebuild import capacity_of, check_rules, name_of, restored, start, start_image

#: Called with commands read and commands in all.
Progress = Callable[[int, int], None]


@dataclass
class ChainReport:
    """Result of a check: counts of what was verified in all slices, every problem, and the slices that are missing.

    ``archived``: sentences on slices that a note says where they are; one that is missing without a note is a problem.
    ``notes``: sentences that are no problem.
    """

    slices: int = 0
    blocks: int = 0
    commands: int = 0
    digests: int = 0
    last_seq: int = 0
    problems: list[Problem] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True without any problem."""
        return not self.problems


class ChainEngine:
    """An engine that goes through the slices of a history: at each it begins with the image that the slice starts from.

    Before the first command of a slice it has the capacity of that slice. Raises ReplayError for rules that are not
    ours, CheckpointError for an image that is not right.
    """

    def __init__(self, history: History, kind: EngineKind, seq: int = 0) -> None:
        """``seq``: a command after which a slice begins; 0: the first one."""
        self._history, self._kind = history, kind
        self._place = next(
            place for place in history.places if history.journal(place.number).start_seq == max(seq, history.start_seq)
        )
        self._begin()

    def _begin(self) -> None:
        journal = self._history.journal(self._place.number)
        check_rules(name_of(self._history, journal), int(journal.meta.get("rules_version", RULES_VERSION)))
        if journal.start is None:
            self.engine = new_engine(self._kind, capacity_of(journal))
        elif journal.place.start_image.exists():
            self.engine = restored(self._kind, start_image(journal))
        else:  # a running node writes it right after it began the slice
            self.engine = start(journal, journal.path, journal.start_seq, self._kind, True, [])
        last = self._place is self._history.places[-1]
        self._end_seq = SEQ_MAX if last else self._history.end_of(self._place)

    @property
    def seq(self) -> int:
        """The last command applied."""
        return self.engine.seq

    def apply(self, commands: NDArray[Any]) -> NDArray[Any]:
        """Apply COMMAND rows (owned); the EVENT rows that they cause."""
        events: list[NDArray[Any]] = []
        while len(commands):
            while self.engine.seq == self._end_seq:
                self._place = self._history.places[self._history.places.index(self._place) + 1]
                self._begin()
            count = min(len(commands), self._end_seq - self.engine.seq)
            events.append(self.engine.apply(commands[:count]))
            commands = commands[count:]
        return concatenate(events, EVENT) if len(events) != 1 else events[0]


def check_chain(directory: Path, progress: Progress | None = None) -> ChainReport:
    """Read and verify all slices of a data directory, and what links them. Damage is reported, not raised.

    Raises JournalError where the last slice cannot be opened at all.
    """
    report = ChainReport()
    with History.open(directory) as history:
        several = len(history.places) > 1 or history.places[0].number > 1
        for gap in history.gaps():
            _gap(report, directory, gap)
        for place in history.places:
            about = f"slice {place.number}: " if several else ""
            try:
                journal = history.journal(place.number)
                checked = journal.check(progress)
            except JournalError as error:
                report.problems.append(Problem(0, f"{about}{error}"))
                continue
            report.slices += 1
            report.blocks += checked.blocks
            report.commands += checked.rows
            report.digests += checked.digests
            report.last_seq = max(report.last_seq, checked.last_seq)
            report.problems += [Problem(each.seq, about + each.sentence) for each in checked.problems]
            wrong = wrong_image(journal)
            if wrong and _can_be_written_again(history, journal):
                report.notes += [f"{about}{sentence}; a start writes it again" for sentence in wrong]
                wrong = []
            for sentence in [*_unfit(history, journal), *wrong, *wrong_events(journal)]:
                report.problems.append(Problem(0, about + sentence))
    return report


def _can_be_written_again(history: History, journal: Journal) -> bool:
    """True if the image that a slice starts from is missing, and the slice before gives it.

    So it is after a kill, and for a moment in a running node, which writes the image right after it began the slice.
    """
    number = journal.place.number - 1
    if journal.place.start_image.exists() or all(place.number != number for place in history.places):
        return False
    before = history.journal(number).meta
    return all(before.get(key) == journal.meta.get(key) for key in ("rules_version", "capacity"))


def wrong_events(journal: Journal) -> list[str]:
    """Faults of the kept events of a slice; none where none are kept."""
    if not journal.place.events.exists():
        return []
    try:
        with KeptEvents(journal) as kept:
            kept.check()
    except (JournalError, ReplayError) as error:
        return [str(error)]
    return []


def _gap(report: ChainReport, directory: Path, gap: Gap) -> None:
    numbers = range(gap.first_number, gap.last_number + 1)
    if all(slices.read_note(directory, number) is not None for number in numbers):
        report.archived.append(gap.sentence)
    else:
        report.problems.append(Problem(0, gap.sentence))


def _unfit(history: History, journal: Journal) -> list[str]:
    """Faults between a slice and the one before, if that is there."""
    start = journal.start
    before = next((place for place in history.places if place.number == journal.place.number - 1), None)
    found = [] if journal.journal_id == history.journal_id else ["it was taken from another journal"]
    if start is None or before is None:
        return found
    try:
        slices.check_follows(before, start)
        earlier = history.journal(before.number)
        if start.last_seq > earlier.start_seq:
            for block in earlier.blocks(start.last_seq, start.last_seq):
                if (block.last_seq, block.checksum) != (start.last_seq, start.link):
                    found.append(f"its genesis record names another last block than slice {before.number} has")
        elif start.link != earlier.genesis[:16]:
            found.append(f"its genesis record names another genesis record than slice {before.number} has")
    except JournalError as error:
        found.append(str(error))
    return found


def wrong_image(journal: Journal) -> list[str]:
    """Faults of the image that a slice starts from: missing, damaged, or not the one of its genesis record."""
    start, path = journal.start, journal.place.start_image
    if start is None:
        return []
    try:
        image = load_checkpoint(path)
    except CheckpointGone:
        return [f"the image {path} that it starts from is missing"]
    except CheckpointError as error:
        return [str(error)]
    digests = {part: part_digest(arrays) for part, arrays in image.parts.items()}
    if (image.seq, image.event_digest, digests) != (start.last_seq, start.event_digest, start.image):
        return [f"{path} is not the image that its genesis record names"]
    return []
