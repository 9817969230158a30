"""The uncross: one price for all (rulebook section 6), and what it would be now, for the indicative events of a call.

The candidates are the limit prices in the book and the reference price rounded down to the tick. At a rising price the
buys that accept it fall and the sells rise, so that their difference falls: the most can trade on one of both sides of
the tick where it becomes negative. A few candidates around that tick are all that can be best, and they are found by
halving, with the depth of the book (``depth.py``): the number of levels does not matter.
"""

from typing import Final

import numpy as np

from engine.book import best_of_all, level_of, next_tick
from engine.depth import count_depth, depth_to
from engine.events import emit_replenished, emit_trade
from engine.exposure import count_resting_trade, reference_of, value_price_of
from engine.far import TICK_BITS, far_find, far_next, leaf_level
from engine.jit import called
from engine.matching import reduce_head, reduce_undisplayed
from engine.places import hidden_beside, market_level, side_row
from engine.records import Instruction, Reason
from engine.resting import show
from engine.state import WINDOW, Pending, State
from engine.sweep import cancel_gathered, gather_auction_orders
from engine.trade_memory import begin_memory

_CALL: Final = int(Pending.CALL)
_HIDDEN: Final = int(Instruction.HIDDEN)
_DISPLAY: Final = int(Instruction.DISPLAY)
#: Candidates of which one is the best: two on each side of the tick that divides them, and the reference price.
_CANDIDATES: Final = 5
_ABOVE_ALL: Final = 1 << TICK_BITS


@called
def uncross(state: State, events, n, instrument, tick):
    """Trades what can trade at the price of ``price_of_uncross`` (0: none), and cancels what may not stay."""
    if tick != 0:
        n = _trade_at(state, events, n, instrument, tick)
    count = gather_auction_orders(state, instrument)
    return cancel_gathered(state, events, n, count, Reason.AUCTION)


@called
def price_of_uncross(state: State, instrument):
    """Tick of an uncross now, in a call or not; 0 if nothing would trade."""
    if state.instruments[instrument - 1]["pending"] & _CALL:
        tick, _, _ = uncross_price(state, instrument)
        return tick
    if not _may_trade(state, instrument):
        return np.int64(0)
    count_depth(state, instrument, True)
    tick, _, _ = uncross_price(state, instrument)
    count_depth(state, instrument, False)
    return tick


@called
def _may_trade(state: State, instrument):
    buy_row, sell_row = side_row(instrument, 1), side_row(instrument, -1)
    best_buy, best_sell = best_of_all(state.books[buy_row], 1), best_of_all(state.books[sell_row], -1)
    return (
        state.levels[market_level(state, buy_row)]["qty"] != 0
        or state.levels[market_level(state, sell_row)]["qty"] != 0
        or (best_buy != 0 and best_sell != 0 and best_buy >= best_sell)
    )


@called
def uncross_price(state: State, instrument):
    """Compute (tick of the uncross, paired quantity, buys less sells there); zeros if nothing would trade.

    The depth of the instrument's window is counted.
    """
    if not _may_trade(state, instrument):
        return np.int64(0), np.int64(0), np.int64(0)
    row = state.instruments[instrument - 1]
    reference = max(reference_of(row) // row["tick_e4"], 1)
    _find_candidates(state, instrument, reference)
    return _best_candidate(state, instrument, reference)


@called
def _buy_qty(state: State, instrument, tick):
    """Quantity of buys that accept a tick, market orders included."""
    b = side_row(instrument, 1)
    return state.levels[market_level(state, b)]["qty"] + depth_to(state, b, 1, tick)


@called
def _sell_qty(state: State, instrument, tick):
    b = side_row(instrument, -1)
    return state.levels[market_level(state, b)]["qty"] + depth_to(state, b, -1, tick)


@called
def _dividing_tick(state: State, instrument):
    """The highest tick at which buys are no less than sells; below every price if there is none, or above every one."""
    low, high = np.int64(0), np.int64(_ABOVE_ALL)
    first = state.instruments[instrument - 1]["window_tick"]
    middle = max(first, 1)
    for turn in range(TICK_BITS + 3):
        if high - low <= 1:
            break
        if turn == 1 and low < first + WINDOW < high:  # the window first, where the levels mostly are
            middle = first + WINDOW
        elif turn > 0:
            middle = (low + high) >> 1
        if _buy_qty(state, instrument, middle) >= _sell_qty(state, instrument, middle):
            low = middle
        else:
            high = middle
    return low


@called
def _next_price(state: State, b, direction, tick):
    """The highest limit price of a side below a tick (direction 1), or the lowest above it (-1); 0 for none."""
    displayed = next_tick(state, b, direction, tick)
    hidden = far_next(state, hidden_beside(state, b), direction, tick)
    if displayed == 0 or hidden == 0:
        return displayed + hidden
    return max(displayed, hidden) if direction > 0 else min(displayed, hidden)


@called
def _find_candidates(state: State, instrument, reference):
    """Write the ticks that may be best to ``ladder``; 0 for none.

    Below the dividing tick more can trade at a higher price, above it at a lower one. Where two prices on one side of
    it trade the same with the same surplus, there is no buy at the lower and no sell at the higher, so that those below
    the first candidate that are as good are one sell price at most, and the reference price.
    """
    buy_row, sell_row = side_row(instrument, 1), side_row(instrument, -1)
    dividing = _dividing_tick(state, instrument)
    below = max(_next_price(state, buy_row, 1, dividing + 1), _next_price(state, sell_row, 1, dividing + 1))
    if reference <= dividing:
        below = max(below, reference)
    above = np.int64(_ABOVE_ALL)
    for s in range(2):
        tick = _next_price(state, side_row(instrument, 1 - 2 * s), -1, dividing)
        if tick != 0:
            above = min(above, tick)
    if reference > dividing:
        above = min(above, reference)
    state.ladder[0] = reference
    state.ladder[1] = below
    state.ladder[2] = _next_price(state, sell_row, 1, below) if below != 0 else 0
    state.ladder[3] = above if above != _ABOVE_ALL else 0
    state.ladder[4] = _next_price(state, buy_row, -1, above) if above != _ABOVE_ALL else 0


@called
def _best_candidate(state: State, instrument, reference):
    """As ``uncross_price``, out of the candidates: rules 1 to 4 of section 6."""
    best_qty, best_imbalance = np.int64(0), np.int64(0)
    lowest, highest, nearest, nearest_imbalance = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    all_buy, all_sell = True, True
    for place in range(_CANDIDATES):
        candidate = state.ladder[place]
        if candidate == 0:
            continue
        buy_qty, sell_qty = _buy_qty(state, instrument, candidate), _sell_qty(state, instrument, candidate)
        paired = min(buy_qty, sell_qty)
        imbalance = buy_qty - sell_qty
        better = paired > best_qty or (paired == best_qty and abs(imbalance) < best_imbalance)
        if better:
            best_qty, best_imbalance = paired, abs(imbalance)
            lowest, highest, nearest, nearest_imbalance = candidate, candidate, candidate, imbalance
            all_buy, all_sell = True, True
        if better or (paired == best_qty and abs(imbalance) == best_imbalance):
            lowest, highest = min(lowest, candidate), max(highest, candidate)
            all_buy &= imbalance > 0
            all_sell &= imbalance < 0
            if abs(candidate - reference) < abs(nearest - reference):
                nearest, nearest_imbalance = candidate, imbalance
    if best_qty == 0:
        return np.int64(0), np.int64(0), np.int64(0)
    if all_buy:
        return highest, best_qty, best_imbalance
    if all_sell:
        return lowest, best_qty, -best_imbalance
    return nearest, best_qty, nearest_imbalance


@called
def _first(state: State, b, side, tick):
    """Slot of the order of a side that trades next in an uncross at ``tick``, or 0."""
    head = np.int64(state.levels[market_level(state, b)]["head"])
    if head != 0:
        return head
    book = state.books[b]
    best = best_of_all(book, side)
    if best == 0 or (best - tick) * side < 0:
        return np.int64(0)
    if best == book["best_tick"]:
        return np.int64(state.levels[level_of(state, b, best)]["head"])
    return np.int64(state.levels[leaf_level(state, far_find(state, hidden_beside(state, b), best))]["head"])


@called
def _trade_at(state: State, events, n, instrument, tick):
    """The first buy and the first sell trade the smaller of their quantities, until one side has none."""
    buy_row, sell_row = side_row(instrument, 1), side_row(instrument, -1)
    row = state.instruments[instrument - 1]
    price_e4 = tick * row["tick_e4"]
    buy_slot, sell_slot = np.int64(0), np.int64(0)
    # Every turn ends an order.
    for _ in range(state.venue[0]["orders_open"]):
        next_buy, next_sell = _first(state, buy_row, 1, tick), _first(state, sell_row, -1, tick)
        if next_buy == 0 or next_sell == 0:
            break
        buy_slot, sell_slot = next_buy, next_sell
        buy = state.orders[buy_slot]
        sell = state.orders[sell_slot]
        qty = min(np.int64(buy["leaves_qty"]), np.int64(sell["leaves_qty"]))
        n = emit_trade(state, events, n, buy, sell, price_e4, qty, 0)
        count_resting_trade(state, np.int64(buy["participant"]), instrument, 1, qty, value_price_of(buy))
        count_resting_trade(state, np.int64(sell["participant"]), instrument, -1, qty, value_price_of(sell))
        buy["cum_qty"] += qty
        sell["cum_qty"] += qty
        buy_slot = _reduce(state, buy_row, buy_slot, qty)
        sell_slot = _reduce(state, sell_row, sell_slot, qty)
    row["last_trade_e4"] = price_e4
    begin_memory(state, instrument, price_e4)
    n = _replenish(state, events, n, buy_slot)
    return _replenish(state, events, n, sell_slot)


@called
def _reduce(state: State, b, slot, qty):
    """Reduce the first order of its queue; gives its slot while something of it is left, else 0."""
    order = state.orders[slot]
    left = np.int64(order["leaves_qty"]) > qty
    if np.int64(order["instructions"]) & _HIDDEN:
        reduce_undisplayed(state, slot, qty)
    else:
        reduce_head(state, b, np.int64(order["side"]), order["tick"], slot, qty)
    return slot if left else np.int64(0)


@called
def _replenish(state: State, events, n, slot):
    """An iceberg that traded and is still open shows its next part and keeps its time. Slot 0: none."""
    if slot == 0 or not np.int64(state.orders[slot]["instructions"]) & _DISPLAY:
        return n
    show(state, slot)
    return emit_replenished(state, events, n, state.orders[slot], np.int64(state.terms[slot]["shown_qty"]))
