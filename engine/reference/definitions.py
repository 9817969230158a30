"""The clock and the reference data, which are input like orders (section 2). They cause no events when accepted."""

from typing import Final

from engine.limits import PRICE_E4_MAX, QTY_MAX, TIME_NS_MAX
from engine.names import is_name
from engine.records import Permission, Reason
from engine.reference.events import EventLog
from engine.reference.rows import Row
from engine.reference.venue import Instrument, Participant, Venue

_EVERY_PERMISSION: Final = sum(int(permission) for permission in Permission)


def clock(venue: Venue, row: Row, events: EventLog) -> None:
    if venue.now_ns <= row.time_ns <= TIME_NS_MAX:
        venue.set_clock(row.time_ns)
    else:
        events.rejected(row.time_ns, Reason.INVALID_COMMAND)


def define_instrument(venue: Venue, row: Row, events: EventLog) -> None:
    acceptable = (
        is_name(row.name)
        and row.name not in venue.instrument_by_symbol
        and 1 <= row.tick_e4 <= PRICE_E4_MAX
        and 1 <= row.lot <= QTY_MAX
        and 1 <= row.reference_e4 <= PRICE_E4_MAX
    )
    if not acceptable:
        events.rejected(row.name, Reason.INVALID_COMMAND)
    elif len(venue.instruments) >= venue.capacity.instruments_max:
        events.rejected(row.name, Reason.CAPACITY)
    else:
        instrument = Instrument(len(venue.instruments) + 1, row.name, row.tick_e4, row.lot, row.reference_e4)
        venue.instruments.append(instrument)
        venue.instrument_by_symbol[row.name] = instrument


def define_participant(venue: Venue, row: Row, events: EventLog) -> None:
    acceptable = (
        is_name(row.name)
        and row.name not in venue.participant_by_name
        and (row.group == 0 or is_name(row.group))
        and not row.permissions & ~_EVERY_PERMISSION
    )
    if not acceptable:
        events.rejected(row.name, Reason.INVALID_COMMAND)
    elif len(venue.participants) >= venue.capacity.participants_max:
        events.rejected(row.name, Reason.CAPACITY)
    else:
        number = len(venue.participants) + 1
        participant = Participant(number, row.name, row.group or -number, row.permissions)
        venue.participants.append(participant)
        venue.participant_by_name[row.name] = participant
