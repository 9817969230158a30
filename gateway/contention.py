"""Contention for cores: the time that the calling thread has waited for one, as Linux counts it.

Polling spares a wake-up, and costs a core. Where others wait for that core, such as a copy that catches up on the same
machine, they lose more than an answer gains that waits for a disk anyway.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Time between two looks, and the part of it spent waiting from which on a core is contended.
LOOK_NS: Final = 10_000_000
WAITED_PART: Final = 10
#: Time for which it counts as contended from then on.
CONTENDED_NS: Final = 200_000_000
_LINE_BYTES: Final = 256


class Contention:
    """Contention as one thread meets it: make it on that thread, and ask it there. ``close`` at the end.

    Where the system does not count, nothing is contended.

    >>> contention = Contention()
    >>> contention.at(0, waited_ns=0), contention.at(20_000_000, waited_ns=1_000_000)
    (False, False)
    >>> contention.at(40_000_000, waited_ns=9_000_000), contention.at(60_000_000, waited_ns=9_000_000)
    (True, True)
    >>> contention.at(300_000_000, waited_ns=9_000_000)
    False
    >>> contention.close()
    """

    def __init__(self) -> None:
        self._fd = -1
        with suppress(OSError):
            path = Path("/proc/self/task") / str(threading.get_native_id()) / "schedstat"
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._looked_ns = self._waited_ns = 0
        self._until_ns = 0

    def is_high(self) -> bool:
        """True if this thread has waited for a core a tenth of its time, now or a moment ago."""
        now_ns = time.monotonic_ns()
        if self._fd < 0 or now_ns - self._looked_ns < LOOK_NS:
            return now_ns < self._until_ns
        return self.at(now_ns, self._waited())

    def at(self, now_ns: int, waited_ns: int) -> bool:
        """As ``is_high``, with the time and the whole time waited so far given."""
        passed_ns, more_ns = now_ns - self._looked_ns, waited_ns - self._waited_ns
        if self._looked_ns and more_ns * WAITED_PART > passed_ns:
            self._until_ns = now_ns + CONTENDED_NS
        self._looked_ns, self._waited_ns = now_ns, waited_ns
        return now_ns < self._until_ns

    def _waited(self) -> int:
        """Time, in ns, in which the thread could have run, and had no core: the second number of its schedstat."""
        try:
            return int(os.pread(self._fd, _LINE_BYTES, 0).split()[1])
        except (OSError, IndexError, ValueError):
            return 0

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
