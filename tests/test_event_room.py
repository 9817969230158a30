"""Room for events: one bound says what a command may cause, and a batch that cannot go on is an error, not a loop."""

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.apply import apply_batch
from engine.capacity import events_max
from engine.errors import InvariantError
from engine.jit import quiet
from engine.records import EVENT
from tests.streams import random_stream

CAPACITY = Capacity(orders_max=400, ids_max=4_000, instruments_max=4, participants_max=8)
ROWS = random_stream(11, 600)


def engine_with_room(rows: int) -> Engine:
    engine = Engine(CAPACITY)
    engine._events = np.empty(rows, EVENT)
    engine._event_bytes = engine._events.view(np.uint8).data
    return engine


def test_a_batch_that_makes_no_progress_raises_instead_of_looping() -> None:
    with pytest.raises(InvariantError, match="room for 8 events is less than command 1 may cause"):
        engine_with_room(8).apply(ROWS)


def test_room_for_just_one_command_is_enough_for_any_batch() -> None:
    orders_max, instruments_max = CAPACITY.orders_max, CAPACITY.instruments_max
    least = events_max(orders_max, orders_max, instruments_max, CAPACITY.participants_max, orders_max)
    engine, whole = engine_with_room(least), Engine(CAPACITY)
    np.testing.assert_array_equal(engine.apply(ROWS), whole.apply(ROWS))
    assert engine.state_digest() == whole.state_digest()


def bound_of(engine: Engine) -> int:
    """The most events that the next command of an engine may cause."""
    venue = engine._state.venue[0]
    names = ("orders_open", "slices", "phase_changes", "participants", "pegs")
    return events_max(*(int(venue[name]) for name in names))


def test_a_call_ends_before_just_the_command_whose_events_might_not_have_room() -> None:
    """It asks for the room of some rows at once, and must neither end sooner nor go on without room."""
    stepped = Engine(CAPACITY)
    needed, total = [], 0  # before each command: events so far, with the most that it may cause
    for at in range(len(ROWS)):
        needed.append(total + bound_of(stepped))
        total += len(stepped.apply(ROWS[at : at + 1]))
    ends = set()
    for room in range(min(needed), max(needed), (max(needed) - min(needed)) // 40):
        engine = Engine(CAPACITY)
        end, _ = quiet(apply_batch)(engine.pointers, ROWS, 0, np.empty(room, EVENT), 0)
        if engine._state.venue[0]["halfway"] == 0:
            assert end == next((at for at, most in enumerate(needed) if most > room), len(ROWS))
            ends.add(end)
    assert len(ends) > 20
