"""Verifying: every block is applied again, and its event digest must be the recorded one.

The journal is cut at checkpoints into intervals that can be verified apart (``replay.interval``), in one process or in
several (``replay.spread``). A checkpoint that turns out to be damaged is reported, the cut there is given up, and what
depended on it is verified again from the checkpoint before.
"""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from checkpoints import CheckpointError, CheckpointStore
from engine.interface import EngineKind
from journal import Journal
from replay.errors import ReplayError
from replay.interval import Advanced, Cut, Difference, Interval, Verified, cut_intervals, verify_interval
from replay.rebuild import Progress, check_range, journal_of, why_not_origin
from replay.spread import Workers

#: Intervals a worker: more of them balance better, fewer load fewer checkpoints.
_PIECES_A_WORKER = 2


@dataclass(frozen=True)
class VerifyReport:
    """Result of a verification, from ``from_seq`` to ``to_seq``. ``seconds``: wall time with the start of workers.

    ``missing_tail``: blocks at the very end without a recorded digest (normal after a crash); ``missing``: first_seq of
    others. ``damage``: sentences on what is damaged or could not be verified. ``notes``: sentences that are no failure.
    """

    from_seq: int
    to_seq: int
    blocks: int
    commands: int
    events: int
    seconds: float
    workers: int
    intervals: int
    checkpoints_compared: int
    differences: tuple[Difference, ...]
    missing_tail: int
    missing: tuple[int, ...]
    damage: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def difference(self) -> Difference | None:
        """The first difference, None without any."""
        return self.differences[0] if self.differences else None

    @property
    def commands_per_second(self) -> float:
        """Commands verified per second of wall time."""
        return self.commands / self.seconds if self.seconds else 0.0

    @property
    def ok(self) -> bool:
        """True if all that was asked for was verified and agrees."""
        return not (self.differences or self.missing or self.damage)


def verify(
    directory: Path | str,
    *,
    engine: EngineKind = "kernel",
    workers: int = 1,
    from_seq: int | None = None,
    to_seq: int | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Apply the journal again and compare every event digest, and the state at each checkpoint, with the record.

    The range is widened to the checkpoint before ``from_seq`` and to the end of the block with ``to_seq``. The
    reference engine starts at 1, in one worker. Differences and damage are reported, not raised; raises ReplayError
    for a wrong range or other rules, JournalError when the journal cannot be opened.
    """
    if workers < 1:
        raise ReplayError(f"{workers} workers cannot verify anything; give 1 or more")
    began = time.perf_counter()
    notes: list[str] = []
    with Workers(directory, _of_use(directory, workers, engine)) as staff, journal_of(directory) as journal:
        first, last = _range(journal, directory, from_seq, to_seq)
        if engine == "reference" and (workers > 1 or first > 1):
            notes.append("the reference engine starts at command 1, in one worker")
            workers, first = 1, 1
        infos = CheckpointStore(Path(directory)).list() if engine == "kernel" else []
        good = [info for info in infos if info.valid and why_not_origin(info.origin, journal) is None]
        whole = {info.seq for info in good}
        damage: list[str] = []
        for info in infos:
            if info.valid and info.seq not in whole and info.seq <= last:
                notes.append(f"checkpoint {info.seq} {why_not_origin(info.origin, journal)}; it was not used")
            elif not info.valid and info.seq <= last:
                # One that was set aside and taken anew is history, no damage.
                told = notes if info.seq in whole else damage
                told.append(f"checkpoint {info.seq} is damaged: {info.why}")
        pieces = 1 if workers == 1 else workers * _PIECES_A_WORKER
        advanced = None if progress is None else _total(progress, last - first + 1)
        done: dict[Interval, Verified] = {}
        while True:
            intervals = cut_intervals(first, last, good, pieces) if last >= first else []
            todo = [interval for interval in intervals if interval not in done]
            if not todo:
                break
            if workers > 1:
                done |= staff.verify(journal, todo, advanced)
            else:
                done |= {each: verify_interval(journal, directory, each, engine, advanced) for each in todo}
            bad = {found.bad for found in done.values() if found.bad is not None}
            cuts = {Cut(info.seq, str(info.path)) for info in good}
            damage += sorted({found.damage for found in done.values() if found.bad in cuts and found.damage})
            good = [info for info in good if Cut(info.seq, str(info.path)) not in bad]
        last_seq = journal.last_seq
    found = {interval: done[interval] for interval in intervals}
    return _report(found, last_seq, min(workers, max(1, len(found))), damage, notes, time.perf_counter() - began)


def _of_use(directory: Path | str, workers: int, engine: EngineKind) -> int:
    """Number of workers that can have something to do: one for each checkpoint, and one."""
    if engine != "kernel" or workers == 1:
        return 1
    try:
        return min(workers, len(CheckpointStore(Path(directory)).list()) + 1)
    except CheckpointError:
        return 1  # what is wrong is said where the checkpoints are used


def _range(journal: Journal, directory: Path | str, from_seq: int | None, to_seq: int | None) -> tuple[int, int]:
    first = 1 if from_seq is None else from_seq
    last = check_range(directory, first, to_seq, journal.last_seq)
    if last < journal.last_seq:
        for block in journal.blocks(last, last):
            last = block.last_seq
    return first, last


def _total(progress: Progress, total: int) -> Advanced:
    """Adds up what the workers report; they report from several threads."""
    lock = threading.Lock()
    done = 0

    def advanced(commands: int) -> None:
        nonlocal done
        with lock:
            done += commands
            progress(min(done, total), total)

    return advanced


def _report(
    found: dict[Interval, Verified], last_seq: int, workers: int, damage: list[str], notes: list[str], seconds: float
) -> VerifyReport:
    in_order = sorted(found.items(), key=lambda item: item[0].from_seq)
    results = [result for _, result in in_order]
    missing = [first_seq for result in results for first_seq in result.missing]
    differences = sorted(
        (d for r in results for d in r.differences), key=lambda d: (d.last_seq, d.part != "events", d.part)
    )
    tail = _missing_tail(results) if in_order and in_order[-1][0].to_seq == last_seq else 0
    if tail:
        blocks = "the last block has" if tail == 1 else f"the last {tail} blocks have"
        notes.append(f"{blocks} no recorded event digest yet, as after a crash; recovery writes what is missing")
    return VerifyReport(
        from_seq=in_order[0][0].from_seq if in_order else 1,
        to_seq=in_order[-1][0].to_seq if in_order else 0,
        blocks=sum(result.blocks for result in results),
        commands=sum(result.commands for result in results),
        events=sum(result.events for result in results),
        seconds=seconds,
        workers=workers,
        intervals=len(results),
        checkpoints_compared=sum(result.checkpoints_compared for result in results),
        differences=tuple(differences),
        missing_tail=tail,
        missing=tuple(missing[: len(missing) - tail]),
        damage=tuple(damage) + tuple(r.damage for r in results if r.damage and r.bad is None),
        notes=tuple(notes),
    )


def _missing_tail(results: list[Verified]) -> int:
    tail = 0
    for result in reversed(results):
        tail += result.missing_at_end
        if result.missing_at_end < result.blocks:
            break
    return tail
