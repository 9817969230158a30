"""A venue of so many participants and instruments that memory is asked for ahead by order: that changes no answer."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity, Engine
from engine.ahead import has_many_pairs
from engine.reference import ReferenceEngine
from tests.streams import random_stream

INSTRUMENTS, PARTICIPANTS = 120, 150
CAPACITY = Capacity(orders_max=600, ids_max=8_000, instruments_max=INSTRUMENTS + 4, participants_max=PARTICIPANTS + 4)
BLOCKS = np.array([1, 2, 3, 5, 7, 11, 13, 14, 15, 16, 17, 31, 33, 64, 200])


def stream(seed: int) -> NDArray[Any]:
    """Every kind of command, with hostile and garbage rows among them."""
    return random_stream(
        seed,
        4_000,
        instruments=INSTRUMENTS,
        participants=PARTICIPANTS,
        hostile=0.1,
        garbage=0.05,
        control=0.01,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_venue_of_many_pairs_gives_the_events_of_the_reference_engine_in_blocks_of_any_size(seed: int) -> None:
    compiled, reference, one_by_one = Engine(CAPACITY), ReferenceEngine(CAPACITY), Engine(CAPACITY)
    rows = stream(seed)
    draw = np.random.default_rng(seed)
    start = 0
    while start < len(rows):
        block = rows[start : start + int(draw.choice(BLOCKS))]
        start += len(block)
        assert compiled.apply(block).tobytes() == reference.apply(block).tobytes()
        for n in range(len(block)):
            one_by_one.apply(block[n : n + 1])
    compiled.check()
    assert has_many_pairs(compiled._state.venue[0]), "or memory was not asked for by order"
    assert compiled.state_digest() == one_by_one.state_digest()
    assert compiled.event_digest == one_by_one.event_digest
