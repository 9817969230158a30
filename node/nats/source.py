"""Publications of a node, out of its journal and the spool of its feed: the same for NATS and for who asks.

Nothing is kept here that was not there before: what has been published can be had again as long as journal and spool
have it, so no buffer grows while nobody takes anything.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

from client.publication import Publication, cut, first_link, link_after
from journal import Journal
from journal.history import History
from marketdata.itch.spool import SessionSpool

#: Least time between two looks for a later slice of the journal, in seconds.
_LOOK_S: Final = 0.05
#: Messages between two links that are kept, and those whose links are made before others have a turn.
_STEP: Final = 1_024
_TURN_MESSAGES: Final = 16 * _STEP
_READ_BYTES: Final = 1 << 20


class JournalBlocks:
    """Blocks of a node's journal as publications. One thread uses it, whichever."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._history: History | None = None
        self._journal: Journal | None = None
        self._looked_s = 0.0

    def read(self, from_seq: int, to_seq: int, bytes_max: int) -> list[Publication]:
        """Blocks from the one with command ``from_seq`` on that end by ``to_seq``, of about so many bytes, or fewer.

        None where the journal has not yet what was released, or not the event digest. Their epoch is their own. Raises
        JournalError, SliceMissing where the command is in an archive.
        """
        made = self._read(from_seq, to_seq, bytes_max)
        if not made and from_seq <= to_seq and time.monotonic() - self._looked_s >= _LOOK_S:
            self.close()  # a slice may have begun
            made = self._read(from_seq, to_seq, bytes_max)
        return made

    def _read(self, from_seq: int, to_seq: int, bytes_max: int) -> list[Publication]:
        made: list[Publication] = []
        if from_seq > to_seq:
            return made
        if self._journal is None or from_seq <= self._journal.start_seq:
            self.close()
            self._looked_s = time.monotonic()
            self._history = History.open(self._directory)
            self._journal = self._history.slice_of(from_seq)
        journal, size = self._journal, 0
        for block in journal.blocks(from_seq, to_seq):
            if block.last_seq > to_seq or size >= bytes_max:
                break
            digest = journal.digest(block.first_seq)
            if digest is None:
                break
            payload = bytes(block.sealed)
            begins = block.first_seq == journal.start_seq + 1 > 1
            size += len(payload)
            made.append(
                Publication(
                    block.epoch,
                    journal.journal_id.hex(),
                    block.first_seq,
                    block.count,
                    digest,
                    payload=payload,
                    slices=self._history.begun_behind(journal.start_seq) if self._history and begins else (),
                )
            )
        return made

    def there_from_seq(self) -> int:
        """The first command that is here, and not in an archive. Raises JournalError."""
        with History.open(self._directory) as history:
            return history.there_from_seq

    def close(self) -> None:
        """Close the journal; the next read opens it again."""
        if self._history is not None:
            self._history.close()
        self._history = self._journal = None


class ChainedMessages:
    """Messages of the spool of a feed as publications, with the links of their chain."""

    def __init__(self, spool: SessionSpool) -> None:
        self._spool = spool
        #: Links behind message 0, 1,024, 2,048 and so on of a session.
        self._links: dict[str, list[bytes]] = {}

    def messages(self, session: str) -> int | None:
        """Number of the messages of a session; None where there is none of that name."""
        return self._spool.messages(session)

    def after(self, session: str) -> str:
        """Name of the session that follows; "" where it is the last."""
        return next((name for name in self._spool.sessions() if name > session), "")

    async def read(self, epoch: int, session: str, number: int, bytes_max: int) -> Publication | None:
        """Messages from a number on, of as many bytes at most; None where there are none."""
        there = self._spool.messages(session)
        if there is None or not 1 <= number <= there:
            return None
        before = await self._link_before(session, number)
        framed = self._spool.read(session, number, there, bytes_max)
        messages = cut(framed)
        if not messages:
            return None
        link = link_after(before, messages)
        return Publication(epoch, session, number, len(messages), link, before, framed)

    async def _link_before(self, session: str, number: int) -> bytes:
        if session not in self._links:
            there = self._spool.sessions()
            self._links = {name: links for name, links in self._links.items() if name in there}
        links = self._links.setdefault(session, [first_link(session)])
        while (at := len(links)) * _STEP < number:
            links.append(link_after(links[-1], self._cut(session, (at - 1) * _STEP + 1, _STEP)))
            if at % (_TURN_MESSAGES // _STEP) == 0:
                await asyncio.sleep(0)
        step = (number - 1) // _STEP
        return link_after(links[step], self._cut(session, step * _STEP + 1, (number - 1) % _STEP))

    def _cut(self, session: str, number: int, count: int) -> list[bytes]:
        return cut(self._spool.read(session, number, count, _READ_BYTES)) if count else []
