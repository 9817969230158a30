"""Snapshots of the feed made in a child process, so that its packets go on meanwhile.

The child makes the packets into a file in memory, and ends. Whoever asks while a child works gets what the next one
makes, with all who have asked by then: it is newer than the question, as it must be for a receiver that has begun
before.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

from engine.capacity import Capacity
from marketdata.itch.feed import ItchFeed
from marketdata.itch.snapshot import Snapshot, packets
from marketdata.itch.stream import ItchStream
from node.programs.child_work import ChildWork

#: Time for a child to make a snapshot, in seconds.
MADE_S: Final = 60.0


class Packets:
    """A snapshot as sequenced packets of SoupBinTCP. day: of its session; next_number: of the message behind it.

    It has a file in memory, which ``close`` gives back.
    """

    def __init__(self, day: int, next_number: int, file: BinaryIO) -> None:
        self.day, self.next_number = day, next_number
        self.size_bytes = os.fstat(file.fileno()).st_size
        self._file = file

    def read(self, at: int, size_bytes: int) -> bytes:
        """Bytes of it from a place on."""
        return os.pread(self._file.fileno(), size_bytes, at)

    async def close(self) -> None:
        """Give its memory back, in another thread: that of a million orders takes the system 10 ms."""
        await asyncio.to_thread(self._file.close)


class SnapshotFork:
    """Snapshots of a stream, one child at a time. ``made``: children so far."""

    def __init__(self, stream: ItchStream) -> None:
        self._stream = stream
        self._next: asyncio.Task[Packets] | None = None  # the one whose child has not begun
        self._users: dict[asyncio.Task[Packets], int] = {}
        self._working = asyncio.Lock()
        self.made = 0
        _load_kernels()

    @property
    def held_bytes(self) -> int:
        """Bytes of the snapshots that are in use; those who asked together share one."""
        return sum(each.result().size_bytes for each in self._users if _has_result(each))

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Packets]:
        """A snapshot of now or later, until the end of the block. Raises WorkFailed."""
        if self._next is None:
            self._next = asyncio.create_task(self._make())
            self._next.add_done_callback(_has_result)  # a fault that nobody waits for any more ends nothing
        task = self._next
        self._users[task] = self._users.get(task, 0) + 1
        try:
            yield await asyncio.shield(task)
        finally:
            self._users[task] -= 1
            if not self._users[task]:
                del self._users[task]
                if _has_result(task):
                    await task.result().close()

    async def _make(self) -> Packets:
        try:
            async with self._working:
                self._next = None
                return await self._made_by_a_child()
        finally:
            if self._next is asyncio.current_task():  # it ended before its child began
                self._next = None

    async def _made_by_a_child(self) -> Packets:
        stream = self._stream
        file = open(os.memfd_create("snapshot", os.MFD_CLOEXEC), "rb", buffering=0)  # noqa: SIM115 - of who takes it
        day, next_number = stream.feed.day, stream.feed.messages + 1
        child = ChildWork(lambda: _write(stream, file.fileno()), file.fileno())
        self.made += 1
        await child.done(MADE_S)
        return Packets(day, next_number, file)


def _has_result(task: "asyncio.Task[Packets]") -> bool:
    """True once a snapshot is made."""
    return task.done() and not task.cancelled() and task.exception() is None


def _write(stream: ItchStream, file: int) -> None:
    """Write a snapshot into a file."""
    with open(file, "wb", closefd=False) as out:
        for piece in Snapshot(stream.feed).framed(stream.now_ns):
            out.write(packets(piece))


def _load_kernels() -> None:
    """Compile or load the kernels of snapshots, which a child must find: another thread may have held their lock."""
    feed = ItchFeed(Capacity(1, 1, 1, 1))
    feed.tables.feed[0]["begun"] = 1
    for piece in Snapshot(feed).framed(1):
        packets(piece)
