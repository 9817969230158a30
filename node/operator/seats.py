"""Seats for the connections of one server socket: bounded, and a new connection takes the seat of an idle one.

Idle connections lock nobody out: the one that has been idle longest is ended to make room, first among those of the
same peer. Pure: the caller gives the function that ends a connection.
"""

from collections import Counter
from collections.abc import Callable


class Seat:
    """Seat of one connection. ``end`` is called when it must make room for another."""

    def __init__(self, peer: str, end: Callable[[], object]) -> None:
        self.peer = peer
        self.end = end


class Seats:
    """Seats of a server socket: ``most`` in total, ``peer_most`` (default: all) for one peer."""

    def __init__(self, most: int, peer_most: int | None = None) -> None:
        self._most = most
        self._peer_most = most if peer_most is None else peer_most
        self._of_peer: Counter[str] = Counter()
        self._idle: dict[Seat, None] = {}  # longest idle first
        self._busy: set[Seat] = set()

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def take(self, peer: str, end: Callable[[], object]) -> Seat | None:
        """Take a seat for a connection of ``peer``, idle at first; None if all seats are busy."""
        same_peer_only = self._of_peer[peer] >= self._peer_most
        if same_peer_only or len(self) >= self._most:
            longest = next((seat for seat in self._idle if not same_peer_only or seat.peer == peer), None)
            if longest is None:
                return None
            self.leave(longest)
            longest.end()
        seat = Seat(peer, end)
        self._idle[seat] = None
        self._of_peer[peer] += 1
        return seat

    def work(self, seat: Seat) -> None:
        """Mark a connection as busy: it keeps its seat until its request is answered."""
        if seat in self._idle:
            del self._idle[seat]
            self._busy.add(seat)

    def rest(self, seat: Seat) -> None:
        """Mark a connection as idle: its request was answered."""
        if seat in self._busy:
            self._busy.remove(seat)
            self._idle[seat] = None

    def leave(self, seat: Seat) -> None:
        """Free the seat of a connection that has ended. May be repeated."""
        if seat in self._idle or seat in self._busy:
            self._idle.pop(seat, None)
            self._busy.discard(seat)
            self._of_peer[seat.peer] -= 1
            if not self._of_peer[seat.peer]:
                del self._of_peer[seat.peer]
