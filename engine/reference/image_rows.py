"""Rows by part of an image of the compiled engine (``rows_by_part``), by named fields.

It follows the links of the arrays and trusts none: a number that leads nowhere makes rows that differ, and no error.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

import numpy as np

from engine.bounds import MEMORY_SECONDS, RATE_ORDERS_MAX
from engine.capacity import Capacity
from engine.form import ROW_WORDS
from engine.parts import Arrays, is_of_earlier_day, is_stale
from engine.records import Instruction, Phase
from engine.reference.rows_by_part import (
    ASIDE_COLUMNS,
    CONTINUATION_COLUMNS,
    ENDING_COLUMNS,
    INDEX_COLUMNS,
    INDICATIVE_COLUMNS,
    INSTRUMENT_COLUMNS,
    LIMIT_COLUMNS,
    MEMBER_COLUMNS,
    MIDPOINT_COLUMNS,
    ORDER_COLUMNS,
    PARTICIPANT_COLUMNS,
    PEG_COLUMNS,
    SCHEDULE_COLUMNS,
    STOP_COLUMNS,
    TRADE_SECOND_COLUMNS,
    VENUE_COLUMNS,
    WAITING_COLUMNS,
    Table,
    Tables,
    table,
)
from engine.state import (
    CONTINUED,
    ENTRY_TIME,
    EXPOSURE,
    ID,
    ID_LINE_ROWS,
    IN_MIDPOINT,
    LEVEL,
    LIMITS,
    TERMS,
    TRADE_SECOND,
    WAIT,
)

Rows = np.ndarray[Any, Any]

#: Bit of the slot in a row of ids: the id is of an earlier trading day.
_CARRIED: Final = 2**31
_ID_FIELDS: Final = ("participant", "client_order_id", "slot")
_STOP: Final = int(Instruction.STOP)
_HIDDEN: Final = int(Instruction.HIDDEN | Instruction.PEG)
_CALLS: Final = (Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION)


def image_rows(capacity: Capacity, parts: dict[str, Arrays], *, without: Collection[str] = ()) -> dict[str, Tables]:
    """Part name to table name to rows of ``StatefulEngine.parts``. Raises KeyError or ValueError where the parts are no
    whole image of this release.

    ``without``: of "ids" and "risk", those whose rows are not made: they are by far the most, and take some times their
    room to make.
    """
    venue, instruments = parts["venue"]["venue"], parts["reference"]["instruments"]
    orders, terms = parts["orders"]["orders"], _terms(parts["orders"])
    stops_e4 = _stops_e4(orders, terms, instruments)
    waits = int(venue["special"][0]) & CONTINUED
    in_call = np.isin(instruments["phase"], [int(phase) for phase in _CALLS])
    return {
        "venue": {
            "venue": np.hstack(
                [
                    _columns(venue, VENUE_COLUMNS[:-1]),
                    np.full((1, 1), waits),
                    _columns(venue, CONTINUATION_COLUMNS) * waits,
                ]
            )
        },
        "reference": {
            "instruments": np.hstack(
                [
                    _columns(instruments, INSTRUMENT_COLUMNS),
                    _columns(instruments, INDICATIVE_COLUMNS) * in_call[:, None],
                ]
            ),
            "participants": _columns(parts["reference"]["participants"], PARTICIPANT_COLUMNS),
            "trade_seconds": table(_trade_seconds(parts["reference"], instruments), len(TRADE_SECOND_COLUMNS)),
            "schedules": _columns(parts["reference"]["schedules"], SCHEDULE_COLUMNS),
            "indices": _columns(parts["reference"]["indices"], INDEX_COLUMNS),
            "members": _members(parts["reference"]["members"]),
        },
        "orders": {"orders": _orders(orders, stops_e4, terms, int(venue["id_day"][0]))},
        "ids": {"ids": _ids(parts["ids"], orders, int(venue["days"][0]))} if "ids" not in without else {},
        "books": _books(parts["books"], orders, stops_e4, terms)
        | {
            "midpoint": _midpoint(orders, parts["orders"]["times"]),
            "pegs": _pegs(parts["books"]["peg_books"], orders, terms),
            "ending": _ending(parts["reference"]["instruments"], orders, terms),
        },
        "risk": _risk(capacity, parts["risk"], parts["reference"]["participants"]) if "risk" not in without else {},
        "waiting": {"waiting": _waiting(parts["waiting"], int(venue["waiting"][0]), int(venue["waiting_first"][0]))},
        "events": {name: np.asarray(array) for name, array in parts["events"].items()},
    }


def _columns(rows: Rows, names: tuple[str, ...]) -> Table:
    return np.stack([rows[name].astype(np.int64) for name in names], axis=1).reshape(-1, len(names))


def _paged(arrays: Arrays, name: str, dtype: "np.dtype[Any]") -> tuple[Rows, Rows]:
    """Places and rows of the kept pages of a region."""
    places, pages = arrays[f"{name}_places"], np.ascontiguousarray(arrays[f"{name}_pages"])
    if not len(places):
        return np.zeros(0, np.int64), np.zeros(0, dtype)
    rows = pages.reshape(-1).view(dtype)
    of_page = len(rows) // len(places)
    return (places[:, None] * of_page + np.arange(of_page)).reshape(-1), rows


def _waiting(arrays: Arrays, count: int, first: int) -> Table:
    """Commands that wait for their effect, from the row of the ring on that is due first."""
    places, waits = _paged(arrays, "waits", WAIT)
    at, words = _paged(arrays, "waiting", np.dtype(np.int64))
    rows, of_row = words.reshape(-1, ROW_WORDS), (at // ROW_WORDS)[::ROW_WORDS]
    room = 1 + max(places.max(initial=-1), of_row.max(initial=-1), first)
    found = np.zeros((room, len(WAITING_COLUMNS)), np.int64)
    found[places, 0], found[places, 1] = waits["seq"], waits["due_ns"]
    found[of_row, 2:] = rows
    in_use = found[found[:, 0] != 0]
    ordered: Table = in_use[np.argsort(in_use[:, 0], kind="stable")][:count]
    return ordered


def _terms(arrays: Arrays) -> Rows:
    """Terms of the order in each slot; zeros for none."""
    places, rows = _paged(arrays, "terms", TERMS)
    terms = np.zeros(len(arrays["orders"]), TERMS)
    here = places < len(terms)
    terms[places[here]] = rows[here]
    return terms


def _members(members: Rows) -> Table:
    """Those that are there."""
    return _columns(members[(members["symbol"] != 0) | (members["weight"] != 0)], MEMBER_COLUMNS)


def _trade_seconds(arrays: Arrays, instruments: Rows) -> Iterator[tuple[int, ...]]:
    """Seconds that the rings of instruments remember, oldest first."""
    places, rows = _paged(arrays, "trade_seconds", TRADE_SECOND)
    at = dict(zip(places.tolist(), range(len(places)), strict=True))
    for number, row in enumerate(instruments, 1):
        if not row["volatility"]:
            continue
        for turn in range(min(int(row["memory_count"]), MEMORY_SECONDS)):
            place = at.get((number - 1) * MEMORY_SECONDS + (int(row["memory_first"]) + turn) % MEMORY_SECONDS)
            kept = (0, 0) if place is None else (int(rows["second"][place]), int(rows["price_e4"][place]))
            yield number, *kept


def _stops_e4(orders: Rows, terms: Rows, instruments: Rows) -> Rows:
    """Stop of the order in each slot; 0 for none."""
    ticks_e4 = np.concatenate([np.zeros(1, np.int64), instruments["tick_e4"]])
    stops: Rows = terms["stop_tick"] * ticks_e4[np.minimum(orders["instrument"].astype(np.int64), len(instruments))]
    return stops


def _orders(orders: Rows, stops_e4: Rows, terms: Rows, id_day: int) -> Table:
    slots = np.flatnonzero(orders["participant"])
    slots = slots[np.argsort(orders["order_number"][slots], kind="stable")]
    live = orders[slots]
    value_price_e4 = np.where(live["price_e4"] != 0, live["price_e4"], -live["tick"])
    further = _columns(terms[slots], ORDER_COLUMNS[-7:])
    carried = live["id_day"] != id_day
    return np.hstack(
        [
            _columns(live, ORDER_COLUMNS[:-10]),
            carried[:, None],
            value_price_e4[:, None],
            stops_e4[slots][:, None],
            further,
        ]
    )


def _ids(arrays: Arrays, orders: Rows, days: int) -> Table:
    places, rows = _paged(arrays, "ids", ID)
    used = rows["participant"] != 0
    # What is of the day before counts only where an open order bears it.
    table = _columns(rows[used], _ID_FIELDS)
    table[is_stale(arrays["stale_lines"], places[used] // ID_LINE_ROWS), 2] |= _CARRIED
    old = _columns(arrays["old_id_tree"][1:], _ID_FIELDS)
    old[:, 2] |= _CARRIED
    tree = _columns(arrays["id_tree"][1:], _ID_FIELDS)
    tree[is_of_earlier_day(arrays["id_tree"][1:], days), 2] |= _CARRIED
    every = np.concatenate([table, tree, old])
    found = _orders_at(orders, every[:, 2] % _CARRIED)
    bears = (found["participant"] == every[:, 0]) & (found["client_order_id"] == every[:, 1])
    carried = every[:, 2] >= _CARRIED
    number = np.where(bears, found["order_number"], 0)
    found_ids: Table = np.stack([every[:, 0], every[:, 1], number, carried.astype(np.int64)], axis=1)[bears | ~carried]
    ids: Table = found_ids[np.lexsort((found_ids[:, 1], found_ids[:, 0]))]
    return ids


def _orders_at(orders: Rows, slots: Rows) -> Rows:
    """The order in each slot; the empty one of slot 0 where there is no such slot."""
    found: Rows = orders[np.where(slots < len(orders), slots, 0)]
    return found


def _books(arrays: Arrays, orders: Rows, stops_e4: Rows, terms: Rows) -> Tables:
    _, window = _paged(arrays, "window", LEVEL)
    further = (arrays[name].view(LEVEL) for name in ("market_levels", "between_levels", "far_levels"))
    levels = np.concatenate([window.view(LEVEL), *further])
    levels = levels[levels["head"] != 0]
    first = _orders_at(orders, levels["head"].astype(np.int64)).copy()
    of_pegs = first["instructions"] & Instruction.PEG != 0
    first["price_e4"][of_pegs] = _orders_at(terms, levels["head"].astype(np.int64))["peg_e4"][of_pegs]
    lit = first["instructions"] & IN_MIDPOINT == 0
    levels, first = levels[lit], first[lit]
    dormant = first["instructions"] & _STOP != 0
    of_stops, levels, first = levels[dormant], levels[~dormant], first[~dormant]
    side, price_e4 = first["side"].astype(np.int64), first["price_e4"]
    hidden = (first["instructions"] & _HIDDEN != 0).astype(np.int64)
    # A better price has a lower rank; market orders, of price 0, come before all others.
    rank = np.where(price_e4 == 0, np.iinfo(np.int64).min, -side * price_e4)
    places = np.stack([first["instrument"].astype(np.int64), side, price_e4, hidden], axis=1).reshape(-1, 4)
    by_trade = np.lexsort((hidden, rank, -side, places[:, 0]))
    places, levels = places[by_trade], levels[by_trade]
    books = arrays["books"]
    numbers = np.arange(len(books))
    return {
        "levels": np.hstack([places, levels["qty"][:, None]]),
        "queues": table(_queues(places, levels, orders), 5),
        "stops": _stops(of_stops, orders, stops_e4),
        "aside": _aside(books, orders),
        "best": np.stack(
            [numbers // 2 + 1, 1 - 2 * (numbers % 2), books["best_tick"], books["hidden_tick"]], axis=1
        ).reshape(-1, 4),
    }


def _midpoint(orders: Rows, times: Rows) -> Table:
    """Orders of midpoint books by instrument, buys before sells, by time."""
    slots = np.flatnonzero((orders["participant"] != 0) & (orders["instructions"] & IN_MIDPOINT != 0))
    found = orders[slots]
    by_time = np.lexsort((times[slots], -found["side"].astype(np.int64), found["instrument"]))
    return _columns(found[by_time], MIDPOINT_COLUMNS)


def _pegs(books: Rows, orders: Rows, terms: Rows) -> Table:
    """The lists of pegs: three of each side, by reference."""

    def found() -> Iterator[tuple[int, ...]]:
        behind, numbers = terms["after"].tolist(), orders["order_number"].tolist()
        left = len(orders)
        for at in np.flatnonzero(books["head"]).tolist():
            side, slot = at // 3, int(books["head"][at])
            while 0 < slot < len(numbers) and left:
                yield side // 2 + 1, 1 - 2 * (side % 2), at % 3 + 1, int(books["price_e4"][at]), numbers[slot]
                slot, left = behind[slot], left - 1

    return table(found(), len(PEG_COLUMNS))


def _ending(instruments: Rows, orders: Rows, terms: Rows) -> Table:
    """The lists of orders that end at an uncross, each in order of acceptance."""

    def found() -> Iterator[tuple[int, ...]]:
        behind, numbers = terms["after"].tolist(), orders["order_number"].tolist()
        left = len(orders)
        for at in np.flatnonzero(instruments["ending_first"]).tolist():
            slot, listed = int(instruments["ending_first"][at]), []
            while 0 < slot < len(numbers) and left:
                listed.append(numbers[slot])
                slot, left = behind[slot], left - 1
            for number in sorted(listed):
                yield at + 1, number

    return table(found(), len(ENDING_COLUMNS))


def _aside(books: Rows, orders: Rows) -> Table:
    """Closing orders in the queues of the sides of books that keep them aside."""
    numbers = np.flatnonzero(books["head"])
    places = np.stack([numbers // 2 + 1, 1 - 2 * (numbers % 2)], axis=1).reshape(-1, 2)
    return table(_queues(places, books[numbers], orders), len(ASIDE_COLUMNS))


def _stops(levels: Rows, orders: Rows, stops_e4: Rows) -> Table:
    heads = levels["head"].astype(np.int64)
    first = _orders_at(orders, heads)
    side, stop_e4 = first["side"].astype(np.int64), stops_e4[np.where(heads < len(orders), heads, 0)]
    places = np.stack([first["instrument"].astype(np.int64), side, stop_e4], axis=1).reshape(-1, 3)
    by_election = np.lexsort((side * stop_e4, -side, places[:, 0]))
    return table(_queues(places[by_election], levels[by_election], orders), len(STOP_COLUMNS))


def _queues(places: Table, levels: Rows, orders: Rows) -> Iterator[tuple[int, ...]]:
    behind, numbers = orders["next"].tolist(), orders["order_number"].tolist()
    left = len(orders)
    for place, head in zip(places.tolist(), levels["head"].tolist(), strict=True):
        slot = head
        while 0 < slot < len(numbers) and left:
            yield (*place, numbers[slot])
            slot, left = behind[slot], left - 1


def _risk(capacity: Capacity, arrays: Arrays, participants: Rows) -> Tables:
    exposures = _pairs(
        capacity, arrays, "exposures", EXPOSURE, ("position_qty", "open_buy_qty", "open_sell_qty", "limits")
    )
    return {
        "exposures": exposures,
        "limits": _pairs(capacity, arrays, "limits", LIMITS, LIMIT_COLUMNS),
        "entries": table(_entries(arrays, participants), 2),
    }


def _pairs(capacity: Capacity, arrays: Arrays, name: str, dtype: "np.dtype[Any]", columns: tuple[str, ...]) -> Table:
    """Rows of participants with instruments in which a number is not 0."""
    places, rows = _paged(arrays, name, dtype)
    numbers = _columns(rows, columns)
    used = numbers.any(axis=1)
    stride = capacity.instruments_max + 1
    return np.hstack([(places // stride)[used, None], (places % stride)[used, None], numbers[used]])


def _entries(arrays: Arrays, participants: Rows) -> Iterator[tuple[int, int]]:
    """Times of the newest entries, each as often as there were entries at it.

    The ring of a participant has, for each time, how many entries were made before.
    """
    places, rows = _paged(arrays, "entry_times", ENTRY_TIME)
    rings = np.zeros(len(participants) * RATE_ORDERS_MAX, ENTRY_TIME)
    here = places < len(rings)
    rings[places[here]] = rows[here]
    for number, row in enumerate(participants, 1):
        newest = int(row["entry_time_count"])
        ring = rings[(number - 1) * RATE_ORDERS_MAX : number * RATE_ORDERS_MAX]
        times = ring[np.arange(max(newest + 1 - RATE_ORDERS_MAX, 0), newest + 1) % RATE_ORDERS_MAX]
        counts = np.clip(np.diff(times["entries"], append=int(row["entries"])), 0, RATE_ORDERS_MAX)
        for time_ns in np.repeat(times["time_ns"], counts)[-RATE_ORDERS_MAX:].tolist():
            yield number, time_ns
