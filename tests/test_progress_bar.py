"""Work that takes long shows a bar on a terminal, and nothing of it anywhere else.

The terminal is a pseudo-terminal. In most tests the work is the reading of a named pipe, so that it takes as long as
the test wants and not as long as the machine needs: on a terminal until the bar is there, elsewhere three times as
long as the program waits before it shows one. The reference engine runs, so that nothing has to be compiled.
"""

import contextlib
import errno
import io
import os
import pty
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from cli import screen
from node.programs.logs import Log
from tests import nursery

DAY: Final = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
"""
#: No step of a test may take longer.
LIMIT_S: Final = 180.0
#: Three times what the program waits before it shows a bar.
LONG_S: Final = 1.5
ESCAPE: Final = "\x1b"


@dataclass
class Ran:
    """A program on a pseudo-terminal, on pipes, or with one stream on each; ``shown``: what came to the terminal."""

    process: "subprocess.Popen[str]"
    terminal: int
    deadline_s: float = field(default_factory=lambda: time.monotonic() + LIMIT_S)
    shown: str = ""

    def look(self) -> bool:
        """Take what has come to the terminal; False when nobody writes to it any more."""
        if time.monotonic() > self.deadline_s:
            raise TimeoutError(f"the terminal shows {self.shown!r} after {LIMIT_S} s")
        with contextlib.suppress(BlockingIOError):
            try:
                self.shown += os.read(self.terminal, 65_536).decode()
            except OSError as error:
                if error.errno == errno.EIO:  # how a terminal says that its last writer has gone
                    return False
                raise
        time.sleep(0.01)
        return True

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit status, and what went to pipes."""
        while self.look():
            pass
        said, complaint = self.process.communicate(timeout=LIMIT_S)
        os.close(self.terminal)
        return self.process.returncode, (said or "") + (complaint or "")


def start(*arguments: object, on_terminal: tuple[str, ...]) -> Ran:
    """Start the program with the streams that are named on a terminal, the others on pipes."""
    mine, its = pty.openpty()
    os.set_blocking(mine, False)
    streams = {name: its if name in on_terminal else subprocess.PIPE for name in ("stdout", "stderr")}
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")
    }
    process = nursery.spawn(
        arguments, environment={**kept, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}, **streams
    )
    os.close(its)
    return Ran(process, mine)


def write_end(path: Path, ran: Ran) -> int:
    """A named pipe open for writing, once the program has opened it for reading."""
    while time.monotonic() < ran.deadline_s and ran.process.poll() is None:
        with contextlib.suppress(OSError):  # ENXIO: nobody reads it yet
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    raise TimeoutError(f"nobody opened {path}; the program ended with {ran.process.poll()}")


def bars(shown: str, what: str) -> list[str]:
    """The bars in an output: what is done, then a line, then how much of it and for how long."""
    return re.findall(rf"{what}[^\r\n]*━[^\r\n]*\d:\d\d:\d\d", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))


@pytest.mark.parametrize("on_terminal", [("stdout", "stderr"), ("stderr",), ("stdout",), ()], ids=" and ".join)
def test_long_work_shows_a_bar_exactly_where_standard_error_is_a_terminal(
    on_terminal: tuple[str, ...], tmp_path: Path
) -> None:
    slow = tmp_path / "slow.txt"
    os.mkfifo(slow)
    ran = start("run", slow, "--data", tmp_path / "node", "--engine", "reference", on_terminal=on_terminal)
    try:
        into = write_end(slow, ran)
        opened_s = time.monotonic()
        if "stderr" in on_terminal:
            while not bars(ran.shown, "reading"):
                assert ran.look(), ran.shown
        else:
            while time.monotonic() < opened_s + LONG_S:
                ran.look()
                time.sleep(0.01)
        os.write(into, DAY.encode())
        os.close(into)
        status, piped = ran.end()
    finally:
        ran.process.kill()
    assert status == 0, (ran.shown, piped)
    assert "last command" in (ran.shown if "stdout" in on_terminal else piped)
    assert bool(bars(ran.shown, "reading")) == ("stderr" in on_terminal)
    assert set(ESCAPE + "━") <= set(ran.shown) or "stderr" not in on_terminal
    assert not set(ESCAPE + "━") & set(piped)
    assert "reading" not in piped


@pytest.mark.slow
def test_a_long_run_shows_how_much_of_it_is_done(tmp_path: Path) -> None:
    orders = (f"enter ALPHA o{at} buy 1 XYZ @ 9.{at % 99 + 1:02}\n" for at in range(40_000))
    (tmp_path / "day.txt").write_text(DAY + "".join(orders))
    # A block for each command is a commit for each, so that the run takes seconds.
    slowly = ("--engine", "reference", "--block-rows", 1)
    ran = start("run", tmp_path / "day.txt", "--data", tmp_path / "node", *slowly, on_terminal=("stderr",))
    try:
        status, piped = ran.end()
    finally:
        ran.process.kill()
    assert (status, piped.split()[-1]) == (0, "40,001"), (ran.shown, piped)
    done = [int(share) for bar in bars(ran.shown, "running") for share in re.findall(r"(\d+)%", bar)]
    assert len(done) > 1, ran.shown
    assert done == sorted(done)
    assert 0 < done[-1] <= 100


@pytest.mark.parametrize("to_file", [False, True])
def test_the_first_line_of_a_result_ends_the_bar_unless_it_goes_to_a_file(
    to_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_fd, write_fd = os.pipe()
    bar = screen.Bar("replaying")
    monkeypatch.setattr(screen.Bar, "_visible", bar)
    with open(read_fd, "rb"), open(write_fd, "w") as pipe, (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file if to_file else pipe)
        screen.print_line("> phase XYZ continuous")
        assert screen.Bar.visible() == to_file


def test_a_line_of_the_log_takes_the_row_of_the_bar_and_no_row_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `lockstep serve` writes them: its first line stood behind the bar of the recovery."""
    stream = io.StringIO()
    log = Log(stream, pretty=True, before=screen.Bar.cleared)
    monkeypatch.setattr(screen.Bar, "_visible", screen.Bar("recovering"))
    log.info("listening")
    assert log.flush(10)
    monkeypatch.setattr(screen.Bar, "_visible", None)
    log.info("reign")
    assert log.flush(10)
    first, second, _ = stream.getvalue().split("\n")
    assert first.startswith("\r\x1b[2K")
    assert "listening" in first
    assert "\r" not in second


def test_a_line_of_the_log_takes_the_row_of_a_bar_that_is_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is on the terminal until it is removed there: the node's first line stood behind it on a busy machine."""
    bar, meanwhile = screen.Bar("recovering"), []

    class Progress:
        def stop(self) -> None:
            meanwhile.append(screen.Bar.cleared())

    monkeypatch.setattr(bar, "_progress", Progress())
    monkeypatch.setattr(screen.Bar, "_visible", bar)
    bar.end()
    assert meanwhile == ["\r\x1b[2K"]
    assert screen.Bar.cleared() == ""
