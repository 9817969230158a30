"""The pipeline: stamp, journal, apply, digest, release. The order of lines in ``sequence`` is the guarantee.

The engine works ahead of the disk: a block is applied while the journal's writer thread still commits it. What it
caused is held back until the block is durable, so nobody is told of an event that a crash could undo. What is
held is bounded. ``pump`` pulls a source through and waits for the disk at the bound; a node, which may not wait, pushes
its batches and stops taking while the pipeline is ``full``. Python runs once a block, compiled code once a row.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from numpy.typing import NDArray

from engine.interface import MarketEngine
from journal import Durability, Journal
from sequencer.stamp import StampedBlock

#: Given the sequence number of a block's first command, its commands and its events; called in order, once a block.
Publisher = Callable[[int, NDArray[Any], NDArray[Any]], None]
#: Called after a block, with nothing in flight between journal and engine (see ``CheckpointEvery``).
Boundary = Callable[[Journal, MarketEngine], None]

#: Bounds of what is held back: blocks, and rows of commands and events together.
HELD_BLOCKS_MAX: Final = 256
HELD_ROWS_MAX: Final = 1 << 20


class PumpError(ValueError):
    """The pump was put together wrongly; nothing was sequenced."""


class Stamp(Protocol):
    """Source of the blocks of a batch (``sequencer.stamp``)."""

    def __call__(self, batch: NDArray[Any]) -> Iterator[StampedBlock]:
        """The batch in blocks."""
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
    """Take the batches (COMMAND rows) of ``source`` through journal and engine to the publishers, until it ends.

    ``durability``: "fsync", events leave when their block is on the disk; "none", at once, so that a crash can undo
    what was published.

    An empty batch says that nothing waits: all that is held is then made durable and released. Raises PumpError when
    journal and engine are not at the same command, JournalError when the journal fails (the node must then stop:
    what was not released is not known to be durable); what a publisher raises passes up.
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
    """The pipeline as an object that batches are pushed into, by one thread.

    What ``pump`` says of its arguments holds here; ``waits``: at the bound ``take`` waits for the disk, as ``pump``
    does. Without it nothing here waits but ``all``: a caller looks at ``full`` before it takes, and calls ``release``
    whenever the journal's ``on_durable`` was called. Raises PumpError when journal and engine are not at the same
    command.

    ``blocks``, ``commands`` and ``events`` count what was taken.
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
        self.blocks = self.commands = self.events = 0

    def take(self, batch: NDArray[Any]) -> int:
        """Sequence a batch of COMMAND rows: rows journaled, CLOCK rows included. Releases what is durable by now.

        Raises JournalError when the journal fails (the node must then stop); what a publisher raises passes up.
        """
        return self.sequence(self._stamp(batch))

    def sequence(self, blocks: Iterable[StampedBlock]) -> int:
        """Sequence blocks that are stamped; otherwise as ``take``."""
        journal, engine, release = self._journal, self._engine, self._release
        taken = 0
        for commands, time_ns, rows in blocks:
            first_seq = journal.append(len(commands), rows, time_ns)
            caused = engine.apply(commands)  # works ahead of the disk
            journal.put_digest(first_seq, engine.event_digest)
            release.hold(first_seq, commands, caused)  # only what is durable goes on to the publishers
            if self._waits:
                release.down_to_bound()
            if self._at_boundary is not None:
                self._at_boundary(journal, engine)
            taken += len(commands)
            self.blocks += 1
            self.events += len(caused)
        self.commands += taken
        return taken

    def release(self) -> int:
        """Release what is durable now, without waiting: commands released. Raises JournalError when the writer has
        failed, after all that was durable."""
        released = self._release.durable()
        self._journal.raise_failure()
        return released

    def all(self) -> None:
        """Wait until everything taken is durable, and release it. Raises JournalError when it cannot become so."""
        self._release.all()

    @property
    def full(self) -> bool:
        """True if so much is held, or waits for the disk, that nothing may be taken until something was released."""
        return self._release.full or self._journal.crowded

    @property
    def held_rows(self) -> int:
        """Rows of commands and events together that are not released."""
        return self._release.rows


class HeldBlock(NamedTuple):
    """A block that the engine has applied and whose events have not been released."""

    first_seq: int
    last_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]


class ReleaseQueue:
    """The gate between engine and publishers: a queue that opens as the journal's durable mark moves."""

    def __init__(self, journal: Journal, publishers: Sequence[Publisher], durability: Durability) -> None:
        self._journal = journal
        self._publishers = tuple(publishers)
        self._waits = durability == "fsync"
        self._held: deque[HeldBlock] = deque()
        #: Rows of commands and events together that are held.
        self.rows = 0

    def hold(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take a block's events, and release what is durable by now; all, where nothing waits for the disk."""
        if not self._waits:
            self._publish(first_seq, commands, events)
            return
        self._held.append(HeldBlock(first_seq, first_seq + len(commands) - 1, commands, events))
        self.rows += len(commands) + len(events)
        self.durable()

    @property
    def full(self) -> bool:
        """True if more is held than the bound."""
        return len(self._held) > HELD_BLOCKS_MAX or self.rows > HELD_ROWS_MAX

    def durable(self) -> int:
        """Release what is durable, in order: commands released."""
        released = 0
        seq = self._journal.durable_seq
        while self._held and self._held[0].last_seq <= seq:
            first_seq, _, commands, events = self._held.popleft()
            self.rows -= len(commands) + len(events)
            released += len(commands)
            self._publish(first_seq, commands, events)
        return released

    def down_to_bound(self) -> None:
        """Wait until no more than the bound is held."""
        while self.full:
            self._wait_and_release(self._held[0].last_seq)

    def all(self) -> None:
        """Wait until everything held is durable, and release it."""
        if self._held:
            self._wait_and_release(self._held[-1].last_seq)

    def _wait_and_release(self, seq: int) -> None:
        if not self._journal.wait_durable(seq):
            raise PumpError(f"command {seq} did not become durable")
        self.durable()

    def _publish(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        for publish in self._publishers:
            publish(first_seq, commands, events)


def _check_start(journal: Journal, engine: MarketEngine, durability: str) -> None:
    if durability not in ("fsync", "none"):
        raise PumpError(f"durability {durability!r} is not known; use fsync or none")
    if journal.last_seq != engine.seq:
        raise PumpError(
            f"the journal ends at {journal.last_seq} and the engine at {engine.seq}; recover the directory first"
        )
