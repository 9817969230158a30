"""Reference data, which is input like orders (section 2). Definitions cause no events when accepted."""

from typing import Final

from engine.bounds import (
    ADV_QTY_MAX,
    BPS_MAX,
    PRICE_E4_MAX,
    QTY_MAX,
    SECOND_NS,
    VOLATILITY_HALT_NS_MAX,
    VOLATILITY_WINDOW_S_MAX,
)
from engine.names import is_name
from engine.records import InstrumentSetting, Permission, Reason
from engine.reference.events import EventLog
from engine.reference.rows import CONTINUED_PLACES, Row
from engine.reference.state import Breaker, Instrument, MidpointBook, Participant
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
        if row.settings & InstrumentSetting.VOLATILITY and continuation:
            seconds = continuation.volatility_window_ns // SECOND_NS
            instrument.breaker = Breaker(continuation.volatility_bps, seconds, continuation.volatility_halt_ns)
        venue.add_instrument(instrument)


def _values_fit(row: Row, continuation: Row | None) -> bool:
    """Values of settings are in bounds, and zero where there is no such setting."""
    if continuation is None:
        return not row.settings & InstrumentSetting.VOLATILITY
    band_most = BPS_MAX if row.settings & InstrumentSetting.BAND else 0
    if not 0 <= continuation.band_bps <= band_most or any(continuation[4 : len(CONTINUED_PLACES)]):
        return False
    bps, window_ns, halt_ns = continuation[1:4]
    if not row.settings & InstrumentSetting.VOLATILITY:
        return not (bps or window_ns or halt_ns)
    seconds, rest = divmod(window_ns, SECOND_NS)
    return (
        0 <= bps <= BPS_MAX
        and rest == 0
        and 1 <= seconds <= VOLATILITY_WINDOW_S_MAX
        and 1 <= halt_ns <= VOLATILITY_HALT_NS_MAX
    )


def define_participant(venue: Venue, row: Row, events: EventLog) -> None:
    """``participant NAME [group=] [allow=]``."""
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
        venue.add_participant(Participant(number, row.name, row.group or -number, row.permissions))
