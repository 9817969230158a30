"""Bytes written to a connection at once: its transport writes when the event loop has done all that is ready."""

import asyncio
import os


def socket_of(transport: asyncio.BaseTransport) -> int:
    """Descriptor of a transport's socket; -1 where it has none."""
    found = transport.get_extra_info("socket")
    return -1 if found is None else int(found.fileno())


def write_at_once(transport: asyncio.Transport | None, fd: int, data: bytes) -> int:
    """Write bytes to the socket of a transport, where nothing waits before them; gives how many were written.

    The rest is for the transport, which waits for room or finds out what is wrong. fd: of the socket; -1: nothing is
    written, as where the bytes are for TLS.
    """
    if not data or fd < 0 or transport is None or transport.is_closing() or transport.get_write_buffer_size():
        return 0
    try:
        return os.write(fd, data)
    except OSError:
        return 0
