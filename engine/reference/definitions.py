"""Reference data, which is input like orders (section 2). Definitions cause no events when accepted."""

from typing import Final

from engine.bounds import ADV_QTY_MAX, BPS_MAX, PRICE_E4_MAX, QTY_MAX
from engine.names import is_name
from engine.records import InstrumentSetting, Permission, Reason
from engine.reference.events import EventLog
from engine.reference.rows import CONTINUED_PLACES, Row
from engine.reference.state import Instrument, MidpointBook, Participant
from engine.reference.venue import Venue

_EVERY_PERMISSION: Final = sum(int(permission) for permission in Permission)
_EVERY_SETTING: Final = sum(int(setting) for setting in InstrumentSetting)


def define_instrument(venue: Venue, row: Row, continuation: Row | None, events: EventLog) -> None:
    """``continuation``: the row before, with the values of the settings."""
    acceptable = (
        is_name(row.name)
        and row.name not in venue.instrument_by_symbol
        and 1 <= row.tick_e4 <= PRICE_E4_MAX
        and 1 <= row.lot <= QTY_MAX
        and 1 <= row.reference_e4 <= PRICE_E4_MAX
        and 0 <= row.adv_qty <= ADV_QTY_MAX
        and not row.settings & ~_EVERY_SETTING
        and _values_fit(row, continuation)
    )
    if not acceptable:
        events.rejected(row.name, Reason.INVALID_COMMAND)
    elif len(venue.instruments) >= venue.capacity.instruments_max:
        events.rejected(row.name, Reason.CAPACITY)
    else:
        number = len(venue.instruments) + 1
        instrument = Instrument(number, row.name, row.tick_e4, row.lot, row.reference_e4, row.adv_qty)
        instrument.cancel_on_halt = bool(row.settings & InstrumentSetting.CANCEL_ON_HALT)
        if row.settings & InstrumentSetting.MIDPOINT:
            instrument.midpoint = MidpointBook()
        if row.settings & InstrumentSetting.BAND:
            instrument.band_bps = continuation.band_bps if continuation else 0
        venue.instruments.append(instrument)
        venue.instrument_by_symbol[row.name] = instrument


def _values_fit(row: Row, continuation: Row | None) -> bool:
    """Values of settings are in bounds, and zero where there is no such setting."""
    if continuation is None:
        return True
    band_bps, *others = continuation[: len(CONTINUED_PLACES)]
    return 0 <= band_bps <= (BPS_MAX if row.settings & InstrumentSetting.BAND else 0) and not any(others)


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
