"""Kernel that cuts the packets of SoupBinTCP 3.00, for the protocols over it."""

from typing import Final

import numpy as np

from engine.jit import inlined
from gateway.arrivals import FOR_SESSION, HEARTBEAT, MESSAGE
from wire import octets
from wire.soup import HEAD_BYTES, PAYLOAD_BYTES_MAX, PacketType

_packet_bytes: Final = inlined(octets.packet_bytes)


@inlined
def cut_packet(buffer, at, end):
    """Size and kind of the packet at ``at`` (``gateway.arrivals``)."""
    size = _packet_bytes(buffer, at, end, PAYLOAD_BYTES_MAX)
    kind = np.int64(FOR_SESSION)
    if size > 0:
        letter = np.int64(buffer[at + 2])
        if letter == PacketType.UNSEQUENCED:
            kind = np.int64(MESSAGE)
        elif letter == PacketType.CLIENT_HEARTBEAT and size == HEAD_BYTES:
            kind = np.int64(HEARTBEAT)
    return size, kind
