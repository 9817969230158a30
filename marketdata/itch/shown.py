"""Kernels of the table of orders that the feed shows: open addressing by order number; neighbours lie together.

Order numbers are dense, so an order of now is near the other orders of now, in memory that is at hand.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, wrapping_multiply
from marketdata.itch.tables import FURTHER_REFERENCES, SHOWN_WORDS, FeedTables, unpack_tables

_MIX: Final = np.int64(-7046029254386353131)
_FURTHER: Final = np.int64(FURTHER_REFERENCES)


@inlined
def _home(tables: FeedTables, order_number):
    mixed = wrapping_multiply(order_number >> 6, _MIX)
    return (lshr(mixed, 20) + (order_number & 63)) & (len(tables.shown) - 2)


@inlined
def find(tables: FeedTables, order_number):
    """Place of the row of an order, or -1."""
    places = len(tables.shown) - 1
    at = _home(tables, order_number)
    for _ in range(places):
        there = tables.shown[at]["order_number"]
        if there == order_number:
            return at
        if there == 0:
            break
        at = (at + 1) & (places - 1)
    return np.int64(-1)


@inlined
def insert(tables: FeedTables, order_number):
    """Insert a row; gives its place, the scratch row where the table is full. Its other fields are the caller's.

    The table has at least twice as many rows as there can be open orders.
    """
    places = len(tables.shown) - 1
    at = _home(tables, order_number)
    for _ in range(places):
        if tables.shown[at]["order_number"] == 0:
            break
        at = (at + 1) & (places - 1)
    if tables.shown[at]["order_number"] != 0:
        at = places
    tables.shown[at]["order_number"] = order_number
    return at


@inlined
def remove(tables: FeedTables, at):
    """Remove a row, and move up the rows behind it that could not be found otherwise."""
    places = len(tables.shown) - 1
    mask = places - 1
    free = at
    for step in range(1, places):
        behind = (at + step) & mask
        there = tables.shown[behind]["order_number"]
        if there == 0:
            break
        if ((behind - _home(tables, there)) & mask) >= ((behind - free) & mask):
            for n in range(SHOWN_WORDS):
                tables.shown_words[free, n] = tables.shown_words[behind, n]
            free = behind
    for n in range(SHOWN_WORDS):
        tables.shown_words[free, n] = 0


@inlined
def reference_of(row):
    """Reference number by which the feed knows an order."""
    return row["order_number"] if np.int64(row["again"]) == 0 else _FURTHER + row["place"]


@called
def insert_all(tables_at, rows, at):
    """Make a row for each of other SHOWN rows; their places, in the order of ``rows``. tables_at: packed pointers."""
    tables = unpack_tables(tables_at)
    for n in range(len(rows)):
        at[n] = insert(tables, rows[n]["order_number"])
