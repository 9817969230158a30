"""The window of directly indexed prices follows the market, and prices outside it are found all the same.

A market that wanders over ten windows, with orders left behind everywhere: each slide moves levels between window
and far tree, on both sides. The reference engine, which has neither, says what is right.
"""

import os
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import COMMAND, Capacity, Engine
from engine.bounds import PRICE_E4_MAX
from engine.names import pack
from engine.records import CommandKind, Phase, SelfTrade, TimeInForce
from engine.reference import ReferenceEngine
from engine.state import WINDOW
from replay.audit import first_difference

#: Commands of a stream; ``LOCKSTEP_COMMANDS`` sets another number.
COUNT = max(5_000, int(os.environ.get("LOCKSTEP_COMMANDS", "150000")) // 30)
CAPACITY = Capacity(orders_max=4_096, ids_max=40_000, instruments_max=1, participants_max=2)


def venue(tick_e4: int, reference_e4: int) -> NDArray[Any]:
    rows = np.zeros(4, COMMAND)
    rows["kind"] = [CommandKind.PARTICIPANT, CommandKind.PARTICIPANT, CommandKind.INSTRUMENT, CommandKind.PHASE]
    rows["name"] = [pack("A"), pack("B"), pack("XYZ"), pack("XYZ")]
    rows["phase"][3] = Phase.CONTINUOUS
    rows["reference_e4"][2], rows["lot"][2], rows["tick_e4"][2] = reference_e4, 1, tick_e4
    return rows


def wandering(seed: int, count: int, tick_e4: int, low: int, high: int, step: int) -> NDArray[Any]:
    """Orders around a mid that wanders between two ticks, some of them anywhere, and cancels of any age."""
    rng = np.random.default_rng(seed)
    walk = low + np.abs(
        (np.cumsum(rng.integers(-step, step + 1, count)) + seed * 977) % (2 * (high - low)) - (high - low)
    )
    side = rng.choice([1, -1], count)
    ticks = walk - side * rng.integers(-3, 40, count)
    anywhere = rng.random(count) < 0.15
    # Passive prices anywhere: far below the mid for buys, far above it for sells.
    reach = rng.integers(1, max(high - low, 2), count)
    ticks = np.clip(np.where(anywhere, walk - side * reach, ticks), 1, PRICE_E4_MAX // tick_e4)
    rows = np.zeros(count, COMMAND)
    rows["kind"], rows["client_order_id"] = CommandKind.ENTER, np.arange(1, count + 1)
    rows["price_e4"], rows["qty"], rows["side"] = ticks * tick_e4, rng.integers(1, 100, count), side
    rows["participant"], rows["instrument"] = rng.integers(1, 3, count), 1
    rows["time_in_force"], rows["self_trade"] = TimeInForce.DAY, SelfTrade.DECREMENT
    cancels = np.flatnonzero(rng.random(count) < 0.35)[5:]
    aims = (cancels * rng.random(len(cancels))).astype(np.int64)
    owner = rows["participant"].copy()
    rows[cancels] = np.zeros(1, COMMAND)[0]
    rows["kind"][cancels], rows["client_order_id"][cancels] = CommandKind.CANCEL, aims + 1
    rows["participant"][cancels] = owner[aims]
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "tick_e4", "low", "high", "step"),
    [
        (1, 100, 1, 10 * WINDOW, 60),  # slides all the time, down to the lowest tick
        (2, 100, 20 * WINDOW, 24 * WINDOW, 400),  # jumps further than the window follows at once
        (3, 1, 1, PRICE_E4_MAX - 100, 2_000_000_000),  # anywhere in 34 bits
        (4, 7, 5_000, 5_200, 5),  # stays within one window
    ],
)
def test_a_wandering_market_is_the_same_in_both_engines(
    seed: int, tick_e4: int, low: int, high: int, step: int
) -> None:
    kernel, reference = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    opening = venue(tick_e4, min(low * tick_e4 + 50 * tick_e4, PRICE_E4_MAX))
    rows = wandering(seed, COUNT, tick_e4, low, high, step)
    assert first_difference(kernel.apply(opening), reference.apply(opening)) is None
    first_window = int(kernel.parts()["reference"]["instruments"]["window_tick"][0])
    windows = set()
    for start in range(0, len(rows), 40):
        found = first_difference(kernel.apply(rows[start : start + 40]), reference.apply(rows[start : start + 40]))
        assert found is None, f"command {found.seq}: {found.a} {found.b}"
        windows.add(int(kernel.parts()["reference"]["instruments"]["window_tick"][0]))
        if start % 1_200 == 0:
            kernel.check()
            assert kernel.open_orders().tobytes() == reference.open_orders().tobytes()
    far = len(kernel.parts()["books"]["leaf_ticks"]) - 1
    if seed == 4:
        assert (windows, far) == ({first_window}, 0)
    else:
        assert len(windows) > 10
        assert far > 50
