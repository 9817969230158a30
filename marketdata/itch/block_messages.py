"""Messages of a whole block in one call: its reports are made and used a few at a time, so that they stay in the
nearest cache, and Python has its turn only where room for messages runs out or a session begins.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bounds import WAITING_MAX
from engine.capacity import Capacity
from engine.jit import INTERPRETED, Linked, Packed, call_by_address, called, unpack_pointers
from engine.kernel_cache import cache_directory_of
from engine.records import COMMAND, EVENT
from marketdata.itch import feed as itch_feed
from marketdata.itch.feed import ItchFeed
from marketdata.itch.fold import DONE, make_messages
from reports.fold import make_reports
from reports.projection import Reports, read_only
from reports.rows import REPORT

Rows = NDArray[Any]

#: Reports that are made at once, at most: 32 KB.
ROOM_ROWS: Final = 128

#: Open orders for which tables that grow have room at first; a market has room for as many commands that wait.
FIRST_ORDERS: Final = WAITING_MAX

#: Places of ``BlockTurn.words``.
(
    AT,  # command and event of the block from which on reports are to be made
    N,
    ROW,  # report whose messages come next, of MADE in the room
    MADE,
    END,  # bytes of the feed's room that have messages
    MAKE_REPORTS,  # addresses of the kernels
    MAKE_MESSAGES,
) = range(7)
WORDS: Final = 8


class BlockTurn(NamedTuple):
    """Progress of a block. reports: the front of the room of the reports."""

    words: np.ndarray[Any, Any]  # int64[WORDS]
    reports: np.ndarray[Any, Any]  # REPORT[n]


_NO_COMMANDS: Final = read_only(np.zeros(0, COMMAND))
_NO_EVENTS: Final = read_only(np.zeros(0, EVENT))
_REPORTS_KERNEL: Final = Linked(make_reports, 3)
_MESSAGES_KERNEL: Final = Linked(make_messages, 3)
reports_by_address: Final = call_by_address(3)
messages_by_address: Final = call_by_address(3)
unpack_turn: Final = unpack_pointers(BlockTurn(np.zeros(WORDS, np.int64), read_only(np.zeros(1, REPORT))))


def kernel_addresses(reports: Reports, feed: ItchFeed) -> tuple[int, int]:
    """Addresses of the kernels of reports and messages, for ``reports_by_address`` and ``messages_by_address``."""
    room = read_only(reports.room)
    return (
        _REPORTS_KERNEL.address(*reports.pointers, 1, _NO_COMMANDS, _NO_EVENTS, 0, 0, 0, 1),
        _MESSAGES_KERNEL.address(*feed.pointers, room, 0, 0, 1),
    )


@called
def make_block(turn_at, tables_at, reports_room_at, feed_at, feed_room_at, first_seq, commands, events):
    """Make reports and messages of a block, from where ``BlockTurn`` says on; gives why it stopped.

    All but the block are pointers (``jit.Packed``). At anything else than DONE the row ROW is the caller's, who says in
    ROW and END how it goes on.
    """
    turn = unpack_turn(turn_at)
    words = turn.words
    while True:
        if words[ROW] >= words[MADE] and words[AT] < len(commands):
            words[AT], words[N], words[MADE] = reports_by_address(
                words[MAKE_REPORTS],
                (
                    tables_at,
                    reports_room_at,
                    first_seq,
                    commands,
                    events,
                    words[AT],
                    words[N],
                    np.int64(0),
                    np.int64(len(turn.reports)),
                ),
            )
            words[ROW] = 0
        ends = np.int64(words[AT] >= len(commands))
        words[ROW], words[END], why = messages_by_address(
            words[MAKE_MESSAGES],
            (feed_at, feed_room_at, turn.reports[: words[MADE]], words[ROW], words[END], ends),
        )
        if why != DONE or ends != 0:
            break
    return why


class BlockMessages:
    """Reports and feed of a market, whose blocks are taken whole. Both may be used beside it, between two blocks.

    orders_max: open orders of the market at most; the tables grow to it as they are needed. None: they are as large.
    """

    def __init__(self, reports: Reports, feed: ItchFeed, orders_max: int | None = None) -> None:
        self._reports, self._feed = reports, feed
        self._orders_max = reports.orders_max if orders_max is None else orders_max
        self._turn = Packed(BlockTurn(np.zeros(WORDS, np.int64), read_only(reports.room)[:ROOM_ROWS]))
        words = self._turn.arrays.words
        words[MAKE_REPORTS], words[MAKE_MESSAGES] = kernel_addresses(reports, feed)

    def take(self, first_seq: int, commands: Rows, events: Rows) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused, all of them.

        Its messages go where those of the feed go, all before this ends.
        """
        self.make_room(len(events))
        words, feed = self._turn.arrays.words, self._feed
        words[: END + 1] = 0
        commands, events = read_only(commands), read_only(events)
        pointers = (self._turn.pointers, *self._reports.pointers, *feed.pointers)
        while (why := make_block(*pointers, first_seq, commands, events)) != DONE:
            words[ROW], words[END] = feed.go_past(self._reports.room, int(words[ROW]), int(words[END]), why)
        feed.give(int(words[END]))

    def make_room(self, events: int) -> None:
        """Make room for all orders that may be open behind so many events more: each begins one at most."""
        room, open_max = self._reports.orders_max, self._reports.open_orders + events
        if room < min(open_max, self._orders_max):
            room = min(max(4 * room, open_max), self._orders_max)
            self._reports.give_room(room)
            self._feed.give_room(room)


def is_compiled() -> bool:
    """True if the kernel of a block is in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).parent).rglob("block_messages.make_block*.nbc"))


def compile_kernels() -> None:
    """Compile or load the kernels: that of a block is the last."""
    itch_feed.compile_kernels()
    capacity = Capacity(1, 1, 1, 1)
    BlockMessages(Reports(capacity, users_max=1), ItchFeed(capacity)).take(1, np.zeros(1, COMMAND), np.zeros(0, EVENT))
