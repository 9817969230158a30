"""Kernels for a memory of orders just read: their side and display.

A Modify or Replace Order may arrive before the Accepted of its order is sent, so the table of open orders does not have
the order yet. The memory is small and direct-mapped: a later order may take an earlier one's row, which is then
unknown. Two entries with one id, of which the market may accept either, leave only the values on which they agree. An
unknown value is no reason to reject a message. The memory is empty at a start, and is cleared when a trading day
begins.
"""

from typing import Final

import numpy as np

from engine.jit import inlined, lshr, prefetch, wrapping_multiply

_BITS: Final = 13
#: Rows of the memory, and one of them. ``side``: 1 buy, 2 sale, 3: not known; ``shows``: 1 displayed, 2 post-only,
#: 4 hidden, 8 pegged to the midpoint, 15: not known.
RECENT_ROWS: Final = 1 << _BITS
RECENT: Final = np.dtype([("client_order_id", "<i8"), ("participant", "<i4"), ("side", "<i2"), ("shows", "<i2")])

BUY: Final = 1
SALE: Final = 2
DISPLAYED: Final = 1
POST_ONLY: Final = 2
HIDDEN: Final = 4
PEGGED: Final = 8
#: Of a side, and of what an order shows.
UNKNOWN: Final = 3
UNKNOWN_DISPLAY: Final = 15

_MIX: Final = np.int64(-7046029254386353131)


@inlined
def place_of(client_order_id, participant):
    """Row of an order, if it has one. Ids that differ in their last character share a few cache lines."""
    mixed = wrapping_multiply((client_order_id >> 6) ^ (participant << 40), _MIX)
    return lshr(mixed, 64 - _BITS) ^ (client_order_id & 63)


@inlined
def expect(recent, participant, client_order_id):
    """Begin to load the row of an order that ``note`` writes soon: in a node it is in no near cache any more."""
    prefetch(recent, place_of(client_order_id, participant))


@inlined
def note(recent, participant, client_order_id, side, shows):
    """Remember an order that was read."""
    row = recent[place_of(client_order_id, participant)]
    if row["client_order_id"] == client_order_id and np.int64(row["participant"]) == participant:
        row["side"] = np.int64(row["side"]) | side
        row["shows"] = np.int64(row["shows"]) | shows
    else:
        row["client_order_id"] = client_order_id
        row["participant"] = participant
        row["side"] = side
        row["shows"] = shows


@inlined
def recall(recent, participant, client_order_id):
    """(side, shows) of an order that was read; UNKNOWN and UNKNOWN_DISPLAY if not remembered."""
    row = recent[place_of(client_order_id, participant)]
    if row["client_order_id"] == client_order_id and np.int64(row["participant"]) == participant:
        return np.int64(row["side"]), np.int64(row["shows"])
    return np.int64(UNKNOWN), np.int64(UNKNOWN_DISPLAY)
