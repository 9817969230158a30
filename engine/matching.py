"""An order runs as aggressor (rulebook sections 3 to 5): it trades with the other side until it may not.

An aggressor has its slot already, but is in no queue.
"""

from typing import Final

import numpy as np

from engine.book import append, best_of_all, close_level, level_of, next_tick, next_time, unlink
from engine.bounds import BPS_MAX
from engine.events import emit_canceled, emit_replenished, emit_trade
from engine.expiries import drop_expiry
from engine.exposure import count_aggressor_trades, count_open, count_resting_trade, reference_of, value_price_of
from engine.far import far_find, far_next, leaf_level
from engine.hidden import hidden_head
from engine.index import drop_carried_id
from engine.jit import called, inlined, rare
from engine.owned import disown
from engine.places import hidden_beside, side_row
from engine.records import Instruction, Reason, SelfTrade
from engine.resting import lessen_otherwise, show, withdraw, withdraw_otherwise
from engine.state import State

_MARKET: Final = int(Instruction.MARKET)
_HIDDEN: Final = int(Instruction.HIDDEN)
_DISPLAY: Final = int(Instruction.DISPLAY)
_UNTIL: Final = int(Instruction.UNTIL)

#: Worse than every tick, times the side: how far a market order goes.
_ANY_TICK: Final = 2**40


@inlined
def release(state: State, slot):
    """Free the slot of an order that is in no queue any more."""
    venue = state.venue[0]
    order = state.orders[slot]
    state.participants[np.int64(order["participant"]) - 1]["orders_open"] -= 1
    drop_carried_id(state, order)
    disown(state, slot)
    if np.int64(order["instructions"]) & (_DISPLAY | _UNTIL):
        _clear_terms(state, slot)
    order["client_order_id"] = 0
    order["participant"] = 0
    order["next"] = venue["orders_free"]
    venue["orders_free"] = slot
    venue["orders_open"] -= 1


@rare
def _clear_terms(state: State, slot):
    """An iceberg or an order with a time of its end is gone: its terms, and the room that it took."""
    if np.int64(state.orders[slot]["instructions"]) & _UNTIL:
        drop_expiry(state, slot)
    terms = state.terms[slot]
    state.venue[0]["slices"] -= np.int64(terms["slices"])
    terms["display_qty"] = 0
    terms["shown_qty"] = 0
    terms["slices"] = 0


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
    beyond = best_of_all(state.books[side_row(instrument, -side)], -side) != 0
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


@rare
def reduce_undisplayed(state: State, slot, qty):
    """``reduce_head`` of a hidden order, and of one of a midpoint book."""
    order = state.orders[slot]
    left = np.int64(order["leaves_qty"]) - qty
    if left != 0:
        lessen_otherwise(state, np.int64(0), slot, left)
        return
    withdraw_otherwise(state, slot)
    order["leaves_qty"] = 0
    release(state, slot)


@rare
def _reduce_otherwise(state: State, events, n, b, side, tick, slot, qty):
    """``reduce_head`` of a hidden order or an iceberg that has traded, which may show its next part; returns n."""
    order = state.orders[slot]
    left = np.int64(order["leaves_qty"]) - qty
    if np.int64(order["instructions"]) & _HIDDEN:
        reduce_undisplayed(state, slot, qty)
        return n
    terms = state.terms[slot]
    shown_qty = np.int64(terms["shown_qty"]) - qty
    terms["shown_qty"] = shown_qty
    if left == 0 or shown_qty != 0:
        reduce_head(state, b, side, tick, slot, qty)
        return n
    level = state.levels[level_of(state, b, tick)]
    unlink(state, level, slot)
    order["leaves_qty"] = left
    append(state, level, slot)
    state.times[slot] = next_time(state)
    show(state, slot)
    return emit_replenished(state, events, n, order, np.int64(terms["shown_qty"]))


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
    # Every turn ends a resting order, a part that an iceberg shows, or the aggressor.
    for _ in range(state.venue[0]["orders_open"] + state.venue[0]["slices"]):
        tick = best_of_all(book, -side)
        if leaves_qty == 0 or tick == 0 or (limit_tick - tick) * side < 0:
            break
        if tick == book["best_tick"]:
            head = np.int64(state.levels[level_of(state, b, tick)]["head"])
        else:
            head = hidden_head(state, instrument, -side, tick)
        resting = state.orders[head]
        if np.int64(resting["group"]) == group and self_trade != SelfTrade.NONE:
            if self_trade != SelfTrade.CANCEL_NEWEST:
                n, leaves_qty = _prevent_self_trade(state, events, n, b, head, slot, leaves_qty)
            if self_trade == SelfTrade.CANCEL_NEWEST or self_trade == SelfTrade.CANCEL_BOTH:
                ended = True
                break
        else:
            resting_qty = np.int64(resting["leaves_qty"])
            otherwise = np.int64(resting["instructions"]) & (_DISPLAY | _HIDDEN)
            if otherwise & _DISPLAY:
                resting_qty = np.int64(state.terms[head]["shown_qty"])
            qty = min(leaves_qty, resting_qty)
            price_e4 = resting["price_e4"]
            n = emit_trade(state, events, n, resting, aggressor, price_e4, qty, side)
            state.instruments[instrument - 1]["last_trade_e4"] = price_e4
            count_resting_trade(state, np.int64(resting["participant"]), instrument, -side, qty, price_e4)
            resting["cum_qty"] += qty
            leaves_qty -= qty
            traded_qty += qty
            if otherwise:
                n = _reduce_otherwise(state, events, n, b, -side, tick, head, qty)
            else:
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
    if np.int64(resting["instructions"]) & _HIDDEN:
        reduce_undisplayed(state, head, qty)
    else:
        reserved = np.int64(resting["instructions"]) & _DISPLAY and np.int64(resting["leaves_qty"]) > qty
        reduce_head(state, b, side, resting["tick"], head, qty)
        if reserved:  # the reserve goes first
            terms = state.terms[head]
            terms["shown_qty"] = min(np.int64(terms["shown_qty"]), np.int64(resting["leaves_qty"]))
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
    tick, hidden_tick = state.books[b]["best_tick"], state.books[b]["hidden_tick"]
    for _ in range(state.venue[0]["orders_open"]):
        best = _better(tick, hidden_tick, -side)
        if best == 0 or (limit_tick - best) * side < 0 or offered_qty >= needed_qty:
            break
        level, tick, hidden_tick = _pass_level(state, b, -side, tick, hidden_tick)
        offered_qty += state.levels[level]["qty"]
    if offered_qty < needed_qty or self_trade == SelfTrade.NONE:
        return offered_qty >= needed_qty
    traded_qty = np.int64(0)
    tick, hidden_tick = state.books[b]["best_tick"], state.books[b]["hidden_tick"]
    for _ in range(state.venue[0]["orders_open"]):
        best = _better(tick, hidden_tick, -side)
        if traded_qty >= needed_qty or qty <= 0 or best == 0 or (limit_tick - best) * side < 0:
            break
        level, tick, hidden_tick = _pass_level(state, b, -side, tick, hidden_tick)
        more, qty, stops = _trial_of_level(state, level, qty, needed_qty - traded_qty, group, self_trade)
        traded_qty += more
        if stops:
            break
    return traded_qty >= needed_qty


@inlined
def _better(tick, hidden_tick, side):
    """The better of two ticks for a side, of which 0 is none."""
    if hidden_tick == 0 or (tick != 0 and (tick - hidden_tick) * side >= 0):
        return tick
    return hidden_tick


@called
def _pass_level(state: State, b, side, tick, hidden_tick):
    """Row of the level that trades next, displayed before hidden; and the two ticks after it."""
    if hidden_tick == 0 or (tick != 0 and (tick - hidden_tick) * side >= 0):
        return level_of(state, b, tick), next_tick(state, b, side, tick), hidden_tick
    hidden = hidden_beside(state, b)
    row = leaf_level(state, far_find(state, hidden, hidden_tick))
    return row, tick, far_next(state, hidden, side, hidden_tick)


@called
def _trial_of_level(state: State, level, qty, needed_qty, group, self_trade):
    """(What would trade with a level, what is left of ``qty`` after it, whether the aggressor would end there).

    First each order with what it shows, in their order; then the icebergs with their reserves, in turn.
    """
    traded_qty, reserve_qty = np.int64(0), np.int64(0)
    head = np.int64(state.levels[level]["head"])
    for _ in range(state.venue[0]["orders_open"]):
        if head == 0 or traded_qty >= needed_qty or qty <= 0:
            break
        resting = state.orders[head]
        open_qty = np.int64(resting["leaves_qty"])
        if np.int64(resting["group"]) != group:
            seen_qty = open_qty
            if np.int64(resting["instructions"]) & _DISPLAY:
                seen_qty = np.int64(state.terms[head]["shown_qty"])
                reserve_qty += open_qty - seen_qty
            traded_qty += min(qty, seen_qty)
            qty -= min(qty, seen_qty)
        elif self_trade == SelfTrade.DECREMENT:
            qty -= min(qty, open_qty)
        elif self_trade != SelfTrade.CANCEL_OLDEST:
            return traded_qty, qty, True
        head = np.int64(resting["next"])
    more_qty = min(qty, reserve_qty)
    return traded_qty + more_qty, qty - more_qty, False


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
    withdraw(state, side_row(instrument, side), slot)
    release(state, slot)
    return n
