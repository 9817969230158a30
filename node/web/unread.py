"""Connections whose clients stop reading, or asking: how much waits for them, and their end.

A server hands an answer to a connection whole, and closes a connection by waiting until all was taken. For a client
that is stopped in the middle both last for ever, with their memory. Here each is ended once it has taken nothing for
``UNREAD_S``, whatever it was sent, and whether or not it is being closed. So is one that has sent no whole request in
``REQUEST_S``, and what is no request at all is counted, not told each time: anybody can send it.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

#: Time without a byte taken, while some wait, after which a connection is ended, in seconds. A subscriber is told after
#: ``hub.SLOW_S`` why it is, and has the rest of this time to read that.
UNREAD_S: Final = 45.0
#: Time for a whole request, in seconds.
REQUEST_S: Final = 20.0
#: Bytes that may wait for all clients; longer answers than ``LARGE_BYTES`` are refused beyond it.
WAITING_BYTES_MAX: Final = 256 << 20
LARGE_BYTES: Final = 64 << 10


class Ended(NamedTuple):
    """A connection that was ended. waiting_bytes: those that it left."""

    address: str
    waiting_bytes: int


class Unread:
    """Bytes that wait for the clients of a server. ``connections``: its protocols, each with a ``transport``."""

    def __init__(self) -> None:
        self.connections: Collection[Any] = ()
        self._seen: dict[Any, tuple[int, float]] = {}  # bytes that waited, and since when no fewer do
        #: Number of times that what came was no request, and that number when it was told last.
        self.garbage = self._garbage_told = 0
        self._address = ""

    def on_garbage(self, address: str) -> None:
        """Count what was no request, or not whole in time."""
        self.garbage += 1
        self._address = address

    def take_garbage(self) -> tuple[int, str] | None:
        """Number of times and the last address, where that is due to be told: twice as often as when it was last."""
        if self.garbage < max(1, 2 * self._garbage_told):
            return None
        self._garbage_told = self.garbage
        return self.garbage, self._address

    def has_room(self, size: int) -> bool:
        """True if an answer of ``size`` bytes may wait for its client with all others."""
        if size <= LARGE_BYTES:
            return True
        return size + sum(_waiting(each) for each in self.connections) <= WAITING_BYTES_MAX

    def look(self, now_s: float) -> list[Ended]:
        """End connections whose clients have taken nothing for too long. now_s: monotonic clock."""
        seen, ended = {}, []
        for each in list(self.connections):
            asked_s = getattr(each, "asked_s", None)  # a WebSocket has none
            waiting = _waiting(each)
            if not waiting:
                if asked_s is not None and now_s - asked_s > REQUEST_S:
                    if each.has_begun:  # a browser opens connections ahead of its requests
                        self.on_garbage(each.client[0] if each.client else "")
                    each.transport.abort()
                continue
            if asked_s is not None:
                each.asked_s = now_s  # it has an answer to take before it asks again
            before, since_s = self._seen.get(each, (waiting + 1, now_s))
            if waiting < before:
                since_s = now_s
            if now_s - since_s > UNREAD_S:
                peer = each.transport.get_extra_info("peername")
                ended.append(Ended(str(peer[0]) if peer else "", waiting))
                each.transport.abort()
            else:
                seen[each] = waiting, since_s
        self._seen = seen
        return ended


def _waiting(connection: Any) -> int:
    """Bytes that the process holds for a client."""
    return int(connection.transport.get_write_buffer_size()) if connection.transport is not None else 0
