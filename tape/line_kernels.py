"""Kernels of lines: streams of bytes both ways between the market and programs beside it, as a socket has them.

A line has a place in a file that the market owns. Each way has a ring of bytes with two words: bytes that were put,
stored by who puts them, and bytes that were taken. Both count from the beginning of the file. Each side keeps its own
count in its own memory, and looks at the other's before it uses it: the other side may be another's program. A side
that dies before it stores its count has put nothing.
"""

from typing import Final

from engine.jit import called, inlined
from tape.machine import fence_full, load_acquire, load_word, store_release, store_word
from tape.places import LINE

#: Lines of a market, and bytes of each ring.
LINES_MAX: Final = 16
RING_BYTES: Final = 1 << 16
_MASK: Final = RING_BYTES - 1

#: Index of the word that is 1 while the market sleeps, so that it has to be woken.
ASLEEP: Final = 0
#: Words of a line, from its first on: bytes put and taken on the way in, and on the way out; the number of the client
#: that asks for the line, and of the one that is served; and of the last one that gets nothing more.
IN_PUT: Final = 0 * LINE
IN_TAKEN: Final = 1 * LINE
OUT_PUT: Final = 2 * LINE
OUT_TAKEN: Final = 3 * LINE
ASKED: Final = 4 * LINE
SERVED: Final = 5 * LINE
CLOSED: Final = 6 * LINE
_PER_LINE: Final = 7 * LINE
LINES_WORDS: Final = LINE + LINES_MAX * _PER_LINE

#: Result besides a number of bytes: the other side's count is impossible.
BROKEN: Final = -1


@inlined
def first_word(number):
    """Index of the first word of a line."""
    return LINE + number * _PER_LINE


@inlined
def ring_room(words, place, own):
    """Bytes that have room in a ring where ``own`` were put; below 0 if the other side counts what cannot be."""
    waiting = own - load_acquire(words, place + LINE)
    if waiting < 0 or waiting > RING_BYTES:
        return BROKEN
    return RING_BYTES - waiting


@inlined
def put(words, ring, begin, place, counts, at, source, start, count):
    """Put up to ``count`` bytes from ``source[start]`` on into the ring at ``begin``; gives their number, or BROKEN.

    place: index of the word of bytes put; that of bytes taken follows. counts[at]: own count.
    """
    own = counts[at]
    room = ring_room(words, place, own)
    if room < 0:
        return BROKEN
    count = min(count, room)
    for n in range(count):
        ring[begin + ((own + n) & _MASK)] = source[start + n]
    if count > 0:
        counts[at] = own + count
        store_release(words, place, own + count)
    return count


@inlined
def take(words, ring, begin, place, counts, at, target, start, room):
    """Take up to ``room`` bytes of the ring at ``begin`` to ``target[start]`` and on; gives their number, or BROKEN."""
    own = counts[at]
    waiting = load_acquire(words, place) - own
    if waiting < 0 or waiting > RING_BYTES:
        return BROKEN
    count = min(waiting, room)
    for n in range(count):
        target[start + n] = ring[begin + ((own + n) & _MASK)]
    if count > 0:
        counts[at] = own + count
        store_release(words, place + LINE, own + count)
    return count


@inlined
def go_to_sleep(words, counts, places):
    """Say that the market is about to sleep; gives False if it must not, since a client has put something.

    places: int64[LINES_MAX], below 0 for a line that is not read here: what is left there may never be taken.
    """
    store_word(words, ASLEEP, 1)
    fence_full()
    for number in range(LINES_MAX):
        if places[number] >= 0 and load_acquire(words, first_word(number) + IN_PUT) != counts[2 * number]:
            store_word(words, ASLEEP, 0)
            return False
    return True


@inlined
def wake_up(words):
    """Say that the market is awake."""
    store_word(words, ASLEEP, 0)


@called
def is_asleep(words):
    """True if the market has to be woken, after bytes were put."""
    fence_full()
    return load_word(words, ASLEEP) != 0


@called
def store_behind(words, place, number):
    """Store a word behind all that was stored before it."""
    store_release(words, place, number)


@called
def put_bytes(words, ring, begin, place, counts, at, source, start, count):
    """``put`` from Python."""
    return put(words, ring, begin, place, counts, at, source, start, count)


@called
def take_bytes(words, ring, begin, place, counts, at, target, start, room):
    """``take`` from Python."""
    return take(words, ring, begin, place, counts, at, target, start, room)


@called
def sleeps(words, counts, places):
    """``go_to_sleep`` from Python."""
    return go_to_sleep(words, counts, places)
