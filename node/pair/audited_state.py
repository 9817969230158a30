"""State of an audit's third copy: by the compiled engine, or by the reference engine with a compiled one beside it.

The reference engine has no arrays that could be compared with those of a primary. So a compiled engine applies the
same blocks: the primary's pieces are compared with its arrays, and its rows, part by part, with those of the reference
engine (``engine.reference.rows_by_part``). The time of that grows with the state, so it is done now and then.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from directory.recover import stateful
from engine.interface import EngineKind, MarketEngine, StatefulEngine
from journal import Journal
from replay.difference import first_unlike_rows
from replay.rebuild import Progress, played, rebuild_from
from replication.pieces import PieceComparison

#: Least interval of comparisons of rows, and their least distance as a multiple of what one takes.
ROWS_NS: Final = 1_000_000_000
_REST: Final = 4


class AuditedState:
    """Engine of ``kind`` at the end of a journal, whatever digests are recorded there.

    ``engine``: of that kind. ``compiled``: the same, or the one beside the reference engine. ``rows_seq``: last command
    after which the rows of both were compared; 0 for none. Raises what ``rebuild_from`` raises.
    """

    def __init__(self, journal: Journal, directory: Path, kind: EngineKind, progress: Progress | None) -> None:
        def rebuilt(engine: EngineKind) -> MarketEngine:
            return rebuild_from(
                journal, directory, at=journal.last_seq, engine=engine, on_divergence="note", progress=progress
            ).engine

        self.engine: MarketEngine = rebuilt(kind)
        self.compiled: StatefulEngine = stateful(self.engine if kind == "kernel" else rebuilt("kernel"))
        self.pieces = PieceComparison(self.compiled)
        self.rows_seq = 0
        self._kind = kind
        self._due_ns = 0

    def apply(self, rows: NDArray[Any]) -> None:
        """Apply the COMMAND rows of a block."""
        self.engine.apply(rows)
        if self.compiled is not self.engine:
            self.compiled.apply(rows)

    def play(self, journal: Journal, to_seq: int) -> None:
        """Apply what a journal has up to a command."""
        for engine in (self.engine, self.compiled):
            for _ in played(journal, engine, to_seq):
                pass

    def compare_rows_when_due(
        self, clock_ns: Callable[[], int], compare: "Callable[[str, bytes, bytes], object]"
    ) -> None:
        """Compare the rows of both engines where that is due. ``clock_ns``: monotonic."""
        began_ns = clock_ns()
        if began_ns >= self._due_ns:
            self.compare_rows(compare)
            ended_ns = clock_ns()
            self._due_ns = ended_ns + max(ROWS_NS, _REST * (ended_ns - began_ns))

    def compare_rows(self, compare: "Callable[[str, bytes, bytes], object]") -> None:
        """Compare the rows of both engines; ``compare`` gets the first part that differs, and both digests."""
        if self._kind != "reference" or self.rows_seq == self.engine.seq:
            return
        found = first_unlike_rows(self.compiled, self.engine)
        self.rows_seq = self.engine.seq
        if found is not None:
            compare(*found)
