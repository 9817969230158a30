"""Calls: indicative events publish each change of the uncross (sections 6, 7 and 12, section 13: 25)."""

from engine.reference.events import EventLog
from engine.reference.state import Instrument
from engine.reference.uncross import indicative


def publish_indicative(instrument: Instrument, events: EventLog) -> None:
    """Say what has changed in an instrument that is in a call; it comes after all other events in it."""
    if instrument.told_at_change == instrument.book.changes:
        return
    instrument.told_at_change = instrument.book.changes
    now = indicative(instrument)
    if now != instrument.published:
        instrument.published = now
        events.indicative(instrument, now)
