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
    """Every kind of command, hostile and garbage rows among them, and prices far outside the window; or many calls.

    5 and 6 have an entry delay now and then.
    """
    if seed == 4:
        return call_stream(seed, 2_500, far=0.3)
    if seed == 6:
        return call_stream(seed, 2_500, delayed=True)
    rows = random_stream(seed, 2_500, delayed=seed == 5, hostile=0.1, garbage=0.05, control=0.01)
    far = np.random.default_rng(seed).random(len(rows)) < 0.1
    far &= rows["kind"] == 8
    rows["price_e4"][far] = rows["price_e4"][far] * np.arange(1, int(far.sum()) + 1) % 9_000_000 // 100 * 100 + 100
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "events_digest", "state_digest"),
    [
        (1, "352270898bee714288b833ffda84c591", "67b9793660edcfa83767431ff69e1081"),
        (2, "ef3f29359c8bf12112fc4ea37e963699", "8e9ae5d783212a8b2e7315faf796f48e"),
        (3, "5bf57ff4e0170bd1ce5cb45aa08a1e30", "68a7e189fe5d8cdb3e7c0e69c87f36a7"),
        (4, "6c9493f89b82a3c652a2ade1085a0c27", "beec42266995ff4f6694794cf48429fe"),
        (5, "e74d494a2425ee5e8529bba52fa5cb0c", "dd4e2b8efebe8e4229502f91594d1ada"),
        (6, "0fd705fabaab55602fd75fd43165da35", "5a575f2157948fc102027d3c20c47217"),
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
