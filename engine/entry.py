"""Order entry: enter, cancel and replace (rulebook sections 4 and 8), each complete with what it causes."""

from typing import Final

import numpy as np

from engine.book import follow, join, leave, shrink, side_row
from engine.emit import emit_accepted, emit_cancel_rejected, emit_canceled, emit_rejected, emit_replaced
from engine.index import drop_carried_id, find_id, open_slot, take_id
from engine.jit import called, inlined
from engine.match import cancel_resting, limit_tick_of, match, release, trial
from engine.records import Instruction, Permission, Phase, Reason, SelfTrade, TimeInForce
from engine.risk import check_instructions, check_phase, check_price, check_qty
from engine.state import State

_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_GTC: Final = int(TimeInForce.GTC)
_IOC: Final = int(TimeInForce.IOC)
_FOK: Final = int(TimeInForce.FOK)
_CLOSING: Final = int(TimeInForce.CLOSING)
_STP_NONE: Final = int(SelfTrade.NONE)
_MARKET: Final = int(Instruction.MARKET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_DISPLAY: Final = int(Instruction.DISPLAY)
_MIN_QTY: Final = int(Instruction.MIN_QTY)
_STOP: Final = int(Instruction.STOP)
_KNOWN: Final = int(~Instruction(0))
_MAY_MARKET: Final = int(Permission.MARKET)
_MAY_STP_NONE: Final = int(Permission.STP_NONE)
_UNKNOWN_PARTICIPANT: Final = int(Reason.UNKNOWN_PARTICIPANT)
_UNKNOWN_INSTRUMENT: Final = int(Reason.UNKNOWN_INSTRUMENT)
_KILLED: Final = int(Reason.KILLED)
_INVALID_INSTRUCTION: Final = int(Reason.INVALID_INSTRUCTION)
_DUPLICATE_ID: Final = int(Reason.DUPLICATE_ID)
_MARKET_NOT_PERMITTED: Final = int(Reason.MARKET_NOT_PERMITTED)
_STP_NOT_PERMITTED: Final = int(Reason.STP_NOT_PERMITTED)
_WOULD_CROSS: Final = int(Reason.WOULD_CROSS)
_CAPACITY: Final = int(Reason.CAPACITY)
_INVALID_COMMAND: Final = int(Reason.INVALID_COMMAND)
_INVALID_QTY: Final = int(Reason.INVALID_QTY)
_INVALID_LOT: Final = int(Reason.INVALID_LOT)
_UNKNOWN_ORDER: Final = int(Reason.UNKNOWN_ORDER)
_REASON_USER: Final = int(Reason.USER)
_REASON_IOC: Final = int(Reason.IOC)
_REASON_FOK: Final = int(Reason.FOK)
_REASON_MIN_QTY: Final = int(Reason.MIN_QTY)
_REASON_NO_LIQUIDITY: Final = int(Reason.NO_LIQUIDITY)
_REASON_SELF_TRADE: Final = int(Reason.SELF_TRADE)
_REASON_REPLACED: Final = int(Reason.REPLACED)


@inlined
def _is_enter(command, side, time_in_force, instructions):
    """Whether the row can be interpreted as an enter (rulebook section 13, 1)."""
    self_trade = np.int64(command["self_trade"])
    if (
        (side * side != 1)
        | (time_in_force - 1 < 0)
        | (time_in_force > _CLOSING)
        | (self_trade - 1 < 0)
        | (self_trade > _STP_NONE)
        | (command["client_order_id"] == 0)
        | (np.int64(command["phase"]) != 0)
    ):
        return False
    if instructions == 0 and (command["min_qty"] | command["display_qty"] | np.int64(command["book"])) == 0:
        return True
    return _is_rare_enter(command, instructions)


@called
def _is_rare_enter(command, instructions):
    if instructions & ~_KNOWN or np.int64(command["book"]) > 1:
        return False
    if command["min_qty"] != 0 and not instructions & _MIN_QTY:
        return False
    if command["display_qty"] != 0 and not instructions & _DISPLAY:
        return False
    return not (instructions & _MARKET and command["price_e4"] != 0)


@inlined
def _would_cross(state: State, instrument, side, tick):
    best = state.books[side_row(instrument, -side)]["best_tick"]
    return best != 0 and (tick - best) * side >= 0


@inlined
def enter(state: State, command, events, n):
    """A new order: its checks in the order of the rulebook, then it runs."""
    participant = np.int64(command["participant"])
    instrument = np.int64(command["instrument"])
    client_order_id = command["client_order_id"]
    side = np.int64(command["side"])
    time_in_force = np.int64(command["time_in_force"])
    instructions = np.int64(command["instructions"])
    venue = state.venue[0]
    if not _is_enter(command, side, time_in_force, instructions):
        return emit_rejected(state, events, n, client_order_id, 0, 0, _INVALID_COMMAND)
    if participant - 1 < 0 or participant > venue["participants"]:
        known = instrument if 0 < instrument <= venue["instruments"] else np.int64(0)
        return emit_rejected(state, events, n, client_order_id, 0, known, _UNKNOWN_PARTICIPANT)
    if instrument - 1 < 0 or instrument > venue["instruments"]:
        return emit_rejected(state, events, n, client_order_id, participant, 0, _UNKNOWN_INSTRUMENT)
    # A replace needs no such check: whoever is killed has no open order.
    if state.participants[participant - 1]["killed"] != 0:
        return emit_rejected(state, events, n, client_order_id, participant, instrument, _KILLED)
    row = state.instruments[instrument - 1]
    phase = row["phase"]
    reason = check_phase(phase, time_in_force, instructions, np.int64(command["book"]))
    if reason == 0:
        reason = check_qty(command["qty"], row["lot"])
    tick = np.int64(-1)
    if reason == 0 and not instructions & _MARKET:
        reason, tick = check_price(command["price_e4"], row["tick_e4"])
    if reason == 0:
        reason = check_instructions(command, instructions, time_in_force)
    place = np.int64(0)
    if reason == 0:
        place = find_id(state, participant, client_order_id)
        reason = _check_entry(state, command, place, participant, instrument, side, tick, instructions)
    if reason != 0:
        return emit_rejected(state, events, n, client_order_id, participant, instrument, reason)
    slot = _new_order(state, command, participant, instrument, tick)
    take_id(state, place, participant, client_order_id, slot)
    n = emit_accepted(state, events, n, state.orders[slot])
    if phase != _CONTINUOUS:
        join(state, side_row(instrument, side), slot)
        return n
    needed_qty = np.int64(0)
    if time_in_force == _FOK:
        needed_qty = command["qty"]
    elif instructions & _MIN_QTY:
        needed_qty = command["min_qty"]
    return _run(state, events, n, slot, needed_qty)


@inlined
def _check_entry(state: State, command, place, participant, instrument, side, tick, instructions):
    """The checks from ``duplicate_id`` on."""
    venue = state.venue[0]
    if place >= 0:
        return _DUPLICATE_ID
    if instructions & _MARKET or np.int64(command["self_trade"]) == _STP_NONE:
        permissions = state.participants[participant - 1]["permissions"]
        if instructions & _MARKET and not permissions & _MAY_MARKET:
            return _MARKET_NOT_PERMITTED
        if np.int64(command["self_trade"]) == _STP_NONE and not permissions & _MAY_STP_NONE:
            return _STP_NOT_PERMITTED
    if instructions & _POST_ONLY and _would_cross(state, instrument, side, tick):
        return _WOULD_CROSS
    if venue["orders_open"] >= venue["orders_max"] or venue["ids_used"] >= venue["ids_max"]:
        return _CAPACITY
    return 0


@inlined
def _new_order(state: State, command, participant, instrument, tick):
    """Gives an accepted order its slot and its number; returns the slot."""
    venue = state.venue[0]
    owner = state.participants[participant - 1]
    slot = venue["orders_free"]
    if slot != 0:
        venue["orders_free"] = np.int64(state.orders[slot]["next"])
    else:
        slot = venue["orders_high"] + 1
        venue["orders_high"] = slot
    number = venue["orders_accepted"] + 1
    venue["orders_accepted"] = number
    venue["orders_open"] += 1
    owner["orders_open"] += 1
    order = state.orders[slot]
    order["client_order_id"] = command["client_order_id"]
    order["number"] = number
    order["price_e4"] = command["price_e4"]
    order["tick"] = tick
    order["next"] = 0
    order["prev"] = 0
    order["qty"] = command["qty"]
    order["leaves_qty"] = command["qty"]
    order["cum_qty"] = 0
    order["participant"] = participant
    order["group"] = owner["group"]
    order["instrument"] = instrument
    order["instructions"] = command["instructions"]
    order["side"] = command["side"]
    order["time_in_force"] = command["time_in_force"]
    order["self_trade"] = command["self_trade"]
    order["carried"] = 0
    return slot


@inlined
def _run(state: State, events, n, slot, needed_qty):
    """An order runs as incoming in ``continuous``: it trades, then what is left rests or is canceled.

    needed_qty: what must trade at once for it to trade at all (fok, min_qty), or 0.
    """
    order = state.orders[slot]
    instrument = np.int64(order["instrument"])
    side = np.int64(order["side"])
    time_in_force = np.int64(order["time_in_force"])
    limit_tick = limit_tick_of(order)
    if needed_qty != 0 and not trial(
        state,
        instrument,
        side,
        limit_tick,
        np.int64(order["leaves_qty"]),
        needed_qty,
        np.int64(order["group"]),
        np.int64(order["self_trade"]),
    ):
        return _cancel_rest(state, events, n, slot, _REASON_FOK if time_in_force == _FOK else _REASON_MIN_QTY)
    best = state.books[side_row(instrument, -side)]["best_tick"]
    if best != 0 and (limit_tick - best) * side >= 0:
        n, ended = match(state, events, n, slot)
        follow(state, instrument, best)
        if ended:
            return _cancel_rest(state, events, n, slot, _REASON_SELF_TRADE)
        if np.int64(order["leaves_qty"]) == 0:
            release(state, slot)
            return n
    if np.int64(order["instructions"]) & _MARKET:
        return _cancel_rest(state, events, n, slot, _REASON_NO_LIQUIDITY)
    if time_in_force == _IOC:
        return _cancel_rest(state, events, n, slot, _REASON_IOC)
    b = side_row(instrument, side)
    join(state, b, slot)
    if state.books[b]["best_tick"] == order["tick"]:
        follow(state, instrument, order["tick"])
    return n


@inlined
def _cancel_rest(state: State, events, n, slot, reason):
    order = state.orders[slot]
    n = emit_canceled(state, events, n, order, np.int64(order["leaves_qty"]), reason)
    release(state, slot)
    return n


@inlined
def cancel(state: State, command, events, n):
    """The owner takes an order back, or (with a quantity) a part of it; accepted in every phase."""
    client_order_id = command["client_order_id"]
    participant = np.int64(command["participant"])
    if (
        command["price_e4"]
        | command["min_qty"]
        | command["display_qty"]
        | np.int64(command["instrument"])
        | np.int64(command["side"])
        | np.int64(command["time_in_force"])
        | np.int64(command["self_trade"])
        | np.int64(command["instructions"])
        | np.int64(command["book"])
        | np.int64(command["phase"])
    ) != 0:
        return emit_rejected(state, events, n, client_order_id, 0, 0, _INVALID_COMMAND)
    slot = open_slot(state, participant, client_order_id)
    if slot == 0:
        return emit_cancel_rejected(state, events, n, client_order_id, participant, _UNKNOWN_ORDER)
    if command["qty"] != 0:
        return _cancel_part(state, command["qty"], events, n, slot)
    return cancel_resting(state, events, n, slot, _REASON_USER)


@called
def _cancel_part(state: State, qty, events, n, slot):
    """An order of the book keeps its place and its id with a smaller quantity in all: ``qty``, any number."""
    order = state.orders[slot]
    instrument = np.int64(order["instrument"])
    leaves_qty = np.int64(order["leaves_qty"])
    open_qty = qty - np.int64(order["cum_qty"])
    reason = 0
    if qty < 0 or open_qty >= leaves_qty:
        reason = _INVALID_QTY
    elif qty % state.instruments[instrument - 1]["lot"] != 0:
        reason = _INVALID_LOT
    if reason != 0:
        participant = np.int64(order["participant"])
        return emit_cancel_rejected(state, events, n, order["client_order_id"], participant, reason)
    if open_qty <= 0:
        return cancel_resting(state, events, n, slot, _REASON_USER)
    n = emit_canceled(state, events, n, order, leaves_qty - open_qty, _REASON_USER)
    shrink(state, side_row(instrument, np.int64(order["side"])), slot, open_qty)
    order["qty"] = qty
    return n


@inlined
def _is_replace(command, instructions):
    """Whether the row can be interpreted as a replace (rulebook section 13, 1)."""
    unused = (
        np.int64(command["instrument"])
        | np.int64(command["side"])
        | np.int64(command["time_in_force"])
        | np.int64(command["self_trade"])
        | np.int64(command["book"])
        | np.int64(command["phase"])
    )
    if unused != 0 or command["new_client_order_id"] == 0 or instructions & ~(_MARKET | _DISPLAY | _STOP):
        return False
    if command["display_qty"] != 0 and not instructions & _DISPLAY:
        return False
    return not (instructions & _MARKET and command["price_e4"] != 0)


@inlined
def replace(state: State, command, events, n):
    """The owner gives an order another id, quantity and price; its checks in the order of the rulebook."""
    participant = np.int64(command["participant"])
    new_id = command["new_client_order_id"]
    instructions = np.int64(command["instructions"])
    if not _is_replace(command, instructions):
        return emit_rejected(state, events, n, command["client_order_id"], 0, 0, _INVALID_COMMAND)
    slot = open_slot(state, participant, command["client_order_id"])
    if slot == 0:
        return emit_cancel_rejected(state, events, n, command["client_order_id"], participant, _UNKNOWN_ORDER)
    order = state.orders[slot]
    instrument = np.int64(order["instrument"])
    row = state.instruments[instrument - 1]
    reason = check_phase(row["phase"], np.int64(order["time_in_force"]), np.int64(order["instructions"]), 0)
    if reason == 0:
        reason = check_qty(command["qty"], row["lot"])
    tick = np.int64(-1)
    if reason == 0 and not instructions & _MARKET:
        reason, tick = check_price(command["price_e4"], row["tick_e4"])
    if reason == 0 and (instructions ^ (np.int64(order["instructions"]) & _MARKET)) != 0:
        reason = _INVALID_INSTRUCTION
    place = np.int64(0)
    if reason == 0:
        place = find_id(state, participant, new_id)
        if place >= 0:
            reason = _DUPLICATE_ID
    if reason != 0:
        return emit_rejected(state, events, n, new_id, participant, instrument, reason)
    open_qty = command["qty"] - np.int64(order["cum_qty"])
    if open_qty <= 0:
        return cancel_resting(state, events, n, slot, _REASON_REPLACED)
    keeps = (tick == order["tick"]) & (open_qty <= np.int64(order["leaves_qty"]))
    if not keeps and np.int64(order["instructions"]) & _POST_ONLY:
        if _would_cross(state, instrument, np.int64(order["side"]), tick):
            return emit_rejected(state, events, n, new_id, participant, instrument, _WOULD_CROSS)
    if state.venue[0]["ids_used"] >= state.venue[0]["ids_max"]:
        return emit_rejected(state, events, n, new_id, participant, instrument, _CAPACITY)
    drop_carried_id(state, order)
    take_id(state, place, participant, new_id, slot)
    return _replace(state, command, events, n, slot, tick, open_qty, keeps)


@inlined
def _replace(state: State, command, events, n, slot, tick, open_qty, keeps):
    """Every check has passed: the order keeps its place with less, or runs as incoming with a new time."""
    order = state.orders[slot]
    instrument = np.int64(order["instrument"])
    b = side_row(instrument, np.int64(order["side"]))
    if keeps:
        shrink(state, b, slot, open_qty)
    else:
        leave(state, b, slot)
        order["price_e4"] = command["price_e4"]
        order["tick"] = tick
        order["leaves_qty"] = open_qty
    order["qty"] = command["qty"]
    n = emit_replaced(state, events, n, order, command["new_client_order_id"], open_qty)
    order["client_order_id"] = command["new_client_order_id"]
    if keeps:
        return n
    if state.instruments[instrument - 1]["phase"] != _CONTINUOUS:
        join(state, b, slot)
        return n
    return _run(state, events, n, slot, 0)
