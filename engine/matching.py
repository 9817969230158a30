"""An order runs as aggressor (rulebook sections 3 to 5): it trades with the other side until it may not.

An aggressor has its slot already, but is in no queue.
"""

from typing import Final

import numpy as np

from engine.book import (
    append,
    best_of_all,
    changed_level,
    close_level,
    leave,
    level_of,
    next_tick,
    next_time,
    unlink,
)
from engine.bounds import BPS_MAX
from engine.ending import drop_ending
from engine.events import emit_canceled, emit_replenished, emit_trade
from engine.expiries import drop_expiry
from engine.exposure import count_aggressor_trades, count_open, count_resting_trade, reference_of, value_price_of
from engine.far import far_find, far_next, leaf_level
from engine.hidden import undisplayed_e4, undisplayed_level
from engine.index import drop_carried_id
from engine.jit import called, inlined, rare
from engine.owned import disown
from engine.pegs import end_peg
from engine.places import between_level, hidden_row, side_row
from engine.records import Instruction, Reason, SelfTrade
from engine.resting import lessen_otherwise, show, withdraw, withdraw_otherwise
from engine.state import ENDING, State

_MARKET: Final = int(Instruction.MARKET)
_HIDDEN: Final = int(Instruction.HIDDEN)
_DISPLAY: Final = int(Instruction.DISPLAY)
_UNTIL: Final = int(Instruction.UNTIL)
_PEG: Final = int(Instruction.PEG)

#: Worse than every tick, times the side: how far a market order goes.
_ANY_TICK: Final = 2**40
_ANY_PRICE_E4: Final = 2**60


@inlined
def release(state: State, slot):
    """Free the slot of an order that is in no queue any more."""
    if np.int64(state.orders[slot]["instructions"]) & (_DISPLAY | _UNTIL | _PEG | ENDING):
        _clear_terms(state, slot)
    release_plain(state, slot)


@inlined
def release_plain(state: State, slot):
    """``release`` of an order without instructions."""
    venue = state.venue[0]
    order = state.orders[slot]
    state.participants[np.int64(order["participant"]) - 1]["orders_open"] -= 1
    drop_carried_id(state, order)
    disown(state, slot)
    order["client_order_id"] = 0
    order["participant"] = 0
    order["next"] = venue["orders_free"]
    venue["orders_free"] = slot
    venue["orders_open"] -= 1


@rare
def _clear_terms(state: State, slot):
    """An iceberg, a peg or an order whose end is noted is gone: its terms, and the room that it took."""
    if np.int64(state.orders[slot]["instructions"]) & ENDING:
        drop_ending(state, slot)
        return
    if np.int64(state.orders[slot]["instructions"]) & _UNTIL:
        drop_expiry(state, slot)
    if np.int64(state.orders[slot]["instructions"]) & _PEG:
        end_peg(state, slot)
    terms = state.terms[slot]
    state.venue[0]["slices"] -= np.int64(terms["slices"])
    terms["display_qty"] = 0
    terms["shown_qty"] = 0
    terms["slices"] = 0


@inlined
def limit_tick_of(instruments, order):
    """The worst tick at which an order trades that runs now."""
    if np.int64(order["instructions"]) & _MARKET:
        row = instruments[np.int64(order["instrument"]) - 1]
        if np.int64(row["band"]) == 0:
            return np.int64(order["side"]) * _ANY_TICK
        return _collar(row, np.int64(order["side"]))
    return order["tick"]


@rare
def _collar(row, side):
    """The worst tick at which a market order of that side trades within a band, by the reference price as it starts."""
    # To the tick on the side of the reference price.
    return side * (side * _collar_e4(row, side, reference_of(row)) // row["tick_e4"])


@called
def _collar_e4(row, side, reference_e4):
    """The worst price at which a market order of that side trades that started at a reference price."""
    band = np.int64(row["band"])
    if band == 0:
        return side * _ANY_PRICE_E4
    return reference_e4 + side * (reference_e4 * (band - 1) // BPS_MAX)


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
    level = state.levels[changed_level(state, b, tick, -qty)]
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
    """``reduce_head`` of a hidden order, a peg, and of one of a midpoint book."""
    order = state.orders[slot]
    left = np.int64(order["leaves_qty"]) - qty
    if left != 0:
        lessen_otherwise(state, np.int64(0), slot, left)
        return
    withdraw_otherwise(state, slot)
    order["leaves_qty"] = 0
    release(state, slot)


@rare
def _reduce_otherwise(state: State, events, n, b, side, tick, slot, qty, price_e4):
    """``reduce_head`` of a hidden order, a peg or an iceberg that has traded; it may show its next part; returns n."""
    order = state.orders[slot]
    left = np.int64(order["leaves_qty"]) - qty
    if np.int64(order["instructions"]) & (_HIDDEN | _PEG):
        # What is open was counted at the price of the trade, and a peg counts by its limit or as it was entered.
        owner = state.participants[np.int64(order["participant"]) - 1]
        owner["open_notional_e4"] += qty * (price_e4 - value_price_of(order))
        reduce_undisplayed(state, slot, qty)
        return n
    terms = state.terms[slot]
    shown_qty = np.int64(terms["shown_qty"]) - qty
    terms["shown_qty"] = shown_qty
    if left == 0 or shown_qty != 0:
        reduce_head(state, b, side, tick, slot, qty)
        return n
    level = state.levels[changed_level(state, b, tick, -qty)]
    unlink(state, level, slot)
    order["leaves_qty"] = left
    append(state, level, slot)
    state.times[slot] = next_time(state)
    show(state, slot)
    return emit_replenished(state, events, n, order, np.int64(terms["shown_qty"]))


@rare
def _first_undisplayed(state: State, instrument, side, tick, slot, reference_e4):
    """Slot of the first order of a ``hidden_tick``; 0 if its price is between two ticks and beyond the aggressor's."""
    head = np.int64(state.levels[undisplayed_level(state, instrument, side, tick)]["head"])
    worst_e4 = _worst_e4(state, slot, reference_e4)
    return head if (undisplayed_e4(state, head) - worst_e4) * side >= 0 else np.int64(0)


@called
def _worst_e4(state: State, slot, reference_e4):
    """The worst price at which an aggressor trades; reference_e4: as it started."""
    order = state.orders[slot]
    instructions = np.int64(order["instructions"])
    if instructions & _PEG:
        return state.terms[slot]["peg_e4"]
    if instructions & _MARKET:
        row = state.instruments[np.int64(order["instrument"]) - 1]
        return _collar_e4(row, np.int64(order["side"]), reference_e4)
    return order["price_e4"]


@rare
def _seen_otherwise(state: State, slot):
    """(What an aggressor meets of an order that is no plain one, the price at which they trade)."""
    order = state.orders[slot]
    if np.int64(order["instructions"]) & _DISPLAY:
        return np.int64(state.terms[slot]["shown_qty"]), order["price_e4"]
    return np.int64(order["leaves_qty"]), undisplayed_e4(state, slot)


@rare
def match_rarely(state: State, events, n, slot, limit_tick):
    """``match`` of an order for which it need not be put into the caller."""
    return match(state, events, n, slot, limit_tick)


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
    reference_e4 = reference_of(state.instruments[instrument - 1])
    ended = False
    # Every turn ends a resting order, a part that an iceberg shows, or the aggressor.
    for _ in range(state.venue[0]["orders_open"] + state.venue[0]["slices"]):
        tick = best_of_all(book, -side)
        if leaves_qty == 0 or tick == 0 or (limit_tick - tick) * side < 0:
            break
        if tick == book["best_tick"]:
            head = np.int64(state.levels[level_of(state, b, tick)]["head"])
        else:
            head = _first_undisplayed(state, instrument, -side, tick, slot, reference_e4)
            if head == 0:
                break
        resting = state.orders[head]
        if np.int64(resting["group"]) == group and self_trade != SelfTrade.NONE:
            if self_trade != SelfTrade.CANCEL_NEWEST:
                n, leaves_qty = _prevent_self_trade(state, events, n, b, head, slot, leaves_qty)
            if self_trade == SelfTrade.CANCEL_NEWEST or self_trade == SelfTrade.CANCEL_BOTH:
                ended = True
                break
        else:
            resting_qty = np.int64(resting["leaves_qty"])
            price_e4 = resting["price_e4"]
            otherwise = np.int64(resting["instructions"]) & (_DISPLAY | _HIDDEN | _PEG)
            if otherwise:
                resting_qty, price_e4 = _seen_otherwise(state, head)
            qty = min(leaves_qty, resting_qty)
            n = emit_trade(state, events, n, resting, aggressor, price_e4, qty, side)
            state.instruments[instrument - 1]["last_trade_e4"] = price_e4
            count_resting_trade(state, np.int64(resting["participant"]), instrument, -side, qty, price_e4)
            resting["cum_qty"] += qty
            leaves_qty -= qty
            traded_qty += qty
            if otherwise:
                n = _reduce_otherwise(state, events, n, b, -side, tick, head, qty, price_e4)
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
    count_open(state, participant, instrument, side, -qty, value_price_of(resting))
    if np.int64(resting["instructions"]) & (_HIDDEN | _PEG):
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
def trial(state: State, slot, needed_qty):
    """True if at least ``needed_qty`` of an aggressor would trade at once (rulebook section 4).

    What would really trade, self-trade prevention included; nothing is changed.
    """
    order = state.orders[slot]
    instrument, side, qty = np.int64(order["instrument"]), np.int64(order["side"]), np.int64(order["leaves_qty"])
    group, self_trade = np.int64(order["group"]), np.int64(order["self_trade"])
    worst_e4 = _worst_e4(state, slot, reference_of(state.instruments[instrument - 1]))
    # First by levels, so that an order that cannot trade is not looked for order by order.
    offered_qty = np.int64(0)
    tick, hidden_tick, between_e4 = _begin_levels(state, instrument, -side)
    for _ in range(state.venue[0]["orders_open"]):
        if offered_qty >= needed_qty:
            break
        level, tick, hidden_tick, between_e4 = _pass_level(
            state, instrument, -side, worst_e4, tick, hidden_tick, between_e4
        )
        if level < 0:
            break
        offered_qty += state.levels[level]["qty"]
    if offered_qty < needed_qty or self_trade == SelfTrade.NONE:
        return offered_qty >= needed_qty
    traded_qty = np.int64(0)
    tick, hidden_tick, between_e4 = _begin_levels(state, instrument, -side)
    for _ in range(state.venue[0]["orders_open"]):
        if traded_qty >= needed_qty or qty <= 0:
            break
        level, tick, hidden_tick, between_e4 = _pass_level(
            state, instrument, -side, worst_e4, tick, hidden_tick, between_e4
        )
        if level < 0:
            break
        more, qty, stops = _trial_of_level(state, level, qty, needed_qty - traded_qty, group, self_trade)
        traded_qty += more
        if stops:
            break
    return traded_qty >= needed_qty


@called
def _begin_levels(state: State, instrument, side):
    """Best displayed tick of a side, best tick of what is not displayed, and the price between two ticks; 0: none."""
    lit = state.books[side_row(instrument, side)]
    return lit["best_tick"], state.books[hidden_row(state, instrument, side)]["best_tick"], lit["price_e4"]


@called
def _pass_level(state: State, instrument, side, worst_e4, tick, hidden_tick, between_e4):
    """Row of the level that trades next at a price and better, displayed before hidden (-1: none); and, as
    ``_begin_levels`` gives them, the three after it."""
    b = side_row(instrument, side)
    tick_e4 = state.instruments[instrument - 1]["tick_e4"]
    shown_e4, dark_e4 = tick * tick_e4, hidden_tick * tick_e4
    is_between = between_e4 != 0 and (dark_e4 == 0 or (between_e4 - dark_e4) * side > 0)
    if is_between:
        dark_e4 = between_e4
    is_shown = shown_e4 != 0 and (dark_e4 == 0 or (shown_e4 - dark_e4) * side >= 0)
    best_e4 = shown_e4 if is_shown else dark_e4
    if best_e4 == 0 or (best_e4 - worst_e4) * side < 0:
        return np.int64(-1), tick, hidden_tick, between_e4
    if is_shown:
        return level_of(state, b, tick), next_tick(state, b, side, tick), hidden_tick, between_e4
    if is_between:
        return between_level(state, b), tick, hidden_tick, np.int64(0)
    hidden = hidden_row(state, instrument, side)
    row = leaf_level(state, far_find(state, hidden, hidden_tick))
    return row, tick, far_next(state, hidden, side, hidden_tick), between_e4


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
    return take_back(state, events, n, slot, reason, False)


@inlined
def take_back(state: State, events, n, slot, reason, plain):
    """``cancel_resting``, where it is the frequent way. plain: the order has no instruction."""
    order = state.orders[slot]
    leaves_qty = np.int64(order["leaves_qty"])
    instrument = np.int64(order["instrument"])
    side = np.int64(order["side"])
    value_price_e4 = order["price_e4"] if plain else value_price_of(order)
    n = emit_canceled(state, events, n, order, leaves_qty, reason)
    count_open(state, np.int64(order["participant"]), instrument, side, -leaves_qty, value_price_e4)
    if plain:
        leave(state, side_row(instrument, side), slot)
        release_plain(state, slot)
    else:
        withdraw(state, side_row(instrument, side), slot)
        release(state, slot)
    return n
