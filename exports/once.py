"""Tables that say each fact once, as Parquet has them; ``exports.whole`` has views that say all again.

The row of an order says its entry and its end, and the row of a trade its event:

- ``orders``: ``entry_number`` is the number of the event ``accepted``, ``end_number`` that of the event ``canceled`` by
  which the order ended. Such an event and its report stand in no other table. Without a value they stand there.
- ``trades``: ``event_number`` is that of the trade's event in the same way. Its two reports are in ``reports``.

A column that has no value in a row is said elsewhere:

- ``orders``: ``client_order_id``, ``price_e4`` and ``qty`` are those of the entry; ``end_time_ns`` is the time of the
  entry; ``canceled_qty`` is ``qty - leaves_qty - cum_qty``; ``notional_e4`` is ``cum_qty * price_e4``.
- ``reports`` and ``events`` of an order: ``entered_ago`` is the number of commands since the one that entered it, and
  the order of that ``entry_seq`` says the number of the order and the other columns (first those of its entry). An
  order that was entered together with others is not referred to: its rows say all.
- ``reports``: ``canceled_qty`` is ``qty - cum_qty`` of a canceled, expired or done_for_day report, else 0;
  ``leaves_qty`` is ``qty - cum_qty - canceled_qty``; ``displayed_qty`` is ``rests * leaves_qty``; ``notional_e4`` is
  ``cum_qty`` times ``last_price_e4`` of a trade, else times ``price_e4``; ``last_price_e4``, ``last_qty`` and
  ``contra_participant`` are those of the trade; ``trade_number`` is 0.

``positions`` is whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.records import EventKind
from exports.once_rows import (
    AT_LEFT,
    EVENT_FACTS,
    REPORT_FACTS,
    SAID_FACTS,
    TRADE_FACTS,
    fill_events,
    leave_events,
    leave_reports,
    mark_events,
    mark_reports,
    merge_events,
    offer_reports,
)
from exports.reported import APART, IN_ARRAY, Orders
from exports.tables import EVENTS, ORDERS, REPORTS, TRADES, Columns, Table, near_slices, table_of
from reports.rows import ReportKind

#: Columns that each row may leave to another table.
_REPORT_PARTIAL: Final = frozenset(
    {
        *("entered_ago", "order_number", "participant", "symbol", "user", "side", "book", "time_in_force"),
        *("client_order_id", "price_e4", "qty", "leaves_qty", "displayed_qty", "canceled_qty", "notional_e4"),
        *("last_price_e4", "last_qty", "contra_participant", "trade_number"),
    }
)
_EVENT_PARTIAL: Final = frozenset(
    {"entered_ago", "symbol", "participant", "client_order_id", "side", "price_e4", "qty", "number"}
)
#: Columns of ``orders`` that say that an event stands nowhere else.
_SAYS: Final = ("entry_number", "end_number")
_ORDER_PARTIAL: Final = frozenset(
    {"client_order_id", "price_e4", "qty", "end_time_ns", "canceled_qty", "notional_e4", *_SAYS}
)


def _with_ago(table: Table) -> str:
    """Columns of a table of rows about orders, with the way to the order behind the kind."""
    return " ".join(table.columns).replace(" kind ", " kind entered_ago ", 1)


EVENTS_ONCE: Final = table_of("events", _with_ago(EVENTS), EventKind, _EVENT_PARTIAL)
REPORTS_ONCE: Final = table_of("reports", _with_ago(REPORTS), ReportKind, _REPORT_PARTIAL)
ORDERS_ONCE: Final = table_of("orders", " ".join((*ORDERS.columns, *_SAYS)), None, _ORDER_PARTIAL)
TRADES_ONCE: Final = table_of("trades", " ".join((*TRADES.columns, "event_number")), None, frozenset({"event_number"}))
#: Each table that is another one where each fact is said once.
ONCE: Final[Mapping[str, Table]] = {
    table.name: table for table in (EVENTS_ONCE, REPORTS_ONCE, ORDERS_ONCE, TRADES_ONCE)
}


def _places(names: tuple[str, ...], table: tuple[str, ...]) -> NDArray[np.int64]:
    found = np.array([table.index(name) for name in names], np.int64)
    found.flags.writeable = False
    return found


_EVENT_AT: Final = _places(EVENT_FACTS, EVENTS_ONCE.columns)
_REPORT_AT: Final = _places(REPORT_FACTS, IN_ARRAY)
_NO_TRADES: Final = np.zeros((0, len(TRADE_FACTS)), np.int64)
#: Events that are made again at once.
_ROWS_AT_ONCE: Final = 65_536


def trade_rows(trades: list[Columns]) -> NDArray[np.int64]:
    """Trades as rows for kernels, int64[n, TRADE_FACTS]; ``event_number`` is 0 where they have none."""
    n = sum(len(each["seq"]) for each in trades)
    if not n:
        return _NO_TRADES
    rows = np.zeros((n, len(TRADE_FACTS)), np.int64)
    for at, name in enumerate(TRADE_FACTS):
        if name in trades[0]:
            rows[:, at] = np.concatenate([np.ma.getdata(each[name]) for each in trades])
    return rows


def trades_once(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    """Columns of ``trades`` with the numbers of their events, by their ``rows`` as ``events_once`` leaves them."""
    numbers = rows[:, TRADE_FACTS.index("event_number")].copy()
    return {**columns, "event_number": np.ma.array(numbers, mask=numbers == 0)}


def _as_columns(table: Table, values: NDArray[np.int64], missing: NDArray[np.uint8], names: tuple[str, ...]) -> Columns:
    """Rows of ``values`` as columns of a table, masked where a value is missing."""
    found: Columns = {}
    for name in table.columns:
        at = names.index(name)
        found[name] = np.ma.array(values[at], mask=missing[at].view(np.bool_)) if name in table.partial else values[at]
    return found


def offer(columns: Columns, orders: Orders) -> None:
    """Note in ``orders`` which of these reports its rows say. ``columns``: of ``ReportColumns``, which it took."""
    held = (orders.first_of, orders.newest_of, orders.last_of, orders.numbers_of)
    offer_reports(_array_of(columns), len(columns["seq"]), _REPORT_AT, *held)


def _array_of(columns: Columns) -> NDArray[np.int64]:
    values = columns["seq"].base
    assert values is not None, "columns are those of one table"
    return values


def room_of_events(n: int) -> NDArray[np.int64]:
    """Memory for ``events_once``."""
    return np.zeros((len(EVENTS_ONCE.columns), n + APART), np.int64)


def events_once(
    columns: list[Columns], orders: Orders, trades: NDArray[np.int64], room: NDArray[np.int64] | None = None
) -> Columns:
    """Columns of ``events``, whole commands, without those that rows of ``orders`` and ``trades`` say, and with each
    fact once. ``orders`` was offered their reports; ``trades`` are those of these events, and get their numbers.
    ``room``: memory that is used again from call to call."""
    n = sum(len(each["seq"]) for each in columns)
    if room is None or room.shape[1] <= n:
        room = room_of_events(n)
    values = room[:, :n]
    for at, name in enumerate(EVENTS_ONCE.columns):
        if name in EVENTS.columns:
            np.concatenate([each[name] for each in columns], out=values[at])
    kept = np.ones(n, np.bool_)
    held = (orders.first_of, orders.newest_of, orders.last_of)
    leave_events(values, _EVENT_AT, *held, trades, orders.numbers_of, kept)
    values = values[:, np.flatnonzero(kept)]
    missing = np.zeros(values.shape, np.uint8)
    mark_events(values, _EVENT_AT, orders.first_of, missing)
    return _as_columns(EVENTS_ONCE, values, missing, EVENTS_ONCE.columns)


def reports_once(columns: Columns, orders: Orders, trades: NDArray[np.int64]) -> Columns:
    """Columns of ``ReportColumns`` as ``reports``, without those that rows of ``orders`` say, and with each fact once.

    It comes behind ``events_once``. ``trades``: those that they are of.
    """
    n, values = len(columns["seq"]), _array_of(columns)
    kept = np.ones(n, np.bool_)
    leave_reports(values, n, _REPORT_AT, orders.first_of, orders.last_of, orders.numbers_of, kept)
    values = values[:, np.flatnonzero(kept)]
    missing = np.zeros(values.shape, np.uint8)
    mark_reports(values, values.shape[1], _REPORT_AT, orders.first_of, trades, missing)
    return _as_columns(REPORTS_ONCE, values, missing, IN_ARRAY)


def orders_once(columns: Columns) -> Columns:
    """Columns of ``orders`` so that each fact is said once."""
    c = columns
    said = {
        "client_order_id": c["entry_client_order_id"],
        "price_e4": c["entry_price_e4"],
        "qty": c["entry_qty"],
        "end_time_ns": c["entry_time_ns"],
        "canceled_qty": c["qty"] - c["leaves_qty"] - c["cum_qty"],
        "notional_e4": c["cum_qty"] * c["price_e4"],
    }
    found: Columns = dict(columns)
    for name, elsewhere in said.items():
        is_missing = columns[name] == elsewhere
        found[name] = np.ma.array(np.where(is_missing, 0, columns[name]), mask=is_missing)
    for name in _SAYS:
        found[name] = np.ma.array(columns[name], mask=columns[name] == 0)
    return found


def said_rows(table: Table, columns: Columns) -> dict[str, int]:
    """Rows of other tables, by their names, that rows of ``orders`` or ``trades`` say."""
    if table.name == ORDERS.name:
        rows = sum(int(np.count_nonzero(np.ma.getdata(columns[name]))) for name in _SAYS)
        return {EVENTS.name: rows, REPORTS.name: rows}
    if table.name == TRADES.name:
        return {EVENTS.name: int(np.count_nonzero(np.ma.getdata(columns["event_number"])))}
    return {}


class Facts:
    """Orders and trades that were read, by which events say all again."""

    def __init__(self, rows: Mapping[str, int], last_seq: int) -> None:
        """``rows``: of each table, by the manifest. ``last_seq``: the last command that may have entered an order."""
        orders = rows.get(ORDERS.name, 0) + 2
        self._first_of = np.zeros((orders, len(SAID_FACTS)), np.int64)
        self._numbers_of = np.zeros((orders, 2), np.int32)
        self._last_entry_seq = 0
        self._order_of = np.zeros(last_seq + 1, np.int32)
        self._end_of = np.zeros(last_seq + 1, np.int32)
        self._trades: list[NDArray[np.int64]] = []
        self._orders = 0

    def add(self, table: Table, columns: Columns) -> None:
        """Take rows of ``orders`` or ``trades``, in order; of another table nothing. Raises ValueError for others than
        were written."""
        if table.name == ORDERS.name:
            self._add_orders(columns)
        elif table.name == TRADES.name:
            self._trades.append(trade_rows([columns]))

    def _add_orders(self, columns: Columns) -> None:
        first, c = self._orders + 1, columns
        numbers = np.arange(first, first + len(c["order_number"]))
        entry_seqs, end_seqs = c["entry_seq"], np.where(np.ma.getdata(c["end_number"]) != 0, c["end_seq"], 0)
        wrong = (entry_seqs < 0) | (entry_seqs >= len(self._order_of))
        wrong |= (end_seqs < 0) | (end_seqs >= len(self._end_of)) | (c["order_number"] != numbers)
        if numbers[-1:] >= len(self._first_of) - 1 or wrong.any():
            raise ValueError("the table orders has other orders than were written")
        self._orders += len(numbers)
        qty = _else(c["qty"], c["entry_qty"])
        said = {**c, "canceled_qty": _else(c["canceled_qty"], qty - c["leaves_qty"] - c["cum_qty"])}
        for near in near_slices(len(numbers)):
            rows = self._first_of[first + near.start : first + near.stop]
            for at, name in enumerate(SAID_FACTS):
                rows[:, at] = said[name][near]
        for at, name in enumerate(_SAYS):
            self._numbers_of[first : first + len(numbers), at] = np.ma.getdata(c[name])
        self._end_of[end_seqs] = numbers
        self._order_of[entry_seqs] = numbers
        before = np.concatenate(([self._last_entry_seq], entry_seqs[:-1]))
        self._order_of[entry_seqs[entry_seqs == before]] = 0  # entered with another one: neither is referred to
        self._last_entry_seq = int(entry_seqs[-1]) if len(entry_seqs) else self._last_entry_seq

    def events(self, left: Iterable[Columns]) -> Iterator[Columns]:
        """All events, in order, by those that are ``left``, without their times. Raises ValueError for what refers to
        nothing or is in another order."""
        self._order_of[0] = self._end_of[0] = 0
        trades = np.concatenate(self._trades) if self._trades else _NO_TRADES
        self._trades.clear()
        places = np.array([1, 1, 0, 0])
        for columns in left:
            yield from self._merged(self._filled(columns), trades, places, is_last=False)
        yield from self._merged(np.zeros((len(EVENTS_ONCE.columns), 0), np.int64), trades, places, is_last=True)

    def _filled(self, columns: Columns) -> NDArray[np.int64]:
        """Rows of the table ``events`` that say all of themselves."""
        names = EVENTS_ONCE.columns
        values = np.stack([np.ma.getdata(columns[name]) for name in names])
        missing = np.zeros(values.shape, np.uint8)
        for at, name in enumerate(names):
            if name in EVENTS_ONCE.partial:
                missing[at] = np.ma.getmaskarray(columns[name])
        wrong = fill_events(values, _EVENT_AT, self._order_of, self._first_of, missing)
        if wrong >= 0:
            raise ValueError(
                f"the event of command {values[names.index('seq'), wrong]} refers to nothing that is there"
            )
        return values

    def _merged(
        self, left: NDArray[np.int64], trades: NDArray[np.int64], places: NDArray[np.int64], *, is_last: bool
    ) -> Iterator[Columns]:
        facts = (self._order_of, self._end_of, self._numbers_of, self._first_of, trades)
        places[AT_LEFT] = 0
        while True:
            found = np.empty((len(EVENTS_ONCE.columns), _ROWS_AT_ONCE + APART), np.int64)[:, :_ROWS_AT_ONCE]
            n = merge_events(places, left, is_last, _EVENT_AT, *facts, found)
            if n < 0 or (n < _ROWS_AT_ONCE and places[AT_LEFT] < left.shape[1]):
                raise ValueError(f"the events of a command from {places[0]} on are not in the order of their numbers")
            yield {name: found[at, :n] for at, name in enumerate(EVENTS_ONCE.columns) if name in EVENTS.columns}
            if n < _ROWS_AT_ONCE:
                return


def _else(column: NDArray[np.int64], otherwise: NDArray[np.int64]) -> NDArray[np.int64]:
    """A column, with other values where it has none."""
    return np.where(np.ma.getmaskarray(column), otherwise, np.ma.getdata(column))
