"""The runbook of docs/OPERATIONS.md as a play: its commands, run as they stand there, by real processes.

A line such as ``a$ lockstep status /var/lib/lockstep/node`` is a command on machine a; the lines after it are its
output. Here each machine is a folder and an address of loopback. ``systemctl`` stops and starts what runs on a machine.
Numbers, times and digests are not compared, and a command that only shows something is repeated until it shows what the
page says.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests import nursery
from tests.running import SMALL, SMALL_CAPACITY

PAGE: Final = Path(__file__).parent.parent / "docs" / "OPERATIONS.md"
_PROMPT: Final = re.compile(r"^([abw])\$ (.*)$")
_SHOWS: Final = ("status",)
_WITHIN_S: Final = 180.0


class Step(NamedTuple):
    """A command of the page, on a machine, and the output that the page shows."""

    machine: str
    command: str
    output: str


def sections() -> dict[str, list[Step]]:
    """Steps by the title of their section."""
    found: dict[str, list[Step]] = {}
    title, inside = "", False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif line.startswith("```"):
            inside = not inside
        elif inside and (prompt := _PROMPT.match(line)):
            found.setdefault(title, []).append(Step(prompt[1], prompt[2], ""))
        elif inside and title in found:
            machine, command, output = found[title][-1]
            found[title][-1] = Step(machine, command, f"{output}{line}\n")
    return found


def masked(text: str) -> str:
    """A text without what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "TIME", text)
    text = re.sub(r"\b([0-9a-f]{32}|[0-9a-f]{16})\b", "DIGEST", text)
    text = re.sub(r"\d[\d,.]*(?<![,.])", "#", text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


class Stage:
    """Machines a, b (nodes) and w (witness), each a folder of ``folder``. ``faults``: of a machine's node, by name."""

    def __init__(self, folder: Path, faults: Mapping[str, str] | None = None) -> None:
        self.folder, self._faults = folder, faults or {}
        # Own addresses: other programs on this machine may use the ports of the page.
        self._net = f"127.{os.getpid() % 250 + 1}.{time.monotonic_ns() // 1_000_000 % 250 + 1}."
        self._services: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[str]] = {}

    def _words(self, machine: str, command: str) -> list[str]:
        text = command.replace("10.0.0.", self._net)
        text = text.replace("/etc/lockstep/secret", str(self.folder / "w" / "witness" / "secret"))
        # ``a:/path``: a path on machine a.
        text = re.sub(r"\b([abw]):/var/lib/lockstep", lambda found: str(self.folder / found[1]), text)
        words = shlex.split(text.replace("/var/lib/lockstep", str(self.folder / machine)))
        if words[0] != "rm":
            _await_files([word for word in words if "*" in word])
        return [each for word in words for each in (_globbed(word) if "*" in word else [word])]

    def play(self, step: Step) -> str:
        """Run a command; gives its output, with the names of the page."""
        words = self._words(step.machine, step.command)
        if words[0] == "systemctl":
            return self._systemctl(step.machine, words)
        if words[0] == "rm":
            for path in map(Path, words[2:] if words[1] == "-r" else words[1:]):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            return ""
        if words[0] in ("mv", "scp"):
            shutil.move(*words[1:]) if words[0] == "mv" else shutil.copy(*words[1:])
            return ""
        assert words[0] == "lockstep", step
        if words[1] in ("serve", "witness"):
            self._services[step.machine] = words[1:]
            return self._named(self._start(step.machine), step.machine)
        deadline_s = time.monotonic() + _WITHIN_S
        while True:
            done = nursery.run(words[1:])
            said = self._named(done.stdout or done.stderr, step.machine)
            shows = words[1] in _SHOWS
            if not shows or masked(said) == masked(step.output) or time.monotonic() > deadline_s:
                return said
            time.sleep(0.05)

    def _named(self, said: str, machine: str) -> str:
        said = said.replace(str(self.folder / machine), "/var/lib/lockstep")
        return said.replace(self._net, "10.0.0.")

    def _start(self, machine: str) -> str:
        words = self._services[machine]
        if words[0] == "serve":
            # What the page leaves to the defaults of a large market. An empty directory with a peer is fetched.
            new = not (self.folder / machine / "node").exists() and "--peer" not in words
            words = [words[0], *(SMALL_CAPACITY if new else ()), *words[1:], *SMALL]
        (self.folder / machine).mkdir(exist_ok=True)
        with (self.folder / f"{machine}.log").open("a") as log:
            process = nursery.spawn(words, stderr=log.fileno(), faults=self._faults.get(machine, ""))
        self._running[machine] = process
        assert process.stdout is not None
        return process.stdout.readline()

    def _systemctl(self, machine: str, words: list[str]) -> str:
        if words[1] == "start":
            self._start(machine)
            return ""
        assert words[1] in ("stop", "kill"), words
        process = self._running.pop(machine)
        process.send_signal(signal.SIGKILL if words[1] == "kill" else signal.SIGTERM)
        process.wait(120)
        if process.stdout is not None:
            process.stdout.close()
        return ""

    def close(self) -> None:
        """End what still runs."""
        for machine in list(self._running):
            self._systemctl(machine, ["systemctl", "kill"])


def _await_files(patterns: list[str]) -> None:
    """Wait until each pattern names a file: a node may be about to write it."""
    deadline_s = time.monotonic() + _WITHIN_S
    while not all(map(_globbed, patterns)):
        assert time.monotonic() < deadline_s, patterns
        time.sleep(0.05)


def _globbed(word: str) -> list[str]:
    path = Path(word)
    return [str(each) for each in path.parent.glob(path.name)]
