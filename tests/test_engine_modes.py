"""The engine gives one answer however its kernels run: compiled, compiled with bounds checks, and interpreted.

`make test-modes` runs this file in all three modes; the digests below are what each must give. They are those of
RULES_VERSION 1 and move only with it.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import RULES_VERSION, Capacity, Engine
from tests.streams import random_stream

CAPACITY = Capacity(orders_max=400, ids_max=4_000, instruments_max=4, participants_max=8)


def stream(seed: int) -> NDArray[Any]:
    """Every kind of command, hostile and garbage rows among them, and prices far outside the window."""
    rows = random_stream(seed, 2_500, hostile=0.1, garbage=0.05, control=0.01)
    far = np.random.default_rng(seed).random(len(rows)) < 0.1
    far &= rows["kind"] == 8
    rows["price_e4"][far] = rows["price_e4"][far] * np.arange(1, int(far.sum()) + 1) % 9_000_000 // 100 * 100 + 100
    return rows


@pytest.mark.parametrize(
    ("seed", "events_digest", "state_digest"),
    [
        (1, "5d8e5c7ff7d3398fea9006e71bcbf1f6", "9ac49852214b5e6b74ef69624933d8e4"),
        (2, "3e75ba7331e1ec5b41432fb8330f7d45", "d8d94c4e3b8b53283bb6bea1c13bf716"),
        (3, "0096047a07ab4a4b38414975abb1ae02", "dcf6d0586ebe240a858501849759c9cb"),
    ],
)
def test_every_mode_gives_the_digests_of_this_rules_version(seed: int, events_digest: str, state_digest: str) -> None:
    assert RULES_VERSION == 1
    engine = Engine(CAPACITY)
    rows = stream(seed)
    for start in range(0, len(rows), 100):
        engine.apply(rows[start : start + 100])
        engine.check()
    assert (engine.event_digest.hex(), engine.state_digest().hex()) == (events_digest, state_digest)
