"""A generated day for questions to a journal: 3,000 commands with refusals of each kind, in small blocks."""

from pathlib import Path

from directory.recover import CheckpointEvery, create
from engine import Capacity
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.streams import random_stream

SMALL = Capacity(orders_max=4_096, ids_max=16_384, instruments_max=16, participants_max=16)


def write_day(
    directory: Path,
    *,
    commands: int = 3_000,
    seed: int = 14,
    checkpoint_every: int = 0,
    hostile: float = 0.0,
    garbage: float = 0.0,
) -> None:
    """Write the day into a new data directory, in blocks of 100 rows that are cut anywhere.

    ``hostile`` and ``garbage``: parts of it that no gateway sends.
    """
    rows = random_stream(seed, commands, hostile=hostile, garbage=garbage, control=0.01)
    journal, engine = create(directory, SMALL, durability="none")
    at_boundary = CheckpointEvery(checkpoint_every) if checkpoint_every else None
    with journal:
        blocks = (rows[at : at + 100] for at in range(0, len(rows), 100))
        pump(blocks, FileStamp(), journal, engine, durability="none", at_boundary=at_boundary)
