"""One rule says which CLOCK rows count: for the market, for those who read the journal, and for users' messages."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity, Engine, jit
from engine.bounds import TIME_NS_MAX
from engine.market_time import ClockPosition, clock_after, clock_at_each
from engine.records import COMMAND, CommandKind
from engine.reference import ReferenceEngine
from gateway.ouch.answering import answer_block
from gateway.ouch.tables import new_tables

CAPACITY = Capacity(orders_max=8, ids_max=16, instruments_max=2, participants_max=2)
START_NS = 1_700_000_000_000_000_000


def hostile_clocks(seed: int, count: int) -> NDArray[Any]:
    """CLOCK rows that go on, stand, go back, are out of bounds or malformed, with EXTEND rows among them."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, COMMAND)
    rows["kind"] = rng.choice([CommandKind.CLOCK, CommandKind.EXTEND, CommandKind.RESUME], count, p=[0.6, 0.3, 0.1])
    clocks = rows["kind"] == CommandKind.CLOCK
    rows["name"] = rng.integers(1, 99, count)
    rows["time_ns"][clocks] = (START_NS + np.cumsum(rng.integers(-40, 60, count)))[clocks]
    odd = rng.random(count)
    rows["time_ns"][clocks & (odd < 0.05)] = -1
    rows["time_ns"][clocks & (odd > 0.95)] = TIME_NS_MAX + 1
    malformed = rng.random(count) < 0.2
    for name in ("participant", "side", "book", "phase"):
        rows[name][malformed & (rng.random(count) < 0.4)] = 1
    rows["qty"][clocks & malformed & (rng.random(count) < 0.4)] = -1
    return rows


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_engines_and_readers_of_a_journal_have_the_same_clock_at_every_command(seed: int) -> None:
    rows = hostile_clocks(seed, 400)
    ours, theirs = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    clocks = []
    for at in range(len(rows)):
        ours.apply(rows[at : at + 1])
        theirs.apply(rows[at : at + 1])
        assert ours.now_ns == theirs.now_ns
        clocks.append(ours.now_ns)
    assert 30 < len(set(clocks)) < np.count_nonzero(rows["kind"] == CommandKind.CLOCK) / 2
    rng, at, position = np.random.default_rng(seed), 0, ClockPosition()
    while at < len(rows):
        piece = rows[at : at + int(rng.integers(1, 9))]
        assert clock_at_each(piece, position).tolist() == clocks[at : at + len(piece)]
        position = clock_after(piece, position)
        at += len(piece)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_messages_bear_the_time_that_the_market_has(seed: int) -> None:
    rows = hostile_clocks(seed, 400)
    engine, tables = Engine(CAPACITY), new_tables(2, 2, 8, 4_096)
    packed = jit.Packed(tables)
    rng, at = np.random.default_rng(seed), 0
    while at < len(rows):
        before_ns = engine.now_ns
        piece = rows[at : at + int(rng.integers(1, 9))].copy()
        # No events are given: the rule is in the rows alone.
        no_events = engine.apply(piece)[:0]
        *_, now_ns, _ = answer_block(packed.pointers, at + 1, piece, no_events, 0, -1, before_ns)
        assert now_ns == engine.now_ns
        tables.carried[:1] = piece[-1:] if piece["kind"][-1] == CommandKind.EXTEND else np.zeros(1, COMMAND)
        at += len(piece)
