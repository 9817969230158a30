"""The pipeline: stamp, journal, apply, digest, release. The order of lines in ``sequence`` is the guarantee.

The engine works ahead of the disk: a block is applied while the journal's writer thread still commits it. Its events
are held until the block is durable, so no client receives an event that a crash could undo. The held blocks are
bounded. ``pump`` pulls a source through and waits for the disk at the bound; a node, which may not wait, pushes its
batches and stops taking while the pipeline is ``full``. Python runs once a block, compiled code once a row.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.epochs import epoch_after
from engine.interface import MarketEngine
from engine.records import COMMAND, EVENT
from journal import Durability, Journal
from sequencer.stamp import StampedBlock

#: Publisher: called for each block in order, with its first sequence number, its commands and its events.
Publisher = Callable[[int, NDArray[Any], NDArray[Any]], None]
#: Called after a block, with nothing in flight between journal and engine (see ``CheckpointEvery``).
Boundary = Callable[[Journal, MarketEngine], None]

#: Bounds of the held blocks, and of their rows of commands and events together.
HELD_BLOCKS_MAX: Final = 256
HELD_ROWS_MAX: Final = 1 << 20


class Replication(Protocol):
    """Observer of each block on its way, for copies on other nodes."""

    def on_block(self, first_seq: int, last_seq: int, sealed: bytes) -> None:
        """Take a block that is in the journal's queue, before it is applied; sealed as in the journal."""
        ...

    def on_applied(self, first_seq: int, last_seq: int, digest: bytes) -> None:
        """Take the event digest after a block."""
        ...

    def released_seq(self) -> int:
        """Last command whose events may leave now (``sequencer.release``)."""
        ...


class PumpError(ValueError):
    """Wrong arguments of the pump; nothing was sequenced."""


class Stamp(Protocol):
    """Source of the blocks of a batch (``sequencer.stamp``)."""

    def __call__(self, batch: NDArray[Any]) -> Iterator[StampedBlock]:
        """Cut a batch into blocks."""
        ...


@dataclass(frozen=True)
class PumpReport:
    """Result of a run: counts, the last sequence number and the event digest after it."""

    blocks: int
    commands: int
    events: int
    seq: int
    event_digest: bytes


def pump(
    source: Iterable[NDArray[Any]],
    stamp: Stamp,
    journal: Journal,
    engine: MarketEngine,
    *,
    publishers: Sequence[Publisher] = (),
    durability: Durability = "fsync",
    at_boundary: Boundary | None = None,
) -> PumpReport:
    """Pump the batches (COMMAND rows) of ``source`` through journal and engine to the publishers, until it ends.

    ``durability``: "fsync", events leave when their block is on the disk; "none", at once, so that a crash can undo
    what was published.

    An empty batch says that the source waits: all held blocks are then made durable and released. Raises PumpError if
    journal and engine are not at the same command, JournalError if the journal fails (the node must then stop:
    unreleased blocks may or may not be durable), and exceptions of publishers.
    """
    pipeline = Pipeline(
        stamp, journal, engine, publishers=publishers, durability=durability, at_boundary=at_boundary, waits=True
    )
    for batch in source:
        pipeline.take(batch)
        if len(batch) == 0:
            pipeline.all()
    pipeline.all()
    return PumpReport(pipeline.blocks, pipeline.commands, pipeline.events, engine.seq, engine.event_digest)


class Pipeline:
    """Pipeline into which one thread pushes batches.

    Arguments as of ``pump``; ``waits``: at the bound ``take`` waits for the disk, as ``pump`` does. Without it only
    ``all`` waits: the caller checks ``full`` before ``take``, and calls ``release`` after each ``on_durable`` of the
    journal. Raises PumpError if journal and engine are not at the same command.

    ``blocks``, ``commands`` and ``events``: counts so far.
    """

    def __init__(
        self,
        stamp: Stamp,
        journal: Journal,
        engine: MarketEngine,
        *,
        publishers: Sequence[Publisher] = (),
        durability: Durability = "fsync",
        at_boundary: Boundary | None = None,
        waits: bool = False,
    ) -> None:
        _check_start(journal, engine, durability)
        self._stamp = stamp
        self._journal = journal
        self._engine = engine
        self._at_boundary = at_boundary
        self._release = ReleaseQueue(journal, publishers, durability)
        self._waits = waits
        self._replication: Replication | None = None
        self.blocks = self.commands = self.events = 0

    def replicate(self, replication: Replication | None) -> None:
        """Show each further block to ``replication``, which then decides on the release; None: nobody else does."""
        self._replication = replication
        self._journal.seals = replication is not None
        self._release.replication = replication

    def take(self, batch: NDArray[Any]) -> int:
        """Sequence a batch of COMMAND rows, and release durable blocks; gives the rows journaled, CLOCK rows included.

        Raises JournalError if the journal fails (the node must then stop), and exceptions of publishers.
        """
        return self.sequence(self._stamp(batch))

    def sequence(self, blocks: Iterable[StampedBlock]) -> int:
        """Sequence stamped blocks; otherwise as ``take``."""
        journal, engine, release, replication = self._journal, self._engine, self._release, self._replication
        taken = 0
        for commands, time_ns, rows, has_epochs in blocks:
            if has_epochs:  # the block is of the epoch that it begins
                journal.epoch = epoch_after(commands, journal.epoch)
            first_seq = journal.append(len(commands), rows, time_ns)
            if replication is not None:
                replication.on_block(first_seq, first_seq + len(commands) - 1, journal.sealed)
            caused = engine.apply(commands)  # works ahead of the disk
            digest = engine.event_digest
            journal.put_digest(first_seq, digest)
            if replication is not None:
                replication.on_applied(first_seq, first_seq + len(commands) - 1, digest)
            release.hold(first_seq, commands, caused)  # only durable blocks go to the publishers
            if self._waits:
                release.down_to_bound()
            if self._at_boundary is not None:
                self._at_boundary(journal, engine)
            taken += len(commands)
            self.blocks += 1
            self.events += len(caused)
        self.commands += taken
        return taken

    def adopt(self, commands: NDArray[Any], time_ns: int, events: NDArray[Any], digest: bytes, *, held: bool) -> None:
        """Journal a block that was stamped and applied elsewhere; ``digest``: the engine's after it.

        ``held``: its events are held until they may leave, and rows of both are copied for that; otherwise they have
        left already. Raises JournalError if the journal fails.
        """
        journal, replication = self._journal, self._replication
        rows = commands.view(np.uint8).data
        first_seq = journal.append(len(commands), rows, time_ns)
        last_seq = first_seq + len(commands) - 1
        if replication is not None:
            replication.on_block(first_seq, last_seq, journal.sealed)
        journal.put_digest(first_seq, digest)
        if replication is not None:
            replication.on_applied(first_seq, last_seq, digest)
        if held:
            kept = np.frombuffer(bytearray(rows), COMMAND), np.frombuffer(bytearray(events.view(np.uint8).data), EVENT)
            self._release.hold(first_seq, *kept)
            if self._waits:
                self._release.down_to_bound()
        self.blocks += 1
        self.commands += len(commands)
        self.events += len(events)

    def bound_release(self, longest_ns: int, on_cut: Callable[[], None]) -> None:
        """Cut a longer release between two blocks, and call ``on_cut``; call ``release`` soon after that."""
        self._release.longest_ns, self._release.on_cut = longest_ns, on_cut

    def release(self) -> int:
        """Release durable blocks without waiting; gives the commands released. Raises JournalError after that if the
        writer has failed.
        """
        released = self._release.durable()
        self._journal.raise_failure()
        return released

    def all(self) -> None:
        """Wait until all blocks are durable, and release them. Raises JournalError if that fails."""
        self._release.all()

    @property
    def full(self) -> bool:
        """True if the bound of held or queued blocks is reached: take nothing until a release."""
        return self._release.full or self._journal.crowded

    @property
    def held_rows(self) -> int:
        """Unreleased rows of commands and events together."""
        return self._release.rows


class HeldBlock(NamedTuple):
    """Applied block whose events are not released."""

    first_seq: int
    last_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]


class ReleaseQueue:
    """Queue between engine and publishers, which releases blocks as the journal's durable mark moves."""

    def __init__(self, journal: Journal, publishers: Sequence[Publisher], durability: Durability) -> None:
        self._journal = journal
        self._publishers = tuple(publishers)
        self._waits = durability == "fsync"
        self.replication: Replication | None = None
        #: Longest time of one release, in ns, and the call once it was cut short there; None: there is no bound.
        self.longest_ns: int | None = None
        self.on_cut: Callable[[], None] = lambda: None
        self._held: deque[HeldBlock] = deque()
        #: Held rows of commands and events together.
        self.rows = 0

    def hold(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Hold the events of a block, and release durable blocks; without durability release all."""
        if not self._waits and self.replication is None:
            self._publish(first_seq, commands, events)
            return
        self._held.append(HeldBlock(first_seq, first_seq + len(commands) - 1, commands, events))
        self.rows += len(commands) + len(events)
        self.durable()

    @property
    def full(self) -> bool:
        """True if the held blocks exceed the bound."""
        return len(self._held) > HELD_BLOCKS_MAX or self.rows > HELD_ROWS_MAX

    def durable(self) -> int:
        """Release blocks that are durable, or released by the replication, in order; gives the commands released.

        The replication is asked before each block: publishing takes time, in which a lease may end.
        """
        released = 0
        until_ns = None if self.longest_ns is None else time.monotonic_ns() + self.longest_ns
        while self._held and self._held[0].last_seq <= self._may_leave_seq():
            if until_ns is not None and released and time.monotonic_ns() > until_ns:
                self.on_cut()
                break
            first_seq, _, commands, events = self._held.popleft()
            self.rows -= len(commands) + len(events)
            released += len(commands)
            self._publish(first_seq, commands, events)
        return released

    def _may_leave_seq(self) -> int:
        """Last command whose events may leave now."""
        return self._journal.durable_seq if self.replication is None else self.replication.released_seq()

    def down_to_bound(self) -> None:
        """Wait until the held blocks are within the bound."""
        while self.full:
            self._wait_and_release(self._held[0].last_seq)

    def all(self) -> None:
        """Wait until all held blocks are durable, and release them."""
        if self._held:
            self.longest_ns = None
            self._wait_and_release(self._held[-1].last_seq)

    def _wait_and_release(self, seq: int) -> None:
        if not self._journal.wait_durable(seq):
            raise PumpError(f"command {seq:,} did not become durable")
        self.durable()

    def _publish(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        for publish in self._publishers:
            publish(first_seq, commands, events)


def _check_start(journal: Journal, engine: MarketEngine, durability: str) -> None:
    if durability not in ("fsync", "none"):
        raise PumpError(f"durability {durability!r} is unknown; use fsync or none")
    if journal.last_seq != engine.seq:
        raise PumpError(
            f"the journal ends at {journal.last_seq:,} and the engine at {engine.seq:,}; recover the directory first"
        )
