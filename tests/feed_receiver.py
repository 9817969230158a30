"""A receiver of a market data feed: it joins the group, puts packets in order, and asks for what was lost.

``Order`` is the part without a socket; ``Receiver`` has the sockets. ``spoils``: what the network does to a packet, a
function that gives the packets that arrive in its place.
"""

import contextlib
import random
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

from wire import ProtocolError, mold

Spoils = Callable[[bytes], list[bytes]]


class Order:
    """Messages of sessions in order. ``sessions``: messages by session; ``ended``: sessions whose end was told.

    ``asks``: False for a receiver that takes what comes for all that there is (the negative control).
    """

    def __init__(self, *, asks: bool = True) -> None:
        self.sessions: dict[str, list[bytes]] = {}
        self.ended: set[str] = set()
        self.asks = asks
        self.highest: dict[str, int] = {}

    def take(self, octets: bytes) -> None:
        """Take a packet of the feed, or of an answer."""
        packet = mold.read(octets)
        got = self.sessions.setdefault(packet.session, [])
        if packet.ends:
            self.ended.add(packet.session)
        if not self.asks:
            got += packet.messages
            return
        self.highest[packet.session] = max(self.highest.get(packet.session, 1), packet.next_sequence)
        known = len(got) + 1 - packet.sequence
        if 0 <= known < len(packet.messages):
            got += packet.messages[known:]

    def missing(self) -> list[tuple[str, int, int]]:
        """(session, first, count) of messages that others have and this has not."""
        return [
            (name, len(self.sessions[name]) + 1, behind - len(self.sessions[name]) - 1)
            for name, behind in self.highest.items()
            if behind > len(self.sessions[name]) + 1
        ]


class Receiver:
    """Sockets of a receiver on loopback; it asks the ports of ``requests``, each in turn."""

    def __init__(self, group: str, port: int, requests: list[int], *, spoils: Spoils = lambda packet: [packet]) -> None:
        self.order = Order()
        self._spoils, self._requests = spoils, requests
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((group, port))
        joined = struct.pack("4s4s", socket.inet_aton(group), socket.inet_aton("127.0.0.1"))
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        self._ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ask.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._ask.bind(("127.0.0.1", 0))
        self._asked_s = 0.0
        self.asked = 0

    def packets(self, seconds: float) -> Iterator[bytes]:
        """Packets that come within a time, and answers."""
        ready, _, _ = select.select([self.socket, self._ask], [], [], seconds)
        for each in ready:
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    data = each.recv(65_536)
                    yield from self._spoils(data) if each is self.socket else [data]

    def pump(self, seconds: float = 0.02) -> None:
        """Take what comes, and ask for what is missing."""
        for packet in self.packets(seconds):
            self.order.take(packet)
        if not self._requests:
            return
        if time.monotonic() - self._asked_s > 0.05:
            for name, first, count in self.order.missing():
                self._asked_s = time.monotonic()
                self.asked += 1
                port = self._requests[self.asked % len(self._requests)]
                asked = mold.request(name, first, min(count, mold.MESSAGES_MAX))
                with contextlib.suppress(OSError, ProtocolError):
                    self._ask.sendto(asked, ("127.0.0.1", port))

    def close(self) -> None:
        """Close the sockets."""
        self.socket.close()
        self._ask.close()


def bad_network(seed: int, share: float = 0.01) -> Spoils:
    """A network that loses, doubles and holds back so many packets each."""
    chance, held = random.Random(seed), list[bytes]()

    def spoil(packet: bytes) -> list[bytes]:
        drawn = chance.random()
        came = [] if drawn < share else [packet, packet] if drawn < 2 * share else [packet]
        if 2 * share <= drawn < 3 * share:
            held.append(packet)
            return []
        if held and chance.random() < 0.5:
            came.append(held.pop())
        return came

    return spoil
