"""`lockstep roll`: a new slice of the journal in a data directory that no node is serving."""

from dataclasses import asdict
from pathlib import Path

from cli import errors, screen
from cli.capacity import CapacityOptions, capacity_change
from cli.questions.reading import check_whole
from cli.upkeep.archive import keep_events_of_slice
from cli.warmup import ready
from directory.roll import roll as begin_slice
from node.core.opening import node_projections
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
    if as_json:
        facts = {"slice": rolled.number, "seq": rolled.seq, "size_bytes": rolled.image_bytes}
        screen.print_json(facts | {"capacity": asdict(capacity)})
    else:
        change = capacity_change(before, capacity)
        screen.print_line(
            f"slice {rolled.number} begins after command {screen.count(rolled.seq)}, with an image of "
            f"{screen.size(rolled.image_bytes)}{f' and {change}' if change else ''}; slice {rolled.number - 1} "
            "is closed"
        )
    return keep_events_of_slice(directory, rolled.number - 1) if events else errors.FINE
