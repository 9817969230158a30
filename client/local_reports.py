"""Reports of the whole market for a program on the machine of the node, of the same user.

A report is complete by itself (``reports.rows``): who traded what with whom, what is left of the order, and under which
number. A cursor takes reports as soon as answers may leave, of the past and of what the node adds, each command's
once and in order. It reads the node's tape in shared memory, and from the journal what the tape does not hold any more:
the node neither stops nor waits for it. It goes on through restarts of the node and, beside a standby, through a
takeover.

The first call reads the journal from its first command on, since reports have sums that earlier commands gave.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from client.errors import CannotConnect, ReportsLost
from engine.names import pack
from journal import JournalError
from notation.reports import report_object
from replay.errors import ReplayError
from replay.live_reports import LiveReports
from reports import REPORT, ReportKind
from tape.errors import TapeError

__all__ = ["LocalReports", "ReportKind", "report_object"]

#: Pause between two looks of a cursor that waits, in seconds: at first, and the longest while nothing comes.
_PAUSE_S: Final = 0.000_2
_QUIET_S: Final = 0.005


class LocalReports:
    """A cursor of the reports of the node of a data directory. Use it as ``with``, from one thread.

    from_seq: first command, 1 for the whole journal; None for what comes from now on. symbol, participant, kinds: only
    reports of that instrument, of that participant's orders or trades, and of those kinds. spins: True to wait without
    a pause, at the price of a core. Raises CannotConnect where there is no such directory, ValueError for a name that
    none can have.

    ``next_seq``: all reports before this command were given; a later cursor goes on from there.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        from_seq: int | None = None,
        symbol: str | None = None,
        participant: str | None = None,
        kinds: Sequence[ReportKind] = (),
        spins: bool = False,
    ) -> None:
        self._symbol = None if symbol is None else pack(symbol)
        self._participant = None if participant is None else pack(participant)
        self._kinds = np.array(kinds, np.uint8)
        self._pause_s = 0.0 if spins else _PAUSE_S
        try:
            self._live = LiveReports(Path(directory), from_seq)
        except (ReplayError, JournalError, OSError) as error:
            raise CannotConnect(f"no reports of {directory}: {error}") from error
        self.next_seq = self._live.from_seq
        self._batches = self._live.batches(waits=False)
        self._none = np.zeros(0, REPORT)
        self._lost: ReportsLost | None = None

    def __enter__(self) -> "LocalReports":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """REPORT rows as they come, an array of their own each time. It never ends."""
        while True:
            yield self.wait(None)

    def poll(self) -> NDArray[Any] | None:
        """REPORT rows of the next block, perhaps none of those that were chosen; None where there is no next block yet.

        It never waits for one; a look into the journal takes some milliseconds. Raises ReportsLost.
        """
        if self._lost is not None:
            raise self._lost
        try:
            rows = next(self._batches)
        except (ReplayError, JournalError, TapeError, OSError) as error:
            why = f"the reports do not go on behind command {self.next_seq - 1:,}: {error}"
            self._lost = ReportsLost(why)
            raise self._lost from error
        self.next_seq = max(self.next_seq, self._live.seq + 1)
        return None if rows is None else self._chosen(rows)

    def wait(self, timeout_s: float | None) -> NDArray[Any]:
        """The next REPORT rows that were chosen; an empty array if none come in time (None: wait for ever). Raises
        ReportsLost."""
        until_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        pause_s = self._pause_s
        while True:
            rows = self.poll()
            if rows is not None and len(rows):
                return rows
            if time.monotonic() >= until_s:
                return self._none
            if rows is None and pause_s:
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _QUIET_S)

    def _chosen(self, rows: NDArray[Any]) -> NDArray[Any]:
        wanted: NDArray[np.bool_] = np.ones(len(rows), np.bool_)
        if self._symbol is not None:
            wanted &= rows["symbol"] == self._symbol
        if self._participant is not None:
            contra = (rows["kind"] == ReportKind.TRADE) & (rows["contra_name"] == self._participant)
            wanted &= (rows["participant_name"] == self._participant) | contra
        if len(self._kinds):
            wanted &= np.isin(rows["kind"], self._kinds)
        # As bytes: NumPy would pack rows whose places overlap.
        return rows if wanted.all() else rows.view(f"V{REPORT.itemsize}")[wanted].view(REPORT)

    def close(self) -> None:
        """Leave the node's tape."""
        self._live.close()
