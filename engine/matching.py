"""An order runs as aggressor (rulebook sections 3 to 5): it trades with the other side until it may not.

An aggressor has its slot already, but is in no queue.
"""

from typing import Final

import numpy as np

from engine.book import close_level, leave, level_of, next_tick
from engine.bounds import BPS_MAX
from engine.events import emit_canceled, emit_trade
from engine.exposure import count_aggressor_trades, count_open, count_resting_trade, reference_of, value_price_of
from engine.index import drop_carried_id
from engine.jit import inlined, rare
from engine.places import side_row
from engine.records import Instruction, Reason, SelfTrade
from engine.state import State
from engine.stops import leave_stops

_MARKET: Final = int(Instruction.MARKET)
_STOP: Final = int(Instruction.STOP)

#: Worse than every tick, times the side: how far a market order goes.
_ANY_TICK: Final = 2**40


@inlined
def release(state: State, slot):
    """Free the slot of an order that is in no queue any more."""
    venue = state.venue[0]
    order = state.orders[slot]
    state.participants[np.int64(order["participant"]) - 1]["orders_open"] -= 1
    drop_carried_id(state, order)
    order["client_order_id"] = 0
    order["participant"] = 0
    order["next"] = venue["orders_free"]
    venue["orders_free"] = slot
    venue["orders_open"] -= 1


@inlined
def limit_tick_of(instruments, order):
    """The worst tick at which an order trades that runs now."""
    if np.int64(order["instructions"]) & _MARKET:
        return _collar(instruments[np.int64(order["instrument"]) - 1], np.int64(order["side"]))
    return order["tick"]


@rare
def _collar(row, side):
    """The worst tick at which a market order of that side trades, by the reference price as it starts."""
    band = np.int64(row["band"])
    if band == 0:
        return side * _ANY_TICK
    reference_e4 = reference_of(row)
    # Rounded down, and then to the tick on the side of the reference price.
    worst_e4 = reference_e4 + side * (reference_e4 * (band - 1) // BPS_MAX)
    return side * (side * worst_e4 // row["tick_e4"])


@rare
def what_is_left_of_market(state: State, instrument, side):
    """Reason for which the rest of a market order is canceled: the collar where the other side has an order."""
    beyond = state.books[side_row(instrument, -side)]["best_tick"] != 0
    return np.int64(Reason.PRICE_BAND) if beyond else np.int64(Reason.NO_LIQUIDITY)


@inlined
def reduce_head(state: State, b, side, tick, slot, qty):
    """Reduce the first order of a level by ``qty``, and remove it from the book if nothing is left.

    What its owner has open is the caller's to count.
    """
    order = state.orders[slot]
    level = state.levels[level_of(state, b, tick)]
    level["qty"] -= qty
    left = np.int64(order["leaves_qty"]) - qty
    order["leaves_qty"] = left
    if left == 0:
        behind = np.int64(order["next"])
        level["head"] = behind
        if behind == 0:
            level["tail"] = 0
            close_level(state, b, side, tick)
        else:
            state.orders[behind]["prev"] = 0
        release(state, slot)


@inlined
def match(state: State, events, n, slot, limit_tick):
    """Trades an aggressor while the best price of the other side is no worse than its ``limit_tick``.

    Returns (n, whether self-trade prevention ended it: then what is left is to be canceled ``self_trade``).
    The order's leaves_qty and cum_qty are up to date.
    """
    aggressor = state.orders[slot]
    side = np.int64(aggressor["side"])
    group = np.int64(aggressor["group"])
    self_trade = np.int64(aggressor["self_trade"])
    leaves_qty = np.int64(aggressor["leaves_qty"])
    traded_qty = np.int64(0)
    instrument = np.int64(aggressor["instrument"])
    b = side_row(instrument, -side)
    book = state.books[b]
    ended = False
    # Every turn ends a resting order or the aggressor, so there are no more turns than open orders.
    for _ in range(state.venue[0]["orders_open"]):
        tick = book["best_tick"]
        if leaves_qty == 0 or tick == 0 or (limit_tick - tick) * side < 0:
            break
        head = np.int64(state.levels[level_of(state, b, tick)]["head"])
        resting = state.orders[head]
        if np.int64(resting["group"]) == group and self_trade != SelfTrade.NONE:
            if self_trade != SelfTrade.CANCEL_NEWEST:
                n, leaves_qty = _prevent_self_trade(state, events, n, b, head, slot, leaves_qty)
            if self_trade == SelfTrade.CANCEL_NEWEST or self_trade == SelfTrade.CANCEL_BOTH:
                ended = True
                break
        else:
            resting_qty = np.int64(resting["leaves_qty"])
            qty = min(leaves_qty, resting_qty)
            price_e4 = resting["price_e4"]
            n = emit_trade(state, events, n, resting, aggressor, price_e4, qty, side)
            state.instruments[instrument - 1]["last_trade_e4"] = price_e4
            count_resting_trade(state, np.int64(resting["participant"]), instrument, -side, qty, price_e4)
            resting["cum_qty"] += qty
            leaves_qty -= qty
            traded_qty += qty
            reduce_head(state, b, -side, tick, head, qty)
    aggressor["leaves_qty"] = leaves_qty
    aggressor["cum_qty"] += traded_qty
    count_aggressor_trades(state, np.int64(aggressor["participant"]), instrument, side * traded_qty)
    return n, ended


@rare
def _prevent_self_trade(state: State, events, n, b, head, slot, leaves_qty):
    """Self-trade prevention takes off the resting order: whole, or (decrement) as much as of the aggressor.

    Returns (n, what is left of the aggressor).
    """
    resting = state.orders[head]
    aggressor = state.orders[slot]
    side = np.int64(resting["side"])
    qty = np.int64(resting["leaves_qty"])
    if np.int64(aggressor["self_trade"]) == SelfTrade.DECREMENT:
        qty = min(qty, leaves_qty)
    n = emit_canceled(state, events, n, resting, qty, Reason.SELF_TRADE)
    participant, instrument = np.int64(resting["participant"]), np.int64(resting["instrument"])
    count_open(state, participant, instrument, side, -qty, resting["price_e4"])
    reduce_head(state, b, side, resting["tick"], head, qty)
    if np.int64(aggressor["self_trade"]) == SelfTrade.DECREMENT:
        n = emit_canceled(state, events, n, aggressor, qty, Reason.SELF_TRADE)
        leaves_qty -= qty
    return n, leaves_qty


@rare
def trial(state: State, instrument, side, limit_tick, qty, needed_qty, group, self_trade):
    """True if at least ``needed_qty`` of an aggressor of ``qty`` would trade at once (rulebook section 4).

    What would really trade, self-trade prevention included; nothing is changed.
    """
    b = side_row(instrument, -side)
    # First by levels, so that an order that cannot trade is not looked for order by order.
    offered_qty = np.int64(0)
    tick = state.books[b]["best_tick"]
    for _ in range(state.venue[0]["orders_open"]):
        if tick == 0 or (limit_tick - tick) * side < 0 or offered_qty >= needed_qty:
            break
        offered_qty += state.levels[level_of(state, b, tick)]["qty"]
        tick = next_tick(state, b, -side, tick)
    if offered_qty < needed_qty or self_trade == SelfTrade.NONE:
        return offered_qty >= needed_qty
    traded_qty = np.int64(0)
    tick = state.books[b]["best_tick"]
    head = np.int64(0)
    for _ in range(2 * state.venue[0]["orders_open"] + 2):
        if traded_qty >= needed_qty or qty <= 0:
            break
        if head == 0:
            if tick == 0 or (limit_tick - tick) * side < 0:
                break
            head = np.int64(state.levels[level_of(state, b, tick)]["head"])
            tick = next_tick(state, b, -side, tick)
        resting = state.orders[head]
        resting_qty = min(qty, np.int64(resting["leaves_qty"]))
        if np.int64(resting["group"]) != group:
            traded_qty += resting_qty
            qty -= resting_qty
        elif self_trade == SelfTrade.DECREMENT:
            qty -= resting_qty
        elif self_trade != SelfTrade.CANCEL_OLDEST:
            break
        head = np.int64(resting["next"])
    return traded_qty >= needed_qty


@rare
def cancel_resting(state: State, events, n, slot, reason):
    """Cancel a resting order in full."""
    return take_back(state, events, n, slot, reason)


@inlined
def take_back(state: State, events, n, slot, reason):
    """``cancel_resting``, where it is the frequent way."""
    order = state.orders[slot]
    leaves_qty = np.int64(order["leaves_qty"])
    instrument = np.int64(order["instrument"])
    side = np.int64(order["side"])
    n = emit_canceled(state, events, n, order, leaves_qty, reason)
    count_open(state, np.int64(order["participant"]), instrument, side, -leaves_qty, value_price_of(order))
    if np.int64(order["instructions"]) & _STOP:
        leave_stops(state, slot)
    else:
        leave(state, side_row(instrument, side), slot)
    release(state, slot)
    return n
