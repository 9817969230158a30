"""Audit of a journal by both engines, event by event.

Replicas run the same program, so a fault of the compiler or of a kernel looks the same on all of them. The reference
engine shares only the row layouts with the kernels; the first event in which the two differ names the command.
"""

from dataclasses import dataclass
from pathlib import Path

from engine.interface import MarketEngine
from journal.history import History
from replay.chain import ChainEngine
from replay.difference import EventDifference, first_difference, unlike
from replay.rebuild import Progress, owned_rows


@dataclass(frozen=True)
class AuditReport:
    """Result of an audit. ``state``: views that differ though all events agree (names of ``difference.VIEWS``)."""

    blocks: int
    commands: int
    events: int
    difference: EventDifference | None
    state: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if both engines agree."""
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

    Where not all slices are in the directory, from the first on after which none is missing. Each slice begins with its
    image in both engines.

    ``kernel``, ``reference``: engines before their first command to use instead. Raises ReplayError for rules that are
    not ours, JournalError from the journal.
    """
    blocks = commands = events = 0
    with History.open(directory) as history:
        from_seq = history.there_from_seq
        first = kernel if kernel is not None else ChainEngine(history, "kernel", from_seq - 1)
        second = reference if reference is not None else ChainEngine(history, "reference", from_seq - 1)
        last_seq = history.last_seq if to_seq is None else min(to_seq, history.last_seq)
        for block in history.blocks(from_seq, last_seq):
            rows = owned_rows(block.rows)
            got, expected = first.apply(rows), second.apply(rows)
            blocks, commands, events = blocks + 1, commands + block.count, events + len(got)
            difference = first_difference(got, expected)
            if difference is not None:
                return AuditReport(blocks, commands, events, difference)
            if progress is not None:
                progress(block.last_seq, last_seq)
        ends = [each.engine if isinstance(each, ChainEngine) else each for each in (first, second)]
    return AuditReport(blocks, commands, events, None, unlike(*ends))
