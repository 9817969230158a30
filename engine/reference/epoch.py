"""The epoch: the reign of a new primary begins with a number above that of every reign before (section 13, 29)."""

from engine.bounds import EPOCH_MAX
from engine.names import is_name
from engine.records import Reason
from engine.reference.events import EventLog
from engine.reference.rows import Row
from engine.reference.venue import Venue


def epoch_command(venue: Venue, row: Row, events: EventLog) -> None:
    """``epoch N node=NAME``: the first command of a reign."""
    if is_name(row.name) and venue.epoch < row.epoch <= EPOCH_MAX:
        venue.epoch = row.epoch
    else:
        events.rejected(row.name, Reason.INVALID_COMMAND)
