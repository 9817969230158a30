"""Spreading intervals over processes: the calling process takes its share, so that one worker fewer has to start.

Workers are spawned, not forked: a forked LMDB environment or compiled kernel is not safe to use. Each has its own pipe
and a thread here that feeds it; when a worker dies, its pipe closes, and the thread reports the interval it held.
"""

import multiprocessing
import threading
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from journal import Journal
from replay.interval import Advanced, Interval, Verified, verify_interval
from replay.rebuild import journal_of

#: Commands between two reports of progress from a worker.
_ADVANCED_EVERY = 1 << 18


def spread(
    journal: Journal,
    directory: Path | str,
    intervals: Sequence[Interval],
    workers: int,
    advanced: Advanced | None = None,
) -> dict[Interval, Verified]:
    """Verify the intervals with the kernel, in ``workers`` processes, this one included; a result for each of them.

    ``journal``: the directory's, open for reading, used by this process only.
    """
    waiting = deque(sorted(intervals, key=lambda interval: interval.from_seq - interval.to_seq))  # the longest first
    results: dict[Interval, Verified] = {}
    context = multiprocessing.get_context("spawn")
    feeders: list[threading.Thread] = []
    started: list[tuple[BaseProcess, Connection]] = []
    try:
        for _ in range(workers - 1):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, str(directory)), daemon=True)
            process.start()
            theirs.close()  # only the worker holds its end now, so that its death closes the pipe
            started.append((process, ours))
            feeders.append(
                threading.Thread(target=_feed, args=(process, ours, waiting, results, advanced), daemon=True)
            )
            feeders[-1].start()
        while waiting:
            try:
                interval = waiting.popleft()
            except IndexError:
                break
            results[interval] = verify_interval(journal, directory, interval, "kernel", advanced)
        for feeder in feeders:
            feeder.join()
    finally:
        for worker, ours in started:
            ours.close()
            worker.terminate()
            worker.join()
    return results


def work(pipe: Connection, directory: str) -> None:
    """A worker's life: intervals in, how far it is and what it found out, until the pipe closes."""
    pending = 0

    def advanced(commands: int) -> None:
        nonlocal pending
        pending += commands
        if pending >= _ADVANCED_EVERY:
            pipe.send(pending)
            pending = 0

    with journal_of(directory) as journal:
        while True:
            try:
                interval = pipe.recv()
            except EOFError:
                return
            found = verify_interval(journal, directory, interval, "kernel", advanced)
            pipe.send(pending)
            pending = 0
            pipe.send(found)


def _feed(
    process: BaseProcess,
    pipe: Connection,
    waiting: deque[Interval],
    results: dict[Interval, Verified],
    advanced: Advanced | None,
) -> None:
    """Give one worker interval after interval; what it held when it died is reported as not verified."""
    while waiting:
        try:
            interval = waiting.popleft()
        except IndexError:
            return
        try:
            pipe.send(interval)
            while not isinstance(said := pipe.recv(), Verified):
                if advanced is not None:
                    advanced(said)
        except (EOFError, OSError):
            process.join()
            results[interval] = Verified(
                damage=f"commands {interval.from_seq} to {interval.to_seq} were not verified: "
                f"the worker for them died (exit status {process.exitcode})"
            )
            return
        results[interval] = said
