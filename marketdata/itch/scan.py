"""Kernels about framed bytes: messages found, and put into packets of SoupBinTCP."""

from typing import Final

import numpy as np

from engine.jit import called

#: Type of a sequenced packet (``wire.soup.PacketType``).
_SEQUENCED: Final = ord("S")


@called
def index_messages(framed, skip, step, places):
    """Offsets of message ``skip`` of the bytes, from 0, and of each ``step``-th after it, into ``places``.

    Gives the number of whole messages, of places, and the byte behind the last whole message. A length of 0 ends it.
    """
    at, count, n, left = np.int64(0), np.int64(0), np.int64(0), np.int64(skip)
    while at + 2 <= len(framed):
        length = (np.int64(framed[at]) << 8) | np.int64(framed[at + 1])
        if length == 0 or at + 2 + length > len(framed):
            break
        if left == 0:
            if n < len(places):
                places[n] = at
                n += 1
            left = np.int64(step)
        left -= 1
        at += 2 + length
        count += 1
    return count, n, at


@called
def as_packets(framed, out):
    """Framed messages as sequenced packets of SoupBinTCP, whose length counts their type; gives the bytes written."""
    at, to = np.int64(0), np.int64(0)
    while at + 2 <= len(framed):
        length = (np.int64(framed[at]) << 8) | np.int64(framed[at + 1])
        if length == 0 or at + 2 + length > len(framed) or to + 3 + length > len(out):
            break
        out[to] = (length + 1) >> 8
        out[to + 1] = (length + 1) & 255
        out[to + 2] = _SEQUENCED
        for n in range(length):
            out[to + 3 + n] = framed[at + 2 + n]
        at += 2 + length
        to += 3 + length
    return to
