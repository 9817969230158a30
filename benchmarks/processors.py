"""Processors of a process under measurement: which it uses, and who else."""

import os
from collections.abc import Iterator
from contextlib import suppress


def threads_of(pid: int) -> Iterator[int]:
    """Threads of a process, as they are now."""
    with suppress(FileNotFoundError):
        yield from map(int, os.listdir(f"/proc/{pid}/task"))


def bind(pid: int, processor: int) -> None:
    """Bind a process to a processor, with all of its threads and those that they begin."""
    for thread in threads_of(pid):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(thread, {processor})


def go_first(pid: int, *, is_first: bool) -> None:
    """Have a process run before all that is not so too, or no more. Nothing happens where the system forbids it."""
    policy, priority = (os.SCHED_RR, 1) if is_first else (os.SCHED_OTHER, 0)
    for thread in threads_of(pid):
        with suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(thread, policy, os.sched_param(priority))
