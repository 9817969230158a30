"""The engine gives one answer however its kernels run: compiled, compiled with bounds checks, and interpreted.

`make test-modes` runs this file in all three modes; the digests below are what each must give. They are those of
RULES_VERSION 3 and move only with it, those of the state also with its layout.
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
        (1, "1df0973f7a334e44cdd8f850591f8c01", "18fea1269ba216e0deae965909958e8f"),
        (2, "2dfa3abccab3c55e793b48123b1f89ef", "cc9b982d74283841f3016b9df08f310b"),
        (3, "37bc20bec2d99ecec5e128ea95a4dec6", "dc0d4f40b2dff9f355df76371656c43c"),
        (4, "7060b2185a7b6a9ba14de42f70b308ed", "2742a760b819aa12fe049d3086b38eb4"),
    ],
)
def test_every_mode_gives_the_digests_of_this_rules_version(seed: int, events_digest: str, state_digest: str) -> None:
    assert RULES_VERSION == 3
    engine = Engine(CAPACITY)
    rows = stream(seed)
    for start in range(0, len(rows), 100):
        engine.apply(rows[start : start + 100])
        engine.check()
    assert (engine.event_digest.hex(), engine.state_digest().hex()) == (events_digest, state_digest)
