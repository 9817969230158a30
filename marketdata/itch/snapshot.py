"""Snapshot of the feed: messages that rebuild what it shows, as at the beginning of a session, and where it goes on.

What it takes of the feed is copied at once, between two blocks; the messages are made of the copy, in another thread
if need be.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.capacity import Capacity
from marketdata.itch.feed import ItchFeed
from marketdata.itch.scan import as_packets


class Snapshot:
    """The feed between two blocks. day: of its session; next_number: of the message that follows the snapshot."""

    def __init__(self, feed: ItchFeed) -> None:
        tables = feed.tables
        self._feed = tables.feed.copy()
        self._stocks = tables.stocks[: int(self._feed[0]["instruments"]) + 1].copy()
        self._indices = tables.indices.copy()
        rows = tables.shown[:-1]
        self._shown = rows[rows["order_number"] != 0]
        self.day, self.next_number = feed.day, feed.messages + 1
        self.orders = len(self._shown)

    def framed(self, now_ns: int) -> list[bytes]:
        """The messages, framed, in pieces. Times are ``now_ns``, the clock in force; none before the first session."""
        made: list[bytes] = []
        if not self._feed[0]["begun"]:
            return made
        capacity = Capacity(1, 1, max(len(self._stocks) - 1, 1), 1)
        maker = ItchFeed(capacity, lambda _day, _number, _count, framed: made.append(bytes(framed)))
        maker.tables.feed[:] = self._feed
        maker.tables.stocks[: len(self._stocks)] = self._stocks
        maker.tables.indices[:] = self._indices
        maker.put_all(now_ns, self._shown[np.argsort(self._shown["place"], kind="stable")])
        return made


def packets(framed: bytes) -> bytes:
    """Framed messages as sequenced packets of SoupBinTCP."""
    octets: NDArray[Any] = np.frombuffer(framed, np.uint8)
    out = np.empty(len(framed) + len(framed) // 14 + 1, np.uint8)
    return out[: as_packets(octets, out)].tobytes()


def end_of_snapshot(next_number: int) -> bytes:
    """Message G, which ends a snapshot: the number of the feed's next message, as 20 characters."""
    return b"G" + str(next_number).rjust(20).encode()
