"""Random days with ids that were chosen to crowd: both engines agree, and a restored one goes on like the other."""

import os
from functools import cache

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.bounds import DAY_NS
from engine.index import first_place
from engine.records import EventKind, Phase, TimeInForce
from engine.reference import ReferenceEngine
from tests.rows import BUY, SELL, Rows, batch, cancel, clock, enter, instrument, participant, phase, replace

#: The smallest table, of 8 rows, and one that is nearly full at the end of a day.
CAPACITIES = [
    Capacity(orders_max=2, ids_max=3, instruments_max=1, participants_max=3),
    Capacity(orders_max=12, ids_max=12, instruments_max=1, participants_max=3),
    Capacity(orders_max=30, ids_max=160, instruments_max=1, participants_max=3),
]
SETUP = batch(
    participant("A"), participant("B"), participant("C"), instrument("X"), phase("X", Phase.CONTINUOUS), clock(DAY_NS)
)
STEPS = 25 * int(os.environ.get("LOCKSTEP_COMMANDS", "150000")) // 150_000


@cache
def crowding(rows: int) -> list[int]:
    """Ids of the first participant that all start in the same line of four rows of a table of that many rows."""
    state = Engine(next(each for each in CAPACITIES if len(Engine(each)._state.ids) == rows))._state
    draw = np.random.default_rng(2)
    some = [int(n) for n in draw.integers(1, 2**62, 60 * rows)]
    return [n for n in some if int(first_place(state, np.int64(1), np.int64(n), np.int64(0))) < 4][:60]


def day(draw: np.random.Generator, number: int, ids: list[int]) -> Rows:
    """A new trading day: enters, cancels and replaces of a few ids, mostly good till canceled."""
    rows = [clock(number * DAY_NS)]
    for _ in range(int(draw.integers(20, 120))):
        owner = int(draw.choice([1, 1, 1, 2, 3]))
        some, other = (int(n) for n in draw.choice(ids, 2))
        side, price_e4 = (BUY, 10_000) if draw.random() < 0.5 else (SELL, 10_200)
        what = draw.random()
        if what < 0.45:
            tif = TimeInForce.GTC if draw.random() < 0.7 else TimeInForce.IOC
            rows.append(enter(owner, some, side, 5, price_e4 + 200 * side * (draw.random() < 0.1), tif=tif))
        elif what < 0.65:
            rows.append(cancel(owner, some))
        else:
            rows.append(replace(owner, some, other, int(draw.integers(1, 9)), price_e4))
    return batch(*rows)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("capacity", CAPACITIES, ids=["smallest", "full", "crowded"])
@pytest.mark.parametrize("seed", range(3))
def test_crowded_ids_are_found_over_many_days_and_after_a_restore(seed: int, capacity: Capacity) -> None:
    draw = np.random.default_rng(seed)
    kernel, reference = Engine(capacity), ReferenceEngine(capacity)
    restored = Engine(capacity)
    chosen = crowding(len(kernel._state.ids))
    for engine in (kernel, reference, restored):
        engine.apply(SETUP)
    for number in range(2, 2 + STEPS):
        rows = day(draw, number, chosen[:24] + list(range(1, 13)))
        answers = [engine.apply(rows).tobytes() for engine in (kernel, reference, restored)]
        assert answers[0] == answers[1] == answers[2]
        kernel.check()
        restored = Engine.restore(capacity, kernel.seq, kernel.event_digest, kernel.parts())
        restored.check()
        assert restored.state_digest() == kernel.state_digest()
    assert kernel.event_digest == restored.event_digest


def test_the_chosen_ids_crowd_and_the_days_are_full() -> None:
    """Or the test above would test little."""
    capacity = CAPACITIES[2]
    engine = Engine(capacity)
    chosen = crowding(len(engine._state.ids))
    assert len(chosen) > 20
    engine.apply(SETUP)
    events = engine.apply(day(np.random.default_rng(1), 2, chosen[:24] + list(range(1, 13))))
    assert {EventKind.ACCEPTED, EventKind.REJECTED, EventKind.REPLACED, EventKind.TRADE} <= set(events["kind"].tolist())
