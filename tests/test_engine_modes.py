"""The engine gives one answer however its kernels run: compiled, compiled with bounds checks, and interpreted.

`make test-modes` runs this file in all three modes; the digests below are what each must give. They are those of
RULES_VERSION 5 and move only with it, those of the state also with its layout.
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
        (1, "6770be703e043dbc6bb6e63a9e118ee6", "7a82c8feeb87deae4968d7fe6cfe607d"),
        (2, "41a821ebb5dcdf32d738eaebcaab89a6", "648c1c9a2460b884c3e92b09778f5b63"),
        (3, "fabcae155df4456e0364af33639456c0", "9598efdf2c516cb0f6f3bf7a7d1d1371"),
        (4, "36f4424b6c636a9ceba4583bf50b4648", "0c9d3d9b91d6a0c1abc1fd43742b85b1"),
    ],
)
def test_every_mode_gives_the_digests_of_this_rules_version(seed: int, events_digest: str, state_digest: str) -> None:
    assert RULES_VERSION == 5
    engine = Engine(CAPACITY)
    rows = stream(seed)
    for start in range(0, len(rows), 100):
        engine.apply(rows[start : start + 100])
        engine.check()
    assert (engine.event_digest.hex(), engine.state_digest().hex()) == (events_digest, state_digest)
