"""One interval of a slice, verified: its blocks are applied again, and every digest and checkpoint compared.

An interval goes from a checkpoint, or from where the slice starts, along the blocks past the checkpoints on the way.
The last one of a slice ends in the state that the next slice starts from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from checkpoints import Checkpoint, CheckpointError, CheckpointGone, CheckpointInfo, CheckpointStore
from engine.capacity import Capacity
from engine.digest import checksum, part_digest
from engine.interface import EngineKind, MarketEngine, StatefulEngine, new_engine, restore_engine
from engine.records import COMMAND, RULES_VERSION
from journal import Journal, JournalError
from replay.difference import unlike
from replay.errors import ReplayError
from replay.rebuild import capacity_of, check_rules, gap, restored, start, start_image, state_form, why_not

#: Called now and then with the number of commands verified since the call before.
Advanced = Callable[[int], None]


class Cut(NamedTuple):
    """A checkpoint's place in the journal and its file."""

    seq: int
    path: str


class Interval(NamedTuple):
    """Commands ``from_seq`` to ``to_seq`` of a slice, starting at a checkpoint (None: where the slice starts) and
    passing others, by rising seq. ``closes``: its end must be the state that the next slice starts from."""

    from_seq: int
    to_seq: int
    start: Cut | None
    passes: tuple[Cut, ...]
    slice_number: int = 1
    closes: bool = False


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
class IntervalResult:
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
    images_compared: int = 0
    damage: str | None = None
    bad: Cut | None = None


class _BadCheckpoint(Exception):
    """A checkpoint on the way cannot be used; carries it and the sentence why, "" when it was pruned meanwhile."""

    def __init__(self, cut: Cut, why: str) -> None:
        super().__init__(why)
        self.cut = cut


def cut_intervals(
    from_seq: int, to_seq: int, infos: Sequence[CheckpointInfo], pieces: int, start_seq: int = 0
) -> list[Interval]:
    """At most ``pieces`` intervals, of sizes as near to each other as the checkpoints allow, from the last one before
    ``from_seq``. ``start_seq``: the last command before the slice."""
    cuts = sorted(Cut(info.seq, str(info.path)) for info in infos if start_seq < info.seq <= to_seq)
    before = [cut for cut in cuts if cut.seq < from_seq]
    first = before[-1] if before else None
    inside = [cut for cut in cuts if cut.seq >= from_seq]
    begins = first.seq if first else start_seq
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
        for begin in [start.seq + 1 if start else start_seq + 1]
    ]


def verify_interval(
    journal: Journal, interval: Interval, kind: EngineKind, advanced: Advanced | None = None
) -> IntervalResult:
    """Apply the interval's blocks; stops at its first difference. Damage is reported, not raised. ``journal``: its
    slice."""
    tally = _Tally(journal, CheckpointStore(journal.place.folder), advanced)
    damage: str | None = None
    bad: Cut | None = None
    try:
        tally.run(interval, kind)
    except _BadCheckpoint as error:
        damage, bad = str(error) or None, error.cut
    except (JournalError, CheckpointError, ReplayError) as error:
        damage = f"commands {interval.from_seq + tally.commands:,} to {interval.to_seq:,} were not verified: {error}"
    return IntervalResult(
        tally.blocks,
        tally.commands,
        tally.events,
        tuple(tally.differences),
        tuple(tally.missing),
        tally.missing_at_end,
        tally.checkpoints_compared,
        tally.images_compared,
        damage,
        bad,
    )


def digests_in(machine: StatefulEngine, capacity: Capacity) -> dict[str, bytes]:
    """Digests by part of an engine's state, as an image of another capacity has them. Raises ReplayError where the
    market does not fit into that."""
    if capacity == machine.capacity:
        return dict(machine.part_digests())
    from engine.conversion import convert

    version, _ = state_form()
    parts = {name: dict(arrays) for name, arrays in machine.parts().items()}
    try:
        converted = convert(
            parts, rules_version=RULES_VERSION, state_version=version, capacity=machine.capacity, to=capacity
        )
        other = restore_engine("kernel", capacity, machine.seq, machine.event_digest, converted.parts)
    except ValueError as error:
        raise ReplayError(
            f"the state after command {machine.seq:,} has no image of the next slice's capacity"
        ) from error
    return dict(cast(StatefulEngine, other).part_digests())


class _Tally:
    """Progress of a verification; kept outside the loop so that damage in the middle loses nothing."""

    def __init__(self, journal: Journal, store: CheckpointStore, advanced: Advanced | None) -> None:
        self.journal = journal
        self.store = store
        self.advanced = advanced
        self.blocks = self.commands = self.events = self.missing_at_end = 0
        self.checkpoints_compared = self.images_compared = 0
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
        if interval.closes:
            self.compare_next(machine)

    def start(self, cut: Cut | None, kind: EngineKind) -> MarketEngine:
        """The engine where the interval begins. Raises CheckpointError for an image of the slice that is not right."""
        capacity = capacity_of(self.journal)
        if cut is None or kind != "kernel":
            return new_engine(kind, capacity) if self.journal.start is None else self.at_start(self.journal, kind)
        from engine import Engine

        checkpoint = self.load(cut)
        try:
            return Engine.restore(capacity, checkpoint.seq, checkpoint.event_digest, checkpoint.parts)
        except ValueError as error:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq:,} cannot be restored: {error}") from error

    def at_start(self, journal: Journal, kind: EngineKind) -> MarketEngine:
        """An engine in the state that a slice starts from. Raises CheckpointError, ReplayError."""
        if not journal.place.start_image.exists():  # a running node writes it right after it began the slice
            return start(journal, journal.path, journal.start_seq, kind, True, [])
        image = start_image(journal)
        try:
            return restored(kind, image)
        except ValueError as error:
            raise CheckpointError(f"{journal.place.start_image} cannot be restored: {error}") from error

    def load(self, cut: Cut) -> Checkpoint:
        """The checkpoint, whole and of this journal. Raises _BadCheckpoint."""
        try:
            checkpoint = self.store.load(Path(cut.path))
        except CheckpointGone as error:
            raise _BadCheckpoint(cut, "") from error
        except CheckpointError as error:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq:,} is damaged: {error}") from error
        wrong = why_not(checkpoint, self.journal)
        if wrong is not None:
            raise _BadCheckpoint(cut, f"checkpoint {cut.seq:,} {wrong}")
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

    def compare_next(self, machine: MarketEngine) -> None:
        """The state at the end of the slice and the one that the next slice starts from."""
        seq, number = machine.seq, self.journal.place.number + 1
        with Journal.open(self.journal.path, readonly=True, slice_number=number) as following:
            start = following.start
            assert start is not None, "a slice after another one has a start"
            if machine.event_digest != start.event_digest:
                self.differ(seq, seq, "events", start.event_digest, machine.event_digest)
            if hasattr(machine, "part_digests"):
                got = digests_in(cast(StatefulEngine, machine), capacity_of(following))
                for part in sorted({*got, *start.image} if start.image else ()):  # else its image is not there yet
                    if got.get(part) != start.image.get(part):
                        self.differ(seq, seq, part, start.image.get(part, b""), got.get(part, b""))
            else:
                # The reference engine has no image of its own: what any engine shows of its state is compared.
                other = self.at_start(following, "reference")
                for view in unlike(machine, other):
                    expected, given = (checksum(getattr(each, view)().tobytes()) for each in (other, machine))
                    self.differ(seq, seq, view, expected, given)
        self.images_compared += 1

    def differ(self, first_seq: int, last_seq: int, part: str, expected: bytes, got: bytes) -> None:
        """Note a difference."""
        self.differences.append(Difference(first_seq, last_seq, part, expected, got))
