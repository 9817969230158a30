"""The node that the crash loop kills: it recovers, then pumps a stream from where the journal ends, telling what is
durable."""

from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from directory.checkpoint_fork import CheckpointFork
from directory.recover import recover
from engine import COMMAND, Engine
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.nodes import SMALL

#: Commands of a block: the journal always ends between two, so the blocks of a run are those of an uninterrupted one.
BLOCK_COMMANDS = 16

# Compiled kernels are loaded before the node is forked, so that its life is spent at work.
Engine(SMALL).apply(np.zeros(1, COMMAND))


def run_node(directory: str, stream: str, checkpoint_every: int, pipe: Connection) -> None:
    """Pump until the stream ends or somebody kills us. Sends (last_seq, number of events) of each block once it is
    released."""
    rows: NDArray[Any] = np.load(stream, mmap_mode="r").view(COMMAND)
    journal, engine, _ = recover(directory)

    def publish(first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        pipe.send((first_seq + len(commands) - 1, len(events)))

    pipe.send((journal.last_seq, -1))
    starts = range(journal.last_seq, len(rows), BLOCK_COMMANDS)
    source = (rows[start : start + BLOCK_COMMANDS] for start in starts)
    with journal, CheckpointFork(journal, checkpoint_every, keep=3) as every:
        pump(source, FileStamp(engine.now_ns), journal, engine, publishers=[publish], at_boundary=every)
    pipe.send((journal.last_seq, -2))
