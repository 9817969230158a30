"""The newest sealed blocks of a journal in memory, and the slices that begin among them."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from replication.link import Position


class SentBlock(NamedTuple):
    """Sealed block with its first and last command."""

    first_seq: int
    last_seq: int
    sealed: bytes


class SliceBegin(NamedTuple):
    """Begin of a slice: its number, its genesis record, and the checksum of that.

    The first block of the slice is linked to that checksum.
    """

    number: int
    genesis: bytes
    link: bytes


_DROPPED: Final = SentBlock(0, 0, b"")


class Backlog:
    """The newest sealed blocks, for copies that are a little behind. At least ``bytes_max`` of them are kept.

    There can be hundreds of thousands: a block is found by bisection, since clients wait meanwhile.

    ``slices``: slices that begin after one of these blocks, or before the oldest, by the last command before each.
    """

    def __init__(self, last_seq: int, checksum: bytes, bytes_max: int) -> None:
        #: Blocks in order; those before ``_oldest`` are dropped, and leave the list many at a time.
        self._blocks: list[SentBlock] = []
        self._oldest = 0
        self._bytes = 0
        self._bytes_max = bytes_max
        #: The last command before the oldest block, and the checksum there.
        self.start = Position(last_seq, checksum)
        self.last_seq = last_seq
        self.slices: dict[int, SliceBegin] = {}

    def add(self, first_seq: int, last_seq: int, sealed: bytes) -> None:
        """Add the next block. Raises ValueError if it is not."""
        if first_seq != self.last_seq + 1 or last_seq < first_seq:
            raise ValueError(f"the block at {first_seq} does not follow command {self.last_seq}")
        self._blocks.append(SentBlock(first_seq, last_seq, sealed))
        self._bytes += len(sealed)
        self.last_seq = last_seq
        while len(self._blocks) - self._oldest > 1:
            oldest = self._blocks[self._oldest]
            if self._bytes - len(oldest.sealed) < self._bytes_max:
                break
            self._drop(oldest)
        while self.slices and (oldest_seq := next(iter(self.slices))) < self.start.seq:
            del self.slices[oldest_seq]

    def _drop(self, oldest: SentBlock) -> None:
        self._bytes -= len(oldest.sealed)
        self.start = Position(oldest.last_seq, _checksum(oldest.sealed))
        self._blocks[self._oldest] = _DROPPED
        self._oldest += 1
        if self._oldest * 2 > len(self._blocks):
            del self._blocks[: self._oldest]
            self._oldest = 0

    def add_slice(self, begun: SliceBegin) -> None:
        """Add the slice that begins after the last block."""
        self.slices[self.last_seq] = begun

    def blocks_from(self, seq: int) -> Iterator[SentBlock]:
        """Blocks from the one that begins with ``seq`` on."""
        for at in range(self._place(seq), len(self._blocks)):
            yield self._blocks[at]

    def _place(self, seq: int) -> int:
        """Place of the first block that begins with ``seq`` or later."""
        newest = self._blocks[-1] if self._blocks else None
        if newest is not None and newest.first_seq == seq:
            return len(self._blocks) - 1  # almost always
        return bisect_left(self._blocks, seq, lo=self._oldest, key=_first_seq)

    def has(self, place: Position) -> bool:
        """True if the chain has this checksum there: that of a block that ends, or of a slice that begins."""
        begun = self.slices.get(place.seq)
        if begun is not None and begun.link == place.digest:
            return True
        if place.seq == self.start.seq:
            return place.digest == self.start.digest
        at = self._place(place.seq + 1) - 1
        if at < self._oldest or self._blocks[at].last_seq != place.seq:
            return False
        return _checksum(self._blocks[at].sealed) == place.digest

    def has_slices_after(self, number: int, last_number: int) -> bool:
        """True if all slices after ``number`` up to ``last_number`` begin here."""
        return {each.number for each in self.slices.values()}.issuperset(range(number + 1, last_number + 1))


def _first_seq(block: SentBlock) -> int:
    return block.first_seq


def _checksum(sealed: bytes) -> bytes:
    return bytes(sealed[16:32])  # its place in a frame of the journal
