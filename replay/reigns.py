"""Reigns in a journal: which node was primary when. A reign begins with the block of its EPOCH row, the first of its
epoch (``sequencer.reign``).

The records that a node keeps beside its journal (latencies, logins, arrivals) are those of its own reigns.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.names import unpack
from engine.records import COMMAND, CommandKind
from journal import Block
from journal.history import History

_EPOCH: Final = int(CommandKind.EPOCH)


class Reign(NamedTuple):
    """Commands of one primary. ``node``: its name as the journal has it, in capitals; None where its slice is gone."""

    node: str | None
    epoch: int
    first_seq: int
    last_seq: int


def reigns(history: History, from_seq: int, to_seq: int) -> list[Reign]:
    """Reigns that had a command of a range, the oldest first, each up to its last command in the range.

    Commands of a node without a pair are of none. Raises JournalError.
    """
    found: list[Reign] = []
    least = history.there_from_seq
    seq = min(to_seq, history.last_seq)
    while seq >= max(from_seq, least):
        epoch = _block_at(history, seq).epoch
        if epoch == 0:
            break
        first = _first_of(history, epoch, least, seq)
        rows = np.frombuffer(first.rows, COMMAND)
        begun = np.flatnonzero((rows["kind"] == _EPOCH) & (rows["epoch"] == epoch))
        node = unpack(int(rows["name"][begun[0]])) if len(begun) else None
        found.append(Reign(node, epoch, first.first_seq, seq))
        seq = first.first_seq - 1
    return found[::-1]


def _first_of(history: History, epoch: int, low: int, high: int) -> Block:
    """The first block of an epoch; the command ``high`` is of that epoch, ``low`` is the first there is."""
    while low < high:
        block = _block_at(history, (low + high) // 2)
        if block.epoch < epoch:
            low = block.last_seq + 1
        else:
            high = block.first_seq
    return _block_at(history, high)


def _block_at(history: History, seq: int) -> Block:
    return next(iter(history.blocks(seq, seq)))


def counted_by_reign(found: Sequence[Reign], seqs: NDArray[Any]) -> list[tuple[Reign, int]]:
    """Reigns that some of the commands ``seqs`` are of, each with their number."""
    counts = [(each, int(((seqs >= each.first_seq) & (seqs <= each.last_seq)).sum())) for each in found]
    return [(reign, count) for reign, count in counts if count]
