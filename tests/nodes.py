"""Small data directories for tests: written by the pump, by a sound engine or by one with a known hole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkpoints import Checkpoint
from directory.recover import CheckpointEvery, create, image, stateful
from engine import Capacity
from engine.digest import EventChain
from engine.interface import EngineKind, MarketEngine, new_engine
from engine.records import EventKind
from replay.rebuild import capacity_of, journal_of
from sequencer.pump import pump
from sequencer.stamp import FileStamp

#: Small, so that an engine, its checkpoint and its journal are cheap to make by the hundred.
SMALL = Capacity(orders_max=1_024, ids_max=32_768, instruments_max=8, participants_max=16)


def batches(rows: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """The rows in batches of ``size``."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def write_node(
    directory: Path,
    rows: NDArray[Any],
    size: int = 64,
    *,
    kind: EngineKind = "kernel",
    checkpoint_every: int | None = None,
    engine: MarketEngine | None = None,
    capacity: Capacity = SMALL,
) -> MarketEngine:
    """Pump the rows into a new directory in blocks of ``size``; the engine at the end. ``engine``: one to use
    instead."""
    journal, made = create(directory, capacity, engine=kind)
    used = made if engine is None else engine
    every = None if checkpoint_every is None else CheckpointEvery(directory, checkpoint_every, keep=10_000)
    with journal:
        pump(batches(rows, size), FileStamp(), journal, used, at_boundary=every)
    return used


def image_of(directory: Path, engine: MarketEngine) -> Checkpoint:
    """The state of an engine as a checkpoint of the journal in a directory."""
    with journal_of(directory) as journal:
        return image(stateful(engine), capacity_of(journal), journal.journal_id)


class DropsAFill:
    """A known hole: an engine that loses its ``number``-th trade event, and chains its digest over what is left."""

    def __init__(self, number: int, kind: EngineKind = "kernel") -> None:
        self._sound = new_engine(kind, SMALL)
        self._number = number
        self._chain = EventChain()
        self.dropped_seq = 0

    def apply(self, commands: NDArray[Any]) -> NDArray[Any]:
        """As the sound engine's, less the one event."""
        events = self._sound.apply(commands)
        events = events[~((events["kind"] == EventKind.TRADE) & (events["number"] == self._number))]
        self._chain.add(np.ascontiguousarray(events))
        return events

    @property
    def event_digest(self) -> bytes:
        """Of what is left."""
        return self._chain.digest()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sound, name)
