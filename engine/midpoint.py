"""The midpoint book of an instrument (rulebook section 3): never displayed, it trades at the midpoint of the lit book.

Each side has its queues by limit in a tree of its own (``far.py``); orders without a limit stand at the limit that
every midpoint is within. Among the limits that take part the time alone decides, and the oldest order of them is found
by the tree (``oldest.py``). The orders have the bit ``IN_MIDPOINT`` among their instructions.
"""

from typing import Final

import numpy as np

from engine.book import append, next_time, unlink
from engine.events import emit_canceled, emit_trade
from engine.exposure import count_aggressor_trades, count_open, count_resting_trade, value_price_of
from engine.far import far_find, far_insert, far_remove, leaf_level
from engine.jit import called, rare
from engine.oldest import begin_by_time, next_by_time, note_oldest, oldest_of
from engine.pending import set_pending
from engine.places import midpoint_row, side_row
from engine.records import Instruction, Reason, SelfTrade
from engine.seen import pass_by
from engine.state import Pending, State

_MARKET: Final = int(Instruction.MARKET)
_MIDPOINT: Final = int(Pending.MIDPOINT)
#: Limits in ticks of orders without one, by side: better than any other of a buy; no worse than any of a sell.
_NO_LIMIT_OF_BUY: Final = 2**34 - 1
_NO_LIMIT_OF_SELL: Final = 1


@called
def _key_of(state: State, slot):
    """Limit in ticks by which an order has its queue."""
    order = state.orders[slot]
    if not np.int64(order["instructions"]) & _MARKET:
        return order["tick"]
    return np.int64(_NO_LIMIT_OF_BUY if np.int64(order["side"]) > 0 else _NO_LIMIT_OF_SELL)


@called
def _note_pending(state: State, instrument):
    """Orders can meet only while both sides have one."""
    buys, sells = state.books[midpoint_row(state, instrument, 1)], state.books[midpoint_row(state, instrument, -1)]
    set_pending(state, instrument, _MIDPOINT, buys["far_root"] != 0 and sells["far_root"] != 0)


@rare
def join_midpoint(state: State, slot):
    """Put an order behind all others with its limit, with a new time."""
    order = state.orders[slot]
    instrument, key = np.int64(order["instrument"]), _key_of(state, slot)
    b = midpoint_row(state, instrument, np.int64(order["side"]))
    leaf = far_find(state, b, key)
    state.times[slot] = next_time(state)
    if leaf != 0:
        append(state, state.levels[leaf_level(state, leaf)], slot)
        return
    append(state, state.levels[leaf_level(state, far_insert(state, b, key, np.int64(0)))], slot)
    note_oldest(state, b, key)
    _note_pending(state, instrument)


@rare
def leave_midpoint(state: State, slot):
    """Take an order out of its queue; its leaves_qty is still the quantity that the level counts."""
    order = state.orders[slot]
    instrument, key = np.int64(order["instrument"]), _key_of(state, slot)
    b = midpoint_row(state, instrument, np.int64(order["side"]))
    was_first = np.int64(order["prev"]) == 0
    if unlink(state, state.levels[leaf_level(state, far_find(state, b, key))], slot):
        far_remove(state, b, key)
        _note_pending(state, instrument)
    if was_first:
        note_oldest(state, b, key)


@rare
def shrink_midpoint(state: State, slot, leaves_qty):
    """An order keeps its place with less."""
    order = state.orders[slot]
    b = midpoint_row(state, np.int64(order["instrument"]), np.int64(order["side"]))
    level = state.levels[leaf_level(state, far_find(state, b, _key_of(state, slot)))]
    level["qty"] -= np.int64(order["leaves_qty"]) - leaves_qty
    order["leaves_qty"] = leaves_qty


@called
def midpoint_e4(state: State, instrument):
    """Midpoint of the best displayed bid and offer, rounded down; 0 without both."""
    bid = state.books[side_row(instrument, 1)]["best_tick"]
    offer = state.books[side_row(instrument, -1)]["best_tick"]
    if bid == 0 or offer == 0:
        return np.int64(0)
    return (bid + offer) * state.instruments[instrument - 1]["tick_e4"] >> 1


@called
def takes_part(state: State, slot, price_e4):
    """True if a midpoint is within the limit of an order."""
    order = state.orders[slot]
    if np.int64(order["instructions"]) & _MARKET:
        return True
    return (order["price_e4"] - price_e4) * np.int64(order["side"]) >= 0


@called
def _limit_of(state: State, instrument, side, price_e4):
    """The worst limit in ticks of a side that a midpoint is within."""
    tick_e4 = state.instruments[instrument - 1]["tick_e4"]
    return -(-price_e4 // tick_e4) if side > 0 else price_e4 // tick_e4


@called
def first_in_time(state: State, instrument, side, price_e4):
    """Slot of the oldest order of a side that takes part at a midpoint, or 0."""
    b = midpoint_row(state, instrument, side)
    return oldest_of(state, b, side, _limit_of(state, instrument, side, price_e4))


@rare
def trial_at_midpoint(state: State, instrument, side, price_e4, qty, needed_qty, group, self_trade):
    """True if at least ``needed_qty`` of an incoming order of ``qty`` would trade at once; nothing is changed."""
    traded_qty = np.int64(0)
    b = midpoint_row(state, instrument, -side)
    count = begin_by_time(state, b, -side, _limit_of(state, instrument, -side, price_e4))
    for _ in range(state.venue[0]["orders_open"]):
        if count == 0 or qty <= 0 or traded_qty >= needed_qty:
            break
        slot, count = next_by_time(state, count)
        resting = state.orders[slot]
        open_qty = np.int64(resting["leaves_qty"])
        if np.int64(resting["group"]) != group or self_trade == SelfTrade.NONE:
            traded_qty += min(qty, open_qty)
            qty -= min(qty, open_qty)
        elif self_trade == SelfTrade.DECREMENT:
            qty -= min(qty, open_qty)
        elif self_trade != SelfTrade.CANCEL_OLDEST:
            break
    return traded_qty >= needed_qty


@called
def trade_at_midpoint(state: State, events, n, resting_slot, incoming_slot, price_e4, qty, counted):
    """Two orders trade; the incoming one is in the book too where ``counted`` is 1. Gives n.

    Quantities of both are up to date then, their queues are not.
    """
    resting, incoming = state.orders[resting_slot], state.orders[incoming_slot]
    instrument, side = np.int64(resting["instrument"]), np.int64(incoming["side"])
    n = emit_trade(state, events, n, resting, incoming, price_e4, qty, side)
    pass_by(state.venue[0])
    count_resting_trade(state, np.int64(resting["participant"]), instrument, -side, qty, value_price_of(resting))
    if counted:
        count_resting_trade(state, np.int64(incoming["participant"]), instrument, side, qty, value_price_of(incoming))
    else:
        count_aggressor_trades(state, np.int64(incoming["participant"]), instrument, side * qty)
    resting["cum_qty"] += qty
    incoming["cum_qty"] += qty
    return n


@called
def take_off(state: State, events, n, slot, qty, counted):
    """Self-trade prevention takes ``qty`` off an order, which is counted as open where ``counted`` is 1. Gives n."""
    order = state.orders[slot]
    n = emit_canceled(state, events, n, order, qty, Reason.SELF_TRADE)
    if counted:
        participant, instrument = np.int64(order["participant"]), np.int64(order["instrument"])
        count_open(state, participant, instrument, np.int64(order["side"]), -qty, value_price_of(order))
    return n
