"""Kernels of rings: rows from one producer to one consumer, published by one store.

The producer writes rows behind the published ones and then moves ``TAIL`` over them, so a producer that dies before
that has written nothing: its successor begins at ``TAIL``. The consumer copies rows, and then moves ``HEAD`` over them,
which gives the producer their room. A ring that is full, or empty, is a result.

Beside each row is a note: its source, the rows of its message (in the first of them) and a tag of the source, which
comes back with the answer. The producer may be another's program: the consumer takes nothing from it but rows and
notes, and looks at each number before it uses it. What it finds wrong makes the ring BROKEN, and no row of it is taken.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, unpack_pointers
from tape.machine import copy_words, fence_full, load_acquire, load_word, store_release, store_word
from tape.places import RING_WORDS, RingPlace

TAIL: Final = int(RingPlace.TAIL)
HEAD: Final = int(RingPlace.HEAD)
ASLEEP: Final = int(RingPlace.ASLEEP)

#: Results besides a number of rows.
FULL: Final = 0
EMPTY: Final = 0
TOO_LONG: Final = -1  # more rows than the ring has
BROKEN: Final = -2  # a number of the other side is wrong

#: Rows of the longest message.
MESSAGE_ROWS_MAX: Final = 4

#: Note of a row.
NOTE: Final = np.dtype([("tag", "<i8"), ("source", "<i4"), ("rows", "<i4")])
NOTE_WORDS: Final = NOTE.itemsize // 8

#: Places in ``Ring.size``.
ROWS: Final = 0
ROW_WORDS: Final = 1
#: Places in ``Ring.mine``: own position, and what was last seen of the other's.
OWN: Final = 0
SEEN: Final = 1
STATE: Final = 2  # BROKEN once the ring is


class Ring(NamedTuple):
    """A ring as one of its sides sees it. ``size`` and ``mine`` are that side's alone."""

    words: np.ndarray[Any, Any]  # int64[RING_WORDS]: shared
    rows: np.ndarray[Any, Any]  # int64[rows * words of a row]: shared
    notes: np.ndarray[Any, Any]  # int64[rows * NOTE_WORDS]: shared
    size: np.ndarray[Any, Any]  # int64[2]
    mine: np.ndarray[Any, Any]  # int64[3]


#: Unpack a ring in a kernel, from the pointers of a ``Packed``.
unpack_ring = unpack_pointers(Ring(*(np.zeros(RING_WORDS, np.int64) for _ in Ring._fields)))


@inlined
def _copy_in(ring, position, rows, notes, begin, count):
    """Copy rows and notes from ``begin`` on into the ring, from ``position`` on, without its end in between."""
    size = ring.size
    row_words = size[ROW_WORDS]
    at = position & (size[ROWS] - 1)
    copy_words(ring.rows, at * row_words, rows, begin * row_words, count * row_words)
    copy_words(ring.notes, at * NOTE_WORDS, notes, begin * NOTE_WORDS, count * NOTE_WORDS)


@called
def put_rows(pointers, rows, notes, count):
    """Put the first ``count`` rows with their notes into a ring, all or none; gives their number, FULL, TOO_LONG or
    BROKEN.

    rows, notes: int64, at least as many words as those rows have.
    """
    ring = unpack_ring(pointers)
    size, mine = ring.size, ring.mine
    if count > size[ROWS]:
        return TOO_LONG
    if count <= 0 or len(rows) < count * size[ROW_WORDS] or len(notes) < count * NOTE_WORDS:
        return FULL
    tail = mine[OWN]
    if size[ROWS] - (tail - mine[SEEN]) < count:
        head = load_acquire(ring.words, HEAD)
        if head < mine[SEEN] or head > tail:
            return BROKEN
        mine[SEEN] = head
        if size[ROWS] - (tail - head) < count:
            return FULL
    first = min(count, size[ROWS] - (tail & (size[ROWS] - 1)))
    _copy_in(ring, tail, rows, notes, np.int64(0), first)
    if first < count:
        _copy_in(ring, tail + first, rows, notes, first, count - first)
    mine[OWN] = tail + count
    store_release(ring.words, TAIL, tail + count)
    return count


@inlined
def waiting(ring):
    """Rows that a consumer can take; BROKEN if the producer's word is impossible."""
    size, mine = ring.size, ring.mine
    if mine[STATE] != 0:
        return BROKEN
    if mine[SEEN] == mine[OWN]:
        tail = load_acquire(ring.words, TAIL)
        if tail < mine[SEEN] or tail - mine[OWN] > size[ROWS]:
            mine[STATE] = BROKEN
            return BROKEN
        mine[SEEN] = tail
    return mine[SEEN] - mine[OWN]


@inlined
def take_message(ring, rows, notes, n, rows_max):
    """Copy the next message of a ring to row ``n``; gives its rows, EMPTY where there is none or no room, or BROKEN.

    The room in the ring is given back by ``give_room``, once for all messages of a turn.
    """
    size, mine = ring.size, ring.mine
    there = waiting(ring)
    if there <= 0:
        return there
    row_words, mask = size[ROW_WORDS], size[ROWS] - 1
    head = mine[OWN]
    copy_words(notes, n * NOTE_WORDS, ring.notes, (head & mask) * NOTE_WORDS, NOTE_WORDS)
    count = notes[n * NOTE_WORDS + 1] >> 32
    if count < 1 or count > MESSAGE_ROWS_MAX or count > there:
        mine[STATE] = BROKEN
        return BROKEN
    if n + count > rows_max:
        return EMPTY
    for k in range(count):
        at = (head + k) & mask
        copy_words(rows, (n + k) * row_words, ring.rows, at * row_words, row_words)
        if k > 0:
            copy_words(notes, (n + k) * NOTE_WORDS, ring.notes, at * NOTE_WORDS, NOTE_WORDS)
    mine[OWN] = head + count
    return count


@inlined
def give_room(ring):
    """Give the producer the room of all rows that were taken."""
    store_release(ring.words, HEAD, ring.mine[OWN])


@called
def take_rows(pointers, rows, notes, rows_max):
    """Take messages of one ring, up to ``rows_max`` rows; gives their number, EMPTY, BROKEN, or TOO_LONG if so many
    rows do not fit into the arrays."""
    ring = unpack_ring(pointers)
    if rows_max * ring.size[ROW_WORDS] > len(rows) or rows_max * NOTE_WORDS > len(notes):
        return TOO_LONG
    n = np.int64(0)
    result = np.int64(0)
    while n < rows_max:
        result = take_message(ring, rows, notes, n, rows_max)
        if result <= 0:
            break
        n += result
    if n > 0:
        give_room(ring)
        return n
    return result


@inlined
def has_message(ring):
    """True if something was published and not yet taken, or the ring is about to be found broken."""
    return ring.mine[STATE] == 0 and load_acquire(ring.words, TAIL) != ring.mine[OWN]


@inlined
def say_asleep(ring, asleep):
    """Say that the consumer sleeps in a poll of descriptors, or does not. A full fence and a last look come next."""
    store_word(ring.words, ASLEEP, asleep)


@called
def consumer_sleeps(words):
    """True if the consumer has to be woken by a descriptor, after rows were put. words: of the ring."""
    fence_full()
    return load_word(words, ASLEEP) != 0
