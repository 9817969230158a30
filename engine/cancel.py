"""Cancels: of an order by its owner (rulebook sections 4 and 8), and of many orders by the operator (section 12)."""

import numpy as np

from engine.consequences import cancel_listed
from engine.definitions import find_instrument, find_participant
from engine.events import emit_cancel_rejected, emit_canceled, emit_rejected
from engine.exposure import count_open, value_price_of
from engine.form import has_form
from engine.index import open_slot
from engine.jit import called, inlined, rare
from engine.matching import cancel_resting, take_back
from engine.places import side_row
from engine.records import CommandKind, Reason
from engine.resting import lessen
from engine.state import State
from engine.sweep import gather_of_participant


@inlined
def cancel(state: State, command, events, n):
    """The owner takes an order back, or (with a quantity) a part of it; accepted in every phase."""
    client_order_id = command["client_order_id"]
    participant = np.int64(command["participant"])
    if not has_form(command, CommandKind.CANCEL):
        return emit_rejected(state, events, n, client_order_id, 0, 0, Reason.INVALID_COMMAND)
    slot = open_slot(state, participant, client_order_id)
    if slot == 0:
        return emit_cancel_rejected(state, events, n, client_order_id, participant, Reason.UNKNOWN_ORDER)
    if command["qty"] != 0:
        return _cancel_part(state, command["qty"], events, n, slot)
    if np.int64(state.orders[slot]["instructions"]) != 0:
        return cancel_resting(state, events, n, slot, Reason.USER)
    return take_back(state, events, n, slot, Reason.USER, True)


@rare
def _cancel_part(state: State, qty, events, n, slot):
    """An order of the book keeps its place and its id with a smaller quantity in all: ``qty``, any number."""
    order = state.orders[slot]
    instrument = np.int64(order["instrument"])
    leaves_qty = np.int64(order["leaves_qty"])
    open_qty = qty - np.int64(order["cum_qty"])
    reason = 0
    if qty < 0 or open_qty >= leaves_qty:
        reason = Reason.INVALID_QTY
    elif qty % state.instruments[instrument - 1]["lot"] != 0:
        reason = Reason.INVALID_LOT
    if reason != 0:
        participant = np.int64(order["participant"])
        return emit_cancel_rejected(state, events, n, order["client_order_id"], participant, reason)
    if open_qty <= 0:
        return cancel_resting(state, events, n, slot, Reason.USER)
    n = emit_canceled(state, events, n, order, leaves_qty - open_qty, Reason.USER)
    side = np.int64(order["side"])
    participant = np.int64(order["participant"])
    count_open(state, participant, instrument, side, open_qty - leaves_qty, value_price_of(order))
    lessen(state, side_row(instrument, side), slot, open_qty)
    order["qty"] = qty
    return n


@called
def mass_cancel(state: State, command, events, n):
    """``mass_cancel NAME [symbol=] [side=] [reason=disconnect]``."""
    name = command["name"]
    symbol = command["symbol"]
    side = np.int64(command["side"])
    reason = np.int64(command["reason"])
    if side < -1 or side > 1 or (reason != Reason.MASS_CANCEL and reason != Reason.DISCONNECT):
        return emit_rejected(state, events, n, name, 0, 0, Reason.INVALID_COMMAND)
    participant = find_participant(state, name)
    if participant == 0:
        return emit_rejected(state, events, n, name, 0, 0, Reason.UNKNOWN_PARTICIPANT)
    instrument = find_instrument(state, symbol) if symbol != 0 else 0
    if symbol != 0 and instrument == 0:
        return emit_rejected(state, events, n, symbol, 0, 0, Reason.UNKNOWN_INSTRUMENT)
    count = gather_of_participant(state, participant, instrument, side)
    return cancel_listed(state, events, n, 0, count, reason)
