"""A node that was killed under load, started again: seconds from its start to a login that is answered.

It goes on from a checkpoint and a tail of commands, and makes the users' streams of that tail again, before it listens.
"""

import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measure import Row, row
from benchmarks.wire_node import link_to, serving, set_up, symbol_names
from load.generator import Generator
from load.lines import LoadError, User, close_lines, open_lines

_RESTART_S: Final = 3.0
_WINDOW: Final = 32_768
#: No checkpoint comes by itself in the tail.
_ARGUMENTS: Final = ("--checkpoint-every", "1000000000")


def restart(tail_commands: int, runs: int) -> Row:
    """The seconds, with a tail of at least so many commands. Raises LoadError."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        directory = Path(name) / "node"
        with serving(directory, "fsync", _ARGUMENTS) as (port, pid):
            with link_to(directory) as link:
                users = set_up(link, 1, 1)
                from_seq = int(link.ask("checkpoint")["checkpoint"]["seq"])
            _load(port, users, tail_commands)
            with link_to(directory) as link:
                tail = int(link.ask("status")["status"]["seq"]) - from_seq
            os.kill(pid, signal.SIGKILL)
        if tail < tail_commands:
            raise LoadError(f"the node has a tail of {tail:,} commands only, not of {tail_commands:,}")
        took_s = [_restarted(directory, users) for _ in range(runs)]
    return row(f"killed node: from its start to a login answered, a tail of {tail:,}", took_s, "s", at_most=_RESTART_S)


def _load(port: int, users: Sequence[User], orders: int) -> None:
    lines = open_lines("127.0.0.1", port, users)
    try:
        generator = Generator(lines, symbol_names(1), window=_WINDOW)
        try:
            result = generator.saturate(orders)
        finally:
            generator.close()
    finally:
        close_lines(lines)
    if not result.good:
        raise LoadError(f"the tail is no good: {result.complaint()}")


def _restarted(directory: Path, users: Sequence[User]) -> float:
    """One start, killed again before it could write a checkpoint."""
    began_s = time.monotonic()
    with serving(directory, "fsync", _ARGUMENTS) as (port, pid):
        lines = open_lines("127.0.0.1", port, users)
        took_s = time.monotonic() - began_s
        os.kill(pid, signal.SIGKILL)
        close_lines(lines)
    return took_s
