"""Instruments and participants: how they are found by name, and how they are defined (rulebook section 2)."""

from typing import Final

import numpy as np

from engine.book import MARGIN
from engine.bounds import (
    ADV_QTY_MAX,
    BPS_MAX,
    PRICE_E4_MAX,
    QTY_MAX,
    SECOND_NS,
    VOLATILITY_HALT_NS_MAX,
    VOLATILITY_WINDOW_S_MAX,
)
from engine.events import emit_rejected
from engine.jit import called, lshr
from engine.owned import begin_owned
from engine.pending import set_pending
from engine.records import InstrumentSetting, Permission, Phase, Reason
from engine.seen import begin_to_look
from engine.state import Pending, State

_PERMISSIONS: Final = int(~Permission(0))
_BREAKERS: Final = int(Pending.BREAKERS)
_SETTINGS: Final = int(~InstrumentSetting(0))
_BAND: Final = int(InstrumentSetting.BAND)
_MIDPOINT: Final = int(InstrumentSetting.MIDPOINT)
_VOLATILITY: Final = int(InstrumentSetting.VOLATILITY)
_CANCEL_ON_HALT: Final = int(InstrumentSetting.CANCEL_ON_HALT)


@called
def is_name(number):
    """True if a number is a symbol or a participant's name: 1 to 8 of A-Z 0-9 . - (rulebook section 2)."""
    if number <= 0:
        return False
    for place in range(8):
        if place > 0 and lshr(number, 8 * place) == 0:
            break
        c = lshr(number, 8 * place) & 255
        if not ((65 <= c <= 90) or (48 <= c <= 57) or c == 45 or c == 46):
            return False
    return True


@called
def find_instrument(state: State, symbol):
    """Number of the instrument with that symbol, or 0."""
    for row in range(state.venue[0]["instruments"]):
        if state.instruments[row]["symbol"] == symbol:
            return row + 1
    return 0


@called
def find_participant(state: State, name):
    """Number of the participant with that name, or 0."""
    for row in range(state.venue[0]["participants"]):
        if state.participants[row]["name"] == name:
            return row + 1
    return 0


@called
def _settings_fit(venue, command):
    """True if the settings are known, and their values, which are in the EXTEND row before, are in bounds."""
    settings = np.int64(command["settings"])
    band_bps, others = venue["continuation_0"], venue["continuation_32"] | venue["continuation_40"]
    if settings & ~_SETTINGS or band_bps < 0 or band_bps > (BPS_MAX if settings & _BAND else 0) or others != 0:
        return False
    bps, window_ns, halt_ns = venue["continuation_8"], venue["continuation_16"], venue["continuation_24"]
    if not settings & _VOLATILITY:
        return bps | window_ns | halt_ns == 0
    return (
        0 <= bps <= BPS_MAX
        and SECOND_NS <= window_ns <= VOLATILITY_WINDOW_S_MAX * SECOND_NS
        and window_ns % SECOND_NS == 0
        and 1 <= halt_ns <= VOLATILITY_HALT_NS_MAX
    )


@called
def define_instrument(state: State, command, events, n):
    """A new instrument is ``closed``; its price window starts around the reference price."""
    venue = state.venue[0]
    symbol = command["name"]
    if (
        not is_name(symbol)
        or find_instrument(state, symbol) != 0
        or command["tick_e4"] < 1
        or command["tick_e4"] > PRICE_E4_MAX
        or command["lot"] < 1
        or command["lot"] > QTY_MAX
        or command["reference_e4"] < 1
        or command["reference_e4"] > PRICE_E4_MAX
        or command["adv_qty"] < 0
        or command["adv_qty"] > ADV_QTY_MAX
        or not _settings_fit(venue, command)
    ):
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.INVALID_COMMAND)
    if venue["instruments"] >= venue["instruments_max"]:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.CAPACITY)
    row = state.instruments[venue["instruments"]]
    venue["instruments"] += 1
    venue["phase_changes"] += 1 + venue["schedules_of_all"] + venue["index_levels"]
    row["symbol"] = symbol
    row["tick_e4"] = command["tick_e4"]
    row["lot"] = command["lot"]
    row["reference_e4"] = command["reference_e4"]
    row["adv_qty"] = command["adv_qty"]
    settings = np.int64(command["settings"])
    row["band"] = venue["continuation_0"] + 1 if settings & _BAND else 0
    row["cancel_on_halt"] = np.int64(settings & _CANCEL_ON_HALT != 0)
    row["midpoint"] = np.int64(settings & _MIDPOINT != 0)
    if settings & _VOLATILITY:
        row["volatility"] = venue["continuation_8"] + 1
        row["volatility_window_s"] = venue["continuation_16"] // SECOND_NS
        row["volatility_halt_ns"] = venue["continuation_24"]
        begin_to_look(venue)
        row["memory_base_e4"] = command["reference_e4"]
        set_pending(state, venue["instruments"], _BREAKERS, True)
    row["window_tick"] = max(command["reference_e4"] // command["tick_e4"] - 2 * MARGIN, 0) & ~63
    row["phase"] = Phase.CLOSED
    return n


@called
def define_participant(state: State, command, events, n):
    """A participant, with its group and permissions."""
    venue = state.venue[0]
    name = command["name"]
    group = command["group"]
    permissions = np.int64(command["permissions"])
    if (
        not is_name(name)
        or find_participant(state, name) != 0
        or (group != 0 and not is_name(group))
        or permissions & ~_PERMISSIONS
    ):
        return emit_rejected(state, events, n, name, 0, 0, Reason.INVALID_COMMAND)
    if venue["participants"] >= venue["participants_max"]:
        return emit_rejected(state, events, n, name, 0, 0, Reason.CAPACITY)
    number = venue["participants"] + 1
    first = number
    if group != 0:
        for row in range(number - 1):
            if state.participants[row]["group_name"] == group:
                first = row + 1
                break
    row = state.participants[number - 1]
    row["name"] = name
    row["group_name"] = group
    row["group"] = first
    row["permissions"] = permissions
    venue["participants"] = number
    begin_owned(state, number)
    return n
