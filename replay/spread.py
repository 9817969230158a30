"""Spreading intervals over processes: the calling process takes its share, so that one worker fewer has to start.

Workers are forked, which takes milliseconds where a new interpreter takes most of a second. An LMDB environment does
not survive a fork, so they are forked before the caller opens the journal, and each opens it for itself; where the
process has a journal open anyway, they are started anew instead. Each has its own pipe and a thread here that feeds
it; when a worker dies, its pipe closes, and the thread reports the interval it held.
"""

import multiprocessing
import threading
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess, SpawnProcess
from pathlib import Path
from typing import NamedTuple

from journal import Journal, any_open
from replay.forking import deaf_to_ctrl_c, undisturbed
from replay.interval import Advanced, Interval, Verified, verify_interval
from replay.rebuild import journal_of

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
        # A fork inherits our ends of all pipes; one left open there would hide our death from its owner.
        others = [*(worker.pipe for worker in self._started), ours] if fork else []
        process = context.Process(target=_life, args=(theirs, self._directory, others), daemon=True)
        with undisturbed():
            process.start()
        theirs.close()  # only the worker holds its end now, so that its death closes the pipe
        self._started.append(_Worker(process, ours))

    def verify(
        self, journal: Journal, intervals: Sequence[Interval], advanced: Advanced | None = None
    ) -> dict[Interval, Verified]:
        """Verify the intervals with the kernel; a result for each. ``journal``: the directory's, for this process."""
        # The longest first, so that the ends are near each other.
        waiting = deque(sorted(intervals, key=lambda interval: interval.from_seq - interval.to_seq))
        results: dict[Interval, Verified] = {}
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
            found = Verified(damage=f"commands {interval.from_seq} to {interval.to_seq} were not verified: {why}")
        try:
            pipe.send(pending)
            pending = 0
            pipe.send(found)
        except BrokenPipeError:
            return


def _feed(
    worker: _Worker, waiting: deque[Interval], results: dict[Interval, Verified], advanced: Advanced | None
) -> None:
    """Give one worker interval after interval; what it held when it died is reported as not verified."""
    while waiting:
        try:
            interval = waiting.popleft()
        except IndexError:
            return
        try:
            worker.pipe.send(interval)
            while not isinstance(said := worker.pipe.recv(), Verified):
                if advanced is not None:
                    advanced(said)
        except (EOFError, OSError):
            worker.process.join()
            results[interval] = Verified(
                damage=f"commands {interval.from_seq} to {interval.to_seq} were not verified: "
                f"the worker for them died (exit status {worker.process.exitcode})"
            )
            return
        results[interval] = said
