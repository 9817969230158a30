"""Streams of OUCH: the events of a block as framed messages, user by user.

The first message of a stream says that the day begins, its last that it ends. The cancels of day orders by the clock
value that ends a day are in the stream of that day, before its last message.
"""

import mmap
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS
from engine.capacity import Capacity
from engine.jit import Packed
from engine.names import unpack
from engine.records import CommandKind, EventKind, Reason, VenueSetting
from gateway.messages import DEFINES, EXTENDS, NEW_DAY, SEGMENT, Outgoing
from gateway.ouch.answering import BECAME_FAR, UNTELLABLE, answer_block, system_event
from gateway.ouch.open_orders import insert_all, orders_of
from gateway.ouch.recent import RECENT, RECENT_ROWS
from gateway.ouch.tables import (
    BLOCK_ROWS_MAX,
    EARLIER_LAYOUTS,
    EVENT_BYTES_MAX,
    TABLES_LAYOUT,
    TABLES_VERSION,
    StreamTables,
    new_tables,
    ring_of,
)
from gateway.ouch.writing import DAY_START, DELAYS, FAR, UNTOLD
from gateway.streams import USERS_MAX, Deliver, LoginEndCallback, NewSessionCallback, Segment, Streams
from gateway.symbols import add_symbol
from reports.waiting import restore_waiting, waiting_image
from wire.ouch import PRICE_E4_MAX
from wire.ouch_codes import EventCode

#: Bytes of messages that are made at once.
OUT_BYTES: Final = 2 << 20

_SEGMENT_WORDS: Final = SEGMENT.itemsize // 8


def layout_row(version: int, layout: bytes) -> NDArray[np.uint8]:
    """Version and layout of the tables, as a table of an image."""
    return np.frombuffer(version.to_bytes(8, "little") + layout, np.uint8)


_LAYOUT: Final = layout_row(TABLES_VERSION, TABLES_LAYOUT)
#: Of earlier releases with the same tables: restored as well.
_EARLIER_LAYOUTS: Final = tuple(layout_row(1, layout).tobytes() for layout in EARLIER_LAYOUTS)


class OuchStreams(Streams):
    """Streams of messages to the users, from a block on. ``deliver`` takes the bytes to send."""

    def __init__(
        self,
        capacity: Capacity,
        deliver: Deliver,
        on_new_session: NewSessionCallback,
        on_login_end: LoginEndCallback = lambda _user, _why: None,
        *,
        users_max: int = USERS_MAX,
    ) -> None:
        self._packed = Packed(new_tables(users_max, capacity.instruments_max, capacity.orders_max, OUT_BYTES))
        tables = self.tables
        super().__init__(tables.users, capacity.instruments_max, deliver, on_new_session, on_login_end)
        #: Segments of the messages that were made last, for the compiled turn.
        self.outgoing = Packed(Outgoing(tables.segments, tables.out, tables.grouped))
        self._out, self._grouped = tables.out.data, tables.grouped.data
        self._segments = tables.segments.view(np.int64).data
        #: RECENT rows, for the same kernel; no part of the streams or of an image.
        self.recent: NDArray[Any] = np.zeros(RECENT_ROWS, RECENT)
        self.price_max_e4[:] = PRICE_E4_MAX
        #: Messages that were left out, since a number in them did not fit its field; command of the last one.
        self.untold, self.untold_seq = 0, 0
        self._instruments = 0
        self._carries = False

    def prefault(self) -> None:
        """Have the system allocate now the memory that messages touch: about 120 MB at the default capacity.

        Without it the first block of a sudden load waits for memory, half a second on a busy machine: longer than a
        lease of 600 ms has left between two renewals.
        """
        tables = self.tables
        for array in (tables.open, tables.rest, tables.out, tables.grouped, tables.messages, self.recent):
            page_starts = array.view(np.uint8).reshape(-1)[:: mmap.PAGESIZE]
            page_starts[:] = page_starts.copy()

    @property
    def pointers(self) -> Any:
        """Pointers of the packed tables, for kernels."""
        return self._packed.pointers

    @property
    def carries(self) -> bool:
        """True if the last block ended with an EXTEND row, which belongs to the first row of the next."""
        return self._carries

    @property
    def tables(self) -> StreamTables:
        """Tables for the messages; filled in place, never replaced."""
        return self._packed.arrays

    @property
    def tallies(self) -> NDArray[np.int64]:
        """int64[2, 256]: events by kind, and rejects by reason, since the process began."""
        return self.tables.tallies

    def open_counts(self) -> NDArray[np.int64]:
        """Number of open orders, by user number; users beyond its end have none."""
        return np.bincount(self.tables.open["user"][self.tables.open["participant"] != 0])

    def open_orders(self, user: int) -> NDArray[np.int64]:
        """Client order ids of a user's open orders, in order of acceptance."""
        room = int((self.tables.open["user"] == user).sum())
        numbers, ids = np.zeros(room, np.int64), np.zeros(room, np.int64)
        count = orders_of(self.tables, user, numbers, ids)
        return ids[:count][np.argsort(numbers[:count])]

    def __call__(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused."""
        if len(commands) > BLOCK_ROWS_MAX:
            self._in_pieces(first_seq, commands, events)
            return
        at, segments, clocks, now_ns, words = answer_block(
            self._packed.pointers, first_seq, commands, events, 0, -1, self.now_ns
        )
        if words:  # seldom
            if words & (UNTELLABLE | BECAME_FAR):
                self._check_marks(first_seq, events)
            if words & NEW_DAY:
                self._take_day_change(first_seq, commands, events, self.tables.clock_ns[:clocks])
                return
            if words & DEFINES:
                self._take_definitions(first_seq, commands, events)
                return
        self._finish(first_seq, commands, events, at, segments, clocks, now_ns, words)

    def go_on(
        self,
        first_seq: int,
        commands: NDArray[Any],
        events: NDArray[Any],
        at: int,
        segments: int,
        clocks: int,
        words: int,
    ) -> None:
        """Go on with a block that a compiled turn has begun to answer; the rest as ``answer_block`` gave it there."""
        now_ns = int(self.tables.clock_ns[clocks - 1]) if clocks else self.now_ns
        if words & (UNTELLABLE | BECAME_FAR):
            self._check_marks(first_seq, events)
        self._finish(first_seq, commands, events, at, segments, clocks, now_ns, words)

    def _finish(
        self,
        first_seq: int,
        commands: NDArray[Any],
        events: NDArray[Any],
        at: int,
        segments: int,
        clocks: int,
        now_ns: int,
        words: int,
    ) -> None:
        if segments:
            self._send(segments)
        if at < len(events):
            self._send_messages(first_seq, commands, events, at, clocks)
        self.now_ns = now_ns
        if words & EXTENDS or self._carries:
            self._carry(commands[-1:] if words & EXTENDS else None)

    def _send_messages(
        self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], at: int = 0, clocks: int = 0
    ) -> None:
        """Send the messages of events from ``at`` on, in as many calls of the kernel as their bytes need."""
        while at < len(events):
            at, segments, _, _, words = answer_block(
                self._packed.pointers, first_seq, commands, events, at, clocks, self.now_ns
            )
            if words & (UNTELLABLE | BECAME_FAR):
                self._check_marks(first_seq, events)
            self._send(segments)

    def _carry(self, extend: NDArray[Any] | None) -> None:
        """Keep the EXTEND row that a block ends with for the block after it."""
        self._carries = extend is not None
        self.tables.carried[:1].view(np.uint8)[:] = 0 if extend is None else extend.view(np.uint8)

    def _check_marks(self, first_seq: int, events: NDArray[Any]) -> None:
        """Count messages that were left out, and close far instruments to orders over OUCH."""
        if self.tables.marks[UNTOLD]:
            told = events[events["price_e4"] > PRICE_E4_MAX]
            self.untold += int(self.tables.marks[UNTOLD])
            self.untold_seq = int(told["seq"][0]) if len(told) else first_seq
            self.tables.marks[UNTOLD] = 0
        self.tables.marks[FAR] = 0
        for number in np.flatnonzero(self.tables.stocks["far"]).tolist():
            add_symbol(self.symbols, int(self.tables.stocks[number]["symbol"]), 0)
            self.price_max_e4[number] = 0

    def _in_pieces(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        for row in range(0, len(commands), BLOCK_ROWS_MAX):
            piece = commands[row : row + BLOCK_ROWS_MAX]
            begin, end = np.searchsorted(events["seq"], [first_seq + row, first_seq + row + len(piece)])
            self(first_seq + row, piece, events[begin:end])

    def _send(self, segments: int) -> None:
        data = self._out if segments == 1 else self._grouped
        for at in range(0, _SEGMENT_WORDS * segments, _SEGMENT_WORDS):
            user, first_seq, count, begin, number_bytes, position = self._segments[at : at + _SEGMENT_WORDS]
            self._deliver(Segment(user, first_seq, count, position, bytes(data[begin : begin + number_bytes])))

    def _take_day_change(
        self, first_seq: int, commands: NDArray[Any], events: NDArray[Any], clock_ns: NDArray[np.int64]
    ) -> None:
        """Take a block in which a trading day begins: events before, end of the old day, begin of the new, events
        after.
        """
        days = (clock_ns - self.day_start_ns) // DAY_NS
        at = int(np.argmax(days != (self.now_ns - self.day_start_ns) // DAY_NS))
        row, time_ns = int(self.tables.clock_at[at]), int(self.tables.clock_ns[at])
        cut = int(np.searchsorted(events["seq"], first_seq + row))
        if row:
            self(first_seq, commands[:row], events[:cut])
        after = cut + _ending(events[cut:], first_seq + row)
        if after > cut:
            self._end_orders(first_seq + row, commands[row : row + 1], events[cut:after])
        users = [user for user, _ in self.users()]
        if self.now_ns:
            for user in users:
                self._send(system_event(self.tables, user, int(EventCode.END_OF_DAY), time_ns))
        self.now_ns = time_ns
        self.recent.view(np.uint8).fill(0)  # tokens are free again
        self._begin_session()
        self._on_new_session(self.session)
        for user in users:
            self._begin_stream(user)
        self(first_seq + row, commands[row:], events[after:])

    def _take_definitions(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take a block with definitions in parts, so that a definition counts from its own row on, at the time of that
        row.
        """
        defining = np.isin(commands["kind"], _DEFINING)
        ends = [*(np.flatnonzero(defining[1:] != defining[:-1]) + 1).tolist(), len(commands)]
        begin = cut = 0
        for end in ends:
            seq, rows = first_seq + begin, commands[begin:end]
            until = int(np.searchsorted(events["seq"], first_seq + end))
            if defining[begin]:
                self._define(seq, rows, events[cut:until])
                self._send_messages(seq, rows, events[cut:until])
                if self._carries:
                    self._carry(None)
            else:
                self(seq, rows, events[cut:until])
            begin, cut = end, until
        self._end_revoked()

    def _end_orders(self, seq: int, clock: NDArray[Any], events: NDArray[Any]) -> None:
        """Send the cancels of day orders to the streams of the day that ends, with the time of the clock value."""
        self.tables.clock_at[0], self.tables.clock_ns[0] = 0, clock["time_ns"][0]
        at = 0
        while at < len(events):
            at, segments, *_ = answer_block(self._packed.pointers, seq, clock, events, at, 1, self.now_ns)
            self._send(segments)

    def _begin_stream(self, user: int) -> None:
        self.tables.users[user]["next_seq"] = 1
        self.tables.users[user]["bytes"] = 0
        self._send(system_event(self.tables, user, int(EventCode.START_OF_DAY), self.now_ns))

    def _define(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take accepted definitions: instruments, participants, users and their passwords."""
        refused = set(events["seq"][events["kind"] == EventKind.REJECTED].tolist())
        for at in np.flatnonzero(np.isin(commands["kind"], _DEFINING)).tolist():
            if first_seq + at not in refused:
                row = commands[at]
                match int(row["kind"]):
                    case CommandKind.INSTRUMENT:
                        self._define_instrument(row)
                    case CommandKind.PARTICIPANT:
                        self._define_participant(row)
                    case CommandKind.VENUE:
                        self._define_venue(row)
                    case CommandKind.USER:
                        self._define_user(row)
                    case _:
                        self._define_credential(row)

    def _define_venue(self, command: Any) -> None:
        settings = int(command["settings"])
        if settings & VenueSetting.DAY_START:
            self.day_start_ns = self.tables.marks[DAY_START] = int(command["day_start_ns"])
        if settings & VenueSetting.SPEED_BUMP:
            self.tables.marks[DELAYS] |= int(command["speed_bump_ns"] != 0)

    def _define_instrument(self, command: Any) -> None:
        symbol = int(command["name"])
        self._instruments += 1
        row = self.tables.stocks[self._instruments]
        row["symbol"] = symbol
        row["stock"] = int.from_bytes(unpack(symbol).encode("ascii").ljust(8), "big")
        # In an uncross of market orders the price is the reference price, or one tick where that is more.
        row["far"] = max(int(command["reference_e4"]), int(command["tick_e4"])) > PRICE_E4_MAX
        self._open_to_users(self._instruments)

    def _open_to_users(self, number: int) -> None:
        """Let users enter orders in an instrument, unless it is far."""
        row = self.tables.stocks[number]
        add_symbol(self.symbols, int(row["symbol"]), 0 if row["far"] else number)
        self.price_max_e4[number] = 0 if row["far"] else PRICE_E4_MAX

    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``: copies and views; write them before the next block."""
        tables = self.tables
        places = np.flatnonzero(tables.open["participant"])
        return {
            "layout": _LAYOUT,
            "users": self._users_of_image(),
            "stocks": tables.stocks[: self._instruments + 1],
            "participants": np.array(self._participants_of_image(), np.int64),
            "places": places,
            "open": tables.open[places],
            "rest": tables.rest[places],
            "room": np.array([len(tables.open), len(tables.users), len(tables.stocks)], np.int64),
            "carried": tables.carried[:1].view(np.uint8).copy(),
            "now_ns": np.array([self.now_ns], np.int64),
            "day": self._day_of_image(),
            "delays": tables.marks[DELAYS:DAY_START],
            "waiting": waiting_image(ring_of(tables)),
        }

    def _reinsert(self, open_rows: NDArray[Any], rest: NDArray[Any]) -> None:
        """Insert the open orders of an image of another capacity. Raises ValueError where they do not fit."""
        if 2 * len(open_rows) > len(self.tables.open):
            raise ValueError(f"they have {len(open_rows)} open orders, more than there is room for")
        places = np.zeros(len(open_rows), np.int64)
        insert_all(self.tables, open_rows, places)
        self.tables.open[places], self.tables.rest[places] = open_rows, rest

    def restore(self, image: Mapping[str, NDArray[Any]], _seq: int = 0, /) -> None:
        """Continue from an image, in fresh streams; open orders get new places where it is of another capacity.

        Raises ValueError for an image of another kind, or one without room here.
        """
        tables = self.tables
        try:
            layout = image["layout"]
            if not np.array_equal(layout, _LAYOUT) and layout.tobytes() not in _EARLIER_LAYOUTS:
                raise ValueError("they were written with other tables than this release has")
            if len(image["users"]) > len(tables.users) or len(image["stocks"]) > len(tables.stocks):
                raise ValueError("they have more users or instruments than there is room for")
            self._restore_users(image["users"], image["participants"].tolist())
            tables.stocks[: len(image["stocks"])] = image["stocks"]
            if image["room"][0] == len(tables.open):
                tables.open[image["places"]] = image["open"]
                tables.rest[image["places"]] = image["rest"]
            else:
                self._reinsert(image["open"], image["rest"])
            tables.carried[:1].view(np.uint8)[:] = image["carried"]
            self.now_ns = int(image["now_ns"][0])
            times = {**without_delay(self.now_ns), **image}
            self._restore_day(times)
            tables.marks[DAY_START] = self.day_start_ns
            tables.marks[DELAYS] = times["delays"][0]
            restore_waiting(ring_of(tables), times["waiting"])
        except KeyError as error:
            raise ValueError(f"their table {error.args[0]} is missing") from error
        self._carries = bool(tables.carried[:1].view(np.uint8).any())
        self._instruments = len(image["stocks"]) - 1
        for number in range(1, self._instruments + 1):
            self._open_to_users(number)


def without_delay(now_ns: int) -> dict[str, NDArray[Any]]:
    """Tables that images of versions 1 and 2 and of earlier releases lack: there was no entry delay, and trading days
    began at 00:00."""
    return {
        "day": np.array([0, now_ns - now_ns % DAY_NS], np.int64),
        "delays": np.zeros(1, np.int64),
        "waiting": np.zeros(0, np.uint8),
    }


def _ending(events: NDArray[Any], seq: int) -> int:
    """Number of the first events that belong to orders that end with the day by the clock value ``seq``."""
    ends = (events["seq"] == seq) & (events["kind"] == EventKind.CANCELED) & (events["reason"] == Reason.END_OF_DAY)
    return len(events) if ends.all() else int(np.argmin(ends))


_DEFINING: Final = (
    CommandKind.VENUE,
    CommandKind.INSTRUMENT,
    CommandKind.PARTICIPANT,
    CommandKind.USER,
    CommandKind.CREDENTIAL,
)

if OUT_BYTES < EVENT_BYTES_MAX:
    raise ValueError("there is no room for the messages of one event")
