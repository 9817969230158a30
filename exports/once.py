"""Tables that say each fact once, as Parquet has them; ``exports.whole`` has views that say all again.

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
- ``events`` of a trade have its number alone. The order that rested, and in an uncross the buy, is named first.

``trades`` and ``positions`` are whole.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.records import EventKind
from exports.once_rows import (
    EVENT_FACTS,
    REPORT_FACTS,
    SAID_FACTS,
    TRADE_FACTS,
    fill_events,
    mark_events,
    mark_reports,
)
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
    {
        *("entered_ago", "symbol", "participant", "client_order_id", "contra_participant", "contra_client_order_id"),
        *("side", "price_e4", "qty", "number"),
    }
)
_ORDER_PARTIAL: Final = frozenset({"client_order_id", "price_e4", "qty", "end_time_ns", "canceled_qty", "notional_e4"})


def _with_ago(table: Table) -> str:
    """Columns of a table of rows about orders, with the way to the order behind the kind."""
    return " ".join(table.columns).replace(" kind ", " kind entered_ago ", 1)


EVENTS_ONCE: Final = table_of("events", _with_ago(EVENTS), EventKind, _EVENT_PARTIAL)
REPORTS_ONCE: Final = table_of("reports", _with_ago(REPORTS), ReportKind, _REPORT_PARTIAL)
ORDERS_ONCE: Final = table_of("orders", " ".join(ORDERS.columns), None, _ORDER_PARTIAL)
#: Each table that is another one where each fact is said once.
ONCE: Final[Mapping[str, Table]] = {table.name: table for table in (EVENTS_ONCE, REPORTS_ONCE, ORDERS_ONCE)}


def _places(names: tuple[str, ...], table: tuple[str, ...]) -> NDArray[np.int64]:
    found = np.array([table.index(name) for name in names], np.int64)
    found.flags.writeable = False
    return found


_EVENT_AT: Final = _places(EVENT_FACTS, EVENTS_ONCE.columns)
_NO_TRADES: Final = np.zeros((0, len(TRADE_FACTS)), np.int64)


def trade_rows(trades: list[Columns]) -> NDArray[np.int64]:
    """Trades as rows for kernels, int64[n, TRADE_FACTS]."""
    if not trades:
        return _NO_TRADES
    return np.stack([np.concatenate([each[name] for each in trades]) for name in TRADE_FACTS], axis=1)


def _as_columns(table: Table, values: NDArray[np.int64], missing: NDArray[np.uint8], names: tuple[str, ...]) -> Columns:
    """Rows of ``values`` as columns of a table, masked where a value is missing."""
    found: Columns = {}
    for name in table.columns:
        at = names.index(name)
        found[name] = np.ma.array(values[at], mask=missing[at].view(np.bool_)) if name in table.partial else values[at]
    return found


def reports_once(
    columns: Columns, names: tuple[str, ...], first_of: NDArray[np.int64], trades: NDArray[np.int64]
) -> Columns:
    """Columns of ``ReportColumns`` as ``reports`` that says each fact once. They are changed where they are.

    names: of the rows of the array that they are in. first_of: entries of all their orders. trades: those they are of.
    """
    n, values = len(columns["seq"]), columns["seq"].base
    assert values is not None, "columns are those of one table"
    missing = np.zeros(values.shape, np.uint8)
    mark_reports(values, n, _places(REPORT_FACTS, names), first_of, trades, missing)
    return _as_columns(REPORTS_ONCE, values[:, :n], missing[:, :n], names)


def events_once(columns: list[Columns], first_of: NDArray[np.int64], trades: NDArray[np.int64]) -> Columns:
    """Columns of ``events`` so that each fact is said once."""
    n = sum(len(each["seq"]) for each in columns)
    values = np.zeros((len(EVENTS_ONCE.columns), n), np.int64)
    for at, name in enumerate(EVENTS_ONCE.columns):
        if name in EVENTS.columns:
            np.concatenate([each[name] for each in columns], out=values[at])
    missing = np.zeros(values.shape, np.uint8)
    mark_events(values, _EVENT_AT, first_of, trades, missing)
    return _as_columns(EVENTS_ONCE, values, missing, EVENTS_ONCE.columns)


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
    return found


class Facts:
    """Entries of orders and trades that were read, by which events say all again."""

    def __init__(self, rows: Mapping[str, int], last_seq: int) -> None:
        """``rows``: of each table, by the manifest. ``last_seq``: the last command that may have entered an order."""
        self._first_of = np.zeros((rows.get(ORDERS.name, 0) + 2, len(SAID_FACTS)), np.int64)
        self._last_entry_seq = 0
        self._order_of = np.zeros(last_seq + 1, np.int32)
        self._trades: list[Columns] = []
        self._trade_rows: NDArray[np.int64] | None = None
        self._orders = 0

    def add(self, table: Table, columns: Columns) -> None:
        """Take rows of ``orders`` or ``trades``, in order; of another table nothing. Raises ValueError for others than
        were written."""
        if table.name == ORDERS.name:
            self._add_orders(columns)
        elif table.name == TRADES.name:
            self._trades.append({name: columns[name] for name in TRADE_FACTS})

    def _add_orders(self, columns: Columns) -> None:
        first = self._orders + 1
        numbers = np.arange(first, first + len(columns["order_number"]))
        entry_seqs = columns["entry_seq"]
        wrong = (entry_seqs < 0) | (entry_seqs >= len(self._order_of))
        if numbers[-1:] >= len(self._first_of) - 1 or (columns["order_number"] != numbers).any() or wrong.any():
            raise ValueError("the table orders has other orders than were written")
        self._orders += len(numbers)
        facts = [np.ma.getdata(columns[name]) for name in SAID_FACTS]
        for near in near_slices(len(numbers)):
            rows = self._first_of[first + near.start : first + near.stop]
            for at, each in enumerate(facts):
                rows[:, at] = each[near]
        self._order_of[entry_seqs] = numbers
        before = np.concatenate(([self._last_entry_seq], entry_seqs[:-1]))
        self._order_of[entry_seqs[entry_seqs == before]] = 0  # entered with another one: neither is referred to
        self._last_entry_seq = int(entry_seqs[-1]) if len(entry_seqs) else self._last_entry_seq

    def events(self, columns: Columns) -> Columns:
        """Columns of ``events`` that say all. Raises ValueError for one that refers to nothing."""
        if self._trade_rows is None:
            self._trade_rows = trade_rows(self._trades)
            self._trades.clear()
        names = EVENTS_ONCE.columns
        values = np.stack([np.ma.getdata(columns[name]) for name in names])
        missing = np.zeros(values.shape, np.uint8)
        for at, name in enumerate(names):
            if name in EVENTS_ONCE.partial:
                missing[at] = np.ma.getmaskarray(columns[name])
        wrong = fill_events(values, _EVENT_AT, self._order_of, self._first_of, self._trade_rows, missing)
        if wrong >= 0:
            raise ValueError(
                f"the event of command {values[names.index('seq'), wrong]} refers to nothing that is there"
            )
        return {name: values[names.index(name)] for name in EVENTS.columns}
