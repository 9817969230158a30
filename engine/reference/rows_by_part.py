"""Rows that both engines have for the same state: part, table and numbers, without slots, free lists and trees.

The parts are those of the compiled engine (``engine.parts``), so that a difference between the two engines is named as
one between two compiled engines is. ``venue_rows`` makes the rows from this engine, ``image_rows`` from the arrays of
the compiled one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from engine.digest import part_digest

Table = np.ndarray[Any, Any]
Tables = dict[str, Table]

#: Parts in the order of comparison: ids and books name orders, participants count their orders and ids, and the venue
#: counts what waits.
PARTS: Final = ("waiting", "venue", "orders", "ids", "reference", "books", "risk", "events")
#: Numbers of the one row of the venue. Those of the continuation are 0 while none waits.
VENUE_COLUMNS: Final = (
    "now_ns", "trading_day", "seq", "epoch", "last_order_number", "last_trade_number", "orders_open", "orders_max",
    "ids_used", "ids_max", "instruments", "instruments_max", "participants", "participants_max", "calls", "pending",
    "slices", "expiries", "pegs", "indices", "gathered", "gathered_name",
    "timers_first", "timers_last", "day_start_ns", "speed_bump_ns", "waiting", "continued",
)  # fmt: skip
CONTINUATION_COLUMNS: Final = tuple(f"continuation_{place}" for place in (0, 8, 16, 24, 32, 40))
INSTRUMENT_COLUMNS: Final = (
    "symbol", "tick_e4", "lot", "reference_e4", "last_trade_e4", "phase", "adv_qty", "due_ns", "timer_before",
    "timer_after", "touched", "band", "cancel_on_halt", "midpoint", "volatility", "volatility_window_s",
    "volatility_halt_ns", "memory_base_e4",
)  # fmt: skip
#: Of the last indicative event of a call; 0 outside of calls.
INDICATIVE_COLUMNS: Final = ("indicative_e4", "paired_qty", "imbalance_qty")
#: Of instruments with a breaker, oldest first.
TRADE_SECOND_COLUMNS: Final = ("instrument", "second", "price_e4")
#: In order of definition.
INDEX_COLUMNS: Final = (
    "name", "opening_e4", "members", "reached", "level_1_bps", "level_1_ns", "level_2_bps", "level_2_ns", "level_3_bps",
    "level_3_ns",
)  # fmt: skip
#: Those that wait for their index, then those of each index. ``instrument`` 0: it waits.
MEMBER_COLUMNS: Final = ("symbol", "weight", "instrument")
#: In order of time. ``instrument`` 0: each.
SCHEDULE_COLUMNS: Final = ("due_ns", "instrument", "phase")
PARTICIPANT_COLUMNS: Final = (
    "name", "group", "group_name", "permissions", "killed", "orders_open", "open_notional_e4", "ids_used",
    "limits_count", "entered_ns",
)  # fmt: skip
#: In order of acceptance. ``value_price_e4``: the limit; of an order without, its stop or the reference price at its
#: entry. ``stop_e4``: of a dormant order. ``shown_qty``: of an iceberg, as all three.
ORDER_COLUMNS: Final = (
    "order_number", "client_order_id", "price_e4", "qty", "leaves_qty", "cum_qty", "participant", "instrument",
    "instructions", "side", "time_in_force", "self_trade", "carried", "value_price_e4", "stop_e4",
    "display_qty", "shown_qty", "slices", "until_ns", "peg", "offset_e4", "peg_e4",
)  # fmt: skip
#: In order of participant and id. ``order_number``: of the open order, 0 for none.
ID_COLUMNS: Final = ("participant", "client_order_id", "order_number", "carried")
#: In order of instrument, buys before sells, the best price first, displayed before hidden orders and pegs.
#: Price 0: market orders.
LEVEL_COLUMNS: Final = ("instrument", "side", "price_e4", "hidden", "leaves_qty")
QUEUE_COLUMNS: Final = ("instrument", "side", "price_e4", "hidden", "order_number")
#: Dormant orders in order of instrument, buys before sells, in the order of their election.
STOP_COLUMNS: Final = ("instrument", "side", "stop_e4", "order_number")
#: Orders of midpoint books in order of instrument, buys before sells, by time.
MIDPOINT_COLUMNS: Final = ("instrument", "side", "price_e4", "order_number")
#: Closing orders that are kept aside in order of instrument, buys before sells, by time.
ASIDE_COLUMNS: Final = ("instrument", "side", "order_number")
#: Opening and closing orders with a limit in the book in order of instrument, then of acceptance.
ENDING_COLUMNS: Final = ("instrument", "order_number")
#: Pegs in order of instrument, buys before sells, by reference, in order of acceptance; with the price of it by which
#: they are priced.
PEG_COLUMNS: Final = ("instrument", "side", "peg", "reference_e4", "order_number")
BEST_COLUMNS: Final = ("instrument", "side", "best_tick", "hidden_tick")
#: Rows in which any number is not 0, in order of participant and instrument.
EXPOSURE_COLUMNS: Final = ("participant", "instrument", "position_qty", "open_buy_qty", "open_sell_qty", "limits")
LIMIT_COLUMNS: Final = (
    "limits", "max_order_qty", "max_order_value_e4", "rate_orders", "rate_window_ns", "max_position_qty", "credit_e4",
    "margin_bps", "adv_share_bps", "max_open_orders", "max_ids",
)  # fmt: skip
LIMIT_COLUMNS_OF_PAIRS: Final = ("participant", "instrument", *LIMIT_COLUMNS)
#: The newest entries that an order rate counts, oldest first.
ENTRY_COLUMNS: Final = ("participant", "time_ns")
#: Commands that wait for their effect, in their order, with the words of their rows.
WAITING_COLUMNS: Final = ("seq", "due_ns", *(f"word_{number}" for number in range(8)))
#: Columns of each table; those of the events are arrays of another kind.
TABLE_COLUMNS: Final = {
    "venue": VENUE_COLUMNS + CONTINUATION_COLUMNS,
    "instruments": INSTRUMENT_COLUMNS + INDICATIVE_COLUMNS,
    "participants": PARTICIPANT_COLUMNS,
    "trade_seconds": TRADE_SECOND_COLUMNS,
    "schedules": SCHEDULE_COLUMNS,
    "indices": INDEX_COLUMNS,
    "members": MEMBER_COLUMNS,
    "orders": ORDER_COLUMNS,
    "ids": ID_COLUMNS,
    "levels": LEVEL_COLUMNS,
    "queues": QUEUE_COLUMNS,
    "stops": STOP_COLUMNS,
    "midpoint": MIDPOINT_COLUMNS,
    "aside": ASIDE_COLUMNS,
    "ending": ENDING_COLUMNS,
    "pegs": PEG_COLUMNS,
    "best": BEST_COLUMNS,
    "exposures": EXPOSURE_COLUMNS,
    "limits": LIMIT_COLUMNS_OF_PAIRS,
    "entries": ENTRY_COLUMNS,
    "waiting": WAITING_COLUMNS,
}


def with_names(parts: Mapping[str, Tables]) -> dict[str, Tables]:
    """The rows of each table as records of int64 with the names of its columns."""
    return {part: {name: _named(name, rows) for name, rows in tables.items()} for part, tables in parts.items()}


def _named(name: str, rows: Table) -> Table:
    columns = TABLE_COLUMNS.get(name)
    if columns is None:
        return rows
    kind = np.dtype([(column, "<i8") for column in columns])
    named: Table = np.ascontiguousarray(rows, np.int64).view(kind).reshape(-1)
    return named


def table(rows: Iterable[Iterable[int]], columns: int) -> Table:
    """Rows of numbers as an int64 array of shape (rows, columns)."""
    return np.array([tuple(row) for row in rows], np.int64).reshape(-1, columns)


class RowDifference(NamedTuple):
    """First part in which two states differ, and its digests on both sides."""

    part: str
    a: bytes
    b: bytes


def first_difference(a: Mapping[str, Tables], b: Mapping[str, Tables]) -> RowDifference | None:
    """First part that differs, None for none. A part comes before those whose rows are made from it."""
    for part in PARTS:
        digests = part_digest(a[part]), part_digest(b[part])
        if digests[0] != digests[1]:
            return RowDifference(part, *digests)
    return None
