"""Kernels that follow REPORT rows: the level that each changes, and the quotes that each command changes.

A report says where its order stands afterwards and what the book shows of it; what was shown before is in the table of
displayed orders. Hidden orders, dormant stops and the midpoint book show nothing, so they are in no ladder.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, wrapping_multiply
from marketdata.ladder_tables import LadderTables, unpack_tables
from marketdata.ladder_tree import (
    PRICE_BITS,
    find_or_add,
    first_key,
    instrument_of,
    key_of,
    level_from,
    price_of,
    remove,
    side_of,
)
from reports.rows import InBook, ReportKind

_AFTER: Final = int(InBook.AFTER)
_MIX: Final = np.int64(-7046029254386353131)
_REJECTED: Final = int(ReportKind.REJECTED)
_CANCEL_REJECTED: Final = int(ReportKind.CANCEL_REJECTED)
_LAST_OF_ORDERS: Final = int(ReportKind.REPRICED)
_PHASE: Final = int(ReportKind.PHASE)
_HALTED: Final = int(ReportKind.HALTED)


@inlined
def _home(tables: LadderTables, order_number):
    mixed = lshr(wrapping_multiply(order_number >> 6, _MIX), 20)
    return (mixed + (order_number & 63)) & (len(tables.shown) - 1)


@inlined
def _find(tables: LadderTables, order_number):
    """Place of a displayed order, or of the free row where it would be."""
    mask = len(tables.shown) - 1
    place = _home(tables, order_number)
    for _ in range(len(tables.shown)):
        there = tables.shown[place]["order_number"]
        if there in (0, order_number):
            break
        place = (place + 1) & mask
    return place


@inlined
def _forget(tables: LadderTables, place):
    """Free a row, and move up the rows behind it that could not be found otherwise."""
    mask = len(tables.shown) - 1
    free = place
    for step in range(1, len(tables.shown)):
        at = (place + step) & mask
        number = tables.shown[at]["order_number"]
        if number == 0:
            break
        if ((at - _home(tables, number)) & mask) >= ((at - free) & mask):
            tables.shown[free]["order_number"] = number
            tables.shown[free]["level"] = tables.shown[at]["level"]
            tables.shown[free]["qty"] = tables.shown[at]["qty"]
            free = at
    tables.shown[free]["order_number"] = 0
    tables.shown[free]["level"] = tables.shown[free]["qty"] = 0


@inlined
def _touch(tables: LadderTables, instrument):
    """Have the quote of an instrument looked at when the command is complete."""
    if not tables.is_touched[instrument]:
        tables.is_touched[instrument] = 1
        venue = tables.venue[0]
        tables.touched[venue["touched"]] = instrument
        venue["touched"] += 1


@inlined
def _add_to_level(tables: LadderTables, level, qty, orders, changes, n):
    """Add to a level, write what it has then, and remove it where nothing is left."""
    row = tables.levels[level]
    row["qty"] += qty
    row["orders"] += orders
    key = row["key"]
    change = changes[n]
    change["seq"] = tables.venue[0]["seq"]
    change["time_ns"] = tables.venue[0]["now_ns"]
    change["price_e4"] = price_of(key)
    change["qty"] = row["qty"]
    change["orders"] = row["orders"]
    change["instrument"] = instrument_of(key)
    change["side"] = side_of(key)
    change["unused"] = 0
    if row["orders"] == 0:
        remove(tables, level)
    return n + 1


@called
def show(tables: LadderTables, order_number, key, qty, changes, n):
    """Show ``qty`` of an order at a key (0: nothing of it) in place of what was shown before; gives the next n."""
    place = _find(tables, order_number)
    row = tables.shown[place]
    known = row["order_number"] != 0
    level, before = np.int64(row["level"]), np.int64(row["qty"])
    if known and qty > 0 and tables.levels[level]["key"] == key:
        if qty != before:
            row["qty"] = qty
            n = _add_to_level(tables, level, qty - before, np.int64(0), changes, n)
        return n
    if known:
        _forget(tables, place)
        tables.venue[0]["orders"] -= 1
        n = _add_to_level(tables, level, -before, np.int64(-1), changes, n)
    if qty > 0 and 2 * tables.venue[0]["orders"] < len(tables.shown):
        level = find_or_add(tables, key)
        place = _find(tables, order_number)
        tables.shown[place]["order_number"] = order_number
        tables.shown[place]["level"] = level
        tables.shown[place]["qty"] = qty
        tables.venue[0]["orders"] += 1
        n = _add_to_level(tables, level, qty, np.int64(1), changes, n)
    return n


@inlined
def _best(tables: LadderTables, instrument, side):
    """The best level of a side, or 0."""
    key = first_key(instrument, side)
    level = level_from(tables, key)
    return (
        level
        if level != 0 and tables.levels[level]["key"] < first_key(instrument, side) + (1 << PRICE_BITS)
        else np.int64(0)
    )


@called
def _quote(tables: LadderTables, instrument, quotes, n):
    """Write the quote of an instrument where it is another than the one before; gives the next n."""
    bid = tables.levels[_best(tables, instrument, np.int64(1))]
    offer = tables.levels[_best(tables, instrument, np.int64(-1))]
    bid_e4 = price_of(bid["key"]) if bid["orders"] != 0 else np.int64(0)
    offer_e4 = price_of(offer["key"]) if offer["orders"] != 0 else np.int64(0)
    last = tables.quotes[instrument]
    if (
        last["bid_e4"] == bid_e4
        and last["bid_qty"] == bid["qty"]
        and last["offer_e4"] == offer_e4
        and last["offer_qty"] == offer["qty"]
        and last["phase"] == last["before_phase"]
    ):
        return n
    quote = quotes[n]
    venue = tables.venue[0]
    quote["seq"] = venue["seq"]
    quote["time_ns"] = venue["now_ns"]
    quote["since_ns"] = last["time_ns"]
    quote["before_bid_e4"] = last["bid_e4"]
    quote["before_bid_qty"] = last["bid_qty"]
    quote["before_offer_e4"] = last["offer_e4"]
    quote["before_offer_qty"] = last["offer_qty"]
    quote["before_phase"] = last["before_phase"]
    quote["bid_e4"] = last["bid_e4"] = bid_e4
    quote["bid_qty"] = last["bid_qty"] = bid["qty"]
    quote["offer_e4"] = last["offer_e4"] = offer_e4
    quote["offer_qty"] = last["offer_qty"] = offer["qty"]
    quote["bid_orders"] = last["bid_orders"] = bid["orders"]
    quote["offer_orders"] = last["offer_orders"] = offer["orders"]
    quote["phase"] = last["before_phase"] = last["phase"]
    quote["instrument"] = last["instrument"] = instrument
    quote["unused"] = 0
    last["seq"] = venue["seq"]
    last["time_ns"] = venue["now_ns"]
    return n + 1


@called
def end_command(tables: LadderTables, quotes, n):
    """Write the quotes that the command under way changed; gives the next n."""
    venue = tables.venue[0]
    for at in range(venue["touched"]):
        instrument = tables.touched[at]
        tables.is_touched[instrument] = 0
        n = _quote(tables, instrument, quotes, n)
    venue["touched"] = 0
    return n


@called
def follow(tables_at, reports, changes, quotes, whole):
    """Follow REPORT rows; gives the numbers of LEVEL_CHANGE and QUOTE rows that were written.

    tables_at: packed pointers. changes: room for two a report. quotes: room for one a report, and for the instruments
    that were touched before. whole: 1 if the last command is complete.
    """
    tables = unpack_tables(tables_at)
    venue = tables.venue[0]
    n = q = np.int64(0)
    for at in range(len(reports)):
        report = reports[at]
        if report["seq"] != venue["seq"]:
            q = end_command(tables, quotes, q)
            venue["seq"] = report["seq"]
        venue["now_ns"] = report["time_ns"]
        kind = np.int64(report["kind"])
        instrument = np.int64(report["instrument"])
        if instrument == 0 or instrument >= len(tables.quotes):
            continue
        if kind <= _LAST_OF_ORDERS:
            number = report["order_number"]
            if number > 0 and kind != _REJECTED and kind != _CANCEL_REJECTED:
                rests = np.int64(report["in_book"]) & _AFTER
                qty = np.int64(report["displayed_qty"]) if rests else np.int64(0)
                key = key_of(instrument, np.int64(report["side"]), report["price_e4"])
                before = n
                n = show(tables, number, key, qty, changes, n)
                if n != before:
                    _touch(tables, instrument)
        elif kind == _PHASE or kind == _HALTED:
            tables.quotes[instrument]["phase"] = report["phase"]
            _touch(tables, instrument)
    if whole:
        q = end_command(tables, quotes, q)
    return n, q


@called
def top(tables_at, instrument, side, levels):
    """Write the best levels of a side as LEVEL_CHANGE rows, as many as there are and ``levels`` has room; gives their
    number."""
    tables = unpack_tables(tables_at)
    key = first_key(instrument, side)
    end = key + (1 << PRICE_BITS)
    n = np.int64(0)
    while n < len(levels):
        level = level_from(tables, key)
        if level == 0 or tables.levels[level]["key"] >= end:
            break
        row = tables.levels[level]
        out = levels[n]
        out["seq"] = tables.venue[0]["seq"]
        out["time_ns"] = tables.venue[0]["now_ns"]
        out["price_e4"] = price_of(row["key"])
        out["qty"] = row["qty"]
        out["orders"] = row["orders"]
        out["instrument"] = instrument
        out["side"] = side
        out["unused"] = 0
        key = row["key"] + 1
        n += 1
    return n


@called
def displayed(tables_at, rows):
    """Write the displayed orders as IMAGE_ORDER rows; gives their number. tables_at: packed pointers."""
    tables = unpack_tables(tables_at)
    n = np.int64(0)
    for place in range(len(tables.shown)):
        number = tables.shown[place]["order_number"]
        if number != 0 and n < len(rows):
            key = tables.levels[np.int64(tables.shown[place]["level"])]["key"]
            row = rows[n]
            row["order_number"] = number
            row["price_e4"] = price_of(key)
            row["qty"] = tables.shown[place]["qty"]
            row["instrument"] = instrument_of(key)
            row["side"] = side_of(key)
            n += 1
    return n


@called
def show_all(tables_at, rows, changes):
    """Show each order of IMAGE_ORDER rows. tables_at: packed pointers. changes: room for one row, written over."""
    tables = unpack_tables(tables_at)
    for at in range(len(rows)):
        row = rows[at]
        key = key_of(row["instrument"], row["side"], row["price_e4"])
        show(tables, row["order_number"], key, row["qty"], changes, np.int64(0))
