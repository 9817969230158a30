"""Columns of reports, and the tables that are made of them: ``reports``, ``trades`` and ``orders``."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.records import Book, CommandKind, Peg, Side, TimeInForce
from exports.row_columns import put_columns, put_orders
from exports.tables import ORDERS, REPORTS, TRADES, BookWord, Columns
from reports.projection import read_only
from reports.rows import REPORT_BYTES, REPORT_FIELDS, REPORT_PLACE, InBook, Liquidity, ReportKind

#: Rows that are made columns at once: as many as a group of Parquet has.
ROWS_AT_ONCE: Final = 131_072
#: Places behind each column in the array that all are in: an odd number of lines of a cache.
APART: Final = 8 * 9

#: Kinds about an order that leave it as it was.
_REFUSALS: Final = (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED)
#: Columns beside those of ``reports``, for the other tables: the kind of what changes an order, else 0; the other side.
_BESIDE: Final = ("order_kind", "contra_client_order_id", "contra_order_number")
_COLUMNS: Final = (*REPORTS.columns, *_BESIDE)
#: Rows of the array that the columns are in. The last is room for what ``exports.once`` finds.
IN_ARRAY: Final = (*_COLUMNS, "entered_ago")
#: Places of a REPORT row with another name than their column.
_PLACES: Final = {
    "command": "command_kind",
    "participant": "participant_name",
    "user": "user_name",
    "contra_participant": "contra_name",
    "rests": "in_book",
    "order_kind": "kind",
}


def _known(codes: type[IntEnum]) -> list[int]:
    """The codes of a byte, with or without a sign, 0 for what is none: a hostile row may have any."""
    known = {int(code) & 255: int(code) for code in codes}
    return [known.get(number, 0) for number in range(256)]


_CODES: Final = {
    "side": _known(Side),
    "command": _known(CommandKind),
    "time_in_force": _known(TimeInForce),
    "peg": _known(Peg),
    # A refused order may have any code of a book: that is lit.
    "book": [int(BookWord.MIDPOINT if number == Book.MIDPOINT else BookWord.LIT) for number in range(256)],
    "rests": [int(number & InBook.AFTER != 0) for number in range(256)],
    "order_kind": [number if number < ReportKind.PHASE and number not in _REFUSALS else 0 for number in range(256)],
}


def _place(column: str) -> list[int]:
    """Facts of the place of a column, for ``put_columns``."""
    dtype, offset = REPORT_PLACE[_PLACES.get(column, column)]
    assert column not in _CODES or dtype.itemsize == 1, "codes are of one byte"
    bits, below = 8 * dtype.itemsize, 8 * (offset % 8)
    table = list(_CODES).index(column) if column in _CODES else -1
    return [offset // 8, 64 - below - bits, 64 - bits, int(dtype.kind == "i"), table]


def _uses(column: str) -> NDArray[np.bool_]:
    """True for each kind of report that uses the place of a column: the others may have another there."""
    kinds = np.arange(256)
    if column in ("kind", "order_kind"):
        return kinds >= 0
    if column == "book":
        return kinds < ReportKind.PHASE
    name = _PLACES.get(column, column)
    return np.isin(kinds, [int(kind) for kind, fields in REPORT_FIELDS.items() if name in fields])


_ALL_PLACES: Final = read_only(np.array([_place(column) for column in _COLUMNS], np.int64))
_ALL_USES: Final = read_only(np.array([_uses(column) for column in _COLUMNS]))
_ALL_CODES: Final = read_only(np.array(list(_CODES.values()), np.int64))
_KIND: Final = _COLUMNS.index("kind")


class ReportColumns:
    """REPORT rows as columns, ``rows_max`` at a time: those of ``reports`` and those beside them, as int64.

    0 stands where a kind of report does not say it.
    """

    def __init__(self, rows_max: int = ROWS_AT_ONCE) -> None:
        self._rows_max = rows_max
        self._free: list[NDArray[np.int64]] = []
        self._held = self._new()
        self._n = 0

    def _new(self) -> NDArray[np.int64]:
        if self._free:
            return self._free.pop()
        # Columns a power of two apart would take each other's places in the near caches.
        return np.empty((len(IN_ARRAY), self._rows_max + APART), np.int64)

    def use_again(self, columns: Columns) -> None:
        """Take back columns that nobody reads any more: first touches of memory for the next would take longer."""
        table = columns["seq"].base
        assert table is not None, "columns are those of one table"
        self._free.append(table)

    def take(self, reports: NDArray[Any]) -> Iterator[Columns]:
        """Take REPORT rows, in order; gives the columns that are full."""
        words = read_only(np.ascontiguousarray(reports.view(REPORT_BYTES)).view(np.int64).reshape(len(reports), -1))
        while len(words):
            here = words[: self._rows_max - self._n]
            put_columns(here, _ALL_PLACES, _KIND, _ALL_USES, _ALL_CODES, self._held, self._n)
            self._n += len(here)
            words = words[len(here) :]
            if self._n == self._rows_max:
                yield from self.rest()

    def rest(self) -> Iterator[Columns]:
        """Give the columns of the rows that are left, if there are any."""
        if self._n:
            columns = {name: self._held[place, : self._n] for place, name in enumerate(_COLUMNS)}
            self._held, self._n = self._new(), 0
            yield columns


def trade_columns(columns: Columns) -> Columns:
    """Trades out of ``ReportColumns``: each has a report of its buy, which names both sides."""
    buys = np.flatnonzero((columns["kind"] == ReportKind.TRADE) & (columns["side"] == Side.BUY))
    found = {name: columns[_TRADE_PLACES.get(name, name)][buys] for name in TRADES.columns if name != "aggressor_side"}
    found["aggressor_side"] = _AGGRESSORS[columns["liquidity"][buys]]
    return {name: found[name] for name in TRADES.columns}


#: Columns of ``trades``, and those of the report of the buy that they are, where the name is another.
_TRADE_PLACES: Final = {
    "price_e4": "last_price_e4",
    "qty": "last_qty",
    "buy_participant": "participant",
    "buy_client_order_id": "client_order_id",
    "buy_order_number": "order_number",
    "sell_participant": "contra_participant",
    "sell_client_order_id": "contra_client_order_id",
    "sell_order_number": "contra_order_number",
}


#: Side of the aggressor by the liquidity of the buy.
_AGGRESSORS: Final = np.zeros(256, np.int64)
_AGGRESSORS[[Liquidity.REMOVED, Liquidity.MIDPOINT_REMOVED]] = Side.BUY
_AGGRESSORS[[Liquidity.ADDED, Liquidity.MIDPOINT_ADDED]] = Side.SELL

#: Columns of ``orders`` by the report that they are of: the first, each newest, and the one that ends the order.
_FIRST: Final = {
    "participant": "participant",
    "symbol": "symbol",
    "user": "user",
    "side": "side",
    "book": "book",
    "time_in_force": "time_in_force",
    "entry_client_order_id": "client_order_id",
    "entry_price_e4": "price_e4",
    "entry_qty": "qty",
    "entry_seq": "seq",
    "entry_time_ns": "time_ns",
}
_NEWEST: Final = ("client_order_id", "price_e4", "qty", "leaves_qty", "cum_qty", "canceled_qty", "notional_e4")
_LAST: Final = {"end_seq": "seq", "end_time_ns": "time_ns", "end_reason": "reason"}


def _numbers(columns: Any) -> NDArray[np.int64]:
    return read_only(np.array([_COLUMNS.index(name) for name in columns], np.int64))


_ROWS_OF: Final = (_numbers(_FIRST.values()), _numbers(_NEWEST), _numbers(_LAST.values()))
_ABOUT: Final = read_only(
    np.append(
        _numbers(("order_kind", "order_number", "leaves_qty")),
        [int(ReportKind.NEW), int(ReportKind.TRADE), list(_FIRST).index("entry_seq")],
    )
)


class Orders:
    """One row an order, as its newest report leaves it, up to the one that ends it, by order number."""

    def __init__(self) -> None:
        self._last = 0
        #: int64[orders and more, facts of its report of entry], by order number; 0 for an order that has none.
        self.first_of, self.newest_of, self.last_of = (
            np.zeros((1024, len(names)), np.int64) for names in (_FIRST, _NEWEST, _LAST)
        )
        #: int32[orders and more, 2]: numbers of the events of entry and end that the order's row says (`exports.once`).
        self.numbers_of = np.zeros((1024, 2), np.int32)

    def take(self, columns: Columns) -> None:
        """Take columns of ``ReportColumns``, in order."""
        numbers = columns["order_number"][columns["order_kind"] != 0]
        if not len(numbers):
            return
        self._make_room(int(numbers.max()))
        table = columns["seq"].base
        assert table is not None, "columns are those of one table"
        held = (self.first_of, self.newest_of, self.last_of)
        put_orders(table, len(columns["seq"]), _ABOUT, *_ROWS_OF, *held)

    def _make_room(self, last: int) -> None:
        """Room up to order ``last`` and one more, a sixteenth more each time: a day's orders are most of the memory of
        an export."""
        self._last = max(self._last, last)
        rows = len(self.first_of)
        while rows <= self._last + 1:
            rows += rows // 16
        if rows > len(self.first_of):
            for each in (self.first_of, self.newest_of, self.last_of, self.numbers_of):
                each.resize((rows, each.shape[1]), refcheck=False)

    def batches(self) -> Iterator[Columns]:
        """The table ``orders``, a part at a time; ``end_seq`` 0: still open, ``end_reason`` 0: by a trade.

        ``entry_number`` and ``end_number`` are beside it, 0 for none.
        """
        for first in range(1, self._last + 1, ROWS_AT_ONCE):
            end = min(first + ROWS_AT_ONCE, self._last + 1)
            found: Columns = {"order_number": np.arange(first, end)}
            for names, held in ((_FIRST, self.first_of), (_NEWEST, self.newest_of), (_LAST, self.last_of)):
                found |= {name: np.ascontiguousarray(held[first:end, at]) for at, name in enumerate(names)}
            for at, name in enumerate(("entry_number", "end_number")):
                found[name] = self.numbers_of[first:end, at].astype(np.int64)
            yield {name: found[name] for name in (*ORDERS.columns, "entry_number", "end_number")}
