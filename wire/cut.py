"""Kernels that cut SoupBinTCP packets out of bytes, and frame messages into packets, a whole batch at once.

They say the same as ``wire.soup.PacketCutter`` and ``wire.soup.packet``, without a Python object a packet. Arrays
are owned by the caller, contiguous and writeable (another kind would compile another variant): bytes uint8, counts
and places int64. Offsets are from the start of the buffer. What does not fit any more is left for the next call.

Numba notices an edit of a cached kernel only in the kernel's own file, so these call nothing but each other.
"""

from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.jit import called, inlined

#: A length field and the type, before the payload.
_LENGTH_BYTES: Final = 2
_HEAD_BYTES: Final = 3
_LENGTH_TOP: Final = 2**16 - 1

_FINE: Final = 0
_EMPTY: Final = 1
_TOO_LONG: Final = 2


class CutError(IntEnum):
    """Why a stream, or a batch of messages, was not gone on with."""

    NONE = _FINE
    EMPTY = _EMPTY  # a packet of length 0, which has no type
    TOO_LONG = _TOO_LONG  # a packet, or a message, above the bound


class Packets(NamedTuple):
    """Room for packets that are cut; row n is one packet.

    kinds: the type byte. offsets, lengths: of the payload, in bytes. streams: which stream it came from.
    """

    kinds: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    streams: NDArray[np.int64]


def room_for(packets_max: int) -> Packets:
    """Room for so many packets."""
    return Packets(
        np.zeros(packets_max, np.uint8),
        np.zeros(packets_max, np.int64),
        np.zeros(packets_max, np.int64),
        np.zeros(packets_max, np.int64),
    )


@inlined
def _room(packets):
    return min(len(packets.kinds), len(packets.offsets), len(packets.lengths), len(packets.streams))


@inlined
def _cut_stream(buffer, start, end, payload_bytes_max, stream, packets, count):
    """Cuts one stream; (packets in all, where the first byte that was not cut is, error)."""
    at = start
    room = _room(packets)
    while count < room and end - at >= _LENGTH_BYTES:
        length = (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])
        if length < 1:
            return count, at, _EMPTY
        if length > payload_bytes_max + 1:
            return count, at, _TOO_LONG
        if end - at < _LENGTH_BYTES + length:
            break
        packets.kinds[count] = buffer[at + _LENGTH_BYTES]
        packets.offsets[count] = at + _HEAD_BYTES
        packets.lengths[count] = length - 1
        packets.streams[count] = stream
        count += 1
        at += _LENGTH_BYTES + length
    return count, at, _FINE


@called
def cut_packets(buffer, start, end, payload_bytes_max, packets):
    """Cuts the packets of ``buffer[start:end]``, one stream, into ``packets``.

    Gives (packets, bytes consumed, CutError). Bytes beyond the buffer's end are not there, whatever ``end`` says.
    With as many packets as there is room for, more may be there: call again from ``start`` + consumed.
    """
    start = max(start, 0)
    end = min(end, len(buffer))
    count, at, error = _cut_stream(buffer, start, end, payload_bytes_max, 0, packets, 0)
    return count, at - start, error


@called
def cut_streams(buffer, starts, ends, payload_bytes_max, packets, consumed, errors):
    """Cuts many streams, each ``buffer[starts[n]:ends[n]]``, into ``packets``, stream after stream.

    Writes for each the bytes consumed and its CutError, and gives the number of packets. One stream's error leaves
    the others alone. With as many packets as there is room for, the last stream may have more, and later ones have
    consumed nothing: call again with ``starts`` moved on.
    """
    count = 0
    for stream in range(min(len(starts), len(ends), len(consumed), len(errors))):
        start = max(np.int64(starts[stream]), 0)
        end = min(np.int64(ends[stream]), len(buffer))
        count, at, error = _cut_stream(buffer, start, end, payload_bytes_max, stream, packets, count)
        consumed[stream] = at - start
        errors[stream] = error
    return count


@called
def frame_messages(messages, offsets, lengths, count, kind, out):
    """Frames messages ``messages[offsets[n]:offsets[n] + lengths[n]]``, n below ``count``, as packets of a type.

    Gives (messages framed, bytes written to ``out``, CutError). It stops before the first message that ``out`` has
    no room for, without an error, and before one that is not within ``messages`` or is too long for a packet, with
    ``TOO_LONG``.
    """
    at = 0
    messages_count = max(min(count, len(offsets), len(lengths)), 0)
    for number in range(messages_count):
        offset = np.int64(offsets[number])
        length = np.int64(lengths[number])
        if offset < 0 or length < 0 or length >= _LENGTH_TOP or offset > len(messages) - length:
            return number, at, _TOO_LONG
        if len(out) - at < _HEAD_BYTES + length:
            return number, at, _FINE
        out[at] = (length + 1) >> 8
        out[at + 1] = (length + 1) & 255
        out[at + 2] = kind & 255
        for byte in range(length):
            out[at + _HEAD_BYTES + byte] = messages[offset + byte]
        at += _HEAD_BYTES + length
    return messages_count, at, _FINE
