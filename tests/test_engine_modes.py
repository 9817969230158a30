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
        (1, "1a571e7aee1468c632eb23aa8b53f99a", "b33a26b723e9dc98843d401ba4730cb6"),
        (2, "a8fbb6dc2f829941ad57c291f8f407f9", "44459fc349b71d3f56b98c4b146c0050"),
        (3, "38d74e96e10ed21c55eadcd0f46758ee", "b77aab67a07460899cd7c1616788a48c"),
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
