"""Commands that carry client order ids, found in the rows of a journal without an engine.

An order may have had other ids before: replaces give them, so ids are followed back through the replaces that gave
them. Rows alone do not say which command was refused, so what is found may be more than a life of one order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND, CommandKind
from journal.history import History

_ORDERS = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)


class Mentions(NamedTuple):
    """Sequence numbers of the commands with any of ``ids``, rising; ``ids``: those asked for and earlier ones."""

    seqs: NDArray[np.int64]
    ids: NDArray[np.int64]


def mentions(
    history: History, wanted: set[int], from_seq: int, to_seq: int, progress: Callable[[int, int], None]
) -> Mentions:
    """Commands of a range with ids, or with ids that an order with such an id may have had before.

    Raises JournalError.
    """
    ids = np.array(sorted(wanted), np.int64)
    seqs, old, new = _scan(history, ids, from_seq, to_seq, progress)
    known = ids
    while True:
        earlier = np.union1d(known, old[np.isin(new, known)])
        if len(earlier) == len(known):
            break
        known = earlier
    if len(known) > len(ids):
        seqs, _, _ = _scan(history, known, from_seq, to_seq, progress)
    return Mentions(seqs, known)


def _scan(
    history: History, ids: NDArray[np.int64], from_seq: int, to_seq: int, progress: Callable[[int, int], None]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Commands with any of the ids; old and new id of every replace."""
    seqs, old, new = ([np.empty(0, np.int64)] for _ in range(3))
    for block in history.blocks(from_seq, to_seq):
        rows = np.frombuffer(block.rows, COMMAND)
        kinds = rows["kind"]
        at = np.flatnonzero((kinds >= min(_ORDERS)) & (kinds <= max(_ORDERS)))
        own = rows["client_order_id"][at]
        replaces = kinds[at] == CommandKind.REPLACE
        given = rows["new_client_order_id"][at]
        found = _among(own, ids) | (replaces & _among(given, ids))
        seqs.append(block.first_seq + at[found])
        old.append(own[replaces])
        new.append(given[replaces])
        progress(block.last_seq - from_seq, to_seq - from_seq)
    found_seqs = np.concatenate(seqs)
    return found_seqs[(found_seqs >= from_seq) & (found_seqs <= to_seq)], np.concatenate(old), np.concatenate(new)


def _among(values: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mask of the values among ids, which mostly are one or two."""
    if len(ids) > 4:
        return np.isin(values, ids)
    found = np.zeros(len(values), np.bool_)
    for each in ids:
        found |= values == each
    return found
