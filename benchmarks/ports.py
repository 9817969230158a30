"""Ports of loopback for processes that start later, or that come back to the port that they had.

A port that the system chose and that nobody holds yet may be given to the next who asks, or to a connection. So these
are outside the range from which the system gives ports.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Below it are ports of servers that may run on this machine.
_LOWEST: Final = 10_000
_HIGHEST: Final = 65_535
#: Processes with numbers side by side begin far from each other.
_STRIDE: Final = 7_919


def _outside() -> range:
    """Ports that the system gives to nobody who does not name them."""
    low, high = 32_768, 60_999
    if _RANGE.exists():
        low, high = map(int, _RANGE.read_text().split())
    below, above = range(_LOWEST, low), range(high + 1, _HIGHEST + 1)
    found = max(below, above, key=len)
    return found if len(found) > 1_000 else range(_LOWEST, _HIGHEST + 1)


def _in_turn() -> Iterator[int]:
    """The ports, each once before any comes again; a process that was forked begins elsewhere."""
    ports, pid, turn = _outside(), 0, 0
    while True:
        if pid != os.getpid():
            pid = os.getpid()
            turn = pid * _STRIDE
        turn += 1
        yield ports[turn % len(ports)]


_PORTS: Final = _in_turn()


def free_port() -> int:
    """A port on which nobody listens, and that no other process of this user is likely to take."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("ports come in turn without an end")
