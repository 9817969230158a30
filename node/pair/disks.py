"""Disks of a pair that hang, as one of its nodes sees them: the own one, and at the primary those of the copies."""

from collections.abc import Iterable

from journal import Journal
from node.programs.logs import Log
from replication.copy_connection import Copy
from replication.standstill import Standstill


class PairDisks:
    """Standstill of the disks. ``own_still_ns``: time for which the own one has written nothing of what waits."""

    def __init__(self, journal: Journal, log: Log) -> None:
        self._journal, self._log = journal, log
        self._own = Standstill()
        self.own_still_ns = 0
        self._said: list[str] = []

    def look(self, now_ns: int) -> None:
        """Look at the own disk. ``now_ns``: monotonic."""
        self.own_still_ns = self._own.look(now_ns, self._journal.durable_seq, self._journal.last_seq)

    def tell(self, copies: Iterable[Copy]) -> None:
        """Log each copy for whose disk answers do not wait any more, once."""
        stalls = [copy.stalled for copy in copies if copy.stalled]
        for sentence in stalls:
            if sentence not in self._said:
                self._log.warning("a copy falls behind", why=sentence, then="answers do not wait for it any more")
        self._said = stalls
