"""Bounded queue of unread events: the oldest are dropped first, and an event gives their number.

Nothing waits for the reader: neither the exchange, which would end a session that does not read its stream, nor the
orders, which take every message.
"""

from collections import deque
from typing import Final

from client.events import Event, EventsLost

#: Default bound of unread events.
EVENTS_MAX: Final = 100_000


class EventQueue:
    """Queue of at most ``events_max`` events."""

    def __init__(self, events_max: int) -> None:
        if events_max < 1:
            raise ValueError(f"events_max is {events_max}; there must be room for one event at least")
        self._events: deque[Event] = deque(maxlen=events_max)
        self._lost = 0

    def __len__(self) -> int:
        return len(self._events) + (self._lost > 0)

    def put(self, events: list[Event]) -> None:
        """Add an event to the end."""
        room = (self._events.maxlen or 0) - len(self._events)
        self._lost += max(0, len(events) - room)
        self._events.extend(events)

    def take(self) -> Event | None:
        """Take the oldest event; None if there is none. Dropped events are reported first.

        >>> queue = EventQueue(1)
        >>> queue.put([EventsLost(8), EventsLost(9)])
        >>> queue.take(), queue.take(), queue.take()
        (EventsLost(count=1), EventsLost(count=9), None)
        """
        if self._lost:
            lost, self._lost = self._lost, 0
            return EventsLost(lost)
        return self._events.popleft() if self._events else None
