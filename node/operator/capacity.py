"""Used share of the venue's capacity, with warnings.

Capacity is fixed when a data directory is created, so rejects for ``capacity`` do not end by waiting. So warnings come
early: at 70 and at 90 percent, each once until the use has fallen 10 percent below it.
"""

from collections.abc import Callable
from typing import Final

from engine.interface import MarketEngine
from gateway.streams import USERS_MAX
from node.core.control import Status

#: Levels of the warnings, in percent.
LEVELS_PERCENT: Final = (70, 90)
#: Distance below a level to which the use must fall before the next warning.
_AGAIN_PERCENT: Final = 10
#: Kinds of room by their names in messages, with the keys of ``status`` for use and bound.
ROOMS: Final = {
    "open orders": ("orders_open", "orders_max"),
    "order ids": ("ids_used", "ids_max"),
    "instruments": ("instruments", "instruments_max"),
    "participants": ("participants", "participants_max"),
    "users": ("users", "users_max"),
}


def room_status(engine: MarketEngine, users: int) -> Status:
    """Values of all keys in ``ROOMS``."""
    participants = engine.participants()
    capacity = engine.capacity
    return {
        "orders_open": int(participants["orders_open"].sum()),
        "orders_max": capacity.orders_max,
        "ids_used": int(participants["ids_used"].sum()),
        "ids_max": capacity.ids_max,
        "instruments": len(engine.directory.symbols),
        "instruments_max": capacity.instruments_max,
        "participants": len(participants),
        "participants_max": capacity.participants_max,
        "users": users,
        "users_max": USERS_MAX,
    }


class CapacityWatch:
    """Warnings about each room that passes a level. ``warn``: as ``node.programs.logs.Log.warning``."""

    def __init__(self, warn: Callable[..., None]) -> None:
        self._warn = warn
        self._warned: set[tuple[str, int]] = set()

    def look(self, status: Status) -> None:
        """Compare the result of ``room_status`` with the levels."""
        for room, (used_key, most_key) in ROOMS.items():
            used, most = int(status[used_key]), int(status[most_key])
            for level in LEVELS_PERCENT:
                if (room, level) in self._warned:
                    if 100 * used < (level - _AGAIN_PERCENT) * most:
                        self._warned.discard((room, level))
                elif 100 * used >= level * most:
                    self._warned.add((room, level))
                    self._warn("capacity is running out", room=room, level_percent=level, used=used, most=most)
