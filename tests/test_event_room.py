"""Room for events: one bound says what a command may cause, and a batch that cannot go on is an error, not a loop."""

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.capacity import events_max
from engine.errors import InvariantError
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
