"""Comparison of event digests: two nodes at work on the same blocks, each with a digest at the end of each block.

The digest is chained, so equal digests at a block mean equal events up to there. The two sides come in any order; the
first position where they differ is the divergence.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

from replication.link import Position

#: Largest number of digests that wait for the other side; the oldest are dropped, and a later one stands for them.
WAITING_MAX: Final = 1 << 16


class Divergence(NamedTuple):
    """First difference between two nodes: the block, and the part of the state if it is known.

    ``first_seq``, ``last_seq``: commands of the block at whose end the digests differ, with those before it that were
    not compared; or the position of the compared state. ``part``: part of the state; "events" if the events differ.
    ``own``, ``other``: digests of the two.
    """

    first_seq: int
    last_seq: int
    part: str
    own: bytes
    other: bytes

    def sentence(self, own_name: str, other_name: str) -> str:
        """The divergence for the operator."""
        where = (
            f"the block of commands {self.first_seq:,} to {self.last_seq:,}"
            if self.part == "events"
            else f"command {self.last_seq:,}"
        )
        return (
            f"{own_name} and {other_name} differ after {where}, in the part {self.part}: "
            f"{self.own.hex()} and {self.other.hex()}"
        )


class Comparison:
    """Digests of this node and of another at the same positions.

    ``agreed_seq``: up to there both are equal. ``divergence``: the first difference; it stays.

    >>> both = Comparison(0)
    >>> both.own(1, 5, b"a"), both.other(Position(5, b"a")), both.agreed_seq
    (None, None, 5)
    >>> both.other(Position(9, b"b")), both.own(6, 9, b"c"), both.divergence.first_seq
    (None, None, 6)
    """

    def __init__(self, seq: int) -> None:
        self.agreed_seq = seq
        self.divergence: Divergence | None = None
        self._own: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        self._other: OrderedDict[int, bytes] = OrderedDict()
        self._own_seq = seq

    def own(self, first_seq: int, last_seq: int, digest: bytes) -> None:
        """Take the digest of this node at the end of a block."""
        self._own_seq = last_seq
        other = self._other.pop(last_seq, None)
        if other is not None:
            self._compare(first_seq, last_seq, digest, other)
            return
        self._own[last_seq] = (first_seq, digest)
        if len(self._own) > WAITING_MAX:
            self._own.popitem(last=False)

    def other(self, position: Position) -> None:
        """Take the digest of the other node at the end of a block."""
        own = self._own.pop(position.seq, None)
        if own is not None:
            self._compare(own[0], position.seq, own[1], position.digest)
        elif position.seq > self._own_seq:
            self._other[position.seq] = position.digest
            if len(self._other) > WAITING_MAX:
                self._other.popitem(last=False)

    def _compare(self, first_seq: int, last_seq: int, own: bytes, other: bytes) -> None:
        if own == other:
            self.agreed_seq = max(self.agreed_seq, last_seq)
            while self._own and next(iter(self._own)) < last_seq:
                self._own.popitem(last=False)
        elif self.divergence is None or last_seq < self.divergence.last_seq:
            # Blocks since the last equal digest were not compared: the difference may be in any of them.
            self.divergence = Divergence(min(first_seq, self.agreed_seq + 1), last_seq, "events", own, other)
