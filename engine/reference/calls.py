"""Calls: indicative events publish each change of the uncross (sections 6, 7 and 12, section 13: 25)."""

from engine.reference.events import EventLog
from engine.reference.uncross import indicative
from engine.reference.venue import Venue


def publish_indicatives(venue: Venue, events: EventLog) -> None:
    """The last events of a command: for each instrument in a call, in order of definition, what has changed.

    A command that is many does this after each of them, and once more at its end, when nothing is left to tell.
    """
    if not venue.calls:
        return
    for instrument in venue.calls.values():
        if instrument.told_at_change == instrument.book.changes:
            continue
        instrument.told_at_change = instrument.book.changes
        now = indicative(instrument)
        if now != instrument.published:
            instrument.published = now
            events.indicative(instrument, now)
