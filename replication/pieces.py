"""Walk through the state of a primary in small pieces, and their comparison at a copy: pure, with time given.

Events show a difference only once a command meets it. So the primary sends digests of pieces of its state between two
blocks, and the copy compares its own at the same position. Each turn has the venue's counters, and a run of pieces of
the dense and of the sparse regions (``engine.pieces``), and of the ids in use; the sparse ones and the ids have half
the room of the dense ones. Regions of a kind that fit one turn are compared in every second turn, and what fits two
turns is spread over them: that is often enough, and costs less. The chain of the events, which is small too, comes in
every second turn.

The whole table of ids is walked beside that, since an id may come to a place where none has been. What is in use there
is compared above: so this walk takes the room that is left while commands are few, and little of it while they are
many.
"""

from typing import Final

from engine.interface import StatefulEngine
from engine.pieces import VENUE, Piece, Pieces
from replication.link import LinkError, Scrub

#: Interval of the turns, and bytes of the dense regions in one (docs/measurements/node.md has the costs): few turns,
#: since each finds the caches full of orders.
TURN_NS: Final = 40_000_000
TURN_BYTES: Final = 3 << 20
#: Turns from one comparison of all regions of a kind to the next, where they fit one turn: less than 100 ms.
ROUND_TURNS: Final = 2
#: Commands in one turn from which on the market is busy, and the parts of the room that the ids in use and the whole
#: table of ids have then.
BUSY_COMMANDS: Final = 400
BUSY_USED_PART: Final = 4
BUSY_PART: Final = 16
_DENSE, _SPARSE, _IDS, _USED_IDS = range(4)


class PieceWalk:
    """Walk of a primary. ``rounds``: complete walks through the dense regions, the sparse ones, all ids, ids in use."""

    def __init__(self, bytes_max: int = TURN_BYTES) -> None:
        self._bytes_max = bytes_max
        self._places: list[int | None] = [None, None, None, None]
        self._due_ns = 0
        #: Turns without pieces of a kind, and of the events, that are still to come.
        self._rests = [0, 0, 0, 0]
        self._events_rest = 0
        #: Bytes of the sparse regions, and of the ids in use, in the last turn that had any.
        self._sparse_bytes = self._used_bytes = 0
        self._seq = 0
        self.rounds = [0, 0, 0, 0]

    def is_due(self, now_ns: int) -> bool:
        """True once a turn; ``now_ns``: monotonic."""
        if now_ns < self._due_ns:
            return False
        self._due_ns = now_ns + TURN_NS
        return True

    def turn(self, engine: StatefulEngine, *, gathers: bool = True) -> list[Scrub]:
        """Digests of the next pieces of an engine at rest, the venue's counters first.

        ``gathers``: False where a copy of an earlier release does not know the pieces of the ids in use.
        """
        pieces, bytes_max, seq = engine.pieces(), self._bytes_max, engine.seq
        taken = [pieces.piece(VENUE, bytes_max)]
        if self._events_rest:
            self._events_rest -= 1
        else:
            self._events_rest = ROUND_TURNS - 1
            taken.append(pieces.piece(pieces.events, bytes_max))
        half = max(bytes_max // 2, 1)
        taken += self._walk(pieces, _DENSE, pieces.first_dense, bytes_max)
        sparse = self._walk(pieces, _SPARSE, pieces.first_sparse, half)
        self._sparse_bytes = _size(sparse) or self._sparse_bytes
        is_busy, self._seq = seq - self._seq > BUSY_COMMANDS, seq
        used_max = max(bytes_max // BUSY_USED_PART, 1) if is_busy else half
        used = self._walk(pieces, _USED_IDS, pieces.first_used_ids, used_max) if gathers else []
        self._used_bytes = _size(used) or self._used_bytes
        room = bytes_max - self._sparse_bytes - (self._used_bytes if gathers else 0)
        if is_busy and gathers:
            room = min(room, bytes_max // BUSY_PART)
        taken += sparse + used + self._walk(pieces, _IDS, pieces.first_ids, max(room, bytes_max // BUSY_PART, 1))
        return [Scrub(seq, each.number, each.size_bytes, each.digest) for each in taken]

    def _walk(self, pieces: Pieces, kind: int, first: int, bytes_max: int) -> list[Piece]:
        """Next pieces of a kind; none while that rests, since the turn before had all of them."""
        if self._rests[kind]:
            self._rests[kind] -= 1
            return []
        place = self._places[kind]
        start = first if place is None else place
        round_bytes = pieces.round_bytes(first)
        if kind != _IDS and round_bytes > bytes_max:
            bytes_max = min(bytes_max, -(-round_bytes // ROUND_TURNS))
        walked, after = (pieces.walk_used_ids if kind == _USED_IDS else pieces.walk)(start, bytes_max)
        self.rounds[kind] += place is not None and after <= place
        self._places[kind] = after
        if after == start:
            self._rests[kind] = ROUND_TURNS - 1
        return walked


def _size(pieces: list[Piece]) -> int:
    """Bytes of pieces together."""
    return sum(each.size_bytes for each in pieces)


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
