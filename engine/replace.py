"""Replacement of an order by its owner (rulebook sections 4 and 8)."""

from typing import Final

import numpy as np

from engine.book import join, leave, shrink
from engine.entry import run_aggressor
from engine.events import emit_cancel_rejected, emit_rejected, emit_replaced
from engine.exposure import count_entry, count_open, count_refused_entry
from engine.form import has_form, terms_fit
from engine.index import drop_carried_id, find_id, open_slot, take_id
from engine.jit import inlined
from engine.matching import cancel_resting
from engine.order_checks import check_phase, check_price, check_qty
from engine.places import side_row
from engine.records import CommandKind, Instruction, Phase, Reason
from engine.replace_terms import check_replace, replace_with_terms
from engine.state import State

_MARKET: Final = int(Instruction.MARKET)
_DISPLAY: Final = int(Instruction.DISPLAY)
_STOP: Final = int(Instruction.STOP)


@inlined
def _is_replace(command, instructions):
    """True if the row can be interpreted as a replace (rulebook section 13, 1)."""
    if (
        not has_form(command, CommandKind.REPLACE)
        or command["new_client_order_id"] == 0
        or instructions & ~(_MARKET | _DISPLAY | _STOP)
    ):
        return False
    return terms_fit(command, instructions)


@inlined
def replace(state: State, command, events, n):
    """The owner gives an order another id, quantity and price; its checks in the order of the rulebook."""
    participant = np.int64(command["participant"])
    new_id = command["new_client_order_id"]
    instructions = np.int64(command["instructions"])
    if not _is_replace(command, instructions):
        return emit_rejected(state, events, n, command["client_order_id"], 0, 0, Reason.INVALID_COMMAND)
    slot = open_slot(state, participant, command["client_order_id"])
    if slot == 0:
        if participant > 0 and participant <= state.venue[0]["participants"]:
            count_refused_entry(state.venue, state.participants, state.entry_times, participant)
        return emit_cancel_rejected(state, events, n, command["client_order_id"], participant, Reason.UNKNOWN_ORDER)
    order = state.orders[slot]
    if (instructions | np.int64(order["instructions"])) != 0:
        return replace_with_terms(state, command, events, n, slot)
    instrument = np.int64(order["instrument"])
    row = state.instruments[instrument - 1]
    reason = check_phase(row["phase"], np.int64(order["time_in_force"]), np.int64(0), 0)
    if reason == 0:
        reason = check_qty(command["qty"], row["lot"])
    tick = order["tick"]
    if reason == 0:
        reason, tick = check_price(command["price_e4"], row["tick_e4"])
    place = np.int64(0)
    open_qty = np.int64(0)
    keeps = False
    if reason == 0:
        place = find_id(state, participant, new_id)
        open_qty = command["qty"] - np.int64(order["cum_qty"])
        keeps = (tick == order["tick"]) & (open_qty <= np.int64(order["leaves_qty"]))
        reason = check_replace(state, command, place, participant, slot, tick, open_qty, keeps, True)
    if reason != 0:
        if reason != Reason.ORDER_RATE:
            count_refused_entry(state.venue, state.participants, state.entry_times, participant)
        return emit_rejected(state, events, n, new_id, participant, instrument, reason)
    count_entry(state.venue[0], state.participants[participant - 1], state.entry_times, participant)
    if open_qty <= 0:
        return cancel_resting(state, events, n, slot, Reason.REPLACED)
    drop_carried_id(state, order)
    take_id(state, place, participant, new_id, slot)
    return _replace(state, command, events, n, slot, tick, open_qty, keeps)


@inlined
def _replace(state: State, command, events, n, slot, tick, open_qty, keeps):
    """Every check has passed: the order keeps its place with less, or runs as aggressor with a new time."""
    order = state.orders[slot]
    participant = np.int64(order["participant"])
    instrument = np.int64(order["instrument"])
    side = np.int64(order["side"])
    leaves_qty = np.int64(order["leaves_qty"])
    b = side_row(instrument, side)
    if keeps:
        count_open(state, participant, instrument, side, open_qty - leaves_qty, order["price_e4"])
        shrink(state, b, slot, open_qty)
    else:
        count_open(state, participant, instrument, side, -leaves_qty, order["price_e4"])
        leave(state, b, slot)
        order["price_e4"] = command["price_e4"]
        order["tick"] = tick
        order["leaves_qty"] = open_qty
    order["qty"] = command["qty"]
    n = emit_replaced(state, events, n, order, command["new_client_order_id"], open_qty)
    order["client_order_id"] = command["new_client_order_id"]
    if keeps:
        return n
    if state.instruments[instrument - 1]["phase"] != Phase.CONTINUOUS:
        join(state, b, slot)
        count_open(state, participant, instrument, side, open_qty, order["price_e4"])
        return n
    return run_aggressor(state, events, n, slot, np.int64(0), True)
