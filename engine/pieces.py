"""Pieces of the state that two replicas compare in turn, so that a difference is found that no event shows yet.

A piece is a run of bytes of one region (``parts.regions``). Its number says which region and from which byte, so that
two engines at the same command cut the same piece. There are three kinds of regions, each walked at its own pace: dense
ones (orders, books, accounts), which are small and change most, sparse ones (levels, exposures), which are as large as
the capacity, and the table of ids, which is sparse too and larger than all others together: its parts in use are
walked beside the whole of it. The venue's counters give the other regions their length: compare them first.
"""

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from engine.digest import EventChain, PartHash, checksum
from engine.parts import Region, row_counts, whole_regions
from engine.state import ID_MARK_ROWS, State

Rows = np.ndarray[Any, Any]

#: Number of the piece with the venue's counters.
VENUE: Final = 0
#: Kinds of regions.
_DENSE, _SPARSE, _IDS = _KINDS = (0, 1, 2)
_OFFSET_BITS: Final = 40
_OFFSET_MASK: Final = (1 << _OFFSET_BITS) - 1


class Piece(NamedTuple):
    """Piece of the state: its number, the part and region that it is of, its digest (16 bytes) and its size."""

    number: int
    part: str
    region: str
    digest: bytes
    size_bytes: int


class Pieces:
    """Pieces of the state of an engine as it stands: call ``look`` after each command.

    ``events``: number of the piece with the chain of the events. ``first_dense``, ``first_sparse``, ``first_ids``,
    ``first_used_ids``: numbers with which a walk through the regions of a kind begins. The rows of ids in use are a
    region beside the table: its marked parts, in order.
    """

    def __init__(self, state: State, chain: EventChain) -> None:
        self.chain = chain
        self._state = state
        self._regions: list[Region] = []
        self._raw: list[Rows] = []
        self._half = -1
        self._find_regions()
        self._row_bytes = [region.rows.itemsize for region in self._regions]
        self._following, firsts = _walk_order(tuple(map(_kind, self._regions)))
        self.events: int = len(self._regions) << _OFFSET_BITS
        self.first_used_ids: int = (len(self._regions) + 1) << _OFFSET_BITS
        self.first_dense: int = firsts[_DENSE] << _OFFSET_BITS
        self.first_sparse: int = firsts[_SPARSE] << _OFFSET_BITS
        self.first_ids: int = firsts[_IDS] << _OFFSET_BITS
        ids = state.ids.view(np.uint8).reshape(-1)
        self._ids = ids.reshape(-1, min(len(ids), ID_MARK_ROWS * state.ids.itemsize))
        self._sizes: list[int] = []
        self._used: Rows | None = None
        self.look()

    def look(self) -> None:
        """Note the length of the regions after the last command."""
        self._find_regions()
        counts = row_counts(self._state)
        self._sizes = [count * size for count, size in zip(counts, self._row_bytes, strict=True)]
        self._used = None

    def _find_regions(self) -> None:
        """Note where the regions are: those of the tree of ids change their place with the trading day."""
        half = int(self._state.venue[0]["id_half"])
        if half != self._half:
            self._half = half
            self._regions = whole_regions(self._state)
            self._raw = [region.rows.view(np.uint8).reshape(-1) for region in self._regions]

    def _bytes(self, index: int) -> tuple[str, str, Rows]:
        """Part, name and bytes of a region."""
        if index == len(self._regions):
            arrays = self.chain.arrays()
            return "events", "events", np.concatenate([arrays[name] for name in sorted(arrays)])
        region = self._regions[index]
        return region.part, region.name, self._raw[index][: self._sizes[index]]

    def piece(self, number: int, bytes_max: int) -> Piece:
        """Cut the piece of a number, of ``bytes_max`` at most. Raises ValueError for a number that no piece has.

        A piece of the ids in use has one marked part of the table at least.
        """
        index, start = number >> _OFFSET_BITS, number & _OFFSET_MASK
        if not 0 <= index <= len(self._regions) + 1 or bytes_max < 1:
            raise ValueError(f"no piece of the state has number {number} and {bytes_max} bytes at most")
        if index > len(self._regions):
            return self._used_ids(number, start, bytes_max)
        part, name, raw = self._bytes(index)
        taken = raw[start : start + bytes_max]
        # With the number, so that equal bytes of two pieces have two digests.
        digest = checksum(number.to_bytes(8, "little") + checksum(taken.data))
        return Piece(number, part, name, digest, len(taken))

    def _used_ids(self, number: int, first: int, bytes_max: int) -> Piece:
        """Cut the piece of the marked parts of the ids from the ``first`` on, in their order."""
        taken = self._marked[first : first + max(bytes_max // self._ids.shape[1], 1)]
        digest = _checksum_of(number, taken, self._ids)
        return Piece(number, "ids", "used ids", digest, len(taken) * self._ids.shape[1])

    @property
    def _marked(self) -> Rows:
        """Numbers of the marked parts of the ids."""
        if self._used is None:
            self._used = np.flatnonzero(self._state.id_marks)
        return self._used

    def round_bytes(self, number: int) -> int:
        """Bytes of a whole walk through the kind of regions to which the piece of a number belongs."""
        index = number >> _OFFSET_BITS
        if index > len(self._regions):
            return len(self._marked) * int(self._ids.shape[1])
        total, at = self._sizes[index], self._following[index]
        while at != index:
            total, at = total + self._sizes[at], self._following[at]
        return total

    def walk_used_ids(self, number: int, bytes_max: int) -> tuple[list[Piece], int]:
        """Cut the next piece of the ids in use, as ``walk``; none where no id is in use."""
        marked = len(self._marked)
        first = number & _OFFSET_MASK
        if first >= marked:
            first = 0
        if not marked:
            return [], self.first_used_ids
        taken = self.piece(self.first_used_ids | first, bytes_max)
        after = first + taken.size_bytes // self._ids.shape[1]
        return [taken], self.first_used_ids | (after if after < marked else 0)

    def walk(self, number: int, bytes_max: int) -> tuple[list[Piece], int]:
        """Cut pieces of a kind of regions from ``number`` on, of ``bytes_max`` together and one round at most.

        Gives them and the number with which the next walk begins; after the last region of the kind comes the first.
        """
        pieces: list[Piece] = []
        index, start = number >> _OFFSET_BITS, number & _OFFSET_MASK
        for _ in range(len(self._regions)):
            size = self._sizes[index]
            if start < size:
                taken = self.piece(index << _OFFSET_BITS | start, bytes_max)
                pieces.append(taken)
                bytes_max -= taken.size_bytes
                start += taken.size_bytes
            if start < size:
                break
            index, start = self._following[index], 0
            if bytes_max < 1 or index << _OFFSET_BITS == number:
                break
        return pieces, index << _OFFSET_BITS | start


def _checksum_of(number: int, parts: Rows, ids: Rows) -> bytes:
    """Digest of parts of the table of ids, with their numbers."""
    hasher = PartHash(number.to_bytes(8, "little"))
    hasher.update(parts.astype(np.int64).data)
    for part in parts.tolist():
        hasher.update(ids[part].data)
    digest: bytes = hasher.digest()
    return digest


def _kind(region: Region) -> int:
    if not region.paged:
        return _DENSE
    return _IDS if region.name == "ids" else _SPARSE


@cache
def _walk_order(region_kinds: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Index of the next region of the same kind after each region, and the first region of each kind.

    The venue's counters are compared each time, and are no stop of the walk.
    """
    members = [[at for at, each in enumerate(region_kinds) if each == kind and at != VENUE] for kind in _KINDS]
    following = (
        next((at for at in members[kind] if at > index), members[kind][0]) for index, kind in enumerate(region_kinds)
    )
    return tuple(following), tuple(each[0] for each in members)
