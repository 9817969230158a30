"""Kernel that cuts the packets of all connections, and has ``reading`` make each message into rows.

Each connection has a region of one buffer. Its complete packets are taken in order: OUCH messages become rows,
heartbeats nothing. Connections take turns by message, so that no order waits for more than one message of each other
connection, however many wait there. A stream stops before a packet of another kind, which is for the session; before
bytes that are not OUCH, with an error for the caller to name; and when there is no more room for rows. The rest moves
to the region's beginning if it is smaller than the part that was taken.
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

#: Reasons why the reading of a stream stopped. ``wire`` makes the sentence, from the packet at the stop.
FINE: Final = 0
OTHER: Final = 1  # at a packet that is no message and no heartbeat
BROKEN: Final = 2  # at bytes that are no packet or no OUCH message of a client

#: One stream of a turn. begin, end: of the bytes in the buffer; ``begin`` moves. stop: FINE, OTHER or BROKEN.
STREAM: Final = np.dtype(
    [
        ("region", "<i8"),  # begin of its region
        ("begin", "<i8"),
        ("end", "<i8"),
        ("user", "<i8"),  # number of the logged-in user
        ("participant", "<i8"),
        ("packets", "<i8"),  # complete packets taken in this turn
        ("messages", "<i8"),  # messages among them, which became rows
        ("stop", "<i8"),
        ("connection", "<i8"),  # number of the connection
        ("time_ns", "<i8"),  # when its bytes were received
    ]
)

#: Origin of the messages of one stream in a turn, for fairness audits (``arrival_log``).
ORIGIN: Final = np.dtype(
    [
        ("time_ns", "<i8"),  # when the node received the bytes of the connection, since 1970
        ("connection", "<i4"),  # number of the connection, from 1 on since the node started
        ("user", "<i4"),  # number of the user, in order of definition
    ]
)


_packet_bytes: Final = inlined(octets.packet_bytes)


class Arrivals(NamedTuple):
    """Input and output of ``read_streams``."""

    buffer: np.ndarray[Any, Any]  # uint8[n]: the regions of all connections
    streams: np.ndarray[Any, Any]  # STREAM[n]
    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]
    open: np.ndarray[Any, Any]  # OPEN[power of two]: ``StreamTables.open``
    rest: np.ndarray[Any, Any]  # OPEN_REST[as many]: ``StreamTables.rest``
    recent: np.ndarray[Any, Any]  # RECENT[RECENT_ROWS]
    commands: np.ndarray[Any, Any]  # COMMAND[n]
    origins: np.ndarray[Any, Any]  # ORIGIN[as many as streams]
    places: np.ndarray[Any, Any]  # int32[n], one a message in order: 2 * stream, plus 1 if it made two rows
    order: np.ndarray[Any, Any]  # int64[as many as streams]: unfinished streams, for the kernel only


def new_arrivals(
    buffer: Any, streams: Any, symbols: Any, open_rows: Any, rest: Any, recent: Any, commands: Any
) -> Arrivals:
    """Make the arrays for a buffer, STREAM, SYMBOL, OPEN, OPEN_REST and RECENT rows, and COMMAND rows."""
    origins, places = np.zeros(len(streams), ORIGIN), np.zeros(len(commands), np.int32)
    order = np.zeros(len(streams), np.int64)
    return Arrivals(buffer, streams, symbols, open_rows, rest, recent, commands, origins, places, order)


_unpack_arrivals = unpack_pointers(
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
    """Make rows of the next messages of a stream and skip heartbeats. Gives rows and messages of the turn so far, and
    True if the stream may have more.
    """
    buffer, streams, symbols, open_rows, rest, recent, commands, _, places, _ = arrays
    stream = streams[number]
    at, end = stream["begin"], stream["end"]
    packets, messages = np.int64(0), np.int64(0)
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
            places[place] = 2 * number + (after - n - 1)
            place += 1
            n = after
            messages += 1
        elif kind != PacketType.CLIENT_HEARTBEAT or size != HEAD_BYTES:
            stream["stop"] = OTHER
            break
        packets += 1
        at += size
    stream["begin"] = at
    stream["packets"] += packets
    stream["messages"] += messages
    more = messages == messages_max and end - at >= 2
    if more:  # its next message is read after a message of each other stream, and is then in the cache
        prefetch(buffer, at)
        prefetch(buffer, min(at + 64, end - 1))
    return n, place, more


@inlined
def _rest_to_front(buffer, stream):
    """Move the rest to the region's beginning, but no more bytes than were taken since the last move."""
    gap = stream["begin"] - stream["region"]
    left = stream["end"] - stream["begin"]
    if gap != 0 and left <= gap:
        for byte in range(left):
            buffer[stream["region"] + byte] = buffer[stream["begin"] + byte]
        stream["begin"] = stream["region"]
        stream["end"] = stream["region"] + left


@called
def read_streams(pointers, count, rows_max, first):
    """Read the first ``count`` streams of ``Arrivals`` (``pointers``: of it, packed) into rows; gives their number.

    Stream ``first`` begins, and the streams take turns by message. A stream's ``begin`` moves behind the taken packets;
    a small rest then moves to the region's beginning. With fewer than two rows of room left, streams may have more:
    call again, beginning with those with the fewest messages taken. ``end`` must be within the buffer. ``origins`` and
    ``places`` then have the origin of each message.
    """
    arrays = _unpack_arrivals(pointers)
    buffer, streams, _, _, _, _, commands, origins, recorded, order = arrays
    n, place = np.int64(0), np.int64(0)
    rows_max = min(rows_max, len(commands), len(recorded))
    count = min(count, len(streams), len(order), len(origins))
    for number in range(count):
        stream, origin = streams[number], origins[number]
        stream["packets"] = 0
        stream["messages"] = 0
        stream["stop"] = FINE
        origin["time_ns"] = stream["time_ns"]
        origin["connection"] = stream["connection"]
        origin["user"] = stream["user"]
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
        _rest_to_front(buffer, streams[number])
    return n
