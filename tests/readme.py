"""The console blocks of README.md as a script: what they run, what they promise, and the comparison of both.

A block is a script when a line of it begins with ``$ ``; what follows up to the next ``$ `` is the output. ``…`` stands
for what is left out: whole lines, or a part of one. An HTML comment before a block says more of it:

    <!-- file day.txt -->      the block is a file of that name
    <!-- background -->        the program stays; the block is what it says at first
    <!-- session -->           lines that begin with a verb of `lockstep trade` are typed
    <!-- numbers vary -->      all numbers are masked, since clients or the clock set them
    <!-- command numbers vary --> those are, since a live node has clock values between commands
    <!-- not run: REASON -->   the block is not run
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.ports import free_port
from tests.running import until

ROOT: Final = Path(__file__).parent.parent
#: No command of the README may take longer.
LIMIT_S: Final = 900
#: Ports in the README; each run takes free ones in their place.
PORTS: Final = ("9001", "9002", "9003", "9004", "9005", "9010", "9080", "9102", "9103")
_TYPED: Final = re.compile(r"(buy|sell|cancel|replace|mass_cancel|orders|quit)\b")
_TOLD: Final = "accepted|executed|rejected|canceled|replaced|repriced"
_UNIT: Final = r"(?:s|ms|us|µs|min|B|kB|MB|GB)"
_DIGEST: Final = re.compile(r"\b[0-9a-f]{12,32}\b")
_MASKS: Final = [
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z| UTC)?"), "<time>"),
    (
        re.compile(
            r"\b(accepted|executed|rejected|canceled|replaced|repriced) (?:[A-Z]+[A-Z0-9]*\d[A-Z0-9]*|[A-Z0-9]{8,14})\b"
        ),
        r"\1 <token>",
    ),
    (re.compile(r"\bsession \d{8}\b"), "session <day>"),
    (re.compile(r"\bport \d+"), "port <port>"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"[\d,.]+ (?:commands/s|orders/s)"), "<rate>"),
    (re.compile(rf"\b[\d,.]+ {_UNIT}\b"), "<measured>"),
    (re.compile(r"\bPython \d\S*"), "Python <version>"),
]


@dataclass
class Block:
    """A block between two lines of ```, the number of its first line, its language, and the comment before it."""

    line: int
    language: str
    note: str
    lines: list[str] = field(default_factory=list)

    @property
    def steps(self) -> list[tuple[str, list[str]]]:
        """Commands, each with the output that it promises."""
        found: list[tuple[str, list[str]]] = []
        for text in self.lines:
            if found and found[-1][0].endswith("\\") and not found[-1][1]:
                found[-1] = (found[-1][0].removesuffix("\\").rstrip() + " " + text.strip(), [])
            elif text.startswith("$ "):
                found.append((text.removeprefix("$ "), []))
            elif found:
                found[-1][1].append(text)
        return found


def blocks_of(text: str) -> list[Block]:
    """The blocks of a Markdown file.

    >>> [block.steps for block in blocks_of("```\\n$ echo a\\na\\n```")]
    [[('echo a', ['a'])]]
    """
    found: list[Block] = []
    note, inside = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
            if inside:
                found.append(Block(number, line.removeprefix("```"), note))
            note = ""
        elif inside:
            found[-1].lines.append(line)
        elif match := re.fullmatch(r"<!-- (.*) -->", line):
            note = match[1]
        elif line.strip():
            note = ""
    return found


def masked(line: str, note: str = "") -> str:
    """A line without times, tokens, ports, measurements and runs of spaces; where numbers vary, without digests too.

    >>> masked("  event digest  5bdd33397a60eadc712b8cd361ca255e", "numbers vary"), masked("time 0.68 s, 22 commands/s")
    ('event digest <digest>', 'time <measured>, <rate>')
    """
    if note == "numbers vary":
        line = _DIGEST.sub("<digest>", line)
    for pattern, name in _MASKS:
        line = pattern.sub(name, line)
    if note == "numbers vary":
        line = re.sub(r"\d[\d,.]*", "<number>", line)
    if note == "command numbers vary":
        line = re.sub(r"\bcommand \d+", "command <number>", line)
    return " ".join(line.split())


def difference(promised: list[str], printed: list[str], note: str = "") -> str | None:
    """The first promised line that was not printed in its place, or None.

    >>> difference(["a", "…", "c 12 kB"], ["a", "b", "b", "c 7.5 kB"])
    >>> difference(["a", "c"], ["a", "b", "c"])
    "promised 'c', printed 'b'"
    """
    got = [masked(line, note) for line in printed if line.strip()]
    at, skipping = 0, False
    for line in promised:
        if not line.strip():
            continue
        if line.strip() == "…":
            skipping = True
            continue
        wanted = masked(line, note)
        pattern = re.compile(".*".join(re.escape(piece) for piece in wanted.split("…")))
        while at < len(got) and skipping and not pattern.fullmatch(got[at]):
            at += 1
        if at == len(got) or not pattern.fullmatch(got[at]):
            return f"promised {wanted!r}, printed {got[at] if at < len(got) else 'nothing more'!r}"
        at, skipping = at + 1, False
    if at < len(got) and not skipping:
        return f"printed beyond what is promised: {got[at]!r}"
    return None


class Walk:
    """The README followed in one directory, from top to bottom. Use it as ``with``; it ends what it started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = {port: str(free_port()) for port in PORTS}
        programs = directory / ".programs"
        programs.mkdir()
        program = programs / "lockstep"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cli.main "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        for name in ("tests", "examples"):
            (directory / name).symlink_to(ROOT / name)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_PASSWORD")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",
        }
        self._background: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Walk":
        """Compile what is not compiled yet, which the first command of the README would say."""
        subprocess.run(
            [sys.executable, "-m", "cli.main", "warmup"], check=True, env=self._environment, capture_output=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._background:
            process.send_signal(signal.SIGTERM)
        for process in self._background:
            process.wait(LIMIT_S)

    def follow(self, block: Block) -> list[str]:
        """Do what a block says; a sentence for each command whose output is not the promised one."""
        if block.note.startswith("not run"):
            return []
        if block.note.startswith("file "):
            path = self._directory / block.note.removeprefix("file ")
            path.write_text("\n".join(block.lines) + "\n", encoding="utf-8")
            return []
        wrong = []
        for command, promised in block.steps:
            printed = self._printed(command, promised, block.note)
            kept = promised
            if block.note == "session":
                kept = [line for line in promised if not _TYPED.match(line)]
            found = difference(kept, printed, block.note)
            if found is not None:
                everything = "\n    ".join(printed)
                wrong.append(f"README.md:{block.line}: {command}\n  {found}\n    {everything}")
        return wrong

    def _printed(self, command: str, promised: list[str], note: str) -> list[str]:
        command = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self._ports[port[0]], command)
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self._environment[name] = value
            return []
        if note == "background":
            return self._started(command, masked(promised[-1]))
        typed = "".join(f"{line}\n" for line in promised if _TYPED.match(line)) if note == "session" else ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            input=typed.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
        )
        return done.stdout.decode().splitlines()

    def _started(self, command: str, last: str) -> list[str]:
        """Start a program that stays; its output up to the line that is promised last."""
        said = self._directory / f".said{len(self._background)}"
        with said.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self._background.append(process)

        def printed() -> list[str]:
            # Lines of the log come from another thread, before or after those of the program.
            lines = said.read_text(encoding="utf-8").splitlines()
            return [masked(line) for line in lines if not line.startswith('{"time": ')]

        until(lambda: last in printed() or process.poll() is not None, LIMIT_S)
        return printed()[: printed().index(last) + 1] if last in printed() else printed()
