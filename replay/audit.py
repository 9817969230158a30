"""Auditing: one journal through both engines, event by event.

Replicas run the same program, so a fault of the compiler or of a kernel looks the same on all of them. The reference
engine shares nothing with the kernels but the row layouts; the first event in which the two differ names the command.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.records import EVENT
from replay.compare import unlike
from replay.engines import MarketEngine, new_engine
from replay.rebuild import Progress, capacity_of, journal_of, owned_rows


@dataclass(frozen=True)
class EventDifference:
    """The first event in which two engines differ.

    ``seq``: the command that caused it; ``index``: its place among that command's events, from 0. ``kernel`` and
    ``reference``: the EVENT rows, None where that engine has none there. ``fields``: what differs in them.
    """

    seq: int
    index: int
    kernel: NDArray[Any] | None
    reference: NDArray[Any] | None
    fields: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """What was audited. ``state``: what differs at the end though all events agree (names of ``compare.VIEWS``)."""

    blocks: int
    commands: int
    events: int
    difference: EventDifference | None
    state: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether both engines agree."""
        return self.difference is None and not self.state


def audit(
    directory: Path | str,
    *,
    to_seq: int | None = None,
    kernel: MarketEngine | None = None,
    reference: MarketEngine | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Apply the journal from 1 to the end of the block with ``to_seq`` to both engines; stops at the first difference.

    ``kernel``, ``reference``: engines before their first command to use instead. Raises ReplayError for rules that are
    not ours, JournalError from the journal.
    """
    blocks = commands = events = 0
    with journal_of(directory) as journal:
        capacity = capacity_of(journal)
        first = kernel if kernel is not None else new_engine("kernel", capacity)
        second = reference if reference is not None else new_engine("reference", capacity)
        last_seq = journal.last_seq if to_seq is None else min(to_seq, journal.last_seq)
        for block in journal.blocks(1, last_seq) if last_seq else ():
            rows = owned_rows(block.rows)
            got, expected = first.apply(rows), second.apply(rows)
            blocks, commands, events = blocks + 1, commands + block.count, events + len(got)
            difference = first_difference(got, expected)
            if difference is not None:
                return AuditReport(blocks, commands, events, difference)
            if progress is not None:
                progress(block.last_seq, last_seq)
    return AuditReport(blocks, commands, events, None, unlike(first, second))


def first_difference(kernel: NDArray[Any], reference: NDArray[Any]) -> EventDifference | None:
    """The first row in which two engines' EVENT rows for the same commands differ; None when they are the same
    bytes."""
    n = min(len(kernel), len(reference))
    a, b = _numbers(kernel[:n]), _numbers(reference[:n])
    unequal = np.flatnonzero((a != b).any(axis=1))
    if len(unequal) == 0 and len(kernel) == len(reference):
        return None
    at = int(unequal[0]) if len(unequal) else n
    row_a = kernel[at : at + 1].copy() if at < len(kernel) else None
    row_b = reference[at : at + 1].copy() if at < len(reference) else None
    seqs = [int(row["seq"][0]) for row in (row_a, row_b) if row is not None]
    # Where one has an event for a command and the other is at a later command already, the earlier one is where they
    # part.
    seq = min(seqs)
    before = kernel[:at]["seq"]
    index = int(np.count_nonzero(before == seq))
    row_a = row_a if row_a is not None and int(row_a["seq"][0]) == seq else None
    row_b = row_b if row_b is not None and int(row_b["seq"][0]) == seq else None
    names = EVENT.names or ()
    fields = tuple(
        name for name in names if row_a is not None and row_b is not None and row_a[name][0] != row_b[name][0]
    )
    return EventDifference(seq, index, row_a, row_b, fields)


def _numbers(rows: NDArray[Any]) -> NDArray[np.int64]:
    return np.ascontiguousarray(rows).view(np.int64).reshape(len(rows), rows.dtype.itemsize // 8)
