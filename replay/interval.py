"""One piece of a verification: from a checkpoint, along the blocks, past the checkpoints that lie on the way.

A piece depends on no other: it starts from a checkpoint's state, and the piece before it must arrive at that very
state. So pieces may run anywhere, in any order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from checkpoints import Checkpoint, CheckpointError, CheckpointGone, CheckpointInfo, CheckpointStore
from engine.digest import part_digest
from engine.interface import EngineKind, MarketEngine, StatefulEngine, new_engine
from engine.records import COMMAND
from journal import Journal, JournalDamaged
from replay.errors import ReplayError
from replay.rebuild import capacity_of, check_rules, gap, why_not

#: Called now and then with the number of commands verified since the call before.
Advanced = Callable[[int], None]


class Cut(NamedTuple):
    """A checkpoint's place in the journal and its file."""

    seq: int
    path: str


class Interval(NamedTuple):
    """Commands ``from_seq`` to ``to_seq``, starting at a checkpoint (None: at 1) and passing others, by rising seq."""

    from_seq: int
    to_seq: int
    start: Cut | None
    passes: tuple[Cut, ...]


@dataclass(frozen=True)
class Difference:
    """A difference between replay and record. ``part``: "events" for a block's event digest, else a part of the
    state."""

    first_seq: int
    last_seq: int
    part: str
    expected: bytes
    got: bytes


@dataclass(frozen=True)
class Verified:
    """Result of one interval. ``missing``: first_seq of the blocks without a recorded digest, the last
    ``missing_at_end`` of them at the interval's end.

    ``damage``: the sentence of what stopped it early; ``bad``: the checkpoint that cannot be used, if that was it.
    """

    blocks: int = 0
    commands: int = 0
    events: int = 0
    differences: tuple[Difference, ...] = ()
    missing: tuple[int, ...] = ()
    missing_at_end: int = 0
    checkpoints_compared: int = 0
    damage: str | None = None
    bad: Cut | None = None


class _BadCheckpoint(Exception):
    """A checkpoint on the way cannot be used; carries it and the sentence why, "" when it was pruned meanwhile."""

    def __init__(self, cut: Cut, why: str) -> None:
        super().__init__(why)
        self.cut = cut


def cut_intervals(from_seq: int, to_seq: int, infos: Sequence[CheckpointInfo], pieces: int) -> list[Interval]:
    """At most ``pieces`` intervals, of sizes as near to each other as the checkpoints allow, from the last one before
    ``from_seq``."""
    cuts = sorted(Cut(info.seq, str(info.path)) for info in infos if 0 < info.seq <= to_seq)
    before = [cut for cut in cuts if cut.seq < from_seq]
    first = before[-1] if before else None
    inside = [cut for cut in cuts if cut.seq >= from_seq]
    begins = first.seq if first else 0
    chosen: list[Cut] = []
    for piece in range(1, pieces):
        target = begins + (to_seq - begins) * piece // pieces
        later = [cut for cut in inside if cut.seq < to_seq and (not chosen or cut.seq > chosen[-1].seq)]
        if later:
            nearest = min(later, key=lambda cut: abs(cut.seq - target))
            if not chosen or nearest.seq > chosen[-1].seq:
                chosen.append(nearest)
    starts: list[Cut | None] = [first, *chosen]
    ends = [cut.seq for cut in chosen] + [to_seq]
    return [
        Interval(begin, end, start, tuple(cut for cut in inside if begin <= cut.seq <= end))
        for start, end in zip(starts, ends, strict=True)
        for begin in [start.seq + 1 if start else 1]
    ]


def verify_interval(
    journal: Journal, directory: Path | str, interval: Interval, kind: EngineKind, advanced: Advanced | None = None
) -> Verified:
    """Apply the interval's blocks; stops at its first difference. Damage is reported, not raised."""
    tally = _Tally(journal, CheckpointStore(Path(directory)), advanced)
    damage: str | None = None
    bad: Cut | None = None
    try:
        tally.run(interval, kind)
    except _BadCheckpoint as error:
        damage, bad = str(error) or None, error.cut
    except (JournalDamaged, ReplayError) as error:
        damage = f"commands {interval.from_seq + tally.commands} to {interval.to_seq} were not verified: {error}"
    return Verified(
        tally.blocks,
        tally.commands,
        tally.events,
        tuple(tally.differences),
        tuple(tally.missing),
        tally.missing_at_end,
        tally.checkpoints_compared,
        damage,
        bad,
    )


class _Tally:
    """Progress of a verification; kept outside the loop so that damage in the middle loses nothing."""

    def __init__(self, journal: Journal, store: CheckpointStore, advanced: Advanced | None) -> None:
        self.journal = journal
        self.store = store
        self.advanced = advanced
        self.blocks = self.commands = self.events = self.checkpoints_compared = self.missing_at_end = 0
        self.differences: list[Difference] = []
        self.missing: list[int] = []

    def run(self, interval: Interval, kind: EngineKind) -> None:
        """Verify one interval. Raises ReplayError, JournalDamaged, _BadCheckpoint."""
        machine = self.start(interval.start, kind)
        passes = list(reversed(interval.passes)) if kind == "kernel" else []
        # Events are only counted here, so the kernel's own buffer will do.
        apply = partial(cast(StatefulEngine, machine).apply, copy=False) if kind == "kernel" else machine.apply
        rows = np.empty(0, np.uint8)
        for block in self.journal.blocks(interval.from_seq, interval.to_seq):
            check_rules("the journal", block.rules_version)
            if block.first_seq != machine.seq + 1:
                raise gap(machine.seq + 1, block.first_seq)
            if len(rows) < len(block.rows):
                rows = np.empty(len(block.rows), np.uint8)
            commands = rows[: len(block.rows)]  # owned, and written over by the next block: the engine keeps no row
            commands[:] = np.frombuffer(block.rows, np.uint8)
            self.events += len(apply(commands.view(COMMAND)))
            self.blocks += 1
            self.commands += block.count
            if self.advanced is not None:
                self.advanced(block.count)
            recorded = self.journal.digest(block.first_seq)
            self.missing_at_end = self.missing_at_end + 1 if recorded is None else 0
            if recorded is None:
                self.missing.append(block.first_seq)
            elif recorded != machine.event_digest:
                self.differ(block.first_seq, block.last_seq, "events", recorded, machine.event_digest)
                return
            while passes and passes[-1].seq <= machine.seq:
                self.compare(passes.pop(), machine, block.first_seq)
                if self.differences:
                    return

    def start(self, cut: Cut | None, kind: EngineKind) -> MarketEngine:
        """The engine where the interval begins."""
        capacity = capacity_of(self.journal)
        if cut is None or kind != "kernel":
            return new_engine(kind, capacity)
        from engine import Engine

        checkpoint = self.load(cut)
        try:
            return Engine.restore(capacity, checkpoint.seq, checkpoint.event_digest, checkpoint.parts)
        except ValueError as error:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq} cannot be restored: {error}") from error

    def load(self, cut: Cut) -> Checkpoint:
        """The checkpoint, whole and of this journal. Raises _BadCheckpoint."""
        try:
            checkpoint = self.store.load(Path(cut.path))
        except CheckpointGone as error:
            raise _BadCheckpoint(cut, "") from error
        except CheckpointError as error:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq} is damaged: {error}") from error
        wrong = why_not(checkpoint, self.journal)
        if wrong is not None:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq} {wrong}")
        return checkpoint

    def compare(self, cut: Cut, machine: MarketEngine, first_seq: int) -> None:
        """The state reached and the checkpoint's, part by part."""
        checkpoint = self.load(cut)
        got = cast(StatefulEngine, machine).part_digests()
        for part in sorted(set(got) | set(checkpoint.parts)):
            expected = part_digest(checkpoint.parts[part]) if part in checkpoint.parts else b""
            if expected != got.get(part, b""):
                self.differ(first_seq, cut.seq, part, expected, got.get(part, b""))
        self.checkpoints_compared += 1

    def differ(self, first_seq: int, last_seq: int, part: str, expected: bytes, got: bytes) -> None:
        """Note a difference."""
        self.differences.append(Difference(first_seq, last_seq, part, expected, got))
