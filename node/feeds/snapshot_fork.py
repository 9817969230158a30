"""Snapshots of the feed made in a child process, so that its packets go on meanwhile.

A fork shares the memory of its parent, and the system copies a page when one of the two writes to it. So the feed
stands still for the milliseconds of the fork, however many orders it shows. The child makes the packets into a file in
memory, and ends. Whoever asks while a child works gets what the next one makes, with all who have asked by then: it is
newer than the question, as it must be for a receiver that has begun before.
"""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final, NoReturn

from engine.capacity import Capacity
from marketdata.itch.feed import ItchFeed
from marketdata.itch.snapshot import Snapshot, packets
from marketdata.itch.stream import ItchStream
from replay.forking import (
    deaf_to_ctrl_c,
    drop_others,
    end_with_parent,
    has_ended,
    kill_child,
    of_low_priority,
    undisturbed,
    wait_or_kill,
)

#: Time for a child to make a snapshot, and interval of looks at it, in seconds.
MADE_S: Final = 60.0
_LOOK_S: Final = 0.002
#: Last byte of the file of a child that has done all of its work.
_DONE: Final = b"."
#: Lower priority of a child: the feed goes first, also where both are bound to one processor.
_NICE: Final = 2


class SnapshotFailed(OSError):
    """No snapshot was made; the message is one sentence."""


class Packets:
    """A snapshot as sequenced packets of SoupBinTCP. day: of its session; next_number: of the message behind it.

    It has a file in memory, which ``close`` gives back.
    """

    def __init__(self, day: int, next_number: int, file: BinaryIO) -> None:
        self.day, self.next_number = day, next_number
        self.size_bytes = os.fstat(file.fileno()).st_size - len(_DONE)
        self._file = file

    @property
    def is_whole(self) -> bool:
        """True if the child that made it has done all of its work."""
        return self.size_bytes >= 0 and self.read(self.size_bytes, len(_DONE)) == _DONE

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
        """A snapshot of now or later, until the end of the block. Raises SnapshotFailed."""
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
        feed, parent = self._stream.feed, os.getpid()
        file = open(os.memfd_create("snapshot", os.MFD_CLOEXEC), "rb", buffering=0)  # noqa: SIM115 - of who takes it
        day, next_number = feed.day, feed.messages + 1
        try:
            with undisturbed():
                pid = os.fork()
                if pid == 0:
                    _write_and_end(self._stream, file.fileno(), parent)
        except OSError as error:
            raise SnapshotFailed(f"no process could be made for it: {error.strerror}") from error
        self.made += 1
        await _end_of(pid)
        made = Packets(day, next_number, file)
        if not made.is_whole:
            raise SnapshotFailed("its process ended before it was made")
        return made


def _has_result(task: "asyncio.Task[Packets]") -> bool:
    """True once a snapshot is made."""
    return task.done() and not task.cancelled() and task.exception() is None


async def _end_of(pid: int) -> None:
    """Wait for the end of a child; one that takes too long, or that nobody waits for any more, is killed."""
    until_s = time.monotonic() + MADE_S
    try:
        while not has_ended(pid):
            if time.monotonic() > until_s:
                raise SnapshotFailed(f"its process took more than {MADE_S:g} s")
            await asyncio.sleep(_LOOK_S)
    except BaseException:
        kill_child(pid)
        wait_or_kill(pid, 0.0)
        raise


def _write_and_end(stream: ItchStream, file: int, parent: int) -> NoReturn:
    """Work of the child. It ends without the interpreter's cleanup, which belongs to its parent."""
    try:
        gc.disable()
        deaf_to_ctrl_c()
        end_with_parent(parent)
        drop_others(file)
        of_low_priority(_NICE)
        with open(file, "wb", closefd=False) as out:
            for piece in Snapshot(stream.feed).framed(stream.now_ns):
                out.write(packets(piece))
            out.write(_DONE)
    finally:
        os._exit(0)


def _load_kernels() -> None:
    """Compile or load the kernels of snapshots, which a child must find: another thread may have held their lock."""
    feed = ItchFeed(Capacity(1, 1, 1, 1))
    feed.tables.feed[0]["begun"] = 1
    for piece in Snapshot(feed).framed(1):
        packets(piece)
