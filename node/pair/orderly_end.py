"""Orderly end of a node of a pair: noted in its directory, so that its next start knows that no memory was lost."""

import asyncio
import time
from pathlib import Path
from typing import Final

from directory.orderly_end import OrderlyEnd, clear_orderly_end, read_orderly_end, write_orderly_end
from journal import Journal, JournalError
from node.pair.recent_blocks import RecentBlocks
from node.programs.logs import Log
from replication.arbiter import Reign

#: Longest wait for the disk at the end, in seconds.
DISK_S: Final = 10.0
_LOOK_S: Final = 0.005


class EndMark:
    """Mark of an orderly end of one node (``directory.orderly_end``). ``is_set``: the end before this start was one."""

    def __init__(self, directory: Path, journal: Journal, recent: RecentBlocks, log: Log) -> None:
        self._directory, self._journal, self._log = directory, journal, log
        self._end = read_orderly_end(directory)
        if self._end is not None and not self._is_in_journal(self._end, recent):
            self._end = None
        self.is_set = self._end is not None
        self._cleared = False

    def _is_in_journal(self, end: OrderlyEnd, recent: RecentBlocks) -> bool:
        if (end.seq, end.checksum) == (self._journal.last_seq, self._journal.link):
            return True
        return recent.checksum_at(end.seq) == end.checksum

    def is_older_than(self, reign: Reign | None, member: str) -> bool:
        """True if a reign that the node had not seen at that end names it: the directory is an older copy of it."""
        end = self._end
        return end is not None and reign is not None and reign.epoch > end.epoch and reign.has_in_sync(member)

    def clear(self) -> None:
        """Remove the mark, valid or not; call it before this node acknowledges or answers anything. Raises OSError."""
        if not self._cleared:
            clear_orderly_end(self._directory)
            self.is_set, self._end, self._cleared = False, None, True

    async def write(self, epoch: int) -> None:
        """Note an orderly end once all that was taken is on the disk; without a disk that writes, there is no mark.

        Call it once nothing is taken any more. epoch: the highest that this node has seen.
        """
        journal, deadline_s = self._journal, time.monotonic() + DISK_S
        try:
            while journal.durable_seq < journal.last_seq:
                journal.raise_failure()
                if time.monotonic() > deadline_s:
                    return
                await asyncio.sleep(_LOOK_S)
            write_orderly_end(self._directory, OrderlyEnd(epoch, journal.last_seq, journal.link))
        except (JournalError, OSError) as error:
            self._log.warning("the orderly end is not noted", why=str(error))
