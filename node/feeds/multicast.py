"""Packets to multicast groups, by UDP over IPv4."""

import socket
import struct
from collections.abc import Sequence

from node.feeds.programs import Address

#: Bytes that the system keeps of packets that the network has not taken.
_SEND_BUFFER_BYTES = 4 << 20


class Outlet:
    """Socket that sends each packet to all groups. ``sent``: packets; ``unsent``: those that the system did not take.

    Raises OSError for an interface that is none of this machine.
    """

    def __init__(self, groups: Sequence[Address], interface: str, ttl: int) -> None:
        self._groups = [(each.host, each.port) for each in groups]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("B", ttl))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self.sent = self.unsent = 0

    @property
    def fd(self) -> int:
        """Descriptor of the socket, for a kernel that sends. It counts in ``sent`` and ``unsent`` what it does."""
        return self._socket.fileno()

    @property
    def addresses(self) -> bytes:
        """The groups, each as the 16 bytes of a socket address of C."""
        return b"".join(
            struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)
            for host, port in self._groups
        )

    def send(self, packet: bytes) -> None:
        """Send a packet, or leave it out where the system has no room: its receivers ask for it again."""
        for group in self._groups:
            try:
                self._socket.sendto(packet, group)
                self.sent += 1
            except OSError:  # a network that is down is a matter of the network's own alarms
                self.unsent += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
