"""Shared memory kills nobody who has it, whatever programs of the same user do to it: it cannot become shorter."""

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from replay.market_rows import lines_of, tape_of
from tape.errors import TapeError
from tape.lines import pipe_of
from tape.sealed import opened_memory, sealed_memory
from tape.shared_file import HEADER
from tests.ouch_messages import cancel, enter
from tests.running import Client, Running, started, until

PAGE = 4_096
SIZE = 64 * PAGE

#: Maps a file, says so, waits for a line, and touches every page.
TOUCH = """
import mmap, os, sys
size = int(sys.argv[2])
view = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), size)
print("mapped", flush=True)
sys.stdin.readline()
for at in range(0, size, 4096):
    view[at] = 1
print(sum(view[at] for at in range(0, size, 4096)), flush=True)
"""


def touching(path: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", TOUCH, path, str(SIZE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "mapped\n"
    return process


def attempts(path: str) -> list[str]:
    """Try to make what is at a path shorter or longer, in every way and to all sizes; those that worked."""
    worked = []
    sizes = sorted(
        {0, 1, *range(0, SIZE + 1, PAGE), *(at - 1 for at in range(PAGE, SIZE + 1, PAGE)), SIZE + 1, 1 << 30}
    )
    for size in sizes:
        if size == SIZE:
            continue
        try:
            os.truncate(path, size)
            worked.append(f"truncate to {size}")
        except OSError:
            pass
    try:
        os.close(os.open(path, os.O_RDWR | os.O_TRUNC))
        worked.append("open with O_TRUNC")
    except OSError:
        pass
    fd = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(fd, SIZE, PAGE)
        worked.append("allocate behind the end")
    except OSError:
        pass
    finally:
        os.close(fd)
    return worked


def test_no_program_of_the_user_can_change_the_size_and_who_has_it_mapped_lives() -> None:
    fd = sealed_memory("lockstep-test", SIZE)
    path = f"/proc/{os.getpid()}/fd/{fd}"
    with touching(path) as process:
        assert attempts(path) == []
        assert process.communicate("go\n", timeout=60)[0] == f"{SIZE // PAGE}\n"
        assert process.returncode == 0
    os.close(fd)


def test_a_file_that_was_cut_short_kills_who_has_it_mapped() -> None:
    """Control of the test above: a file with a name, as shared memory had before."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="lockstep-test-") as file:
        os.posix_fallocate(file.fileno(), 0, SIZE)
        with touching(file.name) as process:
            os.truncate(file.name, PAGE)
            process.communicate("go\n", timeout=60)
            assert process.returncode == -signal.SIGBUS
        assert len(attempts(file.name)) > SIZE // PAGE


def test_memory_that_is_not_sealed_is_refused() -> None:
    """A program that writes the file of a market could name memory of its own, and cut it short once it is mapped."""
    fd = os.memfd_create("lockstep-test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(fd, SIZE)
    with pytest.raises(TapeError, match="is not the memory of the market"):
        opened_memory(os.getpid(), fd, os.fstat(fd).st_ino, SIZE)
    os.close(fd)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path, "--durability", "none", "--tape-mb", "1")
    yield running
    running.stop()


def memories(node: Running) -> list[Path]:
    """Ways to the memory of its tape and of its lines."""
    found = []
    for path in (tape_of(node.data), lines_of(node.data)):
        header = np.frombuffer(path.read_bytes(), HEADER)[0]
        found.append(Path(f"/proc/{header['pid']}/fd/{header['memory_fd']}"))
    return found


@pytest.mark.slow
def test_a_node_goes_on_trading_whatever_is_done_to_its_files(node: Running) -> None:
    """All files cut short and written over, and every part of the memory scribbled over at random, while it trades."""
    draw = random.Random(5)
    client = Client(node.port, "UA")
    files = [tape_of(node.data), lines_of(node.data)]
    targets = memories(node)
    sent = 0
    for turn in range(60):
        for target in targets:
            with open(target, "r+b", buffering=0) as memory:
                size = os.fstat(memory.fileno()).st_size
                for _ in range(200):
                    # Mostly among the words, which come first.
                    memory.seek(8 * draw.randrange(min(size, 1 << 14 if draw.random() < 0.7 else size) // 8))
                    memory.write(draw.choice([draw.randbytes(8), bytes(8), b"\xff" * 8, (1).to_bytes(8, "little")]))
        if turn == 20:
            for path in files:
                os.truncate(path, draw.randrange(HEADER.itemsize))
        if turn == 40:
            pipe_of(files[1]).unlink()
            for path in files:
                path.write_bytes(draw.randbytes(100))
        for _ in range(20):
            client.socket.sendall(enter(f"o{sent}", "B", 5, 90_000) + cancel(f"o{sent}"))
            sent += 1
        client.take(1 + 2 * sent)
    assert node.process is not None
    assert node.process.poll() is None
    until(lambda: node.status()["orders_open"] == 0)
    assert node.end(signal.SIGTERM) == 0
