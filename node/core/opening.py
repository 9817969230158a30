"""Opening of a node's data directory: journal, engine and projections, all at the same command."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from checkpoints import Projection, Projections
from directory.recover import create, recover
from directory.roll import MakeProjections
from engine.capacity import Capacity
from engine.interface import MarketEngine, prefault
from gateway.ouch.outbox import OuchOutbox
from gateway.outbox import PAST_DAYS
from gateway.protocol import OrderProtocol
from journal import Durability, Journal
from journal.slices import places
from node.core import far_prices
from replay.rebuild import Progress, capacity_of, journal_of
from replay.times import position_after

#: Past days whose streams work on a directory keeps: all that there are.
PAST_DAYS_MAX: Final = 366


class OpenDirectory(NamedTuple):
    """A data directory, open for writing.

    ``outbox`` is the first of ``projections``. ``notes``: sentences for the operator. ``extended``: True if the journal
    ends with an EXTEND row, which belongs to the next command.
    """

    journal: Journal
    engine: MarketEngine
    outbox: OuchOutbox
    projections: Projections
    notes: tuple[str, ...]
    extended: bool = False


def open_directory(
    directory: Path,
    capacity: Capacity,
    durability: Durability,
    progress: Progress | None = None,
    *,
    past_days: int = PAST_DAYS,
    others: Sequence[Projection] = (),
    protocols: Sequence[OrderProtocol] = (),
) -> OpenDirectory:
    """Create a data directory, or recover it. Raises ReplayError and JournalError.

    capacity: of a new directory; an existing one keeps its own. past_days: number of past days whose streams are kept.
    others: projections beside the users' streams, as before their first command. protocols: those beside OUCH, whose
    streams are further projections.
    """
    if (directory / "journal").is_dir() or places(directory):
        with journal_of(directory) as journal:
            outbox, projections = _projections(
                directory, capacity_of(journal), journal.journal_id, past_days, others, protocols
            )
        journal, engine, recovered = recover(
            directory, durability=durability, projections=projections, progress=progress
        )
        notes = (*recovered.notes, *outbox.notes)
        notes = (*notes, *far_prices.complaints(outbox.streams, engine))
    else:
        journal, engine = create(directory, capacity, durability=durability)
        outbox, projections = _projections(directory, capacity, journal.journal_id, past_days, others, protocols)
        notes = ()
    outbox.streams.tallies[:] = 0  # the counts begin at the start of the node
    prefault(engine)
    outbox.streams.prefault()
    return OpenDirectory(journal, engine, outbox, projections, notes, position_after(journal, engine.now_ns).extended)


def node_projections(directory: Path, past_days: int = PAST_DAYS_MAX) -> MakeProjections:
    """The projections of a node in ``directory``, for work on it while no node runs; streams of all days are kept."""

    def make(capacity: Capacity, journal_id: bytes) -> Projections:
        return Projections([OuchOutbox(directory, capacity, journal_id, past_days=past_days)])

    return make


def _projections(
    directory: Path,
    capacity: Capacity,
    journal_id: bytes,
    past_days: int,
    others: Sequence[Projection],
    protocols: Sequence[OrderProtocol],
) -> tuple[OuchOutbox, Projections]:
    """Streams of OUCH, and all projections."""
    outbox = OuchOutbox(directory, capacity, journal_id, past_days=past_days)
    beside = [protocol.outbox(directory, capacity, journal_id, past_days=past_days) for protocol in protocols]
    return outbox, Projections([outbox, *beside, *others])
