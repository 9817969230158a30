"""Log of the node: records of the standard logging module, written by a separate thread, so that logging never blocks.

Logging puts a record into a bounded queue. A stream that takes nothing, such as a pipe without a reader, fills the
queue; further lines are counted, and the count is logged once lines are taken again, and is a metric. Repeated lines
are counted (``log_repeats``). ``Log.adopted`` takes the records of libraries, and errors that Python would write to
standard error from the market's thread.
"""

import contextlib
import logging
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from node.programs.log_format import JsonFormatter, TerminalFormatter, shown_fields
from node.programs.log_repeats import WINDOW_S, RepeatFilter, kind_of

LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
#: Lines in the queue at most.
QUEUE_LINES_MAX: Final = 4_096
#: Longest wait at the end of the process for lines to be written, in seconds.
CLOSE_S: Final = 1.0


class Log:
    """Log that writes lines to a stream, by default standard error.

    pretty: lines for people; by default on a terminal. level: the lowest that is written. before: what a line begins
    with, such as what removes a progress bar from its row. Nothing here raises or waits, except ``flush`` and
    ``close``, which have a bound.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        pretty: bool | None = None,
        level: str = "info",
        clock: Callable[[], int] = time.time_ns,
        before: Callable[[], str] = str,
    ) -> None:
        taken = stream if stream is not None else sys.stderr
        formatter = TerminalFormatter() if (_is_terminal(taken) if pretty is None else pretty) else JsonFormatter()
        self._outlet = _Outlet(taken, formatter, before)
        self._logger = logging.Logger("lockstep", LEVELS[level])
        self._logger.addHandler(self._outlet)
        self._clock = clock

    @property
    def lost(self) -> int:
        """Lines that were not written: the queue was full, or the stream failed."""
        return self._outlet.lost

    def info(self, event: str, /, **fields: Any) -> None:
        """Log ordinary work of the node."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Log an event that needs the operator's attention later."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Log an event that needs the operator's attention now."""
        self._write(logging.ERROR, event, fields)

    def pass_on(self, process: str, said: dict[str, Any]) -> None:
        """Log a line of another process's log, read as JSON, with the name of that process."""
        fields = {name: value for name, value in said.items() if name not in ("time", "level", "event")}
        level = LEVELS.get(str(said.get("level")), logging.WARNING)
        self._write(level, str(said.get("event", "")), {"process": process, **fields})

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        try:
            if self._logger.isEnabledFor(level):
                extra = {"fields": shown_fields(fields), "time_ns": self._clock()}
                self._logger.handle(self._logger.makeRecord("lockstep", level, "", 0, event, (), None, extra=extra))
        except Exception:  # a failure of the log must not fail the caller
            self._outlet.lose()

    def flush(self, seconds: float = CLOSE_S) -> bool:
        """Wait until all lines so far are written; False if that takes longer than ``seconds``."""
        return self._outlet.drain(seconds)

    def close(self, seconds: float = CLOSE_S) -> None:
        """Write the queued lines within ``seconds``, and end the thread. Further lines are lost."""
        self._outlet.end(seconds)

    @contextlib.contextmanager
    def adopted(self) -> Iterator[None]:
        """Context in which records of libraries and uncaught errors become lines of this log."""
        root = logging.getLogger()
        unraisable, excepthook = sys.unraisablehook, threading.excepthook

        def on_unraisable(found: Any) -> None:
            self.error("uncaught error", error=f"{type(found.exc_value).__name__}: {found.exc_value}")

        root.addHandler(self._outlet)
        logging.captureWarnings(True)
        sys.unraisablehook = on_unraisable
        threading.excepthook = on_unraisable
        try:
            yield
        finally:
            sys.unraisablehook, threading.excepthook = unraisable, excepthook
            logging.captureWarnings(False)
            root.removeHandler(self._outlet)


class _Outlet(logging.Handler):
    """The queue and the thread that writes."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter, before: Callable[[], str]) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._before = before
        self._stream = stream
        self._fd = _descriptor(stream)
        self._queue: queue.Queue[logging.LogRecord | threading.Event] = queue.Queue(QUEUE_LINES_MAX)
        self._folding = RepeatFilter()
        self._mutex = threading.Lock()  # of the counts; never held during a write
        self._lost = self._reported = 0
        self._thread: threading.Thread | None = None
        self._ending = False

    @property
    def lost(self) -> int:
        """Lines that were not written."""
        return self._lost

    def lose(self) -> None:
        """Count a line that is not written."""
        with self._mutex:
            self._lost += 1

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, or count it."""
        with self._mutex:
            now_s = time.monotonic()
            self._fold(now_s)
            kind = kind_of(record.name, record.levelno, record.getMessage(), getattr(record, "fields", {}))
            if kind is None or self._folding.writes(kind, now_s):
                self._put(record)

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  the name is that of the standard library
        """Count a record that cannot be written; the standard handler would write to standard error."""
        self.lose()

    def _fold(self, now_s: float, *, every: bool = False) -> None:
        for kind, count, within_s in self._folding.ended(now_s, every=every):
            record = logging.LogRecord(kind.logger, kind.level, "", 0, kind.event, None, None)
            about = {"why": kind.why, "about": kind.subject}
            record.fields = {"more": count, "within_s": within_s} | {name: text for name, text in about.items() if text}
            self._put(record)

    def _put(self, record: logging.LogRecord) -> None:
        try:
            if self._ending:
                raise queue.Full
            self._queue.put_nowait(record)
        except queue.Full:
            self._lost += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._mutex:
                end_s = self._folding.next_end_s()
            try:
                # A window may get a count meanwhile, so sleep no longer than one window.
                wait_s = WINDOW_S if end_s is None else max(end_s - time.monotonic(), 0.01)
                found = self._queue.get(timeout=min(wait_s, WINDOW_S))
            except queue.Empty:
                with self._mutex:
                    self._fold(time.monotonic())
                continue
            if isinstance(found, threading.Event):
                found.set()
                if self._ending and self._queue.empty():
                    return
                continue
            try:
                self._write(f"{self._before()}{self.format(found)}\n")
            except Exception:  # a failed stream, or a value that cannot be formatted
                self.lose()
            if self._lost > self._reported and self._queue.empty():
                self._report_lost()

    def _report_lost(self) -> None:
        lost = self._lost
        record = logging.LogRecord("lockstep", logging.WARNING, "", 0, "log lines lost", None, None)
        record.fields = {"lines": lost - self._reported, "since_start": lost}
        with contextlib.suppress(Exception):  # the stream still takes nothing; it is reported later
            self._write(self.format(record) + "\n")
            self._reported = lost

    def _write(self, line: str) -> None:
        if self._fd is None:
            self._stream.write(line)
            self._stream.flush()
            return
        # Not through the stream: at the end of the process the interpreter waits for a stream that a thread is using.
        left = memoryview(line.encode("utf-8", "backslashreplace"))
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                select.select([], [self._fd], [])

    def drain(self, seconds: float) -> bool:
        """Wait until what is queued is written."""
        if self._thread is None or not self._thread.is_alive():
            return True
        deadline_s = time.monotonic() + seconds
        written = threading.Event()
        try:
            self._queue.put(written, timeout=seconds)
        except queue.Full:
            return False
        return written.wait(max(deadline_s - time.monotonic(), 0))

    def end(self, seconds: float) -> None:
        """Write the queue and the counts, within ``seconds``."""
        with self._mutex:
            self._fold(time.monotonic(), every=True)
            self._ending = True
        self.drain(seconds)


def _descriptor(stream: TextIO) -> int | None:
    try:
        stream.flush()
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
