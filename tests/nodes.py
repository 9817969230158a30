"""Small data directories for tests: written by the pump, by a sound engine or by one with a known hole."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkpoints import Checkpoint, write_checkpoint
from directory.recover import CheckpointEvery, create, image, stateful
from engine import Capacity
from engine.digest import EventChain
from engine.interface import EngineKind, MarketEngine, new_engine
from engine.records import RULES_VERSION, CommandKind, EventKind
from journal import Journal
from journal.slices import START_IMAGE
from replay.rebuild import capacity_of, journal_of, source_digest
from sequencer.pump import pump
from sequencer.stamp import FileStamp

#: Small, so that an engine, its checkpoint and its journal are cheap to make by the hundred.
SMALL = Capacity(orders_max=1_024, ids_max=32_768, instruments_max=8, participants_max=16)

#: Options of a new directory that is smaller still: each command that replays it makes an engine of its capacity.
TINY = ("--orders-max", "64", "--ids-max", "256", "--instruments-max", "4", "--participants-max", "8")


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
    every = None if checkpoint_every is None else CheckpointEvery(checkpoint_every, keep=10_000)
    with journal:
        pump(batches(rows, size), FileStamp(), journal, used, at_boundary=every)
    return used


def write_slices(
    directory: Path,
    rows: NDArray[Any],
    ends: Sequence[int],
    size: int = 64,
    *,
    checkpoint_every: int | None = None,
    capacity: Capacity = SMALL,
    journal_id: bytes | None = None,
) -> MarketEngine:
    """Pump the rows into a new directory and begin a new slice after each command in ``ends``; the engine at the end.

    No slice ends between an EXTEND row and its command: such an end moves behind the command. Slices without commands
    are left out.
    """
    journal, engine = create(directory, capacity, journal_id=journal_id)
    stamp = FileStamp()
    with journal:
        for end in [*sorted(slice_ends(rows, ends)), len(rows)]:
            if journal.last_seq > journal.start_seq:
                begin_slice(journal, engine)
            every = None
            if checkpoint_every is not None:
                every = CheckpointEvery(checkpoint_every, keep=10_000)
            pump(batches(rows[journal.last_seq : end], size), stamp, journal, engine, at_boundary=every)
    return engine


def slice_ends(rows: NDArray[Any], ends: Sequence[int]) -> set[int]:
    """The commands after which a slice can end, at or behind each of ``ends``, without the last one."""
    found = set()
    for end in ends:
        while 0 < end < len(rows) and rows["kind"][end - 1] == CommandKind.EXTEND:
            end += 1  # noqa: PLW2901
        found.add(end)
    return {end for end in found if 0 < end < len(rows)}


def begin_slice(journal: Journal, engine: MarketEngine, rules_version: int = RULES_VERSION) -> None:
    """Go on in a new slice that starts from the state of the engine, which is at the end of the journal."""
    capacity = capacity_of(journal)
    checkpoint = image(stateful(engine), capacity, journal.journal_id)
    journal.begin_slice(
        {"capacity": asdict(capacity), "rules_version": rules_version, "source_digest": source_digest()},
        event_digest=checkpoint.event_digest,
        image=dict(stateful(engine).part_digests()),
        prepare=lambda folder: write_checkpoint(folder / START_IMAGE, checkpoint),
    )


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
        events = events[~((events["kind"] == EventKind.TRADE) & (events["trade_number"] == self._number))]
        self._chain.add(np.ascontiguousarray(events))
        return events

    @property
    def event_digest(self) -> bytes:
        """Of what is left."""
        return self._chain.digest()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sound, name)
