"""The engine gives one answer however its kernels run: compiled, compiled with bounds checks, and interpreted.

`make test-modes` runs this file in all three modes; the digests below are what each must give. They are those of
RULES_VERSION 6 and move only with it, those of the state also with its layout.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import RULES_VERSION, Capacity, Engine
from tests.streams import call_stream, random_stream

CAPACITY = Capacity(orders_max=400, ids_max=4_000, instruments_max=4, participants_max=8)


def stream(seed: int) -> NDArray[Any]:
    """Every kind of command, hostile and garbage rows among them, and prices far outside the window; or many calls."""
    if seed == 4:
        return call_stream(seed, 2_500, far=0.3)
    rows = random_stream(seed, 2_500, hostile=0.1, garbage=0.05, control=0.01)
    far = np.random.default_rng(seed).random(len(rows)) < 0.1
    far &= rows["kind"] == 8
    rows["price_e4"][far] = rows["price_e4"][far] * np.arange(1, int(far.sum()) + 1) % 9_000_000 // 100 * 100 + 100
    return rows


@pytest.mark.parametrize(
    ("seed", "events_digest", "state_digest"),
    [
        (1, "d48fe9ba4c1c9ab4b643ad88ef9a27f9", "bcd300caeb3f11c78d4833288e58a8f5"),
        (2, "7fdf28f8b650829c1b27e68028445742", "3c390058225e220c201fc39983322879"),
        (3, "9a832cccf05d45db0e98aba60fd52d01", "e45363e2c96df85e88c35aae3e82eaa3"),
        (4, "bed366b26b86ccfa6117506b04c93514", "751118966a03b3044a32ddd1e59cdbf5"),
    ],
)
def test_every_mode_gives_the_digests_of_this_rules_version(seed: int, events_digest: str, state_digest: str) -> None:
    assert RULES_VERSION == 6
    engine = Engine(CAPACITY)
    rows = stream(seed)
    for start in range(0, len(rows), 100):
        engine.apply(rows[start : start + 100])
        engine.check()
    assert (engine.event_digest.hex(), engine.state_digest().hex()) == (events_digest, state_digest)
