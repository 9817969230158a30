"""A node's data directory, opened: journal, engine, users' streams and spool, all at the same command."""

from pathlib import Path
from typing import NamedTuple

from directory.recover import create, recover
from engine.interface import MarketEngine, prefault
from engine.limits import Capacity
from gateway.outbox import PAST_DAYS, Outbox
from journal import Durability, Journal
from node import far_prices
from replay.errors import ReplayError
from replay.rebuild import Progress, capacity_of, journal_of
from replay.times import position_after


class Opened(NamedTuple):
    """A data directory, open for writing. ``notes``: what the operator should know. ``extended``: whether the journal
    ends with an EXTEND row, which belongs to the next command."""

    journal: Journal
    engine: MarketEngine
    outbox: Outbox
    notes: tuple[str, ...]
    extended: bool = False


def open_directory(
    directory: Path,
    capacity: Capacity,
    durability: Durability,
    progress: Progress | None = None,
    *,
    past_days: int = PAST_DAYS,
) -> Opened:
    """Create a data directory, or recover it. Raises what ``replay`` and ``journal`` raise.

    capacity: of a new one; one that is there keeps its own. past_days: whose streams are kept.
    """
    if (directory / "journal").is_dir():
        journal, engine, outbox, notes, _ = _recovered(directory, durability, progress, past_days)
        try:
            far_prices.check_orders(outbox.streams, engine)
        except ReplayError:
            journal.close()
            raise
    else:
        journal, engine = create(directory, capacity, durability=durability)
        outbox, notes = Outbox(directory, capacity, journal.journal_id, past_days=past_days), ()
    outbox.streams.tallies[:] = 0  # what is counted is what happens from here on
    prefault(engine)
    return Opened(journal, engine, outbox, notes, position_after(journal, engine.now_ns).extended)


def _recovered(directory: Path, durability: Durability, progress: Progress | None, past_days: int) -> Opened:
    with journal_of(directory) as journal:
        outbox = Outbox(directory, capacity_of(journal), journal.journal_id, past_days=past_days)
    journal, engine, recovered = recover(directory, durability=durability, fold=outbox, progress=progress)
    return Opened(journal, engine, outbox, (*recovered.notes, *outbox.notes))
