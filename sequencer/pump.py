"""The pipeline: stamp, journal, apply, digest, release. The order of the lines in ``pump`` is the guarantee.

The engine works ahead of the disk: a block is applied while the journal's writer thread still commits it. What it
caused is held back until the block is durable, so nobody is told of an event that a crash could undo. What is
held is bounded; at the bound the pump waits for the disk. Python runs once a block, compiled code once a row.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from journal import Journal
from replay.engines import MarketEngine
from replay.rebuild import Durability
from sequencer.stamp import Stamped

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
    """Makes the blocks of a batch (``sequencer.stamp``)."""

    def __call__(self, batch: NDArray[Any]) -> Iterator[Stamped]:
        """The batch in blocks."""
        ...


@dataclass(frozen=True)
class Pumped:
    """What went through: counts, the last sequence number and the event digest after it."""

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
) -> Pumped:
    """Take the batches (COMMAND rows) of ``source`` through journal and engine to the publishers, until it ends.

    ``durability``: "fsync", events leave when their block is on the disk; "none", at once, so that a crash can undo
    what was published.

    An empty batch says that nothing waits: all that is held is then made durable and released. Raises PumpError when
    journal and engine are not at the same command, JournalError when the journal fails (the node must then stop:
    what was not released is not known to be durable); what a publisher raises passes up.
    """
    _check_start(journal, engine, durability)
    release = Release(journal, publishers, durability)
    blocks = commands = events = 0
    for batch in source:
        for block in stamp(batch):
            first_seq = journal.append(len(block.commands), block.commands.view(np.uint8).data, block.time_ns)
            caused = engine.apply(block.commands)  # works ahead of the disk
            journal.put_digest(first_seq, engine.event_digest)
            release.hold(first_seq, block.commands, caused)  # only what is durable goes on to the publishers
            if at_boundary is not None:
                at_boundary(journal, engine)
            blocks, commands, events = blocks + 1, commands + len(block.commands), events + len(caused)
        if len(batch) == 0:
            release.all()
    release.all()
    return Pumped(blocks, commands, events, engine.seq, engine.event_digest)


class Held(NamedTuple):
    """A block that the engine has applied and whose events have not been released."""

    first_seq: int
    commands: NDArray[Any]
    events: NDArray[Any]

    @property
    def last_seq(self) -> int:
        """Sequence number of the block's last command."""
        return self.first_seq + len(self.commands) - 1


class Release:
    """The gate between engine and publishers: a bounded queue that opens as the journal's durable mark moves."""

    def __init__(self, journal: Journal, publishers: Sequence[Publisher], durability: Durability) -> None:
        self._journal = journal
        self._publishers = tuple(publishers)
        self._waits = durability == "fsync"
        self._held: deque[Held] = deque()
        self._held_rows = 0

    def hold(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take a block's events and release what is durable by now; at the bound, wait for the oldest."""
        self._held.append(Held(first_seq, commands, events))
        self._held_rows += len(commands) + len(events)
        self._release_up_to(self._journal.durable_seq if self._waits else self._held[-1].last_seq)
        while len(self._held) > HELD_BLOCKS_MAX or self._held_rows > HELD_ROWS_MAX:
            self._wait_and_release(self._held[0].last_seq)

    def all(self) -> None:
        """Wait until everything held is durable, and release it."""
        if self._held:
            self._wait_and_release(self._held[-1].last_seq)

    def _wait_and_release(self, seq: int) -> None:
        if not self._journal.wait_durable(seq):
            raise PumpError(f"command {seq} did not become durable")
        self._release_up_to(self._journal.durable_seq)

    def _release_up_to(self, seq: int) -> None:
        while self._held and self._held[0].last_seq <= seq:
            first_seq, commands, events = self._held.popleft()
            self._held_rows -= len(commands) + len(events)
            for publish in self._publishers:
                publish(first_seq, commands, events)


def _check_start(journal: Journal, engine: MarketEngine, durability: str) -> None:
    if durability not in ("fsync", "none"):
        raise PumpError(f"durability {durability!r} is not known; use fsync or none")
    if journal.last_seq != engine.seq:
        raise PumpError(
            f"the journal ends at {journal.last_seq} and the engine at {engine.seq}; recover the directory first"
        )
