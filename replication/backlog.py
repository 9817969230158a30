"""The newest sealed blocks of a journal in memory, and the slices that begin among them."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

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


class Backlog:
    """The newest sealed blocks, for copies that are a little behind. At least ``bytes_max`` of them are kept.

    ``slices``: slices that begin after one of these blocks, or before the oldest, by the last command before each.
    """

    def __init__(self, last_seq: int, checksum: bytes, bytes_max: int) -> None:
        self._blocks: deque[SentBlock] = deque()
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
        while len(self._blocks) > 1 and self._bytes - len(self._blocks[0].sealed) >= self._bytes_max:
            oldest = self._blocks.popleft()
            self._bytes -= len(oldest.sealed)
            self.start = Position(oldest.last_seq, _checksum(oldest.sealed))
        while self.slices and (oldest_seq := next(iter(self.slices))) < self.start.seq:
            del self.slices[oldest_seq]

    def add_slice(self, begun: SliceBegin) -> None:
        """Add the slice that begins after the last block."""
        self.slices[self.last_seq] = begun

    def blocks_from(self, seq: int) -> Iterator[SentBlock]:
        """Blocks from the one that begins with ``seq`` on."""
        # Almost always the last one, or one near it.
        newer = 0
        for block in reversed(self._blocks):
            if block.first_seq < seq:
                break
            newer += 1
        for at in range(len(self._blocks) - newer, len(self._blocks)):
            yield self._blocks[at]

    def has(self, place: Position) -> bool:
        """True if the chain has this checksum there: that of a block that ends, or of a slice that begins."""
        begun = self.slices.get(place.seq)
        if begun is not None and begun.link == place.digest:
            return True
        if place.seq == self.start.seq:
            return place.digest == self.start.digest
        return any(_checksum(block.sealed) == place.digest for block in self._blocks if block.last_seq == place.seq)

    def has_slices_after(self, number: int, last_number: int) -> bool:
        """True if all slices after ``number`` up to ``last_number`` begin here."""
        return {each.number for each in self.slices.values()}.issuperset(range(number + 1, last_number + 1))


def _checksum(sealed: bytes) -> bytes:
    return bytes(sealed[16:32])  # its place in a frame of the journal
