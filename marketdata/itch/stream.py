"""The feed of a running market as a projection: blocks in, messages out, kept on the disk for whoever missed some.

It restarts as all projections do: from its image, then with the blocks behind it, which give the same messages under
the same numbers. ``reign``: the node that reigns, as the last EPOCH has it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkpoints import Projection
from engine.capacity import Capacity
from engine.digest import part_digest
from engine.records import CommandKind
from marketdata.itch.block_messages import BlockMessages
from marketdata.itch.feed import ItchFeed, OnMessages
from marketdata.itch.spool import SessionSpool, Standing
from reports import ReportKind, Reports

Rows = NDArray[Any]
_REPORTS: Final = "reports."
_FEED: Final = "feed."


class ItchStream(Projection):
    """Reports and feed of a market, with a spool in a folder. ``on_messages`` is called for messages as they are made.

    Raises OSError.
    """

    name = "itch-stream"
    #: Of reports and feed; add to it with any change of the arrays of ``image``.
    version = 1_000 * Reports.version + ItchFeed.version

    def __init__(
        self, folder: Path, capacity: Capacity, on_messages: OnMessages = lambda _day, _number, _count, _framed: None
    ) -> None:
        self.on_messages = on_messages
        self.spool = SessionSpool(folder)
        self.reports = Reports(capacity)
        self.feed = ItchFeed(capacity, self._on_messages)
        self._blocks = BlockMessages(self.reports, self.feed)
        self.reign = 0

    def _on_messages(self, day: int, number: int, count: int, framed: memoryview) -> None:
        self.on_messages(day, number, count, framed)  # first: who asks for what it misses is served in another turn
        self.spool.append(day, number, framed)

    def observe(self, first_seq: int, commands: Rows, events: Rows, /) -> None:
        """Take a block."""
        if not (commands["kind"] == CommandKind.EPOCH).any():
            self._blocks.take(first_seq, commands, events)
            return
        ended = False
        for batch in self.reports.batches(first_seq, commands, events):
            if (epochs := batch[batch["kind"] == ReportKind.EPOCH]).size:
                self.reign = int(epochs["name"][-1])
            ended = self.reports.ends_block
            self.feed.take(batch, ends_block=ended)
        if not ended:
            self.feed.end_block()

    def keep(self, size_bytes: int) -> None:
        """Keep the messages that a kernel has made in the room of the feed, and sent: so many bytes."""
        if size_bytes:
            self.spool.append(self.feed.day, self.feed.given + 1, memoryview(self.feed.room.data)[:size_bytes])
        self.feed.note_given()

    @property
    def now_ns(self) -> int:
        """The clock in force."""
        return self.reports.now_ns

    def image(self) -> dict[str, Rows]:
        """Image for ``restore``, between two blocks."""
        standing = self.spool.standing(self.feed.day)
        return {
            **{f"{_REPORTS}{name}": array for name, array in self.reports.image().items()},
            **{f"{_FEED}{name}": array for name, array in self.feed.image().items()},
            "stream": np.array([self.reign, self.feed.seq, *standing], np.int64),
        }

    def digest(self) -> bytes:
        """Digest (16 bytes) of the state."""
        return part_digest(self.image())

    def restore(self, arrays: Mapping[str, Rows], seq: int, /) -> None:
        """Continue after command ``seq`` from an image; the spool goes back to what it had then."""
        reign, feed_seq, messages, size_bytes = (int(each) for each in arrays["stream"])
        for prefix, fold, at in ((_REPORTS, self.reports, seq), (_FEED, self.feed, feed_seq)):
            named = {name.removeprefix(prefix): rows for name, rows in arrays.items() if name.startswith(prefix)}
            fold.restore(named, at)
        self.spool.go_back(self.feed.day, Standing(messages, size_bytes))
        self.reign = reign

    def clear(self) -> None:
        """Reset to the state before the first command."""
        self.reports.clear()
        self.feed.clear()
        self.spool.clear()
        self.reign = 0

    def close(self) -> None:
        """Close the files of the spool."""
        self.spool.close()
