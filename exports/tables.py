"""Tables of an export: their columns, and the rows of a batch of events as columns.

``events`` has all that an EVENT row has: ``event_rows`` gives the rows back, byte for byte. ``event_number`` is that of
the event among those of its command, from 1: seq and it are the order of the rows. Every column is int64:
times in ns since 1970, prices and money in 1/10000, and of words the numbers that their vocabulary knows, 0 for none.
The forms of an export write words in their place.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.names import Directory
from engine.records import EVENT, CommandKind, EventKind, Peg, Phase, Reason, Side, TimeInForce
from exports.columns import COLUMNS
from exports.words import CodeWords, IdWords, Vocabulary, name_keys, name_numbers
from reports.rows import Liquidity, ReportKind

Columns = dict[str, NDArray[np.int64]]

_NEAR_ROWS: Final = 4_096


class Came(IntEnum):
    """Protocol by which the user of an order sent a command, 0 where no user did."""

    OUCH = 1
    NATIVE = 2
    FIX = 3


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
    "came_by": CodeWords(Came),
    "capacity": _NAMES,
}


class Table(NamedTuple):
    """Name of a table, and of its columns in order; those in ``text`` are words, by their vocabularies.

    Those in ``partial`` have no value in some rows: they are masked arrays, with 0 where a value is missing.
    """

    name: str
    columns: tuple[str, ...]
    text: Mapping[str, Vocabulary]
    partial: frozenset[str] = frozenset()


def table_of(
    name: str, columns: str, kinds: type[IntEnum] | None = None, partial: frozenset[str] = frozenset()
) -> Table:
    """A table; ``kinds``: codes of its column ``kind``."""
    known = _VOCABULARIES if kinds is None else {**_VOCABULARIES, "kind": CodeWords(kinds)}
    each = tuple(columns.split())
    return Table(name, each, {column: known[column] for column in each if column in known}, partial)


EVENTS: Final = table_of("events", COLUMNS["events"], EventKind)
TRADES: Final = table_of("trades", COLUMNS["trades"])
REPORTS: Final = table_of("reports", COLUMNS["reports"], ReportKind)
ORDERS: Final = table_of("orders", COLUMNS["orders"])
POSITIONS: Final = table_of("positions", COLUMNS["positions"])
#: Levels of the books at times; only where they are asked for.
SNAPSHOTS: Final = table_of("snapshots", COLUMNS["snapshots"])
#: Facts of an audit trail beside each report; only in an export for PostgreSQL.
AUDIT: Final = table_of("audit", COLUMNS["audit"])
TABLES: Final = (EVENTS, TRADES, REPORTS, ORDERS, POSITIONS)


def event_columns(events: NDArray[Any], times_ns: NDArray[np.int64], names: Directory) -> Columns:
    """EVENT rows of whole commands as columns. ``times_ns``: the clock at each."""
    found = {name: events[place].astype(np.int64) for name, place in _EVENT_PLACES.items()}
    found["event_number"] = _numbers_within(found["seq"])
    found["time_ns"] = np.asarray(times_ns, np.int64)
    found["symbol"] = name_keys(events["instrument"], names.symbols)
    found["participant"] = name_keys(events["participant"], names.participants)
    found["contra_participant"] = name_keys(events["contra_participant"], names.participants)
    return {name: found[name] for name in EVENTS.columns}


def _numbers_within(seqs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of each event among those of its command, from 1."""
    places = np.arange(len(seqs))
    firsts = np.where(np.diff(seqs, prepend=-1) != 0, places, 0)
    return places - np.maximum.accumulate(firsts) + 1


def event_rows(columns: Columns, names: Directory) -> NDArray[Any]:
    """EVENT rows out of the columns of ``events``. Raises KeyError for names that are none."""
    of_place = {place: columns[column] for column, place in _EVENT_PLACES.items()}
    of_place["instrument"] = name_numbers(columns["symbol"], names.symbols)
    for place in ("participant", "contra_participant"):
        of_place[place] = name_numbers(columns[place], names.participants)
    rows = np.zeros(len(columns["seq"]), EVENT)
    for near in near_slices(len(rows)):
        those = rows[near]
        for place, values in of_place.items():
            those[place] = values[near]
    return rows


def near_slices(n: int) -> Iterator[slice]:
    """Slices of ``n`` rows that stay in a near cache while their places are written one after the other."""
    return (slice(begin, min(begin + _NEAR_ROWS, n)) for begin in range(0, n, _NEAR_ROWS))


#: Columns of ``events``, and the places of an EVENT row that they are, but for time and names.
_EVENT_PLACES: Final = {
    **{name: name for name in EVENTS.columns if name in (EVENT.names or ()) and "participant" not in name},
    "number": "order_number",
}


def position_columns(positions: NDArray[Any], names: Directory) -> Columns:
    """POSITION rows as columns."""
    return {
        "participant": name_keys(positions["participant"], names.participants),
        "symbol": name_keys(positions["instrument"], names.symbols),
        **{name: positions[name].astype(np.int64) for name in ("position_qty", "open_buy_qty", "open_sell_qty")},
    }
