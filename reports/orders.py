"""Kernels of the table of open orders: open addressing; neighbouring ids of a participant lie in one page of memory.

The same scheme as ``gateway.ouch.open_orders``, for all open orders instead of those of users. When messages of OUCH
are made of reports, its table goes.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, prefetch, wrapping_multiply
from reports.tables import HAS_TERMS, ORDER_WORDS, ReportTables, unpack_tables

_MIX: Final = np.int64(-7046029254386353131)
_MIX_PARTICIPANT: Final = np.int64(-4658895280553007687)


@inlined
def scratch(tables: ReportTables):
    """Place of the row that is not in the table."""
    return len(tables.orders) - 1


@inlined
def _home(tables: ReportTables, participant, client_order_id):
    mixed = (client_order_id >> 6) ^ wrapping_multiply(participant, _MIX_PARTICIPANT)
    mixed = wrapping_multiply(mixed, _MIX)
    return (lshr(mixed, 20) + (client_order_id & 63)) & (scratch(tables) - 1)


@inlined
def expect(tables: ReportTables, participant, client_order_id):
    """Begin to load the row of an order that is needed soon: the table is too large for the caches."""
    prefetch(tables.orders, _home(tables, participant, client_order_id))


@inlined
def find(tables: ReportTables, participant, client_order_id):
    """Place of an open order, or -1."""
    places = scratch(tables)
    place = _home(tables, participant, client_order_id)
    for _ in range(places):
        row = tables.orders[place]
        there = np.int64(row["participant"])
        if there == 0:
            break
        if there == participant and row["client_order_id"] == client_order_id:
            return place
        place = (place + 1) & (places - 1)
    return np.int64(-1)


@inlined
def insert(tables: ReportTables, participant, client_order_id):
    """Insert a row; gives its place, the scratch row where the table is full. Its other fields are the caller's.

    The table has at least twice as many rows as there can be open orders.
    """
    places = scratch(tables)
    place = _home(tables, participant, client_order_id)
    for _ in range(places):
        if np.int64(tables.orders[place]["participant"]) == 0:
            break
        place = (place + 1) & (places - 1)
    if np.int64(tables.orders[place]["participant"]) != 0:
        place = places
    else:
        tables.open_orders[0] += 1
    row = tables.orders[place]
    row["client_order_id"] = client_order_id
    row["participant"] = participant
    return place


@inlined
def copy(tables: ReportTables, source, target):
    """Copy a row, and its terms if it has any."""
    for n in range(ORDER_WORDS):
        tables.order_words[target, n] = tables.order_words[source, n]
    if np.int64(tables.orders[source]["flags"]) & HAS_TERMS:
        _copy_terms(tables, source, target)


@called
def _copy_terms(tables: ReportTables, source, target):
    for n in range(ORDER_WORDS):
        tables.term_words[target, n] = tables.term_words[source, n]


@inlined
def clear(tables: ReportTables, place):
    """Set a row to zero; of its terms nothing is kept, because its flags say that it has none."""
    for n in range(ORDER_WORDS):
        tables.order_words[place, n] = 0


@inlined
def clear_terms(tables: ReportTables, place):
    """Set the terms of a row to zero."""
    for n in range(ORDER_WORDS):
        tables.term_words[place, n] = 0


@inlined
def remove(tables: ReportTables, place):
    """Remove a row, and move up the rows behind it that could not be found otherwise."""
    places = scratch(tables)
    mask = places - 1
    if place < places:
        free = place
        for step in range(1, places):
            at = (place + step) & mask
            row = tables.orders[at]
            if np.int64(row["participant"]) == 0:
                break
            home = _home(tables, np.int64(row["participant"]), row["client_order_id"])
            if ((at - home) & mask) >= ((at - free) & mask):
                copy(tables, at, free)
                free = at
        clear(tables, free)
        tables.open_orders[0] -= 1


@called
def insert_all(tables_at, rows, places):
    """Make a row for each of other ORDER rows; their places, in the order of ``rows``. tables_at: packed pointers."""
    tables = unpack_tables(tables_at)
    for n in range(len(rows)):
        places[n] = insert(tables, np.int64(rows[n]["participant"]), rows[n]["client_order_id"])
