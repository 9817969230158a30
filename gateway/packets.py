"""The SoupBinTCP packet cut for kernels; ``wire.soup.packet_bytes`` is the same for Python."""

import numpy as np

from engine.jit import inlined


@inlined
def packet_bytes(buffer, at, end, payload_bytes_max):
    """Bytes of the packet that begins at ``at``, its head included.

    0: not all of it is there (``end``: where the bytes end). -1: its length field cannot be right.
    """
    if end - at < 2:
        return np.int64(0)
    length = (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])
    if length < 1 or length > payload_bytes_max + 1:
        return np.int64(-1)
    return 2 + length if end - at >= 2 + length else np.int64(0)
