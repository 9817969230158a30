"""Walk through the state of a primary in small pieces, and their comparison at a copy: pure, with time given.

Events show a difference only once a command meets it. So the primary sends digests of pieces of its state between two
blocks, and the copy compares its own at the same position. Each turn has the venue's counters, and a run of pieces of
the dense and of the sparse regions (``engine.pieces``). The table of ids has the half of the room of the sparse
regions, and what the others leave of it. Regions of a kind that fit one turn are compared in every third turn: that is
often enough, and costs a third. The chain of the events, which is small too, comes in those turns.
"""

from typing import Final

from engine.interface import StatefulEngine
from engine.pieces import VENUE, Piece, Pieces
from replication.link import LinkError, Scrub

#: Interval of the turns, and bytes of each kind of region in one: less than 3% of a core (docs/PERFORMANCE.md).
TURN_NS: Final = 20_000_000
TURN_BYTES: Final = 2 << 20
#: Turns from one comparison of all regions of a kind to the next, where they fit one turn: less than 100 ms.
ROUND_TURNS: Final = 3


class PieceWalk:
    """Walk of a primary. ``rounds``: complete walks through the dense regions, the sparse ones, and the ids."""

    def __init__(self, bytes_max: int = TURN_BYTES) -> None:
        self._bytes_max = bytes_max
        self._places: list[int | None] = [None, None, None]
        self._due_ns = 0
        #: Turns without pieces of a kind, and of the events, that are still to come.
        self._rests = [0, 0, 0]
        self._events_rest = 0
        #: Bytes of the sparse regions in the last turn that had any.
        self._sparse_bytes = 0
        self.rounds = [0, 0, 0]

    def is_due(self, now_ns: int) -> bool:
        """True once a turn; ``now_ns``: monotonic."""
        if now_ns < self._due_ns:
            return False
        self._due_ns = now_ns + TURN_NS
        return True

    def turn(self, engine: StatefulEngine) -> list[Scrub]:
        """Digests of the next pieces of an engine at rest, the venue's counters first."""
        pieces, bytes_max, seq = engine.pieces(), self._bytes_max, engine.seq
        taken = [pieces.piece(VENUE, bytes_max)]
        if self._events_rest:
            self._events_rest -= 1
        else:
            self._events_rest = ROUND_TURNS - 1
            taken.append(pieces.piece(pieces.events, bytes_max))
        taken += self._walk(pieces, 0, pieces.first_dense, bytes_max)
        sparse = self._walk(pieces, 1, pieces.first_sparse, max(bytes_max // 2, 1))
        if sparse:
            self._sparse_bytes = sum(each.size_bytes for each in sparse)
        taken += sparse + self._walk(pieces, 2, pieces.first_ids, max(bytes_max - self._sparse_bytes, 1))
        return [Scrub(seq, each.number, each.size_bytes, each.digest) for each in taken]

    def _walk(self, pieces: Pieces, kind: int, first: int, bytes_max: int) -> list[Piece]:
        """Next pieces of a kind; none while that rests, since the turn before had all of them."""
        if self._rests[kind]:
            self._rests[kind] -= 1
            return []
        place = self._places[kind]
        start = first if place is None else place
        walked, after = pieces.walk(start, bytes_max)
        self.rounds[kind] += place is not None and after <= place
        self._places[kind] = after
        if after == start:
            self._rests[kind] = ROUND_TURNS - 1
        return walked


class PieceComparison:
    """Comparison at a copy."""

    def __init__(self, engine: StatefulEngine) -> None:
        self._engine = engine
        self._pieces: Pieces | None = None
        self._seq = -1
        #: Pieces compared so far.
        self.compared = 0

    def own(self, scrub: Scrub) -> tuple[str, bytes]:
        """Part of a piece of the primary, and this node's digest of it; the engine is at the same command.

        Raises LinkError for a number that no piece has.
        """
        if self._pieces is None or self._seq != scrub.seq or scrub.turn == VENUE:
            self._pieces, self._seq = self._engine.pieces(), scrub.seq
        try:
            piece = self._pieces.piece(scrub.turn, scrub.budget_bytes)
        except ValueError as error:
            raise LinkError(str(error)) from error
        self.compared += 1
        return piece.part, piece.digest
