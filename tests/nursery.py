"""Processes of ``lockstep`` that start at once: forked from one that has loaded everything and waits.

A start from nothing takes a second of processor time, nearly all of it for imports and kernels. Most tests judge what a
node does and not how it starts: they take a fork, which is a process of its own like any other, with its own number,
descriptors, signals and exit status. The nodes of `lockstep demo`, nodes with faults and those behind another command,
such as prlimit, start from nothing.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).parent.parent
_SET_CHILD_SUBREAPER: Final = 36
_REQUEST_BYTES_MAX: Final = 1 << 20
#: Of the environment, what a process reads while it loads.
_READ_EARLY: Final = ("NUMBA_", "PYTHON", "XDG_", "HOME", "LOCKSTEP_", "LD_")


class Forked(subprocess.Popen[str]):
    """A child that ``_wait_for_requests`` made, with the methods of any other."""

    def __init__(self, pid: int, line: Sequence[str], stdout: IO[str]) -> None:
        # Not Popen's own, which would start a process; these are what its other methods read.
        self.args, self.pid, self.returncode = list(line), pid, None
        self.stdin, self.stdout, self.stderr = None, stdout, None
        self._waitpid_lock = threading.Lock()
        self._child_created, self._communication_started = True, False
        self._input: Any = None
        self.text_mode = True


class Nursery:
    """The process that waits, and a socket to ask it for forks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    def spawn(self, line: Sequence[str], stderr: int) -> Forked:
        """A process that runs ``lockstep`` with these arguments; its standard output is a pipe."""
        reads, writes = os.pipe()
        request = {"line": line, "environment": dict(os.environ)}
        with os.fdopen(writes, "wb"), _orphans_are_ours():
            socket.send_fds(self._socket, [json.dumps(request).encode()], [writes, stderr])
            pid = self._socket.recv(64)
        assert pid, "the process that forks nodes has ended"
        return Forked(int(pid), line, os.fdopen(reads, encoding="utf-8"))

    def close(self) -> None:
        """End the process that waits; its forks go on."""
        self._socket.close()
        self._process.wait(30)


@functools.cache
def _nursery(_early: tuple[tuple[str, str], ...]) -> Nursery:
    return Nursery()


def spawn(line: Sequence[str], stderr: int) -> Forked:
    """A process that runs ``lockstep`` with these arguments."""
    return _nursery(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(_READ_EARLY)))).spawn(
        line, stderr
    )


@contextlib.contextmanager
def _orphans_are_ours() -> Iterator[None]:
    """While a parent between us and a process ends, the process becomes our child, so that we can wait for it."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _load() -> None:
    """Modules that a node loads before it opens a port."""
    import cli.main
    import cli.serve
    import node.node
    import node.program
    from cli.warmup import ready

    assert cli.main
    assert cli.serve
    assert node.node
    assert node.program
    ready(gateway=True)
    gc.collect()
    gc.freeze()


def _wait_for_requests(asked: socket.socket) -> None:
    """Fork for each request, until the socket is closed. Returns in the fork that is to run, with its arguments."""
    while True:
        request, fds, _, _ = socket.recv_fds(asked, _REQUEST_BYTES_MAX, 2)
        if not request:
            os._exit(0)
        hears, says = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid != 0:  # ends at once, so that the fork becomes the child of who asked
                os.write(says, str(pid).encode())
                os._exit(0)
            _become(json.loads(request), asked, fds, (hears, says))
            return
        os.waitpid(between, 0)
        asked.send(os.read(hears, 64))
        for fd in (*fds, hears, says):
            os.close(fd)


def _become(request: dict[str, Any], asked: socket.socket, fds: Sequence[int], pipe: Sequence[int]) -> None:
    asked.close()
    os.dup2(fds[0], 1)
    os.dup2(fds[1], 2)
    for fd in (*fds, *pipe):
        os.close(fd)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)  # the others are of the descriptors that were there
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["lockstep", *request["line"]]


def main() -> None:
    """The process that waits, and in each fork the program."""
    asked = socket.socket(fileno=int(sys.argv[1]))
    _load()
    _wait_for_requests(asked)
    from cli.start import main as program

    program()


if __name__ == "__main__":
    main()
