"""Application of many blocks in one call of the engine, with the event digest at the end of each."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import jit
from engine.apply import apply_batch
from engine.bounds import COMMANDS_PER_CALL_MAX
from engine.engine import Engine
from engine.errors import InvariantError
from engine.interface import MarketEngine
from engine.records import COMMAND, EVENT, concatenate
from journal import Block

_apply_batch: Final = jit.quiet(apply_batch)

#: Numbers that NumPy copies in the time of a bisection among them.
_LOOKS_OF_BISECTION: Final = 512

#: COMMAND rows, EVENT rows, and the event digest after each block.
Applied = tuple[NDArray[Any], NDArray[Any], list[bytes]]


class MergedBlocks:
    """Runs of blocks for one engine. The result is that of a call for each block."""

    def __init__(self, engine: MarketEngine) -> None:
        self._engine = engine
        # The rows of a run: memory that is used again needs no pages of the system.
        self._commands = np.zeros(0, COMMAND)

    def apply(self, blocks: Sequence[Block]) -> Applied:
        """Apply blocks that follow each other, at least one. The rows may be views that the next call overwrites."""
        commands = self._merge(blocks)
        if not isinstance(self._engine, Engine):
            return commands, *_one_by_one(self._engine, blocks, commands)
        events = _events(self._engine, commands)
        return commands, events, _digests(self._engine, blocks, events)

    def _merge(self, blocks: Sequence[Block]) -> NDArray[Any]:
        count = sum(block.count for block in blocks)
        if len(self._commands) < count:
            self._commands = np.zeros(max(count, COMMANDS_PER_CALL_MAX), COMMAND)
        commands = self._commands[:count]
        raw, at = commands.view(np.uint8).data, 0
        for block in blocks:
            raw[at : at + len(block.rows)] = block.rows
            at += len(block.rows)
        return commands


def _events(engine: Engine, commands: NDArray[Any]) -> NDArray[Any]:
    """Apply commands, and give their events, which are not in the event digest yet."""
    room = engine.events
    start, count = _apply_batch(engine.pointers, commands, 0, room, 0)
    if start == len(commands):
        return room[:count]
    parts = []  # seldom: there is no room for all at once
    while True:
        parts.append(concatenate([room[:count]], EVENT))
        if start == len(commands):
            return concatenate(parts, EVENT)
        before = start
        start, count = _apply_batch(engine.pointers, commands, start, room, 0)
        if start == before and not count:
            raise InvariantError(f"command {engine.seq + 1} may cause more events than there is room for")


def _digests(engine: Engine, blocks: Sequence[Block], events: NDArray[Any]) -> list[bytes]:
    """Take events into the event digest; gives the digest after each block."""
    digests, at = [], 0
    for end in _ends(blocks, events["seq"]):
        engine.adopt(events[at:end])
        digests.append(engine.event_digest)
        at = end
    return digests


def _ends(blocks: Sequence[Block], seqs: NDArray[Any]) -> list[int]:
    """Number of the events up to the end of each block; ``seqs``: their commands, rising."""
    last_seqs = [block.last_seq for block in blocks]
    if len(blocks) * _LOOKS_OF_BISECTION < len(seqs):
        return [bisect_right(seqs, seq) for seq in last_seqs]
    ends: list[int] = np.searchsorted(np.ascontiguousarray(seqs), last_seqs, "right").tolist()
    return ends


def _one_by_one(
    engine: MarketEngine, blocks: Sequence[Block], commands: NDArray[Any]
) -> tuple[NDArray[Any], list[bytes]]:
    events, digests, at = [], [], 0
    for block in blocks:
        events.append(engine.apply(commands[at : at + block.count]))
        digests.append(engine.event_digest)
        at += block.count
    return concatenate(events, EVENT), digests
