"""Records beside the journal, in DIR/arrivals, DIR/latencies and DIR/logins: the market waits for none of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from gateway.arrival_log import ArrivalFiles, ArrivalLog
from gateway.latency_log import LatencyFiles, LatencyLog
from gateway.login_log import LoginFiles, LoginLog
from journal import Journal


class SideRecords:
    """The records of a node. ``arrivals``: of each turn's orders; ``latencies``: moments of all turns; ``logins``: who
    was logged in when. None: not recorded.

    ``name_of``: name of a user by number. ``warn`` logs which of them cannot be written. The gateway flushes and closes
    ``arrivals``.
    """

    def __init__(
        self, directory: Path, journal: Journal, name_of: Callable[[int], str], warn: Callable[..., None], *, kept: bool
    ) -> None:
        self.arrivals: ArrivalLog | None = None
        self.latencies: LatencyLog | None = None
        self.logins: LoginLog | None = None
        if not kept:
            return

        def last_seq() -> int:
            return journal.last_seq

        def failed(what: str, why: str) -> None:
            warn(f"{what} not recorded", why=why, then="the market continues; check the disk")

        journal_id = journal.journal_id
        self.latencies = LatencyLog(LatencyFiles(directory / "latencies", journal_id), partial(failed, "latencies"))
        self.logins = LoginLog(
            LoginFiles(directory / "logins", journal_id), last_seq, name_of, partial(failed, "logins")
        )
        self.arrivals = ArrivalLog(
            ArrivalFiles(directory / "arrivals", journal_id), last_seq, partial(failed, "arrivals")
        )

    @property
    def lost(self) -> int:
        """Latencies and logins that were not written since the start."""
        return sum(each.lost for each in (self.latencies, self.logins) if each is not None)

    def flush(self) -> None:
        """Have what was recorded written, by threads."""
        for each in (self.latencies, self.logins):
            if each is not None:
                each.flush()
