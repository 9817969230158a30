"""Kill switches: whom they stop, in which order, and that they are part of the state and of the room for events."""

from typing import Any

import numpy as np
import pytest

from engine import EVENT, Capacity, Engine
from engine.bounds import COMMANDS_PER_CALL_MAX, DAY_NS
from engine.names import pack, unpack
from engine.records import COMMAND, CommandKind, EventKind, Reason
from engine.reference import InvariantError, ReferenceEngine
from tests.rows import (
    BUY,
    NANOSECONDS_2024_01_15_0930,
    Rows,
    batch,
    clock,
    enter,
    events_of,
    kill,
    market_of,
    participant,
    replace,
    unkill,
)

CAPACITY = Capacity(orders_max=64, ids_max=256, instruments_max=2, participants_max=8)


def bids(owner: int, first: int, count: int) -> Rows:
    """Orders of one share at different prices, whose ids are numbers."""
    return batch(*(enter(owner, first + at, BUY, 1, 90_000 + 100 * (at % 5)) for at in range(count)))


@pytest.mark.parametrize("engine", [Engine, ReferenceEngine])
def test_kill_of_all_goes_by_participant_and_then_by_acceptance(engine: Any) -> None:
    venue = engine(CAPACITY)
    venue.apply(batch(market_of(3), bids(3, 300, 2), bids(1, 100, 2), bids(3, 310, 2), bids(1, 110, 1)))
    venue.apply(replace(3, 300, 320, 5, 90_300))  # takes a new place in the book, and keeps its acceptance
    assert events_of(venue.apply(kill("*"))) == [
        "killed 1",
        *(f"canceled {unpack(each)} 1 kill" for each in (100, 101, 110)),
        "killed 2",
        "killed 3",
        f"canceled {unpack(320)} 5 kill",
        *(f"canceled {unpack(each)} 1 kill" for each in (301, 310, 311)),
    ]
    venue.check()


@pytest.mark.parametrize("engine", [Engine, ReferenceEngine])
def test_who_is_killed_stays_so_the_next_day_and_who_comes_later_is_not(engine: Any) -> None:
    venue = engine(CAPACITY)
    venue.apply(batch(market_of(2), bids(1, 1, 1), kill("*"), participant("P3")))
    venue.apply(clock(NANOSECONDS_2024_01_15_0930 + DAY_NS))
    answers = venue.apply(batch(bids(1, 1, 1), bids(3, 1, 1), unkill("P1"), bids(1, 1, 1)))
    assert answers["reason"].tolist() == [Reason.KILLED, 0, 0, 0]


def test_who_is_killed_stays_so_in_a_venue_restored_from_its_parts() -> None:
    engine = Engine(CAPACITY)
    engine.apply(batch(market_of(2), kill("P2")))
    parts = {name: {key: array.copy() for key, array in arrays.items()} for name, arrays in engine.parts().items()}
    restored = Engine.restore(CAPACITY, engine.seq, engine.event_digest, parts)
    assert events_of(restored.apply(bids(2, 1, 1))) == [f"rejected {unpack(1)} killed"]
    before = engine.part_digests()
    engine.apply(unkill("P2"))
    changed = {part for part, digest in engine.part_digests().items() if digest != before[part]}
    assert "reference" in changed


def test_both_engines_have_an_invariant_that_who_is_killed_has_no_open_order() -> None:
    for venue in (Engine(CAPACITY), ReferenceEngine(CAPACITY)):
        venue.apply(batch(market_of(1), bids(1, 1, 1)))
        venue.check()
        if isinstance(venue, Engine):
            venue._state.participants[0]["killed"] = 1
        else:
            venue._venue.participants[0].killed = True
        with pytest.raises(InvariantError, match="killed"):
            venue.check()


@pytest.mark.slow
def test_there_is_room_for_the_events_of_more_participants_than_a_batch_has_room_for() -> None:
    count = 4 * COMMANDS_PER_CALL_MAX + 1_000
    capacity = Capacity(orders_max=4, ids_max=4, instruments_max=1, participants_max=count)
    rows = np.zeros(count, COMMAND)
    rows["kind"], rows["permissions"] = CommandKind.PARTICIPANT, 1
    rows["name"] = [pack(f"P{at}") for at in range(count)]
    engine, reference = Engine(capacity), ReferenceEngine(capacity)
    for venue in (engine, reference):
        assert len(venue.apply(rows)) == 0
    ordered = batch(market_of(0), bids(count, 1, 3), bids(7, 1, 1), kill("*"), kill("*"), unkill("*"))
    answers = engine.apply(ordered)
    assert answers.tobytes() == reference.apply(ordered).tobytes()
    assert answers.dtype == EVENT
    assert np.count_nonzero(answers["kind"] == EventKind.KILLED) == 2 * count
