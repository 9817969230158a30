"""Images that a child process writes: the program goes on meanwhile, and a child may fail."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import Projection
from node.gateways import image as gateway_image
from node.gateways import image_fork
from node.programs.child_work import WorkFailed
from tests.test_snapshot_fork import children_of

#: Time that an image takes here, and the longest standstill of a loop meanwhile, in seconds.
TAKEN_S = 1.0
STILL_S = 0.5
BLOCK = bytes(range(16))


class Slow(Projection):
    """Commands so far, whose image takes its time, as one of many orders does. ``fault``: of its image."""

    name = "slow"
    version = 1

    def __init__(self) -> None:
        self.seq = self.flushed = 0
        self.fault: Exception | None = None

    def observe(self, first_seq: int, commands: Any, _events: Any, /) -> None:
        self.seq = first_seq + len(commands) - 1

    def flush(self) -> None:
        self.flushed = self.seq

    def image(self) -> dict[str, Any]:
        time.sleep(TAKEN_S)
        if self.fault is not None:
            raise self.fault
        return {"seq": np.array([self.seq, self.flushed])}

    def digest(self) -> bytes:
        return bytes(16)

    def restore(self, arrays: Any, _seq: int, /) -> None:
        self.seq, self.flushed = (int(each) for each in arrays["seq"])

    def clear(self) -> None:
        self.seq = 0


def new_slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """A projection that stands behind command 5, of a journal that has a hundred."""
    for each in (gateway_image, image_fork):
        monkeypatch.setattr(each, "block_at", lambda _directory, seq: BLOCK if seq < 100 else b"")
    made = Slow()
    made.observe(1, np.zeros(5), None)
    return made


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return new_slow(monkeypatch)


def restored(folder: Path) -> tuple[int, int, int, str]:
    """Command of the image in a folder and why not of a later one, and what is in it."""
    found = Slow()
    seq, why = gateway_image.restore(folder, folder, found)
    return seq, found.seq, found.flushed, why


async def longest_step_s(work: "asyncio.Task[Any]", then: Callable[[], object] = lambda: None) -> float:
    """The longest standstill of the loop until the end of a task; ``then`` is called in each turn."""
    longest_s, before_s = 0.0, time.monotonic()
    while not work.done():
        await asyncio.sleep(0.001)
        then()
        now_s = time.monotonic()
        longest_s, before_s = max(longest_s, now_s - before_s), now_s
    return longest_s


def test_the_loop_goes_on_while_an_image_is_taken_and_the_image_is_of_the_command_before(
    slow: Slow, tmp_path: Path
) -> None:
    async def follow() -> None:
        def goes_on() -> None:
            slow.observe(slow.seq + 1, np.zeros(1), None)

        began_s = time.monotonic()
        saving = asyncio.create_task(image_fork.save(tmp_path, tmp_path, slow, slow.seq))
        assert await longest_step_s(saving, goes_on) < STILL_S
        assert await saving
        assert time.monotonic() - began_s >= TAKEN_S  # control: it took its time
        assert slow.seq > 5  # control: blocks came meanwhile
        assert restored(tmp_path) == (5, 5, 5, "")
        assert oct((tmp_path / "streams.image").stat().st_mode & 0o777) == "0o600"

        async def at_once() -> None:
            gateway_image.take(slow, slow.seq)

        # Control: an image that the loop takes itself is seen.
        assert await longest_step_s(asyncio.create_task(at_once())) > STILL_S

    asyncio.run(follow())


def test_a_child_that_fails_or_is_killed_says_why_and_leaves_the_image_before(
    slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = children_of(monkeypatch)

    async def save(kill: bool = False) -> bool:
        saving = asyncio.create_task(image_fork.save(tmp_path, tmp_path, slow, slow.seq))
        await asyncio.sleep(0.1)
        if kill:
            os.kill(children[-1], signal.SIGKILL)
        return await saving

    assert asyncio.run(save())
    slow.observe(6, np.zeros(1), None)
    with pytest.raises(WorkFailed, match="its process ended before"):
        asyncio.run(save(kill=True))
    slow.fault = OSError("No space left on device")
    with pytest.raises(WorkFailed, match="No space left on device"):
        asyncio.run(save())
    slow.fault = None
    monkeypatch.setattr(image_fork, "WRITTEN_S", 0.1)
    with pytest.raises(WorkFailed, match=r"took more than 0\.1 s"):
        asyncio.run(save())
    monkeypatch.undo()
    monkeypatch.setattr(gateway_image, "block_at", lambda _directory, _seq: BLOCK)
    assert restored(tmp_path) == (5, 5, 5, "")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # nobody is left


def test_an_image_whose_block_the_journal_has_not_is_not_written(slow: Slow, tmp_path: Path) -> None:
    slow.observe(100, np.zeros(1), None)
    assert not asyncio.run(image_fork.save(tmp_path, tmp_path, slow, slow.seq))
    assert not list(tmp_path.iterdir())


def test_an_image_that_nobody_waits_for_any_more_ends_its_child_and_keeps_no_descriptor(
    slow: Slow, tmp_path: Path
) -> None:
    async def leave() -> None:
        saving = asyncio.create_task(image_fork.save(tmp_path, tmp_path, slow, slow.seq))
        await asyncio.sleep(0.1)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving

    asyncio.run(leave())
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(leave())
    assert len(os.listdir("/proc/self/fd")) == before
    assert not list(tmp_path.iterdir())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
