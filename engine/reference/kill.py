"""Kill switches (section 9). They act in every phase."""

from collections.abc import Iterable

from engine.names import EVERY
from engine.records import Phase, Reason
from engine.reference.consequences import consequences
from engine.reference.events import EventLog
from engine.reference.matching import cancel_open
from engine.reference.rows import Row
from engine.reference.state import Participant
from engine.reference.venue import Venue


def kill_command(venue: Venue, row: Row, events: EventLog) -> None:
    """``kill NAME|*``: entries are refused from now on, and open orders canceled in order of acceptance."""
    for participant in _named(venue, row, events):
        participant.killed = True
        events.killed(participant)
        for order in list(participant.open_orders.values()):
            cancel_open(venue, order, Reason.KILL, events)
        consequences(venue, events)


def unkill_command(venue: Venue, row: Row, events: EventLog) -> None:
    """``unkill NAME|*``: entries are accepted again."""
    for participant in _named(venue, row, events):
        participant.killed = False
        events.unkilled(participant)


def emergency_close(venue: Venue, _row: Row, events: EventLog) -> None:
    """``emergency_close``: every instrument is closed without an uncross, and all its orders are canceled."""
    for instrument in venue.instruments:
        venue.set_phase(instrument, Phase.CLOSED)
        events.phase(instrument)
        for order in instrument.open_orders():
            cancel_open(venue, order, Reason.KILL, events)


def _named(venue: Venue, row: Row, events: EventLog) -> Iterable[Participant]:
    """The participant that the row names, or each in order of definition; an unknown name is rejected here."""
    if row.name == EVERY:
        return venue.participants
    participant = venue.participant_by_name.get(row.name)
    if participant is None:
        events.rejected(row.name, Reason.UNKNOWN_PARTICIPANT)
        return ()
    return (participant,)
