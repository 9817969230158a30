"""What the golden journal of RULES_VERSION 1 was made of: every kind of command, hostile rows and garbage included."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.limits import DAY_NS, Capacity
from engine.records import Phase, TimeInForce
from tests.rows import BUY, SELL, batch, cancel, clock, enter, instrument, participant, phase
from tests.streams import random_stream

CAPACITY = Capacity(orders_max=400, ids_max=4_000, instruments_max=4, participants_max=8)


def commands() -> NDArray[Any]:
    """1,800 random rows, and a second day that begins with orders of the first and an uncross."""
    first = random_stream(77, 1_800, hostile=0.1, garbage=0.03, control=0.01)
    second = batch(
        clock(30_000 * DAY_NS),
        participant("GOLDEN"),
        instrument("GLD"),
        phase("GLD", Phase.PRE_OPEN),
        *(enter(1, 900_000 + n, BUY, 100 + n, 100_000 + 100 * (n % 7), 3, TimeInForce.GTC) for n in range(40)),
        *(enter(2, 910_000 + n, SELL, 90 + n, 100_200 + 100 * (n % 5), 3) for n in range(40)),
        phase("GLD", Phase.CONTINUOUS),
        clock(30_001 * DAY_NS),
        *(cancel(1, 900_000 + n) for n in range(0, 40, 3)),
        *(enter(1, 900_000 + n, BUY, 5, 100_000, 3) for n in range(10)),
        phase("GLD", Phase.CLOSED),
    )
    return np.concatenate([first.view("V64"), second.view("V64")]).view(first.dtype)
