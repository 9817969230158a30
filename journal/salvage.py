"""Blocks that are left in the file of a damaged slice, wherever they lie, for a repair.

Frames never change once written. So those that match their checksum and are linked to the block before are as good as
ever, whatever else of the file is damaged.
"""

import os
from pathlib import Path
from types import TracebackType

from journal import frame, marks
from journal.errors import JournalDamaged, JournalFault
from journal.frame import Block
from journal.pages import find_values, read_metas
from journal.reading import Snapshot
from journal.slices import Place


class Salvage:
    """Blocks in the file ``path`` of a slice. An unreadable file has none. Raises JournalFault for a disk that fails.

    genesis: record of the slice.
    """

    def __init__(self, path: Path, genesis: marks.Genesis) -> None:
        self._row_bytes = genesis.row_bytes
        self._fd = -1
        self._offsets: dict[int, list[int]] = {}
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            for offset in find_values(self._fd, genesis.page_bytes, frame.MAGIC, frame.frame_bytes):
                announced = frame.peek(os.pread(self._fd, 2_048, offset))
                if announced is not None:
                    self._offsets.setdefault(announced[0], []).append(offset)
        except OSError as error:
            self.close()
            raise JournalFault(f"{path} cannot be read: {error.strerror}") from error

    def block(self, first_seq: int, previous: bytes) -> Block | None:
        """The block that begins with ``first_seq`` and is linked to ``previous``; None if there is none that is whole,
        or several that differ."""
        found: dict[bytes, Block] = {}
        for offset in self._offsets.get(first_seq, ()):
            block = self._whole(first_seq, offset)
            if block is not None and block.previous == previous:
                found[block.checksum] = block
        return next(iter(found.values())) if len(found) == 1 else None

    def _whole(self, first_seq: int, offset: int) -> Block | None:
        """The block at a place of the file; None if it does not match its checksum."""
        size = frame.frame_bytes(os.pread(self._fd, frame.FIXED_BYTES, offset))
        if size is None or offset + size > os.fstat(self._fd).st_size:
            return None
        try:
            return frame.decode(os.pread(self._fd, size, offset), first_seq, self._row_bytes)
        except JournalDamaged:
            return None

    def extents(self) -> list[tuple[int, int]]:
        """First and last command of each whole block in the file, whatever it is linked to."""
        blocks = [self._whole(first_seq, at) for first_seq, offsets in self._offsets.items() for at in offsets]
        return sorted({(block.first_seq, block.last_seq) for block in blocks if block is not None})

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Salvage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def committed_mark(place: Place, page_bytes: int) -> bytes:
    """The sealed mark of the last commit in the file of a slice, as the file ``tail`` has it. Raises PageDamage,
    OSError."""
    fd = os.open(place.journal / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
    try:
        snapshot = Snapshot.load(fd, page_bytes, read_metas(fd, page_bytes))
        snapshot.verify()
        return marks.encode_mark(snapshot.mark)
    finally:
        os.close(fd)
