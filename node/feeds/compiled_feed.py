"""Feed packets made and sent from the tape by one compiled kernel, without Python between (``node.feeds.feed_turn``).

Messages go to the spool after they were sent. What the kernel cannot do, ``ItchStream`` does in Python.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from engine.capacity import Capacity
from engine.jit import INTERPRETED, Packed
from engine.kernel_cache import cache_directory_of
from engine.records import CommandKind
from marketdata.itch import session_name
from marketdata.itch.block_messages import kernel_addresses
from marketdata.itch.feed import ItchFeed
from marketdata.itch.stream import ItchStream
from node.feeds import feed_turn
from node.feeds.feed_turn import NOTHING, PART, new_sending, send_blocks
from node.feeds.multicast import Outlet
from replay.feed import Feed
from reports import Reports
from tape.blocks import no_tape
from tape.places import TAPE_WORDS

#: Messages after which the kernel gives them to the spool, in bytes: a third of the feed's room.
_KEEP_BYTES: Final = 20_000
#: Longest stay of the kernel with blocks that follow each other: the event loop has work too.
_STAY_NS: Final = 1_000_000


class CompiledFeed:
    """The compiled path of a feed: tape to multicast.

    may_send: whether packets may go out now; on_sent: called after some did. ``carries``: the last block ended with a
    row that belongs to the next. ``blocks``: number of blocks taken.
    """

    def __init__(
        self,
        stream: ItchStream,
        outlet: Outlet,
        may_send: Callable[[], bool] = lambda: True,
        on_sent: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream, self._outlet, self._may_send, self._on_sent = stream, outlet, may_send, on_sent
        reports, feed = stream.reports, stream.feed
        self._sending = Packed(new_sending(reports.room, feed.room, outlet.addresses))
        words = self._words = self._sending.arrays.words
        _link(self._sending.arrays, reports, feed)
        words[feed_turn.KEEP_BYTES], words[feed_turn.STAY_NS] = _KEEP_BYTES, _STAY_NS
        words[feed_turn.FD] = outlet.fd
        self._day = 0
        self.carries = False
        self.blocks = 0

    @property
    def sent_ns(self) -> int:
        """Time of the monotonic clock at which the kernel has sent last; 0: never."""
        return int(self._words[feed_turn.SENT_NS])

    @property
    def seq(self) -> int:
        """The last command that the kernel has taken, also while it is at work in another thread."""
        return int(self._words[feed_turn.SEQ])

    def take(self, feed: Feed, wait_ns: int, /) -> int | None:
        """Take blocks, and wait for the first so long, without sleep; gives their number, 0 where none came.

        None where the next block is for the stream.
        """
        reader, stream, words = feed.standing(), self._stream, self._words
        if reader is None:
            return None
        if stream.feed.day != self._day:
            self._day = stream.feed.day
            name = session_name(self._day).ljust(10).encode("ascii")
            self._sending.arrays.packet[: len(name)] = list(name)
        words[feed_turn.SEQ], words[feed_turn.WAIT_NS] = feed.seq, wait_ns
        words[feed_turn.GIVEN], words[feed_turn.MAY_SEND] = stream.feed.given, self._may_send()
        why = send_blocks(
            self._sending.pointers, reader.tape.pointers, *self._stream.reports.pointers, *self._stream.feed.pointers
        )
        blocks = int(words[feed_turn.BLOCKS])
        if not blocks:
            return 0 if why == NOTHING else None
        self.blocks += blocks
        feed.passed(int(words[feed_turn.SEQ]), blocks)
        self.carries = bool(words[feed_turn.LAST_KIND] == CommandKind.EXTEND)
        sent, unsent = int(words[feed_turn.SENT]), int(words[feed_turn.UNSENT])
        words[feed_turn.SENT] = words[feed_turn.UNSENT] = 0
        self._outlet.sent += sent
        self._outlet.unsent += unsent
        stream.keep(int(words[feed_turn.END]))
        if sent or unsent:
            self._on_sent()
        if why == PART:
            reports = stream.reports.room[: int(words[feed_turn.MADE])]
            stream.feed.go_on(reports, int(words[feed_turn.ROW]), int(words[feed_turn.WHY]))
        return blocks


def _link(sending: feed_turn.Sending, reports: Reports, feed: ItchFeed) -> None:
    """Give the kernel the addresses of those that it calls."""
    words = sending.words
    words[feed_turn.MAKE_REPORTS], words[feed_turn.MAKE_MESSAGES] = kernel_addresses(reports, feed)


def is_compiled() -> bool:
    """True if the kernel is in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).parent).rglob("feed_turn.send_blocks*.nbc"))


def compile_kernels() -> None:
    """Compile or load the kernel, and those that it calls."""
    capacity = Capacity(1, 1, 1, 1)
    reports, feed = Reports(capacity, users_max=1), ItchFeed(capacity)
    sending = Packed(new_sending(reports.room, feed.room, bytes(16)))
    _link(sending.arrays, reports, feed)
    tape = Packed(no_tape()._replace(words=np.zeros(TAPE_WORDS, np.int64)))
    send_blocks(sending.pointers, tape.pointers, *reports.pointers, *feed.pointers)
