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
        terminal = {**os.environ, "TERM": "screen-256color", "LC_ALL": "C.UTF-8"}
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


def test_a_window_of_tmux_has_the_screen_and_gets_its_terminal_back(tmux: Tmux, tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY)
    assert run_line(["run", str(tmp_path / "story.txt"), "--data", str(tmp_path / "story")]) == 0
    command = [sys.executable, "-m", "cli.main", "inspect", str(tmp_path / "story"), "--at", "12"]
    here = f"cd {shlex.quote(str(Path(__file__).parent.parent))}"
    line = f"{here}; echo before; {shlex.join(command)}; echo status $?; exec sleep {int(LIMIT_S) * 3}"
    started = tmux.run("new-session", "-d", "-x", "80", "-y", "24", f"sh -c {shlex.quote(line)}")
    assert started.returncode == 0, started.stderr
    expected = [each.rstrip() for each in TRADED.splitlines()]
    tmux.wait(lambda lines: [each.rstrip() for each in lines[1:]] == expected[: len(lines) - 1] and len(lines) == 24)
    tmux.run("send-keys", "Left")
    tmux.wait(lambda lines: " 11 of 16 " in lines[0] and "enter ALPHA a2 sell 70 XYZ @ 10.01" in "\n".join(lines))
    tmux.run("send-keys", "Right")
    tmux.wait(lambda lines: " 12 of 16 " in lines[0])
    tmux.run("send-keys", "q")
    after = tmux.wait(lambda lines: "status 0" in lines)
    assert [each for each in after if each] == ["before", "status 0"], "the screen is gone, and what was there is back"
