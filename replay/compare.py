"""Comparison of two data directories, or of two engines on one journal: their first difference.

First the commands, row by row, whatever the blocks; then the recorded event digests, where blocks of both end at the
same command; then the state of each node by part, rebuilt from its own checkpoint and tail. A shorter journal that
equals the beginning of the other is no difference. A replay that differs from the records is one, even if both records
are equal.

Two nodes of different capacity have their commands compared in the same way. Their events are replayed, each by an
engine of its own capacity, and compared one by one; of their states, the views of any engine.

An engine decides which of two recorded digests is right, and rebuilds the states. Only the compiled engine can start
from a checkpoint, so it rebuilds the states in both cases; the reference engine replays the commands from 1 and judges
both states.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engine.interface import EngineKind, StatefulEngine
from engine.records import COMMAND, RULES_VERSION
from journal import Block, JournalDamaged
from journal.history import History
from replay.chain import ChainEngine
from replay.difference import EventDifference, first_difference, unlike
from replay.errors import ReplayError
from replay.rebuild import Progress, capacity_of, check_rules, owned_rows, rebuild


@dataclass(frozen=True)
class CommandDifference:
    """First command that differs: its sequence number, both rows, and the names of the places that differ."""

    seq: int
    a: NDArray[Any]
    b: NDArray[Any]
    fields: tuple[str, ...]


@dataclass(frozen=True)
class DigestDifference:
    """First block whose recorded event digests differ. ``replayed``: digest by the chosen engine, if known; ``agrees``:
    the directory that recorded it ("a", "b", or "" for neither).
    """

    first_seq: int
    last_seq: int
    a: bytes
    b: bytes
    replayed: bytes | None = None
    agrees: str = ""


@dataclass(frozen=True)
class CompareReport:
    """Result of a comparison. ``seq``: the last command that was compared in both; ``prefix_of``: "a" when a's
    journal is a beginning of b's, "b" the other way, "" when they end together (or differ in commands).
    ``first_seq_a``, ``first_seq_b``: the first command from which on each has all slices.

    ``event``, of nodes of different capacity alone: the first event in which they differ. ``parts``: parts of the state
    that differ at ``state_seq`` (0: not compared); of nodes of different capacity, names of ``VIEWS``. ``unlike_a`` and
    ``unlike_b``, by the reference engine alone: what of each state is not as it gives it (names of ``VIEWS``).
    ``diverged``: sentences on each replay that does not give what is recorded. ``damage``: sentences on what could not
    be read.
    """

    seq: int
    first_seq_a: int
    last_seq_a: int
    first_seq_b: int
    last_seq_b: int
    digests_compared: int
    command: CommandDifference | None = None
    digest: DigestDifference | None = None
    parts: tuple[str, ...] = ()
    state_seq: int = 0
    prefix_of: str = ""
    damage: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    engine: EngineKind = "kernel"
    unlike_a: tuple[str, ...] = ()
    unlike_b: tuple[str, ...] = ()
    event: EventDifference | None = None
    diverged: tuple[str, ...] = ()

    @property
    def apart(self) -> bool:
        """True if the readable parts of the two differ."""
        recorded = self.command is not None or self.digest is not None or self.event is not None
        return recorded or bool(self.parts) or self.unlike_a != self.unlike_b

    @property
    def differs(self) -> bool:
        """True if the two differ from each other, or from a replay."""
        return self.apart or bool(self.unlike_a or self.diverged)

    @property
    def same(self) -> bool:
        """True if no difference was found and nothing was damaged; a beginning of the other counts as the same."""
        return not self.differs and not self.damage


class _Reader:
    """Blocks of one journal as a stream of rows, with its damage."""

    def __init__(self, history: History, name: str, from_seq: int) -> None:
        self._blocks = self._read(history, from_seq)
        self._from_seq = from_seq
        self.name = name
        self.damage = ""
        self.block: Block | None = None
        self.rows: NDArray[np.int64] = np.empty((0, COMMAND.itemsize // 8), np.int64)

    def _read(self, history: History, from_seq: int) -> Iterator[Block]:
        try:
            yield from history.blocks(from_seq)
        except JournalDamaged as error:
            self.damage = f"{self.name}: {error}"

    def fill(self) -> bool:
        """Read further rows; False at the end, or at damage."""
        if len(self.rows) == 0:
            self.block = next(self._blocks, None)
            if self.block is not None:
                rows = np.frombuffer(self.block.rows, np.int64).reshape(-1, COMMAND.itemsize // 8)
                self.rows = rows[max(0, self._from_seq - self.block.first_seq) :]
        return len(self.rows) > 0

    def take(self, rows: int) -> None:
        """Advance by so many rows."""
        self.rows = self.rows[rows:]


def compare(
    dir_a: Path | str,
    dir_b: Path | str,
    *,
    state: bool = True,
    engine: EngineKind = "kernel",
    progress: Progress | None = None,
) -> CompareReport:
    """Find the first block, command and part in which two data directories differ.

    ``state``: also rebuild both, where commands and digests agree, and compare the state by part. ``engine``: judges
    digests that differ; the reference engine also judges both states by what both engines can show. Raises
    ReplayError for rules that differ, JournalError when a journal cannot be opened.
    """
    if Path(dir_a).resolve() == Path(dir_b).resolve():
        raise ReplayError(f"{dir_a} and {dir_b} are the same directory; give two")
    with _history_of(dir_a) as a, _history_of(dir_b) as b:
        report = replace(_compare_journals(a, b, (str(dir_a), str(dir_b)), progress), engine=engine)
        _check_in_both(report, dir_a, dir_b)
        if report.command is not None or report.seq == 0:
            return report
        first = max(a.there_from_seq, b.there_from_seq)
        other = other_capacity(a, b, first, report.seq)
        if other and first > 1:
            # Neither has an image where the other one begins.
            return replace(report, notes=(*report.notes, f"{other.partition(':')[0]}: only commands were compared"))
        if other:
            report = replace(report, notes=(*report.notes, other), event=_compare_events(a, b, report.seq, progress))
            if report.event is not None:
                # The records differ for the same cause.
                return replace(report, digest=None)
        if report.digest is not None:
            return replace(report, digest=_judge(dir_a, report.digest, engine, progress))
        if state:
            return _compare_states(a, b, report, progress)
        return report


def _check_in_both(report: CompareReport, dir_a: Path | str, dir_b: Path | str) -> None:
    """Raise ReplayError where no command is in both, since slices are missing."""
    first = max(report.first_seq_a, report.first_seq_b)
    if first > 1 and min(report.last_seq_a, report.last_seq_b) < first:
        here_a = _commands_of(report.first_seq_a, report.last_seq_a)
        here_b = _commands_of(report.first_seq_b, report.last_seq_b)
        why = "; ".join(report.notes)
        raise ReplayError(f"no command is in both: {dir_a} has {here_a} and {dir_b} has {here_b}; {why}")


def _commands_of(first: int, last: int) -> str:
    return f"commands {first:,} to {last:,}" if first <= last else f"none before {first:,}"


def _history_of(directory: Path | str) -> History:
    """The history of a data directory whose open slice is of our rules. Raises ReplayError, JournalError."""
    history = History.open(directory)
    try:
        check_rules(directory, int(history.last.meta.get("rules_version", RULES_VERSION)))
    except BaseException:
        history.close()
        raise
    return history


def _compare_journals(a: History, b: History, names: tuple[str, str], progress: Progress | None) -> CompareReport:
    from_seq = max(a.there_from_seq, b.there_from_seq)
    left, right = _Reader(a, names[0], from_seq), _Reader(b, names[1], from_seq)
    seq, digests = from_seq - 1, 0
    aligned = True
    digest: DigestDifference | None = None
    command: CommandDifference | None = None
    while left.fill() and right.fill() and command is None:
        n = min(len(left.rows), len(right.rows))
        if not np.array_equal(left.rows[:n], right.rows[:n]):
            at = int((left.rows[:n] != right.rows[:n]).any(axis=1).argmax())
            command = command_difference(seq + at + 1, left.rows[at], right.rows[at])
            n = at
        seq += n
        left.take(n)
        right.take(n)
        ends_together = command is None and len(left.rows) == len(right.rows) == 0
        aligned = aligned and ends_together
        if ends_together and digest is None and left.block is not None and right.block is not None:
            block = left.block
            recorded_a, recorded_b = a.digest(block.first_seq), b.digest(right.block.first_seq)
            if recorded_a is not None and recorded_b is not None:
                digests += 1
                if recorded_a != recorded_b:
                    digest = DigestDifference(block.first_seq, block.last_seq, recorded_a, recorded_b)
        if progress is not None:
            progress(seq, min(a.last_seq, b.last_seq))
    damage = tuple(reader.damage for reader in (left, right) if reader.damage)
    prefix_of = ""
    if command is None and not damage and a.last_seq != b.last_seq:
        prefix_of = "a" if a.last_seq < b.last_seq else "b"
    notes: tuple[str, ...] = ()
    if not aligned and command is None:
        notes = ("some blocks end at different commands; digests were compared where both end",)
    missing = [f"of {side}, {gap.sentence}" for side, history in (("A", a), ("B", b)) for gap in history.gaps()]
    if from_seq > 1:
        why = "; ".join(missing) or "one of them is the folder of a single slice"
        notes = (f"compared from command {from_seq:,} on: {why}", *notes)
    return CompareReport(
        seq,
        a.there_from_seq,
        a.last_seq,
        b.there_from_seq,
        b.last_seq,
        digests,
        command,
        digest,
        prefix_of=prefix_of,
        damage=damage,
        notes=notes,
    )


def command_difference(seq: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> CommandDifference:
    """Two unequal rows of command ``seq``, each as eight numbers."""
    row_a, row_b = a.copy().view(COMMAND), b.copy().view(COMMAND)
    names = tuple(name for name in COMMAND.names or () if row_a[name][0] != row_b[name][0])
    return CommandDifference(seq, row_a, row_b, names)


def _judge(
    dir_a: Path | str, difference: DigestDifference, engine: EngineKind, progress: Progress | None
) -> DigestDifference:
    """The record that an engine agrees with; it applies a's journal, whose commands are b's too."""
    rebuilt = rebuild(dir_a, at=difference.last_seq, engine=engine, progress=progress, on_divergence="note")
    replayed = rebuilt.engine.event_digest
    agrees = "a" if replayed == difference.a else "b" if replayed == difference.b else ""
    return replace(difference, replayed=replayed, agrees=agrees)


def other_capacity(a: History, b: History, first_seq: int, last_seq: int) -> str:
    """A sentence on the first place at which two engines are of different capacity; "" where there is none."""
    unequal: list[str] = []
    for part in a.ranges(first_seq, last_seq):
        for other in b.ranges(part.from_seq, part.to_seq):
            rooms = [asdict(capacity_of(journal)) for journal in (part.journal, other.journal)]
            unequal = unequal or [
                f"{name} {rooms[0][name]:,} and {rooms[1][name]:,}"
                for name in rooms[0]
                if rooms[0][name] != rooms[1][name]
            ]
    if not unequal:
        return ""
    return (
        f"A and B have room for {', '.join(unequal)}: if one has none left, they differ by rule; their events were "
        "compared, and the parts of their states that do not depend on it"
    )


def _compare_events(a: History, b: History, last_seq: int, progress: Progress | None) -> EventDifference | None:
    """The first event up to ``last_seq`` in which an engine of a's capacity and one of b's differ; both apply a's
    journal, whose commands are b's too."""
    left, right = ChainEngine(a, "kernel"), ChainEngine(b, "kernel")
    for block in a.blocks(None, last_seq):
        rows = owned_rows(block.rows)[: last_seq - block.first_seq + 1]
        difference = first_difference(left.apply(rows), right.apply(rows))
        if difference is not None:
            return difference
        if progress is not None:
            progress(left.seq, last_seq)
    return None


def _compare_states(
    a: History,
    b: History,
    report: CompareReport,
    progress: Progress | None,
) -> CompareReport:
    """Compare the states at the last command that both share, each rebuilt from its own checkpoint."""
    notes, diverged = list(report.notes), []

    def built(history: History, engine: EngineKind) -> StatefulEngine:
        directory = history.path
        rebuilt = rebuild(directory, at=report.seq, engine=engine, progress=progress, on_divergence="note")
        by = ", by the reference engine" if engine == "reference" else ""
        notes.extend(f"{directory}{by}: {note}" for note in rebuilt.notes if not rebuilt.partial)
        if rebuilt.divergence:
            diverged.append(f"{rebuilt.divergence} ({engine} engine)")
        return cast(StatefulEngine, rebuilt.engine)

    engines = [built(a, "kernel"), built(b, "kernel")]
    other = capacity_of(a.slice_of(report.seq)) != capacity_of(b.slice_of(report.seq))
    if other:
        parts = unlike(*engines)
    else:
        digests = [dict(engine.part_digests()) for engine in engines]
        names = sorted(set(digests[0]) | set(digests[1]))
        parts = tuple(name for name in names if digests[0].get(name) != digests[1].get(name))
    unlike_a: tuple[str, ...] = ()
    unlike_b: tuple[str, ...] = ()
    if report.engine == "reference":
        judge_a = built(a, "reference")
        judge_b = built(b, "reference") if other else judge_a
        unlike_a, unlike_b = unlike(engines[0], judge_a), unlike(engines[1], judge_b)
    return replace(
        report,
        parts=parts,
        state_seq=report.seq,
        unlike_a=unlike_a,
        unlike_b=unlike_b,
        notes=tuple(notes),
        diverged=tuple(diverged),
    )
