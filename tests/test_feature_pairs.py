"""No two features of the market that can meet in one command's consequences have never met: in random streams, or where
that takes several rare things at once, in a scenario."""

import os

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.records import COMMAND, EVENT, CommandKind, EventKind
from engine.reference import ReferenceEngine
from replay.audit import first_difference
from tests import features

#: ``LOCKSTEP_COMMANDS`` sets another number.
COMMANDS = int(os.environ.get("LOCKSTEP_COMMANDS", "500000"))


@pytest.mark.slow
def test_each_pair_of_features_that_can_meet_has_met() -> None:
    random, written = features.measured(COMMANDS), features.of_scenarios()
    missing = set(features.unmet(random)) & set(features.unmet(written))
    assert sorted(" and ".join(sorted(pair)) for pair in missing) == []
    assert [sorted(pair) for pair in features.NEVER if random.pairs[pair]] == []
    # Random streams alone leave none in a whole run, and few in a short one: one that has gone quiet leaves many.
    assert len(features.unmet(random)) <= (0 if COMMANDS >= 500_000 else len(features.POSSIBLE) // 10)


@pytest.mark.slow
def test_what_cannot_meet_never_did() -> None:
    """The control of the table: a pair in it that meets is wrong there."""
    written = features.of_scenarios()
    assert [sorted(pair) for pair in features.NEVER if written.pairs[pair]] == []


def test_a_pair_is_counted_once_a_command_and_not_across_two() -> None:
    meetings = features.Meetings()
    rows, events = np.zeros(2, COMMAND), np.zeros(3, EVENT)
    rows["kind"] = CommandKind.KILL, CommandKind.CLOCK
    events["seq"], events["kind"] = (1, 1, 2), (EventKind.REPLENISHED, EventKind.REPLENISHED, EventKind.TRIGGERED)
    meetings.add(rows, events, 1, ())
    assert meetings.pairs == {frozenset({"kill", "replenishment"}): 1, frozenset({"clock", "election"}): 1}


@pytest.mark.slow
@pytest.mark.parametrize("orders_max", [8_192, 60], ids=["roomy", "tight"])
def test_both_engines_agree_where_features_meet(orders_max: int) -> None:
    capacity = Capacity(orders_max=orders_max, ids_max=50 * orders_max, instruments_max=4, participants_max=8)
    for seed in range(100, 100 + max(2, COMMANDS // 20_000)):
        rows = features.meeting_stream(seed, 8_000)
        kernel, reference = Engine(capacity), ReferenceEngine(capacity)
        for start in range(0, len(rows), 250):
            part = rows[start : start + 250]
            assert first_difference(kernel.apply(part), reference.apply(part)) is None, f"seed {seed}"
            if start % 2_000 == 0:
                kernel.check()
                reference.check()
                assert kernel.open_orders().tobytes() == reference.open_orders().tobytes()
