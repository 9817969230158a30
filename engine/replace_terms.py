"""Replacement of an order with terms that few have, and the checks of every one from ``duplicate_id`` on (section 8).

Those of orders with any instruction come here, and any replace that names one, so that the frequent ones look at none.
"""

from typing import Final

import numpy as np

from engine.aside import put_aside
from engine.bounds import INT64_MAX
from engine.entry import run_rarely
from engine.events import emit_rejected, emit_replaced
from engine.exposure import count_entry, count_open, count_refused_entry, value_price_of
from engine.index import drop_carried_id, find_id, take_id
from engine.jit import inlined, rare
from engine.limit_checks import check_with_limits
from engine.matching import cancel_resting
from engine.midpoint_run import run_at_midpoint
from engine.order_checks import check_phase, check_price, check_qty, check_stop, may_show
from engine.places import side_row
from engine.records import Instruction, Phase, Reason
from engine.resting import lessen, rest, set_display, slices_of, withdraw
from engine.state import ASIDE, IN_MIDPOINT, State
from engine.stops import join_stops

_MARKET: Final = int(Instruction.MARKET)
_POST_ONLY: Final = int(Instruction.POST_ONLY)
_DISPLAY: Final = int(Instruction.DISPLAY)
_STOP: Final = int(Instruction.STOP)
_PEG: Final = int(Instruction.PEG)


@inlined
def check_replace(state: State, command, place, participant, slot, tick, open_qty, keeps, plain):
    """The checks from ``duplicate_id`` on; none of them when nothing would stay open. plain: of an order without
    instructions."""
    if place >= 0:
        return Reason.DUPLICATE_ID
    if open_qty <= 0:
        return 0
    order = state.orders[slot]
    owner = state.participants[participant - 1]
    instructions = np.int64(0) if plain else np.int64(order["instructions"])
    # Where even all that is open leaves room for it, what is open of the order itself need not be taken out.
    is_small = owner["open_notional_e4"] <= INT64_MAX - open_qty * command["price_e4"]
    row = state.instruments[np.int64(order["instrument"]) - 1]
    if instructions | owner["limits_count"] | np.int64(row["band"]) or not is_small:
        stop_e4 = state.terms[slot]["stop_tick"] * row["tick_e4"] if instructions & _STOP else np.int64(0)
        if np.int64(command["instructions"]) & _STOP:
            stop_e4 = command["stop_e4"]
        reason = check_with_limits(
            state.venue,
            state.instruments,
            state.participants,
            state.exposures,
            state.limits,
            state.entry_times,
            state.books,
            participant,
            np.int64(order["instrument"]),
            np.int64(order["side"]),
            np.int64(0),
            np.int64(0) if keeps else instructions & _POST_ONLY,
            tick,
            command["qty"],
            open_qty,
            command["price_e4"] if tick > 0 else -tick,
            np.int64(order["leaves_qty"]),
            np.int64(order["leaves_qty"]) * value_price_of(order),
            stop_e4,
        )
        if reason != 0:
            return reason
    if state.venue[0]["ids_used"] >= state.venue[0]["ids_max"]:
        return Reason.CAPACITY
    return 0


@rare
def replace_with_terms(state: State, command, events, n, slot):
    """``replace`` of an order with an instruction, or one that names any."""
    order = state.orders[slot]
    participant, instrument = np.int64(order["participant"]), np.int64(order["instrument"])
    instructions, of_order = np.int64(command["instructions"]), np.int64(order["instructions"])
    row, terms = state.instruments[instrument - 1], state.terms[slot]
    book = np.int64(of_order & IN_MIDPOINT != 0)
    reason = np.int64(check_phase(row["phase"], np.int64(order["time_in_force"]), of_order, book))
    if reason == 0:
        reason = np.int64(check_qty(command["qty"], row["lot"]))
    tick, stop_tick, display_qty = order["tick"], terms["stop_tick"], np.int64(terms["display_qty"])
    if reason == 0 and not instructions & _MARKET:
        price_reason, tick = check_price(command["price_e4"], row["tick_e4"])
        reason = np.int64(price_reason)
    if instructions & _STOP:
        reason = check_stop(reason, command["stop_e4"], row["tick_e4"])
        stop_tick = command["stop_e4"] // row["tick_e4"]
    if instructions & _MARKET and stop_tick != 0:
        tick = -stop_tick * row["tick_e4"]
    if instructions & of_order & _DISPLAY:
        display_qty = command["display_qty"]
    # No price becomes ``market`` or the reverse, and display and stop are named only where the order has one.
    misfits = ((instructions ^ of_order) & _MARKET) | (instructions & (_DISPLAY | _STOP) & ~of_order)
    if of_order & _DISPLAY and not may_show(display_qty, command["qty"], row["lot"]):
        misfits = np.int64(_DISPLAY)
    if reason == 0 and misfits != 0:
        reason = np.int64(Reason.INVALID_INSTRUCTION)
    place, open_qty = np.int64(0), np.int64(0)
    keeps = False
    if reason == 0:
        place = find_id(state, participant, command["new_client_order_id"])
        open_qty = command["qty"] - np.int64(order["cum_qty"])
        same = (stop_tick == terms["stop_tick"]) & (display_qty == np.int64(terms["display_qty"]))
        keeps = (tick == order["tick"]) & same & (open_qty <= np.int64(order["leaves_qty"]))
        reason = np.int64(check_replace(state, command, place, participant, slot, tick, open_qty, keeps, False))
        if reason == 0 and display_qty != 0 and open_qty > 0:
            more = slices_of(command["qty"], display_qty) - np.int64(terms["slices"])
            if more > 0 and state.venue[0]["slices"] + more > state.venue[0]["orders_max"]:
                reason = np.int64(Reason.CAPACITY)
    if reason != 0:
        if reason != Reason.ORDER_RATE:
            count_refused_entry(state.venue, state.participants, state.entry_times, participant)
        return emit_rejected(state, events, n, command["new_client_order_id"], participant, instrument, reason)
    count_entry(state.venue[0], state.participants[participant - 1], state.entry_times, participant)
    if open_qty <= 0:
        return cancel_resting(state, events, n, slot, Reason.REPLACED)
    drop_carried_id(state, order)
    take_id(state, place, participant, command["new_client_order_id"], slot)
    return _change(state, command, events, n, slot, tick, open_qty, keeps, stop_tick, display_qty)


@rare
def _change(state: State, command, events, n, slot, tick, open_qty, keeps, stop_tick, display_qty):
    """Every check has passed: the order keeps its place with less, or takes a new time."""
    order = state.orders[slot]
    participant, instrument = np.int64(order["participant"]), np.int64(order["instrument"])
    side = np.int64(order["side"])
    b = side_row(instrument, side)
    aside = np.int64(order["instructions"]) & ASIDE
    count_open(state, participant, instrument, side, -np.int64(order["leaves_qty"]), value_price_of(order))
    if keeps:
        lessen(state, b, slot, open_qty)
    else:
        withdraw(state, b, slot)
        order["price_e4"] = command["price_e4"]
        order["tick"] = tick
        order["leaves_qty"] = open_qty
    order["qty"] = command["qty"]
    if display_qty != 0:
        set_display(state, slot, display_qty, command["qty"])
    n = emit_replaced(state, events, n, order, command["new_client_order_id"], open_qty)
    order["client_order_id"] = command["new_client_order_id"]
    if not keeps and np.int64(order["instructions"]) & IN_MIDPOINT:
        return run_at_midpoint(state, events, n, slot, np.int64(0))
    peg = np.int64(order["instructions"]) & _PEG
    waits = stop_tick != 0 or aside != 0 or peg != 0
    if not keeps and not waits and state.instruments[instrument - 1]["phase"] == Phase.CONTINUOUS:
        return run_rarely(state, events, n, slot)
    count_open(state, participant, instrument, side, open_qty, value_price_of(order))
    if keeps:
        return n
    if stop_tick != 0:
        join_stops(state, slot, stop_tick)
    elif aside != 0:
        put_aside(state, slot)
    elif peg != 0:
        state.venue[0]["fresh_peg"] = slot
    else:
        rest(state, b, slot)
    return n
