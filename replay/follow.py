"""Blocks of a journal that grows: what a running node writes, played as soon as it is on the disk.

The node notices nothing: each look opens the journal for reading, as any other command does, and an engine of the
reader's own applies what is new. It goes on through the slices that the node begins.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.interface import MarketEngine
from journal import Journal
from journal.history import History
from replay.past import PlayedBlock
from replay.rebuild import played

#: Wait between two looks, in seconds: after a block, and the longest while nothing comes.
LOOK_S: Final = 0.01
QUIET_LOOK_S: Final = 0.1


def follow(directory: Path, engine: MarketEngine, to_seq: int | None = None) -> Iterator[PlayedBlock | None]:
    """Play what comes after the engine's position, until ``to_seq`` (None: for ever); None where nothing is new.

    Raises what replay and journal raise, such as for a slice of other rules.
    """
    wait_s = LOOK_S
    while to_seq is None or engine.seq < to_seq:
        last_seq = _last_seq(directory)
        if last_seq <= engine.seq:
            yield None
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, QUIET_LOOK_S)
            continue
        wait_s = LOOK_S
        with History.open(directory) as history:
            end = history.last_seq if to_seq is None else min(history.last_seq, to_seq)
            for part in history.ranges(engine.seq + 1, end):
                before = engine.directory
                for play in played(part.journal, engine, part.to_seq):
                    after = engine.directory
                    yield PlayedBlock(play, before, after)
                    before = after


def _last_seq(directory: Path) -> int:
    with Journal.open(directory, readonly=True) as journal:
        return journal.last_seq
