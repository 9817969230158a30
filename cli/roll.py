"""`lockstep roll`: a new slice of the journal in a data directory that no node is serving."""

from dataclasses import asdict
from pathlib import Path

from cli import errors, screen
from cli.capacity import CapacityOptions
from cli.node import check_whole
from cli.warmup import ready
from directory.keep_events import keep_events
from directory.roll import roll as begin_slice
from journal.slices import places
from node.opening import node_projections
from replay.rebuild import capacity_of, journal_of


def roll(directory: Path, options: CapacityOptions, *, events: bool, as_json: bool) -> int:
    """`lockstep roll`: exit status 2 where no slice can begin; then nothing has changed.

    ``events``: keep those of the closed slice, which replays it.
    """
    check_whole(directory)
    with journal_of(directory) as journal:
        before = capacity_of(journal)
    capacity = options.of_new(before)
    ready()
    with screen.Bar("replaying") as bar:
        rolled = begin_slice(
            directory, capacity=capacity, make_projections=node_projections(directory), progress=bar.to
        )
    for note in rolled.notes:
        screen.notice(f"note: {note}")
    if events:
        closed = next(place for place in places(directory) if place.number == rolled.number - 1)
        with screen.Bar(f"replaying slice {closed.number}") as bar:
            keep_events(directory, closed, bar.to)
    if as_json:
        facts = {"slice": rolled.number, "seq": rolled.seq, "size_bytes": rolled.image_bytes}
        screen.print_json(facts | {"capacity": asdict(capacity)})
        return errors.FINE
    screen.print_line(
        f"slice {rolled.number} begins after command {screen.count(rolled.seq)}, with an image of "
        f"{screen.size(rolled.image_bytes)}; slice {rolled.number - 1} is closed"
    )
    return errors.FINE
