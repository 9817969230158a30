"""`python -m benchmarks.question_day DIR [COMMANDS]`: a large day for questions to a journal, as a data directory.

W1 over 100 symbols and 999 participants with limits, with a clock row before each step of the workload, in blocks of
about 2,000 rows, and a checkpoint every million commands. 10 M commands take half a minute and 3.3 GB.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.workload import MANY_PARTICIPANTS, STEP, W1, Rows, Stream, definitions, limits
from directory.recover import CheckpointEvery, create
from engine import Capacity
from engine.records import COMMAND, CommandKind, concatenate
from sequencer.pump import pump
from sequencer.stamp import FileStamp

COMMANDS: Final = 10_000_000
SYMBOLS: Final = 100
_BEGIN_NS: Final = 1_705_311_000 * 10**9  # 2024-01-15T09:30:00
_STEP_NS: Final = 600_000_000
_STEPS_A_BLOCK: Final = 8
_DEFINITIONS_A_BLOCK: Final = 1_000


def write(directory: Path, commands: int = COMMANDS) -> int:
    """Write the day into a new data directory; the number of its last command."""
    ids_max = max(commands * 7 // 10, 2 << 20)
    journal, engine = create(directory, Capacity(ids_max=ids_max), durability="none")
    with journal:
        every = CheckpointEvery(1_000_000)
        pump(_blocks(commands), FileStamp(), journal, engine, durability="none", at_boundary=every)
    return engine.seq


def _blocks(commands: int) -> Iterator[Rows]:
    first = concatenate([_clock(0), definitions(SYMBOLS, MANY_PARTICIPANTS), limits(MANY_PARTICIPANTS)])
    for at in range(0, len(first), _DEFINITIONS_A_BLOCK):
        yield first[at : at + _DEFINITIONS_A_BLOCK]
    stream = Stream(W1, SYMBOLS, 1, commands + STEP, MANY_PARTICIPANTS)
    steps = commands // STEP
    for at in range(0, steps, _STEPS_A_BLOCK):
        numbers = range(at, min(at + _STEPS_A_BLOCK, steps))
        yield concatenate([rows for number in numbers for rows in (_clock(number + 1), stream.step(STEP))])


def _clock(step: int) -> Rows:
    row = np.zeros(1, COMMAND)
    row["kind"], row["time_ns"] = CommandKind.CLOCK, _BEGIN_NS + step * _STEP_NS
    return row


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    print(write(Path(sys.argv[1]), *map(int, sys.argv[2:3])), "commands")
