"""Kernels of the tape: blocks from one writer to any number of readers.

A block is a head of eight words, then COMMAND, EVENT and REPORT rows, one after the other, never cut by the end of the
ring: where a block would be, a gap leads to the ring's beginning. The writer first says how far it may write
(``INTENT``), then writes, then moves ``PUBLISHED`` over the block. Nobody sees the block before that.

A reader copies a block first, and then looks at ``INTENT``: if the writer may have begun to overwrite what was copied,
the copy is thrown away and the result is OVERRUN. ``INTENT`` runs ahead of need in strides, so that the readers'
processors keep it in their caches. ``OLDEST`` is where a reader begins that was overrun or has just come. The writer
waits for no reader (ADR 41).

Positions count words since the tape began; a word's index is the position modulo the ring's length.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, unpack_pointers
from tape.bell import ring_bell
from tape.machine import copy_words, fence_acquire, fence_release, load_acquire, load_word, store_release, store_word
from tape.places import READER_POSITION, Place

PUBLISHED: Final = int(Place.PUBLISHED)
INTENT: Final = int(Place.INTENT)
OLDEST: Final = int(Place.OLDEST)
READERS_BELL: Final = int(Place.READERS_BELL)

#: Words of a block's head.
LENGTH: Final = 0  # of the whole block, in words; below 0: of a gap, which has no other word
FIRST_SEQ: Final = 1
EPOCH: Final = 2
TIME_NS: Final = 3
COMMANDS: Final = 4  # rows
EVENTS: Final = 5
REPORTS: Final = 6
POSITION: Final = 7  # its own, to tell a block from what stood there before
HEAD_WORDS: Final = 8

#: Results.
BLOCK: Final = 1
NOTHING: Final = 0  # no block yet; as a reader comes: the sequence number is the next one
TOO_LONG: Final = -2  # longer than a block may be, or than the room for a copy
OVERRUN: Final = -3
AHEAD: Final = -4  # the sequence number is not on the tape yet
DAMAGED: Final = -5  # numbers that no writer of this release writes

#: Places in ``Tape.size``: words of the ring (a power of two), of the longest block, of a stride, and of rows.
WORDS: Final = 0
BLOCK_WORDS_MAX: Final = 1
STRIDE: Final = 2
ROW_WORDS: Final = 3  # and 4, 5: COMMAND, EVENT, REPORT
SIZES: Final = 6

#: Places in ``Tape.mine`` of the writer.
AT: Final = 0  # position behind its last block; of a reader: of its next one
CLAIMED: Final = 1  # position of the block that is being written
ROOM: Final = 2  # words that were claimed for it
CLAIMED_TO: Final = 3  # as INTENT
KEPT_FROM: Final = 4  # as OLDEST
#: Places in ``Tape.mine`` of a reader.
SEEN: Final = 1  # as PUBLISHED, when last seen
SLOT: Final = 2  # index of its own place among the words; 0: none
MINE: Final = 8


class Tape(NamedTuple):
    """The tape as its writer or one of its readers sees it. ``size``, ``mine`` and ``head`` are that one's alone."""

    words: np.ndarray[Any, Any]  # int64[TAPE_WORDS]: shared
    data: np.ndarray[Any, Any]  # int64[words of the ring]: shared
    size: np.ndarray[Any, Any]  # int64[SIZES]
    mine: np.ndarray[Any, Any]  # int64[MINE]
    head: np.ndarray[Any, Any]  # int64[HEAD_WORDS]: of the block that was read last


unpack_tape = unpack_pointers(Tape(*(np.zeros(MINE, np.int64) for _ in Tape._fields)))


def no_tape() -> Tape:
    """Memory in place of a tape, for a kernel that is told to write none."""
    return Tape(*(np.zeros(MINE, np.int64) for _ in Tape._fields))


@inlined
def block_words(size, commands, events, reports):
    """Words of a block with so many rows."""
    rows = commands * size[ROW_WORDS] + events * size[ROW_WORDS + 1] + reports * size[ROW_WORDS + 2]
    return HEAD_WORDS + rows


@inlined
def _declare(tape, end):
    """Move INTENT to ``end`` or beyond, and OLDEST to the first block that stays whole."""
    words, data, size, mine = tape.words, tape.data, tape.size, tape.mine
    intent = end + size[STRIDE]
    kept, mask = mine[KEPT_FROM], size[WORDS] - 1
    for _ in range(size[WORDS]):
        if kept >= intent - size[WORDS] or kept >= mine[AT]:
            break
        length = data[kept & mask]
        kept += length if length > 0 else -length
    mine[KEPT_FROM], mine[CLAIMED_TO] = kept, intent
    store_word(words, OLDEST, kept)
    store_release(words, INTENT, intent)
    fence_release()


@inlined
def claim_room(tape, room):
    """Index in ``data`` of a block to be written, of at most ``room`` words with its head; or TOO_LONG.

    Nobody sees it before ``publish_block``. A claim that is not published is forgotten at the next.
    """
    data, size, mine = tape.data, tape.size, tape.mine
    if room < HEAD_WORDS or room > size[BLOCK_WORDS_MAX]:
        return TOO_LONG
    position = mine[AT]
    at = position & (size[WORDS] - 1)
    gap = size[WORDS] - at if at + room > size[WORDS] else 0
    end = position + gap + room
    if end > mine[CLAIMED_TO]:
        _declare(tape, end)
    if gap > 0:
        data[at] = -gap
    mine[CLAIMED], mine[ROOM] = position + gap, room
    return (position + gap) & (size[WORDS] - 1)


@inlined
def publish_block(tape, first_seq, epoch, time_ns, commands, events, reports):
    """Publish the block that was claimed, whose rows are written; BLOCK, or TOO_LONG for more rows than were
    claimed."""
    words, data, size, mine = tape.words, tape.data, tape.size, tape.mine
    length = block_words(size, commands, events, reports)
    if length > mine[ROOM]:
        return TOO_LONG
    position = mine[CLAIMED]
    at = position & (size[WORDS] - 1)
    data[at + LENGTH] = length
    data[at + FIRST_SEQ] = first_seq
    data[at + EPOCH] = epoch
    data[at + TIME_NS] = time_ns
    data[at + COMMANDS] = commands
    data[at + EVENTS] = events
    data[at + REPORTS] = reports
    data[at + POSITION] = position
    mine[AT], mine[ROOM] = position + length, 0
    store_release(words, PUBLISHED, position + length)
    ring_bell(words, READERS_BELL)
    return BLOCK


@inlined
def _copy_rows(tape, at, rows, words):
    """Copy so many words of rows, but no more than there are, to index ``at``; gives the index behind them."""
    words = min(words, len(rows))
    copy_words(tape.data, at, rows, np.int64(0), words)
    return at + words


@called
def write_block(pointers, first_seq, epoch, time_ns, commands, events, reports, counts):
    """Copy rows (int64) into a block and publish it; BLOCK or TOO_LONG. counts: int64[3], rows of each kind."""
    tape = unpack_tape(pointers)
    size = tape.size
    at = claim_room(tape, block_words(size, counts[0], counts[1], counts[2]))
    if at < 0:
        return at
    to = _copy_rows(tape, at + HEAD_WORDS, commands, counts[0] * size[ROW_WORDS])
    to = _copy_rows(tape, to, events, counts[1] * size[ROW_WORDS + 1])
    _copy_rows(tape, to, reports, counts[2] * size[ROW_WORDS + 2])
    return publish_block(tape, first_seq, epoch, time_ns, counts[0], counts[1], counts[2])


@inlined
def is_overrun(tape, position):
    """True if what was read from ``position`` on, before this call, may have been overwritten."""
    fence_acquire()
    return position < load_word(tape.words, INTENT) - tape.size[WORDS]


@inlined
def _is_whole(size, head, at, position):
    """True if a head is that of a block at ``position`` that ends within the ring."""
    commands, events, reports = head[COMMANDS], head[EVENTS], head[REPORTS]
    most = size[WORDS]
    if commands < 0 or events < 0 or reports < 0 or commands > most or events > most or reports > most:
        return False
    length = head[LENGTH]
    return head[POSITION] == position and block_words(size, commands, events, reports) == length <= most - at


@inlined
def read_head(tape, position):
    """Copy the head of the block at ``position``, or behind the gap there, to ``tape.head``; gives the result, and the
    position of the block.

    BLOCK, NOTHING, OVERRUN or DAMAGED. The rows may be overwritten at any time after it.
    """
    words, data, size, mine, head = tape.words, tape.data, tape.size, tape.mine, tape.head
    mask = size[WORDS] - 1
    for _ in range(2):
        if position >= mine[SEEN]:
            mine[SEEN] = load_acquire(words, PUBLISHED)
            if position >= mine[SEEN]:
                return NOTHING, position
        at = position & mask
        length = data[at]
        if length < 0:  # a gap
            if is_overrun(tape, position):
                return OVERRUN, position
            if at - length != size[WORDS]:
                return DAMAGED, position
            position -= length
            continue
        if at + HEAD_WORDS <= size[WORDS]:
            copy_words(head, np.int64(0), data, at, np.int64(HEAD_WORDS))
        if is_overrun(tape, position):
            return OVERRUN, position
        if at + HEAD_WORDS > size[WORDS] or not _is_whole(size, head, at, position):
            return DAMAGED, position
        return BLOCK, position
    return DAMAGED, position


@called
def read_block(pointers, rows):
    """Copy the next block's rows to ``rows`` (int64) and its head to ``Tape.head``; BLOCK, NOTHING, TOO_LONG, OVERRUN
    or DAMAGED.

    ``AT`` moves behind a block that was read; the other results move nothing, so TOO_LONG can be tried again with more
    room: the head says how long the block is.
    """
    tape = unpack_tape(pointers)
    words, mine = tape.words, tape.mine
    result, position = read_head(tape, mine[AT])
    if result != BLOCK:
        return result
    length = tape.head[LENGTH]
    if length - HEAD_WORDS > len(rows):
        return TOO_LONG
    begin = (position & (tape.size[WORDS] - 1)) + HEAD_WORDS
    copy_words(rows, np.int64(0), tape.data, begin, length - HEAD_WORDS)
    if is_overrun(tape, position):
        return OVERRUN
    mine[AT] = position + length
    if mine[SLOT] != 0:
        store_release(words, mine[SLOT] + READER_POSITION, mine[AT])
    return BLOCK


@called
def join(pointers, seq):
    """Go to the block with sequence number ``seq``; gives the result, and the first number that is on the tape.

    BLOCK, NOTHING if ``seq`` comes next, AHEAD if it comes later, OVERRUN if it was before, DAMAGED. The reader stands
    at the block (BLOCK), behind the last one (NOTHING, AHEAD), or at the first that is there (OVERRUN). The number is 0
    where there is no block.
    """
    tape = unpack_tape(pointers)
    words, mine, head = tape.words, tape.mine, tape.head
    position = load_acquire(words, OLDEST)
    mine[SEEN] = load_acquire(words, PUBLISHED)
    first, after, blocks = np.int64(0), np.int64(0), np.int64(0)
    for _ in range(tape.size[WORDS]):
        result, position = read_head(tape, position)
        if result == OVERRUN:
            load_acquire(words, INTENT)  # with it comes an OLDEST beyond the block that was lost
            position, blocks = load_acquire(words, OLDEST), np.int64(0)
            continue
        if result != BLOCK:
            break
        if blocks == 0:
            first = head[FIRST_SEQ]
        blocks += 1
        mine[AT] = position
        if head[FIRST_SEQ] > seq:
            return OVERRUN, first
        after = head[FIRST_SEQ] + head[COMMANDS]
        if seq < after:
            return BLOCK, first
        position += head[LENGTH]
    else:
        return OVERRUN, first
    if result != NOTHING:
        return result, first
    mine[AT] = position
    return (AHEAD if blocks > 0 and seq > after else NOTHING), first
