"""Ports that programs of a killed node hold for a moment longer."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from node.program import _is_free
from node.programs.former_programs import becomes_free, holders, is_leaving
from tests.running import ROOT, Running

GATEWAY = "--gateway"


@contextmanager
def holder(
    words: list[str], environment: dict[str, str] | None = None
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A process that alone holds a port on which it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, pass_fds=[listening.fileno()], env=os.environ | (environment or {})
        )
    try:
        yield port, process
    finally:
        process.kill()
        process.wait()


def slow_start(folder: Path, seconds: float) -> dict[str, str]:
    """Environment in which Python takes so long to start."""
    (folder / "sitecustomize.py").write_text(f"import time\ntime.sleep({seconds})\n")
    return {"PYTHONPATH": str(folder)}


def launched(node: int) -> list[str]:
    return ["-m", "node.programs.launch", str(node), "0", "0", sys.executable, "-c", "import time; time.sleep(60)"]


def ended() -> int:
    """Number of a process that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_a_node_waits_for_programs_that_its_killed_predecessor_was_starting(tmp_path: Path) -> None:
    node = Running(tmp_path / "node")
    node.start()
    node.end(signal.SIGKILL)
    with holder(launched(ended()), slow_start(tmp_path, 5)) as (port, process):
        node = Running(tmp_path / "node", GATEWAY, f"ouch:{port}")
        node.start()  # it says where it listens
        try:
            assert process.wait(10) == 0
        finally:
            node.stop()


def test_a_program_that_is_being_started_by_a_node_that_lives_is_not_waited_for(tmp_path: Path) -> None:
    with holder(launched(os.getpid()), slow_start(tmp_path, 30)) as (port, process):
        assert holders(port) == [process.pid]
        began_s = time.monotonic()
        assert not becomes_free(port, partial(_is_free, "127.0.0.1", port))
        assert time.monotonic() - began_s < 5


def test_a_wait_has_its_end(tmp_path: Path) -> None:
    with holder(launched(ended()), slow_start(tmp_path, 30)) as (port, process):
        process.send_signal(signal.SIGSTOP)
        assert is_leaving(process.pid)
        assert not becomes_free(port, partial(_is_free, "127.0.0.1", port), patience_s=0.2)


@pytest.mark.parametrize("name", ["127.0.0.1", "::1"])
def test_a_port_of_somebody_else_is_in_use_at_once(name: str) -> None:
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    with socket.create_server((name, 0), family=family) as listening:
        port = int(listening.getsockname()[1])
        assert holders(port) == [os.getpid()]
        assert not is_leaving(os.getpid())
        assert not becomes_free(port, partial(_is_free, name, port))
    assert becomes_free(port, partial(_is_free, name, port))
    assert holders(port) == []


def test_a_killed_process_is_leaving_until_it_is_gone() -> None:
    lives = ["-c", "memory = bytearray(b'1') * (1 << 28); print(flush=True); import time; time.sleep(60)"]
    with holder(lives) as (port, process):
        while not holders(port) or Path(f"/proc/{process.pid}/statm").read_text().split()[1] < "1":
            time.sleep(0.01)
        assert not is_leaving(process.pid)
        process.kill()
        assert becomes_free(port, partial(_is_free, "127.0.0.1", port)), "its memory takes a while to be given back"
        assert is_leaving(process.pid), "nobody has waited for it yet"
        process.wait()
        assert is_leaving(process.pid)
