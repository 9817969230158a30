"""Kernels of the tree of levels: a crit-bit tree over keys, for all ladders together.

It is never deeper than a key has bits, whatever the prices are, so no price is slow. Levels and branchings cannot run
out, because each level has an order and each branching a level.
"""

from typing import Final

import numpy as np

from engine.jit import called, inlined, lshr, top_bit
from marketdata.ladder_tables import LadderTables

#: Bits of a price in a key; those above are the side of an instrument. A price is at most 9,999,999,999.
PRICE_BITS: Final = 34
_PRICE_MASK: Final = 2**PRICE_BITS - 1
#: Bits of a key: 2^16 instruments, two sides.
KEY_BITS: Final = PRICE_BITS + 17


@inlined
def first_key(instrument, side):
    """The lowest key of a side of an instrument, below which no other side has any."""
    return (2 * instrument + (1 if side < 0 else 0)) << PRICE_BITS


@inlined
def key_of(instrument, side, price_e4):
    """Key of a price: the better the price, the lower; market orders (price 0) stand before all prices."""
    rank = _PRICE_MASK - price_e4 if side > 0 and price_e4 != 0 else price_e4
    return first_key(instrument, side) | rank


@inlined
def side_of(key):
    """Side of a key: 1 buy, -1 sell."""
    return np.int64(-1) if lshr(key, PRICE_BITS) & 1 else np.int64(1)


@inlined
def instrument_of(key):
    """Instrument of a key."""
    return lshr(key, PRICE_BITS + 1)


@inlined
def price_of(key):
    """Price of a key, in e4."""
    rank = key & _PRICE_MASK
    return _PRICE_MASK - rank if side_of(key) > 0 and rank != 0 else rank


@inlined
def _way(tables: LadderTables, ref, key):
    """The way of a key from a branching."""
    node = tables.nodes[ref >> 1]
    return node["one"] if lshr(key, node["bit"]) & 1 else node["zero"]


@inlined
def _nearest(tables: LadderTables, key):
    """The level to which a key leads from the root; there is one."""
    ref = tables.venue[0]["root"]
    for _ in range(KEY_BITS):
        if ref & 1:
            break
        ref = _way(tables, ref, key)
    return ref >> 1


@inlined
def _fork(tables: LadderTables, key, bit):
    """Go down from the root to where the first branching below ``bit`` is; gives the branching above (0: the root is
    it), and the way from there."""
    above = np.int64(0)
    ref = tables.venue[0]["root"]
    for _ in range(KEY_BITS):
        if ref & 1 or tables.nodes[ref >> 1]["bit"] < bit:
            break
        above = ref >> 1
        ref = _way(tables, ref, key)
    return above, ref


@inlined
def _lead(tables: LadderTables, above, key, ref):
    """Make the way of a key lead from a branching (0: the root) to ``ref``."""
    if above == 0:
        tables.venue[0]["root"] = ref
    elif lshr(key, tables.nodes[above]["bit"]) & 1:
        tables.nodes[above]["one"] = ref
    else:
        tables.nodes[above]["zero"] = ref


@called
def find_or_add(tables: LadderTables, key):
    """Level of a key; an empty one is added where there is none."""
    venue = tables.venue[0]
    nearest = np.int64(0)
    if venue["root"] != 0:
        nearest = _nearest(tables, key)
        if tables.levels[nearest]["key"] == key:
            return nearest
    level = venue["levels_free"]
    if level != 0:
        venue["levels_free"] = tables.levels[level]["key"]
    else:
        level = venue["levels_high"] + 1
        venue["levels_high"] = level
    tables.levels[level]["key"] = key
    if nearest == 0:
        venue["root"] = 2 * level + 1
        return level
    node = venue["nodes_free"]
    if node != 0:
        venue["nodes_free"] = tables.nodes[node]["zero"]
    else:
        node = venue["nodes_high"] + 1
        venue["nodes_high"] = node
    bit = top_bit(tables.levels[nearest]["key"] ^ key)
    above, ref = _fork(tables, key, bit)
    goes_one = lshr(key, bit) & 1
    tables.nodes[node]["bit"] = bit
    tables.nodes[node]["one"] = 2 * level + 1 if goes_one else ref
    tables.nodes[node]["zero"] = ref if goes_one else 2 * level + 1
    _lead(tables, above, key, 2 * node)
    return level


@called
def remove(tables: LadderTables, level):
    """Remove a level that is in the tree; its row is free."""
    venue = tables.venue[0]
    key = tables.levels[level]["key"]
    above = before = np.int64(0)
    ref = venue["root"]
    for _ in range(KEY_BITS):
        if ref & 1:
            break
        before, above = above, ref >> 1
        ref = _way(tables, ref, key)
    if above == 0:
        venue["root"] = 0
    else:
        node = tables.nodes[above]
        other = node["zero"] if lshr(key, node["bit"]) & 1 else node["one"]
        _lead(tables, before, key, other)
        node["zero"] = venue["nodes_free"]
        node["one"] = node["bit"] = 0
        venue["nodes_free"] = above
    row = tables.levels[level]
    row["key"] = venue["levels_free"]
    row["qty"] = row["orders"] = 0
    venue["levels_free"] = level


@called
def level_from(tables: LadderTables, key):
    """The level with the lowest key that is ``key`` or above, or 0."""
    if tables.venue[0]["root"] == 0:
        return np.int64(0)
    nearest = _nearest(tables, key)
    difference = tables.levels[nearest]["key"] ^ key
    if difference == 0:
        return nearest
    crit = top_bit(difference)
    # Go down again, as far as the tree agrees with the key, and remember where the other way was above it.
    above = np.int64(0)
    ref = tables.venue[0]["root"]
    for _ in range(KEY_BITS):
        if ref & 1 or tables.nodes[ref >> 1]["bit"] < crit:
            break
        node = tables.nodes[ref >> 1]
        if lshr(key, node["bit"]) & 1:
            ref = node["one"]
        else:
            above = node["one"]
            ref = node["zero"]
    # All that is left is on one side of the key.
    if not lshr(key, crit) & 1:
        above = ref
    if above == 0:
        return np.int64(0)
    for _ in range(KEY_BITS):
        if above & 1:
            break
        above = tables.nodes[above >> 1]["zero"]
    return above >> 1
