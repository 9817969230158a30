"""The newest blocks of a journal from memory, for copies, and positions of older ones."""

from collections import deque
from typing import Final

from journal import Block, Journal
from journal.marks import decode_genesis
from replication.backlog import Backlog, SliceBegin
from replication.link import Position
from replication.standby import sparse_tail

#: Blocks at the end of the journal whose positions are known without reading them.
_RECENT_BLOCKS: Final = 4_096
#: Bytes of blocks that are read at the start.
_DENSE_BYTES: Final = 8 << 20


def _whole(sealed: memoryview) -> bytes:
    """Bytes of a sealed block, without a copy where they are an object of their own."""
    whole = sealed.obj
    return whole if type(whole) is bytes and len(whole) == len(sealed) else bytes(sealed)


class RecentBlocks:
    """The newest blocks of a journal from memory, for a copy that is a little behind, and positions of older ones."""

    def __init__(self, journal: Journal, backlog_bytes: int) -> None:
        self._journal = journal
        self._start = Position(journal.start_seq, journal.start_link)
        blocks = self._newest(_DENSE_BYTES)
        start = Position(blocks[0].first_seq - 1, blocks[0].previous) if blocks else self._start
        begun = decode_genesis(journal.genesis).start
        if begun is not None and not begun.image and start == self._start:
            # A copy at the end of the slice before may go on from there: the slice was begun in a running market.
            self.backlog = Backlog(begun.last_seq, begun.link, backlog_bytes)
            self.backlog.add_slice(SliceBegin(begun.number, journal.genesis, journal.start_link))
        else:
            self.backlog = Backlog(*start, backlog_bytes)
        self._recent: deque[Position] = deque(maxlen=_RECENT_BLOCKS)
        for block in blocks:
            self.add(block)

    def _newest(self, size_bytes: int) -> list[Block]:
        """Blocks at the end of the journal, in order, of so many bytes together."""
        found: list[Block] = []
        seq = self._journal.last_seq
        while seq > self._start.seq and size_bytes > 0 and len(found) < _RECENT_BLOCKS:
            block = self._block_at(seq)
            found.append(block)
            seq, size_bytes = block.first_seq - 1, size_bytes - len(block.sealed)
        return found[::-1]

    def add(self, block: Block) -> None:
        """Note the next block."""
        self.backlog.add(block.first_seq, block.last_seq, _whole(block.sealed))
        self._recent.append(Position(block.last_seq, block.checksum))

    def begin_slice(self) -> SliceBegin:
        """Note that the journal goes on in a new slice, and give it for the backlog.

        Only blocks of that slice can be read and cut back from now on.
        """
        journal = self._journal
        self._start = Position(journal.start_seq, journal.start_link)
        self._recent.clear()
        return SliceBegin(journal.place.number, journal.genesis, journal.start_link)

    def _block_at(self, seq: int) -> Block:
        return next(self._journal.blocks(seq, seq))

    def tail(self) -> list[Position]:
        """Positions for ``Standby.connect``."""
        newest = list(reversed(self._recent))
        oldest_seq = newest[-1].seq if newest else self._start.seq
        distance = 1
        while oldest_seq - distance > self._start.seq:
            block = self._block_at(oldest_seq - distance)
            if block.last_seq < newest[-1].seq:
                newest.append(Position(block.last_seq, block.checksum))
            distance *= 4
        return sparse_tail([*newest, self._start])

    def checksum_at(self, seq: int) -> bytes | None:
        """Checksum of the chain after a command that is on the disk; None if no block ends there."""
        if seq == self._start.seq:
            return self._start.digest
        if not self._start.seq < seq <= self._journal.durable_seq:
            return None
        block = self._block_at(seq)
        return block.checksum if block.last_seq == seq else None
