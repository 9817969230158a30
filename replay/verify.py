"""Verifying: every block is applied again, and its event digest must be the recorded one.

The journal is cut at checkpoints into intervals. One goes from a checkpoint along the blocks past the checkpoints on
the way, and depends on no other: it starts from a checkpoint's state, and the interval before it must arrive at that
very state. So intervals may run anywhere, in any order. A checkpoint that turns out to be damaged is reported, the cut
there is given up, and what depended on it is verified again from the checkpoint before.

Several processes share the intervals; the calling one takes its part, so that one worker fewer has to start. Workers
are forked, which takes milliseconds where a new interpreter takes most of a second. An LMDB environment does not
survive a fork, so they are forked before the caller opens the journal, and each opens it for itself; where the process
has a journal open anyway, they are started anew instead. Each has its own pipe and a thread here that feeds it; when a
worker dies, its pipe closes, and the thread reports the interval it held.
"""

import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess, SpawnProcess
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from checkpoints import Checkpoint, CheckpointError, CheckpointGone, CheckpointInfo, CheckpointStore
from engine.digest import part_digest
from engine.interface import EngineKind, MarketEngine, StatefulEngine, new_engine
from engine.records import COMMAND
from journal import Journal, JournalDamaged, any_open
from replay.errors import ReplayError
from replay.forking import deaf_to_ctrl_c, undisturbed
from replay.rebuild import (
    Progress,
    capacity_of,
    check_range,
    check_rules,
    gap,
    journal_of,
    why_not,
    why_not_origin,
)

#: Called now and then with the number of commands verified since the call before.
Advanced = Callable[[int], None]

#: Intervals a worker: more of them balance better, fewer load fewer checkpoints.
_PIECES_A_WORKER = 2
#: Commands between two reports of progress from a worker.
_ADVANCED_EVERY = 1 << 18


class Cut(NamedTuple):
    """A checkpoint's place in the journal and its file."""

    seq: int
    path: str


class Interval(NamedTuple):
    """Commands ``from_seq`` to ``to_seq``, starting at a checkpoint (None: at 1) and passing others, by rising seq."""

    from_seq: int
    to_seq: int
    start: Cut | None
    passes: tuple[Cut, ...]


@dataclass(frozen=True)
class Difference:
    """A difference between replay and record. ``part``: "events" for a block's event digest, else a part of the
    state."""

    first_seq: int
    last_seq: int
    part: str
    expected: bytes
    got: bytes


@dataclass(frozen=True)
class IntervalResult:
    """Result of one interval. ``missing``: first_seq of the blocks without a recorded digest, the last
    ``missing_at_end`` of them at the interval's end.

    ``damage``: the sentence of what stopped it early; ``bad``: the checkpoint that cannot be used, if that was it.
    """

    blocks: int = 0
    commands: int = 0
    events: int = 0
    differences: tuple[Difference, ...] = ()
    missing: tuple[int, ...] = ()
    missing_at_end: int = 0
    checkpoints_compared: int = 0
    damage: str | None = None
    bad: Cut | None = None


class _BadCheckpoint(Exception):
    """A checkpoint on the way cannot be used; carries it and the sentence why, "" when it was pruned meanwhile."""

    def __init__(self, cut: Cut, why: str) -> None:
        super().__init__(why)
        self.cut = cut


def cut_intervals(from_seq: int, to_seq: int, infos: Sequence[CheckpointInfo], pieces: int) -> list[Interval]:
    """At most ``pieces`` intervals, of sizes as near to each other as the checkpoints allow, from the last one before
    ``from_seq``."""
    cuts = sorted(Cut(info.seq, str(info.path)) for info in infos if 0 < info.seq <= to_seq)
    before = [cut for cut in cuts if cut.seq < from_seq]
    first = before[-1] if before else None
    inside = [cut for cut in cuts if cut.seq >= from_seq]
    begins = first.seq if first else 0
    chosen: list[Cut] = []
    for piece in range(1, pieces):
        target = begins + (to_seq - begins) * piece // pieces
        later = [cut for cut in inside if cut.seq < to_seq and (not chosen or cut.seq > chosen[-1].seq)]
        if later:
            nearest = min(later, key=lambda cut: abs(cut.seq - target))
            if not chosen or nearest.seq > chosen[-1].seq:
                chosen.append(nearest)
    starts: list[Cut | None] = [first, *chosen]
    ends = [cut.seq for cut in chosen] + [to_seq]
    return [
        Interval(begin, end, start, tuple(cut for cut in inside if begin <= cut.seq <= end))
        for start, end in zip(starts, ends, strict=True)
        for begin in [start.seq + 1 if start else 1]
    ]


def verify_interval(
    journal: Journal, directory: Path | str, interval: Interval, kind: EngineKind, advanced: Advanced | None = None
) -> IntervalResult:
    """Apply the interval's blocks; stops at its first difference. Damage is reported, not raised."""
    tally = _Tally(journal, CheckpointStore(Path(directory)), advanced)
    damage: str | None = None
    bad: Cut | None = None
    try:
        tally.run(interval, kind)
    except _BadCheckpoint as error:
        damage, bad = str(error) or None, error.cut
    except (JournalDamaged, ReplayError) as error:
        damage = f"commands {interval.from_seq + tally.commands} to {interval.to_seq} were not verified: {error}"
    return IntervalResult(
        tally.blocks,
        tally.commands,
        tally.events,
        tuple(tally.differences),
        tuple(tally.missing),
        tally.missing_at_end,
        tally.checkpoints_compared,
        damage,
        bad,
    )


class _Tally:
    """Progress of a verification; kept outside the loop so that damage in the middle loses nothing."""

    def __init__(self, journal: Journal, store: CheckpointStore, advanced: Advanced | None) -> None:
        self.journal = journal
        self.store = store
        self.advanced = advanced
        self.blocks = self.commands = self.events = self.checkpoints_compared = self.missing_at_end = 0
        self.differences: list[Difference] = []
        self.missing: list[int] = []

    def run(self, interval: Interval, kind: EngineKind) -> None:
        """Verify one interval. Raises ReplayError, JournalDamaged, _BadCheckpoint."""
        machine = self.start(interval.start, kind)
        passes = list(reversed(interval.passes)) if kind == "kernel" else []
        # Events are only counted here, so the kernel's own buffer will do.
        apply = partial(cast(StatefulEngine, machine).apply, copy=False) if kind == "kernel" else machine.apply
        rows = np.empty(0, np.uint8)
        for block in self.journal.blocks(interval.from_seq, interval.to_seq):
            check_rules("the journal", block.rules_version)
            if block.first_seq != machine.seq + 1:
                raise gap(machine.seq + 1, block.first_seq)
            if len(rows) < len(block.rows):
                rows = np.empty(len(block.rows), np.uint8)
            commands = rows[: len(block.rows)]  # owned, and written over by the next block: the engine keeps no row
            commands[:] = np.frombuffer(block.rows, np.uint8)
            self.events += len(apply(commands.view(COMMAND)))
            self.blocks += 1
            self.commands += block.count
            if self.advanced is not None:
                self.advanced(block.count)
            recorded = self.journal.digest(block.first_seq)
            self.missing_at_end = self.missing_at_end + 1 if recorded is None else 0
            if recorded is None:
                self.missing.append(block.first_seq)
            elif recorded != machine.event_digest:
                self.differ(block.first_seq, block.last_seq, "events", recorded, machine.event_digest)
                return
            while passes and passes[-1].seq <= machine.seq:
                self.compare(passes.pop(), machine, block.first_seq)
                if self.differences:
                    return

    def start(self, cut: Cut | None, kind: EngineKind) -> MarketEngine:
        """The engine where the interval begins."""
        capacity = capacity_of(self.journal)
        if cut is None or kind != "kernel":
            return new_engine(kind, capacity)
        from engine import Engine

        checkpoint = self.load(cut)
        try:
            return Engine.restore(capacity, checkpoint.seq, checkpoint.event_digest, checkpoint.parts)
        except ValueError as error:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq} cannot be restored: {error}") from error

    def load(self, cut: Cut) -> Checkpoint:
        """The checkpoint, whole and of this journal. Raises _BadCheckpoint."""
        try:
            checkpoint = self.store.load(Path(cut.path))
        except CheckpointGone as error:
            raise _BadCheckpoint(cut, "") from error
        except CheckpointError as error:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq} is damaged: {error}") from error
        wrong = why_not(checkpoint, self.journal)
        if wrong is not None:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq} {wrong}")
        return checkpoint

    def compare(self, cut: Cut, machine: MarketEngine, first_seq: int) -> None:
        """The state reached and the checkpoint's, part by part."""
        checkpoint = self.load(cut)
        got = cast(StatefulEngine, machine).part_digests()
        for part in sorted(set(got) | set(checkpoint.parts)):
            expected = part_digest(checkpoint.parts[part]) if part in checkpoint.parts else b""
            if expected != got.get(part, b""):
                self.differ(first_seq, cut.seq, part, expected, got.get(part, b""))
        self.checkpoints_compared += 1

    def differ(self, first_seq: int, last_seq: int, part: str, expected: bytes, got: bytes) -> None:
        """Note a difference."""
        self.differences.append(Difference(first_seq, last_seq, part, expected, got))


class _Worker(NamedTuple):
    process: ForkProcess | SpawnProcess
    pipe: Connection


class Workers:
    """``count`` processes that verify intervals of a data directory, this one included.

    To be made before the journal is opened for ``verify``; ends its processes when left.
    """

    def __init__(self, directory: Path | str, count: int) -> None:
        self._directory = str(directory)
        self._started: list[_Worker] = []
        fork = not any_open()
        for _ in range(count - 1):
            self._start(fork)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._started:
            worker.pipe.close()
            worker.process.terminate()
            worker.process.join()

    def _start(self, fork: bool) -> None:
        context = multiprocessing.get_context("fork") if fork else multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # A fork inherits our ends of all pipes; one left open there would hide our death from its owner.
        others = [*(worker.pipe for worker in self._started), ours] if fork else []
        process = context.Process(target=_life, args=(theirs, self._directory, others), daemon=True)
        with undisturbed():
            process.start()
        theirs.close()  # only the worker holds its end now, so that its death closes the pipe
        self._started.append(_Worker(process, ours))

    def verify(
        self, journal: Journal, intervals: Sequence[Interval], advanced: Advanced | None = None
    ) -> dict[Interval, IntervalResult]:
        """Verify the intervals with the kernel; a result for each. ``journal``: the directory's, for this process."""
        # The longest first, so that the ends are near each other.
        waiting = deque(sorted(intervals, key=lambda interval: interval.from_seq - interval.to_seq))
        results: dict[Interval, IntervalResult] = {}
        feeders = [
            threading.Thread(target=_feed, args=(worker, waiting, results, advanced), daemon=True)
            for worker in self._started
            if worker.process.is_alive()
        ]
        for feeder in feeders:
            feeder.start()
        while waiting:
            try:
                interval = waiting.popleft()
            except IndexError:
                break
            results[interval] = verify_interval(journal, self._directory, interval, "kernel", advanced)
        for feeder in feeders:
            feeder.join()
        return results


def _life(pipe: Connection, directory: str, others: Sequence[Connection]) -> None:
    deaf_to_ctrl_c()
    for other in others:
        other.close()
    work(pipe, directory)


def work(pipe: Connection, directory: str) -> None:
    """A worker's work: intervals in, how far it is and what it found out, until the pipe closes."""
    pending = 0

    def advanced(commands: int) -> None:
        nonlocal pending
        pending += commands
        if pending >= _ADVANCED_EVERY:
            pipe.send(pending)
            pending = 0

    journal: Journal | None = None
    while True:
        try:
            interval = pipe.recv()
        except EOFError:
            return
        try:
            journal = journal_of(directory) if journal is None else journal
            found = verify_interval(journal, directory, interval, "kernel", advanced)
        except Exception as error:  # whatever it is, it is for the caller to tell, in one sentence
            why = str(error) or type(error).__name__
            found = IntervalResult(damage=f"commands {interval.from_seq} to {interval.to_seq} were not verified: {why}")
        try:
            pipe.send(pending)
            pending = 0
            pipe.send(found)
        except BrokenPipeError:
            return


def _feed(
    worker: _Worker, waiting: deque[Interval], results: dict[Interval, IntervalResult], advanced: Advanced | None
) -> None:
    """Give one worker interval after interval; what it held when it died is reported as not verified."""
    while waiting:
        try:
            interval = waiting.popleft()
        except IndexError:
            return
        try:
            worker.pipe.send(interval)
            while not isinstance(said := worker.pipe.recv(), IntervalResult):
                if advanced is not None:
                    advanced(said)
        except (EOFError, OSError):
            worker.process.join()
            results[interval] = IntervalResult(
                damage=f"commands {interval.from_seq} to {interval.to_seq} were not verified: "
                f"the worker for them died (exit status {worker.process.exitcode})"
            )
            return
        results[interval] = said


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
        done: dict[Interval, IntervalResult] = {}
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
    """Add up what the workers report; they report from several threads."""
    lock = threading.Lock()
    done = 0

    def advanced(commands: int) -> None:
        nonlocal done
        with lock:
            done += commands
            progress(min(done, total), total)

    return advanced


def _report(
    found: dict[Interval, IntervalResult],
    last_seq: int,
    workers: int,
    damage: list[str],
    notes: list[str],
    seconds: float,
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


def _missing_tail(results: list[IntervalResult]) -> int:
    tail = 0
    for result in reversed(results):
        tail += result.missing_at_end
        if result.missing_at_end < result.blocks:
            break
    return tail
