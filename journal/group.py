"""Group commit: one thread takes everything that waits, commits it at once, then moves the durable mark.

The queue between the pump and the disk is bounded in bytes: a pump that is faster than the disk waits in ``put``.
The first exception of a commit ends the writer for good. What of that group is on the disk is unknown then, and
trying again in place could report as durable what the page cache has dropped; so everybody who waits or comes later
gets a JournalError.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from journal.errors import JournalError

QUEUE_BYTES_MAX: Final = 32 << 20
GROUP_BYTES_MAX: Final = 4 << 20
_DIGEST_BYTES: Final = 64


class Entry(NamedTuple):
    """A block's unsealed frame, or (``frame`` None) the digest of the block at ``first_seq``."""

    first_seq: int
    last_seq: int
    frame: bytearray | None
    digest: bytes
    time_ns: int
    label: tuple[int, str] | None  # rules_version and source_digest


def _size(entry: Entry) -> int:
    return _DIGEST_BYTES if entry.frame is None else len(entry.frame)


class GroupWriter:
    """Owns the thread, the queue and the durable mark. ``commit`` makes a group durable or raises."""

    def __init__(
        self, commit: Callable[[Sequence[Entry]], None], explain: Callable[[BaseException], str], durable_seq: int
    ) -> None:
        self.durable_seq = durable_seq
        self._commit = commit
        self._explain = explain
        self._failure: BaseException | None = None
        self._queue: deque[Entry] = deque()
        self._queue_bytes = 0
        self._idle = True
        self._closing = False
        lock = threading.Lock()
        self._work = threading.Condition(lock)  # the writer waits here
        self._progress = threading.Condition(lock)  # everybody else
        self._thread = threading.Thread(target=self._run, name="journal writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry; waits while the queue is full. Raises JournalError once the writer has failed."""
        size = _size(entry)
        with self._work:
            while self._queue_bytes and self._queue_bytes + size > QUEUE_BYTES_MAX and self._failure is None:
                self._progress.wait()
            self._raise_failure()
            self._queue.append(entry)
            self._queue_bytes += size
            if self._idle:
                self._work.notify()

    def wait_durable(self, seq: int, timeout_s: float | None) -> bool:
        """Whether ``seq`` became durable within ``timeout_s`` (None: wait for ever). Raises JournalError on failure."""
        if self.durable_seq >= seq:
            return True
        with self._progress:
            self._progress.wait_for(lambda: self.durable_seq >= seq or self._failure is not None, timeout_s)
            if self.durable_seq >= seq:
                return True
            self._raise_failure()
            return False

    def close(self) -> None:
        """Commit what waits and end the thread. Raises JournalError when something could not be committed."""
        with self._work:
            self._closing = True
            self._work.notify()
        self._thread.join()
        with self._work:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise JournalError(self._explain(self._failure)) from self._failure

    def _take(self) -> list[Entry]:
        """The next group; empty when the writer is to end."""
        with self._work:
            while not self._queue and not self._closing:
                self._idle = True
                self._work.wait()
            self._idle = False
            group: list[Entry] = []
            group_bytes = 0
            while self._queue and (not group or group_bytes < GROUP_BYTES_MAX):
                entry = self._queue.popleft()
                group.append(entry)
                group_bytes += _size(entry)
            self._queue_bytes -= group_bytes
            if group:
                self._progress.notify_all()
            return group

    def _run(self) -> None:
        try:
            while group := self._take():
                self._commit(group)
                self._advance(group)
        except BaseException as error:  # the thread's boundary: whatever it is, the waiting threads must hear of it
            with self._work:
                self._failure = error
                self._progress.notify_all()

    def _advance(self, group: Sequence[Entry]) -> None:
        durable_seq = max((entry.last_seq for entry in group if entry.frame is not None), default=self.durable_seq)
        with self._work:
            self.durable_seq = durable_seq
            self._progress.notify_all()
