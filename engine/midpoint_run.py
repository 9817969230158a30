"""Orders of a midpoint book run: as incoming, and as the quotes of the lit book let them meet (sections 3 and 7, d)."""

import numpy as np

from engine.events import emit_canceled
from engine.exposure import count_open, value_price_of
from engine.jit import called, rare
from engine.matching import reduce_undisplayed, release
from engine.midpoint import (
    first_in_time,
    join_midpoint,
    midpoint_e4,
    take_off,
    takes_part,
    trade_at_midpoint,
    trial_at_midpoint,
)
from engine.records import Phase, Reason, SelfTrade, TimeInForce
from engine.state import State


@called
def _prevented(state: State, resting_slot, incoming_slot):
    """True if two orders may not trade, as the incoming one chose."""
    resting, incoming = state.orders[resting_slot], state.orders[incoming_slot]
    same = np.int64(resting["group"]) == np.int64(incoming["group"])
    return same and np.int64(incoming["self_trade"]) != SelfTrade.NONE


@called
def _end(state: State, events, n, slot, reason):
    """Cancel what is left of an order that is in no queue."""
    order = state.orders[slot]
    n = emit_canceled(state, events, n, order, np.int64(order["leaves_qty"]), reason)
    release(state, slot)
    return n


@rare
def run_at_midpoint(state: State, events, n, slot, needed_qty):
    """An order of the midpoint book runs as incoming: it trades, then the rest of it rests or is canceled.

    needed_qty: quantity that must trade at once (fok, min_qty), or 0.
    """
    order = state.orders[slot]
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    price_e4 = midpoint_e4(state, instrument)
    may = price_e4 != 0 and takes_part(state, slot, price_e4)
    leaves_qty = np.int64(order["leaves_qty"])
    time_in_force, self_trade = np.int64(order["time_in_force"]), np.int64(order["self_trade"])
    group = np.int64(order["group"])
    if needed_qty != 0 and not (
        may and trial_at_midpoint(state, instrument, side, price_e4, leaves_qty, needed_qty, group, self_trade)
    ):
        return _end(state, events, n, slot, Reason.FOK if time_in_force == TimeInForce.FOK else Reason.MIN_QTY)
    for _ in range(state.venue[0]["orders_open"]):
        leaves_qty = np.int64(order["leaves_qty"])
        other = first_in_time(state, instrument, -side, price_e4) if may and leaves_qty != 0 else np.int64(0)
        if other == 0:
            break
        qty = min(leaves_qty, np.int64(state.orders[other]["leaves_qty"]))
        if not _prevented(state, other, slot):
            n = trade_at_midpoint(state, events, n, other, slot, price_e4, qty, 0)
            reduce_undisplayed(state, other, qty)
            order["leaves_qty"] = leaves_qty - qty
            continue
        if self_trade == SelfTrade.CANCEL_NEWEST:
            return _end(state, events, n, slot, Reason.SELF_TRADE)
        if self_trade != SelfTrade.DECREMENT:
            qty = np.int64(state.orders[other]["leaves_qty"])
        n = take_off(state, events, n, other, qty, 1)
        reduce_undisplayed(state, other, qty)
        if self_trade == SelfTrade.CANCEL_BOTH:
            return _end(state, events, n, slot, Reason.SELF_TRADE)
        if self_trade == SelfTrade.DECREMENT:
            n = take_off(state, events, n, slot, qty, 0)
            order["leaves_qty"] = leaves_qty - qty
    leaves_qty = np.int64(order["leaves_qty"])
    if leaves_qty == 0:
        release(state, slot)
        return n
    if time_in_force == TimeInForce.IOC:
        return _end(state, events, n, slot, Reason.IOC)
    join_midpoint(state, slot)
    count_open(state, np.int64(order["participant"]), instrument, side, leaves_qty, value_price_of(order))
    return n


@called
def meet_at_midpoint(state: State, events, n, instrument):
    """While both sides have an order that takes part, the oldest of each meet, the later one as incoming. Gives n."""
    if state.instruments[instrument - 1]["phase"] != Phase.CONTINUOUS:
        return n
    price_e4 = midpoint_e4(state, instrument)
    for _ in range(state.venue[0]["orders_open"] if price_e4 != 0 else 0):
        resting = first_in_time(state, instrument, 1, price_e4)
        incoming = first_in_time(state, instrument, -1, price_e4)
        if resting == 0 or incoming == 0:
            break
        if state.times[resting] > state.times[incoming]:
            resting, incoming = incoming, resting
        resting_qty = np.int64(state.orders[resting]["leaves_qty"])
        incoming_qty = np.int64(state.orders[incoming]["leaves_qty"])
        qty = min(resting_qty, incoming_qty)
        self_trade = np.int64(state.orders[incoming]["self_trade"])
        if not _prevented(state, resting, incoming):
            n = trade_at_midpoint(state, events, n, resting, incoming, price_e4, qty, 1)
            reduce_undisplayed(state, resting, qty)
            reduce_undisplayed(state, incoming, qty)
            continue
        if self_trade != SelfTrade.CANCEL_NEWEST:
            resting_qty = qty if self_trade == SelfTrade.DECREMENT else resting_qty
            n = take_off(state, events, n, resting, resting_qty, 1)
            reduce_undisplayed(state, resting, resting_qty)
        if self_trade != SelfTrade.CANCEL_OLDEST:
            incoming_qty = qty if self_trade == SelfTrade.DECREMENT else incoming_qty
            n = take_off(state, events, n, incoming, incoming_qty, 1)
            reduce_undisplayed(state, incoming, incoming_qty)
    return n
