"""A command that is many stops before a part whose events have no room, and goes on in the next call."""

from typing import Any

import numpy as np
import pytest

import engine.engine as engine_module
from engine import Capacity, Engine
from engine.capacity import events_max
from engine.records import EVENT
from engine.reference import ReferenceEngine
from engine.room import THROUGH
from replay.audit import first_difference
from tests.features import meeting_stream
from tests.streams import call_stream, random_stream

CAPACITY = Capacity(orders_max=600, ids_max=6_000, instruments_max=8, participants_max=12)


def tighten(engine: Engine) -> None:
    """Leave room for the events of one part alone, with what commands that wait may add to the market."""
    venue = engine._state.venue[0]
    waiting = int(venue["waiting"])
    orders = min(int(venue["orders_open"]) + waiting, CAPACITY.orders_max)
    slices = CAPACITY.orders_max if waiting else int(venue["slices"])
    changes, participants = int(venue["phase_changes"]), int(venue["participants"])
    pegs = int(venue["pegs"]) + waiting
    engine._events = np.empty(events_max(orders, slices, changes, participants, pegs), EVENT)
    engine._event_bytes = engine._events.view(np.uint8).data


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_whatever_the_room_the_events_are_those_of_the_reference_engine(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        random_stream(900, 1_500, control=0.05, delayed=True),
        call_stream(901, 1_500, delayed=True),
        meeting_stream(902, 1_500, delayed=True),
        meeting_stream(903, 1_500),
    )[number]
    engine, reference = Engine(CAPACITY), ReferenceEngine(CAPACITY)
    stopped = 0

    def counted(pointers: Any, commands: Any, start: int, events: Any, n: int) -> tuple[int, int]:
        nonlocal stopped
        found: tuple[int, int] = apply(pointers, commands, start, events, n)
        stopped += int(engine._state.venue[0]["halfway"] != THROUGH)
        return found

    apply = engine_module._apply
    monkeypatch.setattr(engine_module, "_apply", counted)
    for at in range(len(rows)):
        tighten(engine)
        events = engine.apply(rows[at : at + 1])
        assert first_difference(events, reference.apply(rows[at : at + 1])) is None, at
    engine.check()
    assert engine.event_digest == reference.event_digest
    assert stopped > 0
