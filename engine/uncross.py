"""The uncross: one price for all (rulebook section 6), and what it would be now, for the indicative events of a call.

The candidates are the limit prices in the book and the reference price rounded down to the tick. The ladder holds
both sides' levels, best first, as far as they can matter, so that each candidate's paired quantity comes out of
one pass over both.
"""

from typing import Final

import numpy as np

from engine.book import level_of, market_level, next_tick, side_row
from engine.events import emit_trade
from engine.exposure import count_resting_trade, reference_of, value_price_of
from engine.jit import called
from engine.matching import reduce_head
from engine.records import Reason
from engine.state import State
from engine.sweep import cancel_gathered, gather_market_orders

_NO_TICK: Final = 2**62


@called
def uncross(state: State, events, n, instrument):
    """Trades what can trade at one price, and cancels market orders that are left."""
    tick, _, _ = uncross_price(state, instrument)
    if tick != 0:
        n = _trade_at(state, events, n, instrument, tick)
    count = gather_market_orders(state, instrument)
    return cancel_gathered(state, events, n, count, Reason.AUCTION)


@called
def uncross_price(state: State, instrument):
    """Compute (tick of the uncross, paired quantity, buys less sells there); zeros if nothing would trade."""
    nothing = np.int64(0), np.int64(0), np.int64(0)
    buy_row, sell_row = side_row(instrument, 1), side_row(instrument, -1)
    market_buys = state.levels[market_level(state, buy_row)]["qty"]
    market_sells = state.levels[market_level(state, sell_row)]["qty"]
    best_buy, best_sell = state.books[buy_row]["best_tick"], state.books[sell_row]["best_tick"]
    if market_buys == 0 and market_sells == 0 and (best_buy == 0 or best_sell == 0 or best_buy < best_sell):
        return nothing
    sells_start = 2 * len(state.scratch)
    buys = _load_ladder(state, buy_row, 1, 0, best_sell, market_sells)
    sells = _load_ladder(state, sell_row, -1, sells_start, best_buy, market_buys)
    row = state.instruments[instrument - 1]
    reference = max(reference_of(row) // row["tick_e4"], 1)
    return _best_candidate(state.ladder, buys, sells, sells_start, market_buys, market_sells, reference)


@called
def _load_ladder(state: State, b, side, start, best_opposite, market_opposite_qty):
    """Write ticks and quantities of a side, best first, to ``ladder`` from ``start`` on; gives the number of levels.

    Quantities are cumulative from the market orders and the best price down. At prices worse than every limit of the
    other side only its market orders accept. Once they are all served, a worse price executes no more and leaves a
    larger imbalance; one such level is kept, to tell of a reference price in between.
    """
    span = len(state.scratch)
    count = 0
    qty = state.levels[market_level(state, b)]["qty"]
    tick = state.books[b]["best_tick"]
    served = False
    for _ in range(state.venue[0]["orders_open"]):
        if tick == 0:
            break
        qty += state.levels[level_of(state, b, tick)]["qty"]
        state.ladder[start + count] = tick
        state.ladder[start + span + count] = qty
        count += 1
        if served:
            break
        served = (best_opposite == 0 or (tick - best_opposite) * side < 0) and qty >= market_opposite_qty
        tick = next_tick(state, b, side, tick)
    return count


@called
def _best_candidate(ladder, buys, sells, sells_start, market_buys, market_sells, reference):
    """As ``uncross_price``, out of the ladder: rules 1 to 4 of section 6."""
    span = sells_start // 2
    best_qty, best_imbalance = np.int64(0), np.int64(0)
    lowest, highest, nearest, nearest_imbalance = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    all_buy, all_sell = True, True
    # Candidates rise: i sells are at or below the candidate, buys from j on are below it.
    i, j = 0, buys
    reference_done = False
    for _ in range(buys + sells + 1):
        candidate = np.int64(_NO_TICK)
        if not reference_done:
            candidate = reference
        if i < sells:
            candidate = min(candidate, ladder[sells_start + i])
        if j > 0:
            candidate = min(candidate, ladder[j - 1])
        if candidate == _NO_TICK:
            break
        # Buys at the candidate itself accept it, so they are counted before they are passed.
        buy_qty = ladder[span + j - 1] if j > 0 else market_buys
        if i < sells and ladder[sells_start + i] == candidate:
            i += 1
        sell_qty = ladder[sells_start + span + i - 1] if i > 0 else market_sells
        if j > 0 and ladder[j - 1] == candidate:
            j -= 1
        if candidate == reference:
            reference_done = True
        paired = min(buy_qty, sell_qty)
        imbalance = buy_qty - sell_qty
        better = paired > best_qty or (paired == best_qty and abs(imbalance) < best_imbalance)
        if better:
            best_qty, best_imbalance = paired, abs(imbalance)
            lowest, nearest, nearest_imbalance = candidate, candidate, imbalance
            all_buy, all_sell = True, True
        if better or (paired == best_qty and abs(imbalance) == best_imbalance):
            highest = candidate
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
    """Tick of the level whose first order trades next in an uncross at ``tick`` (-1: market), or 0."""
    if np.int64(state.levels[market_level(state, b)]["head"]) != 0:
        return np.int64(-1)
    best = state.books[b]["best_tick"]
    if best == 0 or (best - tick) * side < 0:
        return np.int64(0)
    return best


@called
def _trade_at(state: State, events, n, instrument, tick):
    """The first buy and the first sell trade the smaller of their quantities, until one side has none."""
    buy_row, sell_row = side_row(instrument, 1), side_row(instrument, -1)
    row = state.instruments[instrument - 1]
    price_e4 = tick * row["tick_e4"]
    # Every turn ends an order.
    for _ in range(state.venue[0]["orders_open"]):
        buy_tick = _first(state, buy_row, 1, tick)
        sell_tick = _first(state, sell_row, -1, tick)
        if buy_tick == 0 or sell_tick == 0:
            break
        buy_slot = np.int64(state.levels[level_of(state, buy_row, buy_tick)]["head"])
        sell_slot = np.int64(state.levels[level_of(state, sell_row, sell_tick)]["head"])
        buy = state.orders[buy_slot]
        sell = state.orders[sell_slot]
        qty = min(np.int64(buy["leaves_qty"]), np.int64(sell["leaves_qty"]))
        n = emit_trade(state, events, n, buy, sell, price_e4, qty, 0)
        count_resting_trade(state, np.int64(buy["participant"]), instrument, 1, qty, value_price_of(buy))
        count_resting_trade(state, np.int64(sell["participant"]), instrument, -1, qty, value_price_of(sell))
        buy["cum_qty"] += qty
        sell["cum_qty"] += qty
        reduce_head(state, buy_row, 1, buy_tick, buy_slot, qty)
        reduce_head(state, sell_row, -1, sell_tick, sell_slot, qty)
    row["last_trade_e4"] = price_e4
    return n
