"""Many blocks in one call of the engine: the same events, digests and state as one call for each block."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.capacity import Capacity
from engine.engine import Engine
from engine.records import concatenate
from engine.reference.engine import ReferenceEngine
from journal import Block
from node.core.merged_blocks import MergedBlocks
from tests.streams import random_stream

CAPACITY = Capacity(orders_max=400, ids_max=4_096, instruments_max=4, participants_max=8)


def blocks_of(rows: NDArray[Any], seed: int) -> list[Block]:
    """Blocks of random sizes of rows that begin with command 1."""
    cuts = np.sort(np.random.default_rng(seed).choice(np.arange(1, len(rows)), 60, replace=False)).tolist()
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        raw = memoryview(rows[begin:end].tobytes())
        found.append(Block(begin + 1, end - begin, 0, 0, "", 5, bytes(16), bytes(16), raw))
    return found


@pytest.mark.parametrize("kind", [Engine, ReferenceEngine])
@pytest.mark.parametrize("seed", range(3))
def test_runs_of_blocks_cause_what_the_blocks_cause(kind: Any, seed: int) -> None:
    rows = random_stream(seed, 1_500)
    blocks = blocks_of(rows, seed)
    one, other = kind(CAPACITY), kind(CAPACITY)
    merged = MergedBlocks(other)
    at = 0
    for length in (1, 7, 3, 20, 30):
        run = blocks[at : at + length]
        at += length
        events, digests = [], []
        for block in run:
            events.append(one.apply(rows[block.first_seq - 1 : block.last_seq]))
            digests.append(one.event_digest)
        commands, caused, found = merged.apply(run)
        assert commands.tobytes() == rows[run[0].first_seq - 1 : run[-1].last_seq].tobytes()
        assert caused.tobytes() == b"".join(each.tobytes() for each in events)
        assert found == digests
    assert at == len(blocks)
    assert one.seq == other.seq == len(rows)
    if kind is Engine:
        assert one.part_digests() == other.part_digests()


def test_events_without_room_for_all_of_them_are_given_whole() -> None:
    rows = concatenate([random_stream(4, 1_500)])
    blocks = blocks_of(rows, 4)
    one, other = Engine(CAPACITY), Engine(CAPACITY)
    other._events = other._events[: len(other._events) - 4 * 8_192 + 16]  # room for the largest command, or little more
    events = [one.apply(rows[block.first_seq - 1 : block.last_seq]) for block in blocks]
    _, caused, digests = MergedBlocks(other).apply(blocks)
    assert caused.tobytes() == b"".join(each.tobytes() for each in events)
    assert digests[-1] == one.event_digest
