"""The screen of `lockstep inspect` in tmux: another program's terminal shows what the screen says it draws."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("textual", reason="the extra inspect is not installed")

from cli.main import run_line
from tests.test_inspect_screen import LIMIT_S, STORY, TRADED

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Tmux:
    """A tmux server of its own, with one window of 80 by 24."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "tmux"  # a path of a socket is short

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of tmux."""
        line = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words]
        # A shell may export the size that its window had.
        terminal = {**os.environ, "TERM": "screen-256color", "LC_ALL": "C.UTF-8", "COLUMNS": "80", "LINES": "24"}
        return subprocess.run(line, check=False, capture_output=True, text=True, timeout=60, env=terminal)

    def shown(self) -> list[str]:
        """The lines of the window."""
        return self.run("capture-pane", "-p").stdout.splitlines()

    def wait(self, is_so: Callable[[list[str]], bool]) -> list[str]:
        """The lines of the window once something is so of them."""
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            if is_so(lines := self.shown()):
                return lines
            time.sleep(0.1)
        raise AssertionError("the window shows:\n" + "\n".join(self.shown()))


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    with tempfile.TemporaryDirectory(prefix="lockstep-tmux-") as name:
        server = Tmux(Path(name))
        try:
            yield server
        finally:
            server.run("kill-server")


def started(tmux: Tmux, folder: Path, *words: str, behind: str = "", at: str = "12") -> None:
    """Begin a window with the screen in it; the exit status is printed at the end."""
    (folder / "story.txt").write_text(STORY)
    assert run_line(["run", str(folder / "story.txt"), "--data", str(folder / "story")]) == 0
    command = shlex.join([sys.executable, "-m", "cli.main", "inspect", str(folder / "story"), "--at", at, *words])
    here = f"cd {shlex.quote(str(Path(__file__).parent.parent))}"
    line = f"set -m; {here}; echo before; {command} {behind}; echo status $?; exec sleep {int(LIMIT_S) * 3}"
    begun = tmux.run("new-session", "-d", "-x", "80", "-y", "24", f"bash -c {shlex.quote(line)}")
    assert begun.returncode == 0, begun.stderr


def is_traded(lines: list[str]) -> bool:
    """True if the window of 80 by 24 has the trade of the story."""
    expected = [each.rstrip() for each in TRADED.splitlines()]
    return len(lines) == 24 and [each.rstrip() for each in lines[1:]] == expected[: len(lines) - 1]


def test_a_window_of_tmux_has_the_screen_and_gets_its_terminal_back(tmux: Tmux, tmp_path: Path) -> None:
    started(tmux, tmp_path)
    tmux.wait(is_traded)
    tmux.run("send-keys", "Left")
    tmux.wait(lambda lines: " 11 of 16 " in lines[0] and "enter ALPHA a2 sell 70 XYZ @ 10.01" in "\n".join(lines))
    tmux.run("send-keys", "Right")
    tmux.wait(lambda lines: " 12 of 16 " in lines[0])
    tmux.run("send-keys", "q")
    after = tmux.wait(lambda lines: "status 0" in lines)
    assert [each for each in after if each] == ["before", "status 0"], "the screen is gone, and what was there is back"


def test_a_window_that_is_resized_has_the_page_of_its_size_at_once(tmux: Tmux, tmp_path: Path) -> None:
    started(tmux, tmp_path)
    tmux.wait(is_traded)
    for width, height in ((120, 30), (60, 18), (30, 8), (80, 24)):
        assert tmux.run("resize-window", "-x", str(width), "-y", str(height)).returncode == 0
        bar = "─" * width
        lines = tmux.wait(lambda lines, bar=bar, height=height: len(lines) == height and (bar in lines or height < 10))
        assert all(len(each) <= width for each in lines)
    tmux.wait(is_traded)


@pytest.mark.parametrize("key", ["C-c", "q"])
def test_it_ends_by_a_key_also_on_a_page_of_text_or_in_a_search(key: str, tmux: Tmux, tmp_path: Path) -> None:
    started(tmux, tmp_path)
    tmux.wait(is_traded)
    tmux.run("send-keys", "?")
    tmux.wait(lambda lines: "previous match" in "\n".join(lines))
    if key == "q":
        tmux.run("send-keys", "Escape")
        tmux.wait(is_traded)
    tmux.run("send-keys", key)
    after = tmux.wait(lambda lines: any(each.startswith("status") for each in lines))
    assert [each for each in after if each] == ["before", "status 0"]


@pytest.mark.parametrize("keys", [(), ("/",)], ids=["page", "search"])
def test_it_gives_the_terminal_to_the_shell_and_takes_it_back(
    keys: tuple[str, ...], tmux: Tmux, tmp_path: Path
) -> None:
    started(tmux, tmp_path, behind="; echo stopped $?; read; fg > /dev/null")
    tmux.wait(is_traded)
    for key in (*keys, "C-z"):
        tmux.run("send-keys", key)
    # 128 and SIGSTOP, or SIGTSTP where the terminal's driver sent that.
    lines = tmux.wait(lambda lines: "stopped 147" in lines or "stopped 148" in lines)
    assert not any("XYZ" in each for each in lines), "the page is gone while the shell has the terminal"
    tmux.run("send-keys", "Enter")
    tmux.wait(lambda lines: "> trade" in "\n".join(lines))
    if keys:
        tmux.run("send-keys", "Escape")  # at once before another key it would be Alt and that key
        tmux.wait(is_traded)
    tmux.run("send-keys", "q")
    tmux.wait(lambda lines: "status 0" in lines)


def test_into_a_pipe_there_is_no_screen_but_a_sentence(tmux: Tmux, tmp_path: Path) -> None:
    started(tmux, tmp_path, behind="| head -1; echo status ${PIPESTATUS[0]}")
    after = "".join(tmux.wait(lambda lines: "status 2" in lines))
    assert "is a screen" in after or "needs a terminal" in after, after
