"""Everything but order entry: definitions, the clock, phases, halts and mass cancels. None of it is frequent."""

from typing import Final

import numpy as np

from engine.auction import uncross
from engine.book import MARGIN
from engine.emit import emit_halted, emit_phase, emit_rejected
from engine.index import forget_ids
from engine.jit import called, lshr
from engine.limits import DAY_NS, PRICE_E4_MAX, QTY_MAX, TIME_NS_MAX
from engine.names import EVERY
from engine.records import Permission, Phase, Reason
from engine.state import State
from engine.sweep import cancel_gathered, gather_day_orders, gather_of_participant

_CLOSED: Final = int(Phase.CLOSED)
_PRE_OPEN: Final = int(Phase.PRE_OPEN)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_HALTED: Final = int(Phase.HALTED)
_CLOSING_AUCTION: Final = int(Phase.CLOSING_AUCTION)
_PERMISSIONS: Final = int(~Permission(0))
_INVALID_COMMAND: Final = int(Reason.INVALID_COMMAND)
_UNKNOWN_PARTICIPANT: Final = int(Reason.UNKNOWN_PARTICIPANT)
_UNKNOWN_INSTRUMENT: Final = int(Reason.UNKNOWN_INSTRUMENT)
_REASON_CLOSED: Final = int(Reason.CLOSED)
_CAPACITY: Final = int(Reason.CAPACITY)
_END_OF_DAY: Final = int(Reason.END_OF_DAY)
_MASS_CANCEL: Final = int(Reason.MASS_CANCEL)
_DISCONNECT: Final = int(Reason.DISCONNECT)
_COMMAND: Final = int(Reason.COMMAND)


@called
def is_name(number):
    """Whether a number is a symbol or a participant's name: 1 to 8 of A-Z 0-9 . - (rulebook section 2)."""
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
def unused(command, new_client_order_id, price_e4, qty, min_qty, codes):
    """Whether the places that a definition or control command does not use are zero.

    An argument is 1 where that place is unused (``codes``: instructions, side and phase together). The other places
    are used by none of these commands, and always looked at.
    """
    word = (
        command["display_qty"]
        | np.int64(command["participant"])
        | np.int64(command["instrument"])
        | np.int64(command["time_in_force"])
        | np.int64(command["self_trade"])
        | np.int64(command["book"])
    )
    word |= command["new_client_order_id"] * new_client_order_id
    word |= command["price_e4"] * price_e4 | command["qty"] * qty | command["min_qty"] * min_qty
    word |= (np.int64(command["instructions"]) | np.int64(command["side"]) | np.int64(command["phase"])) * codes
    return word == 0


@called
def clock(state: State, command, events, n):
    """The clock has a new value; a new trading day frees the ids of the day before."""
    venue = state.venue[0]
    time_ns = command["time_ns"]
    if not unused(command, 1, 1, 1, 1, 1) or time_ns < venue["now_ns"] or time_ns > TIME_NS_MAX:
        return emit_rejected(state, events, n, time_ns, 0, 0, _INVALID_COMMAND)
    venue["now_ns"] = time_ns
    day = time_ns // DAY_NS
    if day != venue["trading_day"]:
        venue["trading_day"] = day
        forget_ids(state)
    return n


@called
def define_instrument(state: State, command, events, n):
    """A new instrument is ``closed``; its price window starts around the reference price."""
    venue = state.venue[0]
    symbol = command["name"]
    if (
        not unused(command, 1, 0, 0, 0, 1)
        or not is_name(symbol)
        or find_instrument(state, symbol) != 0
        or command["tick_e4"] < 1
        or command["tick_e4"] > PRICE_E4_MAX
        or command["lot"] < 1
        or command["lot"] > QTY_MAX
        or command["reference_e4"] < 1
        or command["reference_e4"] > PRICE_E4_MAX
    ):
        return emit_rejected(state, events, n, symbol, 0, 0, _INVALID_COMMAND)
    if venue["instruments"] >= venue["instruments_max"]:
        return emit_rejected(state, events, n, symbol, 0, 0, _CAPACITY)
    row = state.instruments[venue["instruments"]]
    venue["instruments"] += 1
    row["symbol"] = symbol
    row["tick_e4"] = command["tick_e4"]
    row["lot"] = command["lot"]
    row["reference_e4"] = command["reference_e4"]
    row["window_tick"] = max(command["reference_e4"] // command["tick_e4"] - 2 * MARGIN, 0) & ~63
    row["phase"] = _CLOSED
    return n


@called
def define_participant(state: State, command, events, n):
    """A participant, with its group and permissions."""
    venue = state.venue[0]
    name = command["name"]
    group = command["group"]
    permissions = np.int64(command["permissions"])
    if (
        not unused(command, 0, 1, 1, 1, 0)
        or np.int64(command["side"]) != 0
        or np.int64(command["phase"]) != 0
        or not is_name(name)
        or find_participant(state, name) != 0
        or (group != 0 and not is_name(group))
        or permissions & ~_PERMISSIONS
    ):
        return emit_rejected(state, events, n, name, 0, 0, _INVALID_COMMAND)
    if venue["participants"] >= venue["participants_max"]:
        return emit_rejected(state, events, n, name, 0, 0, _CAPACITY)
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
    return n


@called
def phase_command(state: State, command, events, n):
    """``phase SYM|* PHASE``."""
    symbol = command["name"]
    phase = np.int64(command["phase"])
    if (
        not unused(command, 1, 1, 1, 1, 0)
        or np.int64(command["side"]) != 0
        or np.int64(command["instructions"]) != 0
        or phase < _CLOSED
        or phase > _CLOSING_AUCTION
    ):
        return emit_rejected(state, events, n, symbol, 0, 0, _INVALID_COMMAND)
    if symbol == EVERY:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            n = _set_phase(state, events, n, instrument, phase)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, _UNKNOWN_INSTRUMENT)
    return _set_phase(state, events, n, instrument, phase)


@called
def _set_phase(state: State, events, n, instrument, phase):
    row = state.instruments[instrument - 1]
    if phase not in (_CLOSED, _PRE_OPEN, _CONTINUOUS):
        return emit_rejected(state, events, n, row["symbol"], 0, 0, _INVALID_COMMAND)
    n = emit_phase(state, events, n, instrument, phase)
    if row["phase"] == phase:
        return n
    row["phase"] = phase
    if phase == _CONTINUOUS:
        n = uncross(state, events, n, instrument)
    elif phase == _CLOSED:
        n = cancel_gathered(state, events, n, gather_day_orders(state, instrument), _END_OF_DAY)
    return n


@called
def halt_command(state: State, command, events, n):
    """``halt SYM|*``, until another phase is commanded."""
    symbol = command["name"]
    if not unused(command, 1, 1, 1, 0, 1):
        return emit_rejected(state, events, n, symbol, 0, 0, _INVALID_COMMAND)
    if symbol == EVERY:
        for instrument in range(1, state.venue[0]["instruments"] + 1):
            n = _halt(state, command, events, n, instrument)
        return n
    instrument = find_instrument(state, symbol)
    if instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, _UNKNOWN_INSTRUMENT)
    return _halt(state, command, events, n, instrument)


@called
def _halt(state: State, command, events, n, instrument):
    row = state.instruments[instrument - 1]
    if command["duration_ns"] != 0:
        return emit_rejected(state, events, n, row["symbol"], 0, 0, _INVALID_COMMAND)
    if row["phase"] == _CLOSED:
        if command["name"] == EVERY:
            return n
        return emit_rejected(state, events, n, row["symbol"], 0, 0, _REASON_CLOSED)
    row["phase"] = _HALTED
    return emit_halted(state, events, n, instrument, _COMMAND, _HALTED)


@called
def mass_cancel(state: State, command, events, n):
    """``mass_cancel NAME [symbol=] [side=] [reason=disconnect]``."""
    name = command["name"]
    symbol = command["symbol"]
    side = np.int64(command["side"])
    reason = np.int64(command["reason"])
    if (
        not unused(command, 0, 1, 1, 1, 0)
        or np.int64(command["instructions"]) != 0
        or side < -1
        or side > 1
        or reason not in (_MASS_CANCEL, _DISCONNECT)
    ):
        return emit_rejected(state, events, n, name, 0, 0, _INVALID_COMMAND)
    participant = find_participant(state, name)
    if participant == 0:
        return emit_rejected(state, events, n, name, 0, 0, _UNKNOWN_PARTICIPANT)
    instrument = find_instrument(state, symbol) if symbol != 0 else 0
    if symbol != 0 and instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, _UNKNOWN_INSTRUMENT)
    count = gather_of_participant(state, participant, instrument, side)
    return cancel_gathered(state, events, n, count, reason)
