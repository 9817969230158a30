"""The L3 feed of a market as ITCH 5.0: framed messages of its reports, day by day.

Each trading day is a session of its own, whose messages are numbered from 1 and complete by themselves: it begins
with the directory, the states and all orders that are still shown, and ends with the events of the evening. An ITCH
file of a session needs nothing before it.

What ITCH cannot say: an order above 429,496.7295 is not shown; a trade above it is left out and counted. A market
order that rests in a call has no price and is not shown. Closing orders are not shown, and trade in the cross trade. An
iceberg shows its part, and the next part is another order with another reference; after an uncross it keeps its
place, and where it shows more there than before, those behind it are replaced, to stand behind it again.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS, MEMBERS_MAX
from engine.capacity import Capacity
from engine.digest import part_digest
from engine.jit import INTERPRETED, Packed
from engine.kernel_cache import cache_directory_of
from engine.records import Phase
from marketdata.itch.fold import (
    DAY,
    DONE,
    FULL,
    ROW_BYTES_MAX,
    make_messages,
    put_events,
    put_market,
    put_orders,
    put_standing,
    requeue,
)
from marketdata.itch.market_levels import open_indices
from marketdata.itch.scan import as_packets, index_messages
from marketdata.itch.shown import insert_all
from marketdata.itch.tables import FEED_LAYOUT, FEED_VERSION, SHOWN, FeedTables, new_room, new_tables
from reports.projection import read_only
from reports.rows import REPORT, ReportKind
from wire.itch_layout import SystemEvent

Rows = NDArray[Any]
#: Callback for messages of a session, in order: the day of the session in days since 1970, number of the first message,
#: how many there are, and the framed messages, which the next call writes over.
OnMessages = Callable[[int, int, int, memoryview], None]

#: Bytes that are made at once, so that they stay in a near cache.
ROOM_BYTES: Final = 1 << 16

_LAYOUT: Final = np.frombuffer(FEED_VERSION.to_bytes(8, "little") + FEED_LAYOUT, np.uint8)
_EVENTS: Final = {event: np.array([event], np.int64) for event in SystemEvent}


def session_name(day: int) -> str:
    """Name of the session of a day, in days since 1970.

    >>> session_name(19_737)
    '20240115'
    """
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y%m%d")


def is_compiled() -> bool:
    """True if the kernel of the feed is in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).parent).rglob("fold.requeue*.nbc"))


class ItchFeed:
    """The fold of reports into the messages of the feed, from the first report on, or from an image."""

    name = "itch"
    #: Rises with FEED_VERSION, and with the arrays of ``image``.
    version = 2
    earlier_versions: tuple[int, ...] = ()

    def __init__(
        self,
        capacity: Capacity,
        on_messages: OnMessages = lambda _day, _number, _count, _framed: None,
        *,
        room_bytes: int = ROOM_BYTES,
    ) -> None:
        """``room_bytes``: of messages that are made at once; it changes nothing in them.

        Raises ValueError where that is less than one report may need.
        """
        if room_bytes < 2 * ROW_BYTES_MAX:
            raise ValueError(f"room for {room_bytes} bytes is less than a report may need, {2 * ROW_BYTES_MAX}")
        self._sizes = (capacity.orders_max, capacity.instruments_max)
        self._on_messages = on_messages
        self._packed = Packed(new_tables(*self._sizes))
        self._room = Packed(new_room(room_bytes))
        self._out = memoryview(self._room.arrays.out)  # type: ignore[arg-type]
        #: Message behind the last one that was given away.
        self._given = 0

    @property
    def tables(self) -> FeedTables:
        """Tables of the fold; filled in place."""
        return self._packed.arrays

    @property
    def seq(self) -> int:
        """The last command whose reports were taken; 0 before the first."""
        return int(self.tables.feed[0]["seq"])

    @property
    def day(self) -> int:
        """Day of the session, in days since 1970."""
        return int(self.tables.feed[0]["day"])

    @property
    def day_ns(self) -> int:
        """Time from which those of the session are counted: 00:00 of the date in which it begins, ns since 1970."""
        return int(self.tables.feed[0]["day_ns"])

    @property
    def day_end_ns(self) -> int:
        """End of the trading day of the session, ns since 1970; 0 before the first session."""
        return int(self.tables.feed[0]["day_end_ns"])

    @property
    def messages(self) -> int:
        """Messages of the session so far."""
        return int(self.tables.feed[0]["messages"])

    @property
    def left_out(self) -> int:
        """Messages that were left out, since ITCH cannot carry their price."""
        return int(self.tables.feed[0]["left_out"])

    def take(self, reports: Rows, *, ends_block: bool = False) -> None:
        """Take REPORT rows; their messages go to ``on_messages``. ends_block: the rows are the last of their block.

        How rows are cut changes nothing in the messages. A block must be ended before the next, before an image and
        before anybody is told that all of it was seen: the cross trade of an uncross may be due.
        """
        self._make(read_only(reports), 0, 0, int(ends_block))

    def _make(self, reports: Rows, n: int, at: int, ends: int) -> None:
        """Make the messages from row ``n`` on, behind ``at`` bytes that are in the room."""
        while True:
            n, at, why = make_messages(self._packed.pointers, self._room.pointers, reports, n, at, ends)
            if why == DONE:
                break
            n, at = self.go_past(reports, n, at, why)
        self.give(at)

    def go_past(self, reports: Rows, n: int, at: int, why: int) -> tuple[int, int]:
        """Do what the kernel left to do at row ``n``, behind ``at`` bytes that are in the room; gives the row and the
        place with which it goes on."""
        if why == FULL:
            return n, self.give(at)
        if why == DAY:
            return n + int(reports[n]["kind"] == ReportKind.TRADING_DAY), self._begin_day(at, reports[n])
        return n + 1, self._grow(at, reports[n])

    # For a kernel that calls ``make_messages`` itself.

    @property
    def pointers(self) -> tuple[Any, Any]:
        """Pointers of tables and room (``jit.Packed``)."""
        return self._packed.pointers, self._room.pointers

    @property
    def room(self) -> Rows:
        """The room for messages, uint8; the same array for the life of the feed."""
        return self._room.arrays.out

    @property
    def given(self) -> int:
        """Messages of the session that were given away."""
        return self._given

    def note_given(self) -> None:
        """Note that all messages in the room were taken from there."""
        self._given = self.messages

    def go_on(self, reports: Rows, n: int, why: int) -> None:
        """Make the rest of a block, at whose row ``n`` the kernel stopped, after ``note_given``."""
        reports = read_only(reports)
        n, at = self.go_past(reports, n, 0, why)
        self._make(reports, n, at, 1)

    def end_block(self) -> None:
        """End a block after its reports were taken."""
        self.take(np.zeros(0, REPORT), ends_block=True)

    def give(self, at: int) -> int:
        """Give the ``at`` bytes of messages in the room away; gives the place of the next, 0."""
        if at:
            self._on_messages(self.day, self._given + 1, self.messages - self._given, self._out[:at])
        self._given = self.messages
        return 0

    def _begin_day(self, at: int, report: Any) -> int:
        """End the session, if there is one, and begin that of the report."""
        feed, time_ns = self.tables.feed[0], int(report["time_ns"])
        if feed["begun"]:
            if feed["opened"] and not feed["closed"]:
                at = self._put(SystemEvent.END_OF_MARKET_HOURS, at, time_ns)
            at = self._put(SystemEvent.END_OF_SYSTEM_HOURS, at, time_ns)
            at = self._put(SystemEvent.END_OF_MESSAGES, at, time_ns)
            self.give(at)
        start_ns = int(feed["day_start_ns"])
        begins = (time_ns - start_ns) // DAY_NS
        feed["day_ns"], feed["day_end_ns"] = begins * DAY_NS, (begins + 1) * DAY_NS + start_ns
        # A trading day is named by its last moment. Where ``day_start`` has changed meanwhile two may end in one date,
        # and a session has a later name than the one before.
        day = begins + (start_ns != 0)
        feed["day"] = max(day, int(feed["day"]) + 1) if feed["begun"] else day
        feed["seq"], feed["begun"], feed["messages"] = report["seq"], 1, 0
        feed["opened"] = feed["closed"] = self._given = 0
        open_indices(self._packed.pointers)
        at = self._put(SystemEvent.START_OF_MESSAGES, 0, time_ns)
        at = self._put(SystemEvent.START_OF_SYSTEM_HOURS, at, time_ns)
        if (self.tables.stocks["phase"] == Phase.CONTINUOUS).any():
            feed["opened"] = 1
            at = self._put(SystemEvent.START_OF_MARKET_HOURS, at, time_ns)
        return self._put_standing(at, time_ns, self.shown())

    def _put(self, event: SystemEvent, at: int, time_ns: int) -> int:
        return int(put_events(self._packed.pointers, self._room.pointers, self._space(at), time_ns, _EVENTS[event]))

    def _put_standing(self, at: int, time_ns: int, shown: Rows) -> int:
        """Directory and state of each instrument, levels of market-wide halts, then SHOWN rows as orders that are
        added."""
        pointers, room = self._packed.pointers, self._room.pointers
        for number in range(1, int(self.tables.feed[0]["instruments"]) + 1):
            at = put_standing(pointers, room, number, self._space(at), time_ns)
        at = put_market(pointers, room, self._space(at), time_ns)
        n = 0
        while n < len(shown):
            n, at = put_orders(pointers, room, shown, n, self._space(at), time_ns)
        return at

    def _space(self, at: int) -> int:
        """Place with room for the messages of a row: ``at``, or the first after the messages were given away."""
        return at if at + ROW_BYTES_MAX <= len(self._out) else self.give(at)

    def put_all(self, time_ns: int, shown: Rows) -> None:
        """Give the messages with which a session that has come so far would begin: events, directory, states and, as
        SHOWN rows, orders. For a feed that does nothing else (``marketdata.itch.snapshot``)."""
        feed, at = self.tables.feed[0], 0
        events = [SystemEvent.START_OF_MESSAGES, SystemEvent.START_OF_SYSTEM_HOURS]
        events += [SystemEvent.START_OF_MARKET_HOURS] * int(feed["opened"])
        events += [SystemEvent.END_OF_MARKET_HOURS] * int(feed["closed"])
        for event in events:
            at = self._put(event, at, time_ns)
        self.give(self._put_standing(at, time_ns, shown))

    def shown(self, mask: Any = True) -> Rows:
        """SHOWN rows of the orders that are shown, and for which the mask is true, in the order of their places."""
        rows = self.tables.shown[:-1]
        rows = rows[(rows["order_number"] != 0) & mask]
        in_order: Rows = rows[np.argsort(rows["place"], kind="stable")]
        return in_order

    def _grow(self, at: int, report: Any) -> int:
        """Show more of an order at its place: it is replaced, and after it each that stands behind it at its price."""
        rows = self.tables.shown[:-1]
        (own,) = rows[rows["order_number"] == report["order_number"]]
        level = (rows["instrument"] == own["instrument"]) & (rows["side"] == own["side"])
        behind = self.shown(level & (rows["price_e4"] == own["price_e4"]) & (rows["place"] >= own["place"]))
        n, time_ns, shown_qty = 0, int(report["time_ns"]), int(report["displayed_qty"])
        while n < len(behind):
            n, at = requeue(self._packed.pointers, self._room.pointers, behind, n, self._space(at), time_ns, shown_qty)
        return at

    def image(self) -> dict[str, Rows]:
        """Image for ``restore``, between two blocks."""
        feed = self.tables.feed
        return {
            "layout": _LAYOUT,
            "shown": self.shown(),
            "stocks": self.tables.stocks[: int(feed[0]["instruments"]) + 1],
            "feed": feed,
            "indices": self.tables.indices[: int(feed[0]["indices"])],
            "members": self.tables.members[: (int(feed[0]["indices"]) + 1) * MEMBERS_MAX],
        }

    def digest(self) -> bytes:
        """Digest (16 bytes) of the state: equal for the same reports, whatever the blocks and the capacity."""
        return part_digest(self.image())

    def restore(self, arrays: Mapping[str, Rows], seq: int, /) -> None:
        """Continue after command ``seq`` from an image, in a fresh or cleared feed.

        Raises ValueError for an image of another kind or command, or without room here; KeyError for an incomplete one.
        """
        if not np.array_equal(arrays["layout"], _LAYOUT):
            raise ValueError("it was written with other tables than this release has")
        tables, shown, stocks = self.tables, arrays["shown"], arrays["stocks"]
        if shown.dtype != SHOWN:
            raise ValueError("its orders are damaged")
        if 2 * len(shown) > len(tables.shown):
            raise ValueError(f"it shows {len(shown)} orders, more than there is room for")
        if len(stocks) > len(tables.stocks):
            raise ValueError(f"it has {len(stocks) - 1} instruments, more than there is room for")
        tables.stocks[: len(stocks)] = stocks
        tables.feed[:] = arrays["feed"]
        for name in ("indices", "members"):
            getattr(tables, name)[: len(arrays[name])] = arrays[name]
        if self.seq > seq:
            raise ValueError(f"it is of command {self.seq}, not of {seq}")
        places = np.zeros(len(shown), np.int64)
        insert_all(self._packed.pointers, np.ascontiguousarray(shown), places)
        tables.shown[places] = shown
        self._given = self.messages

    def give_room(self, orders_max: int) -> None:
        """Make room for so many open orders, between two blocks. It changes nothing in the messages."""
        image, seq = self.image(), self.seq
        self._sizes = (orders_max, self._sizes[1])
        self.clear()
        self.restore(image, seq)

    def clear(self) -> None:
        """Reset to the state before the first report."""
        self._packed = Packed(new_tables(*self._sizes))
        self._given = 0


def compile_kernels() -> None:
    """Compile or load the kernels."""
    feed = ItchFeed(Capacity(1, 1, 1, 1), room_bytes=2 * ROW_BYTES_MAX)
    feed.restore(feed.image(), 0)
    feed.take(np.zeros(1, REPORT), ends_block=True)
    pointers, room, none = feed._packed.pointers, feed._room.pointers, np.zeros(0, SHOWN)
    put_standing(pointers, room, 1, 0, 0)
    put_market(pointers, room, 0, 0)
    open_indices(pointers)
    put_orders(pointers, room, none, 0, 0, 0)
    index_messages(np.zeros(2, np.uint8), 0, 1, np.zeros(1, np.int64))
    as_packets(read_only(np.zeros(2, np.uint8)), np.zeros(1, np.uint8))
    requeue(pointers, room, none, 0, 0, 0, 0)
