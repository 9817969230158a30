"""Output in a separate thread, so that a slow reader stops no connection.

The queue is bounded. Lines without room are counted, and one line in their place gives the count.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

from cli import screen

#: Lines that may wait for the reader.
LINES_MAX: Final = 65_536
#: Longest wait at the end for a reader that takes nothing, in seconds.
PATIENCE_S: Final = 5.0


class Printer:
    """Lines of standard output and standard error, in order. ``put`` never waits; the thread does.

    not_shown: makes the line for a count of dropped lines. failed: its result is set when output fails.
    """

    def __init__(self, not_shown: Callable[[int], str], lines_max: int = LINES_MAX) -> None:
        self._not_shown = not_shown
        self._lines_max = lines_max
        self._queue: deque[tuple[Callable[[], None], int]] = deque()
        self._lines = 0
        self._lost = 0
        self._printed = 0
        self._closing = False
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self.failed: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="standard output", daemon=True)
        self._thread.start()

    def print_line(self, text: str) -> None:
        """Print a line of the result."""
        self.put(partial(screen.print_line, text))

    def notice(self, text: str) -> None:
        """Print a line on standard error, after the lines before it."""
        self.put(partial(screen.notice, text))

    def put(self, job: Callable[[], None], lines: int = 1) -> None:
        """Queue ``job``, which prints so many lines; count them as dropped if there is no room."""
        with self._changed:
            if self._lost or self._lines >= self._lines_max:
                self._lost += lines
            else:
                self._queue.append((job, lines))
                self._lines += lines
            self._changed.notify_all()

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Print the rest while a reader takes some of it every ``patience_s``; then discard output."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            printed = -1
            while self._thread.is_alive() and printed != self._printed:
                printed = self._printed
                self._changed.wait_for(partial(self._ended, printed), patience_s)
        if self.failed.done():
            self._thread.join(patience_s)
        elif self._queue or self._lost or self._lines:
            # The thread never gives the lock of the stream back, and a flush at the exit would wait for it.
            nothing = open(os.devnull, "w")  # noqa: SIM115  (for the rest of the process)
            sys.stdout = nothing
            setattr(sys, "__stdout__", nothing)  # noqa: B010  (it is flushed at the exit too)
            screen.notice_wait_s = 1.0
            count = screen.counted(self._lines + self._lost, "line was", "lines were")
            screen.notice(f"lockstep: {count} not shown: nothing reads the output")

    def check(self) -> None:
        """Raise the error of the output, if there was one."""
        if self._error is not None:
            raise self._error

    def _ended(self, printed: int) -> bool:
        return self.failed.done() or printed != self._printed

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                job[0]()
                with self._changed:
                    last = not self._queue
                if last:
                    screen.flush()
                with self._changed:
                    self._lines -= job[1]
                    self._printed += 1
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        with self._changed:
            self.failed.set_result(None)
            self._changed.notify_all()

    def _next(self) -> tuple[Callable[[], None], int] | None:
        """Wait for the next job; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._lost or self._closing)
            if self._queue:
                return self._queue.popleft()
            if self._lost:
                lost, self._lost = self._lost, 0
                self._lines += 1
                return partial(screen.print_line, self._not_shown(lost)), 1
            return None
