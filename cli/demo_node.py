"""The node of `lockstep demo`: `lockstep serve` as a child process, set up, watched, killed and started again.

It runs as any node, with durability fsync; only its capacity is small and its password hashing cheap, so that it starts
at once. It is commanded through its operator socket (``node.link``), like any node.
"""

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

from cli.demo_clients import last_line
from cli.errors import CheckFailed
from load.traders import PARTICIPANTS, SYMBOLS
from node.link import Link, LinkError, RequestRefused
from notation.words import price

#: A user for each participant.
USERS: Final = tuple(f"{name}1" for name in PARTICIPANTS)
_PASSWORD_BYTES: Final = 5
_DEPTH: Final = 8
_START_S: Final = 120.0
_END_S: Final = 30.0
#: Longest delay of the node's log.
_LOG_S: Final = 10.0
#: Time for a node that has closed its operator socket to end.
_GONE_S: Final = 2.0


class DemoNode:
    """Node on the directory ``data``. A context manager, which kills a node that still runs at the end.

    log: receives its standard error. Raises CheckFailed if the node fails.
    """

    def __init__(self, data: Path, ids_max: int, environment: dict[str, str], log: IO[str]) -> None:
        self.data = data
        self.port = 0
        room = {"orders": 1 << 14, "ids": ids_max, "instruments": 8, "participants": 16}
        self._line = [sys.executable, "-m", "cli.main", "serve", "--json", "--data", str(data), "--durability", "fsync"]
        self._line += [word for name, most in room.items() for word in (f"--{name}-max", str(most))]
        # The desks are the demo's own, and trade as fast as the machine lets them.
        self._line += ["--password-cost", "4", "--default-order-rate", "off", "--default-share", "off"]
        self._environment = environment
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None

    def __enter__(self) -> "DemoNode":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> int:
        """Start the node on the port it had before; gives the last command of its journal once it listens."""
        began_at = os.fstat(self._log.fileno()).st_size
        self._child = subprocess.Popen(
            [*self._line, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
        )
        if self._child.stdout is None or not select.select([self._child.stdout], [], [], _START_S)[0]:
            raise CheckFailed(f"the node did not listen within {_START_S:.0f} s; run `lockstep doctor`")
        try:
            self.port = int(json.loads(self._child.stdout.readline())["listening"]["port"])
            self._link = Link(self.data)
        except (ValueError, OSError):
            raise self._gone() from None
        return self._seq_of_start(began_at)

    def _seq_of_start(self, began_at: int) -> int:
        deadline_s = time.monotonic() + _LOG_S
        while time.monotonic() < deadline_s:  # a node writes its log in a thread of its own, perhaps a moment later
            size = os.fstat(self._log.fileno()).st_size
            for line in os.pread(self._log.fileno(), size - began_at, began_at).splitlines(keepends=True):
                said = json.loads(line) if line.startswith(b"{") and line.endswith(b"\n") else {}
                if said.get("event") == "listening":
                    return int(said["seq"])
            time.sleep(0.01)
        raise CheckFailed("the node did not report its last command; run `lockstep doctor`")

    def set_up(self) -> Sequence[tuple[str, str]]:
        """Define and open the market; its users and their passwords."""
        lines = [f"instrument {name} tick=0.01 lot=1 reference={price(at_e4)}" for name, at_e4 in SYMBOLS]
        for participant, user in zip(PARTICIPANTS, USERS, strict=True):
            lines += [f"participant {participant}", f"user {user} participant={participant}"]
        answer = self._ask("commands", text="\n".join([*lines, "phase * continuous"]))
        if answer["rejected"]:
            raise CheckFailed(f"the node rejected the definitions: {answer['events']}")
        who = [(user, secrets.token_hex(_PASSWORD_BYTES)) for user in USERS]
        for user, password in who:
            self._ask("password", user=user, password=password)
        return who

    def report(self) -> dict[str, Any]:
        """Report of the node: ``status``, and ``book`` of the first instrument."""
        book = self._ask("books", symbol=SYMBOLS[0][0], depth=_DEPTH)["book"]
        return {"status": self._ask("status")["status"], "book": book}

    def checkpoint(self) -> None:
        """Have the node write a checkpoint while it trades."""
        self._ask("checkpoint")

    def kill(self) -> None:
        """Kill the node by SIGKILL if it runs."""
        self._close()
        if self._child is not None:
            self._child.send_signal(signal.SIGKILL)
            self._reap(None)

    def end(self) -> None:
        """End the node by SIGTERM."""
        self._close()
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)
            try:
                status = self._reap(_END_S)
            except subprocess.TimeoutExpired:
                raise CheckFailed(
                    f"the node did not end within {_END_S:.0f} s of a SIGTERM; run `lockstep doctor`"
                ) from None
            if status != 0:
                raise CheckFailed(f"the node ended with status {status}: {last_line(self._log)}; run `lockstep doctor`")

    def _reap(self, timeout_s: float | None) -> int:
        if self._child is None:
            return 0
        status = self._child.wait(timeout_s)
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._child = None
        return status

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _ask(self, do: str, **fields: Any) -> dict[str, Any]:
        if self._link is None:
            raise self._gone()
        try:
            return self._link.ask(do, **fields)
        except LinkError:
            raise self._gone() from None
        except RequestRefused as error:
            raise CheckFailed(f"the node refused {do}: {error}; run `lockstep doctor`") from None

    def _gone(self) -> CheckFailed:
        """Sentence about a node that does not answer."""
        status = None
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._child.wait(_GONE_S)
        what = "does not answer" if status is None else f"ended by itself with status {status}"
        return CheckFailed(f"the node {what}; its last log line: {last_line(self._log)}; run `lockstep doctor`")


def environment() -> dict[str, str]:
    """Environment of child processes, in which they import the same packages as this process."""
    root = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
