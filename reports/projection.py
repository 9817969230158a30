"""REPORT rows as a projection of the journal: blocks in, rows out.

``Reports`` has the interface of ``checkpoints.Projection``: name, version, image, digest. Its image is canonical (open
orders by order number), so that it is the same whatever blocks led to it, and fits a venue of another capacity.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.digest import part_digest
from engine.jit import INTERPRETED, Packed
from engine.kernel_cache import cache_directory_of
from engine.records import COMMAND, EVENT
from reports.fold import EVENT_REPORTS_MAX, make_reports
from reports.orders import insert_all
from reports.rows import REPORT_BYTES, joined
from reports.tables import (
    HAS_TERMS,
    ORDER,
    TABLES_LAYOUT,
    TABLES_VERSION,
    TERMS,
    ReportTables,
    new_room,
    new_tables,
    ring_of,
)
from reports.waiting import places_of, restore_waiting, waiting_image
from reports.writing import restate_orders

Rows = NDArray[Any]
#: Callback for reports, in order; the rows are written over by the next.
OnReports = Callable[[Rows], None]

#: Users of a node at most.
USERS_MAX: Final = 4_096
#: Reports that are made at once: 256 KB, so that they stay in a near cache.
ROOM_ROWS: Final = 1_024

_LAYOUT: Final = np.frombuffer(TABLES_VERSION.to_bytes(8, "little") + TABLES_LAYOUT, np.uint8)


def is_compiled() -> bool:
    """True if the kernel of the fold is in the cache of this machine."""
    return INTERPRETED or any(cache_directory_of(Path(__file__).parent).rglob("fold.make_reports*.nbc"))


def read_only(rows: Rows) -> Rows:
    """A view that nobody writes to: kernels are compiled for one kind of array."""
    if not rows.flags.writeable:
        return rows
    view = rows.view()
    view.flags.writeable = False
    return view


class Reports:
    """The fold of a journal into reports, from its first command on, or from an image."""

    name = "reports"
    #: Rises with TABLES_VERSION, and with the arrays of ``image``.
    version = 3
    earlier_versions: tuple[int, ...] = ()

    def __init__(
        self,
        capacity: Capacity,
        on_reports: OnReports = lambda _rows: None,
        *,
        users_max: int = USERS_MAX,
        room_rows: int = ROOM_ROWS,
    ) -> None:
        """``room_rows``: reports that are made at once; it changes nothing in them. Raises ValueError below 3."""
        if room_rows < EVENT_REPORTS_MAX:
            raise ValueError(f"room for {room_rows} reports is less than an event may need, {EVENT_REPORTS_MAX}")
        self._sizes = (capacity.orders_max, capacity.instruments_max, capacity.participants_max, users_max)
        self._on_reports = on_reports
        self._packed = Packed(new_tables(*self._sizes))
        self._room = Packed(new_room(room_rows))
        self.ends_block = False

    @property
    def tables(self) -> ReportTables:
        """Tables of the fold; filled in place."""
        return self._packed.arrays

    @property
    def pointers(self) -> tuple[Any, Any]:
        """Pointers of tables and room (``jit.Packed``), for a kernel that calls ``make_reports`` itself."""
        return self._packed.pointers, self._room.pointers

    @property
    def room(self) -> Rows:
        """The room for reports, the same array for the life of the fold: each batch is its front."""
        return self._room.arrays.rows

    @property
    def orders_max(self) -> int:
        """Open orders for which the tables have room."""
        return self._sizes[0]

    @property
    def open_orders(self) -> int:
        """Number of open orders."""
        return int(self.tables.open_orders[0])

    def give_room(self, orders_max: int) -> None:
        """Make room for so many open orders, between two blocks. It changes nothing in the reports."""
        image, seq = self.image(), self.seq
        self._sizes = (orders_max, *self._sizes[1:])
        self.clear()
        self.restore(image, seq)

    def prefault(self) -> None:
        """Have the system provide the memory of the order table now: 128 MB at the default capacity.

        Before the first command only.
        """
        self.tables.order_words[:] = 0

    @property
    def seq(self) -> int:
        """The last command whose reports were made; 0 before the first."""
        return int(self.tables.venue[0]["seq"])

    @property
    def now_ns(self) -> int:
        """The clock in force after that command."""
        return int(self.tables.venue[0]["now_ns"])

    def batches(
        self, first_seq: int, commands: Rows, events: Rows, *, by_day: bool = False, at: int = 0, n: int = 0
    ) -> Iterator[Rows]:
        """Reports of a block: COMMAND rows from ``first_seq`` on, and the EVENT rows that they caused, all of them.

        Each batch is a view that the next writes over. Take all before the next block. ``ends_block`` is True after
        the last batch, and mostly while it is at hand. by_day: the report of a trading day is the last of its batch.
        at, n: the command and the event from which on reports are made, of a block that was begun elsewhere.
        """
        self.ends_block = False
        rows = self._room.arrays.rows
        commands, events = read_only(commands), read_only(events)
        while at < len(commands):
            at, n, end = make_reports(
                self._packed.pointers,
                self._room.pointers,
                first_seq,
                commands,
                events,
                at,
                n,
                0,
                -len(rows) if by_day else len(rows),
            )
            self.ends_block = at >= len(commands)
            if end:
                yield rows[:end]

    def make(self, first_seq: int, commands: Rows, events: Rows) -> Rows:
        """All reports of a block as one array of their own."""
        # As bytes: NumPy would pack rows whose places overlap.
        return joined([batch.view(REPORT_BYTES).copy() for batch in self.batches(first_seq, commands, events)])

    def observe(self, first_seq: int, commands: Rows, events: Rows, /) -> None:
        """Take a block; its reports go to ``on_reports``."""
        for batch in self.batches(first_seq, commands, events):
            self._on_reports(batch)

    def restated(self) -> Rows:
        """All open orders of users, by order number, as they stand: REPORT rows of kind RESTATED, with ``number`` 0.

        Nothing is taken off them. FIX says so of a good-till order with which another day begins (ExecType D,
        ExecRestatementReason 1).
        """
        orders = self.tables.orders[:-1]
        places = np.flatnonzero((orders["participant"] != 0) & (orders["user"] != 0))
        places = places[np.argsort(orders["order_number"][places], kind="stable")]
        room = Packed(new_room(len(places)))
        if len(places):
            restate_orders(self._packed.pointers, room.pointers, places)
        rows: Rows = room.arrays.rows
        return rows

    def image(self) -> dict[str, Rows]:
        """Image for ``restore``, between two blocks."""
        tables, venue = self.tables, self.tables.venue[0]
        places = np.flatnonzero(tables.orders["participant"][:-1])
        places = places[np.argsort(tables.orders["order_number"][places], kind="stable")]
        orders = tables.orders[places]
        return {
            "layout": _LAYOUT,
            "orders": orders,
            "terms": tables.terms[places[(orders["flags"] & HAS_TERMS) != 0]],
            "instruments": tables.instruments[: int(venue["instruments"]) + 1],
            "participants": tables.participants[: int(venue["participants"]) + 1],
            "users": tables.users[: int(venue["users"]) + 1],
            "venue": tables.venue,
            "carried": tables.carried[:1].view(np.uint8),
            "waiting": waiting_image(ring_of(tables)),
            "waiting due": tables.waiting_due[places_of(ring_of(tables))],
            "schedules": tables.schedules[: int(venue["schedules"])].view(np.int64),
        }

    def digest(self) -> bytes:
        """Digest (16 bytes) of the state: equal for the same commands, whatever the blocks and the capacity."""
        return part_digest(self.image())

    def restore(self, arrays: Mapping[str, Rows], seq: int, /) -> None:
        """Continue after command ``seq`` from an image, in a fresh or cleared fold.

        Raises ValueError for an image of another kind or command, or without room here; KeyError for an incomplete one.
        """
        if not np.array_equal(arrays["layout"], _LAYOUT):
            raise ValueError("it was written with other tables than this release has")
        tables, orders, terms = self.tables, arrays["orders"], arrays["terms"]
        with_terms = np.flatnonzero(orders["flags"] & HAS_TERMS)
        if (orders.dtype, terms.dtype, len(terms)) != (ORDER, TERMS, len(with_terms)):
            raise ValueError("its orders are damaged")
        if 2 * len(orders) > len(tables.orders):
            raise ValueError(f"it has {len(orders)} open orders, more than there is room for")
        for name in ("instruments", "participants", "users"):
            room = getattr(tables, name)
            if len(arrays[name]) > len(room):
                raise ValueError(f"it has {len(arrays[name]) - 1} {name}, more than there is room for")
            room[: len(arrays[name])] = arrays[name]
        tables.venue[:] = arrays["venue"]
        tables.carried[:1].view(np.uint8)[:] = arrays["carried"]
        restore_waiting(ring_of(tables), arrays["waiting"])
        tables.waiting_due[: len(arrays["waiting due"])] = arrays["waiting due"]
        tables.schedules.view(np.int64)[: len(arrays["schedules"])] = arrays["schedules"]
        if self.seq != seq:
            raise ValueError(f"it is of command {self.seq}, not of {seq}")
        places = np.zeros(len(orders), np.int64)
        insert_all(self._packed.pointers, np.ascontiguousarray(orders), places)
        tables.orders[places] = orders
        tables.terms[places[with_terms]] = terms

    def clear(self) -> None:
        """Reset to the state before the first command."""
        self._packed = Packed(new_tables(*self._sizes))

    def flush(self) -> None:
        """Nothing: reports have no files."""

    sync = flush
    close = flush


def compile_kernels() -> None:
    """Compile or load the kernels: that of the fold is the last."""
    fold = Reports(Capacity(1, 1, 1, 1), users_max=1, room_rows=EVENT_REPORTS_MAX)
    fold.restore(fold.image(), 0)
    restate_orders(fold.pointers[0], fold.pointers[1], np.zeros(0, np.int64))
    fold.make(1, np.zeros(1, COMMAND), np.zeros(0, EVENT))
