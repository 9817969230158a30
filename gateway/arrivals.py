"""Kernel that cuts the packets of all connections, and has ``reading`` make each message into rows.

Each connection has a region of one buffer. Its complete packets are taken in order: OUCH messages become rows,
heartbeats nothing. Connections take turns by message, so that no order waits for more than one message of each other
connection, however many wait there. A stream stops before a packet of another kind, which is for the session; before
bytes that are not OUCH, with an error for the caller to name; and when there is no more room for rows. The rest moves
to the region's beginning if the region fills up and the rest is smaller than the part that was taken.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, prefetch, unpack_pointers
from engine.records import COMMAND
from gateway.reading import SYMBOL, read_message
from gateway.recent import RECENT
from gateway.tables import OPEN, OPEN_REST
from wire import octets
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, PacketType

#: Bytes of a region that are used before a rest moves to its front. Moved at once, the rests of a hundred regions are
#: a fifth of the time of reading.
FILLED_BYTES: Final = 65_536

#: Reasons why the reading of a stream stopped. ``wire`` makes the sentence, from the packet at the stop.
FINE: Final = 0
OTHER: Final = 1  # at a packet that is no message and no heartbeat
BROKEN: Final = 2  # at bytes that are no packet or no OUCH message of a client

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
        ("connection", "<i4"),  # number of the connection, from 1 on since the node started
        ("user", "<i4"),  # number of the user, in order of definition
    ]
)
WORD_BYTES: Final = 4
TURN_WORDS: Final = TURN.itemsize // WORD_BYTES
ORIGIN_WORDS: Final = ORIGIN.itemsize // WORD_BYTES


def turn_words_max(streams: int, rows: int) -> int:
    """Words of the longest record of a turn."""
    return TURN_WORDS + ORIGIN_WORDS * streams + rows


class Arrivals(NamedTuple):
    """Input and output of ``read_streams``."""

    buffer: np.ndarray[Any, Any]  # uint8[n]: the regions of all connections
    streams: np.ndarray[Any, Any]  # STREAM[n]
    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]
    open: np.ndarray[Any, Any]  # OPEN[power of two]: ``StreamTables.open``
    rest: np.ndarray[Any, Any]  # OPEN_REST[as many]: ``StreamTables.rest``
    recent: np.ndarray[Any, Any]  # RECENT[RECENT_ROWS]
    commands: np.ndarray[Any, Any]  # COMMAND[n]
    read: np.ndarray[Any, Any]  # int64[as many as streams]: rows of the streams that a turn reads
    record: np.ndarray[Any, Any]  # int32[n]: records of turns
    order: np.ndarray[Any, Any]  # int64[as many as streams]: unfinished streams, for the kernel only


def new_arrivals(
    buffer: Any, streams: Any, symbols: Any, open_rows: Any, rest: Any, recent: Any, commands: Any, record: Any = None
) -> Arrivals:
    """Make the arrays for a buffer, STREAM, SYMBOL, OPEN, OPEN_REST and RECENT rows, and COMMAND rows.

    record: room for records of turns; None: for one.
    """
    count = len(streams)
    if record is None:
        record = np.zeros(turn_words_max(count, len(commands)), np.int32)
    read, order = np.arange(count), np.zeros(count, np.int64)
    return Arrivals(buffer, streams, symbols, open_rows, rest, recent, commands, read, record, order)


_packet_bytes: Final = inlined(octets.packet_bytes)
#: Unpack the arrays in a kernel, from the pointers of a ``Packed``.
unpack_arrivals = unpack_pointers(
    new_arrivals(
        np.zeros(1, np.uint8),
        np.zeros(1, STREAM),
        np.zeros(1, SYMBOL),
        np.zeros(1, OPEN),
        np.zeros(1, OPEN_REST),
        np.zeros(1, RECENT),
        np.zeros(1, COMMAND),
    )
)


@inlined
def _read_some(arrays, number, n, place, rows_max, messages_max):
    """Make rows of the next messages of a stream and skip heartbeats.

    place: of its next word in the record. Gives rows and next place of the turn, and True if the stream may have more.
    """
    buffer, streams, symbols, open_rows, rest, recent, commands, read, record, _ = arrays
    stream = streams[read[number]]
    at, end = stream["begin"], stream["end"]
    messages = np.int64(0)
    while messages < messages_max and n + 2 <= rows_max:
        size = _packet_bytes(buffer, at, end, PAYLOAD_BYTES_MAX)
        if size <= 0:
            if size < 0:
                stream["stop"] = BROKEN
            break
        kind = np.int64(buffer[at + 2])
        if kind == PacketType.UNSEQUENCED:
            after = read_message(
                buffer, at + HEAD_BYTES, size - HEAD_BYTES, stream, symbols, open_rows, rest, recent, commands, n
            )
            if after < 0:
                stream["stop"] = BROKEN
                break
            record[place] = 2 * number + (after - n - 1)
            place += 1
            n = after
            messages += 1
        elif kind != PacketType.CLIENT_HEARTBEAT or size != HEAD_BYTES:
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


@called
def read_streams(pointers, count, rows_max, first, record_at):
    """Read the first ``count`` streams of ``Arrivals.read`` (``pointers``: of Arrivals, packed) into rows; gives their
    number.

    Stream ``first`` of these begins, and the streams take turns by message. A stream's ``begin`` moves behind the taken
    packets; the rest moves to the region's beginning if the region fills up. With fewer than two rows of room left,
    streams may have more: call again, beginning with those with the fewest messages taken. ``end`` must be within the
    buffer. The record of the turn begins at word ``record_at``; the caller writes its TURN row.
    """
    arrays = unpack_arrivals(pointers)
    buffer, streams, _, _, _, _, commands, read, record, order = arrays
    count = min(count, len(streams), len(read), len(order))
    origin = record_at + TURN_WORDS
    n, place = np.int64(0), origin + ORIGIN_WORDS * count
    rows_max = min(rows_max, len(commands), len(record) - place)
    for number in range(count):
        stream = streams[read[number]]
        stream["messages"] = 0
        stream["stop"] = FINE
        _record_origin(record, origin + ORIGIN_WORDS * number, stream)
        begins = first + number
        order[number] = begins - count if begins >= count else begins
    left = count
    while left > 0 and n + 2 <= rows_max:
        messages_max = np.int64(1) if left > 1 else rows_max  # the last stream needs no turns
        kept = np.int64(0)
        for each in range(left):
            if n + 2 > rows_max:
                break
            number = order[each]
            n, place, more = _read_some(arrays, number, n, place, rows_max, messages_max)
            if more:
                order[kept] = number
                kept += 1
        left = kept
    for number in range(count):
        _rest_to_front(buffer, streams[read[number]])
    return n
