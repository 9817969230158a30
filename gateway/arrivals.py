"""Kernel that reads the packets of all connections of a protocol into rows; the protocol cuts and explains them.

Each connection has a region of one buffer. Its complete packets are taken in order: messages become rows, heartbeats
nothing. Connections take turns by message, so that no order waits for more than one message of each other connection,
however many wait there; gateway processes take part with their rings (``ring_reading``). A stream stops before a
packet of another kind, which is for the session; before bytes that the protocol cannot read, with an error for the
session to name; and when there is no more room for rows. The rest moves to the region's beginning if the region fills
up and the rest is smaller than the part that was taken.

Two kernels are the protocol's (``gateway.protocol``), ``read_all`` is compiled for each pair of them:

    cut(buffer, at, end)
        Size and kind of the packet at ``at``. Size 0: not all of it is there, the bytes end at ``end``; below 0: it is
        broken. Kind: MESSAGE, HEARTBEAT or FOR_SESSION.
    explain(buffer, at, size, stream, tables, commands, n)
        Row n, and n + 1 where it needs an EXTEND row, for the message in a packet; gives the number of rows then.
        UNREADABLE: it is no message. NOT_NOW: the session must take it.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import INTERPRETED, Packed, inlined, prefetch, unpack_pointers
from engine.records import COMMAND
from gateway.ring_reading import (
    ROUNDS,
    SOURCES_MAX,
    Rings,
    give_rooms,
    list_sources,
    new_rings,
    take_from,
    unpack_rings,
)
from tape.ring import NOTE_WORDS

#: Bytes of a region that are used before a rest moves to its front. Moved at once, the rests of a hundred regions are
#: a fifth of the time of reading.
FILLED_BYTES: Final = 65_536

#: Reasons why the reading of a stream stopped. The session makes the sentence, from the packet at the stop.
FINE: Final = 0
OTHER: Final = 1  # at a packet that the session must take
BROKEN: Final = 2  # at bytes that are no packet or no message of a client

#: Kinds of a packet, as ``cut`` gives them.
MESSAGE: Final = 0
HEARTBEAT: Final = 1
FOR_SESSION: Final = 2

#: Results of ``explain`` for no rows.
UNREADABLE: Final = -1
NOT_NOW: Final = -2

#: One stream, in the row of its slot. begin, end: of the bytes in the buffer; ``begin`` moves.
STREAM: Final = np.dtype(
    [
        ("region", "<i8"),  # begin of its region
        ("time_ns", "<i8"),  # when its bytes were received
        ("begin", "<i8"),
        ("end", "<i8"),
        ("messages", "<i8"),  # taken in this turn, which became rows
        ("stop", "<i4"),  # FINE, OTHER or BROKEN
        ("connection", "<i4"),  # number of the connection
        ("user", "<i4"),  # number of the logged-in user
        ("participant", "<i4"),
    ]
)

#: Record of a turn, for fairness audits (``arrival_log``): a TURN row, an ORIGIN row for each stream that was read, and
#: a word for each message in its order: 2 * its ORIGIN row, and 1 more where it made two rows. Words have 4 bytes.
TURN: Final = np.dtype(
    [
        ("last_seq", "<i8"),  # sequence number of its last row
        ("turn", "<i4"),  # number of the turn
        ("streams", "<i4"),
        ("messages", "<i4"),
        ("rows", "<i4"),
    ]
)
ORIGIN: Final = np.dtype(
    [
        ("time_ns", "<i8"),  # when the node received the bytes of the connection, since 1970
        # Number of the connection, from 1 on since the node started; below 0: a source of a gateway process.
        ("connection", "<i4"),
        ("user", "<i4"),  # number of the user, in order of definition; of a source, the user of its first message
    ]
)
WORD_BYTES: Final = 4
TURN_WORDS: Final = TURN.itemsize // WORD_BYTES
ORIGIN_WORDS: Final = ORIGIN.itemsize // WORD_BYTES


def turn_words_max(streams: int, rows: int) -> int:
    """Words of the longest record of a turn."""
    return TURN_WORDS + ORIGIN_WORDS * (streams + SOURCES_MAX) + rows


class Arrivals(NamedTuple):
    """Input and output of ``read_all``."""

    buffer: np.ndarray[Any, Any]  # uint8[n]: the regions of all connections
    streams: np.ndarray[Any, Any]  # STREAM[n]
    commands: np.ndarray[Any, Any]  # COMMAND[n]
    read: np.ndarray[Any, Any]  # int64[as many as streams]: rows of the streams that a turn reads
    record: np.ndarray[Any, Any]  # int32[n]: records of turns
    order: np.ndarray[Any, Any]  # int64[streams and sources]: unfinished ones, for the kernel only
    rings: np.ndarray[Any, Any]  # int64[n, 2]: pointers of the packed ``Rings``
    words: np.ndarray[Any, Any]  # int64[n]: the memory of ``commands``
    notes: np.ndarray[Any, Any]  # int64[notes of as many rows]


#: Rings of a gateway that has none.
_NO_RINGS: Final = Packed(new_rings())


def new_arrivals(
    buffer: Any, streams: Any, commands: Any, record: Any = None, rings: Packed[Rings] | None = None
) -> Arrivals:
    """Make the arrays for a buffer, STREAM rows and COMMAND rows.

    record: room for records of turns; None: for one. rings: which the caller keeps; None: there are none.
    """
    count = len(streams)
    if record is None:
        record = np.zeros(turn_words_max(count, len(commands)), np.int32)
    pointers = (rings or _NO_RINGS).pointers
    return Arrivals(
        buffer,
        streams,
        commands,
        np.arange(count),
        record,
        np.zeros(count + SOURCES_MAX, np.int64),
        pointers if INTERPRETED else pointers.copy(),
        commands.view(np.int64),
        np.zeros(NOTE_WORDS * len(commands), np.int64),
    )


#: Unpack the arrays in a kernel, from the pointers of a ``Packed``.
unpack_arrivals = unpack_pointers(new_arrivals(np.zeros(1, np.uint8), np.zeros(1, STREAM), np.zeros(1, COMMAND)))


@inlined
def _read_some(arrays, tables, number, n, place, rows_max, messages_max, cut, explain):
    """Make rows of the next messages of a stream and skip heartbeats.

    place: of its next word in the record. Gives rows and next place of the turn, and True if the stream may have more.
    """
    buffer, streams, commands, read, record = arrays.buffer, arrays.streams, arrays.commands, arrays.read, arrays.record
    stream = streams[read[number]]
    at, end = stream["begin"], stream["end"]
    messages = np.int64(0)
    while messages < messages_max and n + 2 <= rows_max:
        size, kind = cut(buffer, at, end)
        if size <= 0:
            if size < 0:
                stream["stop"] = BROKEN
            break
        if kind == MESSAGE:
            after = explain(buffer, at, size, stream, tables, commands, n)
            if after < 0:
                stream["stop"] = OTHER if after == NOT_NOW else BROKEN
                break
            record[place] = 2 * number + (after - n - 1)
            place += 1
            n = after
            messages += 1
        elif kind != HEARTBEAT:
            stream["stop"] = OTHER
            break
        at += size
    stream["begin"] = at
    stream["messages"] += messages
    more = messages == messages_max and end - at >= 2
    if more:  # its next message is read after a message of each other stream, and is then in the cache
        prefetch(buffer, at)
        prefetch(buffer, min(at + 64, end - 1))
    return n, place, more


@inlined
def _rest_to_front(buffer, stream):
    """Move the rest to the region's beginning if the region fills up, but no more bytes than were taken."""
    region, begin = stream["region"], stream["begin"]
    left = stream["end"] - begin
    if left == 0 or (stream["end"] - region > FILLED_BYTES and left <= begin - region):
        for byte in range(left):
            buffer[region + byte] = buffer[begin + byte]
        stream["begin"] = region
        stream["end"] = region + left


@inlined
def _record_origin(record, at, stream):
    """Write the ORIGIN row of a stream at word ``at``."""
    time_ns = stream["time_ns"]
    record[at] = ((time_ns & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000  # the low word, signed
    record[at + 1] = time_ns >> 32
    record[at + 2] = stream["connection"]
    record[at + 3] = stream["user"]


@inlined
def _read_source(arrays, rings, source, number, n, place, rows_max, origin):
    """Take the next message of a source of a gateway process to row ``n``, and record it; results as of ``_read_some``.

    number: of the source among streams and sources.
    """
    record = arrays.record
    count, time_ns, user, more = take_from(rings, source, arrays.commands, arrays.words, arrays.notes, n, rows_max)
    if count > 0:
        record[place] = 2 * number + (count - 1)
        place += 1
        at = origin + ORIGIN_WORDS * number
        if record[at + 2] == 0:
            record[at] = ((time_ns & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
            record[at + 1] = time_ns >> 32
            record[at + 2] = -1 - source
            record[at + 3] = user
        n += count
    return n, place, more


@inlined
def _put_in_order(order, count, sources, first, rounds):
    """Put the numbers of streams in their order, ``first`` at the front, and those of sources among them, elsewhere in
    each round."""
    behind = rounds % (count + 1) if sources > 0 else count
    at = np.int64(0)
    for number in range(count + 1):
        if number == behind:
            for source in range(sources):
                order[at] = count + (source + rounds) % sources
                at += 1
        if number < count:
            begins = first + number
            order[at] = begins - count if begins >= count else begins
            at += 1


@inlined
def read_all(arrays, tables, count, rows_max, first, record_at, cut, explain):
    """Read the first ``count`` streams of ``Arrivals.read`` and the rings into rows; gives their number.

    Stream ``first`` of these begins, and streams and sources of rings take turns by message. A stream's ``begin`` moves
    behind the taken packets; the rest moves to the region's beginning if the region fills up. With fewer than two rows
    of room left, streams may have more: call again, beginning with those with the fewest messages taken. ``end`` must
    be within the buffer. The record of the turn begins at word ``record_at``; the caller writes its TURN row, of the
    streams and the sources (``Rings.words``). tables: those of the protocol, for ``explain``.
    """
    streams, commands, read, record, order = arrays.streams, arrays.commands, arrays.read, arrays.record, arrays.order
    rings = unpack_rings(arrays.rings)
    count = min(count, len(streams), len(read), len(order) - SOURCES_MAX)
    sources = list_sources(rings)
    origin = record_at + TURN_WORDS
    n, place = np.int64(0), origin + ORIGIN_WORDS * (count + sources)
    rows_max = min(rows_max, len(commands), len(record) - place)
    for number in range(count):
        stream = streams[read[number]]
        stream["messages"] = 0
        stream["stop"] = FINE
        _record_origin(record, origin + ORIGIN_WORDS * number, stream)
    for number in range(count, count + sources):
        record[origin + ORIGIN_WORDS * number + 2] = 0
    _put_in_order(order, count, sources, first, rings.words[ROUNDS])
    if sources > 0:
        rings.words[ROUNDS] += 1
    left = count + sources
    refusals_left = rows_max  # of messages that are not taken, so that no gateway holds the core
    while left > 0 and n + 2 <= rows_max:
        messages_max = np.int64(1) if left > 1 else rows_max  # the last stream needs no turns
        kept = np.int64(0)
        for each in range(left):
            if n + 2 > rows_max:
                break
            number, before = order[each], n
            if number < count:
                n, place, more = _read_some(arrays, tables, number, n, place, rows_max, messages_max, cut, explain)
            else:
                n, place, more = _read_source(arrays, rings, number - count, number, n, place, rows_max, origin)
                refusals_left -= np.int64(n == before)
                more = more and refusals_left > 0
            if more:
                order[kept] = number
                kept += 1
        left = kept
    for number in range(count):
        _rest_to_front(arrays.buffer, streams[read[number]])
    if sources > 0:
        give_rooms(rings)
    return n
