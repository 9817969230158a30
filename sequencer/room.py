"""Room for the journal: a market that runs out of disk stops taking orders before the journal stops taking anything.

A commit that meets a full disk, or the end of LMDB's map, fails the journal's writer for good: what it held is unknown
then, and the node must stop. So the room is looked at every now and then. When it gets low, the node refuses new orders
by a journaled halt, and cancels go on, in the end a few at a time; for those, and for the halt, a file of zeros is kept
that is given back to the disk then, so that even somebody else's file that has taken the last byte leaves room for
them. When there is room again, the file is made anew and the market goes on. When that is used up too, the node ends.

``judge`` is the whole decision; ``RoomWatch`` reads, decides, and keeps the reserve.
"""

import errno
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

RESERVE_NAME: Final = "reserve"
RESERVE_BYTES: Final = 64 << 20

#: low: cancels only. full: cancels only, a few at a time. gone: nothing, or the journal's writer would meet the end.
State = Literal["fine", "low", "full", "gone"]


@dataclass(frozen=True)
class Reading:
    """Room of the disk, as far as we may use it, and of the journal's map; in bytes.

    ``free_bytes``: of ``disk_bytes``, what may be written now. ``spare_bytes``: of these, what was the reserve, or will
    be again: it counts for cancels, and not for the market to go on.
    """

    free_bytes: int
    disk_bytes: int
    map_used_bytes: int
    map_bytes: int
    spare_bytes: int = 0


@dataclass(frozen=True)
class Bounds:
    """Bounds of the free space: where it is low, where it is fine again, and what must be left for blocks under way.

    ``low_share``, ``fine_share``: used share of disk or map, whichever is more. ``full_bytes``: more than may be in the
    journal's queue, with what a commit copies. ``gone_bytes``: a fifth of it,
    more than one turn of `full` and an orderly end write.
    """

    low_share: float = 0.90
    fine_share: float = 0.88
    full_bytes: int = 40 << 20

    def __post_init__(self) -> None:
        if not 0 < self.fine_share < self.low_share <= 1 or self.full_bytes < 0:
            raise ValueError(
                f"room is low at {self.low_share:.0%} and fine again at {self.fine_share:.0%}: the second must be less"
            )

    @property
    def gone_bytes(self) -> int:
        """Bytes left at which even the reserve is used up."""
        return self.full_bytes // 5


def judge(before: State, reading: Reading, bounds: Bounds = Bounds()) -> State:
    """The state after ``before``. What was bad is better only with a margin, so that the market does not flicker."""
    left_bytes = min(reading.free_bytes, reading.map_bytes - reading.map_used_bytes)
    if left_bytes < bounds.gone_bytes * (2 if before == "gone" else 1):
        return "gone"
    if left_bytes < bounds.full_bytes * (2 if before in ("full", "gone") else 1):
        return "full"
    if used_share(reading) >= (bounds.low_share if before == "fine" else bounds.fine_share):
        return "low"
    return "fine"


def used_share(reading: Reading) -> float:
    """Used share of disk or map, whichever is more; the reserve counts as used though it was given back."""
    of_disk = 1 - max(reading.free_bytes - reading.spare_bytes, 0) / max(reading.disk_bytes, 1)
    return max(of_disk, reading.map_used_bytes / reading.map_bytes)


def crossed(state: State, reading: Reading, bounds: Bounds = Bounds()) -> str:
    """The bound that keeps the room in ``state``, which is not fine, beside what is free; as part of a sentence."""
    map_free_bytes = reading.map_bytes - reading.map_used_bytes
    if state == "low":
        spare_share = 1 - bounds.fine_share
        if reading.map_used_bytes / reading.map_bytes >= bounds.fine_share:
            return _below(map_free_bytes, spare_share * reading.map_bytes, "in the journal's map")
        wanted_bytes = spare_share * reading.disk_bytes + reading.spare_bytes
        if reading.free_bytes > wanted_bytes:
            return f"{reading.free_bytes >> 20} MiB free, but the disk gives no room for the reserve"
        return _below(reading.free_bytes, wanted_bytes, "")
    wanted_bytes = 2 * (bounds.full_bytes if state == "full" else bounds.gone_bytes)
    if map_free_bytes < reading.free_bytes:
        return _below(map_free_bytes, wanted_bytes, "in the journal's map")
    return _below(reading.free_bytes, wanted_bytes, "")


def _below(free_bytes: int, wanted_bytes: float, where: str) -> str:
    return f"{free_bytes >> 20} MiB free{f' {where}' if where else ''}, below {math.ceil(wanted_bytes / (1 << 20))} MiB"


class Reserve:
    """Disk that is taken, so that it can be given back: a file that holds nothing but room."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self.path = path
        self.size_bytes = size_bytes

    @property
    def held(self) -> bool:
        """True if the disk has given the whole room, not only the size."""
        try:
            file = self.path.stat()
        except FileNotFoundError:
            return False
        return file.st_size >= self.size_bytes and file.st_blocks * 512 >= self.size_bytes

    def make(self) -> bool:
        """Take the room; False when the disk has not so much, and nothing is taken then. Raises OSError."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Made anew whatever is there: a copied directory may have a file of this size that is one hole.
            os.ftruncate(fd, 0)
            os.posix_fallocate(fd, 0, self.size_bytes)
        except OSError as error:
            os.ftruncate(fd, 0)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        finally:
            os.close(fd)
        return True

    def release(self) -> None:
        """Give the room back to the disk; nothing happens when it was not held. Raises OSError."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.ftruncate(fd, 0)
            os.fsync(fd)  # a journaling file system gives blocks to others only once it has written that they are free
        finally:
            os.close(fd)


class RoomWatch:
    """Watch over the room of a data directory, with the reserve in it. ``map_room``: ``Journal.room``.

    With a reserve that is smaller than ``bounds.full_bytes`` nothing would be left of it for cancels: ValueError.
    """

    def __init__(
        self,
        directory: Path,
        map_room: Callable[[], tuple[int, int]],
        *,
        bounds: Bounds | None = None,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self._directory = directory
        self._map_room = map_room
        self._bounds = bounds or Bounds()
        if reserve_bytes <= self._bounds.full_bytes:
            raise ValueError(f"a reserve of {reserve_bytes} bytes is no more than what must stay free")
        self.reserve = Reserve(directory / RESERVE_NAME, reserve_bytes)
        self.state: State = "fine"

    def look(self) -> State:
        """Read, decide, and give the reserve back or take it again. A few system calls; raises OSError."""
        state = judge(self.state, self.read(), self._bounds)
        if state != "fine" and self.reserve.held:
            self.reserve.release()
            # What was full may have some room now, which is what the reserve is for.
            state = judge("low", self.read(), self._bounds)
            state = "low" if state == "fine" else state
        elif state == "fine" and not self.reserve.held and not self.reserve.make():
            state = "low"
        self.state = state
        return state

    def read(self) -> Reading:
        """The room as it is now."""
        disk = os.statvfs(self._directory)
        used, most = self._map_room()
        # What is kept for the superuser is neither used nor free, as df has it.
        return Reading(
            free_bytes=disk.f_bavail * disk.f_frsize,
            disk_bytes=(disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize,
            map_used_bytes=used,
            map_bytes=most,
            spare_bytes=0 if self.reserve.held else self.reserve.size_bytes,
        )

    @property
    def complaint(self) -> str:
        """Sentence for a volume whose orders would be refused though it were empty; empty where it is large enough."""
        size_bytes, reserve_bytes = self.read().disk_bytes, self.reserve.size_bytes
        if size_bytes * self._bounds.fine_share > reserve_bytes:
            return ""
        return (
            f"this volume is too small for a reserve of {reserve_bytes >> 20} MiB: it has {size_bytes >> 20} MiB, so "
            f"new orders are refused; put {self._directory} on a larger one"
        )

    @property
    def sentence(self) -> str:
        """The state for the operator: what is the matter, and what to do."""
        reading = self.read()
        if self.state == "fine":
            return f"room in {self._directory} is fine: {reading.free_bytes >> 20} MiB free"
        used = crossed(self.state, reading, self._bounds)
        what = "the node ends" if self.state == "gone" else "new orders are refused and cancels still work"
        return f"room in {self._directory} is {self.state} ({used}), so {what}; free some disk, or move the directory"
