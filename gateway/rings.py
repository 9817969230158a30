"""The rings of gateway processes, as the core serves them: which are read, for whom, and who may send by them.

``ring_reading`` has the kernels, which read the rings in the turns of the core's own connections.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.jit import INTERPRETED, Packed
from gateway.ring_reading import (
    ORDERS,
    RINGS,
    RINGS_MAX,
    SOURCES_OF_RING_MAX,
    new_rings,
    sleeps_beside_rings,
    waits_in_rings,
    wakes_beside_rings,
)
from tape.inbound import Inbound

#: Rows of a gateway's ring.
GATEWAY_ROWS: Final = 8_192
_NO_END: Final = 2**63 - 1


class ServedRings:
    """The rings that the turns of a node read, by number. One thread, that of the event loop."""

    def __init__(self, price_max_e4: NDArray[np.int64] | None = None) -> None:
        """``price_max_e4``: highest price of users' orders by instrument (``gateway.streams``)."""
        self.packed = Packed(new_rings(price_max_e4))
        self._arrays = self.packed.arrays
        self._rings: list[Inbound | None] = [None] * RINGS_MAX
        self._served = 0  # as the kernels have it: Python asks at each turn

    def __len__(self) -> int:
        return self._served

    def serve(self, ring: Inbound, protocol: int, sends: int = ORDERS) -> int:
        """Read a ring from now on; gives its number, or -1 where there are as many as can be. protocol: its number.
        sends: what it may have, as bits of ``ring_reading``."""
        number = next((each for each in range(RINGS_MAX) if self._rings[each] is None), -1)
        if number < 0:
            return -1
        self._rings[number] = ring
        arrays, pointers = self._arrays, ring.ring.pointers
        if INTERPRETED:
            arrays.pointers[number] = pointers
        else:
            arrays.pointers[number] = np.asarray(pointers)
        arrays.participants[number] = 0
        served = arrays.served[number]
        served["clients"], served["protocol"], served["sends"], served["serves"] = 1, protocol, sends, 1
        for count in ("messages", "refused", "late"):
            served[count] = 0
        self._served += 1
        arrays.words[RINGS] = self._served
        return number

    def stop(self, number: int) -> None:
        """Read a ring no more."""
        self._rings[number] = None
        self._arrays.served[number]["serves"] = 0
        self._served -= 1
        self._arrays.words[RINGS] = self._served

    def allow(self, number: int, user: int, participant: int) -> None:
        """Take commands of a user by a ring. participant: the user's."""
        self._arrays.participants[number, user] = participant
        self._arrays.ends[number, user] = _NO_END

    def end(self, number: int, user: int, rows: int) -> None:
        """Take nothing more of a user by a ring, but what is among its first ``rows``."""
        self._arrays.ends[number, user] = rows

    def stand_for(self, number: int, clients: int) -> None:
        """Let a ring stand for so many sources in each round, and for one at least."""
        self._arrays.served[number]["clients"] = min(max(clients, 1), SOURCES_OF_RING_MAX)

    def messages(self, number: int) -> tuple[int, int]:
        """Messages of a ring that were taken, and that were refused, since it is served."""
        served = self._arrays.served[number]
        return int(served["messages"]), int(served["refused"])

    def waits(self) -> bool:
        """True if a ring has a message."""
        return self._served > 0 and bool(waits_in_rings(self.packed.pointers))

    def may_sleep(self) -> bool:
        """Say that the core is about to sleep; False if it must not."""
        return self._served == 0 or bool(sleeps_beside_rings(self.packed.pointers))

    def wake(self) -> None:
        """Say that the core is awake."""
        if self._served:
            wakes_beside_rings(self.packed.pointers)
