"""Images that a child process writes: the program goes on meanwhile, and a child may fail."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import Projection
from gateway.fix.protocol import FIX
from gateway.native.protocol import NATIVE
from gateway.ouch.protocol import OUCH
from gateway.outbox import Outbox
from gateway.protocol import OrderProtocol
from node.gateways import image as gateway_image
from node.gateways import image_fork
from node.programs.child_work import WorkFailed
from tests.report_streams import CAPACITY, blocks, user_stream
from tests.test_itch_feed import with_days
from tests.test_snapshot_fork import assert_ended, children_of

#: Blocks that come while an image is taken, and the longest time that it waits for them, in seconds.
BLOCKS = 10
WAIT_S = 60.0
BLOCK = bytes(range(16))


class Slow(Projection):
    """Commands so far, whose image takes its time, as one of many orders does: until a file is there. ``fault``: of its
    image."""

    name = "slow"
    version = 1

    def __init__(self, until_there: Path | None = None) -> None:
        self.seq = self.flushed = 0
        self.until_there, self.wait_s = until_there, WAIT_S
        self.fault: Exception | None = None

    def observe(self, first_seq: int, commands: Any, _events: Any, /) -> None:
        self.seq = first_seq + len(commands) - 1

    def flush(self) -> None:
        self.flushed = self.seq

    def image(self) -> dict[str, Any]:
        until_s = time.monotonic() + self.wait_s
        while self.until_there is not None and not self.until_there.exists():
            if time.monotonic() > until_s:
                raise TimeoutError("nobody goes on while it is taken")
            time.sleep(0.005)
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


def test_the_loop_goes_on_while_an_image_is_taken_and_the_image_is_of_the_command_before(
    slow: Slow, tmp_path: Path
) -> None:
    slow.until_there = there = tmp_path / "there"

    async def follow() -> None:
        saving = asyncio.create_task(image_fork.save(tmp_path, tmp_path, slow, slow.seq))
        for _ in range(BLOCKS):
            await asyncio.sleep(0.001)
            slow.observe(slow.seq + 1, np.zeros(1), None)
        assert not saving.done()
        there.touch()
        assert await saving

    asyncio.run(follow())
    assert slow.seq == 5 + BLOCKS
    assert restored(tmp_path) == (5, 5, 5, "")
    assert oct((tmp_path / "streams.image").stat().st_mode & 0o777) == "0o600"
    # Control: an image that the loop takes itself has nobody who goes on meanwhile.
    there.unlink()
    slow.wait_s = 0.1
    with pytest.raises(TimeoutError, match="nobody goes on"):
        gateway_image.take(slow, slow.seq)


def test_a_child_that_fails_or_is_killed_says_why_and_leaves_the_image_before(
    slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = children_of(monkeypatch)

    there = tmp_path / "there"

    async def save(kill: bool = False) -> bool:
        saving = asyncio.create_task(image_fork.save(tmp_path, tmp_path, slow, slow.seq))
        while kill and not children[1:]:
            await asyncio.sleep(0.001)
        if kill:
            os.kill(children[1], signal.SIGKILL)
        return await saving

    assert asyncio.run(save())
    slow.observe(6, np.zeros(1), None)
    slow.until_there = there
    with pytest.raises(WorkFailed, match="its process ended before"):
        asyncio.run(save(kill=True))
    monkeypatch.setattr(image_fork, "WRITTEN_S", 0.1)
    with pytest.raises(WorkFailed, match=r"took more than 0\.1 s"):
        asyncio.run(save())
    monkeypatch.setattr(image_fork, "WRITTEN_S", WAIT_S)
    slow.until_there, slow.fault = None, OSError("No space left on device")
    with pytest.raises(WorkFailed, match="No space left on device"):
        asyncio.run(save())
    assert restored(tmp_path) == (5, 5, 5, "")
    assert_ended(children)


def test_an_image_whose_block_the_journal_has_not_is_not_written(slow: Slow, tmp_path: Path) -> None:
    slow.observe(100, np.zeros(1), None)
    assert not asyncio.run(image_fork.save(tmp_path, tmp_path, slow, slow.seq))
    assert not list(tmp_path.iterdir())


def test_an_image_that_nobody_waits_for_any_more_ends_its_child_and_keeps_no_descriptor(
    slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = children_of(monkeypatch)
    slow.until_there = tmp_path / "there"

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
    assert len(children) == 2
    assert_ended(children)


@pytest.mark.parametrize("protocol", [OUCH, NATIVE, FIX], ids=lambda each: type(each).__name__)
def test_an_image_of_streams_by_a_child_is_that_of_the_gateway_itself(
    protocol: OrderProtocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has none of the gateway's files open, and the gateway goes on before the child has read a row."""
    for each in (gateway_image, image_fork):
        monkeypatch.setattr(each, "block_at", lambda _directory, _seq: BLOCK)
    outbox: Outbox[Any] = protocol.outbox(tmp_path, CAPACITY, bytes(16), past_days=5)
    image_fork.load_kernels(outbox)
    every = list(blocks(with_days(user_stream(2, 600), 1), 2, largest=60))
    for block in every[:-2]:
        outbox.observe(*block)
    whole = gateway_image.take(outbox, seq := every[-2].first_seq - 1)
    assert sum(len(rows) for rows in whole.arrays.values()) > 100

    async def save_and_go_on() -> None:
        saving = asyncio.create_task(image_fork.save(tmp_path, tmp_path, outbox, seq))
        await asyncio.sleep(0)  # the child has begun
        for block in every[-2:]:
            outbox.observe(*block)
        assert await saving

    asyncio.run(save_and_go_on())
    head, arrays = gateway_image._read(tmp_path / "streams.image") or ({}, {})
    assert (head["seq"], head["version"]) == (seq, outbox.version)
    assert arrays.keys() == whole.arrays.keys()
    for name, rows in whole.arrays.items():
        assert arrays[name].tobytes() == rows.tobytes(), name
    later = gateway_image.take(outbox, every[-1].first_seq)
    assert any(later.arrays[name].tobytes() != rows.tobytes() for name, rows in arrays.items() if name in later.arrays)
    outbox.close()
