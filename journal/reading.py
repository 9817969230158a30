"""Reading of a journal: verified blocks and digests from snapshots of the file, and salvage from a damaged one.

A snapshot is one commit, seen through its meta page. Its mark has the end of the journal, each block is linked to the
one before, and each digest names the one before: so a lost part of a tree is always noticed. Frames never change once
written. Therefore, when the trees are damaged, the whole file is searched for frames, and those whose links continue
from the last good block are used.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from journal import frame, marks
from journal.errors import JournalDamaged
from journal.frame import Block
from journal.pages import Meta, PageDamage, PageFile, Tree, find_values

BLOCKS: Final = b"blocks"
DIGESTS: Final = b"digests"
META: Final = b"meta"
TREES: Final = (BLOCKS, DIGESTS, META)
GENESIS_KEY: Final = b"genesis"
MARK_KEY: Final = b"mark"
LABELS_KEY: Final = b"labels"

ADVICE: Final = "restore the journal from a copy"

# A snapshot keeps the writer from using freed pages again, so none is held for more than this.
_PIN_BYTES_MAX: Final = 8 << 20
_PIN_BLOCKS_MAX: Final = 4_096
_PIN_DIGESTS_MAX: Final = 65_536
_AHEAD_DIGESTS: Final = 256


def key_of(seq: int) -> bytes:
    """The key of the block that begins with ``seq``: big-endian, so that keys sort like numbers."""
    return seq.to_bytes(8, "big")


def seq_of(key: bytes) -> int:
    """Sequence number of a key. Raises PageDamage for bytes that are no key of a journal."""
    if len(key) != 8:
        raise PageDamage(f"a key has {len(key)} bytes, which must be 8")
    return int.from_bytes(key, "big")


@dataclass(frozen=True)
class Snapshot:
    """One commit of the file."""

    file: PageFile
    meta: Meta
    mark: marks.Mark
    blocks: Tree
    digests: Tree

    @classmethod
    def load(cls, fd: int, page_bytes: int, meta: Meta) -> "Snapshot":
        """The snapshot of a meta page. Raises PageDamage where its trees or its mark cannot be found."""
        file = PageFile(fd, page_bytes, meta.last_page)
        blocks, digests, own = (file.subtree(meta.main, name) for name in TREES)
        sealed = file.get(own, MARK_KEY)
        if sealed is None:
            raise PageDamage("the commit mark is missing")
        try:
            mark = marks.decode_mark(sealed, "the commit mark")
        except JournalDamaged as error:
            raise PageDamage(str(error)) from error
        return cls(file, meta, mark, blocks, digests)

    def verify(self) -> None:
        """Raise PageDamage unless the commit's own mark agrees with its meta page and trees."""
        if self.mark.transaction != self.meta.transaction:
            raise PageDamage(
                f"a meta page names transaction {self.meta.transaction}, its commit {self.mark.transaction}"
            )
        if (self.mark.blocks, self.mark.digests) != (self.blocks.entries, self.digests.entries):
            raise PageDamage("the number of blocks or digests is not the one that was committed")

    def record(self, key: bytes) -> bytes:
        """A sealed record of the meta tree. Raises PageDamage."""
        sealed = self.file.get(self.file.subtree(self.meta.main, META), key)
        if sealed is None:
            raise PageDamage(f"the {key.decode()} record is missing")
        return sealed

    def block_at(self, seq: int, row_bytes: int) -> Block:
        """The block that contains ``seq``; its checksum is verified, not its link."""
        node = self.file.floor(self.blocks, key_of(seq))
        if node is not None:
            first_seq = seq_of(node.key)
            block = frame.decode(self.file.value(node), first_seq, row_bytes)
            if block.last_seq >= seq:
                return block
        raise JournalDamaged(f"the block with seq {seq:,} is missing; restore the journal from a copy")


Pin = Callable[[], AbstractContextManager[Snapshot]]


class Reader:
    """Reader of a journal through snapshots that ``pin`` gives. ``problem``: the fault found at opening, or None."""

    def __init__(
        self,
        where: str,
        pin: Pin,
        fd: int,
        genesis: marks.Genesis,
        tail: marks.Mark | None,
        problem: str | None,
    ) -> None:
        self._where = where
        self._pin = pin
        self._fd = fd
        self._genesis = genesis
        self._tail = tail
        self._problem = problem
        self._ahead: dict[int, bytes] = {}

    def blocks(self, from_seq: int, to_seq: int | None) -> Iterator[Block]:
        """See ``Journal.blocks``."""
        next_seq, end = from_seq, to_seq
        previous = self._genesis.checksum if from_seq == self._genesis.start_seq + 1 else None
        first = True
        problem: str | None = None
        while problem is None:
            batch: list[Block] = []
            try:
                with self._pin() as snapshot:
                    if first:
                        end = snapshot.mark.last_seq if to_seq is None else min(to_seq, snapshot.mark.last_seq)
                    if end is not None and next_seq <= end:
                        self._read_into(batch, snapshot, next_seq, end, previous)
            except PageDamage as error:
                problem = f"{error}; {ADVICE}"
            except JournalDamaged as error:
                problem = str(error)
            first = False
            yield from batch
            if batch:
                next_seq, previous = batch[-1].last_seq + 1, batch[-1].checksum
            if problem is None and (end is None or next_seq > end):
                break
        problem = problem or self._problem
        if problem is None or (to_seq is not None and next_seq > to_seq):
            return
        for block in self._salvage(next_seq, previous, to_seq):
            yield block
            next_seq = block.last_seq + 1
        if to_seq is None or next_seq <= to_seq:
            raise JournalDamaged(f"{self._where}: {problem} (everything before seq {next_seq:,} can be read)")

    def _read_into(
        self, batch: list[Block], snapshot: Snapshot, next_seq: int, end: int, previous: bytes | None
    ) -> None:
        """Append the blocks from the one that contains ``next_seq`` on, up to ``end`` or the bounds of a snapshot."""
        row_bytes = self._genesis.row_bytes
        start = snapshot.file.floor(snapshot.blocks, key_of(next_seq))
        size = 0
        for node in snapshot.file.items(snapshot.blocks, start.key if start else b""):
            first_seq = seq_of(node.key)
            if previous is None and first_seq > next_seq:
                break
            block = frame.decode(snapshot.file.value(node), first_seq, row_bytes)
            if previous is None:
                if block.last_seq < next_seq:
                    break
                self._check_predecessor(snapshot, block)
                next_seq = first_seq
            elif first_seq < next_seq:
                continue
            frame.check_link(block, next_seq, previous, self._genesis.start_seq)
            batch.append(block)
            next_seq, previous = block.last_seq + 1, block.checksum
            size += len(block.rows)
            if next_seq > end or size >= _PIN_BYTES_MAX or len(batch) >= _PIN_BLOCKS_MAX:
                break
        if not batch:
            raise JournalDamaged(f"the block with seq {next_seq:,} is missing; restore the journal from a copy")
        last_seq = snapshot.mark.last_seq
        if next_seq - 1 > last_seq or (next_seq - 1 == last_seq and previous != snapshot.mark.checksum):
            raise PageDamage("the last block is not the one that was committed")

    def _check_predecessor(self, snapshot: Snapshot, block: Block) -> None:
        """Check the link of the first block that is read, if the block before it can be found."""
        if block.first_seq == self._genesis.start_seq + 1:
            frame.check_link(block, block.first_seq, self._genesis.checksum, self._genesis.start_seq)
            return
        node = snapshot.file.floor(snapshot.blocks, key_of(block.first_seq - 1))
        if node is not None:
            frame.check_link(block, block.first_seq, frame.stored_checksum(snapshot.file.value(node)))

    def _salvage(self, next_seq: int, previous: bytes | None, to_seq: int | None) -> Iterator[Block]:
        """The blocks after ``previous`` among all frames found in the file, up to ``to_seq``.

        A crash can leave frames that were never committed; so nothing behind the tail's mark is taken, and where two
        frames would fit, only one from which the tail's block descends.
        """
        places: dict[int, list[int]] = {}
        parents: dict[bytes, bytes] = {}
        for offset in find_values(self._fd, self._genesis.page_bytes, frame.MAGIC, frame.frame_bytes):
            head = os.pread(self._fd, 2_048, offset)
            peeked = frame.peek(head)
            if peeked is not None:
                places.setdefault(peeked[0], []).append(offset)
                parents[frame.stored_checksum(head)] = peeked[1]
        ancestors: set[bytes] = set()
        step = self._tail.checksum if self._tail is not None else None
        while step is not None and step not in ancestors:
            ancestors.add(step)
            step = parents.get(step)
        if previous is None:
            next_seq = max((seq for seq in places if seq <= next_seq), default=next_seq)
        while to_seq is None or next_seq <= to_seq:
            if self._tail is not None and next_seq > self._tail.last_seq:
                return
            found = self._frames_at(places.get(next_seq, ()), next_seq, previous)
            known = [block for block in found.values() if block.checksum in ancestors]
            block = known[0] if known else next(iter(found.values())) if len(found) == 1 else None
            if block is None:
                return
            yield block
            next_seq, previous = block.last_seq + 1, block.checksum

    def _frames_at(self, offsets: "list[int] | tuple[()]", seq: int, previous: bytes | None) -> dict[bytes, Block]:
        found: dict[bytes, Block] = {}
        for offset in offsets:
            size = frame.frame_bytes(os.pread(self._fd, frame.FIXED_BYTES, offset))
            if size is None or size > os.fstat(self._fd).st_size - offset:
                continue
            try:
                block = frame.decode(os.pread(self._fd, size, offset), seq, self._genesis.row_bytes)
            except JournalDamaged:
                continue
            if previous is None or block.previous == previous:
                found[block.checksum] = block
        return found

    def digests(self, from_seq: int, to_seq: int | None) -> Iterator[tuple[int, bytes]]:
        """See ``Journal.digests``."""
        last, start, done = 0, from_seq, False
        while not done:
            batch: list[tuple[int, bytes]] = []
            problem: PageDamage | None = None
            try:
                with self._pin() as snapshot:
                    done = self._read_digests(batch, snapshot, start, to_seq, last, _PIN_DIGESTS_MAX)
            except PageDamage as error:
                problem = error
            yield from batch
            if problem is not None:
                sentence = f"the event digests cannot be read: {problem}; restore the journal from a copy"
                raise JournalDamaged(sentence) from problem
            if batch:
                last = batch[-1][0]
                start = last + 1

    def digest(self, first_seq: int) -> bytes | None:
        """See ``Journal.digest``. Reads the next digests too, since replay asks for one after the other."""
        found = self._ahead.get(first_seq)
        if found is None:
            batch: list[tuple[int, bytes]] = []
            try:
                with self._pin() as snapshot:
                    self._read_digests(batch, snapshot, first_seq, None, 0, _AHEAD_DIGESTS)
            except PageDamage as error:
                raise JournalDamaged(f"the event digests cannot be read: {error}") from error
            except JournalDamaged:
                if not batch:
                    raise
            self._ahead = dict(batch)
            found = self._ahead.get(first_seq)
        return found

    def _read_digests(
        self, batch: list[tuple[int, bytes]], snapshot: Snapshot, start: int, to_seq: int | None, last: int, most: int
    ) -> bool:
        """Append up to ``most`` digests from ``start`` on; ``last``: the one before, 0: unknown. True at the end."""
        for node in snapshot.file.items(snapshot.digests, key_of(start)):
            first_seq = seq_of(node.key)
            digest, previous_seq = marks.decode_digest(first_seq, snapshot.file.value(node))
            if previous_seq != last if last else previous_seq >= start:
                raise JournalDamaged(f"event digests before seq {first_seq:,} are missing; restore from a replica")
            if to_seq is not None and first_seq > to_seq:
                return True
            batch.append((first_seq, digest))
            last = first_seq
            if len(batch) >= most:
                return False
        if snapshot.mark.last_digest_seq != last if last else snapshot.mark.last_digest_seq >= start:
            raise JournalDamaged(f"event digests from seq {last or start} on are missing; restore from a replica")
        return True

    def seq_at_time(self, time_ns: int) -> int:
        """See ``Journal.seq_at_time``."""
        try:
            with self._pin() as snapshot:
                # Everything up to ``low`` is in time, everything from ``high`` on is too late.
                low, high = self._genesis.start_seq, snapshot.mark.last_seq + 1
                while high - low > 1:
                    block = snapshot.block_at((low + high) // 2, self._genesis.row_bytes)
                    if block.time_ns <= time_ns:
                        low = block.last_seq
                    else:
                        high = block.first_seq
                return low
        except PageDamage as error:
            raise JournalDamaged(f"{error}; restore the journal from a copy") from error
