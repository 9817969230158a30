"""Processes of `lockstep demo`: a witness and the two nodes of a pair, started, watched, killed and started again.

They run as `lockstep witness` and `lockstep serve` do; only their capacity is small and their password hashing cheap,
so that they start at once. Nodes are commanded through their operator sockets (``node.operator.link``), like any node.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from cli.demo.clients import last_line
from cli.errors import CheckFailed
from node.operator.link import Link, LinkError, RequestRefused

_START_S: Final = 120.0
#: Time for the answer of a child to a line on its standard input.
_ANSWER_S: Final = 10.0
_END_S: Final = 30.0
#: The same where the demo breaks off.
_BREAK_OFF_S: Final = 5.0
#: Time for a node that has closed its operator socket to end.
_GONE_S: Final = 2.0


class Child:
    """Process of lockstep, in a session of its own: Ctrl-C reaches the demo alone, which then ends its children.

    ``name``: in sentences. ``log``: receives its standard error. A context manager, which ends what still runs.
    Raises CheckFailed if the process fails.
    """

    def __init__(self, name: str, words: Sequence[str], environment: dict[str, str], log: IO[str]) -> None:
        self.name = name
        self._words, self._environment, self._log = list(words), environment, log
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_BREAK_OFF_S)
        self.kill()

    def start(self, *more: str) -> None:
        """Start the process, with more words for this start."""
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.demo.child", *self._words, *more, "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
            start_new_session=True,
        )

    def listening(self) -> dict[str, Any]:
        """Wait until the process listens; its addresses."""
        return self._heard("listening", _START_S)

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def has_said(self) -> bool:
        """True if output of the process waits to be read, or the process has ended."""
        out = self._process.stdout if self._process is not None else None
        return out is not None and bool(select.select([out], [], [], 0)[0])

    def say(self, word: str, key: str) -> dict[str, Any]:
        """Write a line to the process; the object that it answers under ``key``."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(f"{word}\n".encode())
                self._process.stdin.flush()
        return self._heard(key, _ANSWER_S)

    def _heard(self, key: str, within_s: float) -> dict[str, Any]:
        until_s = time.monotonic() + within_s
        out = self._process.stdout if self._process is not None else None
        while out is not None and (left_s := until_s - time.monotonic()) > 0:
            if not select.select([out], [], [], left_s)[0]:
                break
            data = os.read(out.fileno(), 1 << 16)
            if not data:
                raise self.gone()
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if key in (found := json.loads(line)):
                    return dict(found[key])
        raise CheckFailed(f"{self.name} said nothing about {key} within {within_s:.0f} s; run `lockstep doctor`")

    def kill(self) -> None:
        """Kill the process by SIGKILL if it runs."""
        if self._process is not None:
            self._process.kill()
            self._reap(None)

    def end(self) -> None:
        """End the process by SIGTERM."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._reap(_END_S)
        except subprocess.TimeoutExpired:
            raise CheckFailed(
                f"{self.name} did not end within {_END_S:.0f} s of a SIGTERM; run `lockstep doctor`"
            ) from None
        if status != 0:
            raise CheckFailed(f"{self.name} ended with status {status}: {last_line(self._log)}; run `lockstep doctor`")

    def _reap(self, timeout_s: float | None) -> int:
        if self._process is None:
            return 0
        status = self._process.wait(timeout_s)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process = None
        return status

    def gone(self) -> CheckFailed:
        """Sentence about a process that does not answer."""
        status = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(_GONE_S)
        what = "does not answer" if status is None else f"ended by itself with status {status}"
        return CheckFailed(f"{self.name} {what}; its last log line: {last_line(self._log)}; run `lockstep doctor`")


class DemoNode(Child):
    """Node of the pair on the directory ``data``, with a fixed port once it has listened."""

    def __init__(
        self, letter: str, data: Path, arbiter: str, secret: Path, environment: dict[str, str], log: IO[str]
    ) -> None:
        self.letter, self.data = letter, data
        self.port = 0
        self._listens = False
        self._link: Link | None = None
        words = ["serve", "--data", str(data), "--node", letter, "--durability", "both"]
        words += ["--arbiter", arbiter, "--secret-file", str(secret), "--link", "127.0.0.1:0"]
        # The desks are the demo's own, and trade as fast as the machine lets them.
        words += ["--password-cost", "4", "--default-order-rate", "off", "--default-share", "off"]
        super().__init__(f"node {letter}", words, environment, log)

    def start(self, *more: str) -> None:
        """Start the node on the port that it had before."""
        self._listens = False
        super().start("--port", str(self.port), *more)

    def listening(self) -> dict[str, Any]:
        """Wait until the node listens; its addresses."""
        where = super().listening()
        self.port = int(where["port"])
        self._listens = True
        return where

    @property
    def listens(self) -> bool:
        """True once the node, started last, has listened."""
        return self._listens

    def has_begun(self) -> bool:
        """True if the node listens by now."""
        if not self._listens and self.has_said():
            self.listening()
        return self._listens

    def kill(self) -> None:
        """Kill the node by SIGKILL if it runs."""
        self._close()
        super().kill()

    def end(self) -> None:
        """End the node by SIGTERM."""
        self._close()
        super().end()

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Ask the node as its operator does."""
        try:
            if self._link is None:
                self._link = Link(self.data)
            return self._link.ask(do, **fields)
        except LinkError:
            if self._link is not None:
                self._link.close()
                self._link = None
            raise self.gone() from None
        except RequestRefused as error:
            raise CheckFailed(f"{self.name} refused {do}: {error}; run `lockstep doctor`") from None

    def pair(self) -> dict[str, Any]:
        """Report of the pair by this node."""
        return dict(self.ask("pair")["pair"])

    def report(self) -> dict[str, Any] | None:
        """The same; None while the node is down, or opens its directory again."""
        if not self._listens:
            return None
        try:
            return self.pair()
        except CheckFailed:
            if not self.is_alive:
                raise
            return None

    def status(self) -> dict[str, Any]:
        """Report of the node."""
        return dict(self.ask("status")["status"])

    def checkpoint(self) -> None:
        """Have the node write a checkpoint while it trades."""
        self.ask("checkpoint")

    def flip(self) -> dict[str, Any]:
        """Flip one bit of the node's memory; gives what was changed."""
        return self.say("flip", "flipped")

    def _close(self) -> None:
        self._listens = False
        if self._link is not None:
            self._link.close()
            self._link = None


def environment() -> dict[str, str]:
    """Environment of child processes, in which they import the same packages as this process."""
    root = str(Path(__file__).parent.parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
