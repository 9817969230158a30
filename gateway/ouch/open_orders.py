"""Kernels of the table of users' open orders: open addressing; neighbouring ids of a participant lie together."""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, prefetch, wrapping_multiply
from gateway.ouch.tables import StreamTables

_MIX: Final = np.int64(-7046029254386353131)
_MIX_PARTICIPANT: Final = np.int64(-4658895280553007687)


@inlined
def _home(rows, participant, client_order_id):
    mixed = (client_order_id >> 6) ^ wrapping_multiply(participant, _MIX_PARTICIPANT)
    mixed = wrapping_multiply(mixed, _MIX)
    return (lshr(mixed, 20) + (client_order_id & 63)) & (len(rows) - 1)


@inlined
def expect(tables: StreamTables, participant, client_order_id):
    """Begin to load the row of an order that is needed soon: the table is too large for the caches."""
    prefetch(tables.open, _home(tables.open, participant, client_order_id))


@inlined
def expect_all(tables: StreamTables, participant, client_order_id):
    """Begin to load the row of an order and its rarely used fields."""
    place = _home(tables.open, participant, client_order_id)
    prefetch(tables.open, place)
    prefetch(tables.rest, place)


@inlined
def find(tables: StreamTables, participant, client_order_id):
    """Place of an open order, or -1."""
    return find_among(tables.open, participant, client_order_id)


@inlined
def find_among(rows, participant, client_order_id):
    """Place of an open order in OPEN rows (``StreamTables.open``), or -1."""
    place = _home(rows, participant, client_order_id)
    mask = len(rows) - 1
    for _ in range(len(rows)):
        row = rows[place]
        if np.int64(row["participant"]) == participant and row["client_order_id"] == client_order_id:
            return place
        if np.int64(row["participant"]) == 0:
            return np.int64(-1)
        place = (place + 1) & mask
    return np.int64(-1)


@inlined
def insert(tables: StreamTables, participant, client_order_id):
    """Insert a row; gives its place. The table has at least twice as many rows as there can be open orders."""
    place = _home(tables.open, participant, client_order_id)
    mask = len(tables.open) - 1
    for _ in range(len(tables.open)):
        if np.int64(tables.open[place]["participant"]) == 0:
            break
        place = (place + 1) & mask
    row = tables.open[place]
    row["client_order_id"] = client_order_id
    row["participant"] = participant
    return place


@inlined
def _move(tables: StreamTables, source, target):
    there, row = tables.open[target], tables.open[source]
    there["client_order_id"] = row["client_order_id"]
    there["participant"] = row["participant"]
    there["user"] = row["user"]
    there["leaves_qty"] = row["leaves_qty"]
    there_rest, rest = tables.rest[target], tables.rest[source]
    there_rest["context"] = rest["context"]
    there_rest["token_head"] = rest["token_head"]
    there_rest["token_tail"] = rest["token_tail"]
    there_rest["order_number"] = rest["order_number"]
    there_rest["qty"] = rest["qty"]


@inlined
def remove(tables: StreamTables, place):
    """Remove a row, and move up the rows behind it that could not be found otherwise."""
    mask = len(tables.open) - 1
    free = place
    for step in range(1, len(tables.open)):
        at = (place + step) & mask
        row = tables.open[at]
        if np.int64(row["participant"]) == 0:
            break
        home = _home(tables.open, np.int64(row["participant"]), row["client_order_id"])
        if ((at - home) & mask) >= ((at - free) & mask):
            _move(tables, at, free)
            free = at
    row = tables.open[free]
    row["client_order_id"] = 0
    row["participant"] = 0
    row["user"] = 0
    row["leaves_qty"] = 0


@called
def insert_all(tables: StreamTables, rows, places):
    """Make a row for each OPEN row of another table; their places, in the order of ``rows``."""
    for n in range(len(rows)):
        places[n] = insert(tables, np.int64(rows[n]["participant"]), rows[n]["client_order_id"])


@called
def orders_of(tables: StreamTables, user, order_numbers, client_order_ids):
    """List order number and client order id of the open orders of a user, unsorted; gives the count."""
    count = np.int64(0)
    for place in range(len(tables.open)):
        row = tables.open[place]
        if np.int64(row["participant"]) != 0 and np.int64(row["user"]) == user and count < len(order_numbers):
            order_numbers[count] = tables.rest[place]["order_number"]
            client_order_ids[count] = row["client_order_id"]
            count += 1
    return count
