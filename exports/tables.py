"""Tables of an export: their columns, and the rows of a batch of events or reports as columns.

``events`` has all that an EVENT row has: ``event_rows`` gives the rows back, byte for byte. Numbers are int64: times in
ns since 1970, prices and money in 1/10000. Columns of words are text, "" for none.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.names import Directory
from engine.records import EVENT, Book, CommandKind, EventKind, Peg, Phase, Reason, Side, TimeInForce
from exports.words import code_keys, code_words, few_words, id_keys, id_words, name_keys, name_words
from reports.rows import REPORT_FIELDS, InBook, Liquidity, ReportKind

Columns = dict[str, NDArray[Any]]


class Table(NamedTuple):
    """Name of a table, and of its columns in order; those in ``text`` are words, all others int64."""

    name: str
    columns: tuple[str, ...]
    text: frozenset[str]


def _table(name: str, columns: str, text: str) -> Table:
    return Table(name, tuple(columns.split()), frozenset(text.split()))


EVENTS: Final = _table(
    "events",
    "seq time_ns kind symbol participant client_order_id contra_participant contra_client_order_id side price_e4 qty "
    "number reason phase",
    "kind symbol participant client_order_id contra_participant contra_client_order_id side reason phase",
)
TRADES: Final = _table(
    "trades",
    "trade_number seq time_ns symbol price_e4 qty aggressor_side buy_participant buy_client_order_id buy_order_number "
    "sell_participant sell_client_order_id sell_order_number",
    "symbol aggressor_side buy_participant buy_client_order_id sell_participant sell_client_order_id",
)
REPORTS: Final = _table(
    "reports",
    "seq number time_ns kind command order_number client_order_id previous_client_order_id symbol participant user "
    "side book time_in_force price_e4 stop_price_e4 peg offset_e4 qty leaves_qty displayed_qty rests cum_qty "
    "canceled_qty notional_e4 "
    "last_price_e4 last_qty trade_number contra_participant liquidity reason",
    "kind command client_order_id previous_client_order_id symbol participant user side book time_in_force peg "
    "contra_participant liquidity reason",
)
ORDERS: Final = _table(
    "orders",
    "order_number participant symbol side entry_client_order_id client_order_id entry_seq entry_time_ns end_seq "
    "end_time_ns price_e4 qty leaves_qty cum_qty canceled_qty notional_e4 end_reason",
    "participant symbol side entry_client_order_id client_order_id end_reason",
)
POSITIONS: Final = _table(
    "positions",
    "participant symbol position_qty open_buy_qty open_sell_qty",
    "participant symbol",
)
TABLES: Final = (EVENTS, TRADES, REPORTS, ORDERS, POSITIONS)


def event_columns(events: NDArray[Any], times_ns: NDArray[np.int64], names: Directory) -> Columns:
    """EVENT rows as columns. ``times_ns``: the clock at each."""
    return {
        "seq": events["seq"],
        "time_ns": times_ns,
        "kind": code_words(events["kind"], EventKind),
        "symbol": name_words(events["instrument"], names.symbols),
        "participant": name_words(events["participant"], names.participants),
        "client_order_id": id_words(events["client_order_id"]),
        "contra_participant": name_words(events["contra_participant"], names.participants),
        "contra_client_order_id": id_words(events["contra_client_order_id"]),
        "side": code_words(events["side"], Side),
        "price_e4": events["price_e4"],
        "qty": events["qty"],
        "number": events["order_number"],
        "reason": code_words(events["reason"], Reason),
        "phase": code_words(events["phase"], Phase),
    }


def event_rows(columns: Columns, names: Directory) -> NDArray[Any]:
    """EVENT rows out of the columns of ``events``. Raises ValueError or KeyError for words that are none."""
    rows = np.zeros(len(columns["seq"]), EVENT)
    for column, place in (("seq", "seq"), ("price_e4", "price_e4"), ("qty", "qty"), ("number", "order_number")):
        rows[place] = columns[column]
    for column, codes in (("kind", EventKind), ("side", Side), ("reason", Reason), ("phase", Phase)):
        rows[column] = code_keys(columns[column], codes)
    rows["instrument"] = name_keys(columns["symbol"], names.symbols)
    for place in ("participant", "contra_participant"):
        rows[place] = name_keys(columns[place], names.participants)
    for place in ("client_order_id", "contra_client_order_id"):
        rows[place] = id_keys(columns[place])
    return rows


def report_columns(reports: NDArray[Any]) -> Columns:
    """REPORT rows as columns; 0 or "" where a kind of report does not say it."""
    found: Columns = {
        "kind": code_words(reports["kind"], ReportKind),
        "command": code_words(_command_kinds(reports), CommandKind),
        "symbol": few_words(_place(reports, "symbol")),
        "participant": few_words(_place(reports, "participant_name")),
        "user": few_words(_place(reports, "user_name")),
        "contra_participant": few_words(_place(reports, "contra_name")),
        "side": code_words(_place(reports, "side"), Side),
        "book": _books(reports),
        "time_in_force": code_words(_times_in_force(reports), TimeInForce),
        "liquidity": code_words(_place(reports, "liquidity"), Liquidity),
        "reason": code_words(_place(reports, "reason"), Reason),
        "peg": code_words(_pegs(reports), Peg),
        "rests": (_place(reports, "in_book") & InBook.AFTER != 0).astype(np.int64),
    }
    for name in ("client_order_id", "previous_client_order_id"):
        found[name] = id_words(_place(reports, name))
    return {name: found[name] if name in found else _place(reports, name) for name in REPORTS.columns}


def trade_columns(reports: NDArray[Any]) -> Columns:
    """Trades out of REPORT rows: each has a report of its buy, which names both sides."""
    buys = (reports["kind"] == ReportKind.TRADE) & (reports["side"] == Side.BUY)
    rows = reports.view(f"V{reports.itemsize}")[buys].view(reports.dtype)
    liquidity = rows["liquidity"]
    sides = np.where(
        np.isin(liquidity, (Liquidity.REMOVED, Liquidity.MIDPOINT_REMOVED)),
        int(Side.BUY),
        np.where(np.isin(liquidity, (Liquidity.ADDED, Liquidity.MIDPOINT_ADDED)), int(Side.SELL), 0),
    )
    return {
        "trade_number": rows["trade_number"],
        "seq": rows["seq"],
        "time_ns": rows["time_ns"],
        "symbol": few_words(rows["symbol"]),
        "price_e4": rows["last_price_e4"],
        "qty": rows["last_qty"].astype(np.int64),
        "aggressor_side": code_words(sides, Side),
        "buy_participant": few_words(rows["participant_name"]),
        "buy_client_order_id": id_words(rows["client_order_id"]),
        "buy_order_number": rows["order_number"],
        "sell_participant": few_words(rows["contra_name"]),
        "sell_client_order_id": id_words(rows["contra_client_order_id"]),
        "sell_order_number": rows["contra_order_number"],
    }


def _place(reports: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Values of a place, 0 in the kinds that do not use it: they may have another there."""
    kinds = [int(kind) for kind, fields in REPORT_FIELDS.items() if name in fields]
    return np.where(np.isin(reports["kind"], kinds), reports[name].astype(np.int64), 0)


def _command_kinds(reports: NDArray[Any]) -> NDArray[np.int64]:
    """Kinds of the commands, 0 for what is none: a hostile row may have any."""
    return np.where(np.isin(reports["command_kind"], list(CommandKind)), reports["command_kind"].astype(np.int64), 0)


_BOOKS: Final = np.array(["", "lit", "midpoint"], object)


def _books(reports: NDArray[Any]) -> NDArray[Any]:
    """Books of orders as words, "" in a report of no order. A refused one may have any code: that is lit."""
    places = np.where(reports["kind"] < ReportKind.PHASE, 1 + (reports["book"] == Book.MIDPOINT), 0)
    found: NDArray[Any] = _BOOKS[places]
    return found


def _times_in_force(reports: NDArray[Any]) -> NDArray[np.int64]:
    """Times in force, 0 for what is none: a refused order may have any."""
    times = _place(reports, "time_in_force")
    return np.where(np.isin(times, list(TimeInForce)), times, 0)


def _pegs(reports: NDArray[Any]) -> NDArray[np.int64]:
    """References of pegs, 0 for what is none: a refused order may have any."""
    pegs = _place(reports, "peg")
    return np.where(np.isin(pegs, list(Peg)), pegs, 0)


_ORDER: Final = np.dtype(
    [(name, "<i8") for name in ("participant", "symbol", "side", "entry_id", "client_order_id", "entry_seq")]
    + [(name, "<i8") for name in ("entry_time_ns", "end_seq", "end_time_ns", "price_e4", "qty", "leaves_qty")]
    + [(name, "<i8") for name in ("cum_qty", "canceled_qty", "notional_e4", "end_reason")]
)
_AS_LAST: Final = ("client_order_id", "price_e4", "qty", "leaves_qty", "cum_qty", "canceled_qty", "notional_e4")
_ABOUT: Final = (ReportKind.REJECTED, ReportKind.CANCEL_REJECTED)


#: Orders that are made columns at once: words take ten times the room of numbers.
_ORDERS_AT_ONCE: Final = 131_072


class Orders:
    """One row an order, as its newest report leaves it, by order number."""

    def __init__(self) -> None:
        self._rows = np.zeros(1024, _ORDER)
        self._last = 0

    def take(self, reports: NDArray[Any]) -> None:
        """Take REPORT rows, in order."""
        about = (reports["kind"] < ReportKind.PHASE) & ~np.isin(reports["kind"], _ABOUT)
        rows = reports.view(f"V{reports.itemsize}")[about].view(reports.dtype)
        if not len(rows):
            return
        numbers = rows["order_number"]
        self._last = max(self._last, int(numbers.max()))
        while self._last >= len(self._rows):
            self._rows = np.concatenate((self._rows, np.zeros(len(self._rows), _ORDER)))
        new = rows["kind"] == ReportKind.NEW
        begins, born = numbers[new], self._rows
        born["participant"][begins] = rows["participant_name"][new]
        born["symbol"][begins] = rows["symbol"][new]
        born["side"][begins] = rows["side"][new]
        born["entry_id"][begins] = rows["client_order_id"][new]
        born["entry_seq"][begins] = rows["seq"][new]
        born["entry_time_ns"][begins] = rows["time_ns"][new]
        for name in _AS_LAST:  # the last of several reports of an order stands
            self._rows[name][numbers] = rows[name]
        ended = rows["leaves_qty"] == 0
        self._rows["end_seq"][numbers[ended]] = rows["seq"][ended]
        self._rows["end_time_ns"][numbers[ended]] = rows["time_ns"][ended]
        self._rows["end_reason"][numbers[ended]] = np.where(rows["kind"] == ReportKind.TRADE, 0, rows["reason"])[ended]

    def batches(self) -> Iterator[Columns]:
        """The table ``orders``, a part at a time; ``end_seq`` 0: still open, ``end_reason`` "": by a trade."""
        for first in range(1, self._last + 1, _ORDERS_AT_ONCE):
            yield self._columns(first, min(first + _ORDERS_AT_ONCE, self._last + 1))

    def _columns(self, first: int, end: int) -> Columns:
        rows = self._rows[first:end]
        found: Columns = {"order_number": np.arange(first, end)}
        found |= {name: rows[name] for name in ORDERS.columns if name in (rows.dtype.names or ())}
        found["participant"], found["symbol"] = few_words(rows["participant"]), few_words(rows["symbol"])
        found["client_order_id"] = id_words(rows["client_order_id"])
        found["entry_client_order_id"] = id_words(rows["entry_id"])
        found["side"], found["end_reason"] = code_words(rows["side"], Side), code_words(rows["end_reason"], Reason)
        return {name: found[name] for name in ORDERS.columns}


def position_columns(positions: NDArray[Any], names: Directory) -> Columns:
    """POSITION rows as columns."""
    return {
        "participant": name_words(positions["participant"], names.participants),
        "symbol": name_words(positions["instrument"], names.symbols),
        **{name: positions[name] for name in ("position_qty", "open_buy_qty", "open_sell_qty")},
    }
