"""Capacity of a venue, and the room for events that follows from it.

A capacity is chosen once, when a data directory is created, is kept in the journal, and never changes: it decides
outcomes (``capacity`` rejects).
"""

from dataclasses import dataclass
from typing import Final

from engine.bounds import (
    INDICES_MAX,
    LEVELS_MAX,
    PEG_PRICES_BESIDES,
    PEG_PRICES_EACH,
    SCHEDULES_MAX,
    SCHEDULES_OF_ALL_MAX,
    WAITING_MAX,
)

#: The most that a capacity may be. A slot leaves room for one more bit in uint32 (``index.py``).
ORDERS_MAX_MAX: Final = 2**29
IDS_MAX_MAX: Final = 2**30


def events_max(orders: int, slices: int, phase_changes: int, participants: int, pegs: int) -> int:
    """The most events of one command, or of one part of a command that is many (``room.py``), given how many open
    orders, slices of icebergs, changes of a phase that it may bring (one of each instrument, those of the schedules
    that wait, and those of each level of an index), participants and pegs there are.

    Three an open order (its election, and two of self-trade prevention or of what ends it and an indicative), two a
    slice (its trade, and the next one that is shown), four a change of a phase (the phase, the indicative, and two
    icebergs that show more after an uncross), one a participant, the prices that pegs may take, by the last pass too,
    and lose again, and the answer. Python and kernels ask it.
    """
    prices = (PEG_PRICES_EACH + 1) * (pegs + 1) + PEG_PRICES_BESIDES
    return 3 * orders + 2 * slices + 4 * phase_changes + participants + 2 * prices + pegs + 8


def phase_changes_max(instruments: int) -> int:
    """The most changes of a phase that one command may bring with room for so many instruments."""
    return instruments * (1 + SCHEDULES_OF_ALL_MAX + INDICES_MAX * LEVELS_MAX) + SCHEDULES_MAX


def waiting_max(orders_max: int) -> int:
    """Number of commands that may wait for their effect in a venue with an entry delay and room for so many orders.

    A power of two, so that they are whole pages of an image.
    """
    return min(1 << (orders_max.bit_length() - 1), WAITING_MAX)


@dataclass(frozen=True)
class Capacity:
    """Capacity of a venue. A command beyond it is rejected ``capacity``, and nothing else changes.

    orders_max: open orders. ids_max: client order ids used in a trading day, those of open orders included.
    """

    orders_max: int = 1 << 20
    ids_max: int = 2 << 20
    instruments_max: int = 256
    participants_max: int = 1_024

    def __post_init__(self) -> None:
        for name, top in (
            ("orders_max", ORDERS_MAX_MAX),
            ("ids_max", IDS_MAX_MAX),
            ("instruments_max", 16_384),
            ("participants_max", 65_535),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= top:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from 1 to {top}")
        if self.ids_max < self.orders_max:
            raise ValueError("ids_max is below orders_max: every open order bears an id")


def _check_relations() -> None:
    if not 2 * (ORDERS_MAX_MAX + IDS_MAX_MAX) + 1 < 2**32:
        raise ValueError("a reference into the tree of ids does not fit uint32")


_check_relations()
