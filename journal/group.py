"""Group commit: one thread commits all waiting blocks in one transaction, then moves the durable mark.

A block is committed at once, since a client waits for it. An event digest waits up to 0.1 s for the next block:
otherwise each order would cause a second sync, and the next order would wait for it. Without sync no client waits for a
block either; then the thread commits every 20 milliseconds, because its work takes the interpreter from the market's
thread. A waiter (``wait_durable``, ``close``) or a long queue ends that pause.

The queue between the pump and the disk is bounded in bytes: a pump that is faster than the disk waits in ``put``.
The first exception of a commit ends the writer. The part of that group that is on the disk is then unknown, and a retry
could report as durable what the page cache has dropped; so all present and later callers get a JournalError.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from journal.errors import JournalFault

QUEUE_BYTES_MAX: Final = 32 << 20
GROUP_BYTES_MAX: Final = 4 << 20
#: Longest wait of an event digest for a block to be committed with.
DIGEST_LINGER_S: Final = 0.1
#: Longest wait of a block without a waiter for others, and the bytes that end the wait.
LINGER_S: Final = 0.02
LINGER_BYTES_MAX: Final = 1 << 20
#: Longest time in which the disk writes nothing and ``close`` still waits for it.
STANDSTILL_S: Final = 30.0
#: Empty polls of the thread before it sleeps until a call.
_EMPTY_TURNS_MAX: Final = 100
_DIGEST_BYTES: Final = 64


class Entry(NamedTuple):
    """A block's frame, or (``frame`` None) the digest of the block at ``first_seq``.

    A frame as bytes is sealed already, by another node; a bytearray is linked and sealed by the commit.
    """

    first_seq: int
    last_seq: int
    frame: bytearray | bytes | None
    digest: bytes
    time_ns: int
    label: tuple[int, str] | None  # rules_version and source_digest


def _size(entry: Entry) -> int:
    return _DIGEST_BYTES if entry.frame is None else len(entry.frame)


class _Thread(IntEnum):
    """State of the writer's thread; producers and waiters wake it only if it would be late."""

    BUSY = 0  # it reads the queue before it waits
    TURNING = 1  # it reads the queue again after a short wait
    ASLEEP = 2


class GroupWriter:
    """Writer thread with its queue and the durable mark. ``commit`` makes a group durable or raises.

    ``on_progress``: called in the thread after the durable mark moved, and once the writer has failed; an exception
    from it fails the writer. ``lingers``: no client waits for a block, so it may wait for further blocks.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Entry]], None],
        explain: Callable[[BaseException], str],
        durable_seq: int,
        *,
        on_progress: Callable[[], None] = lambda: None,
        lingers: bool = False,
    ) -> None:
        self.durable_seq = durable_seq
        #: Bytes in the queue.
        self.queue_bytes = 0
        self._commit = commit
        self._explain = explain
        self._on_progress = on_progress
        self.lingers = lingers
        self._failure: BaseException | None = None
        self._queue: deque[Entry] = deque()
        self._blocks = 0  # in the queue
        self._groups = 0  # committed so far
        self._wanted_seq = 0  # the last one with a waiter
        self._state = _Thread.BUSY
        self._closing = False
        self._ended = False  # the thread takes nothing more
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # the writer waits here
        self._progress = threading.Condition(self._lock)  # all other threads
        self._thread = threading.Thread(target=self._run, name="journal writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry; waits while the queue is full. Raises JournalError once the writer has failed."""
        is_block = entry.frame is not None
        size = _size(entry)
        with self._lock:
            while self.queue_bytes and self.queue_bytes + size > QUEUE_BYTES_MAX and self._failure is None:
                self._progress.wait()
            if self._failure is not None:
                self.raise_failure()
            self._queue.append(entry)
            self.queue_bytes += size
            self._blocks += is_block
            if self._state and (
                self._state == _Thread.ASLEEP or (is_block and not self.lingers) or self.queue_bytes >= LINGER_BYTES_MAX
            ):
                self._call()

    def wait_durable(self, seq: int, timeout_s: float | None) -> bool:
        """True if ``seq`` became durable within ``timeout_s`` (None: wait for ever). Raises JournalError on failure."""
        if self.durable_seq >= seq:
            return True
        with self._lock:
            self._wanted_seq = max(self._wanted_seq, seq)
            self._call()
            self._progress.wait_for(lambda: self.durable_seq >= seq or self._failure is not None, timeout_s)
            if self.durable_seq >= seq:
                return True
            self.raise_failure()
            return False

    def close(self) -> bool:
        """Commit all waiting entries and end the thread. Raises JournalError when a commit failed.

        False if the disk hangs: a commit has not come to its end within ``STANDSTILL_S``. Then the writer goes on.
        """
        with self._lock:
            self._closing = True
            self._call()
        before = -1
        while self._thread.is_alive() and before != self._groups:
            before = self._groups
            self._thread.join(STANDSTILL_S)
        with self._lock:
            if not self._ended:
                self._closing = False
                return False
        self._thread.join()
        self.raise_failure()
        return True

    def raise_failure(self) -> None:
        """Raise JournalError if the writer has failed."""
        if self._failure is not None:
            raise JournalFault(self._explain(self._failure)) from self._failure

    def _call(self) -> None:
        self._state = _Thread.BUSY
        self._work.notify()

    def _due(self, waited: bool) -> bool:
        """True if the queue is to be committed now; ``waited``: a turn has passed since the thread last read it."""
        if not self._queue:
            return False
        if waited or self._closing or self.queue_bytes >= LINGER_BYTES_MAX:
            return True
        return self._blocks > 0 and (not self.lingers or self._wanted_seq > self.durable_seq)

    def _take(self) -> list[Entry]:
        """The next group; empty when the writer is to end."""
        turn_s, turns = (LINGER_S, _EMPTY_TURNS_MAX) if self.lingers else (DIGEST_LINGER_S, 1)
        with self._lock:
            waited = False
            while not self._due(waited):
                if self._closing:
                    self._ended = True
                    return []
                # While orders come steadily, the thread finds them by polling, and no producer spends time to wake it.
                if self._queue or turns:
                    self._state = _Thread.TURNING
                    waited = not self._work.wait(turn_s)
                    turns -= not self._queue
                else:
                    self._state = _Thread.ASLEEP
                    waited = not self._work.wait()
            self._state = _Thread.BUSY
            return self._next_group()

    def _next_group(self) -> list[Entry]:
        group: list[Entry] = []
        group_bytes = 0
        while self._queue and (not group or group_bytes < GROUP_BYTES_MAX):
            entry = self._queue.popleft()
            group.append(entry)
            group_bytes += _size(entry)
            self._blocks -= entry.frame is not None
        self.queue_bytes -= group_bytes
        self._progress.notify_all()
        return group

    def _run(self) -> None:
        try:
            while group := self._take():
                self._commit(group)
                self._groups += 1
                self._advance(group)
        except BaseException as error:  # the thread's boundary: waiting threads must learn of any failure
            with self._lock:
                self._failure = error
                self._ended = True
                self._progress.notify_all()
            try:
                self._on_progress()
            except BaseException as other:  # the first failure is reported, together with this one
                error.add_note(f"and the callback on_progress raised {other!r}")

    def _advance(self, group: Sequence[Entry]) -> None:
        durable_seq = next((entry.last_seq for entry in reversed(group) if entry.frame is not None), None)
        if durable_seq is None:
            return
        with self._lock:
            self.durable_seq = durable_seq
            self._progress.notify_all()
        self._on_progress()
