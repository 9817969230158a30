"""The way in: one kernel cuts the packets of all connections, and has each message made into rows (``reading``).

Each connection has a region of one buffer. Its whole packets are taken in order: OUCH messages become rows, heartbeats
nothing. A stream stops in front of a packet of another kind, which is the session's, in front of what is not OUCH, with
an error for the caller to name, and when there is no more room for rows. Bytes that are not taken move to the region's
beginning.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from engine.jit import at_places, called, inlined
from engine.records import COMMAND
from gateway.reading import SYMBOL, read_message
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, PacketType

_LENGTH_MAX: Final = PAYLOAD_BYTES_MAX + 1
_UNSEQUENCED: Final = int(PacketType.UNSEQUENCED)
_HEARTBEAT: Final = int(PacketType.CLIENT_HEARTBEAT)

#: Why a stream was not gone on with. The sentence is made by ``wire``, from the packet where it stopped.
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
    ]
)


class Arrivals(NamedTuple):
    """What ``read_streams`` reads, and where it writes."""

    buffer: np.ndarray[Any, Any]  # uint8[n]: the regions of all connections
    streams: np.ndarray[Any, Any]  # STREAM[n]
    symbols: np.ndarray[Any, Any]  # SYMBOL[power of two]
    commands: np.ndarray[Any, Any]  # COMMAND[n]


_arrivals_at = at_places(
    Arrivals(np.zeros(1, np.uint8), np.zeros(1, STREAM), np.zeros(1, SYMBOL), np.zeros(1, COMMAND))
)


@inlined
def _read_stream(buffer, stream, symbols, commands, n, rows_max):
    at, end = stream["begin"], stream["end"]
    packets = np.int64(0)
    messages = np.int64(0)
    stop = FINE
    while end - at >= 2 and n + 2 <= rows_max:
        length = (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])
        if length < 1 or length > _LENGTH_MAX:
            stop = BROKEN
            break
        if end - at < 2 + length:
            break
        kind = np.int64(buffer[at + 2])
        if kind == _UNSEQUENCED:
            after = read_message(buffer, at + HEAD_BYTES, length - 1, stream, symbols, commands, n)
            if after < 0:
                stop = BROKEN
                break
            n = after
            messages += 1
        elif kind != _HEARTBEAT or length != 1:
            stop = OTHER
            break
        packets += 1
        at += 2 + length
    stream["packets"] = packets
    stream["messages"] = messages
    stream["stop"] = stop
    stream["begin"] = at
    return n


@called
def read_streams(places, count, rows_max):
    """Reads the first ``count`` streams of ``Arrivals`` (``places``: of it, see ``jit``) into rows; gives their number.

    A stream's ``begin`` moves behind what was taken; then the rest is at its region's beginning. With fewer than two
    rows of room left, streams may have more: call again. ``end`` must be within the buffer.
    """
    buffer, streams, symbols, commands = _arrivals_at(places)
    n = np.int64(0)
    rows_max = min(rows_max, len(commands))
    for number in range(min(count, len(streams))):
        stream = streams[number]
        n = _read_stream(buffer, stream, symbols, commands, n, rows_max)
        if stream["begin"] != stream["region"]:
            left = stream["end"] - stream["begin"]
            for byte in range(left):
                buffer[stream["region"] + byte] = buffer[stream["begin"] + byte]
            stream["begin"] = stream["region"]
            stream["end"] = stream["region"] + left
    return n
