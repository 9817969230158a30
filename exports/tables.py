"""Tables of an export: their columns, and the rows of a batch of events or reports as columns.

``events`` has all that an EVENT row has: ``event_rows`` gives the rows back, byte for byte. Every column is int64:
times in ns since 1970, prices and money in 1/10000, and of words the numbers that their vocabulary knows, 0 for none.
The forms of an export write words in their place.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.names import Directory
from engine.records import EVENT, Book, CommandKind, EventKind, Peg, Phase, Reason, Side, TimeInForce
from exports.words import CodeWords, IdWords, Vocabulary, name_keys, name_numbers
from reports.rows import REPORT_FIELDS, InBook, Liquidity, ReportKind

Columns = dict[str, NDArray[np.int64]]


class BookWord(IntEnum):
    """Book of an order in a report, 0 in a report of no order."""

    LIT = 1
    MIDPOINT = 2


_NAMES: Final = IdWords(few=True)
_IDS: Final = IdWords(few=False)
_VOCABULARIES: Final[dict[str, Vocabulary]] = {
    **dict.fromkeys(("symbol", "participant", "contra_participant", "user"), _NAMES),
    **dict.fromkeys(("buy_participant", "sell_participant"), _NAMES),
    **dict.fromkeys(("client_order_id", "contra_client_order_id", "previous_client_order_id"), _IDS),
    **dict.fromkeys(("entry_client_order_id", "buy_client_order_id", "sell_client_order_id"), _IDS),
    "side": CodeWords(Side),
    "aggressor_side": CodeWords(Side),
    "reason": CodeWords(Reason),
    "end_reason": CodeWords(Reason),
    "phase": CodeWords(Phase),
    "command": CodeWords(CommandKind),
    "book": CodeWords(BookWord),
    "time_in_force": CodeWords(TimeInForce),
    "peg": CodeWords(Peg),
    "liquidity": CodeWords(Liquidity),
}


class Table(NamedTuple):
    """Name of a table, and of its columns in order; those in ``text`` are words, by their vocabularies."""

    name: str
    columns: tuple[str, ...]
    text: Mapping[str, Vocabulary]


def _table(name: str, columns: str, kinds: type[IntEnum] | None = None) -> Table:
    """A table; ``kinds``: codes of its column ``kind``."""
    known = _VOCABULARIES if kinds is None else {**_VOCABULARIES, "kind": CodeWords(kinds)}
    each = tuple(columns.split())
    return Table(name, each, {column: known[column] for column in each if column in known})


EVENTS: Final = _table(
    "events",
    "seq time_ns kind symbol participant client_order_id contra_participant contra_client_order_id side price_e4 qty "
    "number reason phase",
    EventKind,
)
TRADES: Final = _table(
    "trades",
    "trade_number seq time_ns symbol price_e4 qty aggressor_side buy_participant buy_client_order_id buy_order_number "
    "sell_participant sell_client_order_id sell_order_number",
)
REPORTS: Final = _table(
    "reports",
    "seq number time_ns kind command order_number client_order_id previous_client_order_id symbol participant user "
    "side book time_in_force price_e4 stop_price_e4 peg offset_e4 qty leaves_qty displayed_qty rests cum_qty "
    "canceled_qty notional_e4 "
    "last_price_e4 last_qty trade_number contra_participant liquidity reason",
    ReportKind,
)
ORDERS: Final = _table(
    "orders",
    "order_number participant symbol side entry_client_order_id client_order_id entry_seq entry_time_ns end_seq "
    "end_time_ns price_e4 qty leaves_qty cum_qty canceled_qty notional_e4 end_reason",
)
POSITIONS: Final = _table(
    "positions",
    "participant symbol position_qty open_buy_qty open_sell_qty",
)
TABLES: Final = (EVENTS, TRADES, REPORTS, ORDERS, POSITIONS)


def event_columns(events: NDArray[Any], times_ns: NDArray[np.int64], names: Directory) -> Columns:
    """EVENT rows as columns. ``times_ns``: the clock at each."""
    found = {name: events[place].astype(np.int64) for name, place in _EVENT_PLACES.items()}
    found["time_ns"] = np.asarray(times_ns, np.int64)
    found["symbol"] = name_keys(events["instrument"], names.symbols)
    found["participant"] = name_keys(events["participant"], names.participants)
    found["contra_participant"] = name_keys(events["contra_participant"], names.participants)
    return {name: found[name] for name in EVENTS.columns}


def event_rows(columns: Columns, names: Directory) -> NDArray[Any]:
    """EVENT rows out of the columns of ``events``. Raises KeyError for names that are none."""
    rows = np.zeros(len(columns["seq"]), EVENT)
    for column, place in _EVENT_PLACES.items():
        rows[place] = columns[column]
    rows["instrument"] = name_numbers(columns["symbol"], names.symbols)
    for place in ("participant", "contra_participant"):
        rows[place] = name_numbers(columns[place], names.participants)
    return rows


def report_columns(reports: NDArray[Any]) -> Columns:
    """REPORT rows as columns; 0 where a kind of report does not say it."""
    kinds = np.ascontiguousarray(reports["kind"])
    found: Columns = {
        "kind": kinds.astype(np.int64),
        "command": _known(reports["command_kind"], CommandKind),
        "participant": _place(reports, kinds, "participant_name"),
        "user": _place(reports, kinds, "user_name"),
        "contra_participant": _place(reports, kinds, "contra_name"),
        # A refused order may have any code of a book: that is lit.
        "book": np.where(kinds < ReportKind.PHASE, 1 + (reports["book"] == Book.MIDPOINT), 0),
        "time_in_force": _known(_place(reports, kinds, "time_in_force"), TimeInForce),
        "peg": _known(_place(reports, kinds, "peg"), Peg),
        "rests": (_place(reports, kinds, "in_book") & InBook.AFTER != 0).astype(np.int64),
    }
    return {name: found[name] if name in found else _place(reports, kinds, name) for name in REPORTS.columns}


def trade_columns(reports: NDArray[Any]) -> Columns:
    """Trades out of REPORT rows: each has a report of its buy, which names both sides."""
    buys = (reports["kind"] == ReportKind.TRADE) & (reports["side"] == Side.BUY)
    rows = reports.view(f"V{reports.itemsize}")[buys].view(reports.dtype)
    found = {name: rows[place].astype(np.int64) for name, place in _TRADE_PLACES.items()}
    liquidity = rows["liquidity"]
    found["aggressor_side"] = np.where(
        np.isin(liquidity, (Liquidity.REMOVED, Liquidity.MIDPOINT_REMOVED)),
        int(Side.BUY),
        np.where(np.isin(liquidity, (Liquidity.ADDED, Liquidity.MIDPOINT_ADDED)), int(Side.SELL), 0),
    )
    return {name: found[name] for name in TRADES.columns}


#: Columns of ``events``, and the places of an EVENT row that they are, but for time and names.
_EVENT_PLACES: Final = {
    **{name: name for name in EVENTS.columns if name in (EVENT.names or ()) and "participant" not in name},
    "number": "order_number",
}
#: Columns of ``trades``, and the places of the report of the buy that they are.
_TRADE_PLACES: Final = {
    **{name: name for name in ("trade_number", "seq", "time_ns", "symbol")},
    "price_e4": "last_price_e4",
    "qty": "last_qty",
    "buy_participant": "participant_name",
    "buy_client_order_id": "client_order_id",
    "buy_order_number": "order_number",
    "sell_participant": "contra_name",
    "sell_client_order_id": "contra_client_order_id",
    "sell_order_number": "contra_order_number",
}


@cache
def _uses(name: str) -> NDArray[np.bool_]:
    """True for each kind of report that uses a place."""
    found = np.zeros(256, np.bool_)
    found[[int(kind) for kind, fields in REPORT_FIELDS.items() if name in fields]] = True
    return found


def _place(reports: NDArray[Any], kinds: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Values of a place, 0 in the kinds that do not use it: they may have another there."""
    found: NDArray[np.int64] = reports[name].astype(np.int64)
    uses = _uses(name)[kinds]
    if not uses.all():
        found[~uses] = 0
    return found


def _known(values: NDArray[Any], codes: type[IntEnum]) -> NDArray[np.int64]:
    """Codes, 0 for what is none: a hostile row may have any."""
    numbers = np.asarray(values, np.int64)
    is_code = np.zeros(256, np.bool_)
    is_code[[int(code) for code in codes]] = True
    return np.where((numbers >= 0) & (numbers < 256) & is_code[numbers & 255], numbers, 0)


#: Columns of ``orders`` by the report that they are of: the first, each newest, and the one that ends the order.
_FIRST: Final = {
    "participant": "participant_name",
    "symbol": "symbol",
    "side": "side",
    "entry_client_order_id": "client_order_id",
    "entry_seq": "seq",
    "entry_time_ns": "time_ns",
}
_NEWEST: Final = ("client_order_id", "price_e4", "qty", "leaves_qty", "cum_qty", "canceled_qty", "notional_e4")
_LAST: Final = ("end_seq", "end_time_ns", "end_reason")
_ABOUT: Final = (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED)


#: Orders that are made columns at once: words take ten times the room of numbers.
_ORDERS_AT_ONCE: Final = 131_072


class Orders:
    """One row an order, as its newest report leaves it, by order number."""

    def __init__(self) -> None:
        self._last = 0
        self._first_of, self._newest_of, self._last_of = (
            np.zeros((1024, len(names)), np.int64) for names in (_FIRST, _NEWEST, _LAST)
        )

    def take(self, reports: NDArray[Any]) -> None:
        """Take REPORT rows, in order."""
        about = (reports["kind"] < ReportKind.PHASE) & ~np.isin(reports["kind"], _ABOUT)
        rows = reports.view(f"V{reports.itemsize}")[about].view(reports.dtype)
        if not len(rows):
            return
        numbers = rows["order_number"].astype(np.int64)
        self._make_room(int(numbers.max()))
        new = np.flatnonzero(rows["kind"] == ReportKind.NEW)
        self._first_of[numbers[new]] = _table_of([rows[place][new] for place in _FIRST.values()])
        # The last of several reports of an order stands: it comes first in the reverse.
        newest = len(numbers) - 1 - np.unique(numbers[::-1], return_index=True)[1]
        self._newest_of[numbers[newest]] = _table_of([rows[name][newest] for name in _NEWEST])
        ended = np.flatnonzero(rows["leaves_qty"] == 0)
        reasons = np.where(rows["kind"] == ReportKind.TRADE, 0, rows["reason"])
        self._last_of[numbers[ended]] = _table_of([each[ended] for each in (rows["seq"], rows["time_ns"], reasons)])

    def _make_room(self, last: int) -> None:
        """Room up to order ``last``, a quarter more each time: a day's orders are most of the memory of an export."""
        self._last = max(self._last, last)
        rows = len(self._first_of)
        while rows <= self._last:
            rows += rows // 4
        if rows > len(self._first_of):
            for each in (self._first_of, self._newest_of, self._last_of):
                each.resize((rows, each.shape[1]), refcheck=False)

    def batches(self) -> Iterator[Columns]:
        """The table ``orders``, a part at a time; ``end_seq`` 0: still open, ``end_reason`` 0: by a trade."""
        for first in range(1, self._last + 1, _ORDERS_AT_ONCE):
            end = min(first + _ORDERS_AT_ONCE, self._last + 1)
            found: Columns = {"order_number": np.arange(first, end)}
            for names, held in ((_FIRST, self._first_of), (_NEWEST, self._newest_of), (_LAST, self._last_of)):
                found |= {name: np.ascontiguousarray(held[first:end, at]) for at, name in enumerate(names)}
            yield {name: found[name] for name in ORDERS.columns}


def _table_of(columns: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Columns side by side."""
    found = np.empty((len(columns[0]), len(columns)), np.int64)
    for at, values in enumerate(columns):
        found[:, at] = values
    return found


def position_columns(positions: NDArray[Any], names: Directory) -> Columns:
    """POSITION rows as columns."""
    return {
        "participant": name_keys(positions["participant"], names.participants),
        "symbol": name_keys(positions["instrument"], names.symbols),
        **{name: positions[name].astype(np.int64) for name in ("position_qty", "open_buy_qty", "open_sell_qty")},
    }
