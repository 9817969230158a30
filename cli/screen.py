"""Output: tables and progress on a terminal, plain lines elsewhere, JSON for programs.

Standard output carries results only; progress and notices go to standard error. Rich is loaded only when
standard output or standard error is a terminal.
"""

import contextlib
import errno
import io
import json
import os
import select
import shutil
import stat
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.progress import Progress

from cli import errors

#: Work that takes longer shows a progress bar, in seconds.
_PATIENCE_S: Final = 0.5


class _WholeWrites(io.FileIO):
    """A file whose write takes all bytes or raises OSError, as a buffer before it would see to."""

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        while len(rest):
            taken = super().write(rest)
            if taken is None:  # of a pipe that does not wait
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            rest = rest[taken:]
        return int(memoryview(data).nbytes)


def write_whole() -> None:
    """Have standard output written whole where PYTHONUNBUFFERED leaves out its buffer: a disk without room may take a
    part of a write, and only the next one fails."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and isinstance(out.buffer, io.FileIO):
        file = _WholeWrites(out.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(file, encoding=out.encoding, errors=out.errors, write_through=True)


def is_live(stream: TextIO) -> bool:
    """True for a terminal whose cursor can be moved, as bars and live views need; not if TERM is dumb."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def is_colored(stream: TextIO) -> bool:
    """True for a terminal with colors: NO_COLOR is not set, or empty (https://no-color.org)."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def print_line(text: str = "") -> None:
    """Print a line of the result, or several."""
    Bar.end_before_result()
    with errors.output():
        sys.stdout.write(text + "\n")


def flush() -> None:
    """Flush what was printed so far."""
    with errors.output():
        sys.stdout.flush()


def check_reader() -> None:
    """Raise BrokenPipeError where who read the output has gone. A write would say so, but a quiet market has none."""
    try:
        fd = sys.stdout.fileno()
    except (OSError, ValueError):  # no file, as in tests
        return
    poll = select.poll()
    poll.register(fd, 0)
    if any(said & select.POLLERR for _, said in poll.poll(0)):
        raise BrokenPipeError(errno.EPIPE, "who read the output has gone")


@contextlib.contextmanager
def answer(done: str) -> Iterator[None]:
    """Context of the answer to what was done, and must not be repeated because its answer cannot be written.

    done: a sentence without its end. Raises AnswerLost.
    """
    try:
        yield
        flush()
    except errors.OutputFailed as error:
        why = str(error).partition(";")[0]
        raise errors.AnswerLost(f"{done}; do not repeat it: {why}") from error


#: Longest wait of a notice for a reader of standard error, in seconds; None: no bound. A node sets one.
notice_wait_s: float | None = None


def takes(stream: TextIO, wait_s: float) -> bool:
    """True if a line can be written within ``wait_s``."""
    try:
        return bool(select.select([], [stream], [], wait_s)[1])
    except (OSError, ValueError):
        return True  # no descriptor, as in tests; or it is closed, and writing fails at once


def notice(text: str) -> None:
    """Print a line on standard error; if that takes nothing, the line is lost and the work continues."""
    if notice_wait_s is not None and not takes(sys.stderr, notice_wait_s):
        return
    try:
        text = fitted(text, sys.stderr)
        if not Bar.print_above(text):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
    except OSError:
        errors.close_output(sys.stderr)


def fitted(text: str, stream: TextIO, indent: str = "") -> str:
    """Lines for ``stream``, broken between words where it is a narrower terminal; ``indent``: of further lines.

    A word that is longer than a line stays whole, as a path that somebody copies.
    """
    columns = _columns(stream) if stream.isatty() else 0
    lines = text.split("\n")
    if not columns or max(map(len, lines)) <= columns:
        return text
    folded = textwrap.TextWrapper(
        columns, subsequent_indent=indent, expand_tabs=False, replace_whitespace=False, break_long_words=False
    )
    folded.break_on_hyphens = False  # an option is a word
    return "\n".join(line if len(line) <= columns else folded.fill(line) for line in lines)


def _columns(stream: TextIO) -> int:
    """Width of a terminal, as COLUMNS or the terminal itself says; 0 if neither does."""
    if said := _columns_said():
        return said
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def _columns_said() -> int | None:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isascii() and columns.isdigit() and int(columns) else None


def json_line(value: Any) -> str:
    """JSON text of an object on one line; bytes become hexadecimal digits."""
    return json.dumps(value, default=_plain)


def print_json(value: Any) -> None:
    """Print a JSON object on one line of the result."""
    print_line(json_line(value))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "item"):
        return value.item()
    return str(value)


#: Least width of a table column whose values have as many characters; longer values are wrapped.
NARROWEST: Final = 16


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), title: str = ""
) -> None:
    """Print rows under column heads; columns in ``right`` are aligned to the right. Without a terminal: spaces only."""
    cells = [list(map(str, row)) for row in rows]
    if sys.stdout.isatty():
        Bar.end_before_result()
        from rich import box
        from rich.table import Table
        from rich.text import Text

        console = _console()
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        if sum(min(width, NARROWEST) + 2 for width in widths) > console.width:
            _records(columns, cells, title)
            return
        bold = "bold" if is_colored(sys.stdout) else ""
        shown = Table(
            box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style=bold, header_style=bold
        )
        for column in columns:
            shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in cells:
            shown.add_row(*(Text(cell) for cell in row))
        console.print(shown)
        return
    if title:
        print_line(title)
    _print_columns(list(zip(columns, *cells, strict=True)), [column in right for column in columns])


def table_of_columns(columns: Mapping[str, Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """``table`` of columns by their heads: faster for a hundred thousand rows."""
    if sys.stdout.isatty():
        table(list(columns), zip(*columns.values(), strict=True), right=right)
    else:
        _print_columns([[head, *words] for head, words in columns.items()], [head in right for head in columns])


def _print_columns(columns: Sequence[Sequence[str]], is_right: Sequence[bool]) -> None:
    """Print columns, heads included, beside each other: column by column, as an answer may have 100,000 rows."""
    padded = []
    for words, to_right in zip(columns, is_right, strict=True):
        width = max(map(len, words))
        padded.append(map(str.rjust if to_right else str.ljust, words, repeat(width)))
    print_line("\n".join(map(str.rstrip, map("  ".join, zip(*padded, strict=True)))))


def _records(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    """Print rows on a terminal too narrow for their columns: one value a line, and nothing is cut."""
    if title:
        print_line(title)
    for number, row in enumerate(rows):
        if number:
            print_line("")
        facts(zip(columns, row, strict=True))


def facts(pairs: Iterable[tuple[str, object]], *, title: str = "") -> None:
    """Print names and values, one pair a line."""
    if title:
        print_line(title)
    listed = [(name, str(value)) for name, value in pairs]
    width = max((len(name) for name, _ in listed), default=0)
    bold, off = ("\x1b[1m", "\x1b[0m") if is_colored(sys.stdout) else ("", "")
    for name, value in listed:
        print_line(f"  {bold}{name.ljust(width)}{off}  {value}")


def verdict(good: bool, text: str) -> None:
    """Print the verdict line: green or red on a terminal."""
    text = fitted(text, sys.stdout)
    if is_colored(sys.stdout):
        text = f"\x1b[1;{32 if good else 31}m{text}\x1b[0m"
    print_line(text)


def count(number: int) -> str:
    """A count with thousands separators.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def counted(number: int, what: str, several: str = "") -> str:
    """A count with its noun, singular or plural (``several``: a plural that is not ``what`` and an s).

    >>> counted(1, "block"), counted(1200, "block")
    ('1 block', '1,200 blocks')
    """
    return f"{count(number)} {what if number == 1 else several or f'{what}s'}"


def size(number_bytes: int) -> str:
    """A number of bytes in a suitable unit.

    >>> size(512), size(4_200_000)
    ('512 B', '4.2 MB')
    """
    value = float(number_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False  # no descriptor, as in tests


def _console(*, stderr: bool = False) -> "Console":
    """Console of the width in COLUMNS; by default rich takes every dumb terminal for one of 80 columns."""
    from rich.console import Console

    width = _columns_said()
    # Rich takes a given width on a dumb terminal only with a height beside it.
    height = shutil.get_terminal_size().lines if width else None
    # With NO_COLOR rich leaves bold and dim in place; without a color system it writes no style at all.
    colored = is_colored(sys.stderr if stderr else sys.stdout)
    return Console(stderr=stderr, width=width, height=height, color_system="auto" if colored else None)


def live_view() -> "Live":
    """Live view on the terminal, redrawn in place; lines on standard error appear above it.

    Standard error that is no terminal is left alone; by default rich would show it in the view.
    """
    from rich.live import Live

    above = sys.stderr.isatty()
    return Live(console=_console(), auto_refresh=False, redirect_stdout=False, redirect_stderr=above)


class Bar:
    """A progress bar on standard error, on a live terminal only, once the work has taken longer than half a second.

    ``bar.to(done, total)`` and ``bar.text(what)`` may be called often; before the first call it only pulses. One bar is
    visible at a time, of nested ones the first. It never touches standard output. The first line of the result ends the
    bar, since the result may come to the same terminal, also through a pipe; it does not where the result goes to a
    file.
    """

    _visible: ClassVar["Bar | None"] = None
    #: Lock of all bars: one may appear in its timer's thread while the main thread writes.
    _lock: ClassVar = threading.RLock()

    def __init__(self, what: str) -> None:
        self._what = what
        self._moved_s = 0.0
        self._progress: Progress | None = None
        self._ended = not is_live(sys.stderr)
        # A timer thread shows it: some work is one long call that never updates the bar.
        self._timer = threading.Timer(_PATIENCE_S, self._appear)

    def __enter__(self) -> "Bar":
        if not self._ended:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Remove the bar before the end of its block: its work is done."""
        self._timer.cancel()
        with Bar._lock:
            self._ended = True
            try:
                if self._progress is not None:
                    self._progress.stop()
                    self._progress = None
            finally:
                if Bar._visible is self:
                    Bar._visible = None  # behind its end: until then another thread's line clears the row for itself

    def text(self, what: str) -> None:
        """Set the text of the bar."""
        self._what = what
        self.to(0, None)

    def to(self, done: int, total: int | None) -> None:
        """Move the bar; without a total it only pulses."""
        progress, now_s = self._progress, time.monotonic()
        if progress is None or now_s - self._moved_s < 0.05:
            return
        self._moved_s = now_s
        progress.update(progress.task_ids[0], description=self._what, completed=done, total=total)

    def _appear(self) -> None:
        with Bar._lock:
            if not self._ended and Bar._visible is None:
                progress = _progress()
                progress.add_task(self._what, total=None)
                progress.start()
                self._progress = progress
                Bar._visible = self

    @classmethod
    def visible(cls) -> bool:
        """True while a bar is on the terminal."""
        return cls._visible is not None

    @classmethod
    def cleared(cls) -> str:
        """Characters that remove the visible bar from its row of the terminal, for a line that another thread writes
        there; "" if none is visible. The bar comes again below the line. Takes no lock: the terminal may stand still.
        """
        return "\r\x1b[2K" if cls._visible is not None else ""

    @classmethod
    def end_before_result(cls) -> None:
        """End the visible bar, unless the result goes to a file: a pipe such as ``| head`` may print to the same
        terminal.
        """
        if cls._visible is not None and not _is_file(sys.stdout):
            with cls._lock:
                if cls._visible is not None:
                    cls._visible.end()

    @classmethod
    def print_above(cls, text: str) -> bool:
        """Print lines on standard error above the visible bar; False, and nothing printed, if none is visible."""
        with cls._lock:
            if cls._visible is None or cls._visible._progress is None:
                return False
            from rich.text import Text

            cls._visible._progress.console.print(Text(text), soft_wrap=True)
            return True


def _progress() -> "Progress":
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # By default rich takes over standard output, and output redirected to a file is lost.
    return Progress(
        *columns, console=_console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )


#: Progress callback of long work: (done, total; None if unknown).
Report = Callable[[int, "int | None"], None]
