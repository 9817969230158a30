"""``limits``: what a participant may have, in all instruments or in one (rulebook sections 2 and 13, 20)."""

from typing import Final

import numpy as np

from engine.bounds import BPS_MAX, QTY_MAX, RATE_ORDERS_MAX, RATE_WINDOW_NS_MAX
from engine.capacity import IDS_MAX_MAX, ORDERS_MAX_MAX
from engine.definitions import find_instrument, find_participant
from engine.events import emit_rejected
from engine.exposure import SET_LIMITS, pair_of
from engine.jit import called, inlined
from engine.records import Limit, Reason
from engine.state import CONTINUED, State

_MAX_ORDER_QTY: Final = int(Limit.MAX_ORDER_QTY)
_MAX_ORDER_VALUE: Final = int(Limit.MAX_ORDER_VALUE)
_ORDER_RATE: Final = int(Limit.ORDER_RATE)
_MAX_POSITION: Final = int(Limit.MAX_POSITION)
_CREDIT: Final = int(Limit.CREDIT)
_MARGIN: Final = int(Limit.MARGIN)
_ADV: Final = int(Limit.ADV)
_MAX_OPEN_ORDERS: Final = int(Limit.MAX_OPEN_ORDERS)
_MAX_IDS: Final = int(Limit.MAX_IDS)
_ALL: Final = int(~Limit(0))
_OF_ALL_INSTRUMENTS: Final = _ORDER_RATE | _CREDIT | _MARGIN | _MAX_OPEN_ORDERS | _MAX_IDS


@inlined
def _named(command):
    """Bits of the limits that the row names."""
    return np.int64(command["limits"]) & 255 | np.int64(command["further_limits"]) << 8


@inlined
def _off(command):
    """Bits of those that are off."""
    return np.int64(command["limits"]) >> 8 | np.int64(command["further_off"]) << 8


@inlined
def _is_value(said, limit, value, lowest, highest):
    """True if a value is within its bounds where it is said, and zero where it is not."""
    return lowest <= value <= highest if said & limit else value == 0


@called
def _is_limits(venue, command):
    """True if the row can be interpreted, its values are in bounds, and so are those of the EXTEND row before it."""
    named = _named(command)
    off = _off(command)
    if ((named & ~_ALL) | (off & ~named)) != 0:
        return False
    if command["symbol"] != 0 and named & _OF_ALL_INSTRUMENTS:
        return False
    said = named & ~off
    any_number = np.int64(2**63 - 1)
    return (
        _is_value(said, _MAX_ORDER_QTY, command["max_order_qty"], 1, QTY_MAX)
        and _is_value(said, _MAX_ORDER_VALUE, command["max_order_value_e4"], 1, any_number)
        and _is_value(said, _ORDER_RATE, venue["continuation_0"], 1, RATE_ORDERS_MAX)
        and _is_value(said, _ORDER_RATE, venue["continuation_8"], 1, RATE_WINDOW_NS_MAX)
        and _is_value(said, _MAX_POSITION, command["max_position_qty"], 0, any_number)
        and _is_value(said, _CREDIT, command["credit_e4"], 0, any_number)
        and _is_value(said, _MARGIN, venue["continuation_16"], 0, BPS_MAX)
        and _is_value(said, _ADV, venue["continuation_24"], 0, BPS_MAX)
        and _is_value(said, _MAX_OPEN_ORDERS, venue["continuation_32"], 1, ORDERS_MAX_MAX)
        and _is_value(said, _MAX_IDS, venue["continuation_40"], 1, IDS_MAX_MAX)
    )


@called
def limits_command(state: State, command, events, n):
    """``limits NAME [symbol=SYM] ...``; uses up the values of an EXTEND row before it."""
    venue = state.venue[0]
    n = _limits(state, command, events, n)
    forget_continuation(venue)
    return n


@called
def _limits(state: State, command, events, n):
    name = command["name"]
    symbol = command["symbol"]
    if not _is_limits(state.venue[0], command):
        return emit_rejected(state, events, n, name, 0, 0, Reason.INVALID_COMMAND)
    participant = find_participant(state, name)
    if participant == 0:
        return emit_rejected(state, events, n, name, 0, 0, Reason.UNKNOWN_PARTICIPANT)
    instrument = find_instrument(state, symbol) if symbol != 0 else 0
    if symbol != 0 and instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.UNKNOWN_INSTRUMENT)
    pair = pair_of(state, participant, instrument)
    was_set = np.int64(state.limits[pair]["limits"])
    _set_limits(state.venue[0], command, state.limits[pair])
    is_set = np.int64(state.limits[pair]["limits"])
    state.participants[participant - 1]["limits_count"] += np.int64(is_set != 0) - np.int64(was_set != 0)
    if instrument != 0:
        state.exposures[4 * pair + SET_LIMITS] = is_set
    return n


@called
def _set_limits(venue, command, row):
    """Write the values that the command names; those that are off are zero in it."""
    named = _named(command)
    off = _off(command)
    row["limits"] = (np.int64(row["limits"]) | named) & ~off
    if named & _MAX_ORDER_QTY:
        row["max_order_qty"] = command["max_order_qty"]
    if named & _MAX_ORDER_VALUE:
        row["max_order_value_e4"] = command["max_order_value_e4"]
    if named & _ORDER_RATE:
        row["rate_orders"] = venue["continuation_0"]
        row["rate_window_ns"] = venue["continuation_8"]
    if named & _MAX_POSITION:
        row["max_position_qty"] = command["max_position_qty"]
    if named & _CREDIT:
        row["credit_e4"] = command["credit_e4"]
    if named & _MARGIN:
        row["margin_bps"] = venue["continuation_16"]
    if named & _ADV:
        row["adv_share_bps"] = venue["continuation_24"]
    if named & _MAX_OPEN_ORDERS:
        row["max_open_orders"] = venue["continuation_32"]
    if named & _MAX_IDS:
        row["max_ids"] = venue["continuation_40"]


@called
def continuation_command(venue, command):
    """An EXTEND row waits for the next row, which uses it up."""
    venue["special"] |= CONTINUED
    venue["continuation_0"] = command["name"]
    venue["continuation_8"] = command["symbol"]
    venue["continuation_16"] = command["token_head"]
    venue["continuation_24"] = command["token_tail"]
    venue["continuation_32"] = command["new_token_head"]
    venue["continuation_40"] = command["new_token_tail"]


@called
def forget_continuation(venue):
    """Drop the six numbers of an extension."""
    venue["continuation_0"] = 0
    venue["continuation_8"] = 0
    venue["continuation_16"] = 0
    venue["continuation_24"] = 0
    venue["continuation_32"] = 0
    venue["continuation_40"] = 0
