"""Room for the journal: with a disk that fills up, the market rejects new orders before the journal fails.

A commit on a full disk, or at the end of LMDB's map, ends the journal's writer for good: the outcome of its commit is
unknown, and the node must stop. So the room is measured at intervals. If it is low, the node rejects new orders by a
journaled halt; cancels still work, in the end a few at a time. A reserve file of zeros is removed then, so that there
is room for cancels and the halt even if another program has filled the disk. With room again, the file is made anew and
the market resumes. If the reserve is used up too, the node ends.

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

#: low: cancels only. full: cancels only, a few at a time. gone: nothing, or the journal's writer would fail.
State = Literal["fine", "low", "full", "gone"]


@dataclass(frozen=True)
class Reading:
    """Room of the disk for this user, and of the journal's map, in bytes.

    ``free_bytes``: free part of ``disk_bytes``. ``spare_bytes``: part of it that was the reserve, or will be again: it
    counts for cancels, but not for new orders.
    """

    free_bytes: int
    disk_bytes: int
    map_used_bytes: int
    map_bytes: int
    spare_bytes: int = 0


@dataclass(frozen=True)
class Bounds:
    """Bounds of the free space: low, fine again, and the rest for blocks under way.

    ``low_share``, ``fine_share``: used share of disk or map, whichever is more. ``low_bytes``, ``fine_bytes``: free
    bytes of a disk so large that they are less than the free rest of the share. ``full_bytes``: more than the journal's
    queue and the copies of a commit. ``gone_bytes``: a fifth of it, more than one turn of `full` and an orderly end
    write. ``refilled_bytes``: free bytes beside the reserve at which a small disk is fine again, so that it is not full
    as soon as the reserve is made.
    """

    low_share: float = 0.90
    fine_share: float = 0.88
    low_bytes: int = 4 << 30
    fine_bytes: int = 5 << 30
    full_bytes: int = 40 << 20

    def __post_init__(self) -> None:
        if not 0 < self.fine_share < self.low_share <= 1 or self.full_bytes < 0:
            raise ValueError(
                f"room is low at {self.low_share:.0%} and fine again at {self.fine_share:.0%}: the second must be less"
            )
        if not 0 < self.low_bytes < self.fine_bytes:
            raise ValueError(
                f"room is low at {self.low_bytes} bytes and fine again at {self.fine_bytes}: the second must be more"
            )

    @property
    def gone_bytes(self) -> int:
        """Bytes left at which even the reserve is used up."""
        return self.full_bytes // 5

    @property
    def refilled_bytes(self) -> int:
        """Bytes beside the reserve above which room is fine again: those of `full`, and a quarter more."""
        return self.full_bytes * 5 // 4


def judge(before: State, reading: Reading, bounds: Bounds = Bounds()) -> State:
    """State after ``before``. It improves only with a margin, so that the market does not keep halting."""
    left_bytes = min(reading.free_bytes, reading.map_bytes - reading.map_used_bytes)
    if left_bytes < bounds.gone_bytes * (2 if before == "gone" else 1):
        return "gone"
    if left_bytes < bounds.full_bytes * (2 if before in ("full", "gone") else 1):
        return "full"
    return "low" if _is_low(reading, bounds, before) else "fine"


def _is_low(reading: Reading, bounds: Bounds, before: State) -> bool:
    share = bounds.low_share if before == "fine" else bounds.fine_share
    wanted_bytes = _wanted_on_disk(reading, bounds, before)
    return (
        reading.free_bytes - reading.spare_bytes <= wanted_bytes or reading.map_used_bytes / reading.map_bytes >= share
    )


def _wanted_on_disk(reading: Reading, bounds: Bounds, before: State) -> int:
    """Free bytes of the disk, besides the reserve's, above which there is room for new orders."""
    if before == "fine":
        share_bytes = reading.disk_bytes - math.floor(bounds.low_share * reading.disk_bytes)
        return max(min(share_bytes, bounds.low_bytes), bounds.full_bytes)
    share_bytes = reading.disk_bytes - math.floor(bounds.fine_share * reading.disk_bytes)
    return max(min(share_bytes, bounds.fine_bytes), bounds.refilled_bytes)


def crossed(state: State, reading: Reading, bounds: Bounds = Bounds()) -> str:
    """Bound behind a ``state`` that is not fine, with the free space; as part of a sentence."""
    map_free_bytes = reading.map_bytes - reading.map_used_bytes
    if state == "low":
        if reading.map_used_bytes / reading.map_bytes >= bounds.fine_share:
            return _below(map_free_bytes, (1 - bounds.fine_share) * reading.map_bytes, "in the journal's map")
        wanted_bytes = _wanted_on_disk(reading, bounds, "low") + reading.spare_bytes
        if reading.free_bytes > wanted_bytes:
            return f"{reading.free_bytes >> 20} MiB free, but the disk has no room for the reserve"
        return _below(reading.free_bytes, wanted_bytes, "")
    wanted_bytes = 2 * (bounds.full_bytes if state == "full" else bounds.gone_bytes)
    if map_free_bytes < reading.free_bytes:
        return _below(map_free_bytes, wanted_bytes, "in the journal's map")
    return _below(reading.free_bytes, wanted_bytes, "")


def _below(free_bytes: int, wanted_bytes: float, where: str) -> str:
    return f"{free_bytes >> 20} MiB free{f' {where}' if where else ''}, below {math.ceil(wanted_bytes / (1 << 20))} MiB"


class Reserve:
    """Reserve on the disk: a file of zeros that can be removed."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self.path = path
        self.size_bytes = size_bytes

    @property
    def held(self) -> bool:
        """True if the disk has allocated the whole file, not only its size."""
        try:
            file = self.path.stat()
        except FileNotFoundError:
            return False
        return file.st_size >= self.size_bytes and file.st_blocks * 512 >= self.size_bytes

    def make(self) -> bool:
        """Make the file; False, and no file, if the disk has too little room. Raises OSError."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Always made anew: a copied directory may have a sparse file of this size.
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
        """Remove the file, if there is one. Raises OSError."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.ftruncate(fd, 0)
            os.fsync(fd)  # a journaling file system reuses blocks only once it has written that they are free
        finally:
            os.close(fd)


class RoomWatch:
    """Watch over the room of a data directory, with the reserve in it. ``map_room``: ``Journal.room``.

    Raises ValueError for a reserve below ``bounds.full_bytes``, of which nothing would be left for cancels.
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
            raise ValueError(f"a reserve of {reserve_bytes} bytes is not above the bytes that must stay free")
        self.reserve = Reserve(directory / RESERVE_NAME, reserve_bytes)
        self.state: State = "fine"

    def look(self) -> State:
        """Measure, decide, and remove or remake the reserve. A few system calls; raises OSError."""
        state = judge(self.state, self.read(), self._bounds)
        if state != "fine" and self.reserve.held:
            self.reserve.release()
            # A full disk may have some room now, from the reserve.
            state = judge("low", self.read(), self._bounds)
            state = "low" if state == "fine" else state
        elif state == "fine" and not self.reserve.held and not self.reserve.make():
            state = "low"
        self.state = state
        return state

    def read(self) -> Reading:
        """Measure the room."""
        disk = os.statvfs(self._directory)
        used, most = self._map_room()
        # Blocks for the superuser are neither used nor free, as in df.
        return Reading(
            free_bytes=disk.f_bavail * disk.f_frsize,
            disk_bytes=(disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize,
            map_used_bytes=used,
            map_bytes=most,
            spare_bytes=0 if self.reserve.held else self.reserve.size_bytes,
        )

    @property
    def complaint(self) -> str:
        """Sentence for a volume that is too small even when empty; "" if it is large enough."""
        size_bytes, reserve_bytes = self.read().disk_bytes, self.reserve.size_bytes
        if min(size_bytes * self._bounds.fine_share, size_bytes - self._bounds.refilled_bytes) > reserve_bytes:
            return ""
        return (
            f"this volume is too small for a reserve of {reserve_bytes >> 20} MiB: it has {size_bytes >> 20} MiB, so "
            f"new orders are rejected once room is low, and not taken again; put {self._directory} on a larger one"
        )

    @property
    def sentence(self) -> str:
        """State for the operator of a market, with advice."""
        return self.sentence_for("new orders are rejected and cancels work")

    def sentence_for(self, then: str) -> str:
        """State for the operator, with advice; ``then``: what follows while the node does not end."""
        reading = self.read()
        if self.state == "fine":
            return f"room in {self._directory} is fine: {reading.free_bytes >> 20} MiB free"
        used = crossed(self.state, reading, self._bounds)
        what = "the node ends" if self.state == "gone" else then
        return f"room in {self._directory} is {self.state} ({used}), so {what}; free some disk, or move the directory"
