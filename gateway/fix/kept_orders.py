"""Last reports of orders: of each open order, and of some that are not any more, for kernels and for Python.

An order is a user and a client order id. Its place in a hash table leads to a slot, which has the key and the row:

    places  int64[2**n]     slot + 1; 0: free          slots  keys, state, row of 256 bytes
    closed  int64[CLOSED_MAX + 1]                      slots of orders that are closed, the oldest first, in a ring

The tables grow by themselves in Python; a kernel stops where they have no room.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import Packed, called, inlined, lshr, unpack_pointers, wrapping_add, wrapping_multiply

#: Orders that are not open any more whose last report is kept, of all users.
CLOSED_MAX: Final = 16_384
ROW_BYTES: Final = 256
_FREE, OPEN, CLOSED = range(3)
_LEAST: Final = 1_024
#: Places in ``words``: slots ever used, slots in the list of free ones, and the ring's begin and length.
USED, SPARE, FIRST, COUNT = range(4)
_RING: Final = CLOSED_MAX + 1
_MIX: Final = np.int64(0x9E3779B97F4A7C15 - 2**64)

Key = tuple[int, int]  # number of a user, client order id


class Kept(NamedTuple):
    """The tables."""

    places: np.ndarray[Any, Any]
    users: np.ndarray[Any, Any]  # int64[slots]
    ids: np.ndarray[Any, Any]  # int64[slots]
    states: np.ndarray[Any, Any]  # uint8[slots]
    rows: np.ndarray[Any, Any]  # uint8[256 * slots]
    spare: np.ndarray[Any, Any]  # int64[slots]: free slots
    closed: np.ndarray[Any, Any]  # int64[CLOSED_MAX + 1]
    words: np.ndarray[Any, Any]  # int64[4]


def new_kept(slots: int = _LEAST) -> Kept:
    """Empty tables for so many orders, a power of two."""
    return Kept(
        np.zeros(2 * slots, np.int64),
        np.zeros(slots, np.int64),
        np.zeros(slots, np.int64),
        np.zeros(slots, np.uint8),
        np.zeros(ROW_BYTES * slots, np.uint8),
        np.zeros(slots, np.int64),
        np.zeros(_RING, np.int64),
        np.zeros(4, np.int64),
    )


unpack_kept = unpack_pointers(new_kept(2))


@inlined
def _home(kept: Kept, user, client_order_id):
    mixed = wrapping_multiply(wrapping_add(client_order_id, wrapping_multiply(user, _MIX)), _MIX)
    return lshr(mixed ^ lshr(mixed, 29), 7) & (len(kept.places) - 1)


@called
def slot_of(kept: Kept, user, client_order_id):
    """Slot of an order; -1 where it is not kept."""
    mask = len(kept.places) - 1
    place = _home(kept, user, client_order_id)
    while kept.places[place] != 0:
        slot = kept.places[place] - 1
        if kept.ids[slot] == client_order_id and kept.users[slot] == user:
            return slot
        place = (place + 1) & mask
    return np.int64(-1)


@called
def state_of(kept: Kept, user, client_order_id):
    """OPEN or CLOSED; 0 where an order is not kept."""
    slot = slot_of(kept, user, client_order_id)
    return np.int64(kept.states[slot]) if slot >= 0 else np.int64(_FREE)


@called
def has_room(kept: Kept):
    """True if one more order can be kept."""
    return kept.words[SPARE] > 0 or kept.words[USED] < len(kept.users)


@called
def _remove(kept: Kept, slot):
    """Forget an order; those behind it in the hash table move up."""
    places = kept.places
    mask = len(places) - 1
    hole = _home(kept, kept.users[slot], kept.ids[slot])
    while places[hole] != slot + 1:
        hole = (hole + 1) & mask
    at = hole
    while True:
        at = (at + 1) & mask
        if places[at] == 0:
            break
        other = places[at] - 1
        home = _home(kept, kept.users[other], kept.ids[other])
        if ((at - home) & mask) >= ((at - hole) & mask):
            places[hole] = places[at]
            hole = at
    places[hole] = 0
    kept.states[slot] = _FREE
    kept.spare[kept.words[SPARE]] = slot
    kept.words[SPARE] += 1


@called
def _add(kept: Kept, user, client_order_id):
    """Slot of a new order; there is room."""
    mask = len(kept.places) - 1
    words = kept.words
    if words[SPARE] > 0:
        words[SPARE] -= 1
        slot = kept.spare[words[SPARE]]
    else:
        slot = words[USED]
        words[USED] += 1
    kept.users[slot], kept.ids[slot] = user, client_order_id
    place = _home(kept, user, client_order_id)
    while kept.places[place] != 0:
        place = (place + 1) & mask
    kept.places[place] = slot + 1
    return slot


@called
def _leave_ring(kept: Kept, slot):
    """Take a slot out of the ring of closed orders: an order is open again, which is rare."""
    words, closed = kept.words, kept.closed
    found = False
    for n in range(words[COUNT]):
        at = (words[FIRST] + n) % _RING
        if closed[at] == slot:
            found = True
        elif found:
            closed[(at + _RING - 1) % _RING] = closed[at]
    if found:
        words[COUNT] -= 1


@called
def drop_open(kept: Kept, user, client_order_id):
    """Forget an order, if it is open."""
    slot = slot_of(kept, user, client_order_id)
    if slot >= 0 and kept.states[slot] == OPEN:
        _remove(kept, slot)


@called
def keep_row(kept: Kept, user, client_order_id, closes, rows, at):
    """Keep the row that begins at byte ``at`` as the last report of an order; there is room for it.

    closes: the order is not open any more, and is kept among those; the oldest of too many is forgotten.
    """
    words = kept.words
    slot = slot_of(kept, user, client_order_id)
    if slot < 0:
        slot = _add(kept, user, client_order_id)
    elif kept.states[slot] == CLOSED and not closes:
        _leave_ring(kept, slot)
    if closes and kept.states[slot] != CLOSED:
        kept.closed[(words[FIRST] + words[COUNT]) % _RING] = slot
        words[COUNT] += 1
    kept.states[slot] = CLOSED if closes else OPEN
    begin = slot * ROW_BYTES
    for n in range(ROW_BYTES):
        kept.rows[begin + n] = rows[at + n]
    if words[COUNT] > CLOSED_MAX:
        oldest = kept.closed[words[FIRST]]
        words[FIRST] = (words[FIRST] + 1) % _RING
        words[COUNT] -= 1
        _remove(kept, oldest)


@called
def _keep_all(pointers, keys, rows, closes):
    """Keep the last reports of orders; there is room for all."""
    kept = unpack_kept(pointers)
    for n in range(len(keys)):
        keep_row(kept, keys[n, 0], keys[n, 1], closes != 0, rows, n * ROW_BYTES)


@called
def _drop(pointers, user, client_order_id):
    drop_open(unpack_kept(pointers), user, client_order_id)


@called
def _find(pointers, user, client_order_id):
    return slot_of(unpack_kept(pointers), user, client_order_id)


@called
def _state(pointers, user, client_order_id):
    return state_of(unpack_kept(pointers), user, client_order_id)


class Orders(NamedTuple):
    """Orders and their last reports. keys: int64[n, 2], user and client order id; rows: uint8[n, 256]."""

    keys: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]


def _no_orders() -> Orders:
    return Orders(np.zeros((0, 2), np.int64), np.zeros((0, ROW_BYTES), np.uint8))


class KeptOrders:
    """Last reports of orders, as Python takes and asks them."""

    def __init__(self) -> None:
        self._packed = Packed(new_kept())

    @property
    def pointers(self) -> Any:
        """The tables for a kernel; others after ``make_room``."""
        return self._packed.pointers

    def make_room(self) -> None:
        """Have room for one order more at least."""
        kept = self._packed.arrays
        if not kept.words[SPARE] and kept.words[USED] >= len(kept.users):
            self.fill(self.open_orders(), self.closed_orders(), 2 * len(kept.users))

    def keep(self, user: int, client_order_id: int, row: bytes, *, closes: bool = False) -> None:
        """Keep the last report of an order. closes: it is not open any more."""
        self.make_room()
        keys = np.array([[user, client_order_id]], np.int64)
        _keep_all(self.pointers, keys, np.array(bytearray(row), np.uint8), int(closes))

    def drop_open(self, user: int, client_order_id: int) -> None:
        """Forget an order, if it is open."""
        _drop(self.pointers, user, client_order_id)

    def is_open(self, key: Key) -> bool:
        """True if an order is open."""
        return int(_state(self.pointers, *key)) == OPEN

    def is_closed(self, key: Key) -> bool:
        """True if an order is kept that is not open any more."""
        return int(_state(self.pointers, *key)) == CLOSED

    def row(self, key: Key) -> bytes | None:
        """Last report of an order; None where it is not kept."""
        slot = int(_find(self.pointers, *key))
        return self._packed.arrays.rows[slot * ROW_BYTES :][:ROW_BYTES].tobytes() if slot >= 0 else None

    def _of(self, slots: Any) -> Orders:
        kept = self._packed.arrays
        keys = np.column_stack([kept.users[slots], kept.ids[slots]])
        return Orders(keys, kept.rows.reshape(-1, ROW_BYTES)[slots])

    def open_orders(self) -> Orders:
        """Open orders, by their keys."""
        kept = self._packed.arrays
        slots = np.flatnonzero(kept.states == OPEN)
        return self._of(slots[np.lexsort((kept.ids[slots], kept.users[slots]))])

    def closed_orders(self) -> Orders:
        """Closed orders, the oldest first."""
        kept = self._packed.arrays
        return self._of(kept.closed[(int(kept.words[FIRST]) + np.arange(int(kept.words[COUNT]))) % _RING])

    def forget_closed(self) -> None:
        """Keep open orders alone."""
        self.fill(self.open_orders(), _no_orders())

    def fill(self, opened: Orders, closed: Orders, slots: int = _LEAST) -> None:
        """Have these orders, and no others. slots: room, at least."""
        while slots < len(opened.keys) + len(closed.keys) + 2:
            slots *= 2
        self._packed = Packed(new_kept(slots))
        for orders, closes in ((opened, 0), (closed, 1)):
            keys, rows = np.ascontiguousarray(orders.keys), np.ascontiguousarray(orders.rows).reshape(-1)
            _keep_all(self.pointers, keys, rows, closes)
