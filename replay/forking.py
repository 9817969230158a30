"""Children of this process, for checkpoints, verifications and kept events."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

#: PR_SET_PDEATHSIG of prctl(2), of Linux.
_PARENT_DEATH_SIGNAL: Final = 1
#: Processors that this program had when it began, whatever a thread of it is bound to later.
PROCESSORS: Final = frozenset(os.sched_getaffinity(0))
_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM}
#: Time for a killed child to be gone, and interval of looks at one that ends, in seconds.
GONE_S: Final = 1.0
_LOOK_S: Final = 0.005


@contextmanager
def undisturbed() -> Iterator[None]:
    """Delay Ctrl-C during a fork until both processes know their role; the child calls ``deaf_to_ctrl_c``."""
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)


def deaf_to_ctrl_c() -> None:
    """Ignore Ctrl-C in a child, whose parent ends it; a SIGTERM ends it at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def drop_others(*kept: int) -> None:
    """Close all inherited descriptors in a child, so that the directory's lock ends with its parent."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        inherited = int(name)
        if inherited in (*kept, nothing):
            continue
        with suppress(OSError):
            if inherited <= 2:  # whatever has the number of an input or output: nobody may take it for one
                os.dup2(nothing, inherited)
            else:
                os.close(inherited)


def of_low_priority(nice: int) -> None:
    """Give a child a low priority, on any processor: its parent's thread may be bound to one."""
    os.sched_setaffinity(0, PROCESSORS)
    os.nice(nice)


def has_ended(pid: int) -> bool:
    """True if a child process has ended, which is reaped then."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True  # where SIGCHLD is ignored, the system keeps no status


def kill_child(pid: int) -> None:
    """Kill a child that has not been reaped yet; one that is stopped too. One in a call to a disk ends with that."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_or_kill(pid: int, wait_s: float) -> bool:
    """Wait for the end of a child, which is killed after ``wait_s``; False if even that does not end it in GONE_S."""
    for patience_s in (wait_s, GONE_S):
        until_s = time.monotonic() + patience_s
        while not has_ended(pid):
            if time.monotonic() >= until_s:
                kill_child(pid)
                break
            time.sleep(_LOOK_S)
        else:
            return True
    return False


def processor_ns(pid: int) -> int | None:
    """Processor time of a process so far, by its clock (Linux: clock_getcpuclockid); None where there is none."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return None


def end_with_parent(pid: int) -> None:
    """Have the system kill this process as soon as its parent, process ``pid``, has ended, by whatever cause.

    Where the system cannot do that (another one than Linux), nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != pid:
        os._exit(0)  # it has ended already, and the signal would come for nobody
