"""Verification: every block is applied again, and its event digest must equal the recorded one.

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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess, SpawnProcess
from pathlib import Path
from typing import NamedTuple

from checkpoints import CheckpointError, CheckpointInfo, CheckpointStore
from engine.interface import EngineKind
from engine.records import RULES_VERSION
from journal import any_open
from journal.history import History, SliceRange
from journal.slices import places
from replay.chain import wrong_events
from replay.errors import ReplayError
from replay.forking import deaf_to_ctrl_c, undisturbed
from replay.interval import Advanced, Cut, Difference, Interval, IntervalResult, cut_intervals, verify_interval
from replay.rebuild import (
    Progress,
    check_range,
    check_rules,
    why_not_origin,
)

#: Intervals a worker: more of them balance better, fewer load fewer checkpoints.
_PIECES_A_WORKER = 2
#: Commands between two reports of progress from a worker.
_ADVANCED_EVERY = 1 << 18


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
        # A fork inherits the parent's ends of all pipes; one left open would hide the parent's death.
        others = [*(worker.pipe for worker in self._started), ours] if fork else []
        process = context.Process(target=_life, args=(theirs, self._directory, others), daemon=True)
        with undisturbed():
            process.start()
        theirs.close()  # only the worker holds its end now, so that its death closes the pipe
        self._started.append(_Worker(process, ours))

    def verify(
        self, history: History, intervals: Sequence[Interval], on_progress: Advanced | None = None
    ) -> dict[Interval, IntervalResult]:
        """Verify the intervals with the kernel; a result for each. ``history``: the directory's, for this process."""
        # The longest first, so that the ends are near each other.
        waiting = deque(sorted(intervals, key=lambda interval: interval.from_seq - interval.to_seq))
        results: dict[Interval, IntervalResult] = {}
        feeders = [
            threading.Thread(target=_feed, args=(worker, waiting, results, on_progress), daemon=True)
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
            journal = history.journal(interval.slice_number)
            results[interval] = verify_interval(journal, interval, "kernel", on_progress)
        for feeder in feeders:
            feeder.join()
        return results


def _life(pipe: Connection, directory: str, others: Sequence[Connection]) -> None:
    deaf_to_ctrl_c()
    for other in others:
        other.close()
    work(pipe, directory)


def work(pipe: Connection, directory: str) -> None:
    """Work of a worker: take intervals, send progress and results, until the pipe closes."""
    pending = 0

    def on_progress(commands: int) -> None:
        nonlocal pending
        pending += commands
        if pending >= _ADVANCED_EVERY:
            pipe.send(pending)
            pending = 0

    history: History | None = None
    while True:
        try:
            interval = pipe.recv()
        except EOFError:
            return
        try:
            history = History.open(directory) if history is None else history
            found = verify_interval(history.journal(interval.slice_number), interval, "kernel", on_progress)
        except Exception as error:  # whatever it is, it is for the caller to tell, in one sentence
            why = str(error) or type(error).__name__
            found = IntervalResult(
                damage=f"commands {interval.from_seq:,} to {interval.to_seq:,} were not verified: {why}"
            )
        try:
            pipe.send(pending)
            pending = 0
            pipe.send(found)
        except BrokenPipeError:
            return


def _feed(
    worker: _Worker, waiting: deque[Interval], results: dict[Interval, IntervalResult], on_progress: Advanced | None
) -> None:
    """Give a worker interval after interval; if it dies, its interval is reported as not verified."""
    while waiting:
        try:
            interval = waiting.popleft()
        except IndexError:
            return
        try:
            worker.pipe.send(interval)
            while not isinstance(said := worker.pipe.recv(), IntervalResult):
                if on_progress is not None:
                    on_progress(said)
        except (EOFError, OSError):
            worker.process.join()
            results[interval] = IntervalResult(
                damage=f"commands {interval.from_seq:,} to {interval.to_seq:,} were not verified: "
                f"the worker for them died (exit status {worker.process.exitcode})"
            )
            return
        results[interval] = said


@dataclass(frozen=True)
class VerifyReport:
    """Result of a verification, from ``from_seq`` to ``to_seq``. ``seconds``: wall time with the start of workers.

    ``missing_tail``: blocks at the very end without a recorded digest (normal after a crash); ``missing``: first_seq of
    others. ``damage``: sentences on what is damaged or could not be verified. ``notes``: sentences that are no failure.
    ``slices``: how many have commands of the range; ``images_compared``: how many of them give the image that the next
    one starts from.
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
    slices: int = 1
    images_compared: int = 0

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
        """True if the whole range was verified and agrees."""
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

    The range is widened to the checkpoint before ``from_seq`` and to the end of the block with ``to_seq``. Each slice
    is verified from the image that it starts from, and must end in the state from which the next one starts. Of a slice
    of other rules the chain is checked, and its kept events are compared with the recorded digests. The reference
    engine starts at the beginning of a slice, in one worker. Differences and damage are reported, not raised; raises
    ReplayError for a wrong range or other rules of the last slice, JournalError when the journal cannot be opened.
    """
    if workers < 1:
        raise ReplayError(f"{workers} workers cannot verify anything; give 1 or more")
    began = time.perf_counter()
    with Workers(directory, _of_use(directory, workers, engine)) as staff, History.open(directory) as history:
        check_rules(directory, int(history.last.meta.get("rules_version", RULES_VERSION)))
        first, last = _range(history, directory, from_seq, to_seq)
        plan = _Plan(history, first, last, engine, workers)
        on_progress = None if progress is None else _total(progress, last - plan.first + 1)
        done: dict[Interval, IntervalResult] = {}
        while True:
            intervals = plan.intervals()
            todo = [interval for interval in intervals if interval not in done]
            if not todo:
                break
            if plan.workers > 1:
                done |= staff.verify(history, todo, on_progress)
            else:
                for each in todo:
                    done[each] = verify_interval(history.journal(each.slice_number), each, engine, on_progress)
            plan.give_up(done)
        last_seq = history.last_seq
    found = {interval: done[interval] for interval in intervals}
    report = _report(found, last_seq, min(plan.workers, max(1, len(found))), plan.damage, plan.notes)
    return replace(report, seconds=time.perf_counter() - began, slices=plan.slices)


class _Plan:
    """Cuts of the slices of a range into intervals. ``notes`` and ``damage``: sentences on what the plan met."""

    def __init__(self, history: History, first: int, last: int, engine: EngineKind, workers: int) -> None:
        self.notes: list[str] = []
        self.damage: list[str] = []
        self.workers = workers
        parts = sorted(
            [*history.ranges(first, last), *_without_commands(history, first, last)] if last >= first else [],
            key=lambda part: part.journal.place.number,
        )
        self.first, self.slices = first, len(parts)
        if parts and engine == "reference":
            self.first = parts[0].journal.start_seq + 1
            if workers > 1 or first > self.first:
                self.notes.append(f"the reference engine starts at command {self.first}, in one worker")
            self.workers, parts[0] = 1, parts[0]._replace(from_seq=self.first)
        self._history = history
        self._parts = [part for part in parts if self._has_our_rules(part)]
        pieces = 1 if self.workers == 1 else self.workers * _PIECES_A_WORKER
        self._pieces = max(1, pieces // max(1, len(self._parts)))
        self._good = {part.journal.place.number: self._checkpoints(part, engine) for part in self._parts}

    def _has_our_rules(self, part: SliceRange) -> bool:
        number = part.journal.place.number
        wrong = wrong_events(part.journal)
        self.damage += [f"slice {number}: {sentence}" for sentence in wrong]
        rules_version = int(part.journal.meta.get("rules_version", RULES_VERSION))
        if rules_version == RULES_VERSION:
            return True
        checked = part.journal.check()
        self.damage += [f"slice {number}: {problem.sentence}" for problem in checked.problems]
        events = "its kept events are the recorded ones" if not wrong else "its kept events are not right"
        if not part.journal.place.events.exists():
            events = "its events are not kept"
        self.notes.append(f"slice {number} is of rules version {rules_version}: its chain was checked, and {events}")
        return False

    def _checkpoints(self, part: SliceRange, engine: EngineKind) -> list[CheckpointInfo]:
        """The checkpoints of a slice that can be used, as far as their headers say."""
        journal, last = part.journal, part.to_seq
        infos = CheckpointStore(journal.place.folder).list() if engine == "kernel" else []
        good = [info for info in infos if info.valid and why_not_origin(info.origin, journal) is None]
        whole = {info.seq for info in good}
        for info in infos:
            if info.valid and info.seq not in whole and info.seq <= last:
                self.notes.append(f"checkpoint {info.seq:,} {why_not_origin(info.origin, journal)}; it was not used")
            elif not info.valid and info.seq <= last:
                # One that was set aside and taken anew is history, no damage.
                told = self.notes if info.seq in whole else self.damage
                told.append(f"checkpoint {info.seq:,} is damaged: {info.why}")
        return good

    def intervals(self) -> list[Interval]:
        """The intervals of all slices."""
        found: list[Interval] = []
        for part in self._parts:
            place = part.journal.place
            cut = cut_intervals(
                part.from_seq, part.to_seq, self._good[place.number], self._pieces, part.journal.start_seq
            )
            numbered = [each._replace(slice_number=place.number) for each in cut]
            numbered[-1] = numbered[-1]._replace(closes=self._closes(part))
            found += numbered
        return found

    def _closes(self, part: SliceRange) -> bool:
        """True if the end of the range is the end of a slice whose state must be the image of the next one."""
        place = part.journal.place
        if not any(each.number == place.number + 1 for each in self._history.places):
            return False
        following = self._history.journal(place.number + 1)
        same = following.meta.get("rules_version") == part.journal.meta.get("rules_version")
        return same and part.to_seq == following.start_seq

    def give_up(self, done: dict[Interval, IntervalResult]) -> None:
        """Leave out the checkpoints that turned out to be bad."""
        bad = {found.bad for found in done.values() if found.bad is not None}
        for number, good in self._good.items():
            cuts = {Cut(info.seq, str(info.path)) for info in good}
            self.damage += sorted({found.damage for found in done.values() if found.bad in cuts and found.damage})
            self._good[number] = [info for info in good if Cut(info.seq, str(info.path)) not in bad]


def _without_commands(history: History, first: int, last: int) -> list[SliceRange]:
    """The slices without commands in a range that another one follows: their image, too, must give the next one."""
    ends = [(place, history.end_of(place)) for place in history.places[:-1]]
    journals = [(history.journal(place.number), end) for place, end in ends if first - 1 <= end <= last]
    return [SliceRange(journal, end + 1, end) for journal, end in journals if journal.start_seq == end]


def _of_use(directory: Path | str, workers: int, engine: EngineKind) -> int:
    """Number of workers that can have something to do: one for each checkpoint, and one for each slice."""
    if engine != "kernel" or workers == 1:
        return 1
    try:
        found = places(Path(directory))
        return min(workers, max(1, sum(len(CheckpointStore(place.folder).list()) + 1 for place in found)))
    except CheckpointError:
        return 1  # faults are reported where the checkpoints are used


def _range(history: History, directory: Path | str, from_seq: int | None, to_seq: int | None) -> tuple[int, int]:
    first = history.first_seq if from_seq is None else from_seq
    last = check_range(directory, first, to_seq, history.last_seq)
    if last < history.last_seq:
        for block in history.blocks(last, last):
            last = block.last_seq
    return first, last


def _total(progress: Progress, total: int) -> Advanced:
    """Sum the progress of the workers, which comes from several threads."""
    lock = threading.Lock()
    done = 0

    def on_progress(commands: int) -> None:
        nonlocal done
        with lock:
            done += commands
            progress(min(done, total), total)

    return on_progress


def _report(
    found: dict[Interval, IntervalResult],
    last_seq: int,
    workers: int,
    damage: list[str],
    notes: list[str],
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
        seconds=0.0,
        workers=workers,
        intervals=len(results),
        checkpoints_compared=sum(result.checkpoints_compared for result in results),
        images_compared=sum(result.images_compared for result in results),
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
