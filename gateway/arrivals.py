"""The way in: one kernel cuts the packets of all connections, and has each message made into rows (``reading``).

Each connection has a region of one buffer. Its whole packets are taken in order: OUCH messages become rows, heartbeats
nothing. Connections take turns by message, so that no order waits for more than one message of each other connection,
however many wait there. A stream stops in front of a packet of another kind, which is the session's, in front of what
is not OUCH, with an error for the caller to name, and when there is no more room for rows. Bytes that are not taken
move to the region's beginning.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import called, inlined, unpack_pointers
from engine.records import COMMAND
from gateway.fold import OPEN, OPEN_REST
from gateway.reading import SYMBOL, read_message
from gateway.recent import RECENT
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, PacketType

_LENGTH_MAX: Final = PAYLOAD_BYTES_MAX + 1
_UNSEQUENCED: Final = int(PacketType.UNSEQUENCED)
_HEARTBEAT: Final = int(PacketType.CLIENT_HEARTBEAT)

#: Why the reading of a stream stopped. The sentence is made by ``wire``, from the packet where it stopped.
FINE: Final = 0
OTHER: Final = 1  # a packet that is no message and no heartbeat stands where it stopped
BROKEN: Final = 2  # no packet, or no OUCH message of a client, stands there

#: One stream of a turn. begin, end: of the bytes in the buffer; ``begin`` moves. stop: FINE, OTHER or BROKEN.
STREAM: Final = np.dtype(
    [
        ("region", "<i8"),  # where its region begins
        ("begin", "<i8"),
        ("end", "<i8"),
        ("user", "<i8"),  # number of the user that is logged in
        ("participant", "<i8"),
        ("packets", "<i8"),  # whole packets taken in this turn
        ("messages", "<i8"),  # messages among them, which became rows
        ("stop", "<i8"),
        ("connection", "<i8"),  # number of the connection
        ("time_ns", "<i8"),  # when its bytes were received
    ]
)

#: The arrival of one row, for fairness audits (``arrival_log``).
ARRIVAL: Final = np.dtype(
    [
        ("seq", "<i8"),  # sequence number of the row; the kernel leaves it 0
        ("time_ns", "<i8"),  # when the node received the bytes of the connection, since 1970
        ("connection", "<i4"),  # number of the connection, from 1 on since the node started
        ("user", "<i4"),  # number of the user, in order of definition
        ("place", "<i4"),  # of the message in its turn, from 0; an EXTEND row has that of its message
        ("turn", "<i4"),  # number of the turn since the node started, modulo 2**31
    ]
)


class Arrivals(NamedTuple):
    """Input and output of ``read_streams``."""

    buffer: np.ndarray[Any, Any]  # uint8[n]: the regions of all connections
    streams: np.ndarray[Any, Any]  # STREAM[n]
    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]
    open: np.ndarray[Any, Any]  # OPEN[power of two]: ``Fold.open``
    rest: np.ndarray[Any, Any]  # OPEN_REST[as many]: ``Fold.rest``
    recent: np.ndarray[Any, Any]  # RECENT[RECENT_ROWS]
    commands: np.ndarray[Any, Any]  # COMMAND[n]
    arrived: np.ndarray[Any, Any]  # ARRIVAL[n], one a row of commands; ARRIVAL[0]: none are recorded
    order: np.ndarray[Any, Any]  # int64[as many as streams]: which are not done, for the kernel alone


def new_arrivals(
    buffer: Any, streams: Any, symbols: Any, open_rows: Any, rest: Any, recent: Any, commands: Any, records: bool = True
) -> Arrivals:
    """The arrays for a buffer, STREAM rows, SYMBOL, OPEN, OPEN_REST and RECENT rows, and COMMAND rows.

    records: False where nobody takes ARRIVAL rows.
    """
    arrived, order = np.zeros(len(commands) if records else 0, ARRIVAL), np.zeros(len(streams), np.int64)
    return Arrivals(buffer, streams, symbols, open_rows, rest, recent, commands, arrived, order)


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
def _read_next(buffer, stream, symbols, open_rows, rest, recent, commands, n):
    """Rows for the next message of a stream and the heartbeats before it: rows then, and whether there may be more."""
    at, end = stream["begin"], stream["end"]
    more = False
    while end - at >= 2:
        length = (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])
        if length < 1 or length > _LENGTH_MAX:
            stream["stop"] = BROKEN
            break
        if end - at < 2 + length:
            break
        kind = np.int64(buffer[at + 2])
        if kind == _UNSEQUENCED:
            after = read_message(
                buffer, at + HEAD_BYTES, length - 1, stream, symbols, open_rows, rest, recent, commands, n
            )
            if after < 0:
                stream["stop"] = BROKEN
                break
            n = after
            stream["messages"] += 1
            more = True
        elif kind != _HEARTBEAT or length != 1:
            stream["stop"] = OTHER
            break
        stream["packets"] += 1
        at += 2 + length
        if more:
            more = end - at >= 2
            break
    stream["begin"] = at
    return n, more


@inlined
def _rest_to_front(buffer, stream):
    if stream["begin"] != stream["region"]:
        left = stream["end"] - stream["begin"]
        for byte in range(left):
            buffer[stream["region"] + byte] = buffer[stream["begin"] + byte]
        stream["begin"] = stream["region"]
        stream["end"] = stream["region"] + left


@called
def read_streams(pointers, count, rows_max, first, turn):
    """Reads the first ``count`` streams of ``Arrivals`` (``pointers``: of it, packed) into rows; gives their number.

    Stream ``first`` begins, and the streams take turns by message. A stream's ``begin`` moves behind what was taken;
    then the rest is at its region's beginning. With fewer than two rows of room left, streams may have more: call
    again, those first that have the fewest messages taken. ``end`` must be within the buffer.
    """
    buffer, streams, symbols, open_rows, rest, recent, commands, arrived, order = _unpack_arrivals(pointers)
    n = np.int64(0)
    place = np.int64(0)
    records = len(arrived) > 0
    rows_max = min(rows_max, len(commands))
    if records:
        rows_max = min(rows_max, len(arrived))
    count = min(count, len(streams), len(order))
    for number in range(count):
        stream = streams[number]
        stream["packets"] = 0
        stream["messages"] = 0
        stream["stop"] = FINE
        begins = first + number
        order[number] = begins - count if begins >= count else begins
    left = count
    while left > 0 and n + 2 <= rows_max:
        kept = np.int64(0)
        for each in range(left):
            if n + 2 > rows_max:
                break
            stream = streams[order[each]]
            row = n
            n, more = _read_next(buffer, stream, symbols, open_rows, rest, recent, commands, n)
            placed = n > row
            while records and row < n:
                arrival = arrived[row]
                arrival["seq"] = 0
                arrival["time_ns"] = stream["time_ns"]
                arrival["connection"] = stream["connection"]
                arrival["user"] = stream["user"]
                arrival["place"] = place
                arrival["turn"] = turn
                row += 1
            place += placed
            if more:
                order[kept] = order[each]
                kept += 1
        left = kept
    for number in range(count):
        _rest_to_front(buffer, streams[number])
    return n
