"""Processes of ``lockstep`` that start at once: forked from one that has loaded everything and waits.

A start from nothing takes a second of processor time, nearly all of it for imports and kernels. Most tests judge what a
program does and not how it starts: they take a fork, which is a process of its own like any other, with its own number,
descriptors, signals and exit status. The nodes of `lockstep demo`, nodes behind another command, such as prlimit, and
the programs of tests about the start itself start from nothing.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).parent.parent
_SET_CHILD_SUBREAPER: Final = 36
_REQUEST_BYTES_MAX: Final = 1 << 20
#: Of the environment, what a process reads while it loads.
_READ_EARLY: Final = ("NUMBA_", "PYTHON", "XDG_", "HOME", "LOCKSTEP_CACHE_DIR", "LD_")
_STREAMS: Final = ("stdin", "stdout", "stderr")


class Forked(subprocess.Popen[str]):
    """A child that ``_wait_for_requests`` made, with the methods of any other."""

    def __init__(self, pid: int, line: Sequence[str], pipes: Mapping[str, IO[str]]) -> None:
        # Not Popen's own, which would start a process; these are what its other methods read.
        self.args, self.pid, self.returncode = list(line), pid, None
        self.stdin, self.stdout, self.stderr = (pipes.get(name) for name in _STREAMS)
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

    def spawn(self, request: dict[str, Any], streams: Sequence[int]) -> Forked:
        """The process of a request. ``streams``: a descriptor for each, PIPE or DEVNULL."""
        pipes: dict[str, IO[str]] = {}
        with contextlib.ExitStack() as its, _orphans_are_ours():
            fds = []
            for name, stream in zip(_STREAMS, streams, strict=True):
                fd = stream
                if stream == subprocess.DEVNULL:
                    fd = os.open(os.devnull, os.O_RDWR)
                elif stream == subprocess.PIPE:
                    reads, writes = os.pipe()
                    fd, mine = (reads, writes) if name == "stdin" else (writes, reads)
                    pipes[name] = os.fdopen(mine, "w" if name == "stdin" else "r", encoding="utf-8")
                if fd != stream:
                    its.callback(os.close, fd)
                fds.append(fd)
            socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
            pid = self._socket.recv(64)
        assert pid, "the process that forks nodes has ended"
        return Forked(int(pid), request["line"], pipes)

    def close(self) -> None:
        """End the process that waits; its forks go on."""
        self._socket.close()
        self._process.wait(120)


@functools.cache
def _nursery(_early: tuple[tuple[str, str], ...]) -> Nursery:
    return Nursery()


def spawn(
    line: Sequence[object],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
    faults: str = "",
) -> Forked:
    """A process that runs ``lockstep`` with these arguments. ``faults``: those of ``tests.faulty_node``, in commas."""
    request = {
        "line": [str(word) for word in line],
        "environment": dict(os.environ if environment is None else environment),
        "folder": os.getcwd(),
        "faults": faults,
    }
    early = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(_READ_EARLY)))
    return _nursery(early).spawn(request, (stdin, stdout, stderr))


def run(
    line: Sequence[object], *, typed: str = "", environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run ``lockstep`` with these arguments in a process, ``typed`` on its standard input, and wait for its end."""
    process = spawn(line, stdin=subprocess.PIPE, environment=environment)
    try:
        said, complaint = process.communicate(typed, timeout=600)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return subprocess.CompletedProcess(process.args, process.returncode, said, complaint)


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
    import cli.servers.serve
    import client
    import node.node
    import node.program
    import tests.faulty_node
    from cli.main import run_line
    from cli.warmup import ready
    from tests import roomy_disk

    roomy_disk.assume()
    assert cli.servers.serve
    assert client
    assert node.node
    assert node.program
    assert tests.faulty_node
    ready(gateway=True)
    with contextlib.redirect_stderr(io.StringIO()):
        assert run_line(["state", os.devnull]) == 2  # puts the commands together, and loads what reads their options
    gc.collect()
    gc.freeze()


def _wait_for_requests(asked: socket.socket) -> None:
    """Fork for each request, until the socket is closed. Returns in the fork that is to run, with its arguments."""
    while True:
        request, fds, _, _ = socket.recv_fds(asked, _REQUEST_BYTES_MAX, len(_STREAMS))
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
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    for fd in (*fds, *pipe):
        os.close(fd)
    os.chdir(request["folder"])
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)  # the others are of the descriptors that were there
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["lockstep", *request["line"]]
    if request["faults"]:
        from tests.faulty_node import FAULTS

        for name in request["faults"].split(","):
            FAULTS[name]()


def main() -> None:
    """The process that waits, and in each fork the program."""
    asked = socket.socket(fileno=int(sys.argv[1]))
    _load()
    _wait_for_requests(asked)
    from cli.start import main as program

    program()


if __name__ == "__main__":
    main()
