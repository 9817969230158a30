"""In a terminal, a file or pipe gets the whole result, whatever the terminal shows meanwhile.

The progress bar goes to standard error. Every command of the program that can run on a small directory is run here
twice, with the bar and without; its standard output is the same, byte for byte.
"""

import contextlib
import io
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from cli.main import run_line
from cli.screen import Bar
from node.program import NodeAddresses
from tests.conftest import Lockstep
from tests.nodes import TINY
from tests.test_every_command import DAY, LINES

#: Commands that have no bar: they are quick whatever the directory holds.
BARLESS: Final = {
    ("warmup",),
    ("version",),
    ("ask",),
    ("checkpoint", "list"),
    ("journal", "info"),
    ("journal", "keep-events"),  # of a directory without a closed slice
}
#: Differences between two runs of the same command: the time that it took, the clock and the room on the disk.
TIMED: Final = re.compile(r"[\d.]+ s\b|[\d,]+ commands/s|[\dT:-]+ UTC|[\d.]+ .B free")
LIMIT_S: Final = 180.0


class AtOnce(threading.Timer):
    """A timer whose time has come when it is started, so that the bar is there before the work begins."""

    def start(self) -> None:
        """Call what the timer is for."""
        self.function(*self.args, **self.kwargs)

    def cancel(self) -> None:
        """Do nothing: it is over."""


@contextlib.contextmanager
def terminal() -> Iterator[tuple[io.TextIOWrapper, Callable[[], str]]]:
    """The slave of a pseudo-terminal as a text stream, and a function that closes it and gives what came to it."""
    mine, its = pty.openpty()
    held: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: its last writer has closed it
            while data := os.read(mine, 65_536):
                held.append(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    stream = os.fdopen(its, "w")

    def shown() -> str:
        stream.close()
        reader.join(LIMIT_S)
        return b"".join(held).decode()

    try:
        yield stream, shown
    finally:
        stream.close()
        os.close(mine)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a day's file, a node that was fed with it and has a checkpoint, and a copy of the node."""
    folder = tmp_path_factory.mktemp("redirected")
    (folder / "DAY").write_text(DAY)
    if run_line(["run", str(folder / "DAY"), "--data", str(folder / "NODE"), "--block-rows", "4", *TINY]) != 0:
        raise RuntimeError("the day could not be run")
    if run_line(["checkpoint", "create", str(folder / "NODE")]) != 0:
        raise RuntimeError("no checkpoint could be made")
    for copy in ("COPY", "ROLLED"):  # nothing is closed in either
        shutil.copytree(folder / "NODE", folder / copy)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("words", list(LINES), ids=" ".join)
def test_standard_output_in_a_file_is_the_same_with_the_bar_and_without(
    words: tuple[str, ...], form: tuple[str, ...], made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "Timer", AtOnce)
    line = [*words, *LINES[words].replace("INCIDENT", "incident.md").split(), *form]
    results = {}
    for name in ("without", "with"):
        shutil.copytree(made, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        with terminal() as (stream, shown), Path("result").open("w") as result, monkeypatch.context() as patched:
            # TERM=dumb is a terminal without a bar.
            patched.setenv("TERM", "xterm" if name == "with" else "dumb")
            patched.delenv("NO_COLOR", raising=False)
            patched.setattr(sys, "stdout", result)
            patched.setattr(sys, "stderr", stream)
            assert run_line(line) == 0
            complaint = shown()
        results[name] = Path("result").read_text()
        assert ("━" in complaint) == (name == "with" and words not in BARLESS), complaint
    assert results["with"] or words == ("journal", "keep-events"), "no result at all"  # JSON: a line a closed slice
    if not form:
        assert TIMED.sub("", results["with"]) == TIMED.sub("", results["without"])


#: The console script, with a bar that appears at once.
PROGRAM: Final = "import cli.screen, cli.main; cli.screen._PATIENCE_S = 0.0; cli.main.main()"


@pytest.mark.slow
@pytest.mark.parametrize("into", ["file", "pipe"])
@pytest.mark.parametrize("words", [("events", "NODE"), ("commands", "NODE", "--json")], ids=" ".join)
def test_in_a_terminal_a_file_or_pipe_gets_the_whole_result(
    words: tuple[str, ...],
    into: str,
    made: Path,
    tmp_path: Path,
    lockstep: Lockstep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)  # the program runs in another folder
    monkeypatch.chdir(made)
    wanted = lockstep(*words)[1].encode()
    with terminal() as (stream, shown):
        result = (tmp_path / "result").open("wb") if into == "file" else None
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=made,
            stdin=subprocess.DEVNULL,
            stdout=result or subprocess.PIPE,
            stderr=stream,
            env={**environment, "TERM": "xterm", "COLUMNS": "120"},
        )
        said, _ = process.communicate(timeout=LIMIT_S)
        complaint = shown()
        if result is not None:
            result.close()
            said = (tmp_path / "result").read_bytes()
    assert process.returncode == 0, complaint
    assert said == wanted
    assert wanted.count(b"\n") > 2
    assert "━" in complaint


def test_the_bar_of_the_recovery_ends_when_the_node_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Timer", AtOnce)
    monkeypatch.setenv("TERM", "xterm")
    bars = []

    def serve(_options: object, *_: object, on_listening: Callable[[NodeAddresses], None], **_named: object) -> None:
        bars.append(Bar.visible())
        on_listening(NodeAddresses("127.0.0.1", 1, None, None, 1, (), {}, {}, None, None, None))
        bars.append(Bar.visible())

    monkeypatch.setattr("node.program.serve", serve)
    with terminal() as (stream, shown), (tmp_path / "result").open("w") as result, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", result)
        patched.setattr(sys, "stderr", stream)
        assert run_line(["serve", "--data", str(tmp_path / "node"), "--port", "0"]) == 0
        complaint = shown()
    assert "recovering" in complaint
    assert bars == [True, False]
