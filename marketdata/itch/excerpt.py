"""A part of a day of the feed that needs nothing before it: from a command on.

Where it begins in the middle of a session, it begins as that session would have begun then: with directory, states and
every order that is shown, as a snapshot has them. Its messages are numbered from 1, and are otherwise those of the
whole session.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketdata.itch.feed import ItchFeed, OnMessages
from marketdata.itch.scan import index_messages
from marketdata.itch.snapshot import Snapshot

_NO_PLACES = np.zeros(0, np.int64)


class Excerpt:
    """Callback of an ``ItchFeed`` that gives its messages on from ``begin`` on, to ``on_messages``.

    >>> given = []
    >>> excerpt = Excerpt(lambda day, number, count, framed: given.append((number, count)))
    >>> excerpt(19_737, 1, 3, memoryview(b"any"))
    >>> given
    []
    """

    def __init__(self, on_messages: OnMessages) -> None:
        self._on_messages = on_messages
        self._begun = False
        self._day, self._lead = 0, 0  # session in which it began, and how much higher its numbers are there

    def __call__(self, day: int, number: int, count: int, framed: memoryview) -> None:
        """Give messages on, or leave them out where they are before it."""
        if self._begun:
            self._on_messages(day, number - self._lead if day == self._day else number, count, framed)

    @property
    def has_begun(self) -> bool:
        """True once ``begin`` had rows."""
        return self._begun

    def begin(self, feed: ItchFeed, reports: NDArray[Any]) -> None:
        """Begin before these REPORT rows, which the feed takes next; does nothing where it has begun, or without rows.

        ``feed``: between two blocks. A session that those rows end is not begun anew.
        """
        if self._begun or not len(reports):
            return
        self._begun = True
        time_ns = int(reports[0]["time_ns"])
        if time_ns >= feed.day_end_ns:
            return
        snapshot, given = Snapshot(feed), 0
        for piece in snapshot.framed(time_ns):
            count = int(index_messages(np.frombuffer(piece, np.uint8), 0, 1, _NO_PLACES)[0])
            self._on_messages(snapshot.day, given + 1, count, memoryview(piece))
            given += count
        self._day, self._lead = snapshot.day, feed.messages - given
